//! Where a restore puts files: beneath one directory, whatever the names say.
//!
//! Every path is walked from the destination's own descriptor, component by component, and no
//! symbolic link is followed, planted or restored. Content goes to a temporary file beside its
//! place and gets its name once the caller knows that the digest agrees.

mod deferred;
mod facts;
mod file;
mod install;
mod journal;
mod name;
mod tree;

pub use file::{Existing, NewFile};

use std::{
    collections::HashMap,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, FileType, Mode};

use crate::destination::deferred::End;
use crate::destination::facts::Rules;
use crate::destination::journal::Names;
use crate::destination::tree::{Place, Spot, Tree};
use crate::digest::Digest;
use crate::item::{Item, Kind, LinkGroup};
use crate::printable::Printable;
use crate::sorter::{Sorter, SorterError};

/// Names of files with several names that are remembered for linking; beyond it the rest of the
/// names get copies.
const LINKS_REMEMBERED: usize = 100_000;
/// What symlinks and directories take of memory before they spill.
const DEFERRED_BYTES: usize = 8 << 20;

/// What a restore does beyond putting bytes in new files. The default does nothing more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether to replace what is there already.
    pub overwrite: bool,
    /// Whether files and directories get their owners back. Only root may give files away.
    pub owners: bool,
    /// Whether set-user-id and set-group-id bits come back.
    pub set_id: bool,
    /// Whether device nodes come back.
    pub devices: bool,
    /// Whether `security.*` and `trusted.*` attributes come back.
    pub privileged_attributes: bool,
}

/// A directory that a restore fills.
#[derive(Debug)]
pub struct Destination {
    tree: Tree,
    names: Names,
    options: Options,
    rules: Rules,
    /// Symlinks and directories' facts, for the end.
    deferred: Sorter,
    /// Where names of files with several names were put.
    links: HashMap<(LinkGroup, Digest), Vec<u8>>,
}

/// Something that was put in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Where, relative to the destination, byte for byte.
    pub path: Vec<u8>,
    /// Whether that is another name than the true one, which cannot exist here.
    pub stand_in: bool,
    /// What did not come back with it: names of attributes, `owner`, `mode`, `times`.
    pub left_out: Vec<String>,
    /// Whether it was there before, just so.
    pub already: bool,
}

/// What is where a file is wanted.
#[derive(Debug)]
pub enum Look {
    /// Nothing.
    Nothing,
    /// A file, to be compared.
    File(Existing),
    /// Something else.
    Other,
}

/// A destination in which all is done, until it is dropped: then nothing is left of the restore but
/// what it restored.
#[derive(Debug)]
#[must_use]
pub struct Finished {
    tree: Tree,
}

impl Drop for Finished {
    fn drop(&mut self) {
        if let Err(error) = self.tree.close() {
            tracing::warn!(%error, "the restore's journal stays");
        }
    }
}

/// Why something was not put in its place, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// No space, or no quota: nothing more fits.
    #[error("no room for {}", Printable(path))]
    Full {
        /// What was to be put there, relative to the destination.
        path: Vec<u8>,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Something is there already and is not to be replaced: leave this item.
    #[error("{} exists", Printable(path))]
    Exists {
        /// What was to be put there, relative to the destination.
        path: Vec<u8>,
    },
    /// A device node, for which the caller did not ask: leave this item.
    #[error("{} is a device node", Printable(path))]
    Device {
        /// What was to be put there, relative to the destination.
        path: Vec<u8>,
    },
    /// This one item cannot be put in its place.
    #[error("{operation} {} failed", Printable(path))]
    Item {
        /// What was tried.
        operation: &'static str,
        /// What was to be put there, relative to the destination.
        path: Vec<u8>,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The destination cannot be used at all.
    #[error("{operation} the destination {} failed", Printable::from(path.as_path()))]
    Root {
        /// What was tried.
        operation: &'static str,
        /// The destination.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The list of symlinks and directories cannot be kept.
    #[error("keeping the list of symlinks and directories failed")]
    Deferred(#[from] SorterError),
}

impl Destination {
    /// Opens the directory `path`, and makes it (with its parents) if it is not there. What a
    /// restore left there that was killed is removed; the directories that it made are taken for
    /// made by this one. Several restores may go on in one directory.
    ///
    /// # Errors
    ///
    /// When it is no directory, or cannot be made, opened or written to.
    pub fn open(path: &Path, options: Options) -> Result<Self, DestinationError> {
        let names = Names::new();
        let mut tree = Tree::open(path, &names)?;
        let mut deferred = Sorter::new(path, DEFERRED_BYTES);
        journal::take_over(&mut tree, &names, &mut |made| {
            deferred::push_made(&mut deferred, made)
        })?;
        let (rules, links) = (Rules::new(options), HashMap::new());
        Ok(Self { tree, names, options, rules, deferred, links })
    }

    /// A path for a temporary file of the caller's, which is removed as this restore's own are
    /// should it be killed.
    pub fn temporary(&self) -> PathBuf {
        let name = self.names.temporary();
        self.tree.path().join(String::from_utf8(name).expect("letters and digits"))
    }

    /// What is where a file is wanted. Nothing is made on the way.
    ///
    /// # Errors
    ///
    /// When the way there cannot be walked, or what is there cannot be read.
    pub fn look(&mut self, path: &[u8], item: &Item) -> Result<Look, DestinationError> {
        let Some(Spot::Taken(place, _)) = self.tree.spot(path)? else { return Ok(Look::Nothing) };
        let opened = Existing::open(place, &self.rules, item)?;
        Ok(opened.map_or(Look::Other, Look::File))
    }

    /// Leaves a file where it is, whose content is the item's. A later [`Destination::link`] of the
    /// same file with the same digest finds it.
    pub fn keep(&mut self, existing: Existing, item: &Item, digest: &Digest) -> Restored {
        let Place { path, stand_in, .. } = existing.place;
        if let Some(group) = item.posix.as_ref().and_then(|posix| posix.link_group) {
            self.remember((group, *digest), &path);
        }
        Restored { path, stand_in, left_out: existing.lacking, already: true }
    }

    /// Whether a file is one that was put in its place for the same link group with the same digest:
    /// then its content needs no look.
    pub fn is_linked(&self, existing: &Existing, item: &Item, digest: &Digest) -> bool {
        let group = item.posix.as_ref().and_then(|posix| posix.link_group);
        let earlier = group.and_then(|group| self.links.get(&(group, *digest)));
        let place = earlier.and_then(|path| self.tree.existing_place(path, false).ok());
        place.is_some_and(|place| {
            let found =
                rustix::fs::statat(&place.directory, &*place.name, AtFlags::SYMLINK_NOFOLLOW);
            found.is_ok_and(|found| (found.st_dev, found.st_ino) == existing.identity)
        })
    }

    /// Whether a directory is there with all the item's facts: then it gets them again at the end,
    /// whatever is put into it, and needs no [`Destination::put`]. To be asked of all directories
    /// before anything is put anywhere.
    ///
    /// # Errors
    ///
    /// When the list of what waits cannot be kept.
    pub fn keep_directory(&mut self, path: &[u8], item: &Item) -> Result<bool, DestinationError> {
        let Ok(Some(directory)) = self.tree.found_directory(path) else { return Ok(false) };
        let descriptor = directory.descriptor.as_fd();
        let Ok(stat) = rustix::fs::fstat(descriptor) else { return Ok(false) };
        if !self.rules.lacking_below(descriptor, &stat, item).is_empty() {
            return Ok(false);
        }
        deferred::push_agreed(&mut self.deferred, &directory.path)?;
        deferred::push_directory(&mut self.deferred, &directory, item)?;
        let closed = Mode::from_raw_mode(stat.st_mode) & Mode::RWXU != Mode::RWXU;
        if closed && !rustix::process::geteuid().is_root() {
            // Else nothing that is missing could be put into it.
            self.tree.note_made(&directory.path)?;
            if let Err(errno) = facts::open_up(descriptor, &stat) {
                tracing::debug!(%errno, "a directory stays closed");
            }
        }
        Ok(true)
    }

    /// Begins a file that is to be at `path` (relative, its components parted by slashes, otherwise
    /// any bytes). Its content comes by [`NewFile::write_at`]; [`Destination::finish_file`] puts it
    /// in its place. Dropped before, it leaves nothing.
    ///
    /// # Errors
    ///
    /// When something is there already, or it cannot be made.
    pub fn create(&mut self, path: &[u8], item: &Item) -> Result<NewFile, DestinationError> {
        let place = self.place(path)?;
        NewFile::create(place, self.names.temporary(), item)
    }

    /// Puts a file in its place: its facts, then its name.
    ///
    /// `digest` is the content's, on which the caller has agreed; a later [`Destination::link`] of
    /// the same file with the same digest finds it.
    ///
    /// # Errors
    ///
    /// When it cannot be put there. Then it is gone.
    pub fn finish_file(
        &mut self,
        file: NewFile,
        digest: Option<&Digest>,
    ) -> Result<Restored, DestinationError> {
        let group = file.link_group();
        let restored = file.finish(&self.rules, self.options.overwrite)?;
        if let (Some(group), Some(digest)) = (group, digest) {
            self.remember((group, *digest), &restored.path);
        }
        Ok(restored)
    }

    /// Keeps a file of which not all is right: beside its place, under its name and `.damaged`, and
    /// never under its own. What was not written of it is zeros.
    ///
    /// # Errors
    ///
    /// When it cannot be put there, or something is there already. Then it is gone.
    pub fn finish_damaged(&mut self, mut file: NewFile) -> Result<Restored, DestinationError> {
        file.mark_damaged();
        file.finish(&self.rules, false)
    }

    fn remember(&mut self, link: (LinkGroup, Digest), path: &[u8]) {
        if self.links.len() < LINKS_REMEMBERED {
            self.links.insert(link, path.to_vec());
        }
    }

    /// Puts `item` at `path` as a further name of a file that this restore has put in its place
    /// already, if it has: same link group, same digest. `None` when it has not, or the file system
    /// makes no such link: then the item needs its bytes, by [`Destination::create`].
    ///
    /// The digest only guards against numbers that mean another file in another run: of an item in
    /// parts it is any digest that the parts' determine. Names that are linked once all content is
    /// in its place need no bytes from tape at all.
    ///
    /// # Errors
    ///
    /// When something is there already, or it cannot be made.
    pub fn link(
        &mut self,
        path: &[u8],
        item: &Item,
        digest: &Digest,
    ) -> Result<Option<Restored>, DestinationError> {
        let Some(group) = item.posix.as_ref().and_then(|posix| posix.link_group) else {
            return Ok(None);
        };
        let Some(earlier) = self.links.get(&(group, *digest)).cloned() else { return Ok(None) };
        let place = self.place(path)?;
        let Ok(from) = self.tree.existing_place(&earlier, false) else { return Ok(None) };
        let temporary = self.names.temporary();
        let linked = rustix::fs::linkat(
            &from.directory,
            &*from.name,
            &place.directory,
            &*temporary,
            AtFlags::empty(),
        );
        if linked.is_err() {
            return Ok(None);
        }
        // What has the name now may be something else: then the item gets bytes of its own.
        let stat = rustix::fs::statat(&place.directory, &*temporary, AtFlags::SYMLINK_NOFOLLOW);
        let is_it = stat.is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && u64::try_from(stat.st_size) == Ok(item.size)
        });
        if !is_it {
            install::remove(&place, &temporary);
            return Ok(None);
        }
        install::install(&place, &temporary, self.options.overwrite)?;
        let Place { path, stand_in, .. } = place;
        Ok(Some(Restored { path, stand_in, ..Restored::default() }))
    }

    /// Puts what has no content at `path`: directories, symlinks, pipes, devices. `None` for what
    /// waits for the end, and is reported by [`Destination::finish`]: symlinks, and the facts of
    /// directories. Also for a delete marker, which leaves nothing.
    ///
    /// # Errors
    ///
    /// When something else is there already, it cannot be made, or it is a device node and these were
    /// not asked for.
    ///
    /// # Panics
    ///
    /// When the item is a file.
    pub fn put(&mut self, path: &[u8], item: &Item) -> Result<Option<Restored>, DestinationError> {
        match &item.kind {
            Kind::Directory => {
                let directory = self.tree.directory(path)?;
                self.note_made()?;
                deferred::push_directory(&mut self.deferred, &directory, item)?;
                Ok(None)
            }
            Kind::Symlink { target } => {
                let same = |place: &Place| {
                    let found = rustix::fs::readlinkat(&place.directory, &*place.name, Vec::new());
                    found.is_ok_and(|found| found.as_bytes() == target.0)
                };
                if let Some(already) = self.same_already(path, item, FileType::Symlink, &same)? {
                    return Ok(Some(already));
                }
                let place = self.place(path)?;
                deferred::push_symlink(&mut self.deferred, &place, item)?;
                Ok(None)
            }
            Kind::Fifo => self.node(path, item, FileType::Fifo, 0).map(Some),
            Kind::CharacterDevice { major, minor } => {
                let device = rustix::fs::makedev(*major, *minor);
                self.node(path, item, FileType::CharacterDevice, device).map(Some)
            }
            Kind::BlockDevice { major, minor } => {
                let device = rustix::fs::makedev(*major, *minor);
                self.node(path, item, FileType::BlockDevice, device).map(Some)
            }
            Kind::DeleteMarker => Ok(None),
            Kind::File => panic!("a file has content"),
        }
    }

    /// Makes the symlinks, gives directories their facts, and waits until all is on the disk.
    /// `report` takes what became of each item that waited; [`DestinationError::Exists`] for a
    /// directory that was there before and keeps its facts.
    ///
    /// # Errors
    ///
    /// When the list of what waits cannot be read, or the disk fails.
    pub fn finish(
        self,
        report: &mut dyn FnMut(&Item, Result<Restored, DestinationError>),
    ) -> Result<Finished, DestinationError> {
        let Self { tree, names, options, rules, deferred, .. } = self;
        let records = deferred.finish()?;
        let overwrite = options.overwrite;
        End { tree: &tree, rules: &rules, names: &names, overwrite, report }.run(records)?;
        rustix::fs::syncfs(tree.root()).map_err(|errno| tree.failed("syncing", errno))?;
        Ok(Finished { tree })
    }

    /// What is at `path` already, if it is just what is to be put there and has no content.
    fn same_already(
        &mut self,
        path: &[u8],
        item: &Item,
        kind: FileType,
        is_same: &dyn Fn(&Place) -> bool,
    ) -> Result<Option<Restored>, DestinationError> {
        let Some(Spot::Taken(place, stat)) = self.tree.spot(path)? else { return Ok(None) };
        let is_it = FileType::from_raw_mode(stat.st_mode) == kind
            && is_same(&place)
            && self.rules.lacking_at(&place, &stat, item).is_empty();
        let Place { path, stand_in, .. } = place;
        Ok(is_it.then_some(Restored { path, stand_in, already: true, ..Restored::default() }))
    }

    fn place(&mut self, path: &[u8]) -> Result<Place, DestinationError> {
        let place = self.tree.place(path, self.options.overwrite)?;
        self.note_made()?;
        Ok(place)
    }

    fn note_made(&mut self) -> Result<(), DestinationError> {
        for path in self.tree.take_created() {
            deferred::push_made(&mut self.deferred, &path)?;
        }
        Ok(())
    }

    fn node(
        &mut self,
        path: &[u8],
        item: &Item,
        kind: FileType,
        device: rustix::fs::Dev,
    ) -> Result<Restored, DestinationError> {
        if kind != FileType::Fifo && !self.options.devices {
            return Err(DestinationError::Device { path: path.to_vec() });
        }
        let same = |place: &Place| {
            let found =
                rustix::fs::statat(&place.directory, &*place.name, AtFlags::SYMLINK_NOFOLLOW);
            found.is_ok_and(|found| kind == FileType::Fifo || found.st_rdev == device)
        };
        if let Some(already) = self.same_already(path, item, kind, &same)? {
            return Ok(already);
        }
        let place = self.place(path)?;
        let temporary = self.names.temporary();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(&place.directory, &*temporary, kind, mode, device)
            .map_err(|errno| tree::error("making", &place.path, errno))?;
        let left_out = self.rules.apply_to(&place, &temporary, item);
        install::install(&place, &temporary, self.options.overwrite)?;
        let Place { path, stand_in, .. } = place;
        Ok(Restored { path, stand_in, left_out, already: false })
    }
}
