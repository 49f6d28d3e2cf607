//! A strict reader of a tar stream: what it does not understand is an error, not a guess.

use std::io::{self, Read};

use crate::item::Extent;
use crate::tar::{
    Head, MemberKind, UNIT,
    extended::{Extended, check_global, check_name, check_unit, octal, set},
    padding, pax, sparse,
};

/// The longest extended header, in bytes of data.
const EXTENDED_MAX: u64 = 1 << 20;
/// How many extended headers may stand in front of one member.
const EXTENDED_COUNT: usize = 8;
/// The most extents of one sparse member.
const EXTENTS_MAX: u64 = 1 << 22;

/// Which member names a reader lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Only those that are safe to extract: relative, no NUL, no empty, `.` or `..` component.
    Safe,
    /// All that are UTF-8.
    Any,
}

/// Reads members one after the other. Unread data are passed over.
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    names: Names,
    /// Bytes taken from `inner`.
    at: u64,
    /// Bytes of the current member's data that are still to come.
    data: u64,
    /// Zeros behind them.
    padding: u64,
    ended: bool,
}

/// A member that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Offset of its first header, in bytes from the start of the stream.
    pub offset: u64,
    /// Offset of what follows its headers: its data, or the map of a sparse member.
    pub data: u64,
    /// Bytes from there to the padding: of a sparse member, map and extents.
    pub stored: u64,
    /// What the headers say.
    pub head: Head,
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream could not be read.
    #[error("cannot read the tar at byte {at}")]
    Io {
        /// Offset in the stream.
        at: u64,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// The stream ends within a member, or without its end units.
    #[error("the tar is cut short at byte {at}")]
    Truncated {
        /// Offset in the stream.
        at: u64,
    },
    /// The bytes are not what format 1 writes.
    #[error("the tar is malformed at byte {at}: {what}")]
    Malformed {
        /// Offset of the header in question.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl<R: Read> Reader<R> {
    /// A reader of the stream from where it stands, which counts as byte 0.
    pub fn new(inner: R, names: Names) -> Self {
        Self { inner, names, at: 0, data: 0, padding: 0, ended: false }
    }

    /// Bytes taken so far: after the last member, where the end units stop.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The stream.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The stream, wherever the reader left it.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next member, or `None` after the two zero units that end the archive.
    ///
    /// # Errors
    ///
    /// When the stream is not a tar as format 1 writes it. The reader is of no use afterwards.
    pub fn next_member(&mut self) -> Result<Option<Found>, ReadError> {
        self.pass()?;
        if self.ended {
            return Ok(None);
        }
        let offset = self.at;
        let mut extended = Extended::default();
        for count in 0..=EXTENDED_COUNT {
            let at = self.at;
            let unit = self.unit()?;
            if unit == [0; UNIT] {
                return self.end(at, count);
            }
            let malformed = |what| ReadError::Malformed { at, what };
            check_unit(&unit).map_err(malformed)?;
            match unit[156] {
                b'x' => {
                    let records = self.extended_data(at, &unit)?;
                    extended.take(&records).map_err(malformed)?;
                }
                b'g' => check_global(&self.extended_data(at, &unit)?).map_err(malformed)?,
                b'K' => {
                    let mut target = self.extended_data(at, &unit)?;
                    target.pop();
                    set(&mut extended.target, target).map_err(malformed)?;
                }
                _ => return self.member(offset, at, &unit, extended).map(Some),
            }
        }
        Err(ReadError::Malformed { at: offset, what: "too many extended headers" })
    }

    /// Reads data of the current member, and 0 at its end.
    ///
    /// # Errors
    ///
    /// When the stream fails or ends too early.
    pub fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let room = usize::try_from(self.data).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let count = loop {
            match self.inner.read(&mut buffer[..room]) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(ReadError::Io { at: self.at, cause }),
            }
        };
        if count == 0 {
            return Err(ReadError::Truncated { at: self.at });
        }
        self.at += count as u64;
        self.data -= count as u64;
        Ok(count)
    }

    /// Bytes of the current member's data that are still to come.
    pub fn data_left(&self) -> u64 {
        self.data
    }

    /// Passes over what is left of the current member.
    fn pass(&mut self) -> Result<(), ReadError> {
        let mut buffer = [0; 64 * UNIT];
        while self.read_data(&mut buffer)? > 0 {}
        let at = self.at;
        let zeros = usize::try_from(std::mem::take(&mut self.padding)).expect("below a unit");
        let zeros = &mut buffer[..zeros];
        self.fill(zeros)?;
        if zeros.iter().any(|&byte| byte != 0) {
            return Err(ReadError::Malformed { at, what: "the padding is not zeros" });
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ReadError> {
        let at = self.at;
        self.inner.read_exact(buffer).map_err(|cause| {
            let short = cause.kind() == io::ErrorKind::UnexpectedEof;
            if short { ReadError::Truncated { at } } else { ReadError::Io { at, cause } }
        })?;
        self.at += buffer.len() as u64;
        Ok(())
    }

    fn unit(&mut self) -> Result<[u8; UNIT], ReadError> {
        let mut unit = [0; UNIT];
        self.fill(&mut unit)?;
        Ok(unit)
    }

    fn end(&mut self, at: u64, extended: usize) -> Result<Option<Found>, ReadError> {
        if extended > 0 {
            return Err(ReadError::Malformed { at, what: "an extended header without its member" });
        }
        if self.unit()? != [0; UNIT] {
            return Err(ReadError::Malformed { at, what: "a lone zero unit" });
        }
        self.ended = true;
        Ok(None)
    }

    fn extended_data(&mut self, at: u64, unit: &[u8; UNIT]) -> Result<Vec<u8>, ReadError> {
        let size = octal(&unit[124..136]).filter(|&size| size <= EXTENDED_MAX);
        let size = size
            .ok_or(ReadError::Malformed { at, what: "an extended header is longer than 1 MiB" })?;
        let mut data = vec![0; usize::try_from(size).expect("at most 1 MiB")];
        self.fill(&mut data)?;
        self.padding = padding(size) as u64;
        self.pass()?;
        Ok(data)
    }

    fn member(
        &mut self,
        offset: u64,
        at: u64,
        unit: &[u8; UNIT],
        extended: Extended,
    ) -> Result<Found, ReadError> {
        let malformed = |what| ReadError::Malformed { at, what };
        let sparse = extended.sparse().map_err(malformed)?;
        let (mut head, size) = extended.head(unit).map_err(malformed)?;
        if self.names == Names::Safe {
            check_name(&head.path).map_err(malformed)?;
            if let MemberKind::HardLink { target } = &head.kind {
                check_name(target).map_err(malformed)?;
            }
        }
        let data = self.at;
        self.data = size;
        self.padding = padding(size) as u64;
        if let Some(real_size) = sparse {
            if !matches!(head.kind, MemberKind::File { .. }) {
                return Err(malformed("a sparse map on what is no file"));
            }
            let extents = self.map(at)?;
            let ascends = sparse::are_aligned(&extents, real_size);
            if !ascends || sparse::packed(&extents) != self.data {
                return Err(malformed("a sparse map that does not match its data"));
            }
            head.kind = MemberKind::Sparse { real_size, extents };
        }
        Ok(Found { offset, data, stored: size, head })
    }

    /// Reads the map in front of a sparse member's data.
    fn map(&mut self, at: u64) -> Result<Vec<Extent>, ReadError> {
        let malformed = || ReadError::Malformed { at, what: "a sparse map that is not numbers" };
        let mut lines = MapLines { unit: [0; UNIT], next: UNIT };
        let count = lines.next(self).and_then(|count| count.ok_or_else(malformed))?;
        if count > EXTENTS_MAX {
            return Err(malformed());
        }
        let mut extents = Vec::new();
        for _ in 0..count {
            let offset = lines.next(self)?.ok_or_else(malformed)?;
            let length = lines.next(self)?.ok_or_else(malformed)?;
            if length > 0 {
                extents.push(Extent { offset, length });
            }
        }
        Ok(extents)
    }
}

/// The decimal lines of a sparse map, read a unit at a time.
struct MapLines {
    unit: [u8; UNIT],
    next: usize,
}

impl MapLines {
    fn next<R: Read>(&mut self, reader: &mut Reader<R>) -> Result<Option<u64>, ReadError> {
        let mut digits = [0; 20];
        let mut filled = 0;
        loop {
            if self.next == UNIT {
                if reader.data < UNIT as u64 {
                    return Ok(None);
                }
                self.unit = reader.unit()?;
                reader.data -= UNIT as u64;
                self.next = 0;
            }
            let byte = self.unit[self.next];
            self.next += 1;
            if byte == b'\n' {
                return Ok(pax::number(&digits[..filled]));
            }
            if filled == digits.len() {
                return Ok(None);
            }
            digits[filled] = byte;
            filled += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;
    use crate::tar::END;

    fn heads() -> impl Strategy<Value = Head> {
        let text = || "[a-zé/]{0,120}";
        let kind = prop_oneof![
            (0_u64..2000).prop_map(|size| MemberKind::File { size }),
            any::<u64>().prop_map(|size| MemberKind::File { size: size >> 1 }),
            prop::collection::vec(1_u8.., 1..150).prop_map(|target| MemberKind::Symlink { target }),
            "[a-zé]{1,150}".prop_map(|target| MemberKind::HardLink { target }),
            Just(MemberKind::Directory),
            Just(MemberKind::Fifo),
            (0_u32..1 << 20, 0_u32..1 << 20)
                .prop_map(|(major, minor)| MemberKind::CharacterDevice { major, minor }),
            prop::collection::vec((1_u64..9, 1_u64..9), 0..90).prop_map(|steps| {
                let mut at = 0;
                let extents = steps
                    .iter()
                    .map(|&(gap, units)| {
                        let offset = at + gap * 512;
                        at = offset + units * 512;
                        Extent { offset, length: units * 512 }
                    })
                    .collect();
                MemberKind::Sparse { real_size: at + 100, extents }
            }),
        ];
        let modified = (0_i64..1 << 36, 0_u32..1_000_000_000);
        let xattr = ("user\\.[a-z]{1,9}", prop::collection::vec(any::<u8>(), 0..300));
        (kind, text(), any::<[u32; 3]>(), text(), modified, prop::option::of(xattr)).prop_map(
            |(kind, path, [mode, uid, gid], user, modified, xattr)| Head {
                path: format!("s/{}x", path.replace("/", "a/")),
                kind,
                mode: mode & 0o7777,
                uid,
                gid,
                group: user.chars().rev().collect(),
                user,
                modified: Timestamp::from_parts(modified.0, modified.1),
                xattrs: xattr.into_iter().collect(),
            },
        )
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Found>, ReadError> {
        let mut reader = Reader::new(bytes, Names::Safe);
        let mut out = Vec::new();
        while let Some(found) = reader.next_member()? {
            out.push(found);
        }
        Ok(out)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn what_is_encoded_is_read(head in heads()) {
            let mut bytes = Vec::new();
            let encoded = head.encode_into(&mut bytes).unwrap();
            prop_assert_eq!(bytes.len() as u64, encoded.headers + encoded.map);
            prop_assert_eq!(&head.encode().unwrap(), &bytes);
            let found = Reader::new(&bytes[..], Names::Safe).next_member().unwrap().unwrap();
            prop_assert_eq!(found.stored, encoded.map + encoded.data);
            prop_assert_eq!(found.data, encoded.headers);
            prop_assert_eq!(found.head, head);
        }

        #[test]
        fn flipped_bytes_never_panic(head in heads(), at in 0_usize..4096, mask in 1_u8..) {
            let mut bytes = head.encode().unwrap();
            let length = bytes.len();
            bytes[at % length] ^= mask;
            bytes.extend_from_slice(&END);
            drop(read_all(&bytes));
        }

        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            drop(read_all(&bytes));
        }

        #[test]
        fn any_records_never_panic(records in "([0-9]{1,3} (path|size|mtime|GNU.sparse.major|a)=[^=]{0,9}\n){0,4}") {
            let mut extended = Extended::default();
            if extended.take(records.as_bytes()).is_ok() {
                prop_assert!(extended.sparse().is_ok() || !records.is_empty());
            }
        }
    }

    /// One empty file behind an extended header with these records.
    fn archive(records: &[(&str, &str)], path: &str) -> Vec<u8> {
        let mut data = Vec::new();
        for (keyword, value) in records {
            pax::push(&mut data, keyword, value.as_bytes());
        }
        let mut bytes = vec![0; UNIT];
        crate::tar::head::extended(&mut bytes, b'x', data.len() as u64);
        bytes.extend_from_slice(&data);
        bytes.resize(bytes.len() + padding(data.len() as u64), 0);
        bytes.extend(Head::file("x", 0, Timestamp::default()).encode().unwrap());
        let unit = bytes.len() - UNIT;
        bytes[unit..unit + path.len()].copy_from_slice(path.as_bytes());
        let sum: u64 = bytes[unit..].iter().map(|&b| u64::from(b)).sum();
        let field: u64 = bytes[unit + 148..unit + 156].iter().map(|&b| u64::from(b)).sum();
        let text = format!("{:06o}\0 ", sum - field + 8 * 32);
        bytes[unit + 148..unit + 156].copy_from_slice(text.as_bytes());
        bytes.extend_from_slice(&END);
        bytes
    }

    #[test]
    fn unsafe_names_are_refused() {
        assert!(read_all(&archive(&[("mtime", "1.5")], "ok")).is_ok());
        for path in ["/a", "a/../b", "..", "./a", "a//b"] {
            let bytes = archive(&[("mtime", "1.5")], path);
            assert!(matches!(read_all(&bytes), Err(ReadError::Malformed { .. })), "{path}");
            assert!(Reader::new(&bytes[..], Names::Any).next_member().is_ok(), "{path}");
        }
        assert!(read_all(&archive(&[("path", "a\0b")], "ok")).is_err());
    }

    #[test]
    fn contradictions_and_unknowns_are_refused() {
        for records in [
            [("size", "1"), ("size", "2")],
            [("path", "a"), ("path", "b")],
            [("SCHILY.xattr.user.a", "1"), ("SCHILY.xattr.user.a", "2")],
            [("mtime", "1"), ("LTOARCH.blake3", "x")],
            [("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1")],
        ] {
            let error = read_all(&archive(&records, "x")).unwrap_err();
            assert!(matches!(error, ReadError::Malformed { .. }), "{records:?}: {error}");
        }
        assert!(read_all(&archive(&[("path", "a"), ("path", "a")], "x")).is_ok());
    }

    #[test]
    fn the_pax_size_wins() {
        let mut bytes = archive(&[("size", "3")], "x");
        let end = bytes.len() - END.len();
        let data = [*b"abc", [0; 3]].concat();
        bytes.splice(end..end, data.into_iter().chain([0; UNIT - 6]));
        let mut reader = Reader::new(&bytes[..], Names::Safe);
        assert_eq!(reader.next_member().unwrap().unwrap().stored, 3);
        let mut data = [0; 9];
        assert_eq!(reader.read_data(&mut data).unwrap(), 3);
        assert_eq!(&data[..3], b"abc");
        assert!(reader.next_member().unwrap().is_none());
    }

    #[test]
    fn archives_cut_short_say_so() {
        let bytes = archive(&[("mtime", "1.5")], "x");
        for length in 0..bytes.len() {
            let error = read_all(&bytes[..length]).unwrap_err();
            assert!(matches!(error, ReadError::Truncated { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn extended_headers_are_bounded() {
        let one = archive(&[("mtime", "1")], "x");
        let header = &one[..2 * UNIT];
        assert!(read_all(&[header.repeat(7), one.clone()].concat()).is_ok());
        assert!(read_all(&[header.repeat(8), one.clone()].concat()).is_err());
        let mut huge = vec![0; UNIT];
        crate::tar::head::extended(&mut huge, b'x', (1 << 20) + 1);
        assert!(matches!(read_all(&huge), Err(ReadError::Malformed { .. })));
    }
}
