//! Drives, adapters and cartridges that have their ways.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tapevault::{
    drive::{Blankness, Drive, DriveError, Filemark, Preparation},
    emulator::{CommandKind, Effect, Fault, Settings},
    scsi::density::Generation,
    unit::{ByteCount, MIB},
};

use crate::bench::{BLOCK, Met, PREPARATION, Place, barcode, block, clock, object, read};

fn place_with(settings: Settings) -> Place {
    let place = Place::new(settings);
    place.shelve(64 * MIB, |_| {});
    place.library.push_in(0, barcode()).unwrap();
    place
}

#[test]
fn lengths_come_from_sense_and_replies_where_the_adapter_tells_none() {
    let with = place_with(Settings::default());
    let without = place_with(Settings { residual_in_header: false, ..Settings::default() });
    let mut said = Vec::new();
    for place in [&with, &without] {
        let mut drive = place.open();
        drive.prepare(&PREPARATION).unwrap();
        for length in [1, 1000, BLOCK] {
            drive.write_block(&block(length, length)).unwrap();
        }
        drive.write_filemark(Filemark::Synchronous).unwrap();
        drive.flush().unwrap();
        drive.rewind().unwrap();
        for length in [1, 1000, BLOCK] {
            assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(block(length, length)));
        }
        assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Filemark);
        assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::EndOfData);
        let (medium, identity) = (drive.medium().unwrap(), drive.identity().clone());
        let alerts = drive.tape_alerts().unwrap();
        let methods = drive.protection_methods().unwrap();
        let text = format!("{medium:?} {identity:?} {alerts:?} {methods:?}");
        // The two libraries have serial numbers of their own.
        said.push(text.replace(&identity.serial, "SERIAL"));
    }
    assert_eq!(said[0], said[1]);
}

#[test]
fn a_divided_cartridge_is_not_blank() {
    let place = Place::new(Settings::default());
    place.shelve(64 * MIB, |cartridge| cartridge.additional_partitions = 1);
    place.library.push_in(0, barcode()).unwrap();
    let mut drive = place.open();
    assert_eq!(drive.medium().unwrap().partitions, 2);
    let blankness = drive.is_blank().unwrap();
    assert!(matches!(blankness, Blankness::Partitioned { partitions: 2 }), "{blankness:?}");
}

#[test]
fn early_warning_is_set_again_after_parameters_changed() {
    let place = place_with(Settings::default());
    let mut transport = place.transport();
    transport
        .set_faults(vec![Fault::once(Effect::ParametersChanged).at(CommandKind::Write).after(2)]);
    let mut drive = place.open_with(transport);
    let wanted = Preparation { early_warning: ByteCount(48_000_000), ..PREPARATION };
    drive.prepare(&wanted).unwrap();
    drive.write_block(&block(0, BLOCK)).unwrap();
    drive.write_block(&block(1, BLOCK)).unwrap();
    let error = drive.write_block(&block(2, BLOCK)).unwrap_err();
    assert!(matches!(error, DriveError::PositionLost(_)), "{error}");
    assert!(drive.write_block(&block(2, BLOCK)).is_err(), "not before the position was asked");
    drive.prepare(&wanted).unwrap();
    let mut landed = 2;
    while drive.write_block(&block(landed, 1 << 19)).unwrap() == tapevault::drive::Written::Clear {
        landed += 1;
    }
    let position = drive.position().unwrap();
    assert!(!position.past_early_warning, "the programmable one came first");
    assert!(landed < 60, "{landed}");
}

#[test]
fn a_first_load_of_hours_is_waited_for_and_told() {
    let settings = Settings { auto_load: false, first_load_polls: 6500, ..Settings::default() };
    let place = Place::of(Generation::Lto9, settings);
    place.shelve(64 * MIB, |_| {});
    place.library.push_in(0, barcode()).unwrap();
    let mut drive = Drive::open(Box::new(place.transport()), clock()).unwrap();
    let longest = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&longest);
    drive.set_patience(Arc::new(move |wait| {
        assert!(wait.calibrating, "the drive says why");
        told.fetch_max(wait.elapsed.as_secs(), Ordering::Relaxed);
        true
    }));
    drive.load().unwrap();
    let hours = longest.load(Ordering::Relaxed) / 3600;
    assert_eq!(hours, 1, "nearly two hours");
    // The second load is like any other.
    longest.store(0, Ordering::Relaxed);
    drive.set_patience(Arc::new(|wait| {
        assert!(!wait.calibrating && wait.elapsed.as_secs() < 60);
        true
    }));
    drive.unload().unwrap();
    drive.load().unwrap();
}

#[test]
fn a_long_load_can_be_given_up() {
    let settings = Settings { auto_load: false, first_load_polls: 6500, ..Settings::default() };
    let place = Place::of(Generation::Lto9, settings);
    place.shelve(64 * MIB, |_| {});
    place.library.push_in(0, barcode()).unwrap();
    let mut drive = Drive::open(Box::new(place.transport()), clock()).unwrap();
    drive.set_patience(Arc::new(|wait| wait.elapsed.as_secs() < 90));
    let error = drive.load().unwrap_err();
    assert!(matches!(error, DriveError::NotReady(_)), "{error}");
    assert!(error.to_string().contains("given up"), "{error}");
}

#[test]
fn in_append_only_mode_nothing_is_written_over_unless_it_is_allowed_there() {
    let place = place_with(Settings::default());
    let mut drive = place.open();
    drive.prepare(&PREPARATION).unwrap();
    drive.rewind().unwrap();
    assert!(drive.forbid_overwriting().unwrap());
    for number in 0..3 {
        drive.write_block(&block(number, BLOCK)).unwrap();
    }
    drive.flush().unwrap();
    // Whatever a program believes of the position, the drive refuses.
    drive.locate(object(1)).unwrap();
    let error = drive.write_block(&block(9, BLOCK)).unwrap_err();
    assert!(matches!(error, DriveError::WriteProtected(_)), "{error}");
    drive.rewind().unwrap();
    assert!(drive.write_block(&block(9, BLOCK)).is_err(), "not at the beginning either");
    drive.rewind().unwrap();
    for number in 0..3 {
        assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(block(number, BLOCK)));
    }
    // Allowed for this place, and once.
    drive.locate(object(2)).unwrap();
    drive.allow_overwriting_here().unwrap();
    drive.write_block(&block(7, BLOCK)).unwrap();
    drive.flush().unwrap();
    drive.locate(object(2)).unwrap();
    assert!(drive.write_block(&block(8, BLOCK)).is_err());
    drive.locate(object(1)).unwrap();
    drive.erase_here().unwrap();
    assert_eq!(drive.locate_end_of_data().unwrap().object, object(1));
    // It ends with the cartridge.
    drive.unload().unwrap();
    drive.load().unwrap();
    drive.rewind().unwrap();
    drive.write_block(&block(5, BLOCK)).unwrap();
}

#[test]
fn a_reservation_that_a_power_loss_ended_is_taken_again() {
    let place = place_with(Settings::default());
    let mut transport = place.transport();
    transport.set_faults(vec![Fault::once(Effect::PowerLoss(1)).at(CommandKind::Write)]);
    let mut drive = place.open_with(transport);
    drive.reserve(7).unwrap();
    drive.prepare(&PREPARATION).unwrap();
    assert!(drive.write_block(&block(0, BLOCK)).is_err());
    let held = || {
        let text = std::fs::read_to_string(place.dir().join("drives/drive0.json")).unwrap();
        let registers: serde_json::Value = serde_json::from_str(&text).unwrap();
        !registers["reservations"]["held"].is_null()
    };
    drive.recover().unwrap();
    assert!(!held(), "it is gone with the power");
    drive.prepare(&PREPARATION).unwrap();
    assert!(held());
    drive.finish(tapevault::transport::LastAct::Rewind).unwrap();
    assert!(!held());
}
