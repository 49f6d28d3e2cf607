//! What must stand where in a segment, by its entries.

use crate::{
    digest::Digest,
    item::Extent,
    job::JobError,
    tar::{self, MemberKind},
    volume::{manifest::Entry, member},
};

/// One member, in as few bytes as tell whether it is right: a segment has up to 262,144.
#[derive(Debug)]
pub(super) struct Member {
    /// Its line in the manifest, from 0.
    pub(super) ordinal: u32,
    /// Where its first header begins, in bytes of the segment.
    pub(super) offset: u64,
    /// Where its data begin, behind the headers and the map of a sparse member.
    pub(super) data: u64,
    /// Where its data end, padding not included.
    pub(super) end: u64,
    /// BLAKE3 of headers and map. `None` when the entry gives none that could be written.
    pub(super) head: Option<Digest>,
    /// The digest of its content.
    pub(super) digest: Option<Digest>,
    /// Size and extents of a sparse member.
    pub(super) sparse: Option<Box<(u64, Vec<Extent>)>>,
}

/// The members of a segment in the order in which they stand there.
pub(super) fn members(
    entries: impl Iterator<Item = Result<(u32, Entry), JobError>>,
) -> Result<Vec<Member>, JobError> {
    let mut members = Vec::new();
    for entry in entries {
        let (ordinal, entry) = entry?;
        if entry.path.is_some() {
            members.push(member_of(ordinal, &entry));
        }
    }
    members.sort_unstable_by_key(|member| member.offset);
    Ok(members)
}

fn member_of(ordinal: u32, entry: &Entry) -> Member {
    let mut bytes = Vec::new();
    let head = member::head_of(entry);
    let encoded = head.as_ref().and_then(|head| head.encode_into(&mut bytes).ok());
    let map = encoded.map_or(0, |encoded| encoded.map);
    let sparse = match head.map(|head| head.kind) {
        Some(MemberKind::Sparse { real_size, extents }) => Some(Box::new((real_size, extents))),
        Some(
            MemberKind::File { .. }
            | MemberKind::HardLink { .. }
            | MemberKind::Symlink { .. }
            | MemberKind::Directory
            | MemberKind::Fifo
            | MemberKind::CharacterDevice { .. }
            | MemberKind::BlockDevice { .. },
        )
        | None => None,
    };
    Member {
        ordinal,
        offset: entry.offset,
        data: entry.data.saturating_add(map),
        end: entry.data.saturating_add(entry.stored),
        head: encoded.map(|_| Digest::of(&bytes)),
        // A hard link has its target's digest, and no data.
        digest: entry.digest.filter(|_| entry.linked_to.is_none()),
        sparse,
    }
}

/// The bytes of an entry's headers, and of its map if it is sparse.
pub(super) fn head_bytes(entry: &Entry) -> Vec<u8> {
    member::head_of(entry).and_then(|head| head.encode().ok()).unwrap_or_default()
}

/// The bytes that fill a gap between two members.
pub(super) fn gap_bytes(gap: u64) -> Vec<u8> {
    tar::fillers(gap).into_iter().flatten().flat_map(tar::filler).collect()
}

/// Hashes a sparse member's content, of which the tape has the extents only.
#[derive(Debug)]
pub(super) struct SparseHasher {
    hasher: blake3::Hasher,
    real_size: u64,
    extents: std::vec::IntoIter<Extent>,
    /// Bytes of the current extent that are still to come.
    left: u64,
    /// Where the content is hashed up to.
    at: u64,
}

impl SparseHasher {
    pub(super) fn new((real_size, extents): &(u64, Vec<Extent>)) -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            real_size: *real_size,
            extents: extents.clone().into_iter(),
            left: 0,
            at: 0,
        }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left == 0 {
                let Some(extent) = self.extents.next() else { return };
                self.zeros_to(extent.offset);
                self.left = extent.length;
                continue;
            }
            let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.hasher.update(now);
            self.at += now.len() as u64;
            self.left -= now.len() as u64;
            bytes = later;
        }
    }

    fn zeros_to(&mut self, offset: u64) {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        while self.at < offset {
            let now = (offset - self.at).min(ZEROS.len() as u64);
            self.hasher.update(&ZEROS[..usize::try_from(now).expect("at most 64 KiB")]);
            self.at += now;
        }
    }

    pub(super) fn finish(mut self) -> Digest {
        self.zeros_to(self.real_size);
        Digest::from_hasher(&self.hasher)
    }
}
