//! What open segments hold, for a job that goes on after an interruption.

use std::fmt;

use crate::{
    ident::SegmentId,
    sorter::{Sorted, Sorter, SorterError},
    staging::{
        error::{StagingError, disk},
        files::Files,
        sealed::Layout,
        segment::journal::{Line, replay},
    },
    volume::{lines, manifest::Entry},
};

/// What is kept in memory to sort by, in bytes.
const SORT_BYTES: usize = 16 << 20;

/// What a name sorts by, and its number and manifest line.
type Pair = (Vec<u8>, Vec<u8>);

/// Entries of open segments, sorted by [`Entry::order`], each name once. Ends after an error.
pub struct Held {
    sorted: Sorted,
    /// The next record, which a later one of the same name may still replace.
    next: Option<Pair>,
    layout: Layout,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("dir", &self.layout.dir).finish_non_exhaustive()
    }
}

pub(in crate::staging) fn held(
    layout: &Layout,
    files: &dyn Files,
    segments: &[SegmentId],
) -> Result<Held, StagingError> {
    let mut sorter = Sorter::new(&layout.dir, SORT_BYTES);
    let mut line = Line::default();
    let mut value = Vec::new();
    let mut number = 0_u64;
    for segment in segments {
        let path = layout.journal(*segment);
        let seen = replay(files, &path, &mut |entry| {
            line.set(&entry);
            value.clear();
            value.extend_from_slice(&number.to_be_bytes());
            value.extend_from_slice(line.json());
            number += 1;
            sorter.push_keyed(line.order(), &value).map_err(scratch(layout))
        });
        match seen {
            // It was sealed meanwhile.
            Err(StagingError::Disk { cause, .. })
                if cause.kind() == std::io::ErrorKind::NotFound => {}
            Ok(()) | Err(_) => seen?,
        }
    }
    let sorted = sorter.finish().map_err(scratch(layout))?;
    let mut held = Held { sorted, next: None, layout: layout.clone() };
    held.next = held.pull()?;
    Ok(held)
}

fn scratch(layout: &Layout) -> impl Fn(SorterError) -> StagingError {
    |error| disk("sort in", &layout.dir)(error.source)
}

impl Held {
    fn pull(&mut self) -> Result<Option<Pair>, StagingError> {
        let record = self.sorted.next().transpose().map_err(scratch(&self.layout))?;
        Ok(record.map(|record| (record.key().to_vec(), record.value().to_vec())))
    }

    fn advance(&mut self) -> Result<Option<Entry>, StagingError> {
        let Some((mut key, mut value)) = self.next.take() else { return Ok(None) };
        while let Some((next_key, next_value)) = self.pull()? {
            if next_key != key {
                self.next = Some((next_key, next_value));
                break;
            }
            (key, value) = (next_key, next_value);
        }
        let entry = lines::read_line(&value[size_of::<u64>()..]);
        entry.map(Some).map_err(|error| disk("read", &self.layout.dir)(error.into()))
    }
}

impl Iterator for Held {
    type Item = Result<Entry, StagingError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.advance();
        if entry.is_err() {
            self.next = None;
        }
        entry.transpose()
    }
}
