//! Segments: what follows the last member, and where a segment's pieces lie.
//!
//! A segment is members, manifest, sums, filler up to the final block, and the trailer's block.

use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::digest::Digest;
use crate::ident::{SegmentId, SetId};
use crate::tar::{self, UNIT};
use crate::volume::{
    lines::{self, Marks},
    manifest::Entry,
    trailer::{self, encode_own, folder},
};

/// Name of the manifest in the segment's folder.
pub const MANIFEST: &str = "MANIFEST.jsonl";
/// Name of the digests in the segment's folder, as `b3sum --check` takes them.
pub const SUMS: &str = "BLAKE3SUMS";

/// The longest manifest or list of sums, in bytes: more needs a longer header.
const PIECE_MAX: u64 = 0o77_777_777_777;
/// Bytes written at a time.
const BUFFER: usize = 1 << 20;

/// What is known of a segment before it is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub segment: SegmentId,
    /// The set that it belongs to.
    pub set: SetId,
    /// When it is sealed.
    pub created: Timestamp,
    /// Bytes of one block.
    pub block_size: u32,
}

/// What a segment's trailer says. It is the same on every copy, so no object number is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// The format's version.
    pub format: u32,
    /// The segment.
    pub segment: SegmentId,
    /// The set that it belongs to.
    pub set: SetId,
    /// When it was sealed.
    pub created: Timestamp,
    /// Bytes of one block.
    pub block_size: u32,
    /// Blocks in front of the filemark, the one with the trailer included.
    pub blocks: u64,
    /// Lines of the manifest.
    pub members: u64,
    /// Offset of the manifest's first line, in bytes from the segment's first.
    pub manifest_offset: u64,
    /// Bytes of the manifest's lines.
    pub manifest_bytes: u64,
    /// BLAKE3 of the manifest's lines.
    pub manifest_digest: Digest,
    /// Offset of the first line of sums, in bytes from the segment's first.
    pub sums_offset: u64,
    /// Bytes of the lines of sums.
    pub sums_bytes: u64,
}

/// Why a segment cannot be finished.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// Its file, or the scratch file, failed.
    #[error("cannot write the end of segment {segment}")]
    Io {
        /// The segment.
        segment: SegmentId,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// Entries did not come in order, or one cannot be listed. That is a mistake of the caller's.
    #[error("manifest line {line} of segment {segment} {what}")]
    Entry {
        /// The segment.
        segment: SegmentId,
        /// The line, from 0.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Trailer {
    /// Bytes of the whole segment: all its blocks.
    pub fn bytes(&self) -> u64 {
        self.blocks * u64::from(self.block_size)
    }

    /// The blocks that the manifest's lines touch: the first, numbered from 0, and how many.
    pub fn manifest_blocks(&self) -> (u64, u64) {
        let size = u64::from(self.block_size);
        let first = self.manifest_offset / size;
        let end = (self.manifest_offset + self.manifest_bytes).div_ceil(size);
        (first, end.max(first + 1) - first)
    }
}

/// Room that the end of a segment takes at most: `manifest` bytes of manifest, `sums` bytes of
/// sums, heads, filler and trailer.
pub fn end_room(manifest: u64, sums: u64, block_size: u32) -> u64 {
    manifest + sums + 4 * tar::UNIT as u64 + 3 * u64::from(block_size)
}

/// Bytes that the line of sums of a member with this path takes.
pub fn sums_line_bytes(path: &str) -> u64 {
    // 64 digits, two blanks, a newline.
    path.len() as u64 + 67
}

/// Writes the end of a segment: give it every entry in order, then [`Finisher::finish`].
///
/// The manifest's head is written last, when its length is known; until then zeros stand there, so
/// an unfinished segment ends at the last member for every reader.
#[derive(Debug)]
pub struct Finisher<W: Write, S: Write> {
    out: BufWriter<W>,
    scratch: BufWriter<S>,
    facts: Facts,
    /// Where the manifest's head belongs.
    start: u64,
    lines: u64,
    manifest_bytes: u64,
    sums_bytes: u64,
    hasher: blake3::Hasher,
    line: Vec<u8>,
    last: Option<Entry>,
}

impl<W: Write + Seek, S: Read + Write + Seek> Finisher<W, S> {
    /// Begins at byte `at` of the segment, where the last member's padding ends. `scratch` is an
    /// empty file for the sums while the manifest is written.
    ///
    /// # Errors
    ///
    /// When the file fails.
    ///
    /// # Panics
    ///
    /// When `at` is no multiple of a unit, or the block size not one that a volume may have.
    pub fn new(out: W, scratch: S, facts: Facts, at: u64) -> Result<Self, FinishError> {
        assert!(at.is_multiple_of(UNIT as u64), "a member ends on a unit, not at {at}");
        assert!(trailer::is_block_size(facts.block_size), "blocks of {} bytes", facts.block_size);
        let mut finisher = Self {
            out: BufWriter::with_capacity(BUFFER, out),
            scratch: BufWriter::with_capacity(BUFFER, scratch),
            facts,
            start: at,
            lines: 0,
            manifest_bytes: 0,
            sums_bytes: 0,
            hasher: blake3::Hasher::new(),
            line: Vec::new(),
            last: None,
        };
        let begun = finisher.out.seek(SeekFrom::Start(at));
        let begun = begun.and_then(|_| finisher.out.write_all(&[0; UNIT]));
        begun.map_err(|cause| finisher.failed(cause))?;
        Ok(finisher)
    }

    fn failed(&self, cause: io::Error) -> FinishError {
        FinishError::Io { segment: self.facts.segment, cause }
    }

    fn wrong(&self, what: &'static str) -> FinishError {
        FinishError::Entry { segment: self.facts.segment, line: self.lines, what }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    ///
    /// When a file fails, or the entry is not one that may come here.
    pub fn push(&mut self, entry: Entry) -> Result<(), FinishError> {
        if self.last.as_ref().is_some_and(|last| last.order() >= entry.order()) {
            return Err(self.wrong("is out of order"));
        }
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let marks = lines::write_line(&entry, &mut line);
        let pushed = self.push_line(&line, marks);
        self.line = line;
        self.last = Some(entry);
        pushed
    }

    /// Takes the line of the next entry, as [`lines::write_line`] made it. That lines ascend is the
    /// caller's to know.
    ///
    /// # Errors
    ///
    /// When a file fails, or the entry is not one that may come here.
    pub fn push_line(&mut self, line: &[u8], marks: Marks) -> Result<(), FinishError> {
        self.hasher.update(line);
        self.manifest_bytes += line.len() as u64;
        let written = self.out.write_all(line);
        written.map_err(|cause| self.failed(cause))?;
        let sum = marks.sum(line).map_err(|_| self.wrong("is not the line that it should be"))?;
        if let Some((digest, path)) = sum {
            // b3sum would want these escaped, and our paths have none.
            if path.bytes().any(|b| matches!(b, b'\\' | b'\n' | b'\r')) {
                return Err(self.wrong("has a path that cannot be listed"));
            }
            push_sum(&mut self.scratch, &mut self.sums_bytes, &digest, &path)
                .map_err(|cause| FinishError::Io { segment: self.facts.segment, cause })?;
        }
        self.lines += 1;
        Ok(())
    }

    /// Writes what is left, and says where everything lies. The file is not synced.
    ///
    /// # Errors
    ///
    /// When a file fails, or the manifest is too long.
    pub fn finish(mut self) -> Result<Trailer, FinishError> {
        let digest = Digest::from_hasher(&self.hasher);
        let path = format!("{}/{MANIFEST}", folder(&self.facts.segment));
        let digits = digest.to_string();
        let listed = push_sum(&mut self.scratch, &mut self.sums_bytes, &digits, &path);
        listed.map_err(|cause| self.failed(cause))?;
        if self.manifest_bytes.max(self.sums_bytes) > PIECE_MAX {
            return Err(self.wrong("makes the manifest longer than 8 GiB"));
        }
        let segment = self.facts.segment;
        self.write_end(digest).map_err(|cause| FinishError::Io { segment, cause })
    }

    fn write_end(mut self, manifest_digest: Digest) -> io::Result<Trailer> {
        let unit = UNIT as u64;
        let folder = folder(&self.facts.segment);
        let created = self.facts.created;
        let head = |name, bytes| encode_own(format!("{folder}/{name}"), bytes, created);
        let padding = tar::padding(self.manifest_bytes);
        self.out.write_all(&[0; UNIT][..padding])?;
        let sums_head = self.start + unit + self.manifest_bytes + padding as u64;
        self.out.write_all(&head(SUMS, self.sums_bytes))?;
        self.copy_sums()?;
        let padding = tar::padding(self.sums_bytes);
        self.out.write_all(&[0; UNIT][..padding])?;
        let end = sums_head + unit + self.sums_bytes + padding as u64;
        let block = u64::from(self.facts.block_size);
        let last = fill_to_block(&mut self.out, end, block)?;
        let trailer = Trailer {
            format: super::FORMAT,
            segment: self.facts.segment,
            set: self.facts.set,
            created: self.facts.created,
            block_size: self.facts.block_size,
            blocks: last / block + 1,
            members: self.lines,
            manifest_offset: self.start + unit,
            manifest_bytes: self.manifest_bytes,
            manifest_digest,
            sums_offset: sums_head + unit,
            sums_bytes: self.sums_bytes,
        };
        let whole = trailer::Trailer::Segment(trailer);
        self.out.write_all(&trailer::encode(&whole, self.facts.created))?;
        // Last, so that a reader of an unfinished file does not take half a manifest for a whole.
        self.out.seek(SeekFrom::Start(self.start))?;
        self.out.write_all(&head(MANIFEST, self.manifest_bytes))?;
        self.out.flush()?;
        Ok(trailer)
    }

    fn copy_sums(&mut self) -> io::Result<()> {
        self.scratch.flush()?;
        let scratch = self.scratch.get_mut();
        scratch.seek(SeekFrom::Start(0))?;
        let copied = io::copy(&mut Read::by_ref(scratch).take(self.sums_bytes), &mut self.out)?;
        if copied == self.sums_bytes {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the scratch file is shorter than it was",
            ))
        }
    }
}

fn push_sum(scratch: &mut impl Write, bytes: &mut u64, digest: &str, path: &str) -> io::Result<()> {
    scratch.write_all(digest.as_bytes())?;
    scratch.write_all(b"  ")?;
    scratch.write_all(path.as_bytes())?;
    scratch.write_all(b"\n")?;
    *bytes += sums_line_bytes(path);
    Ok(())
}

/// Writes fillers from `at` up to a block's beginning, and says where that is.
pub(super) fn fill_to_block(out: &mut impl Write, at: u64, block: u64) -> io::Result<u64> {
    let mut gap = at.next_multiple_of(block) - at;
    if gap == UNIT as u64 {
        gap += block;
    }
    for bytes in tar::fillers(gap).expect("a gap of whole units that is not a single one") {
        out.write_all(&tar::filler(bytes))?;
    }
    Ok(at + gap)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::item::{Item, Key};
    use crate::tar::{Names, Reader};
    use crate::volume::{member, trailer::TrailerError};

    const BLOCK: u32 = 4096;

    fn entry(key: &str, digest: Digest) -> Entry {
        let item = Item { key: Key::from(key), size: 3, latest: true, ..Item::default() };
        let source = "s".parse().unwrap();
        let path = member::path_of(&source, &item, None);
        Entry {
            source,
            item,
            path,
            offset: 0,
            data: 0,
            stored: 0,
            digest: Some(digest),
            part: None,
            linked_to: None,
            torn: false,
            chaining: String::new(),
        }
    }

    /// A segment of `count` files of three bytes.
    fn segment(count: usize) -> (Vec<u8>, Trailer) {
        let mut bytes = Vec::new();
        let mut entries = Vec::new();
        for number in 0..count {
            let mut entry = entry(&format!("k{number:06}.x"), Digest::of(b"abc"));
            let head = member::head_of(&entry).unwrap();
            entry.offset = bytes.len() as u64;
            let encoded = head.encode_into(&mut bytes).unwrap();
            entry.data = entry.offset + encoded.headers;
            entry.stored = encoded.data;
            bytes.extend_from_slice(b"abc");
            bytes.resize(bytes.len() + tar::padding(3), 0);
            entries.push(entry);
        }
        let facts = Facts {
            segment: SegmentId::new(),
            set: SetId::new(),
            created: Timestamp::from_parts(1_800_000_000, 5),
            block_size: BLOCK,
        };
        let at = bytes.len() as u64;
        let mut out = Cursor::new(bytes);
        let mut finisher = Finisher::new(&mut out, Cursor::new(Vec::new()), facts, at).unwrap();
        for entry in entries {
            finisher.push(entry).unwrap();
        }
        let trailer = finisher.finish().unwrap();
        (out.into_inner(), trailer)
    }

    #[test]
    fn a_segment_is_known_from_its_final_block() {
        for count in [0, 1, 2, 3, 4, 5, 6, 7, 40, 300] {
            let (bytes, trailer) = segment(count);
            assert_eq!(bytes.len() as u64, trailer.bytes());
            let block = usize::try_from(BLOCK).unwrap();
            let last = trailer::decode(&bytes[bytes.len() - block..]).unwrap();
            assert_eq!(last, trailer::Trailer::Segment(trailer));
            for earlier in bytes[..bytes.len() - block].chunks(block) {
                assert!(matches!(trailer::decode(earlier), Err(TrailerError::None)));
            }
            let begin = usize::try_from(trailer.manifest_offset).unwrap();
            let end = begin + usize::try_from(trailer.manifest_bytes).unwrap();
            assert_eq!(Digest::of(&bytes[begin..end]), trailer.manifest_digest);
            let lines: Vec<_> =
                lines::Reader::new(&bytes[begin..end]).map(Result::unwrap).collect();
            assert_eq!(lines.len(), count);
            let mut reader = Reader::new(&bytes[..], Names::Safe);
            for line in &lines {
                let found = reader.next_member().unwrap().unwrap();
                assert_eq!((found.offset, found.data), (line.offset, line.data));
                assert_eq!(found.head, member::head_of(line).unwrap());
            }
            let rest: Vec<_> = std::iter::from_fn(|| reader.next_member().unwrap()).collect();
            let names: Vec<_> =
                rest.iter().map(|found| found.head.path.rsplit('/').next().unwrap()).collect();
            assert_eq!(names, [MANIFEST, SUMS, "TRAILER.json"]);
            let (first, blocks) = trailer.manifest_blocks();
            assert!(first * 4096 <= trailer.manifest_offset && blocks >= 1);
            assert!((first + blocks) * 4096 >= trailer.manifest_offset + trailer.manifest_bytes);
        }
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        let facts = Facts {
            segment: SegmentId::new(),
            set: SetId::new(),
            created: Timestamp::default(),
            block_size: BLOCK,
        };
        let (out, scratch) = (Cursor::new(Vec::new()), Cursor::new(Vec::new()));
        let mut finisher = Finisher::new(out, scratch, facts, 0).unwrap();
        finisher.push(entry("b", Digest::of(b""))).unwrap();
        let error = finisher.push(entry("a", Digest::of(b""))).unwrap_err();
        assert!(matches!(error, FinishError::Entry { line: 1, .. }), "{error}");
    }
}
