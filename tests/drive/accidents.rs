//! What goes wrong, and what the driver makes of it.

use tapevault::{
    drive::{AlertClass, Blankness, Drive, DriveError, Filemark, MediumState},
    emulator::{CommandKind, Effect, Fault, Settings, power_loss},
    position::ObjectNumber,
    scsi::log::alert::Alert,
    transport::LastAct,
    unit::MIB,
};

use crate::bench::{
    BLOCK, Met, PREPARATION, Place, barcode, block, object, read, read_all, write_files,
};

/// A place with a blank cartridge in its drive.
fn place() -> Place {
    let place = Place::new(Settings::default());
    place.shelve(64 * MIB, |_| {});
    place.library.push_in(0, barcode()).unwrap();
    place
}

/// A drive that holds `files` files of `blocks` blocks, at end of data, under these faults.
fn under(place: &Place, (files, blocks): (usize, usize), faults: Vec<Fault>) -> Drive {
    let mut drive = place.open();
    drive.prepare(&PREPARATION).unwrap();
    write_files(&mut drive, files, blocks);
    drop(drive);
    let mut transport = place.transport();
    transport.set_faults(faults);
    let mut drive = place.open_with(transport);
    drive.prepare(&PREPARATION).unwrap();
    drive.locate_end_of_data().unwrap();
    drive
}

#[test]
fn a_bad_spot_is_a_medium_error_and_what_lies_behind_is_read() {
    let place = place();
    let fault = Fault::always(Effect::MediumError).at(CommandKind::Read).before_object(2);
    let mut drive = under(&place, (1, 5), vec![fault]);
    drive.rewind().unwrap();
    read(&mut drive, BLOCK).unwrap();
    read(&mut drive, BLOCK).unwrap();
    let error = read(&mut drive, BLOCK).unwrap_err();
    assert!(matches!(error, DriveError::Medium(_)), "{error}");
    assert_eq!(error.fault().unwrap().object, Some(object(2)));
    drive.locate(object(3)).unwrap();
    assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(block(3, BLOCK)));
}

#[test]
fn a_label_that_cannot_be_read_is_not_a_blank_tape() {
    let place = place();
    let fault = Fault::always(Effect::MediumError).at(CommandKind::Read).before_object(0);
    let mut drive = under(&place, (1, 1), vec![fault]);
    let found = drive.is_blank().unwrap();
    assert!(matches!(found, Blankness::Unreadable(_)), "{found:?}");
}

#[test]
fn a_bad_write_is_a_medium_error_and_nothing_is_written_until_the_position_is_known() {
    let place = place();
    let fault = Fault::once(Effect::MediumError).at(CommandKind::Write).after(1);
    let mut drive = under(&place, (1, 2), vec![fault]);
    drive.write_block(&block(0, BLOCK)).unwrap();
    let error = drive.write_block(&block(1, BLOCK)).unwrap_err();
    assert!(matches!(error, DriveError::Medium(_)), "{error}");
    let error = drive.write_block(&block(1, BLOCK)).unwrap_err();
    assert!(matches!(error, DriveError::PositionLost(_)), "{error}");
    drive.locate(object(3)).unwrap();
    drive.write_block(&block(1, BLOCK)).unwrap();
    drive.flush().unwrap();
}

#[test]
fn a_flush_that_ends_elsewhere_is_a_mismatch() {
    let place = place();
    // Block 5 is the last: the drive stands at 6, and says 7 in the long form.
    let fault = Fault::once(Effect::FlipBit(127)).at(CommandKind::Position).before_object(6);
    let mut drive = under(&place, (1, 2), vec![fault.after(1)]);
    for number in 0..3 {
        drive.write_block(&block(number, BLOCK)).unwrap();
    }
    let error = drive.flush().unwrap_err();
    let DriveError::Mismatch { expected, found, .. } = error else { panic!("{error}") };
    assert_eq!((expected, found), (object(6), object(7)));
    let error = drive.write_block(&block(3, BLOCK)).unwrap_err();
    assert!(matches!(error, DriveError::PositionLost(_)), "{error}");
}

#[test]
fn a_recovered_error_is_success() {
    let place = place();
    let fault = Fault::always(Effect::RecoveredError);
    let mut drive = under(&place, (1, 2), vec![fault.at(CommandKind::Write)]);
    for number in 0..3 {
        drive.write_block(&block(number, BLOCK)).unwrap();
    }
    assert_eq!(drive.flush().unwrap().object, object(6));
}

#[test]
fn a_deferred_error_tells_that_earlier_blocks_are_gone() {
    let place = place();
    let fault = Fault::once(Effect::Deferred(2)).at(CommandKind::Write).after(4);
    let mut drive = under(&place, (1, 2), vec![fault]);
    for number in 0..4 {
        drive.write_block(&block(number, BLOCK)).unwrap();
    }
    let error = drive.write_block(&block(4, BLOCK)).unwrap_err();
    assert!(matches!(error, DriveError::Deferred(_)), "{error}");
    assert!(error.sense().unwrap().deferred);
    assert_eq!(drive.position().unwrap().object, object(5));
}

#[test]
fn a_reset_loses_the_position_and_the_driver_does_not_write_at_the_beginning() {
    let place = place();
    let fault = Fault::once(Effect::Reset(1)).at(CommandKind::Write).after(1);
    let mut drive = under(&place, (1, 2), vec![fault]);
    drive.write_block(&block(0, BLOCK)).unwrap();
    let error = drive.write_block(&block(1, BLOCK)).unwrap_err();
    assert!(matches!(error, DriveError::PositionLost(_)), "{error}");
    let error = drive.flush().unwrap_err();
    assert!(matches!(error, DriveError::PositionLost(_)), "{error}");
    let end = drive.locate_end_of_data().unwrap();
    assert_eq!(end.object, object(3));
}

#[test]
fn after_a_reset_the_drive_is_given_up_as_ever() {
    let place = place();
    let fault = Fault::once(Effect::Reset(1)).at(CommandKind::Write);
    let mut drive = under(&place, (1, 2), vec![fault]);
    drive.reserve(7).unwrap();
    drive.write_block(&block(0, BLOCK)).unwrap_err();
    drive.finish(LastAct::Unload).unwrap();
    place.library.pull_out(0).unwrap();
}

#[test]
fn a_lost_reply_leaves_the_fate_open_and_the_drive_tells_it() {
    for (effect, after) in [(Effect::ReplyLostBefore, 3), (Effect::ReplyLostAfter, 4)] {
        for kind in [CommandKind::Write, CommandKind::Filemark] {
            let place = place();
            let mut drive = under(&place, (1, 2), vec![Fault::once(effect).at(kind)]);
            let result = if kind == CommandKind::Write {
                drive.write_block(&block(7, BLOCK))
            } else {
                drive.write_filemark(Filemark::Immediate)
            };
            let error = result.unwrap_err();
            assert!(matches!(error, DriveError::Unknown { .. }), "{error}");
            drive.recover().unwrap().unwrap();
            assert_eq!(drive.locate_end_of_data().unwrap().object, object(after));
        }
    }
}

#[test]
fn a_refused_command_did_nothing_and_the_session_goes_on() {
    let place = place();
    let fault = Fault::once(Effect::Refused).at(CommandKind::Write);
    let mut drive = under(&place, (1, 2), vec![fault]);
    let error = drive.write_block(&block(0, BLOCK)).unwrap_err();
    assert!(matches!(error, DriveError::Refused { .. }), "{error}");
    drive.write_block(&block(0, BLOCK)).unwrap();
    assert_eq!(drive.flush().unwrap().object, object(4));
}

#[test]
fn hardware_trouble_is_told_apart() {
    let place = place();
    let fault = Fault::once(Effect::Sense(4, 0x44, 0)).at(CommandKind::Locate);
    let mut drive = under(&place, (1, 2), vec![fault]);
    let error = drive.locate(object(1)).unwrap_err();
    assert!(matches!(error, DriveError::Hardware(_)), "{error}");
    assert!(error.to_string().contains("4/44/00 (internal failure)"), "{error}");
}

#[test]
fn a_bad_chip_does_not_keep_the_tape_from_being_read() {
    let place = place();
    let fault = Fault::always(Effect::Sense(3, 0x11, 0x12)).at(CommandKind::Attribute);
    let mut drive = under(&place, (1, 2), vec![fault]);
    let medium = drive.medium().unwrap();
    assert!(!medium.chip_readable && medium.mam_serial.is_empty(), "{medium:?}");
    assert!(medium.generation.is_some() && medium.capacity.is_some(), "{medium:?}");
}

#[test]
fn without_its_log_pages_the_chip_tells_what_is_left() {
    let place = place();
    let fault = Fault::always(Effect::Sense(5, 0x24, 0)).at(CommandKind::Log);
    let mut drive = under(&place, (1, 2), vec![fault]);
    let capacity = drive.remaining().unwrap();
    assert_eq!(capacity.origin, tapevault::drive::CapacityOrigin::Chip);
    assert!(drive.tape_alerts().unwrap().is_empty());
}

#[test]
fn an_alert_is_seen_and_remembered_until_the_next_load() {
    let place = place();
    let fault = Fault::once(Effect::Alert(20)).at(CommandKind::Write);
    let mut drive = under(&place, (1, 2), vec![fault]);
    assert!(drive.tape_alerts().unwrap().is_empty());
    drive.write_block(&block(0, BLOCK)).unwrap();
    let clean_now = Alert::new(20).unwrap();
    for _ in 0..2 {
        assert!(drive.tape_alerts().unwrap().contains(clean_now));
    }
    assert_eq!(AlertClass::of(clean_now), AlertClass::Refuse);
}

#[test]
fn a_power_loss_takes_nothing_that_was_flushed() {
    let mut missing = 0;
    for seed in 0..40 {
        let place = place();
        let mut drive = place.open();
        drive.prepare(&PREPARATION).unwrap();
        let flushed = write_files(&mut drive, 2, 3).object;
        for number in 0..20 {
            drive.write_block(&block(1000 + number, BLOCK)).unwrap();
        }
        drop(drive);
        power_loss(place.dir(), seed).unwrap();
        let mut drive = place.open();
        assert_eq!(drive.state().unwrap(), MediumState::Ready);
        let error = drive.write_block(&block(0, 1)).unwrap_err();
        assert!(matches!(error, DriveError::PositionLost(_)), "{error}");
        match drive.locate_end_of_data() {
            Ok(end) => assert!(end.object >= flushed, "seed {seed}: {end:?}"),
            Err(DriveError::EndOfDataMissing(_)) => missing += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
        drive.rewind().unwrap();
        for target in 0..flushed.0 {
            let met = read(&mut drive, BLOCK).unwrap();
            assert_ne!(met, Met::EndOfData, "seed {seed} object {target}");
        }
    }
    assert!(missing > 0, "some power loss leaves the tape without end of data");
}

/// Writes `blocks` blocks with a flush after every `group`, as a session would; gives up at the
/// first error. Returns what was flushed.
fn session(drive: &mut Drive, blocks: usize, group: usize) -> Result<ObjectNumber, ObjectNumber> {
    let mut flushed = object(0);
    for number in 0..blocks {
        if drive.write_block(&block(number, 1000)).is_err() {
            return Err(flushed);
        }
        if (number + 1) % group == 0 {
            flushed = drive.flush().map_err(|_| flushed)?.object;
        }
    }
    Ok(flushed)
}

/// Fails each command in turn, until a session ends before its fault. Whatever a flush confirmed
/// must be what the tape holds.
#[test]
fn what_a_flush_confirmed_survives_every_single_fault() {
    for effect in [
        Effect::MediumError,
        Effect::EndOfMedium,
        Effect::Deferred(2),
        Effect::Reset(2),
        Effect::ReplyLostBefore,
        Effect::ReplyLostAfter,
        Effect::Refused,
        Effect::Sense(4, 0x44, 0),
        Effect::SenseAfter(0xB, 0x47, 0),
    ] {
        for skip in 0.. {
            let place = place();
            let mut transport = place.transport();
            transport.set_faults(vec![Fault { skip, ..Fault::once(effect) }]);
            let opened = Drive::open(Box::new(transport), crate::bench::clock());
            let prepared = opened.and_then(|mut drive| {
                drive.prepare(&PREPARATION)?;
                drive.rewind()?;
                Ok(drive)
            });
            let result = match prepared {
                Ok(mut drive) => session(&mut drive, 12, 3),
                Err(_) => Err(object(0)),
            };
            let (Ok(flushed) | Err(flushed)) = result;
            let mut drive = place.open();
            drive.rewind().unwrap();
            let found = read_all(&mut drive);
            let expected: Vec<_> = (0..12).map(|number| Met::Block(block(number, 1000))).collect();
            let flushed = usize::try_from(flushed.0).unwrap();
            assert!(
                found.len() >= flushed,
                "{effect:?} at command {skip}: {} objects",
                found.len()
            );
            assert_eq!(found, expected[..found.len()], "{effect:?} at command {skip}");
            if result.is_ok() && flushed == 12 && skip > 20 {
                break;
            }
        }
    }
}
