//! Tape files as streams of bytes, and what their last blocks say.

use std::io::{self, Read};

use crate::{
    catalog::Segment,
    digest::Digest,
    drive::{Drive, DriveError, ReadOutcome},
    position::ObjectNumber,
    volume::{
        segment,
        trailer::{self, Trailer},
    },
};

/// The longest block that a volume of format 1 has, in bytes.
pub(in crate::job) const BLOCK_MAX: usize = 1 << 20;

/// Reads the next object into a buffer with room for a guard. A block that comes with a wrong CRC is
/// read once more before it is taken for damaged: cable, adapter and memory fail more often than a
/// tape that the drive itself finds good. What was said the first time comes along.
///
/// # Errors
///
/// As [`Drive::read_guarded`].
pub(in crate::job) fn read_twice(
    drive: &mut Drive,
    buffer: &mut [u8],
) -> Result<(ReadOutcome, Option<DriveError>), DriveError> {
    let first = match drive.read_guarded(buffer) {
        Err(error @ DriveError::Damaged(_)) => error,
        outcome => return outcome.map(|outcome| (outcome, None)),
    };
    let Some(object) = first.fault().and_then(|fault| fault.object) else { return Err(first) };
    drive.locate(object)?;
    Ok((drive.read_guarded(buffer)?, Some(first)))
}

/// Reads the blocks of one tape file, from where the drive stands up to its filemark.
#[derive(Debug)]
pub(in crate::job) struct TapeFile<'a> {
    drive: &'a mut Drive,
    block: Vec<u8>,
    at: usize,
    filled: usize,
    /// Blocks still to be read.
    left: u64,
    ended: bool,
}

impl<'a> TapeFile<'a> {
    /// A reader of at most `blocks` blocks.
    pub(in crate::job) fn new(drive: &'a mut Drive, blocks: u64) -> Self {
        Self { drive, block: vec![0; BLOCK_MAX], at: 0, filled: 0, left: blocks, ended: false }
    }

    fn next_block(&mut self) -> io::Result<bool> {
        if self.ended || self.left == 0 {
            return Ok(false);
        }
        match self.drive.read_block(&mut self.block).map_err(io::Error::other)? {
            ReadOutcome::Block(bytes) => {
                (self.at, self.filled) = (0, bytes);
                self.left -= 1;
                Ok(true)
            }
            ReadOutcome::Filemark | ReadOutcome::EndOfData => {
                self.ended = true;
                Ok(false)
            }
            ReadOutcome::LongBlock { bytes } => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a block of {bytes} bytes, longer than any of format 1"),
            )),
        }
    }
}

impl Read for TapeFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.filled {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.filled - self.at);
        buffer[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// The segment that its trailer tells of. The trailer does not know the digest of the whole.
pub(in crate::job) fn segment_of(trailer: &segment::Trailer, digest: Digest) -> Segment {
    Segment {
        id: trailer.segment,
        set: trailer.set,
        created: trailer.created,
        bytes: trailer.bytes(),
        blocks: trailer.blocks,
        block_size: trailer.block_size,
        digest,
        manifest_offset: trailer.manifest_offset,
        manifest_bytes: trailer.manifest_bytes,
        manifest_digest: trailer.manifest_digest,
        members: trailer.members,
        staged: false,
    }
}

/// What stands before a filemark, or before end of data.
#[derive(Debug)]
pub(in crate::job) enum Ending {
    /// The final block of a tape file of ours.
    Trailer(Trailer),
    /// A block that ends no tape file: what it belongs to was not finished, or is not ours.
    Unfinished,
    /// A filemark.
    Filemark,
}

/// Reads the object before `object` and says what it ends.
pub(in crate::job) fn ending_before(
    drive: &mut Drive,
    object: ObjectNumber,
) -> Result<Ending, DriveError> {
    drive.locate(ObjectNumber(object.0.saturating_sub(1)))?;
    let mut block = vec![0; BLOCK_MAX];
    Ok(match drive.read_block(&mut block)? {
        ReadOutcome::Block(bytes) => match trailer::decode(&block[..bytes]) {
            Ok(trailer) => Ending::Trailer(trailer),
            Err(_) => Ending::Unfinished,
        },
        ReadOutcome::Filemark => Ending::Filemark,
        ReadOutcome::LongBlock { .. } | ReadOutcome::EndOfData => Ending::Unfinished,
    })
}
