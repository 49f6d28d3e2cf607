//! Where a drive stands: numbers that cannot be mixed up.

use std::fmt;

/// Logical objects before this point in the partition.
///
/// Blocks and filemarks both count, so block 0 after one filemark is object 1
/// (SSC, READ POSITION long form: logical object number).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct ObjectNumber(pub u64);

/// Filemarks before this point in the partition, so tape file 0 is the label.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct FileNumber(pub u64);

/// A position that the drive itself reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Partition, numbered from 0.
    pub partition: u32,
    /// Objects before this point.
    pub object: ObjectNumber,
    /// Filemarks before this point.
    pub file: FileNumber,
    /// Whether this is the beginning of the partition.
    pub at_beginning: bool,
    /// Whether early warning lies behind.
    pub past_early_warning: bool,
    /// Whether programmable early warning lies behind.
    pub past_programmable_early_warning: bool,
}

impl ObjectNumber {
    /// The object `count` objects further on.
    ///
    /// # Panics
    ///
    /// When the sum does not fit 64 bits, which no cartridge reaches.
    pub fn after(self, count: u64) -> Self {
        Self(self.0.checked_add(count).expect("an object number fits 64 bits"))
    }
}

impl fmt::Display for ObjectNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for FileNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
