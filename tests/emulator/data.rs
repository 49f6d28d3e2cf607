//! Data, motion and position.

use tapevault::{
    emulator::{EmulatedDrive, Generation, Settings, changer, drive},
    scsi::{
        cdb::{Command, LocateTarget, LogControl, PageControl, PositionForm, SpaceCode},
        inquiry::Standard,
        log::Page,
        mode::{BlockDescriptor, Parameters, page::DeviceConfigurationExtension},
        position::{Extended, Short},
    },
    transport::Transfer,
};

use crate::rig::{
    MIB, ask, code, library, locate, mark, mark_at_once, position, read, ready, run, say, space,
    u24, write,
};

#[test]
fn a_drive_says_who_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    let standard = ask(&mut drive, Command::Inquiry { page: None, allocation: 96 });
    let standard = Standard::decode(&standard.data).unwrap();
    assert_eq!((standard.vendor.as_str(), standard.removable), ("TAPEVLT", true));
    assert_eq!(standard.product, "EMULATED LTO-8");
    let serial = ask(&mut drive, Command::Inquiry { page: Some(0x80), allocation: 255 });
    assert!(serial.data[4..].starts_with(b"EMU"), "{serial:?}");
    assert_eq!(
        ask(&mut drive, Command::Inquiry { page: Some(0x7F), allocation: 255 }).said,
        "5/24/00"
    );
}

#[test]
fn power_and_media_changes_are_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path(), Settings::default());
    let mut drive = drive(dir.path(), 0).unwrap();
    assert_eq!(say(&mut drive, Command::TestUnitReady), "6/29/00");
    assert_eq!(say(&mut drive, Command::TestUnitReady), "2/3A/00");
    assert_eq!(read(&mut drive, 10).said, "2/3A/00");
    library.add_cartridge(code("T00001L8"), Generation::Lto8, 64 * MIB).unwrap();
    let mut changer = changer(dir.path()).unwrap();
    let to_drive =
        Command::MoveMedium { transport: 0, source: 4096, destination: 256, invert: false };
    assert_eq!(say(&mut changer, to_drive), "good");
    assert_eq!(say(&mut drive, Command::TestUnitReady), "6/28/00");
    assert_eq!(say(&mut drive, Command::TestUnitReady), "2/04/01");
    assert_eq!(say(&mut drive, Command::TestUnitReady), "good");
}

#[test]
fn blocks_and_marks_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    assert!(position(&mut drive).beginning);
    assert_eq!(read(&mut drive, 10).said, "8/00/05", "a blank tape");
    assert_eq!(write(&mut drive, b"first").said, "good");
    assert_eq!(write(&mut drive, b"second block").said, "good");
    assert_eq!(mark(&mut drive, 1), "good");
    assert_eq!(write(&mut drive, b"third").said, "good");
    let long = position(&mut drive);
    assert_eq!((long.object, long.file, long.beginning), (4, 1, false));
    assert_eq!(say(&mut drive, Command::Rewind { immediate: false }), "good");

    assert_eq!(read(&mut drive, 5).data, b"first");
    let long_block = read(&mut drive, 6);
    assert_eq!((long_block.said.as_str(), long_block.information), ("0/00/00 ILI", Some(-6)));
    assert_eq!(long_block.data, b"second");
    let filemark = read(&mut drive, 10);
    assert_eq!((filemark.said.as_str(), filemark.information), ("0/00/01 FM", Some(10)));
    let short_block = read(&mut drive, 100);
    assert_eq!((short_block.said.as_str(), short_block.information), ("0/00/00 ILI", Some(95)));
    assert_eq!(short_block.data, b"third");
    let end = read(&mut drive, 100);
    assert_eq!((end.said.as_str(), end.information, end.data.len()), ("8/00/05", Some(100), 0));

    assert_eq!(locate(&mut drive, 1), "good");
    let command = Command::Read6 { fixed: false, suppress_length: true, length: u24(100) };
    let reply = ask(&mut drive, command);
    assert_eq!((reply.said.as_str(), reply.data.as_slice()), ("good", &b"second block"[..]));
    assert_eq!(write(&mut drive, &[]).said, "good", "nothing is written by no bytes");
    assert_eq!(position(&mut drive).object, 2);
}

#[test]
fn a_write_in_the_middle_ends_the_tape_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    for block in [b"a", b"b", b"c"] {
        assert_eq!(write(&mut drive, block).said, "good");
    }
    assert_eq!(locate(&mut drive, 1), "good");
    assert_eq!(write(&mut drive, b"B").said, "good");
    assert_eq!(read(&mut drive, 1).said, "8/00/05");
    assert_eq!(locate(&mut drive, 2), "good");
    assert_eq!(locate(&mut drive, 3), "8/00/05");
    assert_eq!(locate(&mut drive, 1), "good");
    let erase = Command::Erase6 { long: false, immediate: false };
    assert_eq!(say(&mut drive, erase), "good");
    let end = Command::Locate16 { immediate: false, partition: None, to: LocateTarget::EndOfData };
    assert_eq!(say(&mut drive, end), "good");
    assert_eq!(position(&mut drive).object, 1);
}

#[test]
fn spacing_stops_where_the_standard_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    // Objects: 0 1 2 | 3 mark | 4 5 | 6 mark | 7 mark | 8
    for _ in 0..3 {
        write(&mut drive, b"x");
    }
    mark_at_once(&mut drive, 1);
    write(&mut drive, b"x");
    write(&mut drive, b"x");
    mark_at_once(&mut drive, 2);
    write(&mut drive, b"x");
    let table = [
        // from, what, count, sense, information, to
        (0, SpaceCode::Blocks, 2, "good", None, 2),
        (1, SpaceCode::Blocks, 5, "0/00/01 FM", Some(3), 4),
        (8, SpaceCode::Blocks, 3, "8/00/05", Some(2), 9),
        (6, SpaceCode::Blocks, -1, "good", None, 5),
        (6, SpaceCode::Blocks, -4, "0/00/01 FM", Some(2), 3),
        (2, SpaceCode::Blocks, -5, "0/00/04 EOM", Some(3), 0),
        (0, SpaceCode::Filemarks, 2, "good", None, 7),
        (5, SpaceCode::Filemarks, 4, "8/00/05", Some(2), 9),
        (9, SpaceCode::Filemarks, -2, "good", None, 6),
        (9, SpaceCode::Filemarks, -7, "0/00/04 EOM", Some(4), 0),
        (0, SpaceCode::SequentialFilemarks, 2, "good", None, 8),
        (0, SpaceCode::EndOfData, 0, "good", None, 9),
        (4, SpaceCode::Blocks, 0, "good", None, 4),
    ];
    for (from, what, count, said, information, to) in table {
        assert_eq!(locate(&mut drive, from), "good");
        let reply = space(&mut drive, what, count);
        let label = format!("{what:?} {count} from {from}");
        assert_eq!((reply.said.as_str(), reply.information), (said, information), "{label}");
        assert_eq!(position(&mut drive).object, to, "{label}");
    }
    let second = LocateTarget::File(2);
    let command = Command::Locate16 { immediate: false, partition: None, to: second };
    assert_eq!(say(&mut drive, command), "good");
    assert_eq!((position(&mut drive).object, position(&mut drive).file), (7, 2));
}

#[test]
fn the_buffer_is_told_and_a_flush_empties_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    let extended = |drive: &mut EmulatedDrive| {
        let command = Command::ReadPosition { form: PositionForm::Extended, allocation: 32 };
        Extended::decode(&ask(drive, command).data).unwrap()
    };
    let remaining = |drive: &mut EmulatedDrive| {
        let (control, page, subpage) = (LogControl::Cumulative, 0x31, 0);
        let command = Command::LogSense { control, page, subpage, parameter: 0, allocation: 1024 };
        Page::decode(&ask(drive, command).data).unwrap().number(1).unwrap()
    };
    let block = vec![7; 1 << 20];
    assert_eq!(remaining(&mut drive), 64);
    assert_eq!(write(&mut drive, &block).said, "good");
    assert_eq!(mark_at_once(&mut drive, 1), "good");
    let told = extended(&mut drive);
    assert_eq!((told.first, told.last, told.objects), (2, 0, 2));
    assert!(told.bytes >= MIB);
    assert_eq!(remaining(&mut drive), 64, "stale until a flush");
    assert_eq!(mark(&mut drive, 0), "good");
    let told = extended(&mut drive);
    assert_eq!((told.first, told.last, told.objects, told.bytes), (2, 2, 0, 0));
    assert_eq!(remaining(&mut drive), 62, "coarse");
    let command = Command::ReadPosition { form: PositionForm::Short, allocation: 0 };
    assert_eq!(Short::decode(&ask(&mut drive, command).data).unwrap().first, 2);
}

#[test]
fn the_end_comes_in_three_steps() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 8 * MIB);
    let sense = Command::ModeSense10 {
        no_descriptors: false,
        control: PageControl::Current,
        page: 0x10,
        subpage: 1,
        allocation: 255,
    };
    let mut modes = Parameters::decode_10(&ask(&mut drive, sense).data).unwrap();
    let mut extension: DeviceConfigurationExtension = modes.get().unwrap();
    extension.early_warning_megabytes = 4.into();
    modes.set(&extension);
    let list = modes.encode_select_10();
    let length = u16::try_from(list.len()).unwrap();
    let select = Command::ModeSelect10 { page_format: true, save: false, length };
    assert_eq!(run(&mut drive, &select, Transfer::ToDevice(&list)).said, "good");

    let block = vec![1; 1 << 20];
    let mut said = Vec::new();
    for _ in 0..26 {
        let reply = write(&mut drive, &block);
        if said.last() != Some(&reply.said) {
            said.push(reply.said);
        }
    }
    // Programmable early warning tells of the crossing, early warning of every write past it.
    let expected = ["good", "0/00/07 EOM", "good", "0/00/02 EOM", "D/00/02 EOM"];
    assert_eq!(said, expected);
    let long = position(&mut drive);
    assert_eq!((long.object, long.early_warning), (24, true), "8 MiB and 16 MiB of reserve");
    assert!(long.programmable_early_warning);
    assert_eq!(write(&mut drive, &block).information, Some(1 << 20));
    assert_eq!(mark(&mut drive, 1), "D/00/02 EOM");
    assert_eq!(mark(&mut drive, 0), "good");
    assert_eq!(locate(&mut drive, 9), "good");
    assert_eq!(mark(&mut drive, 1), "0/00/02 EOM");
}

#[test]
fn fixed_blocks_are_counted_in_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    let fixed =
        |length| Command::Read6 { fixed: true, suppress_length: false, length: u24(length) };
    assert_eq!(ask(&mut drive, fixed(1)).said, "5/24/00", "no block length is set");
    let block = Some(BlockDescriptor { density: 0, blocks: u24(0), block_length: u24(4) });
    let mut modes = Parameters { block, ..Default::default() };
    modes.header.buffered = 1;
    let list = modes.encode_select_6();
    let length = u8::try_from(list.len()).unwrap();
    let select = Command::ModeSelect6 { page_format: true, save: false, length };
    assert_eq!(run(&mut drive, &select, Transfer::ToDevice(&list)).said, "good");
    let command = Command::Write6 { fixed: true, length: u24(3) };
    assert_eq!(run(&mut drive, &command, Transfer::ToDevice(b"aaaabbbbcccc")).said, "good");
    write(&mut drive, b"odd");
    mark(&mut drive, 1);
    assert_eq!(say(&mut drive, Command::Rewind { immediate: false }), "good");
    assert_eq!(ask(&mut drive, fixed(2)).data, b"aaaabbbb");
    let odd = ask(&mut drive, fixed(5));
    assert_eq!((odd.said.as_str(), odd.information), ("0/00/00 ILI", Some(4)));
    assert_eq!(odd.data, b"ccccodd");
    let filemark = ask(&mut drive, fixed(5));
    assert_eq!((filemark.said.as_str(), filemark.information), ("0/00/01 FM", Some(5)));
}
