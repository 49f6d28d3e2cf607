//! A catalog that is older than the tapes, and none at all: what the tapes have is adopted.

use std::{collections::BTreeSet, fs, process::Command};

use tapevault::emulator::{Element, Generation};

use crate::home::{Done, Home, MIB, Plan, code, config};

fn two_runs() -> Home {
    let home = Home::new(&Plan::default());
    home.fill(6, 700_000);
    home.archive();
    home.back_up_catalog();
    fs::write(home.source().join("second"), "second").unwrap();
    home.archive();
    home
}

/// Everything of `before` is found still, at the place where it was.
fn nothing_is_lost(home: &Home, before: &[serde_json::Value]) {
    let after = home.find(&[]);
    for line in before {
        assert!(after.contains(line), "lost: {line}\nof {after:#?}");
    }
    let volumes = home.volumes();
    let volumes: Vec<&str> = volumes.iter().map(String::as_str).collect();
    home.run(&[&["verify"], &volumes[..]].concat()).exits(0);
    home.lose_catalog();
    home.run(&["catalog", "rebuild"]).exits(0);
    assert_eq!(home.find(&[]), after);
}

#[test]
fn a_catalog_from_before_the_last_session() {
    let home = two_runs();
    let before = home.find(&[]);
    home.restore_catalog();
    assert!(home.keys(&["second"]).is_empty());
    only_what_is_new_is_fetched(&home);
    nothing_is_lost(&home, &before);
}

#[test]
fn a_catalog_from_before_the_last_session_and_nothing_new() {
    let home = two_runs();
    let before = home.find(&[]);
    home.restore_catalog();
    let done = home.archive();
    assert_eq!(wanted(&done), 0, "{}", done.out);
    assert_eq!(home.find(&[]), before);
    nothing_is_lost(&home, &before);
}

/// The next job adopts what the cartridge holds, and fetches only a third file.
fn only_what_is_new_is_fetched(home: &Home) {
    fs::write(home.source().join("third"), "third").unwrap();
    let done = home.archive();
    assert_eq!(done.events("adopted").len(), 1, "{}", done.out);
    assert_eq!(wanted(&done), 2, "the third file and the root: {}", done.out);
    assert!(home.keys(&[]).contains("third"));
    nothing_stands_twice(home);
}

/// Everything that is on a tape stands there once.
fn nothing_stands_twice(home: &Home) {
    let mut keys = BTreeSet::new();
    for line in home.find(&[]) {
        // The root's time changes with what is in it.
        let key = line["key"].as_str().unwrap().to_owned();
        assert!(key.is_empty() || keys.insert(key), "twice: {line}");
        assert_eq!(line["copies"].as_array().unwrap().len(), 1, "{line}");
    }
}

fn comes_back(home: &Home) {
    let to = home.path("back");
    home.run(&["restore", "--to", to.to_str().unwrap()]).exits(0);
    let diff = Command::new("diff").arg("-r").args([to.join("files"), home.source()]).output();
    let diff = diff.unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

fn wanted(done: &Done) -> u64 {
    let planned = done.events("planned");
    assert_eq!(planned.len(), 1, "{}", done.out);
    planned[0]["wanted"].as_u64().unwrap()
}

fn loads(home: &Home) -> u64 {
    let library = home.emulator();
    let all = library.cartridges().unwrap().into_iter();
    all.map(|barcode| library.cartridge(barcode).unwrap().load_count).sum()
}

#[test]
fn no_catalog_at_all() {
    let home = two_runs();
    let before = home.find(&[]);
    home.lose_catalog();
    only_what_is_new_is_fetched(&home);
    comes_back(&home);
    nothing_is_lost(&home, &before);
}

#[test]
fn no_catalog_at_all_and_nothing_new() {
    let home = two_runs();
    let before = home.find(&[]);
    // Nor is anything of the machine left.
    home.lose_catalog();
    fs::remove_dir_all(home.path("staging")).unwrap();
    let done = home.archive();
    assert_eq!(wanted(&done), 0, "{}", done.out);
    assert_eq!(home.find(&[]), before);
    comes_back(&home);
    let loads_before = loads(&home);
    assert_eq!(wanted(&home.archive()), 0);
    assert_eq!(loads(&home), loads_before, "the catalog is current");
}

#[test]
fn no_catalog_at_all_and_several_cartridges() {
    let plan = Plan { capacity: 12 * MIB, ..Plan::default() };
    let home = Home::new(&plan);
    home.fill(20, 700_000);
    home.archive();
    fs::write(home.source().join("second"), "second").unwrap();
    home.archive();
    assert!(home.volumes().len() >= 2);
    let before = home.find(&[]);
    home.lose_catalog();
    let done = home.archive();
    assert_eq!(wanted(&done), 0, "{}", done.out);
    assert_eq!(home.find(&[]), before);
    comes_back(&home);
}

#[test]
fn no_catalog_at_all_and_no_library() {
    let home = two_runs();
    let before = home.find(&[]);
    let slots = home.emulator().elements().unwrap();
    let is_it = |slot: &&Element| slot.barcode == Some(code("T00001L8"));
    let slot = slots.iter().find(is_it).unwrap().address;
    home.emulator().take(slot).unwrap();
    home.emulator().push_in(0, code("T00001L8")).unwrap();
    home.configure(&config(&Plan { library: false, eject: false, ..Plan::default() }));
    home.lose_catalog();
    let done = home.archive();
    assert_eq!(wanted(&done), 0, "{}", done.out);
    assert_eq!(home.find(&[]), before);
    comes_back(&home);
}

/// Nothing is mounted to look at it as long as the catalog is known to know.
#[test]
fn a_current_catalog_costs_no_mounts() {
    let home = two_runs();
    home.emulator().add_cartridge(code("T00009L8"), Generation::Lto8, 200 * MIB).unwrap();
    let loads_before = loads(&home);
    fs::write(home.source().join("third"), "third").unwrap();
    let done = home.archive();
    assert_eq!(wanted(&done), 2, "{}", done.out);
    // Once to write, once to read back what was written.
    let more = loads(&home) - loads_before;
    assert!((1..=2).contains(&more), "{more} mounts: {}", done.out);
    assert_eq!(home.emulator().cartridge(code("T00009L8")).unwrap().load_count, 0);
}

/// Cartridges that hold nothing are looked at until it is clear enough that no more do.
#[test]
fn few_blank_cartridges_are_looked_at() {
    let cartridges = ["T00001L8", "T00002L8", "T00003L8", "T00004L8", "T00005L8"];
    let home = Home::new(&Plan { cartridges: &cartridges, ..Plan::default() });
    home.fill(1, 1000);
    let done = home.archive();
    let never = |barcode: &&&str| home.emulator().cartridge(code(barcode)).unwrap().load_count == 0;
    let never: Vec<_> = cartridges.iter().filter(never).collect();
    assert_eq!(never, [&"T00004L8", &"T00005L8"], "{}", done.out);
}

/// A later cartridge tells of an earlier one, but not what is in it.
#[test]
fn cartridges_are_adopted_in_any_order() {
    let plan = Plan { capacity: 12 * MIB, ..Plan::default() };
    let home = Home::new(&plan);
    home.fill(20, 700_000);
    home.archive();
    let before = home.find(&[]);
    assert!(home.volumes().len() >= 2, "{:?}", home.volumes());
    let volumes = home.volumes();
    home.lose_catalog();
    for volume in volumes.iter().rev() {
        home.run(&["catalog", "rebuild", &format!("{volume}L8")]).exits(0);
    }
    assert_eq!(home.find(&[]), before);
}

/// A later cartridge tells of an earlier one on which nothing but the label is left.
#[test]
fn what_a_snapshot_told_of_and_the_tape_has_not_is_lost() {
    let home = Home::new(&Plan { capacity: 12 * MIB, ..Plan::default() });
    home.fill(20, 700_000);
    home.archive();
    let volumes = home.volumes();
    let (first, last) = (volumes.first().unwrap(), volumes.last().unwrap());
    assert_ne!(first, last);
    home.lose_catalog();
    home.run(&["catalog", "rebuild", &format!("{last}L8")]).exits(0);
    let tape = home.emulator().tape(code(&format!("{first}L8")));
    let mut bytes = fs::read(&tape).unwrap();
    // A record is its length, its bytes, and its length again; a filemark is a length of nothing.
    let mut at = 0;
    loop {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        at += 4;
        if length == 0 {
            break;
        }
        at += length.next_multiple_of(2) + 4;
    }
    bytes.truncate(at);
    fs::write(&tape, bytes).unwrap();
    let done = home.run(&["catalog", "rebuild", &format!("{first}L8")]);
    let said = format!("{}{}", done.out, done.err);
    assert!(said.contains("were committed: what lies beyond is lost"), "{said}");
    let shown = home.run(&["media", "show", first]).exits(0).out;
    assert!(shown.contains(" bad ") && !shown.contains("on-tape"), "{shown}");
    assert!(!shown.contains("  verified  "), "{shown}");
}
