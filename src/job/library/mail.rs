//! Cartridges that come and go through the mail slots.

use crate::{
    changer::{Inventory, Place, Role},
    ident::Barcode,
    job::{
        Desk, JobError,
        monitor::Event,
        rig::{Library, RigError},
    },
};

/// Moves what stands in mail slots into free slots: these cartridges, or all. Returns how many.
///
/// # Errors
///
/// When one of `barcodes` stands in no mail slot, no slot is free, or the library does not move it.
pub fn import(library: &mut Library, barcodes: &[Barcode], desk: &Desk) -> Result<u64, JobError> {
    let inventory = library.inventory().map_err(RigError::from)?;
    let mut chosen: Vec<&Place> = Vec::new();
    for barcode in barcodes {
        let is_it = |place: &&Place| place.barcode.is_some_and(|found| found.matches(*barcode));
        let found = inventory.mail_slots.iter().filter(|place| place.full).find(is_it);
        chosen.push(found.ok_or_else(|| not_in_mail(&inventory, *barcode))?);
    }
    if barcodes.is_empty() {
        chosen.extend(inventory.mail_slots.iter().filter(|place| place.full));
    }
    let mut free = inventory.slots.iter().filter(|place| place.is_free());
    for (number, place) in chosen.iter().enumerate() {
        desk.go_on()?;
        let Some(slot) = free.next() else {
            let left: Vec<String> = chosen[number..].iter().map(|place| place.sticker()).collect();
            return Err(JobError::Library {
                what: format!("no slot is free for {}", left.join(", ")),
                advice: "`tapevault library export` makes room".into(),
            });
        };
        carry(library, &inventory, (place, slot.address), desk)?;
    }
    Ok(chosen.len() as u64)
}

/// Moves cartridges from their slots into mail slots, to be taken out.
///
/// # Errors
///
/// When one is not in a slot, no mail slot is free, or the library does not move it.
pub fn export(library: &mut Library, barcodes: &[Barcode], desk: &Desk) -> Result<(), JobError> {
    let inventory = library.inventory().map_err(RigError::from)?;
    let mut places = Vec::new();
    for barcode in barcodes {
        match inventory.all().find(|(_, place)| holds(place, *barcode)) {
            Some((Role::Slot, place)) => places.push(place),
            Some((Role::MailSlot, place)) => {
                desk.notice(format!("{barcode} stands in mail slot {} already", place.address));
            }
            Some((Role::Drive | Role::Picker, place)) => return Err(in_use(&inventory, place)),
            None => {
                return Err(JobError::NotHeld { what: format!("{barcode} is not in the library") });
            }
        }
    }
    let mut free = inventory.mail_slots.iter().filter(|place| place.is_free());
    for (number, place) in places.iter().enumerate() {
        desk.go_on()?;
        let Some(mail_slot) = free.next() else {
            let left: Vec<String> = places[number..].iter().map(|place| place.sticker()).collect();
            // As it is now, with what was moved there just before.
            let inventory = library.inventory().map_err(RigError::from)?;
            return Err(no_mail_slot(&inventory, &left.join(", ")));
        };
        carry(library, &inventory, (place, mail_slot.address), desk)?;
    }
    Ok(())
}

fn carry(
    library: &mut Library,
    inventory: &Inventory,
    (place, to): (&Place, u16),
    desk: &Desk,
) -> Result<(), JobError> {
    library.carry(place.address, to)?;
    desk.tell(&Event::Moved {
        cartridge: &place.sticker(),
        from: inventory.name_of(place.address),
        to: inventory.name_of(to),
    });
    Ok(())
}

fn holds(place: &Place, barcode: Barcode) -> bool {
    place.full && place.barcode.is_some_and(|found| found.matches(barcode))
}

fn not_in_mail(inventory: &Inventory, barcode: Barcode) -> JobError {
    let what = match inventory.find(barcode) {
        Some(place) => format!("{barcode} is in {}", inventory.name_of(place.address)),
        None => format!("{barcode} is not in the library"),
    };
    JobError::Library { what, advice: "put it into a mail slot, then run the same command".into() }
}

fn in_use(inventory: &Inventory, place: &Place) -> JobError {
    JobError::Library {
        what: format!("{} is in {}", place.sticker(), inventory.name_of(place.address)),
        advice: "`tapevault library unload` puts it back into its slot".into(),
    }
}

/// Why no mail slot takes a cartridge.
fn no_mail_slot(inventory: &Inventory, cartridge: &str) -> JobError {
    let full: Vec<String> = inventory
        .mail_slots
        .iter()
        .filter(|place| place.full)
        .map(|place| format!("{} holds {}", place.address, place.sticker()))
        .collect();
    let (why, advice) = if inventory.mail_slots.is_empty() {
        ("the library has none".to_owned(), "take it out by the library's own panel")
    } else if full.len() == inventory.mail_slots.len() {
        (full.join(", "), "take out what stands there, then run the same command again")
    } else {
        let why = "those that are empty are out of the picker's reach".to_owned();
        (why, "close the library's door, then run the same command again")
    };
    let what = format!("no mail slot is free for {cartridge}: {why}");
    JobError::Library { what, advice: advice.into() }
}
