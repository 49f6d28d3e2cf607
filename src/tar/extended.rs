//! What header units and extended records say, strictly read.

use crate::clock::Timestamp;
use crate::tar::{Head, MemberKind, UNIT, pax};

/// The most extended attributes of one member.
const XATTRS_MAX: usize = 1000;

/// A result whose error says what is wrong with the header.
pub(super) type Check<T> = Result<T, &'static str>;

/// What extended headers said about the next member.
#[derive(Default)]
pub(super) struct Extended {
    path: Option<String>,
    pub(super) target: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<Timestamp>,
    uid: Option<u32>,
    gid: Option<u32>,
    user: Option<String>,
    group: Option<String>,
    sparse_major: Option<u64>,
    sparse_minor: Option<u64>,
    sparse_name: Option<String>,
    sparse_size: Option<u64>,
    xattrs: Vec<(String, Vec<u8>)>,
}

/// Sets what no earlier record said otherwise.
pub(super) fn set<T: PartialEq>(slot: &mut Option<T>, value: T) -> Check<()> {
    if slot.as_ref().is_some_and(|old| *old != value) {
        return Err("extended headers contradict each other");
    }
    *slot = Some(value);
    Ok(())
}

fn utf8(bytes: &[u8]) -> Check<String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")?;
    Ok(text.to_owned())
}

fn decimal(bytes: &[u8]) -> Check<u64> {
    pax::number(bytes).ok_or("a number is not decimal")
}

fn id(bytes: &[u8]) -> Check<u32> {
    u32::try_from(decimal(bytes)?).map_err(|_| "an owner's number does not fit")
}

impl Extended {
    pub(super) fn take(&mut self, mut records: &[u8]) -> Check<()> {
        while !records.is_empty() {
            let (record, rest) = pax::take(records).ok_or("an extended record is malformed")?;
            records = rest;
            let value = record.value;
            match record.keyword {
                b"path" => set(&mut self.path, utf8(value)?)?,
                b"linkpath" => set(&mut self.target, value.to_vec())?,
                b"size" => set(&mut self.size, decimal(value)?)?,
                b"mtime" => set(&mut self.modified, mtime(value)?)?,
                b"uid" => set(&mut self.uid, id(value)?)?,
                b"gid" => set(&mut self.gid, id(value)?)?,
                b"uname" => set(&mut self.user, utf8(value)?)?,
                b"gname" => set(&mut self.group, utf8(value)?)?,
                b"GNU.sparse.major" => set(&mut self.sparse_major, decimal(value)?)?,
                b"GNU.sparse.minor" => set(&mut self.sparse_minor, decimal(value)?)?,
                b"GNU.sparse.name" => set(&mut self.sparse_name, utf8(value)?)?,
                b"GNU.sparse.realsize" => set(&mut self.sparse_size, decimal(value)?)?,
                b"comment" => {}
                keyword => self.take_xattr(keyword, value)?,
            }
        }
        Ok(())
    }

    fn take_xattr(&mut self, keyword: &[u8], value: &[u8]) -> Check<()> {
        let name = keyword.strip_prefix(b"SCHILY.xattr.").ok_or("an unknown extended keyword")?;
        let name = utf8(name)?;
        match self.xattrs.iter().find(|(old, _)| *old == name) {
            Some((_, old)) if old == value => Ok(()),
            Some(_) => Err("extended headers contradict each other"),
            None if self.xattrs.len() >= XATTRS_MAX => Err("too many extended attributes"),
            None => {
                self.xattrs.push((name, value.to_vec()));
                Ok(())
            }
        }
    }

    /// The real size of a sparse member, or `None` for any other.
    pub(super) fn sparse(&self) -> Check<Option<u64>> {
        let said = (self.sparse_major, self.sparse_minor, self.sparse_size);
        match said {
            (None, None, None) if self.sparse_name.is_none() => Ok(None),
            (Some(1), Some(0), Some(size)) if self.sparse_name.is_some() => Ok(Some(size)),
            _ => Err("a sparse format other than GNU.sparse 1.0"),
        }
    }

    /// The head without a sparse map, and the bytes of data.
    pub(super) fn head(self, unit: &[u8; UNIT]) -> Check<(Head, u64)> {
        let number =
            |range: std::ops::Range<usize>| octal(&unit[range]).ok_or("a field is not octal");
        let small = |range| u32::try_from(number(range)?).map_err(|_| "a field is too large");
        let size = self.size.map_or_else(|| number(124..136), Ok)?;
        let directory = unit[156] == b'5';
        let mut path = match self.sparse_name.or(self.path) {
            Some(path) => path,
            None => field_path(unit)?,
        };
        if directory && path.ends_with('/') {
            path.pop();
        }
        let target = self.target.unwrap_or_else(|| field(&unit[157..257]).to_vec());
        let (major, minor) = (small(329..337)?, small(337..345)?);
        let kind = match unit[156] {
            b'0' => MemberKind::File { size },
            b'1' => MemberKind::HardLink { target: utf8(&target)? },
            b'2' => MemberKind::Symlink { target },
            b'3' => MemberKind::CharacterDevice { major, minor },
            b'4' => MemberKind::BlockDevice { major, minor },
            b'5' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            _ => return Err("an unknown kind of member"),
        };
        if size > 0 && !matches!(kind, MemberKind::File { .. }) {
            return Err("data on what is no file");
        }
        let text = |own: Option<String>, range| match own {
            Some(text) => Ok(text),
            None => utf8(field(&unit[range])),
        };
        let head = Head {
            path,
            kind,
            mode: small(100..108)?,
            uid: self.uid.map_or_else(|| small(108..116), Ok)?,
            gid: self.gid.map_or_else(|| small(116..124), Ok)?,
            user: text(self.user, 265..297)?,
            group: text(self.group, 297..329)?,
            modified: match self.modified {
                Some(modified) => modified,
                None => seconds(number(136..148)?)?,
            },
            xattrs: self.xattrs,
        };
        Ok((head, size))
    }
}

/// A field up to its first NUL.
fn field(bytes: &[u8]) -> &[u8] {
    memchr::memchr(0, bytes).map_or(bytes, |nul| &bytes[..nul])
}

fn field_path(unit: &[u8; UNIT]) -> Check<String> {
    let name = utf8(field(&unit[..100]))?;
    let prefix = field(&unit[345..500]);
    if prefix.is_empty() { Ok(name) } else { Ok(format!("{}/{name}", utf8(prefix)?)) }
}

fn seconds(seconds: u64) -> Check<Timestamp> {
    let seconds = i64::try_from(seconds).map_err(|_| "a time that does not fit")?;
    Ok(Timestamp::from_parts(seconds, 0))
}

fn mtime(text: &[u8]) -> Check<Timestamp> {
    let point = memchr::memchr(b'.', text).unwrap_or(text.len());
    let whole = i64::try_from(decimal(&text[..point])?).map_err(|_| "a time that does not fit")?;
    let fraction = text.get(point + 1..).unwrap_or_default();
    if fraction.len() > 9 {
        return Err("a time finer than a nanosecond");
    }
    let mut nanoseconds = 0;
    for place in 0..9 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return Err("a time that is not a number");
        }
        nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
    }
    Ok(Timestamp::from_parts(whole, nanoseconds))
}

/// Reads an octal field that ends in a NUL or blank, if it ends before its last byte.
pub(super) fn octal(bytes: &[u8]) -> Option<u64> {
    let end = bytes.iter().position(|&b| b == 0 || b == b' ').unwrap_or(bytes.len());
    if end == 0 {
        return None;
    }
    bytes[..end].iter().try_fold(0_u64, |sum, &b| {
        let digit = matches!(b, b'0'..=b'7').then(|| u64::from(b - b'0'))?;
        sum.checked_mul(8)?.checked_add(digit)
    })
}

pub(super) fn check_unit(unit: &[u8; UNIT]) -> Check<()> {
    if &unit[257..265] != b"ustar\x0000" {
        return Err("it is not a ustar header");
    }
    let field: u64 = unit[148..156].iter().map(|&byte| u64::from(byte)).sum();
    let sum = unit.iter().map(|&byte| u64::from(byte)).sum::<u64>() - field + 8 * u64::from(b' ');
    if octal(&unit[148..156]) == Some(sum) { Ok(()) } else { Err("its checksum is wrong") }
}

pub(super) fn check_global(mut records: &[u8]) -> Check<()> {
    while !records.is_empty() {
        let (record, rest) = pax::take(records).ok_or("an extended record is malformed")?;
        if record.keyword != b"comment" {
            return Err("a global header that is not a comment");
        }
        records = rest;
    }
    Ok(())
}

pub(super) fn check_name(name: &str) -> Check<()> {
    let bad = |component: &str| matches!(component, "" | "." | "..");
    if name.contains('\0') || name.split('/').any(bad) {
        return Err("a name that is not safe to extract");
    }
    Ok(())
}
