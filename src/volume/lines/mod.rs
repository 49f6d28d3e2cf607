//! Writes and reads manifests: plain JSON, one entry a line, sorted by [`Entry::order`].

mod canonical;
mod line;

use std::{
    borrow::Cow,
    io::{self, BufRead, Read},
};

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::clock::Timestamp;
use crate::item::{Extent, Item, Key, Kind, Posix};
use crate::tar::push_number;
use crate::volume::{lines::line::Line, manifest::Entry};

/// The longest line, in bytes.
const LINE_MAX: u64 = 256 << 20;
/// A digest in hexadecimal.
const DIGEST_DIGITS: u32 = 64;

/// Why a manifest cannot be read further. The line is numbered from 0.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The stream failed.
    #[error("cannot read manifest line {line}")]
    Io {
        /// The line's number.
        line: u64,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// A line is not an entry.
    #[error("manifest line {line} is not an entry")]
    Malformed {
        /// The line's number.
        line: u64,
        /// The cause.
        #[source]
        cause: serde_json::Error,
    },
    /// A line that does not end, or is longer than any entry.
    #[error("manifest line {line} does not end")]
    Endless {
        /// The line's number.
        line: u64,
    },
    /// Entries do not ascend.
    #[error("manifest line {line} is out of order")]
    OutOfOrder {
        /// The line's number.
        line: u64,
    },
}

/// Where a line has the path and the digest of its member, so that the line need not be parsed for
/// them. Neither has escapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Offset of the path's first byte in the line, and its length; 0 without a member.
    path: (u32, u32),
    /// Offset of the digest's first digit; 0 when there is none.
    digest: u32,
    /// Whether the path is written with escapes, so that only a parser knows it.
    escaped: bool,
}

/// The digits of a member's digest, and its path.
pub(super) type Sum<'l> = (Cow<'l, str>, Cow<'l, str>);

impl Marks {
    /// Bytes of [`Self::encode`].
    pub const BYTES: usize = 13;

    /// As bytes, for whoever keeps them for a while.
    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let numbers = [self.path.0, self.path.1, self.digest];
        for (place, number) in bytes.chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[12] = u8::from(self.escaped);
        bytes
    }

    /// What [`Self::encode`] was given.
    pub fn decode(bytes: [u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, escaped] = bytes;
        Self {
            path: (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])),
            digest: u32::from_le_bytes([i, j, k, l]),
            escaped: escaped != 0,
        }
    }

    /// The digits of the digest, and the path, of the member that `line` speaks of, if it has both.
    ///
    /// # Errors
    ///
    /// When the marks are not this line's.
    pub(super) fn sum<'l>(self, line: &'l [u8]) -> Result<Option<Sum<'l>>, serde_json::Error> {
        if self.digest == 0 || self.path.0 == 0 {
            return Ok(None);
        }
        if self.escaped {
            let entry = read_line(line)?;
            let both = entry.digest.zip(entry.path);
            return Ok(both.map(|(digest, path)| (digest.to_string().into(), path.into())));
        }
        let piece = |at: u32, length: u32| {
            let at = usize::try_from(at).expect("32 bits fit memory");
            let length = usize::try_from(length).expect("32 bits fit memory");
            let piece = line.get(at..at.saturating_add(length))?;
            std::str::from_utf8(piece).ok().map(Cow::Borrowed)
        };
        let both = piece(self.digest, DIGEST_DIGITS).zip(piece(self.path.0, self.path.1));
        let wrong = || serde::ser::Error::custom("the marks of another line");
        both.map(Some).ok_or_else(wrong)
    }
}

/// Appends the line of one entry, with its newline; where what is in it.
pub fn write_line(entry: &Entry, out: &mut Vec<u8>) -> Marks {
    let begin = out.len();
    let within = |at: usize| u32::try_from(at - begin).expect("a line is below 4 GiB");
    let mut marks = Marks::default();
    out.extend_from_slice(b"{\"source\":\"");
    out.extend_from_slice(entry.source.as_str().as_bytes());
    out.push(b'"');
    write_item(&entry.item, out);
    if let Some(path) = &entry.path {
        label(out, "path");
        let length = u32::try_from(path.len()).expect("a path is below 4 GiB");
        marks.path = (within(out.len() + 1), length);
        marks.escaped = !string(out, path);
    }
    number(out, "offset", entry.offset);
    number(out, "data", entry.data);
    number(out, "stored", entry.stored);
    if let Some(digest) = &entry.digest {
        label(out, "digest");
        out.push(b'"');
        marks.digest = within(out.len());
        out.extend_from_slice(&digest.hex());
        out.push(b'"');
    }
    if let Some(part) = &entry.part {
        label(out, "part");
        out.extend_from_slice(b"{\"number\":");
        push_number(out, part.number.into());
        number(out, "of", part.of.into());
        number(out, "offset", part.offset);
        number(out, "length", part.length);
        out.push(b'}');
    }
    if let Some(link) = &entry.linked_to {
        key_object(out, "linked_to", &link.key);
    }
    flag(out, "torn", entry.torn);
    if !entry.chaining.is_empty() {
        text(out, "chaining", &entry.chaining);
    }
    out.extend_from_slice(b"}\n");
    marks
}

fn write_item(item: &Item, out: &mut Vec<u8>) {
    out.push(b',');
    key(out, &item.key);
    if !item.version.is_none() {
        text(out, "version", &item.version.0);
    }
    write_kind(&item.kind, out);
    number(out, "size", item.size);
    moment(out, "modified", item.modified);
    flag(out, "latest", item.latest);
    number(out, "token", item.token.0);
    if let Some(posix) = &item.posix {
        write_posix(posix, out);
    }
    if let Some(object) = &item.object {
        label(out, "object");
        serde_json::to_writer(&mut *out, object).expect("text maps are JSON, and memory takes it");
    }
    if let Some(extents) = &item.extents {
        write_extents(extents, out);
    }
}

fn write_kind(kind: &Kind, out: &mut Vec<u8>) {
    let mut devices = None;
    let name = match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink { .. } => "symlink",
        Kind::Fifo => "fifo",
        Kind::CharacterDevice { major, minor } => {
            devices = Some((*major, *minor));
            "character-device"
        }
        Kind::BlockDevice { major, minor } => {
            devices = Some((*major, *minor));
            "block-device"
        }
        Kind::DeleteMarker => "delete-marker",
    };
    text(out, "kind", name);
    if let Kind::Symlink { target } = kind {
        key_object(out, "target", target);
    }
    if let Some((major, minor)) = devices {
        number(out, "major", major.into());
        number(out, "minor", minor.into());
    }
}

fn write_posix(posix: &Posix, out: &mut Vec<u8>) {
    label(out, "posix");
    out.extend_from_slice(b"{\"mode\":");
    push_number(out, posix.mode.into());
    number(out, "uid", posix.uid.into());
    number(out, "gid", posix.gid.into());
    if !posix.user.is_empty() {
        text(out, "user", &posix.user);
    }
    if !posix.group.is_empty() {
        text(out, "group", &posix.group);
    }
    if !posix.xattrs.is_empty() {
        label(out, "xattrs");
        serde_json::to_writer(&mut *out, &posix.xattrs).expect("text is JSON, and memory takes it");
    }
    if let Some(group) = &posix.link_group {
        label(out, "link_group");
        out.extend_from_slice(b"{\"device\":");
        push_number(out, group.device);
        number(out, "inode", group.inode);
        out.push(b'}');
    }
    out.push(b'}');
}

fn write_extents(extents: &[Extent], out: &mut Vec<u8>) {
    label(out, "extents");
    out.push(b'[');
    for (place, extent) in extents.iter().enumerate() {
        out.extend_from_slice(if place == 0 { b"{\"offset\":" } else { b",{\"offset\":" });
        push_number(out, extent.offset);
        number(out, "length", extent.length);
        out.push(b'}');
    }
    out.push(b']');
}

/// `,"name":`
fn label(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(out: &mut Vec<u8>, name: &str, number: u64) {
    label(out, name);
    push_number(out, number);
}

fn text(out: &mut Vec<u8>, name: &str, text: &str) {
    label(out, name);
    string(out, text);
}

/// Whether the text stands there as it is, without escapes.
fn string(out: &mut Vec<u8>, text: &str) -> bool {
    // Looking at all bytes, many at once, is faster than stopping at the first.
    let plain = |plain, b| plain & (b >= b' ') & (b != b'"') & (b != b'\\');
    let plain = text.bytes().fold(true, plain);
    if plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(&mut *out, text).expect("text is JSON, and memory takes it");
    }
    plain
}

fn flag(out: &mut Vec<u8>, name: &str, flag: bool) {
    if flag {
        label(out, name);
        out.extend_from_slice(b"true");
    }
}

fn moment(out: &mut Vec<u8>, name: &str, moment: Timestamp) {
    use std::io::Write;
    label(out, name);
    write!(out, "\"{moment}\"").expect("memory takes it");
}

/// `"key":"…"`, or `"key_b64":"…"` when the key is not UTF-8.
fn key(out: &mut Vec<u8>, key: &Key) {
    if let Ok(text) = std::str::from_utf8(&key.0) {
        out.extend_from_slice(b"\"key\":");
        string(out, text);
    } else {
        out.extend_from_slice(b"\"key_b64\":");
        string(out, &BASE64_STANDARD.encode(&key.0));
    }
}

fn key_object(out: &mut Vec<u8>, name: &str, object: &Key) {
    label(out, name);
    out.push(b'{');
    key(out, object);
    out.push(b'}');
}

/// Reads one line, with or without its newline.
///
/// # Errors
///
/// When it is not an entry.
pub fn read_line(bytes: &[u8]) -> Result<Entry, serde_json::Error> {
    match canonical::read(bytes) {
        Some(entry) => Ok(entry),
        None => serde_json::from_slice::<Line<'_>>(bytes).and_then(line::entry),
    }
}

/// Reads a manifest, entry after entry, and checks that they ascend.
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    line: u64,
    buffer: Vec<u8>,
    last: Option<Entry>,
    /// Whether the stream failed, so that nothing more can come.
    failed: bool,
}

impl<R: BufRead> Reader<R> {
    /// A reader of a manifest's lines; `inner` ends where the manifest ends.
    pub fn new(inner: R) -> Self {
        Self { inner, line: 0, buffer: Vec::new(), last: None, failed: false }
    }

    /// The next entry, or `None` at the end. It can be taken by cloning, or read in place.
    ///
    /// # Errors
    ///
    /// When the manifest is broken here; what came before stands. After a line that is malformed or
    /// out of order the next one can be read; after any other error nothing comes.
    pub fn next_entry(&mut self) -> Result<Option<&Entry>, ManifestError> {
        let line = self.line;
        if self.failed {
            return Ok(None);
        }
        self.failed = true;
        self.buffer.clear();
        let mut bounded = (&mut self.inner).take(LINE_MAX);
        let count = bounded
            .read_until(b'\n', &mut self.buffer)
            .map_err(|cause| ManifestError::Io { line, cause })?;
        if count == 0 {
            return Ok(None);
        }
        if self.buffer.last() != Some(&b'\n') {
            return Err(ManifestError::Endless { line });
        }
        self.failed = false;
        self.line += 1;
        let entry =
            read_line(&self.buffer).map_err(|cause| ManifestError::Malformed { line, cause })?;
        if self.last.as_ref().is_some_and(|last| last.order() >= entry.order()) {
            return Err(ManifestError::OutOfOrder { line });
        }
        Ok(Some(self.last.insert(entry)))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Entry, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().map(|entry| entry.cloned()).transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Digest;
    use crate::item::{LinkGroup, ObjectFacts, Token, Version, Xattr};
    use crate::volume::manifest::{LinkedTo, Part};

    fn keys() -> impl Strategy<Value = Key> {
        prop_oneof![
            "\\PC{1,20}".prop_map(String::into_bytes),
            "[\"\\\\\\n\\x01a]{1,5}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 1..9),
        ]
        .prop_map(Key)
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::File),
            Just(Kind::Directory),
            keys().prop_map(|target| Kind::Symlink { target }),
            Just(Kind::Fifo),
            any::<(u32, u32)>().prop_map(|(major, minor)| Kind::CharacterDevice { major, minor }),
            any::<(u32, u32)>().prop_map(|(major, minor)| Kind::BlockDevice { major, minor }),
            Just(Kind::DeleteMarker),
        ]
    }

    fn posix() -> impl Strategy<Value = Posix> {
        let xattr = ("\\PC{0,9}", prop::collection::vec(any::<u8>(), 0..9))
            .prop_map(|(name, value)| Xattr { name, value });
        let group = any::<(u64, u64)>().prop_map(|(device, inode)| LinkGroup { device, inode });
        let texts = ("\\PC{0,4}", "\\PC{0,4}");
        let xattrs = prop::collection::vec(xattr, 0..3);
        (any::<(u32, u32, u32)>(), texts, xattrs, prop::option::of(group)).prop_map(
            |((mode, uid, gid), (user, group), xattrs, link_group)| Posix {
                mode,
                uid,
                gid,
                user,
                group,
                xattrs,
                link_group,
            },
        )
    }

    fn items() -> impl Strategy<Value = Item> {
        let facts = prop::collection::btree_map("\\PC{0,5}", "\\PC{0,5}", 0..3).prop_map(|map| {
            ObjectFacts { etag: "e".into(), metadata: map.clone(), tags: map, ..Default::default() }
        });
        let extents = any::<(u64, u64)>().prop_map(|(offset, length)| Extent { offset, length });
        let known = (
            prop::option::of(posix()),
            prop::option::of(facts),
            prop::option::of(prop::collection::vec(extents, 0..3)),
        );
        let nanoseconds = -1_i128 << 80..1 << 80;
        (keys(), "\\PC{0,3}", kinds(), any::<(u64, bool, u64)>(), nanoseconds, known).prop_map(
            |(key, version, kind, (size, latest, token), nanoseconds, (posix, object, extents))| {
                Item {
                    key,
                    version: Version(version),
                    kind,
                    size,
                    modified: Timestamp::from_nanoseconds(nanoseconds),
                    latest,
                    token: Token(token),
                    posix: posix.map(Box::new),
                    object: object.map(Box::new),
                    extents,
                }
            },
        )
    }

    pub(crate) fn entries() -> impl Strategy<Value = Entry> {
        let part = any::<(u32, u32, u64, u64)>().prop_map(|(number, of, offset, length)| Part {
            number,
            of,
            offset,
            length,
        });
        let link = keys().prop_map(|key| LinkedTo { key });
        let digest = any::<[u8; 32]>().prop_map(Digest);
        let optional = (
            prop::option::of("\\PC{1,9}"),
            prop::option::of(digest),
            prop::option::of(part),
            prop::option::of(link),
        );
        (items(), any::<(u64, u64, u64, bool)>(), optional, "[a-z]{0,4}").prop_map(
            |(item, (offset, data, stored, torn), (path, digest, part, linked_to), chaining)| {
                let source = "web-1".parse().unwrap();
                Entry {
                    source,
                    item,
                    path,
                    offset,
                    data,
                    stored,
                    digest,
                    part,
                    linked_to,
                    torn,
                    chaining,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn entries_read_back(entry in entries()) {
            let mut line = Vec::new();
            let marks = write_line(&entry, &mut line);
            prop_assert_eq!(Marks::decode(marks.encode()), marks);
            let sum = marks.sum(&line).unwrap();
            let sum = sum.map(|(digest, path)| (digest.into_owned(), path.into_owned()));
            let digest = entry.digest.map(|digest| digest.to_string());
            prop_assert_eq!(sum, digest.zip(entry.path.clone()));
            prop_assert_eq!(line.iter().filter(|&&b| b == b'\n').count(), 1);
            prop_assert_eq!(&read_line(&line).unwrap(), &entry);
            let parsed = serde_json::from_slice::<Line<'_>>(&line).and_then(line::entry).unwrap();
            prop_assert_eq!(&parsed, &entry);
            // The types' own form is the same.
            let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(&serde_json::to_value(&entry).unwrap(), &value);
            prop_assert_eq!(serde_json::from_slice::<Entry>(&line).unwrap(), entry);
        }

        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for entry in Reader::new(&bytes[..]).take(3) {
                drop(entry);
            }
        }
    }

    fn two_lines(keys: [&str; 2]) -> Vec<u8> {
        let mut out = Vec::new();
        for key in keys {
            out.extend(
                format!(
                    r#"{{"source":"s","key":"{key}","kind":"file","size":0,"modified":"1970-01-01T00:00:00Z","token":0}}"#
                )
                .bytes(),
            );
            out.push(b'\n');
        }
        out
    }

    #[test]
    fn manifests_are_sorted_and_whole() {
        let good = two_lines(["a", "b"]);
        assert_eq!(Reader::new(&good[..]).map(Result::unwrap).count(), 2);
        for keys in [["b", "a"], ["a", "a"]] {
            let last = Reader::new(&two_lines(keys)[..]).last().unwrap();
            assert!(matches!(last, Err(ManifestError::OutOfOrder { line: 1 })), "{last:?}");
        }
        let last = Reader::new(&good[..good.len() - 1]).last().unwrap();
        assert!(matches!(last, Err(ManifestError::Endless { line: 1 })), "{last:?}");
        let last = Reader::new(&b"{}\n"[..]).last().unwrap();
        assert!(matches!(last, Err(ManifestError::Malformed { line: 0, .. })), "{last:?}");
    }
}
