//! Puts a transport behind the kernel's own drivers, through TCM-user: an emulated drive becomes
//! a `/dev/nst0`.

use crate::scsi::cdb::opcode;
use crate::sys::tcmu::{Reply, Request, Ring};
use crate::transport::{Completion, Status, Transfer, Transport, TransportError};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The kernel's side has time limits of its own; the emulator needs none.
const TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Status bytes for commands that the transport did not answer (SAM, Status codes).
const BUSY: u8 = 0x08;
const TASK_ABORTED: u8 = 0x40;

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Name the node of a TCM-user device that nobody serves.
    #[error("cannot serve {}", node.display())]
    Open { node: PathBuf, source: io::Error },
    /// The device was removed, or its memory makes no sense.
    #[error("{} ended", node.display())]
    Ended { node: PathBuf, source: io::Error },
}

/// Answers the commands of a uio node, such as `/dev/uio0`, until the device is removed or the
/// process ends.
///
/// # Errors
///
/// Always, in the end: there is no other way out.
pub fn serve(node: &Path, transport: &mut dyn Transport) -> Result<(), ServeError> {
    let mut ring =
        Ring::open(node).map_err(|source| ServeError::Open { node: node.into(), source })?;
    let mut buffer = Vec::new();
    loop {
        answer(&mut ring, transport, &mut buffer)
            .map_err(|source| ServeError::Ended { node: node.into(), source })?;
    }
}

/// Waits for one command and answers it. `buffer` is kept from one to the next.
fn answer(ring: &mut Ring, transport: &mut dyn Transport, buffer: &mut Vec<u8>) -> io::Result<()> {
    let request = ring.wait()?;
    let length = request.data_len();
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    let data = &mut buffer[..length];
    let sent = is_sent(&request);
    if sent {
        ring.fetch(&request, data)?;
    } else {
        // Bytes that the device does not fill must not be an earlier command's.
        data.fill(0);
    }
    let transfer = match (sent, length) {
        (_, 0) => Transfer::None,
        (true, _) => Transfer::ToDevice(data),
        (false, _) => Transfer::FromDevice(data),
    };
    let (status, sense, moved) = judge(transport.execute(request.cdb(), transfer, TIMEOUT));
    let moved = if sent { 0 } else { moved.min(length) };
    ring.reply(&request, &Reply { status, sense: &sense, data: &buffer[..moved] })
}

/// Whether a command's data go to the device.
fn is_sent(request: &Request) -> bool {
    matches!(
        request.cdb()[0],
        opcode::FORMAT_MEDIUM
            | opcode::WRITE_6
            | opcode::MODE_SELECT_6
            | opcode::SEND_DIAGNOSTIC
            | opcode::LOG_SELECT
            | opcode::MODE_SELECT_10
            | opcode::PERSISTENT_RESERVE_OUT
            | opcode::WRITE_ATTRIBUTE
            | opcode::SECURITY_PROTOCOL_OUT
    )
}

/// Status byte, sense and the number of bytes moved.
fn judge(result: Result<Completion, TransportError>) -> (u8, Vec<u8>, usize) {
    match result {
        Ok(Completion { status, sense, transferred }) => {
            let status = match status {
                Status::Good => 0x00,
                Status::CheckCondition => 0x02,
                Status::Busy => BUSY,
                Status::ReservationConflict => 0x18,
                Status::Other(byte) => byte,
            };
            (status, sense, transferred)
        }
        Err(TransportError::Refused(error)) => {
            tracing::warn!(%error, "a command was refused");
            (BUSY, Vec::new(), 0)
        }
        Err(TransportError::Unknown(error)) => {
            tracing::warn!(%error, "a command's fate is unknown");
            (TASK_ABORTED, Vec::new(), 0)
        }
    }
}
