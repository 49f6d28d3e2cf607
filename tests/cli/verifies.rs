//! Volumes that are not what the catalog says, read back by the program: each finding is named, and
//! the exit code says that there are some.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use serde_json::Value;
use tapevault::{
    clock::SystemClock,
    drive::{Drive, Filemark, Preparation},
    emulator::{self, Cartridge, Generation, Library, LibraryPlan, Settings},
    keys::DataKey,
    transport::LastAct,
    unit::ByteCount,
    volume::label,
};

use crate::home::{Done, Home, Plan, code, noise};

const BARCODE: &str = "T00001L8";

/// Where `content` stands on the cartridge, in bytes of its file.
fn places(home: &Home, content: &[u8]) -> Vec<u64> {
    let bytes = fs::read(home.emulator().tape(code(BARCODE))).unwrap();
    let windows = bytes.windows(content.len()).zip(0..);
    windows.filter(|(window, _)| *window == content).map(|(_, at)| at).collect()
}

/// Flips a byte of a cartridge.
fn flip(home: &Home, at: u64) {
    let path = home.emulator().tape(code(BARCODE));
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut one = [0];
    file.read_exact_at(&mut one, at).unwrap();
    file.write_all_at(&[!one[0]], at).unwrap();
}

/// Reads the first cartridge back: the findings, in words.
#[track_caller]
fn findings(home: &Home, exit: i32) -> Vec<String> {
    let done = home.run(&["--json", "verify", "T00001"]).exits(exit);
    let found: Vec<String> = done
        .events("volume-finding")
        .iter()
        .map(|event| event["what"].as_str().unwrap().to_owned())
        .collect();
    let verified = &done.events("verified")[0];
    assert_eq!(verified["findings"], found.len() as u64, "{}", done.out);
    assert_eq!(found.is_empty(), exit == 0);
    // In words, on a terminal's side, they are the same.
    let words = home.run(&["verify", "T00001"]).exits(exit);
    for what in &found {
        assert!(words.err.contains(&format!("T00001: {what}")), "{}", words.err);
    }
    found
}

/// A home with two sessions on one cartridge, and catalog and cartridge as they were in between.
fn two_sessions() -> Home {
    let home = Home::new(&Plan::default());
    home.fill(4, 700_000);
    home.archive();
    home.back_up_catalog();
    let tape = home.emulator().tape(code(BARCODE));
    fs::copy(&tape, home.path("shorter.tap")).unwrap();
    fs::write(home.source().join("later"), noise(900_000, 77)).unwrap();
    home.archive();
    home
}

/// What restoring says of items that do not come back.
fn lost(done: &Done) -> Vec<(String, String)> {
    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    let lost = done.events("not-restored");
    lost.iter().map(|event| (text(event, "key"), text(event, "why"))).collect()
}

#[test]
fn a_tape_that_is_shorter_than_the_catalog_says() {
    let home = two_sessions();
    let before = home.find(&["later"]);
    fs::copy(home.path("shorter.tap"), home.emulator().tape(code(BARCODE))).unwrap();
    let found = findings(&home, 1);
    assert!(found.iter().any(|what| what.contains("cannot be reached")), "{found:?}");
    let listed = home.run(&["media", "show", "T00001"]).exits(0).out;
    assert!(listed.contains("bad") && listed.contains("verified"), "{listed}");
    // What is lost is found, and said to be so.
    let place = before[0]["place"].as_str().unwrap();
    let segment = place.split(':').next().unwrap();
    assert!(found.iter().any(|what| what.contains(segment)), "{segment} is named: {found:?}");
    let done = home.run(&["--json", "restore", "--to", "back"]).exits(1);
    assert_eq!(lost(&done), [("later".to_owned(), "damaged".to_owned())]);
    assert_eq!(done.events("restore-ended")[0]["restored"], home.keys(&[]).len() as u64 - 1);
}

#[test]
fn a_tape_that_is_longer_than_the_catalog_says() {
    let home = two_sessions();
    home.restore_catalog();
    let found = findings(&home, 1);
    assert_eq!(found.len(), 1, "what is there is good: {found:?}");
    assert!(found[0].contains("where the catalog says that it ends"), "{found:?}");
    let listed = home.run(&["media", "show", "T00001"]).exits(0).out;
    assert!(!listed.contains("bad"), "{listed}");
    // What the catalog does not know is read all the same.
    flip(&home, places(&home, &noise(900_000, 77)[..64])[0] + 100_000);
    let found = findings(&home, 1);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].contains("the data of later of files"), "{found:?}");
}

#[test]
fn a_part_of_an_item_is_named_and_the_rest_is_good() {
    let home = Home::new(&Plan::default());
    home.fill(1, 100);
    let large = noise(3_500_000, 5);
    fs::write(home.source().join("large"), &large).unwrap();
    home.archive();
    assert!(findings(&home, 0).is_empty());
    let at = (2 << 20) + 5000;
    flip(&home, places(&home, &large[at..at + 64])[0]);
    let found = findings(&home, 1);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("the data of large of files, part 3 of 4"), "{found:?}");
    let done = home.run(&["--json", "restore", "--to", "back"]).exits(1);
    assert_eq!(lost(&done), [("large".to_owned(), "damaged".to_owned())]);
    assert!(!home.path("back/files/large").exists(), "nothing half");
    // The whole is fetched again, and comes back from where it is good.
    home.archive();
    home.run(&["restore", "--to", "back"]).exits(0);
    assert!(fs::read(home.path("back/files/large")).unwrap() == large);
}

#[test]
fn a_cartridge_that_nobody_brings_keeps_no_other_from_being_read() {
    let home = Home::new(&Plan { copies: 2, ..Plan::default() });
    home.fill(2, 700_000);
    home.archive();
    let library = home.emulator();
    let elements = library.elements().unwrap();
    let mail = elements.iter().find(|one| one.kind == emulator::ElementKind::MailSlot).unwrap();
    let taken = library.take(mail.address).unwrap().volser().to_string();
    let other = home.volumes().into_iter().find(|volser| *volser != taken).unwrap();
    let done = home.run(&["--json", "verify", &taken, &other]).exits(3);
    assert_eq!(done.events("verified")[0]["volser"], *other);
    assert_eq!(done.events("volume-finding")[0]["volser"], *taken);
    home.run(&["verify", &taken, &other]).complains(3, &[&taken, "0 findings"]);
}

/// A home whose library has two drives.
fn two_drives() -> Home {
    let home = Home::new(&Plan::default());
    let plan = LibraryPlan {
        drives: 2,
        slots: 4,
        mail_slots: 1,
        generation: Generation::Lto8,
        settings: Settings::default(),
    };
    let library = Library::create(&home.path("two"), &plan).unwrap();
    library.add_cartridge(code(BARCODE), Generation::Lto8, 200 << 20).unwrap();
    let config = fs::read_to_string(home.path("tapevault.toml")).unwrap();
    let one = "[drives.drive]\ndevice = \"emulated:0\"";
    let two = "[drives.left]\ndevice = \"emulated:0\"\n[drives.right]\ndevice = \"emulated:1\"";
    assert!(config.contains(one));
    let config = config.replace("dir = \"library\"", "dir = \"two\"").replace(one, two);
    home.configure(&config);
    home
}

#[test]
fn another_drive_than_the_writing_one_proves_more() {
    let home = two_drives();
    home.fill(3, 700_000);
    home.run(&["archive", "job", "--drive", "left"]).exits(0);
    home.run(&["verify", "T00001"]).complains(2, &["left", "right", "--drive"]);
    home.run(&["verify", "T00001", "--drive", "right"]).exits(0);
    let shown = home.run(&["media", "show", "T00001"]).exits(0).out;
    let read: Vec<&str> = shown.lines().filter(|line| line.starts_with("read back")).collect();
    assert_eq!(read.len(), 2, "{shown}");
    for (drive, proof) in
        [("left", "after unloading"), ("right", "another drive than the one that wrote it")]
    {
        let line = read.iter().find(|line| line.contains(&format!("in {drive} "))).unwrap();
        assert!(line.contains("whole") && line.contains(proof), "{line}");
    }
}

/// The same for one whose blocks a drive encrypted: what is on its medium, and the key from paper.
#[test]
fn an_encrypted_golden_volume_is_rebuilt_verified_and_restored() {
    let plan = Plan { cartridges: &[], library: false, ..Plan::default() };
    let home = crate::keys::home_with(&plan, "");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/v1/encrypted");
    let label = label::decode(&fs::read(golden.join("0.tar")).unwrap()).unwrap();
    let barcode = label.barcode.unwrap();
    let library = home.emulator();
    let mut cartridge = Cartridge::new(barcode, Generation::Lto8, 200 << 20);
    cartridge.serial.clone_from(&label.mam_serial);
    library.shelve_cartridge(&cartridge).unwrap();
    fs::copy(golden.join("medium.tap"), library.tape(barcode)).unwrap();
    library.push_in(0, barcode).unwrap();
    let id = label.encryption.unwrap().key_id;
    home.run(&["catalog", "rebuild"]).complains(3, &[&id, "not at hand"]);
    let key = DataKey::from_bytes(*b"of the golden volume, not secret");
    let scanned = format!("TAPEVAULT-KEY-1 {} {}\n", key.id(), &*key.hex()).to_uppercase();
    crate::keys::type_in(&home, &["key", "import", "--pool", "pool"], &scanned).exits(0);
    let rebuilt = home.run(&["--json", "catalog", "rebuild"]);
    let refused = rebuilt.events("volume-finding");
    assert!(refused.iter().all(|event| event["what"].to_string().contains(" is not taken: ")));
    home.run(&["verify"]).exits(0);
    home.run(&["restore", "--to", "back"]);
    assert_eq!(fs::read(home.path("back/disk/changing.txt")).unwrap(), b"state 1\n");
}

/// Puts the tape files of a golden volume on the only cartridge of a home's library.
fn load_golden(home: &Home, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/v1").join(name);
    let files: Vec<Vec<u8>> =
        (0..).map_while(|number| fs::read(folder.join(format!("{number}.tar"))).ok()).collect();
    let label = label::decode(&files[0]).unwrap();
    let barcode = label.barcode.unwrap();
    let library = home.emulator();
    let mut cartridge = Cartridge::new(barcode, Generation::Lto8, 200 << 20);
    cartridge.serial.clone_from(&label.mam_serial);
    library.shelve_cartridge(&cartridge).unwrap();
    library.push_in(0, barcode).unwrap();
    let transport = emulator::drive(&home.library(), 0).unwrap();
    let mut drive = Drive::open(Box::new(transport), Arc::new(SystemClock::new())).unwrap();
    drive.load().unwrap();
    drive.rewind().unwrap();
    let block_size = label.block_size;
    drive.prepare(&Preparation { block_size, early_warning: ByteCount(0) }).unwrap();
    for (file, size) in files.iter().zip([10_240].into_iter().chain(std::iter::repeat(block_size)))
    {
        for block in file.chunks(usize::try_from(size).unwrap()) {
            drive.write_block(block).unwrap();
        }
        drive.write_filemark(Filemark::Immediate).unwrap();
    }
    drive.flush().unwrap();
    drive.finish(LastAct::Rewind).unwrap();
}

/// Volumes as other times wrote them, with voids and torn ends, become a catalog, are read back, and
/// give what they hold.
#[test]
fn golden_volumes_are_rebuilt_verified_and_restored() {
    for (name, expected, files) in [
        ("whole", None, 1),
        ("parts", None, 3),
        ("sessions", None, 3),
        ("unindexed", None, 2),
        ("void", None, 2),
        ("torn", Some("trailer"), 2),
    ] {
        let home = Home::new(&Plan { cartridges: &[], library: false, ..Plan::default() });
        load_golden(&home, name);
        let rebuilt = home.run(&["--json", "catalog", "rebuild"]);
        // Tables, and some runs, that no program wrote: what else is there is taken all the same.
        let refused = rebuilt.events("volume-finding");
        let is_made_up = |event: &Value| event["what"].to_string().contains(" is not taken: ");
        assert!(refused.iter().all(is_made_up), "{name}: {refused:#?}");
        assert_eq!(rebuilt.code, Some(i32::from(!refused.is_empty())), "{name}: {}", rebuilt.err);
        let done = home.run(&["--json", "verify"]);
        let found = done.events("volume-finding");
        match expected {
            None => assert!(done.code == Some(0) && found.is_empty(), "{name}: {}", done.out),
            Some(words) => {
                assert_eq!((done.code, found.len()), (Some(1), 1), "{name}: {}", done.out);
                assert!(found[0]["what"].to_string().contains(words), "{name}: {}", found[0]);
            }
        }
        let done = home.run(&["--json", "restore", "--to", "back"]);
        assert!(done.events("restore-ended")[0]["restored"].as_u64().unwrap() >= files, "{name}");
    }
}
