//! What a bucket holds and a directory cannot: hostile keys, versions, delete markers.

use std::{collections::BTreeMap, fs, sync::Arc};

use serde_json::Value;
use tapevault::{
    cancel::Cancel,
    catalog::{Catalog, Mode, Query, Segment},
    clock::{Clock, SystemClock, Timestamp},
    ident::{SetId, SourceName},
    item::{Item, Key, Kind, Place, Token, Version},
    job::{
        archive::Half,
        restore::{Request, Selection},
    },
    staging::{Settings, Staging, World, files::Disk},
    unit::ByteCount,
    volume::run::Row,
};

use crate::rig::Rig;

fn object(key: &str, version: &str, latest: bool) -> Item {
    let content = content(key, version);
    Item {
        key: Key::from(key),
        version: Version(version.into()),
        size: content.len() as u64,
        modified: Timestamp::from_parts(1_700_000_000, 5),
        latest,
        token: Token(1),
        ..Item::default()
    }
}

fn content(key: &str, version: &str) -> Vec<u8> {
    format!("content of {key:?} {version}").into_bytes()
}

/// Stages items as an export of source `bucket` would, with a complete run, in which items of
/// `missing` were listed and could not be fetched; or without a run.
fn stage(rig: &Rig, items: &[Item], missing: Option<&[Item]>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let source: SourceName = "bucket".parse().unwrap();
    let dir = &rig.settings.staging.dir;
    let settings = Settings::new(dir, ByteCount(2 << 30), None, 256 << 10);
    let world = World { files: Arc::new(Disk), clock: Arc::clone(&clock), cancel: Cancel::new() };
    let (staging, _) = Staging::open(settings, SetId::new(), world).unwrap();
    let started = clock.now();
    let mut failing = Vec::new();
    for item in items {
        if item.key.0.starts_with(b"fails") {
            // Its place in the segment stays empty.
            failing.push(staging.claim(&source, item.clone(), None).unwrap());
            continue;
        }
        let bytes = if item.kind == Kind::DeleteMarker {
            Vec::new()
        } else {
            content(std::str::from_utf8(&item.key.0).unwrap(), &item.version.0)
        };
        staging.put(&source, item.clone(), &bytes).unwrap();
    }
    drop(failing);
    staging.seal_all().unwrap();
    let catalog =
        Catalog::create(&rig.settings.catalog.path, Mode::Rehearsal, &SystemClock::new()).unwrap();
    let mut rows = Vec::new();
    for sealed in staging.sealed().unwrap() {
        let entries: Vec<_> =
            staging.manifest(sealed.segment).unwrap().map(Result::unwrap).collect();
        for (entry, ordinal) in entries.iter().zip(0..) {
            let places = vec![Place { segment: sealed.segment, ordinal }];
            rows.push(row(&entry.item, places));
        }
        let segment = Segment {
            id: sealed.segment,
            set: sealed.set,
            created: sealed.created,
            bytes: sealed.bytes,
            blocks: sealed.blocks,
            block_size: sealed.block_size,
            digest: sealed.digest,
            manifest_offset: sealed.manifest_offset,
            manifest_bytes: sealed.manifest_bytes,
            manifest_digest: sealed.manifest_digest,
            members: sealed.members,
            staged: true,
        };
        catalog.add_segment(&segment, &mut entries.into_iter()).unwrap();
    }
    let Some(missing) = missing else { return };
    rows.extend(missing.iter().map(|item| row(item, Vec::new())));
    rows.sort_by(|a, b| (&a.key, &a.version).cmp(&(&b.key, &b.version)));
    let run = catalog.begin_run(&source, started).unwrap();
    catalog.push_rows(run, &mut rows.into_iter()).unwrap();
    catalog.finish_run(run, (clock.now(), true)).unwrap();
}

fn row(item: &Item, places: Vec<Place>) -> Row {
    Row {
        key: item.key.clone(),
        version: item.version.clone(),
        token: item.token,
        latest: item.latest,
        delete_marker: item.kind == Kind::DeleteMarker,
        places,
    }
}

/// What `restored.jsonl` says: the path of each key and version.
fn records(rig: &Rig, to: &str) -> BTreeMap<(String, String), String> {
    let Ok(text) = fs::read_to_string(rig.path(to).join("restored.jsonl")) else {
        return BTreeMap::new();
    };
    text.lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            ((word("key"), word("version")), word("path"))
        })
        .collect()
}

#[test]
fn hostile_keys_come_back_and_the_records_say_where() {
    let rig = Rig::new(1);
    let long = "k".repeat(1024);
    let keys = [
        ".",
        "..",
        "../up",
        "a//b",
        "/a",
        "a",
        "a/",
        "a/b",
        "x\ny",
        "\u{1}\u{7f}",
        "\u{fffd}",
        &long,
        "Case",
        "case",
        "restored.jsonl",
        "plain",
    ];
    let items: Vec<Item> = keys.iter().map(|key| object(key, "v1", true)).collect();
    stage(&rig, &items, Some(&[object("never", "v1", true)]));
    rig.archive(Half::Write);
    for to in ["out", "rebuilt"] {
        if to == "rebuilt" {
            rig.rebuild();
        }
        let (tally, told) = rig.restore(&rig.request(Query::default(), to));
        assert!(!tally.unwrap().is_clean(), "one item was never archived");
        assert_eq!(told.lost(), [("never".into(), "never-archived".into())], "{told:#?}");
        let records = records(&rig, to);
        for key in keys {
            let own = format!("bucket/{key}");
            let path = records.get(&(key.into(), "v1".into())).unwrap_or(&own);
            let found = fs::read(rig.path(to).join(path));
            assert_eq!(found.unwrap(), content(key, "v1"), "{key:?} at {path:?}");
        }
        assert!(!records.contains_key(&("plain".into(), "v1".into())));
        assert!(records.contains_key(&("..".into(), "v1".into())));
    }
}

#[test]
fn versions_stand_beside_the_latest() {
    let rig = Rig::new(1);
    let marker = Item { kind: Kind::DeleteMarker, size: 0, ..object("gone", "m1", true) };
    let between = Item { kind: Kind::DeleteMarker, size: 0, ..object("k", "v2m", false) };
    let items = [
        object("k", "v1", false),
        between,
        object("k", "v2", false),
        object("k", "v3", true),
        object("gone", "v0", false),
        marker,
    ];
    stage(&rig, &items, Some(&[]));
    rig.archive(Half::Write);
    for to in ["out", "rebuilt"] {
        if to == "rebuilt" {
            rig.rebuild();
        }
        let latest = format!("{to} latest");
        let (tally, told) = rig.restore(&rig.request(Query::default(), &latest));
        assert!(tally.unwrap().is_clean(), "{told:#?}");
        let folder = rig.path(&latest).join("bucket");
        assert_eq!(fs::read(folder.join("k")).unwrap(), content("k", "v3"));
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);

        let query = Box::new(Query::default());
        let selection = Selection::Query { query, all_versions: true };
        let request = Request { selection, ..rig.request(Query::default(), to) };
        let (tally, told) = rig.restore(&request);
        assert!(tally.unwrap().is_clean(), "{told:#?}");
        let records = records(&rig, to);
        for (key, version, path) in [
            ("k", "v1", "bucket/k@versions/v1"),
            ("k", "v2", "bucket/k@versions/v2"),
            ("gone", "v0", "bucket/gone@versions/v0"),
        ] {
            assert_eq!(records[&(key.to_owned(), version.to_owned())], path);
            assert_eq!(fs::read(rig.path(to).join(path)).unwrap(), content(key, version));
        }
        assert_eq!(fs::read(rig.path(to).join("bucket/k")).unwrap(), content("k", "v3"));
    }
}

/// A gap that an item left which could not be fetched is filled, and the filler is under digests.
#[test]
fn a_filler_between_members_is_no_member() {
    let rig = Rig::new(1);
    let fails = Item { size: 300_000, ..object("fails", "v1", true) };
    let items = [object("a", "v1", true), fails, object("b", "v1", true)];
    stage(&rig, &items, Some(&[]));
    rig.archive(Half::Write);
    let (volser, _) = rig.first_copies()[0];
    let volume = rig.catalog().volume(volser).unwrap().unwrap();
    assert_eq!(rig.verify(&volume), [""; 0]);
    let tape = rig.library.tape(format!("{volser}L8").parse().unwrap());
    let mut bytes = fs::read(&tape).unwrap();
    let comment = b" comment=        ";
    let place = bytes.windows(comment.len()).position(|window| window == comment).unwrap();
    bytes[place + 200_000] ^= 1;
    fs::write(&tape, bytes).unwrap();
    let found = rig.verify(&volume);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("the filler between members disagrees"), "{found:?}");
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(tally.unwrap().is_clean(), "no member is hit: {told:#?}");
    for key in ["a", "b"] {
        assert_eq!(fs::read(rig.path("out/bucket").join(key)).unwrap(), content(key, "v1"));
    }
}

#[test]
fn without_a_complete_run_the_newest_states_come_back() {
    let rig = Rig::new(1);
    let marker = Item { kind: Kind::DeleteMarker, size: 0, ..object("gone", "m1", true) };
    let items = [
        object("k", "v1", false),
        object("k", "v2", true),
        object("gone", "v0", false),
        marker,
        object("plain", "", true),
    ];
    stage(&rig, &items, None);
    rig.archive(Half::Write);
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(tally.unwrap().is_clean(), "{told:#?}");
    let notices = format!("{:?}", told.all("notice"));
    assert!(notices.contains("no run was completed yet"), "{notices}");
    assert_eq!(fs::read(rig.path("out/bucket/k")).unwrap(), content("k", "v2"));
    assert_eq!(fs::read(rig.path("out/bucket/plain")).unwrap(), content("plain", ""));
    assert!(!rig.path("out/bucket/gone").exists());
    // At a date nothing can be said.
    let as_of = Some(SystemClock::new().now());
    let (tally, _) = rig.restore(&rig.request(Query { as_of, ..Query::default() }, "dated"));
    assert!(tally.is_err());
}

#[test]
fn what_is_staged_only_needs_no_drive() {
    let rig = Rig::new(1);
    stage(&rig, &[object("k", "v1", true)], Some(&[]));
    // No drive at all: nothing may ask for one.
    fs::remove_dir_all(rig.library.dir()).unwrap();
    let request = rig.request(Query::default(), "out");
    let (tally, told) = rig.restore(&Request { dry_run: true, ..request.clone() });
    assert!(tally.unwrap().is_clean(), "{told:#?}");
    assert_eq!(told.one("restore-staged")["members"], 1);
    let (tally, told) = rig.restore(&request);
    assert!(tally.unwrap().is_clean(), "{told:#?}");
    assert_eq!(fs::read(rig.path("out/bucket/k")).unwrap(), content("k", "v1"));
    // Taken from staging, and on no volume.
    fs::remove_dir_all(rig.settings.staging.dir.join("sealed")).unwrap();
    let (tally, told) = rig.restore(&Request { dry_run: true, ..request });
    assert!(!tally.unwrap().is_clean());
    assert_eq!(told.lost(), [("k".into(), "staged".into())]);
}
