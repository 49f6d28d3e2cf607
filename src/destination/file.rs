//! A file on its way to its place.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::destination::facts::Rules;
use crate::destination::tree::{self, Place};
use crate::destination::{DestinationError, Restored, install};
use crate::item::{Item, LinkGroup};

/// Zeros of at least this length, and so aligned, become holes when a file is written sparsely.
const HOLE_BYTES: usize = 64 << 10;

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

impl NewFile {
    pub(super) fn create(place: Place, item: &Item) -> Result<Self, DestinationError> {
        let temporary = install::temporary_name();
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

    /// As [`Self::write_at`], but long runs of zeros become holes: for content whose holes are not
    /// on record, such as parts of a sparse file.
    ///
    /// # Errors
    ///
    /// When there is no room, or the disk fails.
    pub fn write_sparsely_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DestinationError> {
        // Aligned in the file, not in the bytes.
        let step = HOLE_BYTES as u64;
        let head = usize::try_from(offset.next_multiple_of(step) - offset)
            .expect("less than a step")
            .min(bytes.len());
        self.write_at(offset, &bytes[..head])?;
        for (piece, at) in
            bytes[head..].chunks(HOLE_BYTES).zip((offset + head as u64..).step_by(HOLE_BYTES))
        {
            let is_zero = piece.len() == HOLE_BYTES && piece.iter().all(|byte| *byte == 0);
            if !is_zero {
                self.write_at(at, piece)?;
            }
        }
        Ok(())
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
        // Whatever comes of it, the temporary is gone afterwards.
        self.installed = true;
        install::install(&self.place, &self.temporary, overwrite)?;
        Ok(Restored { path: self.place.path.clone(), stand_in: self.place.stand_in, left_out })
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
