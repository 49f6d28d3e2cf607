//! How the tape gets to the next block, and how long that takes. Pure.

use std::time::Duration;

use crate::{
    job::{
        monitor::RestoreVolume,
        restore::plan::{Reach, Stop},
    },
    media::Volume,
    position::ObjectNumber,
    unit::{GIB, MIB},
};

/// Up to so many bytes ahead it is quicker to read on than to move: moving stops the tape first.
const READ_ON_BYTES: u64 = 8 * MIB;
/// What fetching, threading and rewinding a cartridge takes.
const MOUNT: Duration = Duration::from_secs(90);
/// What moving to a place far off takes, as drives' manuals give it on average.
const LOCATE_FAR: Duration = Duration::from_secs(45);
/// What moving a little takes: the tape stops, goes back, and takes a run-up.
const LOCATE_NEAR: Duration = Duration::from_secs(6);
/// Moves below this are near, in bytes.
const NEAR_BYTES: u64 = 2 * GIB;
/// Native capacity of a cartridge up to which a drive reads so many bytes a second (LTO-5, LTO-6,
/// LTO-7, LTO-8, later ones; manufacturers' data sheets).
const RATES: [(u64, u64); 5] = [
    (2_000_000_000_000, 140_000_000),
    (3_000_000_000_000, 160_000_000),
    (7_000_000_000_000, 300_000_000),
    (14_000_000_000_000, 360_000_000),
    (u64::MAX, 400_000_000),
];

/// How the next wanted block is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::job::restore) enum Motion {
    /// The tape stands before it.
    Here,
    /// By reading so many objects and throwing them away.
    ReadOn(u64),
    /// By LOCATE.
    Locate,
}

/// How the tape gets from before `next` (if that is known) to before `wanted`.
pub(in crate::job::restore) fn motion(
    next: Option<ObjectNumber>,
    wanted: ObjectNumber,
    block_size: u32,
) -> Motion {
    let ahead = next.and_then(|next| wanted.0.checked_sub(next.0));
    match ahead {
        Some(0) => Motion::Here,
        Some(objects) if objects.saturating_mul(block_size.into()) <= READ_ON_BYTES => {
            Motion::ReadOn(objects)
        }
        Some(_) | None => Motion::Locate,
    }
}

/// Adds up what reading one volume comes to.
#[derive(Debug)]
pub(super) struct Estimate {
    reach: Reach,
    emulated: bool,
    rate: u64,
    next: Option<ObjectNumber>,
    members: u64,
    bytes: u64,
    blocks: u64,
    read_bytes: u64,
    near: u32,
    far: u32,
}

impl Estimate {
    pub(super) fn new(volume: &Volume, reach: Reach) -> Self {
        let rate = RATES.iter().find(|(capacity, _)| volume.capacity_bytes <= *capacity);
        Self {
            reach,
            emulated: volume.emulated,
            rate: rate.map_or(RATES[0].1, |(_, rate)| *rate),
            // A cartridge is mounted by reading its label.
            next: None,
            members: 0,
            bytes: 0,
            blocks: 0,
            read_bytes: 0,
            near: 0,
            far: 0,
        }
    }

    /// Adds a stop, which comes behind all that were added before.
    pub(super) fn add(&mut self, stop: &Stop) {
        self.members += 1;
        self.bytes += stop.piece.member.stored;
        let first = match self.next {
            Some(next) => stop.first.max(next),
            None => stop.first,
        };
        let Some(own) = (stop.last.0 + 1).checked_sub(first.0).filter(|own| *own > 0) else {
            return;
        };
        let size = u64::from(stop.block_size);
        let mut blocks = own;
        match motion(self.next, first, stop.block_size) {
            Motion::Here => {}
            Motion::ReadOn(objects) => blocks += objects,
            Motion::Locate => {
                let far = self.next.is_none_or(|next| (first.0 - next.0) * size > NEAR_BYTES);
                if far { self.far += 1 } else { self.near += 1 }
            }
        }
        self.blocks += blocks;
        self.read_bytes += blocks * size;
        self.next = Some(stop.last.after(1));
    }

    pub(super) fn finish(self, volume: &Volume, number: u64, place: String) -> RestoreVolume {
        let mut time = Duration::from_secs(self.read_bytes / self.rate);
        if !self.emulated {
            time += LOCATE_FAR * self.far + LOCATE_NEAR * self.near;
            if self.reach != Reach::Drive {
                time += MOUNT;
            }
        }
        RestoreVolume {
            number,
            volser: volume.volser,
            barcode: volume.barcode,
            place,
            members: self.members,
            bytes: self.bytes,
            blocks: self.blocks,
            read_bytes: self.read_bytes,
            locates: u64::from(self.far + self.near),
            seconds: time.as_secs().max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_blocks_are_read_on_to() {
        let object = ObjectNumber;
        let size = 512 << 10;
        for (next, wanted, expected) in [
            (None, 7, Motion::Locate),
            (Some(7), 7, Motion::Here),
            (Some(7), 8, Motion::ReadOn(1)),
            (Some(7), 23, Motion::ReadOn(16)),
            (Some(7), 24, Motion::Locate),
            (Some(8), 7, Motion::Locate),
        ] {
            assert_eq!(
                motion(next.map(object), object(wanted), size),
                expected,
                "{next:?} {wanted}"
            );
        }
    }
}
