//! Cartridges that come, go and differ.

use std::time::Duration;

use tapevault::{
    drive::{Drive, DriveError, Filemark, Holding, MediumState, Preparation, Written},
    emulator::{self, Settings},
    scsi::{
        cdb::{Command, PageControl, ReserveOutAction, U24},
        density::Generation,
        mode::{
            BlockDescriptor, Header, Parameters,
            page::{Compression, DeviceConfigurationExtension, Page},
        },
        reservation::{EXCLUSIVE_ACCESS, ReserveParameters},
    },
    transport::{LastAct, Status, Transfer, Transport},
    unit::{ByteCount, MIB},
};

use crate::bench::{
    BLOCK, Met, PREPARATION, Place, barcode, block, clock, object, read, read_all, write_files,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A command sent past the driver, as another program would.
fn send(transport: &mut impl Transport, command: &Command, data: &[u8]) -> Status {
    let transfer = if data.is_empty() { Transfer::None } else { Transfer::ToDevice(data) };
    transport.execute(&command.encode(), transfer, MINUTE).unwrap().status
}

#[test]
fn an_empty_drive_opens_at_once_and_says_that_it_is_empty() {
    let place = Place::new(Settings::default());
    let mut drive = Drive::open(Box::new(place.transport()), clock()).unwrap();
    assert_eq!(drive.state().unwrap(), MediumState::Empty);
    for error in [
        drive.wait_ready(MINUTE).unwrap_err(),
        drive.load().unwrap_err(),
        drive.rewind().unwrap_err(),
        drive.read_block(&mut [0; 512]).unwrap_err(),
    ] {
        assert!(matches!(error, DriveError::NoMedium(_)), "{error}");
    }
}

#[test]
fn a_changer_is_not_a_tape_drive() {
    let place = Place::new(Settings::default());
    let transport = emulator::changer(place.dir()).unwrap();
    let error = Drive::open(Box::new(transport), clock()).unwrap_err();
    assert_eq!(error.to_string(), "emulated:changer is a changer, not a tape drive");
}

#[test]
fn a_cartridge_that_is_not_threaded_is_loaded_by_command() {
    let place = Place::new(Settings { auto_load: false, load_polls: 5, ..Settings::default() });
    place.shelve(64 * MIB, |_| {});
    place.library.push_in(0, barcode()).unwrap();
    let mut drive = Drive::open(Box::new(place.transport()), clock()).unwrap();
    assert_eq!(drive.state().unwrap(), MediumState::Unloaded);
    let error = drive.wait_ready(MINUTE).unwrap_err();
    assert!(matches!(error, DriveError::NotReady(_)), "{error}");
    drive.load().unwrap();
    assert_eq!(drive.state().unwrap(), MediumState::Ready);
    assert!(drive.position().unwrap().at_beginning);
}

#[test]
fn a_drive_that_loads_too_long_is_not_ready() {
    let place = Place::new(Settings { load_polls: 200, ..Settings::default() });
    place.shelve(64 * MIB, |_| {});
    place.library.push_in(0, barcode()).unwrap();
    let mut drive = Drive::open(Box::new(place.transport()), clock()).unwrap();
    assert_eq!(drive.state().unwrap(), MediumState::Loading);
    let error = drive.wait_ready(Duration::from_secs(20)).unwrap_err();
    assert!(matches!(error, DriveError::NotReady(_)), "{error}");
    drive.wait_ready(Duration::from_secs(300)).unwrap();
}

#[test]
fn a_changed_cartridge_makes_the_position_unknown() {
    let place = Place::new(Settings::default());
    place.shelve(64 * MIB, |_| {});
    let other = "TST002L8".parse().unwrap();
    place
        .library
        .shelve_cartridge(&emulator::Cartridge::new(other, Generation::Lto8, 64 * MIB))
        .unwrap();
    place.library.push_in(0, barcode()).unwrap();
    let mut drive = place.open();
    drive.prepare(&PREPARATION).unwrap();
    write_files(&mut drive, 1, 3);
    let serial = drive.medium().unwrap().mam_serial;
    drive.unload().unwrap();
    place.library.pull_out(0).unwrap();
    place.library.push_in(0, other).unwrap();
    drive.wait_ready(MINUTE).unwrap();
    let error = drive.write_block(&block(0, 1)).unwrap_err();
    assert!(matches!(error, DriveError::PositionLost(_)), "{error}");
    assert_ne!(drive.medium().unwrap().mam_serial, serial);
    assert_eq!(drive.position().unwrap().object, object(0));
}

#[test]
fn a_protected_cartridge_is_read_and_not_written() {
    let place = Place::new(Settings::default());
    place.shelve(64 * MIB, |_| {});
    place.library.push_in(0, barcode()).unwrap();
    let mut drive = place.open();
    drive.position().unwrap();
    write_files(&mut drive, 1, 3);
    drive.unload().unwrap();
    place.library.pull_out(0).unwrap();
    place
        .library
        .change_cartridge(barcode(), |cartridge| cartridge.write_protected = true)
        .unwrap();
    place.library.push_in(0, barcode()).unwrap();
    drive.wait_ready(MINUTE).unwrap();
    drive.prepare(&PREPARATION).unwrap();
    assert!(drive.medium().unwrap().write_protected);
    let error = drive.write_block(&block(0, BLOCK)).unwrap_err();
    assert!(matches!(error, DriveError::WriteProtected(_)), "{error}");
    drive.position().unwrap();
    let error = drive.write_filemark(Filemark::Synchronous).unwrap_err();
    assert!(matches!(error, DriveError::WriteProtected(_)), "{error}");
    drive.rewind().unwrap();
    let error = drive.erase_here().unwrap_err();
    assert!(matches!(error, DriveError::WriteProtected(_)), "{error}");
    drive.rewind().unwrap();
    assert_eq!(read_all(&mut drive).len(), 4);
}

#[test]
fn a_write_once_cartridge_is_appended_and_not_overwritten() {
    let place = Place::new(Settings::default());
    place.shelve(64 * MIB, |cartridge| cartridge.worm = true);
    place.library.push_in(0, barcode()).unwrap();
    let mut drive = place.open();
    drive.prepare(&PREPARATION).unwrap();
    assert!(drive.medium().unwrap().worm);
    write_files(&mut drive, 2, 2);
    drive.locate(object(1)).unwrap();
    let error = drive.write_block(&block(9, 9)).unwrap_err();
    assert!(matches!(error, DriveError::WriteProtected(_)), "{error}");
    drive.locate_end_of_data().unwrap();
    drive.write_block(&block(9, 9)).unwrap();
    drive.rewind().unwrap();
    assert_eq!(read_all(&mut drive).len(), 7);
}

#[test]
fn a_cartridge_of_a_generation_that_the_drive_does_not_know_cannot_be_used() {
    let place = Place::of(Generation::Lto8, Settings::default());
    let old = "TST003L5".parse().unwrap();
    let cartridge = emulator::Cartridge::new(old, Generation::Lto5, 64 * MIB);
    place.library.shelve_cartridge(&cartridge).unwrap();
    place.library.push_in(0, old).unwrap();
    let mut drive = Drive::open(Box::new(place.transport()), clock());
    let error = loop {
        match drive {
            Err(error) => break error,
            Ok(ref mut open) => match open.wait_ready(MINUTE) {
                Err(error) => break error,
                Ok(()) => drive = Err(open.read_block(&mut [0; 512]).unwrap_err()),
            },
        }
    };
    assert!(matches!(error, DriveError::Unusable(_)), "{error}");
}

#[test]
fn an_older_cartridge_may_be_readable_only() {
    let place = Place::of(Generation::Lto7, Settings::default());
    let old = "TST003L5".parse().unwrap();
    let cartridge = emulator::Cartridge::new(old, Generation::Lto5, 64 * MIB);
    place.library.shelve_cartridge(&cartridge).unwrap();
    place.library.push_in(0, old).unwrap();
    let mut drive = place.open();
    drive.prepare(&PREPARATION).unwrap();
    assert_eq!(drive.medium().unwrap().generation, Some(Generation::Lto5));
    let error = drive.write_block(&block(0, BLOCK)).unwrap_err();
    assert!(matches!(error, DriveError::WriteProtected(_)), "{error}");
}

#[test]
fn blocks_at_early_warning_land_and_the_one_at_the_end_does_not() {
    for settings in [
        Settings::default(),
        Settings { early_warning_once: true, ..Settings::default() },
        Settings { programmable_early_warning_each: true, ..Settings::default() },
    ] {
        let place = Place::new(settings);
        place.shelve(24 * MIB, |cartridge| cartridge.reserve_bytes = 4 * MIB);
        place.library.push_in(0, barcode()).unwrap();
        let mut drive = place.open();
        let early_warning = ByteCount(8_000_000);
        drive.prepare(&Preparation { early_warning, ..PREPARATION }).unwrap();
        let mut landed = 0;
        let mut met = Vec::new();
        let error = loop {
            match drive.write_block(&block(landed, 512 << 10)) {
                Ok(written) => {
                    landed += 1;
                    met.push(written);
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(error, DriveError::EndOfMedium(_)), "{error}");
        let first = |kind| met.iter().position(|&written| written == kind).unwrap();
        let (clear, programmable, early) = (
            first(Written::Clear),
            first(Written::ProgrammableEarlyWarning),
            first(Written::EarlyWarning),
        );
        assert!(clear < programmable && programmable < early, "{met:?}");
        assert!(early + 1 < landed, "some blocks fit after early warning");
        let position = drive.position().unwrap();
        assert_eq!(position.object, object(landed as u64));
        assert!(position.past_early_warning);
        drive.rewind().unwrap();
        for number in 0..landed {
            assert_eq!(read(&mut drive, 512 << 10).unwrap(), Met::Block(block(number, 512 << 10)));
        }
        assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::EndOfData);
    }
}

#[test]
fn what_is_left_shrinks_as_the_tape_fills() {
    let place = Place::new(Settings::default());
    place.shelve(64 * MIB, |_| {});
    place.library.push_in(0, barcode()).unwrap();
    let mut drive = place.open();
    drive.prepare(&PREPARATION).unwrap();
    let before = drive.remaining().unwrap();
    for number in 0..16 {
        drive.write_block(&block(number, 1 << 20)).unwrap();
    }
    drive.flush().unwrap();
    let after = drive.remaining().unwrap();
    let used = before.remaining.0 - after.remaining.0;
    assert!((14_000_000..20_000_000).contains(&used), "{before:?} {after:?}");
    assert_eq!(before.maximum, after.maximum);
}

#[test]
fn settings_that_another_program_left_are_put_right() {
    let place = Place::new(Settings::default());
    place.shelve(64 * MIB, |_| {});
    place.library.push_in(0, barcode()).unwrap();
    let mut transport = place.transport();
    for _ in 0..4 {
        send(&mut transport, &Command::TestUnitReady, &[]);
    }
    let block_length = U24::try_from(512_u32).unwrap();
    let extension = DeviceConfigurationExtension {
        early_warning_megabytes: 9.into(),
        ..DeviceConfigurationExtension::default()
    };
    let mut compression: Compression = modes(&mut transport, Compression::CODE, 0);
    compression.enable(false);
    let list = Parameters {
        header: Header::default(),
        block: Some(BlockDescriptor { block_length, ..BlockDescriptor::default() }),
        pages: vec![compression.raw(), extension.raw()],
    };
    let data = list.encode_select_10();
    let length = u16::try_from(data.len()).unwrap();
    let select = Command::ModeSelect10 { page_format: true, save: false, length };
    assert_eq!(send(&mut transport, &select, &data), Status::Good);

    let mut drive = place.open_with(transport);
    drive.prepare(&PREPARATION).unwrap();
    drive.write_block(&block(0, 1000)).unwrap();
    drive.rewind().unwrap();
    assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(block(0, 1000)));
    drop(drive);
    let mut transport = place.transport();
    assert!(modes::<Compression>(&mut transport, Compression::CODE, 0).is_enabled());
    let extension: DeviceConfigurationExtension = modes(&mut transport, 0x10, 1);
    assert_eq!(extension.early_warning_megabytes.get(), 0);
}

/// A mode page, asked for past the driver.
fn modes<P: Page>(transport: &mut impl Transport, page: u8, subpage: u8) -> P {
    let command = Command::ModeSense10 {
        no_descriptors: false,
        control: PageControl::Current,
        page,
        subpage,
        allocation: 512,
    };
    let mut data = [0; 512];
    for _ in 0..4 {
        send(transport, &Command::TestUnitReady, &[]);
    }
    let transfer = Transfer::FromDevice(&mut data);
    let completion = transport.execute(&command.encode(), transfer, MINUTE).unwrap();
    let list = Parameters::decode_10(&data[..completion.transferred]).unwrap();
    assert_eq!(list.header.buffered, 1);
    list.get().unwrap()
}

#[test]
fn a_prepared_drive_does_not_let_the_cartridge_go() {
    let place = Place::new(Settings::default());
    place.shelve(64 * MIB, |_| {});
    place.library.push_in(0, barcode()).unwrap();
    let mut drive = place.open();
    drive.prepare(&PREPARATION).unwrap();
    assert!(place.library.pull_out(0).is_err());
    drive.unload().unwrap();
    place.library.pull_out(0).unwrap();
}

#[test]
fn what_a_crashed_process_kept_in_the_drive_is_unloaded_by_the_next() {
    let place = Place::new(Settings::default());
    place.shelve(64 * MIB, |_| {});
    place.library.push_in(0, barcode()).unwrap();
    let mut drive = place.open();
    drive.prepare(&PREPARATION).unwrap();
    drive.reserve(7).unwrap();
    drop(drive);
    let mut drive = place.open();
    assert_eq!(drive.reserve(7).unwrap(), Holding::Held);
    drive.unload().unwrap();
    drive.finish(LastAct::Rewind).unwrap();
    place.library.pull_out(0).unwrap();
}

#[test]
fn a_drive_that_another_initiator_reserved_is_busy() {
    let place = Place::new(Settings::default());
    place.shelve(64 * MIB, |_| {});
    place.library.push_in(0, barcode()).unwrap();
    let mut transport = place.transport();
    transport.speak_as(7);
    for _ in 0..4 {
        send(&mut transport, &Command::TestUnitReady, &[]);
    }
    for (action, key, action_key) in
        [(ReserveOutAction::RegisterAndIgnore, 0, 5), (ReserveOutAction::Reserve, 5, 0)]
    {
        let parameters = ReserveParameters { key, action_key, persist_through_power_loss: false };
        let command = Command::PersistentReserveOut { action, kind: EXCLUSIVE_ACCESS, length: 24 };
        assert_eq!(send(&mut transport, &command, &parameters.encode()), Status::Good);
    }
    transport.speak_as(0);
    let error = Drive::open(Box::new(transport), clock()).unwrap_err();
    assert!(matches!(error, DriveError::Busy(_)), "{error}");
}
