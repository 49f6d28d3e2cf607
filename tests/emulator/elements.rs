//! The robot, the mail slot and the operator's hand.

use tapevault::{
    emulator::{
        CommandKind, Effect, ElementKind, Fault, Generation, Library, Settings, changer, drive,
    },
    scsi::{
        cdb::{Command, PageControl, U24},
        mode::{Parameters, page::ElementAddresses},
    },
    transport::Transport,
};

use crate::rig::{MIB, ask, code, library, load, position, say, settle, write};

const DRIVE: u16 = 256;
const MAIL_SLOT: u16 = 16;
const SLOT: u16 = 4096;

fn carry(changer: &mut dyn Transport, source: u16, destination: u16) -> String {
    say(changer, Command::MoveMedium { transport: 0, source, destination, invert: false })
}

/// Where the library says that a cartridge is.
fn place(library: &Library, barcode: &str) -> Option<u16> {
    let elements = library.elements().unwrap();
    let found = elements.iter().find(|element| element.barcode == Some(code(barcode)));
    found.map(|element| element.address)
}

#[test]
fn moves_go_where_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path(), Settings::default());
    for barcode in ["T00001L8", "T00002L8"] {
        library.add_cartridge(code(barcode), Generation::Lto8, 64 * MIB).unwrap();
    }
    let mut robot = changer(dir.path()).unwrap();
    assert_eq!(carry(&mut robot, SLOT, SLOT + 1), "5/3B/0D");
    assert_eq!(carry(&mut robot, SLOT + 2, SLOT + 3), "5/3B/0E");
    assert_eq!(carry(&mut robot, SLOT, 9999), "5/21/01");
    assert_eq!(carry(&mut robot, SLOT, DRIVE), "good");
    let mut first = drive(dir.path(), 0).unwrap();
    settle(&mut first);
    write(&mut first, b"x");
    assert_eq!(carry(&mut robot, DRIVE, SLOT), "5/53/01", "it is threaded");
    say(&mut first, Command::PreventAllow { prevent: true });
    assert_eq!(carry(&mut robot, DRIVE, SLOT), "5/53/02");
    say(&mut first, Command::PreventAllow { prevent: false });
    assert_eq!(load(&mut first, false), "good");
    assert_eq!(carry(&mut robot, DRIVE, DRIVE + 1), "good");
    assert_eq!(say(&mut first, Command::TestUnitReady), "2/3A/00");
    let mut second = drive(dir.path(), 1).unwrap();
    settle(&mut second);
    assert_eq!(load(&mut second, false), "good");
    let swap = Command::ExchangeMedium {
        transport: 0,
        source: SLOT + 1,
        first: DRIVE + 1,
        second: SLOT + 1,
    };
    assert_eq!(say(&mut robot, swap), "good");
    assert_eq!(place(&library, "T00001L8"), Some(SLOT + 1));
    assert_eq!(place(&library, "T00002L8"), Some(DRIVE + 1));
    settle(&mut second);
    assert!(position(&mut second).beginning);
}

#[test]
fn a_library_may_unload_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path(), Settings { auto_unload: true, ..Settings::default() });
    library.add_cartridge(code("T00001L8"), Generation::Lto8, 64 * MIB).unwrap();
    let mut robot = changer(dir.path()).unwrap();
    assert_eq!(carry(&mut robot, SLOT, DRIVE), "good");
    let mut first = drive(dir.path(), 0).unwrap();
    settle(&mut first);
    assert_eq!(write(&mut first, b"x").said, "good");
    assert_eq!(carry(&mut robot, DRIVE, DRIVE + 1), "good");
    assert_eq!(write(&mut first, b"y").said, "2/3A/00");
    let mut second = drive(dir.path(), 1).unwrap();
    settle(&mut second);
    let end = tapevault::scsi::cdb::SpaceCode::EndOfData;
    assert_eq!(say(&mut second, Command::Space6 { code: end, count: 0 }), "good");
    assert_eq!(position(&mut second).object, 1, "all that was accepted is there");
}

#[test]
fn the_mail_slot_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path(), Settings::default());
    library.add_cartridge(code("T00001L8"), Generation::Lto8, 64 * MIB).unwrap();
    let mut robot = changer(dir.path()).unwrap();
    assert_eq!(carry(&mut robot, SLOT, MAIL_SLOT), "good");
    assert!(library.take(SLOT).is_err(), "that is no mail slot");
    assert_eq!(library.take(MAIL_SLOT).unwrap(), code("T00001L8"));
    assert_eq!(say(&mut robot, Command::TestUnitReady), "6/28/01");
    assert_eq!(say(&mut robot, Command::TestUnitReady), "good");
    assert_eq!(place(&library, "T00001L8"), None);
    assert_eq!(library.cartridges().unwrap(), [code("T00001L8")]);
    assert_eq!(library.insert(code("T00001L8")).unwrap(), MAIL_SLOT);
    assert!(library.insert(code("T00001L8")).is_err(), "it is in there");
    let placed = library.elements().unwrap();
    let placed = placed.iter().find(|element| element.kind == ElementKind::MailSlot).unwrap();
    assert!(placed.placed_by_operator);
    library.change_cartridge(code("T00001L8"), |own| own.write_protected = true).unwrap();
    assert!(library.cartridge(code("T00001L8")).unwrap().write_protected);
}

#[test]
fn the_inventory_has_the_layout_of_the_standard() {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path(), Settings::default());
    library.add_cartridge(code("T00001L8"), Generation::Lto8, 64 * MIB).unwrap();
    let mut robot = changer(dir.path()).unwrap();
    assert_eq!(carry(&mut robot, SLOT, DRIVE), "good");
    let command = Command::ReadElementStatus {
        volume_tags: true,
        kind: None,
        start: 0,
        count: 0xFFFF,
        current_data: true,
        device_id: true,
        allocation: U24::from(0xFFFF),
    };
    let data = ask(&mut robot, command).data;
    assert_eq!(data[..4], [0, 1, 0, 8], "a picker, a mail slot, two drives, four slots");
    let length = usize::from(u16::from_be_bytes([data[6], data[7]]));
    assert_eq!(data.len(), 8 + length);
    let drives = &data[data.len() - 8 - 2 * 86..];
    assert_eq!(drives[..4], [4, 0x80, 0, 86], "volume tags and names of drives");
    let first = &drives[8..94];
    assert_eq!(first[..3], [1, 0, 0x09], "address, full, accessible");
    assert_eq!(first[9..12], [0x81, 0x10, 0], "it came from slot 4096");
    assert_eq!(first[12..44], *b"T00001L8                        ");
    assert_eq!(first[48..52], [2, 1, 0, 34]);
    assert_eq!(first[52..76], *b"TAPEVLT EMULATED LTO-8  ");
    let mut named = drive(dir.path(), 0).unwrap();
    let serial = ask(&mut named, Command::Inquiry { page: Some(0x80), allocation: 255 });
    assert_eq!(serial.data[4..], first[76..86]);

    let control = PageControl::Current;
    let sense = Command::ModeSense6 {
        no_descriptors: true,
        control,
        page: 0x1D,
        subpage: 0,
        allocation: 255,
    };
    let modes = Parameters::decode_6(&ask(&mut robot, sense).data).unwrap();
    let addresses: ElementAddresses = modes.get().unwrap();
    assert_eq!((addresses.first_storage.get(), addresses.storages.get()), (SLOT, 4));
    assert_eq!((addresses.first_data_transfer.get(), addresses.data_transfers.get()), (DRIVE, 2));
}

#[test]
fn an_operator_feeds_a_drive_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path(), Settings { auto_load: false, ..Settings::default() });
    library.add_cartridge(code("T00001L8"), Generation::Lto8, 64 * MIB).unwrap();
    assert!(library.push_in(0, code("T00001L8")).is_err(), "it is in a slot");
    let mut robot = changer(dir.path()).unwrap();
    assert_eq!(carry(&mut robot, SLOT, MAIL_SLOT), "good");
    library.take(MAIL_SLOT).unwrap();
    library.push_in(0, code("T00001L8")).unwrap();
    let mut first = drive(dir.path(), 0).unwrap();
    assert_eq!(say(&mut first, Command::TestUnitReady), "6/29/00");
    assert_eq!(say(&mut first, Command::TestUnitReady), "2/04/02");
    assert_eq!(load(&mut first, true), "good");
    settle(&mut first);
    assert!(library.pull_out(0).is_err(), "it is threaded");
    assert_eq!(load(&mut first, false), "good");
    assert_eq!(library.pull_out(0).unwrap(), code("T00001L8"));
    assert_eq!(say(&mut first, Command::TestUnitReady), "2/3A/00");
}

#[test]
fn a_move_can_fail() {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path(), Settings::default());
    library.add_cartridge(code("T00001L8"), Generation::Lto8, 64 * MIB).unwrap();
    let mut robot = changer(dir.path()).unwrap();
    robot.set_faults(vec![Fault::once(Effect::Sense(4, 0x15, 0x01)).at(CommandKind::Move)]);
    assert_eq!(carry(&mut robot, SLOT, DRIVE), "4/15/01");
    assert_eq!(place(&library, "T00001L8"), Some(SLOT));
    assert_eq!(carry(&mut robot, SLOT, DRIVE), "good");
}

#[test]
fn stickers_can_be_swapped_and_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path(), Settings::default());
    for (barcode, capacity) in [("T00001L8", 64 * MIB), ("T00002L8", 128 * MIB)] {
        library.add_cartridge(code(barcode), Generation::Lto8, capacity).unwrap();
    }
    let serial = library.cartridge(code("T00001L8")).unwrap().serial;
    library.swap_stickers(code("T00001L8"), code("T00002L8")).unwrap();
    let other = library.cartridge(code("T00002L8")).unwrap();
    assert_eq!((other.serial, other.capacity_bytes), (serial, 64 * MIB));
    library.change_cartridge(code("T00001L8"), |own| own.sticker_unreadable = true).unwrap();
    let mut robot = changer(dir.path()).unwrap();
    let command = Command::ReadElementStatus {
        volume_tags: true,
        kind: Some(tapevault::scsi::element::ElementKind::Storage),
        start: 0,
        count: 2,
        current_data: true,
        device_id: false,
        allocation: U24::from(0xFFFF),
    };
    let data = ask(&mut robot, command).data;
    let (first, second) = data[16..].split_at(52);
    assert_eq!((first[2] & 1, &first[12..20]), (1, &[0; 8][..]), "full, and no tag");
    assert_eq!(second[12..20], *b"T00002L8");
}

proptest::proptest! {
    #[test]
    fn no_command_breaks_a_robot(
        opcode in proptest::sample::select(vec![
            0x00_u8, 0x03, 0x07, 0x12, 0x1A, 0x1E, 0x2B, 0x37, 0x5A, 0xA0, 0xA5, 0xA6, 0xB8,
        ]),
        rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 15),
        room in 0_usize..300,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let library = library(dir.path(), Settings::default());
        library.add_cartridge(code("T00001L8"), Generation::Lto8, 64 * MIB).unwrap();
        let mut robot = changer(dir.path()).unwrap();
        let cdb: Vec<u8> = std::iter::once(opcode).chain(rest).collect();
        let mut buffer = vec![0; room];
        let done = robot.execute(
            &cdb,
            tapevault::transport::Transfer::FromDevice(&mut buffer),
            std::time::Duration::ZERO,
        );
        proptest::prop_assert!(done.unwrap().transferred <= room);
    }
}
