//! A rehearsal's home in a temporary folder, and the program run in it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tapevault::{
    emulator::{Generation, Library, LibraryPlan, Settings},
    ident::Barcode,
};
use tempfile::TempDir;

pub(crate) const MIB: u64 = 1 << 20;

/// What a home is made of.
pub(crate) struct Plan<'a> {
    pub(crate) cartridges: &'a [&'a str],
    /// Of each cartridge, in bytes.
    pub(crate) capacity: u64,
    pub(crate) budget: &'a str,
    pub(crate) copies: u8,
    pub(crate) eject: bool,
    /// Whether a robot moves the cartridges.
    pub(crate) library: bool,
    /// How many drives there are: `drive`, `drive1`, and so on.
    pub(crate) drives: u16,
    pub(crate) mail_slots: u16,
    /// The source's settings.
    pub(crate) source: &'a str,
    /// Whether blank cartridges are labelled by jobs.
    pub(crate) label_blank: bool,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            cartridges: &["T00001L8", "T00002L8", "T00003L8"],
            capacity: 200 * MIB,
            budget: "64 MiB",
            copies: 1,
            eject: true,
            library: true,
            drives: 1,
            mail_slots: 1,
            source: "type = \"directory\"\npath = \"source\"",
            label_blank: true,
        }
    }
}

/// A home.
pub(crate) struct Home {
    folder: TempDir,
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Done {
    /// It ended with this exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// It ended with this exit code, and its complaint has all these words.
    #[track_caller]
    pub(crate) fn complains(self, code: i32, words: &[&str]) -> Self {
        let done = self.exits(code);
        for word in words {
            assert!(done.err.contains(word), "no {word:?} in:\n{}\n{}", done.out, done.err);
        }
        done
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The events of this name.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        let mut events = self.lines();
        events.retain(|event| event["event"] == name);
        events
    }
}

pub(crate) fn code(text: &str) -> Barcode {
    text.parse().unwrap()
}

impl Home {
    pub(crate) fn new(plan: &Plan<'_>) -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(home.source()).unwrap();
        let library = LibraryPlan {
            drives: plan.drives,
            slots: 10,
            mail_slots: plan.mail_slots,
            generation: Generation::Lto8,
            settings: Settings::default(),
        };
        let library = Library::create(&home.library(), &library).unwrap();
        for barcode in plan.cartridges {
            library.add_cartridge(code(barcode), Generation::Lto8, plan.capacity).unwrap();
        }
        home.configure(&config(plan));
        home
    }

    pub(crate) fn configure(&self, text: &str) {
        fs::write(self.path("tapevault.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.path("source")
    }

    pub(crate) fn library(&self) -> PathBuf {
        self.path("library")
    }

    pub(crate) fn catalog(&self) -> PathBuf {
        self.path("catalog.sqlite")
    }

    pub(crate) fn emulator(&self) -> Library {
        Library::open(&self.library()).unwrap()
    }

    /// The program, ready to be started in this home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tapevault"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TAPEVAULT_CONFIG", self.path("tapevault.toml"))
            .env_remove("TAPEVAULT_CRASH_AT")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        self.command(arguments).output().unwrap().into()
    }

    pub(crate) fn run_with(&self, variable: (&str, &str), arguments: &[&str]) -> Done {
        self.command(arguments).env(variable.0, variable.1).output().unwrap().into()
    }

    /// `archive`, which has to end well; its events.
    #[track_caller]
    pub(crate) fn archive(&self) -> Done {
        self.run(&["--json", "archive", "job"]).exits(0)
    }

    /// What `find` answers, sorted, without where the cartridges are: that is not on tape.
    #[track_caller]
    pub(crate) fn find(&self, arguments: &[&str]) -> Vec<Value> {
        let done = self.run(&[&["--json", "find"], arguments].concat()).exits(0);
        let mut lines = done.lines();
        for line in &mut lines {
            let copies = line["copies"].as_array_mut().unwrap();
            for copy in &mut *copies {
                let kept = ["volume", "object", "file"];
                copy.as_object_mut().unwrap().retain(|name, _| kept.contains(&name.as_str()));
            }
            copies.sort_by_key(|copy| copy["volume"].to_string());
        }
        lines.sort_by_key(Value::to_string);
        lines
    }

    /// The keys that `find` answers with.
    #[track_caller]
    pub(crate) fn keys(&self, arguments: &[&str]) -> BTreeSet<String> {
        let found = self.find(arguments);
        found.iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect()
    }

    /// The volumes that hold something.
    pub(crate) fn volumes(&self) -> BTreeSet<String> {
        let found = self.find(&[]);
        let copies = found.iter().flat_map(|line| line["copies"].as_array().unwrap());
        copies.map(|copy| copy["volume"].as_str().unwrap().to_owned()).collect()
    }

    /// Takes the catalog away, so that the next job has none.
    pub(crate) fn lose_catalog(&self) {
        for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
            let path = self.path(name);
            if path.exists() {
                fs::remove_file(path).unwrap();
            }
        }
    }

    /// A copy of the catalog, as a backup would have it.
    pub(crate) fn back_up_catalog(&self) {
        copy_database(&self.catalog(), &self.path("backup.sqlite"));
    }

    pub(crate) fn restore_catalog(&self) {
        self.lose_catalog();
        copy_database(&self.path("backup.sqlite"), &self.catalog());
    }

    /// Fills the source with `count` files of `bytes` each, and a few small things.
    pub(crate) fn fill(&self, count: u32, bytes: usize) {
        let folder = self.source().join("folder/below");
        fs::create_dir_all(self.source().join("folder")).unwrap();
        for number in 0..count {
            let path = self.source().join(format!("folder/file{number:03}"));
            fs::write(path, noise(bytes, number + 1)).unwrap();
        }
        if folder.exists() {
            return;
        }
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("small"), "small").unwrap();
        fs::write(folder.join("empty"), "").unwrap();
        std::os::unix::fs::symlink("small", folder.join("link")).unwrap();
    }
}

fn copy_database(from: &Path, to: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let name = |path: &Path| PathBuf::from(format!("{}{ending}", path.display()));
        if name(from).exists() {
            fs::copy(name(from), name(to)).unwrap();
        }
    }
}

/// The config of a home.
pub(crate) fn config(plan: &Plan<'_>) -> String {
    let Plan { budget, copies, eject, source, label_blank, .. } = plan;
    let library = if plan.library { "[library]\nchanger = \"emulated\"" } else { "" };
    let drives: String = (1..plan.drives)
        .map(|number| format!("[drives.drive{number}]\ndevice = \"emulated:{number}\"\n"))
        .collect();
    format!(
        r#"
[catalog]
path = "catalog.sqlite"
rehearsal = true

[staging]
dir = "staging"
budget = "{budget}"
segment = "4 MiB"
ring = "4 MiB"

[emulator]
dir = "library"

{library}

[drives.drive]
device = "emulated:0"

{drives}
[pools.pool]
label_blank = {label_blank}

[sources.files]
{source}

[jobs.job]
sources = ["files"]
pool = "pool"
copies = {copies}
eject = {eject}
"#
    )
}

/// Bytes that do not repeat.
pub(crate) fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut bytes = Vec::with_capacity(length + 4);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
