//! Waiting for a cartridge: minutes as a rule, two hours where it is calibrated.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    drive::{
        answer::DriveError,
        handle::{Drive, MediumState},
    },
    scsi::log::parameter::status,
};

/// Between two questions whether the drive is ready.
const POLL: Duration = Duration::from_secs(1);
/// How often it is asked what it is doing.
const ASK_EVERY: u64 = 30;
/// What a drive does that calibrates a cartridge (vendor manuals, log page 11h, device activity).
const CALIBRATING: u8 = 0x0B;

/// A wait for a cartridge to become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait<'a> {
    /// The drive.
    pub drive: &'a str,
    /// How long it has lasted.
    pub elapsed: Duration,
    /// How long it may last.
    pub limit: Duration,
    /// Whether the drive says that it calibrates the cartridge, as LTO-9 drives do at its first load.
    pub calibrating: bool,
}

/// Is told of a wait about each second, and says whether to go on with it.
pub type Patience = Arc<dyn Fn(&Wait<'_>) -> bool + Send + Sync>;

/// Who is told of waits, if anybody is.
#[derive(Clone, Default)]
pub(super) struct Listener(Option<Patience>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Listener(somebody)" } else { "Listener(nobody)" })
    }
}

impl Drive {
    /// Has somebody told of each wait for a cartridge from now on.
    pub fn set_patience(&mut self, patience: Patience) {
        self.waits = Listener(Some(patience));
    }

    /// Waits until the cartridge can be used, at most for `limit`.
    ///
    /// # Errors
    ///
    /// [`DriveError::NoMedium`] when there is none, [`DriveError::NotReady`] when it is not loaded,
    /// the time is up, or whoever is told gives it up.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<(), DriveError> {
        let start = self.clock.elapsed();
        let mut calibrating = false;
        for poll in 0.. {
            let elapsed = self.clock.elapsed().saturating_sub(start);
            let detail = match self.state()? {
                MediumState::Ready => return Ok(()),
                MediumState::Empty => {
                    return Err(DriveError::NoMedium(self.fault("wait", None, None)));
                }
                MediumState::Unloaded => "the cartridge is not loaded",
                MediumState::Loading => {
                    if poll % ASK_EVERY == 0 {
                        calibrating = self.is_calibrating();
                    }
                    if !self.is_told(Wait { drive: &self.name, elapsed, limit, calibrating }) {
                        "it did not become ready, and the wait was given up"
                    } else if elapsed < limit {
                        self.clock.sleep(POLL);
                        continue;
                    } else {
                        "it did not become ready in time"
                    }
                }
            };
            return Err(DriveError::NotReady(self.fault("wait", None, Some(detail))));
        }
        unreachable!("the loop ends by itself only")
    }

    fn is_told(&self, wait: Wait<'_>) -> bool {
        self.waits.0.as_ref().is_none_or(|patience| patience(&wait))
    }

    /// What a drive that is busy with itself does is worth knowing, and no reason to fail.
    fn is_calibrating(&mut self) -> bool {
        match self.log_page(status::PAGE) {
            Ok(Some(page)) => {
                let said = page.parameter(status::VERY_HIGH_FREQUENCY);
                said.is_some_and(|said| said.value.get(2) == Some(&CALIBRATING))
            }
            Ok(None) => false,
            Err(error) => {
                tracing::debug!(drive = self.name, %error, "it does not say what it does");
                false
            }
        }
    }
}
