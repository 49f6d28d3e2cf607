//! The handle of a drive, and the one place that sends it commands.

use std::{fmt, sync::Arc, time::Duration};

use tracing::{debug, trace, warn};

use crate::{
    clock::Clock,
    drive::{
        answer::{Answer, DriveError, Fault, Trouble, answer},
        safeguard::{Encryption, Standing},
        timeout::Timeouts,
        wait::Listener,
    },
    position::ObjectNumber,
    scsi::{
        cdb::Command,
        density::Generation,
        log::alert::Alerts,
        protection::Method,
        sense::{Key, Sense},
    },
    transport::{Completion, LastAct, Status, Transfer, Transport, TransportError},
};

/// Times a command is sent that the drive, for no reason of ours, did not take.
const TRIES: u32 = 16;

/// A tape drive that this process holds.
///
/// It does no device I/O when it is dropped: use [`Drive::finish`].
pub struct Drive {
    pub(super) transport: Box<dyn Transport>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) name: String,
    pub(super) identity: Identity,
    pub(super) timeouts: Timeouts,
    /// Where the host side of the buffer is; `None` when something may have moved the tape.
    pub(super) next: Option<ObjectNumber>,
    pub(super) abilities: Abilities,
    /// Every flag seen since the cartridge was loaded.
    pub(super) alerts: Alerts,
    /// The key under which the drive is reserved.
    pub(super) reserved: Option<u64>,
    /// Block protection and encryption.
    pub(super) standing: Standing,
    /// Whether it refuses to overwrite; `None` when that has to be asked.
    pub(super) append_only: Option<bool>,
    /// Who is told of waits.
    pub(super) waits: Listener,
}

/// What the drive was found to be able to do; `None` is not tried yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Abilities {
    pub(super) extended_position: Option<bool>,
    pub(super) locate_16: Option<bool>,
    /// Whether it says that it has ALLOW OVERWRITE.
    pub(super) allow_overwrite: bool,
    /// Codes of the log pages that it has.
    pub(super) log_pages: Option<Vec<u8>>,
    /// How it protects blocks, the best first.
    pub(super) protection: Option<Vec<Method>>,
    pub(super) encryption: Option<Encryption>,
}

/// Who a drive says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Maker.
    pub vendor: String,
    /// Model.
    pub product: String,
    /// Firmware.
    pub revision: String,
    /// Serial number (VPD page 80h); empty when the drive tells none.
    pub serial: String,
    /// Whether it is a drive in software.
    pub emulated: bool,
    /// The generation of LTO it is made for, as far as its model says.
    pub generation: Option<Generation>,
}

/// What is in a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediumState {
    /// No cartridge.
    Empty,
    /// A cartridge that is not threaded: load it.
    Unloaded,
    /// A cartridge that is being loaded, or a drive that is busy with itself or being cleaned: wait.
    Loading,
    /// A cartridge that can be used.
    Ready,
}

/// An answer that is no failure.
pub(super) struct Reply {
    /// Sense of a command that did its work and met something.
    pub(super) sense: Option<Sense>,
    /// Bytes that moved.
    pub(super) moved: usize,
}

impl Drive {
    /// The drive as the operator knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The most bytes that one block may have on the way to this drive.
    pub fn max_transfer(&self) -> u32 {
        self.transport.max_transfer()
    }

    /// Sends one command and sorts the answer. A command that was not taken is sent again.
    pub(super) fn issue(
        &mut self,
        command: &Command,
        mut transfer: Transfer<'_>,
    ) -> Result<Reply, DriveError> {
        let cdb = command.encode();
        let timeout = self.timeouts.of_command(cdb[0]);
        for _ in 0..TRIES {
            let started = self.clock.elapsed();
            let result = self.transport.execute(&cdb, again(&mut transfer), timeout);
            let elapsed = self.clock.elapsed().saturating_sub(started);
            trace!(drive = self.name, command = command.name(), %cdb, ?elapsed, ok = result.is_ok());
            let completion = result.map_err(|error| self.unanswered(command, error))?;
            let sense = match completion.status {
                Status::Good => None,
                Status::CheckCondition => Sense::decode(&completion.sense),
                Status::Busy | Status::ReservationConflict | Status::Other(_) => None,
            };
            if completion.status != Status::Good {
                self.log(command, &completion, sense);
            }
            match answer(command, completion.status, sense) {
                Answer::Done(sense) => return Ok(Reply { sense, moved: completion.transferred }),
                Answer::Again(pause) => self.pause(pause),
                Answer::Trouble(trouble) => return Err(self.trouble(trouble, command, sense)),
            }
        }
        Err(self.trouble(Trouble::Busy, command, None))
    }

    /// Sends a command that the drive may not know. `None` when it does not.
    pub(super) fn issue_optional(
        &mut self,
        command: &Command,
        transfer: Transfer<'_>,
    ) -> Result<Option<Reply>, DriveError> {
        match self.issue(command, transfer) {
            Ok(reply) => Ok(Some(reply)),
            Err(DriveError::Unsupported(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a command that delivers data, and hands over what arrived.
    pub(super) fn fetch(
        &mut self,
        command: &Command,
        length: usize,
    ) -> Result<Vec<u8>, DriveError> {
        let mut data = vec![0; length];
        let reply = self.issue(command, Transfer::FromDevice(&mut data))?;
        data.truncate(reply.moved);
        Ok(data)
    }

    /// The same for a command that the drive may not know.
    pub(super) fn fetch_optional(
        &mut self,
        command: &Command,
        length: usize,
    ) -> Result<Option<Vec<u8>>, DriveError> {
        let mut data = vec![0; length];
        let reply = self.issue_optional(command, Transfer::FromDevice(&mut data))?;
        Ok(reply.map(|reply| {
            data.truncate(reply.moved);
            data
        }))
    }

    fn pause(&self, pause: Duration) {
        if !pause.is_zero() {
            self.clock.sleep(pause);
        }
    }

    /// One line for a vendor: the raw command and the raw sense of whatever is no tape structure.
    fn log(&self, command: &Command, completion: &Completion, sense: Option<Sense>) {
        let cdb = command.encode();
        let raw = Hex(&completion.sense);
        let status = completion.status;
        let object = self.next.map(|object| object.0);
        let drive = self.name.as_str();
        if sense.is_some_and(is_structure) || is_question(command) {
            debug!(drive, command = command.name(), %cdb, ?status, sense = %raw, object);
        } else {
            warn!(drive, command = command.name(), %cdb, ?status, sense = %raw, object,
                "{}", sense.map_or_else(|| "no sense".to_owned(), |sense| sense.to_string()));
        }
    }

    /// The error of a command that got no answer.
    fn unanswered(&mut self, command: &Command, source: TransportError) -> DriveError {
        let fault = self.fault(command.name(), None, None);
        warn!(drive = self.name, command = command.name(), cdb = %command.encode(),
            object = self.next.map(|object| object.0), error = ?source, "no answer");
        match source {
            TransportError::Refused(_) => DriveError::Refused { fault, source },
            TransportError::Unknown(_) => {
                self.next = None;
                self.standing.doubt();
                self.append_only = None;
                DriveError::Unknown { fault, source: Some(source) }
            }
        }
    }

    /// The error for this kind of trouble. The position is then not known, unless the command
    /// could not have touched it.
    pub(super) fn trouble(
        &mut self,
        trouble: Trouble,
        command: &Command,
        sense: Option<Sense>,
    ) -> DriveError {
        let fault = self.fault(command.name(), sense, None);
        let unmoved = matches!(trouble, Trouble::Unsupported) || is_question(command);
        let disturbed = matches!(trouble, Trouble::PositionLost | Trouble::Unknown);
        if !unmoved || disturbed {
            self.next = None;
        }
        if disturbed {
            self.standing.doubt();
            self.append_only = None;
        }
        match trouble {
            Trouble::EndOfMedium => DriveError::EndOfMedium(fault),
            Trouble::Medium => DriveError::Medium(fault),
            Trouble::Damaged => DriveError::Damaged(fault),
            Trouble::EndOfDataMissing => DriveError::EndOfDataMissing(fault),
            Trouble::Deferred => DriveError::Deferred(fault),
            Trouble::PositionLost => DriveError::PositionLost(fault),
            Trouble::NotReady => DriveError::NotReady(fault),
            Trouble::NoMedium => DriveError::NoMedium(fault),
            Trouble::Unusable => DriveError::Unusable(fault),
            Trouble::WriteProtected => DriveError::WriteProtected(fault),
            Trouble::Busy => DriveError::Busy(fault),
            Trouble::Unknown => DriveError::Unknown { fault, source: None },
            Trouble::Unsupported => DriveError::Unsupported(fault),
            Trouble::Hardware => DriveError::Hardware(fault),
        }
    }

    pub(super) fn fault(
        &self,
        operation: &'static str,
        sense: Option<Sense>,
        detail: Option<&'static str>,
    ) -> Box<Fault> {
        let object = self.next;
        Box::new(Fault { drive: self.name.clone(), operation, object, sense, detail })
    }

    /// The error for a reply that makes no sense.
    pub(super) fn garbled(&self, command: &Command) -> DriveError {
        let detail = Some("the reply is cut short or contradicts itself");
        DriveError::Hardware(self.fault(command.name(), None, detail))
    }

    /// Gives the drive up: takes protection and key away, lets the cartridge go, ends the
    /// reservation, and leaves the last act to
    /// the kernel driver, so that other programs see no stale state. Without a cartridge there is
    /// no such act.
    ///
    /// # Errors
    ///
    /// When one of these steps fails; those after it are not done.
    pub fn finish(mut self, act: LastAct) -> Result<(), DriveError> {
        self.lower_safeguards();
        self.allow_removal()?;
        self.release()?;
        if self.state()? != MediumState::Ready {
            return Ok(());
        }
        self.transport.last_act(act).map_err(|source| {
            let fault = self.fault("last act", None, None);
            match source {
                TransportError::Refused(_) => DriveError::Refused { fault, source },
                TransportError::Unknown(_) => DriveError::Unknown { fault, source: Some(source) },
            }
        })?;
        self.make_sure_of(act)
    }

    /// A kernel driver that saw no cartridge when the node was opened does nothing about the one
    /// that came since.
    fn make_sure_of(&mut self, act: LastAct) -> Result<(), DriveError> {
        if self.state()? != MediumState::Ready {
            return Ok(());
        }
        match act {
            LastAct::Unload => self.unload(),
            LastAct::Rewind if self.position()?.at_beginning => Ok(()),
            LastAct::Rewind => self.rewind().map(|_| ()),
        }
    }
}

impl fmt::Debug for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive")
            .field("name", &self.name)
            .field("identity", &self.identity)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// Bytes as a log shows them.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The same transfer once more.
fn again<'a>(transfer: &'a mut Transfer<'_>) -> Transfer<'a> {
    match transfer {
        Transfer::None => Transfer::None,
        Transfer::FromDevice(data) => Transfer::FromDevice(data),
        Transfer::ToDevice(data) => Transfer::ToDevice(data),
    }
}

/// Filemark, end of data, early warning, a block of another length: what a tape is made of.
fn is_structure(sense: Sense) -> bool {
    let flagged = sense.filemark || sense.end_of_medium || sense.incorrect_length;
    !sense.deferred
        && (sense.key == Key::NoSense && flagged
            || sense.key == Key::BlankCheck && sense.code.asc == 0)
}

/// Commands that only ask, so that their failure says nothing about the tape.
fn is_question(command: &Command) -> bool {
    matches!(
        command,
        Command::TestUnitReady
            | Command::Inquiry { .. }
            | Command::LogSense { .. }
            | Command::ModeSense6 { .. }
            | Command::ModeSense10 { .. }
            | Command::ReadAttribute { .. }
            | Command::ReadBlockLimits
            | Command::ReadPosition { .. }
            | Command::ReportDensitySupport { .. }
            | Command::ReportSupportedOperationCodes { .. }
            | Command::PersistentReserveIn { .. }
            | Command::SecurityProtocolIn { .. }
    )
}
