//! Folders, trees of files, and a rehearsal's config.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use tapevault::emulator::{self, Cartridge, Generation, Library, LibraryPlan};
use tempfile::TempDir;

/// Files of one folder of a tree.
const FAN: u64 = 1000;
const GENERATION: Generation = Generation::Lto8;
const BARCODE: &str = "BEN001L8";

/// The job that [`config`] makes.
pub(crate) const JOB: &str = "bench";

/// A new folder in memory.
pub(crate) fn in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap()
}

/// A new folder on a disk.
pub(crate) fn on_disk() -> TempDir {
    let disk = env::var_os("BENCH_DISK").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    fs::create_dir_all(&disk).unwrap();
    TempDir::new_in(disk).unwrap()
}

/// The path of a tree's file within it.
pub(crate) fn key(number: u64) -> String {
    format!("folder-{:04}/file-{number:07}.bin", number / FAN)
}

/// Makes `count` files of `size` bytes below `root`, no two alike, a thousand to a folder.
pub(crate) fn tree(root: &Path, count: u64, size: usize) {
    let mut content = vec![0; size];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    for number in 0..count {
        let path = root.join(key(number));
        if number % FAN == 0 {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        let head = size.min(8);
        content[..head].copy_from_slice(&number.to_le_bytes()[..head]);
        fs::write(path, &content).unwrap();
    }
}

/// The only cartridge of the library in `home`.
pub(crate) fn cartridge(home: &Path) -> Cartridge {
    Library::open(home).unwrap().cartridge(BARCODE.parse().unwrap()).unwrap()
}

/// A config with an emulated library in `home`, for the tree at `source`; where it is.
pub(crate) fn config(home: &Path, source: &Path, (budget, ring): (&str, &str)) -> PathBuf {
    fs::create_dir_all(home).unwrap();
    let plan = LibraryPlan {
        drives: 1,
        slots: 2,
        mail_slots: 1,
        generation: GENERATION,
        settings: emulator::Settings::default(),
    };
    let library = Library::create(home, &plan).unwrap();
    library
        .add_cartridge("BEN001L8".parse().unwrap(), GENERATION, GENERATION.capacity().0)
        .unwrap();
    let path = home.join("tapevault.toml");
    let text = format!(
        r#"[catalog]
path = "catalog.sqlite"
rehearsal = true
[staging]
dir = "staging"
budget = "{budget}"
ring = "{ring}"
[emulator]
dir = "."
[library]
changer = "emulated"
[drives.drive0]
device = "emulated:0"
[pools.bench]
label_blank = true
[sources.files]
type = "directory"
path = "{}"
[jobs.{JOB}]
sources = ["files"]
pool = "bench"
eject = false
"#,
        source.display()
    );
    fs::write(&path, text).unwrap();
    path
}
