//! The volume index: written after each session, so that a catalog is rebuilt without reading data.
//!
//! A tar of `index.json`, one row for every segment of the volume, the session's manifests, its
//! runs, a snapshot of the living tables, and last the seal: the BLAKE3 of every byte before the
//! seal's own header. Its final block has a trailer, as a segment's.

mod reader;
mod runs;
mod writer;

use serde::{Deserialize, Serialize};

pub use reader::{IndexError, IndexReader, Piece};
pub use runs::{Entries, ManifestWriter, RunError, RunHeader, RunReader, RunWriter};
pub use writer::{Finished, IndexWriter, end_of};

use crate::clock::Timestamp;
use crate::digest::Digest;
use crate::ident::{SegmentId, SessionId, SetId, Volser, VolumeId};
use crate::position::{FileNumber, ObjectNumber};
use crate::volume::segment;

/// Names of an index's members in its folder.
mod name {
    pub(super) const INDEX: &str = "index.json";
    pub(super) const SEGMENTS: &str = "segments.jsonl";
    pub(super) const MANIFESTS: &str = "manifests/";
    pub(super) const MANIFEST_END: &str = ".jsonl.zst";
    pub(super) const RUNS: &str = "runs/";
    pub(super) const RUN_END: &str = ".jsonl.zst";
    pub(super) const TABLES: &str = "tables.jsonl.zst";
    pub(super) const SEAL: &str = "SEAL.json";
}

/// The first member: what this is the index of, and what came before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format's version.
    pub format: u32,
    /// The session that it closes, and its own name.
    pub session: SessionId,
    /// The volume.
    pub volume: VolumeId,
    /// What the operator calls the volume.
    pub volser: Volser,
    /// Bytes of one block.
    pub block_size: u32,
    /// BLAKE3 of the label's bytes on tape.
    pub label_digest: Digest,
    /// The index before this one on this volume.
    pub previous: Option<Previous>,
    /// When it was written.
    pub created: Timestamp,
}

/// Where the previous index lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its first block.
    pub object: ObjectNumber,
    /// Its tape file.
    pub file: FileNumber,
    /// Its seal.
    pub seal: Digest,
}

/// One segment of the volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// The segment.
    pub segment: SegmentId,
    /// The set that it belongs to.
    pub set: SetId,
    /// The session that wrote it here.
    pub session: SessionId,
    /// When it was sealed.
    pub created: Timestamp,
    /// Its first block on this volume.
    pub object: ObjectNumber,
    /// Its tape file on this volume.
    pub file: FileNumber,
    /// Blocks.
    pub blocks: u64,
    /// Bytes of one block.
    pub block_size: u32,
    /// BLAKE3 of its bytes on tape.
    pub digest: Digest,
    /// Lines of its manifest.
    pub members: u64,
    /// Offset of the manifest's first line, in bytes from the segment's first.
    pub manifest_offset: u64,
    /// Bytes of the manifest's lines.
    pub manifest_bytes: u64,
    /// BLAKE3 of the manifest's lines.
    pub manifest_digest: Digest,
    /// Whether it can be read.
    pub state: SegmentState,
}

/// What a volume's tape file holds of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SegmentState {
    /// All of it.
    Whole,
    /// A beginning without an end, left behind on a medium that cannot be overwritten.
    Void,
}

/// What an index's trailer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// The format's version.
    pub format: u32,
    /// The index: the session that it closes.
    pub index: SessionId,
    /// The volume.
    pub volume: VolumeId,
    /// When it was written.
    pub created: Timestamp,
    /// Bytes of one block.
    pub block_size: u32,
    /// Blocks in front of the filemark, the one with the trailer included.
    pub blocks: u64,
    /// BLAKE3 of the bytes in front of the seal's header.
    pub seal: Digest,
    /// How many bytes that are.
    pub sealed_bytes: u64,
}

/// The seal as a member, last before the trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// BLAKE3 of the bytes in front of this member's header.
    pub blake3: Digest,
    /// How many bytes that are.
    pub bytes: u64,
}

impl SegmentRow {
    /// The row of a whole segment that stands at `object`, which is the first block of `file`.
    pub fn whole(
        trailer: &segment::Trailer,
        digest: Digest,
        session: SessionId,
        object: ObjectNumber,
        file: FileNumber,
    ) -> Self {
        Self {
            segment: trailer.segment,
            set: trailer.set,
            session,
            created: trailer.created,
            object,
            file,
            blocks: trailer.blocks,
            block_size: trailer.block_size,
            digest,
            members: trailer.members,
            manifest_offset: trailer.manifest_offset,
            manifest_bytes: trailer.manifest_bytes,
            manifest_digest: trailer.manifest_digest,
            state: SegmentState::Whole,
        }
    }
}
