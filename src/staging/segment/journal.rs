//! The journal of a segment that is being filled: a checksum and a manifest line for each member
//! that is finished, in the order of finishing.
//!
//! Nothing in it is synced. After a crash of the process all of it is there; after a power loss
//! whatever is left says what to look for, and digests decide.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crc_fast::{CrcAlgorithm, checksum};

use crate::{
    item::Kind,
    sorter::{Sorter, SorterError},
    staging::{
        error::{StagingError, disk},
        files::{Files, Handle, Stretch, read_exact_at},
        segment::allocator::Span,
        store::LINE_BYTES,
    },
    volume::{lines, manifest::Entry},
};

/// Eight hexadecimal digits and a blank.
const PREFIX: usize = 9;
/// What a journal keeps in memory to sort by, in bytes.
const SORT_BYTES: usize = 16 << 20;

/// A finished member's line on its way into the journal. Made again and again, so that its buffers
/// are reused.
#[derive(Debug, Default)]
pub(in crate::staging) struct Line {
    text: Vec<u8>,
    order: Vec<u8>,
}

/// Where a member's line and bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::staging) struct Record {
    /// Offset of the line in the journal.
    at: u64,
    /// Bytes of the line.
    length: u32,
    /// The member; empty for an entry without one.
    pub(in crate::staging) span: Span,
    /// Whether the member may come in front of others that it was behind.
    pub(in crate::staging) movable: bool,
}

/// A journal that is being written.
pub(in crate::staging) struct Journal {
    handle: Box<dyn Handle>,
    path: PathBuf,
    end: u64,
    sorter: Option<Sorter>,
    scratch_dir: PathBuf,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Line {
    /// Makes the line of `entry`; its length as manifest line, in bytes.
    pub(in crate::staging) fn set(&mut self, entry: &Entry) -> u64 {
        self.text.clear();
        self.text.resize(PREFIX, b' ');
        lines::write_line(entry, &mut self.text);
        let sum = checksum(CrcAlgorithm::Crc32IsoHdlc, &self.text[PREFIX..]);
        for (place, digit) in self.text[..PREFIX - 1].iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[usize::try_from(sum >> (4 * place) & 15).expect("4 bits")];
        }
        self.order.clear();
        push_order(entry, &mut self.order);
        (self.text.len() - PREFIX) as u64
    }
}

impl Line {
    /// The manifest line, with its newline.
    pub(in crate::staging) fn json(&self) -> &[u8] {
        &self.text[PREFIX..]
    }

    /// Bytes that sort as [`Entry::order`] does.
    pub(in crate::staging) fn order(&self) -> &[u8] {
        &self.order
    }
}

/// Appends bytes that sort as [`Entry::order`] does.
fn push_order(entry: &Entry, out: &mut Vec<u8>) {
    let (source, key, version, part) = entry.order();
    for text in [source.as_str().as_bytes(), &key.0, version.0.as_bytes()] {
        // A zero is doubled up so that two of them can end the text, below all that go on.
        for piece in text.split_inclusive(|byte| *byte == 0) {
            out.extend_from_slice(piece);
            if piece.ends_with(&[0]) {
                out.push(0xff);
            }
        }
        out.extend_from_slice(&[0, 0]);
    }
    out.extend_from_slice(&part.to_be_bytes());
}

impl Record {
    fn of(entry: &Entry, at: u64, length: usize, span: Span) -> Self {
        let length = u32::try_from(length).expect("a line is below 4 GiB");
        let movable = entry.item.kind == Kind::File && entry.linked_to.is_none();
        Self { at, length, span, movable }
    }

    /// As bytes that sort by [`Self::at`].
    fn encode(self) -> [u8; 29] {
        let mut bytes = [0; 29];
        bytes[..8].copy_from_slice(&self.at.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.span.offset.to_be_bytes());
        bytes[20..28].copy_from_slice(&self.span.length.to_be_bytes());
        bytes[28] = u8::from(self.movable);
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        let number = |at: usize| {
            u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight"))
        };
        let length = u32::from_be_bytes(bytes[8..12].try_into().expect("four bytes are four"));
        let span = Span { offset: number(12), length: number(20) };
        Self { at: number(0), length, span, movable: bytes[28] != 0 }
    }
}

impl Journal {
    /// An empty journal in a new file. `scratch_dir` takes what does not fit memory.
    pub(in crate::staging) fn create(
        files: &dyn Files,
        path: &Path,
        scratch_dir: &Path,
    ) -> Result<Self, StagingError> {
        let handle = files.create(path).map_err(disk("create", path))?;
        Ok(Self {
            handle,
            path: path.to_owned(),
            end: 0,
            sorter: Some(Sorter::new(scratch_dir, SORT_BYTES)),
            scratch_dir: scratch_dir.to_owned(),
        })
    }

    /// The same journal after its file was renamed.
    pub(in crate::staging) fn renamed(self, path: &Path) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// Takes a finished member.
    ///
    /// A line that could not be written whole is written over by the next one.
    pub(in crate::staging) fn append(
        &mut self,
        line: &Line,
        entry: &Entry,
        span: Span,
    ) -> Result<(), StagingError> {
        self.handle.write_at(&line.text, self.end).map_err(disk("write", &self.path))?;
        let record = Record::of(entry, self.end, line.text.len(), span);
        let sorter = self.sorter.as_mut().ok_or(StagingError::Closed)?;
        sorter
            .push_keyed(&line.order, &record.encode())
            .map_err(|error| disk("sort in", &self.scratch_dir)(error.source))?;
        self.end += line.text.len() as u64;
        Ok(())
    }

    /// The members in manifest order; of several with one name the one finished last. Nothing can
    /// be appended afterwards but by [`Self::replace`].
    pub(in crate::staging) fn sorted(&mut self) -> Result<Vec<Record>, StagingError> {
        let scratch = |error: SorterError| disk("sort in", &self.scratch_dir)(error.source);
        let sorter = self.sorter.take().ok_or(StagingError::Closed)?;
        let mut records: Vec<Record> = Vec::new();
        let mut last = Vec::new();
        for record in sorter.finish().map_err(scratch)? {
            let record = record.map_err(scratch)?;
            if !records.is_empty() && last == record.key() {
                records.pop();
            }
            last.clear();
            last.extend_from_slice(record.key());
            records.push(Record::decode(record.value()));
        }
        Ok(records)
    }

    /// Appends a member's line anew, because its bytes moved.
    pub(in crate::staging) fn replace(
        &mut self,
        record: &mut Record,
        entry: &Entry,
        span: Span,
    ) -> Result<(), StagingError> {
        let mut line = Line::default();
        line.set(entry);
        self.handle.write_at(&line.text, self.end).map_err(disk("write", &self.path))?;
        *record = Record::of(entry, self.end, line.text.len(), span);
        self.end += line.text.len() as u64;
        Ok(())
    }

    /// Reads a member's manifest line, with its newline.
    pub(in crate::staging) fn read_line(
        &self,
        record: &Record,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        buffer.resize(usize::try_from(record.length).expect("32 bits fit memory") - PREFIX, 0);
        read_exact_at(&*self.handle, buffer, record.at + PREFIX as u64)
    }

    /// Reads a member's entry, by way of `buffer`.
    pub(in crate::staging) fn read(
        &self,
        record: &Record,
        buffer: &mut Vec<u8>,
    ) -> Result<Entry, StagingError> {
        self.read_line(record, buffer).map_err(disk("read", &self.path))?;
        lines::read_line(buffer).map_err(|error| disk("read", &self.path)(error.into()))
    }
}

/// Reads a journal's good lines in the order of finishing. Lines that a crash cut short are passed
/// over.
pub(in crate::staging) fn replay(
    files: &dyn Files,
    path: &Path,
    visit: &mut dyn FnMut(Entry) -> Result<(), StagingError>,
) -> Result<(), StagingError> {
    use io::{BufRead, BufReader, Read};
    let handle = files.open(path).map_err(disk("open", path))?;
    let bytes = handle.len().map_err(disk("measure", path))?;
    let mut reader = BufReader::with_capacity(1 << 20, Stretch::new(handle, 0, bytes));
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line);
        if read.map_err(disk("read", path))? == 0 {
            return Ok(());
        }
        match parse(&line) {
            Some(entry) => visit(entry)?,
            None => tracing::warn!(path = %path.display(), "a line of the journal was cut short"),
        }
    }
}

fn parse(line: &[u8]) -> Option<Entry> {
    let (prefix, json) = line.split_at_checked(PREFIX)?;
    let stated = u64::from_str_radix(std::str::from_utf8(prefix).ok()?.trim_end(), 16).ok()?;
    if checksum(CrcAlgorithm::Crc32IsoHdlc, json) != stated {
        return None;
    }
    lines::read_line(json).ok()
}
