//! Where each object of a `.tap` file lies, run by run, so that equal blocks cost one row.

use crate::digest::Digest;

/// What a filemark takes of the tape's capacity, in bytes: writing nothing but filemarks ends too.
pub(crate) const FILEMARK_COST: u64 = 4096;

/// Bytes that the record of an encrypted block has more than the block.
pub(crate) const SEALED_OVERHEAD: u64 = 80;

const MAGIC: &[u8; 8] = b"TVTAPIX1";
const HEAD_LEN: usize = 8 + 8 + 8 + 4 + 8 + 8;
const ROW_LEN: usize = 8 + 8 + 1 + 4;
const DIGEST_LEN: usize = 32;

/// One logical object, apart from its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A block of so many bytes.
    Block(u32),
    /// A block of so many bytes that lies there encrypted.
    Sealed(u32),
    /// A block that cannot be read (bit 31 of its length, or a length that is said differently
    /// before and after it).
    Bad(u32),
    /// A filemark.
    Filemark,
}

/// One object and where its data begin in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    /// File offset of its record: of the length word before the data, or of the filemark.
    pub(crate) offset: u64,
}

/// Equal objects, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    kind: Kind,
    offset: u64,
    count: u64,
    /// Objects, filemarks and bytes of capacity before it.
    first: u64,
    files: u64,
    used: u64,
}

/// What a stored index must agree with, or it is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) length: u64,
    pub(crate) modified_seconds: i64,
    pub(crate) modified_nanoseconds: u32,
}

/// The objects of one tape in order. Object numbers count from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    runs: Vec<Run>,
    /// Where the next record goes.
    end: u64,
}

impl Kind {
    /// Bytes of its record in the file.
    pub(crate) fn record_len(self) -> u64 {
        match self {
            Self::Block(len) | Self::Bad(len) => 8 + u64::from(len) + u64::from(len & 1),
            Self::Sealed(len) => 8 + u64::from(len) + u64::from(len & 1) + SEALED_OVERHEAD,
            Self::Filemark => 4,
        }
    }

    /// Bytes of the tape's capacity that it takes.
    pub(crate) fn cost(self) -> u64 {
        match self {
            Self::Block(len) | Self::Sealed(len) | Self::Bad(len) => u64::from(len),
            Self::Filemark => FILEMARK_COST,
        }
    }

    fn is_filemark(self) -> bool {
        self == Self::Filemark
    }
}

impl Run {
    fn end(&self) -> u64 {
        self.first + self.count
    }

    fn end_offset(&self) -> u64 {
        self.offset + self.count * self.kind.record_len()
    }

    fn files_before(&self, object: u64) -> u64 {
        self.files + if self.kind.is_filemark() { object - self.first } else { 0 }
    }

    fn used_before(&self, object: u64) -> u64 {
        self.used + (object - self.first) * self.kind.cost()
    }
}

impl Index {
    /// Objects on the tape: the number that the next one gets.
    pub(crate) fn objects(&self) -> u64 {
        self.runs.last().map_or(0, Run::end)
    }

    /// Filemarks on the tape.
    pub(crate) fn files(&self) -> u64 {
        self.files_before(self.objects())
    }

    /// Where the next record goes in the file.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The run that holds `object`, if there is such an object.
    fn run_of(&self, object: u64) -> Option<&Run> {
        let after = self.runs.partition_point(|run| run.first <= object);
        self.runs[..after].last().filter(|run| object < run.end())
    }

    /// The object with this number.
    pub(crate) fn object(&self, number: u64) -> Option<Object> {
        let run = self.run_of(number)?;
        let offset = run.offset + (number - run.first) * run.kind.record_len();
        Some(Object { kind: run.kind, offset })
    }

    /// Filemarks before `object`, which may be the end of data.
    pub(crate) fn files_before(&self, object: u64) -> u64 {
        let after = self.runs.partition_point(|run| run.first < object);
        self.runs[..after].last().map_or(0, |run| run.files_before(object.min(run.end())))
    }

    /// Bytes of capacity that the objects before `object` take.
    pub(crate) fn used_before(&self, object: u64) -> u64 {
        let after = self.runs.partition_point(|run| run.first < object);
        self.runs[..after].last().map_or(0, |run| run.used_before(object.min(run.end())))
    }

    /// Number of the filemark that `count` filemarks precede.
    pub(crate) fn filemark(&self, count: u64) -> Option<u64> {
        let after = self.runs.partition_point(|run| run.files <= count);
        let run = self.runs[..after].last().filter(|run| run.kind.is_filemark())?;
        let number = run.first + (count - run.files);
        (number < run.end()).then_some(number)
    }

    /// The smallest object number from which at most `bytes` of capacity lie before the end.
    pub(crate) fn tail_within(&self, bytes: u64) -> u64 {
        let objects = self.objects();
        let floor = self.used_before(objects).saturating_sub(bytes);
        let after = self.runs.partition_point(|run| run.used < floor);
        let Some(run) = self.runs[..after].last() else { return 0 };
        let cost = run.kind.cost().max(1);
        (run.first + (floor - run.used).div_ceil(cost)).min(run.end())
    }

    /// Adds an object whose record begins at `offset`.
    pub(crate) fn push(&mut self, kind: Kind, offset: u64) {
        self.end = offset + kind.record_len();
        if let Some(last) = self.runs.last_mut()
            && last.kind == kind
            && last.end_offset() == offset
        {
            last.count += 1;
            return;
        }
        let first = self.objects();
        let (files, used) = (self.files_before(first), self.used_before(first));
        self.runs.push(Run { kind, offset, count: 1, first, files, used });
    }

    /// Adds an object right behind the last.
    pub(crate) fn append(&mut self, kind: Kind) {
        self.push(kind, self.end);
    }

    /// Forgets `object` and all behind it.
    pub(crate) fn truncate(&mut self, object: u64) {
        let Some(first) = self.object(object) else { return };
        self.end = first.offset;
        self.runs.retain(|run| run.first < object);
        if let Some(last) = self.runs.last_mut() {
            last.count = object - last.first;
        }
    }

    /// The index as a file, valid for a tape file that `stamp` describes.
    pub(crate) fn encode(&self, stamp: Stamp) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_LEN + self.runs.len() * ROW_LEN + DIGEST_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&stamp.length.to_le_bytes());
        bytes.extend_from_slice(&stamp.modified_seconds.to_le_bytes());
        bytes.extend_from_slice(&stamp.modified_nanoseconds.to_le_bytes());
        bytes.extend_from_slice(&self.end.to_le_bytes());
        bytes.extend_from_slice(&(self.runs.len() as u64).to_le_bytes());
        for run in &self.runs {
            let (code, len) = match run.kind {
                Kind::Block(len) => (0, len),
                Kind::Bad(len) => (1, len),
                Kind::Filemark => (2, 0),
                Kind::Sealed(len) => (3, len),
            };
            bytes.extend_from_slice(&run.offset.to_le_bytes());
            bytes.extend_from_slice(&run.count.to_le_bytes());
            bytes.push(code);
            bytes.extend_from_slice(&u32::to_le_bytes(len));
        }
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(&digest.0);
        bytes
    }

    /// Reads an index file back. `None` when it is damaged or not about a file like `stamp`.
    pub(crate) fn decode(bytes: &[u8], stamp: Stamp) -> Option<Self> {
        let body = bytes.len().checked_sub(DIGEST_LEN)?;
        let (body, digest) = bytes.split_at(body);
        if body.get(..8)? != MAGIC || Digest::of(body).0.as_slice() != digest {
            return None;
        }
        let mut rest = &body[8..];
        let told = Stamp {
            length: u64::from_le_bytes(take(&mut rest)?),
            modified_seconds: i64::from_le_bytes(take(&mut rest)?),
            modified_nanoseconds: u32::from_le_bytes(take(&mut rest)?),
        };
        let end = u64::from_le_bytes(take(&mut rest)?);
        let count = usize::try_from(u64::from_le_bytes(take(&mut rest)?)).ok()?;
        if told != stamp || rest.len() != count.checked_mul(ROW_LEN)? {
            return None;
        }
        let mut index = Self { runs: Vec::with_capacity(count), end: 0 };
        for _ in 0..count {
            let offset = u64::from_le_bytes(take(&mut rest)?);
            let count = u64::from_le_bytes(take(&mut rest)?);
            let code = u8::from_le_bytes(take(&mut rest)?);
            let len = u32::from_le_bytes(take(&mut rest)?);
            let kind = match code {
                0 => Kind::Block(len),
                1 => Kind::Bad(len),
                2 => Kind::Filemark,
                3 => Kind::Sealed(len),
                _ => return None,
            };
            let first = index.objects();
            let (files, used) = (index.files_before(first), index.used_before(first));
            index.runs.push(Run { kind, offset, count, first, files, used });
        }
        index.end = end;
        Some(index)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = Vec<Kind>> {
        let kind = prop_oneof![
            (0_u32..4).prop_map(|n| Kind::Block(n * 3 + 1)),
            (1_u32..3).prop_map(Kind::Bad),
            (1_u32..4).prop_map(Kind::Sealed),
            Just(Kind::Filemark),
        ];
        proptest::collection::vec(kind, 0..60)
    }

    fn index_of(kinds: &[Kind]) -> Index {
        let mut index = Index::default();
        for kind in kinds {
            index.append(*kind);
        }
        index
    }

    proptest! {
        #[test]
        fn an_index_answers_as_a_list_would(kinds in kinds(), cut in 0_u64..70) {
            let mut index = index_of(&kinds);
            let cut = cut.min(index.objects());
            index.truncate(cut);
            let kinds = &kinds[..usize::try_from(cut).unwrap()];
            prop_assert_eq!(&index, &index_of(kinds));
            prop_assert_eq!(index.objects(), kinds.len() as u64);
            let (mut offset, mut files, mut used) = (0, 0, 0);
            for (number, kind) in kinds.iter().enumerate() {
                let number = number as u64;
                prop_assert_eq!(index.object(number), Some(Object { kind: *kind, offset }));
                prop_assert_eq!(index.files_before(number), files);
                prop_assert_eq!(index.used_before(number), used);
                if kind.is_filemark() {
                    prop_assert_eq!(index.filemark(files), Some(number));
                    files += 1;
                }
                offset += kind.record_len();
                used += kind.cost();
            }
            prop_assert_eq!(index.end(), offset);
            prop_assert_eq!((index.files(), index.filemark(files)), (files, None));
            prop_assert_eq!(index.used_before(index.objects()), used);
            prop_assert_eq!(index.object(index.objects()), None);
        }

        #[test]
        fn the_tail_is_the_longest_that_fits(kinds in kinds(), bytes in 0_u64..20_000) {
            let index = index_of(&kinds);
            let used = index.used_before(index.objects());
            let expected = (0..=index.objects())
                .find(|object| used - index.used_before(*object) <= bytes);
            prop_assert_eq!(Some(index.tail_within(bytes)), expected);
        }

        #[test]
        fn a_stored_index_is_the_same_or_nothing(kinds in kinds(), flip in any::<usize>()) {
            let index = index_of(&kinds);
            let stamp = Stamp { length: 9, modified_seconds: -3, modified_nanoseconds: 7 };
            let mut bytes = index.encode(stamp);
            prop_assert_eq!(Index::decode(&bytes, stamp), Some(index));
            prop_assert_eq!(Index::decode(&bytes, Stamp { length: 8, ..stamp }), None);
            let at = flip % bytes.len();
            bytes[at] ^= 1;
            prop_assert_eq!(Index::decode(&bytes, stamp), None);
            prop_assert_eq!(Index::decode(&bytes[..at], stamp), None);
        }
    }
}
