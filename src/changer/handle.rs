//! The handle of a changer, and the one place that sends it commands.

use std::{fmt, sync::Arc, time::Duration};

use tracing::{debug, info, trace, warn};

use crate::{
    changer::error::{Answer, ChangerError, ChangerFault, Trouble, answer},
    clock::Clock,
    scsi::{
        cdb::Command,
        inquiry::{DeviceType, Standard, vpd},
        sense::Sense,
    },
    transport::{Completion, Status, Transfer, Transport, TransportError},
};

/// Unit attentions that may wait before a command is taken.
const ATTENTIONS_LIMIT: u32 = 16;
/// How long a library may be busy with itself, as after its door was closed.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two tries.
const POLL: Duration = Duration::from_secs(2);
/// A move across a large library.
const MOVE_TIMEOUT: Duration = Duration::from_secs(300);
/// A full inventory of one.
const INITIALIZE_TIMEOUT: Duration = Duration::from_secs(3600);
const INQUIRY_ALLOCATION: u16 = 96;
const VPD_ALLOCATION: u16 = 255;
/// The vendor by which the emulated library says that it is one.
const EMULATED_VENDOR: &str = "TAPEVLT";

/// The robot of a library, as this process holds it.
pub struct Changer {
    transport: Box<dyn Transport>,
    clock: Arc<dyn Clock>,
    name: String,
    identity: Identity,
}

/// Who a changer says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Maker.
    pub vendor: String,
    /// Model.
    pub product: String,
    /// Firmware.
    pub revision: String,
    /// Serial number (VPD page 80h); empty when it tells none.
    pub serial: String,
    /// Whether it is a library in software.
    pub emulated: bool,
}

impl Changer {
    /// Takes hold of the changer behind `transport` and asks who it is.
    ///
    /// # Errors
    ///
    /// [`ChangerError::WrongDevice`] when it is none.
    pub fn open(
        transport: Box<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ChangerError> {
        let name = transport.name().to_owned();
        let identity = Identity {
            vendor: String::new(),
            product: String::new(),
            revision: String::new(),
            serial: String::new(),
            emulated: false,
        };
        let mut changer = Self { transport, clock, name, identity };
        changer.identify()?;
        changer.issue(&Command::TestUnitReady, Transfer::None)?;
        debug!(changer = changer.name, identity = ?changer.identity, "opened");
        Ok(changer)
    }

    fn identify(&mut self) -> Result<(), ChangerError> {
        let command = Command::Inquiry { page: None, allocation: INQUIRY_ALLOCATION };
        let data = self.fetch(&command, usize::from(INQUIRY_ALLOCATION))?;
        let standard = Standard::decode(&data).ok_or_else(|| self.garbled(&command))?;
        if standard.qualifier != 0 || standard.device_type != DeviceType::Changer {
            return Err(ChangerError::WrongDevice { changer: self.name.clone() });
        }
        let command = Command::Inquiry { page: Some(vpd::SERIAL), allocation: VPD_ALLOCATION };
        let serial = match self.fetch(&command, usize::from(VPD_ALLOCATION)) {
            Ok(data) => vpd::Page::decode(&data).map(|page| page.text()).unwrap_or_default(),
            Err(ChangerError::Unsupported(_)) => String::new(),
            Err(error) => return Err(error),
        };
        self.identity = Identity {
            emulated: standard.vendor == EMULATED_VENDOR,
            vendor: standard.vendor,
            product: standard.product,
            revision: standard.revision,
            serial,
        };
        Ok(())
    }

    /// The changer as the operator knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Moves the cartridge in element `from` to element `to` with the library's own picker.
    ///
    /// # Errors
    ///
    /// [`ChangerError::Stale`] when `from` is empty, `to` is full or somebody reached in;
    /// [`ChangerError::Held`] when a drive does not give the cartridge up.
    pub fn move_medium(&mut self, from: u16, to: u16) -> Result<(), ChangerError> {
        let command =
            Command::MoveMedium { transport: 0, source: from, destination: to, invert: false };
        self.issue(&command, Transfer::None)?;
        info!(changer = self.name, from, to, "moved");
        Ok(())
    }

    /// Has the library look at every element. This takes minutes.
    ///
    /// # Errors
    ///
    /// As for any command.
    pub fn initialize(&mut self) -> Result<(), ChangerError> {
        self.issue(&Command::InitializeElementStatus, Transfer::None)?;
        Ok(())
    }

    /// Keeps the mail slots locked until [`Changer::unlock_mail_slots`].
    ///
    /// # Errors
    ///
    /// As for any command.
    pub fn lock_mail_slots(&mut self) -> Result<(), ChangerError> {
        self.issue(&Command::PreventAllow { prevent: true }, Transfer::None).map(|_| ())
    }

    /// Lets the operator at the mail slots.
    ///
    /// # Errors
    ///
    /// As for any command.
    pub fn unlock_mail_slots(&mut self) -> Result<(), ChangerError> {
        self.issue(&Command::PreventAllow { prevent: false }, Transfer::None).map(|_| ())
    }

    /// Sends a command that delivers data, and hands over what arrived.
    pub(super) fn fetch(
        &mut self,
        command: &Command,
        length: usize,
    ) -> Result<Vec<u8>, ChangerError> {
        let mut data = vec![0; length];
        let moved = self.issue(command, Transfer::FromDevice(&mut data))?;
        data.truncate(moved);
        Ok(data)
    }

    /// Sends one command until it is taken, and says how many bytes moved.
    fn issue(
        &mut self,
        command: &Command,
        mut transfer: Transfer<'_>,
    ) -> Result<usize, ChangerError> {
        let cdb = command.encode();
        let timeout = timeout(command);
        let start = self.clock.elapsed();
        let mut attentions = 0;
        loop {
            let result = self.transport.execute(&cdb, again(&mut transfer), timeout);
            trace!(drive = self.name, command = command.name(), %cdb, ok = result.is_ok());
            let completion = result.map_err(|error| self.unanswered(command, error))?;
            let sense = match completion.status {
                Status::CheckCondition => Sense::decode(&completion.sense),
                Status::Good | Status::Busy | Status::ReservationConflict | Status::Other(_) => {
                    None
                }
            };
            let waited = self.clock.elapsed().saturating_sub(start);
            let found = answer(command, completion.status, sense);
            if completion.status != Status::Good {
                self.log(command, &completion, found);
            }
            match found {
                Answer::Done => return Ok(completion.transferred),
                Answer::Again if attentions < ATTENTIONS_LIMIT => attentions += 1,
                Answer::Later if waited < PATIENCE => self.clock.sleep(POLL),
                Answer::Again | Answer::Later => {
                    return Err(self.trouble(Trouble::NotReady, command, sense));
                }
                Answer::Trouble(trouble) => return Err(self.trouble(trouble, command, sense)),
            }
        }
    }

    fn log(&self, command: &Command, completion: &Completion, found: Answer) {
        let cdb = command.encode();
        let status = completion.status;
        let drive = self.name.as_str();
        match found {
            Answer::Later | Answer::Again => {
                debug!(drive, command = command.name(), %cdb, ?status, sense = ?completion.sense);
            }
            Answer::Done | Answer::Trouble(_) => {
                warn!(drive, command = command.name(), %cdb, ?status, sense = ?completion.sense);
            }
        }
    }

    fn unanswered(&self, command: &Command, source: TransportError) -> ChangerError {
        warn!(drive = self.name, command = command.name(), error = ?source, "no answer");
        let fault = self.fault(command, None);
        match source {
            TransportError::Refused(_) => ChangerError::Refused { fault, source },
            TransportError::Unknown(_) => ChangerError::Unknown { fault, source: Some(source) },
        }
    }

    fn trouble(&self, trouble: Trouble, command: &Command, sense: Option<Sense>) -> ChangerError {
        let fault = self.fault(command, sense);
        match trouble {
            Trouble::Stale => ChangerError::Stale(fault),
            Trouble::Held => ChangerError::Held(fault),
            Trouble::NotReady => ChangerError::NotReady(fault),
            Trouble::Operator => ChangerError::Operator(fault),
            Trouble::Busy => ChangerError::Busy(fault),
            Trouble::Unknown => ChangerError::Unknown { fault, source: None },
            Trouble::Unsupported => ChangerError::Unsupported(fault),
            Trouble::Hardware => ChangerError::Hardware(fault),
        }
    }

    /// The error for a reply that makes no sense.
    pub(super) fn garbled(&self, command: &Command) -> ChangerError {
        ChangerError::Hardware(self.fault(command, None))
    }

    fn fault(&self, command: &Command, sense: Option<Sense>) -> Box<ChangerFault> {
        let between = if let Command::MoveMedium { source, destination, .. } = command {
            Some((*source, *destination))
        } else {
            None
        };
        let operation = command.name();
        Box::new(ChangerFault { changer: self.name.clone(), operation, between, sense })
    }
}

impl fmt::Debug for Changer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changer")
            .field("name", &self.name)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

fn timeout(command: &Command) -> Duration {
    let is_initialize = matches!(
        command,
        Command::InitializeElementStatus | Command::InitializeElementStatusWithRange { .. }
    );
    if is_initialize { INITIALIZE_TIMEOUT } else { MOVE_TIMEOUT }
}

/// The same transfer once more.
fn again<'a>(transfer: &'a mut Transfer<'_>) -> Transfer<'a> {
    match transfer {
        Transfer::None => Transfer::None,
        Transfer::FromDevice(data) => Transfer::FromDevice(data),
        Transfer::ToDevice(data) => Transfer::ToDevice(data),
    }
}
