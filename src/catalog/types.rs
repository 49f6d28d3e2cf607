//! The facts that the catalog keeps.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    digest::Digest,
    ident::{SegmentId, SessionId, SetId, VolumeId},
    media::IndexPlace,
    position::{FileNumber, ObjectNumber},
};

/// What a catalog is for. Fixed when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Practice on the emulated library: nothing here protects anything.
    Rehearsal,
    /// Real cartridges. Emulated ones are refused.
    Real,
}

/// One sealed segment. It may be staged, on volumes, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its name.
    pub id: SegmentId,
    /// The set that it was written for.
    pub set: SetId,
    /// When it was sealed.
    pub created: Timestamp,
    /// Bytes on tape: `blocks` times `block_size`.
    pub bytes: u64,
    /// Blocks on tape, all of one size.
    pub blocks: u64,
    /// Bytes of one block.
    pub block_size: u32,
    /// BLAKE3 of the bytes on tape.
    pub digest: Digest,
    /// Where the first manifest member's header begins, in bytes from the segment's start.
    pub manifest_offset: u64,
    /// Bytes of the manifest's lines.
    pub manifest_bytes: u64,
    /// BLAKE3 of the manifest's lines.
    pub manifest_digest: Digest,
    /// Lines of the manifest.
    pub members: u64,
    /// Whether staging still holds the segment file. Always false after a rebuild.
    #[serde(default)]
    pub staged: bool,
}

/// How far a copy can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyState {
    /// Flushed to the medium, the position agreed.
    OnTape,
    /// Read back after that, the digest agreed.
    Verified,
    /// Read back, and something did not agree. Members that are not recorded as bad may still be
    /// good; when none is recorded, none is.
    Bad,
    /// The attempt to write it was given up. There is nothing to read.
    Void,
}

impl CopyState {
    /// Whether the copy counts as one.
    pub fn is_good(self) -> bool {
        match self {
            Self::OnTape | Self::Verified => true,
            Self::Bad | Self::Void => false,
        }
    }
}

/// One copy of a segment. A segment has at most one on a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentCopy {
    /// The segment.
    pub segment: SegmentId,
    /// The volume.
    pub volume: VolumeId,
    /// Its first block on the volume.
    pub object: ObjectNumber,
    /// Its tape file on the volume.
    pub file: FileNumber,
    /// The session that wrote it.
    pub session: SessionId,
    /// How far it can be trusted.
    pub state: CopyState,
    /// When that was found: written, or read back.
    pub since: Timestamp,
}

/// Where a session put a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRecord {
    /// The segment.
    pub segment: SegmentId,
    /// Its first block.
    pub object: ObjectNumber,
    /// Its tape file.
    pub file: FileNumber,
}

/// What one flush proved. Committed as a whole or not at all.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// The volume.
    pub volume: VolumeId,
    /// The session that wrote.
    pub session: SessionId,
    /// What is on the medium now. Its intents are fulfilled.
    pub copies: &'a [CopyRecord],
    /// Objects on the tape: where the next append begins.
    pub end: ObjectNumber,
    /// Filemarks on the tape.
    pub end_file: FileNumber,
    /// The volume index that was written, if one was.
    pub index: Option<IndexPlace>,
    /// When the flush ended.
    pub at: Timestamp,
}

/// Names an intent within its catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IntentId(pub i64);

/// A segment is about to be written at this place of this volume. Recorded before its first block,
/// so that whatever a crash leaves there is known to be ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its name.
    pub id: IntentId,
    /// The volume.
    pub volume: VolumeId,
    /// Where the first block goes.
    pub object: ObjectNumber,
    /// Which tape file it becomes.
    pub file: FileNumber,
    /// The segment.
    pub segment: SegmentId,
}

/// One uninterrupted hold of a drive that wrote to a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// The volume.
    pub volume: VolumeId,
    /// The set that it wrote.
    pub set: SetId,
    /// The drive, as the config names it, with model and serial number.
    pub drive: String,
    /// When it began.
    pub started: Timestamp,
    /// When it was closed; `None` while it is open, or when it never was.
    pub ended: Option<Timestamp>,
    /// The volume index that closed it.
    pub index: Option<IndexPlace>,
}

/// How a volume was read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// In the drive that wrote it, after a rewind.
    AfterRewind,
    /// In the drive that wrote it, after unload and load.
    AfterReload,
    /// In another drive than the one that wrote it.
    OtherDrive,
}

/// That a volume was read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The volume.
    pub volume: VolumeId,
    /// The drive: model and serial number.
    pub drive: String,
    /// How.
    pub method: Method,
    /// When the reading ended.
    pub when: Timestamp,
    /// Whether every block of the volume was read, and not a sample.
    pub whole: bool,
    /// How many segments disagreed.
    #[serde(default)]
    pub findings: u64,
}

/// What reading back one copy showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The segment.
    pub segment: SegmentId,
    /// The outcome.
    pub verdict: Verdict,
}

/// The outcome of reading back one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte was read and the segment's digest agreed.
    Good,
    /// What was read agreed, but it was a sample.
    SampleGood,
    /// These members (manifest lines, from 0) are bad, the rest is good. The number behind the last
    /// line stands for the segment's own pieces: fillers, padding, manifest, digests, trailer.
    BadMembers(Vec<u32>),
    /// Nothing of it can be used.
    Unreadable,
}

/// Something that happened, for the auditor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub when: Timestamp,
    /// What, as a word or two joined by dots: `volume.labelled`.
    pub what: String,
    /// The volume that it concerns, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    /// What else is to be known.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
}

/// A segment that wants more copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The segment.
    pub segment: SegmentId,
    /// How many good copies the pool has of it.
    pub good: u32,
}

/// What a volume holds, by the catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Good copies on it.
    pub segments: u64,
    /// Their bytes on tape.
    pub bytes: u64,
    /// Their members.
    pub members: u64,
    /// How many of them are verified.
    pub verified: u64,
}
