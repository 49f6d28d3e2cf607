//! Health, reservations, and who may take the cartridge out.

use tracing::warn;

use crate::{
    drive::{answer::DriveError, handle::Drive},
    scsi::{
        cdb::{Command, LogControl, ReserveOutAction},
        log::{
            Page,
            alert::{Alert, Alerts, CLEARING_PAGE, RESPONSE_PAGE, Severity},
        },
        reservation::{EXCLUSIVE_ACCESS, ReserveParameters},
    },
    transport::Transfer,
};

/// The longest log page that is asked for.
const LOG_ALLOCATION: u16 = 16_384;

/// What a raised flag means for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertClass {
    /// Worth a line in the report.
    Note,
    /// Finish the segment, then close the volume.
    Close,
    /// Do not begin; and if it comes up during a session, close.
    Refuse,
}

/// Whether a reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// No other initiator can use the drive.
    Held,
    /// The drive knows no persistent reservations.
    Unsupported,
}

impl AlertClass {
    /// The class of one flag.
    pub fn of(alert: Alert) -> Self {
        match (alert.number(), alert.severity()) {
            // An attempt to write a protected cartridge says nothing about the drive; the port of
            // a loader nothing about the tape.
            (9 | 40..=46 | 57, _) => Self::Note,
            // Hard error, medium life, grade, chip, directories, maintenance, temperature,
            // voltage, diagnostics, diminished capacity, firmware, write-once integrity.
            (3 | 7 | 8 | 15 | 18 | 29 | 36 | 37 | 39 | 49 | 51 | 58 | 59, _) => Self::Close,
            (_, Severity::Critical) => Self::Refuse,
            (_, Severity::Warning | Severity::Information | Severity::Unrated) => Self::Note,
        }
    }
}

impl Drive {
    /// The TapeAlert flags raised since the cartridge was loaded, by the page that leaves them as
    /// they are; on drives without it by the one that clears them, so they are remembered here.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn tape_alerts(&mut self) -> Result<Alerts, DriveError> {
        let found = match self.log_page(RESPONSE_PAGE)? {
            Some(page) => Alerts::from_response_page(&page).unwrap_or_default(),
            None => match self.log_page(CLEARING_PAGE)? {
                Some(page) => Alerts::from_clearing_page(&page),
                None => Alerts::default(),
            },
        };
        for alert in found.iter().filter(|&alert| !self.alerts.contains(alert)) {
            warn!(drive = self.name, %alert, "TapeAlert");
        }
        self.alerts = self.alerts.union(found);
        Ok(self.alerts)
    }

    /// A log page; `None` when the drive does not have it.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn log_page(&mut self, code: u8) -> Result<Option<Page>, DriveError> {
        if self.abilities.log_pages.is_none() {
            let data = self.log_sense(0)?;
            let codes = data.as_deref().and_then(Page::decode_supported).unwrap_or_default();
            self.abilities.log_pages = Some(codes);
        }
        if !self.has_log_page(code) {
            return Ok(None);
        }
        let data = self.log_sense(code)?;
        Ok(data.as_deref().and_then(Page::decode).filter(|page| page.code == code))
    }

    /// Whether the drive lists the page; `false` before it was asked for its list.
    pub(super) fn has_log_page(&self, code: u8) -> bool {
        self.abilities.log_pages.as_deref().unwrap_or_default().contains(&code)
    }

    fn log_sense(&mut self, page: u8) -> Result<Option<Vec<u8>>, DriveError> {
        let command = Command::LogSense {
            control: LogControl::Cumulative,
            page,
            subpage: 0,
            parameter: 0,
            allocation: LOG_ALLOCATION,
        };
        self.fetch_optional(&command, usize::from(LOG_ALLOCATION))
    }

    /// Takes the drive for this process alone, under `key`, which is any number but 0 that is this
    /// host's own. A reservation left by a crashed process of the same key is taken over.
    ///
    /// # Errors
    ///
    /// [`DriveError::Busy`] when another initiator holds it.
    ///
    /// # Panics
    ///
    /// When `key` is 0.
    pub fn reserve(&mut self, key: u64) -> Result<Holding, DriveError> {
        assert!(key != 0, "0 is not a reservation key");
        let parameters =
            ReserveParameters { key: 0, action_key: key, persist_through_power_loss: false };
        if !self.reserve_out(ReserveOutAction::RegisterAndIgnore, parameters)? {
            return Ok(Holding::Unsupported);
        }
        let parameters =
            ReserveParameters { key, action_key: 0, persist_through_power_loss: false };
        if !self.reserve_out(ReserveOutAction::Reserve, parameters)? {
            return Ok(Holding::Unsupported);
        }
        self.reserved = Some(key);
        Ok(Holding::Held)
    }

    /// Reserves the drive anew if it was reserved: by its holder that changes nothing.
    pub(super) fn keep_reservation(&mut self) -> Result<(), DriveError> {
        if let Some(key) = self.reserved {
            self.reserve(key)?;
        }
        Ok(())
    }

    /// Ends the reservation and the registration, if there is one.
    ///
    /// # Errors
    ///
    /// When the drive does not release.
    pub fn release(&mut self) -> Result<(), DriveError> {
        let Some(key) = self.reserved.take() else { return Ok(()) };
        let parameters =
            ReserveParameters { key, action_key: 0, persist_through_power_loss: false };
        for action in [ReserveOutAction::Release, ReserveOutAction::Register] {
            match self.reserve_out(action, parameters) {
                Ok(_) => (),
                // A reset or another initiator has ended it already.
                Err(DriveError::Busy(fault)) => {
                    warn!(drive = self.name, %fault, "the reservation was gone");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn reserve_out(
        &mut self,
        action: ReserveOutAction,
        parameters: ReserveParameters,
    ) -> Result<bool, DriveError> {
        let length = u32::try_from(ReserveParameters::LENGTH).expect("24");
        let command = Command::PersistentReserveOut { action, kind: EXCLUSIVE_ACCESS, length };
        let data = parameters.encode();
        Ok(self.issue_optional(&command, Transfer::ToDevice(&data))?.is_some())
    }

    /// Keeps the cartridge in the drive until [`Drive::allow_removal`].
    ///
    /// # Errors
    ///
    /// As for any command.
    pub fn prevent_removal(&mut self) -> Result<(), DriveError> {
        self.issue_optional(&Command::PreventAllow { prevent: true }, Transfer::None)?;
        Ok(())
    }

    /// Lets the cartridge go, also where a process that crashed kept it.
    ///
    /// # Errors
    ///
    /// As for any command.
    pub fn allow_removal(&mut self) -> Result<(), DriveError> {
        match self.issue_past_attentions(&Command::PreventAllow { prevent: false }) {
            Ok(()) | Err(DriveError::Unsupported(_)) => (),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_classed_by_what_the_session_does() {
        for (number, class) in [
            (5, AlertClass::Refuse),
            (20, AlertClass::Refuse),
            (7, AlertClass::Close),
            (3, AlertClass::Close),
            (9, AlertClass::Note),
            (1, AlertClass::Note),
            (10, AlertClass::Note),
            (50, AlertClass::Note),
            (64, AlertClass::Note),
        ] {
            assert_eq!(AlertClass::of(Alert::new(number).unwrap()), class, "{number}");
        }
    }
}
