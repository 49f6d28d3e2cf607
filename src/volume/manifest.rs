//! The manifest of a segment: one line of JSON a member, sorted. [`crate::volume::lines`] writes
//! and reads it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ident::SourceName;
use crate::item::{Item, Key, Version};

/// One line of a manifest. The order within a segment is that of [`Entry::order`], and an entry's
/// ordinal is its line number, from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The source.
    pub source: SourceName,
    /// The item (for a part: the whole item).
    #[serde(flatten)]
    pub item: Item,
    /// The member's path within the tar, and `None` for an entry without a member (a delete
    /// marker).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Byte offset of the member's first header within the segment. 0 without a member.
    #[serde(default)]
    pub offset: u64,
    /// Byte offset of the member's data within the segment: of the sparse map for a sparse member.
    #[serde(default)]
    pub data: u64,
    /// Bytes of data in the tar, padding to a unit not included.
    #[serde(default)]
    pub stored: u64,
    /// The digest of the content (of the part's content; of a sparse file with its holes as zeros).
    /// `None` for what has no content of its own: directories, symlinks, delete markers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Which part of the item this is, unless it is the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// For a name of a file that this segment already holds under another name: the key of that
    /// entry (same source). The member is a tar hard link without data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_to: Option<LinkedTo>,
    /// Whether the file changed while it was read, three times over. What is here is the last read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub torn: bool,
    /// BLAKE3 chaining values of 1 MiB each, standard base64 of their 32-byte values one after the
    /// other; absent for content of at most 1 MiB and for sparse members.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chaining: String,
}

/// Which part of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// From 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// Where the part begins within the item, in bytes.
    pub offset: u64,
    /// How many bytes of the item it has.
    pub length: u64,
}

/// The key of another entry of the segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedTo {
    /// Its key.
    #[serde(flatten)]
    pub key: Key,
}

impl Entry {
    /// What entries of a segment are sorted by; no two of one segment are equal.
    pub fn order(&self) -> (&SourceName, &Key, &Version, u32) {
        let part = self.part.map_or(0, |part| part.number);
        (&self.source, &self.item.key, &self.item.version, part)
    }
}

/// Finds the parts that together are an item of `size` bytes, cut into `of` parts: each begins where
/// the one before ends. Their places among `parts`, which are sorted by number, those of one number
/// by preference, the best first. An item may have been cut in several ways; parts of two never join.
pub fn join(parts: &[Part], (of, size): (u32, u64)) -> Option<Vec<usize>> {
    // For each part the one that goes on behind it; and by offset the parts of the number at hand.
    let mut next: Vec<Option<usize>> = vec![None; parts.len()];
    let mut begins: HashMap<u64, usize> = HashMap::new();
    let mut at = parts.len();
    for number in (1..=of).rev() {
        let mut here = HashMap::new();
        let first = parts[..at].partition_point(|part| part.number < number);
        for index in first..at {
            let part = parts[index];
            let Some(end) = part.offset.checked_add(part.length) else { continue };
            next[index] = begins.get(&end).copied();
            if next[index].is_some() || (number == of && end == size) {
                here.entry(part.offset).or_insert(index);
            }
        }
        if here.is_empty() {
            return None;
        }
        (begins, at) = (here, first);
    }
    let joined: Vec<usize> =
        std::iter::successors(begins.get(&0).copied(), |index| next[*index]).collect();
    (!joined.is_empty()).then_some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_join_by_their_spans() {
        let parts = |list: &[(u32, u64, u64)]| -> Vec<Part> {
            let part = |&(number, offset, length)| Part { number, of: 3, offset, length };
            list.iter().map(part).collect()
        };
        for (list, joined) in [
            (&[(1, 0, 4), (2, 4, 4), (3, 8, 2)][..], Some(vec![0, 1, 2])),
            (&[(1, 0, 4), (1, 0, 5), (2, 5, 3), (2, 4, 4), (3, 8, 2)], Some(vec![0, 3, 4])),
            (&[(1, 0, 5), (1, 0, 5), (2, 5, 3), (2, 4, 4), (3, 8, 2)], Some(vec![0, 2, 4])),
            (&[(1, 0, 4), (2, 4, 4), (2, 4, 4), (3, 8, 2), (3, 8, 2)], Some(vec![0, 1, 3])),
            (&[(1, 0, 4), (2, 5, 3), (3, 8, 2)], None),
            (&[(1, 0, 4), (2, 4, 4), (3, 8, 1)], None),
            (&[(1, 1, 3), (2, 4, 4), (3, 8, 2)], None),
            (&[(1, 0, 4), (3, 4, 6)], None),
            (&[(1, 0, 4), (2, 4, u64::MAX), (3, 8, 2)], None),
            (&[], None),
        ] {
            assert_eq!(join(&parts(list), (3, 10)), joined, "{list:?}");
        }
        assert_eq!(join(&[], (0, 0)), None);
    }
}
