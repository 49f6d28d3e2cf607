//! Tape files that the catalog does not know: what the tape says of itself decides.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

use crate::{
    digest::Digest,
    drive::{DriveError, ReadOutcome, SpaceStop},
    job::{
        JobError,
        tape::{BLOCK_MAX, Ending, TapeFile, ending_before, segment_of},
        verify::{
            segment::{self, Place},
            walk::Walk,
        },
    },
    position::{FileNumber, ObjectNumber},
    tar::{Names, Reader},
    volume::{
        FOLDER, lines, manifest::Entry, segment::Trailer as SegmentTrailer, trailer::Trailer,
    },
};

impl Walk<'_> {
    /// Reads the tape file at `object` by what it says of itself. Says where the next one begins,
    /// or `None` at the end.
    pub(super) fn own(&mut self, object: ObjectNumber) -> Result<Option<ObjectNumber>, JobError> {
        if !self.stand(object)? {
            return Ok(None);
        }
        let file = self.file_here()?;
        let mut block = vec![0; BLOCK_MAX];
        let first = match self.station.drive.read_block(&mut block) {
            Ok(ReadOutcome::Block(bytes)) => &block[..bytes],
            Ok(ReadOutcome::LongBlock { .. })
            | Err(DriveError::Medium(_) | DriveError::Damaged(_)) => &[],
            Ok(ReadOutcome::EndOfData) | Err(DriveError::EndOfDataMissing(_)) => return Ok(None),
            Ok(ReadOutcome::Filemark) => {
                self.found(format!("tape file {file} is empty"));
                self.stand_anew(object.after(1))?;
                return Ok(Some(object.after(1)));
            }
            Err(error) => return Err(self.failed(error)),
        };
        let index = begins_an_index(first);
        self.stand_anew(object)?;
        if index {
            return self.index(object, None, None);
        }
        let spaced = match self.station.drive.space_filemarks(1) {
            Ok(spaced) => spaced,
            Err(error @ (DriveError::Medium(_) | DriveError::EndOfDataMissing(_))) => {
                self.found(format!("tape file {file} does not end: {error}"));
                return Ok(None);
            }
            Err(error) => return Err(self.failed(error)),
        };
        let next = spaced.position.object;
        if spaced.stop != SpaceStop::Done {
            self.found(format!("tape file {file} is not finished: it has no filemark"));
            return Ok(None);
        }
        let blocks = next.0.saturating_sub(object.0 + 1);
        let ending = match ending_before(&mut self.station.drive, object.after(blocks)) {
            Ok(ending) => ending,
            Err(DriveError::Medium(_)) => Ending::Unfinished,
            Err(error) => return Err(self.failed(error)),
        };
        match ending {
            Ending::Trailer(Trailer::Segment(trailer)) if trailer.blocks == blocks => {
                self.own_segment(&trailer, object, file)?;
            }
            Ending::Trailer(Trailer::Index(trailer)) if trailer.blocks == blocks => {
                self.stand_anew(object)?;
                self.index(object, Some(blocks), None)?;
            }
            Ending::Trailer(_) | Ending::Unfinished | Ending::Filemark => {
                let last = object.after(blocks.saturating_sub(1));
                let what = format!(
                    "tape file {file} (objects {object} to {last}) has no trailer that fits it: it \
                     is damaged, unfinished, or not of this program"
                );
                self.unexplained.insert(object, (blocks, what));
            }
        }
        self.stand_anew(next)?;
        Ok(Some(next))
    }

    fn stand_anew(&mut self, object: ObjectNumber) -> Result<(), JobError> {
        self.forget();
        self.stand(object)?;
        Ok(())
    }

    /// Reads a segment by its own manifest.
    fn own_segment(
        &mut self,
        trailer: &SegmentTrailer,
        object: ObjectNumber,
        file: FileNumber,
    ) -> Result<(), JobError> {
        if let Some(segment) = self.catalog.segment(trailer.segment)? {
            self.stand_anew(object)?;
            self.segment(&segment, object, file)?;
            return Ok(());
        }
        let manifest = match self.manifest(trailer, object)? {
            Ok(manifest) => manifest,
            Err(error) => {
                self.found(format!(
                    "the manifest of segment {} in tape file {file} cannot be read, and nothing \
                     else says what is in it: {error}",
                    trailer.segment
                ));
                return Ok(());
            }
        };
        let segment = segment_of(trailer, Digest([0; 32]));
        self.stand_anew(object)?;
        let entries = || -> Result<Box<dyn Iterator<Item = _>>, JobError> {
            let mut file = manifest.try_clone().map_err(JobError::scratch("read a manifest"))?;
            file.seek(SeekFrom::Start(0)).map_err(JobError::scratch("read a manifest"))?;
            Ok(Box::new(numbered(file).map(Ok)))
        };
        let place = Place { segment: &segment, object, file };
        let read = segment::piecewise(self.station, place, &entries, self.desk)?;
        self.bytes += segment.bytes;
        if read.count == 0 {
            self.seen.insert(segment.id, (object, read.digest));
        }
        self.take_read(&segment, object, read)?;
        Ok(())
    }

    /// Reads the manifest of a segment into a file.
    fn manifest(
        &mut self,
        trailer: &SegmentTrailer,
        object: ObjectNumber,
    ) -> Result<Result<File, io::Error>, JobError> {
        let (first, blocks) = trailer.manifest_blocks();
        self.stand_anew(object.after(first))?;
        self.forget();
        let mut file = self.desk.scratch_file()?;
        let mut tape = TapeFile::new(&mut self.station.drive, blocks);
        let before = trailer.manifest_offset - first * u64::from(trailer.block_size);
        let copied = io::copy(&mut (&mut tape).take(before), &mut io::sink())
            .and_then(|_| io::copy(&mut tape.take(trailer.manifest_bytes), &mut file));
        Ok(copied.map(|_| file))
    }
}

/// The entries of a manifest that can be read, each with the number of its line.
fn numbered(file: File) -> impl Iterator<Item = (u32, Entry)> {
    let mut reader = lines::Reader::new(BufReader::new(file));
    let mut line = 0_u32;
    std::iter::from_fn(move || {
        loop {
            let entry = reader.next()?;
            let ordinal = line;
            line = line.checked_add(1)?;
            if let Ok(entry) = entry {
                return Some((ordinal, entry));
            }
        }
    })
}

fn begins_an_index(block: &[u8]) -> bool {
    let found = Reader::new(block, Names::Safe).next_member().ok().flatten();
    found.is_some_and(|found| {
        found.head.path.starts_with(FOLDER) && found.head.path.ends_with("/index.json")
    })
}
