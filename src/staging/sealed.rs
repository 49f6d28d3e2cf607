//! Sealed segments: immutable files of exactly the bytes that go to tape.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    digest::Digest,
    ident::{SegmentId, SetId},
};

/// What is known of a sealed segment, kept beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The segment.
    pub segment: SegmentId,
    /// The set that it belongs to.
    pub set: SetId,
    /// Length of the file; whole blocks.
    pub bytes: u64,
    /// Blocks on tape.
    pub blocks: u64,
    /// Bytes of a block.
    pub block_size: u32,
    /// Plain BLAKE3 of the file.
    pub digest: Digest,
    /// Lines of the manifest.
    pub members: u64,
    /// Byte offset of the manifest's first line within the segment.
    pub manifest_offset: u64,
    /// Bytes of the manifest.
    pub manifest_bytes: u64,
    /// BLAKE3 of the manifest's lines.
    pub manifest_digest: Digest,
    /// When it was sealed.
    pub created: Timestamp,
    /// The file.
    #[serde(skip)]
    pub path: PathBuf,
}

/// Where staging keeps what, under its directory.
#[derive(Clone, Debug)]
pub(in crate::staging) struct Layout {
    pub(in crate::staging) dir: PathBuf,
}

impl Layout {
    pub(in crate::staging) fn open_dir(&self) -> PathBuf {
        self.dir.join("open")
    }

    pub(in crate::staging) fn sealed_dir(&self) -> PathBuf {
        self.dir.join("sealed")
    }

    pub(in crate::staging) fn manifest_dir(&self) -> PathBuf {
        self.dir.join("manifests")
    }

    /// A segment that is being filled.
    pub(in crate::staging) fn part(&self, segment: SegmentId) -> PathBuf {
        self.open_dir().join(format!("{segment}.part"))
    }

    /// What is finished in a segment that is being filled.
    pub(in crate::staging) fn journal(&self, segment: SegmentId) -> PathBuf {
        self.open_dir().join(format!("{segment}.journal"))
    }

    /// Where the digests of a segment's members are kept while it is sealed.
    pub(in crate::staging) fn sums(&self, segment: SegmentId) -> PathBuf {
        self.open_dir().join(format!("{segment}.sums"))
    }

    /// A sealed segment.
    pub(in crate::staging) fn segment(&self, segment: SegmentId) -> PathBuf {
        self.sealed_dir().join(format!("{segment}.seg"))
    }

    /// Its record.
    pub(in crate::staging) fn record(&self, segment: SegmentId) -> PathBuf {
        self.sealed_dir().join(format!("{segment}.json"))
    }

    /// Its record, once it is being removed: what is left of it is to go.
    pub(in crate::staging) fn freed(&self, segment: SegmentId) -> PathBuf {
        self.sealed_dir().join(format!("{segment}.freed"))
    }

    /// Its manifest.
    pub(in crate::staging) fn manifest(&self, segment: SegmentId) -> PathBuf {
        self.manifest_dir().join(format!("{segment}.jsonl.zst"))
    }
}

/// A file's name before it is complete.
pub(in crate::staging) fn unfinished(path: &Path) -> PathBuf {
    path.with_added_extension("tmp")
}

/// The segment and the ending in a file name that staging made.
pub(in crate::staging) fn parse_name(name: &str) -> Option<(SegmentId, &str)> {
    let (segment, ending) = name.split_once('.')?;
    Some((segment.parse().ok()?, ending))
}
