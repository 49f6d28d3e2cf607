//! One manifest line as it is parsed: flat, borrowing its text, so that a manifest is read fast.
//!
//! The derived form of [`Entry`] reads the same lines, but buffers every field on the way.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, de::Error};

use crate::digest::Digest;
use crate::item::{Extent, Item, Key, Kind, ObjectFacts, Posix, Token, Version};
use crate::volume::manifest::{Entry, LinkedTo, Part};

#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key_b64: Option<Cow<'a, str>>,
    #[serde(default)]
    version: String,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    target: Option<KeyObject<'a>>,
    #[serde(default)]
    major: u32,
    #[serde(default)]
    minor: u32,
    size: u64,
    #[serde(borrow)]
    modified: Cow<'a, str>,
    #[serde(default)]
    latest: bool,
    token: u64,
    #[serde(default)]
    posix: Option<Box<Posix>>,
    #[serde(default)]
    object: Option<Box<ObjectFacts>>,
    #[serde(default)]
    extents: Option<Vec<Extent>>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    data: u64,
    #[serde(default)]
    stored: u64,
    #[serde(borrow, default)]
    digest: Option<Cow<'a, str>>,
    #[serde(default)]
    part: Option<Part>,
    #[serde(borrow, default)]
    linked_to: Option<KeyObject<'a>>,
    #[serde(default)]
    torn: bool,
    #[serde(default)]
    chaining: String,
}

#[derive(Deserialize)]
struct KeyObject<'a> {
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key_b64: Option<Cow<'a, str>>,
}

fn key_of(text: Option<Cow<'_, str>>, base64: Option<Cow<'_, str>>) -> serde_json::Result<Key> {
    match (text, base64) {
        (Some(text), None) => Ok(Key(text.into_owned().into_bytes())),
        (None, Some(base64)) => {
            BASE64_STANDARD.decode(base64.as_bytes()).map(Key).map_err(Error::custom)
        }
        (None, None) | (Some(_), Some(_)) => Err(Error::custom("either key or key_b64 is needed")),
    }
}

pub(super) fn entry(line: Line<'_>) -> serde_json::Result<Entry> {
    let device = (line.major, line.minor);
    let kind = match line.kind.as_ref() {
        "file" => Kind::File,
        "directory" => Kind::Directory,
        "symlink" => {
            let target = line.target.ok_or_else(|| Error::missing_field("target"))?;
            Kind::Symlink { target: key_of(target.key, target.key_b64)? }
        }
        "fifo" => Kind::Fifo,
        "character-device" => Kind::CharacterDevice { major: device.0, minor: device.1 },
        "block-device" => Kind::BlockDevice { major: device.0, minor: device.1 },
        "delete-marker" => Kind::DeleteMarker,
        other => return Err(Error::custom(format_args!("{other:?} is no kind of item"))),
    };
    let linked_to = match line.linked_to {
        Some(object) => Some(LinkedTo { key: key_of(object.key, object.key_b64)? }),
        None => None,
    };
    let digest =
        line.digest.map(|text| text.parse::<Digest>().map_err(Error::custom)).transpose()?;
    Ok(Entry {
        source: line.source.parse().map_err(Error::custom)?,
        item: Item {
            key: key_of(line.key, line.key_b64)?,
            version: Version(line.version),
            kind,
            size: line.size,
            modified: line.modified.parse().map_err(Error::custom)?,
            latest: line.latest,
            token: Token(line.token),
            posix: line.posix,
            object: line.object,
            extents: line.extents,
        },
        path: line.path,
        offset: line.offset,
        data: line.data,
        stored: line.stored,
        digest,
        part: line.part,
        linked_to,
        torn: line.torn,
        chaining: line.chaining,
    })
}
