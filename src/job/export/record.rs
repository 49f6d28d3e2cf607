//! Records of a plan file: what was listed, and whether it is held.
//!
//! A private, short-lived form: the file is unlinked when it is made, and read by the process that
//! wrote it. So it is compact, and no older form has to be understood.

use crate::{
    clock::Timestamp,
    item::{Key, Kind, Listed, Token, Version},
    source::HeldPart,
    volume::manifest::Part,
};

/// One listed item, and whether it has to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) listed: Listed,
    pub(super) wanted: bool,
    /// Of a wanted item, the parts that are held.
    pub(super) held: Vec<HeldPart>,
}

/// Bits of a record's first byte.
const WANTED: u8 = 1;
const LATEST: u8 = 2;
const HELD: u8 = 4;

impl Planned {
    /// Appends the record to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let listed = &self.listed;
        let flags = [(self.wanted, WANTED), (listed.latest, LATEST), (!self.held.is_empty(), HELD)];
        out.push(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
        put_bytes(out, &listed.key.0);
        put_bytes(out, listed.version.0.as_bytes());
        out.extend(listed.token.0.to_le_bytes());
        out.extend(listed.size.to_le_bytes());
        out.extend(listed.modified.nanoseconds().to_le_bytes());
        put_kind(out, &listed.kind);
        if !self.held.is_empty() {
            put_u32(out, self.held.len());
            for HeldPart { part, running } in &self.held {
                out.extend(part.number.to_le_bytes());
                out.extend(part.of.to_le_bytes());
                out.extend(part.offset.to_le_bytes());
                out.extend(part.length.to_le_bytes());
                put_bytes(out, running.as_bytes());
            }
        }
    }

    /// Reads a record that [`Self::encode`] wrote.
    ///
    /// # Panics
    ///
    /// When the bytes are not such a record, which only a bug or broken memory makes so.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let mut from = Cursor(bytes);
        let [flags] = from.take();
        let key = Key(from.bytes());
        let version = Version(String::from_utf8(from.bytes()).expect(WHOLE));
        let token = Token(u64::from_le_bytes(from.take()));
        let size = u64::from_le_bytes(from.take());
        let modified = Timestamp::from_nanoseconds(i128::from_le_bytes(from.take()));
        let kind = from.kind();
        let latest = flags & LATEST != 0;
        let listed = Listed { key, version, token, size, modified, latest, kind };
        let parts = if flags & HELD == 0 { 0 } else { from.length() };
        let held = (0..parts).map(|_| from.part()).collect();
        Self { listed, wanted: flags & WANTED != 0, held }
    }
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    out.extend(u32::try_from(value).expect("a name or a count fits 32 bits").to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len());
    out.extend(bytes);
}

fn put_kind(out: &mut Vec<u8>, kind: &Kind) {
    match kind {
        Kind::File => out.push(0),
        Kind::Directory => out.push(1),
        Kind::Symlink { target } => {
            out.push(2);
            put_bytes(out, &target.0);
        }
        Kind::Fifo => out.push(3),
        Kind::CharacterDevice { major, minor } => {
            out.push(4);
            out.extend(major.to_le_bytes());
            out.extend(minor.to_le_bytes());
        }
        Kind::BlockDevice { major, minor } => {
            out.push(5);
            out.extend(major.to_le_bytes());
            out.extend(minor.to_le_bytes());
        }
        Kind::DeleteMarker => out.push(6),
    }
}

struct Cursor<'a>(&'a [u8]);

const WHOLE: &str = "a plan record is read as it was written";

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (now, later) = self.0.split_first_chunk().expect(WHOLE);
        self.0 = later;
        *now
    }

    fn length(&mut self) -> usize {
        usize::try_from(u32::from_le_bytes(self.take())).expect("32 bits fit memory")
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.length();
        let (now, later) = self.0.split_at_checked(length).expect(WHOLE);
        self.0 = later;
        now.to_vec()
    }

    fn kind(&mut self) -> Kind {
        let [tag] = self.take();
        match tag {
            0 => Kind::File,
            1 => Kind::Directory,
            2 => Kind::Symlink { target: Key(self.bytes()) },
            3 => Kind::Fifo,
            4 => {
                let (major, minor) = self.device();
                Kind::CharacterDevice { major, minor }
            }
            5 => {
                let (major, minor) = self.device();
                Kind::BlockDevice { major, minor }
            }
            6 => Kind::DeleteMarker,
            _ => panic!("{WHOLE}"),
        }
    }

    fn part(&mut self) -> HeldPart {
        let (number, of) = (u32::from_le_bytes(self.take()), u32::from_le_bytes(self.take()));
        let (offset, length) = (u64::from_le_bytes(self.take()), u64::from_le_bytes(self.take()));
        let running = String::from_utf8(self.bytes()).expect(WHOLE);
        HeldPart { part: Part { number, of, offset, length }, running }
    }

    fn device(&mut self) -> (u32, u32) {
        (u32::from_le_bytes(self.take()), u32::from_le_bytes(self.take()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back() {
        let kinds = [
            Kind::File,
            Kind::Directory,
            Kind::Symlink { target: Key(b"\xff".to_vec()) },
            Kind::Fifo,
            Kind::CharacterDevice { major: 1, minor: 2 },
            Kind::BlockDevice { major: 3, minor: 4 },
            Kind::DeleteMarker,
        ];
        let records = kinds.map(|kind| Planned {
            listed: Listed {
                key: Key::from("b\n"),
                version: Version("v".into()),
                token: Token(u64::MAX),
                size: 12,
                modified: Timestamp::from_parts(-1, 5),
                latest: kind == Kind::File,
                kind,
            },
            wanted: true,
            held: Vec::new(),
        });
        let held = [(1, "running"), (2, "")].map(|(number, running)| HeldPart {
            part: Part { number, of: 2, offset: 5, length: u64::MAX },
            running: running.to_owned(),
        });
        let in_parts = Planned { held: held.to_vec(), ..records[0].clone() };
        for record in records.into_iter().chain([in_parts]) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(Planned::decode(&bytes), record);
        }
    }
}
