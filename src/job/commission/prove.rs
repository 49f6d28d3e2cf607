//! One trial: blocks of one size are written, read back by every kind of motion, and compared.

use std::time::Duration;

use bytes::BytesMut;

use crate::{
    causes,
    drive::{Drive, DriveError, Filemark, GUARD, Preparation, Protection, ReadOutcome, Safeguards},
    job::Desk,
    pipeline,
    position::ObjectNumber,
    unit::ByteCount,
};

/// Bytes by which each block's content is shifted against that of the one before, at most.
const SHIFTS: usize = 4093;
/// Bytes at the front of each block that say which one it is.
const MARK: usize = 16;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// Bytes of a block.
    pub(super) block: u32,
    pub(super) protection: Option<Protection>,
    /// Blocks of the first tape file; the second has one.
    pub(super) blocks: u64,
}

/// How fast it went, in bytes a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) write: ByteCount,
    pub(super) read: ByteCount,
}

/// Why a drive does not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum Flaw {
    /// It refused or failed.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// It did something else than was asked for, and did not say so.
    #[error("{0}")]
    Wrong(String),
    /// The operator wants to stop.
    #[error("stopped")]
    Stopped,
}

/// Content that does not compress, and differs from block to block.
struct Pattern {
    noise: Vec<u8>,
    /// A block with its guard, in memory like that of jobs: how many pieces it lies in decides
    /// whether a host adapter takes it.
    block: BytesMut,
    seed: u64,
}

impl Flaw {
    /// The flaw with its causes.
    pub(super) fn words(&self) -> String {
        causes::chain(self)
    }
}

impl Trial {
    /// Bytes that one command of the trial moves.
    pub(super) fn transfer(&self) -> u32 {
        let guard = if self.protection.is_some() { GUARD } else { 0 };
        self.block + u32::try_from(guard).expect("four")
    }

    /// Bytes of data.
    pub(super) fn bytes(&self) -> u64 {
        (self.blocks + 1) * u64::from(self.block)
    }

    /// Makes the trial. The tape is written from its beginning.
    pub(super) fn prove(&self, drive: &mut Drive, desk: &Desk) -> Result<Rates, Flaw> {
        drive.safeguard(&Safeguards { protection: self.protection, key: None })?;
        let preparation = Preparation { block_size: self.block, early_warning: ByteCount(0) };
        drive.prepare(&preparation)?;
        let mut pattern = Pattern::new(self);
        drive.rewind()?;
        let write = self.write(drive, &mut pattern, desk)?;
        let read = self.read(drive, &mut pattern, desk)?;
        self.locate(drive, &mut pattern)?;
        drive.hold_safeguards()?;
        let bytes = ByteCount(self.bytes());
        Ok(Rates { write: bytes.per(write), read: bytes.per(read) })
    }

    /// Two tape files: the first ends with a filemark that only orders, the second with one that
    /// waits.
    fn write(
        &self,
        drive: &mut Drive,
        pattern: &mut Pattern,
        desk: &Desk,
    ) -> Result<Duration, Flaw> {
        let start = desk.clock.elapsed();
        for number in 0..self.blocks {
            desk.go_on().map_err(|_| Flaw::Stopped)?;
            pattern.write(drive, number)?;
        }
        drive.write_filemark(Filemark::Immediate)?;
        pattern.write(drive, self.blocks)?;
        drive.write_filemark(Filemark::Synchronous)?;
        // Holds the drive's count of objects against ours.
        drive.flush()?;
        Ok(desk.clock.elapsed().saturating_sub(start))
    }

    /// All of it in order, up to end of data.
    fn read(
        &self,
        drive: &mut Drive,
        pattern: &mut Pattern,
        desk: &Desk,
    ) -> Result<Duration, Flaw> {
        drive.locate(ObjectNumber(0))?;
        let start = desk.clock.elapsed();
        for number in 0..self.blocks {
            desk.go_on().map_err(|_| Flaw::Stopped)?;
            pattern.expect_block(drive, number)?;
        }
        pattern.expect(drive, ReadOutcome::Filemark)?;
        pattern.expect_block(drive, self.blocks)?;
        pattern.expect(drive, ReadOutcome::Filemark)?;
        let elapsed = desk.clock.elapsed().saturating_sub(start);
        pattern.expect(drive, ReadOutcome::EndOfData)?;
        Ok(elapsed)
    }

    /// Here and there, and over filemarks.
    fn locate(&self, drive: &mut Drive, pattern: &mut Pattern) -> Result<(), Flaw> {
        for number in [self.blocks / 2, self.blocks - 1, 0] {
            drive.locate(ObjectNumber(number))?;
            pattern.expect_block(drive, number)?;
        }
        drive.locate(ObjectNumber(self.blocks + 1))?;
        pattern.expect_block(drive, self.blocks)?;
        drive.rewind()?;
        drive.space_filemarks(1)?;
        let object = drive.position()?.object;
        if object != ObjectNumber(self.blocks + 1) {
            let behind = self.blocks + 1;
            let what = format!("behind the first filemark is object {object}, not {behind}");
            return Err(Flaw::Wrong(what));
        }
        pattern.expect_block(drive, self.blocks)
    }
}

impl Pattern {
    fn new(trial: &Trial) -> Self {
        let length = usize::try_from(trial.block).expect("a block fits memory");
        let method = trial.protection.map_or(0, |method| u64::from(method.code()));
        let seed = (u64::from(trial.block) << 8) | method;
        let mut state = seed;
        let mut noise = Vec::with_capacity(length + SHIFTS + 8);
        while noise.len() < length + SHIFTS {
            noise.extend(mixed(&mut state).to_le_bytes());
        }
        Self { noise, block: pipeline::large_memory(length + GUARD), seed }
    }

    fn length(&self) -> usize {
        self.block.len() - GUARD
    }

    /// Where the content of a block begins in the noise, and the mark at its front.
    fn of(&self, number: u64) -> (usize, [u8; MARK]) {
        let shift = usize::try_from(number % SHIFTS as u64).expect("a small number");
        let mut mark = [0; MARK];
        mark[..8].copy_from_slice(&self.seed.to_le_bytes());
        mark[8..].copy_from_slice(&number.to_le_bytes());
        (shift, mark)
    }

    /// The content of a block.
    fn block(&mut self, number: u64) -> &[u8] {
        let (shift, mark) = self.of(number);
        let length = self.length();
        self.block[..length].copy_from_slice(&self.noise[shift..shift + length]);
        let front = MARK.min(length);
        self.block[..front].copy_from_slice(&mark[..front]);
        &self.block[..length]
    }

    /// Writes a block, with its guard behind it where blocks are protected.
    fn write(&mut self, drive: &mut Drive, number: u64) -> Result<(), Flaw> {
        let block = self.block(number);
        let mut length = block.len();
        if let Some(guard) = drive.guard() {
            let made = guard(block);
            self.block[length..].copy_from_slice(&made);
            length += GUARD;
        }
        drive.write_guarded(&self.block[..length])?;
        Ok(())
    }

    /// Reads one block, which must be this one.
    fn expect_block(&mut self, drive: &mut Drive, number: u64) -> Result<(), Flaw> {
        let length = self.length();
        let outcome = drive.read_guarded(&mut self.block)?;
        if outcome != ReadOutcome::Block(length) {
            return Err(Flaw::Wrong(format!("block {number} reads back as {}", words(outcome))));
        }
        let (shift, mark) = self.of(number);
        let front = MARK.min(length);
        let same = self.block[..front] == mark[..front]
            && self.block[front..length] == self.noise[shift + front..shift + length];
        if same {
            return Ok(());
        }
        let expected = |at: usize| if at < front { mark[at] } else { self.noise[shift + at] };
        let at = (0..length).find(|&at| self.block[at] != expected(at)).unwrap_or(0);
        Err(Flaw::Wrong(format!(
            "block {number} reads back altered from byte {at} on, and the drive did not say so"
        )))
    }

    /// Reads one object that is no block.
    fn expect(&mut self, drive: &mut Drive, wanted: ReadOutcome) -> Result<(), Flaw> {
        let outcome = drive.read_guarded(&mut self.block)?;
        if outcome == wanted {
            return Ok(());
        }
        let (found, wanted) = (words(outcome), words(wanted));
        Err(Flaw::Wrong(format!("{found} is where {wanted} was written")))
    }
}

fn words(outcome: ReadOutcome) -> String {
    match outcome {
        ReadOutcome::Block(bytes) | ReadOutcome::LongBlock { bytes } => {
            format!("a block of {bytes} bytes")
        }
        ReadOutcome::Filemark => "a filemark".into(),
        ReadOutcome::EndOfData => "end of data".into(),
    }
}

/// The next of a row of numbers without pattern (splitmix64).
fn mixed(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut number = *state;
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_blocks_are_alike() {
        let trial = Trial { block: 8192, protection: None, blocks: 4 };
        let mut pattern = Pattern::new(&trial);
        let first = pattern.block(0).to_vec();
        assert_eq!(first.len(), 8192);
        assert_ne!(pattern.block(1), first);
        assert_ne!(pattern.block(SHIFTS as u64), first);
        assert_eq!(pattern.block(0), first);
        let guarded = Trial { protection: Some(Protection::Crc32c), ..trial };
        assert_ne!(Pattern::new(&guarded).block(0), first);
        assert_eq!((trial.transfer(), guarded.transfer()), (8192, 8196));
    }
}
