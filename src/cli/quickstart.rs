//! `quickstart`: the whole way on an emulated library, all in one folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    cli::{args, bench::Bench, exit::Exit, fail::Failure, jobs, say},
    config,
    emulator::{self, Generation, Library, LibraryPlan},
    job::{
        JobError,
        archive::{Half, Request},
        settings::SourceSettings,
    },
};

/// The rehearsal's drive and cartridges.
const GENERATION: Generation = Generation::Lto8;
const SLOTS: u16 = 8;
const CARTRIDGES: [&str; 2] = ["TVR001L8", "TVR002L8"];
/// The name of config file, job and pool.
const CONFIG: &str = "tapevault.toml";
const JOB: &str = "rehearsal";

/// Runs the rehearsal, and prints what to type next.
pub(super) fn run(quickstart: &args::Quickstart, json: bool) -> Result<Exit, Failure> {
    let directory =
        fs::canonicalize(&quickstart.directory).map_err(failed("find", &quickstart.directory))?;
    if !directory.is_dir() {
        return Err(Failure::Usage { what: format!("{} is not a directory", directory.display()) });
    }
    let home = std::path::absolute(&quickstart.home).map_err(failed("find", &quickstart.home))?;
    let config_path = home.join(CONFIG);
    if !config_path.exists() {
        set_up(&home, &config_path, &directory)?;
    }
    let loaded = config::read(&config_path)?;
    let same = loaded.settings.sources.values().any(|source| match source {
        SourceSettings::Directory(known) => known.path == directory,
        SourceSettings::S3(_) => false,
    });
    if !same {
        return Err(Failure::Usage {
            what: format!(
                "the rehearsal in {} is of another directory; give this one another --home",
                home.display()
            ),
        });
    }
    let bench = Bench::new(loaded.settings, loaded.path, json);
    let exit = jobs::run(
        &bench,
        &Request {
            job: JOB.parse().expect("a job name"),
            half: Half::Both,
            copies: None,
            drive: None,
            dry_run: false,
        },
    )?;
    if !json {
        next_steps(&quickstart.home, &directory);
    }
    Ok(exit)
}

fn set_up(home: &Path, config_path: &Path, directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(home).map_err(failed("make", home))?;
    let plan = LibraryPlan {
        drives: 1,
        slots: SLOTS,
        mail_slots: 1,
        generation: GENERATION,
        settings: emulator::Settings::default(),
    };
    let broken = |error: emulator::StorageError| JobError::File {
        operation: "make the emulated library in",
        path: Some(home.to_owned()),
        cause: io::Error::other(error),
    };
    let library = if home.join("library.json").exists() {
        Library::open(home).map_err(broken)?
    } else {
        Library::create(home, &plan).map_err(broken)?
    };
    let present = library.cartridges().map_err(broken)?;
    for barcode in CARTRIDGES {
        let barcode = barcode.parse().expect("a barcode");
        if !present.contains(&barcode) {
            let capacity = GENERATION.capacity().0;
            library.add_cartridge(barcode, GENERATION, capacity).map_err(broken)?;
        }
    }
    // Last, so that a set-up that was broken off is begun again.
    fs::write(config_path, config::rehearsal(directory)).map_err(failed("write", config_path))?;
    Ok(())
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JobError + use<> {
    let path: PathBuf = path.to_owned();
    move |cause| JobError::File { operation, path: Some(path), cause }
}

/// How to go on from here: lines that work as they are printed.
fn next_steps(home: &Path, directory: &Path) {
    let program = std::env::args().next().unwrap_or_else(|| "tapevault".into());
    let config = shell(&home.join(CONFIG).to_string_lossy());
    let restored = shell(&home.join("restored").to_string_lossy());
    let program = shell(&program);
    say::text(&format!(
        "
This was a rehearsal: the cartridge is a file, and nothing here counts as a copy.

Find what is on it:
  {program} --config {config} find --limit 10
Bring all of it back, and compare:
  {program} --config {config} restore --to {restored}
  diff -r --no-dereference {} {restored}/files
Change something, and run the quickstart again: only what changed is archived.
When you have a drive: {program} init
",
        shell(&directory.to_string_lossy())
    ));
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
