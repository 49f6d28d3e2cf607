//! Listing a tree in the byte order of full paths, in bounded memory.

use std::{
    error::Error,
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, RawDir},
    io::Errno,
};

use crate::cancel::Cancel;
use crate::item::{Key, Kind, Listed, Version};
use crate::sorter::{Sorted, Sorter};
use crate::source::directory::paths::{self, DIRECTORY};
use crate::source::directory::{DirectorySource, facts};
use crate::source::{Finding, Findings, Problem, SourceError, Stop};

/// Names held in memory over all directories that are open, in bytes.
const MEMORY_BYTES: usize = 16 << 20;
/// A directory gets at least this much of it.
const MIN_MEMORY_BYTES: usize = 64 << 10;
/// Directories kept open on the way down; those above are opened again when the walk returns.
const MAX_OPEN: usize = 64;
/// What a name costs in memory beside its bytes.
const NAME_OVERHEAD: usize = 32;
const ENTRIES_BYTES: usize = 64 << 10;

/// Record values of a directory's names: what kind the name had when the directory was read.
const IS_DIRECTORY: &[u8] = b"d";
const IS_OTHER: &[u8] = b"";

/// One listing under way.
pub(super) struct Walk<'a> {
    source: &'a DirectorySource,
    visit: &'a mut dyn FnMut(Listed) -> Result<(), Stop>,
    findings: &'a dyn Findings,
    levels: Vec<Level>,
    /// The path of the deepest level: empty, or ending in a slash.
    path: Vec<u8>,
    entries: Vec<u8>,
}

/// A directory on the way down.
struct Level {
    /// `None` while it is closed to save descriptors.
    directory: Option<Arc<OwnedFd>>,
    device: u64,
    inode: u64,
    /// Length of its path with the slash.
    path_length: usize,
    /// Its names, and for directories also the name with a slash, where its descendants belong.
    names: Sorted,
    memory: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        source: &'a DirectorySource,
        visit: &'a mut dyn FnMut(Listed) -> Result<(), Stop>,
        findings: &'a dyn Findings,
    ) -> Self {
        let (levels, path) = (Vec::new(), Vec::new());
        let entries = Vec::with_capacity(ENTRIES_BYTES);
        Self { source, visit, findings, levels, path, entries }
    }

    pub(super) fn run(mut self, cancel: &Cancel) -> Result<(), SourceError> {
        // A descriptor of its own, since reading a directory moves its offset.
        let root = rustix::fs::openat(&self.source.root, c".", DIRECTORY, Mode::empty())
            .map_err(|errno| self.source.lost("opening the directory", errno))?;
        let stat = rustix::fs::fstat(&root)
            .map_err(|errno| self.source.lost("listing the directory", errno))?;
        let listed = facts::listed(Key::default(), &stat).expect("it was opened as a directory");
        (self.visit)(listed).map_err(|Stop| SourceError::Stopped)?;
        self.enter(root)?;
        while let Some(level) = self.levels.last_mut() {
            if cancel.is_set() {
                return Err(SourceError::Stopped);
            }
            self.path.truncate(level.path_length);
            let Some(record) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let record = record.map_err(|error| self.source.lost("sorting names", error.source))?;
            let Some(directory) = self.reopened()? else { continue };
            match record.key().strip_suffix(b"/") {
                None => self.emit(directory.as_fd(), record.key(), record.value())?,
                Some(name) => self.descend(directory.as_fd(), name)?,
            }
        }
        Ok(())
    }

    /// The deepest level's directory, opened again if need be; `None`, and the level is given up,
    /// when it is no longer there.
    fn reopened(&mut self) -> Result<Option<Arc<OwnedFd>>, SourceError> {
        let level = self.levels.last_mut().expect("the walk is in a directory");
        if let Some(directory) = &level.directory {
            return Ok(Some(Arc::clone(directory)));
        }
        let path = self.path.strip_suffix(b"/").unwrap_or(&self.path);
        let opened = paths::open_directory(self.source.root.as_fd(), path)
            .and_then(|directory| Ok((rustix::fs::fstat(&directory)?, directory)));
        match opened {
            Ok((stat, directory)) if (stat.st_dev, stat.st_ino) == (level.device, level.inode) => {
                let directory = Arc::new(directory);
                level.directory = Some(Arc::clone(&directory));
                Ok(Some(directory))
            }
            // Moved away while its descendants were listed: the rest of it is not known.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                let key = path.to_vec();
                self.levels.pop();
                self.report(key, Problem::Vanished, None);
                Ok(None)
            }
            Err(errno) => Err(self.source.lost("opening a directory", errno)),
        }
    }

    /// Hands one name to the visitor.
    fn emit(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        was: &[u8],
    ) -> Result<(), SourceError> {
        let key = [&self.path, name].concat();
        let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Gone before it was listed: then it is not there.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => {
                self.report(key, Problem::Unreadable, Some(errno));
                return Ok(());
            }
        };
        if facts::file_type(&stat) == FileType::Directory
            && self.source.avoid.contains(&(stat.st_dev, stat.st_ino))
        {
            return Ok(());
        }
        let Some(listed) = facts::listed(Key(key.clone()), &stat) else {
            self.report(key, Problem::Unsupported, None);
            return Ok(());
        };
        if listed.kind == Kind::Directory && was != IS_DIRECTORY {
            // Became a directory after its parent was read: what is in it is not known.
            self.report(key, Problem::Vanished, None);
            return Ok(());
        }
        (self.visit)(listed).map_err(|Stop| SourceError::Stopped)
    }

    /// Goes down into the directory `name`, if it still is one and belongs to the tree.
    fn descend(&mut self, directory: BorrowedFd<'_>, name: &[u8]) -> Result<(), SourceError> {
        let opened = rustix::fs::openat(directory, name, DIRECTORY, Mode::empty());
        self.path.extend_from_slice(name);
        match opened {
            Ok(opened) => {
                self.path.push(b'/');
                self.enter(opened)
            }
            // Gone, or replaced by something else, since it was read.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
                Err(self.source.lost("opening a directory", errno))
            }
            Err(errno) => {
                self.report(self.path.clone(), Problem::Unreadable, Some(errno));
                Ok(())
            }
        }
    }

    /// Reads the names of a directory just opened, whose path is `self.path`.
    fn enter(&mut self, directory: OwnedFd) -> Result<(), SourceError> {
        let stat = rustix::fs::fstat(&directory)
            .map_err(|errno| self.source.lost("listing a directory", errno))?;
        let foreign = self.source.one_file_system && stat.st_dev != self.source.root_device;
        if foreign || self.source.avoid.contains(&(stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
        let held: usize = self.levels.iter().map(|level| level.memory).sum();
        let memory = MEMORY_BYTES.saturating_sub(held).max(MIN_MEMORY_BYTES);
        let mut sorter = Sorter::new(&self.source.scratch, memory);
        let pushed = self.read_names(directory.as_fd(), &mut sorter)?;
        let names = sorter
            .finish()
            .map_err(|error| self.source.lost("sorting the names of a directory", error.source))?;
        self.levels.push(Level {
            directory: Some(Arc::new(directory)),
            device: stat.st_dev,
            inode: stat.st_ino,
            path_length: self.path.len(),
            names,
            memory: pushed.min(memory),
        });
        if let Some(above) = self.levels.len().checked_sub(MAX_OPEN + 1) {
            self.levels[above].directory = None;
        }
        Ok(())
    }

    /// Pushes the names of a directory; returns how much memory they take.
    fn read_names(
        &mut self,
        directory: BorrowedFd<'_>,
        sorter: &mut Sorter,
    ) -> Result<usize, SourceError> {
        let mut buffer = std::mem::take(&mut self.entries);
        let mut pushed = 0;
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // Removed while it was being read.
                Err(Errno::NOENT) => break,
                Err(errno) => {
                    let path = self.path.strip_suffix(b"/").unwrap_or(&self.path).to_vec();
                    self.report(path, Problem::Unreadable, Some(errno));
                    break;
                }
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let is_directory = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => is_directory(directory, name),
                FileType::RegularFile
                | FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice => false,
            };
            if self.is_excluded(name, is_directory) {
                continue;
            }
            let value = if is_directory { IS_DIRECTORY } else { IS_OTHER };
            let mut push = |key: &[u8]| {
                pushed += key.len() + NAME_OVERHEAD;
                sorter.push_keyed(key, value)
            };
            let mut result = push(name);
            if is_directory && result.is_ok() {
                result = push(&[name, b"/"].concat());
            }
            result.map_err(|error| {
                self.source.lost("sorting the names of a directory", error.source)
            })?;
        }
        self.entries = buffer;
        Ok(pushed)
    }

    fn is_excluded(&mut self, name: &[u8], is_directory: bool) -> bool {
        if self.source.excludes.is_empty() {
            return false;
        }
        let length = self.path.len();
        self.path.extend_from_slice(name);
        let path = Path::new(OsStr::from_bytes(&self.path));
        let excluded = match is_directory {
            true => self.source.excludes.leave_out_directory(path),
            false => self.source.excludes.leave_out(path),
        };
        self.path.truncate(length);
        excluded
    }

    fn report(&self, key: Vec<u8>, what: Problem, cause: Option<Errno>) {
        let detail =
            cause.map(|errno| -> Box<dyn Error + Send + Sync> { Box::new(io::Error::from(errno)) });
        self.findings.report(Finding { key: Key(key), version: Version::default(), what, detail });
    }
}

/// For file systems that do not say what a name is.
fn is_directory(directory: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| facts::file_type(&stat) == FileType::Directory)
}
