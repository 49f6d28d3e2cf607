//! Reading one item: its facts and its bytes, and whether they stayed the same meanwhile.

use std::{
    error::Error,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    fs::{Advice, AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::cancel::Cancel;
use crate::digest::RANGE;
use crate::item::{Extent, Item, Key, Kind, Listed, Xattr};
use crate::source::directory::DirectorySource;
use crate::source::directory::attributes::{Attributes, Of};
use crate::source::directory::extents::{self, Piece};
use crate::source::directory::facts::{self, Stamp};
use crate::source::directory::paths::{self, DIRECTORY, Directories};
use crate::source::{Claim, Finding, Outcome, Problem, Sink, SinkError, SourceError};
use crate::volume::manifest::Part;

/// How often a file that changes while it is read is read.
const TRIES: u32 = 3;
/// What a writer gets to finish before the next try, times the number of tries so far.
const SETTLE: Duration = Duration::from_millis(20);
/// File systems count time in ticks of up to 10 ms: a change in the tick of the one before shows
/// in no time stamp.
const TICK: Duration = Duration::from_millis(10);
/// Larger files come by [`Sink::claim`]. Also how much is read at once: more would not fit the
/// processor's cache.
const RANGE_BYTES: usize = 1 << 20;
/// The most bytes of holes in one file. They are digested as zeros, so these already take hours.
const HOLES_MAX: u64 = 64 << 40;
/// Small files are delivered together when there are so many bytes of them: enough to share the
/// cost of each delivery, and few enough to stay in the processor's cache.
const TOGETHER_BYTES: usize = 512 << 10;
/// After so many bytes of a large file the page cache is told to forget them.
const FORGET_BYTES: u64 = 8 << 20;

/// One thread's means of reading items.
pub(super) struct Reader<'a> {
    source: &'a DirectorySource,
    sink: &'a dyn Sink,
    cancel: &'a Cancel,
    directories: Directories,
    attributes: Attributes,
    buffer: Vec<u8>,
    /// Small files that were read and not delivered yet.
    small: Vec<Item>,
    /// How much of the buffer is theirs, one after the other from its beginning.
    used: usize,
}

/// Why an item was not delivered.
enum Trouble {
    /// Something about this one item.
    Item(Problem, Option<Errno>),
    /// Nothing further can be delivered.
    End(SourceError),
    /// It changed while it was read, and may be tried again.
    Changed,
}

/// A file opened to be read.
struct Opened<'a> {
    listed: &'a Listed,
    file: OwnedFd,
    before: Stat,
    xattrs: Vec<Xattr>,
    /// Parts that stand, of the state that was listed.
    held: &'a [Part],
    /// Whether it is delivered even if it changes.
    last_try: bool,
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        match errno {
            // Also what was a file and is now a symlink, a directory, a device or a socket: the
            // next listing has it as what it is.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR | Errno::NXIO => {
                Self::Item(Problem::Vanished, None)
            }
            errno => Self::Item(Problem::Unreadable, Some(errno)),
        }
    }
}

impl From<SinkError> for Trouble {
    fn from(error: SinkError) -> Self {
        Self::End(error.into())
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a DirectorySource, sink: &'a dyn Sink, cancel: &'a Cancel) -> Self {
        Self {
            source,
            sink,
            cancel,
            directories: Directories::new(&source.root),
            attributes: Attributes::default(),
            buffer: vec![0; RANGE_BYTES],
            small: Vec::new(),
            used: 0,
        }
    }

    /// Delivers or reports each of `batch`, unless `stop` says that it is of no use.
    pub(super) fn deliver_all(
        &mut self,
        batch: &[Listed],
        stop: &dyn Fn() -> bool,
    ) -> Result<(), SourceError> {
        for listed in batch {
            if self.cancel.is_set() || stop() {
                return Err(SourceError::Stopped);
            }
            match self.deliver(listed) {
                Ok(()) => {}
                Err(Trouble::Item(
                    _,
                    Some(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)),
                )) => {
                    return Err(self.source.lost("opening a file", errno));
                }
                Err(Trouble::Item(problem, cause)) => self.report(listed, problem, cause),
                Err(Trouble::Changed) => self.report(listed, Problem::Unreadable, None),
                Err(Trouble::End(error)) => return Err(error),
            }
        }
        Ok(self.deliver_small()?)
    }

    /// Delivers what was read of small files, which leaves the buffer free.
    fn deliver_small(&mut self) -> Result<(), SinkError> {
        let used = std::mem::take(&mut self.used);
        self.sink.put_all(std::mem::take(&mut self.small), &self.buffer[..used])
    }

    fn report(&self, listed: &Listed, what: Problem, cause: Option<Errno>) {
        let detail =
            cause.map(|errno| -> Box<dyn Error + Send + Sync> { Box::new(io::Error::from(errno)) });
        self.sink.report(Finding {
            key: listed.key.clone(),
            version: listed.version.clone(),
            what,
            detail,
        });
    }

    fn deliver(&mut self, listed: &Listed) -> Result<(), Trouble> {
        let (parent, name) = paths::split(&listed.key.0);
        let parent = self.directories.open(parent)?;
        let name = if name.is_empty() { b"." } else { name };
        match &listed.kind {
            Kind::File => self.file(listed, parent.as_fd(), name),
            Kind::Directory => self.directory(listed, parent.as_fd(), name),
            Kind::Symlink { .. }
            | Kind::Fifo
            | Kind::CharacterDevice { .. }
            | Kind::BlockDevice { .. } => self.special(listed, parent.as_fd(), name),
            Kind::DeleteMarker => Err(Trouble::Item(Problem::Unsupported, None)),
        }
    }

    /// The attributes that can be read; what cannot is reported.
    fn xattrs(&mut self, listed: &Listed, of: &Of<'_>, device: u64) -> Vec<Xattr> {
        match self.attributes.read(of, device) {
            Ok(xattrs) => xattrs,
            Err((xattrs, errno)) => {
                self.report(listed, Problem::Incomplete, Some(errno));
                xattrs
            }
        }
    }

    fn item(&self, listed: &Listed, stat: &Stat, kind: Kind, xattrs: Vec<Xattr>) -> Item {
        facts::item(listed, stat, kind, xattrs, &self.source.names)
    }

    fn directory(
        &mut self,
        listed: &Listed,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<(), Trouble> {
        let directory = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?;
        let stat = rustix::fs::fstat(&directory)?;
        let xattrs = self.xattrs(listed, &Of::Open(directory.as_fd()), stat.st_dev);
        let item = self.item(listed, &stat, Kind::Directory, xattrs);
        Ok(self.sink.put(item, &[])?)
    }

    /// What must not be opened: symlinks, pipes, devices.
    fn special(
        &mut self,
        listed: &Listed,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<(), Trouble> {
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = match facts::kind(&stat) {
            Some(Kind::Symlink { .. }) => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
                Kind::Symlink { target: Key(target.into_bytes()) }
            }
            Some(kind @ (Kind::Fifo | Kind::CharacterDevice { .. } | Kind::BlockDevice { .. })) => {
                kind
            }
            Some(Kind::File | Kind::Directory | Kind::DeleteMarker) | None => {
                return Err(Trouble::Item(Problem::Vanished, None));
            }
        };
        let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        let xattrs = self.xattrs(listed, &Of::Path(&path), stat.st_dev);
        let item = self.item(listed, &stat, kind, xattrs);
        Ok(self.sink.put(item, &[])?)
    }

    fn file(
        &mut self,
        listed: &Listed,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<(), Trouble> {
        let held = self.held(listed);
        let mut attempt = 1;
        loop {
            match self.try_file(listed, (parent, name), &held, attempt == TRIES) {
                Err(Trouble::Changed) if attempt < TRIES => {
                    self.source.clock.sleep(SETTLE * attempt);
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn held(&self, listed: &Listed) -> Vec<Part> {
        if listed.size <= self.sink.part_bytes() {
            return Vec::new();
        }
        self.sink.held(listed).into_iter().map(|held| held.part).collect()
    }

    fn try_file(
        &mut self,
        listed: &Listed,
        (parent, name): (BorrowedFd<'_>, &[u8]),
        held: &[Part],
        last_try: bool,
    ) -> Result<(), Trouble> {
        let file = open_quietly(parent, name)?;
        let mut before = rustix::fs::fstat(&file)?;
        if facts::file_type(&before) != FileType::RegularFile {
            return Err(Trouble::Item(Problem::Vanished, None));
        }
        if self.source.clock.now().since(facts::changed(&before)) < TICK {
            self.source.clock.sleep(TICK);
            before = rustix::fs::fstat(&file)?;
        }
        let xattrs = self.xattrs(listed, &Of::Open(file.as_fd()), before.st_dev);
        let size = facts::size(&before);
        let holes = facts::allocated(&before) + extents::MIN_HOLE_BYTES <= size;
        let map = if holes { extents::map(file.as_fd(), size)? } else { None };
        // Parts of another state are of no use.
        let is_same = held.is_empty() || facts::token(&before) == listed.token;
        let held = if is_same { held } else { &[] };
        let opened = Opened { listed, file, before, xattrs, held, last_try };
        let hole_bytes = map.as_ref().map_or(0, |map| size - data_bytes(map));
        if hole_bytes > HOLES_MAX {
            return Err(Trouble::Item(Problem::Unsupported, Some(Errno::FBIG)));
        }
        if map.is_none() && size <= RANGE {
            return self.small(opened);
        }
        let pieces = extents::cut(size, map, self.sink.part_bytes());
        self.large(opened, &pieces)
    }

    /// Reads a whole file of at most [`RANGE_BYTES`].
    fn small(&mut self, opened: Opened<'_>) -> Result<(), Trouble> {
        let size = usize::try_from(facts::size(&opened.before)).expect("at most a range");
        if self.buffer.len() - self.used < size {
            self.deliver_small()?;
        }
        let room = &mut self.buffer[self.used..][..size];
        let mut filled = 0;
        // Growth needs no look beyond the end: the size afterwards tells.
        while filled < size {
            match rustix::io::pread(&opened.file, &mut room[filled..], filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let after = rustix::fs::fstat(&opened.file)?;
        let same = filled == size && Stamp::of(&opened.before) == Stamp::of(&after);
        if !same && !opened.last_try {
            return Err(Trouble::Changed);
        }
        let Opened { listed, before, xattrs, .. } = opened;
        let mut item = self.item(listed, &before, Kind::File, xattrs);
        if same {
            self.small.push(item);
            self.used += size;
            return match self.used {
                TOGETHER_BYTES.. => Ok(self.deliver_small()?),
                _ => Ok(()),
            };
        }
        let data = &self.buffer[self.used..][..filled];
        item.size = data.len() as u64;
        let claim = self.sink.claim(item, None)?;
        if !data.is_empty() {
            claim.write_at(0, data)?;
        }
        claim.finish(Outcome { torn: true, ..Outcome::default() })?;
        self.report(listed, Problem::Torn, None);
        Ok(())
    }

    /// Reads a file by ranges, piece by piece.
    fn large(&mut self, opened: Opened<'_>, pieces: &[Piece]) -> Result<(), Trouble> {
        self.deliver_small()?;
        let mut item = self.item(opened.listed, &opened.before, Kind::File, opened.xattrs.clone());
        item.size = facts::size(&opened.before);
        advise(&opened, 0, None, Advice::Sequential);
        let mut torn = false;
        let missing = pieces.iter().filter(|piece| !opened.held.contains(&piece.part));
        for (index, piece) in missing.enumerate() {
            let part = (pieces.len() > 1).then_some(piece.part);
            let item = Item { extents: piece.extents.clone(), ..item.clone() };
            let claim = self.sink.claim(item, part)?;
            torn |= !self.piece(&opened, piece, &*claim)?;
            let after = rustix::fs::fstat(&opened.file)?;
            torn |= Stamp::of(&opened.before) != Stamp::of(&after);
            // Once a part is sealed there is no way back: the rest is kept, and marked.
            if torn && index == 0 && !opened.last_try {
                return Err(Trouble::Changed);
            }
            claim.finish(Outcome { torn, ..Outcome::default() })?;
        }
        if torn {
            self.report(opened.listed, Problem::Torn, None);
        }
        Ok(())
    }

    /// Reads the ranges of a piece that touch data. `false` when the file ends before.
    fn piece(
        &mut self,
        opened: &Opened<'_>,
        piece: &Piece,
        claim: &dyn Claim,
    ) -> Result<bool, Trouble> {
        let Part { offset, length, .. } = piece.part;
        let whole = [Extent { offset: 0, length }];
        let (mut next, mut is_there) = (0, true);
        for extent in piece.extents.as_deref().unwrap_or(&whole) {
            let mut at = next.max(extent.offset / RANGE * RANGE);
            while at < extent.offset + extent.length {
                let bytes = RANGE.min(length - at);
                is_there &= self.read_range(opened, offset + at, bytes)?;
                let bytes = usize::try_from(bytes).expect("at most a range");
                claim.write_at(at, &self.buffer[..bytes])?;
                at += RANGE;
                if at % FORGET_BYTES == 0 {
                    let done = offset + at - FORGET_BYTES;
                    advise(opened, done, Some(FORGET_BYTES), Advice::DontNeed);
                }
            }
            next = next.max(at);
        }
        Ok(is_there)
    }

    /// Fills the buffer with `length` bytes from `offset` on. `false` when the file ends before,
    /// and the rest is zeros.
    fn read_range(
        &mut self,
        opened: &Opened<'_>,
        offset: u64,
        length: u64,
    ) -> Result<bool, Trouble> {
        if self.cancel.is_set() {
            return Err(Trouble::End(SourceError::Stopped));
        }
        let length = usize::try_from(length).expect("at most a range");
        let mut filled = 0;
        while filled < length {
            let room = &mut self.buffer[filled..length];
            match rustix::io::pread(&opened.file, room, offset + filled as u64) {
                Ok(0) => {
                    self.buffer[filled..length].fill(0);
                    return Ok(false);
                }
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(true)
    }
}

/// Opens a file without changing its access time, where that is permitted.
fn open_quietly(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    // Without O_NONBLOCK a pipe that took the file's place would hang the reader.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::openat(parent, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may ask for it.
        Err(Errno::PERM) => rustix::fs::openat(parent, name, flags, Mode::empty()),
        result => result,
    }
}

fn data_bytes(map: &[Extent]) -> u64 {
    map.iter().map(|extent| extent.length).sum()
}

/// Tells the page cache what comes. A file system that takes no advice is no worse for it.
fn advise(opened: &Opened<'_>, offset: u64, length: Option<u64>, advice: Advice) {
    let length = length.and_then(std::num::NonZero::new);
    if let Err(errno) = rustix::fs::fadvise(&opened.file, offset, length, advice) {
        tracing::trace!(%errno, "the page cache takes no advice");
    }
}
