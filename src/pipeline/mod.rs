//! From a segment file to a drive: one sequential read through a deep ring, digested on the way.
//!
//! [`Feed`] reads files ahead of a drive that is written on the caller's thread; [`drain`] takes
//! what a drive reads on the caller's thread to a consumer on another. Neither knows a drive: both
//! take closures.

mod drain;
mod feed;
mod ring;

pub use drain::{DrainError, Fill, drain};
pub use feed::{Fed, Feed, FeedError, SegmentFile};
pub use ring::large_memory;

use std::sync::atomic::{AtomicU64, Ordering};

/// What a [`Feed`] or [`drain`] takes of memory, and when it begins.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of one slot of the ring: the largest block.
    pub block_bytes: usize,
    /// Bytes of the whole ring. At least two slots are made.
    pub ring_bytes: usize,
    /// How much of the ring is filled, in percent, before blocks go out; again after each time it
    /// ran empty, so that a drive stops rarely and for long, and not often and for a moment.
    pub start_percent: u8,
    /// What a [`Feed`] puts behind each block for the drive to check it by. It stands in the block's
    /// slot, so that nothing is copied.
    pub guard: Option<Guard>,
}

/// Bytes that a guard puts behind a block.
pub const GUARD: usize = 4;

/// Makes these bytes.
pub type Guard = fn(&[u8]) -> [u8; GUARD];

/// Whether the writer or consumer wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The next block, please.
    Continue,
    /// No more of this.
    Stop,
}

/// How far a pipeline is, for whoever shows progress. Only ever grow, but for `ready`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes read from the file or the drive.
    read: AtomicU64,
    /// Bytes that the writer or the consumer took.
    taken: AtomicU64,
    /// Bytes in the ring that wait to be taken.
    ready: AtomicU64,
    /// How often the ring ran empty while there was more to come.
    starved: AtomicU64,
}

impl Counters {
    /// Bytes read so far from the files or the drive.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes that the writer or the consumer took so far.
    pub fn bytes_taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Bytes in the ring that wait to be taken.
    pub fn bytes_ready(&self) -> u64 {
        self.ready.load(Ordering::Relaxed)
    }

    /// How often the ring ran empty while there was more to come.
    pub fn times_starved(&self) -> u64 {
        self.starved.load(Ordering::Relaxed)
    }
}
