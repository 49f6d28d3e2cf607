//! The drive's head over one volume: to a block, and what it gives there.

use crate::{
    catalog::Catalog,
    drive::{DriveError, GUARD, ReadOutcome},
    job::{
        Desk, JobError,
        monitor::{Counters, Event},
        restore::{
            plan::{Motion, motion},
            read::mount,
        },
        rig::Station,
        tape::{BLOCK_MAX, read_twice},
    },
    media::Volume,
    position::ObjectNumber,
};

/// How often the drive may be disturbed on one volume.
const DISTURBANCES_MAX: u32 = 3;

/// Reads blocks of a volume that is in the drive.
pub(in crate::job::restore) struct Head<'a> {
    catalog: &'a Catalog,
    station: &'a mut Station,
    desk: &'a Desk,
    volume: &'a Volume,
    /// The object before which the tape stands, if that is known.
    next: Option<ObjectNumber>,
    disturbances: u32,
}

/// What became of an attempt to read a block.
pub(in crate::job::restore) enum Step {
    /// It is there, with so many bytes.
    Block(usize),
    /// Not there yet: try again.
    Onward,
    /// It cannot be had.
    Missing(Missing),
}

/// Why an object cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::job::restore) enum Missing {
    /// The tape is bad there, or is not what it should be.
    Tape(String),
    /// It came with a wrong CRC, twice: cable, host adapter or memory may be at fault.
    Path(String),
    /// Nobody tried.
    Untried(String),
}

impl Missing {
    /// Why, in words.
    pub(in crate::job::restore) fn why(&self) -> &str {
        let (Self::Tape(why) | Self::Path(why) | Self::Untried(why)) = self;
        why
    }
}

impl<'a> Head<'a> {
    pub(in crate::job::restore) fn new(
        (catalog, station, desk): (&'a Catalog, &'a mut Station, &'a Desk),
        volume: &'a Volume,
    ) -> Self {
        Self { catalog, station, desk, volume, next: None, disturbances: 0 }
    }

    /// Gets to an object, or nearer to it, and reads it into `room`.
    ///
    /// # Errors
    ///
    /// When the drive fails. What came between is got over by identifying the cartridge again.
    pub(in crate::job::restore) fn read(
        &mut self,
        wanted: ObjectNumber,
        block_size: u32,
        room: &mut [u8],
    ) -> Result<Step, JobError> {
        match self.try_to_read(wanted, block_size, room) {
            Ok(Some(bytes)) => Ok(Step::Block(bytes)),
            Ok(None) => Ok(Step::Onward),
            Err(Trouble::Here(missing)) => {
                self.next = None;
                Ok(Step::Missing(missing))
            }
            Err(Trouble::Disturbed(error)) => {
                self.next = None;
                self.disturbances += 1;
                if self.disturbances > DISTURBANCES_MAX {
                    return Err(self.station.failed(Some(self.volume))(error));
                }
                tracing::warn!(drive = self.station.name, %error, "disturbed, mounting again");
                mount(self.catalog, self.station, self.volume, self.desk)?;
                Ok(Step::Onward)
            }
            Err(Trouble::Drive(error)) => Err(self.station.failed(Some(self.volume))(error)),
        }
    }

    /// `None` when it was not reached yet.
    fn try_to_read(
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
        let outcome = match read_twice(&mut self.station.drive, &mut room[..size + GUARD]) {
            Ok((outcome, None)) => outcome,
            Ok((outcome, Some(first))) => {
                self.tell_second_reading(self.next.unwrap_or(wanted), &first);
                outcome
            }
            // What is passed over need not be good.
            Err(DriveError::Medium(_) | DriveError::Damaged(_)) if !is_there => {
                self.next = None;
                return Ok(None);
            }
            Err(error) => return Err(Trouble::of(error)),
        };
        self.next = self.next.map(|next| next.after(1));
        let here =
            |what: String| Err(Trouble::Here(Missing::Tape(format!("object {wanted} is {what}"))));
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

    fn tell_second_reading(&self, object: ObjectNumber, first: &DriveError) {
        let what = format!(
            "object {object} did not read right at first ({first}), and did when it was read again: \
             look at cable, host adapter and memory"
        );
        self.desk.tell(&Event::VolumeFinding { volser: self.volume.volser, what });
        self.desk.ledger.note(1);
    }
}

/// What keeps a block from being read.
enum Trouble {
    /// The tape is bad here, or is not what it should be.
    Here(Missing),
    /// Something came between: the cartridge has to be identified again.
    Disturbed(DriveError),
    /// The drive.
    Drive(DriveError),
}

impl Trouble {
    fn of(error: DriveError) -> Self {
        match error {
            DriveError::Damaged(_) => Self::Here(Missing::Path(error.to_string())),
            DriveError::Medium(_)
            | DriveError::EndOfMedium(_)
            | DriveError::EndOfDataMissing(_)
            | DriveError::Mismatch { .. } => Self::Here(Missing::Tape(error.to_string())),
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
