//! The end of a segment, from the manifest's header on: it follows from the entries alone, so it is
//! made anew and compared byte by byte.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    catalog::Segment,
    digest::{ChainingValue, Digest, RANGE, merge},
    job::{
        Desk, JobError,
        verify::segment::compare::{Compared, Damage, Struck},
    },
    tar::UNIT,
    volume::{
        lines,
        manifest::Entry,
        segment::{Facts, FinishError, Finisher, Trailer},
        trailer::{self, TRAILER_BYTES},
    },
};

/// Bytes compared at a time.
const BUFFER: usize = 1 << 16;
/// Bytes of one chaining value.
const VALUE: usize = 32;

/// Compares the end of a segment with what its entries make of it, and says which of its damaged
/// content is good all the same.
pub(super) fn compare(
    segment: &Segment,
    entries: impl Iterator<Item = Result<(u32, Entry), JobError>>,
    compared: &mut Compared,
    desk: &Desk,
) -> Result<(), JobError> {
    let tail = segment.manifest_offset - UNIT as u64;
    let facts = Facts {
        segment: segment.id,
        set: segment.set,
        created: segment.created,
        block_size: segment.block_size,
    };
    let expected = desk.scratch_file()?;
    let wrong = JobError::scratch;
    let finisher = Finisher::new(&expected, desk.scratch_file()?, facts, tail);
    let mut finisher = finisher.map_err(failed)?;
    let spool = compared.spool.try_clone().map_err(wrong("read a manifest"))?;
    let mut lines = Lines::new(segment, &spool).map_err(wrong("read a manifest"))?;
    let mut good = true;
    for entry in entries {
        let (ordinal, mut entry) = entry?;
        let line = lines.next().map_err(wrong("read a manifest"))?;
        if content_bytes(&entry) > RANGE && entry.item.extents.is_none() {
            entry.chaining = chaining(ordinal, &entry, line.as_ref(), compared);
        }
        match finisher.push(entry) {
            Ok(()) => {}
            Err(FinishError::Entry { .. }) => good = false,
            Err(error) => return Err(failed(error)),
        }
    }
    let made = finisher.finish().map_err(failed)?;
    let read = wrong("read what was read");
    let same =
        good && made.manifest_digest == segment.manifest_digest && made.blocks == segment.blocks;
    let damages = if same {
        bytewise(&made, &expected, compared)
    } else {
        by_digest(segment, &made, compared)
    };
    compared.damages.extend(damages.map_err(read)?);
    Ok(())
}

fn failed(error: FinishError) -> JobError {
    JobError::File { operation: "make a manifest anew", path: None, cause: io::Error::other(error) }
}

fn content_bytes(entry: &Entry) -> u64 {
    if entry.digest.is_none() || entry.linked_to.is_some() {
        return 0;
    }
    entry.part.map_or(entry.item.size, |part| part.length)
}

/// The chaining values of an entry: of its content if that is good, else those on the tape, if they
/// come to its digest. Those prove where damaged content is good.
fn chaining(ordinal: u32, entry: &Entry, line: Option<&Entry>, compared: &mut Compared) -> String {
    if let Some(values) = compared.values.get(&ordinal) {
        return encode(values);
    }
    let values = line.filter(|line| line.order() == entry.order()).and_then(|line| {
        let bytes = BASE64_STANDARD.decode(&line.chaining).ok()?;
        let values: Vec<_> = bytes
            .chunks_exact(VALUE)
            .map(|value| ChainingValue(value.try_into().expect("32 bytes")))
            .collect();
        let proven = values.len() >= 2 && Some(merge(&values)) == entry.digest;
        proven.then_some(values)
    });
    let Some(values) = values else { return String::new() };
    let damaged = compared
        .damages
        .iter_mut()
        .find(|damage| damage.ordinal == Some(ordinal) && damage.struck == Struck::Data);
    if let Some(damage) = damaged {
        damage.narrow((entry.data, entry.data.saturating_add(entry.stored)), &values);
    }
    encode(&values)
}

fn encode(values: &[ChainingValue]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.0).collect();
    BASE64_STANDARD.encode(bytes)
}

/// The lines of the manifest that is on the tape, one for each that is asked for.
struct Lines<'a> {
    inner: io::Take<BufReader<&'a File>>,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    fn new(segment: &Segment, spool: &'a File) -> io::Result<Self> {
        let mut inner = BufReader::new(spool);
        inner.seek(SeekFrom::Start(segment.manifest_offset))?;
        Ok(Self { inner: inner.take(segment.manifest_bytes), line: Vec::new() })
    }

    fn next(&mut self) -> io::Result<Option<Entry>> {
        self.line.clear();
        self.inner.read_until(b'\n', &mut self.line)?;
        Ok(lines::read_line(&self.line).ok())
    }
}

/// The pieces of a segment's end: what each is, where it begins and where it ends.
fn pieces(made: &Trailer) -> [(Struck, u64, u64); 8] {
    let unit = UNIT as u64;
    let manifest_end = made.manifest_offset + made.manifest_bytes;
    let sums_end = made.sums_offset + made.sums_bytes;
    let last = made.bytes() - u64::from(made.block_size);
    let trailer_end = last + unit + TRAILER_BYTES as u64;
    [
        (Struck::ManifestHeader, made.manifest_offset - unit, made.manifest_offset),
        (Struck::Manifest, made.manifest_offset, manifest_end),
        (Struck::ManifestPadding, manifest_end, made.sums_offset - unit),
        (Struck::SumsHeader, made.sums_offset - unit, made.sums_offset),
        (Struck::Sums, made.sums_offset, sums_end),
        (Struck::Filler, sums_end, last),
        (Struck::Trailer, last, trailer_end),
        (Struck::End, trailer_end, made.bytes()),
    ]
}

/// The first byte of each piece that differs or could not be read.
fn bytewise(made: &Trailer, expected: &File, compared: &Compared) -> io::Result<Vec<Damage>> {
    let mut damages = Vec::new();
    for (struck, begin, end) in pieces(made) {
        let unread = compared.tail_unread.iter().find(|(from, to)| *from < end && *to > begin);
        if let Some(&(from, to)) = unread {
            let (from, to) = (from.max(begin), to.min(end));
            damages.push(Damage::at(struck, from, to - from, true));
        }
        let mut at = begin;
        let mut wanted = [0; BUFFER];
        let mut found = [0; BUFFER];
        while at < end {
            let now = usize::try_from(end - at).unwrap_or(usize::MAX).min(BUFFER);
            expected.read_exact_at(&mut wanted[..now], at)?;
            read_at(&compared.spool, &mut found[..now], at)?;
            let differs = (at..).zip(wanted[..now].iter().zip(&found[..now]));
            let hidden =
                |at: u64| compared.tail_unread.iter().any(|(from, to)| (*from..*to).contains(&at));
            let first =
                differs.filter(|(_, (wanted, found))| wanted != found).find(|(at, _)| !hidden(*at));
            if let Some((at, _)) = first {
                let mut damage = Damage::at(struck, at, 1, false);
                if struck == Struck::Manifest {
                    damage.ordinal = line_of(made, expected, at)?;
                }
                damages.push(damage);
                break;
            }
            at += now as u64;
        }
    }
    Ok(damages)
}

/// The line of the manifest that byte `at` belongs to.
fn line_of(made: &Trailer, expected: &File, at: u64) -> io::Result<Option<u32>> {
    let mut reader = BufReader::new(expected);
    reader.seek(SeekFrom::Start(made.manifest_offset))?;
    let mut before = reader.take(at - made.manifest_offset);
    let mut count = 0_u32;
    loop {
        let bytes = before.fill_buf()?;
        if bytes.is_empty() {
            return Ok(Some(count));
        }
        let newlines = memchr::memchr_iter(b'\n', bytes).count();
        count = count.saturating_add(u32::try_from(newlines).unwrap_or(u32::MAX));
        let length = bytes.len();
        before.consume(length);
    }
}

/// Without the exact bytes: what manifest and trailer say of themselves.
fn by_digest(segment: &Segment, made: &Trailer, compared: &Compared) -> io::Result<Vec<Damage>> {
    let mut damages = Vec::new();
    let begin = segment.manifest_offset;
    let end = begin + segment.manifest_bytes;
    let mut hasher = blake3::Hasher::new();
    let mut at = begin;
    let mut buffer = [0; BUFFER];
    while at < end {
        let now = usize::try_from(end - at).unwrap_or(usize::MAX).min(BUFFER);
        read_at(&compared.spool, &mut buffer[..now], at)?;
        hasher.update(&buffer[..now]);
        at += now as u64;
    }
    let unread = compared.tail_unread.iter().any(|(from, to)| *from < end && *to > begin);
    if unread || Digest::from_hasher(&hasher) != segment.manifest_digest {
        damages.push(Damage::at(Struck::Manifest, begin, segment.manifest_bytes, unread));
    }
    let last = segment.bytes.saturating_sub(segment.block_size.into());
    let mut block = vec![0; usize::try_from(segment.block_size).expect("a block fits memory")];
    read_at(&compared.spool, &mut block, last)?;
    let fits = match trailer::confirm(&block, segment.blocks) {
        Ok(trailer::Trailer::Segment(found)) => {
            found.manifest_digest == segment.manifest_digest
                && found.manifest_offset == segment.manifest_offset
                && found.manifest_bytes == segment.manifest_bytes
                && block == trailer::encode(&trailer::Trailer::Segment(found), found.created)
        }
        Ok(trailer::Trailer::Index(_)) | Err(_) => false,
    };
    if !fits {
        let bytes = u64::from(made.block_size);
        let unread = compared.tail_unread.iter().any(|(_, to)| *to > last);
        damages.push(Damage::at(Struck::Trailer, last, bytes, unread));
    }
    Ok(damages)
}

/// Reads what is there, and zeros beyond.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let count = file.read_at(&mut buffer[filled..], at + filled as u64)?;
        if count == 0 {
            buffer[filled..].fill(0);
            break;
        }
        filled += count;
    }
    Ok(())
}
