//! A catalog that is older than the tapes, and none at all: what the tapes have is adopted.

use std::fs;

use crate::home::{Home, Plan};

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
    fs::write(home.source().join("third"), "third").unwrap();
    let done = home.archive();
    assert_eq!(done.events("adopted").len(), 1, "{}", done.out);
    assert!(home.keys(&[]).contains("third"));
    nothing_is_lost(&home, &before);
}

#[test]
fn a_catalog_from_before_the_last_session_and_nothing_new() {
    let home = two_runs();
    let before = home.find(&[]);
    home.restore_catalog();
    home.archive();
    nothing_is_lost(&home, &before);
}

#[test]
fn no_catalog_at_all() {
    let home = two_runs();
    let before = home.find(&[]);
    home.lose_catalog();
    fs::write(home.source().join("third"), "third").unwrap();
    let done = home.archive();
    assert_eq!(done.events("adopted").len(), 1, "{}", done.out);
    assert!(home.keys(&[]).contains("third"));
    nothing_is_lost(&home, &before);
}
