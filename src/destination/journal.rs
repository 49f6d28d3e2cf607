//! What a restore notes down while it runs, so that the next one can tidy up if it dies.
//!
//! The journal lies in the destination, locked for as long as its restore lives. It names the
//! directories that the restore made, whose facts come back at the end, and those in which it put
//! temporary files. Its own name has the number that all temporary names of that restore have.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir},
    io::Errno,
};

use crate::destination::{DestinationError, name, tree::Tree};
use crate::sorter::Sorter;

const ENDING: &[u8] = b".journal";
/// What a record begins with, before a path and a zero.
const MADE: u8 = b'm';
const USED: u8 = b'u';
/// The longest record that is believed, in bytes: paths in an archive are far shorter.
const RECORD_MAX: usize = 1 << 20;
const READ_BYTES: usize = 64 << 10;
const ENTRIES_BYTES: usize = 32 << 10;
/// What sorting another's journal takes of memory before it spills.
const SORTER_BYTES: usize = 4 << 20;

/// Temporary names, which nothing that is restored may have, and no two restores share.
#[derive(Debug)]
pub(super) struct Names {
    run: String,
    next: AtomicU64,
}

impl Names {
    pub(super) fn new() -> Self {
        let run = format!("{}{}", name::TEMPORARY, uuid::Uuid::new_v4().simple());
        Self { run, next: AtomicU64::new(0) }
    }

    pub(super) fn temporary(&self) -> Vec<u8> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.run).into_bytes()
    }

    fn journal(&self) -> Vec<u8> {
        [self.run.as_bytes(), ENDING].concat()
    }
}

/// The journal of this restore.
#[derive(Debug)]
pub(super) struct Journal {
    root: Arc<OwnedFd>,
    file: File,
    name: Vec<u8>,
    /// The directory that was noted last as one with temporary files.
    used: Option<Vec<u8>>,
}

impl Journal {
    /// Begins one, locked before anybody else can look at it.
    pub(super) fn begin(root: &Arc<OwnedFd>, names: &Names) -> Result<Self, Errno> {
        let (temporary, name) = (names.temporary(), names.journal());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::CLOEXEC;
        let file = rustix::fs::openat(root, &*temporary, flags, Mode::RUSR | Mode::WUSR)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Where there are no locks, nobody takes a journal over.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::NOSYS | Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
        rustix::fs::renameat(root, &*temporary, root, &*name)?;
        Ok(Self { root: Arc::clone(root), file: file.into(), name, used: None })
    }

    /// Notes that this restore is about to make a directory, which is not there.
    pub(super) fn note_made(&mut self, path: &[u8]) -> io::Result<()> {
        self.push(MADE, path)
    }

    /// Notes that a temporary file is about to be in a directory.
    pub(super) fn note_used(&mut self, path: &[u8]) -> io::Result<()> {
        if self.used.as_deref() == Some(path) {
            return Ok(());
        }
        self.push(USED, path)?;
        self.used = Some(path.to_vec());
        Ok(())
    }

    fn push(&mut self, kind: u8, path: &[u8]) -> io::Result<()> {
        let mut record = Vec::with_capacity(path.len() + 2);
        record.push(kind);
        record.extend_from_slice(path);
        record.push(0);
        self.file.write_all(&record)
    }

    /// Ends it: nothing is left to tidy up.
    pub(super) fn remove(&self) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.root, &*self.name, AtFlags::empty())
    }
}

/// Removes what restores left here that were killed, and calls `made` with each directory that
/// they made, whose facts are still to come. What belongs to a restore that runs is let be.
pub(super) fn take_over(
    tree: &mut Tree,
    own: &Names,
    made: &mut dyn FnMut(&[u8]) -> Result<(), DestinationError>,
) -> Result<(), DestinationError> {
    let mut journals = Vec::new();
    each_name(tree.root().as_fd(), |name| {
        if is_journal(name) && name != own.journal() {
            journals.push(name.to_vec());
        }
    })
    .map_err(|errno| tree.failed("listing", errno))?;
    for name in journals {
        let Some(file) = open_dead(tree.root(), &name) else { continue };
        let run = name.strip_suffix(ENDING).expect("a journal has this ending");
        tracing::info!(run = %String::from_utf8_lossy(run), "tidying up after a killed restore");
        let mut directories = Sorter::new(tree.path(), SORTER_BYTES);
        directories.push_keyed(b"", &[USED])?;
        read_records(file, |kind, path| directories.push_keyed(path, &[kind]))?;
        let mut before: Option<Vec<u8>> = None;
        for record in directories.finish()? {
            let record = record?;
            let path = record.key();
            // One that was made sorts first.
            if before.as_deref() == Some(path) {
                continue;
            }
            let Ok(directory) = tree.existing(path) else { continue };
            if record.value() == [MADE] && is_ours(&directory) {
                tree.note_made(path)?;
                made(path)?;
            }
            remove_temporaries(&directory, run);
            before = Some(path.to_vec());
        }
        match rustix::fs::unlinkat(tree.root(), &*name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(tree.failed("writing to", errno)),
        }
    }
    Ok(())
}

/// Whether it is `.tapevault-restore-`, 32 hexadecimal digits, `.journal`.
fn is_journal(name: &[u8]) -> bool {
    let run = name.strip_prefix(name::TEMPORARY.as_bytes());
    let run = run.and_then(|rest| rest.strip_suffix(ENDING));
    run.is_some_and(|run| run.len() == 32 && run.iter().all(u8::is_ascii_hexdigit))
}

/// A journal of ours whose restore lives no more, locked; `None` for any other.
fn open_dead(root: &OwnedFd, name: &[u8]) -> Option<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root, name, flags, Mode::empty()).ok()?;
    if !is_ours(&file) {
        return None;
    }
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    // Another restore may have taken it over a moment ago.
    let held = rustix::fs::fstat(&file).ok()?;
    let there = rustix::fs::statat(root, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let is_it = (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)
        && FileType::from_raw_mode(held.st_mode) == FileType::RegularFile;
    is_it.then(|| file.into())
}

fn is_ours(file: &OwnedFd) -> bool {
    let user = rustix::process::geteuid().as_raw();
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_uid == user)
}

/// Hands out the records. The last may be torn, and is left out then.
fn read_records<E>(
    mut file: File,
    mut take: impl FnMut(u8, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut held: Vec<u8> = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        // What cannot be read is not tidied up; that must not keep anybody from restoring.
        let read = file.read(&mut buffer).unwrap_or(0);
        if read == 0 || held.len() > RECORD_MAX {
            return Ok(());
        }
        held.extend_from_slice(&buffer[..read]);
        let mut from = 0;
        while let Some(length) = held[from..].iter().position(|byte| *byte == 0) {
            if let Some((kind @ (&MADE | &USED), path)) = held[from..from + length].split_first() {
                take(*kind, path)?;
            }
            from += length + 1;
        }
        held.drain(..from);
    }
}

/// Removes what a run left in one directory. What cannot be removed stays.
fn remove_temporaries(directory: &OwnedFd, run: &[u8]) {
    let mut names = Vec::new();
    let listed = each_name(directory.as_fd(), |name| {
        // The journal goes last.
        if name.strip_prefix(run).is_some_and(|rest| rest.starts_with(b"-")) {
            names.push(name.to_vec());
        }
    });
    if let Err(errno) = listed {
        tracing::warn!(%errno, "a directory cannot be looked through for temporary files");
    }
    for name in names {
        let removed = match rustix::fs::unlinkat(directory, &*name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {
                rustix::fs::unlinkat(directory, &*name, AtFlags::REMOVEDIR)
            }
            result => result,
        };
        if let Err(errno) = removed {
            let name = crate::printable::Printable(&name);
            tracing::warn!(%errno, %name, "a temporary file stays");
        }
    }
}

/// Calls `take` with each name in a directory.
pub(super) fn each_name(
    directory: BorrowedFd<'_>,
    mut take: impl FnMut(&[u8]),
) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(directory, c".", flags, Mode::empty())?;
    let mut buffer = Vec::with_capacity(ENTRIES_BYTES);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            take(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom};

    use super::*;

    #[test]
    fn torn_records_are_left_out() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"ma\0ub/c\0u\0x?\0\0mtorn").unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut read = Vec::new();
        let taken: Result<(), ()> = read_records(file, |kind, path| {
            read.push((kind, path.to_vec()));
            Ok(())
        });
        taken.unwrap();
        assert_eq!(read, [(MADE, b"a".to_vec()), (USED, b"b/c".to_vec()), (USED, Vec::new())]);
    }

    #[test]
    fn only_journals_are_taken_for_such() {
        let run = "0123456789abcdef0123456789abcdef";
        for (name, expected) in [
            (format!(".tapevault-restore-{run}.journal"), true),
            (format!(".tapevault-restore-{run}-7"), false),
            (format!(".tapevault-restore-{run}.jsonl"), false),
            (".tapevault-restore-x.journal".to_owned(), false),
            (format!(".tapevault-restore-{}.journal", run.replace('0', "g")), false),
        ] {
            assert_eq!(is_journal(name.as_bytes()), expected, "{name}");
        }
    }
}
