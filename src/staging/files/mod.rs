//! The seam between staging and the disk, so that a simulation can lose unsynced writes and refuse
//! any call.

mod disk;
mod simulated;

use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

pub use crate::staging::files::{
    disk::Disk,
    simulated::{Fault, Simulated},
};

/// The directories and files that staging keeps.
pub trait Files: Send + Sync + fmt::Debug {
    /// Makes a directory and its parents, unless they are there.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// The files of a directory, in no order. Names that are not UTF-8 are left out: staging makes
    /// none.
    fn list(&self, dir: &Path) -> io::Result<Vec<Listing>>;
    /// Makes an empty file for reading and writing; one that is there is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>>;
    /// Opens a file that is there for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Handle>>;
    /// Renames a file, replacing one that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes what was created, renamed and removed in a directory outlive a power loss.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock file's lock, until the guard is dropped or the process ends. `None` when
    /// somebody else has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Guard>>>;
}

/// A held lock.
pub trait Guard: Send + Sync + fmt::Debug {}

/// An open file. Offsets are bytes from the start.
pub trait Handle: Send + Sync + fmt::Debug {
    /// Writes all of `bytes`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads what is there, at most `buffer`; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes content and length outlive a power loss.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file off, or lengthens it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// How long the file is.
    fn len(&self) -> io::Result<u64>;
    /// Whether nothing is in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Says that all of it is about to be read once, in order.
    fn expect_reading(&self);
}

/// One file of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its name within the directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// Reads a stretch of a file in order.
#[derive(Debug)]
pub struct Stretch<H> {
    handle: H,
    at: u64,
    end: u64,
}

impl<H: AsRef<dyn Handle>> Stretch<H> {
    /// The bytes from `at` up to, not including, `end`.
    pub fn new(handle: H, at: u64, end: u64) -> Self {
        Self { handle, at, end }
    }
}

impl<H: AsRef<dyn Handle>> Read for Stretch<H> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let read = self.handle.as_ref().read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A file as a stream.
#[derive(Debug)]
pub struct Cursor<'a> {
    handle: &'a dyn Handle,
    at: u64,
}

impl<'a> Cursor<'a> {
    /// A stream that stands at the file's start.
    pub fn new(handle: &'a dyn Handle) -> Self {
        Self { handle, at: 0 }
    }
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.handle.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Write for Cursor<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.handle.write_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.handle.len()?.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Reads exactly `buffer`.
pub(in crate::staging) fn read_exact_at(
    handle: &dyn Handle,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match handle.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(())
}
