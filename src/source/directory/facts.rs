//! What `stat` says, in the words of items.

use std::{collections::HashMap, fs};

use rustix::fs::{FileType, Stat};

use crate::clock::Timestamp;
use crate::item::{Item, Key, Kind, LinkGroup, Listed, Posix, Token, Version, Xattr};

/// Names of users and groups by number, as `/etc/passwd` and `/etc/group` have them. Accounts from
/// a network directory keep their numbers only.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

/// What a change of the content cannot leave as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    modified: Timestamp,
    changed: Timestamp,
    inode: u64,
}

impl Names {
    pub(super) fn of_this_host() -> Self {
        Self { users: read_names("/etc/passwd"), groups: read_names("/etc/group") }
    }
}

/// `name:password:number:…` lines; the first name of a number counts.
fn read_names(path: &str) -> HashMap<u32, String> {
    let text = fs::read(path).unwrap_or_default();
    let mut names = HashMap::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(number)) = (fields.next(), fields.nth(1))
            && let Ok(number) = number.parse()
        {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

/// When the content was last modified.
#[expect(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
pub(super) fn modified(stat: &Stat) -> Timestamp {
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Timestamp::from_parts(stat.st_mtime as i64, nanoseconds)
}

/// When anything about the file was last changed. No program can set it.
#[expect(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
pub(super) fn changed(stat: &Stat) -> Timestamp {
    let nanoseconds = u32::try_from(stat.st_ctime_nsec).unwrap_or(0);
    Timestamp::from_parts(stat.st_ctime as i64, nanoseconds)
}

pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// What of the file the disk holds, in bytes.
pub(super) fn allocated(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            size: size(stat),
            modified: modified(stat),
            changed: changed(stat),
            inode: stat.st_ino,
        }
    }
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The kind of item, `None` for what no archive can hold. A symlink's target is still empty.
pub(super) fn kind(stat: &Stat) -> Option<Kind> {
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    match file_type(stat) {
        FileType::RegularFile => Some(Kind::File),
        FileType::Directory => Some(Kind::Directory),
        FileType::Symlink => Some(Kind::Symlink { target: Key::default() }),
        FileType::Fifo => Some(Kind::Fifo),
        FileType::CharacterDevice => Some(Kind::CharacterDevice { major, minor }),
        FileType::BlockDevice => Some(Kind::BlockDevice { major, minor }),
        FileType::Socket | FileType::Unknown => None,
    }
}

/// Everything that `stat` says and that a change of the item changes.
///
/// The device number is left out: for network and copy-on-write file systems it is another after
/// each mount, and all would be read again.
pub(super) fn token(stat: &Stat) -> Token {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&stat.st_mode.to_le_bytes());
    hasher.update(&stat.st_uid.to_le_bytes());
    hasher.update(&stat.st_gid.to_le_bytes());
    hasher.update(&stat.st_ino.to_le_bytes());
    hasher.update(&stat.st_rdev.to_le_bytes());
    // A directory's size says how its file system stores it, and is another after a restore.
    let size = if file_type(stat) == FileType::Directory { 0 } else { size(stat) };
    hasher.update(&size.to_le_bytes());
    hasher.update(&modified(stat).nanoseconds().to_le_bytes());
    hasher.update(&changed(stat).nanoseconds().to_le_bytes());
    let digest = hasher.finalize();
    let (head, _) = digest.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
    Token(u64::from_le_bytes(*head))
}

/// The listing's row; `None` for what no archive can hold.
pub(super) fn listed(key: Key, stat: &Stat) -> Option<Listed> {
    let kind = kind(stat)?;
    let size = if kind == Kind::File { size(stat) } else { 0 };
    Some(Listed {
        key,
        version: Version::default(),
        token: token(stat),
        size,
        modified: modified(stat),
        latest: true,
        kind,
    })
}

/// The item, from its listing and from what `stat` said when it was read.
pub(super) fn item(
    listed: &Listed,
    stat: &Stat,
    kind: Kind,
    xattrs: Vec<Xattr>,
    names: &Names,
) -> Item {
    let size = if kind == Kind::File { size(stat) } else { 0 };
    let link_group = (kind == Kind::File && stat.st_nlink > 1)
        .then_some(LinkGroup { device: stat.st_dev, inode: stat.st_ino });
    let posix = Posix {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        user: names.users.get(&stat.st_uid).cloned().unwrap_or_default(),
        group: names.groups.get(&stat.st_gid).cloned().unwrap_or_default(),
        xattrs,
        link_group,
    };
    Item {
        key: listed.key.clone(),
        version: listed.version.clone(),
        kind,
        size,
        modified: modified(stat),
        latest: listed.latest,
        // It may have changed since it was listed.
        token: token(stat),
        posix: Some(Box::new(posix)),
        object: None,
        extents: None,
    }
}
