//! Cartridges as a managed stock: what a volume is, what may be done with it, who has it.

pub mod lifecycle;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    digest::Digest,
    ident::{Barcode, PoolName, SessionId, Volser, VolumeId},
    position::{FileNumber, ObjectNumber},
};

/// One volume, as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// This labelling of the cartridge.
    pub id: VolumeId,
    /// What the operator calls it.
    pub volser: Volser,
    /// The sticker, as scanned or typed.
    pub barcode: Option<Barcode>,
    /// Medium serial number from the cartridge's chip (MAM 0401h); empty when it has none.
    pub mam_serial: String,
    /// The pool it belongs to.
    pub pool: PoolName,
    /// What may be done with it.
    pub status: Status,
    /// Who has it.
    pub custody: Custody,
    /// When `custody` was last seen or said to be so.
    pub custody_since: Timestamp,
    /// Density code of its format (`5Eh` for LTO-8).
    pub density: u8,
    /// Whether it is a write-once cartridge.
    pub worm: bool,
    /// Whether it is a file of the emulated library. Such a volume never counts as a copy.
    pub emulated: bool,
    /// Bytes of one block.
    pub block_size: u32,
    /// Native capacity as the drive reported it, in bytes.
    pub capacity_bytes: u64,
    /// When it was labelled.
    pub created: Timestamp,
    /// Until when it must not be overwritten, by its label.
    pub protected_until: Option<Timestamp>,
    /// Digest of the label's bytes on tape.
    pub label_digest: Digest,
    /// Objects on the tape at the last commit: where the next append begins.
    pub end: ObjectNumber,
    /// Filemarks on the tape at the last commit.
    pub end_file: FileNumber,
    /// The last volume index, if one was written.
    pub last_index: Option<IndexPlace>,
    /// When it was last read back whole without a finding.
    pub verified: Option<Timestamp>,
}

/// Where a volume index lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPlace {
    /// Its first block.
    pub object: ObjectNumber,
    /// Its tape file.
    pub file: FileNumber,
    /// Its seal.
    pub seal: Digest,
    /// The session that wrote it.
    pub session: SessionId,
}

/// What may be done with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Free to be overwritten.
    Scratch,
    /// Holds data and takes more.
    Appendable,
    /// Holds data and takes no more.
    Full,
    /// Holds data; something about it is wrong, so that nothing more is written.
    Suspect,
    /// Never written again.
    Retired,
    /// Its copies were destroyed on purpose.
    Destroyed,
}

/// Who has a cartridge. Only `Removed` and `Vaulted` are offline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "custody", rename_all = "kebab-case")]
pub enum Custody {
    /// In a drive.
    InDrive {
        /// Which one, as the config names it.
        drive: String,
    },
    /// In a slot of a library.
    InLibrary {
        /// Element address.
        slot: u16,
    },
    /// Out of the drive, but nobody has said that it was taken away.
    Unloaded,
    /// Taken away: its mail slot was seen emptied, or its barcode was typed on removal.
    Removed,
    /// In an off-site place.
    Vaulted {
        /// Which one.
        place: String,
    },
    /// Nothing is known (after a rebuild).
    Unknown,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Scratch => "scratch",
            Self::Appendable => "appendable",
            Self::Full => "full",
            Self::Suspect => "suspect",
            Self::Retired => "retired",
            Self::Destroyed => "destroyed",
        })
    }
}

impl fmt::Display for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InDrive { drive } => f.pad(&format!("in {drive}")),
            Self::InLibrary { slot } => f.pad(&format!("library slot {slot}")),
            Self::Unloaded => f.pad("unloaded"),
            Self::Removed => f.pad("removed"),
            Self::Vaulted { place } => f.pad(&format!("vaulted at {place}")),
            Self::Unknown => f.pad("unknown"),
        }
    }
}

impl Custody {
    /// Whether no cloud credential and no host command can reach it.
    pub fn is_offline(&self) -> bool {
        match self {
            Self::Removed | Self::Vaulted { .. } => true,
            Self::InDrive { .. } | Self::InLibrary { .. } | Self::Unloaded | Self::Unknown => false,
        }
    }
}
