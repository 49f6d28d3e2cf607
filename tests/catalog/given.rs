//! What the tests start from.

use std::collections::BTreeMap;

use tapevault::{
    catalog::{Catalog, Commit, CopyRecord, Mode, Segment},
    clock::{TestClock, Timestamp},
    digest::Digest,
    ident::{PoolName, SegmentId, SessionId, SetId, SourceName, VolumeId},
    item::{Extent, Item, Key, Kind, LinkGroup, ObjectFacts, Place, Posix, Token, Version, Xattr},
    media::{Custody, Status, Volume},
    position::{FileNumber, ObjectNumber},
    volume::{
        manifest::{Entry, LinkedTo, Part},
        run::Row,
    },
};
use tempfile::TempDir;

/// A moment, `seconds` into the tests' time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_parts(1_800_000_000 + seconds, 0)
}

pub(crate) fn catalog() -> (TempDir, Catalog) {
    catalog_for(Mode::Rehearsal)
}

pub(crate) fn catalog_for(mode: Mode) -> (TempDir, Catalog) {
    let folder = TempDir::new().unwrap();
    let clock = TestClock::at(at(0));
    let catalog = Catalog::create(&folder.path().join("catalog.db"), mode, &clock).unwrap();
    (folder, catalog)
}

pub(crate) fn source(name: &str) -> SourceName {
    name.parse().unwrap()
}

pub(crate) fn pool() -> PoolName {
    "offsite".parse().unwrap()
}

pub(crate) fn volume(volser: &str) -> Volume {
    Volume {
        id: VolumeId::new(),
        volser: volser.parse().unwrap(),
        barcode: Some(format!("{volser}L8").parse().unwrap()),
        mam_serial: format!("MAM{volser}"),
        pool: pool(),
        status: Status::Appendable,
        custody: Custody::InLibrary { slot: 1000 },
        custody_since: at(0),
        density: 0x5e,
        worm: false,
        emulated: true,
        block_size: 512 << 10,
        capacity_bytes: 12_000_000_000_000,
        created: at(0),
        protected_until: None,
        label_digest: Digest::of(volser.as_bytes()),
        end: ObjectNumber(2),
        end_file: FileNumber(1),
        last_index: None,
        verified: None,
    }
}

pub(crate) fn segment(members: usize) -> Segment {
    let id = SegmentId::new();
    Segment {
        id,
        set: SetId::new(),
        created: at(10),
        bytes: 8 << 20,
        blocks: 16,
        block_size: 512 << 10,
        digest: Digest::of(id.0.as_bytes()),
        manifest_offset: 7 << 20,
        manifest_bytes: 4000,
        manifest_digest: Digest::of(b"manifest"),
        members: members as u64,
        staged: true,
    }
}

/// A plain file of a directory.
pub(crate) fn file(key: &str, content: u64) -> Entry {
    Entry {
        source: source("home"),
        item: Item {
            key: Key::from(key),
            size: 1000 + content,
            modified: Timestamp::from_parts(1_700_000_000 + i64::try_from(content).unwrap(), 5),
            latest: true,
            token: Token(content.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            posix: Some(Box::new(Posix {
                mode: 0o644,
                uid: 1000,
                gid: 100,
                user: "ann".into(),
                group: "users".into(),
                ..Posix::default()
            })),
            ..Item::default()
        },
        path: Some(format!("home/{key}")),
        offset: content * 4096,
        data: content * 4096 + 1024,
        stored: 1000 + content,
        digest: Some(Digest::of(&content.to_le_bytes())),
        part: None,
        linked_to: None,
        torn: false,
        chaining: String::new(),
    }
}

/// One version of an object.
pub(crate) fn object(key: &str, version: &str, content: u64) -> Entry {
    let plain = file(key, content);
    let etag = format!("{:032x}", u128::from(content) * 0x1234_5678_9abc_def0_1234_5678_9abc);
    Entry {
        source: source("bucket"),
        item: Item {
            version: Version(version.into()),
            posix: None,
            object: Some(Box::new(ObjectFacts {
                verified: format!("md5={etag}"),
                etag,
                headers: BTreeMap::from([("content-type".into(), "text/plain".into())]),
                ..ObjectFacts::default()
            })),
            ..plain.item
        },
        path: Some(format!("bucket@versions/{key}/{version}")),
        ..plain
    }
}

pub(crate) fn delete_marker(key: &str, version: &str) -> Entry {
    let plain = object(key, version, 0);
    let item = Item { kind: Kind::DeleteMarker, size: 0, object: None, ..plain.item };
    Entry { item, path: None, offset: 0, data: 0, stored: 0, digest: None, ..plain }
}

/// Entries with everything that can be odd, sorted.
pub(crate) fn odd_entries() -> Vec<Entry> {
    let with = |key: &str, change: &dyn Fn(&mut Entry)| {
        let mut entry = file(key, key.len() as u64);
        change(&mut entry);
        entry
    };
    let posix = |entry: &mut Entry| entry.item.posix.clone().unwrap();
    let mut entries = vec![
        with("dir", &|entry| {
            entry.item.kind = Kind::Directory;
            (entry.item.size, entry.stored, entry.digest) = (0, 0, None);
        }),
        with("link", &|entry| {
            entry.item.kind = Kind::Symlink { target: Key(b"../\xff".to_vec()) };
            (entry.item.size, entry.stored, entry.digest) = (0, 0, None);
        }),
        with("device", &|entry| {
            entry.item.kind = Kind::BlockDevice { major: 8, minor: 1 };
            (entry.item.size, entry.stored, entry.digest) = (0, 0, None);
        }),
        with("tty", &|entry| entry.item.kind = Kind::CharacterDevice { major: 4, minor: 64 }),
        with("pipe", &|entry| entry.item.kind = Kind::Fifo),
        with("sparse", &|entry| {
            entry.item.size = 1 << 40;
            entry.item.extents = Some(vec![Extent { offset: 4096, length: 512 }]);
            entry.stored = 1024;
        }),
        with("hard", &|entry| {
            entry.item.posix = Some(Box::new(Posix {
                link_group: Some(LinkGroup { device: u64::MAX, inode: 7 }),
                xattrs: vec![Xattr { name: "user.a".into(), value: vec![0, 255] }],
                ..*posix(entry)
            }));
            entry.linked_to = Some(LinkedTo { key: Key::from("sparse") });
            entry.stored = 0;
        }),
        with("escaped%", &|entry| entry.path = Some("home/escaped%25".into())),
        with("torn", &|entry| entry.torn = true),
        with("far", &|entry| {
            entry.item.modified = Timestamp::from_parts(i64::MIN / 2, 999_999_999);
            entry.item.size = u64::MAX;
            (entry.offset, entry.data, entry.stored) = (u64::MAX - 1, 3, u64::MAX);
            entry.item.posix = None;
        }),
        delete_marker("gone", "v2"),
        object("gone", "v1", 4),
        object("", "", 4),
    ];
    entries.extend((1..=3).map(third_of_big));
    let mut raw = file("x", 3);
    raw.item.key = Key(b"\xff\0\n".to_vec());
    raw.path = Some("home/%FF%00%0A".into());
    entries.push(raw);
    let mut facts = object("facts", "null", 9);
    facts.item.object = Some(Box::new(ObjectFacts {
        etag: "ABC-12".into(),
        storage_class: "GLACIER".into(),
        verified: "crc64nvme=AAAAAAAAAAA=".into(),
        metadata: BTreeMap::from([("a".into(), "b".into())]),
        tags: BTreeMap::from([("k".into(), "v".into())]),
        ..ObjectFacts::default()
    }));
    entries.push(facts);
    sort(&mut entries);
    entries
}

/// One of three parts of an item.
fn third_of_big(number: u32) -> Entry {
    let offset = u64::from(number - 1) << 30;
    let mut entry = file("big", 3);
    entry.item.size = 3 << 30;
    entry.part = Some(Part { number, of: 3, offset, length: 1 << 30 });
    entry.stored = 1 << 30;
    entry.path = Some(format!("home/big.part-0000{number}-of-00003"));
    entry
}

pub(crate) fn sort(entries: &mut [Entry]) {
    entries.sort_by(|a, b| a.order().cmp(&b.order()));
}

/// Records a segment with these entries.
pub(crate) fn sealed(catalog: &Catalog, mut entries: Vec<Entry>) -> Segment {
    sort(&mut entries);
    let segment = segment(entries.len());
    catalog.add_segment(&segment, &mut entries.into_iter()).unwrap();
    segment
}

/// Puts segments on a volume, one after the other, and commits.
pub(crate) fn committed(catalog: &Catalog, volume: &Volume, segments: &[&Segment]) {
    let before = catalog.volume_by_id(volume.id).unwrap().unwrap();
    let copies: Vec<_> = (0..)
        .zip(segments)
        .map(|(count, segment)| CopyRecord {
            segment: segment.id,
            object: ObjectNumber(before.end.0 + count * 17),
            file: FileNumber(before.end_file.0 + count),
        })
        .collect();
    let count = copies.len() as u64;
    catalog
        .commit(&Commit {
            volume: volume.id,
            session: SessionId::new(),
            copies: &copies,
            end: ObjectNumber(before.end.0 + count * 17),
            end_file: FileNumber(before.end_file.0 + count),
            index: None,
            at: at(20),
        })
        .unwrap();
}

/// The row that says that `entry` is at `place`.
pub(crate) fn row(entry: &Entry, place: Place) -> Row {
    Row {
        key: entry.item.key.clone(),
        version: entry.item.version.clone(),
        token: entry.item.token,
        latest: entry.item.latest,
        delete_marker: entry.item.kind == Kind::DeleteMarker,
        places: vec![place],
    }
}
