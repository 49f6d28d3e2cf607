//! The library: what is where and whose, loading by barcode, the mail slots, cleaning.

use std::fs;

use serde_json::{Value, json};
use tapevault::emulator::{Element, ElementKind};

use crate::home::{Home, Plan, code, config};

const CARTRIDGES: &[&str] = &["T00001L8", "T00002L8", "T00003L8"];
const FIRST_SLOT: u16 = 4096;
const FIRST_DRIVE: u16 = 256;
const MAIL_SLOT: u16 = 16;

fn two_drives() -> Plan<'static> {
    Plan { cartridges: CARTRIDGES, drives: 2, ..Plan::default() }
}

/// Adds to the config.
fn configure(home: &Home, change: impl FnOnce(String) -> String) {
    let path = home.path("tapevault.toml");
    home.configure(&change(fs::read_to_string(path).unwrap()));
}

/// Changes the emulated library's own file.
fn change_library(home: &Home, change: impl FnOnce(&mut Value)) {
    let path = home.library().join("library.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn faults(home: &Home, faults: &Value) {
    fs::write(home.library().join("faults.json"), faults.to_string()).unwrap();
}

fn at(home: &Home, address: u16) -> Option<String> {
    let elements: Vec<Element> = home.emulator().elements().unwrap();
    let found = elements.iter().find(|element| element.address == address).unwrap();
    found.barcode.map(|barcode| barcode.to_string())
}

fn custody(home: &Home, volser: &str) -> Value {
    let done = home.run(&["--json", "media", "show", volser]).exits(0);
    done.lines()[0]["custody"].clone()
}

/// The element of this address in an inventory.
fn element(lines: &[Value], address: u16) -> Value {
    lines.iter().find(|line| line["address"] == address).unwrap().clone()
}

#[test]
fn an_inventory_joins_barcodes_with_what_the_catalog_knows() {
    let cartridges = ["T00001L8", "T00002L8", "CLNU01L1"];
    let home = Home::new(&Plan { cartridges: &cartridges, ..two_drives() });
    home.run(&["library", "inventory"]).exits(0);
    home.run(&["media", "label", "T00002", "--pool", "pool", "--drive", "drive1"]).exits(0);
    let lines = home.run(&["--json", "library", "inventory"]).exits(0).lines();
    assert!(lines.iter().all(|line| line["v"] == 1 && line["event"] == "library-element"));
    assert_eq!(lines.len(), 2 + 10 + 1);
    let serials: Vec<&str> =
        lines[..2].iter().map(|line| line["serial"].as_str().unwrap()).collect();
    assert!(serials[0] != serials[1]);
    let (first, second) = (element(&lines, FIRST_DRIVE), element(&lines, FIRST_DRIVE + 1));
    assert_eq!((&first["drive"], &first["full"]), (&json!("drive"), &json!(false)));
    assert_eq!((&second["drive"], &second["barcode"]), (&json!("drive1"), &json!("T00002L8")));
    assert_eq!(second["from"], FIRST_SLOT + 1);
    assert_eq!((&second["volume"], &second["pool"]), (&json!("T00002"), &json!("pool")));
    let slot = element(&lines, FIRST_SLOT);
    assert_eq!((&slot["barcode"], &slot["volume"]), (&json!("T00001L8"), &Value::Null));
    assert_eq!(element(&lines, FIRST_SLOT + 2)["cleaning"], true);

    let status = home.run(&["--json", "library", "status"]).exits(0).lines().remove(0);
    assert_eq!(status["cartridges"], json!({ "known": 1, "unknown": 1, "cleaning": 1 }));
    assert_eq!(status["slots"], json!({ "total": 10, "full": 2, "free": 8 }));
    assert_eq!(status["problems"], json!([]));
    let text = home.run(&["library", "status"]).exits(0).out;
    for word in ["EMULATED LIBRARY", "drive1", serials[1], "T00002L8", "slot 4097"] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
    let text = home.run(&["library", "list"]).exits(0).out;
    assert!(text.contains("emulated") && text.contains("TAPEVLT"), "{text}");
}

#[test]
fn a_cartridge_goes_into_the_drive_that_has_the_serial_number() {
    for tells in [true, false] {
        let home = Home::new(&two_drives());
        // The config's order is not the library's.
        configure(&home, |text| {
            text.replace("emulated:0", "x")
                .replace("emulated:1", "emulated:0")
                .replace("\"x\"", "\"emulated:1\"")
        });
        change_library(&home, |library| library["settings"]["tells_drive_serials"] = json!(tells));
        home.run(&["library", "load", "T00002L8", "--drive", "drive"]).exits(0);
        assert_eq!(at(&home, FIRST_DRIVE + 1).as_deref(), Some("T00002L8"), "{tells}");
        home.run(&["library", "load", "T00003L8", "--drive", "drive1"]).exits(0);
        assert_eq!(at(&home, FIRST_DRIVE).as_deref(), Some("T00003L8"), "{tells}");
        // It is in the other drive.
        home.run(&["library", "load", "T00002L8", "--drive", "drive1"])
            .complains(4, &["T00002L8", "in another drive", "257"]);
        // What came meanwhile into its slot stays there.
        home.run(&["library", "unload", "--drive", "drive"]).exits(0);
        assert_eq!(at(&home, FIRST_SLOT + 1).as_deref(), Some("T00002L8"), "{tells}");
        home.run(&["library", "unload", "--drive", "drive1"]).exits(0);
        assert_eq!(at(&home, FIRST_SLOT + 2).as_deref(), Some("T00003L8"), "{tells}");
    }
}

#[test]
fn a_cartridge_whose_slot_is_taken_goes_into_another() {
    let home = Home::new(&two_drives());
    home.run(&["library", "load", "T00001L8", "--drive", "drive"]).exits(0);
    change_library(&home, |library| {
        let elements = library["elements"].as_array_mut().unwrap();
        let position = |address: u16| move |element: &Value| element["address"] == address;
        let from = elements.iter().position(position(FIRST_SLOT + 1)).unwrap();
        let barcode = elements[from]["barcode"].take();
        let to = elements.iter().position(position(FIRST_SLOT)).unwrap();
        elements[to]["barcode"] = barcode;
    });
    home.run(&["library", "unload", "--drive", "drive"]).exits(0);
    assert_eq!(at(&home, FIRST_SLOT).as_deref(), Some("T00002L8"));
    assert_eq!(at(&home, FIRST_SLOT + 1).as_deref(), Some("T00001L8"));
}

#[test]
fn a_drive_that_is_not_the_librarys_is_told_with_both_serial_numbers() {
    let home = Home::new(&two_drives());
    let lines = home.run(&["--json", "library", "inventory"]).exits(0).lines();
    let serial = |address| element(&lines, address)["serial"].as_str().unwrap().to_owned();
    let (first, second) = (serial(FIRST_DRIVE), serial(FIRST_DRIVE + 1));
    home.run(&["media", "label", "T00002", "--pool", "pool", "--drive", "drive"]).exits(0);
    home.run(&["media", "vault", "T00002", "--place", "bank"]).exits(0);
    configure(&home, |text| text.replace("emulated:0\"", "emulated:0\"\nelement = 257"));
    home.run(&["library", "load", "T00001L8", "--drive", "drive"])
        .complains(2, &["drive drive", &first, "at element 257", &second, "in_library"]);
    configure(&home, |text| text.replace("element = 257", "in_library = false"));
    home.run(&["library", "load", "T00001L8", "--drive", "drive"])
        .complains(2, &["drive stands in no library"]);
    let lines = home.run(&["--json", "library", "inventory"]).exits(0).lines();
    assert_eq!(element(&lines, FIRST_DRIVE)["drive"], Value::Null);
    assert_eq!(element(&lines, FIRST_DRIVE + 1)["drive"], "drive1");
    // Whoever's drive that is: what stands in it is not in the bank.
    let sighted = json!({ "custody": "in-drive", "drive": "element 256" });
    assert_eq!(custody(&home, "T00002"), sighted);
}

#[test]
fn cartridges_come_and_go_through_the_mail_slot() {
    let home = Home::new(&Plan { cartridges: CARTRIDGES, ..Plan::default() });
    home.run(&["media", "label", "T00001", "--pool", "pool"]).exits(0);
    home.run(&["library", "export", "T00001L8"]).complains(3, &["T00001L8", "drive element 256"]);
    home.run(&["library", "unload"]).exits(0);
    let done = home.run(&["--json", "library", "export", "T00001L8"]).exits(0);
    let moved = &done.events("moved")[0];
    assert_eq!(moved["cartridge"], "T00001L8");
    assert_eq!((&moved["from"], &moved["to"]), (&json!("slot 4096"), &json!("mail slot 16")));
    assert_eq!(at(&home, MAIL_SLOT).as_deref(), Some("T00001L8"));
    assert_eq!(custody(&home, "T00001"), json!({ "custody": "in-library", "slot": MAIL_SLOT }));
    // There is one mail slot, and it is full.
    home.run(&["library", "export", "T00002L8"])
        .complains(3, &["no mail slot is free for T00002L8", "16 holds T00001L8", "take out"]);
    home.run(&["library", "export", "T00009L8"]).complains(4, &["T00009L8 is not in the library"]);
    // It is offline when the slot was seen emptied, and no longer when it is seen again.
    home.run(&["emulator", "take", "T00001L8"]).exits(0);
    home.run(&["library", "inventory"]).exits(0);
    assert_eq!(custody(&home, "T00001"), json!({ "custody": "removed" }));
    home.run(&["emulator", "insert", "T00001L8"]).exits(0);
    home.run(&["library", "import", "T00002L8"])
        .complains(3, &["T00002L8 is in slot 4097", "put it into a mail slot"]);
    let done = home.run(&["--json", "library", "import"]).exits(0);
    assert_eq!(done.events("moved")[0]["to"], "slot 4096");
    assert_eq!(custody(&home, "T00001"), json!({ "custody": "in-library", "slot": FIRST_SLOT }));
    home.run(&["library", "import"]).complains(0, &["the mail slots are empty"]);
    home.run(&["library", "export", "T00002L8", "T00003L8"])
        .complains(3, &["no mail slot is free for T00003L8", "16 holds T00002L8"]);
    home.run(&["emulator", "take", "T00002L8"]).exits(0);
    // Somebody has locked the mail slots.
    faults(&home, &json!([{ "command": "move", "effect": { "sense": [5, 0x53, 2] } }]));
    home.run(&["library", "export", "T00001L8"]).complains(
        5,
        &["T00001L8 cannot be moved from slot 4096 to mail slot 16", "5/53/02", "unlock"],
    );
}

#[test]
fn a_job_ejects_into_the_mail_slot_only_where_that_is_wanted() {
    for (wanted, address) in [("mail-slot", MAIL_SLOT), ("slot", FIRST_SLOT)] {
        let home = Home::new(&Plan::default());
        configure(&home, |text| {
            text.replace("changer = ", &format!("eject = \"{wanted}\"\nchanger = "))
        });
        home.fill(2, 10_000);
        home.archive();
        assert_eq!(at(&home, address).as_deref(), Some("T00001L8"), "{wanted}");
    }
}

#[test]
fn a_drive_that_asks_is_cleaned_between_cartridges() {
    for alert in [20, 21] {
        let cartridges = ["CLNU01L1", "T00001L8", "T00002L8"];
        let home = Home::new(&Plan { cartridges: &cartridges, ..Plan::default() });
        home.fill(2, 10_000);
        faults(&home, &json!([{ "command": "write", "times": 1, "effect": { "alert": alert } }]));
        let done = home.archive();
        let cleaned = &done.events("cleaned")[0];
        assert_eq!(cleaned["cartridge"], "CLNU01L1");
        assert_eq!(cleaned["outcome"], "clean");
        assert_eq!(at(&home, FIRST_SLOT).as_deref(), Some("CLNU01L1"), "back in its slot");
        home.run(&["library", "load", "CLNU01L1"]).complains(2, &["library clean"]);
        // When asked to, it cleans a drive that is content, and puts away what is in it.
        home.run(&["library", "load", "T00002L8"]).exits(0);
        let done = home.run(&["--json", "library", "clean"]).exits(0);
        assert_eq!(done.events("cleaned").len(), 1);
        assert_eq!(at(&home, FIRST_DRIVE), None);
    }
}

#[test]
fn a_drive_that_nothing_can_clean_is_told_of() {
    let home = Home::new(&Plan::default());
    home.fill(2, 10_000);
    faults(&home, &json!([{ "command": "write", "times": 1, "effect": { "alert": 20 } }]));
    let done = home.run(&["archive", "job"]).exits(1);
    let said = format!("{}{}", done.out, done.err);
    assert!(said.contains("asks to be cleaned now"), "{said}");
    assert!(said.contains("the library has no cleaning cartridge"), "{said}");
    home.run(&["library", "clean"]).complains(3, &["no cleaning cartridge", "library import"]);
}

#[test]
fn a_cleaning_cartridge_that_is_used_up_is_passed_over() {
    let cartridges = ["CLNU01L1", "CLNU02L1"];
    let home = Home::new(&Plan { cartridges: &cartridges, ..Plan::default() });
    home.emulator()
        .change_cartridge(code("CLNU01L1"), |cartridge| cartridge.load_count = 50)
        .unwrap();
    let done = home.run(&["--json", "library", "clean"]).exits(1);
    let outcomes: Vec<Value> =
        done.events("cleaned").iter().map(|event| event["outcome"].clone()).collect();
    assert_eq!(outcomes, ["cartridge-expired", "clean"]);
    let elements = home.emulator().elements().unwrap();
    let drives = elements.iter().filter(|element| element.kind == ElementKind::Drive);
    assert!(drives.into_iter().all(|drive| drive.barcode.is_none()));
}

/// A job uses one drive; the other is free for another, and reads back what the first wrote.
#[test]
fn a_job_uses_the_one_drive_that_it_was_given() {
    let home = Home::new(&two_drives());
    assert!(config(&two_drives()).contains("drives.drive1"));
    home.fill(4, 100_000);
    home.run(&["archive", "job"]).complains(2, &["several drives (drive, drive1)", "--drive"]);
    let archive = ["--json", "archive", "job", "--copies", "2", "--drive", "drive1"];
    let done = home.run(&archive).exits(0);
    let mounted = done.events("mounted");
    assert!(mounted.iter().all(|event| event["drive"] == "drive1"), "{mounted:?}");
    for line in home.find(&[]) {
        assert_eq!(line["copies"].as_array().unwrap().len(), 2, "{line}");
    }
    home.run(&["verify", "T00001", "T00002", "--drive", "drive"]).exits(0);
    let shown = home.run(&["media", "show", "T00001"]).exits(0).out;
    assert!(shown.contains("another drive than the one that wrote it"), "{shown}");
}
