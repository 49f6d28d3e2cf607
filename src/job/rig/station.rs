//! A drive with the changer that serves it: what moves cartridges.

use crate::{
    changer::{ChangerError, Inventory, Place},
    drive::{Drive, DriveError, MediumState},
    ident::Barcode,
    job::{
        JobError,
        rig::{Library, RigError, library::element_of, safeguard::Keys},
        settings::DriveSettings,
    },
    media::Volume,
};

/// A drive, and the library around it if there is one.
#[derive(Debug)]
pub struct Station {
    /// The drive's name in the config.
    pub name: String,
    /// The drive.
    pub drive: Drive,
    /// The library that it stands in, and its element address there.
    shelf: Option<(Library, u16)>,
    pub(super) keys: Keys,
    /// Whether the drive is to refuse to write over anything, from the next cartridge on that it
    /// identifies.
    pub(in crate::job) append_only: bool,
    /// Whether the config allows that.
    may_forbid: bool,
    /// Whether somebody was told that the drive asks for cleaning and there is nothing to clean it
    /// with.
    pub(in crate::job) told_of_dirt: bool,
}

/// Where a cartridge of the library is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// In this station's drive.
    Here,
    /// In a slot or mail slot, by address.
    Slot(u16),
    /// In another drive, by address.
    OtherDrive(u16),
    /// Not in the library.
    Outside,
}

/// Where a cartridge went that left the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Into a slot, by address.
    Slot(u16),
    /// Into a mail slot, by address: the operator can take it.
    MailSlot(u16),
    /// It is unloaded and still in the drive's mouth.
    Unloaded,
}

impl Station {
    /// The drive's native rate and the least at which it streams, in bytes a second, as far as they
    /// are known of its generation.
    pub(in crate::job) fn rates(&self) -> (Option<u64>, Option<u64>) {
        let generation = self.drive.identity().generation;
        generation.map_or((None, None), |generation| generation.rates())
    }

    /// Has the drive refuse to write over anything, on each cartridge that is identified from now on,
    /// if the drive can and the config allows it.
    pub(in crate::job) fn forbid_overwriting(&mut self) {
        self.append_only = self.may_forbid;
    }

    /// Finds the drive among the library's.
    pub(super) fn new(
        (name, settings): (&str, &DriveSettings),
        mut drive: Drive,
        library: Option<Library>,
        keys: Keys,
    ) -> Result<Self, RigError> {
        let mut shelf = None;
        if let Some(mut library) = library.filter(|_| settings.in_library) {
            let inventory = library.inventory()?;
            let element = element_of((name, settings), &mut drive, &inventory)?;
            shelf = Some((library, element));
        }
        Ok(Self {
            name: name.to_owned(),
            drive,
            shelf,
            keys,
            append_only: false,
            may_forbid: settings.append_only,
            told_of_dirt: false,
        })
    }

    /// Model and serial number, for records of who wrote or read what.
    pub fn describe(&self) -> String {
        let identity = self.drive.identity();
        format!("{} {} {} {}", self.name, identity.vendor, identity.product, identity.serial)
    }

    /// Whether cartridges are moved by a robot.
    pub fn has_library(&self) -> bool {
        self.shelf.is_some()
    }

    /// Whether a cartridge is in the drive.
    ///
    /// # Errors
    ///
    /// When the drive fails.
    pub fn is_loaded(&mut self) -> Result<bool, DriveError> {
        Ok(self.drive.state()? != MediumState::Empty)
    }

    /// Whether an unloaded cartridge blocks the drive's mouth, as the library sees it: a job was
    /// interrupted between unloading and moving it.
    ///
    /// # Errors
    ///
    /// When the changer fails.
    pub fn is_blocked(&mut self) -> Result<bool, ChangerError> {
        Ok(self.place_here()?.is_some_and(|place| place.full))
    }

    /// What the library holds now.
    ///
    /// # Errors
    ///
    /// When the changer fails.
    pub fn inventory(&mut self) -> Result<Option<Inventory>, ChangerError> {
        self.shelf.as_mut().map(|(library, _)| library.inventory()).transpose()
    }

    /// Where the cartridge with this barcode is.
    ///
    /// # Errors
    ///
    /// When the changer fails.
    pub fn find(&mut self, barcode: Barcode) -> Result<Whereabouts, ChangerError> {
        let Some((inventory, element)) = self.look()? else { return Ok(Whereabouts::Outside) };
        let is_drive =
            |address| inventory.drives.iter().any(|drive| drive.place.address == address);
        Ok(match inventory.find(barcode).map(|place| place.address) {
            None => Whereabouts::Outside,
            Some(address) if address == element => Whereabouts::Here,
            Some(address) if is_drive(address) => Whereabouts::OtherDrive(address),
            Some(address) => Whereabouts::Slot(address),
        })
    }

    /// What the library holds, and the drive's element address in it.
    pub(in crate::job) fn look(&mut self) -> Result<Option<(Inventory, u16)>, ChangerError> {
        let Some((library, element)) = &mut self.shelf else { return Ok(None) };
        Ok(Some((library.inventory()?, *element)))
    }

    /// The barcodes of the cartridges in slots and mail slots.
    ///
    /// # Errors
    ///
    /// When the changer fails.
    pub fn barcodes_in_slots(&mut self) -> Result<Vec<Barcode>, ChangerError> {
        let Some(inventory) = self.inventory()? else { return Ok(Vec::new()) };
        let places = inventory.slots.iter().chain(&inventory.mail_slots);
        Ok(places.filter_map(|place| place.barcode).collect())
    }

    /// The barcode of the cartridge in this drive, as the library sees it.
    ///
    /// # Errors
    ///
    /// When the changer fails.
    pub fn barcode_here(&mut self) -> Result<Option<Barcode>, ChangerError> {
        Ok(self.place_here()?.and_then(|place| place.barcode))
    }

    fn place_here(&mut self) -> Result<Option<Place>, ChangerError> {
        let Some((inventory, element)) = self.look()? else { return Ok(None) };
        let mut drives = inventory.drives.into_iter().map(|drive| drive.place);
        Ok(drives.find(|place| place.address == element))
    }

    /// Moves the cartridge from a slot into the drive.
    ///
    /// # Errors
    ///
    /// When the library does not move it.
    pub(in crate::job) fn bring(&mut self, slot: u16) -> Result<(), RigError> {
        match &mut self.shelf {
            Some((library, element)) => library.carry(slot, *element),
            None => Ok(()),
        }
    }

    /// Moves the unloaded cartridge from the drive into a mail slot, if `out` and one is free, else
    /// into the slot that it came from, else into any place that is free.
    ///
    /// # Errors
    ///
    /// When the library does not move it.
    pub(in crate::job) fn take_out(&mut self, out: bool) -> Result<Left, RigError> {
        let Some((inventory, element)) = self.look()? else { return Ok(Left::Unloaded) };
        let Some((_, here)) = inventory.at(element).filter(|(_, place)| place.full) else {
            return Ok(Left::Unloaded);
        };
        let mail_slot = inventory.free_mail_slot();
        let origin = inventory.slots.iter().find(|place| Some(place.address) == here.source);
        let slot = origin.filter(|place| place.is_free()).or_else(|| inventory.free_slot());
        let (left, address) = match (mail_slot, slot) {
            (Some(mail), _) if out => (Left::MailSlot(mail.address), mail.address),
            (_, Some(slot)) => (Left::Slot(slot.address), slot.address),
            (Some(mail), None) => (Left::MailSlot(mail.address), mail.address),
            (None, None) => return Ok(Left::Unloaded),
        };
        self.put(address)?;
        Ok(left)
    }

    /// Moves the unloaded cartridge from the drive to this place.
    ///
    /// # Errors
    ///
    /// When the library does not move it.
    pub(in crate::job) fn put(&mut self, address: u16) -> Result<(), RigError> {
        match &mut self.shelf {
            Some((library, element)) => library.carry(*element, address),
            None => Ok(()),
        }
    }

    /// Puts the drive's name, and the volume in it, to its error.
    pub fn failed(&self, volume: Option<&Volume>) -> impl Fn(DriveError) -> JobError + use<> {
        let drive = self.name.clone();
        let volser = volume.map(|volume| volume.volser);
        move |cause| JobError::Drive { drive: drive.clone(), volser, cause }
    }
}
