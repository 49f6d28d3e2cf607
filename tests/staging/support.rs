//! What all tests of staging need.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use tapevault::{
    cancel::Cancel,
    clock::{SystemClock, Timestamp},
    digest::Digest,
    ident::{SetId, SourceName},
    item::{Item, Key, Kind, Posix},
    staging::{
        Recovered, Sealed, Settings, Staging, Store, World,
        files::{Disk, Files},
    },
    unit::{ByteCount, MIB},
    volume::{lines, manifest::Entry},
};

pub(crate) const BUDGET: u64 = 96 * MIB;

pub(crate) fn source() -> SourceName {
    "docs".parse().unwrap()
}

pub(crate) fn settings(dir: &Path) -> Settings {
    Settings::new(dir, ByteCount(BUDGET), None, 64 << 10).scaled(64)
}

pub(crate) fn world() -> World {
    world_of(Arc::new(Disk))
}

pub(crate) fn world_of(files: Arc<dyn Files>) -> World {
    World { files, clock: Arc::new(SystemClock::new()), cancel: Cancel::new() }
}

pub(crate) fn open(dir: &Path) -> (Staging, Recovered) {
    Staging::open(settings(dir), SetId::new(), world()).unwrap()
}

pub(crate) fn store(dir: &Path) -> Store {
    Store::open(dir, Arc::new(Disk)).unwrap()
}

pub(crate) fn file(key: &str, size: u64) -> Item {
    Item {
        key: Key::from(key),
        size,
        modified: Timestamp::from_parts(1_700_000_000, 5),
        latest: true,
        posix: Some(Box::new(Posix { mode: 0o640, ..Posix::default() })),
        ..Item::default()
    }
}

pub(crate) fn content(seed: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Runs a stock program, which has to succeed in silence; its output.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && stderr.is_empty(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Holds a sealed segment to everything that format and record promise; its entries.
pub(crate) fn check_sealed(store: &Store, sealed: &Sealed) -> Vec<Entry> {
    store.check(sealed).unwrap();
    let bytes = fs::read(&sealed.path).unwrap();
    assert_eq!(bytes.len() as u64, sealed.bytes);
    assert_eq!(sealed.blocks * u64::from(sealed.block_size), sealed.bytes);
    assert_eq!(Digest::of(&bytes), sealed.digest);
    let kept: Vec<Entry> = store.manifest(sealed.segment).unwrap().map(Result::unwrap).collect();
    assert_eq!(kept.len() as u64, sealed.members);
    assert!(kept.is_sorted_by(|a, b| a.order() < b.order()));
    let at = usize::try_from(sealed.manifest_offset).unwrap();
    let end = at + usize::try_from(sealed.manifest_bytes).unwrap();
    let lines = bytes[at..end].split_inclusive(|byte| *byte == b'\n');
    let within: Vec<Entry> = lines.map(|line| lines::read_line(line).unwrap()).collect();
    assert_eq!(within, kept);
    extract(sealed, &kept);
    kept
}

/// Has stock tar list and extract the segment, and compares.
pub(crate) fn extract(sealed: &Sealed, entries: &[Entry]) {
    let listed = run(Command::new("tar").arg("-tf").arg(&sealed.path));
    let mut expected: Vec<String> = entries
        .iter()
        .filter_map(|entry| {
            let slash = if entry.item.kind == Kind::Directory { "/" } else { "" };
            entry.path.as_ref().map(|path| format!("{path}{slash}"))
        })
        .collect();
    for own in ["MANIFEST.jsonl", "BLAKE3SUMS", "TRAILER.json"] {
        expected.push(format!(".tapevault/{}/{own}", sealed.segment));
    }
    expected.sort();
    let mut found: Vec<&str> = listed.lines().collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    let dir = tempfile::tempdir().unwrap();
    run(Command::new("tar").arg("-xf").arg(&sealed.path).arg("-C").arg(dir.path()));
    for entry in entries {
        if let (Some(path), Some(digest)) = (&entry.path, entry.digest) {
            let found = fs::read(dir.path().join(path)).unwrap();
            assert_eq!(Digest::of(&found), digest, "{path}");
        }
    }
}

/// Seals everything; all sealed segments' entries by key and part.
pub(crate) fn seal(staging: &Staging, dir: &Path) -> BTreeMap<(Key, u32), Entry> {
    staging.seal_all().unwrap();
    let store = store(dir);
    let mut all = BTreeMap::new();
    for sealed in store.sealed().unwrap() {
        for entry in check_sealed(&store, &sealed) {
            let part = entry.part.map_or(0, |part| part.number);
            all.insert((entry.item.key.clone(), part), entry);
        }
    }
    all
}
