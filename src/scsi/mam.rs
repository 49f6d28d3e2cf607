//! Medium auxiliary memory: attributes on the cartridge's chip.

use crate::scsi::text::trimmed;

/// Attributes that a list may hold at most, whatever its bytes say.
const ATTRIBUTES_LIMIT: usize = 4096;

/// One attribute (SPC, MAM attribute format).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Which one, see [`id`].
    pub id: u16,
    /// Whether a host may not write it.
    pub read_only: bool,
    /// What its value is.
    pub format: Format,
    /// The value. An empty one deletes the attribute when it is written.
    pub value: Vec<u8>,
}

/// What an attribute's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 0.
    Binary,
    /// 1: ASCII, padded with spaces.
    Ascii,
    /// 2: text by the localisation attribute.
    Text,
    /// 3.
    Reserved,
}

/// Attribute identifiers (SPC, MAM attribute identifiers; capacities are MiB).
pub mod id {
    /// Remaining capacity of the partition, MiB, 8 bytes.
    pub const REMAINING_CAPACITY: u16 = 0x0000;
    /// Maximum capacity of the partition, MiB, 8 bytes.
    pub const MAXIMUM_CAPACITY: u16 = 0x0001;
    /// TapeAlert flags, 8 bytes.
    pub const TAPE_ALERTS: u16 = 0x0002;
    /// Times loaded, 8 bytes.
    pub const LOAD_COUNT: u16 = 0x0003;
    /// Bytes of the chip that are free, 8 bytes.
    pub const SPACE_REMAINING: u16 = 0x0004;
    /// Density code that the medium is formatted in, 1 byte.
    pub const FORMATTED_DENSITY: u16 = 0x0006;
    /// Changes whenever the medium is written, 4 bytes on LTO.
    pub const VOLUME_CHANGE_REFERENCE: u16 = 0x0009;
    /// Vendor and serial number of the drive of the last load, 40 characters.
    pub const LAST_LOAD: u16 = 0x020A;
    /// MiB written in its life, 8 bytes.
    pub const WRITTEN: u16 = 0x0220;
    /// MiB read in its life, 8 bytes.
    pub const READ: u16 = 0x0221;
    /// Medium manufacturer, 8 characters.
    pub const MANUFACTURER: u16 = 0x0400;
    /// Medium serial number, 32 characters.
    pub const SERIAL: u16 = 0x0401;
    /// Medium length, m, 4 bytes.
    pub const LENGTH: u16 = 0x0402;
    /// Medium width, 0.1 mm, 4 bytes.
    pub const WIDTH: u16 = 0x0403;
    /// Assigning organisation, 8 characters.
    pub const ORGANISATION: u16 = 0x0404;
    /// Density code of the medium, 1 byte.
    pub const DENSITY: u16 = 0x0405;
    /// Date of manufacture, `YYYYMMDD`.
    pub const MANUFACTURE_DATE: u16 = 0x0406;
    /// Bytes of the chip, 8 bytes.
    pub const MEMORY_CAPACITY: u16 = 0x0407;
    /// Medium type: 00h data, 01h cleaning, 80h write-once, by convention; 1 byte.
    pub const MEDIUM_TYPE: u16 = 0x0408;
    /// More about the medium type, 2 bytes.
    pub const MEDIUM_TYPE_INFORMATION: u16 = 0x0409;
    /// Vendor of the application that owns the volume, 8 characters.
    pub const APPLICATION_VENDOR: u16 = 0x0800;
    /// Its name, 32 characters.
    pub const APPLICATION_NAME: u16 = 0x0801;
    /// Its version, 8 characters.
    pub const APPLICATION_VERSION: u16 = 0x0802;
    /// Label for people, 160 bytes of text.
    pub const USER_LABEL: u16 = 0x0803;
    /// When it was last written, `YYYYMMDDhhmm`.
    pub const LAST_WRITTEN: u16 = 0x0804;
    /// How text is encoded: 0 ASCII, 81h UTF-8; 1 byte.
    pub const LOCALISATION: u16 = 0x0805;
    /// Barcode, 32 characters.
    pub const BARCODE: u16 = 0x0806;
    /// Owning host, 80 bytes of text.
    pub const HOST: u16 = 0x0807;
    /// Media pool, 160 bytes of text.
    pub const POOL: u16 = 0x0808;
    /// Version of the application's format, 16 characters.
    pub const FORMAT_VERSION: u16 = 0x080B;

    /// Bytes of the value that a host may write; `None` for an attribute that is not a host's.
    pub fn host_length(id: u16) -> Option<usize> {
        match id {
            APPLICATION_VENDOR | APPLICATION_VERSION => Some(8),
            APPLICATION_NAME | BARCODE => Some(32),
            USER_LABEL | POOL => Some(160),
            LAST_WRITTEN => Some(12),
            LOCALISATION => Some(1),
            HOST => Some(80),
            FORMAT_VERSION => Some(16),
            _ => None,
        }
    }
}

impl Format {
    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Binary,
            1 => Self::Ascii,
            2 => Self::Text,
            _ => Self::Reserved,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Binary => 0,
            Self::Ascii => 1,
            Self::Text => 2,
            Self::Reserved => 3,
        }
    }
}

impl Attribute {
    /// A number of `length` bytes, at most 8, that a host may not write.
    ///
    /// # Panics
    ///
    /// When the number does not fit.
    pub fn of_number(id: u16, length: usize, number: u64) -> Self {
        let bytes = number.to_be_bytes();
        let (cut, kept) = bytes.split_at(8 - length);
        assert!(cut.iter().all(|&byte| byte == 0), "{number} does not fit {length} bytes");
        Self { id, read_only: true, format: Format::Binary, value: kept.to_vec() }
    }

    /// ASCII padded to `length` with spaces, that a host may not write.
    pub fn of_text(id: u16, length: usize, text: &str) -> Self {
        let mut value = text.as_bytes().to_vec();
        value.resize(length, b' ');
        Self { id, read_only: true, format: Format::Ascii, value }
    }

    /// Text for an attribute of the host's, padded as the standard demands: ASCII with spaces,
    /// text with zeros.
    ///
    /// `None` when the attribute is not the host's, or takes no text.
    pub fn of_host(id: u16, text: &str) -> Option<Self> {
        let length = id::host_length(id)?;
        let (format, pad) = match id {
            id::LOCALISATION => return None,
            id::USER_LABEL | id::HOST | id::POOL => (Format::Text, 0),
            _ => (Format::Ascii, b' '),
        };
        let mut value = text.as_bytes().to_vec();
        value.resize(length, pad);
        Some(Self { id, read_only: false, format, value })
    }

    /// Its value as a number; `None` when it is empty or over 8 bytes.
    pub fn number(&self) -> Option<u64> {
        if self.value.is_empty() || self.value.len() > 8 {
            return None;
        }
        Some(self.value.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Its value as text without the padding.
    pub fn text(&self) -> String {
        trimmed(&self.value)
    }
}

/// Reads what READ ATTRIBUTE delivers or WRITE ATTRIBUTE sends; an attribute that is cut short is
/// left out. `None` when the header is.
///
/// The length in the header counts what follows it, but some hosts count themselves; the bytes
/// that are there decide.
pub fn decode(bytes: &[u8]) -> Option<Vec<Attribute>> {
    let (header, mut rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
    rest = &rest[..length.min(rest.len())];
    let mut attributes = Vec::new();
    while attributes.len() < ATTRIBUTES_LIMIT
        && let Some((&[a, b, flags, c, d], after)) = rest.split_first_chunk::<5>()
        && let Some(value) = after.get(..usize::from(u16::from_be_bytes([c, d])))
    {
        attributes.push(Attribute {
            id: u16::from_be_bytes([a, b]),
            read_only: flags & 0x80 != 0,
            format: Format::from_bits(flags),
            value: value.to_vec(),
        });
        rest = &after[value.len()..];
    }
    Some(attributes)
}

/// The attributes, which ascend by identifier, with their header.
///
/// # Panics
///
/// When a value is longer than 65,535 bytes.
pub fn encode(attributes: &[Attribute]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for attribute in attributes {
        let length = u16::try_from(attribute.value.len()).expect("a value is under 64 KiB");
        bytes.extend(attribute.id.to_be_bytes());
        bytes.push((u8::from(attribute.read_only) << 7) | attribute.format.bits());
        bytes.extend(length.to_be_bytes());
        bytes.extend(&attribute.value);
    }
    write_length(&mut bytes);
    bytes
}

/// Reads the identifiers that READ ATTRIBUTE lists. `None` when the header is cut short.
pub fn decode_ids(bytes: &[u8]) -> Option<Vec<u16>> {
    let (header, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
    let (pairs, _) = rest[..length.min(rest.len())].as_chunks::<2>();
    Some(pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}

/// A list of identifiers.
pub fn encode_ids(ids: &[u16]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(ids.iter().flat_map(|id| id.to_be_bytes()));
    write_length(&mut bytes);
    bytes
}

fn write_length(bytes: &mut [u8]) {
    let length = u32::try_from(bytes.len() - 4).expect("a chip holds under 4 GiB");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reply_has_the_bytes_of_the_standard() {
        let attributes = [
            Attribute::of_number(id::REMAINING_CAPACITY, 8, 0x0102),
            Attribute::of_text(id::MANUFACTURER, 8, "FUJIFILM"),
        ];
        let mut bytes = vec![0, 0, 0, 26, 0, 0, 0x80, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2];
        bytes.extend(b"\x04\x00\x81\x00\x08FUJIFILM");
        assert_eq!(encode(&attributes), bytes);
        assert_eq!(decode(&bytes).unwrap(), attributes);
        assert_eq!(decode(&bytes[..29]).unwrap(), attributes[..1]);
        assert_eq!(decode(&bytes[..3]), None);
        assert_eq!(encode_ids(&[1, 0x0806]), [0, 0, 0, 4, 0, 1, 8, 6]);
        assert_eq!(decode_ids(&[0, 0, 0, 9, 0, 1, 8, 6, 5]).unwrap(), [1, 0x0806]);
    }

    #[test]
    fn a_host_writes_padded_text() {
        let barcode = Attribute::of_host(id::BARCODE, "A00012L8").unwrap();
        assert_eq!(barcode.value.len(), 32);
        assert_eq!(barcode.text(), "A00012L8");
        let pool = Attribute::of_host(id::POOL, "month").unwrap();
        assert_eq!((pool.format, pool.value.len(), pool.value[5]), (Format::Text, 160, 0));
        assert_eq!(Attribute::of_host(id::SERIAL, "x"), None);
    }

    proptest! {
        #[test]
        fn what_decodes_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Some(attributes) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&attributes)), Some(attributes));
            }
            if let Some(ids) = decode_ids(&bytes) {
                prop_assert_eq!(decode_ids(&encode_ids(&ids)), Some(ids));
            }
        }
    }
}
