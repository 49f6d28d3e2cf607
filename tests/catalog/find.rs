//! Search.

use std::ops::ControlFlow;

use proptest::prelude::*;
use tapevault::{
    catalog::{Catalog, CopyState, Pattern, Query},
    clock::Timestamp,
    item::{Key, Place},
    volume::manifest::Entry,
};

use crate::given::{
    at, catalog, committed, delete_marker, file, object, odd_entries, row, sealed, source, volume,
};

fn substring(text: &str) -> Query {
    Query { pattern: Pattern::Substring(text.into()), ..Query::default() }
}

fn keys(catalog: &Catalog, query: &Query) -> Vec<String> {
    let mut keys = Vec::new();
    catalog
        .find(query, &mut |hit| {
            assert_eq!(catalog.entry(hit.place).unwrap().as_ref(), Some(&hit.entry));
            keys.push(hit.entry.item.key.printable().to_string());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(catalog.count(query).unwrap(), keys.len() as u64, "{query:?}");
    keys
}

#[test]
fn keys_are_found_by_every_kind_of_pattern() {
    let (_folder, catalog) = catalog();
    let names = [
        "docs/Report.pdf",
        "docs/a/report.PDF",
        "docs/b.txt",
        "photos/2024/img_0001.jpg",
        "photos/2024/raw/img_0002.jpg",
        "photos/\u{c9}t\u{e9}.jpg",
        "x",
        "\"quoted\"",
    ];
    sealed(&catalog, (0..).zip(names).map(|(n, name)| file(name, n)).collect());
    let case = |pattern: Pattern, ignore_case: bool, expected: &[&str]| {
        let query = Query { pattern, ignore_case, ..Query::default() };
        assert_eq!(keys(&catalog, &query), expected, "{query:?}");
    };
    let text = |text: &str| text.as_bytes().to_vec();
    let glob = |text: &str| Pattern::Glob(text.parse().unwrap());
    case(
        Pattern::Any,
        false,
        &[
            "\"quoted\"",
            "docs/Report.pdf",
            "docs/a/report.PDF",
            "docs/b.txt",
            "photos/2024/img_0001.jpg",
            "photos/2024/raw/img_0002.jpg",
            "photos/\u{c9}t\u{e9}.jpg",
            "x",
        ],
    );
    case(Pattern::Substring(text("eport")), false, &["docs/Report.pdf", "docs/a/report.PDF"]);
    case(Pattern::Substring(text("report.pdf")), false, &[]);
    case(Pattern::Substring(text("rEport.pdf")), true, &["docs/Report.pdf", "docs/a/report.PDF"]);
    case(Pattern::Substring(text("\u{e9}T\u{c9}")), true, &["photos/\u{c9}t\u{e9}.jpg"]);
    case(Pattern::Substring(text("x")), false, &["docs/b.txt", "x"]);
    case(Pattern::Substring(text("\"quo")), false, &["\"quoted\""]);
    case(Pattern::Substring(text("0001")), false, &["photos/2024/img_0001.jpg"]);
    case(
        Pattern::Prefix(text("docs/")),
        false,
        &["docs/Report.pdf", "docs/a/report.PDF", "docs/b.txt"],
    );
    case(Pattern::Prefix(text("DOCS/r")), true, &["docs/Report.pdf"]);
    case(Pattern::Exact(text("docs/b.txt")), false, &["docs/b.txt"]);
    case(Pattern::Exact(text("docs/b.tx")), false, &[]);
    case(Pattern::Exact(text("DOCS/B.TXT")), true, &["docs/b.txt"]);
    case(
        glob("*.jpg"),
        false,
        &["photos/2024/img_0001.jpg", "photos/2024/raw/img_0002.jpg", "photos/\u{c9}t\u{e9}.jpg"],
    );
    case(glob("photos/*/*.jpg"), false, &["photos/2024/img_0001.jpg"]);
    case(
        glob("photos/**/*.jpg"),
        false,
        &["photos/2024/img_0001.jpg", "photos/2024/raw/img_0002.jpg", "photos/\u{c9}t\u{e9}.jpg"],
    );
    case(glob("img_000[2-9].*"), false, &["photos/2024/raw/img_0002.jpg"]);
    case(glob("*.{pdf,txt}"), true, &["docs/Report.pdf", "docs/a/report.PDF", "docs/b.txt"]);
    assert!("[".parse::<tapevault::catalog::Glob>().is_err());
}

#[test]
fn digests_are_found_by_their_first_digits() {
    let (_folder, catalog) = catalog();
    sealed(&catalog, (0..3000).map(|n| file(&format!("a{n}"), n)).collect());
    sealed(&catalog, (0..3000).map(|n| object(&format!("b{n}"), "v", n % 10)).collect());
    let digest = file("x", 2999).digest.unwrap().to_string();
    let found = |digits: &str| {
        let pattern = Pattern::Digest(digits.parse().unwrap());
        keys(&catalog, &Query { pattern, ..Query::default() })
    };
    assert_eq!(found(&digest), ["a2999"]);
    assert_eq!(found(&digest[..12].to_uppercase()), ["a2999"]);
    assert!(found(&digest[..4]).contains(&"a2999".to_owned()));
    assert_eq!(found(&file("x", 7).digest.unwrap().to_string()).len(), 301);
    assert_eq!(found("00112233445566778899"), [""; 0]);
    assert!("12".parse::<tapevault::catalog::DigestPrefix>().is_err());
    assert!("123g".parse::<tapevault::catalog::DigestPrefix>().is_err());
}

#[test]
fn source_time_size_and_volume_narrow() {
    let (_folder, catalog) = catalog();
    let made = volume("A00001");
    catalog.put_volume(&made).unwrap();
    let files = sealed(&catalog, (0..2000).map(|n| file(&format!("f{n:04}"), n)).collect());
    sealed(&catalog, vec![object("f0007", "v1", 7), delete_marker("f0007", "v2")]);
    committed(&catalog, &made, &[&files]);
    let query = substring("f0007");
    assert_eq!(keys(&catalog, &query).len(), 3);
    let from_bucket = Query { sources: vec![source("bucket")], ..query.clone() };
    assert_eq!(keys(&catalog, &from_bucket).len(), 2);
    let on_tape = Query { volumes: vec![made.id], ..query.clone() };
    assert_eq!(keys(&catalog, &on_tape).len(), 1);
    catalog.set_copy_state(files.id, made.id, (CopyState::Void, at(30))).unwrap();
    assert_eq!(keys(&catalog, &on_tape).len(), 0);
    let sized = Query { size_from: Some(2990), size_to: Some(2991), ..Query::default() };
    assert_eq!(keys(&catalog, &sized), ["f1990", "f1991"]);
    let moment = |seconds: i64| Some(Timestamp::from_parts(1_700_000_000 + seconds, 5));
    let dated =
        Query { modified_from: moment(1990), modified_to: moment(1991), ..Query::default() };
    assert_eq!(keys(&catalog, &dated), ["f1990", "f1991"]);
    let both = Query { size_to: Some(2990), ..dated };
    assert_eq!(keys(&catalog, &both), ["f1990"]);
}

#[test]
fn as_of_finds_what_the_run_then_held() {
    let (_folder, catalog) = catalog();
    let home = source("home");
    let mut place_of = Vec::new();
    for (round, names) in
        [vec!["keep.txt", "gone.txt"], vec!["keep.txt", "new.txt"]].into_iter().enumerate()
    {
        let round = i64::try_from(round).unwrap();
        let entries: Vec<Entry> =
            (0..).zip(&names).map(|(n, name)| file(name, n + 10 * round.unsigned_abs())).collect();
        let segment = sealed(&catalog, entries.clone());
        let run = catalog.begin_run(&home, at(100 * round)).unwrap();
        let mut rows = Vec::new();
        for (ordinal, entry) in catalog.entries(segment.id).unwrap().map(Result::unwrap) {
            rows.push(row(&entry, Place { segment: segment.id, ordinal }));
        }
        place_of.push(rows[0].places[0]);
        catalog.push_rows(run, &mut rows.into_iter()).unwrap();
        catalog.finish_run(run, (at(100 * round + 50), true)).unwrap();
    }
    let as_of = |seconds| Query { as_of: Some(at(seconds)), ..substring(".txt") };
    assert_eq!(keys(&catalog, &substring(".txt")).len(), 4);
    assert_eq!(keys(&catalog, &as_of(49)), [""; 0]);
    assert_eq!(keys(&catalog, &as_of(50)), ["gone.txt", "keep.txt"]);
    assert_eq!(keys(&catalog, &as_of(149)), ["gone.txt", "keep.txt"]);
    assert_eq!(keys(&catalog, &as_of(1000)), ["keep.txt", "new.txt"]);
}

#[test]
fn a_search_may_end_early_and_survives_a_drop() {
    let (_folder, catalog) = catalog();
    let names =
        |from: u64| (from..from + 2000).map(|n| file(&format!("dir/name-{n}"), n)).collect();
    let (first, second) = (sealed(&catalog, names(0)), sealed(&catalog, names(2000)));
    let mut seen = 0;
    let mut stop_at_three = |_| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    catalog.find(&substring("name-"), &mut stop_at_three).unwrap();
    assert_eq!(seen, 3);
    catalog.drop_segment(first.id).unwrap();
    assert_eq!(keys(&catalog, &substring("name-1999")), [""; 0]);
    assert_eq!(keys(&catalog, &substring("name-2000")), ["dir/name-2000"]);
    assert_eq!(catalog.count(&substring("name-")).unwrap(), 2000);
    let digest = file("x", 5).digest.unwrap().to_string().parse().unwrap();
    let gone = Query { pattern: Pattern::Digest(digest), ..Query::default() };
    assert_eq!(keys(&catalog, &gone), [""; 0]);
    assert_eq!(catalog.entries(second.id).unwrap().count(), 2000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Whatever index answers, it answers as reading everything would.
    #[test]
    fn a_substring_is_found_wherever_it_is(
        names in prop::collection::btree_set(
            prop::collection::vec(prop::sample::select(b"abAB/.\xc3\xa9\xff\0".to_vec()), 1..12),
            1..300,
        ),
        pattern in prop::collection::vec(prop::sample::select(b"abAB/.\xc3\xa9\xff\0".to_vec()), 1..6),
    ) {
        let (_folder, catalog) = catalog();
        let entries = (0..).zip(&names).map(|(n, name)| {
            let mut entry = file("x", n);
            entry.item.key = Key(name.clone());
            entry
        });
        let mut all: Vec<Entry> = entries.collect();
        all.extend(odd_entries().into_iter().filter(|entry| !names.contains(&entry.item.key.0)));
        sealed(&catalog, all.clone());
        let count = |test: &dyn Fn(&[u8]) -> bool| {
            all.iter().filter(|entry| test(&entry.item.key.0)).count() as u64
        };
        let query = Query { pattern: Pattern::Substring(pattern.clone()), ..Query::default() };
        let within = |key: &[u8]| key.windows(pattern.len()).any(|part| part == pattern);
        prop_assert_eq!(catalog.count(&query).unwrap(), count(&within));
        let query = Query { pattern: Pattern::Prefix(pattern.clone()), ..Query::default() };
        prop_assert_eq!(catalog.count(&query).unwrap(), count(&|key| key.starts_with(&pattern)));
        let query = Query { pattern: Pattern::Exact(pattern.clone()), ..Query::default() };
        prop_assert_eq!(catalog.count(&query).unwrap(), count(&|key| key == pattern));
    }
}
