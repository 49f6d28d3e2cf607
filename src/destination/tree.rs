//! The directories of a destination: walked from its descriptor, made where they are missing.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::clock::Timestamp;
use crate::destination::{
    DestinationError, facts,
    journal::{self, Journal, Names},
    name::{self, Component},
};

/// Only to stand on: reading it is not needed, so it need not be permitted.
const STAND: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Directories kept open on the way to the one used last.
const KEPT: usize = 32;
/// What follows the name of a file of which not all is right.
const DAMAGED: &[u8] = b".damaged";
/// Bytes of the longest name that file systems take.
const NAME_MAX: usize = 255;
/// A name, its stand-in, and the stand-in of that at most.
const NAMES_TRIED: usize = 3;

/// The destination's directories.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
    root: Arc<OwnedFd>,
    journal: Journal,
    /// Whether the file system takes names that differ in case for the same.
    ignores_case: bool,
    open: Vec<Step>,
    created: Vec<Vec<u8>>,
}

/// A directory on the way to the one used last.
#[derive(Clone, Debug)]
struct Step {
    wanted: Vec<u8>,
    found: Directory,
}

/// A directory that is there.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) descriptor: Arc<OwnedFd>,
    /// Relative to the destination, as it really is.
    pub(super) path: Vec<u8>,
    pub(super) stand_in: bool,
}

/// Where something is to be put.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) name: Vec<u8>,
    /// Relative to the destination, as it really is.
    pub(super) path: Vec<u8>,
    pub(super) stand_in: bool,
}

/// What is at a path.
#[derive(Debug)]
pub(super) enum Spot {
    /// Nothing.
    Free(Place),
    /// Something that is no directory.
    Taken(Place, Stat),
}

/// What becomes of directories that are missing on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Make,
    Leave,
}

impl Place {
    /// The place beside this one whose name `stand_in` makes of this one's.
    pub(super) fn renamed(self, stand_in: fn(&[u8]) -> Vec<u8>) -> Self {
        let name = stand_in(&self.name);
        let above = self.path.len() - self.name.len();
        let path = [&self.path[..above], &name].concat();
        Self { directory: self.directory, name, path, stand_in: true }
    }
}

impl Place {
    /// Turns it into the place beside it whose name ends in [`DAMAGED`].
    pub(super) fn mark_damaged(&mut self) {
        let kept = self.name.len().min(NAME_MAX - DAMAGED.len());
        self.path.truncate(self.path.len() - (self.name.len() - kept));
        self.name.truncate(kept);
        self.name.extend_from_slice(DAMAGED);
        self.path.extend_from_slice(DAMAGED);
        self.stand_in = true;
    }
}

/// One component without a symbolic link, never upwards.
fn open_component(from: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(from, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Before Linux 5.6. The name is one component and not `..`, so this is as safe.
            Err(Errno::NOSYS) => return rustix::fs::openat(from, name, flags, Mode::empty()),
            result => return result,
        }
    }
}

fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    if above.is_empty() { name.to_vec() } else { [above, b"/", name].concat() }
}

/// An error about one path.
pub(super) fn error(operation: &'static str, path: &[u8], errno: Errno) -> DestinationError {
    let (path, source) = (path.to_vec(), io::Error::from(errno));
    match errno {
        Errno::NOSPC | Errno::DQUOT => DestinationError::Full { path, source },
        Errno::EXIST => DestinationError::Exists { path },
        _ => DestinationError::Item { operation, path, source },
    }
}

impl Tree {
    /// Opens the destination, made if it is not there, and begins its journal.
    ///
    /// # Errors
    ///
    /// When it is no directory, or cannot be made or written to.
    pub(super) fn open(path: &Path, names: &Names) -> Result<Self, DestinationError> {
        let failed = |operation| {
            let path = path.to_owned();
            move |source| DestinationError::Root { operation, path, source }
        };
        std::fs::create_dir_all(path).map_err(failed("making"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
        let root = Arc::new(root.map_err(failed("opening"))?);
        // One that is empty is as good as made by us: its mode and times come back too.
        let mut is_empty = true;
        journal::each_name(root.as_fd(), |name| {
            is_empty &= name.starts_with(name::TEMPORARY.as_bytes());
        })
        .map_err(|errno| failed("listing")(errno.into()))?;
        let writing = |errno: Errno| failed("writing to")(errno.into());
        let journal = Journal::begin(&root, names).map_err(writing)?;
        let ignores_case = ignores_case(root.as_fd(), names).map_err(writing)?;
        let created = if is_empty { vec![Vec::new()] } else { Vec::new() };
        Ok(Self { path: path.to_owned(), root, journal, ignores_case, open: Vec::new(), created })
    }

    /// An error about the destination itself.
    pub(super) fn failed(&self, operation: &'static str, errno: Errno) -> DestinationError {
        DestinationError::Root { operation, path: self.path.clone(), source: errno.into() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes a directory as one that a restore made, before this one or in it.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub(super) fn note_made(&mut self, path: &[u8]) -> Result<(), DestinationError> {
        let noted = self.journal.note_made(path);
        noted.map_err(|cause| error("noting", path, errno_of(&cause)))
    }

    /// Ends the journal: nothing is left to tidy up. The destination's own times are left.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub(super) fn close(&self) -> Result<(), DestinationError> {
        let keep_times = || {
            let stat = rustix::fs::fstat(&self.root)?;
            self.journal.remove()?;
            let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
            let modified = Timestamp::from_parts(stat.st_mtime, nanoseconds);
            rustix::fs::futimens(&self.root, &facts::times(modified))
        };
        keep_times().map_err(|errno| self.failed("writing to", errno))
    }

    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Paths of directories made since the last call.
    pub(super) fn take_created(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.created)
    }

    /// The directory at `wanted`, made if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(super) fn directory(&mut self, wanted: &[u8]) -> Result<Directory, DestinationError> {
        let made = self.walk(&name::components(wanted), Missing::Make)?;
        Ok(made.expect("what is missing is made"))
    }

    /// The directory at `wanted`, unless it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(super) fn found_directory(
        &mut self,
        wanted: &[u8],
    ) -> Result<Option<Directory>, DestinationError> {
        self.walk(&name::components(wanted), Missing::Leave)
    }

    fn walk(
        &mut self,
        components: &[Component],
        missing: Missing,
    ) -> Result<Option<Directory>, DestinationError> {
        let names: Vec<&[u8]> = components.iter().map(|part| &*part.name).collect();
        let wanted = names.join(&b'/');
        let is_beneath = |above: &[u8]| {
            wanted.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        while self.open.last().is_some_and(|step| !is_beneath(&step.wanted)) {
            self.open.pop();
        }
        let (mut found, mut known) = match self.open.last() {
            Some(step) if step.wanted.len() == wanted.len() => return Ok(Some(step.found.clone())),
            Some(step) => (step.found.clone(), step.wanted.clone()),
            None => {
                let descriptor = Arc::clone(&self.root);
                (Directory { descriptor, path: Vec::new(), stand_in: false }, Vec::new())
            }
        };
        let depth = if known.is_empty() { 0 } else { known.split(|b| *b == b'/').count() };
        for component in &components[depth..] {
            let Some(entered) = self.enter(&found, component, missing)? else { return Ok(None) };
            found = entered;
            known = join(&known, &component.name);
            if self.open.len() == KEPT {
                self.open.remove(0);
            }
            self.open.push(Step { wanted: known.clone(), found: found.clone() });
        }
        Ok(Some(found))
    }

    fn enter(
        &mut self,
        above: &Directory,
        component: &Component,
        missing: Missing,
    ) -> Result<Option<Directory>, DestinationError> {
        let parent = above.descriptor.as_fd();
        let mut name = component.name.clone();
        let mut stand_in = above.stand_in || component.stand_in;
        for _ in 0..NAMES_TRIED {
            let path = join(&above.path, &name);
            let next = match open_component(parent, &name, STAND) {
                Ok(opened) if self.is_twin(parent, &name) => {
                    drop(opened);
                    name::of_twin(&component.true_name)
                }
                Ok(opened) => {
                    let descriptor = Arc::new(opened);
                    return Ok(Some(Directory { descriptor, path, stand_in }));
                }
                Err(Errno::NOENT) if missing == Missing::Leave => return Ok(None),
                Err(Errno::NOENT) => {
                    self.note_made(&path)?;
                    // For nobody else until its own mode comes back, at the end.
                    match rustix::fs::mkdirat(parent, &*name, Mode::RWXU) {
                        Ok(()) => self.created.push(path),
                        Err(Errno::EXIST) => {}
                        Err(errno) => return Err(error("making directory", &path, errno)),
                    }
                    continue;
                }
                Err(Errno::NAMETOOLONG) => name::of_twin(&component.true_name),
                // A file or a symbolic link has the name.
                Err(Errno::NOTDIR | Errno::LOOP) => name::of_directory(&component.true_name),
                Err(errno) => return Err(error("opening directory", &path, errno)),
            };
            (name, stand_in) = (next, true);
        }
        Err(DestinationError::Exists { path: join(&above.path, &name) })
    }

    /// Where something that is no directory and is wanted at `wanted` is to be put.
    ///
    /// # Errors
    ///
    /// When something is there already, unless it may be replaced; when a directory cannot be made.
    pub(super) fn place(
        &mut self,
        wanted: &[u8],
        overwrite: bool,
    ) -> Result<Place, DestinationError> {
        let place = match self.spot_at(wanted, Missing::Make)?.expect("what is missing is made") {
            Spot::Free(place) => place,
            Spot::Taken(place, _) if overwrite => place,
            Spot::Taken(Place { path, .. }, _) => return Err(DestinationError::Exists { path }),
        };
        let above = place.path.len() - place.name.len();
        let directory = &place.path[..above.saturating_sub(1)];
        let noted = self.journal.note_used(directory);
        noted.map_err(|cause| error("noting", directory, errno_of(&cause)))?;
        Ok(place)
    }

    /// What is where something that is no directory is wanted; `None` when the directory that it
    /// would be in is not there.
    ///
    /// # Errors
    ///
    /// When the way there cannot be walked, or all names that might stand for it are taken.
    pub(super) fn spot(&mut self, wanted: &[u8]) -> Result<Option<Spot>, DestinationError> {
        self.spot_at(wanted, Missing::Leave)
    }

    fn spot_at(
        &mut self,
        wanted: &[u8],
        missing: Missing,
    ) -> Result<Option<Spot>, DestinationError> {
        let mut components = name::components(wanted);
        let last = components.pop().unwrap_or_else(Component::nameless);
        let Some(above) = self.walk(&components, missing)? else { return Ok(None) };
        let parent = above.descriptor.as_fd();
        let mut name = last.name;
        let mut stand_in = above.stand_in || last.stand_in;
        for _ in 0..NAMES_TRIED {
            let path = join(&above.path, &name);
            let next = match rustix::fs::statat(parent, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {
                    let place = Place { directory: above.descriptor, name, path, stand_in };
                    return Ok(Some(Spot::Free(place)));
                }
                Err(Errno::NAMETOOLONG) => name::of_twin(&last.true_name),
                Err(errno) => return Err(error("looking for", &path, errno)),
                Ok(_) if self.is_twin(parent, &name) => name::of_twin(&last.true_name),
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    let other = name::of_file(&last.true_name);
                    if other == name { name::of_twin(&last.true_name) } else { other }
                }
                Ok(stat) => {
                    let place = Place { directory: above.descriptor, name, path, stand_in };
                    return Ok(Some(Spot::Taken(place, stat)));
                }
            };
            (name, stand_in) = (next, true);
        }
        Err(DestinationError::Exists { path: join(&above.path, &name) })
    }

    /// The directory that really is at `path`, opened to be read; no stand-ins, nothing made.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(super) fn existing(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let mut opened = rustix::fs::openat(&self.root, c".", READ, Mode::empty())?;
        if path.is_empty() {
            return Ok(opened);
        }
        let mut components = path.split(|byte| *byte == b'/').peekable();
        while let Some(name) = components.next() {
            let flags = if components.peek().is_some() { STAND } else { READ };
            opened = open_component(opened.as_fd(), name, flags)?;
        }
        Ok(opened)
    }

    /// The place that really is at `path`.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(super) fn existing_place(&self, path: &[u8], stand_in: bool) -> Result<Place, Errno> {
        let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&[][..], path),
        };
        let directory = Arc::new(self.existing(above)?);
        Ok(Place { directory, name: name.to_vec(), path: path.to_vec(), stand_in })
    }

    /// Whether `name`, which exists, only exists in other letters.
    fn is_twin(&self, parent: BorrowedFd<'_>, name: &[u8]) -> bool {
        if !self.ignores_case {
            return false;
        }
        let mut is_there = false;
        let listed = journal::each_name(parent, |other| is_there |= other == name);
        listed.is_ok() && !is_there
    }
}

fn errno_of(cause: &io::Error) -> Errno {
    Errno::from_io_error(cause).unwrap_or(Errno::IO)
}

/// Asks for a directory just made by its name in capitals.
fn ignores_case(directory: BorrowedFd<'_>, names: &Names) -> Result<bool, Errno> {
    let probe = names.temporary();
    rustix::fs::mkdirat(directory, &*probe, Mode::RWXU)?;
    let capitals = probe.to_ascii_uppercase();
    let found = rustix::fs::statat(directory, &*capitals, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    rustix::fs::unlinkat(directory, &*probe, AtFlags::REMOVEDIR)?;
    Ok(found)
}
