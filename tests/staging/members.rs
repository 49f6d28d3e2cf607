//! What goes in comes out: of every kind, from stock tar.

use std::{fs, os::unix::fs::FileExt, sync::Arc};

use tapevault::{
    clock::Timestamp,
    digest::Digest,
    ident::SetId,
    item::{Extent, Item, Key, Kind, LinkGroup, Posix, Version},
    staging::{Outcome, Recovered, Staging, StagingError, Store, files::Disk},
    unit::MIB,
    volume::manifest::{Entry, Part},
};

use crate::support::{content, file, open, seal, settings, source, store, world};

#[test]
fn members_of_every_kind_are_sealed_as_a_tar() {
    let dir = tempfile::tempdir().unwrap();
    let (staging, recovered) = open(dir.path());
    assert_eq!(recovered, Recovered::default());
    let source = source();
    for n in 0..200 {
        let size = n * 37 % 5000;
        staging.put(&source, file(&format!("small/{n}"), size), &content(n, size)).unwrap();
    }
    let large = content(1, 3 * MIB + 17);
    let region = staging.claim(&source, file("large", large.len() as u64), None).unwrap();
    let mib = usize::try_from(MIB).unwrap();
    region.write_at(2 * MIB, &large[2 * mib..]).unwrap();
    region.write_at(0, &large[..2 * mib]).unwrap();
    region.finish(Outcome { torn: true, ..Outcome::default() }).unwrap();
    let part = Part { number: 2, of: 2, offset: 4 * MIB, length: 5 };
    let region = staging.claim(&source, file("parted", 4 * MIB + 5), Some(part)).unwrap();
    region.write_at(0, b"hello").unwrap();
    region.finish(Outcome::default()).unwrap();
    let mut holes = vec![0; 2 * mib];
    holes[mib..mib + 3].copy_from_slice(b"abc");
    let extents = Some(vec![Extent { offset: MIB, length: 3 }]);
    let sparse = Item { extents, ..file("sparse", holes.len() as u64) };
    staging.put(&source, Item { key: Key::from("sparse-put"), ..sparse.clone() }, &holes).unwrap();
    let region = staging.claim(&source, sparse, None).unwrap();
    region.write_at(MIB, &holes[mib..]).unwrap();
    region.finish(Outcome::default()).unwrap();
    let extents = Some(vec![Extent { offset: MIB, length: 3 }]);
    let item = Item { extents, ..file("sparse-parted", 9 * MIB) };
    let part = Part { number: 2, of: 3, offset: 4 * MIB, length: 2 * MIB };
    let region = staging.claim(&source, item, Some(part)).unwrap();
    region.write_at(MIB, &holes[mib..]).unwrap();
    region.finish(Outcome::default()).unwrap();
    let target = Key::from("nowhere");
    staging.put(&source, Item { kind: Kind::Symlink { target }, ..file("link", 0) }, &[]).unwrap();
    let marker = Item { kind: Kind::DeleteMarker, version: Version("7".into()), ..file("gone", 0) };
    staging.put(&source, marker, &[]).unwrap();
    let region = staging.claim(&source, file("empty", 0), None).unwrap();
    region.finish(Outcome::default()).unwrap();
    staging.put(&source, Item { kind: Kind::Directory, ..file("small", 0) }, &[]).unwrap();
    let entries = seal(&staging, dir.path());
    assert_eq!(entries.len(), 209);
    let large = &entries[&(Key::from("large"), 0)];
    assert!(large.torn && !large.chaining.is_empty());
    assert_eq!(entries[&(Key::from("sparse"), 0)].digest, Some(Digest::of(&holes)));
    let parted = &entries[&(Key::from("sparse-parted"), 2)];
    assert_eq!(parted.digest, Some(Digest::of(&holes)));
    assert!(parted.stored < 4096, "the holes take no room");
    assert_eq!(staging.counters().members_finished(), 209);
    assert_eq!(staging.usage().unwrap().open, 0);
}

#[test]
fn other_names_of_a_file_link_within_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (staging, _) = open(dir.path());
    let source = source();
    let data = content(1, 3000);
    let name = |key: &str, inode: u64| {
        let link_group = Some(LinkGroup { device: 1, inode });
        let posix = Some(Box::new(Posix { link_group, ..Posix::default() }));
        Item { posix, ..file(key, 3000) }
    };
    staging.put(&source, name("a", 1), &data).unwrap();
    staging.put(&source, name("b", 1), &data).unwrap();
    let region = staging.claim(&source, name("c", 1), None).unwrap();
    assert_eq!(region.length(), 0, "its bytes need not come");
    region.write_at(0, &data).unwrap();
    region.finish(Outcome::default()).unwrap();
    let later = Item { modified: Timestamp::from_parts(1, 0), ..name("d", 1) };
    staging.put(&source, later, &data).unwrap();
    staging.put(&source, name("e", 1), &content(2, 3000)).unwrap();
    // A second state of a name that others link to goes to another segment.
    staging.put(&source, file("a", 4), b"anew").unwrap();
    let entries = seal(&staging, dir.path());
    let links = |key: &str| entries[&(Key::from(key), 0)].linked_to.is_some();
    assert_eq!(["a", "b", "c", "d", "e"].map(links), [false, true, true, false, false]);
    assert_eq!(store(dir.path()).sealed().unwrap().len(), 2);
    assert_eq!(entries[&(Key::from("b"), 0)].digest, Some(Digest::of(&data)));
}

#[test]
fn what_was_finished_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let source = source();
    {
        let (staging, _) = open(dir.path());
        for n in 0..50 {
            staging.put(&source, file(&n.to_string(), 900), &content(n, 900)).unwrap();
        }
        let under_way = staging.claim(&source, file("lost", 2 * MIB), None).unwrap();
        under_way.write_at(0, &content(1, MIB)).unwrap();
        staging.put(&source, file("after", 900), &content(7, 900)).unwrap();
    }
    let (staging, recovered) = open(dir.path());
    assert_eq!((recovered.segments, recovered.members, recovered.lost), (1, 51, 0));
    let held: Vec<Entry> = staging.held().unwrap().map(Result::unwrap).collect();
    assert_eq!(held.len(), 51);
    assert!(held.is_sorted_by(|a, b| a.order() < b.order()));
    staging.put(&source, file("more", 1), b"x").unwrap();
    assert_eq!(seal(&staging, dir.path()).len(), 52);
}

#[test]
fn what_a_power_loss_took_from_a_member_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let source = source();
    {
        let (staging, _) = open(dir.path());
        for n in 0..6 {
            staging.put(&source, file(&n.to_string(), 2000), &content(n, 2000)).unwrap();
        }
    }
    let open_dir =
        fs::read_dir(dir.path().join("open")).unwrap().map(|found| found.unwrap().path());
    let part = open_dir.into_iter().find(|path| path.extension() == Some("part".as_ref())).unwrap();
    // One member loses bytes of its data, one its head, and one the end of the file.
    let handle = fs::OpenOptions::new().write(true).open(&part).unwrap();
    let member = handle.metadata().unwrap().len() / 6;
    handle.write_all_at(&[0; 100], member * 2 - 1000).unwrap();
    handle.write_all_at(&[0; 100], member * 3).unwrap();
    handle.set_len(member * 6 - 1024).unwrap();
    let (staging, recovered) = open(dir.path());
    assert_eq!((recovered.members, recovered.lost), (3, 3));
    let keys: Vec<Key> = staging.held().unwrap().map(|entry| entry.unwrap().item.key).collect();
    assert_eq!(keys, ["0", "2", "4"].map(Key::from));
    for n in [1, 3, 5] {
        staging.put(&source, file(&n.to_string(), 2000), &content(n, 2000)).unwrap();
    }
    assert_eq!(seal(&staging, dir.path()).len(), 6);
}

#[test]
fn one_process_at_a_time_fills_and_one_empties() {
    let dir = tempfile::tempdir().unwrap();
    let (staging, _) = open(dir.path());
    let again = Staging::open(settings(dir.path()), SetId::new(), world()).unwrap_err();
    assert!(matches!(again, StagingError::Busy { doing: "fills", .. }), "{again}");
    let store = store(dir.path());
    let again = Store::open(dir.path(), Arc::new(Disk)).unwrap_err();
    assert!(matches!(again, StagingError::Busy { doing: "empties", .. }), "{again}");
    drop((staging, store));
    open(dir.path());
}
