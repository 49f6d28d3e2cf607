//! Volumes, copies, intents, sessions, evidence, events.

use std::time::Duration;

use tapevault::{
    catalog::{
        CatalogError, Checked, Commit, CopyRecord, CopyState, Event, Evidence, Holdings, Lacking,
        Method, Mode, Session, Verdict,
    },
    digest::Digest,
    ident::{SegmentId, SessionId, SetId, VolumeId},
    media::{Custody, IndexPlace, Status},
    position::{FileNumber, ObjectNumber},
};

use crate::given::{at, catalog, catalog_for, committed, file, pool, sealed, segment, volume};

fn evidence(volume: VolumeId, seconds: i64) -> Evidence {
    Evidence {
        volume,
        drive: "ULT3580-TD8 0001".into(),
        method: Method::AfterReload,
        when: at(seconds),
        whole: true,
        findings: 0,
    }
}

#[test]
fn volumes_are_found_by_name_identity_pool_and_status() {
    let (_folder, catalog) = catalog();
    let (mut one, two) = (volume("A00001"), volume("A00002"));
    catalog.put_volume(&two).unwrap();
    catalog.put_volume(&one).unwrap();
    one.custody = Custody::Vaulted { place: "bank".into() };
    one.status = Status::Full;
    catalog.put_volume(&one).unwrap();
    assert_eq!(catalog.volumes().unwrap(), [one.clone(), two.clone()]);
    assert_eq!(catalog.volume(one.volser).unwrap().as_ref(), Some(&one));
    assert_eq!(catalog.volume_by_id(two.id).unwrap().as_ref(), Some(&two));
    assert_eq!(catalog.volumes_in(&pool(), Status::Full).unwrap(), [one]);
    assert_eq!(catalog.volumes_in(&pool(), Status::Appendable).unwrap(), [two]);
    assert_eq!(catalog.volume_by_id(VolumeId::new()).unwrap(), None);
}

#[test]
fn a_volser_belongs_to_one_volume_until_that_is_destroyed() {
    let (_folder, catalog) = catalog();
    let (first, second) = (volume("A00001"), volume("A00001"));
    catalog.put_volume(&first).unwrap();
    let refused = catalog.put_volume(&second);
    assert!(matches!(refused, Err(CatalogError::Conflict { .. })));
    catalog.destroy_volume(first.id, at(5)).unwrap();
    assert_eq!(catalog.volume(first.volser).unwrap().unwrap().status, Status::Destroyed);
    catalog.put_volume(&second).unwrap();
    assert_eq!(catalog.volume(first.volser).unwrap(), Some(second));
}

#[test]
fn a_real_catalog_refuses_emulated_volumes() {
    let (_folder, catalog) = catalog_for(Mode::Real);
    let mut made = volume("A00001");
    assert!(matches!(catalog.put_volume(&made), Err(CatalogError::Conflict { .. })));
    made.emulated = false;
    catalog.put_volume(&made).unwrap();
}

#[test]
fn a_volume_changes_together_with_its_event() {
    let (_folder, catalog) = catalog();
    let made = volume("A00001");
    catalog.put_volume(&made).unwrap();
    let event = Event {
        when: at(7),
        what: "volume.vaulted".into(),
        volume: Some(made.id),
        detail: serde_json::json!({ "place": "bank" }),
    };
    let changed = catalog
        .update_volume(made.id, &event, |volume| {
            volume.custody = Custody::Vaulted { place: "bank".into() };
        })
        .unwrap();
    assert!(changed.custody.is_offline());
    assert_eq!(catalog.volume(made.volser).unwrap(), Some(changed));
    assert_eq!(catalog.events(at(0), 10).unwrap(), std::slice::from_ref(&event));
    assert_eq!(catalog.events(at(8), 10).unwrap(), []);
    assert_eq!(catalog.newest_event().unwrap(), Some(at(7)));
    catalog.record_event(&Event { when: at(3), ..event }).unwrap();
    assert_eq!(catalog.newest_event().unwrap(), Some(at(7)));
    assert_eq!(catalog.events(at(0), 1).unwrap().len(), 1);
}

#[test]
fn an_intent_stands_until_it_is_committed_or_withdrawn() {
    let (_folder, catalog) = catalog();
    let made = volume("A00001");
    catalog.put_volume(&made).unwrap();
    let segments = [sealed(&catalog, vec![file("a", 1)]), sealed(&catalog, vec![file("b", 2)])];
    let record = |at: usize, object| CopyRecord {
        segment: segments[at].id,
        object: ObjectNumber(object),
        file: FileNumber(1),
    };
    catalog.intend(made.id, record(0, 2)).unwrap();
    let second = catalog.intend(made.id, record(1, 19)).unwrap();
    let intents = catalog.intents().unwrap();
    assert_eq!(intents.len(), 2);
    assert_eq!((intents[1].id, intents[1].segment), (second, segments[1].id));
    assert_eq!((intents[1].volume, intents[1].object), (made.id, ObjectNumber(19)));
    committed(&catalog, &made, &[&segments[0]]);
    assert_eq!(catalog.intents().unwrap().len(), 1);
    catalog.withdraw(made.id).unwrap();
    catalog.withdraw(made.id).unwrap();
    assert_eq!(catalog.intents().unwrap(), []);
    let unknown = CopyRecord { segment: SegmentId::new(), ..record(0, 2) };
    assert!(matches!(catalog.intend(made.id, unknown), Err(CatalogError::Unknown { .. })));
}

#[test]
fn a_commit_is_whole_repeatable_and_never_doubles_a_segment() {
    let (_folder, catalog) = catalog();
    let made = volume("A00001");
    catalog.put_volume(&made).unwrap();
    let one = sealed(&catalog, vec![file("a", 1)]);
    let session = SessionId::new();
    let record = CopyRecord { segment: one.id, object: ObjectNumber(2), file: FileNumber(1) };
    let seal = Digest::of(b"index");
    let index = IndexPlace { object: ObjectNumber(19), file: FileNumber(2), seal, session };
    let commit = Commit {
        volume: made.id,
        session,
        copies: &[record],
        end: ObjectNumber(21),
        end_file: FileNumber(3),
        index: Some(index),
        at: at(20),
    };
    for _ in 0..2 {
        catalog.commit(&commit).unwrap();
        let known = catalog.volume(made.volser).unwrap().unwrap();
        assert_eq!((known.end, known.end_file), (ObjectNumber(21), FileNumber(3)));
        assert_eq!(known.last_index, Some(index));
        let copies = catalog.copies(one.id).unwrap();
        assert_eq!(copies, catalog.copies_on(made.id).unwrap());
        assert_eq!(copies.len(), 1);
        assert_eq!((copies[0].object, copies[0].state), (record.object, CopyState::OnTape));
        assert_eq!((copies[0].session, copies[0].since), (session, at(20)));
    }
    // Elsewhere on the same volume: refused, and nothing of the commit is done.
    let two = sealed(&catalog, vec![file("b", 2)]);
    let elsewhere = [
        CopyRecord { segment: two.id, object: ObjectNumber(22), file: FileNumber(3) },
        CopyRecord { object: ObjectNumber(39), ..record },
    ];
    let bad = Commit { copies: &elsewhere, end: ObjectNumber(60), index: None, ..commit };
    assert!(matches!(catalog.commit(&bad), Err(CatalogError::Conflict { .. })));
    assert_eq!(catalog.copies(two.id).unwrap(), []);
    assert_eq!(catalog.volume(made.volser).unwrap().unwrap().end, ObjectNumber(21));
    // A void attempt may be repeated further on, and the index that was is still the last.
    catalog.set_copy_state(one.id, made.id, (CopyState::Void, at(30))).unwrap();
    catalog.commit(&Commit { copies: &elsewhere[1..], ..bad }).unwrap();
    assert_eq!(catalog.copies(one.id).unwrap()[0].object, ObjectNumber(39));
    assert_eq!(catalog.volume(made.volser).unwrap().unwrap().last_index, Some(index));
}

#[test]
fn segments_that_lack_copies_are_named() {
    let (_folder, catalog) = catalog();
    let (one, two) = (volume("A00001"), volume("A00002"));
    catalog.put_volume(&one).unwrap();
    catalog.put_volume(&two).unwrap();
    let a = sealed(&catalog, vec![file("a", 1)]);
    let b = sealed(&catalog, vec![file("b", 2)]);
    committed(&catalog, &one, &[&a, &b]);
    committed(&catalog, &two, &[&b]);
    let lack = |copies| catalog.lacking(&pool(), copies).unwrap();
    assert_eq!(lack(1), []);
    assert_eq!(lack(2), [Lacking { segment: a.id, good: 1 }]);
    catalog.set_copy_state(b.id, one.id, (CopyState::Bad, at(30))).unwrap();
    assert_eq!(lack(2).len(), 2);
    assert_eq!(lack(1), []);
    assert_eq!(catalog.lacking(&"other".parse().unwrap(), 1).unwrap().len(), 2);
    let copies = catalog.copies_on(one.id).unwrap();
    assert_eq!(copies.iter().map(|copy| copy.segment).collect::<Vec<_>>(), [a.id, b.id]);
    let holdings = Holdings { segments: 1, bytes: a.bytes, members: 1, verified: 0 };
    assert_eq!(catalog.holdings(one.id).unwrap(), holdings);
}

#[test]
fn reading_back_makes_verified_or_bad() {
    let (_folder, catalog) = catalog();
    let made = volume("A00001");
    catalog.put_volume(&made).unwrap();
    let entries = || (0..10).map(|n| file(&format!("f{n}"), n)).collect();
    let (a, b) = (sealed(&catalog, entries()), sealed(&catalog, entries()));
    committed(&catalog, &made, &[&a, &b]);
    let checked = |segment: SegmentId, verdict| Checked { segment, verdict };

    let sample = Evidence { whole: false, ..evidence(made.id, 30) };
    catalog.record_verification(&sample, &[checked(a.id, Verdict::SampleGood)]).unwrap();
    assert_eq!(catalog.copies(a.id).unwrap()[0].state, CopyState::OnTape);

    let whole = evidence(made.id, 40);
    let good = [checked(a.id, Verdict::Good), checked(b.id, Verdict::Good)];
    catalog.record_verification(&whole, &good).unwrap();
    assert_eq!(catalog.copies(a.id).unwrap()[0].state, CopyState::Verified);
    assert_eq!(catalog.copies(a.id).unwrap()[0].since, at(40));
    assert_eq!(catalog.volume(made.volser).unwrap().unwrap().verified, Some(at(40)));
    assert_eq!(catalog.holdings(made.id).unwrap().verified, 2);

    let bad = [checked(a.id, Verdict::BadMembers(vec![7, 3])), checked(b.id, Verdict::Unreadable)];
    catalog.record_verification(&evidence(made.id, 50), &bad).unwrap();
    assert_eq!(catalog.copies(b.id).unwrap()[0].state, CopyState::Bad);
    assert_eq!(catalog.bad_members(a.id, made.id).unwrap(), [3, 7]);
    assert_eq!(catalog.bad_members(b.id, made.id).unwrap(), [0_u32; 0]);
    assert_eq!(catalog.volume(made.volser).unwrap().unwrap().verified, Some(at(40)));
    let known = catalog.evidence(made.id).unwrap();
    assert_eq!(known.len(), 3);
    assert_eq!((known[0].when, known[0].findings), (at(50), 2));

    catalog.record_verification(&evidence(made.id, 60), &good).unwrap();
    assert_eq!(catalog.bad_members(a.id, made.id).unwrap(), [0_u32; 0]);
}

#[test]
fn a_volume_can_be_spared_when_all_is_verified_elsewhere() {
    let (_folder, catalog) = catalog();
    let (one, two) = (volume("A00001"), volume("A00002"));
    catalog.put_volume(&one).unwrap();
    catalog.put_volume(&two).unwrap();
    let (a, b) = (sealed(&catalog, vec![file("a", 1)]), sealed(&catalog, vec![file("b", 2)]));
    committed(&catalog, &one, &[&a, &b]);
    committed(&catalog, &two, &[&a, &b]);
    assert_eq!(catalog.indispensable(one.id, 1).unwrap(), [a.id, b.id]);
    catalog.set_copy_state(a.id, two.id, (CopyState::Verified, at(30))).unwrap();
    assert_eq!(catalog.indispensable(one.id, 1).unwrap(), [b.id]);
    catalog.set_copy_state(b.id, two.id, (CopyState::Verified, at(30))).unwrap();
    assert_eq!(catalog.indispensable(one.id, 1).unwrap(), []);
    assert_eq!(catalog.indispensable(one.id, 2).unwrap(), [a.id, b.id]);
}

#[test]
fn destruction_forgets_copies_and_names_what_has_none_left() {
    let (_folder, catalog) = catalog();
    let (one, two) = (volume("A00001"), volume("A00002"));
    catalog.put_volume(&one).unwrap();
    catalog.put_volume(&two).unwrap();
    let a = sealed(&catalog, vec![file("a", 1)]);
    let b = sealed(&catalog, vec![file("b", 2)]);
    let staged = sealed(&catalog, vec![file("c", 3)]);
    committed(&catalog, &one, &[&a, &b, &staged]);
    committed(&catalog, &two, &[&b]);
    catalog.set_staged(a.id, false).unwrap();
    catalog.set_staged(b.id, false).unwrap();
    assert_eq!(catalog.staged_segments().unwrap().len(), 1);
    assert!(matches!(catalog.drop_segment(a.id), Err(CatalogError::Conflict { .. })));
    assert_eq!(catalog.destroy_volume(one.id, at(50)).unwrap(), [a.id]);
    assert_eq!(catalog.orphans().unwrap(), [a.id]);
    assert_eq!(catalog.copies_on(one.id).unwrap(), []);
    catalog.drop_segment(a.id).unwrap();
    assert_eq!(catalog.segment(a.id).unwrap(), None);
    assert!(catalog.entries(a.id).is_err());
    assert_eq!(catalog.segments().unwrap().len(), 2);
}

#[test]
fn sessions_are_kept_by_volume() {
    let (_folder, catalog) = catalog();
    let made = volume("A00001");
    catalog.put_volume(&made).unwrap();
    let mut sessions: Vec<_> = (0..3)
        .map(|n| Session {
            id: SessionId::new(),
            volume: made.id,
            set: SetId::new(),
            drive: "left".into(),
            started: at(n),
            ended: None,
            index: None,
        })
        .collect();
    sessions.iter().rev().for_each(|session| catalog.put_session(session).unwrap());
    sessions[1].ended = Some(at(9));
    catalog.put_session(&sessions[1]).unwrap();
    assert_eq!(catalog.sessions(made.id).unwrap(), sessions);
    assert_eq!(catalog.session(sessions[1].id).unwrap(), Some(sessions[1].clone()));
    assert_eq!(catalog.newest_event().unwrap(), Some(at(0).after(Duration::from_secs(9))));
}

#[test]
fn a_segment_is_known_once_with_one_content() {
    let (_folder, catalog) = catalog();
    let made = segment(1);
    for _ in 0..2 {
        catalog.add_segment(&made, &mut std::iter::once(file("a", 1))).unwrap();
        assert_eq!(catalog.segments().unwrap(), std::slice::from_ref(&made));
    }
    let mut other = made.clone();
    other.digest = Digest::of(b"other");
    let refused = catalog.add_segment(&other, &mut std::iter::once(file("a", 1)));
    assert!(matches!(refused, Err(CatalogError::Conflict { .. })));
}
