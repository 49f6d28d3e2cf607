//! Items: the things that a source holds, as it knows them.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, ident::SegmentId, printable::Printable};

/// What names an item within its source, byte for byte: an S3 key, or a path relative to the
/// source's root without a leading slash. Ordered by its bytes, as S3 orders keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(pub Vec<u8>);

/// A source's own name for one state of an item: an S3 version id. Empty where there is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub String);

/// A fingerprint of everything that a listing says about an item. Equal tokens mean that the item
/// need not be read again.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Token(pub u64);

/// What sort of thing an item is.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// Bytes: a regular file or an object.
    #[default]
    File,
    /// A directory of a file system.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Where it points, byte for byte.
        target: Key,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharacterDevice {
        /// Device numbers.
        major: u32,
        /// Device numbers.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Device numbers.
        major: u32,
        /// Device numbers.
        minor: u32,
    },
    /// "This key was deleted here": a record of a versioned bucket, without bytes.
    DeleteMarker,
}

/// What a listing tells about an item before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub key: Key,
    /// Its version, if the source has versions.
    pub version: Version,
    /// What the listing says, as a fingerprint.
    pub token: Token,
    /// Content bytes, or 0 where there are none.
    pub size: u64,
    /// When it was last modified.
    pub modified: Timestamp,
    /// Whether this is the version that a reader without a version id gets. Always true where
    /// there are no versions, also for a delete marker that is the newest.
    pub latest: bool,
    /// What sort of thing it is; a symlink's target may still be empty here.
    pub kind: Kind,
}

/// An item whose head is in hand: all that a source knows but its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its name.
    #[serde(flatten)]
    pub key: Key,
    /// Its version, if the source has versions.
    #[serde(default, skip_serializing_if = "Version::is_none")]
    pub version: Version,
    /// What sort of thing it is.
    #[serde(flatten)]
    pub kind: Kind,
    /// Content bytes; a sparse file's holes count.
    pub size: u64,
    /// When it was last modified.
    pub modified: Timestamp,
    /// Whether it was the latest version when it was listed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latest: bool,
    /// What a listing of this very state says, so that a later one knows it as unchanged. It is
    /// another than its own listing's when it changed before it was read.
    pub token: Token,
    /// What a file system knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posix: Option<Box<Posix>>,
    /// What an object store knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Box<ObjectFacts>>,
    /// Where a sparse file has data, ascending and apart; `None` when it has no holes. With a part
    /// of the item, where that has data, from its own beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extents: Option<Vec<Extent>>,
}

/// A stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// What a file system knows about a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posix {
    /// Permission, set-id and sticky bits (the low 12).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The owner's name on the exporting host, if it had one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The group's name on the exporting host, if it had one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Extended attributes, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<Xattr>,
    /// The file behind several names: equal within a run for all names of one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_group: Option<LinkGroup>,
}

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xattr {
    /// Its name with the namespace, `user.comment`.
    pub name: String,
    /// Its value.
    #[serde(with = "base64_bytes")]
    pub value: Vec<u8>,
}

/// Device and inode of a file with several names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkGroup {
    /// The file system.
    pub device: u64,
    /// The file in it.
    pub inode: u64,
}

/// What an object store knows about an object version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFacts {
    /// Entity tag, without its quotes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub etag: String,
    /// Storage class; empty means the store's standard class.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub storage_class: String,
    /// Headers that are given back on reading (`content-type`, `cache-control`, …), names in lower
    /// case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// User metadata, names without `x-amz-meta-`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The checksum of the source's own that the bytes agreed with (`crc64nvme=…`, `md5=…`), or
    /// empty when the source offered none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub verified: String,
    /// Of a part but the last: how that checksum stands at the part's end, so that an interrupted
    /// job need not read the part again to compare the whole. Only its writer understands it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub running: String,
}

/// Where an item's bytes (or a part of them) lie: which manifest line of which segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The segment.
    pub segment: SegmentId,
    /// The manifest line, numbered from 0.
    pub ordinal: u32,
}

impl Version {
    /// Whether the source gave no version.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl Key {
    /// Shows the key safely.
    pub fn printable(&self) -> Printable<'_> {
        Printable(&self.0)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.printable())
    }
}

/// `{"key": "text"}` when it is UTF-8, `{"key_b64": "…"}` when it is not.
#[derive(Serialize, Deserialize)]
struct KeyForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_b64: Option<String>,
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => KeyForm { key: Some(text.to_owned()), key_b64: None },
            Err(_) => KeyForm { key: None, key_b64: Some(BASE64_STANDARD.encode(&self.0)) },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        match KeyForm::deserialize(deserializer)? {
            KeyForm { key: Some(text), key_b64: None } => Ok(Self(text.into_bytes())),
            KeyForm { key: None, key_b64: Some(text) } => {
                BASE64_STANDARD.decode(text).map(Self).map_err(D::Error::custom)
            }
            KeyForm { .. } => Err(D::Error::custom("either key or key_b64 is needed")),
        }
    }
}

/// Bytes as standard base64 text, for serde's `with`.
mod base64_bytes {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde::{Deserialize, de::Error};

    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<u8>, D::Error> {
        BASE64_STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_read_back_from_json() {
        for key in [Key::from("a//b\n\u{fffd}"), Key(b"\xff\xfe".to_vec())] {
            let item = Item {
                key,
                kind: Kind::Symlink { target: Key(b"x\xff".to_vec()) },
                posix: Some(Box::new(Posix {
                    xattrs: vec![Xattr { name: "user.a".into(), value: vec![0, 255] }],
                    ..Posix::default()
                })),
                ..Item::default()
            };
            let text = serde_json::to_string(&item).unwrap();
            assert_eq!(serde_json::from_str::<Item>(&text).unwrap(), item, "{text}");
        }
    }
}
