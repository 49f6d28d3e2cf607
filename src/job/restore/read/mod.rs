//! One volume, or staging: its wanted blocks, in the order in which they lie, to whoever puts them
//! together.

mod assemble;
mod head;
mod member;
mod staged;

use std::iter::Peekable;

pub(super) use assemble::{Assembler, OpenFiles};
pub(super) use head::{Head, Missing, Step};
pub(super) use staged::ReadingStaged;

use crate::{
    catalog::Catalog,
    drive::{GUARD, Preparation},
    job::{
        Desk, JobError,
        restore::{
            plan::Stop,
            spool::{Spool, SpoolReader},
        },
        rig::Station,
        tape::BLOCK_MAX,
    },
    media::Volume,
    pipeline::{self, DrainError, Fill, drain},
    position::ObjectNumber,
    unit::ByteCount,
};

/// Memory between the drive and the disk.
const RING_BYTES: usize = 64 << 20;
/// So many bad spots in a row, and the rest of the volume is not tried: each costs minutes.
const BAD_SPOTS_MAX: u32 = 16;

/// What goes to the assembler.
#[derive(Debug)]
pub(super) enum Delivery {
    /// The block that is object such and such.
    Block(ObjectNumber),
    /// This object cannot be had.
    Bad(ObjectNumber, Missing),
}

/// A volume that is to be read.
#[derive(Debug)]
pub(super) struct Reading<'s, 'p> {
    pub(super) catalog: &'s Catalog,
    pub(super) station: &'s mut Station,
    pub(super) desk: &'s Desk,
    pub(super) volume: &'p Volume,
    pub(super) rank: usize,
    pub(super) stops: &'p Spool<Stop>,
}

impl<'p> Reading<'_, 'p> {
    /// Mounts the volume.
    ///
    /// # Errors
    ///
    /// When it cannot be had, or the drive fails.
    pub(super) fn mount(&mut self) -> Result<(), JobError> {
        mount(self.catalog, self.station, self.volume, self.desk)
    }

    /// Reads what is wanted of the volume, which has to be mounted.
    ///
    /// # Errors
    ///
    /// When the drive, the destination or a temporary file fail. What cannot be read or does not
    /// agree is the assembler's to remember.
    pub(super) fn run(self, assembler: &mut Assembler<'p, '_>) -> Result<(), JobError> {
        let Self { catalog, station, desk, volume, rank, stops } = self;
        assembler.begin(Some(volume), of_leg(stops, rank)?);
        let course = Course::new(of_leg(stops, rank)?);
        let mut reader =
            Reader { head: Head::new((catalog, station, desk), volume), course, bad_spots: 0 };
        read_through(BLOCK_MAX + GUARD, desk, |room| reader.fill(room), assembler)
    }
}

/// Gives the assembler what `fill` reads, through a ring whose blocks have so many bytes.
fn read_through(
    block_bytes: usize,
    desk: &Desk,
    fill: impl FnMut(&mut [u8]) -> Result<Fill<Delivery>, JobError>,
    assembler: &mut Assembler<'_, '_>,
) -> Result<(), JobError> {
    let ring_bytes = RING_BYTES;
    let settings = pipeline::Settings { block_bytes, ring_bytes, start_percent: 0, guard: None };
    let take = |delivery, block: &[u8]| assembler.take(delivery, block);
    match drain(settings, &desk.cancel, fill, take) {
        Ok(()) => assembler.end(),
        Err(DrainError::Reader(error) | DrainError::Consumer(error)) => Err(error),
        Err(DrainError::Cancelled) => Err(JobError::Stopped),
    }
}

pub(super) fn mount(
    catalog: &Catalog,
    station: &mut Station,
    volume: &Volume,
    desk: &Desk,
) -> Result<(), JobError> {
    station.mount(catalog, volume, desk)?;
    let preparation = Preparation { block_size: volume.block_size, early_warning: ByteCount(0) };
    station.drive.prepare(&preparation).map_err(station.failed(Some(volume)))
}

/// The stops of one leg.
pub(super) struct OfLeg<'a> {
    from: SpoolReader<'a, Stop>,
    rank: usize,
}

fn of_leg(stops: &Spool<Stop>, rank: usize) -> Result<OfLeg<'_>, JobError> {
    Ok(OfLeg { from: stops.records()?, rank })
}

impl Iterator for OfLeg<'_> {
    type Item = Result<Stop, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.from.next()? {
                Ok(stop) if stop.rank < self.rank => {}
                Ok(stop) if stop.rank > self.rank => return None,
                other => return Some(other),
            }
        }
    }
}

/// The blocks that are wanted, one after another.
struct Course<'a> {
    stops: Peekable<OfLeg<'a>>,
    /// The last object that was delivered, or found bad.
    reached: Option<ObjectNumber>,
}

impl<'a> Course<'a> {
    fn new(stops: OfLeg<'a>) -> Self {
        Self { stops: stops.peekable(), reached: None }
    }

    /// The next block that is wanted and was not delivered, and the size of its like.
    fn wanted(&mut self) -> Result<Option<(ObjectNumber, u32)>, JobError> {
        loop {
            match self.stops.peek() {
                None => return Ok(None),
                Some(Ok(stop)) => {
                    let behind = self.reached.map_or(stop.first, |reached| reached.after(1));
                    let wanted = stop.first.max(behind);
                    if wanted <= stop.last {
                        return Ok(Some((wanted, stop.block_size)));
                    }
                }
                Some(Err(_)) => {}
            }
            // It was delivered whole with those before it, or it cannot be read.
            self.stops.next().transpose()?;
        }
    }

    /// Delivers an object.
    fn good(&mut self, object: ObjectNumber, bytes: usize) -> Fill<Delivery> {
        self.reached = Some(object);
        Fill::Block(bytes, Delivery::Block(object))
    }

    /// Gives up an object, and with it the rest of the member that it was wanted for.
    fn bad(&mut self, object: ObjectNumber, why: Missing) -> Result<Fill<Delivery>, JobError> {
        self.reached = Some(object);
        self.stops.next().transpose()?;
        Ok(Fill::Block(0, Delivery::Bad(object, why)))
    }
}

/// The drive's side.
struct Reader<'a> {
    head: Head<'a>,
    course: Course<'a>,
    bad_spots: u32,
}

impl Reader<'_> {
    /// Reads the next wanted block into `room`.
    fn fill(&mut self, room: &mut [u8]) -> Result<Fill<Delivery>, JobError> {
        loop {
            let Some((wanted, block_size)) = self.course.wanted()? else { return Ok(Fill::End) };
            if self.bad_spots >= BAD_SPOTS_MAX {
                let why = "too many places before it could not be read".to_owned();
                return self.course.bad(wanted, Missing::Untried(why));
            }
            match self.head.read(wanted, block_size, room)? {
                Step::Block(bytes) => {
                    self.bad_spots = 0;
                    return Ok(self.course.good(wanted, bytes));
                }
                Step::Onward => {}
                Step::Missing(why) => {
                    self.bad_spots += 1;
                    return self.course.bad(wanted, why);
                }
            }
        }
    }
}
