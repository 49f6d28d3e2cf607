//! Sets over several cartridges, and sets larger than staging.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::home::{Home, MIB, Plan};

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
