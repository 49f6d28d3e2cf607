//! The errors of a drive, one variant for each next step.

use std::fmt;

use crate::{position::ObjectNumber, scsi::sense::Sense, transport::TransportError};

/// What went wrong, where, in the drive's own words.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The drive, as the operator knows it.
    pub drive: String,
    /// The command that met it.
    pub operation: &'static str,
    /// The object that the host was at, where that is known.
    pub object: Option<ObjectNumber>,
    /// What the drive said.
    pub sense: Option<Sense>,
    /// What the driver says, where the drive said nothing.
    pub detail: Option<&'static str>,
}

/// Why a drive did not do as asked, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The physical end: this object did not land. Put it on the next volume.
    #[error("end of medium: {0}")]
    EndOfMedium(Box<Fault>),
    /// The medium is bad here: void what was being written, or go on behind it when reading.
    #[error("medium error: {0}")]
    Medium(Box<Fault>),
    /// A block was damaged between host and drive, as its CRC says: write the segment anew, or read
    /// the block again. If that does not help, look at cable, host adapter and memory.
    #[error("a block was damaged on its way: {0}")]
    Damaged(Box<Fault>),
    /// The tape has no end of data, as after a power loss: readable up to the last flush.
    #[error("end of data is missing: {0}")]
    EndOfDataMissing(Box<Fault>),
    /// An earlier, buffered object did not land: nothing since the last flush counts.
    #[error("an earlier write failed: {0}")]
    Deferred(Box<Fault>),
    /// A reset, a cartridge change or another program came between: ask for the position, identify
    /// the cartridge, prepare again.
    #[error("the drive was disturbed, its position is not known: {0}")]
    PositionLost(Box<Fault>),
    /// The drive stands elsewhere than it must: stop the session.
    #[error("the drive stands at object {found}, not at {expected}: {fault}")]
    Mismatch {
        /// Where it must stand.
        expected: ObjectNumber,
        /// Where it says that it stands.
        found: ObjectNumber,
        /// The circumstances.
        fault: Box<Fault>,
    },
    /// A cartridge is there but not ready: wait, or load it.
    #[error("not ready: {0}")]
    NotReady(Box<Fault>),
    /// There is no cartridge.
    #[error("no cartridge: {0}")]
    NoMedium(Box<Fault>),
    /// This drive cannot use this cartridge: incompatible, a cleaning one, or encrypted with a key
    /// that is not at hand.
    #[error("the cartridge cannot be used: {0}")]
    Unusable(Box<Fault>),
    /// The cartridge may be read but not written here.
    #[error("write protected: {0}")]
    WriteProtected(Box<Fault>),
    /// Somebody else has the drive or holds the cartridge in it.
    #[error("the drive is in use by another: {0}")]
    Busy(Box<Fault>),
    /// The kernel refused the command before it was sent; nothing happened.
    #[error("refused: {fault}")]
    Refused {
        /// The circumstances.
        fault: Box<Fault>,
        /// Why.
        source: TransportError,
    },
    /// The reply was lost or the command aborted: it may have acted. Recover, then ask where the
    /// tape stands.
    #[error("whether the command acted is not known: {fault}")]
    Unknown {
        /// The circumstances.
        fault: Box<Fault>,
        /// Why, unless the drive itself aborted the command.
        source: Option<TransportError>,
    },
    /// The drive does not know this command or these parameters.
    #[error("not supported: {0}")]
    Unsupported(Box<Fault>),
    /// The drive itself is at fault: use another.
    #[error("hardware error: {0}")]
    Hardware(Box<Fault>),
    /// The device is no tape drive.
    #[error("{drive} is {what}, not a tape drive")]
    WrongDevice {
        /// The device.
        drive: String,
        /// What it is.
        what: String,
    },
}

impl DriveError {
    /// The circumstances; `None` when the device is none.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::EndOfMedium(fault)
            | Self::Medium(fault)
            | Self::Damaged(fault)
            | Self::EndOfDataMissing(fault)
            | Self::Deferred(fault)
            | Self::PositionLost(fault)
            | Self::NotReady(fault)
            | Self::NoMedium(fault)
            | Self::Unusable(fault)
            | Self::WriteProtected(fault)
            | Self::Busy(fault)
            | Self::Unsupported(fault)
            | Self::Hardware(fault)
            | Self::Mismatch { fault, .. }
            | Self::Refused { fault, .. }
            | Self::Unknown { fault, .. } => Some(fault),
            Self::WrongDevice { .. } => None,
        }
    }

    /// What the drive said.
    pub fn sense(&self) -> Option<Sense> {
        self.fault()?.sense
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.operation, self.drive)?;
        if let Some(object) = self.object {
            write!(f, " at object {object}")?;
        }
        if let Some(sense) = &self.sense {
            write!(f, ", sense {sense}")?;
        }
        match self.detail {
            Some(detail) => write!(f, ", {detail}"),
            None => Ok(()),
        }
    }
}
