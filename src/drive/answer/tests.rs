//! The rules of the tape, as tables.

use std::time::Duration;

use proptest::prelude::*;

use crate::{
    drive::{
        answer::sort::{Answer, Trouble, answer, read_outcome, written},
        data::{ReadOutcome, Written},
    },
    scsi::{
        cdb::{Command, SpaceCode, U24},
        sense::{Code, Key, Sense},
    },
    transport::Status,
};

fn write() -> Command {
    Command::Write6 { fixed: false, length: U24::MAX }
}

fn read() -> Command {
    Command::Read6 { fixed: false, suppress_length: false, length: U24::MAX }
}

#[track_caller]
fn check(command: Command, sense: Sense, expected: Answer) {
    assert_eq!(answer(&command, Status::CheckCondition, Some(sense)), expected, "{sense}");
}

#[test]
fn sense_is_sorted_by_the_next_step() {
    for (key, code, trouble) in [
        (Key::NotReady, Code::NO_MEDIUM, Trouble::NoMedium),
        (Key::NotReady, Code::NO_MEDIUM_MEMORY_ACCESSIBLE, Trouble::NoMedium),
        (Key::NotReady, Code::BECOMING_READY, Trouble::NotReady),
        (Key::NotReady, Code::INITIALIZING_COMMAND_REQUIRED, Trouble::NotReady),
        (Key::NotReady, Code::CLEANING_CARTRIDGE_PRESENT, Trouble::Unusable),
        (Key::MediumError, Code::WRITE_ERROR, Trouble::Medium),
        (Key::MediumError, Code::UNRECOVERED_READ_ERROR, Trouble::Medium),
        (Key::MediumError, Code::END_OF_DATA_NOT_FOUND, Trouble::EndOfDataMissing),
        (Key::MediumError, Code::INCOMPATIBLE_FORMAT, Trouble::Unusable),
        (Key::HardwareError, Code::INTERNAL_TARGET_FAILURE, Trouble::Hardware),
        (Key::IllegalRequest, Code::INVALID_OPERATION_CODE, Trouble::Unsupported),
        (Key::IllegalRequest, Code::INVALID_FIELD_IN_CDB, Trouble::Unsupported),
        (Key::IllegalRequest, Code::MEDIUM_REMOVAL_PREVENTED, Trouble::Busy),
        (Key::IllegalRequest, Code::CANNOT_WRITE_INCOMPATIBLE_FORMAT, Trouble::WriteProtected),
        (Key::UnitAttention, Code::MEDIUM_MAY_HAVE_CHANGED, Trouble::PositionLost),
        (Key::UnitAttention, Code::POWER_ON_OR_RESET, Trouble::PositionLost),
        (Key::UnitAttention, Code::MODE_PARAMETERS_CHANGED, Trouble::PositionLost),
        (Key::UnitAttention, Code::RESERVATIONS_PREEMPTED, Trouble::Busy),
        (Key::DataProtect, Code::WRITE_PROTECTED, Trouble::WriteProtected),
        (Key::DataProtect, Code::WORM_OVERWRITE_ATTEMPTED, Trouble::WriteProtected),
        (Key::DataProtect, Code::UNABLE_TO_DECRYPT, Trouble::Unusable),
        (Key::VolumeOverflow, Code::END_OF_PARTITION_DETECTED, Trouble::EndOfMedium),
        (Key::AbortedCommand, Code::NONE, Trouble::Unknown),
        (Key::BlankCheck, Code::END_OF_DATA_NOT_FOUND, Trouble::EndOfDataMissing),
    ] {
        check(write(), Sense::new(key, code), Answer::Trouble(trouble));
    }
}

#[test]
fn an_error_flagged_end_of_medium_is_still_an_error() {
    let sense = Sense { end_of_medium: true, ..Sense::new(Key::MediumError, Code::WRITE_ERROR) };
    check(write(), sense, Answer::Trouble(Trouble::Medium));
}

#[test]
fn a_deferred_error_belongs_to_an_earlier_block() {
    let sense = Sense { deferred: true, ..Sense::new(Key::MediumError, Code::WRITE_ERROR) };
    check(write(), sense, Answer::Trouble(Trouble::Deferred));
    let sense = Sense { key: Key::HardwareError, ..sense };
    check(write(), sense, Answer::Trouble(Trouble::Deferred));
    // A recovered one costs only the command that brought it, which was not executed.
    let sense = Sense { key: Key::RecoveredError, ..sense };
    check(write(), sense, Answer::Again(Duration::ZERO));
}

#[test]
fn end_of_data_is_only_blank_check() {
    let sense = Sense::new(Key::BlankCheck, Code::END_OF_DATA_DETECTED);
    check(read(), sense, Answer::Done(Some(sense)));
    check(
        Command::Space6 { code: SpaceCode::Filemarks, count: 1 },
        sense,
        Answer::Done(Some(sense)),
    );
    assert_eq!(read_outcome(Some(sense), 512, 0), ReadOutcome::EndOfData);
    let sense = Sense { key: Key::NoSense, ..sense };
    assert_ne!(read_outcome(Some(sense), 512, 512), ReadOutcome::EndOfData);
    check(write(), Sense { key: Key::BlankCheck, ..sense }, Answer::Trouble(Trouble::Medium));
}

#[test]
fn early_warning_means_that_the_block_landed() {
    let early =
        Sense { end_of_medium: true, ..Sense::new(Key::NoSense, Code::END_OF_PARTITION_DETECTED) };
    check(write(), early, Answer::Done(Some(early)));
    assert_eq!(written(Some(early)), Written::EarlyWarning);
    let programmable = Sense { code: Code::PROGRAMMABLE_EARLY_WARNING_DETECTED, ..early };
    assert_eq!(written(Some(programmable)), Written::ProgrammableEarlyWarning);
    assert_eq!(written(None), Written::Clear);
    let recovered = Sense::new(Key::RecoveredError, Code::WRITE_ERROR);
    check(write(), recovered, Answer::Done(Some(recovered)));
    assert_eq!(written(Some(recovered)), Written::Clear);
}

#[test]
fn lengths_come_from_sense_before_residual() {
    let wrong = |information| Sense {
        incorrect_length: true,
        information,
        ..Sense::new(Key::NoSense, Code::NONE)
    };
    assert_eq!(read_outcome(None, 512, 512), ReadOutcome::Block(512));
    assert_eq!(read_outcome(Some(wrong(Some(412))), 512, 512), ReadOutcome::Block(100));
    assert_eq!(
        read_outcome(Some(wrong(Some(-88))), 512, 512),
        ReadOutcome::LongBlock { bytes: 600 }
    );
    assert_eq!(read_outcome(Some(wrong(None)), 512, 100), ReadOutcome::Block(100));
    assert_eq!(read_outcome(Some(wrong(Some(i64::MIN))), 512, 7), ReadOutcome::Block(7));
    let filemark = Sense { filemark: true, ..wrong(Some(512)) };
    assert_eq!(read_outcome(Some(filemark), 512, 0), ReadOutcome::Filemark);
}

#[test]
fn what_a_busy_drive_did_not_take_is_sent_again() {
    assert!(matches!(answer(&write(), Status::Busy, None), Answer::Again(_)));
    assert!(matches!(answer(&write(), Status::Other(0x28), None), Answer::Again(_)));
    for (status, trouble) in [
        (Status::ReservationConflict, Trouble::Busy),
        (Status::Other(0x40), Trouble::Unknown),
        (Status::CheckCondition, Trouble::Unknown),
    ] {
        assert_eq!(answer(&write(), status, None), Answer::Trouble(trouble));
    }
    let changed = Sense::new(Key::UnitAttention, Code::LOG_PARAMETERS_CHANGED);
    check(write(), changed, Answer::Again(Duration::ZERO));
}

proptest! {
    /// Whatever the drive says, a block that it calls written under an error key never counts.
    #[test]
    fn no_error_key_is_success(key in 2_u8..15, asc: u8, ascq: u8, end_of_medium: bool) {
        let sense = Sense {
            end_of_medium,
            ..Sense::new(Key::from_bits(key), Code { asc, ascq })
        };
        let answer = answer(&write(), Status::CheckCondition, Some(sense));
        prop_assert!(!matches!(answer, Answer::Done(_)), "{answer:?}");
    }

    #[test]
    fn a_read_never_claims_more_than_the_buffer(
        information: Option<i64>, asked in 1_usize..0x100_0000, moved in 0_usize..0x100_0000,
        incorrect_length: bool,
    ) {
        let moved = moved.min(asked);
        let sense = Sense {
            incorrect_length,
            information,
            ..Sense::new(Key::NoSense, Code::NONE)
        };
        if let ReadOutcome::Block(length) = read_outcome(Some(sense), asked, moved) {
            prop_assert!(length <= asked);
        }
    }
}
