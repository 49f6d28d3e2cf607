//! From a node to a drive with a cartridge that can be used.

use std::{sync::Arc, time::Duration};

use tracing::{debug, info};

use crate::{
    clock::Clock,
    drive::{
        answer::{DriveError, Fault},
        handle::{Abilities, Drive, Identity, MediumState},
        safeguard::Standing,
        timeout::{Height, Timeouts},
        wait::Listener,
    },
    position::Position,
    scsi::{
        cdb::{Command, OpcodeQuery, opcode, support},
        density::Generation,
        inquiry::{DeviceNames, DeviceType, Standard, names, vpd},
        log::alert::Alerts,
        sense::Code,
    },
    transport::{Transfer, Transport, TransportError},
};

/// Unit attentions that one drive may have waiting: one for each thing that happened to it.
const ATTENTIONS_LIMIT: u32 = 16;
const INQUIRY_ALLOCATION: u16 = 96;
const VPD_ALLOCATION: u16 = 255;
const SUPPORT_ALLOCATION: u32 = 8192;
/// The vendor by which the emulated drive says that it is one.
const EMULATED_VENDOR: &str = "TAPEVLT";
/// What loading may take at most on a drive that does not calibrate cartridges.
const LOAD_LIMIT: Duration = Duration::from_secs(15 * 60);
/// On LTO-9 a cartridge's first load calibrates it: up to two hours, and some to spare.
const CALIBRATION_LIMIT: Duration = Duration::from_secs(150 * 60);

impl Drive {
    /// Takes hold of the drive behind `transport` and asks who it is. An empty drive, or one that
    /// is loading, opens as well.
    ///
    /// # Errors
    ///
    /// [`DriveError::WrongDevice`] when it is no tape drive.
    pub fn open(transport: Box<dyn Transport>, clock: Arc<dyn Clock>) -> Result<Self, DriveError> {
        let name = transport.name().to_owned();
        let identity = Identity {
            vendor: String::new(),
            product: String::new(),
            revision: String::new(),
            serial: String::new(),
            emulated: false,
            generation: None,
        };
        let mut drive = Self {
            transport,
            clock,
            name,
            identity,
            timeouts: Timeouts::of(None, Height::Half),
            next: None,
            abilities: Abilities::default(),
            alerts: Alerts::default(),
            reserved: None,
            standing: Standing::default(),
            append_only: None,
            waits: Listener::default(),
        };
        drive.identify()?;
        drive.state()?;
        drive.ask_timeouts()?;
        Ok(drive)
    }

    /// INQUIRY answers whatever the state and leaves unit attentions where they are.
    fn identify(&mut self) -> Result<(), DriveError> {
        let command = Command::Inquiry { page: None, allocation: INQUIRY_ALLOCATION };
        let data = self.fetch(&command, usize::from(INQUIRY_ALLOCATION))?;
        let standard = Standard::decode(&data).ok_or_else(|| self.garbled(&command))?;
        if standard.qualifier != 0 || standard.device_type != DeviceType::Tape {
            let what = kind_of(&standard).to_owned();
            return Err(DriveError::WrongDevice { drive: self.name.clone(), what });
        }
        let serial = self.vital_page(vpd::SERIAL)?.map(|page| page.text()).unwrap_or_default();
        let generation = Generation::of_drive(&standard.product);
        self.timeouts = Timeouts::of(generation, height_of(&standard.product));
        self.identity = Identity {
            emulated: standard.vendor == EMULATED_VENDOR,
            vendor: standard.vendor,
            product: standard.product,
            revision: standard.revision,
            serial,
            generation,
        };
        debug!(drive = self.name, identity = ?self.identity, "opened");
        Ok(())
    }

    pub(super) fn vital_page(&mut self, page: u8) -> Result<Option<vpd::Page>, DriveError> {
        let command = Command::Inquiry { page: Some(page), allocation: VPD_ALLOCATION };
        let data = self.fetch_optional(&command, usize::from(VPD_ALLOCATION))?;
        Ok(data.as_deref().and_then(vpd::Page::decode).filter(|found| found.code == page))
    }

    /// All that the drive calls itself, to be found among the elements of its library.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn names(&mut self) -> Result<DeviceNames, DriveError> {
        let designators = self.vital_page(vpd::IDENTIFICATION)?;
        let element = self.vital_page(vpd::ELEMENT)?;
        Ok(DeviceNames {
            serial: self.identity.serial.clone(),
            designators: designators.map(|page| page.designators()).unwrap_or_default(),
            element: element.as_ref().and_then(names::element),
        })
    }

    fn ask_timeouts(&mut self) -> Result<(), DriveError> {
        let command = Command::ReportSupportedOperationCodes {
            timeouts: true,
            query: OpcodeQuery::All,
            allocation: SUPPORT_ALLOCATION,
        };
        let Some(data) = self.fetch_optional(&command, SUPPORT_ALLOCATION as usize)? else {
            return Ok(());
        };
        if let Some(commands) = support::decode_all(&data) {
            let has = commands.iter().any(|command| command.opcode == opcode::ALLOW_OVERWRITE);
            self.abilities.allow_overwrite = has;
            self.timeouts = self.timeouts.clone().recommended(&commands);
        }
        Ok(())
    }

    /// What is in the drive. Unit attentions that wait are taken; each makes the position unknown.
    ///
    /// # Errors
    ///
    /// When the drive has a fault or somebody else has it.
    pub fn state(&mut self) -> Result<MediumState, DriveError> {
        let mut attentions = 0;
        loop {
            match self.issue(&Command::TestUnitReady, Transfer::None) {
                Ok(_) => return Ok(MediumState::Ready),
                Err(DriveError::PositionLost(fault)) if attentions < ATTENTIONS_LIMIT => {
                    debug!(drive = self.name, %fault, "unit attention");
                    attentions += 1;
                }
                Err(DriveError::NoMedium(_)) => {
                    self.next = None;
                    return Ok(MediumState::Empty);
                }
                // It puts the cartridge out when it is clean.
                Err(DriveError::Unusable(fault)) if is_cleaning(&fault) => {
                    self.next = None;
                    return Ok(MediumState::Loading);
                }
                Err(DriveError::NotReady(fault)) => {
                    self.next = None;
                    return match fault.sense.and_then(|sense| not_ready(sense.code)) {
                        Some(state) => Ok(state),
                        None => Err(DriveError::NotReady(fault)),
                    };
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Loads the cartridge that is in the drive and waits for it. Who is in it, and where the tape
    /// stands, is not known afterwards.
    ///
    /// # Errors
    ///
    /// [`DriveError::NoMedium`] when there is none.
    pub fn load(&mut self) -> Result<(), DriveError> {
        self.load_unload(true)?;
        let limit = match self.identity.generation {
            Some(Generation::Lto9) | None => CALIBRATION_LIMIT,
            Some(_) => LOAD_LIMIT,
        };
        self.alerts = Alerts::default();
        self.wait_ready(limit)?;
        info!(drive = self.name, "loaded");
        Ok(())
    }

    /// Takes protection and key away, writes what is buffered, rewinds and unloads. The cartridge
    /// may be taken afterwards.
    ///
    /// # Errors
    ///
    /// When something could not be written, or somebody else holds the cartridge in the drive.
    pub fn unload(&mut self) -> Result<(), DriveError> {
        self.lower_safeguards();
        // A process that crashed may have left the removal prevented.
        self.allow_removal()?;
        self.load_unload(false)?;
        info!(drive = self.name, "unloaded");
        Ok(())
    }

    pub(super) fn load_unload(&mut self, load: bool) -> Result<(), DriveError> {
        self.next = None;
        self.append_only = None;
        let command = Command::LoadUnload {
            immediate: load,
            hold: false,
            end_of_tape: false,
            retension: false,
            load,
        };
        self.issue_past_attentions(&command)
    }

    /// Sends a command to which it is all the same what happened before. The unit attentions that
    /// it meets make the position unknown.
    pub(super) fn issue_past_attentions(&mut self, command: &Command) -> Result<(), DriveError> {
        let mut attentions = 0;
        loop {
            match self.issue(command, Transfer::None) {
                Ok(_) => return Ok(()),
                Err(DriveError::PositionLost(_)) if attentions < ATTENTIONS_LIMIT => {
                    attentions += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// After a lost reply: opens the device anew and asks where the tape stands. The cartridge may
    /// be another, so identify it again. `None` when none is ready.
    ///
    /// # Errors
    ///
    /// When the device does not come back.
    pub fn recover(&mut self) -> Result<Option<Position>, DriveError> {
        self.next = None;
        self.transport.reopen().map_err(|source| {
            let fault = self.fault("reopen", None, None);
            match source {
                TransportError::Refused(_) => DriveError::Refused { fault, source },
                TransportError::Unknown(_) => DriveError::Unknown { fault, source: Some(source) },
            }
        })?;
        match self.state()? {
            MediumState::Ready => self.position().map(Some),
            MediumState::Empty | MediumState::Unloaded | MediumState::Loading => Ok(None),
        }
    }
}

/// The state that a drive which is not ready is in; `None` when waiting does not help.
fn not_ready(code: Code) -> Option<MediumState> {
    match code {
        Code::INITIALIZING_COMMAND_REQUIRED => Some(MediumState::Unloaded),
        Code::MANUAL_INTERVENTION_REQUIRED => None,
        // Becoming ready, operations in progress, not self-configured yet.
        Code { asc: 0x00 | 0x04 | 0x3E, .. } => Some(MediumState::Loading),
        // Load failed, cartridge fault, cleaning failed.
        _ => None,
    }
}

/// Whether a cleaning cartridge is at work.
pub(super) fn is_cleaning(fault: &Fault) -> bool {
    fault.sense.is_some_and(|sense| sense.code == Code::CLEANING_CARTRIDGE_PRESENT)
}

fn kind_of(standard: &Standard) -> &'static str {
    match standard.device_type {
        _ if standard.qualifier != 0 => "an empty logical unit",
        DeviceType::Tape => "a tape drive",
        DeviceType::Changer => "a changer",
        DeviceType::Other(0x00) => "a disk",
        DeviceType::Other(0x05) => "an optical drive",
        DeviceType::Other(0x0D) => "an enclosure",
        DeviceType::Other(_) => "another kind of device",
    }
}

/// Half-height drives say so in their product name; what does not say is taken as the slower.
fn height_of(product: &str) -> Height {
    let upper = product.to_ascii_uppercase();
    if upper.contains("-TD") { Height::Full } else { Height::Half }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_helps_only_a_drive_that_is_busy_with_itself() {
        for (code, state) in [
            (Code::INITIALIZING_COMMAND_REQUIRED, Some(MediumState::Unloaded)),
            (Code::BECOMING_READY, Some(MediumState::Loading)),
            (Code::NOT_READY, Some(MediumState::Loading)),
            (Code::NOT_SELF_CONFIGURED, Some(MediumState::Loading)),
            (Code::OPERATION_IN_PROGRESS, Some(MediumState::Loading)),
            (Code::MANUAL_INTERVENTION_REQUIRED, None),
            (Code::LOAD_OR_EJECT_FAILED, None),
            (Code::CARTRIDGE_FAULT, None),
        ] {
            assert_eq!(not_ready(code), state, "{code:?}");
        }
    }

    #[test]
    fn full_height_drives_are_known_by_their_product() {
        assert_eq!(height_of("ULT3580-TD8"), Height::Full);
        assert_eq!(height_of("ULTRIUM-HH8"), Height::Half);
        assert_eq!(height_of("Ultrium 8-SCSI"), Height::Half);
    }
}
