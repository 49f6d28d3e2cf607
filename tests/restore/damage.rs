//! Cartridges that cannot be read, do not agree, or are not there.

use std::fs;

use tapevault::{
    catalog::{CopyState, Query},
    clock::{Clock, SystemClock},
    emulator::{CommandKind, Effect, Fault},
    job::{JobError, archive::Half},
    media::Status,
};

use crate::rig::{Rig, noise, on, picture, take_from_mail_slot};

/// Thirty files of 700,000 bytes and a larger one, on so many volumes.
pub(crate) fn archived(copies: u8) -> Rig {
    let rig = Rig::new(copies);
    for number in 0..30 {
        let name = format!("{number:02}");
        fs::write(rig.source.join(&name), noise(&name, 700_000)).unwrap();
    }
    // In three parts.
    fs::write(rig.source.join("large"), noise("large", 11_000_001)).unwrap();
    rig.archive(Half::Both);
    rig
}

pub(crate) fn bad_spot(object: u64) -> Fault {
    Fault::always(Effect::MediumError).at(CommandKind::Read).before_object(object)
}

fn flipped(object: u64) -> Fault {
    Fault::always(Effect::FlipBit(8 * 100_000)).at(CommandKind::Read).before_object(object)
}

#[test]
fn another_copy_serves() {
    let rig = archived(2);
    let copies = rig.first_copies();
    assert_eq!(copies.len(), 2);
    for (to, fault) in [("flipped", flipped as fn(u64) -> Fault), ("medium error", bad_spot)] {
        let faults: Vec<Fault> =
            copies.iter().take(1).map(|(volser, object)| on(*volser, fault(object + 3))).collect();
        // The volume that is read is whichever is nearer: both get a bad spot, at different places.
        let other = on(copies[1].0, fault(copies[1].1 + 20));
        rig.set_faults(&[faults, vec![other]].concat());
        let (tally, told) = rig.restore(&rig.request(Query::default(), to));
        let tally = tally.unwrap();
        assert!(tally.findings > 0, "the bad spot is reported");
        assert!(told.lost().is_empty(), "{told:#?}");
        assert!(!told.all("volume-finding").is_empty());
        assert_eq!(told.all("mounted").len(), 2);
        assert_eq!(picture(&rig.path(to).join("files")), picture(&rig.source));
    }
    let events = rig.catalog().events(Default::default(), 10_000).unwrap();
    assert!(events.iter().any(|event| event.what == "restore.unreadable"));
}

#[test]
fn a_disturbed_drive_is_asked_again() {
    let rig = archived(1);
    let [(volser, object)] = rig.first_copies()[..] else { panic!("one copy") };
    let reset = Fault::once(Effect::Reset(0)).at(CommandKind::Read).before_object(object + 5);
    rig.set_faults(&[on(volser, reset)]);
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(tally.unwrap().is_clean(), "{told:#?}");
    assert_eq!(told.all("mounted").len(), 2, "the cartridge is identified again");
    assert_eq!(picture(&rig.path("out/files")), picture(&rig.source));
}

#[test]
fn a_drive_that_fails_ends_the_restore_and_leaves_no_halves() {
    let rig = archived(1);
    let [(volser, object)] = rig.first_copies()[..] else { panic!("one copy") };
    let broken = Effect::Sense(4, 0x44, 0);
    let broken = Fault::always(broken).at(CommandKind::Read).before_object(object + 30);
    rig.set_faults(&[on(volser, broken)]);
    let (tally, _) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(matches!(tally, Err(JobError::Drive { .. })), "{tally:?}");
    let (before, after) = (picture(&rig.source), picture(&rig.path("out/files")));
    assert!(after.len() > 3 && after.len() < before.len());
    for (name, words) in after.iter().filter(|(name, _)| !name.is_empty()) {
        assert_eq!(before.get(name), Some(words));
    }
    // When the drive is mended, the same command brings the rest.
    rig.set_faults(&[]);
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(tally.unwrap().is_clean(), "{told:#?}");
    assert_eq!(told.one("restore-ended")["already"], after.len() as u64);
    assert_eq!(picture(&rig.path("out/files")), before);
}

#[test]
fn a_set_on_two_volumes_takes_each_once() {
    let rig = archived(1);
    let [(volser, _)] = rig.first_copies()[..] else { panic!("one copy") };
    let catalog = rig.catalog();
    let event = tapevault::catalog::Event {
        when: SystemClock::new().now(),
        what: "volume.retired".into(),
        volume: None,
        detail: serde_json::Value::Null,
    };
    let id = catalog.volume(volser).unwrap().unwrap().id;
    catalog.update_volume(id, &event, |volume| volume.status = Status::Retired).unwrap();
    for number in 0..5 {
        fs::write(rig.source.join(format!("new {number}")), noise("new", 300_000)).unwrap();
    }
    rig.archive(Half::Both);
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(tally.unwrap().is_clean(), "{told:#?}");
    assert_eq!(told.one("restore-planned")["volumes"], 2);
    assert_eq!(told.all("mounted").len(), 2);
    assert_eq!(picture(&rig.path("out/files")), picture(&rig.source));
}

#[test]
fn parts_come_from_whichever_copy_gives_them() {
    let rig = archived(2);
    let copies = rig.first_copies();
    // Of the large file each copy lacks another part; the segments lie alike on both volumes.
    let catalog = rig.catalog();
    let mut parts = Vec::new();
    let find = |hit: tapevault::catalog::Hit| {
        if hit.entry.part.is_some() {
            parts.push(hit);
        }
        std::ops::ControlFlow::Continue(())
    };
    let mut find = find;
    catalog.find(&Query::default(), &mut find).unwrap();
    assert_eq!(parts.len(), 3);
    let mut faults = Vec::new();
    for ((volser, _), hit) in copies.iter().zip(&parts) {
        let volume = catalog.volume(*volser).unwrap().unwrap().id;
        let on_volume = catalog.copies(hit.place.segment).unwrap();
        let copy = on_volume.iter().find(|copy| copy.volume == volume).unwrap();
        let block = (hit.entry.data + hit.entry.stored / 2) / (256 << 10);
        faults.push(on(*volser, bad_spot(copy.object.0 + block)));
    }
    rig.set_faults(&faults);
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(tally.unwrap().findings > 0);
    assert!(told.lost().is_empty(), "{told:#?}");
    assert_eq!(picture(&rig.path("out/files")), picture(&rig.source));
}

#[test]
fn what_no_copy_gives_is_reported_and_the_rest_comes_back() {
    let rig = archived(1);
    let [(volser, object)] = rig.first_copies()[..] else { panic!("one copy") };
    rig.set_faults(&[on(volser, bad_spot(object + 3)), on(volser, flipped(object + 9))]);
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(!tally.unwrap().is_clean());
    let lost = told.lost();
    assert!((2..=4).contains(&lost.len()), "{lost:?}");
    assert!(lost.iter().all(|(_, why)| why == "damaged"), "{lost:?}");
    let (before, mut after) = (picture(&rig.source), picture(&rig.path("out/files")));
    for (key, _) in &lost {
        assert!(after.insert(key.clone().into_bytes(), before[key.as_bytes()].clone()).is_none());
    }
    assert_eq!(after, before);
}

#[test]
fn members_known_as_bad_are_read_elsewhere() {
    let rig = archived(2);
    let catalog = rig.catalog();
    let segment = catalog.segments().unwrap()[0].id;
    for copy in catalog.copies(segment).unwrap().iter().take(1) {
        catalog.set_copy_state(segment, copy.volume, (CopyState::Bad, copy.since)).unwrap();
    }
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(tally.unwrap().is_clean());
    // The good copy holds all that is wanted, so the other is not even asked for.
    assert_eq!(told.one("restore-planned")["volumes"], 1);
    assert_eq!(picture(&rig.path("out/files")), picture(&rig.source));
}

#[test]
fn one_cartridge_that_nobody_brings_and_another_that_is_there() {
    let rig = archived(2);
    let taken = take_from_mail_slot(&rig);
    // The catalog does not know: it was taken behind its back.
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(tally.unwrap().is_clean(), "{told:#?}");
    let mounted: Vec<_> = told.all("mounted").iter().map(|event| event["volser"].clone()).collect();
    assert_eq!(mounted.len(), 1);
    assert_ne!(mounted[0], taken.volser().as_str());
    assert_eq!(picture(&rig.path("out/files")), picture(&rig.source));
}

#[test]
fn a_cartridge_that_nobody_brings() {
    let rig = archived(1);
    take_from_mail_slot(&rig);
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    let error = tally.unwrap_err();
    assert!(matches!(error, JobError::Operator { .. }), "{error:?}");
    assert!(error.to_string().contains("TST00"), "{error}");
    assert_eq!(told.lost().len(), 31);
    // Nothing is left lying about.
    assert_eq!(fs::read_dir(rig.path("out/files")).unwrap().count(), 0);
}
