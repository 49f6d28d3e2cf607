//! The changer driver's prose, sentence by sentence, on the emulated library in this process or,
//! when `TAPEVAULT_TEST_CHANGER` names a node, on what that leads to. There, only what moves
//! nothing runs.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{env, path::Path, sync::Arc, time::Duration};

use tapevault::{
    changer::{Changer, ChangerError, Inventory},
    clock::{Clock, TestClock, Timestamp},
    drive::{Drive, Preparation},
    emulator::{self, CommandKind, Effect, Fault, Library, LibraryPlan, Settings},
    ident::Barcode,
    scsi::density::Generation,
    transport::sg::Sg,
    unit::{ByteCount, MIB},
};
use tempfile::TempDir;

/// A library of two drives, four slots with cartridges in three, and two mail slots.
struct Place {
    dir: TempDir,
    library: Library,
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(TestClock::at(Timestamp::from_parts(1_795_000_000, 0)))
}

fn barcode(number: u32) -> Barcode {
    format!("TST{number:03}L8").parse().unwrap()
}

impl Place {
    fn new(settings: Settings) -> Self {
        let dir = TempDir::new().unwrap();
        let generation = Generation::Lto8;
        let plan = LibraryPlan { drives: 2, slots: 4, mail_slots: 2, generation, settings };
        let library = Library::create(dir.path(), &plan).unwrap();
        for number in 1..=3 {
            library.add_cartridge(barcode(number), generation, 64 * MIB).unwrap();
        }
        Self { dir, library }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn open(&self) -> Changer {
        self.open_under(Vec::new())
    }

    fn open_under(&self, faults: Vec<Fault>) -> Changer {
        let mut transport = emulator::changer(self.path()).unwrap();
        transport.set_faults(faults);
        Changer::open(Box::new(transport), clock()).unwrap()
    }

    fn drive(&self, number: u16) -> Drive {
        let transport = emulator::drive(self.path(), number).unwrap();
        Drive::open(Box::new(transport), clock()).unwrap()
    }
}

fn usual() -> Place {
    Place::new(Settings::default())
}

fn barcodes(inventory: &Inventory) -> Vec<Option<Barcode>> {
    inventory.slots.iter().map(|slot| slot.barcode).collect()
}

#[test]
fn an_inventory_says_what_is_where() {
    if let Some(node) = env::var_os("TAPEVAULT_TEST_CHANGER") {
        let transport = Sg::open_changer(Path::new(&node)).unwrap();
        let inventory = Changer::open(Box::new(transport), clock()).unwrap().inventory().unwrap();
        assert!(!inventory.drives.is_empty() && !inventory.slots.is_empty(), "{inventory:?}");
        return;
    }
    let place = usual();
    let mut changer = place.open();
    assert!(changer.identity().emulated);
    assert_eq!(changer.name(), "emulated:changer");
    let inventory = changer.inventory().unwrap();
    assert_eq!(inventory.pickers.len(), 1);
    assert_eq!(inventory.mail_slots.len(), 2);
    let expected = [Some(barcode(1)), Some(barcode(2)), Some(barcode(3)), None];
    assert_eq!(barcodes(&inventory), expected);
    assert!(inventory.slots.iter().all(|slot| slot.full == slot.barcode.is_some()));
    assert!(inventory.drives.iter().all(|drive| !drive.place.full));
    let serials: Vec<_> =
        (0..2).map(|number| place.drive(number).identity().serial.clone()).collect();
    for (drive, serial) in inventory.drives.iter().zip(&serials) {
        assert_eq!(drive.serial.as_ref(), Some(serial));
        assert_eq!(inventory.drive(serial), Some(drive));
    }
}

/// Where the library does not say which drive is which, the drive knows its place.
#[test]
fn a_drive_is_found_among_those_of_a_library_that_tells_no_serial_numbers() {
    let place = Place::new(Settings { tells_drive_serials: false, ..Settings::default() });
    let inventory = place.open().inventory().unwrap();
    assert!(inventory.drives.iter().all(|drive| drive.serial.is_none()));
    for number in 0..2 {
        let mut drive = place.drive(number);
        assert_eq!(inventory.drive(&drive.identity().serial), None);
        let names = drive.names().unwrap();
        let found = inventory.drive_called(&names).unwrap();
        assert_eq!(found, &inventory.drives[usize::from(number)]);
    }
}

#[test]
fn a_cleaning_cartridge_is_known_by_its_barcode_and_by_its_medium_type() {
    let place = usual();
    let cleaning: Barcode = "CLNU01L1".parse().unwrap();
    place.library.add_cartridge(cleaning, Generation::Lto8, MIB).unwrap();
    let inventory = place.open().inventory().unwrap();
    let found: Vec<bool> = inventory.slots.iter().map(|slot| slot.cleaning).collect();
    assert_eq!(found, [false, false, false, true]);
    let hidden = |cartridge: &mut emulator::Cartridge| cartridge.sticker_unreadable = true;
    place.library.change_cartridge(cleaning, hidden).unwrap();
    let inventory = place.open().inventory().unwrap();
    assert!(inventory.slots[3].cleaning && inventory.slots[3].barcode.is_none());
}

#[test]
fn a_move_is_seen_by_the_next_inventory_with_its_source() {
    let place = usual();
    let mut changer = place.open();
    let before = changer.inventory().unwrap();
    let (from, to) = (before.slots[1].address, before.drives[0].place.address);
    changer.move_medium(from, to).unwrap();
    let after = changer.inventory().unwrap();
    assert!(!after.slots[1].full);
    assert_eq!(after.slots[1].barcode, None);
    assert_eq!(after.drives[0].place.barcode, Some(barcode(2)));
    assert_eq!(after.drives[0].place.source, Some(from));
    assert_eq!(after.find(barcode(2)), Some(&after.drives[0].place));
    let mut drive = place.drive(0);
    drive.wait_ready(Duration::from_secs(60)).unwrap();
    drive.unload().unwrap();
    drop(drive);
    changer.move_medium(to, from).unwrap();
    assert_eq!(barcodes(&changer.inventory().unwrap()), barcodes(&before));
}

#[test]
fn a_move_from_or_to_the_wrong_place_is_stale_and_moves_nothing() {
    let place = usual();
    let mut changer = place.open();
    let before = changer.inventory().unwrap();
    let [first, second, _, empty] = before.slots.as_slice() else { panic!("{before:?}") };
    for (from, to) in [
        (empty.address, before.drives[0].place.address),
        (first.address, second.address),
        (first.address, 0x7FFF),
    ] {
        let error = changer.move_medium(from, to).unwrap_err();
        let ChangerError::Stale(fault) = error else { panic!("{error}") };
        assert_eq!(fault.between, Some((from, to)));
    }
    assert_eq!(changer.inventory().unwrap(), before);
}

#[test]
fn a_drive_that_holds_its_cartridge_is_unloaded_first() {
    for settings in [Settings::default(), Settings { auto_unload: true, ..Settings::default() }] {
        let place = Place::new(settings);
        let mut changer = place.open();
        let inventory = changer.inventory().unwrap();
        let (slot, bay) = (inventory.slots[0].address, inventory.drives[0].place.address);
        changer.move_medium(slot, bay).unwrap();
        let mut drive = place.drive(0);
        drive.wait_ready(Duration::from_secs(60)).unwrap();
        let wanted = Preparation { block_size: 64 << 10, early_warning: ByteCount(0) };
        drive.prepare(&wanted).unwrap();
        drop(drive);
        let error = changer.move_medium(bay, slot).unwrap_err();
        assert!(matches!(error, ChangerError::Held(_)), "{error}");
        let mut drive = place.drive(0);
        drive.state().unwrap();
        drive.allow_removal().unwrap();
        drive.unload().unwrap();
        drop(drive);
        changer.move_medium(bay, slot).unwrap();
        assert!(changer.inventory().unwrap().slots[0].full);
    }
}

#[test]
fn a_hand_in_the_mail_slot_makes_the_next_move_stale() {
    let place = usual();
    let mut changer = place.open();
    let before = changer.inventory().unwrap();
    let cartridge = emulator::Cartridge::new(barcode(9), Generation::Lto8, 64 * MIB);
    place.library.shelve_cartridge(&cartridge).unwrap();
    let mail_slot = place.library.insert(barcode(9)).unwrap();
    let free = before.slots[3].address;
    let error = changer.move_medium(mail_slot, free).unwrap_err();
    assert!(matches!(error, ChangerError::Stale(_)), "{error}");
    let inventory = changer.inventory().unwrap();
    let found = inventory.mail_slots.iter().find(|slot| slot.full).unwrap();
    assert_eq!((found.address, found.barcode), (mail_slot, Some(barcode(9))));
    assert!(found.placed_by_operator);
    changer.move_medium(mail_slot, free).unwrap();
    let inventory = changer.inventory().unwrap();
    assert_eq!(inventory.slots[3].barcode, Some(barcode(9)));
}

#[test]
fn a_cartridge_that_is_exported_and_taken_is_gone() {
    let place = usual();
    let mut changer = place.open();
    let inventory = changer.inventory().unwrap();
    let (slot, mail_slot) = (inventory.slots[0].address, inventory.mail_slots[0].address);
    changer.move_medium(slot, mail_slot).unwrap();
    assert_eq!(place.library.take(mail_slot).unwrap(), barcode(1));
    let inventory = changer.inventory().unwrap();
    assert_eq!(inventory.find(barcode(1)), None);
    assert!(inventory.mail_slots.iter().all(|slot| !slot.full));
}

#[test]
fn a_full_inventory_and_the_lock_of_the_mail_slots_are_taken() {
    let place = usual();
    let mut changer = place.open();
    changer.lock_mail_slots().unwrap();
    changer.initialize().unwrap();
    changer.unlock_mail_slots().unwrap();
    assert_eq!(changer.inventory().unwrap().slots.len(), 4);
}

#[test]
fn a_lost_reply_leaves_the_fate_open_and_the_inventory_tells_it() {
    for (effect, moved) in [(Effect::ReplyLostBefore, false), (Effect::ReplyLostAfter, true)] {
        let place = usual();
        let mut changer = place.open_under(vec![Fault::once(effect).at(CommandKind::Move)]);
        let before = changer.inventory().unwrap();
        let (from, to) = (before.slots[0].address, before.slots[3].address);
        let error = changer.move_medium(from, to).unwrap_err();
        assert!(matches!(error, ChangerError::Unknown { .. }), "{error}");
        let after = changer.inventory().unwrap();
        assert_eq!(after.slots[3].full, moved);
        assert_eq!(after == before, !moved);
    }
}

#[test]
fn a_library_that_is_busy_with_itself_is_waited_for() {
    let becoming_ready = Fault { times: Some(20), ..Fault::always(Effect::Sense(2, 4, 1)) };
    let place = usual();
    let mut changer = place.open_under(vec![becoming_ready.at(CommandKind::Inventory)]);
    assert_eq!(changer.inventory().unwrap().slots.len(), 4);
    let for_ever = Fault::always(Effect::Sense(2, 4, 1)).at(CommandKind::Inventory);
    drop(changer);
    let mut changer = place.open_under(vec![for_ever]);
    let error = changer.inventory().unwrap_err();
    assert!(matches!(error, ChangerError::NotReady(_)), "{error}");
}

#[test]
fn a_drive_is_not_a_changer() {
    let place = usual();
    let transport = emulator::drive(place.path(), 0).unwrap();
    let error = Changer::open(Box::new(transport), clock()).unwrap_err();
    assert_eq!(error.to_string(), "emulated:drive0 is not a changer");
}
