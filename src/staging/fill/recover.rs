//! What an interrupted job left: sealed files get their records, finished members stay.

use std::{cmp::Reverse, collections::HashSet, io, path::Path};

use crate::{
    crash,
    digest::Digest,
    ident::{SegmentId, SourceName},
    item::{Extent, Key},
    staging::{
        error::{StagingError, disk},
        files::{Files, Handle, read_exact_at},
        fill::{
            member,
            room::{Slot, Stage},
        },
        sealed::{Layout, parse_name, unfinished},
        segment::{
            allocator::{Allocator, Span},
            journal::{Journal, Line, Record, Window, replay},
            open::Segment,
            seal::record_again,
        },
        store::{finish_removals, remove},
    },
    tar,
    volume::{manifest::Entry, segment::sums_line_bytes},
};

/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What an opening found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Segments that were open, and are again.
    pub segments: usize,
    /// Finished members in them: they need not be fetched again.
    pub members: u64,
    /// Bytes that these take.
    pub bytes: u64,
    /// Members that were finished and did not outlive a power loss.
    pub lost: u64,
    /// Segments that were sealed but not recorded, and are now.
    pub recorded: usize,
}

/// Looks at everything in the staging's directories, and leaves nothing half done.
pub(in crate::staging) fn recover(
    layout: &Layout,
    files: &dyn Files,
) -> Result<(Vec<Slot>, Recovered), StagingError> {
    let mut recovered = Recovered::default();
    finish_removals(layout, files)?;
    remove_unfinished(layout, files)?;
    let sealed = names(layout, files, "sealed")?;
    let has = |segment: SegmentId, ending: &str| {
        sealed.iter().any(|(found, of)| *found == segment && of == ending)
    };
    for (segment, _) in sealed.iter().filter(|(_, ending)| ending == "seg") {
        if !has(*segment, "json") {
            recovered.recorded += usize::from(record_again(layout, files, *segment)?);
            crash::point("staging.recover.recorded");
        }
    }
    let recorded: HashSet<SegmentId> = names(layout, files, "sealed")?
        .into_iter()
        .filter(|(_, ending)| ending == "json")
        .map(|(segment, _)| segment)
        .collect();
    let open = names(layout, files, "open")?;
    let mut slots = Vec::new();
    for (segment, ending) in &open {
        let has_journal = open.iter().any(|(of, kind)| of == segment && kind == "journal");
        if ending != "part" {
            continue;
        }
        if recorded.contains(segment) || !has_journal {
            remove(files, &layout.part(*segment))?;
        } else if let Some(slot) = reopen(layout, files, *segment, &mut recovered)? {
            slots.push(slot);
        }
    }
    for (segment, ending) in &open {
        let kept = slots.iter().any(|slot: &Slot| slot.segment.id == *segment);
        if ending == "journal" && !kept {
            remove(files, &layout.journal(*segment))?;
        }
    }
    // The fullest are sealed at once, and the emptiest goes on.
    slots.sort_by_key(|slot: &Slot| Reverse(slot.space.end()));
    let last = slots.len().saturating_sub(1);
    for slot in slots.iter_mut().take(last) {
        slot.stage = Stage::Ready;
    }
    Ok((slots, recovered))
}

/// The segments of a directory, each with its file's ending.
fn names(
    layout: &Layout,
    files: &dyn Files,
    dir: &str,
) -> Result<Vec<(SegmentId, String)>, StagingError> {
    let dir = layout.dir.join(dir);
    let listings = files.list(&dir).map_err(disk("list", dir))?;
    let names = listings.iter().filter_map(|listing| parse_name(&listing.name));
    Ok(names.map(|(segment, ending)| (segment, ending.to_owned())).collect())
}

/// Removes files that were being written: each is written anew by whoever needs it.
fn remove_unfinished(layout: &Layout, files: &dyn Files) -> Result<(), StagingError> {
    for dir in [layout.open_dir(), layout.sealed_dir(), layout.manifest_dir()] {
        for listing in files.list(&dir).map_err(disk("list", &dir))? {
            if listing.name.ends_with(".tmp") || listing.name.ends_with(".sums") {
                remove(files, &dir.join(&listing.name))?;
            }
        }
    }
    Ok(())
}

/// Opens a segment again with what of it is good; `None` when nothing is.
fn reopen(
    layout: &Layout,
    files: &dyn Files,
    id: SegmentId,
    recovered: &mut Recovered,
) -> Result<Option<Slot>, StagingError> {
    let path = layout.part(id);
    let handle = files.open(&path).map_err(disk("open", &path))?;
    // What the old journal has, sorted, and of several lines of one name only the last.
    let old_path = layout.journal(id);
    let all_path = unfinished(&old_path);
    let mut all = Journal::create(files, &all_path, &layout.dir)?;
    let mut line = Line::default();
    replay(files, &old_path, &mut |entry| {
        line.set(&entry);
        all.append(&line, &entry, span_of(&entry))
    })?;
    let mut records = all.sorted()?;
    let found = records.len();
    // In the order of the file, so that the disk is read once and forwards.
    records.sort_by_key(|record| (record.span.offset, record.span.length));
    keep_good(&*handle, &all, &mut records).map_err(|error| error.at(&path))?;
    recovered.lost += (found - records.len()) as u64;
    if records.is_empty() {
        remove(files, &path)?;
        remove(files, &all_path)?;
        remove(files, &layout.manifest(id))?;
        return Ok(None);
    }
    let kept_path = unfinished(&all_path);
    let kept = Journal::create(files, &kept_path, &layout.dir)?;
    let segment = Segment::resume(id, &path, handle, kept.renamed(&old_path));
    let slot = refill(segment, &all, &records)?;
    files.rename(&kept_path, &old_path).map_err(disk("rename", kept_path))?;
    remove(files, &all_path)?;
    crash::point("staging.recover.journal");
    recovered.segments += 1;
    recovered.members += records.len() as u64;
    recovered.bytes += records.iter().map(|record| record.span.length).sum::<u64>();
    Ok(Some(slot))
}

/// Where a member lies, from its first header to the next member.
fn span_of(entry: &Entry) -> Span {
    if entry.path.is_none() {
        return Span { offset: 0, length: 0 };
    }
    let end = entry.data.saturating_add(entry.stored);
    let end = end.saturating_add(tar::padding(entry.stored) as u64);
    Span { offset: entry.offset, length: end.saturating_sub(entry.offset) }
}

/// Makes the room of a segment that already has members, and its journal.
fn refill(segment: Segment, all: &Journal, records: &[Record]) -> Result<Slot, StagingError> {
    let mut slot = Slot::new(segment);
    let (mut end, mut gaps) = (0, Vec::new());
    let (mut window, mut line) = (Window::default(), Line::default());
    for record in records {
        let entry = all.read(record, &mut window)?;
        slot.manifest += line.set(&entry);
        slot.segment.journal().append(&line, &entry, record.span)?;
        slot.members += 1;
        if let (Some(path), Some(_)) = (&entry.path, entry.digest) {
            slot.sums += sums_line_bytes(path);
        }
        if let Some((of, linked)) = member::link_of(&entry) {
            slot.links.insert(of, linked);
        }
        if record.span.length == 0 {
            continue;
        }
        if record.span.offset > end {
            gaps.push(Span { offset: end, length: record.span.offset - end });
        }
        end = record.span.end();
    }
    slot.space = Allocator::resume(end, gaps);
    Ok(slot)
}

/// Why a member could not be looked at, or that it is not there.
enum Look {
    Journal(StagingError),
    Disk(io::Error),
}

impl Look {
    fn at(self, path: &Path) -> StagingError {
        match self {
            Self::Journal(error) => error,
            Self::Disk(cause) => disk("read", path)(cause),
        }
    }
}

/// Leaves only members that are on the disk whole, and links whose target is.
fn keep_good(
    handle: &dyn Handle,
    journal: &Journal,
    records: &mut Vec<Record>,
) -> Result<(), Look> {
    let mut window = Window::default();
    let mut check = Check { handle, bytes: vec![0; PIECE] };
    // Files of several names that are there, and names that link to one.
    let mut targets: HashSet<(SourceName, Key)> = HashSet::new();
    let mut end = 0;
    let mut good = Vec::with_capacity(records.len());
    for record in records.iter() {
        let entry = journal.read(record, &mut window).map_err(Look::Journal)?;
        let whole = record.span.length == 0
            || (record.span.offset >= end && check.is_whole(&entry).map_err(Look::Disk)?);
        let target = entry.linked_to.as_ref().map(|to| (entry.source.clone(), to.key.clone()));
        // A link lies behind its target, so the target was looked at before.
        if !whole || target.is_some_and(|target| !targets.contains(&target)) {
            continue;
        }
        if let Some((of, linked)) = member::link_of(&entry) {
            targets.insert((of.0, linked.key));
        }
        end = end.max(record.span.end());
        good.push(*record);
    }
    *records = good;
    Ok(())
}

/// Compares members on the disk with what their entries say.
struct Check<'a> {
    handle: &'a dyn Handle,
    bytes: Vec<u8>,
}

impl Check<'_> {
    fn is_whole(&mut self, entry: &Entry) -> io::Result<bool> {
        match self.compare(entry) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            result => result,
        }
    }

    fn compare(&mut self, entry: &Entry) -> io::Result<bool> {
        let mut head = Vec::new();
        let Ok(Some((encoded, extents))) = member::encode_head(entry, &mut head) else {
            return Ok(false);
        };
        let stated = entry.data.checked_sub(entry.offset) == Some(encoded.headers)
            && entry.stored == encoded.map + encoded.data;
        if !stated || !self.equals(entry.offset, &head)? {
            return Ok(false);
        }
        let data = entry.data + encoded.map;
        let padding = tar::padding(encoded.data);
        if !self.equals(data + encoded.data, &[0; tar::UNIT][..padding])? {
            return Ok(false);
        }
        let Some(digest) = entry.digest.filter(|_| entry.linked_to.is_none()) else {
            return Ok(true);
        };
        let mut hasher = blake3::Hasher::new();
        let whole = [Extent { offset: 0, length: encoded.data }];
        let (mut at, mut from) = (0, data);
        for extent in extents.as_deref().unwrap_or(&whole) {
            push_zeros(&mut hasher, extent.offset - at);
            self.push(&mut hasher, from, extent.length)?;
            from += extent.length;
            at = extent.offset + extent.length;
        }
        if extents.is_some() {
            push_zeros(&mut hasher, member::content_length(entry) - at);
        }
        Ok(Digest::from_hasher(&hasher) == digest)
    }

    fn equals(&mut self, offset: u64, expected: &[u8]) -> io::Result<bool> {
        let mut at = offset;
        for piece in expected.chunks(PIECE) {
            let found = &mut self.bytes[..piece.len()];
            read_exact_at(self.handle, found, at)?;
            if found != piece {
                return Ok(false);
            }
            at += piece.len() as u64;
        }
        Ok(true)
    }

    fn push(&mut self, hasher: &mut blake3::Hasher, offset: u64, length: u64) -> io::Result<()> {
        let mut done = 0;
        while done < length {
            let left = usize::try_from(length - done).unwrap_or(usize::MAX);
            let piece = &mut self.bytes[..left.min(PIECE)];
            read_exact_at(self.handle, piece, offset + done)?;
            hasher.update(piece);
            done += piece.len() as u64;
        }
        Ok(())
    }
}

fn push_zeros(hasher: &mut blake3::Hasher, length: u64) {
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        hasher.update(&ZEROS[..now]);
        left -= now as u64;
    }
}
