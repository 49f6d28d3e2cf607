//! Every call to the disk fails once, and the process dies at every call: nothing sealed is lost,
//! nothing finished is fetched again, and the next job completes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::Path,
    sync::Arc,
};

use nix::libc::{EIO, ENOSPC};
use tapevault::{
    digest::{Digest, RANGE, RangeHasher},
    ident::{SegmentId, SetId},
    item::{Item, Key, Kind},
    staging::{
        Outcome, Sealed, Settings, Staging, StagingError, Store,
        files::{Cursor, Fault, Files, Simulated},
    },
    tar,
    unit::{ByteCount, MIB},
};

use crate::support::{content, file, source, world_of};

const DIR: &str = "/staging";

fn settings() -> Settings {
    let settings = Settings::new(DIR, ByteCount(64 * MIB), None, 4096).scaled(1024);
    // Few members a segment, so that several are sealed.
    Settings { segment_members: 7, ..settings }
}

fn staging(files: &Simulated) -> Result<Staging, StagingError> {
    Staging::open(settings(), SetId::new(), world_of(Arc::new(files.clone()))).map(|open| open.0)
}

fn items() -> Vec<(Item, Vec<u8>)> {
    let small = (0..14).map(|n| (file(&format!("small/{n}"), n * 61), content(n, n * 61)));
    let large = (0..2).map(|n| {
        let size = RANGE + 700 + n;
        (file(&format!("large/{n}"), size), content(n, size))
    });
    let mut items: Vec<_> = small.chain(large).collect();
    // Large ones in the middle, so that what fails leaves gaps.
    items.swap(4, 14);
    items.swap(11, 15);
    items.push((Item { kind: Kind::Directory, ..file("small", 0) }, Vec::new()));
    items
}

/// Stages one item; large ones range by range.
fn stage(staging: &Staging, item: Item, bytes: &[u8]) -> Result<(), StagingError> {
    if item.size <= RANGE {
        return staging.put(&source(), item, bytes);
    }
    let region = staging.claim(&source(), item, None)?;
    let range = usize::try_from(RANGE).unwrap();
    region.write_at(RANGE, &bytes[range..])?;
    region.write_at(0, &bytes[..range])?;
    region.finish(Outcome::default())
}

/// Stages items at once, if they are of a kind for that.
fn stage_all(staging: &Staging, items: &[(Item, Vec<u8>)]) -> Result<(), StagingError> {
    let data: Vec<u8> = items.iter().flat_map(|(_, bytes)| bytes).copied().collect();
    let all = items.iter().map(|(item, _)| item.clone()).collect();
    let left = staging.put_all(&source(), all, &data)?;
    for item in left {
        let (_, bytes) = items.iter().find(|(other, _)| other.key == item.key).unwrap();
        stage(staging, item, bytes)?;
    }
    Ok(())
}

/// What a job was told is safe, when it ended.
#[derive(Debug, Default)]
struct Told {
    finished: BTreeSet<Key>,
    sealed: BTreeMap<SegmentId, Digest>,
}

/// Stages all that is neither sealed nor held, and seals it.
fn job(files: &Simulated, told: &mut Told) -> Result<(), StagingError> {
    let staging = staging(files)?;
    // In this order: what is taken up may be sealed between the two questions.
    let mut there = BTreeSet::new();
    for entry in staging.held()? {
        there.insert(entry?.item.key);
    }
    there.extend(sealed_keys(files)?);
    let missing: Vec<_> =
        items().into_iter().filter(|(item, _)| !there.contains(&item.key)).collect();
    for together in missing.chunks(3) {
        stage_all(&staging, together)?;
        told.finished.extend(together.iter().map(|(item, _)| item.key.clone()));
    }
    told.finished.extend(there);
    staging.seal_all()?;
    while let Some(sealed) = staging.next_sealed(std::time::Duration::ZERO)? {
        told.sealed.insert(sealed.segment, sealed.digest);
    }
    Ok(())
}

fn store(files: &Simulated) -> Result<Store, StagingError> {
    Store::open(Path::new(DIR), Arc::new(files.clone()))
}

fn sealed_keys(files: &Simulated) -> Result<BTreeSet<Key>, StagingError> {
    let store = store(files)?;
    let mut keys = BTreeSet::new();
    for sealed in store.sealed()? {
        for entry in store.manifest(sealed.segment)? {
            keys.insert(entry?.item.key);
        }
    }
    Ok(keys)
}

/// Holds one sealed segment to its record, and its members to their digests; their keys.
fn check(files: &Simulated, store: &Store, sealed: &Sealed) -> Vec<Key> {
    store.check(sealed).unwrap();
    let handle = files.open(&sealed.path).unwrap();
    let mut bytes = Vec::new();
    Cursor::new(&*handle).read_to_end(&mut bytes).unwrap();
    assert_eq!(Digest::of(&bytes), sealed.digest);
    let entries = store.manifest(sealed.segment).unwrap().map(Result::unwrap);
    let by_path: BTreeMap<String, _> =
        entries.map(|entry| (entry.path.clone().unwrap(), entry)).collect();
    let mut reader = tar::Reader::new(&bytes[..], tar::Names::Safe);
    let mut keys = Vec::new();
    while let Some(found) = reader.next_member().unwrap() {
        let Some(entry) = by_path.get(&found.head.path) else {
            assert!(found.head.path.starts_with(".tapevault/"), "{}", found.head.path);
            continue;
        };
        // A filler in front counts as the member's for the reader.
        assert!(found.data == entry.data && found.offset <= entry.offset);
        let mut data = vec![0; usize::try_from(found.stored).unwrap()];
        let mut filled = 0;
        while filled < data.len() {
            filled += reader.read_data(&mut data[filled..]).unwrap();
        }
        let mut hasher = RangeHasher::new();
        hasher.update(&data);
        if let Some(digest) = entry.digest {
            assert_eq!(hasher.finish().0, digest, "{}", found.head.path);
        }
        keys.push(entry.item.key.clone());
    }
    assert_eq!(keys.len(), by_path.len());
    keys
}

/// A second job on what is left: everything is sealed then, and once, and nothing that was sealed
/// is gone.
fn complete(files: &Simulated, told: &Told, what: &str) {
    let mut later = Told::default();
    job(files, &mut later).unwrap_or_else(|error| panic!("{what}: {error}"));
    let store = store(files).unwrap();
    let mut keys = Vec::new();
    let mut digests = BTreeMap::new();
    for sealed in store.sealed().unwrap() {
        digests.insert(sealed.segment, sealed.digest);
        keys.extend(check(files, &store, &sealed));
    }
    for (segment, digest) in &told.sealed {
        assert_eq!(digests.get(segment), Some(digest), "{what}: segment {segment} was sealed");
    }
    let once: BTreeSet<Key> = keys.iter().cloned().collect();
    assert_eq!(keys.len(), once.len(), "{what}: an item is sealed twice");
    assert_eq!(once.len(), items().len(), "{what}: everything is sealed");
    let usage = store.usage().unwrap();
    assert_eq!(usage.open, 0, "{what}: nothing is left open");
}

/// What is sealed or held without another job.
fn there(files: &Simulated) -> BTreeSet<Key> {
    let staging = staging(files).unwrap();
    let mut keys: BTreeSet<Key> =
        staging.held().unwrap().map(|entry| entry.unwrap().item.key).collect();
    keys.extend(sealed_keys(files).unwrap());
    keys
}

fn calls_of_a_whole_run() -> u64 {
    let files = Simulated::new();
    let mut told = Told::default();
    job(&files, &mut told).unwrap();
    assert!(told.sealed.len() >= 3, "several segments: {}", told.sealed.len());
    complete(&files, &told, "untouched");
    files.calls()
}

#[test]
fn a_process_that_dies_at_any_call_fetches_nothing_again() {
    for at in 0..calls_of_a_whole_run() {
        let files = Simulated::new();
        files.fail(at, Fault::Dead);
        let mut told = Told::default();
        let _ended: Result<(), StagingError> = job(&files, &mut told);
        let files = files.after_kill();
        let there = there(&files);
        assert!(told.finished.is_subset(&there), "call {at}: {:?}", &told.finished - &there);
        complete(&files, &told, &format!("dead at call {at}"));
    }
}

#[test]
fn a_power_loss_at_any_call_loses_nothing_sealed() {
    for at in 0..calls_of_a_whole_run() {
        let files = Simulated::new();
        files.fail(at, Fault::Dead);
        let mut told = Told::default();
        let _ended: Result<(), StagingError> = job(&files, &mut told);
        for seed in 0..2 {
            let files = files.after_power_loss(at * 2 + seed);
            complete(&files, &told, &format!("power lost at call {at}, seed {seed}"));
        }
    }
}

#[test]
fn a_call_that_fails_is_named_and_costs_nothing_sealed() {
    for errno in [ENOSPC, EIO] {
        for at in 0..calls_of_a_whole_run() {
            let files = Simulated::new();
            files.fail(at, Fault::Once(errno));
            let mut told = Told::default();
            if let Err(error) = job(&files, &mut told) {
                assert!(error.to_string().contains(DIR), "call {at}: {error}");
            }
            let what = format!("error {errno} at call {at}");
            // What a sync that failed left behind is gone with the next power loss.
            let after = if errno == EIO { files.after_power_loss(at) } else { files.after_kill() };
            complete(&after, &told, &what);
        }
    }
}
