//! SCSI commands through the kernel: the `SG_IO` ioctl, version 3 (`scsi/sg.h`).

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    time::Duration,
};

/// Bytes of sense data taken from a command: what the kernel keeps of it on `st` nodes.
pub const SENSE_LEN: u8 = 96;

/// `driver_status` that only says that there is sense data.
pub const DRIVER_SENSE: u16 = 0x08;

const SG_IO: libc::c_ulong = 0x2285;
const SG_DXFER_NONE: i32 = -1;
const SG_DXFER_TO_DEV: i32 = -2;
const SG_DXFER_FROM_DEV: i32 = -3;

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

/// How the kernel says that a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// SCSI status byte.
    pub status: u8,
    /// What the host adapter's driver says; 0 is well.
    pub host_status: u16,
    /// What the mid-layer says; 0 and [`DRIVER_SENSE`] are well.
    pub driver_status: u16,
    /// Sense data, at most [`SENSE_LEN`] bytes.
    pub sense: Vec<u8>,
    /// Bytes of the buffer that were not moved.
    pub residual: i32,
}

/// A limit that an `sg` node tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Pieces of memory that one command may be scattered over (`SG_GET_SG_TABLESIZE`).
    Segments,
    /// Bytes that one command may move (`BLKSECTGET`, which `sg` answers in bytes).
    Bytes,
}

/// `struct sg_io_hdr`.
#[derive(Debug)]
#[repr(C)]
struct Header {
    interface_id: i32,
    dxfer_direction: i32,
    cmd_len: u8,
    mx_sb_len: u8,
    iovec_count: u16,
    dxfer_len: u32,
    dxferp: *mut u8,
    cmdp: *const u8,
    sbp: *mut u8,
    timeout: u32,
    flags: u32,
    pack_id: i32,
    usr_ptr: *mut u8,
    status: u8,
    masked_status: u8,
    msg_status: u8,
    sb_len_wr: u8,
    host_status: u16,
    driver_status: u16,
    resid: i32,
    duration: u32,
    info: u32,
}

const _: () = assert!(size_of::<Header>() == 88);
const _: () = assert!(std::mem::offset_of!(Header, status) == 64);

/// Runs one command and waits for it. A timeout is rounded up to milliseconds.
///
/// # Errors
///
/// Only when the kernel refused or lost the command. The device may still have acted on it, so
/// the caller must read the position before it writes again.
pub fn execute(
    device: BorrowedFd<'_>,
    cdb: &[u8],
    transfer: Transfer<'_>,
    timeout: Duration,
) -> io::Result<Completion> {
    let (direction, data, length) = match transfer {
        Transfer::None => (SG_DXFER_NONE, ptr::null_mut(), 0),
        Transfer::FromDevice([]) | Transfer::ToDevice([]) => (SG_DXFER_NONE, ptr::null_mut(), 0),
        Transfer::ToDevice(bytes) => (SG_DXFER_TO_DEV, bytes.as_ptr().cast_mut(), bytes.len()),
        Transfer::FromDevice(bytes) => (SG_DXFER_FROM_DEV, bytes.as_mut_ptr(), bytes.len()),
    };
    let mut sense = [0; SENSE_LEN as usize];
    let mut header = Header {
        interface_id: i32::from(b'S'),
        dxfer_direction: direction,
        cmd_len: u8::try_from(cdb.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        mx_sb_len: SENSE_LEN,
        iovec_count: 0,
        dxfer_len: u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?,
        dxferp: data,
        cmdp: cdb.as_ptr(),
        sbp: sense.as_mut_ptr(),
        // Zero would mean a default of the kernel's.
        timeout: u32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1),
        flags: 0,
        pack_id: 0,
        usr_ptr: ptr::null_mut(),
        status: 0,
        masked_status: 0,
        msg_status: 0,
        sb_len_wr: 0,
        host_status: 0,
        driver_status: 0,
        resid: 0,
        duration: 0,
        info: 0,
    };
    // SAFETY: `header` has the layout of `sg_io_hdr` (asserted above). Its pointers come from
    // slices that outlive the call, with their true lengths; the kernel writes only to `header`,
    // to `sbp`, and through `dxferp` for a `FromDevice` transfer.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), SG_IO, &raw mut header) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Completion {
        status: header.status,
        host_status: header.host_status,
        driver_status: header.driver_status,
        sense: sense[..usize::from(header.sb_len_wr.min(SENSE_LEN))].to_vec(),
        residual: header.resid,
    })
}

/// Asks an `sg` node for a limit of its host adapter.
///
/// # Errors
///
/// When the node is not one of `sg`.
pub fn limit(node: BorrowedFd<'_>, limit: Limit) -> io::Result<i32> {
    let number: libc::c_ulong = match limit {
        Limit::Segments => 0x227f,
        Limit::Bytes => 0x1267,
    };
    // Eight bytes, since block devices answer `BLKSECTGET` with a short and others with a long.
    let mut answer = [0_i32; 2];
    // SAFETY: both requests write one integer of at most eight bytes to the pointer, which is to
    // eight writable bytes that outlive the call.
    let result = unsafe { libc::ioctl(node.as_raw_fd(), number, answer.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, os::fd::AsFd};

    #[test]
    fn a_file_that_is_no_device_refuses_commands() {
        let null = File::open("/dev/null").unwrap();
        let second = Duration::from_secs(1);
        let error = execute(null.as_fd(), &[0; 6], Transfer::None, second).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
        assert!(limit(null.as_fd(), Limit::Segments).is_err());
    }

    #[test]
    fn a_cdb_too_long_for_its_field_is_not_sent() {
        let null = File::open("/dev/null").unwrap();
        let error = execute(null.as_fd(), &[0; 300], Transfer::None, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
