//! What drives do that is easily forgotten.

use tapevault::{
    emulator::{CommandKind, Effect, EmulatedDrive, Fault, Generation, Settings, drive},
    scsi::{
        cdb::{Command, LogControl, PageControl},
        log::Page,
        mode::{Parameters, page::Partitions},
    },
};

use crate::rig::{
    MIB, ask, code, library, load, locate, mark, position, read, ready, say, settle, write,
};

/// A drive of these settings with a cartridge, which is ready.
fn ready_with(
    dir: &std::path::Path,
    settings: Settings,
    change: impl FnOnce(&mut tapevault::emulator::Cartridge),
) -> EmulatedDrive {
    let library = library(dir, settings);
    let mut cartridge =
        tapevault::emulator::Cartridge::new(code("T00001L8"), Generation::Lto8, 32 * MIB);
    change(&mut cartridge);
    library.shelve_cartridge(&cartridge).unwrap();
    library.push_in(0, code("T00001L8")).unwrap();
    let mut drive = drive(dir, 0).unwrap();
    settle(&mut drive);
    drive
}

fn remaining_mib(drive: &mut EmulatedDrive) -> u64 {
    let (control, page, subpage) = (LogControl::Cumulative, 0x31, 0);
    let command = Command::LogSense { control, page, subpage, parameter: 0, allocation: 1024 };
    Page::decode(&ask(drive, command).data).unwrap().number(1).unwrap()
}

fn partitions(drive: &mut EmulatedDrive) -> u8 {
    let command = Command::ModeSense10 {
        no_descriptors: false,
        control: PageControl::Current,
        page: 0x11,
        subpage: 0,
        allocation: 255,
    };
    Parameters::decode_10(&ask(drive, command).data)
        .unwrap()
        .get::<Partitions>()
        .unwrap()
        .additional
}

#[test]
fn inquiry_and_report_luns_leave_attentions_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    library(dir.path(), Settings::default());
    let mut drive = drive(dir.path(), 0).unwrap();
    for _ in 0..3 {
        let inquiry = Command::Inquiry { page: None, allocation: 96 };
        assert_eq!(ask(&mut drive, inquiry).said, "good");
        let luns = Command::ReportLuns { select: 0, allocation: 16 };
        assert_eq!(ask(&mut drive, luns).said, "good");
    }
    assert_eq!(say(&mut drive, Command::TestUnitReady), "6/29/00", "it waits still");
}

#[test]
fn after_a_hard_error_nothing_is_written_until_the_cartridge_was_unloaded() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    assert_eq!(write(&mut drive, b"before").said, "good");
    drive.set_faults(vec![Fault::once(Effect::HardwareError).at(CommandKind::Write)]);
    assert_eq!(write(&mut drive, b"lost").said, "4/44/00");
    for _ in 0..3 {
        assert_eq!(write(&mut drive, b"refused").said, "4/44/00");
        assert_eq!(mark(&mut drive, 1), "4/44/00");
    }
    assert_eq!(locate(&mut drive, 0), "good");
    assert_eq!(read(&mut drive, 6).data, b"before", "reading goes on");
    assert_eq!(write(&mut drive, b"refused").said, "4/44/00");
    assert_eq!(load(&mut drive, false), "good");
    assert_eq!(load(&mut drive, true), "good");
    settle(&mut drive);
    assert_eq!(locate(&mut drive, 1), "good");
    assert_eq!(write(&mut drive, b"after").said, "good");
}

#[test]
fn a_divided_cartridge_says_so_until_it_is_formatted() {
    let dir = tempfile::tempdir().unwrap();
    let change = |cartridge: &mut tapevault::emulator::Cartridge| {
        cartridge.additional_partitions = 1;
    };
    let mut drive = ready_with(dir.path(), Settings::default(), change);
    assert_eq!(partitions(&mut drive), 1);
    assert_eq!(read(&mut drive, 10).said, "8/00/05", "and yet nothing stands at its beginning");
    let format = Command::FormatMedium {
        immediate: false,
        verify: false,
        format: tapevault::scsi::cdb::Format::Default,
        length: 0,
    };
    assert_eq!(say(&mut drive, format), "good");
    assert_eq!(partitions(&mut drive), 0);
    assert_eq!(load(&mut drive, false), "good");
    assert_eq!(load(&mut drive, true), "good");
    settle(&mut drive);
    assert_eq!(partitions(&mut drive), 0);
}

#[test]
fn set_capacity_leaves_a_part_of_the_tape_and_nothing_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready_with(dir.path(), Settings::default(), |_| {});
    assert_eq!(remaining_mib(&mut drive), 32);
    assert_eq!(write(&mut drive, b"gone").said, "good");
    let half = Command::SetCapacity { immediate: false, proportion: 0x7FFF };
    assert_eq!(say(&mut drive, half), "5/2C/00", "only at the beginning");
    assert_eq!(locate(&mut drive, 0), "good");
    assert_eq!(say(&mut drive, half), "good");
    assert_eq!(read(&mut drive, 4).said, "8/00/05");
    assert_eq!(remaining_mib(&mut drive), 15);
    let block = vec![1; 1 << 20];
    let clear = (0..64).take_while(|_| write(&mut drive, &block).said == "good").count();
    assert_eq!(clear, 15, "early warning comes so much earlier");
    assert_eq!(locate(&mut drive, 0), "good");
    let whole = Command::SetCapacity { immediate: false, proportion: 0xFFFF };
    assert_eq!(say(&mut drive, whole), "good");
    assert_eq!(remaining_mib(&mut drive), 32);
}

#[test]
fn compression_saves_room_and_rewrites_take_it() {
    let blocks_until_warning = |settings: Settings, rewritten: u64| {
        let dir = tempfile::tempdir().unwrap();
        let mut drive = ready_with(dir.path(), settings, |_| {});
        let rewrite = Fault::always(Effect::RecoveredError).at(CommandKind::Write);
        if rewritten > 0 {
            drive.set_faults(vec![Fault { times: Some(rewritten), ..rewrite }]);
        }
        let block = vec![1; 1 << 20];
        let lands = |_: &u32| !write(&mut drive, &block).said.ends_with("EOM");
        (0..200).take_while(lands).count()
    };
    assert_eq!(blocks_until_warning(Settings::default(), 0), 32, "as much as fits");
    let compressing = Settings { stored_percent: 50, ..Settings::default() };
    assert_eq!(blocks_until_warning(compressing, 0), 64);
    let rewriting = Settings { rewrite_bytes: 2 * MIB, ..Settings::default() };
    assert_eq!(blocks_until_warning(rewriting.clone(), 0), 32);
    assert_eq!(blocks_until_warning(rewriting, 5), 22, "five times two blocks' room is gone");
}

#[test]
fn a_host_adapter_that_tells_no_residual_leaves_it_to_sense() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { residual_in_header: false, ..Settings::default() };
    let mut drive = ready_with(dir.path(), settings, |_| {});
    assert_eq!(write(&mut drive, b"short").said, "good");
    assert_eq!(mark(&mut drive, 1), "good");
    assert_eq!(locate(&mut drive, 0), "good");
    let block = read(&mut drive, 100);
    assert_eq!((block.said.as_str(), block.information), ("0/00/00 ILI", Some(95)));
    assert!(block.data.len() > 5, "as if all had moved");
    assert_eq!(read(&mut drive, 100).said, "0/00/01 FM");
    assert_eq!(position(&mut drive).object, 2);
}
