//! The hard cases: what has broken archives before.

use tapevault::clock::Timestamp;
use tapevault::ident::SourceName;
use tapevault::item::{Extent, Item, Key, Kind, ObjectFacts, Posix, Version, Xattr};
use tapevault::volume::manifest::Part;

use crate::build::{Content, moment};

pub(crate) fn source(name: &str) -> SourceName {
    name.parse().unwrap()
}

fn content(source_name: &str, item: Item, data: &[u8]) -> Content {
    let item = Item { size: data.len() as u64, ..item };
    let source = source(source_name);
    Content { source, item, data: data.to_vec(), part: None, linked_to: None, torn: false }
}

/// A file of a file system.
pub(crate) fn file(key: &[u8], data: &[u8]) -> Content {
    special(key, Kind::File, data)
}

/// Anything of a file system.
pub(crate) fn special(key: &[u8], kind: Kind, data: &[u8]) -> Content {
    let mode = if kind == Kind::Directory { 0o755 } else { 0o640 };
    let posix = Posix { mode, uid: 1000, gid: 1000, ..Posix::default() };
    let item = Item {
        key: Key(key.to_vec()),
        kind,
        modified: moment(-3600),
        latest: true,
        posix: Some(Box::new(posix)),
        ..Item::default()
    };
    content("disk", item, data)
}

fn with_posix(mut content: Content, change: impl FnOnce(&mut Posix)) -> Content {
    change(content.item.posix.as_mut().unwrap());
    content
}

/// An object of a bucket.
pub(crate) fn object(key: &[u8], version: &str, latest: bool, data: &[u8]) -> Content {
    let facts = ObjectFacts {
        etag: format!("{:x}", data.len()),
        metadata: [("colour".into(), "blue".into()), ("ümlaut=x".into(), "ü".into())].into(),
        tags: [("team".into(), "a".into())].into(),
        ..ObjectFacts::default()
    };
    let item = Item {
        key: Key(key.to_vec()),
        version: Version(version.to_owned()),
        modified: moment(-7200),
        latest,
        object: Some(Box::new(facts)),
        ..Item::default()
    };
    content("bucket", item, data)
}

/// A path of exactly 4,000 bytes, and its folders.
pub(crate) fn long_key() -> Vec<u8> {
    let mut key = "long-folder-name-of-40-bytes-in-utf8-é/".repeat(97).into_bytes();
    key.resize(4000, b'n');
    key
}

fn sparse(key: &[u8], size: usize, extents: &[(u64, u64)]) -> Content {
    let mut data = vec![0; size];
    let mut list = Vec::new();
    for &(offset, length) in extents {
        let begin = usize::try_from(offset).unwrap();
        data[begin..begin + usize::try_from(length).unwrap()].fill(b's');
        list.push(Extent { offset, length });
    }
    let mut content = file(key, &data);
    content.item.extents = Some(list);
    content
}

fn tree() -> Vec<Content> {
    let mut first = file(b"links/first", b"one file, two names\n");
    first.item.posix.as_mut().unwrap().link_group =
        Some(tapevault::item::LinkGroup { device: 1, inode: 2 });
    let mut second = first.clone();
    second.item.key = Key::from("links/second");
    second.linked_to = Some(Key::from("links/first"));
    let symlink = |key: &[u8], target: &[u8]| {
        special(key, Kind::Symlink { target: Key(target.to_vec()) }, b"")
    };
    let xattr = |name: &str, value: &[u8]| Xattr { name: name.into(), value: value.to_vec() };
    let all_bytes: Vec<u8> = (0..=255).collect();
    let mut old = file(b"times/before-1970", b"old");
    old.item.modified = Timestamp::from_parts(-1, 500_000_000);
    let mut exact = file(b"times/nanoseconds", b"exact");
    exact.item.modified = Timestamp::from_parts(1_700_000_000, 123_456_789);
    vec![
        file(b"plain.txt", b"plain\n"),
        file(b"empty", b""),
        file(b"exactly-one-unit", &[b'u'; 512]),
        file(&long_key(), b"deep"),
        file("unicode/é ü 漢字 🎞 \u{202e}rtl".as_bytes(), b"u"),
        file("odd/\u{fffd} and \u{85} and 100% \\".as_bytes(), b"o"),
        file(b"odd/\x01\x02\t\n\x1b[31m\x7f", b"c"),
        file(b"odd/not-utf8-\xff\xfe", b"n"),
        file(b"odd/-rf *", b"-"),
        file(b"odd/ leading and trailing ", b" "),
        file(&[b"odd/".as_slice(), &[b'%'; 250]].concat(), b"%"),
        file(b"odd/x.part-00001-of-00002", b"not a part"),
        first,
        second,
        sparse(b"sparse/middle", 200_000, &[(8192, 4096), (65_536, 100)]),
        sparse(b"sparse/unaligned", 100_001, &[(1000, 10), (3000, 5), (99_990, 11)]),
        sparse(b"sparse/nothing-but-hole", 1_000_000, &[]),
        symlink(b"links/relative", b"first"),
        symlink(b"links/not-utf8", b"t\xff"),
        symlink(b"links/long-not-utf8", &b"\xfe/".repeat(90)),
        symlink(b"links/long", &b"target/".repeat(40)),
        special(b"fifo", Kind::Fifo, b""),
        old,
        exact,
        with_posix(file(b"owner", b"w"), |posix| {
            posix.uid = 4_000_000_000;
            posix.gid = 3_000_000;
            posix.user = "a-user-name-that-is-longer-than-the-field-of-ustar".into();
            posix.group = "gruppe-ü".into();
        }),
        with_posix(file(b"xattrs", b"x"), |posix| {
            posix.xattrs = vec![
                xattr("security.capability", b"\x01"),
                xattr("user.every-byte", &all_bytes),
                xattr("user.text", b"value"),
            ];
        }),
        special(b"directory", Kind::Directory, b""),
        special(b"odd", Kind::Directory, b""),
    ]
}

fn bucket() -> Vec<Content> {
    let mut out: Vec<_> = [
        &b"."[..],
        b"..",
        b"a",
        b"a/",
        b"a/b",
        b"a//b",
        b"/a",
        b"A",
        b"dir.d/x",
        b"dir.d",
        b"line\nend",
        b"ctl\x01",
        "\u{fffd}".as_bytes(),
        b"../../etc/passwd",
    ]
    .iter()
    .map(|key| object(key, "", true, key))
    .collect();
    out.push(object(&[b'k'; 1024], "", true, b"a key of 1,024 bytes"));
    // Three versions of a key, with a delete marker between them.
    out.push(object(b"doc.txt", "v4", true, b"newest"));
    let mut marker = object(b"doc.txt", "v3", false, b"");
    marker.item.kind = Kind::DeleteMarker;
    out.push(marker);
    out.push(object(b"doc.txt", "v2", false, b"older"));
    out.push(object(b"doc.txt", "v1", false, b"oldest"));
    out.push(object(b"doc.txt/v1", "null", false, b"a key like a version"));
    for (number, part) in [(1_u32, b"first "), (2, b"second")] {
        let mut piece = object(b"big.bin", "", true, part);
        piece.item.size = 12;
        let offset = u64::from(number - 1) * 6;
        piece.part = Some(Part { number, of: 2, offset, length: 6 });
        out.push(piece);
    }
    out
}

/// What came to the format last: the state of a checksum between the parts of an object, a sparse
/// file in parts, chaining values, and a file that changed while it was read.
pub(crate) fn parts() -> Vec<Content> {
    let mut out = Vec::new();
    let long: Vec<u8> = (0..1_100_000_u32).map(|n| (n / 4096).to_le_bytes()[0]).collect();
    for (number, data) in [(1_u32, &long[..]), (2, b"the end of it")] {
        let mut piece = object(b"big.bin", "v7", true, data);
        let offset = u64::from(number - 1) * long.len() as u64;
        piece.part = Some(Part { number, of: 2, offset, length: data.len() as u64 });
        piece.item.size = long.len() as u64 + 13;
        let facts = piece.item.object.as_mut().unwrap();
        if number == 1 {
            facts.running = "crc64nvme=0123456789abcdef;1100000".into();
        } else {
            facts.verified = "crc64nvme=AAAAAAAAAAA=".into();
        }
        out.push(piece);
    }
    let size = 100_000;
    for (number, extents) in [(1_u32, &[(4096, 512), (50_176, 1000)][..]), (2, &[(99_000, 1000)])] {
        let mut piece = sparse(b"disk.img", size, extents);
        let offset = u64::from(number - 1) * size as u64;
        piece.part = Some(Part { number, of: 2, offset, length: size as u64 });
        piece.item.size = 2 * size as u64;
        out.push(piece);
    }
    let mut torn = file(b"log.txt", b"the last read of three\n");
    torn.torn = true;
    out.push(torn);
    out
}

/// Every hard case that is small.
pub(crate) fn small() -> Vec<Content> {
    // Directories come last.
    let mut out = bucket();
    out.extend(tree());
    out
}
