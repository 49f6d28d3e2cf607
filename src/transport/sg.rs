//! The transport to hardware: `SG_IO` on the kernel's tape node, or on a changer's generic node.
//!
//! Data go only through `/dev/nst*`, which one process at a time may hold, and never through
//! `read(2)` and `write(2)`: the kernel's tape driver hides sense data, and near the end of a tape
//! an error there can look like success. `SG_IO` on that node needs CAP_SYS_RAWIO.

use crate::sys::mt;
use crate::sys::sg;
use crate::transport::node::{self, Device, NodeError, Unit};
use crate::transport::{Completion, LastAct, Status, Transfer, Transport, TransportError};
use nix::sys::signal::{SigSet, SigmaskHow};
use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// Bytes that pass every host adapter that was met, taken when the machine says nothing.
const MAX_TRANSFER_UNKNOWN: u32 = 512 * 1024;
/// The most that the kernel was seen to pass in one command on `/dev/nst0`: 256 pages.
const MAX_TRANSFER: u32 = 1024 * 1024;
const PAGE: u32 = 4096;

const INQUIRY: [u8; 6] = [0x12, 0, 0, 0, 36, 0];
const INQUIRY_TIMEOUT: Duration = Duration::from_secs(60);

/// A drive or changer that the kernel reaches, held open.
#[derive(Debug)]
pub struct Sg {
    /// The name that the operator gave.
    name: String,
    device: Device,
    /// `None` between a failed reopening and the next.
    file: Option<File>,
    max_transfer: u32,
    bounce: Bounce,
}

/// Page-aligned memory for commands whose own is not. A buffer that begins within a page is
/// scattered over one page more than its length tells, which can be one too many.
#[derive(Debug, Default)]
struct Bounce(Vec<u8>);

/// Why a device could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Name another node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Wait, or end the program that holds it.
    #[error("{} is in use by another program", path.display())]
    Busy { path: PathBuf, source: io::Error },
    /// Join the group `tape`.
    #[error("no permission to open {}: it belongs to the group `tape`", path.display())]
    Permission { path: PathBuf, source: io::Error },
    /// Grant the capability.
    #[error("no permission to send SCSI commands to {}: CAP_SYS_RAWIO is needed", path.display())]
    RawIo { path: PathBuf, source: io::Error },
    /// Check cable and power.
    #[error("the device behind {} is gone", path.display())]
    Gone { path: PathBuf, source: io::Error },
    /// Look at the device.
    #[error("{} does not answer", path.display())]
    NoAnswer { path: PathBuf, source: io::Error },
}

impl Sg {
    /// Opens the tape drive that `path` is any node of, whether or not it holds a cartridge.
    ///
    /// # Errors
    ///
    /// When it is not there, not a tape drive, not allowed, or in use.
    pub fn open_tape(path: &Path) -> Result<Self, OpenError> {
        Self::open(path, node::resolve(path, Unit::Tape)?)
    }

    /// Opens the medium changer that `path` is any node of.
    ///
    /// # Errors
    ///
    /// When it is not there, not a changer, or not allowed.
    pub fn open_changer(path: &Path) -> Result<Self, OpenError> {
        Self::open(path, node::resolve(path, Unit::Changer)?)
    }

    /// What the kernel says about the device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn open(path: &Path, device: Device) -> Result<Self, OpenError> {
        let file = open_node(&device.node).map_err(|source| {
            let path = path.to_owned();
            match source.raw_os_error() {
                Some(libc::EBUSY) => OpenError::Busy { path, source },
                Some(libc::EACCES | libc::EPERM) => OpenError::Permission { path, source },
                Some(libc::ENOENT | libc::ENXIO | libc::ENODEV) => OpenError::Gone { path, source },
                _ => OpenError::NoAnswer { path, source },
            }
        })?;
        let max_transfer = max_transfer(&device);
        let name = path.display().to_string();
        let bounce = Bounce::default();
        let mut sg = Self { name, device, file: Some(file), max_transfer, bounce };
        // INQUIRY leaves unit attentions alone, and tells at once whether commands may be sent.
        let mut answer = [0; 36];
        match sg.execute(&INQUIRY, Transfer::FromDevice(&mut answer), INQUIRY_TIMEOUT) {
            Ok(_) => Ok(sg),
            Err(TransportError::Refused(source)) if source.raw_os_error() == Some(libc::EPERM) => {
                Err(OpenError::RawIo { path: path.to_owned(), source })
            }
            Err(TransportError::Refused(source) | TransportError::Unknown(source)) => {
                Err(OpenError::NoAnswer { path: path.to_owned(), source })
            }
        }
    }
}

impl Bounce {
    /// Whether `bytes` could be scattered over more pages than the greatest transfer.
    fn is_needed(bytes: &[u8], max_transfer: u32) -> bool {
        let page = usize::try_from(PAGE).expect("a page fits memory");
        let limit = usize::try_from(max_transfer).expect("a transfer fits memory");
        let aligned = bytes.as_ptr().align_offset(page) == 0;
        !aligned && bytes.len() > limit - page && bytes.len() <= limit
    }

    /// `length` aligned bytes. What they hold is left over from an earlier command.
    fn memory(&mut self, length: usize) -> &mut [u8] {
        let page = usize::try_from(PAGE).expect("a page fits memory");
        if self.0.len() < length + page {
            self.0 = vec![0; length + page];
        }
        let from = self.0.as_ptr().align_offset(page);
        &mut self.0[from..from + length]
    }
}

fn closed() -> TransportError {
    TransportError::Refused(io::Error::new(io::ErrorKind::NotConnected, "not open"))
}

/// Runs one command with signals blocked, and judges how it ended.
fn send(
    file: &File,
    cdb: &[u8],
    transfer: sg::Transfer<'_>,
    timeout: Duration,
) -> Result<Completion, TransportError> {
    let length = match &transfer {
        sg::Transfer::None => 0,
        sg::Transfer::FromDevice(bytes) => bytes.len(),
        sg::Transfer::ToDevice(bytes) => bytes.len(),
    };
    // A signal must not cut the wait short: the command would go on with nobody to hear its
    // end. Only a fatal signal still does.
    let mut before = SigSet::empty();
    let block = SigSet::all();
    nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&block), Some(&mut before))
        .map_err(|errno| TransportError::Refused(errno.into()))?;
    let result = sg::execute(file.as_fd(), cdb, transfer, timeout);
    nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)
        .map_err(|errno| TransportError::Unknown(errno.into()))?;
    judge(result, length)
}

impl Transport for Sg {
    fn execute(
        &mut self,
        cdb: &[u8],
        transfer: Transfer<'_>,
        timeout: Duration,
    ) -> Result<Completion, TransportError> {
        let file = self.file.as_ref().ok_or_else(closed)?;
        match transfer {
            Transfer::None => send(file, cdb, sg::Transfer::None, timeout),
            Transfer::FromDevice(bytes) if Bounce::is_needed(bytes, self.max_transfer) => {
                let aligned = self.bounce.memory(bytes.len());
                let completion = send(file, cdb, sg::Transfer::FromDevice(aligned), timeout)?;
                bytes.copy_from_slice(aligned);
                Ok(completion)
            }
            Transfer::FromDevice(bytes) => {
                send(file, cdb, sg::Transfer::FromDevice(bytes), timeout)
            }
            Transfer::ToDevice(bytes) if Bounce::is_needed(bytes, self.max_transfer) => {
                let aligned = self.bounce.memory(bytes.len());
                aligned.copy_from_slice(bytes);
                send(file, cdb, sg::Transfer::ToDevice(aligned), timeout)
            }
            Transfer::ToDevice(bytes) => send(file, cdb, sg::Transfer::ToDevice(bytes), timeout),
        }
    }

    fn max_transfer(&self) -> u32 {
        self.max_transfer
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn reopen(&mut self) -> Result<(), TransportError> {
        // The node allows one opener: the old one must be closed before.
        self.file = None;
        let file = open_node(&self.device.node).map_err(TransportError::Unknown)?;
        match self.device.unit {
            // After a reset the kernel's driver answers nothing until it has moved the tape itself.
            Unit::Tape => operate(&file, mt::Operation::Rewind).map_err(TransportError::Unknown)?,
            Unit::Changer => {}
        }
        self.file = Some(file);
        Ok(())
    }

    fn last_act(&mut self, act: LastAct) -> Result<(), TransportError> {
        let file = self.file.as_ref().ok_or_else(closed)?;
        match (self.device.unit, act) {
            (Unit::Tape, LastAct::Rewind) => operate(file, mt::Operation::Rewind),
            (Unit::Tape, LastAct::Unload) => operate(file, mt::Operation::Unload),
            (Unit::Changer, LastAct::Rewind | LastAct::Unload) => Ok(()),
        }
        .map_err(TransportError::Unknown)
    }
}

fn open_node(node: &Path) -> io::Result<File> {
    // Without O_NONBLOCK the kernel waits up to two minutes for a cartridge.
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(node)
}

/// Rewinds or unloads through the kernel's driver. A drive in which that saw no cartridge is as
/// rewound and unloaded as the kernel's driver can make it.
fn operate(file: &File, operation: mt::Operation) -> io::Result<()> {
    match mt::operate(file.as_fd(), operation) {
        Err(error) if error.raw_os_error() == Some(libc::ENOMEDIUM) => Ok(()),
        result => result,
    }
}

/// Sorts what the kernel says into answered, refused and unknown.
fn judge(result: io::Result<sg::Completion>, length: usize) -> Result<Completion, TransportError> {
    let completion = result.map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM | libc::EINVAL | libc::EBUSY) => TransportError::Refused(error),
        // Made before the call, so it was not sent.
        None if error.kind() == io::ErrorKind::InvalidInput => TransportError::Refused(error),
        _ => TransportError::Unknown(error),
    })?;
    let sg::Completion { status, host_status, driver_status, sense, residual } = completion;
    if host_status != 0 || !matches!(driver_status, 0 | sg::DRIVER_SENSE) {
        return Err(TransportError::Unknown(io::Error::other(format!(
            "host status {host_status:#04x}, driver status {driver_status:#04x}"
        ))));
    }
    let residual = usize::try_from(residual).unwrap_or(0);
    Ok(Completion {
        status: match status {
            0x00 => Status::Good,
            0x02 => Status::CheckCondition,
            0x08 => Status::Busy,
            0x18 => Status::ReservationConflict,
            other => Status::Other(other),
        },
        sense,
        transferred: length.saturating_sub(residual),
    })
}

/// The most bytes that one command may move, from page-aligned memory.
fn max_transfer(device: &Device) -> u32 {
    let ask = |limit| {
        let node = open_node(device.generic.as_deref()?).ok()?;
        sg::limit(node.as_fd(), limit).ok().and_then(|limit| u32::try_from(limit).ok())
    };
    let segments = ask(sg::Limit::Segments).or(device.segments());
    let bytes = ask(sg::Limit::Bytes);
    fit(segments, bytes)
}

/// The transfer limit for a host adapter that takes so many pieces of memory and so many bytes.
fn fit(segments: Option<u32>, bytes: Option<u32>) -> u32 {
    let segments = segments.filter(|&count| count > 0).map(|count| count.saturating_mul(PAGE));
    let bytes = bytes.filter(|&count| count > 0);
    let known = match (segments, bytes) {
        (Some(segments), Some(bytes)) => segments.min(bytes),
        // One limit alone does not say that the other is wider.
        (Some(one), None) | (None, Some(one)) => one.min(MAX_TRANSFER_UNKNOWN),
        (None, None) => MAX_TRANSFER_UNKNOWN,
    };
    (known.min(MAX_TRANSFER) / PAGE * PAGE).max(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(status: u8, host_status: u16, driver_status: u16) -> sg::Completion {
        sg::Completion { status, host_status, driver_status, sense: vec![0x70], residual: 24 }
    }

    #[test]
    fn three_outcomes() {
        for errno in [libc::EPERM, libc::EINVAL, libc::EBUSY] {
            let result = judge(Err(io::Error::from_raw_os_error(errno)), 0);
            assert!(matches!(result, Err(TransportError::Refused(_))), "{errno}");
        }
        for errno in [libc::ENOMEM, libc::EIO, libc::EINTR, libc::ENXIO, libc::ENODEV] {
            let result = judge(Err(io::Error::from_raw_os_error(errno)), 0);
            assert!(matches!(result, Err(TransportError::Unknown(_))), "{errno}");
        }
        for (host, driver) in [(3, 0), (8, 0), (0, 6), (1, 8)] {
            let result = judge(Ok(completion(0, host, driver)), 100);
            assert!(matches!(result, Err(TransportError::Unknown(_))), "{host} {driver}");
        }
        let answered = judge(Ok(completion(2, 0, sg::DRIVER_SENSE)), 100).unwrap();
        assert_eq!(answered.status, Status::CheckCondition);
        assert_eq!(answered.transferred, 76);
        assert_eq!(answered.sense, [0x70]);
    }

    #[test]
    fn statuses_keep_their_names() {
        for (byte, status) in [
            (0, Status::Good),
            (8, Status::Busy),
            (0x18, Status::ReservationConflict),
            (0x28, Status::Other(0x28)),
        ] {
            assert_eq!(judge(Ok(completion(byte, 0, 0)), 100).unwrap().status, status);
        }
    }

    #[test]
    fn a_host_adapter_sets_the_limit() {
        let kib = |count: u32| count * 1024;
        assert_eq!(fit(None, None), kib(512));
        assert_eq!(fit(Some(256), Some(kib(4096))), kib(1024));
        assert_eq!(fit(Some(128), Some(kib(4096))), kib(512));
        assert_eq!(fit(Some(4096), Some(kib(256) + 512)), kib(256));
        assert_eq!(fit(Some(4096), None), kib(512));
        assert_eq!(fit(Some(0), Some(0)), kib(512));
        assert_eq!(fit(Some(1), Some(1)), PAGE);
    }

    #[test]
    fn a_buffer_that_begins_within_a_page_is_moved_when_it_might_not_fit() {
        let mut bounce = Bounce::default();
        let memory = bounce.memory(64 * 1024);
        assert_eq!(memory.as_ptr().align_offset(4096), 0);
        assert_eq!(memory.len(), 64 * 1024);
        assert!(!Bounce::is_needed(memory, 64 * 1024));
        assert!(Bounce::is_needed(&memory[1..], 64 * 1024));
        assert!(!Bounce::is_needed(&memory[1..60 * 1024], 64 * 1024));
        // Too long by any reckoning: the kernel is to say so.
        assert!(!Bounce::is_needed(&memory[1..], 60 * 1024));
    }

    #[test]
    fn a_file_that_is_no_drive_is_said_to_be_what_it_is() {
        let error = Sg::open_tape(Path::new("/dev/null")).unwrap_err();
        assert_eq!(error.to_string(), "/dev/null is a character device 1:3, not a tape drive");
        let error = Sg::open_changer(Path::new("/dev/nonesuch")).unwrap_err();
        assert_eq!(error.to_string(), "/dev/nonesuch does not exist");
    }
}
