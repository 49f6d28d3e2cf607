//! What is where in a library.

use crate::{
    changer::{error::ChangerError, handle::Changer},
    ident::Barcode,
    scsi::{
        cdb::{Command, PageControl, U24},
        element::{DeviceId, Element, ElementKind, Report},
        inquiry::DeviceNames,
        mode::{
            Parameters,
            page::{ElementAddresses, Page},
        },
        sense::Code,
    },
};

/// Some firmware mishandles longer allocations than 16 bits can say, or more elements.
const ALLOCATION: u16 = 0xFFFF;
const COUNT_LIMIT: u16 = 1000;
/// Replies that one kind of element may take: addresses are 16 bits.
const READS_LIMIT: u32 = 128;
const MODE_ALLOCATION: u8 = 255;

/// Every element of a library and what it holds, in the order of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Pickers.
    pub pickers: Vec<Place>,
    /// Slots.
    pub slots: Vec<Place>,
    /// Mail slots.
    pub mail_slots: Vec<Place>,
    /// Drives.
    pub drives: Vec<DrivePlace>,
}

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its address.
    pub address: u16,
    /// Whether it holds a cartridge.
    pub full: bool,
    /// The cartridge's barcode as scanned; `None` when it has none or could not be read.
    pub tag: Option<String>,
    /// The same, where it is a barcode by the rule.
    pub barcode: Option<Barcode>,
    /// The slot that the cartridge came from.
    pub source: Option<u16>,
    /// Whether the picker can reach it.
    pub accessible: bool,
    /// Whether it is switched off.
    pub disabled: bool,
    /// Whether its cartridge is one for cleaning, by its barcode or by what the library says.
    pub cleaning: bool,
    /// Whether the operator put the cartridge there (mail slots).
    pub placed_by_operator: bool,
    /// Why it is in an abnormal state.
    pub exception: Option<Code>,
}

/// One drive's element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrivePlace {
    /// The element.
    pub place: Place,
    /// Serial number of the drive, as the drive itself tells it; `None` when the library does not
    /// say.
    pub serial: Option<String>,
    /// What the library says of the drive, the serial number among it or not.
    name: Option<DeviceId>,
}

/// What an element is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A slot.
    Slot,
    /// A mail slot.
    MailSlot,
    /// A drive.
    Drive,
    /// A picker.
    Picker,
}

/// Medium type of a cleaning cartridge (SMC, READ ELEMENT STATUS, medium type).
const CLEANING: u8 = 2;

impl Inventory {
    /// The element that holds this cartridge; `None` when it is not in the library.
    pub fn find(&self, barcode: Barcode) -> Option<&Place> {
        let drives = self.drives.iter().map(|drive| &drive.place);
        let places = self.slots.iter().chain(&self.mail_slots).chain(drives).chain(&self.pickers);
        places.into_iter().find(|place| place.barcode.is_some_and(|found| found.matches(barcode)))
    }

    /// Every element, and what it is for: slots, mail slots, drives, pickers.
    pub fn all(&self) -> impl Iterator<Item = (Role, &Place)> + Clone {
        let slots = self.slots.iter().map(|place| (Role::Slot, place));
        let mail_slots = self.mail_slots.iter().map(|place| (Role::MailSlot, place));
        let drives = self.drives.iter().map(|drive| (Role::Drive, &drive.place));
        let pickers = self.pickers.iter().map(|place| (Role::Picker, place));
        slots.chain(mail_slots).chain(drives).chain(pickers)
    }

    /// The element at this address, and what it is for.
    pub fn at(&self, address: u16) -> Option<(Role, &Place)> {
        self.all().find(|(_, place)| place.address == address)
    }

    /// The element at `address`, in words.
    pub fn name_of(&self, address: u16) -> String {
        self.at(address)
            .map_or_else(|| format!("element {address}"), |(role, _)| role.place(address))
    }

    /// The element of the drive with this serial number.
    pub fn drive(&self, serial: &str) -> Option<&DrivePlace> {
        self.drive_called(&DeviceNames::of_serial(serial.to_owned()))
    }

    /// The element of the drive with these names: by what the library says of its drives; else by
    /// what the drive says of its place; else the only drive there is, if the library says nothing
    /// of it.
    pub fn drive_called(&self, names: &DeviceNames) -> Option<&DrivePlace> {
        let is_it = |drive: &&DrivePlace| {
            drive.serial.as_deref().is_some_and(|serial| names.has_serial(serial))
                || drive
                    .name
                    .as_ref()
                    .is_some_and(|name| names.has_name((name.code_set, name.kind), &name.name))
        };
        let is_silent = |drive: &&DrivePlace| drive.serial.is_none();
        let silent = || self.drives.iter().filter(is_silent);
        self.drives
            .iter()
            .find(is_it)
            .or_else(|| silent().find(|drive| Some(drive.place.address) == names.element))
            .or_else(|| silent().next().filter(|_| self.drives.len() == 1))
    }

    /// The first free slot.
    pub fn free_slot(&self) -> Option<&Place> {
        self.slots.iter().find(|place| place.is_free())
    }

    /// The first free mail slot.
    pub fn free_mail_slot(&self) -> Option<&Place> {
        self.mail_slots.iter().find(|place| place.is_free())
    }
}

impl Place {
    /// Whether a cartridge can be put there.
    pub fn is_free(&self) -> bool {
        !self.full && self.accessible && !self.disabled
    }

    /// The barcode on its cartridge, or what there is to say instead; empty when it holds none.
    pub fn sticker(&self) -> String {
        match &self.tag {
            Some(tag) if self.full => tag.trim().to_owned(),
            None if self.full => "a cartridge without a readable barcode".to_owned(),
            Some(_) | None => String::new(),
        }
    }
}

impl Role {
    /// The element at `address`, in words.
    pub fn place(self, address: u16) -> String {
        match self {
            Self::Slot => format!("slot {address}"),
            Self::MailSlot => format!("mail slot {address}"),
            Self::Drive => format!("drive element {address}"),
            Self::Picker => format!("picker {address}"),
        }
    }
}

impl From<Element> for Place {
    fn from(element: Element) -> Self {
        let barcode: Option<Barcode> = element.barcode.as_deref().and_then(|tag| tag.parse().ok());
        let cleaning = barcode.is_some_and(Barcode::is_cleaning) || element.medium_type == CLEANING;
        Self {
            address: element.address,
            full: element.full,
            disabled: element.disabled,
            cleaning: element.full && cleaning,
            barcode,
            tag: element.barcode,
            source: element.source,
            accessible: element.accessible,
            placed_by_operator: element.placed_by_operator,
            exception: element.exception,
        }
    }
}

impl From<Element> for DrivePlace {
    fn from(element: Element) -> Self {
        let name = element.device.clone();
        let serial = name.as_ref().filter(|name| name.is_text()).map(DeviceId::serial);
        let serial = serial.filter(|serial| !serial.is_empty());
        Self { place: element.into(), serial, name }
    }
}

impl Changer {
    /// What is where, by the library's own memory (READ ELEMENT STATUS, one kind at a time, since
    /// some libraries garble the report of all).
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn inventory(&mut self) -> Result<Inventory, ChangerError> {
        let addresses = self.addresses()?;
        let places = |elements: Vec<Element>| elements.into_iter().map(Place::from).collect();
        Ok(Inventory {
            pickers: places(self.elements(ElementKind::Transport, addresses.as_ref())?),
            slots: places(self.elements(ElementKind::Storage, addresses.as_ref())?),
            mail_slots: places(self.elements(ElementKind::ImportExport, addresses.as_ref())?),
            drives: self
                .elements(ElementKind::DataTransfer, addresses.as_ref())?
                .into_iter()
                .map(DrivePlace::from)
                .collect(),
        })
    }

    /// Where each kind of element begins (SMC, Element Address Assignment mode page).
    fn addresses(&mut self) -> Result<Option<ElementAddresses>, ChangerError> {
        let command = Command::ModeSense6 {
            no_descriptors: true,
            control: PageControl::Current,
            page: ElementAddresses::CODE,
            subpage: 0,
            allocation: MODE_ALLOCATION,
        };
        match self.fetch(&command, usize::from(MODE_ALLOCATION)) {
            Ok(data) => Ok(Parameters::decode_6(&data).and_then(|list| list.get())),
            Err(ChangerError::Unsupported(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every element of one kind, by address.
    fn elements(
        &mut self,
        kind: ElementKind,
        addresses: Option<&ElementAddresses>,
    ) -> Result<Vec<Element>, ChangerError> {
        let (first, total) = match addresses {
            Some(page) => range(page, kind),
            None => (0, u16::MAX),
        };
        let mut elements: Vec<Element> = Vec::new();
        let mut start = first;
        for _ in 0..READS_LIMIT {
            let left = usize::from(total).saturating_sub(elements.len());
            let count = u16::try_from(left).unwrap_or(u16::MAX).min(COUNT_LIMIT);
            if count == 0 {
                break;
            }
            let mut found = match self.read(kind, start, count) {
                Ok(found) => found,
                // Without the page nobody says where the last element is.
                Err(ChangerError::Stale(_)) if addresses.is_none() => break,
                Err(error) => return Err(error),
            };
            found.retain(|element| element.kind == kind && element.address >= start);
            found.sort_by_key(|element| element.address);
            let Some(last) = found.last().map(|element| element.address) else { break };
            let next = last.checked_add(1);
            elements.extend(found);
            match next {
                Some(next) => start = next,
                None => break,
            }
        }
        Ok(elements)
    }

    /// One reply. Drives are asked for their serial numbers; a library that cannot say these and
    /// the barcodes in one reply is asked twice.
    fn read(
        &mut self,
        kind: ElementKind,
        start: u16,
        count: u16,
    ) -> Result<Vec<Element>, ChangerError> {
        if kind != ElementKind::DataTransfer {
            return self.read_with(kind, (start, count), Ask::Tags);
        }
        match self.read_with(kind, (start, count), Ask::TagsAndDevices) {
            Ok(elements) => return Ok(elements),
            Err(ChangerError::Unsupported(_)) => (),
            Err(error) => return Err(error),
        }
        let mut elements = self.read_with(kind, (start, count), Ask::Tags)?;
        let devices = match self.read_with(kind, (start, count), Ask::Devices) {
            Ok(devices) => devices,
            Err(ChangerError::Unsupported(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        for element in &mut elements {
            let same = devices.iter().find(|device| device.address == element.address);
            element.device = same.and_then(|same| same.device.clone());
        }
        Ok(elements)
    }

    fn read_with(
        &mut self,
        kind: ElementKind,
        (start, count): (u16, u16),
        ask: Ask,
    ) -> Result<Vec<Element>, ChangerError> {
        let (volume_tags, device_id) = match ask {
            Ask::Tags => (true, false),
            Ask::Devices => (false, true),
            Ask::TagsAndDevices => (true, true),
        };
        let command = Command::ReadElementStatus {
            volume_tags,
            kind: Some(kind),
            start,
            count,
            current_data: false,
            device_id,
            allocation: U24::from(ALLOCATION),
        };
        let data = self.fetch(&command, usize::from(ALLOCATION))?;
        let report = Report::decode(&data).ok_or_else(|| self.garbled(&command))?;
        Ok(report.elements)
    }
}

/// What a reply is asked to hold.
#[derive(Clone, Copy)]
enum Ask {
    Tags,
    Devices,
    TagsAndDevices,
}

fn range(page: &ElementAddresses, kind: ElementKind) -> (u16, u16) {
    let (first, count) = match kind {
        ElementKind::Transport => (page.first_transport, page.transports),
        ElementKind::Storage => (page.first_storage, page.storages),
        ElementKind::ImportExport => (page.first_import_export, page.import_exports),
        ElementKind::DataTransfer => (page.first_data_transfer, page.data_transfers),
    };
    (first.get(), count.get())
}
