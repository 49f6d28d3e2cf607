//! A drive with the changer that serves it: what moves cartridges.

use crate::{
    changer::{Changer, ChangerError, Inventory, Place},
    drive::{Drive, DriveError, MediumState},
    ident::Barcode,
    job::rig::safeguard::Keys,
    media::Volume,
};

/// A drive, and the library around it if there is one.
#[derive(Debug)]
pub struct Station {
    /// The drive's name in the config.
    pub name: String,
    /// The drive.
    pub drive: Drive,
    changer: Option<Changer>,
    /// The drive's element address in the library.
    element: Option<u16>,
    pub(super) keys: Keys,
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
    /// Finds the drive among the library's by its serial number; the only drive of a library that
    /// tells none is taken for it.
    pub(super) fn new(
        name: String,
        drive: Drive,
        mut changer: Option<Changer>,
        keys: Keys,
    ) -> Result<Self, ChangerError> {
        let mut element = None;
        if let Some(changer) = &mut changer {
            let inventory = changer.inventory()?;
            let found = inventory.drive(&drive.identity().serial).or_else(|| {
                let mut silent = inventory.drives.iter().filter(|drive| drive.serial.is_none());
                silent.next().filter(|_| inventory.drives.len() == 1)
            });
            element = found.map(|drive| drive.place.address);
        }
        Ok(Self { name, drive, changer, element, keys })
    }

    /// Model and serial number, for records of who wrote or read what.
    pub fn describe(&self) -> String {
        let identity = self.drive.identity();
        format!("{} {} {} {}", self.name, identity.vendor, identity.product, identity.serial)
    }

    /// Whether cartridges are moved by a robot.
    pub fn has_library(&self) -> bool {
        self.changer.is_some() && self.element.is_some()
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
    pub(in crate::job) fn is_blocked(&mut self) -> Result<bool, ChangerError> {
        Ok(self.place_here()?.is_some_and(|place| place.full))
    }

    /// What the library holds now.
    ///
    /// # Errors
    ///
    /// When the changer fails.
    pub fn inventory(&mut self) -> Result<Option<Inventory>, ChangerError> {
        self.changer.as_mut().map(Changer::inventory).transpose()
    }

    /// Where the cartridge with this barcode is.
    ///
    /// # Errors
    ///
    /// When the changer fails.
    pub fn find(&mut self, barcode: Barcode) -> Result<Whereabouts, ChangerError> {
        let (Some(inventory), Some(element)) = (self.inventory()?, self.element) else {
            return Ok(Whereabouts::Outside);
        };
        let is_drive =
            |address| inventory.drives.iter().any(|drive| drive.place.address == address);
        Ok(match inventory.find(barcode).map(|place| place.address) {
            None => Whereabouts::Outside,
            Some(address) if address == element => Whereabouts::Here,
            Some(address) if is_drive(address) => Whereabouts::OtherDrive(address),
            Some(address) => Whereabouts::Slot(address),
        })
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
        let (Some(inventory), Some(element)) = (self.inventory()?, self.element) else {
            return Ok(None);
        };
        let mut drives = inventory.drives.into_iter().map(|drive| drive.place);
        Ok(drives.find(|place| place.address == element))
    }

    /// Moves the cartridge from a slot into the drive.
    ///
    /// # Errors
    ///
    /// When the changer fails.
    pub(in crate::job) fn bring(&mut self, slot: u16) -> Result<(), ChangerError> {
        if let (Some(changer), Some(element)) = (&mut self.changer, self.element) {
            changer.move_medium(slot, element)?;
        }
        Ok(())
    }

    /// Moves the unloaded cartridge from the drive into a mail slot, if `out` and one is free, else
    /// into the slot that it came from, else into any that is free.
    ///
    /// # Errors
    ///
    /// When the changer fails.
    pub(in crate::job) fn take_out(&mut self, out: bool) -> Result<Left, ChangerError> {
        let Some(here) = self.place_here()?.filter(|place| place.full) else {
            return Ok(Left::Unloaded);
        };
        let (Some(inventory), Some(element)) = (self.inventory()?, self.element) else {
            return Ok(Left::Unloaded);
        };
        let free = |place: &&Place| !place.full && place.accessible;
        let mail = inventory.mail_slots.iter().find(free).filter(|_| out);
        let origin = inventory.slots.iter().find(|place| Some(place.address) == here.source);
        let slot = origin.filter(free).or_else(|| inventory.slots.iter().find(free));
        let (left, address) = match (mail, slot) {
            (Some(mail), _) => (Left::MailSlot(mail.address), mail.address),
            (None, Some(slot)) => (Left::Slot(slot.address), slot.address),
            (None, None) => return Ok(Left::Unloaded),
        };
        if let Some(changer) = &mut self.changer {
            changer.move_medium(element, address)?;
        }
        Ok(left)
    }

    /// Puts the drive's name, and the volume in it, to its error.
    pub fn failed(
        &self,
        volume: Option<&Volume>,
    ) -> impl Fn(DriveError) -> crate::job::JobError + use<> {
        let drive = self.name.clone();
        let volser = volume.map(|volume| volume.volser);
        move |cause| crate::job::JobError::Drive { drive: drive.clone(), volser, cause }
    }
}
