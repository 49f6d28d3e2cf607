//! Folders, trees of files, and a rehearsal's config.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tapevault::emulator::{self, Generation, Library, LibraryPlan};
use tempfile::TempDir;

/// Files of one folder of a tree.
const FAN: u64 = 1000;
const GENERATION: Generation = Generation::Lto8;

/// The job that [`config`] makes.
pub(crate) const JOB: &str = "bench";

/// A new folder in memory.
pub(crate) fn in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap()
}

/// Makes `count` files of `size` bytes below `root`, no two alike, a thousand to a folder.
pub(crate) fn tree(root: &Path, count: u64, size: usize) {
    let mut content = vec![0; size];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    let mut folder = PathBuf::new();
    for number in 0..count {
        if number % FAN == 0 {
            folder = root.join(format!("folder-{:04}", number / FAN));
            fs::create_dir_all(&folder).unwrap();
        }
        let head = size.min(8);
        content[..head].copy_from_slice(&number.to_le_bytes()[..head]);
        fs::write(folder.join(format!("file-{number:07}.bin")), &content).unwrap();
    }
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
"#,
        source.display()
    );
    fs::write(&path, text).unwrap();
    path
}
