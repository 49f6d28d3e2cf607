//! Places and moves: what is where, what may go where, and how the robot tells.

use crate::emulator::{
    answer::Check,
    drive::bay,
    generation::product,
    library::{Contents, Element, ElementKind, Library},
};
use crate::ident::Barcode;
use crate::scsi::{
    cdb::PageControl,
    element::ElementKind as Code4,
    mode::{
        Header, Parameters, RawPage,
        page::{Capabilities, ElementAddresses, Page, TransportGeometry},
    },
    sense::{Code, Key, Sense},
};

/// Slots, mail slots and drives, as bits of the capabilities page.
const HOLDERS: u8 = 0x0E;
/// Bits of an element descriptor's flags.
const FULL: u8 = 0x01;
const PLACED_BY_OPERATOR: u8 = 0x02;
const ACCESSIBLE: u8 = 0x08;
const EXPORT_ENABLED: u8 = 0x10;
const IMPORT_ENABLED: u8 = 0x20;
const SOURCE_VALID: u8 = 0x80;
const TAG_LEN: usize = 36;
const DEVICE_NAME_LEN: u8 = 34;

/// What READ ELEMENT STATUS asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) volume_tags: bool,
    pub(super) device_id: bool,
    pub(super) kind: Option<Code4>,
    pub(super) start: u16,
    pub(super) count: u16,
}

/// The element at `address`.
pub(super) fn find(contents: &mut Contents, address: u16) -> Result<&mut Element, Check> {
    let found = contents.elements.iter_mut().find(|element| element.address == address);
    found.ok_or_else(|| (Key::IllegalRequest, Code::INVALID_ELEMENT_ADDRESS).into())
}

/// Whether `address` is a picker; 0 is the default one.
pub(super) fn picker(contents: &mut Contents, address: u16) -> Result<(), Check> {
    match address {
        0 => Ok(()),
        _ if find(contents, address)?.kind == ElementKind::Picker => Ok(()),
        _ => Err((Key::IllegalRequest, Code::INVALID_ELEMENT_ADDRESS).into()),
    }
}

/// Moves a cartridge, in `contents` alone. The result is the drives that this touches.
pub(super) fn move_medium(
    library: &Library,
    contents: &mut Contents,
    source: u16,
    destination: u16,
) -> Result<Vec<u16>, Check> {
    if find(contents, destination)?.barcode.is_some() && source != destination {
        find(contents, source)?;
        return Err((Key::IllegalRequest, Code::DESTINATION_FULL).into());
    }
    let held = take(library, contents, source)?;
    put(contents, destination, &held)?;
    Ok([source, destination].iter().filter_map(|at| contents.drive_number(*at)).collect())
}

/// Moves what is at `first` to `second`, and what is at `source` to `first`.
pub(super) fn exchange(
    library: &Library,
    contents: &mut Contents,
    source: u16,
    (first, second): (u16, u16),
) -> Result<Vec<u16>, Check> {
    let held = take(library, contents, source)?;
    let mut drives = move_medium(library, contents, first, second)?;
    put(contents, first, &held)?;
    drives.extend(contents.drive_number(source));
    Ok(drives)
}

/// Takes the cartridge out of the element at `address`; the result is what was there.
fn take(library: &Library, contents: &mut Contents, address: u16) -> Result<Element, Check> {
    let auto_unload = contents.settings.auto_unload;
    let number = contents.drive_number(address);
    let element = find(contents, address)?;
    if element.barcode.is_none() || element.kind == ElementKind::Picker {
        return Err((Key::IllegalRequest, Code::SOURCE_EMPTY).into());
    }
    if let Some(number) = number {
        let bay = bay(library.dir(), number);
        if bay.prevented {
            return Err((Key::IllegalRequest, Code::MEDIUM_REMOVAL_PREVENTED).into());
        }
        if bay.threaded && !auto_unload {
            return Err((Key::IllegalRequest, Code::UNLOAD_TAPE_FAILURE).into());
        }
    }
    let held = element.clone();
    (element.barcode, element.source, element.placed_by_operator) = (None, None, false);
    Ok(held)
}

/// Puts a cartridge that was taken elsewhere into the element at `address`.
fn put(contents: &mut Contents, address: u16, held: &Element) -> Result<(), Check> {
    let element = find(contents, address)?;
    if element.kind == ElementKind::Picker {
        return Err((Key::IllegalRequest, Code::INVALID_ELEMENT_ADDRESS).into());
    }
    element.barcode = held.barcode;
    element.source = match held.kind {
        ElementKind::Slot | ElementKind::MailSlot => Some(held.address),
        ElementKind::Drive | ElementKind::Picker => held.source,
    };
    Ok(())
}

/// The reply to READ ELEMENT STATUS (SMC, element status data).
pub(super) fn status(library: &Library, contents: &Contents, asked: Asked) -> Vec<u8> {
    let mut elements: Vec<&Element> = contents
        .elements
        .iter()
        .filter(|element| element.address >= asked.start)
        .filter(|element| asked.kind.is_none_or(|kind| kind.code() == element.kind.code()))
        .collect();
    elements.sort_by_key(|element| element.address);
    elements.truncate(usize::from(asked.count));
    let first = elements.first().map_or(0, |element| element.address);
    let mut pages = Vec::new();
    for kind in [ElementKind::Picker, ElementKind::Slot, ElementKind::MailSlot, ElementKind::Drive]
    {
        let of_kind: Vec<Vec<u8>> = elements
            .iter()
            .filter(|element| element.kind == kind)
            .map(|element| descriptor(library, contents, element, asked))
            .collect();
        let Some(length) = of_kind.first().map(Vec::len) else { continue };
        pages.extend([kind.code(), u8::from(asked.volume_tags) << 7]);
        pages.extend(u16::try_from(length).expect("under 100 bytes").to_be_bytes());
        pages.extend(byte_count(length * of_kind.len()));
        pages.extend(of_kind.concat());
    }
    let mut bytes = first.to_be_bytes().to_vec();
    bytes.extend(u16::try_from(elements.len()).expect("counted in 16 bits").to_be_bytes());
    bytes.extend(byte_count(pages.len()));
    bytes.extend(pages);
    bytes
}

fn byte_count(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("at most some thousand elements").to_be_bytes()
}

fn descriptor(library: &Library, contents: &Contents, element: &Element, asked: Asked) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes[..2].copy_from_slice(&element.address.to_be_bytes());
    let full = if element.barcode.is_some() { FULL } else { 0 };
    bytes[2] = full
        | match element.kind {
            ElementKind::Picker => 0,
            ElementKind::Slot | ElementKind::Drive => ACCESSIBLE,
            ElementKind::MailSlot => {
                let placed = if element.placed_by_operator { PLACED_BY_OPERATOR } else { 0 };
                ACCESSIBLE | EXPORT_ENABLED | IMPORT_ENABLED | placed
            }
        };
    if let Some(source) = element.source {
        bytes[9] = SOURCE_VALID;
        bytes[10..12].copy_from_slice(&source.to_be_bytes());
    }
    if let Some(barcode) = element.barcode {
        // Medium type: 1 data, 2 cleaning.
        bytes[9] |= if barcode.is_cleaning() { 2 } else { 1 };
    }
    if asked.volume_tags {
        let mut tag = [0; TAG_LEN];
        let readable = |barcode: &Barcode| {
            library.cartridge(*barcode).is_ok_and(|cartridge| !cartridge.sticker_unreadable)
        };
        if let Some(barcode) = element.barcode.filter(readable) {
            tag[..32].fill(b' ');
            let text = barcode.to_string();
            tag[..text.len()].copy_from_slice(text.as_bytes());
        }
        bytes.extend(tag);
    }
    match contents.drive_number(element.address) {
        Some(number) if asked.device_id && contents.settings.tells_drive_serials => {
            // ASCII, T10 vendor identification: vendor 8, product 16, serial number 10.
            bytes.extend([2, 1, 0, DEVICE_NAME_LEN]);
            let product = product(contents.generation);
            let serial = contents.drive_serial(number);
            bytes.extend(format!("{:<8}{product:<16}{serial:<10}", "TAPEVLT").into_bytes());
        }
        Some(_) | None => bytes.extend([0; 4]),
    }
    bytes
}

/// The mode parameters of the changer: pages 1Dh, 1Eh and 1Fh.
pub(super) fn modes(
    contents: &Contents,
    control: PageControl,
    (code, subpage): (u8, u8),
) -> Result<Parameters, Check> {
    if control == PageControl::Saved {
        return Err((Key::IllegalRequest, Code::SAVING_NOT_SUPPORTED).into());
    }
    let range = |kind| {
        let mut of_kind = contents.elements.iter().filter(|element| element.kind == kind);
        let first = of_kind.next().map_or(0, |element| element.address);
        let count = if first == 0 { 0 } else { 1 + of_kind.count() };
        (first.into(), u16::try_from(count).expect("addresses are 16 bits").into())
    };
    let (first_transport, transports) = range(ElementKind::Picker);
    let (first_storage, storages) = range(ElementKind::Slot);
    let (first_import_export, import_exports) = range(ElementKind::MailSlot);
    let (first_data_transfer, data_transfers) = range(ElementKind::Drive);
    let addresses = ElementAddresses {
        first_transport,
        transports,
        first_storage,
        storages,
        first_import_export,
        import_exports,
        first_data_transfer,
        data_transfers,
        reserved: [0; 2],
    };
    let moves = [0, HOLDERS, HOLDERS, HOLDERS];
    let capabilities =
        Capabilities { store: HOLDERS, moves, exchanges: moves, ..Capabilities::default() };
    let all = [addresses.raw(), TransportGeometry::default().raw(), capabilities.raw()];
    let mut pages: Vec<RawPage> =
        all.into_iter().filter(|page| code == 0x3F || page.code == code).collect();
    if pages.is_empty() || !matches!(subpage, 0 | 0xFF) {
        return Err(Sense::invalid_cdb_field(2).into());
    }
    if control == PageControl::Changeable {
        for page in &mut pages {
            page.body.fill(0);
        }
    }
    Ok(Parameters { header: Header::default(), block: None, pages })
}
