//! One member as its bytes arrive: header, map, content, digest.

use crate::{
    destination::{DestinationError, NewFile},
    digest::Digest,
    item::{Extent, Item},
    job::restore::wanted::Member,
    tar::{Found, MemberKind, Names, Reader, sparse},
};

/// Zeros that stand for holes when content is digested.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// The longest header (with the map of a sparse member) that is kept in memory, in bytes.
const HEAD_MAX: u64 = 256 << 20;

/// Why a member does not give its content.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It is not what the catalog says.
    Wrong(String),
    /// The destination does not take it.
    Destination(DestinationError),
}

/// A member that is being read.
#[derive(Debug)]
pub(super) struct Arriving {
    /// Header and map, until they are complete.
    head: Vec<u8>,
    /// How long they are.
    head_length: u64,
    /// Where its bytes belong in the file, ascending.
    extents: Vec<Extent>,
    /// The extent that is being filled.
    extent: usize,
    /// Bytes of it that have come.
    filled: u64,
    /// Where the digest has got to, in the content.
    digested: u64,
    /// Bytes of the content.
    size: u64,
    /// Where the content begins in the file.
    base: u64,
    hasher: blake3::Hasher,
}

impl Arriving {
    pub(super) fn new(member: &Member, item: &Item) -> Self {
        let (base, size) = member.part.map_or((0, item.size), |part| (part.offset, part.length));
        let (extents, map) = match &member.extents {
            Some(extents) => {
                let extents = sparse::align(extents, size);
                let map = member.stored.saturating_sub(sparse::packed(&extents));
                (extents, map)
            }
            None => (whole(size), 0),
        };
        Self {
            head: Vec::new(),
            head_length: (member.data - member.offset) + map,
            extents,
            extent: 0,
            filled: 0,
            digested: 0,
            size,
            base,
            hasher: blake3::Hasher::new(),
        }
    }

    /// Takes bytes of header and map. Returns those that come behind; `true` when they are
    /// complete now.
    pub(super) fn take_head<'a>(&mut self, bytes: &'a [u8]) -> (&'a [u8], bool) {
        let wanted = self.head_length.min(HEAD_MAX) - self.head.len() as u64;
        let count = usize::try_from(wanted).unwrap_or(usize::MAX).min(bytes.len());
        self.head.extend_from_slice(&bytes[..count]);
        (&bytes[count..], count as u64 == wanted)
    }

    /// Holds header and map against what the catalog says.
    pub(super) fn check_head(&mut self, member: &Member) -> Result<(), Unfit> {
        let head = std::mem::take(&mut self.head);
        let mut reader = Reader::new(&head[..], Names::Safe);
        let found = match reader.next_member() {
            Ok(Some(found)) => found,
            Ok(None) => return Err(Unfit::Wrong("there is no tar header".to_owned())),
            Err(error) => return Err(Unfit::Wrong(error.to_string())),
        };
        self.is_of(&found, member)
    }

    fn is_of(&self, found: &Found, member: &Member) -> Result<(), Unfit> {
        let wrong = |what: String| Err(Unfit::Wrong(what));
        if found.head.path != member.path {
            let (found, path) = (&found.head.path, &member.path);
            return wrong(format!("the tar header is of {found:?}, not of {path:?}"));
        }
        if found.data != member.data - member.offset || found.stored != member.stored {
            return wrong(format!(
                "the tar header says {} bytes, the catalog {}",
                found.stored, member.stored
            ));
        }
        let agrees = match &found.head.kind {
            MemberKind::File { size } => *size == self.size && self.extents == whole(self.size),
            MemberKind::Sparse { real_size, extents } => {
                *real_size == self.size && *extents == self.extents
            }
            MemberKind::HardLink { .. }
            | MemberKind::Symlink { .. }
            | MemberKind::Directory
            | MemberKind::Fifo
            | MemberKind::CharacterDevice { .. }
            | MemberKind::BlockDevice { .. } => false,
        };
        if agrees { Ok(()) } else { wrong("the tar header is of another kind of file".to_owned()) }
    }

    /// Takes content.
    pub(super) fn take(&mut self, mut bytes: &[u8], file: &NewFile) -> Result<(), Unfit> {
        while !bytes.is_empty() {
            let Some(extent) = self.extents.get(self.extent).copied() else {
                return Err(Unfit::Wrong("it has more content than the catalog says".to_owned()));
            };
            let room = usize::try_from(extent.length - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let at = extent.offset + self.filled;
            self.digest_hole(at);
            self.hasher.update(now);
            self.digested += now.len() as u64;
            file.write_at(self.base + at, now).map_err(Unfit::Destination)?;
            self.filled += now.len() as u64;
            if self.filled == extent.length {
                (self.extent, self.filled) = (self.extent + 1, 0);
            }
            bytes = later;
        }
        Ok(())
    }

    /// Brings the digest up to `to`: what lies between is a hole.
    fn digest_hole(&mut self, to: u64) {
        while self.digested < to {
            let count = (to - self.digested).min(ZEROS.len() as u64);
            self.hasher.update(&ZEROS[..usize::try_from(count).expect("64 KiB at most")]);
            self.digested += count;
        }
    }

    /// Whether all of it came, and agrees.
    pub(super) fn agree(&mut self, member: &Member) -> Result<(), Unfit> {
        self.digest_hole(self.size);
        if self.extent < self.extents.len() || self.digested != self.size {
            return Err(Unfit::Wrong("it has less content than the catalog says".to_owned()));
        }
        if Digest::from_hasher(&self.hasher) != member.digest {
            return Err(Unfit::Wrong("its content does not agree with its digest".to_owned()));
        }
        Ok(())
    }
}

fn whole(length: u64) -> Vec<Extent> {
    if length == 0 { Vec::new() } else { vec![Extent { offset: 0, length }] }
}
