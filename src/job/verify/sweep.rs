//! One tape file read once, from its first block to its filemark, past whatever cannot be read.

use std::io;

use crate::{
    drive::{DriveError, GUARD, ReadOutcome},
    job::{
        Desk, JobError,
        monitor::Counters,
        rig::Station,
        tape::{BLOCK_MAX, read_twice},
        verify::sweep::Stop::Open,
    },
    pipeline::{self, DrainError, Fill, Flow, drain},
    position::ObjectNumber,
};

/// Memory between drive and digest.
const RING_BYTES: usize = 64 << 20;
/// Blocks of one tape file that may be unreadable before the rest is given up: each can cost a
/// drive minutes.
const UNREAD_MAX: usize = 1000;

/// Where a sweep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It goes on.
    Open,
    /// At a filemark; the drive stands behind it.
    Filemark,
    /// At end of data, or where it is missing.
    EndOfData,
    /// There are more blocks than were to be read.
    TooLong,
    /// All blocks were read, and the filemark behind them cannot be.
    Unmarked,
    /// At the first block that cannot be read, as was asked for.
    Unread,
    /// Too much cannot be read.
    GivenUp,
}

/// What a sweep met.
#[derive(Debug)]
pub(super) struct Swept {
    /// Blocks, those that could not be read included.
    pub(super) blocks: u64,
    /// Which of them could not be read, numbered from 0.
    pub(super) unread: Vec<u64>,
    /// What was said of the first that came with a wrong CRC, once or twice.
    pub(super) damaged: Option<String>,
    /// How it ended.
    pub(super) end: Stop,
}

/// What is swept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// The first block. The drive stands there.
    pub(super) start: ObjectNumber,
    /// How many blocks come before the filemark, if that is known.
    pub(super) blocks: Option<u64>,
    /// Whether to go on behind a block that cannot be read.
    pub(super) skip: bool,
}

/// Reads a tape file and gives each block to `take`, on another thread and in order, or `None` for
/// one that cannot be read.
pub(super) fn sweep(
    station: &mut Station,
    stretch: Stretch,
    desk: &Desk,
    mut take: impl FnMut(Option<&[u8]>) -> io::Result<()> + Send,
) -> Result<Swept, JobError> {
    let failed = station.failed(None);
    let settings = pipeline::Settings {
        block_bytes: BLOCK_MAX + GUARD,
        ring_bytes: RING_BYTES,
        start_percent: 0,
        guard: None,
    };
    let mut swept = Swept { blocks: 0, unread: Vec::new(), damaged: None, end: Open };
    let read = drain(
        settings,
        &desk.cancel,
        |buffer| swept.next(station, stretch, buffer),
        |good, block: &[u8]| {
            take(good.then_some(block))?;
            Counters::add(&desk.counters.read_bytes, block.len() as u64);
            desk.progress();
            Ok(Flow::Continue)
        },
    );
    match read {
        Ok(()) => Ok(swept),
        Err(DrainError::Reader(error)) => Err(failed(error)),
        Err(DrainError::Consumer(error)) => Err(JobError::scratch("keep what was read")(error)),
        Err(DrainError::Cancelled) => Err(JobError::Stopped),
    }
}

impl Swept {
    fn next(
        &mut self,
        station: &mut Station,
        stretch: Stretch,
        buffer: &mut [u8],
    ) -> Result<Fill<bool>, DriveError> {
        if self.end != Open {
            return Ok(Fill::End);
        }
        let all = stretch.blocks == Some(self.blocks);
        let read = read_twice(&mut station.drive, buffer).map(|(outcome, first)| {
            if let Some(first) = first {
                self.damaged.get_or_insert_with(|| first.to_string());
            }
            outcome
        });
        self.end = match read {
            Ok(ReadOutcome::Block(_) | ReadOutcome::LongBlock { .. }) if all => Stop::TooLong,
            Ok(ReadOutcome::Block(bytes)) => {
                self.blocks += 1;
                return Ok(Fill::Block(bytes, true));
            }
            Ok(ReadOutcome::LongBlock { .. }) => {
                self.unread.push(self.blocks);
                self.blocks += 1;
                return Ok(Fill::Block(0, false));
            }
            Ok(ReadOutcome::Filemark) => Stop::Filemark,
            Ok(ReadOutcome::EndOfData) | Err(DriveError::EndOfDataMissing(_)) => Stop::EndOfData,
            Err(DriveError::Medium(_) | DriveError::Damaged(_)) if all => Stop::Unmarked,
            Err(error @ (DriveError::Medium(_) | DriveError::Damaged(_))) => {
                if let DriveError::Damaged(_) = error {
                    self.damaged.get_or_insert_with(|| error.to_string());
                }
                self.unread.push(self.blocks);
                self.blocks += 1;
                if !stretch.skip {
                    Stop::Unread
                } else if self.unread.len() > UNREAD_MAX {
                    Stop::GivenUp
                } else {
                    match station.drive.locate(stretch.start.after(self.blocks)) {
                        Ok(_) => return Ok(Fill::Block(0, false)),
                        Err(DriveError::Medium(_) | DriveError::EndOfDataMissing(_)) => {
                            Stop::GivenUp
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        };
        Ok(Fill::End)
    }
}
