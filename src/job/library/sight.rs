//! What the library shows, noted in the catalog: a sighting revokes that a volume is offline, and
//! an emptied mail slot is how it goes.

use std::collections::BTreeMap;

use crate::{
    catalog::Catalog,
    changer::{Inventory, Place, Role},
    ident::{Barcode, Volser},
    job::{Desk, JobError},
    media::{Custody, Volume},
};

/// Notes where the library's cartridges are. `drives` are the config's names of the library's
/// drives, by element address, as far as they are known.
///
/// # Errors
///
/// When the catalog fails.
pub fn sight(
    catalog: &Catalog,
    inventory: &Inventory,
    drives: &BTreeMap<u16, String>,
    desk: &Desk,
) -> Result<(), JobError> {
    let seen = by_volser(inventory);
    for volume in catalog.volumes()? {
        let place = seen.get(&volume.volser).filter(|(_, barcode, _)| is_its(&volume, *barcode));
        let custody = match place {
            Some((role, _, address)) => here(&volume, (*role, *address), drives),
            None => gone(&volume, inventory),
        };
        let Some(custody) = custody.filter(|custody| *custody != volume.custody) else { continue };
        if let (Custody::InLibrary { slot }, Custody::Removed) = (&volume.custody, &custody) {
            desk.notice(format!("{} was taken out of mail slot {slot}", volume.volser));
        }
        desk.set_custody(catalog, volume.id, custody)?;
    }
    Ok(())
}

fn by_volser(inventory: &Inventory) -> BTreeMap<Volser, (Role, Barcode, u16)> {
    let mut seen = BTreeMap::new();
    for (role, place) in inventory.all() {
        if let Some(barcode) = place.barcode.filter(|_| place.full) {
            seen.insert(barcode.volser(), (role, barcode, place.address));
        }
    }
    seen
}

fn is_its(volume: &Volume, barcode: Barcode) -> bool {
    volume.barcode.is_none_or(|own| own.matches(barcode))
}

/// The custody of a volume that stands here.
fn here(
    volume: &Volume,
    (role, address): (Role, u16),
    drives: &BTreeMap<u16, String>,
) -> Option<Custody> {
    match (role, drives.get(&address)) {
        (Role::Drive, Some(drive)) => Some(Custody::InDrive { drive: drive.clone() }),
        // In a drive that another job uses, or that the config does not name.
        (Role::Drive, None) if matches!(volume.custody, Custody::InDrive { .. }) => None,
        (Role::Drive, None) => Some(Custody::InDrive { drive: format!("element {address}") }),
        (Role::Slot | Role::MailSlot | Role::Picker, _) => {
            Some(Custody::InLibrary { slot: address })
        }
    }
}

/// The custody of a volume that stands nowhere in the library, if it was there.
fn gone(volume: &Volume, inventory: &Inventory) -> Option<Custody> {
    let Custody::InLibrary { slot } = volume.custody else { return None };
    // A cartridge whose sticker cannot be read may be it.
    let is_hidden = |place: &Place| place.full && place.barcode.is_none();
    if inventory.at(slot).is_some_and(|(_, place)| is_hidden(place)) {
        return None;
    }
    let hidden = inventory.all().any(|(_, place)| is_hidden(place));
    match inventory.at(slot) {
        Some((Role::MailSlot, _)) if !hidden => Some(Custody::Removed),
        Some(_) | None => Some(Custody::Unloaded),
    }
}
