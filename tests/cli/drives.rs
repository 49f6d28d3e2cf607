//! `drive list`, `status`, `health` and `commission`, and what a cartridge's chip says.

use std::{fs, sync::Arc};

use serde_json::Value;
use tapevault::{
    catalog::Catalog,
    clock::{SystemClock, Timestamp},
    drive::{Drive, Notes},
    emulator::{self, CommandKind, Effect, Fault},
};

use crate::home::{Done, Home, MIB, Plan, code, config};

const COMMISSION: [&str; 4] = ["drive", "commission", "--amount", "8 MiB"];

fn loaded() -> Home {
    let home = Home::new(&Plan::default());
    home.run(&["library", "load", "T00001L8"]).exits(0);
    home
}

fn with_faults(home: &Home, faults: &[Fault]) {
    let text = serde_json::to_vec(faults).unwrap();
    fs::write(home.library().join("faults.json"), text).unwrap();
}

#[track_caller]
fn one(done: &Done) -> Value {
    let mut lines = done.lines();
    lines.retain(|line| line["event"] != "notice");
    assert_eq!(lines.len(), 1, "{}", done.out);
    lines.remove(0)
}

/// A line of text with this label, without the spaces between.
#[track_caller]
fn fact(done: &Done, label: &str) -> String {
    let line = done.out.lines().find_map(|line| line.trim_start().strip_prefix(label));
    line.unwrap_or_else(|| panic!("no {label:?} in:\n{}", done.out)).trim().to_owned()
}

#[test]
fn drives_are_listed_and_a_held_one_is_busy() {
    let home = Home::new(&Plan::default());
    let listed = home.run(&["drive", "list"]).exits(0);
    let row = listed.out.lines().nth(1).unwrap();
    for word in ["drive", "empty", "TAPEVLT EMULATED LTO-8", "LTO-8", "emulated:0"] {
        assert!(row.contains(word), "{row}");
    }
    let line = one(&home.run(&["--json", "drive", "list"]).exits(0));
    assert_eq!((&line["event"], &line["drive"]), (&"drive".into(), &"drive".into()));
    assert_eq!((&line["state"], &line["emulated"]), (&"empty".into(), &true.into()));

    let _held = emulator::drive(&home.library(), 0).unwrap();
    let line = one(&home.run(&["--json", "drive", "list"]).exits(0));
    assert_eq!((&line["state"], &line["serial"]), (&"busy".into(), &Value::Null));
    assert!(home.run(&["drive", "list"]).exits(0).out.contains("busy"));
    home.run(&["drive", "status"]).complains(5, &["end the other program"]);
}

#[test]
fn a_drive_that_does_not_answer_keeps_no_other_from_being_listed() {
    let home = Home::new(&Plan::default());
    let text = config(&Plan::default());
    home.configure(&format!("{text}\n[drives.gone]\ndevice = \"/dev/tapevault-no-such-node\"\n"));
    let listed = home.run(&["drive", "list"]).exits(5);
    assert!(listed.out.contains("no answer") && listed.out.contains("EMULATED LTO-8"));
    assert!(listed.err.contains("gone: "), "{}", listed.err);
}

#[test]
fn status_says_what_a_drive_is_and_what_is_in_it() {
    let home = loaded();
    let status = home.run(&["drive", "status"]).exits(0);
    assert_eq!(fact(&status, "access"), "this drive reads and writes it");
    assert_eq!(fact(&status, "writes"), "LTO-7, LTO-7 type M, LTO-8");
    assert_eq!(fact(&status, "reads only"), "absent");
    assert_eq!(fact(&status, "host adapter takes"), "up to 1 MiB by its own word");
    assert_eq!(fact(&status, "pools write"), "512 KiB pool");
    assert_eq!(fact(&status, "owned by"), "none");
    assert_eq!(fact(&status, "key in the drive"), "none");
    let told = one(&home.run(&["--json", "drive", "status", "drive"]).exits(0));
    assert_eq!(told["identity"]["generation"], "LTO-8");
    assert_eq!(told["cartridge"]["access"], "write");
    assert_eq!(told["cartridge"]["capacity"], 200_000_000);
    assert_eq!(told["blocks"]["pools"]["pool"]["fits"], true);
    assert_eq!(told["abilities"]["reads-only"], Value::Null);
    assert_eq!(told["abilities"]["encryption"], "application");
    assert_eq!(told["abilities"]["block-protection"][0], "crc32c");
}

#[test]
fn health_names_alerts_and_what_to_do() {
    let home = loaded();
    let fine = home.run(&["drive", "health"]).exits(0);
    assert!(fine.out.contains("nothing to do"), "{}", fine.out);
    assert_eq!(fact(&fine, "cleaning"), "not due");
    assert!(fact(&fine, "back-hitches").starts_with("absent"));

    with_faults(&home, &[Fault::once(Effect::Alert(20)), Fault::once(Effect::Alert(49))]);
    let found = home.run(&["drive", "health"]).exits(1);
    let lines: Vec<&str> = found.out.lines().collect();
    assert_eq!(lines[2], "critical     TapeAlert 20: clean now");
    assert!(lines[3].contains("→ `tapevault library clean`"), "{}", found.out);
    assert_eq!(lines[4], "unrated      TapeAlert 49: diminished native capacity");
    let told = one(&home.run(&["--json", "drive", "health"]).exits(1));
    assert_eq!(
        (&told["alerts"][0]["number"], &told["life"]["cleaning"]),
        (&20.into(), &"required".into())
    );
    assert_eq!(told["findings"][0]["severity"], "critical");
    assert_eq!(told["life"]["back-hitches"], Value::Null);
}

#[test]
fn health_counts_what_a_job_did() {
    let home = Home::new(&Plan { eject: false, ..Plan::default() });
    home.fill(4, 2_000_000);
    with_faults(&home, &[Fault::once(Effect::RecoveredError).at(CommandKind::Write)]);
    home.run(&["archive", "job"]);
    let told = one(&home.run(&["--json", "drive", "health"]).exits(0));
    let written = told["writing"]["bytes"].as_u64().unwrap();
    assert!(written > 8_000_000, "{told}");
    assert_eq!(told["writing"]["corrected"], 1);
    let rate = told["writing"]["corrected-per-terabyte"].as_f64().unwrap();
    let expected = 1e12 / f64::from(u32::try_from(written).unwrap());
    assert!((rate - expected).abs() < 1.0, "{rate} {expected}");
    assert!(told["reading"]["bytes"].as_u64().unwrap() >= 8_000_000, "it was verified: {told}");
    assert!(
        told["cartridge"]["mounts"].as_u64().unwrap() <= told["life"]["loads"].as_u64().unwrap()
    );
    assert_eq!(told["cartridge"]["recovered-write-errors"], 1, "{told}");
}

#[track_caller]
fn commissioned(home: &Home, exit: i32) -> (Value, Done) {
    let done = home.run(&[&["--json"], &COMMISSION[..]].concat()).exits(exit);
    (one(&done), done)
}

#[test]
fn a_sound_drive_is_commissioned_and_its_cartridge_is_blank_again() {
    let home = loaded();
    let (told, _) = commissioned(&home, 0);
    assert_eq!((&told["event"], &told["fit"]), (&"drive-commissioned".into(), &true.into()));
    let trials = told["trials"].as_array().unwrap();
    let protections: Vec<_> = trials.iter().map(|trial| trial["protection"].as_str()).collect();
    assert_eq!(protections, [None, Some("crc32c"), Some("reed-solomon")], "{told}");
    assert!(trials.iter().all(|trial| trial["block"] == 512 << 10 && trial["flaw"].is_null()));
    assert!(trials[0]["write_rate"].as_u64().unwrap() > 0);
    assert_eq!(told["proven_transfer"], (512 << 10) + 4);

    let catalog = Catalog::open(&home.catalog()).unwrap();
    let events = catalog.events(Timestamp::from_nanoseconds(0), 10).unwrap();
    let event = events.iter().find(|event| event.what == "drive.commissioned").unwrap();
    assert_eq!(event.detail["serial"], told["serial"]);
    drop(catalog);
    let said = home.run(&COMMISSION).exits(0);
    assert!(said.out.contains("fit for the pools of this config"), "{}", said.out);
    home.run(&["media", "label", "T00001", "--pool", "pool"]).exits(0);
}

#[test]
fn a_drive_that_does_not_pass_is_refused() {
    for (faults, flawed, word) in [
        // Nobody but a comparison notices a bit that flips without block protection.
        (vec![Fault::once(Effect::FlipBit(5000)).at(CommandKind::Write).after(3)], 1, "altered"),
        (vec![Fault::once(Effect::FlipBit(5000)).at(CommandKind::Read).after(9)], 1, "altered"),
        // With it the drive refuses the block.
        (vec![Fault::always(Effect::FlipBit(5000)).at(CommandKind::Write)], 3, "WRITE(6)"),
        (vec![Fault::always(Effect::Refused).at(CommandKind::Write)], 3, "refused before"),
    ] {
        let home = loaded();
        with_faults(&home, &faults);
        let (told, done) = commissioned(&home, 5);
        assert_eq!(told["fit"], false);
        let flaws = told["flaws"].as_array().unwrap();
        assert_eq!(flaws.len(), flawed, "{told}");
        assert!(flaws.iter().any(|flaw| flaw.as_str().unwrap().contains(word)), "{told}");
        assert!(done.err.contains("drive is not fit") && done.err.contains("→"), "{}", done.err);
        assert!(done.err.contains(&format!("{flawed} of 3 trials failed")), "{}", done.err);
        let catalog = Catalog::open(&home.catalog()).unwrap();
        let events = catalog.events(Timestamp::from_nanoseconds(0), 10).unwrap();
        assert!(events.iter().any(|event| event.what == "drive.unfit"), "{events:?}");
    }
}

#[test]
fn a_host_adapter_that_takes_a_block_but_not_its_crc_is_refused() {
    let home = loaded();
    let path = home.library().join("library.json");
    let mut library: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    library["settings"]["max_transfer"] = (512 << 10).into();
    fs::write(&path, library.to_string()).unwrap();
    let (told, _) = commissioned(&home, 5);
    assert_eq!(told["proven_transfer"], 512 << 10);
    let flaws = told["flaws"].as_array().unwrap();
    assert_eq!(flaws.len(), 2, "with either CRC: {told}");
    let word = "the host adapter does not take blocks of this size";
    assert!(flaws.iter().all(|flaw| flaw.as_str().unwrap().contains(word)), "{told}");
}

#[test]
fn only_a_scratch_cartridge_is_written_over() {
    let home = Home::new(&Plan { eject: false, ..Plan::default() });
    home.fill(2, 10_000);
    home.archive();
    let erase = [&COMMISSION[..], &["--erase"]].concat();
    home.run(&erase).complains(4, &["it is volume T00001 of this catalog", "blank cartridge"]);
    home.lose_catalog();
    home.run(&erase).complains(4, &["it is volume T00001", "catalog rebuild"]);

    let home = loaded();
    let mut drive = open(&home);
    drive.rewind().unwrap();
    drive.write_block(&[7; 4096]).unwrap();
    drive.write_filemark(tapevault::drive::Filemark::Synchronous).unwrap();
    drive.write_notes(&Notes { application: "other".into(), ..Notes::default() }).unwrap();
    drop(drive);
    home.run(&COMMISSION).complains(4, &["it is not blank", "--erase"]);
    home.run(&erase).exits(0);
    home.run(&["media", "label", "T00001", "--pool", "pool"]).exits(0);
}

fn open(home: &Home) -> Drive {
    let transport = emulator::drive(&home.library(), 0).unwrap();
    let mut drive = Drive::open(Box::new(transport), Arc::new(SystemClock::new())).unwrap();
    drive.state().unwrap();
    drive
}

#[test]
fn labelling_notes_on_the_chip_whose_volume_it_is_and_erasing_takes_it_off() {
    let home = loaded();
    home.run(&["media", "label", "T00001", "--pool", "pool"]).exits(0);
    let chip = &one(&home.run(&["--json", "drive", "status"]).exits(0))["chip"];
    assert!(chip["owner"].as_str().unwrap().starts_with("TAPEVLT tapevault "), "{chip}");
    for (key, value) in
        [("label", "T00001"), ("barcode", "T00001L8"), ("pool", "pool"), ("format-version", "1")]
    {
        assert_eq!(chip[key], value, "{chip}");
    }
    assert_eq!(chip["last-written"].as_str().unwrap().len(), 12, "{chip}");
    assert!(!chip["host"].as_str().unwrap().is_empty(), "{chip}");

    home.run(&["media", "erase", "T00001", "--confirm", "T00001"]).exits(0);
    let chip = &one(&home.run(&["--json", "drive", "status"]).exits(0))["chip"];
    assert_eq!((&chip["owner"], &chip["pool"]), (&Value::Null, &Value::Null), "{chip}");
    home.run(&["media", "label", "T00001", "--pool", "pool"]).exits(0);
}

#[test]
fn a_chip_that_says_otherwise_forbids_writing_and_not_reading() {
    for (notes, word) in [
        (Notes { pool: "other".into(), ..Notes::default() }, "of pool other"),
        (Notes { barcode: "X00001L8".into(), ..Notes::default() }, "barcode is X00001L8"),
        (Notes { application: "LTFS".into(), ..Notes::default() }, "LTFS owns it"),
    ] {
        let one_cartridge = Plan { cartridges: &["T00001L8"], eject: false, ..Plan::default() };
        let home = Home::new(&one_cartridge);
        home.fill(2, 100_000);
        home.archive();
        open(&home).write_notes(&notes).unwrap();
        let read = home.run(&["verify", "T00001"]).exits(1);
        assert!(read.err.contains(word), "{}\n{}", read.out, read.err);
        let to = home.path("back");
        let restored = home.run(&["restore", "--to", to.to_str().unwrap()]);
        assert!([Some(0), Some(1)].contains(&restored.code), "{}", restored.err);
        assert!(to.join("files/folder/file001").exists(), "{}", restored.err);
        fs::write(home.source().join("new"), "new").unwrap();
        home.run(&["archive", "job"]).complains(4, &[word, "do not write to it"]);
    }
}

#[test]
fn a_chip_that_takes_no_notes_is_reported_and_no_more() {
    let home = Home::new(&Plan { capacity: 100 * MIB, ..Plan::default() });
    home.fill(2, 100_000);
    let broken = Fault::always(Effect::Sense(3, 0x0C, 0x0B)).at(CommandKind::Attribute);
    with_faults(&home, &[broken]);
    let done = home.run(&["archive", "job"]).exits(1);
    assert!(done.err.contains("its chip takes no notes"), "{}", done.err);
    with_faults(&home, &[]);
    home.run(&["verify", "T00001"]).exits(0);
    assert_eq!(home.emulator().cartridge(code("T00001L8")).unwrap().barcode, code("T00001L8"));
}
