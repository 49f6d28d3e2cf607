//! Sorting more than fits memory: bounded runs in unlinked temporary files, merged.

mod external;
mod merge;
mod run;

pub use external::{Sorted, Sorter};
pub use merge::{Merge, merge, merge_by};
pub use run::unlinked;

use std::{cmp::Ordering, io, path::PathBuf};

/// A record: a key that it is sorted by, and a value that rides along.
///
/// Ordered by the key's bytes, then by the value's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    bytes: Vec<u8>,
    key_length: usize,
}

/// The temporary files could not be written or read: no space left, most often.
#[derive(Debug, thiserror::Error)]
#[error("{operation} temporary file in {} failed", crate::printable::Printable::from(directory.as_path()))]
pub struct SorterError {
    /// What was tried.
    pub operation: &'static str,
    /// Where the temporary files lie.
    pub directory: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

impl Record {
    /// What it is sorted by.
    pub fn key(&self) -> &[u8] {
        &self.bytes[..self.key_length]
    }

    /// What rides along.
    pub fn value(&self) -> &[u8] {
        &self.bytes[self.key_length..]
    }
}

impl Ord for Record {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.key(), self.value()).cmp(&(other.key(), other.value()))
    }
}

impl PartialOrd for Record {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
