//! A file on its way to its place.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

use crate::crash;
use crate::destination::facts::Rules;
use crate::destination::tree::{self, Place};
use crate::destination::{DestinationError, Restored, install};
use crate::item::{Item, LinkGroup};

/// A file whose content is being written, under a temporary name. Removed when dropped.
#[derive(Debug)]
pub struct NewFile {
    place: Place,
    temporary: Vec<u8>,
    file: File,
    item: Item,
    /// Where the last of the bytes written so far ends.
    reached: AtomicU64,
    installed: bool,
}

/// A file that stands where an item is to be put, open to be compared with it.
#[derive(Debug)]
pub struct Existing {
    pub(super) place: Place,
    pub(super) file: File,
    /// Device and inode.
    pub(super) identity: (u64, u64),
    size: u64,
    /// What it lacks of the item's facts.
    pub(super) lacking: Vec<String>,
}

impl Existing {
    /// Opens what is at a place; `None` when it is no regular file.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) fn open(
        place: Place,
        rules: &Rules,
        item: &Item,
    ) -> Result<Option<Self>, DestinationError> {
        let error = |operation, errno| tree::error(operation, &place.path, errno);
        // A pipe that nobody writes to would be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&place.directory, &*place.name, flags, Mode::empty());
        let opened = match opened {
            Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Ok(None),
            opened => opened.map_err(|errno| error("opening", errno))?,
        };
        let stat = rustix::fs::fstat(&opened).map_err(|errno| error("looking at", errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let lacking = rules.lacking(opened.as_fd(), &stat, item);
        let (identity, size) = ((stat.st_dev, stat.st_ino), stat.st_size);
        let size = u64::try_from(size).unwrap_or_default();
        Ok(Some(Self { place, file: opened.into(), identity, size, lacking }))
    }

    /// Where it is, relative to the destination.
    pub fn path(&self) -> &[u8] {
        &self.place.path
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What it lacks of the item's facts: names of attributes, `owner`, `mode`, `times`.
    pub fn lacking(&self) -> &[String] {
        &self.lacking
    }

    /// Reads its content at `offset`, at most `buffer`; 0 at the end.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DestinationError> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    return read.map_err(|cause| {
                        let errno = Errno::from_io_error(&cause).unwrap_or(Errno::IO);
                        tree::error("reading", &self.place.path, errno)
                    });
                }
            }
        }
    }
}

impl NewFile {
    pub(super) fn create(
        place: Place,
        temporary: Vec<u8>,
        item: &Item,
    ) -> Result<Self, DestinationError> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&place.directory, &*temporary, flags, mode)
            .map_err(|errno| tree::error("creating", &place.path, errno))?;
        let (file, item) = (file.into(), item.clone());
        Ok(Self { place, temporary, file, item, reached: AtomicU64::new(0), installed: false })
    }

    /// Where it is going to be, relative to the destination.
    pub fn path(&self) -> &[u8] {
        &self.place.path
    }

    /// Writes bytes of the content. What is never written, up to the item's size, is a hole. May be
    /// called from many threads.
    ///
    /// # Errors
    ///
    /// When there is no room, or the disk fails.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DestinationError> {
        self.file.write_all_at(bytes, offset).map_err(|error| self.error("writing", &error))?;
        self.reached.fetch_max(offset + bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Reads back what was written at `offset`, at most `buffer`; 0 behind the last byte.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DestinationError> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map_err(|error| self.error("reading", &error)),
            }
        }
    }

    /// Sends it to a place beside the one that it was begun for, whose name says that it is damaged.
    pub(super) fn mark_damaged(&mut self) {
        self.place.mark_damaged();
    }

    pub(super) fn link_group(&self) -> Option<LinkGroup> {
        self.item.posix.as_ref()?.link_group
    }

    pub(super) fn finish(
        mut self,
        rules: &Rules,
        overwrite: bool,
    ) -> Result<Restored, DestinationError> {
        if self.reached.load(Ordering::Relaxed) < self.item.size {
            // A hole up to the end.
            self.file.set_len(self.item.size).map_err(|error| self.error("extending", &error))?;
        }
        let left_out = rules.apply(self.file.as_fd(), &self.item);
        crash::point("restore.file.written");
        // Whatever comes of it, the temporary is gone afterwards.
        self.installed = true;
        install::install(&self.place, &self.temporary, overwrite)?;
        crash::point("restore.file.named");
        let (path, stand_in) = (self.place.path.clone(), self.place.stand_in);
        Ok(Restored { path, stand_in, left_out, already: false })
    }

    fn error(&self, operation: &'static str, error: &io::Error) -> DestinationError {
        let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
        tree::error(operation, &self.place.path, errno)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.installed {
            install::remove(&self.place, &self.temporary);
        }
    }
}
