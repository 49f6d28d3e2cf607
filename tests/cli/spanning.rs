//! Sets over several cartridges, sets larger than staging, and items larger than a part.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
};

use serde_json::Value;

use crate::home::{Home, MIB, Plan, code, noise};

/// Volumes that hold an item.
fn volumes_of(line: &Value) -> BTreeSet<String> {
    let copies = line["copies"].as_array().unwrap();
    copies.iter().map(|copy| copy["volume"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_cartridge_of_a_set_stands_alone() {
    let cartridges =
        ["T00001L8", "T00002L8", "T00003L8", "T00004L8", "T00005L8", "T00006L8", "T00007L8"];
    let plan = Plan { cartridges: &cartridges, capacity: 12 * MIB, ..Plan::default() };
    let home = Home::new(&plan);
    home.fill(50, 700_000);
    let done = home.archive();
    let volumes = home.volumes();
    assert!(volumes.len() >= 5, "{volumes:?}");
    assert!(!done.events("volume-closed").is_empty());
    let streamed = done.events("streamed");
    assert_eq!(streamed.len(), volumes.len(), "{}", done.out);
    for told in streamed {
        assert!(
            told["bytes"].as_u64().unwrap() > 0 && told["rate"].as_u64().unwrap() > 0,
            "{told}"
        );
        assert!(told["starts"].as_u64().unwrap() >= 1 && told["held_up_by"].is_string(), "{told}");
    }
    let whole = home.find(&[]);
    assert_eq!(whole.len(), 56);
    for volume in &volumes {
        home.lose_catalog();
        home.run(&["catalog", "rebuild", &format!("{volume}L8")]).exits(0);
        let alone = home.find(&[]);
        let expected: BTreeSet<String> = whole
            .iter()
            .filter(|line| volumes_of(line).contains(volume))
            .map(|line| line["place"].to_string())
            .collect();
        let places: BTreeSet<String> = alone.iter().map(|line| line["place"].to_string()).collect();
        assert_eq!(places, expected, "{volume}");
        home.run(&["verify", volume]).exits(0);
    }
    home.lose_catalog();
    home.run(&["catalog", "rebuild"]).exits(0);
    assert_eq!(home.find(&[]), whole);
}

/// Five times what staging holds, one drive, two copies.
#[test]
fn a_set_larger_than_staging_gets_its_two_copies() {
    let plan = Plan {
        cartridges: &["T00001L8", "T00002L8", "T00003L8", "T00004L8"],
        capacity: 500 * MIB,
        copies: 2,
        ..Plan::default()
    };
    let home = Home::new(&plan);
    home.fill(100, 3_300_000);
    let done = home.archive();
    let announced = done.lines();
    let at = |name: &str| announced.iter().position(|event| event["event"] == name);
    assert!(at("swaps-expected").unwrap() < at("mounted").unwrap(), "{}", done.out);
    let found = home.find(&[]);
    // Every file is in parts.
    assert_eq!(home.keys(&[]).len(), 106);
    for line in &found {
        assert_eq!(volumes_of(line).len(), 2, "{line}");
    }
    let volumes = home.volumes();
    let volumes: Vec<&str> = volumes.iter().map(String::as_str).collect();
    home.run(&[&["verify"], &volumes[..]].concat()).exits(0);
}

/// Writes the tape files of a cartridge as `0.tar`, `1.tar`, and so on.
fn export_tape(tape: &Path, into: &Path) {
    let bytes = fs::read(tape).unwrap();
    let (mut at, mut number, mut file) = (0, 0, Vec::new());
    while let Some(length) = bytes.get(at..at + 4) {
        let length = usize::try_from(u32::from_le_bytes(length.try_into().unwrap())).unwrap();
        if length == 0 {
            if !file.is_empty() {
                fs::write(into.join(format!("{number}.tar")), &file).unwrap();
            }
            (file, number, at) = (Vec::new(), number + 1, at + 4);
        } else if length == 0xffff_ffff {
            break;
        } else {
            file.extend_from_slice(&bytes[at + 4..at + 4 + length]);
            at += 8 + length.next_multiple_of(2);
        }
    }
}

/// A sparse file with more data than a part takes: its job is killed between its parts, it comes
/// back with its holes, and stock programs put it together, too.
#[test]
fn a_sparse_file_in_parts_comes_back_with_its_holes() {
    let home = Home::new(&Plan::default());
    let path = home.source().join("disk image");
    let file = File::create(&path).unwrap();
    let size = 240 * MIB + 12_345;
    file.set_len(size).unwrap();
    for (seed, at, length) in
        [(1, 5 * MIB + 777, 3 * MIB), (2, 100 * MIB, 4 * MIB), (3, 200 * MIB - 9, 5000)]
    {
        let bytes = noise(usize::try_from(length).unwrap(), seed);
        file.write_all_at(&bytes, at).unwrap();
    }
    file.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
    let on_disk = file.metadata().unwrap().blocks() * 512;
    assert!(on_disk < 10 * MIB, "the temporary folder has sparse files");
    let crash = home.run_with(("TAPEVAULT_CRASH_AT", "export.recorded:1"), &["archive", "job"]);
    assert_eq!(crash.code, None, "{}", crash.err);
    let done = home.archive();
    let planned = &done.events("planned")[0];
    assert!(planned["wanted_bytes"].as_u64().unwrap() < size - 3 * MIB, "{planned}");
    let parts = home.find(&["disk image"]);
    assert!((8..12).contains(&parts.len()), "{parts:?}");

    let same = |found: &Path| {
        let metadata = fs::metadata(found).unwrap();
        assert_eq!((metadata.len(), metadata.mode() & 0o777), (size, 0o640));
        assert!(metadata.blocks() * 512 < on_disk + MIB, "{} has lost its holes", found.display());
        let compared = Command::new("cmp").arg(&path).arg(found).output().unwrap();
        assert!(compared.status.success(), "{compared:?}");
    };
    home.run(&["restore", "disk image", "--to", "back"]).exits(0);
    same(&home.path("back/files/disk image"));
    home.run(&["verify", "T00001"]).exits(0);

    let (volume, into) = (home.path("volume"), home.path("into"));
    fs::create_dir(&volume).unwrap();
    export_tape(&home.emulator().tape(code("T00001L8")), &volume);
    let script = home.path("recover.sh");
    fs::write(&script, tapevault::volume::label::RECOVER).unwrap();
    let recover = |shell: &[&str], arguments: &[&Path]| {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(&script).args(arguments);
        let output = command.output().unwrap();
        let words = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&words));
    };
    recover(&["sh"], &["-f".as_ref(), &volume, "extract".as_ref(), &into]);
    for shell in [&["dash"][..], &["busybox", "sh"], &["bash", "--posix"]] {
        let joined = into.join("session-1/files/disk image");
        recover(shell, &["join".as_ref(), &into]);
        same(&joined);
        fs::remove_file(joined).unwrap();
    }
    // A part that lies elsewhere is found there, and one that is nowhere is missed.
    let part = |number: usize| {
        let of = parts.len();
        format!("files/disk image.part-{number:05}-of-{of:05}")
    };
    fs::create_dir_all(into.join("session-2/files")).unwrap();
    let moved = into.join("session-2").join(part(2));
    fs::rename(into.join("session-1").join(part(2)), &moved).unwrap();
    recover(&["dash"], &["join".as_ref(), &into]);
    let joined = into.join("session-1/files/disk image");
    same(&joined);
    fs::remove_file(&joined).unwrap();
    fs::remove_file(moved).unwrap();
    let output = Command::new("dash").arg(&script).arg("join").arg(&into).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("part 2 of") && !joined.exists(), "{said}");
}

/// A home whose staged segments stay until they are verified.
fn home_that_waits() -> Home {
    let home = Home::new(&Plan { cartridges: &["T00001L8", "T00002L8"], ..Plan::default() });
    let config = fs::read_to_string(home.path("tapevault.toml")).unwrap();
    home.configure(&config.replace("segment =", "free = \"verified\"\nsegment ="));
    home
}

fn staged(home: &Home) -> usize {
    let found = fs::read_dir(home.path("staging/sealed")).unwrap().flatten();
    found.filter(|found| found.path().extension() == Some("seg".as_ref())).count()
}

#[test]
fn what_proves_bad_is_written_again_from_staging() {
    let home = home_that_waits();
    home.fill(12, 700_000);
    let killed = home.run_with(("TAPEVAULT_CRASH_AT", "index.committed"), &["archive", "job"]);
    assert_eq!(killed.code, None, "{}", killed.err);
    assert!(staged(&home) > 1, "on tape, and not verified yet");
    // A byte of one file goes bad on the tape.
    let content = noise(700_000, 5);
    let tape = home.emulator().tape(code("T00001L8"));
    let bytes = fs::read(&tape).unwrap();
    let at = bytes.windows(64).position(|window| window == &content[1000..1064]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&tape).unwrap();
    file.write_all_at(&[!bytes[at]], at as u64).unwrap();
    let bad = home.run(&["--json", "archive", "job"]).exits(1);
    assert_eq!(bad.events("planned")[0]["wanted"], 0, "{}", bad.out);
    assert_eq!(staged(&home), 1, "only the bad one stays");
    let again = home.archive();
    assert_eq!(again.events("planned")[0]["wanted"], 0, "{}", again.out);
    assert_eq!(staged(&home), 0);
    home.run(&["restore", "--to", "back"]).exits(0);
    let back = fs::read(home.path("back/files/folder/file004")).unwrap();
    assert!(back == content);
}

/// More than staging holds, although nothing leaves it unverified.
#[test]
fn a_set_larger_than_staging_is_verified_in_between() {
    let home = home_that_waits();
    home.fill(24, 3_300_000);
    let done = home.archive();
    assert!(done.events("ejected").len() > 1, "{}", done.out);
    assert!(done.events("volume-closed").is_empty(), "{}", done.out);
    assert_eq!((home.keys(&[]).len(), staged(&home)), (30, 0));
}
