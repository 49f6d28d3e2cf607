//! A rehearsal in a folder of its own: library, settings, and somebody who listens.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tapevault::{
    catalog::{Catalog, Mode, Query},
    clock::{Clock, SystemClock, Timestamp},
    config,
    destination::Options,
    digest::Digest,
    emulator::{self, Cartridge, Fault, Generation, Library, LibraryPlan},
    job::{
        Desk, JobError,
        archive::{self, Half},
        findings::Tally,
        monitor::{Answer, Event, Monitor, Prompt},
        restore::{self, Request, Selection},
        rig,
        settings::Settings,
        stock,
        verify::{self, Scope},
    },
    media::Volume,
};
use tempfile::TempDir;

/// Writes down what a job tells, and declines what it asks.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    events: Mutex<Vec<Value>>,
}

impl Monitor for Listener {
    fn event(&self, event: &Event<'_>) {
        self.events.lock().unwrap().push(serde_json::to_value(event).unwrap());
    }

    fn ask(&self, prompt: &Prompt) -> Answer {
        self.events.lock().unwrap().push(serde_json::to_value(prompt).unwrap());
        Answer::Declined
    }
}

/// What a job told, by the names of events.
#[derive(Debug)]
pub(crate) struct Told(Vec<Value>);

impl Told {
    /// All events of one name.
    pub(crate) fn all(&self, name: &str) -> Vec<&Value> {
        self.0.iter().filter(|event| event["event"] == name).collect()
    }

    /// The only event of this name.
    pub(crate) fn one(&self, name: &str) -> &Value {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name}: {:#?}", self.0);
        all[0]
    }

    /// Why items did not come back, with their keys.
    pub(crate) fn lost(&self) -> Vec<(String, String)> {
        let mut lost: Vec<_> = self
            .all("not-restored")
            .iter()
            .map(|e| {
                (e["key"].as_str().unwrap_or_default().into(), e["why"].as_str().unwrap().into())
            })
            .collect();
        lost.sort();
        lost
    }
}

/// A rehearsal.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) settings: Settings,
    pub(crate) library: Library,
    pub(crate) source: PathBuf,
    folder: TempDir,
}

const CARTRIDGE_BYTES: u64 = 4_000_000_000;

impl Rig {
    /// A library with three cartridges and a job `all` that writes so many copies of one directory.
    pub(crate) fn new(copies: u8) -> Self {
        Self::of(copies, emulator::Settings::default(), CARTRIDGE_BYTES, |_| {})
    }

    /// The same with machines and cartridges that have their ways.
    pub(crate) fn of(
        copies: u8,
        ways: emulator::Settings,
        capacity_bytes: u64,
        change: fn(&mut Cartridge),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        let plan = LibraryPlan { settings: ways, ..LibraryPlan::default() };
        let library = Library::create(&home.join("library"), &plan).unwrap();
        for barcode in ["TST001L8", "TST002L8", "TST003L8"] {
            let barcode = barcode.parse().unwrap();
            let mut cartridge = Cartridge::new(barcode, Generation::Lto8, capacity_bytes);
            change(&mut cartridge);
            library.add(&cartridge).unwrap();
        }
        let config = format!(
            r#"
            [catalog]
            path = "catalog.sqlite"
            rehearsal = true
            [staging]
            dir = "staging"
            budget = "2 GiB"
            segment = "16 MiB"
            ring = "4 MiB"
            [emulator]
            dir = "library"
            [library]
            changer = "emulated"
            [drives.drive0]
            device = "emulated:0"
            [pools.main]
            label_blank = true
            block_size = "256 KiB"
            [sources.files]
            type = "directory"
            path = "files"
            [jobs.all]
            sources = ["files"]
            pool = "main"
            copies = {copies}
            "#
        );
        let path = home.join("tapevault.toml");
        fs::write(&path, config).unwrap();
        let source = home.join("files");
        fs::create_dir(&source).unwrap();
        let settings = config::read(&path).unwrap().settings;
        fs::create_dir(&settings.staging.dir).unwrap();
        Self { settings, library, source, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn desk(&self, listener: &Arc<Listener>) -> Desk {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let monitor: Arc<dyn Monitor> = Arc::<Listener>::clone(listener);
        Desk::new(clock, monitor, self.settings.staging.dir.clone())
    }

    /// Runs the job, which may end early.
    pub(crate) fn try_archive(&self) -> Result<Tally, JobError> {
        let listener = Arc::new(Listener::default());
        let (job, half) = ("all".parse().unwrap(), Half::Both);
        let request = archive::Request { job, half, copies: None, drive: None, dry_run: false };
        archive::run(&self.settings, &request, &self.desk(&listener))
    }

    /// Runs the job, or a half of it.
    pub(crate) fn archive(&self, half: Half) -> Tally {
        let listener = Arc::new(Listener::default());
        let request = archive::Request {
            job: "all".parse().unwrap(),
            half,
            copies: None,
            drive: None,
            dry_run: false,
        };
        let tally = archive::run(&self.settings, &request, &self.desk(&listener));
        tally.unwrap_or_else(|error| panic!("{error:?}: {:#?}", listener.events))
    }

    pub(crate) fn catalog(&self) -> Catalog {
        Catalog::open(&self.settings.catalog.path).unwrap()
    }

    /// Throws the catalog away and makes it anew from the cartridges.
    pub(crate) fn rebuild(&self) {
        let path = &self.settings.catalog.path;
        for ending in ["", "-wal", "-shm"] {
            let mut name = path.clone().into_os_string();
            name.push(ending);
            if let Err(error) = fs::remove_file(&name) {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{name:?}");
            }
        }
        let listener = Arc::new(Listener::default());
        let desk = self.desk(&listener);
        let catalog = Catalog::create(path, Mode::Rehearsal, &*desk.clock).unwrap();
        let mut station = rig::station(&self.settings, None, &desk.clock).unwrap();
        let read = stock::rebuild(&catalog, &mut station, &[], &desk);
        assert!(read.unwrap() > 0, "{:#?}", listener.events);
    }

    /// Reads a volume back; what was found.
    pub(crate) fn verify(&self, volume: &Volume) -> Vec<String> {
        let told = self.verified(volume);
        let found = told.all("volume-finding");
        found.iter().map(|event| event["what"].as_str().unwrap().to_owned()).collect()
    }

    /// Reads a volume back; all that was told.
    pub(crate) fn verified(&self, volume: &Volume) -> Told {
        let listener = Arc::new(Listener::default());
        let desk = self.desk(&listener);
        let catalog = self.catalog();
        let mut station = rig::station(&self.settings, None, &desk.clock).unwrap();
        verify::bring(&catalog, &mut station, volume, &desk).unwrap();
        let count =
            verify::volume(&catalog, &mut station, volume.id, &Scope::Whole, &desk).unwrap();
        station.put_away(&catalog, &desk).unwrap();
        drop((station, desk));
        let told = Told(Arc::try_unwrap(listener).unwrap().events.into_inner().unwrap());
        assert_eq!(told.all("volume-finding").len() as u64, count);
        told
    }

    /// When the newest run of a source ended.
    pub(crate) fn last_run(&self, source: &str) -> Timestamp {
        let runs = self.catalog().runs(&source.parse().unwrap()).unwrap();
        runs.last().unwrap().ended.unwrap()
    }

    /// Restores what a request says.
    pub(crate) fn restore(&self, request: &Request) -> (Result<Tally, JobError>, Told) {
        let listener = Arc::new(Listener::default());
        let desk = self.desk(&listener);
        let tally = restore::run(&self.settings, &self.catalog(), request, &desk);
        drop(desk);
        let events = Arc::try_unwrap(listener).unwrap().events.into_inner().unwrap();
        (tally, Told(events))
    }

    /// A request to restore what a query finds into this folder.
    pub(crate) fn request(&self, query: Query, to: &str) -> Request {
        Request {
            selection: Selection::Query { query: Box::new(query), all_versions: false },
            to: self.path(to),
            options: Options::default(),
            drive: None,
            salvage: false,
            dry_run: false,
        }
    }

    /// Puts these faults in force.
    pub(crate) fn set_faults(&self, faults: &[Fault]) {
        let text = serde_json::to_string(faults).unwrap();
        fs::write(self.library.dir().join("faults.json"), text).unwrap();
    }

    /// Which cartridge holds the first copies, and at which object the first segment begins.
    pub(crate) fn first_copies(&self) -> Vec<(tapevault::ident::Volser, u64)> {
        let catalog = self.catalog();
        let segment = &catalog.segments().unwrap()[0];
        let copies = catalog.copies(segment.id).unwrap();
        let place = |copy: &tapevault::catalog::SegmentCopy| {
            (catalog.volume_by_id(copy.volume).unwrap().unwrap().volser, copy.object.0)
        };
        copies.iter().map(place).collect()
    }
}

/// A fault of one cartridge.
pub(crate) fn on(volser: tapevault::ident::Volser, fault: Fault) -> Fault {
    Fault { barcode: Some(format!("{volser}L8").parse().unwrap()), ..fault }
}

/// Everything that is to come back of a tree: by path, in words.
pub(crate) fn picture(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut picture = BTreeMap::new();
    let mut names: BTreeMap<(u64, u64), Vec<Vec<u8>>> = BTreeMap::new();
    walk(root, root, &mut picture, &mut names);
    for names in names.into_values() {
        for name in &names {
            picture.get_mut(name).unwrap().push_str(&format!(" names {names:?}"));
        }
    }
    picture
}

fn walk(
    root: &Path,
    path: &Path,
    picture: &mut BTreeMap<Vec<u8>, String>,
    names: &mut BTreeMap<(u64, u64), Vec<Vec<u8>>>,
) {
    let facts = fs::symlink_metadata(path).unwrap();
    let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
    let kind = facts.file_type();
    let mut words = format!("{}.{:09}", facts.mtime(), facts.mtime_nsec());
    if !kind.is_symlink() {
        words.push_str(&format!(" mode {:o}", facts.mode()));
        words.push_str(&format!(" attributes {:?}", attributes(path)));
    }
    if kind.is_symlink() {
        words.push_str(&format!(" to {:?}", fs::read_link(path).unwrap()));
    } else if kind.is_file() {
        let content = Digest::of(&fs::read(path).unwrap());
        words.push_str(&format!(" {} bytes {content}", facts.len()));
        if facts.nlink() > 1 {
            names.entry((facts.dev(), facts.ino())).or_default().push(name.clone());
        }
    } else if kind.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            walk(root, &entry.unwrap().path(), picture, names);
        }
    } else {
        assert!(kind.is_fifo(), "{path:?}");
    }
    picture.insert(name, words);
}

fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0_u8; 4096];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let names = String::from_utf8(names[..length].to_vec()).unwrap();
    let mut list = Vec::new();
    for name in names.split_terminator('\0') {
        let mut value = vec![0_u8; 4096];
        let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        list.push((name.to_owned(), value[..length].to_vec()));
    }
    list.sort();
    list
}

/// Bytes that no other seed gives.
pub(crate) fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The drive, for reading what is on a cartridge beside the jobs.
pub(crate) fn library_of(rig: &Rig) -> Library {
    Library::open(rig.library.dir()).unwrap()
}

/// The mail slot of a library with one.
pub(crate) fn take_from_mail_slot(rig: &Rig) -> tapevault::ident::Barcode {
    let library = library_of(rig);
    let elements = library.elements().unwrap();
    let mail = elements.iter().find(|element| element.kind == emulator::ElementKind::MailSlot);
    library.take(mail.unwrap().address).unwrap()
}
