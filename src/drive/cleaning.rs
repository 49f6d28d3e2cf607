//! Cleaning: whether the drive asks for it, and a cleaning cartridge's stay in it.

use std::time::Duration;

use tracing::info;

use crate::{
    drive::{
        answer::DriveError,
        handle::{Drive, MediumState},
        open::is_cleaning,
    },
    scsi::log::alert::{Alert, Alerts},
};

/// How long a drive may take to clean itself and put the cartridge out.
const CLEANING_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long it may take to notice that a cartridge was put in.
const NOTICE_LIMIT: Duration = Duration::from_secs(60);
/// Between two questions.
const POLL: Duration = Duration::from_secs(1);
/// TapeAlert flags (SSC, TapeAlert log page): clean now, clean periodically, expired cleaning
/// cartridge, invalid cleaning cartridge.
const CLEAN_NOW: u8 = 20;
const CLEAN_PERIODICALLY: u8 = 21;
const EXPIRED: u8 = 22;
const INVALID: u8 = 23;

/// Whether a drive asks for a cleaning cartridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CleaningNeed {
    /// It does not.
    None,
    /// It is due, by the drive's own count of hours.
    Periodic,
    /// The drive stumbles: clean it before it goes on.
    Now,
}

/// What a cleaning cartridge's stay came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// The drive is clean.
    Done,
    /// The cartridge is used up: throw it away.
    Expired,
    /// The drive does not take it for a cleaning cartridge.
    Invalid,
    /// The drive gave it back and asks for cleaning still.
    StillAsked(CleaningNeed),
}

impl Drive {
    /// Whether the drive asks to be cleaned.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn cleaning_need(&mut self) -> Result<CleaningNeed, DriveError> {
        let alerts = self.tape_alerts()?;
        Ok(if has(alerts, CLEAN_NOW) {
            CleaningNeed::Now
        } else if has(alerts, CLEAN_PERIODICALLY) {
            CleaningNeed::Periodic
        } else {
            CleaningNeed::None
        })
    }

    /// Waits until the drive has cleaned itself with the cleaning cartridge that was put in, and
    /// has put it out. A drive that does not do so by itself within a quarter of an hour unloads
    /// it.
    ///
    /// # Errors
    ///
    /// [`DriveError::Unusable`] when it is a cartridge with a tape; when the drive fails.
    pub fn wait_cleaned(&mut self) -> Result<Cleaned, DriveError> {
        let start = self.clock.elapsed();
        let mut seen = false;
        loop {
            let waited = self.clock.elapsed().saturating_sub(start);
            match self.state()? {
                MediumState::Empty if seen || waited > NOTICE_LIMIT => break,
                MediumState::Empty => {}
                MediumState::Unloaded if seen => break,
                MediumState::Unloaded => {
                    seen = true;
                    self.start_cleaning()?;
                }
                MediumState::Loading => seen = true,
                MediumState::Ready => {
                    let detail = Some("it is no cleaning cartridge");
                    return Err(DriveError::Unusable(self.fault("clean", None, detail)));
                }
            }
            if waited > CLEANING_LIMIT {
                self.unload()?;
                break;
            }
            self.clock.sleep(POLL);
        }
        // What the drive asked for before does not count any more.
        self.alerts = Alerts::default();
        let alerts = self.tape_alerts()?;
        let need = self.cleaning_need()?;
        let cleaned = if has(alerts, EXPIRED) {
            Cleaned::Expired
        } else if has(alerts, INVALID) {
            Cleaned::Invalid
        } else if need != CleaningNeed::None {
            Cleaned::StillAsked(need)
        } else {
            Cleaned::Done
        };
        info!(drive = self.name, ?cleaned, "a cleaning cartridge was in");
        Ok(cleaned)
    }

    /// A drive that does not thread by itself is told to.
    fn start_cleaning(&mut self) -> Result<(), DriveError> {
        match self.load_unload(true) {
            Err(DriveError::Unusable(fault)) if is_cleaning(&fault) => Ok(()),
            done => done,
        }
    }
}

fn has(alerts: Alerts, number: u8) -> bool {
    Alert::new(number).is_some_and(|alert| alerts.contains(alert))
}
