//! Files that no copy gives whole: what can be read of them, put together from all copies.
//!
//! A hole in one copy may be good in another, so that the file is whole after all. If it is not, it
//! is kept beside its place under a name that says so.

use std::collections::{BTreeMap, HashMap};

use crate::{
    catalog::CopyState,
    destination::{Destination, DestinationError, NewFile},
    digest::Digest,
    drive::GUARD,
    ident::VolumeId,
    item::Extent,
    job::{
        JobError,
        holes::Span,
        monitor::{Event, Salvaged},
        restore::{
            Restore,
            missed::{Hit, Missed, content_of},
            outcome::{NotRestored, Outcome},
            read::{Head, Step, mount},
            select::Selected,
            wanted::{Member, Wanted, WantedFile},
        },
        tape::BLOCK_MAX,
    },
    media::{Status, Volume},
    position::ObjectNumber,
    printable::Printable,
};

/// Files that are put together at once: each is open.
const FILES_AT_ONCE: usize = 200;
/// Blocks of one volume that may be unreadable before the rest is given up: each can cost a drive
/// minutes.
const UNREAD_MAX: u32 = 1000;
/// Bytes compared at a time.
const BUFFER: usize = 1 << 18;

/// A file that is being put together.
struct Remains {
    wanted: Wanted,
    identity: Digest,
    /// Why it did not come back.
    why: String,
    file: NewFile,
    fragments: Vec<Fragment>,
}

/// A member of such a file.
struct Fragment {
    member: Member,
    /// Where the bytes of its content begin, in the segment.
    start: u64,
    /// Where they belong in the content.
    extents: Vec<Extent>,
    /// Which of them have not come: bytes of the segment, apart, ascending.
    missing: Vec<Span>,
}

/// A fragment where it stands on a volume.
#[derive(Clone, Copy, Debug)]
struct Visit {
    /// The first block of its segment.
    begin: ObjectNumber,
    block_size: u32,
    file: usize,
    fragment: usize,
}

impl Restore<'_> {
    /// Puts together what can be read of the files that no copy gave.
    ///
    /// # Errors
    ///
    /// When a drive, the catalog or the destination fail.
    pub(super) fn salvage(
        &mut self,
        selected: &Selected,
        destination: &mut Destination,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), JobError> {
        let mut batch = Vec::new();
        for file in selected.files.records()?.chain(selected.links.records()?) {
            self.desk.go_on()?;
            let file = file?;
            let Some((wanted, why)) = self.damaged.remove(&file.wanted.target) else { continue };
            match destination.create(&wanted.target.0, &wanted.item) {
                Ok(new) => batch.push(Remains::new(file, why, new)),
                Err(error) => outcome.refused(&wanted.source, &wanted.item, error)?,
            }
            if batch.len() == FILES_AT_ONCE {
                self.salvage_batch(std::mem::take(&mut batch), destination, outcome)?;
            }
        }
        self.salvage_batch(batch, destination, outcome)
    }

    fn salvage_batch(
        &mut self,
        mut batch: Vec<Remains>,
        destination: &mut Destination,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), JobError> {
        for (volume, visits) in self.visits(&batch)? {
            let is_wanted =
                |visit: &Visit| !batch[visit.file].fragments[visit.fragment].missing.is_empty();
            if visits.iter().any(is_wanted) {
                self.gather(&volume, &visits, &mut batch, &mut outcome.missed)?;
            }
        }
        for remains in batch {
            remains.finish(destination, outcome)?;
        }
        Ok(())
    }

    /// Which volumes hold any of it, the nearest first, and where, in the order of the tape.
    fn visits(&self, batch: &[Remains]) -> Result<Vec<(Volume, Vec<Visit>)>, JobError> {
        let mut by_volume: HashMap<VolumeId, Vec<Visit>> = HashMap::new();
        for (file, remains) in batch.iter().enumerate() {
            for (fragment, part) in remains.fragments.iter().enumerate() {
                let segment = part.member.place.segment;
                let Some(known) = self.catalog.segment(segment)? else { continue };
                for copy in self.catalog.copies(segment)? {
                    if copy.state != CopyState::Void && !self.unavailable.contains(&copy.volume) {
                        let (begin, block_size) = (copy.object, known.block_size);
                        let visit = Visit { begin, block_size, file, fragment };
                        by_volume.entry(copy.volume).or_default().push(visit);
                    }
                }
            }
        }
        let mut volumes = BTreeMap::new();
        for (id, mut visits) in by_volume {
            let Some(volume) = self.catalog.volume_by_id(id)? else { continue };
            if volume.status == Status::Destroyed {
                continue;
            }
            visits.sort_by_key(|visit| {
                (visit.begin, batch[visit.file].fragments[visit.fragment].member.offset)
            });
            volumes.insert((self.near.reach(&volume), volume.volser, id), (volume, visits));
        }
        Ok(volumes.into_values().collect())
    }

    /// Reads what is missing from one volume.
    fn gather(
        &mut self,
        volume: &Volume,
        visits: &[Visit],
        batch: &mut [Remains],
        missed: &mut Missed,
    ) -> Result<(), JobError> {
        self.open_station()?;
        let (catalog, desk) = (self.catalog, self.desk);
        let station = self.station.as_mut().expect("opened above");
        if let Err(error) = mount(catalog, station, volume, desk) {
            return self.fell_away(volume, error);
        }
        self.mounted = Some(volume.volser);
        desk.notice(format!("{}: what can be read of damaged files is read", volume.volser));
        let mut gathering =
            Gathering { head: Head::new((catalog, station, desk), volume), volume, unread: 0 };
        for visit in visits {
            desk.go_on()?;
            let Remains { wanted, file, fragments, .. } = &mut batch[visit.file];
            let fragment = &mut fragments[visit.fragment];
            let hits = gathering.fragment(*visit, fragment, file)?;
            let Some(hits) = hits else { continue };
            missed.forget(volume, fragment.member.place);
            for hit in hits {
                let segment = (visit.begin, visit.block_size);
                missed.add(volume, segment, (wanted, &fragment.member), hit);
            }
        }
        Ok(())
    }
}

/// One volume, as far as it serves.
struct Gathering<'a> {
    head: Head<'a>,
    volume: &'a Volume,
    /// Blocks that could not be read.
    unread: u32,
}

impl Gathering<'_> {
    /// Reads what is missing of a fragment. Says what of it cannot be read here; `None` when that
    /// was not looked at.
    fn fragment(
        &mut self,
        visit: Visit,
        fragment: &mut Fragment,
        file: &NewFile,
    ) -> Result<Option<Vec<Hit>>, JobError> {
        let size = u64::from(visit.block_size).max(1);
        let mut room = vec![0; BLOCK_MAX + GUARD];
        let mut hits: Vec<Hit> = Vec::new();
        if fragment.missing.is_empty() {
            return Ok(None);
        }
        for Span { from, to } in std::mem::take(&mut fragment.missing) {
            let mut at = from;
            while at < to {
                let block = at / size;
                let bytes = Span { from: at, to: ((block + 1) * size).min(to) };
                at = bytes.to;
                if self.read(visit.begin.after(block), visit.block_size, &mut room)? {
                    let inside = |byte: u64| {
                        usize::try_from(byte - block * size).expect("a block fits memory")
                    };
                    let content = &room[inside(bytes.from)..inside(bytes.to)];
                    fragment.put(bytes.from, content, file).map_err(super::outcome::fatal)?;
                    continue;
                }
                push_joined(&mut fragment.missing, bytes);
                match hits.last_mut() {
                    Some(last) if last.bytes.to == bytes.from => last.bytes.to = bytes.to,
                    Some(_) | None => hits.push(Hit { bytes, unread: true, more: false }),
                }
            }
        }
        Ok(Some(hits))
    }

    /// Reads a block. `false` when it cannot be had.
    fn read(
        &mut self,
        wanted: ObjectNumber,
        block_size: u32,
        room: &mut [u8],
    ) -> Result<bool, JobError> {
        while self.unread < UNREAD_MAX {
            match self.head.read(wanted, block_size, room)? {
                Step::Block(_) => return Ok(true),
                Step::Onward => {}
                Step::Missing(missing) => {
                    self.unread += 1;
                    tracing::warn!(volume = %self.volume.volser, why = missing.why(), "skipped");
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }
}

fn push_joined(spans: &mut Vec<Span>, span: Span) {
    match spans.last_mut() {
        Some(last) if last.to == span.from => last.to = span.to,
        Some(_) | None => spans.push(span),
    }
}

impl Remains {
    fn new(file: WantedFile, why: String, new: NewFile) -> Self {
        let identity = file.identity();
        let WantedFile { wanted, members } = file;
        let fragments = members.into_iter().map(|member| Fragment::new(&wanted, member)).collect();
        Self { wanted, identity, why, file: new, fragments }
    }

    /// Puts the file into its place if it is whole now, and beside it if it is not.
    fn finish(
        self,
        destination: &mut Destination,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), JobError> {
        let mut missing: Vec<Span> = Vec::new();
        for fragment in &self.fragments {
            let content = content_of(&self.wanted, &fragment.member);
            for span in fragment.missing.iter().filter_map(|span| content.bytes_in(*span)) {
                push_joined(&mut missing, span);
            }
        }
        let Self { wanted, identity, why, file, fragments } = self;
        let mut whole = missing.is_empty();
        for fragment in &fragments {
            whole = whole && fragment.agrees(&wanted, &file).map_err(super::outcome::fatal)?;
        }
        if whole {
            let digest = (fragments.len() == 1).then_some(&fragments[0].member.digest);
            return match destination.finish_file(file, Some(&identity)) {
                Ok(restored) => {
                    outcome.put_together(&wanted);
                    outcome.restored(&wanted, digest, restored)
                }
                Err(error) => outcome.refused(&wanted.source, &wanted.item, error),
            };
        }
        let stored: u64 = fragments.iter().map(Fragment::bytes).sum();
        let lost: u64 = fragments.iter().map(Fragment::missing_bytes).sum();
        if lost >= stored {
            let detail = format!("{why}; nothing of it can be read");
            return outcome.lost(&wanted, NotRestored::Damaged, &detail);
        }
        let detail = match destination.finish_damaged(file) {
            Ok(restored) => {
                let path = Printable(&restored.path).to_string();
                let detail = format!("{why}; what can be read of it is kept in {path}");
                outcome.desk.tell(&Event::Salvaged(Salvaged {
                    source: &wanted.source,
                    key: &wanted.item.key,
                    version: &wanted.item.version,
                    path,
                    bytes: stored - lost,
                    missing: &missing,
                }));
                detail
            }
            Err(error @ (DestinationError::Full { .. } | DestinationError::Root { .. })) => {
                return Err(super::outcome::fatal(error));
            }
            Err(error) => format!("{why}; what can be read of it is not kept: {error}"),
        };
        outcome.lost(&wanted, NotRestored::Damaged, &detail)
    }
}

impl Fragment {
    fn new(wanted: &Wanted, member: Member) -> Self {
        let (start, extents) = content_of(wanted, &member).layout();
        let end = member.end();
        let missing = if start < end { vec![Span { from: start, to: end }] } else { Vec::new() };
        Self { member, start, extents, missing }
    }

    fn base(&self) -> u64 {
        self.member.part.map_or(0, |part| part.offset)
    }

    /// Bytes of it that are on tape.
    fn bytes(&self) -> u64 {
        self.member.end().saturating_sub(self.start)
    }

    fn missing_bytes(&self) -> u64 {
        self.missing.iter().map(|span| span.to - span.from).sum()
    }

    /// Writes bytes, which stand at `at` in the segment, to their places in the file.
    fn put(&self, at: u64, mut bytes: &[u8], file: &NewFile) -> Result<(), DestinationError> {
        let mut packed = self.start;
        let mut at = at;
        for Extent { offset, length } in &self.extents {
            let end = packed + length;
            if at < end && !bytes.is_empty() {
                let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len());
                let (now, later) = bytes.split_at(room);
                file.write_at(self.base() + offset + (at - packed), now)?;
                (at, bytes) = (at + room as u64, later);
            }
            packed = end;
        }
        Ok(())
    }

    /// Whether what is in the file agrees with the digest.
    fn agrees(&self, wanted: &Wanted, file: &NewFile) -> Result<bool, DestinationError> {
        let size = content_of(wanted, &self.member).size;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BUFFER];
        let mut at = 0;
        while at < size {
            let now = usize::try_from(size - at).unwrap_or(usize::MAX).min(BUFFER);
            let read = file.read_at(self.base() + at, &mut buffer[..now])?;
            // Behind the last byte that was written comes a hole.
            buffer[read..now].fill(0);
            hasher.update(&buffer[..now]);
            at += now as u64;
        }
        Ok(Digest::from_hasher(&hasher) == self.member.digest)
    }
}
