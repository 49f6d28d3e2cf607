//! What a pack knows of its members but their keys.

use serde::{Deserialize, Serialize};

use crate::{
    catalog::members::{
        columns::{
            Damage, GROUP, Reader, Writer, length_of, put_varint, take, unzigzag, varint, zigzag,
        },
        text_of,
    },
    clock::Timestamp,
    digest::Digest,
    ident::SourceName,
    item::{Extent, Item, Key, Kind, LinkGroup, ObjectFacts, Posix, Token, Version, Xattr},
    volume::manifest::{Entry, LinkedTo, Part},
};

// Columns.
const FLAGS: usize = 0;
const VERSION_LENGTH: usize = 1;
const VERSION: usize = 2;
const SECONDS: usize = 3;
const NANOSECONDS: usize = 4;
const SIZE: usize = 5;
const STORED: usize = 6;
const OFFSET: usize = 7;
const HEAD: usize = 8;
const TOKEN: usize = 9;
const DIGEST: usize = 10;
const OWNER: usize = 11;
const LINK_GROUP: usize = 12;
const ETAG_LENGTH: usize = 13;
const ETAG: usize = 14;
const VERIFIED: usize = 15;
const OBJECT: usize = 16;
const ODD: usize = 17;
/// Columns that have marks of their own; the dictionaries are read whole.
const POSITIONAL: usize = 18;
const OWNERS: usize = 18;
const OBJECTS: usize = 19;
const COLUMNS: usize = 20;

// Flags.
const LATEST: u64 = 1;
const TORN: u64 = 1 << 1;
const HAS_DIGEST: u64 = 1 << 2;
const HAS_OWNER: u64 = 1 << 3;
const HAS_LINK_GROUP: u64 = 1 << 4;
const HAS_OBJECT: u64 = 1 << 5;
const HAS_ODD: u64 = 1 << 6;
/// Offsets that are not whole units.
const UNALIGNED: u64 = 1 << 7;
/// Two bits of [`PathForm`].
const PATH: u32 = 8;
/// Three bits of kind.
const KIND: u32 = 10;

const UNIT: u64 = 512;
/// How far back a dictionary is searched.
const NEIGHBOURS: usize = 64;

/// Whether a path follows from source, key and version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PathForm {
    Absent,
    Current,
    Versioned,
    Odd,
}

/// What few members have.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Odd {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<Part>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    linked_to: Option<LinkedTo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extents: Option<Vec<Extent>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<Xattr>,
}

fn predicted_path(form: PathForm, source: &SourceName, item: &Item) -> Option<String> {
    let key = std::str::from_utf8(&item.key.0).ok()?;
    match form {
        PathForm::Current => Some(format!("{source}/{key}")),
        PathForm::Versioned => Some(format!("{source}@versions/{key}/{}", item.version.0)),
        PathForm::Absent | PathForm::Odd => None,
    }
}

fn form_of(entry: &Entry) -> PathForm {
    let Some(path) = &entry.path else { return PathForm::Absent };
    let rest = path.strip_prefix(entry.source.as_str());
    let key = &entry.item.key.0;
    if rest.and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| rest.as_bytes() == key) {
        return PathForm::Current;
    }
    let named = rest
        .and_then(|rest| rest.strip_prefix("@versions/"))
        .and_then(|rest| rest.strip_suffix(&entry.item.version.0))
        .and_then(|rest| rest.strip_suffix('/'));
    if named.is_some_and(|rest| rest.as_bytes() == key) {
        return PathForm::Versioned;
    }
    PathForm::Odd
}

fn odd_of(entry: &Entry, form: PathForm) -> Odd {
    Odd {
        path: entry.path.clone().filter(|_| form == PathForm::Odd),
        kind: match &entry.item.kind {
            Kind::File | Kind::Directory | Kind::Fifo | Kind::DeleteMarker => None,
            kind @ (Kind::Symlink { .. }
            | Kind::CharacterDevice { .. }
            | Kind::BlockDevice { .. }) => Some(kind.clone()),
        },
        part: entry.part,
        linked_to: entry.linked_to.clone(),
        extents: entry.item.extents.clone(),
        xattrs: entry.item.posix.as_ref().map(|posix| posix.xattrs.clone()).unwrap_or_default(),
    }
}

/// Bytes in the tar that are to be expected of an entry.
fn expected_stored(size: u64, odd: &Odd, flags: u64) -> u64 {
    if flags & HAS_DIGEST == 0 || odd.linked_to.is_some() {
        0
    } else {
        odd.part.map_or(size, |part| part.length)
    }
}

/// What the next member is written in terms of; forgotten at each mark.
struct Before {
    seconds: i64,
    end: u64,
    link_group: LinkGroup,
}

impl Default for Before {
    fn default() -> Self {
        Self { seconds: 0, end: 0, link_group: LinkGroup { device: 0, inode: 0 } }
    }
}

/// Packs facts.
#[derive(Default)]
pub(in crate::catalog) struct Encoder {
    owners: Vec<Posix>,
    objects: Vec<ObjectFacts>,
}

/// Packs the facts of entries of one source.
pub(in crate::catalog) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut writer = Writer::new(COLUMNS);
    let mut before = Before::default();
    for (at, entry) in entries.iter().enumerate() {
        if at.is_multiple_of(GROUP) {
            writer.mark();
            before = Before::default();
        }
        encoder.put(&mut writer.columns, &mut before, entry);
    }
    writer.columns[OWNERS] = serde_json::to_vec(&encoder.owners).expect("text keys");
    writer.columns[OBJECTS] = serde_json::to_vec(&encoder.objects).expect("text keys");
    writer.finish()
}

/// The place in a dictionary of what `is` true for; `make` gives it when it is new.
fn index_of<T>(dictionary: &mut Vec<T>, is: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> u64 {
    // Neighbours are alike, and a dictionary in which nothing is must not cost its square.
    let recent = dictionary.len().saturating_sub(NEIGHBOURS);
    if let Some(at) = dictionary[recent..].iter().rposition(is) {
        return (recent + at) as u64;
    }
    dictionary.push(make());
    dictionary.len() as u64 - 1
}

impl Encoder {
    fn put(&mut self, columns: &mut [Vec<u8>], before: &mut Before, entry: &Entry) {
        let item = &entry.item;
        let form = form_of(entry);
        let odd = odd_of(entry, form);
        let aligned = entry.offset.is_multiple_of(UNIT) && entry.data.is_multiple_of(UNIT);
        let mut flags = 0;
        for (set, flag) in [
            (item.latest, LATEST),
            (entry.torn, TORN),
            (entry.digest.is_some(), HAS_DIGEST),
            (item.posix.is_some(), HAS_OWNER),
            (item.posix.as_ref().is_some_and(|posix| posix.link_group.is_some()), HAS_LINK_GROUP),
            (item.object.is_some(), HAS_OBJECT),
            (odd != Odd::default(), HAS_ODD),
            (!aligned, UNALIGNED),
        ] {
            flags |= if set { flag } else { 0 };
        }
        flags |= (form as u64) << PATH | kind_number(&item.kind) << KIND;
        put_varint(&mut columns[FLAGS], flags);
        put_varint(&mut columns[VERSION_LENGTH], item.version.0.len() as u64);
        columns[VERSION].extend_from_slice(item.version.0.as_bytes());
        let (seconds, nanoseconds) = item.modified.parts();
        put_varint(&mut columns[SECONDS], zigzag(seconds.wrapping_sub(before.seconds)));
        before.seconds = seconds;
        put_varint(&mut columns[NANOSECONDS], nanoseconds.into());
        put_varint(&mut columns[SIZE], item.size);
        let expected = expected_stored(item.size, &odd, flags);
        put_varint(&mut columns[STORED], zigzag(entry.stored.wrapping_sub(expected).cast_signed()));
        if form != PathForm::Absent {
            put_offsets(columns, before, (entry, aligned));
        }
        columns[TOKEN].extend_from_slice(&item.token.0.to_le_bytes());
        if let Some(digest) = &entry.digest {
            columns[DIGEST].extend_from_slice(&digest.0);
        }
        if let Some(posix) = &item.posix {
            self.put_owner(columns, before, posix);
        }
        if let Some(object) = &item.object {
            self.put_object(columns, object);
        }
        if flags & HAS_ODD != 0 {
            let text = serde_json::to_vec(&odd).expect("text keys");
            put_varint(&mut columns[ODD], text.len() as u64);
            columns[ODD].extend_from_slice(&text);
        }
    }

    fn put_owner(&mut self, columns: &mut [Vec<u8>], before: &mut Before, posix: &Posix) {
        if let Some(group) = posix.link_group {
            let previous = std::mem::replace(&mut before.link_group, group);
            let column = &mut columns[LINK_GROUP];
            put_varint(column, zigzag(group.device.wrapping_sub(previous.device).cast_signed()));
            put_varint(column, zigzag(group.inode.wrapping_sub(previous.inode).cast_signed()));
        }
        let Posix { mode, uid, gid, user, group, xattrs: _, link_group: _ } = posix;
        let owner = index_of(
            &mut self.owners,
            |known| {
                (known.mode, known.uid, known.gid) == (*mode, *uid, *gid)
                    && known.user == *user
                    && known.group == *group
            },
            || Posix { xattrs: Vec::new(), link_group: None, ..posix.clone() },
        );
        put_varint(&mut columns[OWNER], owner);
    }

    fn put_object(&mut self, columns: &mut [Vec<u8>], object: &ObjectFacts) {
        let etag = object.etag.as_bytes();
        if let Some(bytes) = from_hex(etag) {
            put_varint(&mut columns[ETAG_LENGTH], (bytes.len() as u64) << 1 | 1);
            columns[ETAG].extend_from_slice(&bytes);
        } else {
            put_varint(&mut columns[ETAG_LENGTH], (etag.len() as u64) << 1);
            columns[ETAG].extend_from_slice(etag);
        }
        let verified = object.verified.as_str();
        let by_etag = verified.strip_prefix("md5=").is_some_and(|md5| md5 == object.etag);
        if by_etag {
            put_varint(&mut columns[VERIFIED], 1);
        } else {
            put_varint(&mut columns[VERIFIED], (verified.len() as u64) << 1);
            columns[VERIFIED].extend_from_slice(verified.as_bytes());
        }
        let ObjectFacts { etag: _, verified: _, storage_class, headers, metadata, tags, running } =
            object;
        let rest = index_of(
            &mut self.objects,
            |known| {
                known.storage_class == *storage_class
                    && known.headers == *headers
                    && known.metadata == *metadata
                    && known.tags == *tags
                    && known.running == *running
            },
            || ObjectFacts { etag: String::new(), verified: String::new(), ..object.clone() },
        );
        put_varint(&mut columns[OBJECT], rest);
    }
}

fn put_offsets(columns: &mut [Vec<u8>], before: &mut Before, (entry, aligned): (&Entry, bool)) {
    let unit = if aligned { UNIT } else { 1 };
    let (offset, data) = (entry.offset / unit, entry.data / unit);
    let step = offset.wrapping_sub(before.end / unit).cast_signed();
    put_varint(&mut columns[OFFSET], zigzag(step));
    put_varint(&mut columns[HEAD], zigzag(data.wrapping_sub(offset).cast_signed()));
    before.end = end_of(entry.data, entry.stored);
}

/// Where the member after one with this data begins, when nothing lies between.
fn end_of(data: u64, stored: u64) -> u64 {
    data.wrapping_add(stored.checked_next_multiple_of(UNIT).unwrap_or(stored))
}

fn kind_number(kind: &Kind) -> u64 {
    match kind {
        Kind::File => 0,
        Kind::Directory => 1,
        Kind::Symlink { .. } => 2,
        Kind::Fifo => 3,
        Kind::CharacterDevice { .. } => 4,
        Kind::BlockDevice { .. } => 5,
        Kind::DeleteMarker => 6,
    }
}

/// The bytes that lower-case hexadecimal digits stand for, if that is all there is.
fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The facts of a pack, by group.
#[derive(Debug)]
pub(in crate::catalog) struct Facts {
    reader: Reader,
    owners: Vec<Posix>,
    objects: Vec<ObjectFacts>,
}

impl Facts {
    pub(in crate::catalog) fn open(bytes: &[u8]) -> Result<Self, Damage> {
        let reader = Reader::open(bytes, COLUMNS)?;
        let owners =
            serde_json::from_slice(reader.column(OWNERS)).map_err(|_| "owners do not read")?;
        let objects =
            serde_json::from_slice(reader.column(OBJECTS)).map_err(|_| "objects do not read")?;
        Ok(Self { reader, owners, objects })
    }

    /// Calls `visit` with each entry of a group in order. `keys` are the keys of the group.
    pub(in crate::catalog) fn each(
        &self,
        group: usize,
        (source, keys): (&SourceName, Vec<Key>),
        visit: &mut dyn FnMut(usize, Entry),
    ) -> Result<(), Damage> {
        let mut columns = self.reader.group::<POSITIONAL>(group)?;
        let mut before = Before::default();
        for (at, key) in keys.into_iter().enumerate() {
            visit(at, self.read(&mut columns, &mut before, (source, key))?);
        }
        Ok(())
    }

    fn read(
        &self,
        columns: &mut [&[u8]; POSITIONAL],
        before: &mut Before,
        (source, key): (&SourceName, Key),
    ) -> Result<Entry, Damage> {
        let flags = varint(&mut columns[FLAGS])?;
        let length = length_of(&mut columns[VERSION_LENGTH])?;
        let version = Version(text_of(take(&mut columns[VERSION], length)?)?);
        before.seconds = before.seconds.wrapping_add(unzigzag(varint(&mut columns[SECONDS])?));
        let nanoseconds = u32::try_from(varint(&mut columns[NANOSECONDS])?)
            .map_err(|_| "a second has too many parts")?;
        let size = varint(&mut columns[SIZE])?;
        let odd = read_odd(&mut columns[ODD], flags)?;
        let difference = unzigzag(varint(&mut columns[STORED])?).cast_unsigned();
        let stored = expected_stored(size, &odd, flags).wrapping_add(difference);
        let form = form_number(flags);
        let (offset, data) = read_offsets(columns, before, (flags, form))?;
        if form != PathForm::Absent {
            before.end = end_of(data, stored);
        }
        let token = take(&mut columns[TOKEN], 8)?.try_into().expect("8 bytes");
        let digest = match flags & HAS_DIGEST {
            0 => None,
            _ => Some(Digest(take(&mut columns[DIGEST], 32)?.try_into().expect("32 bytes"))),
        };
        let item = Item {
            key,
            version,
            kind: kind_of(flags, odd.kind)?,
            size,
            modified: Timestamp::from_parts(before.seconds, nanoseconds),
            latest: flags & LATEST != 0,
            token: Token(u64::from_le_bytes(token)),
            posix: self.read_owner(columns, before, (flags, odd.xattrs))?,
            object: self.read_object(columns, flags)?,
            extents: odd.extents,
        };
        let path = match form {
            PathForm::Absent => None,
            PathForm::Odd => Some(odd.path.ok_or("a path is missing")?),
            PathForm::Current | PathForm::Versioned => {
                Some(predicted_path(form, source, &item).ok_or("a path is not text")?)
            }
        };
        Ok(Entry {
            source: source.clone(),
            item,
            path,
            offset,
            data,
            stored,
            digest,
            part: odd.part,
            linked_to: odd.linked_to,
            torn: flags & TORN != 0,
            chaining: String::new(),
        })
    }

    fn read_owner(
        &self,
        columns: &mut [&[u8]; POSITIONAL],
        before: &mut Before,
        (flags, xattrs): (u64, Vec<Xattr>),
    ) -> Result<Option<Box<Posix>>, Damage> {
        if flags & HAS_OWNER == 0 {
            return Ok(None);
        }
        let at = length_of(&mut columns[OWNER])?;
        let owner = self.owners.get(at).ok_or("an owner is missing")?;
        let mut posix = Posix { xattrs, ..owner.clone() };
        if flags & HAS_LINK_GROUP != 0 {
            let column = &mut columns[LINK_GROUP];
            let device = unzigzag(varint(column)?).cast_unsigned();
            let inode = unzigzag(varint(column)?).cast_unsigned();
            let group = &mut before.link_group;
            group.device = group.device.wrapping_add(device);
            group.inode = group.inode.wrapping_add(inode);
            posix.link_group = Some(*group);
        }
        Ok(Some(Box::new(posix)))
    }

    fn read_object(
        &self,
        columns: &mut [&[u8]; POSITIONAL],
        flags: u64,
    ) -> Result<Option<Box<ObjectFacts>>, Damage> {
        if flags & HAS_OBJECT == 0 {
            return Ok(None);
        }
        let word = varint(&mut columns[ETAG_LENGTH])?;
        let length = usize::try_from(word >> 1).map_err(|_| "an ETag is too long")?;
        let bytes = take(&mut columns[ETAG], length)?;
        let etag = if word & 1 == 1 { to_hex(bytes) } else { text_of(bytes)? };
        let word = varint(&mut columns[VERIFIED])?;
        let verified = if word == 1 {
            format!("md5={etag}")
        } else {
            let length = usize::try_from(word >> 1).map_err(|_| "a checksum is too long")?;
            text_of(take(&mut columns[VERIFIED], length)?)?
        };
        let at = length_of(&mut columns[OBJECT])?;
        let rest = self.objects.get(at).ok_or("facts of an object are missing")?;
        Ok(Some(Box::new(ObjectFacts { etag, verified, ..rest.clone() })))
    }
}

fn read_odd(column: &mut &[u8], flags: u64) -> Result<Odd, Damage> {
    if flags & HAS_ODD == 0 {
        return Ok(Odd::default());
    }
    let length = length_of(column)?;
    serde_json::from_slice(take(column, length)?).map_err(|_| "what is odd does not read")
}

fn read_offsets(
    columns: &mut [&[u8]; POSITIONAL],
    before: &Before,
    (flags, form): (u64, PathForm),
) -> Result<(u64, u64), Damage> {
    if form == PathForm::Absent {
        return Ok((0, 0));
    }
    let unit = if flags & UNALIGNED == 0 { UNIT } else { 1 };
    let step = unzigzag(varint(&mut columns[OFFSET])?).cast_unsigned();
    let offset = (before.end / unit).wrapping_add(step);
    let head = unzigzag(varint(&mut columns[HEAD])?).cast_unsigned();
    let data = offset.wrapping_add(head);
    Ok((offset.wrapping_mul(unit), data.wrapping_mul(unit)))
}

fn form_number(flags: u64) -> PathForm {
    match flags >> PATH & 3 {
        0 => PathForm::Absent,
        1 => PathForm::Current,
        2 => PathForm::Versioned,
        _ => PathForm::Odd,
    }
}

fn kind_of(flags: u64, odd: Option<Kind>) -> Result<Kind, Damage> {
    Ok(match flags >> KIND & 7 {
        0 => Kind::File,
        1 => Kind::Directory,
        3 => Kind::Fifo,
        6 => Kind::DeleteMarker,
        2 | 4 | 5 => odd.ok_or("a kind is missing")?,
        _ => return Err("a kind is unknown"),
    })
}
