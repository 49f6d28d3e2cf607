//! The errors of a changer, one variant for each next step, and the rules that find them.

use std::fmt;

use crate::{
    scsi::{
        cdb::Command,
        sense::{Code, Key, Sense},
    },
    transport::{Status, TransportError},
};

/// What went wrong, in the changer's own words.
#[derive(Clone, Debug)]
pub struct ChangerFault {
    /// The changer, as the operator knows it.
    pub changer: String,
    /// The command that met it.
    pub operation: &'static str,
    /// From and to, of a move: element addresses.
    pub between: Option<(u16, u16)>,
    /// What the changer said.
    pub sense: Option<Sense>,
}

/// Why a changer did not do as asked, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum ChangerError {
    /// Something is not where it was thought to be, or somebody reached in: take the inventory
    /// again, then think again. Nothing was moved.
    #[error("the library is not as it was: {0}")]
    Stale(Box<ChangerFault>),
    /// The drive holds the cartridge: unload it there and allow its removal.
    #[error("the drive holds the cartridge: {0}")]
    Held(Box<ChangerFault>),
    /// Not ready for longer than is usual: wait, or look at the library.
    #[error("the library is not ready: {0}")]
    NotReady(Box<ChangerFault>),
    /// The operator must act: a door, a magazine.
    #[error("the library needs a hand: {0}")]
    Operator(Box<ChangerFault>),
    /// Somebody else has reserved it.
    #[error("the library is in use by another: {0}")]
    Busy(Box<ChangerFault>),
    /// The kernel refused the command before it was sent; nothing happened.
    #[error("refused: {fault}")]
    Refused {
        /// The circumstances.
        fault: Box<ChangerFault>,
        /// Why.
        source: TransportError,
    },
    /// The reply was lost: take the inventory to see whether the cartridge moved.
    #[error("whether the command acted is not known: {fault}")]
    Unknown {
        /// The circumstances.
        fault: Box<ChangerFault>,
        /// Why, unless the changer itself aborted the command.
        source: Option<TransportError>,
    },
    /// The changer does not know this command or these parameters.
    #[error("not supported: {0}")]
    Unsupported(Box<ChangerFault>),
    /// The library itself is at fault.
    #[error("hardware error: {0}")]
    Hardware(Box<ChangerFault>),
    /// The device is no changer.
    #[error("{changer} is not a changer")]
    WrongDevice {
        /// The device.
        changer: String,
    },
}

/// What an answer means, whatever the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    /// Not taken, for a reason that does not matter to this command: send it again at once.
    Again,
    /// Not taken because the library is busy with itself: send it again in a while.
    Later,
    Trouble(Trouble),
}

/// How a command failed: the kind of [`ChangerError`] without its circumstances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Stale,
    Held,
    NotReady,
    Operator,
    Busy,
    Unknown,
    Unsupported,
    Hardware,
}

/// Sorts an answer. `sense` is what came with CHECK CONDITION, if it could be read.
pub(super) fn answer(command: &Command, status: Status, sense: Option<Sense>) -> Answer {
    match (status, sense) {
        (Status::Good, _) => Answer::Done,
        (Status::CheckCondition, Some(sense)) => by_sense(command, sense),
        (Status::Busy | Status::Other(0x28), _) => Answer::Later,
        (Status::ReservationConflict, _) => Answer::Trouble(Trouble::Busy),
        (Status::CheckCondition, None) | (Status::Other(_), _) => Answer::Trouble(Trouble::Unknown),
    }
}

fn by_sense(command: &Command, sense: Sense) -> Answer {
    let moves = matches!(
        command,
        Command::MoveMedium { .. }
            | Command::ExchangeMedium { .. }
            | Command::PositionToElement { .. }
    );
    Answer::Trouble(match sense.key {
        Key::NoSense | Key::RecoveredError | Key::Completed => return Answer::Done,
        // The command was not executed; what it would move may no longer be there.
        Key::UnitAttention if moves => Trouble::Stale,
        Key::UnitAttention => return Answer::Again,
        Key::NotReady => match sense.code {
            Code::BECOMING_READY
            | Code::NOT_READY
            | Code::NOT_READY_OPERATION_IN_PROGRESS
            | Code::SELF_TEST_IN_PROGRESS => return Answer::Later,
            Code::MANUAL_INTERVENTION_REQUIRED
            | Code::MAGAZINE_REMOVED
            | Code::MAGAZINE_NOT_ACCESSIBLE => Trouble::Operator,
            _ => Trouble::NotReady,
        },
        Key::IllegalRequest | Key::HardwareError | Key::MediumError | Key::DataProtect => {
            by_code(sense)
        }
        Key::AbortedCommand => Trouble::Unknown,
        Key::BlankCheck
        | Key::VendorSpecific
        | Key::CopyAborted
        | Key::ReservedC
        | Key::VolumeOverflow
        | Key::Miscompare => Trouble::Hardware,
    })
}

/// Vendors disagree on the key of these, so that the code decides.
fn by_code(sense: Sense) -> Trouble {
    match sense.code {
        Code::DESTINATION_FULL | Code::SOURCE_EMPTY | Code::INVALID_ELEMENT_ADDRESS => {
            Trouble::Stale
        }
        Code::MEDIUM_REMOVAL_PREVENTED
        | Code::REMOVAL_PREVENTED_STATE
        | Code::UNLOAD_TAPE_FAILURE => Trouble::Held,
        Code::MAGAZINE_NOT_ACCESSIBLE | Code::MAGAZINE_REMOVED => Trouble::Operator,
        _ if sense.key == Key::IllegalRequest => Trouble::Unsupported,
        _ => Trouble::Hardware,
    }
}

impl fmt::Display for ChangerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.operation, self.changer)?;
        if let Some((from, to)) = self.between {
            write!(f, " from element {from} to {to}")?;
        }
        match &self.sense {
            Some(sense) => write!(f, ", sense {sense}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::cdb::U24;

    const MOVE: Command =
        Command::MoveMedium { transport: 0, source: 1, destination: 2, invert: false };

    fn status() -> Command {
        Command::ReadElementStatus {
            volume_tags: true,
            kind: None,
            start: 0,
            count: 1,
            current_data: false,
            device_id: false,
            allocation: U24::MAX,
        }
    }

    #[test]
    fn sense_is_sorted_by_the_next_step() {
        for (key, code, trouble) in [
            (Key::IllegalRequest, Code::DESTINATION_FULL, Trouble::Stale),
            (Key::IllegalRequest, Code::SOURCE_EMPTY, Trouble::Stale),
            (Key::HardwareError, Code::DESTINATION_FULL, Trouble::Stale),
            (Key::IllegalRequest, Code::INVALID_ELEMENT_ADDRESS, Trouble::Stale),
            (Key::IllegalRequest, Code::MEDIUM_REMOVAL_PREVENTED, Trouble::Held),
            (Key::IllegalRequest, Code::UNLOAD_TAPE_FAILURE, Trouble::Held),
            (Key::IllegalRequest, Code::INVALID_OPERATION_CODE, Trouble::Unsupported),
            (Key::HardwareError, Code::MECHANICAL_POSITIONING_ERROR, Trouble::Hardware),
            (Key::NotReady, Code::MANUAL_INTERVENTION_REQUIRED, Trouble::Operator),
            (Key::UnitAttention, Code::IMPORT_OR_EXPORT_ACCESSED, Trouble::Stale),
            (Key::AbortedCommand, Code::NONE, Trouble::Unknown),
        ] {
            let sense = Sense::new(key, code);
            let found = answer(&MOVE, Status::CheckCondition, Some(sense));
            assert_eq!(found, Answer::Trouble(trouble), "{sense}");
        }
    }

    #[test]
    fn a_library_that_is_busy_with_itself_is_asked_again() {
        let becoming = Sense::new(Key::NotReady, Code::BECOMING_READY);
        assert_eq!(answer(&MOVE, Status::CheckCondition, Some(becoming)), Answer::Later);
        assert_eq!(answer(&MOVE, Status::Busy, None), Answer::Later);
        let accessed = Sense::new(Key::UnitAttention, Code::IMPORT_OR_EXPORT_ACCESSED);
        assert_eq!(answer(&status(), Status::CheckCondition, Some(accessed)), Answer::Again);
    }
}
