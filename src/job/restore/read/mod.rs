//! One volume, or staging: its wanted blocks, in the order in which they lie, to whoever puts them
//! together.

mod assemble;
mod member;
mod staged;

use std::iter::Peekable;

pub(super) use assemble::{Assembler, OpenFiles};
pub(super) use staged::ReadingStaged;

use crate::{
    catalog::Catalog,
    drive::{DriveError, GUARD, Preparation, ReadOutcome},
    job::{
        Desk, JobError,
        monitor::Counters,
        restore::{
            plan::{Motion, Stop, motion},
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
/// How often the drive may be disturbed on one volume.
const DISTURBANCES_MAX: u32 = 3;

/// What goes to the assembler.
#[derive(Debug)]
pub(super) enum Delivery {
    /// The block that is object such and such.
    Block(ObjectNumber),
    /// This object cannot be had.
    Bad(ObjectNumber, String),
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
        let mut reader = Reader {
            catalog,
            station,
            desk,
            volume,
            course: Course::new(of_leg(stops, rank)?),
            next: None,
            bad_spots: 0,
            disturbances: 0,
        };
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

fn mount(
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
    fn bad(&mut self, object: ObjectNumber, why: String) -> Result<Fill<Delivery>, JobError> {
        self.reached = Some(object);
        self.stops.next().transpose()?;
        Ok(Fill::Block(0, Delivery::Bad(object, why)))
    }
}

/// The drive's side.
struct Reader<'a> {
    catalog: &'a Catalog,
    station: &'a mut Station,
    desk: &'a Desk,
    volume: &'a Volume,
    course: Course<'a>,
    /// The object before which the tape stands, if that is known.
    next: Option<ObjectNumber>,
    bad_spots: u32,
    disturbances: u32,
}

impl Reader<'_> {
    /// Reads the next wanted block into `room`.
    fn fill(&mut self, room: &mut [u8]) -> Result<Fill<Delivery>, JobError> {
        loop {
            let Some((wanted, block_size)) = self.course.wanted()? else { return Ok(Fill::End) };
            if self.bad_spots >= BAD_SPOTS_MAX {
                let why = "too many places before it could not be read";
                return self.course.bad(wanted, why.to_owned());
            }
            match self.read(wanted, block_size, room) {
                Ok(Some(bytes)) => {
                    self.bad_spots = 0;
                    return Ok(self.course.good(wanted, bytes));
                }
                Ok(None) => {}
                Err(Trouble::Here(why)) => {
                    self.bad_spots += 1;
                    self.next = None;
                    return self.course.bad(wanted, why);
                }
                Err(Trouble::Disturbed(error)) => {
                    self.next = None;
                    self.disturbances += 1;
                    if self.disturbances > DISTURBANCES_MAX {
                        return Err(self.station.failed(Some(self.volume))(error));
                    }
                    tracing::warn!(drive = self.station.name, %error, "disturbed, mounting again");
                    mount(self.catalog, self.station, self.volume, self.desk)?;
                }
                Err(Trouble::Drive(error)) => {
                    return Err(self.station.failed(Some(self.volume))(error));
                }
            }
        }
    }

    /// Gets to an object and reads it; `None` when it was not reached yet.
    fn read(
        &mut self,
        wanted: ObjectNumber,
        block_size: u32,
        room: &mut [u8],
    ) -> Result<Option<usize>, Trouble> {
        let is_there = match motion(self.next, wanted, block_size) {
            Motion::Here => true,
            Motion::ReadOn(_) => false,
            Motion::Locate => {
                self.next = None;
                self.station.drive.locate(wanted).map_err(Trouble::of)?;
                self.next = Some(wanted);
                true
            }
        };
        let size = usize::try_from(block_size).expect("32 bits fit memory").min(BLOCK_MAX);
        let outcome = match self.station.drive.read_guarded(&mut room[..size + GUARD]) {
            Ok(outcome) => outcome,
            // What is passed over need not be good.
            Err(DriveError::Medium(_) | DriveError::Damaged(_)) if !is_there => {
                self.next = None;
                return Ok(None);
            }
            Err(error) => return Err(Trouble::of(error)),
        };
        self.next = self.next.map(|next| next.after(1));
        let here = |what: String| Err(Trouble::Here(format!("object {wanted} is {what}")));
        match outcome {
            ReadOutcome::Block(bytes) => {
                Counters::add(&self.desk.counters.read_bytes, bytes as u64);
                self.desk.progress();
                if !is_there {
                    return Ok(None);
                }
                if bytes == size {
                    Ok(Some(bytes))
                } else {
                    here(format!("a block of {bytes} bytes"))
                }
            }
            ReadOutcome::LongBlock { .. } | ReadOutcome::Filemark if !is_there => Ok(None),
            ReadOutcome::LongBlock { bytes } => here(format!("a block of {bytes} bytes")),
            ReadOutcome::Filemark => here("a filemark".to_owned()),
            ReadOutcome::EndOfData => here("behind the end of data".to_owned()),
        }
    }
}

/// What keeps a block from being read.
enum Trouble {
    /// The tape is bad here, or is not what it should be.
    Here(String),
    /// Something came between: the cartridge has to be identified again.
    Disturbed(DriveError),
    /// The drive.
    Drive(DriveError),
}

impl Trouble {
    fn of(error: DriveError) -> Self {
        match error {
            DriveError::Medium(_)
            | DriveError::Damaged(_)
            | DriveError::EndOfMedium(_)
            | DriveError::EndOfDataMissing(_)
            | DriveError::Mismatch { .. } => Self::Here(error.to_string()),
            DriveError::PositionLost(_)
            | DriveError::NotReady(_)
            | DriveError::Unknown { .. }
            | DriveError::Deferred(_) => Self::Disturbed(error),
            DriveError::NoMedium(_)
            | DriveError::Unusable(_)
            | DriveError::WriteProtected(_)
            | DriveError::Busy(_)
            | DriveError::Refused { .. }
            | DriveError::Unsupported(_)
            | DriveError::Hardware(_)
            | DriveError::WrongDevice { .. } => Self::Drive(error),
        }
    }
}
