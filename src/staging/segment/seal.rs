//! Sealing: a full segment becomes the immutable bytes of a tape file.

use std::{
    io::{self, BufWriter, Write},
    thread,
};

use crate::{
    clock::Timestamp,
    crash,
    digest::Digest,
    ident::{SegmentId, SetId},
    staging::{
        error::{StagingError, disk},
        files::{Cursor, Files, Handle, read_exact_at},
        sealed::{Layout, Sealed, unfinished},
        segment::{
            allocator::Span,
            gaps::{Closing, Spot, close},
            journal::{Journal, Record, Window},
            open::Segment,
        },
        store::remove,
    },
    tar,
    volume::{
        segment::{Facts, FinishError, Finisher, Trailer as SegmentTrailer},
        trailer::{self, BLOCK_MAX, BLOCK_MIN, Trailer},
    },
};

/// Bytes that are moved or read at a time.
const PIECE: usize = 1 << 20;
/// Manifests are kept for days at most: level 1 costs the least time.
const ZSTD_LEVEL: i32 = 1;

/// What sealing needs besides the segment.
#[derive(Debug)]
pub(in crate::staging) struct Bench<'a> {
    pub(in crate::staging) layout: &'a Layout,
    pub(in crate::staging) files: &'a dyn Files,
    pub(in crate::staging) set: SetId,
    pub(in crate::staging) created: Timestamp,
    pub(in crate::staging) block_size: u32,
}

/// Seals a segment that nobody writes to any more; what it is then, and the bytes of its kept
/// manifest. `None` for an empty one, which is removed.
///
/// On an error the segment stays open for the next time, unless it could not be synced: what the
/// disk has of it is unknown then, and it is removed.
pub(in crate::staging) fn seal(
    segment: &Segment,
    bench: &Bench<'_>,
) -> Result<Option<(Sealed, u64)>, StagingError> {
    let (layout, files) = (bench.layout, bench.files);
    let mut journal = segment.journal();
    let mut records = journal.sorted()?;
    if records.is_empty() {
        discard(segment, bench)?;
        return Ok(None);
    }
    let end = close_gaps(segment, &mut journal, &mut records)?;
    crash::point("staging.seal.closed");
    // What stays as it is can be read meanwhile.
    let (written, reading) = thread::scope(|scope| {
        let reading = scope.spawn(|| Reading::default().go_on(&*segment.handle, end));
        let written = write_end(segment, &journal, &records, (bench, end));
        (written, reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (trailer, manifest_bytes) = written?;
    let reading = reading.map_err(disk("read", &segment.path))?;
    crash::point("staging.seal.written");
    if let Err(cause) = segment.handle.sync() {
        discard(segment, bench)?;
        let members = u32::try_from(records.len()).expect("a segment's members are 32 bits");
        let path = segment.path.clone();
        return Err(StagingError::SealLost { segment: segment.id, path, members, cause });
    }
    crash::point("staging.seal.synced");
    let sealed = read_again(&*segment.handle, &trailer, layout, reading)?;
    files.rename(&segment.path, &sealed.path).map_err(disk("rename", &segment.path))?;
    crash::point("staging.seal.renamed");
    let dir = layout.sealed_dir();
    files.sync_dir(&dir).map_err(disk("sync", dir))?;
    record(&sealed, layout, files)?;
    crash::point("staging.seal.recorded");
    remove(files, &layout.journal(segment.id))?;
    remove(files, &layout.sums(segment.id))?;
    Ok(Some((sealed, manifest_bytes)))
}

/// Removes an open segment.
fn discard(segment: &Segment, bench: &Bench<'_>) -> Result<(), StagingError> {
    let (layout, files) = (bench.layout, bench.files);
    // The file first: a journal alone is nothing.
    remove(files, &segment.path)?;
    remove(files, &layout.journal(segment.id))?;
    remove(files, &layout.sums(segment.id))?;
    remove(files, &layout.manifest(segment.id))
}

/// Leaves no void between members; where the last one ends.
fn close_gaps(
    segment: &Segment,
    journal: &mut Journal,
    records: &mut [Record],
) -> Result<u64, StagingError> {
    let mut lying: Vec<usize> =
        (0..records.len()).filter(|&index| records[index].span.length > 0).collect();
    lying.sort_by_key(|&index| records[index].span.offset);
    let spots: Vec<Spot> = lying
        .iter()
        .map(|&index| Spot { span: records[index].span, movable: records[index].movable })
        .collect();
    let Closing { moves, fillers, end } = close(&spots);
    let mut window = Window::default();
    for (spot, to) in moves {
        let record = &mut records[lying[spot]];
        let from = record.span;
        let span = Span { offset: to, length: from.length };
        copy_down(&*segment.handle, from, to).map_err(disk("move within", &segment.path))?;
        let mut entry = journal.read(record, &mut window)?;
        entry.data = entry.data - entry.offset + to;
        entry.offset = to;
        journal.replace(record, &entry, span)?;
    }
    for gap in fillers {
        let lengths = tar::fillers(gap.length).expect("no gap is a single unit");
        let mut at = gap.offset;
        for length in lengths {
            segment.write(&tar::filler(length), at)?;
            at += length as u64;
        }
    }
    Ok(end)
}

/// Copies a member to a lower offset, which may overlap it.
fn copy_down(handle: &dyn Handle, from: Span, to: u64) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut done = 0;
    while done < from.length {
        let left = usize::try_from(from.length - done).unwrap_or(usize::MAX);
        let piece = &mut buffer[..left.min(PIECE)];
        read_exact_at(handle, piece, from.offset + done)?;
        handle.write_at(piece, to + done)?;
        done += piece.len() as u64;
    }
    Ok(())
}

/// Writes everything behind the last member, and keeps the manifest apart, for the volume index;
/// the bytes that it takes there.
fn write_end(
    segment: &Segment,
    journal: &Journal,
    records: &[Record],
    (bench, end): (&Bench<'_>, u64),
) -> Result<(SegmentTrailer, u64), StagingError> {
    let facts = Facts {
        segment: segment.id,
        set: bench.set,
        created: bench.created,
        block_size: bench.block_size,
    };
    let scratch_path = bench.layout.sums(segment.id);
    let scratch = bench.files.create(&scratch_path).map_err(disk("create", &scratch_path))?;
    let kept_path = bench.layout.manifest(segment.id);
    let new = unfinished(&kept_path);
    let kept = bench.files.create(&new).map_err(disk("create", &new))?;
    let out = BufWriter::with_capacity(PIECE, Cursor::new(&*kept));
    let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL).map_err(disk("write", &new))?;
    let failed = |error| match error {
        FinishError::Io { cause, .. } => disk("write", &segment.path)(cause),
        FinishError::Entry { .. } => disk("write", &segment.path)(io::Error::other(error)),
    };
    let out = Cursor::new(&*segment.handle);
    let mut finisher = Finisher::new(out, Cursor::new(&*scratch), facts, end).map_err(failed)?;
    let mut window = Window::default();
    for record in records {
        let line = journal.line(record, &mut window);
        let line = line.map_err(disk("read", journal.path()))?;
        finisher.push_line(line, record.marks).map_err(failed)?;
        encoder.write_all(line).map_err(disk("write", &new))?;
    }
    let trailer = finisher.finish().map_err(failed)?;
    // What failed members left behind the end goes.
    segment.handle.set_len(trailer.bytes()).map_err(disk("cut", &segment.path))?;
    let flushed = encoder.finish().and_then(|mut out| out.flush());
    flushed.and_then(|()| kept.sync()).map_err(disk("write", &new))?;
    let bytes = kept.len().map_err(disk("measure", &new))?;
    bench.files.rename(&new, &kept_path).map_err(disk("rename", &new))?;
    let dir = bench.layout.manifest_dir();
    bench.files.sync_dir(&dir).map_err(disk("sync", dir))?;
    Ok((trailer, bytes))
}

/// One reading of a segment from its first byte on, as far as it has come.
#[derive(Default)]
struct Reading {
    hasher: blake3::Hasher,
    at: u64,
}

impl Reading {
    /// Reads on, up to `end`.
    fn go_on(mut self, handle: &dyn Handle, end: u64) -> io::Result<Self> {
        handle.expect_reading();
        let mut buffer = vec![0; PIECE];
        while self.at < end {
            let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(PIECE)];
            read_exact_at(handle, piece, self.at)?;
            self.hasher.update(piece);
            self.at += piece.len() as u64;
        }
        Ok(self)
    }
}

/// Reads the whole file once, as the tape half will: its digest, and whether it ends as it should.
fn read_again(
    handle: &dyn Handle,
    trailer: &SegmentTrailer,
    layout: &Layout,
    reading: Reading,
) -> Result<Sealed, StagingError> {
    let path = layout.segment(trailer.segment);
    let Reading { hasher, .. } =
        reading.go_on(handle, trailer.bytes()).map_err(disk("read", &path))?;
    let sealed = Sealed {
        segment: trailer.segment,
        set: trailer.set,
        bytes: trailer.bytes(),
        blocks: trailer.blocks,
        block_size: trailer.block_size,
        digest: Digest::from_hasher(&hasher),
        members: trailer.members,
        manifest_offset: trailer.manifest_offset,
        manifest_bytes: trailer.manifest_bytes,
        manifest_digest: trailer.manifest_digest,
        created: trailer.created,
        path,
    };
    match final_trailer(handle) {
        Ok(Some(found)) if found == *trailer => Ok(sealed),
        Ok(_) => Err(sealed.damaged("its end reads otherwise than it was written")),
        Err(error) => Err(disk("read", &sealed.path)(error)),
    }
}

/// The trailer in the file's last block, whatever size that has; `None` when the file has no end.
fn final_trailer(handle: &dyn Handle) -> io::Result<Option<SegmentTrailer>> {
    let bytes = handle.len()?;
    let tail = bytes.min(u64::from(BLOCK_MAX));
    let mut end = vec![0; usize::try_from(tail).expect("at most 1 MiB")];
    read_exact_at(handle, &mut end, bytes - tail)?;
    let sizes = (BLOCK_MIN..=BLOCK_MAX).step_by(tar::UNIT);
    for size in sizes.filter(|size| bytes.is_multiple_of(u64::from(*size))) {
        let Some(at) = end.len().checked_sub(usize::try_from(size).expect("at most 1 MiB")) else {
            break;
        };
        match trailer::decode(&end[at..]) {
            Ok(Trailer::Segment(trailer)) if trailer.bytes() == bytes => return Ok(Some(trailer)),
            Ok(Trailer::Segment(_) | Trailer::Index(_)) | Err(_) => {}
        }
    }
    Ok(None)
}

/// Records a segment whose file is in its place: from here on it is sealed.
fn record(sealed: &Sealed, layout: &Layout, files: &dyn Files) -> Result<(), StagingError> {
    let path = layout.record(sealed.segment);
    let new = unfinished(&path);
    let mut text = serde_json::to_vec_pretty(sealed).expect("a record is JSON");
    text.push(b'\n');
    let handle = files.create(&new).map_err(disk("create", &new))?;
    handle.write_at(&text, 0).map_err(disk("write", &new))?;
    handle.sync().map_err(disk("sync", &new))?;
    crash::point("staging.record.written");
    files.rename(&new, &path).map_err(disk("rename", &new))?;
    let dir = layout.sealed_dir();
    files.sync_dir(&dir).map_err(disk("sync", dir))
}

/// Records a sealed file whose record is missing: the process ended in between. A file that is not
/// whole was never sealed, and is removed; whether it was whole.
pub(in crate::staging) fn record_again(
    layout: &Layout,
    files: &dyn Files,
    segment: SegmentId,
) -> Result<bool, StagingError> {
    let path = layout.segment(segment);
    let handle = match files.open(&path) {
        Ok(handle) => handle,
        // It was being freed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(disk("open", path)(error)),
    };
    let found = final_trailer(&*handle).map_err(disk("read", &path))?;
    if let Some(trailer) = found.filter(|trailer| trailer.segment == segment) {
        let sealed = read_again(&*handle, &trailer, layout, Reading::default())?;
        record(&sealed, layout, files)?;
        return Ok(true);
    }
    remove(files, &path)?;
    Ok(false)
}
