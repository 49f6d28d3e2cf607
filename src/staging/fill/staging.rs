//! The export half's side of staging: takes items, has segments sealed.

use std::{
    cell::RefCell,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    cancel::Cancel,
    clock::Clock,
    digest::RangeHasher,
    ident::{SegmentId, SetId, SourceName},
    item::{Extent, Item, Kind},
    staging::{
        error::{StagingError, disk},
        files::Files,
        fill::{
            member,
            recover::{Recovered, recover},
            region::Region,
            room::{Counters, Need, Parts, Shared, Ticket},
        },
        sealed::{Layout, Sealed},
        segment::{
            allocator::Place,
            held::{Held, held},
            journal::Line,
            seal::{Bench, seal},
        },
        settings::Settings,
        store::{Entries, TAPE_LOCK, Usage, list_sealed, read_manifest, usage},
    },
    volume::{
        manifest::{Entry, LinkedTo, Part},
        segment::sums_line_bytes,
    },
};

/// What a thread that puts members keeps, so that a small one costs no allocation.
#[derive(Debug, Default)]
struct Scratch {
    bytes: Vec<u8>,
    line: Line,
}

/// What of a thread's buffer is kept between members, in bytes.
const SCRATCH_KEPT: usize = 4 << 20;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A staging that is being filled. Shared between threads by reference.
///
/// Dropping it leaves open segments on the disk: the next opening takes them up again.
#[derive(Debug)]
pub struct Staging {
    shared: Arc<Shared>,
    sealer: Option<JoinHandle<()>>,
}

/// What staging takes from the world around it.
#[derive(Clone, Debug)]
pub struct World {
    /// The disk.
    pub files: Arc<dyn Files>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The operator's wish to stop: who waits for room stops waiting.
    pub cancel: Cancel,
}

impl Staging {
    /// Opens the staging for filling with members of `set`, and takes up what an interrupted job
    /// left: finished members whose digests agree stay, the rest of their segments is free again.
    ///
    /// # Errors
    ///
    /// [`StagingError::Busy`] while another process fills it, [`StagingError::TooSmall`] for
    /// settings that cannot work.
    pub fn open(
        settings: Settings,
        set: SetId,
        world: World,
    ) -> Result<(Self, Recovered), StagingError> {
        settings.check()?;
        let layout = Layout { dir: settings.dir.clone() };
        layout.make_dirs(&*world.files)?;
        let guard = layout.lock(&*world.files, "fill.lock", "fills")?;
        let (slots, recovered) = recover(&layout, &*world.files)?;
        let World { files, clock, cancel } = world;
        let parts = Parts { layout, files, clock, cancel, guard };
        let shared = Arc::new(Shared::new(settings, set, parts, slots)?);
        let work = Arc::clone(&shared);
        let sealer = thread::Builder::new()
            .name("sealer".to_owned())
            .spawn(move || seal_what_is_ready(&work))
            .map_err(|cause| StagingError::Disk {
                operation: "start a thread to seal",
                path: shared.layout.dir.clone(),
                cause,
            })?;
        Ok((Self { shared, sealer: Some(sealer) }, recovered))
    }

    /// How long a part is, in bytes: a longer item is claimed part by part.
    pub fn part_bytes(&self) -> u64 {
        self.shared.settings.part_bytes
    }

    /// Takes a whole item at once: a small file, or one without content. `data` is its content,
    /// with the holes of a sparse file as zeros. Waits while there is no room.
    ///
    /// # Errors
    ///
    /// Of [`StagingError`], `TooLarge`, `Unfit` and `Content` concern this item alone.
    pub fn put(&self, source: &SourceName, item: Item, data: &[u8]) -> Result<(), StagingError> {
        self.shared.put(member::draft(source, item, None), data)
    }

    /// Takes several whole items at once, as [`Self::put`] takes one, at far less cost for each.
    /// `data` is their contents, one after the other. Returns items that have to be put one by one:
    /// all of them, or none. Waits while there is no room.
    ///
    /// # Errors
    ///
    /// When staging takes no more.
    pub fn put_all(
        &self,
        source: &SourceName,
        items: Vec<Item>,
        data: &[u8],
    ) -> Result<Vec<Item>, StagingError> {
        self.shared.put_all(source, items, data)
    }

    /// Claims room for an item, or for one part of it. Waits while there is no room.
    ///
    /// # Errors
    ///
    /// As [`Self::put`].
    pub fn claim(
        &self,
        source: &SourceName,
        item: Item,
        part: Option<Part>,
    ) -> Result<Region, StagingError> {
        self.shared.claim(member::draft(source, item, part))
    }

    /// What open segments hold already, sorted by [`Entry::order`]: it need not be fetched again.
    /// Members that are put meanwhile may be among it or not.
    ///
    /// # Errors
    ///
    /// [`StagingError::Disk`] when a journal cannot be read.
    pub fn held(&self) -> Result<Held, StagingError> {
        let shared = &self.shared;
        held(&shared.layout, &*shared.files, &shared.open_segments())
    }

    /// Has everything sealed that was put, and waits for it. Claimed regions have to be finished
    /// or dropped before.
    ///
    /// # Errors
    ///
    /// Why a segment could not be sealed.
    pub fn seal_all(&self) -> Result<(), StagingError> {
        self.shared.seal_all()
    }

    /// The next segment that was sealed since the opening, waiting for one up to `patience`.
    ///
    /// # Errors
    ///
    /// Why a segment could not be sealed.
    pub fn next_sealed(&self, patience: Duration) -> Result<Option<Sealed>, StagingError> {
        self.shared.next_sealed(patience)
    }

    /// Whether somebody waits for room that only freeing a segment can give.
    pub fn is_blocked(&self) -> bool {
        self.shared.is_blocked()
    }

    /// Whether a process empties this staging now. To be asked rarely: one that begins at the same
    /// moment finds the staging busy.
    ///
    /// # Errors
    ///
    /// [`StagingError::Disk`] when the lock cannot be looked at.
    pub fn is_being_emptied(&self) -> Result<bool, StagingError> {
        let path = self.shared.layout.dir.join(TAPE_LOCK);
        let free = self.shared.files.lock(&path).map_err(disk("lock", path))?;
        Ok(free.is_none())
    }

    /// The error that says that the budget is used up, and by what.
    ///
    /// # Errors
    ///
    /// As [`Self::usage`].
    pub fn full(&self) -> Result<StagingError, StagingError> {
        let (dir, budget) = (self.shared.layout.dir.clone(), self.shared.settings.budget_bytes);
        Ok(StagingError::Full { dir, budget, usage: self.usage()? })
    }

    /// All that is sealed and not freed, oldest first, also what was sealed before the opening.
    ///
    /// # Errors
    ///
    /// [`StagingError::Damaged`] when a record cannot be read.
    pub fn sealed(&self) -> Result<Vec<Sealed>, StagingError> {
        list_sealed(&self.shared.layout, &*self.shared.files)
    }

    /// The manifest of a sealed segment, in its order.
    ///
    /// # Errors
    ///
    /// [`StagingError::Disk`] when it is not there.
    pub fn manifest(&self, segment: SegmentId) -> Result<Entries, StagingError> {
        read_manifest(&self.shared.layout, &self.shared.files, segment)
    }

    /// Takes no more: who waits for room gets [`StagingError::Closed`].
    pub fn close(&self) {
        self.shared.close();
    }

    /// What was done since the opening.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What staging takes on its disk now.
    ///
    /// # Errors
    ///
    /// [`StagingError::Disk`] when a directory cannot be read.
    pub fn usage(&self) -> Result<Usage, StagingError> {
        usage(&self.shared.layout, &*self.shared.files)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.shared.close();
        // The lock goes with the last who knows of it, and the caller may want it at once.
        if let Some(sealer) = self.sealer.take()
            && sealer.join().is_err()
        {
            tracing::error!("the sealer panicked");
        }
    }
}

fn seal_what_is_ready(shared: &Shared) {
    while let Some(segment) = shared.next_ready() {
        let bench = Bench {
            layout: &shared.layout,
            files: &*shared.files,
            set: shared.set,
            created: shared.clock.now(),
            block_size: shared.settings.block_size,
        };
        let result = seal(&segment, &bench);
        let id = segment.id;
        drop(segment);
        shared.settle(id, result);
    }
}

impl Shared {
    /// Takes a whole member.
    pub(in crate::staging) fn put(
        self: &Arc<Self>,
        mut entry: Entry,
        data: &[u8],
    ) -> Result<(), StagingError> {
        if data.len() as u64 != member::content_length(&entry) {
            let what = "the bytes are more or fewer than its size";
            return Err(StagingError::Content { key: entry.item.key, what });
        }
        self.counters.fetch(data.len() as u64);
        if entry.item.kind == Kind::File {
            let mut hasher = RangeHasher::new();
            hasher.update(data);
            let (digest, values) = hasher.finish();
            entry.digest = Some(digest);
            if entry.item.extents.is_none() {
                entry.chaining = member::chaining(&values);
            }
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let result = self.put_whole(entry, data, scratch);
            if scratch.bytes.capacity() > SCRATCH_KEPT {
                scratch.bytes = Vec::new();
            }
            result
        })
    }

    fn put_whole(
        self: &Arc<Self>,
        mut entry: Entry,
        data: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), StagingError> {
        loop {
            let only = self.link(&mut entry);
            scratch.bytes.clear();
            let head = member::encode_head(&entry, &mut scratch.bytes)?;
            let Some((encoded, extents)) = head else {
                let Some(ticket) = self.take(need(&entry, (0, 0), None))? else { continue };
                return self.finish(ticket, &entry, &mut scratch.line);
            };
            if encoded.data > 0 {
                push_data(&mut scratch.bytes, data, extents.as_deref());
            }
            let whole = encoded.total();
            scratch.bytes.resize(usize::try_from(whole).expect("it is in memory"), 0);
            // Only a link is sent away, when the segment of its target takes no more.
            let need = need(&entry, (whole, encoded.data), only);
            let Some(ticket) = self.take(need)? else { continue };
            if entry.linked_to.is_some() {
                entry.chaining.clear();
            }
            member::place(&mut entry, encoded, ticket.span.offset);
            ticket.segment.write(&scratch.bytes, ticket.span.offset)?;
            return self.finish(ticket, &entry, &mut scratch.line);
        }
    }

    fn claim(self: &Arc<Self>, mut entry: Entry) -> Result<Region, StagingError> {
        if member::content_length(&entry) == 0 {
            return Ok(Region::later(Arc::clone(self), entry));
        }
        let mut bytes = Vec::new();
        loop {
            let only = self.link(&mut entry);
            bytes.clear();
            let head = member::encode_head(&entry, &mut bytes)?;
            let (encoded, extents) = head.expect("what has content has a member");
            let need = need(&entry, (encoded.total(), encoded.data), only);
            let Some(ticket) = self.take(need)? else { continue };
            member::place(&mut entry, encoded, ticket.span.offset);
            ticket.segment.write(&bytes, ticket.span.offset)?;
            return Ok(Region::taken(Arc::clone(self), entry, ticket, (encoded, extents)));
        }
    }

    /// Writes a member's line, and lets others link to it.
    pub(in crate::staging) fn finish(
        &self,
        ticket: Ticket,
        entry: &Entry,
        line: &mut Line,
    ) -> Result<(), StagingError> {
        let bytes = line.set(entry);
        ticket.segment.journal().append(line, entry, ticket.span)?;
        ticket.finish(bytes, member::link_of(entry));
        Ok(())
    }

    /// Makes the entry a link, when the segment being filled holds its file under another name;
    /// which segment that is. Else the entry is none.
    fn link(&self, entry: &mut Entry) -> Option<SegmentId> {
        entry.linked_to = None;
        let (segment, linked) = self.linked(&member::link_group(entry)?)?;
        let same = linked.size == entry.item.size
            && linked.modified == entry.item.modified
            && linked.key != entry.item.key
            && entry.digest.is_none_or(|digest| digest == linked.digest);
        if !same {
            return None;
        }
        entry.linked_to = Some(LinkedTo { key: linked.key });
        entry.digest = Some(linked.digest);
        Some(segment)
    }
}

/// What an entry's member of `length` bytes asks for, `stored` of which are data.
pub(in crate::staging) fn need(
    entry: &Entry,
    (length, stored): (u64, u64),
    only: Option<SegmentId>,
) -> Need<'_> {
    let last = entry.linked_to.is_some() || entry.item.kind == Kind::Directory;
    let sum = match (&entry.path, &entry.item.kind) {
        (Some(path), Kind::File) => sums_line_bytes(path),
        _ => 0,
    };
    Need {
        source: &entry.source,
        key: &entry.item.key,
        others: &[],
        only,
        length,
        place: if last { Place::Last } else { Place::Anywhere },
        line: member::line_estimate(entry, stored),
        sum,
    }
}

fn push_data(out: &mut Vec<u8>, data: &[u8], extents: Option<&[Extent]>) {
    let Some(extents) = extents else {
        out.extend_from_slice(data);
        return;
    };
    let place = |number: u64| usize::try_from(number).expect("it is within data in memory");
    for extent in extents {
        out.extend_from_slice(&data[place(extent.offset)..place(extent.offset + extent.length)]);
    }
}
