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
    volume::{
        lines::{self, Marks},
        manifest::Entry,
    },
};

/// Bytes of a stored [`Record`].
const RECORD: usize = 29 + Marks::BYTES;
/// Eight hexadecimal digits and a blank.
const PREFIX: usize = 9;
/// What a journal keeps in memory to sort by, in bytes.
const SORT_BYTES: usize = 16 << 20;
/// The least and the most that is read of a journal at once, in bytes.
const WINDOW_MIN: usize = 4 << 10;
const WINDOW_MAX: usize = 256 << 10;

/// A finished member's line on its way into the journal. Made again and again, so that its buffers
/// are reused.
#[derive(Debug, Default)]
pub(in crate::staging) struct Line {
    text: Vec<u8>,
    order: Vec<u8>,
    marks: Marks,
}

/// Lines of several members that were finished together, so that one write takes them all. Made
/// again and again, so that its buffers are reused.
#[derive(Debug, Default)]
pub(in crate::staging) struct Lines {
    text: Vec<u8>,
    orders: Vec<u8>,
    /// The bytes of each one's order, and its record, as if its text were the journal.
    records: Vec<(usize, Record)>,
    line: Line,
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
    /// Where its manifest line has what the sums list.
    pub(in crate::staging) marks: Marks,
}

/// A stretch of a journal in memory. Members are finished about in manifest order, so that lines
/// asked for one after the other lie near each other, if not side by side.
#[derive(Debug, Default)]
pub(in crate::staging) struct Window {
    start: u64,
    bytes: Vec<u8>,
    /// Bytes that were asked for since it was read.
    used: usize,
}

impl Window {
    /// Where `length` bytes at `at` are, if they are here.
    fn place(&self, at: u64, length: usize) -> Option<usize> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        (from.checked_add(length)? <= self.bytes.len()).then_some(from)
    }

    /// How much to read next: more while most of it is used, and little while it is not.
    fn next_length(&self) -> usize {
        let grows = self.used >= self.bytes.len() / 4;
        if grows { (2 * self.bytes.len()).clamp(WINDOW_MIN, WINDOW_MAX) } else { WINDOW_MIN }
    }
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
        self.marks = lines::write_line(entry, &mut self.text);
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

impl Lines {
    /// Forgets all lines.
    pub(in crate::staging) fn clear(&mut self) {
        self.text.clear();
        self.orders.clear();
        self.records.clear();
    }

    /// Takes the line of an entry whose member lies at `span`; its length as manifest line, in bytes.
    pub(in crate::staging) fn push(&mut self, entry: &Entry, span: Span) -> u64 {
        let bytes = self.line.set(entry);
        let Line { text, order, .. } = &self.line;
        let record = Record::of(entry, &self.line, self.text.len() as u64, span);
        self.text.extend_from_slice(text);
        self.orders.extend_from_slice(order);
        self.records.push((order.len(), record));
        bytes
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
    /// The record of an entry whose line stands at `at`.
    fn of(entry: &Entry, line: &Line, at: u64, span: Span) -> Self {
        let length = u32::try_from(line.text.len()).expect("a line is below 4 GiB");
        let movable = entry.item.kind == Kind::File && entry.linked_to.is_none();
        Self { at, length, span, movable, marks: line.marks }
    }

    /// As bytes that sort by [`Self::at`].
    fn encode(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(&self.at.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.span.offset.to_be_bytes());
        bytes[20..28].copy_from_slice(&self.span.length.to_be_bytes());
        bytes[28] = u8::from(self.movable);
        bytes[29..].copy_from_slice(&self.marks.encode());
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        let number = |at: usize| {
            u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight"))
        };
        let length = u32::from_be_bytes(bytes[8..12].try_into().expect("four bytes are four"));
        let span = Span { offset: number(12), length: number(20) };
        let marks = Marks::decode(bytes[29..].try_into().expect("a record has its length"));
        Self { at: number(0), length, span, movable: bytes[28] != 0, marks }
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

    /// Its file.
    pub(in crate::staging) fn path(&self) -> &Path {
        &self.path
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
        let record = Record::of(entry, line, self.end, span);
        let sorter = self.sorter.as_mut().ok_or(StagingError::Closed)?;
        sorter
            .push_keyed(&line.order, &record.encode())
            .map_err(|error| disk("sort in", &self.scratch_dir)(error.source))?;
        self.end += line.text.len() as u64;
        Ok(())
    }

    /// Takes finished members, as [`Self::append`] takes one.
    pub(in crate::staging) fn append_all(&mut self, lines: &Lines) -> Result<(), StagingError> {
        self.handle.write_at(&lines.text, self.end).map_err(disk("write", &self.path))?;
        let sorter = self.sorter.as_mut().ok_or(StagingError::Closed)?;
        let mut orders = &lines.orders[..];
        for (length, record) in &lines.records {
            let (order, later) = orders.split_at(*length);
            let record = Record { at: self.end + record.at, ..*record };
            sorter
                .push_keyed(order, &record.encode())
                .map_err(|error| disk("sort in", &self.scratch_dir)(error.source))?;
            orders = later;
        }
        self.end += lines.text.len() as u64;
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
        *record = Record::of(entry, &line, self.end, span);
        self.end += line.text.len() as u64;
        Ok(())
    }

    /// A member's manifest line, with its newline, read by way of `window`.
    pub(in crate::staging) fn line<'w>(
        &self,
        record: &Record,
        window: &'w mut Window,
    ) -> io::Result<&'w [u8]> {
        let length = usize::try_from(record.length).expect("32 bits fit memory") - PREFIX;
        let at = record.at + PREFIX as u64;
        let from = match window.place(at, length) {
            Some(from) => from,
            None => {
                let room = window.next_length();
                // Those that other threads finished a little earlier may be asked for next.
                let start = at.saturating_sub(room as u64 / 4);
                let end = (start + room as u64).min(self.end).max(at + length as u64);
                window.bytes.resize(usize::try_from(end - start).expect("it fits memory"), 0);
                (window.start, window.used) = (start, 0);
                if let Err(error) = read_exact_at(&*self.handle, &mut window.bytes, start) {
                    window.bytes.clear();
                    return Err(error);
                }
                window.place(at, length).expect("it was just read")
            }
        };
        window.used += length;
        Ok(&window.bytes[from..from + length])
    }

    /// Reads a member's entry, by way of `window`.
    pub(in crate::staging) fn read(
        &self,
        record: &Record,
        window: &mut Window,
    ) -> Result<Entry, StagingError> {
        let line = self.line(record, window).map_err(disk("read", &self.path))?;
        lines::read_line(line).map_err(|error| disk("read", &self.path)(error.into()))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{item::Item, item::Key, staging::files::Disk};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn lines_read_back_in_any_order(
            lengths in prop::collection::vec(0_usize..9000, 1..200),
            asked in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("j");
            let mut journal = Journal::create(&Disk, &path, folder.path()).unwrap();
            let mut line = Line::default();
            let mut expected = Vec::new();
            for (number, length) in lengths.iter().enumerate() {
                let key = Key(format!("{number}{}", "x".repeat(*length)).into_bytes());
                let entry = Entry {
                    source: "s".parse().unwrap(),
                    item: Item { key, ..Item::default() },
                    path: None,
                    offset: 0,
                    data: 0,
                    stored: 0,
                    digest: None,
                    part: None,
                    linked_to: None,
                    torn: false,
                    chaining: String::new(),
                };
                line.set(&entry);
                let record = Record::of(&entry, &line, journal.end, Span { offset: 0, length: 0 });
                journal.append(&line, &entry, record.span).unwrap();
                expected.push((record, line.json().to_vec()));
            }
            let mut window = Window::default();
            let scattered = asked.iter().map(|index| index.get(&expected));
            for (record, text) in expected.iter().chain(scattered) {
                prop_assert_eq!(journal.line(record, &mut window).unwrap(), text.as_slice());
            }
        }
    }
}
