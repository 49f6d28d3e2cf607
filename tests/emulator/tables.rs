//! Modes, logs, the chip, reservations and protection.

use tapevault::{
    emulator::{Cartridge, CommandKind, Effect, EmulatedDrive, Fault, Generation, Settings, drive},
    scsi::{
        cdb::{
            AttributeAction, Command, LogControl, OpcodeQuery, PageControl, ReserveOutAction, U24,
        },
        limits::BlockLimits,
        log::Page,
        mam::{self, Attribute},
        mode::{Parameters, RawPage},
        reservation::{EXCLUSIVE_ACCESS, ReserveParameters},
    },
    transport::{Transfer, Transport},
};

use crate::rig::{
    MIB, ask, code, library, load, locate, mark, read, ready, run, say, settle, write,
};

fn modes(drive: &mut dyn Transport, page: u8, subpage: u8) -> Parameters {
    let control = PageControl::Current;
    let command =
        Command::ModeSense10 { no_descriptors: false, control, page, subpage, allocation: 4096 };
    Parameters::decode_10(&ask(drive, command).data).unwrap()
}

fn select(drive: &mut dyn Transport, list: &Parameters) -> String {
    let bytes = list.encode_select_10();
    let length = u16::try_from(bytes.len()).unwrap();
    let command = Command::ModeSelect10 { page_format: true, save: false, length };
    run(drive, &command, Transfer::ToDevice(&bytes)).said
}

fn log(drive: &mut dyn Transport, page: u8) -> Page {
    let (control, subpage, parameter) = (LogControl::Cumulative, 0, 0);
    let command = Command::LogSense { control, page, subpage, parameter, allocation: 8192 };
    Page::decode(&ask(drive, command).data).unwrap()
}

fn attributes(drive: &mut dyn Transport) -> Vec<Attribute> {
    let action = AttributeAction::Values;
    let command =
        Command::ReadAttribute { action, partition: 0, first: 0, allocation: 8192, cached: false };
    mam::decode(&ask(drive, command).data).unwrap()
}

fn write_attributes(drive: &mut dyn Transport, list: &[Attribute]) -> String {
    let bytes = mam::encode(list);
    let length = u32::try_from(bytes.len()).unwrap();
    let command = Command::WriteAttribute { write_through: true, partition: 0, length };
    run(drive, &command, Transfer::ToDevice(&bytes)).said
}

#[test]
fn modes_are_taken_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    drive.speak_as(7);
    drive.speak_as(0);
    let all = modes(&mut drive, 0x3F, 0xFF);
    assert_eq!(all.header.medium_type, 0x88);
    assert_eq!(all.header.buffered, 1);
    assert_eq!(all.block.unwrap().density, 0x5E);
    assert!(all.pages.len() >= 8);
    assert_eq!(select(&mut drive, &all), "good", "what was delivered is taken");

    let mut changed = modes(&mut drive, 0x0F, 0);
    changed.pages[0].body[0] &= 0x7F;
    assert_eq!(select(&mut drive, &changed), "good");
    assert_eq!(modes(&mut drive, 0x0F, 0).pages[0].body[0], 0x40);
    drive.speak_as(7);
    assert_eq!(say(&mut drive, Command::TestUnitReady), "6/2A/01", "the others are told");
    drive.speak_as(0);
    assert_eq!(say(&mut drive, Command::TestUnitReady), "good");

    let mut wrong = modes(&mut drive, 0x0F, 0);
    wrong.pages[0].body[0] |= 0x80;
    wrong.pages.push(RawPage { code: 0x11, subpage: None, savable: false, body: vec![9; 6] });
    assert_eq!(select(&mut drive, &wrong), "5/26/00");
    assert_eq!(modes(&mut drive, 0x0F, 0).pages[0].body[0], 0x40);
    let command = Command::ModeSense6 {
        no_descriptors: true,
        control: PageControl::Saved,
        page: 0x0F,
        subpage: 0,
        allocation: 255,
    };
    assert_eq!(ask(&mut drive, command).said, "5/39/00");

    let limits = BlockLimits::decode(&ask(&mut drive, Command::ReadBlockLimits).data).unwrap();
    assert_eq!((limits.longest, limits.shortest), (U24::try_from(8_u32 << 20).unwrap(), 1));
}

#[test]
fn the_chip_keeps_what_hosts_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    let find = |list: &[Attribute], id| list.iter().find(|own| own.id == id).cloned();
    let before = attributes(&mut drive);
    assert_eq!(find(&before, mam::id::MAXIMUM_CAPACITY).unwrap().number(), Some(64));
    assert_eq!(find(&before, mam::id::LOAD_COUNT).unwrap().number(), Some(1));
    assert_eq!(find(&before, mam::id::APPLICATION_VENDOR), None);
    assert!(before.is_sorted_by_key(|own| own.id));

    let vendor = Attribute::of_host(mam::id::APPLICATION_VENDOR, "TAPEVLT").unwrap();
    let barcode = Attribute::of_host(mam::id::BARCODE, "T00001L8").unwrap();
    assert_eq!(write_attributes(&mut drive, &[barcode.clone(), vendor.clone()]), "5/26/00");
    assert_eq!(write_attributes(&mut drive, &[vendor.clone(), barcode]), "good");
    let serial = find(&before, mam::id::SERIAL).unwrap();
    assert_eq!(write_attributes(&mut drive, &[serial]), "5/26/00", "not a host's");
    assert_eq!(load(&mut drive, false), "good");
    assert_eq!(load(&mut drive, true), "good");
    settle(&mut drive);
    let after = attributes(&mut drive);
    assert_eq!(find(&after, mam::id::APPLICATION_VENDOR).unwrap().text(), "TAPEVLT");
    assert_eq!(find(&after, mam::id::LOAD_COUNT).unwrap().number(), Some(2));
    let gone = Attribute { value: Vec::new(), ..vendor };
    assert_eq!(write_attributes(&mut drive, &[gone]), "good");
    assert_eq!(find(&attributes(&mut drive), mam::id::APPLICATION_VENDOR), None);

    let reference = |drive: &mut EmulatedDrive| {
        find(&attributes(drive), mam::id::VOLUME_CHANGE_REFERENCE).unwrap().number()
    };
    let unwritten = reference(&mut drive);
    write(&mut drive, b"x");
    assert_ne!(reference(&mut drive), unwritten);
}

#[test]
fn alerts_are_cleared_by_one_page_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    write(&mut drive, b"x");
    let bad = Fault::once(Effect::MediumError).at(CommandKind::Read);
    drive.set_faults(vec![bad, Fault::once(Effect::Alert(20)).at(CommandKind::Rewind)]);
    assert_eq!(say(&mut drive, Command::Rewind { immediate: false }), "good");
    assert_eq!(read(&mut drive, 1).said, "3/11/00");
    let word = 1 << (64 - 20) | 1 << (64 - 5);
    assert_eq!(log(&mut drive, 0x12).number(0), Some(word));
    assert_eq!(log(&mut drive, 0x12).number(0), Some(word));
    assert_eq!(log(&mut drive, 0x2E).number(20), Some(1));
    assert_eq!(log(&mut drive, 0x2E).number(20), Some(0));
    assert_eq!(log(&mut drive, 0x12).number(0), Some(0));
}

#[test]
fn every_listed_page_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    write(&mut drive, &[5; 5000]);
    mark(&mut drive, 1);
    let (control, subpage, parameter) = (LogControl::Cumulative, 0, 0);
    let command = Command::LogSense { control, page: 0, subpage, parameter, allocation: 255 };
    let listed = Page::decode_supported(&ask(&mut drive, command).data).unwrap();
    for page in &listed[1..] {
        assert!(!log(&mut drive, *page).parameters.is_empty(), "page {page:#04x}");
    }
    assert_eq!(log(&mut drive, 0x0C).number(0), Some(5000));
    assert_eq!(log(&mut drive, 0x17).number(1), Some(1));
    assert_eq!(log(&mut drive, 0x17).text(0x42).as_deref(), Some("T00001L8"));
    let command = Command::LogSense { control, page: 0x38, subpage, parameter, allocation: 255 };
    assert_eq!(ask(&mut drive, command).said, "5/24/00");
    let query = OpcodeQuery::All;
    let command =
        Command::ReportSupportedOperationCodes { timeouts: true, query, allocation: 8192 };
    let codes = ask(&mut drive, command).data;
    assert_eq!(codes.len() % 20, 4);
    let density =
        Command::ReportDensitySupport { medium_types: false, of_medium: true, allocation: 255 };
    let density = ask(&mut drive, density).data;
    assert_eq!((density.len(), density[4]), (4 + 52, 0x5E));
}

fn reserve(drive: &mut EmulatedDrive, action: ReserveOutAction, keys: (u64, u64)) -> String {
    let (key, action_key) = keys;
    let list = ReserveParameters { key, action_key, persist_through_power_loss: false }.encode();
    let length = u32::try_from(list.len()).unwrap();
    let command = Command::PersistentReserveOut { action, kind: EXCLUSIVE_ACCESS, length };
    run(drive, &command, Transfer::ToDevice(&list)).said
}

#[test]
fn a_reservation_keeps_others_out_until_it_is_preempted() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    assert_eq!(reserve(&mut drive, ReserveOutAction::Reserve, (1, 0)), "ReservationConflict");
    assert_eq!(reserve(&mut drive, ReserveOutAction::Register, (0, 1)), "good");
    assert_eq!(reserve(&mut drive, ReserveOutAction::Reserve, (1, 0)), "good");
    assert_eq!(write(&mut drive, b"mine").said, "good");
    drive.speak_as(2);
    assert_eq!(write(&mut drive, b"theirs").said, "ReservationConflict");
    assert_eq!(say(&mut drive, Command::TestUnitReady), "ReservationConflict");
    assert_eq!(ask(&mut drive, Command::Inquiry { page: None, allocation: 96 }).said, "good");
    assert_eq!(reserve(&mut drive, ReserveOutAction::Register, (0, 2)), "good");
    assert_eq!(reserve(&mut drive, ReserveOutAction::Preempt, (2, 1)), "good");
    assert_eq!(write(&mut drive, b"theirs").said, "good");
    drive.speak_as(0);
    assert_eq!(write(&mut drive, b"mine").said, "ReservationConflict");
    drive.speak_as(2);
    assert_eq!(reserve(&mut drive, ReserveOutAction::Release, (2, 0)), "good");
    drive.speak_as(0);
    assert_eq!(say(&mut drive, Command::TestUnitReady), "6/2A/05");
    assert_eq!(write(&mut drive, b"mine").said, "good");
}

/// A drive of `generation` with a cartridge that `change` has made special, ready.
fn with(
    dir: &std::path::Path,
    generation: Generation,
    change: impl FnOnce(&mut Cartridge),
) -> EmulatedDrive {
    let library = library(dir, Settings::default());
    let mut cartridge = Cartridge::new(code("T00001L8"), generation, 64 * MIB);
    change(&mut cartridge);
    library.shelve_cartridge(&cartridge).unwrap();
    library.push_in(0, code("T00001L8")).unwrap();
    drive(dir, 0).unwrap()
}

#[test]
fn protected_media_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive =
        with(dir.path(), Generation::Lto8, |cartridge| cartridge.write_protected = true);
    settle(&mut drive);
    assert!(modes(&mut drive, 0x10, 0).header.write_protected);
    assert_eq!(write(&mut drive, b"x").said, "7/27/00");
    assert_eq!(mark(&mut drive, 1), "7/27/00");
    assert_eq!(mark(&mut drive, 0), "good");

    let dir = tempfile::tempdir().unwrap();
    let mut drive = with(dir.path(), Generation::Lto8, |cartridge| cartridge.worm = true);
    settle(&mut drive);
    assert_eq!(modes(&mut drive, 0x1D, 0).header.medium_type, 0x8C);
    assert_eq!(write(&mut drive, b"x").said, "good");
    assert_eq!(mark(&mut drive, 1), "good");
    assert_eq!(locate(&mut drive, 0), "good");
    assert_eq!(write(&mut drive, b"y").said, "7/30/0C");
    assert_eq!(say(&mut drive, Command::Erase6 { long: false, immediate: false }), "7/30/0C");
    assert_eq!(locate(&mut drive, 1), "good");
    assert_eq!(write(&mut drive, b"over the last mark").said, "good");
}

#[test]
fn a_cartridge_of_another_generation_is_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut seven = with(dir.path(), Generation::Lto7, |_| {});
    settle(&mut seven);
    assert_eq!(write(&mut seven, b"x").said, "good", "LTO-8 drives write LTO-7");
    let dir = tempfile::tempdir().unwrap();
    let mut six = with(dir.path(), Generation::Lto6, |_| {});
    let said: Vec<String> = (0..5).map(|_| say(&mut six, Command::TestUnitReady)).collect();
    assert_eq!(said[4], "3/30/00", "{said:?}");
    assert_eq!(load(&mut six, false), "good");
}

#[test]
fn removal_is_prevented_until_it_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    assert_eq!(say(&mut drive, Command::PreventAllow { prevent: true }), "good");
    assert_eq!(load(&mut drive, false), "5/53/02");
    assert_eq!(say(&mut drive, Command::PreventAllow { prevent: false }), "good");
    assert_eq!(load(&mut drive, false), "good");
}
