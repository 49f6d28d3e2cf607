//! What stands in staging is read there, under the same digests, and no cartridge is asked for.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use tapevault::{
    catalog::Query,
    clock::{Clock, SystemClock},
    drive::{Drive, Holding},
    emulator,
    job::{JobError, archive::Half},
};

use crate::rig::{Rig, noise, picture};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Files, some in parts, on tape and, as after a crash before it was freed, in staging.
fn on_tape_and_staged() -> Rig {
    let rig = Rig::new(1);
    for number in 0..40 {
        let name = format!("{number:02}");
        fs::write(rig.source.join(&name), noise(&name, 700_000)).unwrap();
    }
    fs::write(rig.source.join("large"), noise("large", 11_000_001)).unwrap();
    rig.archive(Half::Export);
    let sealed = rig.settings.staging.dir.join("sealed");
    copy(&sealed, &rig.path("kept"));
    rig.archive(Half::Write);
    copy(&rig.path("kept"), &sealed);
    rig
}

/// The files of sealed segments.
fn segments(rig: &Rig) -> Vec<std::path::PathBuf> {
    let dir = rig.settings.staging.dir.join("sealed");
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().unwrap() == "seg").collect();
    paths.sort();
    paths
}

#[test]
fn staging_serves_before_any_cartridge() {
    let rig = on_tape_and_staged();
    assert!(segments(&rig).len() > 1);
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(tally.unwrap().is_clean(), "{told:#?}");
    assert_eq!(picture(&rig.path("out/files")), picture(&rig.source));
    assert!(told.all("mounted").is_empty());
    assert_eq!(told.one("restore-planned")["volumes"], 0);
    assert_eq!(told.one("restore-staged")["segments"], segments(&rig).len() as u64);
    let ended = told.one("restore-ended");
    assert_eq!(ended["read_bytes"], 0);
    assert!(ended["staged_bytes"].as_u64().unwrap() > 39_000_000);
}

#[test]
fn what_staging_does_not_give_comes_from_tape() {
    let rig = on_tape_and_staged();
    let segments = segments(&rig);
    // One byte differs, one segment has gone, one has another length.
    let file = File::options().write(true).open(&segments[0]).unwrap();
    file.write_all_at(b"\xff\xfe\xfd\xfc", 1_500_000).unwrap();
    fs::remove_file(&segments[1]).unwrap();
    File::options().write(true).open(&segments[2]).unwrap().set_len(1 << 20).unwrap();
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(!tally.unwrap().is_clean(), "staging is not what it was: {told:#?}");
    assert!(told.lost().is_empty(), "{told:#?}");
    assert_eq!(picture(&rig.path("out/files")), picture(&rig.source));
    let notices = format!("{:?}", told.all("notice"));
    assert!(notices.contains("staging: files: ") && notices.contains("digest"), "{notices}");
    let ended = told.one("restore-ended");
    assert!(ended["staged_bytes"].as_u64().unwrap() > 10_000_000);
    assert!(ended["read_bytes"].as_u64().unwrap() > 10_000_000);
}

#[test]
fn without_a_drive_staging_still_serves() {
    let rig = on_tape_and_staged();
    fs::remove_file(&segments(&rig)[0]).unwrap();
    fs::remove_dir_all(rig.library.dir()).unwrap();
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(matches!(tally, Err(JobError::Rig(_))), "{tally:?}");
    let lost = told.lost();
    assert!((1..40).contains(&lost.len()), "{lost:?}");
    assert!(lost.iter().all(|(_, why)| why == "no-volume"), "{lost:?}");
    let (before, mut after) = (picture(&rig.source), picture(&rig.path("out/files")));
    for (key, _) in &lost {
        assert!(after.insert(key.clone().into_bytes(), before[key.as_bytes()].clone()).is_none());
    }
    assert_eq!(after, before);
}

#[test]
fn the_drive_is_free_afterwards() {
    let rig = Rig::new(1);
    fs::write(rig.source.join("file"), b"content").unwrap();
    rig.archive(Half::Both);
    assert!(rig.restore(&rig.request(Query::default(), "out")).0.unwrap().is_clean());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut transport = emulator::drive(rig.library.dir(), 0).unwrap();
    // Another host.
    transport.speak_as(7);
    let mut drive = Drive::open(Box::new(transport), clock).unwrap();
    assert_eq!(drive.reserve(0x5eed).unwrap(), Holding::Held);
}
