//! How a command ends, as the emulated machines say it among themselves.

use std::io;

use crate::emulator::tape::StorageError;
use crate::scsi::sense::{Code, Key, Sense};
use crate::transport::{Completion, Status, Transfer};

/// Why a command did not end with GOOD.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) status: Status,
    /// `None` unless the status is CHECK CONDITION.
    pub(crate) sense: Option<Sense>,
    /// Data bytes that moved all the same.
    pub(crate) transferred: usize,
}

/// Data bytes moved by a command that ended with GOOD, or why it did not.
pub(crate) type Answer = Result<usize, Check>;

impl Check {
    /// CHECK CONDITION after `transferred` bytes.
    pub(crate) fn after(transferred: usize, sense: Sense) -> Self {
        Self { status: Status::CheckCondition, sense: Some(sense), transferred }
    }

    /// A status without sense.
    pub(crate) fn status(status: Status) -> Self {
        Self { status, sense: None, transferred: 0 }
    }
}

impl From<Sense> for Check {
    fn from(sense: Sense) -> Self {
        Self::after(0, sense)
    }
}

impl From<(Key, Code)> for Check {
    fn from((key, code): (Key, Code)) -> Self {
        Sense::new(key, code).into()
    }
}

/// The host's disk failed the machine: nothing that a SCSI command could explain.
impl From<StorageError> for Check {
    fn from(error: StorageError) -> Self {
        tracing::error!(%error, "the emulator cannot use its files");
        (Key::HardwareError, Code::INTERNAL_TARGET_FAILURE).into()
    }
}

impl From<io::Error> for Check {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "the emulator cannot use a tape file");
        (Key::HardwareError, Code::INTERNAL_TARGET_FAILURE).into()
    }
}

/// An invalid field in byte `byte` of the command.
pub(crate) fn invalid_field(byte: u16) -> Check {
    Sense::invalid_cdb_field(byte).into()
}

/// A command that this machine does not have.
pub(crate) fn unsupported() -> Check {
    (Key::IllegalRequest, Code::INVALID_OPERATION_CODE).into()
}

/// Sends the front of `bytes` to the host: as much as it allocated and has room for.
pub(crate) fn deliver(
    transfer: &mut Transfer<'_>,
    allocation: impl Into<u64>,
    bytes: &[u8],
) -> usize {
    let Transfer::FromDevice(buffer) = transfer else { return 0 };
    let allocation = usize::try_from(allocation.into()).unwrap_or(usize::MAX);
    let length = bytes.len().min(allocation).min(buffer.len());
    buffer[..length].copy_from_slice(&bytes[..length]);
    length
}

/// The parameter list that the host sent: `length` bytes of it.
///
/// # Errors
///
/// A parameter list length error when it sent less.
pub(crate) fn received<'a>(
    transfer: &Transfer<'a>,
    length: impl Into<u64>,
) -> Result<&'a [u8], Check> {
    let bytes = match transfer {
        Transfer::ToDevice(bytes) => *bytes,
        Transfer::None | Transfer::FromDevice(_) => &[],
    };
    let length = usize::try_from(length.into()).unwrap_or(usize::MAX);
    let short = || (Key::IllegalRequest, Code::PARAMETER_LIST_LENGTH_ERROR).into();
    bytes.get(..length).ok_or_else(short)
}

/// Bytes of a transfer's buffer.
pub(crate) fn room(transfer: &Transfer<'_>) -> usize {
    match transfer {
        Transfer::None => 0,
        Transfer::FromDevice(buffer) => buffer.len(),
        Transfer::ToDevice(bytes) => bytes.len(),
    }
}

/// What the transport hands to the host.
pub(crate) fn completion(answer: Answer) -> Completion {
    match answer {
        Ok(transferred) => Completion { status: Status::Good, sense: Vec::new(), transferred },
        Err(check) => Completion {
            status: check.status,
            sense: check.sense.map_or_else(Vec::new, |sense| sense.encode_fixed()),
            transferred: check.transferred,
        },
    }
}
