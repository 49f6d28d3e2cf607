//! Regions: room for one member whose bytes come in ranges, in any order, from many threads.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    digest::{ChainingValue, Digest, RANGE, RangeHasher, merge},
    item::Extent,
    staging::{
        error::StagingError,
        fill::{
            member,
            room::{Shared, Ticket},
        },
        segment::journal::Line,
    },
    tar,
    volume::manifest::Entry,
};

/// One range of zeros at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What was learned while a member's bytes came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Which checksum of the source's own the bytes agreed with; empty for none.
    pub verified: String,
    /// Of a part but the last: that checksum as it stands at the part's end; empty for none.
    pub running: String,
    /// Whether the item changed under the reader.
    pub torn: bool,
}

/// Room for one member. Dropped unfinished, it goes back.
#[derive(Debug)]
pub struct Region {
    shared: Arc<Shared>,
    entry: Entry,
    /// Bytes of content that are to come.
    length: u64,
    room: Room,
}

/// Where the bytes go.
#[derive(Debug)]
enum Room {
    /// Nowhere yet: the member has no content of its own, and is put when it is finished.
    Later,
    /// Into the segment.
    Taken(Ticket, Data),
}

/// Where content lies in the segment, and what is known of it.
#[derive(Debug)]
struct Data {
    /// Offset of the first byte of data in the segment.
    at: u64,
    /// Bytes of data, holes not counted.
    stored: u64,
    /// The extents of a sparse file, each with the place of its first byte among the data.
    extents: Option<Vec<(Extent, u64)>>,
    ranges: Mutex<Ranges>,
}

#[derive(Debug)]
struct Ranges {
    /// By range; `None` for what did not come yet.
    values: Vec<Option<ChainingValue>>,
    /// Of content of at most one range.
    digest: Option<Digest>,
}

impl Region {
    pub(in crate::staging) fn later(shared: Arc<Shared>, entry: Entry) -> Self {
        Self { shared, entry, length: 0, room: Room::Later }
    }

    /// A region whose head is written.
    pub(in crate::staging) fn taken(
        shared: Arc<Shared>,
        entry: Entry,
        ticket: Ticket,
        (encoded, extents): member::Shape,
    ) -> Self {
        let linked = entry.linked_to.is_some();
        let length = if linked { 0 } else { member::content_length(&entry) };
        let ranges = usize::try_from(length.div_ceil(RANGE)).expect("ranges fit memory");
        let mut place = 0;
        let extents = extents.map(|extents| {
            let placed = extents.into_iter().map(|extent| {
                let at = place;
                place += extent.length;
                (extent, at)
            });
            placed.collect()
        });
        let data = Data {
            at: entry.data + encoded.map,
            stored: encoded.data,
            extents,
            ranges: Mutex::new(Ranges { values: vec![None; ranges], digest: None }),
        };
        Self { shared, entry, length, room: Room::Taken(ticket, data) }
    }

    /// How many bytes of content are to come: 0 also for another name of a file that the segment
    /// already holds, whose bytes need not be read.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Takes bytes of the content (of the part's content). `offset` is a multiple of [`RANGE`], and
    /// `bytes` are whole ranges, but for the last of the content. Calls may come in any order and
    /// from many threads at once. Of a sparse item only ranges that touch an extent need to come.
    ///
    /// # Errors
    ///
    /// [`StagingError::Content`] for bytes that do not belong there, [`StagingError::Disk`] when
    /// they cannot be written.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), StagingError> {
        let Room::Taken(ticket, data) = &self.room else { return Ok(()) };
        if self.entry.linked_to.is_some() {
            return Ok(());
        }
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.length);
        let whole = offset.is_multiple_of(RANGE)
            && end.is_some_and(|end| end.is_multiple_of(RANGE) || end == self.length);
        if !whole {
            return Err(self.wrong("bytes came that are not whole ranges of what was claimed"));
        }
        self.shared.counters.fetch(bytes.len() as u64);
        data.write(ticket, offset, bytes)?;
        data.hash(offset / RANGE, bytes, self.length);
        Ok(())
    }

    /// Ends the member after its last byte.
    ///
    /// # Errors
    ///
    /// [`StagingError::Content`] when bytes are missing, [`StagingError::Disk`] when the member
    /// cannot be written. Either way its room goes back.
    pub fn finish(self, outcome: Outcome) -> Result<(), StagingError> {
        let Self { shared, mut entry, length, room } = self;
        entry.torn = outcome.torn;
        if let Some(object) = &mut entry.item.object {
            if !outcome.verified.is_empty() {
                object.verified = outcome.verified;
            }
            object.running = outcome.running;
        }
        match room {
            Room::Later => shared.put(entry, &[]),
            Room::Taken(ticket, _) if entry.linked_to.is_some() => {
                shared.finish(ticket, &entry, &mut Line::default())
            }
            Room::Taken(ticket, data) => {
                let Some((digest, values)) = data.digest(length) else {
                    let what = "bytes of what was claimed are missing";
                    return Err(StagingError::Content { key: entry.item.key, what });
                };
                entry.digest = Some(digest);
                if data.extents.is_none() {
                    entry.chaining = member::chaining(&values);
                }
                let padding = tar::padding(data.stored);
                ticket.segment.write(&ZEROS[..padding], data.at + data.stored)?;
                shared.finish(ticket, &entry, &mut Line::default())
            }
        }
    }

    fn wrong(&self, what: &'static str) -> StagingError {
        StagingError::Content { key: self.entry.item.key.clone(), what }
    }
}

impl Data {
    fn write(&self, ticket: &Ticket, offset: u64, bytes: &[u8]) -> Result<(), StagingError> {
        let Some(extents) = &self.extents else {
            return ticket.segment.write(bytes, self.at + offset);
        };
        let end = offset + bytes.len() as u64;
        let first = extents.partition_point(|(extent, _)| extent.offset + extent.length <= offset);
        for (extent, place) in extents[first..].iter().take_while(|(e, _)| e.offset < end) {
            let from = extent.offset.max(offset);
            let to = (extent.offset + extent.length).min(end);
            let piece = &bytes[within(from - offset)..within(to - offset)];
            ticket.segment.write(piece, self.at + place + (from - extent.offset))?;
        }
        Ok(())
    }

    /// Keeps the chaining values of the ranges from number `first` on.
    fn hash(&self, first: u64, bytes: &[u8], length: u64) {
        if length <= RANGE {
            let digest = Digest::of(bytes);
            self.lock().digest = Some(digest);
            return;
        }
        let mut hasher = RangeHasher::at_range(first);
        hasher.update(bytes);
        let values = hasher.chaining_values();
        let mut ranges = self.lock();
        for (index, value) in values.into_iter().enumerate() {
            ranges.values[within(first) + index] = Some(value);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ranges> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of all `length` bytes, and the chaining values if there are several; `None` when
    /// bytes are missing.
    fn digest(&self, length: u64) -> Option<(Digest, Vec<ChainingValue>)> {
        if length <= RANGE {
            let came = self.lock().digest;
            let digest =
                came.or_else(|| self.is_hole(0, length).then(|| zeros(0, length).finish().0));
            return digest.map(|digest| (digest, Vec::new()));
        }
        let mut values = Vec::with_capacity(within(length.div_ceil(RANGE)));
        for (range, value) in self.lock().values.iter().enumerate() {
            let begin = range as u64 * RANGE;
            let end = length.min(begin + RANGE);
            match value {
                Some(value) => values.push(*value),
                None if self.is_hole(begin, end) => {
                    values.extend(zeros(range as u64, end - begin).chaining_values());
                }
                None => return None,
            }
        }
        Some((merge(&values), values))
    }

    /// Whether nothing from `begin` up to `end` is data.
    fn is_hole(&self, begin: u64, end: u64) -> bool {
        match &self.extents {
            None => begin == end,
            Some(extents) => {
                let next = extents.partition_point(|(e, _)| e.offset + e.length <= begin);
                extents.get(next).is_none_or(|(extent, _)| extent.offset >= end)
            }
        }
    }
}

/// A hasher that took `length` zeros from range number `range` on.
fn zeros(range: u64, length: u64) -> RangeHasher {
    let mut hasher = RangeHasher::at_range(range);
    let mut left = within(length);
    while left > 0 {
        let now = left.min(ZEROS.len());
        hasher.update(&ZEROS[..now]);
        left -= now;
    }
    hasher
}

/// A number that counts something in memory.
fn within(number: u64) -> usize {
    usize::try_from(number).expect("what is in memory fits memory")
}
