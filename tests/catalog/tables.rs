//! The snapshot of the living tables, and the check.

use rusqlite::Connection;
use tapevault::{
    catalog::{
        Catalog, CatalogError, Checked, CopyState, Event, Evidence, Flaw, Method, Mode, Session,
        Verdict,
    },
    ident::{SessionId, SetId},
    media::{Custody, Status},
    position::ObjectNumber,
};

use crate::given::{
    at, catalog, catalog_for, committed, file, object, row, sealed, source, volume,
};

fn exported(catalog: &Catalog) -> Vec<u8> {
    let mut lines = Vec::new();
    catalog.export_tables(&mut lines).unwrap();
    lines
}

fn import(catalog: &Catalog, lines: &[u8]) {
    catalog.import_tables(&mut &*lines).unwrap();
}

/// A catalog with something in every table.
fn full() -> (tempfile::TempDir, Catalog) {
    let (folder, catalog) = catalog();
    for volser in ["A00001", "A00002"] {
        let made = volume(volser);
        catalog.put_volume(&made).unwrap();
        let a = sealed(&catalog, vec![file("a", 1), file("b", 2), file("c", 3)]);
        let b = sealed(&catalog, vec![object("a", "v", 1)]);
        committed(&catalog, &made, &[&a, &b]);
        catalog.set_staged(a.id, false).unwrap();
        catalog.set_staged(b.id, false).unwrap();
        let session = Session {
            id: SessionId::new(),
            volume: made.id,
            set: SetId::new(),
            drive: "left".into(),
            started: at(5),
            ended: Some(at(20)),
            index: None,
        };
        catalog.put_session(&session).unwrap();
        let verdict = Verdict::BadMembers(vec![1]);
        let checked =
            [Checked { segment: a.id, verdict }, Checked { segment: b.id, verdict: Verdict::Good }];
        let evidence = Evidence {
            volume: made.id,
            drive: "right".into(),
            method: Method::OtherDrive,
            when: at(30),
            whole: true,
            findings: 0,
        };
        catalog.record_verification(&evidence, &checked).unwrap();
        let event = Event {
            when: at(40),
            what: "volume.vaulted".into(),
            volume: Some(made.id),
            detail: serde_json::Value::Null,
        };
        let custody = Custody::Vaulted { place: "bank".into() };
        catalog
            .update_volume(made.id, &event, |volume| {
                (volume.custody, volume.custody_since) = (custody, at(40));
            })
            .unwrap();
    }
    (folder, catalog)
}

#[test]
fn an_empty_catalog_takes_over_all_that_another_knew() {
    let (_one, original) = full();
    let (_two, copy) = catalog();
    let lines = exported(&original);
    for _ in 0..2 {
        import(&copy, &lines);
        let body = |lines: &[u8]| lines.splitn(2, |byte| *byte == b'\n').nth(1).unwrap().to_vec();
        let (told, known) = (body(&lines), body(&exported(&copy)));
        assert_eq!(String::from_utf8(known).unwrap(), String::from_utf8(told).unwrap());
    }
    assert_eq!(copy.newest_event().unwrap(), Some(at(40)));
    assert_eq!(exported(&original), lines, "the same tables make the same lines");
    // The members come from the manifests, later.
    let segment = &original.segments().unwrap()[0];
    assert_eq!(copy.entries(segment.id).unwrap().count(), 0);
    let mut entries = original.entries(segment.id).unwrap().map(|entry| entry.unwrap().1);
    copy.add_segment(segment, &mut entries).unwrap();
    assert_eq!(copy.entries(segment.id).unwrap().count(), 3);
}

#[test]
fn an_old_snapshot_takes_nothing_newer_away() {
    let (_folder, catalog) = full();
    let old = exported(&catalog);
    let mut volumes = catalog.volumes().unwrap();
    volumes[0].custody = Custody::Removed;
    volumes[0].custody_since = at(50);
    volumes[0].end = ObjectNumber(500);
    volumes[0].status = Status::Full;
    catalog.put_volume(&volumes[0]).unwrap();
    let copies = catalog.copies_on(volumes[0].id).unwrap();
    let states = [CopyState::Verified, CopyState::Bad];
    for (copy, state) in copies.iter().zip(states) {
        catalog.set_copy_state(copy.segment, copy.volume, (state, at(60))).unwrap();
    }
    catalog.destroy_volume(volumes[1].id, at(70)).unwrap();
    let before = exported(&catalog);
    import(&catalog, &old);
    let after = exported(&catalog);
    assert_eq!(String::from_utf8(after).unwrap(), String::from_utf8(before).unwrap());
    assert_eq!(catalog.copies_on(volumes[1].id).unwrap(), []);
}

#[test]
fn what_was_only_found_on_tape_is_verified_by_evidence_alone() {
    let (_one, original) = full();
    let volume = original.volumes().unwrap().remove(0);
    let extra = sealed(&original, vec![file("late", 9)]);
    let lines = exported(&original);
    // Written after the snapshot was taken.
    committed(&original, &volume, &[&extra]);

    let (_two, rebuilt) = catalog();
    rebuilt.put_volume(&volume).unwrap();
    let copies = original.copies_on(volume.id).unwrap();
    for copy in &copies {
        let segment = original.segment(copy.segment).unwrap().unwrap();
        let mut entries = original.entries(segment.id).unwrap().map(|entry| entry.unwrap().1);
        rebuilt.add_segment(&segment, &mut entries).unwrap();
        let record = tapevault::catalog::CopyRecord {
            segment: copy.segment,
            object: copy.object,
            file: copy.file,
        };
        let commit = tapevault::catalog::Commit {
            volume: volume.id,
            session: copy.session,
            copies: &[record],
            end: volume.end,
            end_file: volume.end_file,
            index: None,
            at: at(1000),
        };
        rebuilt.commit(&commit).unwrap();
    }
    import(&rebuilt, &lines);
    let known = rebuilt.copies_on(volume.id).unwrap();
    let states: Vec<_> = known.iter().map(|copy| copy.state).collect();
    assert_eq!(states, [CopyState::Bad, CopyState::Verified, CopyState::OnTape]);
    assert_eq!(rebuilt.bad_members(copies[0].segment, volume.id).unwrap(), [1]);
    let evidence = rebuilt.evidence(volume.id).unwrap();
    assert_eq!(evidence, original.evidence(volume.id).unwrap());
}

#[test]
fn of_two_labels_on_one_cartridge_the_later_counts() {
    let old = volume("A00001");
    let mut new = volume("A00001");
    new.created = at(100);
    let (_one, knows_old) = catalog();
    let (_two, knows_new) = catalog();
    knows_old.put_volume(&old).unwrap();
    let segment = sealed(&knows_old, vec![file("a", 1)]);
    committed(&knows_old, &old, &[&segment]);
    knows_new.put_volume(&new).unwrap();
    let (told_old, told_new) = (exported(&knows_old), exported(&knows_new));
    for (catalog, lines) in [(&knows_old, &told_new), (&knows_new, &told_old)] {
        import(catalog, lines);
        assert_eq!(catalog.volume(new.volser).unwrap().unwrap().id, new.id);
        let old = catalog.volume_by_id(old.id).unwrap().unwrap();
        assert_eq!(old.status, Status::Destroyed);
        assert_eq!(catalog.copies_on(old.id).unwrap(), []);
    }
}

#[test]
fn what_is_not_a_fitting_snapshot_is_refused_whole() {
    let (_one, original) = full();
    let lines = exported(&original);
    let (_two, real) = catalog_for(Mode::Real);
    let (_three, empty) = catalog();
    let text = String::from_utf8(lines.clone()).unwrap();
    let newer = text.replacen("\"format\":1", "\"format\":2", 1);
    let cut = &lines[..lines.len() - 10];
    let headless = text.split_once('\n').unwrap().1;
    for (catalog, lines) in [
        (&real, &*lines),
        (&empty, newer.as_bytes()),
        (&empty, cut),
        (&empty, headless.as_bytes()),
        (&empty, b""),
    ] {
        let refused = catalog.import_tables(&mut &*lines);
        assert!(matches!(refused, Err(CatalogError::Conflict { .. })), "{refused:?}");
        assert_eq!(catalog.volumes().unwrap(), []);
    }
}

#[test]
fn the_check_finds_what_contradicts_itself() {
    let (_folder, catalog) = full();
    let segment = sealed(&catalog, (0..3000).map(|n| file(&format!("f{n:04}"), n)).collect());
    let run = catalog.begin_run(&source("home"), at(0)).unwrap();
    let rows = catalog.entries(segment.id).unwrap().map(|entry| {
        let (ordinal, entry) = entry.unwrap();
        row(&entry, tapevault::item::Place { segment: segment.id, ordinal })
    });
    let rows: Vec<_> = rows.collect();
    catalog.push_rows(run, &mut rows.into_iter()).unwrap();
    catalog.finish_run(run, (at(1), true)).unwrap();
    assert_eq!(catalog.check().unwrap(), []);

    let database = Connection::open(catalog.path()).unwrap();
    database.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    let broken = |sql: &str| {
        database.execute_batch(sql).unwrap();
        catalog.check().unwrap()
    };
    let flaws = broken("UPDATE pack SET facts = substr(facts, 1, 2000) WHERE first = 1024");
    assert!(matches!(&flaws[..], [Flaw::Members { segment: at, .. }] if *at == segment.id));
    let flaws = broken("UPDATE trigram_page SET data = substr(data, 1, length(data) - 1)");
    assert!(
        flaws.iter().any(|flaw| matches!(flaw, Flaw::Index { segment: at } if *at == segment.id)),
        "{flaws:?}"
    );
    let flaws = broken("DELETE FROM pack WHERE first = 1024");
    assert!(flaws.iter().any(|flaw| matches!(flaw, Flaw::Index { .. })), "{flaws:?}");
    assert!(flaws.iter().any(|flaw| matches!(flaw, Flaw::Members { .. })), "{flaws:?}");
    let flaws = broken("UPDATE run_block SET data = x'00'");
    assert!(flaws.iter().any(|flaw| matches!(flaw, Flaw::Run { .. })), "{flaws:?}");
    let flaws = broken("DELETE FROM volume WHERE volser = 'A00001'");
    assert!(flaws.iter().any(|flaw| matches!(flaw, Flaw::Dangling { .. })), "{flaws:?}");
    assert!(flaws.iter().all(|flaw| !flaw.to_string().is_empty()));
}

/// All that a snapshot tells of a volume may be known from elsewhere, and yet there can be runs in
/// its indexes that are not.
#[test]
fn a_volume_that_only_a_snapshot_told_of_is_unread() {
    let (_folder, known) = full();
    let told = known.volumes().unwrap();
    let (_other, catalog) = catalog_for(known.mode());
    import(&catalog, &exported(&known));
    for volume in &told {
        assert!(catalog.has_unread(volume.id).unwrap(), "{}", volume.volser);
        assert!(!known.has_unread(volume.id).unwrap(), "{}", volume.volser);
    }
    let (_empty, bare) = catalog_for(known.mode());
    let mut lonely = volume("A00003");
    known.put_volume(&lonely).unwrap();
    import(&bare, &exported(&known));
    assert!(bare.has_unread(lonely.id).unwrap());
    bare.note_read(lonely.id).unwrap();
    assert!(!bare.has_unread(lonely.id).unwrap());
    // What is told again is no news; that it has grown is.
    import(&bare, &exported(&known));
    assert!(!bare.has_unread(lonely.id).unwrap());
    lonely.end = ObjectNumber(lonely.end.0 + 9);
    known.put_volume(&lonely).unwrap();
    import(&bare, &exported(&known));
    assert!(bare.has_unread(lonely.id).unwrap());
}
