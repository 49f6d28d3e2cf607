//! Killed between any two durable steps, and the drive's power lost with it: the same command again
//! completes, and nothing is lost, fetched twice or written twice.

use std::{collections::BTreeSet, env, fs, path::Path, time::Duration};

use tapevault::{
    clock::{Clock, SystemClock},
    emulator::{self, ElementKind},
};

use crate::home::{Home, Plan, code};

/// Points that an `archive` into a fresh home passes.
const ARCHIVE: [&str; 33] = [
    "catalog.add-segment.after",
    "catalog.add-segment.before",
    "catalog.commit.after",
    "catalog.commit.before",
    "catalog.create.rename",
    "catalog.finish-run.before",
    "eject.out",
    "eject.unloaded",
    "export.recorded",
    "export.run-begun",
    "export.run-finished",
    "export.run-stored",
    "export.sealed",
    "index.built",
    "index.committed",
    "index.flushed",
    "index.noted",
    "index.written",
    "label.before-write",
    "label.noted",
    "label.recorded",
    "label.written",
    "staging.free.marked",
    "staging.free.removed",
    "staging.seal.closed",
    "staging.seal.recorded",
    "staging.seal.renamed",
    "staging.seal.synced",
    "staging.seal.written",
    "write.before-flush",
    "write.committed",
    "write.flushed",
    "write.intended",
];
/// Points that are passed more than once and differ.
const AGAIN: [&str; 7] = [
    "staging.record.written:1",
    "staging.record.written:3",
    "write.unstaged",
    "write.written",
    "write.written:2",
    "write.intended:2",
    "catalog.commit.before:2",
];
/// Points that only the resumption of an interrupted job passes.
const RESUME: [&str; 2] = ["staging.recover.journal", "staging.recover.recorded"];
/// Points that a `restore` passes.
pub(crate) const RESTORE: [&str; 5] = [
    "restore.directory.done",
    "restore.file.named",
    "restore.file.written",
    "restore.records.written",
    "restore.symlink.named",
];
/// Points that are passed by `media erase`.
const ERASE: [&str; 2] = ["erase.disowned", "erase.recorded"];
/// Points that are passed by `library clean`.
const CLEAN: [&str; 1] = ["clean.brought"];

const FILES: u32 = 12;
/// With the source itself, two folders, a link and two small files.
const ITEMS: usize = 18;

fn home() -> Home {
    let home = Home::new(&Plan::default());
    home.fill(FILES, 700_000);
    home
}

/// Everything is on tape once, proven, and the cartridges alone say so, too.
fn check(home: &Home, what: &str) {
    let found = home.find(&[]);
    let keys: BTreeSet<String> = found.iter().map(|line| line["key"].to_string()).collect();
    assert_eq!(keys.len(), ITEMS, "{what}: something is missing");
    assert_eq!(found.len(), ITEMS, "{what}: something was fetched twice");
    for line in &found {
        let copies = line["copies"].as_array().unwrap();
        assert_eq!(copies.len(), 1, "{what}: {line}");
    }
    let staging = home.path("staging");
    for folder in ["open", "sealed", "manifests"] {
        let left: Vec<_> = fs::read_dir(staging.join(folder)).unwrap().flatten().collect();
        assert!(left.is_empty(), "{what}: left in staging/{folder}: {left:?}");
    }
    let volumes = home.volumes();
    let volumes: Vec<&str> = volumes.iter().map(String::as_str).collect();
    assert_eq!(volumes.len(), 1, "{what}: one cartridge holds it all");
    let listed = home.run(&["media", "list"]).exits(0);
    assert!(!listed.out.contains("in drive"), "{what}: not ejected:\n{}", listed.out);
    let verified = home.run(&[&["verify"], &volumes[..]].concat());
    // A lost power may take the end of data: whoever appends next writes a new one.
    let powerless = what.starts_with("power lost") || what.starts_with("kill number");
    let said = &verified.err;
    if !(powerless && said.contains("no end of data") && said.contains(" 1 findings")) {
        verified.exits(0);
    }
    home.lose_catalog();
    home.run(&["catalog", "rebuild"]).exits(0);
    assert_eq!(home.find(&[]), found, "{what}: the tape says otherwise");
}

fn crash(home: &Home, point: &str) {
    let done = home.run_with(("TAPEVAULT_CRASH_AT", point), &["archive", "job"]);
    assert_eq!(done.code, None, "{point} was not passed:\n{}\n{}", done.out, done.err);
}

fn points_of(part: usize) -> impl Iterator<Item = &'static str> {
    let points = ARCHIVE.iter().chain(&AGAIN).copied();
    points.enumerate().filter(move |(index, _)| index % 4 == part).map(|(_, point)| point)
}

fn killed(part: usize) {
    for point in points_of(part) {
        let home = home();
        crash(&home, point);
        home.archive();
        check(&home, point);
    }
}

fn killed_without_power(part: usize) {
    for (seed, point) in points_of(part).enumerate() {
        let home = home();
        crash(&home, point);
        emulator::power_loss(&home.library(), u64::try_from(seed).unwrap()).unwrap();
        home.archive();
        check(&home, &format!("power lost at {point}"));
    }
}

#[test]
fn killed_at_each_point_1() {
    killed(0);
}

#[test]
fn killed_at_each_point_2() {
    killed(1);
}

#[test]
fn killed_at_each_point_3() {
    killed(2);
}

#[test]
fn killed_at_each_point_4() {
    killed(3);
}

#[test]
fn power_lost_at_each_point_1() {
    killed_without_power(0);
}

#[test]
fn power_lost_at_each_point_2() {
    killed_without_power(1);
}

#[test]
fn power_lost_at_each_point_3() {
    killed_without_power(2);
}

#[test]
fn power_lost_at_each_point_4() {
    killed_without_power(3);
}

#[test]
fn killed_while_resuming() {
    for point in RESUME {
        let home = home();
        crash(&home, "staging.record.written:3");
        crash(&home, point);
        home.archive();
        check(&home, point);
    }
}

#[test]
fn killed_while_erasing() {
    for point in ERASE {
        let home = Home::new(&Plan { copies: 2, ..Plan::default() });
        home.fill(4, 100_000);
        home.archive();
        let erase = ["media", "erase", "T00001", "--confirm", "T00001"];
        let done = home.run_with(("TAPEVAULT_CRASH_AT", point), &erase);
        assert_eq!(done.code, None, "{}\n{}", done.out, done.err);
        home.run(&erase).exits(0);
        assert_eq!(home.volumes(), BTreeSet::from(["T00002".to_owned()]));
        home.run(&["media", "label", "T00001", "--pool", "pool"]).exits(0);
    }
}

/// The cleaning cartridge is in the drive then, and whatever comes next puts it away.
#[test]
fn killed_while_cleaning() {
    for (point, next) in CLEAN.iter().flat_map(|point| [(point, "clean"), (point, "archive")]) {
        let home = Home::new(&Plan { cartridges: &["CLNU01L1", "T00001L8"], ..Plan::default() });
        home.fill(4, 100_000);
        let done = home.run_with(("TAPEVAULT_CRASH_AT", point), &["library", "clean"]);
        assert_eq!(done.code, None, "{}\n{}", done.out, done.err);
        let next: &[&str] =
            if next == "clean" { &["library", "clean"] } else { &["archive", "job"] };
        home.run(next).exits(0);
        let elements = home.emulator().elements().unwrap();
        let place = elements.iter().find(|element| element.barcode == Some(code("CLNU01L1")));
        assert_eq!(place.unwrap().kind, ElementKind::Slot, "after {next:?}");
        home.archive();
        assert_eq!(home.volumes(), BTreeSet::from(["T00001".to_owned()]));
    }
}

/// `kill -9` at any moment: 20 of them, 200 with `TAPEVAULT_DEEP`.
#[test]
fn killed_at_random_moments() {
    let times = if env::var_os("TAPEVAULT_DEEP").is_some() { 200 } else { 20 };
    let clock = SystemClock::new();
    let mut state = 0x2545_F491_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let whole = home();
    let before = clock.elapsed();
    whole.archive();
    let long = u64::try_from((clock.elapsed() - before).as_micros()).unwrap();
    let mut killed = 0;
    while killed < times {
        let home = home();
        // A home is killed up to three times before it may finish.
        for _ in 0..3 {
            let mut child = home.command(&["archive", "job"]);
            child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut child = child.spawn().unwrap();
            clock.sleep(Duration::from_micros(next() % long));
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
            if next() % 2 == 0 {
                emulator::power_loss(&home.library(), next()).unwrap();
            }
        }
        home.archive();
        check(&home, &format!("kill number {killed}"));
    }
}

#[test]
fn every_point_is_here() {
    fn points(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                points(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            for rest in text.split("crash::point(\"").skip(1) {
                found.insert(rest.split('"').next().unwrap().to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    points(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let known =
        ARCHIVE.iter().chain(&AGAIN).chain(&RESUME).chain(&RESTORE).chain(&ERASE).chain(&CLEAN);
    let known: BTreeSet<String> =
        known.map(|name| name.split(':').next().unwrap().to_owned()).collect();
    let missing: Vec<_> = found.difference(&known).collect();
    assert!(missing.is_empty(), "crash points that no test kills at: {missing:?}");
}
