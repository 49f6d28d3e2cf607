//! What is where in a library.

use crate::{
    changer::{error::ChangerError, handle::Changer},
    ident::Barcode,
    scsi::{
        cdb::{Command, PageControl, U24},
        element::{Element, ElementKind, Report},
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
}

impl Inventory {
    /// The element that holds this cartridge; `None` when it is not in the library.
    pub fn find(&self, barcode: Barcode) -> Option<&Place> {
        let drives = self.drives.iter().map(|drive| &drive.place);
        let places = self.slots.iter().chain(&self.mail_slots).chain(drives).chain(&self.pickers);
        places.into_iter().find(|place| place.barcode.is_some_and(|found| found.matches(barcode)))
    }

    /// The element of the drive with this serial number.
    pub fn drive(&self, serial: &str) -> Option<&DrivePlace> {
        self.drives.iter().find(|drive| drive.serial.as_deref() == Some(serial))
    }
}

impl From<Element> for Place {
    fn from(element: Element) -> Self {
        Self {
            address: element.address,
            full: element.full,
            barcode: element.barcode.as_deref().and_then(|tag| tag.parse().ok()),
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
        let serial = element.device.as_ref().map(|device| device.serial());
        let serial = serial.filter(|serial| !serial.is_empty());
        Self { place: element.into(), serial }
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
