//! The head of a member: everything in front of its data.

use crate::clock::Timestamp;
use crate::item::Extent;
use crate::tar::{UNIT, UNIT_BYTES, pax, sparse};

/// The largest number that an eleven-digit octal field holds.
const OCTAL_11: u64 = 0o77_777_777_777;
/// The largest number that a seven-digit octal field holds.
const OCTAL_7: u32 = 0o7_777_777;
/// Name and link fields, bytes.
const NAME_FIELD: usize = 100;
/// Prefix field, bytes.
const PREFIX_FIELD: usize = 155;
/// User and group name fields, bytes, of which the last is a NUL.
const OWNER_FIELD: usize = 32;
/// The longest extended header's data, in bytes. Observed: bsdtar 3.6.2 takes less than 1,000,000.
const EXTENDED_MAX: usize = 900_000;

/// One member of a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where it is extracted to, relative; of a directory, without a slash at the end.
    pub path: String,
    /// What it is.
    pub kind: MemberKind,
    /// Permission, set-id and sticky bits (the low 12).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The owner's name, or empty.
    pub user: String,
    /// The group's name, or empty.
    pub group: String,
    /// Modification time. What lies before 1970 is written as 1970, since GNU tar complains of it.
    pub modified: Timestamp,
    /// Extended attributes: name with namespace, and value.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// What a member is, with what only that kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file.
    File {
        /// Bytes of content.
        size: u64,
    },
    /// A regular file with holes, as GNU.sparse 1.0.
    Sparse {
        /// Bytes of content, holes included.
        real_size: u64,
        /// Where there is data: ascending, apart, on whole units ([`sparse::align`]).
        extents: Vec<Extent>,
    },
    /// Another name of an earlier member.
    HardLink {
        /// The path of that member.
        target: String,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, byte for byte.
        target: Vec<u8>,
    },
    /// A directory.
    Directory,
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
}

/// How long the pieces of a member are, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Header units; of a sparse member, without its map.
    pub headers: u64,
    /// The sparse map, padded to a unit; 0 for other kinds.
    pub map: u64,
    /// Data that follow, without their padding.
    pub data: u64,
}

/// Why a member cannot be written. All variants say that the head was made wrongly.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HeadError {
    /// A path or target that no reader can take.
    #[error("{path:?} cannot be a member: {what}")]
    Unwritable {
        /// The member's path.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl MemberKind {
    fn type_flag(&self) -> u8 {
        match self {
            Self::File { .. } | Self::Sparse { .. } => b'0',
            Self::HardLink { .. } => b'1',
            Self::Symlink { .. } => b'2',
            Self::CharacterDevice { .. } => b'3',
            Self::BlockDevice { .. } => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
        }
    }

    /// Bytes of data that follow the head, padding not included: of a sparse member the packed
    /// extents, without the map.
    pub fn data_length(&self) -> u64 {
        match self {
            Self::File { size } => *size,
            Self::Sparse { extents, .. } => sparse::packed(extents),
            Self::HardLink { .. }
            | Self::Symlink { .. }
            | Self::Directory
            | Self::Fifo
            | Self::CharacterDevice { .. }
            | Self::BlockDevice { .. } => 0,
        }
    }

    fn target(&self) -> &[u8] {
        match self {
            Self::HardLink { target } => target.as_bytes(),
            Self::Symlink { target } => target,
            Self::File { .. }
            | Self::Sparse { .. }
            | Self::Directory
            | Self::Fifo
            | Self::CharacterDevice { .. }
            | Self::BlockDevice { .. } => b"",
        }
    }

    fn device(&self) -> (u32, u32) {
        match self {
            Self::CharacterDevice { major, minor } | Self::BlockDevice { major, minor } => {
                (*major, *minor)
            }
            Self::File { .. }
            | Self::Sparse { .. }
            | Self::HardLink { .. }
            | Self::Symlink { .. }
            | Self::Directory
            | Self::Fifo => (0, 0),
        }
    }
}

impl Encoded {
    /// Bytes from the first header to the next member: headers, map, data and padding.
    pub fn total(self) -> u64 {
        self.headers + self.map + self.data + crate::tar::padding(self.data) as u64
    }
}

impl Head {
    /// A regular file of `size` bytes that belongs to nobody in particular.
    pub fn file(path: impl Into<String>, size: u64, modified: Timestamp) -> Self {
        Self {
            path: path.into(),
            kind: MemberKind::File { size },
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            modified,
            xattrs: Vec::new(),
        }
    }

    /// Bytes of data that follow [`Self::encode`], padding not included.
    pub fn data_length(&self) -> u64 {
        self.kind.data_length()
    }

    /// All header units and, of a sparse member, its map: a multiple of [`UNIT`]. Equal heads give
    /// equal bytes.
    ///
    /// # Errors
    ///
    /// When the head was made wrongly.
    pub fn encode(&self) -> Result<Vec<u8>, HeadError> {
        let mut out = Vec::with_capacity(3 * UNIT);
        self.encode_into(&mut out)?;
        Ok(out)
    }

    /// Appends what [`Self::encode`] gives to `out`, which stays as it was on an error.
    ///
    /// # Errors
    ///
    /// When the head was made wrongly.
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<Encoded, HeadError> {
        self.check()?;
        let start = out.len();
        let mut map = Vec::new();
        if let MemberKind::Sparse { real_size, extents } = &self.kind {
            sparse::push_map(&mut map, extents, *real_size);
        }
        let data = self.data_length();
        let size = data.checked_add(map.len() as u64);
        let size = size.ok_or_else(|| self.unwritable("it is longer than 64 bits of bytes"))?;
        let target = self.kind.target();
        if target.len() > NAME_FIELD && std::str::from_utf8(target).is_err() {
            long_link(out, target);
        }
        let x = out.len();
        out.resize(x + UNIT, 0);
        self.push_records(out, size);
        let length = out.len() - x - UNIT;
        if length > EXTENDED_MAX {
            out.truncate(start);
            return Err(self.unwritable("its attributes are longer than an extended header"));
        }
        if length == 0 {
            out.truncate(x);
        } else {
            extended(&mut out[x..x + UNIT], b'x', length as u64);
            out.resize(out.len() + crate::tar::padding(length as u64), 0);
        }
        let main = out.len();
        out.resize(main + UNIT, 0);
        self.fill_header(&mut out[main..], size);
        let headers = (out.len() - start) as u64;
        out.extend_from_slice(&map);
        Ok(Encoded { headers, map: map.len() as u64, data })
    }

    fn unwritable(&self, what: &'static str) -> HeadError {
        HeadError::Unwritable { path: self.path.clone(), what }
    }

    fn check(&self) -> Result<(), HeadError> {
        let path = self.path.as_bytes();
        if path.is_empty() || path.starts_with(b"/") || path.ends_with(b"/") {
            return Err(self.unwritable("the path is empty, absolute or ends in a slash"));
        }
        let link = matches!(self.kind, MemberKind::HardLink { .. } | MemberKind::Symlink { .. });
        if link && self.kind.target().is_empty() {
            return Err(self.unwritable("the link has no target"));
        }
        let has_nul = |text: &[u8]| memchr::memchr(0, text).is_some();
        if has_nul(path) || has_nul(self.kind.target()) {
            return Err(self.unwritable("a path or target has a NUL"));
        }
        if let MemberKind::Sparse { real_size, extents } = &self.kind
            && !sparse::are_aligned(extents, *real_size)
        {
            return Err(self.unwritable("its extents do not ascend in whole units"));
        }
        let (major, minor) = self.kind.device();
        if major > OCTAL_7 || minor > OCTAL_7 {
            return Err(self.unwritable("its device numbers do not fit"));
        }
        Ok(())
    }

    /// Appends the pax records for what the ustar fields cannot say.
    fn push_records(&self, out: &mut Vec<u8>, size: u64) {
        let sparse = matches!(self.kind, MemberKind::Sparse { .. });
        if let MemberKind::Sparse { real_size, .. } = &self.kind {
            pax::push(out, "GNU.sparse.major", b"1");
            pax::push(out, "GNU.sparse.minor", b"0");
            pax::push(out, "GNU.sparse.name", self.path.as_bytes());
            push_numeric(out, "GNU.sparse.realsize", *real_size);
        } else if split(&self.path, self.kind == MemberKind::Directory).is_none() {
            pax::push(out, "path", self.path.as_bytes());
        }
        let target = self.kind.target();
        if target.len() > NAME_FIELD && std::str::from_utf8(target).is_ok() {
            pax::push(out, "linkpath", target);
        }
        if size > OCTAL_11 {
            push_numeric(out, "size", size);
        }
        let (seconds, nanoseconds) = self.mtime();
        if seconds > OCTAL_11 || nanoseconds > 0 {
            push_mtime(out, seconds, nanoseconds);
        }
        for (keyword, id) in [("uid", self.uid), ("gid", self.gid)] {
            if id > OCTAL_7 {
                push_numeric(out, keyword, u64::from(id));
            }
        }
        for (keyword, name) in [("uname", &self.user), ("gname", &self.group)] {
            if name.len() >= OWNER_FIELD || !name.is_ascii() {
                pax::push(out, keyword, name.as_bytes());
            }
        }
        for (name, value) in &self.xattrs {
            pax::push_split(out, "SCHILY.xattr.", name, value);
        }
        debug_assert!(!sparse || out.len() > UNIT, "a sparse member has an extended header");
    }

    /// Whole seconds and nanoseconds after 1970, with everything earlier as 1970.
    fn mtime(&self) -> (u64, u32) {
        let (seconds, nanoseconds) = self.modified.parts();
        u64::try_from(seconds).map_or((0, 0), |seconds| (seconds, nanoseconds))
    }

    fn fill_header(&self, unit: &mut [u8], size: u64) {
        let directory = self.kind == MemberKind::Directory;
        let (prefix, name) = match &self.kind {
            // The true name is in the extended header; readers that know no sparse members
            // extract the condensed data under this one.
            MemberKind::Sparse { .. } => ("", "GNUSparseFile.0/sparse"),
            MemberKind::File { .. }
            | MemberKind::HardLink { .. }
            | MemberKind::Symlink { .. }
            | MemberKind::Directory
            | MemberKind::Fifo
            | MemberKind::CharacterDevice { .. }
            | MemberKind::BlockDevice { .. } => {
                split(&self.path, directory).unwrap_or(("", beginning(&self.path)))
            }
        };
        put(unit, 0, name.as_bytes());
        put(unit, 345, prefix.as_bytes());
        if directory {
            let end = name.len().min(NAME_FIELD - 1);
            unit[end] = b'/';
        }
        octal(&mut unit[100..108], u64::from(self.mode & 0o7777));
        octal(&mut unit[108..116], u64::from(fitting(self.uid)));
        octal(&mut unit[116..124], u64::from(fitting(self.gid)));
        octal(&mut unit[124..136], if size > OCTAL_11 { 0 } else { size });
        octal(&mut unit[136..148], self.mtime().0.min(OCTAL_11));
        unit[156] = self.kind.type_flag();
        let target = self.kind.target();
        put(unit, 157, &target[..target.len().min(NAME_FIELD)]);
        for (at, name) in [(265, &self.user), (297, &self.group)] {
            if name.len() < OWNER_FIELD && name.is_ascii() {
                put(unit, at, name.as_bytes());
            }
        }
        let (major, minor) = self.kind.device();
        octal(&mut unit[329..337], u64::from(major));
        octal(&mut unit[337..345], u64::from(minor));
        seal(unit);
    }
}

/// 0 for an id that only the extended header can hold.
fn fitting(id: u32) -> u32 {
    if id > OCTAL_7 { 0 } else { id }
}

fn push_numeric(out: &mut Vec<u8>, keyword: &str, number: u64) {
    let mut text = Vec::with_capacity(20);
    pax::push_number(&mut text, number);
    pax::push(out, keyword, &text);
}

fn push_mtime(out: &mut Vec<u8>, seconds: u64, nanoseconds: u32) {
    let mut text = Vec::with_capacity(30);
    pax::push_number(&mut text, seconds);
    if nanoseconds > 0 {
        text.push(b'.');
        let point = text.len();
        // A leading one keeps the zeros after the point.
        pax::push_number(&mut text, u64::from(nanoseconds) + 1_000_000_000);
        text.remove(point);
        while text.last() == Some(&b'0') {
            text.pop();
        }
    }
    pax::push(out, "mtime", &text);
}

/// Splits a path over the prefix and name fields, or `None` when it does not fit them.
///
/// Bytes beyond ASCII stand in the fields as they are: all readers deliver them untouched in any
/// locale, while a pax `path` makes bsdtar complain in the C locale.
fn split(path: &str, directory: bool) -> Option<(&str, &str)> {
    let room = NAME_FIELD - usize::from(directory);
    if path.len() <= room {
        return Some(("", path));
    }
    let from = path.len().checked_sub(room + 1)?;
    let bytes = path.as_bytes();
    let slash = from + memchr::memchr(b'/', bytes.get(from..=PREFIX_FIELD.min(bytes.len() - 2))?)?;
    Some((&path[..slash], &path[slash + 1..]))
}

/// As much of a path as a name field takes, for readers that know no extended headers. Not ending
/// in a slash, which old readers take for a directory.
fn beginning(path: &str) -> &str {
    let end = path.floor_char_boundary(NAME_FIELD - 1);
    path[..end].trim_end_matches('/')
}

/// Old GNU's header for a link target of over 100 bytes: the only one that all readers take without
/// a complaint when the target is not UTF-8.
fn long_link(out: &mut Vec<u8>, target: &[u8]) {
    let start = out.len();
    out.resize(start + UNIT, 0);
    let length = target.len() as u64 + 1;
    special(&mut out[start..], b"././@LongLink", b'K', length);
    out.extend_from_slice(target);
    out.push(0);
    out.resize(out.len() + crate::tar::padding(length), 0);
    debug_assert_eq!((out.len() - start) as u64 % UNIT_BYTES, 0);
}

/// Fills the unit of an extended header whose data have `size` bytes.
pub(super) fn extended(unit: &mut [u8], type_flag: u8, size: u64) {
    special(unit, b"PaxHeaders/member", type_flag, size);
}

fn special(unit: &mut [u8], name: &[u8], type_flag: u8, size: u64) {
    put(unit, 0, name);
    octal(&mut unit[100..108], 0o644);
    octal(&mut unit[108..116], 0);
    octal(&mut unit[116..124], 0);
    octal(&mut unit[124..136], size);
    octal(&mut unit[136..148], 0);
    unit[156] = type_flag;
    octal(&mut unit[329..337], 0);
    octal(&mut unit[337..345], 0);
    seal(unit);
}

fn put(unit: &mut [u8], at: usize, bytes: &[u8]) {
    unit[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Writes `number` as zero-padded octal digits with a NUL at the end.
fn octal(field: &mut [u8], mut number: u64) {
    let (end, digits) = field.split_last_mut().expect("a field has bytes");
    *end = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b"01234567"[usize::try_from(number & 7).expect("below 8")];
        number >>= 3;
    }
    debug_assert_eq!(number, 0, "the caller checked that the number fits");
}

/// Writes magic, version and checksum.
fn seal(unit: &mut [u8]) {
    put(unit, 257, b"ustar\x0000");
    unit[148..156].fill(b' ');
    let sum: u64 = unit.iter().map(|&byte| u64::from(byte)).sum();
    octal(&mut unit[148..155], sum);
}
