//! Elements of a library: what READ ELEMENT STATUS says of each.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian::U16};

use crate::scsi::{
    sense::Code,
    text::{padded, trimmed},
};

/// Elements that a reply may hold at most, whatever its bytes say: addresses are 16 bits.
const ELEMENTS_LIMIT: usize = 65_536;

/// Bytes of a volume tag: 32 of barcode, 2 reserved, 2 of sequence number.
const TAG_LENGTH: usize = 36;
const BARCODE_LENGTH: usize = 32;

/// What a place in a library is for (SMC, READ ELEMENT STATUS, element type code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementKind {
    /// 1: the picker that carries cartridges.
    Transport,
    /// 2: a slot.
    Storage,
    /// 3: a mail slot.
    ImportExport,
    /// 4: a drive.
    DataTransfer,
}

/// The reply to READ ELEMENT STATUS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lowest address that is reported.
    pub first: u16,
    /// How many elements the header speaks of, whether or not they all fit the allocation.
    pub count: u16,
    /// The elements that arrived whole.
    pub elements: Vec<Element>,
}

/// One place and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// What it is for.
    pub kind: ElementKind,
    /// Its address.
    pub address: u16,
    /// Whether it holds a cartridge.
    pub full: bool,
    /// Whether the operator put it there (mail slots).
    pub placed_by_operator: bool,
    /// Why it is in an abnormal state.
    pub exception: Option<Code>,
    /// Whether the picker can reach it.
    pub accessible: bool,
    /// Whether a cartridge can be exported through it (mail slots).
    pub exports: bool,
    /// Whether a cartridge can be imported through it (mail slots).
    pub imports: bool,
    /// Whether it is switched off.
    pub disabled: bool,
    /// 0 unspecified, 1 data, 2 cleaning, 3 diagnostic, 4 write-once; many libraries say 0 for all.
    pub medium_type: u8,
    /// The slot that its cartridge came from.
    pub source: Option<u16>,
    /// The barcode of its cartridge; `None` when it was not asked for or could not be read.
    pub barcode: Option<String>,
    /// The drive behind it (drives, when asked for).
    pub device: Option<DeviceId>,
}

/// What names the drive behind an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceId {
    /// Code set: 1 binary, 2 ASCII.
    pub code_set: u8,
    /// 0 vendor specific (often the serial number alone), 1 vendor, product and serial number.
    pub kind: u8,
    /// The identifier as it stands.
    pub name: Vec<u8>,
}

/// Which optional fields descriptors carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Volume tags.
    pub volume_tags: bool,
    /// Device identifiers of drives.
    pub device_ids: bool,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    first: U16,
    count: U16,
    _reserved: u8,
    /// Bytes that follow.
    length: [u8; 3],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PageHeader {
    kind: u8,
    /// Bit 7 PVOLTAG, bit 6 AVOLTAG.
    flags: u8,
    descriptor_length: U16,
    _reserved: u8,
    /// Bytes of descriptors that follow.
    length: [u8; 3],
}

/// The part of a descriptor that every kind has.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Descriptor {
    address: U16,
    /// Bit 0 FULL, 1 IMPEXP, 2 EXCEPT, 3 ACCESS, 4 EXENAB, 5 INENAB.
    flags: u8,
    _reserved: u8,
    asc: u8,
    ascq: u8,
    _bus: [u8; 3],
    /// Bit 7 SVALID, bit 6 INVERT, bit 3 ED, bits 2 to 0 medium type.
    origin: u8,
    source: U16,
}

const _: () = assert!(size_of::<Header>() == 8);
const _: () = assert!(size_of::<PageHeader>() == 8);
const _: () = assert!(size_of::<Descriptor>() == 12);

const PVOLTAG: u8 = 0x80;
const AVOLTAG: u8 = 0x40;

impl ElementKind {
    /// Every kind, by code.
    pub const ALL: [Self; 4] =
        [Self::Transport, Self::Storage, Self::ImportExport, Self::DataTransfer];

    /// The element type code, from 1.
    pub fn code(self) -> u8 {
        match self {
            Self::Transport => 1,
            Self::Storage => 2,
            Self::ImportExport => 3,
            Self::DataTransfer => 4,
        }
    }

    /// The kind with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl Element {
    /// An element that holds nothing and that the picker can reach.
    pub fn empty(kind: ElementKind, address: u16) -> Self {
        Self {
            kind,
            address,
            full: false,
            placed_by_operator: false,
            exception: None,
            accessible: true,
            exports: false,
            imports: false,
            disabled: false,
            medium_type: 0,
            source: None,
            barcode: None,
            device: None,
        }
    }
}

impl Report {
    /// Reads a reply; an element or page that is cut short is left out. `None` when the header is.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = Header::read_from_prefix(bytes).ok()?;
        let mut report =
            Self { first: header.first.get(), count: header.count.get(), elements: Vec::new() };
        let mut rest = &rest[..u24(header.length).min(rest.len())];
        while let Ok((page, after)) = PageHeader::read_from_prefix(rest) {
            let length = u24(page.length).min(after.len());
            report.decode_page(&page, &after[..length]);
            rest = &after[length..];
        }
        Some(report)
    }

    fn decode_page(&mut self, page: &PageHeader, descriptors: &[u8]) {
        let stride = usize::from(page.descriptor_length.get());
        let Some(kind) = ElementKind::from_code(page.kind) else { return };
        if stride < size_of::<Descriptor>() {
            return;
        }
        for bytes in descriptors.chunks_exact(stride) {
            if self.elements.len() < ELEMENTS_LIMIT {
                self.elements.push(decode_element(kind, page.flags, bytes));
            }
        }
    }

    /// The reply with the elements in the order given, one page for each run of a kind, to be cut
    /// to the allocation length.
    pub fn encode(&self, fields: Fields) -> Vec<u8> {
        let mut pages = Vec::new();
        for run in self.elements.chunk_by(|a, b| a.kind == b.kind) {
            let device_ids = fields.device_ids && run[0].kind == ElementKind::DataTransfer;
            let fields = Fields { device_ids, ..fields };
            let name_length = run.iter().map(|element| name_length(element, fields)).max();
            let name_length = name_length.unwrap_or(0);
            let stride = size_of::<Descriptor>()
                + if fields.volume_tags { TAG_LENGTH } else { 0 }
                + if device_ids { 4 + name_length } else { 0 };
            let header = PageHeader {
                kind: run[0].kind.code(),
                flags: if fields.volume_tags { PVOLTAG } else { 0 },
                descriptor_length: u16::try_from(stride).expect("under 400 bytes").into(),
                _reserved: 0,
                length: to_u24(stride * run.len()),
            };
            pages.extend(header.as_bytes());
            for element in run {
                let start = pages.len();
                encode_element(element, fields, &mut pages);
                pages.resize(start + stride, 0);
            }
        }
        let header = Header {
            first: self.first.into(),
            count: self.count.into(),
            _reserved: 0,
            length: to_u24(pages.len()),
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(pages);
        bytes
    }
}

fn u24([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}

fn to_u24(length: usize) -> [u8; 3] {
    let [high, a, b, c] = u32::try_from(length).expect("a reply is under 16 MiB").to_be_bytes();
    assert!(high == 0, "a reply is under 16 MiB");
    [a, b, c]
}

/// Reads one descriptor, which is at least as long as its fixed part.
fn decode_element(kind: ElementKind, flags: u8, bytes: &[u8]) -> Element {
    let (fixed, mut rest) =
        Descriptor::read_from_prefix(bytes).expect("the caller checked the length");
    let mut barcode = None;
    if flags & PVOLTAG != 0
        && let Some((tag, after)) = rest.split_at_checked(TAG_LENGTH)
    {
        barcode = Some(trimmed(&tag[..BARCODE_LENGTH])).filter(|barcode| !barcode.is_empty());
        rest = after;
    }
    if flags & AVOLTAG != 0 {
        rest = rest.get(TAG_LENGTH..).unwrap_or(&[]);
    }
    let full = fixed.flags & 0x01 != 0;
    let exception = (fixed.flags & 0x04 != 0).then_some(Code { asc: fixed.asc, ascq: fixed.ascq });
    Element {
        kind,
        address: fixed.address.get(),
        full,
        placed_by_operator: fixed.flags & 0x02 != 0,
        exception,
        accessible: fixed.flags & 0x08 != 0,
        exports: fixed.flags & 0x10 != 0,
        imports: fixed.flags & 0x20 != 0,
        disabled: fixed.origin & 0x08 != 0,
        medium_type: fixed.origin & 0x07,
        source: (fixed.origin & 0x80 != 0).then(|| fixed.source.get()),
        // Some libraries leave the tag of the cartridge that was there last.
        barcode: barcode.filter(|_| full),
        device: DeviceId::decode(rest).filter(|_| kind == ElementKind::DataTransfer),
    }
}

fn name_length(element: &Element, fields: Fields) -> usize {
    if !fields.device_ids {
        return 0;
    }
    element.device.as_ref().map_or(0, |device| device.name.len())
}

fn encode_element(element: &Element, fields: Fields, bytes: &mut Vec<u8>) {
    let code = element.exception.unwrap_or_default();
    let flags = [
        element.full,
        element.placed_by_operator,
        element.exception.is_some(),
        element.accessible,
        element.exports,
        element.imports,
    ];
    let flags = flags.iter().rev().fold(0, |byte, &flag| byte << 1 | u8::from(flag));
    let fixed = Descriptor {
        address: element.address.into(),
        flags,
        _reserved: 0,
        asc: code.asc,
        ascq: code.ascq,
        _bus: [0; 3],
        origin: (u8::from(element.source.is_some()) << 7)
            | (u8::from(element.disabled) << 3)
            | (element.medium_type & 0x07),
        source: element.source.unwrap_or(0).into(),
    };
    bytes.extend(fixed.as_bytes());
    if fields.volume_tags {
        match &element.barcode {
            Some(barcode) => bytes.extend(padded::<BARCODE_LENGTH>(barcode)),
            None => bytes.extend([0; BARCODE_LENGTH]),
        }
        bytes.extend([0; TAG_LENGTH - BARCODE_LENGTH]);
    }
    if fields.device_ids
        && let Some(device) = &element.device
    {
        device.encode(bytes);
    }
}

impl DeviceId {
    /// The identifier of a drive by vendor, product and serial number.
    pub fn of_drive(vendor: &str, product: &str, serial: &str) -> Self {
        let mut name = padded::<8>(vendor).to_vec();
        name.extend(padded::<16>(product));
        name.extend(padded::<10>(serial));
        Self { code_set: 2, kind: 1, name }
    }

    /// The serial number in it, to be compared with the drive's own.
    pub fn serial(&self) -> String {
        match self.kind {
            1 => trimmed(self.name.get(24..).unwrap_or(&self.name)),
            _ => trimmed(&self.name),
        }
    }

    /// Whether it is text, in which the serial number stands, and no binary name.
    pub fn is_text(&self) -> bool {
        self.code_set != 1
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[code_set, kind, _, length], rest) = bytes.split_first_chunk::<4>()?;
        // A reply that the firmware cut short still has most of the name.
        let name = &rest[..usize::from(length).min(rest.len())];
        (!name.is_empty()).then(|| Self {
            code_set: code_set & 0x0F,
            kind: kind & 0x0F,
            name: name.to_vec(),
        })
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let length = u8::try_from(self.name.len()).expect("an identifier is under 256 bytes");
        bytes.extend([self.code_set & 0x0F, self.kind & 0x0F, 0, length]);
        bytes.extend(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Fields = Fields { volume_tags: true, device_ids: true };

    fn drive() -> Element {
        Element {
            full: true,
            source: Some(0x03EA),
            barcode: Some("A00012L8".to_owned()),
            device: Some(DeviceId::of_drive("IBM", "ULT3580-TD8", "00078D1234")),
            ..Element::empty(ElementKind::DataTransfer, 0x0101)
        }
    }

    #[test]
    fn a_drive_has_the_bytes_of_the_standard() {
        let mut bytes = vec![0x01, 0x01, 0, 1, 0, 0, 0, 94];
        bytes.extend([4, 0x80, 0, 86, 0, 0, 0, 86]);
        bytes.extend([0x01, 0x01, 0x09, 0, 0, 0, 0, 0, 0, 0x80, 0x03, 0xEA]);
        bytes.extend(b"A00012L8                        \0\0\0\0");
        bytes.extend(b"\x02\x01\0\x22IBM     ULT3580-TD8     00078D1234");
        let report = Report { first: 0x0101, count: 1, elements: vec![drive()] };
        assert_eq!(report.encode(ALL), bytes);
        assert_eq!(Report::decode(&bytes), Some(report));
        assert_eq!(drive().device.unwrap().serial(), "00078D1234");
        assert_eq!(Report::decode(&bytes[..101]).unwrap().elements, []);
        assert_eq!(Report::decode(&bytes[..7]), None);
    }

    #[test]
    fn a_tag_of_zeros_is_no_barcode() {
        let slot = Element { full: true, ..Element::empty(ElementKind::Storage, 9) };
        let report = Report { first: 9, count: 1, elements: vec![slot] };
        assert_eq!(Report::decode(&report.encode(ALL)), Some(report));
    }

    #[test]
    fn an_unknown_tail_is_skipped_by_the_stride() {
        let mut bytes = vec![0, 1, 0, 2, 0, 0, 0, 40, 2, 0, 0, 16, 0, 0, 0, 32];
        bytes.extend([0, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        bytes.extend([0, 2, 0x0C, 0, 0x30, 3, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        let elements = Report::decode(&bytes).unwrap().elements;
        assert_eq!(elements[0], Element::empty(ElementKind::Storage, 1));
        assert_eq!(elements[1].exception, Some(Code::CLEANING_CARTRIDGE_PRESENT));
    }

    fn element() -> impl Strategy<Value = Element> {
        let kind = prop::sample::select(ElementKind::ALL.to_vec());
        (kind, any::<u16>(), any::<[bool; 6]>(), any::<Option<u16>>(), "[A-Z0-9]{6,8}").prop_map(
            |(kind, address, flags, source, barcode)| Element {
                kind,
                address,
                full: flags[0],
                placed_by_operator: flags[1],
                exception: flags[2].then_some(Code { asc: 0x30, ascq: 3 }),
                accessible: flags[3],
                exports: flags[4],
                imports: flags[5],
                disabled: flags[1],
                medium_type: 1,
                source,
                barcode: flags[0].then_some(barcode),
                device: (kind == ElementKind::DataTransfer)
                    .then(|| DeviceId::of_drive("V", "P", "S1")),
            },
        )
    }

    proptest! {
        #[test]
        fn a_report_reads_back(elements in prop::collection::vec(element(), 0..8)) {
            let count = u16::try_from(elements.len()).unwrap();
            let report = Report { first: 1, count, elements };
            prop_assert_eq!(Report::decode(&report.encode(ALL)), Some(report));
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Some(report) = Report::decode(&bytes) {
                prop_assert!(report.elements.len() <= bytes.len() / 12);
            }
        }
    }
}
