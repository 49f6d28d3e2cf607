//! The device boundary: one SCSI command at a time, to hardware or to the emulator.

pub mod node;
pub mod sg;

use std::{fmt, io, time::Duration};

/// A command's data phase, seen from the host. Lengths are bytes.
#[derive(Debug)]
pub enum Transfer<'a> {
    /// No data.
    None,
    /// The device fills the front of this.
    FromDevice(&'a mut [u8]),
    /// The device is sent this.
    ToDevice(&'a [u8]),
}

/// SCSI status byte of a command that ran (SAM, Status codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 00h.
    Good,
    /// 02h: sense says why.
    CheckCondition,
    /// 08h.
    Busy,
    /// 18h: another initiator holds a reservation.
    ReservationConflict,
    /// Any other, as its number.
    Other(u8),
}

/// How a command ended that the device answered.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The status byte.
    pub status: Status,
    /// Sense data as delivered, empty when there is none.
    pub sense: Vec<u8>,
    /// Data bytes moved: the buffer's length less the residual.
    pub transferred: usize,
}

/// Why a command got no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The kernel refused it before sending: the device did not act (EPERM, EINVAL, EBUSY).
    #[error("the command was refused before it was sent")]
    Refused(#[source] io::Error),
    /// The reply was lost: the device may have acted. Ask for the position before anything else.
    #[error("the command's fate is unknown")]
    Unknown(#[source] io::Error),
}

/// What closes the use of a node, so that other programs see no stale state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastAct {
    /// The kernel driver's own rewind.
    Rewind,
    /// The kernel driver's own unload.
    Unload,
}

/// Something that runs SCSI commands on one logical unit.
pub trait Transport: Send + fmt::Debug {
    /// Runs one command and waits for it.
    ///
    /// # Errors
    ///
    /// When there is no answer from the device.
    fn execute(
        &mut self,
        cdb: &[u8],
        transfer: Transfer<'_>,
        timeout: Duration,
    ) -> Result<Completion, TransportError>;

    /// The most bytes that one command may move.
    fn max_transfer(&self) -> u32;

    /// The name that the operator knows the device by: a node, or `emulated:drive0`.
    fn name(&self) -> &str;

    /// After a reply was lost: opens the device anew and lets the kernel driver settle. The
    /// position is unknown afterwards, and the cartridge may be another.
    ///
    /// # Errors
    ///
    /// When the device does not come back.
    fn reopen(&mut self) -> Result<(), TransportError>;

    /// The last act on a node before it is given up.
    ///
    /// # Errors
    ///
    /// When the kernel driver failed at it.
    fn last_act(&mut self, act: LastAct) -> Result<(), TransportError>;
}
