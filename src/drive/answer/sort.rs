//! From status and sense to what happened. Pure, so that every rule of the tape can be tested.

use std::time::Duration;

use crate::{
    drive::data::{ReadOutcome, Written},
    scsi::{
        cdb::Command,
        sense::{Code, Key, Sense},
    },
    transport::Status,
};

/// Between two tries of a command that a busy drive did not take.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// What an answer means, whatever the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Answer {
    /// The command did its work; flags in the sense say what it met.
    Done(Option<Sense>),
    /// It was not executed, for a reason that matters to nobody here: send it again after this.
    Again(Duration),
    /// It failed.
    Trouble(Trouble),
}

/// How a command failed: the kind of [`super::DriveError`] without its circumstances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Trouble {
    EndOfMedium,
    Medium,
    Damaged,
    EndOfDataMissing,
    Deferred,
    PositionLost,
    NotReady,
    NoMedium,
    Unusable,
    WriteProtected,
    Busy,
    Unknown,
    Unsupported,
    Hardware,
}

/// Sorts an answer. `sense` is what came with CHECK CONDITION, if it could be read.
pub(in crate::drive) fn answer(command: &Command, status: Status, sense: Option<Sense>) -> Answer {
    match status {
        Status::Good => Answer::Done(None),
        Status::CheckCondition => match sense {
            Some(sense) => by_sense(command, sense),
            // Without sense nobody can say whether it acted.
            None => Answer::Trouble(Trouble::Unknown),
        },
        Status::Busy => Answer::Again(BUSY_PAUSE),
        Status::ReservationConflict => Answer::Trouble(Trouble::Busy),
        // TASK SET FULL: not taken either.
        Status::Other(0x28) => Answer::Again(BUSY_PAUSE),
        Status::Other(_) => Answer::Trouble(Trouble::Unknown),
    }
}

fn by_sense(command: &Command, sense: Sense) -> Answer {
    if sense.deferred {
        // SPC, Deferred errors: the command that brings it was not executed. One that speaks of
        // a recovered error or of nothing costs only that command.
        let costs_nothing =
            matches!(sense.key, Key::NoSense | Key::RecoveredError | Key::Completed);
        return if costs_nothing {
            Answer::Again(Duration::ZERO)
        } else {
            Answer::Trouble(Trouble::Deferred)
        };
    }
    Answer::Trouble(match sense.key {
        Key::NoSense | Key::RecoveredError | Key::Completed => return Answer::Done(Some(sense)),
        Key::BlankCheck if meets_end_of_data(command, sense) => return Answer::Done(Some(sense)),
        Key::UnitAttention if is_harmless(sense.code) => return Answer::Again(Duration::ZERO),
        Key::NotReady => not_ready(sense.code),
        Key::MediumError | Key::BlankCheck => medium(sense.code),
        Key::IllegalRequest => illegal(sense.code),
        Key::UnitAttention => attention(sense.code),
        Key::DataProtect => protected(sense.code),
        Key::VolumeOverflow => Trouble::EndOfMedium,
        Key::HardwareError | Key::AbortedCommand if is_guard(sense.code) => Trouble::Damaged,
        Key::AbortedCommand => Trouble::Unknown,
        Key::HardwareError
        | Key::VendorSpecific
        | Key::CopyAborted
        | Key::ReservedC
        | Key::Miscompare => Trouble::Hardware,
    })
}

/// Whether BLANK CHECK is the end of data that a moving command ran into.
pub(in crate::drive) fn meets_end_of_data(command: &Command, sense: Sense) -> bool {
    let moves = matches!(
        command,
        Command::Read6 { .. }
            | Command::Space6 { .. }
            | Command::Space16 { .. }
            | Command::Locate10 { .. }
            | Command::Locate16 { .. }
            | Command::Verify6 { .. }
    );
    // Some say 8/00/00, or 8/00/02 near the end.
    moves && sense.code.asc == 0
}

/// Unit attentions that concern neither the position nor the settings.
fn is_harmless(code: Code) -> bool {
    const TIMESTAMP_CHANGED: Code = Code { asc: 0x2A, ascq: 0x10 };
    code == Code::LOG_PARAMETERS_CHANGED
        || code == TIMESTAMP_CHANGED
        || code == Code::OPERATOR_REMOVAL_REQUEST
        || code == Code::FAILURE_PREDICTION
}

/// Whether a block's CRC was wrong when it came to the drive: then nothing of it was written.
fn is_guard(code: Code) -> bool {
    code == Code::BLOCK_GUARD_CHECK_FAILED || code == Code::PROTECTION_ERROR_ON_RECOVERY
}

fn not_ready(code: Code) -> Trouble {
    match code.asc {
        0x3A => Trouble::NoMedium,
        0x30 => Trouble::Unusable,
        _ => Trouble::NotReady,
    }
}

fn medium(code: Code) -> Trouble {
    match code {
        Code::END_OF_DATA_NOT_FOUND => Trouble::EndOfDataMissing,
        Code::WORM_INTEGRITY_CHECK => Trouble::WriteProtected,
        Code { asc: 0x30, .. } => Trouble::Unusable,
        Code { asc: 0x0B, .. } => Trouble::Hardware,
        _ => Trouble::Medium,
    }
}

fn illegal(code: Code) -> Trouble {
    match code {
        Code::CANNOT_WRITE_INCOMPATIBLE_FORMAT | Code::ILLEGAL_WHILE_APPEND_ONLY => {
            Trouble::WriteProtected
        }
        Code::MEDIUM_REMOVAL_PREVENTED | Code::REMOVAL_PREVENTED_STATE | Code::NOT_RESERVED => {
            Trouble::Busy
        }
        Code { asc: 0x30, .. } => Trouble::Unusable,
        Code { asc: 0x3B, .. } => Trouble::Medium,
        _ => Trouble::Unsupported,
    }
}

fn attention(code: Code) -> Trouble {
    match code {
        Code::RESERVATIONS_PREEMPTED
        | Code::RESERVATIONS_RELEASED
        | Code::REGISTRATIONS_PREEMPTED => Trouble::Busy,
        Code { asc: 0x30, .. } => Trouble::Unusable,
        // Reset, cartridge change, settings changed, commands cleared, and what is not known.
        _ => Trouble::PositionLost,
    }
}

fn protected(code: Code) -> Trouble {
    match code.asc {
        // The key is not the one that was set: KEY INSTANCE COUNTER HAS CHANGED and its like.
        0x2A => Trouble::PositionLost,
        // Security, wrong key, key service (74h, 26h, EFh).
        0x74 | 0x26 | 0xEF => Trouble::Unusable,
        _ => Trouble::WriteProtected,
    }
}

/// What a write that was done met.
pub(in crate::drive) fn written(sense: Option<Sense>) -> Written {
    match sense {
        Some(sense) if sense.end_of_medium => {
            if sense.code == Code::PROGRAMMABLE_EARLY_WARNING_DETECTED {
                Written::ProgrammableEarlyWarning
            } else {
                Written::EarlyWarning
            }
        }
        Some(_) | None => Written::Clear,
    }
}

/// What a read of a variable block was, that asked for `asked` bytes and moved `moved`.
///
/// Lengths come from the sense; the residual counts only where the sense is silent.
pub(in crate::drive) fn read_outcome(
    sense: Option<Sense>,
    asked: usize,
    moved: usize,
) -> ReadOutcome {
    let Some(sense) = sense else { return ReadOutcome::Block(moved) };
    if sense.key == Key::BlankCheck {
        return ReadOutcome::EndOfData;
    }
    if sense.filemark {
        return ReadOutcome::Filemark;
    }
    if !sense.incorrect_length {
        return ReadOutcome::Block(moved);
    }
    let Some(information) = sense.information else { return ReadOutcome::Block(moved) };
    let actual = i64::try_from(asked).ok().and_then(|asked| asked.checked_sub(information));
    match actual.and_then(|actual| usize::try_from(actual).ok()) {
        Some(actual) if actual <= asked => ReadOutcome::Block(actual),
        Some(actual) => ReadOutcome::LongBlock { bytes: actual },
        None => ReadOutcome::Block(moved),
    }
}
