//! Bad blocks: what does not touch them comes back, a map says what does, and another copy, or all of
//! them together, give the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::Value;
use tapevault::{
    catalog::{CopyState, Query},
    emulator::Fault,
    ident::{SegmentId, Volser, VolumeId},
    job::restore::Request,
};

use crate::{
    damage::{archived, bad_spot},
    rig::{Rig, Told, on, picture},
};

const BLOCK: u64 = 256 << 10;

/// A member that lies in some blocks of a volume.
#[derive(Clone, Debug)]
struct Touched {
    key: String,
    segment: SegmentId,
    ordinal: u32,
    /// Its first block, where the segment begins.
    begin: u64,
    /// Where the data begin and end in the segment, and where that is in the item.
    data: (u64, u64),
    in_item: u64,
}

/// The members of files that touch an object of a volume.
fn touched(rig: &Rig, volume: VolumeId, object: u64) -> Vec<Touched> {
    let catalog = rig.catalog();
    let mut found = Vec::new();
    for copy in catalog.copies_on(volume).unwrap() {
        let segment = catalog.segment(copy.segment).unwrap().unwrap();
        let Some(block) = object.checked_sub(copy.object.0).filter(|n| *n < segment.blocks) else {
            continue;
        };
        let (from, to) = (block * BLOCK, (block + 1) * BLOCK);
        for entry in catalog.entries(segment.id).unwrap() {
            let (ordinal, entry) = entry.unwrap();
            let end = entry.data + entry.stored;
            if entry.digest.is_some() && entry.offset < to && end > from {
                found.push(Touched {
                    key: String::from_utf8(entry.item.key.0.clone()).unwrap(),
                    segment: segment.id,
                    ordinal,
                    begin: copy.object.0,
                    data: (entry.data, end),
                    in_item: entry.part.map_or(0, |part| part.offset),
                });
            }
        }
    }
    assert!(!found.is_empty(), "object {object} has nothing");
    found
}

/// The volume that a restore would read first.
fn first_read(rig: &Rig) -> (Volser, VolumeId) {
    let request = Request { dry_run: true, ..rig.request(Query::default(), "nowhere") };
    let (tally, told) = rig.restore(&request);
    tally.unwrap();
    let volser = told.all("restore-volume")[0]["volser"].as_str().unwrap().parse().unwrap();
    (volser, rig.catalog().volume(volser).unwrap().unwrap().id)
}

/// Three bad blocks of the volume that is read first, and what touches them.
fn three_bad_blocks(rig: &Rig) -> (Volser, VolumeId, [u64; 3], Vec<Touched>) {
    let (volser, volume) = first_read(rig);
    let begin = rig.catalog().copies_on(volume).unwrap()[0].object.0;
    let objects = [begin + 4, begin + 11, begin + 23];
    let faults: Vec<Fault> = objects.iter().map(|object| on(volser, bad_spot(*object))).collect();
    rig.set_faults(&faults);
    let hit = objects.iter().flat_map(|object| touched(rig, volume, *object)).collect();
    (volser, volume, objects, hit)
}

/// The holes that were told of one volume.
fn holes(told: &Told, volser: Volser) -> Vec<Value> {
    let mut maps = told.all("holes");
    maps.retain(|map| map["volser"] == volser.as_str());
    assert_eq!(maps.len(), 1, "{told:#?}");
    assert_eq!(maps[0]["more"], 0);
    maps[0]["holes"].as_array().unwrap().clone()
}

/// Each hole has the bytes of its block, of the segment and of the item.
fn check_places(holes: &[Value], objects: &[u64], hit: &[Touched]) {
    let number = |value: &Value| value.as_u64().unwrap();
    let mut seen = BTreeSet::new();
    for hole in holes {
        let key = hole["member"]["key"].as_str().unwrap();
        let ordinal = &hole["member"]["ordinal"];
        let object = number(&hole["object"]);
        assert!(objects.contains(&object) && hole["last_object"] == object, "{hole:#}");
        let member = hit.iter().find(|member| {
            (member.segment.to_string().as_str(), &Value::from(member.ordinal))
                == (hole["segment"].as_str().unwrap(), ordinal)
        });
        let member = member.unwrap();
        assert_eq!(member.key, key);
        let block = (object - member.begin) * BLOCK;
        let to = (block + BLOCK).min(member.data.1);
        let (from_seen, to_seen) = (number(&hole["bytes"]["from"]), number(&hole["bytes"]["to"]));
        assert!(block <= from_seen, "{hole:#}");
        if let Some(bytes) = hole["member"]["bytes"].as_object() {
            assert_eq!(to_seen, to, "{hole:#}");
            let from = block.max(member.data.0) - member.data.0 + member.in_item;
            assert_eq!(number(&bytes["from"]), from, "{hole:#}");
            assert_eq!(number(&bytes["to"]), to - member.data.0 + member.in_item, "{hole:#}");
        } else {
            assert!(to_seen <= member.data.0, "{hole:#}");
        }
        assert_eq!(hole["unread"], true);
        seen.insert((member.segment, member.ordinal));
    }
    let all: BTreeSet<_> = hit.iter().map(|member| (member.segment, member.ordinal)).collect();
    assert_eq!(seen, all, "every member that touches a hole is on the map, and no other");
}

fn keys(hit: &[Touched]) -> BTreeSet<String> {
    hit.iter().map(|member| member.key.clone()).collect()
}

#[test]
fn three_bad_blocks_cost_only_what_touches_them() {
    let rig = archived(1);
    let (volser, volume, objects, hit) = three_bad_blocks(&rig);
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(!tally.unwrap().is_clean());
    let found = holes(&told, volser);
    check_places(&found, &objects, &hit);
    assert!(found.iter().all(|hole| hole["copies"].as_array().unwrap().is_empty()), "{found:#?}");
    let lost: BTreeSet<String> = told.lost().into_iter().map(|(key, _)| key).collect();
    assert_eq!(lost, keys(&hit));
    let (before, mut after) = (picture(&rig.source), picture(&rig.path("out/files")));
    for key in lost {
        assert!(after.insert(key.clone().into_bytes(), before[key.as_bytes()].clone()).is_none());
    }
    assert_eq!(after, before);
    // The catalog knows it from now on.
    let catalog = rig.catalog();
    for copy in catalog.copies_on(volume).unwrap() {
        let bad: BTreeSet<u32> =
            catalog.bad_members(copy.segment, volume).unwrap().into_iter().collect();
        let own = hit.iter().filter(|member| member.segment == copy.segment);
        assert_eq!(bad, own.map(|member| member.ordinal).collect());
        assert_eq!(copy.state == CopyState::Bad, !bad.is_empty());
    }
}

#[test]
fn three_bad_blocks_are_made_good_by_the_second_copy() {
    // Once with the catalog that saw it written, once with one made from the cartridges alone.
    for rebuilt in [false, true] {
        let rig = archived(2);
        let (volser, _, objects, hit) = three_bad_blocks(&rig);
        if rebuilt {
            rig.rebuild();
            if first_read(&rig).0 != volser {
                // The other cartridge is nearer now, and nothing is wrong with it.
                let (tally, _) = rig.restore(&rig.request(Query::default(), "other"));
                assert!(tally.unwrap().is_clean());
                continue;
            }
        }
        let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
        assert!(tally.unwrap().findings > 0, "the bad blocks are reported");
        assert!(told.lost().is_empty(), "{told:#?}");
        assert_eq!(picture(&rig.path("out/files")), picture(&rig.source));
        let found = holes(&told, volser);
        check_places(&found, &objects, &hit);
        for hole in &found {
            let copies = hole["copies"].as_array().unwrap();
            assert_eq!(copies.len(), 1, "{hole:#}");
            assert_ne!(copies[0]["volser"], volser.as_str());
            assert_eq!(hole["came_from"], copies[0]["volser"]);
            assert!(copies[0]["barcode"].is_string() && copies[0]["place"].is_string());
            // What a snapshot told is unknown, never verified.
            assert_eq!(copies[0]["verified"].is_string(), !rebuilt, "{hole:#}");
        }
        let notices = told.all("notice");
        let says_so = |event: &&Value| {
            event["text"].to_string().contains("members are looked for on other copies: ")
        };
        assert!(notices.iter().any(says_so), "{notices:#?}");
    }
}

#[test]
fn verify_draws_the_same_map() {
    let rig = archived(2);
    let (volser, volume, objects, hit) = three_bad_blocks(&rig);
    let known = rig.catalog().volume_by_id(volume).unwrap().unwrap();
    let told = rig.verified(&known);
    let mut found = holes(&told, volser);
    // What stands between members is on it, too.
    found.retain(|hole| hole["what"] == "data" || hole["what"] == "header");
    check_places(&found, &objects, &hit);
    for hole in &found {
        assert!(hole["copies"][0]["verified"].is_string(), "{hole:#}");
        assert!(hole["came_from"].is_null());
    }
}

/// Where a file's bytes lie: segment, its first block, and the blocks that hold nothing else.
fn inner_blocks(rig: &Rig, volume: VolumeId, key: &str) -> Vec<u64> {
    let catalog = rig.catalog();
    for copy in catalog.copies_on(volume).unwrap() {
        for entry in catalog.entries(copy.segment).unwrap() {
            let (_, entry) = entry.unwrap();
            if entry.item.key.0 == key.as_bytes() {
                let first = entry.offset / BLOCK + 1;
                let behind = (entry.data + entry.stored) / BLOCK;
                return (first..behind).map(|block| copy.object.0 + block).collect();
            }
        }
    }
    panic!("{key} is not there");
}

#[test]
fn what_can_be_read_of_a_damaged_file_is_kept_beside_its_place() {
    let rig = archived(1);
    let (volser, volume) = first_read(&rig);
    let inside = inner_blocks(&rig, volume, "07")[0];
    rig.set_faults(&[on(volser, bad_spot(inside))]);
    let request = Request { salvage: true, ..rig.request(Query::default(), "out") };
    let (tally, told) = rig.restore(&request);
    assert!(!tally.unwrap().is_clean());
    assert_eq!(told.lost(), [("07".to_owned(), "damaged".to_owned())]);
    let out = rig.path("out/files");
    assert!(!out.join("07").exists(), "never under its own name");
    let salvaged = told.one("salvaged");
    assert_eq!((&salvaged["key"], &salvaged["path"]), (&"07".into(), &"files/07.damaged".into()));
    let missing = salvaged["missing"].as_array().unwrap();
    let [from, to] =
        ["from", "to"].map(|end| usize::try_from(missing[0][end].as_u64().unwrap()).unwrap());
    assert_eq!((missing.len(), to - from), (1, 256 << 10), "the one block, and no more");
    let mut expected = fs::read(rig.source.join("07")).unwrap();
    expected[from..to].fill(0);
    assert!(fs::read(out.join("07.damaged")).unwrap() == expected);
    let found = holes(&told, volser);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["more"], false, "it was read to its end");
    assert_eq!(found[0]["member"]["bytes"], missing[0]);
    // Once more: what is kept is not replaced, and all else is there.
    let (tally, told) = rig.restore(&request);
    assert!(!tally.unwrap().is_clean());
    assert_eq!(told.lost().len(), 1);
    assert!(told.all("salvaged").is_empty());
    assert!(fs::read(out.join("07.damaged")).unwrap() == expected);
    let mut after = picture(&out);
    assert!(after.remove(&b"07.damaged"[..]).is_some());
    let mut before: BTreeMap<_, _> = picture(&rig.source);
    before.remove(&b"07"[..]);
    assert_eq!(after, before);
}

#[test]
fn copies_that_are_damaged_in_different_places_are_whole_together() {
    let rig = archived(2);
    let catalog = rig.catalog();
    let mut faults = Vec::new();
    for (number, (volser, _)) in rig.first_copies().into_iter().enumerate() {
        let volume = catalog.volume(volser).unwrap().unwrap().id;
        faults.push(on(volser, bad_spot(inner_blocks(&rig, volume, "large")[3 + number])));
        faults.push(on(volser, bad_spot(inner_blocks(&rig, volume, "12")[0])));
    }
    drop(catalog);
    rig.set_faults(&faults);
    let request = rig.request(Query::default(), "without");
    let lost = rig.restore(&request).1.lost();
    assert_eq!(lost.len(), 2, "neither copy of either file is whole: {lost:?}");
    let request = Request { salvage: true, ..rig.request(Query::default(), "out") };
    let (tally, told) = rig.restore(&request);
    assert!(!tally.unwrap().is_clean());
    assert_eq!(told.lost(), [("12".to_owned(), "damaged".to_owned())], "{told:#?}");
    assert_eq!(told.one("salvaged")["path"], "files/12.damaged");
    let large = fs::read(rig.path("out/files/large")).unwrap();
    assert!(large == fs::read(rig.source.join("large")).unwrap());
}
