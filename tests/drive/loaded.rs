//! What holds on every drive.

use tapevault::{
    drive::{
        Blankness, DriveError, Filemark, Holding, MediumState, Preparation, SpaceStop, Written,
    },
    position::{FileNumber, ObjectNumber},
    scsi::mam::{Attribute, id},
    transport::LastAct,
    unit::ByteCount,
};

use crate::bench::{BLOCK, Met, PREPARATION, block, loaded, object, read, read_all, write_files};

#[test]
fn a_drive_says_who_it_is() {
    let bench = loaded();
    let identity = bench.drive.identity();
    assert!(!identity.serial.is_empty(), "{identity:?}");
    assert!(identity.generation.is_some(), "{identity:?}");
    if bench.place.is_some() {
        assert!(identity.emulated);
        assert_eq!(identity.product, "EMULATED LTO-8");
    }
}

#[test]
fn at_end_of_data_a_read_says_so_and_the_tape_stays() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    let start = drive.position().unwrap();
    assert!(start.at_beginning);
    for _ in 0..3 {
        assert_eq!(read(drive, BLOCK).unwrap(), Met::EndOfData);
        assert_eq!(drive.position().unwrap(), start);
    }
}

#[test]
fn blocks_of_any_length_come_back_as_they_were() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    let lengths = [1, 2, 511, 512, 10_240, 65_537, 512 << 10];
    for (number, length) in lengths.into_iter().enumerate() {
        drive.write_block(&block(number, length)).unwrap();
    }
    drive.flush().unwrap();
    drive.rewind().unwrap();
    for (number, length) in lengths.into_iter().enumerate() {
        assert_eq!(read(drive, 512 << 10).unwrap(), Met::Block(block(number, length)));
    }
    assert_eq!(read(drive, BLOCK).unwrap(), Met::EndOfData);
}

#[test]
fn blocks_and_filemarks_are_objects_and_filemarks_count_files() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    let end = write_files(drive, 2, 3);
    assert_eq!((end.object, end.file), (ObjectNumber(8), FileNumber(2)));
    drive.rewind().unwrap();
    for number in 0..3 {
        assert_eq!(read(drive, BLOCK).unwrap(), Met::Block(block(number, BLOCK)));
    }
    assert_eq!(drive.position().unwrap().object, object(3));
    assert_eq!(read(drive, BLOCK).unwrap(), Met::Filemark);
    let behind = drive.position().unwrap();
    assert_eq!((behind.object, behind.file), (ObjectNumber(4), FileNumber(1)));
}

#[test]
fn a_block_longer_than_the_buffer_says_its_length_and_is_passed() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    drive.write_block(&block(0, 5000)).unwrap();
    drive.write_block(&block(1, 300)).unwrap();
    drive.rewind().unwrap();
    assert_eq!(read(drive, 4096).unwrap(), Met::LongBlock(5000));
    assert_eq!(drive.position().unwrap().object, object(1));
    assert_eq!(read(drive, 4096).unwrap(), Met::Block(block(1, 300)));
}

#[test]
fn a_flush_agrees_with_the_count_and_adds_no_object() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    for number in 0..5 {
        drive.write_block(&block(number, BLOCK)).unwrap();
        assert_eq!(drive.flush().unwrap().object, object(number as u64 + 1));
    }
    assert_eq!(drive.flush().unwrap().object, object(5));
    drive.write_filemark(Filemark::Synchronous).unwrap();
    let end = drive.flush().unwrap();
    assert_eq!((end.object, end.file), (ObjectNumber(6), FileNumber(1)));
}

#[test]
fn a_write_in_the_middle_ends_the_tape_there() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    write_files(drive, 2, 3);
    drive.locate(object(2)).unwrap();
    drive.write_block(&block(77, 99)).unwrap();
    drive.flush().unwrap();
    drive.rewind().unwrap();
    let expected = [block(0, BLOCK), block(1, BLOCK), block(77, 99)].map(Met::Block);
    assert_eq!(read_all(drive), expected);
}

#[test]
fn a_locate_lands_where_it_was_sent() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    write_files(drive, 3, 2);
    for target in [9, 0, 4, 4, 8, 1] {
        let position = drive.locate(object(target)).unwrap();
        assert_eq!(position.object, object(target));
        assert_eq!(position.file, FileNumber(target / 3));
    }
    assert_eq!(read(drive, BLOCK).unwrap(), Met::Block(block(1, BLOCK)));
}

#[test]
fn a_locate_beyond_the_end_is_a_mismatch_and_nothing_is_written_after_it() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    write_files(drive, 1, 2);
    let error = drive.locate(object(50)).unwrap_err();
    let DriveError::Mismatch { expected, found, .. } = error else { panic!("{error}") };
    assert_eq!((expected, found), (object(50), object(3)));
    let error = drive.write_block(&block(9, 9)).unwrap_err();
    assert!(matches!(error, DriveError::PositionLost(_)), "{error}");
    // Once the position was asked for, the caller knows where it writes.
    assert_eq!(drive.position().unwrap().object, object(3));
    drive.write_block(&block(9, 9)).unwrap();
}

#[test]
fn the_end_of_data_is_found() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    let end = write_files(drive, 2, 2);
    drive.rewind().unwrap();
    let found = drive.locate_end_of_data().unwrap();
    assert_eq!((found.object, found.file), (end.object, end.file));
    assert_eq!(read(drive, BLOCK).unwrap(), Met::EndOfData);
    drive.write_block(&block(5, 5)).unwrap();
}

#[test]
fn spacing_over_filemarks_stops_at_what_it_meets() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    write_files(drive, 3, 2);
    drive.rewind().unwrap();
    for (count, stop, object, file) in [
        (1, SpaceStop::Done, 3, 1),
        (2, SpaceStop::Done, 9, 3),
        (1, SpaceStop::EndOfData, 9, 3),
        (-1, SpaceStop::Done, 8, 2),
        (-2, SpaceStop::Done, 2, 0),
        (-1, SpaceStop::Beginning, 0, 0),
    ] {
        let spaced = drive.space_filemarks(count).unwrap();
        assert_eq!(spaced.stop, stop, "{count}");
        assert_eq!(spaced.position.object, ObjectNumber(object), "{count}");
        assert_eq!(spaced.position.file, FileNumber(file), "{count}");
    }
}

#[test]
fn an_erase_ends_the_tape_where_it_stands() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    write_files(drive, 2, 2);
    drive.locate(object(3)).unwrap();
    drive.erase_here().unwrap();
    assert_eq!(drive.position().unwrap().object, object(3));
    assert_eq!(read(drive, BLOCK).unwrap(), Met::EndOfData);
    drive.rewind().unwrap();
    assert_eq!(read_all(drive).len(), 3);
}

#[test]
fn after_unload_and_load_the_position_is_asked_for_before_anything_is_written() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    write_files(drive, 1, 2);
    drive.unload().unwrap();
    let state = drive.state().unwrap();
    assert!(matches!(state, MediumState::Empty | MediumState::Unloaded), "{state:?}");
    drive.load().unwrap();
    assert_eq!(drive.state().unwrap(), MediumState::Ready);
    let error = drive.write_block(&block(0, 1)).unwrap_err();
    assert!(matches!(error, DriveError::PositionLost(_)), "{error}");
    let error = drive.write_filemark(Filemark::Immediate).unwrap_err();
    assert!(matches!(error, DriveError::PositionLost(_)), "{error}");
    assert!(drive.position().unwrap().at_beginning);
    assert_eq!(read_all(drive).len(), 3);
}

#[test]
fn a_block_has_at_least_one_byte_and_at_most_24_bits_of_them() {
    let mut bench = loaded();
    for length in [0, 1 << 24] {
        let error = bench.drive.write_block(&vec![0; length]).unwrap_err();
        assert!(matches!(error, DriveError::Unsupported(_)), "{error}");
    }
    assert_eq!(bench.drive.position().unwrap().object, object(0));
}

#[test]
fn blocks_that_drive_or_adapter_do_not_take_are_refused_beforehand() {
    let mut bench = loaded();
    let longest = bench.drive.longest_block().unwrap();
    assert!(longest >= 512 << 10, "{longest}");
    let preparation = Preparation { block_size: longest, ..PREPARATION };
    bench.drive.prepare(&preparation).unwrap();
    let preparation = Preparation { block_size: longest + 1, ..PREPARATION };
    let error = bench.drive.prepare(&preparation).unwrap_err();
    assert!(matches!(error, DriveError::Unsupported(_)), "{error}");
}

#[test]
fn a_cartridge_is_described() {
    let mut bench = loaded();
    let medium = bench.drive.medium().unwrap();
    assert!(medium.generation.is_some(), "{medium:?}");
    assert_eq!(medium.partitions, 1);
    assert!(!medium.worm && !medium.write_protected);
    assert!(medium.chip_readable && !medium.mam_serial.is_empty(), "{medium:?}");
    let capacity = bench.drive.remaining().unwrap();
    assert_eq!(medium.capacity, Some(capacity));
    assert!(capacity.remaining > ByteCount(0));
    assert!(capacity.maximum.unwrap() >= capacity.remaining, "{capacity:?}");
}

#[test]
fn attributes_are_written_read_and_deleted() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    let barcode = Attribute::of_host(id::BARCODE, "TST001L8").unwrap();
    let pool = Attribute::of_host(id::POOL, "rehearsal").unwrap();
    drive.mam_write(&[pool.clone(), barcode.clone()]).unwrap();
    assert_eq!(drive.mam_read(id::BARCODE).unwrap().unwrap().text(), "TST001L8");
    assert_eq!(drive.medium().unwrap().notes.barcode, "TST001L8");
    let ids: Vec<_> = drive.chip().unwrap().unwrap().iter().map(|a| a.id).collect();
    assert!(ids.contains(&id::POOL) && ids.is_sorted(), "{ids:04x?}");
    drive.mam_write(&[Attribute { value: Vec::new(), ..pool }]).unwrap();
    assert_eq!(drive.mam_read(id::POOL).unwrap(), None);
}

#[test]
fn blank_is_a_cartridge_of_which_nothing_says_otherwise() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    let owner = Attribute::of_host(id::APPLICATION_NAME, "").unwrap();
    let nobody = Attribute { value: Vec::new(), ..owner };
    drive.mam_write(std::slice::from_ref(&nobody)).unwrap();
    let found = drive.is_blank().unwrap();
    assert!(matches!(found, Blankness::Blank), "{found:?}");
    assert!(drive.position().unwrap().at_beginning);

    let owner = Attribute::of_host(id::APPLICATION_NAME, "someone").unwrap();
    drive.mam_write(&[owner]).unwrap();
    let found = drive.is_blank().unwrap();
    assert!(
        matches!(&found, Blankness::Owned(owner) if owner.application == "someone"),
        "{found:?}"
    );
    drive.mam_write(&[nobody]).unwrap();

    drive.write_filemark(Filemark::Synchronous).unwrap();
    let found = drive.is_blank().unwrap();
    assert!(matches!(found, Blankness::Recorded), "{found:?}");
    drive.write_block(&block(0, 1 << 17)).unwrap();
    let found = drive.is_blank().unwrap();
    assert!(matches!(found, Blankness::Recorded), "{found:?}");
    assert!(drive.position().unwrap().at_beginning);
}

#[test]
fn a_reservation_is_held_until_it_is_released() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    for _ in 0..2 {
        assert_eq!(drive.reserve(0x7461_7065_0000_0001).unwrap(), Holding::Held);
        drive.write_block(&block(0, BLOCK)).unwrap();
        drive.release().unwrap();
        drive.release().unwrap();
    }
    drive.write_block(&block(0, BLOCK)).unwrap();
}

#[test]
fn what_was_written_and_not_flushed_lands_before_motion() {
    let mut bench = loaded();
    let drive = &mut bench.drive;
    for number in 0..4 {
        assert_eq!(drive.write_block(&block(number, BLOCK)).unwrap(), Written::Clear);
    }
    drive.rewind().unwrap();
    assert_eq!(read_all(drive).len(), 4);
}

#[test]
fn the_last_act_rewinds_and_lets_the_cartridge_go() {
    let mut bench = loaded();
    write_files(&mut bench.drive, 1, 1);
    bench.drive.reserve(9).unwrap();
    bench.drive.finish(LastAct::Rewind).unwrap();
    let Some(place) = &bench.place else { return };
    let mut drive = place.open();
    assert!(drive.position().unwrap().at_beginning);
    assert_eq!(read_all(&mut drive).len(), 2);
    drive.finish(LastAct::Unload).unwrap();
    place.library.pull_out(0).unwrap();
}
