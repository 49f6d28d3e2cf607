//! Opening directories by their path beneath the root, no symbolic link followed.

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// How a directory is opened to be read.
pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The kernel takes paths of 4,096 bytes at most, with the final zero.
const STEP_BYTES: usize = 4000;
/// Directories kept open by one [`Directories`].
const KEPT: usize = 32;

/// The directories on the way to the one used last, kept open.
#[derive(Debug)]
pub(super) struct Directories {
    root: Arc<OwnedFd>,
    /// Each lies beneath the one before it.
    open: Vec<(Vec<u8>, Arc<OwnedFd>)>,
}

/// Opens the directory at `path` beneath `base` (itself for an empty path), however long the path.
///
/// # Errors
///
/// The kernel's, `ELOOP` when a component is a symbolic link.
pub(super) fn open_directory(base: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut opened: Option<OwnedFd> = None;
    let mut rest = if path.is_empty() { b"." } else { path };
    loop {
        let (now, later) = step(rest);
        let from = opened.as_ref().map_or(base, std::os::fd::AsFd::as_fd);
        let next = open_step(from, now)?;
        opened = Some(next);
        rest = later;
        if rest.is_empty() {
            return Ok(opened.expect("set above"));
        }
    }
}

/// Splits off as many components as one call takes.
fn step(path: &[u8]) -> (&[u8], &[u8]) {
    if path.len() <= STEP_BYTES {
        return (path, &[]);
    }
    match path[..STEP_BYTES].iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, &[]),
    }
}

fn open_step(from: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    loop {
        match rustix::fs::openat2(from, path, DIRECTORY, Mode::empty(), resolve) {
            // Some rename elsewhere raced with the look-up of `..`, of which there is none here.
            Err(Errno::AGAIN) => {}
            Err(Errno::NOSYS) => return open_components(from, path),
            result => return result,
        }
    }
}

/// For kernels before 5.6: one component at a time.
fn open_components(from: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut opened: Option<OwnedFd> = None;
    for component in path.split(|byte| *byte == b'/') {
        let from = opened.as_ref().map_or(from, std::os::fd::AsFd::as_fd);
        opened = Some(rustix::fs::openat(from, component, DIRECTORY, Mode::empty())?);
    }
    opened.ok_or(Errno::NOENT)
}

/// A path's directory and its last component.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

impl Directories {
    pub(super) fn new(root: &Arc<OwnedFd>) -> Self {
        Self { root: Arc::clone(root), open: Vec::new() }
    }

    /// The directory at `path` beneath the root (itself for an empty path).
    ///
    /// # Errors
    ///
    /// The kernel's, `ELOOP` when a component is a symbolic link.
    pub(super) fn open(&mut self, path: &[u8]) -> Result<Arc<OwnedFd>, Errno> {
        let is_beneath = |above: &[u8]| {
            path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        while self.open.last().is_some_and(|(above, _)| !is_beneath(above)) {
            self.open.pop();
        }
        let (from, rest) = match self.open.last() {
            None => (&self.root, path),
            Some((above, directory)) => {
                let rest = &path[above.len()..];
                (directory, rest.strip_prefix(b"/").unwrap_or(rest))
            }
        };
        if rest.is_empty() {
            return Ok(Arc::clone(from));
        }
        let opened = Arc::new(open_directory(std::os::fd::AsFd::as_fd(&**from), rest)?);
        if self.open.len() == KEPT {
            self.open.remove(0);
        }
        self.open.push((path.to_vec(), Arc::clone(&opened)));
        Ok(opened)
    }
}
