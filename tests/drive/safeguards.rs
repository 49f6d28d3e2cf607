//! What keeps blocks safe beyond the drive's own error correction: block protection, and keys.

use std::fs;

use tapevault::{
    drive::{
        BlockKey, Drive, DriveError, Encryption, Filemark, NamedKey, ReadOutcome, Safeguards,
        Written,
    },
    emulator::{CommandKind, Effect, Fault, Settings},
    scsi::{density::Generation, protection::Method},
    transport::LastAct,
    unit::MIB,
};

use crate::bench::{
    BLOCK, Met, PREPARATION, Place, barcode, block, loaded, object, read, read_all, write_files,
};

const KEY: [u8; 32] = [0x5A; 32];
const OTHER: [u8; 32] = [0xA5; 32];

fn keyed(key: &[u8; 32]) -> Safeguards<'_> {
    Safeguards { protection: None, key: Some(NamedKey { name: "a-key", key }) }
}

fn protected(method: Method) -> Safeguards<'static> {
    Safeguards { protection: Some(method), key: None }
}

fn place_of(generation: Generation, settings: Settings) -> Place {
    let place = Place::of(generation, settings);
    place.shelve(64 * MIB, |cartridge| cartridge.density = generation.density());
    place.library.push_in(0, barcode()).unwrap();
    place
}

/// A drive under faults, with protection on and two blocks and a filemark written.
fn under(place: &Place, faults: Vec<Fault>) -> Drive {
    let mut transport = place.transport();
    transport.set_faults(faults);
    let mut drive = place.open_with(transport);
    drive.safeguard(&protected(Method::Crc32c)).unwrap();
    drive.prepare(&PREPARATION).unwrap();
    drive
}

#[test]
fn blocks_are_protected_both_ways_by_every_method_that_the_drive_has() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    let methods = drive.protection_methods().unwrap();
    assert!(!methods.is_empty(), "a drive from LTO-5 on has one");
    for method in methods {
        drive.rewind().unwrap();
        drive.safeguard(&protected(method)).unwrap();
        drive.prepare(&PREPARATION).unwrap();
        drive.hold_safeguards().unwrap();
        let guard = drive.guard().unwrap();
        drive.write_block(&block(0, BLOCK)).unwrap();
        let mut guarded = block(1, 512 << 10);
        guarded.extend(guard(&block(1, 512 << 10)));
        assert_eq!(drive.write_guarded(&guarded).unwrap(), Written::Clear);
        drive.write_filemark(Filemark::Immediate).unwrap();
        drive.flush().unwrap();
        let expected =
            [Met::Block(block(0, BLOCK)), Met::Block(block(1, 512 << 10)), Met::Filemark];
        drive.rewind().unwrap();
        assert_eq!(read_all(drive), expected);
        drive.rewind().unwrap();
        let mut room = vec![0; (512 << 10) + 4];
        assert_eq!(drive.read_guarded(&mut room).unwrap(), ReadOutcome::Block(BLOCK));
        assert_eq!(room[..BLOCK], block(0, BLOCK));
        let long = drive.read_guarded(&mut room[..1004]).unwrap();
        assert_eq!(long, ReadOutcome::LongBlock { bytes: 512 << 10 });
        // Of the protection nothing is on the tape.
        drive.safeguard(&Safeguards::default()).unwrap();
        drive.rewind().unwrap();
        assert_eq!(read_all(drive), expected);
        drive.rewind().unwrap();
        assert_eq!(drive.read_guarded(&mut room).unwrap(), ReadOutcome::Block(BLOCK));
    }
}

#[test]
fn a_generation_without_crc32c_has_the_reed_solomon_crc_alone() {
    let place = place_of(Generation::Lto6, Settings::default());
    let mut drive = place.open();
    assert_eq!(drive.protection_methods().unwrap(), [Method::ReedSolomon]);
    let error = drive.safeguard(&protected(Method::Crc32c)).unwrap_err();
    assert!(matches!(error, DriveError::Unsupported(_)), "{error}");
    let error = drive.read_block(&mut [0; 512]).unwrap_err();
    assert!(matches!(error, DriveError::PositionLost(_)), "half set is not set: {error}");
    drive.safeguard(&protected(Method::ReedSolomon)).unwrap();
    drive.prepare(&PREPARATION).unwrap();
    write_files(&mut drive, 1, 3);
    drive.rewind().unwrap();
    assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(block(0, BLOCK)));
    let place = place_of(Generation::Lto9, Settings::default());
    let methods = place.open().protection_methods().unwrap();
    assert_eq!(methods, [Method::Crc32c, Method::ReedSolomon], "the better one first");
}

#[test]
fn a_bit_that_flips_on_the_way_to_the_drive_is_noticed_before_it_is_written() {
    let place = place_of(Generation::Lto8, Settings::default());
    let fault = Fault::once(Effect::FlipBit(70_001)).at(CommandKind::Write).after(1);
    let mut drive = under(&place, vec![fault]);
    drive.write_block(&block(0, BLOCK)).unwrap();
    let error = drive.write_block(&block(1, BLOCK)).unwrap_err();
    assert!(matches!(error, DriveError::Damaged(_)), "{error}");
    assert_eq!(error.fault().unwrap().object, Some(object(1)));
    assert_eq!(drive.position().unwrap().object, object(1), "nothing of it was written");
    drive.write_block(&block(1, BLOCK)).unwrap();
    drive.flush().unwrap();
    drive.rewind().unwrap();
    assert_eq!(read_all(&mut drive), [0, 1].map(|number| Met::Block(block(number, BLOCK))));
}

#[test]
fn a_bit_that_flips_on_the_way_from_the_drive_is_noticed_and_its_block_named() {
    let place = place_of(Generation::Lto8, Settings::default());
    // The second time it is in the CRC itself.
    for bit in [4095, BLOCK as u64 * 8 + 31] {
        let fault = Fault::once(Effect::FlipBit(bit)).at(CommandKind::Read).before_object(1);
        let mut drive = under(&place, vec![fault]);
        write_files(&mut drive, 1, 3);
        drive.rewind().unwrap();
        assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(block(0, BLOCK)));
        let error = read(&mut drive, BLOCK).unwrap_err();
        assert!(matches!(error, DriveError::Damaged(_)), "{error}");
        assert!(error.to_string().contains("at object 1, the CRC"), "{error}");
        assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(block(2, BLOCK)));
        drive.locate(object(1)).unwrap();
        assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(block(1, BLOCK)));
        drive.finish(LastAct::Rewind).unwrap();
    }
}

#[test]
fn protection_that_another_program_left_on_is_turned_off() {
    let place = place_of(Generation::Lto8, Settings::default());
    let mut drive = under(&place, Vec::new());
    write_files(&mut drive, 1, 2);
    // The process ends without a word.
    drop(drive);
    let mut drive = place.open();
    drive.prepare(&PREPARATION).unwrap();
    assert_eq!(drive.protection(), None);
    drive.rewind().unwrap();
    assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(block(0, BLOCK)));
}

#[test]
fn protection_and_key_are_gone_when_the_cartridge_or_the_drive_is_given_up() {
    let place = place_of(Generation::Lto8, Settings::default());
    let file = place.dir().join("drives/drive0.key");
    for unload in [true, false] {
        let mut drive = place.open();
        if unload {
            drive.load().unwrap();
        }
        let wanted = Safeguards { protection: Some(Method::Crc32c), ..keyed(&KEY) };
        drive.safeguard(&wanted).unwrap();
        drive.prepare(&PREPARATION).unwrap();
        assert!(file.exists(), "the emulated drive has the key");
        if unload {
            drive.unload().unwrap();
            assert_eq!((drive.protection(), file.exists()), (None, false));
            drive.load().unwrap();
        }
        drive.finish(LastAct::Rewind).unwrap();
        assert!(!file.exists());
        let mut drive = place.open();
        drive.rewind().unwrap();
        drive.prepare(&PREPARATION).unwrap();
        drive.write_block(&block(7, BLOCK)).unwrap();
        drive.rewind().unwrap();
        assert_eq!(drive.next_block_key().unwrap(), BlockKey::Clear);
        assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(block(7, BLOCK)));
    }
}

#[test]
fn nothing_is_written_or_read_after_a_reset_until_all_is_set_again() {
    for wanted in [protected(Method::Crc32c), keyed(&KEY)] {
        let place = place_of(Generation::Lto8, Settings::default());
        let fault = Fault::once(Effect::Reset(0)).at(CommandKind::Write).after(2);
        let mut transport = place.transport();
        transport.set_faults(vec![fault]);
        let mut drive = place.open_with(transport);
        drive.safeguard(&wanted).unwrap();
        drive.prepare(&PREPARATION).unwrap();
        drive.write_block(&block(0, BLOCK)).unwrap();
        drive.write_filemark(Filemark::Synchronous).unwrap();
        drive.write_block(&block(1, BLOCK)).unwrap();
        let error = drive.write_block(&block(2, BLOCK)).unwrap_err();
        assert!(matches!(error, DriveError::PositionLost(_)), "{error}");
        drive.rewind().unwrap();
        drive.locate(object(2)).unwrap();
        for error in [
            drive.write_block(&block(1, BLOCK)).unwrap_err(),
            drive.read_block(&mut [0; BLOCK]).unwrap_err(),
            drive.prepare(&PREPARATION).unwrap_err(),
            drive.hold_safeguards().unwrap_err(),
        ] {
            assert!(error.to_string().contains("set them again"), "{error}");
        }
        drive.safeguard(&wanted).unwrap();
        drive.hold_safeguards().unwrap();
        drive.locate(object(2)).unwrap();
        drive.write_block(&block(1, BLOCK)).unwrap();
        drive.rewind().unwrap();
        assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(block(0, BLOCK)));
        let key = drive.next_block_key().unwrap();
        assert_eq!(key, BlockKey::NoBlock, "a filemark");
    }
}

#[test]
fn blocks_are_encrypted_on_the_medium_and_come_back_with_their_key_alone() {
    let place = place_of(Generation::Lto8, Settings::default());
    let mut drive = place.open();
    let clear = block(1, BLOCK);
    drive.prepare(&PREPARATION).unwrap();
    drive.write_block(&clear).unwrap();
    drive.write_filemark(Filemark::Synchronous).unwrap();
    drive.safeguard(&keyed(&KEY)).unwrap();
    let secret = block(2, BLOCK);
    for _ in 0..2 {
        drive.write_block(&secret).unwrap();
    }
    drive.write_filemark(Filemark::Synchronous).unwrap();
    let tape = fs::read(place.library.tape(barcode())).unwrap();
    let holds = |needle: &[u8]| tape.windows(32).any(|window| window == &needle[512..544]);
    assert!(holds(&clear), "what was written without a key stands there as it is");
    assert!(!holds(&secret), "what was written with one does not");
    // Mixed decryption: both are read.
    drive.rewind().unwrap();
    assert_eq!(drive.next_block_key().unwrap(), BlockKey::Clear);
    assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(clear));
    assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Filemark);
    let name = Some("a-key".to_owned());
    assert_eq!(drive.next_block_key().unwrap(), BlockKey::Ours { name: name.clone() });
    assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(secret.clone()));
    for wanted in [Safeguards::default(), keyed(&OTHER)] {
        drive.safeguard(&wanted).unwrap();
        drive.locate(object(2)).unwrap();
        assert_eq!(drive.next_block_key().unwrap(), BlockKey::Other { name: name.clone() });
        let error = read(&mut drive, BLOCK).unwrap_err();
        assert!(matches!(error, DriveError::Unusable(_)), "{error}");
        assert_eq!(drive.position().unwrap().object, object(2), "it was not passed");
    }
    drive.safeguard(&keyed(&KEY)).unwrap();
    assert_eq!(read(&mut drive, BLOCK).unwrap(), Met::Block(secret));
}

#[test]
fn a_key_that_a_crashed_process_left_is_taken_away() {
    let place = place_of(Generation::Lto8, Settings::default());
    let mut drive = place.open();
    drive.safeguard(&keyed(&KEY)).unwrap();
    drop(drive);
    let mut drive = place.open();
    drive.safeguard(&Safeguards::default()).unwrap();
    drive.prepare(&PREPARATION).unwrap();
    write_files(&mut drive, 1, 1);
    drive.rewind().unwrap();
    assert_eq!(drive.next_block_key().unwrap(), BlockKey::Clear);
}

#[test]
fn a_drive_whose_keys_are_the_librarys_is_refused_with_an_explanation() {
    let settings = Settings { library_manages_keys: true, ..Settings::default() };
    let place = place_of(Generation::Lto8, settings);
    let mut drive = place.open();
    assert_eq!(drive.encryption().unwrap(), Encryption::Managed);
    let error = drive.safeguard(&keyed(&KEY)).unwrap_err();
    assert!(matches!(error, DriveError::Unsupported(_)), "{error}");
    assert!(error.to_string().contains("managed by the library"), "{error}");
    drive.safeguard(&Safeguards::default()).unwrap();
    drive.prepare(&PREPARATION).unwrap();
    write_files(&mut drive, 1, 1);
}
