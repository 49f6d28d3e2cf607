//! Files in memory that forget what was not synced, and refuse a call when told to.
//!
//! The model: a name that was made, changed or removed outlives a power loss after a sync of its
//! directory; before that, the changes survive up to any one of them, in their order. Content
//! outlives it after a sync of the file; before that, each page of 4 KiB does or does not. A sync
//! that fails leaves its pages looking clean, as Linux does, so that the next one succeeds and
//! means nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use crate::staging::files::{Files, Guard, Handle, Listing};

/// What survives or does not survive as a whole, in bytes.
const PAGE: usize = 4096;

/// Simulated files. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Simulated {
    disk: Arc<Mutex<Contents>>,
    process: Arc<Mutex<Process>>,
}

/// What is on the disk.
#[derive(Clone, Debug, Default)]
struct Contents {
    files: Vec<File>,
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    /// Names that a power loss does not touch, and what happened since.
    durable: BTreeMap<PathBuf, usize>,
    since: Vec<Change>,
}

#[derive(Clone, Debug, Default)]
struct File {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Pages that a sync would make durable.
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Made(PathBuf, usize),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

/// What ends with the process.
#[derive(Debug, Default)]
struct Process {
    calls: u64,
    fault: Option<(u64, Fault)>,
    locked: BTreeSet<PathBuf>,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error number, and the next one does not.
    Once(i32),
    /// It and all that follow fail: the process is dead.
    Dead,
}

impl Simulated {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has call number `at`, counted from 0, come to `fault`.
    pub fn fail(&self, at: u64, fault: Fault) {
        self.process().fault = Some((at, fault));
    }

    /// How many calls were made that can fail.
    pub fn calls(&self) -> u64 {
        self.process().calls
    }

    /// The disk as the next process finds it after this one was killed.
    pub fn after_kill(&self) -> Self {
        let disk = Arc::new(Mutex::new(self.disk().clone()));
        Self { disk, process: Arc::default() }
    }

    /// The disk as it is after a power loss; `seed` says what of the rest survived.
    pub fn after_power_loss(&self, seed: u64) -> Self {
        let mut chance = Chance(seed);
        let mut disk = self.disk().clone();
        let survived = chance.below(disk.since.len() + 1);
        let mut names = disk.durable.clone();
        for change in disk.since.iter().take(survived) {
            change.apply(&mut names);
        }
        disk.names.clone_from(&names);
        disk.durable = names;
        disk.since.clear();
        for file in &mut disk.files {
            file.lose(&mut chance);
        }
        Self { disk: Arc::new(Mutex::new(disk)), process: Arc::default() }
    }

    fn disk(&self) -> MutexGuard<'_, Contents> {
        self.disk.lock().expect("no holder panics")
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().expect("no holder panics")
    }

    /// Counts a call, and fails it if its time has come.
    fn call(&self) -> io::Result<()> {
        let mut process = self.process();
        let number = process.calls;
        process.calls += 1;
        match process.fault {
            Some((at, Fault::Once(errno))) if number == at => {
                Err(io::Error::from_raw_os_error(errno))
            }
            Some((at, Fault::Dead)) if number >= at => Err(io::Error::other("the process is dead")),
            Some(_) | None => Ok(()),
        }
    }

    fn is_dead(&self) -> bool {
        let process = self.process();
        matches!(process.fault, Some((at, Fault::Dead)) if process.calls > at)
    }

    fn handle(&self, file: usize) -> Box<dyn Handle> {
        Box::new(Open { files: self.clone(), file })
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Made(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Renamed(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Removed(path) => {
                names.remove(path);
            }
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Made(path, _) | Self::Removed(path) => path.parent() == Some(dir),
            Self::Renamed(from, to) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }
}

impl Contents {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.since.push(change);
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl File {
    fn touch(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / PAGE..to.div_ceil(PAGE));
    }

    fn sync(&mut self) {
        self.durable.resize(self.now.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            self.copy(page);
        }
    }

    /// Makes one page durable.
    fn copy(&mut self, page: usize) {
        let from = page * PAGE;
        let to = (from + PAGE).min(self.now.len()).min(self.durable.len());
        if from < to {
            self.durable[from..to].copy_from_slice(&self.now[from..to]);
        }
    }

    fn lose(&mut self, chance: &mut Chance) {
        if !self.dirty.is_empty() && chance.below(2) == 0 {
            self.durable.resize(self.now.len(), 0);
        }
        for page in std::mem::take(&mut self.dirty) {
            if chance.below(2) == 0 {
                self.copy(page);
            }
        }
        self.now.clone_from(&self.durable);
    }
}

impl Files for Simulated {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.call()?;
        self.disk().dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listing>> {
        self.call()?;
        let disk = self.disk();
        if !disk.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let within = disk.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let listing = |(path, file): (&PathBuf, &usize)| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some(Listing { name, bytes: disk.files[*file].now.len() as u64 })
        };
        Ok(within.filter_map(listing).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        self.call()?;
        let mut disk = self.disk();
        let dir = path.parent().is_some_and(|dir| disk.dirs.contains(dir));
        if !dir {
            return Err(io::ErrorKind::NotFound.into());
        }
        // One that is there is replaced: staging never opens a file twice to empty it.
        disk.files.push(File::default());
        let file = disk.files.len() - 1;
        disk.change(Change::Made(path.to_owned(), file));
        Ok(self.handle(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        self.call()?;
        let file = self.disk().find(path)?;
        Ok(self.handle(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        let mut disk = self.disk();
        disk.find(from)?;
        disk.change(Change::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        let mut disk = self.disk();
        disk.find(path)?;
        disk.change(Change::Removed(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call()?;
        let mut disk = self.disk();
        let last = disk.since.iter().rposition(|change| change.touches(dir));
        let synced: Vec<Change> = disk.since.drain(..last.map_or(0, |last| last + 1)).collect();
        for change in synced {
            change.apply(&mut disk.durable);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Guard>>> {
        self.call()?;
        if !self.process().locked.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(Locked { path: path.to_owned(), process: Arc::clone(&self.process) })))
    }
}

#[derive(Debug)]
struct Locked {
    path: PathBuf,
    process: Arc<Mutex<Process>>,
}

impl Guard for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        self.process.lock().expect("no holder panics").locked.remove(&self.path);
    }
}

/// An open simulated file.
#[derive(Debug)]
struct Open {
    files: Simulated,
    file: usize,
}

impl Handle for Open {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let dead = self.files.is_dead();
        let failed = self.files.call();
        if dead {
            return failed;
        }
        let mut disk = self.files.disk();
        let file = &mut disk.files[self.file];
        // A full disk takes a piece first.
        let taken = if failed.is_ok() { bytes.len() } else { bytes.len() / 2 };
        let from = place(offset);
        let length = file.now.len().max(from + taken);
        file.now.resize(length, 0);
        file.now[from..from + taken].copy_from_slice(&bytes[..taken]);
        file.touch(from, from + taken);
        failed
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.files.call()?;
        let disk = self.files.disk();
        let now = &disk.files[self.file].now;
        let from = place(offset).min(now.len());
        let read = buffer.len().min(now.len() - from);
        buffer[..read].copy_from_slice(&now[from..from + read]);
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        let failed = self.files.call();
        let mut disk = self.files.disk();
        let file = &mut disk.files[self.file];
        match failed {
            Ok(()) => file.sync(),
            Err(_) if self.files.is_dead() => {}
            // The pages look clean now, and are not on the disk.
            Err(_) => file.dirty.clear(),
        }
        failed
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.files.call()?;
        let mut disk = self.files.disk();
        let file = &mut disk.files[self.file];
        let before = file.now.len();
        file.now.resize(place(bytes), 0);
        file.touch(before.min(place(bytes)), before.max(place(bytes)));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.files.call()?;
        Ok(self.files.disk().files[self.file].now.len() as u64)
    }

    fn expect_reading(&self) {}
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated files fit memory")
}

/// A small generator: the same seed gives the same losses.
struct Chance(u64);

impl Chance {
    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % bound as u64).expect("below a usize")
    }
}
