//! Cleaning a drive with a cartridge of its library.

use crate::{
    changer::ChangerError,
    drive::{Cleaned, CleaningNeed},
    job::{
        Desk, JobError,
        monitor::Event,
        rig::{RigError, Station},
    },
};

impl Station {
    /// Cleans the drive with a cleaning cartridge of the library. The drive has to be empty.
    ///
    /// # Errors
    ///
    /// [`JobError::Library`] when there is no cartridge that does; when drive or library fail.
    pub fn clean(&mut self, desk: &Desk) -> Result<(), JobError> {
        let Some((inventory, _)) = self.look().map_err(RigError::from)? else {
            return Err(JobError::Library {
                what: format!("{} stands in no library that could clean it", self.name),
                advice: "put a cleaning cartridge in by hand".into(),
            });
        };
        let places = inventory.slots.iter().chain(&inventory.mail_slots);
        let cartridges: Vec<_> = places.filter(|place| place.full && place.cleaning).collect();
        for place in &cartridges {
            let cartridge = place.sticker();
            match self.bring(place.address) {
                // Another drive was quicker.
                Err(RigError::Move { refusal, cause: ChangerError::Stale(_) }) => {
                    desk.notice(refusal.to_string());
                    continue;
                }
                brought => brought?,
            }
            crate::crash::point("clean.brought");
            let cleaned = self.drive.wait_cleaned();
            if cleaned.is_err()
                && let Err(error) = self.drive.unload()
            {
                tracing::warn!(%error, "the cleaning cartridge is not given back");
            }
            self.put(place.address)?;
            let cleaned = cleaned.map_err(self.failed(None))?;
            let drive = self.name.as_str();
            desk.tell(&Event::Cleaned { drive, cartridge: &cartridge, outcome: word_for(cleaned) });
            match cleaned {
                Cleaned::Done => return Ok(()),
                // Another cartridge would only wear out, too.
                Cleaned::StillAsked(_) => {
                    desk.ledger.note(1);
                    self.told_of_dirt = true;
                    return Ok(());
                }
                Cleaned::Expired | Cleaned::Invalid => desk.ledger.note(1),
            }
        }
        Err(JobError::Library {
            what: if cartridges.is_empty() {
                format!("{} is to be cleaned, and the library has no cleaning cartridge", self.name)
            } else {
                format!("{} is to be cleaned, and no cleaning cartridge does so", self.name)
            },
            advice: "put a new cleaning cartridge (CLN…) into a mail slot, take it in with \
                     `tapevault library import`, then clean with `tapevault library clean`"
                .into(),
        })
    }
    /// Cleans the drive, which is empty, if it asks for that and its library can. If it cannot,
    /// somebody is told, once.
    ///
    /// # Errors
    ///
    /// When drive or library fail over it.
    pub(in crate::job) fn clean_if_asked(&mut self, desk: &Desk) -> Result<(), JobError> {
        let need = match self.drive.cleaning_need() {
            Ok(need) => need,
            Err(error) => {
                tracing::warn!(drive = self.name, %error, "whether it asks for cleaning is not known");
                return Ok(());
            }
        };
        let asked = match need {
            CleaningNeed::None => return Ok(()),
            CleaningNeed::Periodic => "is due for cleaning",
            CleaningNeed::Now => "asks to be cleaned now",
        };
        if self.told_of_dirt {
            return Ok(());
        }
        desk.notice(format!("{} {asked}", self.name));
        match self.clean(desk) {
            Err(JobError::Library { what, advice }) => {
                self.told_of_dirt = true;
                if need == CleaningNeed::Now {
                    desk.ledger.note(1);
                }
                desk.notice(format!("{what}: {advice}"));
                Ok(())
            }
            cleaned => cleaned,
        }
    }
}

fn word_for(cleaned: Cleaned) -> &'static str {
    match cleaned {
        Cleaned::Done => "clean",
        Cleaned::StillAsked(_) => "still-asked",
        Cleaned::Expired => "cartridge-expired",
        Cleaned::Invalid => "cartridge-invalid",
    }
}
