//! The library as jobs use it: a move is told by cartridge and place, and a lost reply is settled by
//! looking.

use std::{fmt, path::Path, sync::Arc};

use crate::{
    changer::{Changer, ChangerError, DrivePlace, Identity, Inventory},
    clock::Clock,
    drive::Drive,
    emulator,
    job::{
        rig::{RigError, emulated_number, look},
        settings::{DriveSettings, Settings},
    },
    transport::node,
};

/// How often a move is sent that was refused although source and destination are as they should
/// be, as after somebody reached in.
const TRIES: u32 = 2;

/// The robot of a library.
#[derive(Debug)]
pub struct Library {
    changer: Changer,
}

/// A move that was refused.
#[derive(Debug)]
pub struct Refusal {
    /// The barcode of the cartridge, or what else is known of it.
    pub cartridge: String,
    /// Where it is.
    pub from: String,
    /// Where it was to go.
    pub to: String,
    /// What stands there.
    pub occupant: Option<String>,
}

impl Library {
    pub(super) fn new(changer: Changer) -> Self {
        Self { changer }
    }

    /// Who the changer says that it is.
    pub fn identity(&self) -> &Identity {
        self.changer.identity()
    }

    /// What the library holds now.
    ///
    /// # Errors
    ///
    /// When the changer fails.
    pub fn inventory(&mut self) -> Result<Inventory, ChangerError> {
        self.changer.inventory()
    }

    /// Moves a cartridge. After a lost reply, or when somebody reached in, the library is looked
    /// at: what has moved has moved, and what could move is sent once more.
    ///
    /// # Errors
    ///
    /// [`RigError::Move`], with the barcodes of both cartridges, when it cannot be moved.
    pub fn carry(&mut self, from: u16, to: u16) -> Result<(), RigError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let Err(cause) = self.changer.move_medium(from, to) else { return Ok(()) };
            let inventory = match self.changer.inventory() {
                Ok(inventory) => inventory,
                Err(error) => {
                    tracing::warn!(%error, "the library cannot be looked at after a failed move");
                    return Err(RigError::Changer(cause));
                }
            };
            let is_full = |address| inventory.at(address).is_some_and(|(_, place)| place.full);
            let unsure = matches!(cause, ChangerError::Unknown { .. });
            let as_meant = is_full(from) && !is_full(to);
            if unsure && !is_full(from) && is_full(to) {
                tracing::warn!(error = %cause, "the move was done");
                return Ok(());
            }
            let is_stale = matches!(cause, ChangerError::Stale(_));
            if !(unsure || is_stale) || !as_meant || tries == TRIES {
                let refusal = Box::new(Refusal::new(&inventory, from, to));
                return Err(RigError::Move { refusal, cause });
            }
            tracing::warn!(error = %cause, "the move is sent once more");
        }
    }
}

impl Refusal {
    fn new(inventory: &Inventory, from: u16, to: u16) -> Self {
        let sticker = |address: u16| {
            let found = inventory.at(address).filter(|(_, place)| place.full);
            found.map(|(_, place)| place.sticker())
        };
        Self {
            cartridge: sticker(from).unwrap_or_else(|| "what was thought to be there".to_owned()),
            from: inventory.name_of(from),
            to: inventory.name_of(to),
            occupant: sticker(to),
        }
    }

    /// What the operator can do about it, when this was the cause.
    pub fn advice(&self, cause: &ChangerError) -> &'static str {
        match cause {
            ChangerError::Stale(_) if self.occupant.is_some() => {
                "take away what stands in the way: `tapevault library unload` empties a drive, a \
                 mail slot is emptied by hand"
            }
            ChangerError::Stale(_) => {
                "`tapevault library inventory` shows what is where now; run the same command again"
            }
            ChangerError::Held(_) => {
                "unload the drive, or unlock the library's door and mail slots at its panel, then \
                 run the same command again"
            }
            ChangerError::NotReady(_)
            | ChangerError::Operator(_)
            | ChangerError::Busy(_)
            | ChangerError::Refused { .. }
            | ChangerError::Unknown { .. }
            | ChangerError::Unsupported(_)
            | ChangerError::Hardware(_)
            | ChangerError::WrongDevice { .. } => {
                "look at the library's panel, then run the same command again"
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cartridge, from, to, occupant } = self;
        write!(f, "{cartridge} cannot be moved from {from} to {to}")?;
        match occupant {
            Some(occupant) => write!(f, ", which holds {occupant}"),
            None => Ok(()),
        }
    }
}

/// The drive's element: by its serial number, by whatever else it and the library say, or by the
/// config.
pub(super) fn element_of(
    (name, settings): (&str, &DriveSettings),
    drive: &mut Drive,
    inventory: &Inventory,
) -> Result<u16, RigError> {
    let serial = drive.identity().serial.clone();
    let found = match inventory.drive(&serial) {
        Some(found) => Some(found),
        None => inventory.drive_called(&drive.names()?),
    };
    let configured = settings
        .element
        .and_then(|address| inventory.drives.iter().find(|other| other.place.address == address));
    let told = found.or_else(|| configured.filter(|other| other.serial.is_none()));
    let fits = settings
        .element
        .is_none_or(|address| told.is_some_and(|told| told.place.address == address));
    match told {
        Some(told) if fits => Ok(told.place.address),
        Some(_) | None => {
            let tell = |other: &DrivePlace| {
                let serial = other.serial.as_deref().unwrap_or("a serial number it does not tell");
                format!("{serial} (element {})", other.place.address)
            };
            let drives: Vec<String> = inventory.drives.iter().map(tell).collect();
            Err(RigError::Stranger {
                drive: name.to_owned(),
                serial,
                element: settings.element,
                drives: drives.join(", "),
            })
        }
    }
}

/// Which of the library's drives the config's are: for each that is to stand in the library its
/// element address, or why it is not found there. A drive is not opened for this where the system
/// or the library can tell.
pub fn attached(
    settings: &Settings,
    inventory: &Inventory,
    clock: &Arc<dyn Clock>,
) -> Vec<(String, Result<u16, RigError>)> {
    let inside = settings.drives.iter().filter(|(_, drive)| drive.in_library);
    let find = |(name, drive): (&String, &DriveSettings)| {
        let told = serial_of(settings, &drive.device);
        let found = told.as_deref().and_then(|serial| inventory.drive(serial));
        let address = match found {
            Some(found) => Ok(found.place.address),
            None => look(settings, Some(name), clock)
                .and_then(|(_, mut opened)| element_of((name, drive), &mut opened, inventory)),
        };
        (name.clone(), address)
    };
    inside.map(find).collect()
}

/// A drive's serial number by what the system knows of it.
fn serial_of(settings: &Settings, device: &str) -> Option<String> {
    match (emulated_number(device), &settings.emulator) {
        (Some(number), Some(emulator)) => {
            let library = emulator::Library::open(&emulator.dir).ok()?;
            library.drive_serial(number.parse().ok()?)
        }
        (Some(_), None) => None,
        (None, _) => node::resolve(Path::new(device), node::Unit::Tape).ok()?.serial,
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use tempfile::TempDir;

    use super::*;
    use crate::{
        clock::TestClock,
        emulator::{CommandKind, Effect, Fault, Generation, LibraryPlan},
    };

    /// A library with cartridges in its first two slots, and its robot under a fault.
    fn library(fault: Option<Fault>) -> (TempDir, Library) {
        let dir = tempfile::tempdir().unwrap();
        let made = emulator::Library::create(dir.path(), &LibraryPlan::default()).unwrap();
        for barcode in ["T00001L8", "T00002L8"] {
            let barcode = barcode.parse().unwrap();
            made.add_cartridge(barcode, Generation::Lto8, 1 << 20).unwrap();
        }
        let mut transport = emulator::changer(dir.path()).unwrap();
        transport.set_faults(fault.into_iter().collect());
        let clock: Arc<dyn Clock> = Arc::new(TestClock::at(crate::clock::Timestamp::default()));
        (dir, Library::new(Changer::open(Box::new(transport), clock).unwrap()))
    }

    #[test]
    fn a_full_place_is_told_with_both_barcodes() {
        let (_dir, mut library) = library(None);
        let error = library.carry(4096, 4097).unwrap_err();
        let expected = "T00001L8 cannot be moved from slot 4096 to slot 4097, which holds T00002L8";
        assert_eq!(error.to_string(), expected);
        assert!(error.source().unwrap().to_string().contains("5/3B/0D"), "{error:?}");
        let error = library.carry(4100, 4101).unwrap_err();
        assert!(error.to_string().starts_with("what was thought to be there"), "{error}");
    }

    #[test]
    fn a_lost_reply_is_settled_by_looking() {
        let attention = Effect::Sense(6, 0x28, 1);
        for effect in [Effect::ReplyLostBefore, Effect::ReplyLostAfter, attention] {
            let (_dir, mut library) = library(Some(Fault::once(effect).at(CommandKind::Move)));
            library.carry(4096, 4100).unwrap();
            let inventory = library.inventory().unwrap();
            assert_eq!(inventory.at(4100).unwrap().1.sticker(), "T00001L8", "{effect:?}");
        }
        let always = Fault::always(Effect::ReplyLostBefore).at(CommandKind::Move);
        let (_dir, mut library) = library(Some(always));
        let error = library.carry(4096, 4100).unwrap_err();
        let expected = "T00001L8 cannot be moved from slot 4096 to slot 4100";
        assert_eq!(error.to_string(), expected);
    }
}
