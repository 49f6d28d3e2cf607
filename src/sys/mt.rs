//! The kernel tape driver's own ioctls (`linux/mtio.h`).

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// An operation of the kernel's tape driver (`MTIOCTOP`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `MTREW`.
    Rewind,
    /// `MTUNLOAD`.
    Unload,
    /// `MTNOP`: flushes the driver's own buffer and sends nothing to the drive.
    Nop,
    /// `MTSETDRVBUFFER`: options and timeouts, by the codes of `mtio.h`.
    SetDriverOptions(i32),
}

/// What the kernel's tape driver believes (`MTIOCGET`). Commands that went past it, as `SG_IO`
/// does, are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverState {
    /// Density code.
    pub density: u8,
    /// Block length in bytes, 0 for variable blocks.
    pub block_length: u32,
    /// A cartridge is loaded and ready (`GMT_ONLINE`).
    pub online: bool,
    /// The cartridge is write-protected (`GMT_WR_PROT`).
    pub write_protected: bool,
    /// There is no cartridge (`GMT_DR_OPEN`).
    pub empty: bool,
}

/// `struct mtop`.
#[derive(Debug)]
#[repr(C)]
struct Op {
    op: i16,
    count: i32,
}

/// `struct mtget`.
#[derive(Debug, Default)]
#[repr(C)]
struct Get {
    kind: i64,
    residual: i64,
    drive_status: i64,
    general_status: i64,
    errors: i64,
    file: i32,
    block: i32,
}

/// `struct mtpos`.
#[derive(Debug, Default)]
#[repr(C)]
struct Pos {
    block: i64,
}

const _: () = assert!(size_of::<Op>() == 8);
const _: () = assert!(size_of::<Get>() == 48);
const _: () = assert!(size_of::<Pos>() == 8);

/// The argument of a request, which decides its number.
#[derive(Debug)]
enum Argument<'a> {
    Operation(&'a mut Op),
    State(&'a mut Get),
    Position(&'a mut Pos),
}

/// Has the kernel's driver do something, and waits for it.
///
/// # Errors
///
/// When the driver refused or failed: `ENOMEDIUM` without a cartridge, `EIO` from the drive.
pub fn operate(tape: BorrowedFd<'_>, operation: Operation) -> io::Result<()> {
    let (op, count) = match operation {
        Operation::Rewind => (6, 1),
        Operation::Unload => (31, 1),
        Operation::Nop => (8, 1),
        Operation::SetDriverOptions(options) => (24, options),
    };
    call(tape, Argument::Operation(&mut Op { op, count }))
}

/// What the kernel's driver believes about the drive.
///
/// # Errors
///
/// When the node is not one of `st`.
pub fn state(tape: BorrowedFd<'_>) -> io::Result<DriverState> {
    let mut get = Get::default();
    call(tape, Argument::State(&mut get))?;
    let is = |bit: i64| get.general_status & bit != 0;
    let [low, middle, high, density, ..] = get.drive_status.to_le_bytes();
    Ok(DriverState {
        density,
        block_length: u32::from_le_bytes([low, middle, high, 0]),
        online: is(0x0100_0000),
        write_protected: is(0x0400_0000),
        empty: is(0x0004_0000),
    })
}

/// The logical object that the drive stands before, as the kernel's driver asks it (`MTIOCPOS`).
///
/// # Errors
///
/// When the drive does not know, or has no cartridge.
pub fn position(tape: BorrowedFd<'_>) -> io::Result<u64> {
    let mut pos = Pos::default();
    call(tape, Argument::Position(&mut pos))?;
    u64::try_from(pos.block).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn call(tape: BorrowedFd<'_>, argument: Argument<'_>) -> io::Result<()> {
    let (number, pointer): (libc::c_ulong, *mut libc::c_void) = match argument {
        Argument::Operation(op) => (0x4008_6d01, (&raw mut *op).cast()),
        Argument::State(get) => (0x8030_6d02, (&raw mut *get).cast()),
        Argument::Position(pos) => (0x8008_6d03, (&raw mut *pos).cast()),
    };
    // SAFETY: each number is paired with a pointer to the structure that it encodes the size of
    // (asserted above), borrowed mutably for the length of the call.
    let result = unsafe { libc::ioctl(tape.as_raw_fd(), number, pointer) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, os::fd::AsFd};

    #[test]
    fn a_file_that_is_no_tape_refuses_all_requests() {
        let null = File::open("/dev/null").unwrap();
        let refused = |result: io::Result<()>| {
            assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        };
        refused(operate(null.as_fd(), Operation::Rewind));
        refused(state(null.as_fd()).map(drop));
        refused(position(null.as_fd()).map(drop));
    }
}
