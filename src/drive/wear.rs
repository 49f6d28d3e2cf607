//! What a drive counts about itself and the cartridge in it.

use crate::{
    drive::{answer::DriveError, handle::Drive},
    scsi::log::{
        Page,
        alert::{Alert, Alerts, CLEARING_PAGE, RESPONSE_PAGE},
        errors::ErrorCounters,
        parameter::{compression, device, sequential, status, volume, write_errors},
        statistics::{Cleaning, DeviceStatistics, VolumeStatistics, write_compression},
    },
};

/// TapeAlert flags by which a drive wants to be cleaned: now, and when there is time.
const CLEAN_NOW: u8 = 20;
const CLEAN_PERIODIC: u8 = 21;

/// How a drive is. What it has no page for is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// TapeAlert flags that are raised.
    pub alerts: Option<Alerts>,
    /// Whether the drive took them back when they were read: it has no page that leaves them.
    pub alerts_cleared: bool,
    /// Whether it wants to be cleaned.
    pub cleaning: Cleaning,
    /// Errors while writing.
    pub writing: Option<ErrorCounters>,
    /// Errors while reading.
    pub reading: Option<ErrorCounters>,
    /// The drive's life.
    pub device: Option<DeviceStatistics>,
    /// The loaded cartridge's life.
    pub volume: Option<VolumeStatistics>,
    /// By how much what was written since the load was compressed, in hundredths.
    pub write_compression: Option<u64>,
}

impl Drive {
    /// How the drive is, by its log pages. Nothing moves, and no counter is reset.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn health(&mut self) -> Result<Health, DriveError> {
        let leaves = self.log_page(RESPONSE_PAGE)?.is_some();
        let has_alerts = leaves || self.has_log_page(CLEARING_PAGE);
        let alerts = if has_alerts { Some(self.tape_alerts()?) } else { None };
        let status = self.log_page(status::PAGE)?;
        let sequential = self.log_page(sequential::PAGE)?;
        let standard = self.log_page(compression::PAGE)?;
        let compressed = match standard {
            Some(page) => Some(page),
            None => self.log_page(compression::VENDOR_PAGE)?,
        };
        Ok(Health {
            alerts,
            alerts_cleared: has_alerts && !leaves,
            cleaning: cleaning(status.as_ref(), sequential.as_ref(), alerts),
            writing: self.log_page(write_errors::PAGE)?.as_ref().map(ErrorCounters::of),
            reading: self.log_page(write_errors::READ_PAGE)?.as_ref().map(ErrorCounters::of),
            device: self.log_page(device::PAGE)?.as_ref().map(DeviceStatistics::of),
            volume: self.log_page(volume::PAGE)?.as_ref().and_then(VolumeStatistics::of),
            write_compression: compressed.as_ref().and_then(write_compression),
        })
    }
}

/// The gravest that any of a drive's ways of saying so says.
fn cleaning(status: Option<&Page>, sequential: Option<&Page>, alerts: Option<Alerts>) -> Cleaning {
    let raised = |number| {
        let alert = Alert::new(number).expect("from 1 to 64");
        alerts.is_some_and(|alerts| alerts.contains(alert))
    };
    let by_alert = if raised(CLEAN_NOW) {
        Cleaning::Required
    } else if raised(CLEAN_PERIODIC) {
        Cleaning::Requested
    } else {
        Cleaning::NotTold
    };
    let by_status = status.map_or(Cleaning::NotTold, Cleaning::of_status);
    let by_page = sequential.map_or(Cleaning::NotTold, Cleaning::of_sequential);
    by_alert.max(by_status).max(by_page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::log::Parameter;

    #[test]
    fn the_gravest_word_about_cleaning_counts() {
        let status = |first| Page {
            code: status::PAGE,
            subpage: 0,
            parameters: vec![Parameter { code: 0, control: 3, value: vec![first, 0, 0, 0] }],
        };
        let asks = Page {
            code: sequential::PAGE,
            subpage: 0,
            parameters: vec![Parameter::of_number(sequential::CLEANING, 4, 1)],
        };
        let flag = |number| Some(Alerts::default().with(Alert::new(number).unwrap()));
        let none = Some(Alerts::default());
        for (status, page, alerts, expected) in [
            (None, None, None, Cleaning::NotTold),
            (None, None, none, Cleaning::NotTold),
            (Some(status(1)), None, none, Cleaning::NotDue),
            (Some(status(1)), Some(&asks), none, Cleaning::Requested),
            (Some(status(3)), Some(&asks), none, Cleaning::Required),
            (Some(status(1)), None, flag(21), Cleaning::Requested),
            (Some(status(5)), None, flag(20), Cleaning::Required),
        ] {
            assert_eq!(cleaning(status.as_ref(), page, alerts), expected);
        }
    }
}
