//! The stage that histories begin on: a library of blank cartridges, and what was exported already.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use age::secrecy::ExposeSecret;
use tapevault::{
    catalog::{Catalog, Mode},
    clock::{Clock, TestClock, Timestamp},
    config,
    destination::Options,
    digest::Digest,
    emulator::{Generation, Library, LibraryPlan, SharedWitness},
    ident::{PoolName, Volser, VolumeId},
    job::{
        Desk, JobError,
        archive::{self, Half},
        findings::Tally,
        monitor::{Answer, Event, Monitor, Prompt},
        restore::{self, Selection},
        settings::Settings,
    },
    keys::{DataKey, KeyRing, Owner, StoredKey},
};
use tempfile::TempDir;

use crate::fate::{Death, Floors};

/// Segments of the job, each of [`BLOCKS`] blocks; a cartridge takes two.
pub(crate) const SEGMENTS: usize = 6;
/// Bytes of a block.
const BLOCK: usize = 64 << 10;
const BLOCKS: usize = 6;
/// Room for two segments, by the step of 1 MiB in which drives tell it.
const CARTRIDGE_BYTES: u64 = (1 << 20) + (100 << 10);
/// Three are needed; the others are for what accidents spoil.
const CARTRIDGES: u32 = 6;
const KEY: [u8; 32] = [0x5A; 32];

/// What the library and its pool are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    /// One drive, and nothing that would have to be set in it.
    Plain,
    /// Blocks are protected by their CRC and encrypted.
    Guarded,
    /// Two drives, and an operator who tries the other one when a job fails.
    TwoDrives,
    /// Write-once cartridges.
    WriteOnce,
}

impl Setting {
    pub(crate) const ALL: [Self; 4] =
        [Self::Plain, Self::Guarded, Self::TwoDrives, Self::WriteOnce];
}

/// A folder with a library, a catalog, staged segments and their source.
#[derive(Debug)]
pub(crate) struct World {
    folder: TempDir,
    pub(crate) setting: Setting,
    /// The drive that the next command uses; the only one, if there is no choice.
    pub(crate) drive: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) library: Library,
    pub(crate) clock: TestClock,
    pub(crate) floors: Floors,
    /// What the source holds, by path.
    pub(crate) picture: Arc<BTreeMap<PathBuf, String>>,
}

/// What a job told.
#[derive(Debug)]
pub(crate) struct Listener {
    floors: Floors,
    pub(crate) lines: Mutex<Vec<String>>,
}

/// How a run of a command ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Done(Tally),
    Failed(JobError),
    Killed,
    Panicked(String),
}

impl Monitor for Listener {
    fn event(&self, event: &Event<'_>) {
        if let Event::Checkpoint { volser, object, .. } = event {
            self.floors.lock().unwrap().insert(*volser, object.0);
        }
        if !matches!(event, Event::Progress(_)) {
            self.lines.lock().unwrap().push(serde_json::to_string(event).unwrap());
        }
    }

    fn ask(&self, prompt: &Prompt) -> Answer {
        self.lines.lock().unwrap().push(serde_json::to_string(prompt).unwrap());
        Answer::Declined
    }
}

/// A folder in memory, where there is one.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn library(folder: &Path, setting: Setting) -> Library {
    let drives = if setting == Setting::TwoDrives { 2 } else { 1 };
    let plan = LibraryPlan { drives, slots: 8, ..LibraryPlan::default() };
    let library = Library::create(folder, &plan).unwrap();
    for number in 1..=CARTRIDGES {
        let barcode = format!("SIM{number:03}L8").parse().unwrap();
        library.add_cartridge(barcode, Generation::Lto8, CARTRIDGE_BYTES).unwrap();
        if setting == Setting::WriteOnce {
            library.change_cartridge(barcode, |cartridge| cartridge.worm = true).unwrap();
        }
    }
    library
}

fn config(setting: Setting) -> String {
    let (pool, more) = match setting {
        Setting::Plain | Setting::WriteOnce => ("", ""),
        Setting::Guarded => (
            "encryption = \"pool-key\"\nblock_protection = \"required\"",
            "[keys]\nfile = \"keys.age\"\nidentity = \"identity\"",
        ),
        Setting::TwoDrives => ("", "[drives.drive1]\ndevice = \"emulated:1\""),
    };
    format!(
        r#"
        [catalog]
        path = "catalog.sqlite"
        rehearsal = true
        [staging]
        dir = "staging"
        budget = "64 MiB"
        ring = "1 MiB"
        [emulator]
        dir = "library"
        [library]
        changer = "emulated"
        [drives.drive0]
        device = "emulated:0"
        [pools.main]
        label_blank = true
        block_size = {BLOCK}
        {pool}
        [sources.files]
        type = "directory"
        path = "files"
        [jobs.all]
        sources = ["files"]
        pool = "main"
        {more}
        "#
    )
}

/// Makes the pool's key, and says that it is on paper.
fn make_key(home: &Path, settings: &Settings, now: Timestamp) {
    let Some(keys) = &settings.keys else { return };
    let identity = age::x25519::Identity::generate().to_string();
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(home.join("identity")).unwrap();
    file.write_all(identity.expose_secret().as_bytes()).unwrap();
    let owner = Owner::Pool("main".parse::<PoolName>().unwrap());
    let key = StoredKey::new(DataKey::from_bytes(KEY), owner, now).on_paper(now);
    KeyRing::open_or_new(keys).unwrap().add(key).unwrap();
}

/// A killed process says nothing.
fn quiet_deaths() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Death>() {
                usual(info);
            }
        }));
    });
}

impl World {
    /// Blank cartridges, and six segments sealed.
    pub(crate) fn staged(setting: Setting) -> Self {
        quiet_deaths();
        let folder = folder();
        let home = folder.path();
        let library = library(&home.join("library"), setting);
        fs::write(home.join("tapevault.toml"), config(setting)).unwrap();
        fs::create_dir(home.join("files")).unwrap();
        let settings = config::read(&home.join("tapevault.toml")).unwrap().settings;
        fs::create_dir(&settings.staging.dir).unwrap();
        let clock = TestClock::at(Timestamp::from_parts(1_790_000_000, 0));
        make_key(home, &settings, clock.now());
        let mut world = Self {
            folder,
            setting,
            drive: (setting == Setting::TwoDrives).then(|| "drive0".to_owned()),
            settings,
            library,
            clock,
            floors: Floors::default(),
            picture: Arc::default(),
        };
        for number in 0..SEGMENTS {
            world.fill(number);
            world.clock.advance(Duration::from_secs(60));
            let (ended, told) = world.archive(Half::Export, None);
            assert!(matches!(ended, Ended::Done(tally) if tally.is_clean()), "{ended:?}: {told:?}");
        }
        world.picture = Arc::new(picture(&world.path("files")));
        world
    }

    /// Adds what fills one segment.
    fn fill(&self, number: usize) {
        let files = self.path("files");
        let mut large = vec![0; BLOCK * BLOCKS - 20_000];
        blake3::Hasher::new()
            .update(&[u8::try_from(number).unwrap()])
            .finalize_xof()
            .fill(&mut large);
        fs::write(files.join(format!("large-{number}")), large).unwrap();
        fs::write(files.join(format!("small-{number}")), format!("file {number}")).unwrap();
    }

    /// The same once more, in a folder of its own.
    pub(crate) fn copy(&self) -> Self {
        let folder = folder();
        let home = folder.path();
        copy_tree(self.folder.path(), home);
        let mut settings = self.settings.clone();
        settings.catalog.path = home.join("catalog.sqlite");
        settings.staging.dir = home.join("staging");
        let library = Library::open(&home.join("library")).unwrap();
        settings.emulator.as_mut().unwrap().dir = home.join("library");
        Self {
            folder,
            setting: self.setting,
            drive: self.drive.clone(),
            settings,
            library,
            clock: TestClock::at(self.clock.now()),
            floors: Arc::new(Mutex::new(self.floors.lock().unwrap().clone())),
            picture: Arc::clone(&self.picture),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The key that every block is encrypted with, if any is.
    pub(crate) fn key(&self) -> Option<&[u8; 32]> {
        (self.setting == Setting::Guarded).then_some(&KEY)
    }

    /// The power was lost: what was removed from staging is there again, for nobody synced that.
    pub(crate) fn undo_removals(&self, stage: &Self) {
        for (folder, linked) in [("staging/sealed", true), ("staging/manifests", false)] {
            for entry in fs::read_dir(stage.path(folder)).unwrap() {
                let from = entry.unwrap().path();
                let to = self.path(folder).join(from.file_name().unwrap());
                if to.exists() {
                    continue;
                }
                if linked {
                    fs::hard_link(&from, &to).unwrap();
                } else {
                    fs::copy(&from, &to).unwrap();
                }
            }
        }
    }

    pub(crate) fn catalog(&self) -> Catalog {
        Catalog::open(&self.settings.catalog.path).unwrap()
    }

    pub(crate) fn volser(&self, volume: VolumeId) -> Option<Volser> {
        self.catalog().volume_by_id(volume).unwrap().map(|volume| volume.volser)
    }

    pub(crate) fn listener(&self) -> Arc<Listener> {
        Arc::new(Listener { floors: Arc::clone(&self.floors), lines: Mutex::default() })
    }

    pub(crate) fn desk(&self, listener: &Arc<Listener>) -> Desk {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let monitor: Arc<dyn Monitor> = Arc::<Listener>::clone(listener);
        Desk::new(clock, monitor, self.settings.staging.dir.clone())
    }

    pub(crate) fn watched(&self, witness: Option<&SharedWitness>) -> Settings {
        let mut settings = self.settings.clone();
        settings.emulator.as_mut().unwrap().witness = witness.cloned();
        settings
    }

    /// Runs the job, or a half of it, as a process of its own.
    pub(crate) fn archive(
        &self,
        half: Half,
        witness: Option<&SharedWitness>,
    ) -> (Ended, Vec<String>) {
        let request = archive::Request {
            job: "all".parse().unwrap(),
            half,
            copies: None,
            drive: self.drive.clone(),
            dry_run: false,
        };
        let settings = self.watched(witness);
        let ended = self.process(|desk| archive::run(&settings, &request, desk));
        for volume in self.catalog().volumes().unwrap() {
            let mut floors = self.floors.lock().unwrap();
            let floor = floors.entry(volume.volser).or_default();
            *floor = volume.end.0.max(*floor);
        }
        ended
    }

    /// Restores everything that a catalog holds into a folder.
    pub(crate) fn restore(
        &self,
        catalog: &Catalog,
        to: &str,
        witness: Option<&SharedWitness>,
    ) -> (Ended, Vec<String>) {
        let request = restore::Request {
            selection: Selection::Query { query: Box::default(), all_versions: false },
            to: self.path(to),
            options: Options { overwrite: true, ..Options::default() },
            drive: self.drive.clone(),
            salvage: false,
            dry_run: false,
        };
        let settings = self.watched(witness);
        self.process(|desk| restore::run(&settings, catalog, &request, desk))
    }

    fn process(&self, work: impl FnOnce(&Desk) -> Result<Tally, JobError>) -> (Ended, Vec<String>) {
        let listener = self.listener();
        let desk = self.desk(&listener);
        let ended = match panic::catch_unwind(AssertUnwindSafe(|| work(&desk))) {
            Ok(Ok(tally)) => Ended::Done(tally),
            Ok(Err(error)) => Ended::Failed(error),
            Err(death) if death.is::<Death>() => Ended::Killed,
            Err(other) => {
                let text = other.downcast_ref::<String>().cloned();
                Ended::Panicked(text.unwrap_or_else(|| "a panic".to_owned()))
            }
        };
        let lines = std::mem::take(&mut *listener.lines.lock().unwrap());
        (ended, lines)
    }

    /// A catalog made from the cartridges alone.
    pub(crate) fn fresh_catalog(&self) -> Catalog {
        let path = self.path("rebuilt.sqlite");
        for ending in ["", "-wal", "-shm"] {
            drop(fs::remove_file(self.path(&format!("rebuilt.sqlite{ending}"))));
        }
        Catalog::create(&path, Mode::Rehearsal, &self.clock).unwrap()
    }
}

/// Copies files, except those of the source and of segments, which nobody changes.
fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() == "files" {
                continue;
            }
            fs::create_dir(&target).unwrap();
            copy_tree(&path, &target);
        } else if path.parent().unwrap().ends_with("staging/sealed") {
            fs::hard_link(&path, &target).unwrap();
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// What is in a folder, in words.
pub(crate) fn picture(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut picture = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let facts = fs::metadata(&path).unwrap();
        if facts.is_dir() {
            for (below, words) in self::picture(&path) {
                picture.insert(Path::new(path.file_name().unwrap()).join(below), words);
            }
            continue;
        }
        let digest = Digest::of(&fs::read(&path).unwrap());
        let words = format!("{} {}.{} {digest}", facts.len(), facts.mtime(), facts.mtime_nsec());
        picture.insert(path.file_name().unwrap().into(), words);
    }
    picture
}
