//! What is to come back: items, and the members on tape that hold their bytes.

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    ident::{SourceName, VolumeId},
    item::{Extent, Item, Key, LinkGroup, Place},
    volume::manifest::{Entry, Part},
};

/// One item, and where it is to go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// The source.
    pub(super) source: SourceName,
    /// The item.
    pub(super) item: Item,
    /// Its path below the destination.
    pub(super) target: Key,
    /// Whether that is not simply its key: a version that lies beside the latest.
    pub(super) beside: bool,
}

/// A file with all members that hold its bytes, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WantedFile {
    /// The item.
    pub(super) wanted: Wanted,
    /// One member, or one for each part.
    pub(super) members: Vec<Member>,
}

/// A member of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    /// Where it is.
    pub(super) place: Place,
    /// Its path within the tar.
    pub(super) path: String,
    /// Where its first header begins, in bytes from the segment's start.
    pub(super) offset: u64,
    /// Where its data, or the map of a sparse member, begin.
    pub(super) data: u64,
    /// Bytes from there.
    pub(super) stored: u64,
    /// The digest of its content.
    pub(super) digest: Digest,
    /// Which part of the item it is, unless it is the whole.
    pub(super) part: Option<Part>,
    /// Where its content has data, if it is sparse.
    pub(super) extents: Option<Vec<Extent>>,
}

/// One member that is to be read, for one item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Piece {
    /// Numbers the files of this restore.
    pub(super) number: u64,
    /// How many pieces the file has.
    pub(super) of: u32,
    /// Under what the finished file is known for linking.
    pub(super) identity: Digest,
    /// The file.
    pub(super) wanted: Wanted,
    /// What is to be read.
    pub(super) member: Member,
    /// What did not give it.
    pub(super) tried: Vec<Tried>,
}

/// Where a copy of a segment is: on a volume, or in staging.
pub(super) type Origin = Option<VolumeId>;

/// A volume, or staging, that did not give a member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Tried {
    /// Which.
    pub(super) origin: Origin,
    /// Why not.
    pub(super) why: String,
}

impl Member {
    /// The member that holds an entry's bytes; `None` when it holds none.
    pub(super) fn of(place: Place, entry: &Entry) -> Option<Self> {
        Some(Self {
            place,
            path: entry.path.clone()?,
            offset: entry.offset,
            data: entry.data,
            stored: entry.stored,
            digest: entry.digest?,
            part: entry.part,
            extents: entry.item.extents.clone(),
        })
    }

    /// Where its last wanted byte ends, in bytes from the segment's start.
    pub(super) fn end(&self) -> u64 {
        self.data + self.stored
    }

    /// The first and the last block of the segment that are needed, from 0.
    pub(super) fn blocks(&self, block_size: u32) -> (u64, u64) {
        let size = u64::from(block_size).max(1);
        (self.offset / size, (self.end().max(self.offset + 1) - 1) / size)
    }
}

impl WantedFile {
    /// The same for all files of one content.
    pub(super) fn identity(&self) -> Digest {
        match &*self.members {
            [] => Digest::of(b""),
            [only] => only.digest,
            parts => {
                let mut hasher = blake3::Hasher::new();
                for part in parts {
                    let (offset, length) = part.part.map_or((0, 0), |p| (p.offset, p.length));
                    hasher.update(&offset.to_be_bytes());
                    hasher.update(&length.to_be_bytes());
                    hasher.update(&part.digest.0);
                }
                Digest::from_hasher(&hasher)
            }
        }
    }

    /// The file behind several names, if it has several.
    pub(super) fn link_group(&self) -> Option<LinkGroup> {
        self.wanted.item.posix.as_ref()?.link_group
    }

    /// The pieces to be read.
    pub(super) fn pieces(self, number: u64) -> impl Iterator<Item = Piece> {
        let identity = self.identity();
        let of = u32::try_from(self.members.len()).expect("parts are counted in 32 bits");
        let wanted = self.wanted;
        self.members.into_iter().map(move |member| Piece {
            number,
            of,
            identity,
            wanted: wanted.clone(),
            member,
            tried: Vec::new(),
        })
    }
}

impl Piece {
    /// What did not give it, sorted.
    pub(super) fn excluded(&self) -> Vec<Origin> {
        let mut origins: Vec<Origin> = self.tried.iter().map(|tried| tried.origin).collect();
        origins.sort_unstable();
        origins.dedup();
        origins
    }
}
