//! From a manifest entry to its tar member: path, kind, attributes.

use crate::ident::SourceName;
use crate::item::{Item, Kind, Posix};
use crate::tar::{
    Head, MemberKind,
    name::{Name, Shape},
    sparse,
};
use crate::volume::manifest::{Entry, Part};

/// The most bytes of attribute names and values that a member carries; the manifest has them all.
const XATTRS_MAX: usize = 64 << 10;
/// The longest name of an extended attribute (Linux, xattr(7)), in bytes.
const XATTR_NAME_MAX: usize = 255;
/// The namespace that anybody may restore, and that stock readers are silent about.
const USER: &str = "user.";

/// The path of an item's member, or `None` for what has no member: a delete marker.
pub fn path_of(source: &SourceName, item: &Item, part: Option<Part>) -> Option<String> {
    if item.kind == Kind::DeleteMarker {
        return None;
    }
    let current = item.latest || item.version.is_none();
    let name = Name {
        source: source.clone(),
        key: item.key.clone(),
        version: (!current).then(|| item.version.clone()),
        part: part.map(|part| (part.number, part.of)),
    };
    Some(name.path(shape_of(item)))
}

/// Only a file system guarantees that no file is also a directory.
fn shape_of(item: &Item) -> Shape {
    if item.posix.is_some() { Shape::Tree } else { Shape::Flat }
}

/// The head of an entry's member, or `None` for an entry without one. Of the entry's places
/// (`offset`, `data`, `stored`) nothing is read.
///
/// A sparse item's extents are rounded to whole units ([`sparse::align`]): the head's extents, not
/// the item's, say which bytes follow.
pub fn head_of(entry: &Entry) -> Option<Head> {
    let item = &entry.item;
    let path = entry.path.clone()?;
    let kind = kind_of(entry)?;
    let none = Posix::default();
    let posix = item.posix.as_deref();
    let owner = posix.unwrap_or(&none);
    let mode = posix.map_or_else(|| default_mode(&kind), |posix| posix.mode);
    let xattrs = match kind {
        MemberKind::File { .. } | MemberKind::Sparse { .. } | MemberKind::Directory => xattrs(item),
        // Only files and directories take user attributes (Linux, xattr(7)).
        MemberKind::HardLink { .. }
        | MemberKind::Symlink { .. }
        | MemberKind::Fifo
        | MemberKind::CharacterDevice { .. }
        | MemberKind::BlockDevice { .. } => Vec::new(),
    };
    Some(Head {
        path,
        kind,
        mode,
        uid: owner.uid,
        gid: owner.gid,
        user: owner.user.clone(),
        group: owner.group.clone(),
        modified: item.modified,
        xattrs,
    })
}

fn kind_of(entry: &Entry) -> Option<MemberKind> {
    let item = &entry.item;
    if let Some(link) = &entry.linked_to {
        let key = link.key.clone();
        let name = Name { source: entry.source.clone(), key, version: None, part: None };
        return Some(MemberKind::HardLink { target: name.path(shape_of(item)) });
    }
    Some(match &item.kind {
        Kind::File => {
            let size = entry.part.map_or(item.size, |part| part.length);
            match &item.extents {
                Some(extents) => {
                    let extents = sparse::align(extents, size);
                    MemberKind::Sparse { real_size: size, extents }
                }
                None => MemberKind::File { size },
            }
        }
        Kind::Directory => MemberKind::Directory,
        Kind::Symlink { target } => MemberKind::Symlink { target: target.0.clone() },
        Kind::Fifo => MemberKind::Fifo,
        Kind::CharacterDevice { major, minor } => {
            MemberKind::CharacterDevice { major: *major, minor: *minor }
        }
        Kind::BlockDevice { major, minor } => {
            MemberKind::BlockDevice { major: *major, minor: *minor }
        }
        Kind::DeleteMarker => return None,
    })
}

fn default_mode(kind: &MemberKind) -> u32 {
    match kind {
        MemberKind::Directory => 0o755,
        MemberKind::Symlink { .. } => 0o777,
        MemberKind::File { .. }
        | MemberKind::Sparse { .. }
        | MemberKind::HardLink { .. }
        | MemberKind::Fifo
        | MemberKind::CharacterDevice { .. }
        | MemberKind::BlockDevice { .. } => 0o644,
    }
}

/// The attributes that stock readers restore: `user.*` of a file, user metadata of an object.
fn xattrs(item: &Item) -> Vec<(String, Vec<u8>)> {
    let own = item.posix.iter().flat_map(|posix| &posix.xattrs);
    let own = own.filter(|xattr| xattr.name.starts_with(USER));
    let own = own.map(|xattr| (xattr.name.clone(), xattr.value.as_slice()));
    let metadata = item.object.iter().flat_map(|object| &object.metadata);
    let metadata = metadata.map(|(name, value)| (format!("{USER}{name}"), value.as_bytes()));
    let mut room = XATTRS_MAX;
    own.chain(metadata)
        .filter(|(name, _)| name.len() > USER.len() && name.len() <= XATTR_NAME_MAX)
        // Readers disagree on how other names are escaped.
        .filter(|(name, _)| name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'=' | b'%')))
        .map_while(|(name, value)| {
            room = room.checked_sub(name.len() + value.len())?;
            Some((name, value.to_vec()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Extent, Key, ObjectFacts, Version, Xattr};
    use crate::volume::manifest::LinkedTo;

    fn entry(item: Item, part: Option<Part>) -> Entry {
        let source: SourceName = "s".parse().unwrap();
        let path = path_of(&source, &item, part);
        Entry {
            source,
            item,
            path,
            offset: 0,
            data: 0,
            stored: 0,
            digest: None,
            part,
            linked_to: None,
            torn: false,
            chaining: String::new(),
        }
    }

    fn file(key: &str) -> Item {
        Item { key: Key::from(key), size: 5000, latest: true, ..Item::default() }
    }

    #[test]
    fn objects_and_files_become_members() {
        let facts = ObjectFacts {
            metadata: [("a".into(), "1".into()), ("b=c".into(), "2".into())].into(),
            ..ObjectFacts::default()
        };
        let object = Item { object: Some(Box::new(facts)), ..file("d/x") };
        let head = head_of(&entry(object.clone(), None)).unwrap();
        assert_eq!((head.path.as_str(), head.mode), ("s/d/x%", 0o644));
        assert_eq!(head.xattrs, [("user.a".to_owned(), b"1".to_vec())]);
        let old = Item { latest: false, version: Version("V".into()), ..object };
        assert_eq!(head_of(&entry(old, None)).unwrap().path, "s@versions/d/x%/V");

        let xattr = |name: &str| Xattr { name: name.into(), value: vec![0] };
        let posix = Posix {
            mode: 0o4755,
            uid: 7,
            xattrs: vec![xattr("security.x"), xattr("user.y")],
            ..Posix::default()
        };
        let plain = Item { posix: Some(Box::new(posix)), ..file("d/x") };
        let head = head_of(&entry(plain.clone(), None)).unwrap();
        assert_eq!((head.path.as_str(), head.mode, head.uid), ("s/d/x", 0o4755, 7));
        assert_eq!(head.xattrs, [("user.y".to_owned(), vec![0])]);

        let mut link = entry(plain.clone(), None);
        link.linked_to = Some(LinkedTo { key: Key::from("d/first") });
        let head = head_of(&link).unwrap();
        assert_eq!(head.kind, MemberKind::HardLink { target: "s/d/first".into() });

        let extents = Some(vec![Extent { offset: 1000, length: 10 }]);
        let head = head_of(&entry(Item { extents, ..plain.clone() }, None)).unwrap();
        let extents = vec![Extent { offset: 512, length: 512 }];
        assert_eq!(head.kind, MemberKind::Sparse { real_size: 5000, extents });

        let part = Part { number: 2, of: 3, offset: 2000, length: 2000 };
        let head = head_of(&entry(plain.clone(), Some(part))).unwrap();
        assert_eq!(head.path, "s/d/x.part-00002-of-00003");
        assert_eq!(head.kind, MemberKind::File { size: 2000 });
        let extents = Some(vec![Extent { offset: 600, length: 1400 }]);
        let head = head_of(&entry(Item { extents, ..plain.clone() }, Some(part))).unwrap();
        let extents = vec![Extent { offset: 512, length: 1488 }];
        assert_eq!(head.kind, MemberKind::Sparse { real_size: 2000, extents });

        let marker = Item { kind: Kind::DeleteMarker, ..file("gone") };
        assert_eq!(head_of(&entry(marker, None)), None);
    }
}
