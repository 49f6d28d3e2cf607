//! After a drive failed: what landed is asked of the tape, not remembered, and writing goes on;
//! on the same volume once more, then on the next.

use std::collections::BTreeMap;

use crate::{
    catalog::Event as Entry,
    causes,
    drive::DriveError,
    ident::Volser,
    job::{JobError, monitor::Event, write::Write},
    media::Volume,
};

/// How often a volume may fail before it takes no more segments.
const PER_VOLUME: u32 = 2;
/// How often it may fail before it gets no index either.
const PER_INDEX: u32 = 4;
/// How often the drives of one job may fail: beyond that, somebody should look at them.
const PER_JOB: u32 = 12;

/// What failed until now.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    all: u32,
    by_volume: BTreeMap<Option<Volser>, u32>,
}

impl Troubles {
    /// Counts one more, and says how many that are for the volume.
    fn count(&mut self, volser: Option<Volser>) -> u32 {
        self.all += 1;
        let count = self.by_volume.entry(volser).or_default();
        *count += 1;
        *count
    }
}

impl Write<'_> {
    /// Makes drive and catalog ready for another try after `error`. Whatever session was open has
    /// ended: the next one begins with what the tape says.
    ///
    /// # Errors
    ///
    /// `error` again, when nothing can be done about it here.
    pub(super) fn get_over(
        &mut self,
        error: JobError,
        troubles: &mut Troubles,
    ) -> Result<(), JobError> {
        let JobError::Drive { volser, cause, .. } = &error else { return Err(error) };
        let (volser, Some(calms)) = (*volser, calms(cause)) else { return Err(error) };
        let times = troubles.count(volser);
        let volume = match volser {
            Some(volser) => self.catalog.volume(volser)?,
            None => None,
        };
        let most = if volume.is_some() { PER_INDEX } else { PER_VOLUME };
        if troubles.all > PER_JOB || times > most {
            return Err(error);
        }
        self.tell_trouble(volume.as_ref(), &error)?;
        if let Err(second) = self.calm(calms) {
            tracing::warn!(%second, "the drive does not recover");
            return Err(error);
        }
        if let Some(volume) = volume {
            self.give_up_on(&volume, times)?;
        }
        Ok(())
    }

    /// Says what failed, to whoever listens and in the ledger.
    fn tell_trouble(&self, volume: Option<&Volume>, error: &JobError) -> Result<(), JobError> {
        let what = format!("{}; the tape is asked what landed", causes::chain(error));
        self.desk.ledger.note(1);
        match volume {
            Some(volume) => {
                self.desk.tell(&Event::VolumeFinding { volser: volume.volser, what: what.clone() });
            }
            None => self.desk.notice(what.clone()),
        }
        self.catalog.record_event(&Entry {
            when: self.desk.clock.now(),
            what: "drive.trouble".to_owned(),
            volume: volume.map(|volume| volume.id),
            detail: serde_json::json!({ "drive": self.station.describe(), "error": what }),
        })?;
        Ok(())
    }

    fn calm(&mut self, calms: Calms) -> Result<(), DriveError> {
        let drive = &mut self.station.drive;
        match drive.recover() {
            // Rewinding finds it again, which is how a cartridge is identified.
            Ok(_) | Err(DriveError::PositionLost(_)) => {}
            Err(error) => return Err(error),
        }
        match calms {
            Calms::Asking => Ok(()),
            Calms::Reloading => {
                drive.unload()?;
                drive.load()
            }
        }
    }

    /// A volume that failed too often takes no more: no segment, and at last no index.
    fn give_up_on(&mut self, volume: &Volume, times: u32) -> Result<(), JobError> {
        let why = if times >= PER_INDEX {
            self.end_sessions(volume.id, None)?;
            "it failed too often, and is closed without an index"
        } else if times >= PER_VOLUME {
            "it failed too often"
        } else {
            return Ok(());
        };
        self.take_no_more(volume.id, why)?;
        Ok(())
    }
}

/// What may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calms {
    /// To ask the drive where it is.
    Asking,
    /// To unload the cartridge and load it again.
    Reloading,
}

/// What may help after an error; `None` when only somebody else can.
fn calms(error: &DriveError) -> Option<Calms> {
    match error {
        DriveError::EndOfMedium(_)
        | DriveError::Medium(_)
        | DriveError::Damaged(_)
        | DriveError::EndOfDataMissing(_)
        | DriveError::Deferred(_)
        | DriveError::PositionLost(_)
        | DriveError::Mismatch { .. }
        | DriveError::NotReady(_)
        | DriveError::WriteProtected(_)
        | DriveError::Unknown { .. } => Some(Calms::Asking),
        DriveError::Hardware(_) => Some(Calms::Reloading),
        DriveError::NoMedium(_)
        | DriveError::Unusable(_)
        | DriveError::Busy(_)
        | DriveError::Refused { .. }
        | DriveError::Unsupported(_)
        | DriveError::WrongDevice { .. } => None,
    }
}
