//! Runs and what is held.

use std::collections::BTreeMap;

use tapevault::{
    catalog::{Catalog, CatalogError, Checked, CopyState, Evidence, Method, Verdict},
    ident::RunId,
    item::{Key, Place, Token, Version},
    volume::{
        manifest::{Entry, Part},
        run::{Change, Row, Run},
    },
};

use crate::given::{at, catalog, committed, file, row, sealed, source, volume};

fn place(ordinal: u32) -> Place {
    Place { segment: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(), ordinal }
}

fn plain_row(key: &str, token: u64) -> Row {
    let ordinal = u32::try_from(token).unwrap();
    Row { token: Token(token), ..row(&file(key, 0), place(ordinal)) }
}

fn push(catalog: &Catalog, rows: &[Row], seconds: i64) -> Run {
    let run = catalog.begin_run(&source("home"), at(seconds)).unwrap();
    catalog.push_rows(run, &mut rows.iter().cloned()).unwrap();
    catalog.finish_run(run, (at(seconds + 5), true)).unwrap()
}

fn rows(catalog: &Catalog, run: RunId) -> Vec<Row> {
    catalog.rows(run).unwrap().map(Result::unwrap).collect()
}

/// The states of a source over `count` runs, in which items come, change and go.
fn history(count: u64) -> Vec<Vec<Row>> {
    let mut items: BTreeMap<String, Row> = BTreeMap::new();
    let mut states = Vec::new();
    for round in 0..count {
        for n in 0..3000_u64 {
            let key = format!("k{n:05}");
            match (n * 7 + round * 13) % 101 {
                _ if round == 0 => drop(items.insert(key.clone(), plain_row(&key, n))),
                0 => drop(items.remove(&key)),
                1 => drop(items.insert(key.clone(), plain_row(&key, n + 10_000 * round))),
                2 => drop(items.insert(format!("{key}x"), plain_row(&format!("{key}x"), n))),
                _ => {}
            }
        }
        states.push(items.values().cloned().collect());
    }
    states
}

#[test]
fn every_run_of_a_long_history_reads_back_as_it_was() {
    let (_folder, catalog) = catalog();
    let states = history(40);
    let runs: Vec<Run> =
        (0..).zip(&states).map(|(n, state)| push(&catalog, state, n * 10)).collect();
    for (run, state) in runs.iter().zip(&states) {
        assert_eq!(rows(&catalog, run.id), *state);
        assert_eq!((run.rows, run.missing, run.complete), (state.len() as u64, 0, true));
        let mut snapshot = catalog.snapshot(run.id).unwrap();
        for n in (0..3000).step_by(7) {
            let key = Key::from(&*format!("k{n:05}"));
            let wanted = state.iter().find(|row| row.key == key);
            let found = snapshot.get(&key, &Version::default()).unwrap();
            assert_eq!(found.as_ref(), wanted);
        }
    }
    let whole = runs.iter().filter(|run| catalog.base(run.id).unwrap().is_none()).count();
    assert_eq!(whole, 3, "one in 16 is stored whole");
    assert_eq!(catalog.runs(&source("home")).unwrap(), runs);
}

#[test]
fn runs_are_found_by_date() {
    let (_folder, catalog) = catalog();
    let home = source("home");
    assert_eq!(catalog.run_as_of(&home, at(1000)).unwrap(), None);
    let first = push(&catalog, &[plain_row("a", 1)], 0);
    let incomplete = catalog.begin_run(&home, at(100)).unwrap();
    catalog.push_rows(incomplete, &mut std::iter::empty()).unwrap();
    catalog.finish_run(incomplete, (at(105), false)).unwrap();
    let second = push(&catalog, &[plain_row("b", 1)], 200);
    let under_way = catalog.begin_run(&home, at(300)).unwrap();
    let found = |seconds| catalog.run_as_of(&home, at(seconds)).unwrap().map(|run| run.id);
    assert_eq!(found(4), None);
    assert_eq!(found(5), Some(first.id));
    assert_eq!(found(204), Some(first.id));
    assert_eq!(found(9999), Some(second.id));
    assert_eq!(catalog.last_complete_run(&home).unwrap().map(|run| run.id), Some(second.id));
    assert_eq!(catalog.runs(&home).unwrap().len(), 4);
    assert_eq!(catalog.run(incomplete).unwrap().ended, Some(at(105)));
    catalog.discard_run(under_way).unwrap();
    assert!(matches!(catalog.discard_run(second.id), Err(CatalogError::Conflict { .. })));
    assert!(matches!(catalog.run(under_way), Err(CatalogError::Unknown { .. })));
    assert_eq!(catalog.sources().unwrap(), [home]);
}

#[test]
fn rows_are_counted_and_have_to_be_sorted() {
    let (_folder, catalog) = catalog();
    let run = catalog.begin_run(&source("home"), at(0)).unwrap();
    let mut unsorted = vec![plain_row("b", 1), plain_row("a", 1)].into_iter();
    let refused = catalog.push_rows(run, &mut unsorted);
    assert!(matches!(refused, Err(CatalogError::Conflict { .. })));
    // Pushed again, rows replace what was there.
    catalog.push_rows(run, &mut std::iter::once(plain_row("z", 1))).unwrap();
    let missing = Row { places: Vec::new(), ..plain_row("b", 2) };
    catalog.push_rows(run, &mut vec![plain_row("a", 1), missing].into_iter()).unwrap();
    let run = catalog.finish_run(run, (at(1), true)).unwrap();
    assert_eq!((run.rows, run.missing), (2, 1));
    assert_eq!(rows(&catalog, run.id).len(), 2);
    let late = catalog.push_rows(run.id, &mut std::iter::empty());
    assert!(matches!(late, Err(CatalogError::Conflict { .. })));
}

#[test]
fn a_catalog_is_rebuilt_from_deltas_in_any_order() {
    let (_folder, original) = catalog();
    let states = history(40);
    let runs: Vec<Run> =
        (0..).zip(&states).map(|(n, state)| push(&original, state, n * 10)).collect();
    let deltas: Vec<(Option<RunId>, Vec<Change>)> = (0..runs.len())
        .map(|n| {
            // Every fifth run is on tape as the difference to the one three before.
            let base = if n % 5 == 4 {
                Some(runs[n - 3].id)
            } else {
                n.checked_sub(1).map(|m| runs[m].id)
            };
            let delta = original.delta(base, runs[n].id).unwrap();
            (base, delta.map(Result::unwrap).collect())
        })
        .collect();
    let orders: [Vec<usize>; 3] =
        [(0..40).collect(), (0..40).rev().collect(), (0..40).map(|n| n * 7 % 40).collect()];
    for order in orders {
        let (_folder, rebuilt) = catalog();
        let mut known = [false; 40];
        for n in order {
            let (base, changes) = &deltas[n];
            for _ in 0..2 {
                rebuilt.apply_delta(&runs[n], *base, &mut changes.iter().cloned()).unwrap();
            }
            known[n] = true;
            let tellable = |mut m: usize| loop {
                let Some(base) = deltas[m].0 else { break known[m] };
                if !known[m] {
                    break false;
                }
                m = runs.iter().position(|run| run.id == base).unwrap();
            };
            match rebuilt.rows(runs[n].id) {
                Ok(_) => assert!(tellable(n)),
                Err(CatalogError::BaseUnknown { .. }) => assert!(!tellable(n)),
                Err(error) => panic!("{error}"),
            }
        }
        for (run, state) in runs.iter().zip(&states) {
            assert_eq!(rebuilt.run(run.id).unwrap(), *run);
            assert_eq!(rows(&rebuilt, run.id), *state);
            let then = run.ended.unwrap();
            assert_eq!(rebuilt.run_as_of(&run.source, then).unwrap().as_ref(), Some(run));
        }
    }
}

#[test]
fn a_run_whose_base_is_missing_is_not_told_wrongly() {
    let (_folder, original) = catalog();
    let first = push(&original, &[plain_row("a", 1)], 0);
    let second = push(&original, &[plain_row("a", 1), plain_row("b", 1)], 10);
    let changes: Vec<_> =
        original.delta(Some(first.id), second.id).unwrap().map(Result::unwrap).collect();
    assert_eq!(changes, [Change::Put { row: plain_row("b", 1) }]);
    let (_folder, rebuilt) = catalog();
    rebuilt.apply_delta(&second, Some(first.id), &mut changes.into_iter()).unwrap();
    for answer in [
        rebuilt.run_as_of(&second.source, at(100)).map(|_| ()),
        rebuilt.rows(second.id).map(|_| ()),
        rebuilt.snapshot(second.id).map(|_| ()),
    ] {
        match answer {
            Err(CatalogError::BaseUnknown { run, base }) => {
                assert_eq!((run, base), (second.id, first.id));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rebuilt.last_complete_run(&second.source).unwrap(), None);
    // A new run does not build on it.
    let third = push(&rebuilt, &[plain_row("c", 1)], 20);
    assert_eq!(rebuilt.base(third.id).unwrap(), None);
}

fn held(catalog: &Catalog) -> Vec<(String, u64, usize)> {
    let rows = catalog.held(&source("home")).unwrap().map(Result::unwrap);
    rows.map(|row| (row.key.printable().to_string(), row.token.0, row.places.len())).collect()
}

fn with_token(key: &str, token: u64) -> Entry {
    let mut entry = file(key, 1);
    entry.item.token = Token(token);
    entry
}

fn run_of(catalog: &Catalog, seconds: i64) -> Run {
    let rows: Vec<_> = catalog.held(&source("home")).unwrap().map(Result::unwrap).collect();
    push(catalog, &rows, seconds)
}

#[test]
fn what_was_sealed_since_the_last_complete_run_is_held() {
    let (_folder, catalog) = catalog();
    assert_eq!(held(&catalog), []);
    sealed(&catalog, vec![with_token("a", 1), with_token("b", 1)]);
    assert_eq!(held(&catalog), [("a".into(), 1, 1), ("b".into(), 1, 1)]);
    run_of(&catalog, 0);
    // Another job was broken off after it had sealed these.
    sealed(&catalog, vec![with_token("b", 2), with_token("c", 1)]);
    sealed(&catalog, vec![with_token("c", 2), with_token("aa", 1)]);
    let all = [("a", 1), ("aa", 1), ("b", 1), ("b", 2), ("c", 2), ("c", 1)];
    assert_eq!(held(&catalog), all.map(|(key, token)| (key.to_owned(), token, 1)));
    let mut held = catalog.held(&source("home")).unwrap();
    let mut token = |key: &str, token| {
        let found = held.matching(&Key::from(key), &Version::default(), Token(token)).unwrap();
        found.map(|row| row.token.0)
    };
    assert_eq!(token("a", 1), Some(1));
    assert_eq!(token("a0", 1), None);
    assert_eq!(token("b", 3), None);
    assert_eq!(token("b", 2), Some(2));
    assert_eq!(token("b", 1), Some(1));
    assert_eq!(token("c", 1), Some(1));
    assert_eq!(token("d", 1), None);
}

/// A part of an item of 1,001 bytes.
fn part_of(token: u64, (number, of): (u32, u32), span: std::ops::Range<u64>) -> Entry {
    let mut entry = with_token("big", token);
    entry.part = Some(Part { number, of, offset: span.start, length: span.end - span.start });
    entry
}

#[test]
fn an_item_in_parts_is_held_when_all_its_parts_are() {
    let (_folder, catalog) = catalog();
    let [first, second, third] = [0..400, 400..800, 800..1001];
    let part =
        |number, token, span: &std::ops::Range<u64>| part_of(token, (number, 3), span.clone());
    let early = sealed(&catalog, vec![part(1, 1, &first), part(3, 1, &third), part(2, 2, &second)]);
    assert_eq!(held(&catalog), []);
    // Another cut into as many parts does not join with it.
    sealed(&catalog, vec![part_of(1, (2, 3), 300..800)]);
    assert_eq!(held(&catalog), []);
    let mut found = catalog.held(&source("home")).unwrap();
    let name = (&Key::from("big"), &Version::default());
    assert_eq!(found.matching(name.0, name.1, Token(1)).unwrap(), None);
    let spans = |parts: Vec<(Part, String)>| -> Vec<(u32, u64)> {
        parts.into_iter().map(|(part, _)| (part.number, part.offset)).collect()
    };
    assert_eq!(spans(found.partial(name.0, name.1, Token(1))), [(1, 0), (2, 300), (3, 800)]);
    assert_eq!(spans(found.partial(name.0, name.1, Token(2))), [(2, 400)]);
    assert_eq!(spans(found.partial(name.0, name.1, Token(3))), []);
    let late = sealed(&catalog, vec![part(2, 1, &second), part(3, 1, &third)]);
    let rows: Vec<_> = catalog.held(&source("home")).unwrap().map(Result::unwrap).collect();
    let places: Vec<_> =
        rows[0].places.iter().map(|place| (place.segment, place.ordinal)).collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(places, [(early.id, 0), (late.id, 0), (late.id, 1)], "the newest of each");
    // What no copy holds is not held as a part either.
    catalog.set_staged(early.id, false).unwrap();
    let mut found = catalog.held(&source("home")).unwrap();
    assert_eq!(found.matching(name.0, name.1, Token(1)).unwrap(), None);
    assert_eq!(spans(found.partial(name.0, name.1, Token(1))), [(2, 400), (2, 300), (3, 800)]);
}

#[test]
fn what_no_copy_holds_any_more_is_not_held() {
    let (_folder, catalog) = catalog();
    let (one, two) = (volume("A00001"), volume("A00002"));
    catalog.put_volume(&one).unwrap();
    catalog.put_volume(&two).unwrap();
    let segment = sealed(&catalog, ["a", "b", "c"].map(|key| with_token(key, 1)).to_vec());
    let lost = sealed(&catalog, vec![with_token("d", 1)]);
    run_of(&catalog, 0);
    committed(&catalog, &one, &[&segment]);
    committed(&catalog, &two, &[&segment]);
    catalog.set_staged(segment.id, false).unwrap();
    let names = || held(&catalog).into_iter().map(|(key, ..)| key).collect::<String>();
    assert_eq!(names(), "abcd");
    catalog.set_staged(lost.id, false).unwrap();
    assert_eq!(names(), "abc");
    catalog.drop_segment(lost.id).unwrap();
    assert_eq!(names(), "abc");
    let verify = |volume, bad: Vec<u32>| {
        let evidence = Evidence {
            volume,
            drive: String::new(),
            method: Method::OtherDrive,
            when: at(30),
            whole: true,
            findings: 0,
        };
        let verdict = Verdict::BadMembers(bad);
        let checked = [Checked { segment: segment.id, verdict }];
        catalog.record_verification(&evidence, &checked).unwrap();
    };
    verify(one.id, vec![0, 1]);
    assert_eq!(names(), "abc");
    verify(two.id, vec![1, 2]);
    assert_eq!(names(), "ac");
    catalog.set_copy_state(segment.id, one.id, (CopyState::Void, at(40))).unwrap();
    assert_eq!(names(), "a");
}
