//! Standard inquiry data.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::scsi::text::{padded, trimmed};

/// What kind of device answers (SPC, Peripheral device type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceType {
    /// 01h: sequential access.
    Tape,
    /// 08h: medium changer.
    Changer,
    /// Any other, by its number: 00h is a disk, 05h a CD drive, 1Fh none.
    Other(u8),
}

/// Standard inquiry data (SPC, Standard INQUIRY data), as far as they are of use here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standard {
    /// 0 when a device stands behind this logical unit.
    pub qualifier: u8,
    /// What it is.
    pub device_type: DeviceType,
    /// Whether its medium can be taken out.
    pub removable: bool,
    /// Version of SPC that it claims: 5 is SPC-3, 6 is SPC-4.
    pub version: u8,
    /// Who makes it, at most 8 characters.
    pub vendor: String,
    /// What they call it, at most 16 characters.
    pub product: String,
    /// Firmware, at most 4 characters.
    pub revision: String,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    /// Qualifier in bits 7 to 5, device type below.
    peripheral: u8,
    /// RMB in bit 7.
    removable: u8,
    version: u8,
    /// Response data format in bits 3 to 0.
    format: u8,
    additional: u8,
    _flags: [u8; 3],
    vendor: [u8; 8],
    product: [u8; 16],
    revision: [u8; 4],
}

const _: () = assert!(size_of::<Layout>() == 36);

/// Bytes from the field after `additional` to the end: a device pads its reply to 96 bytes.
const ENCODED_LENGTH: usize = 96;

impl DeviceType {
    fn from_code(code: u8) -> Self {
        match code & 0x1F {
            0x01 => Self::Tape,
            0x08 => Self::Changer,
            code => Self::Other(code),
        }
    }

    /// The device type code.
    pub fn code(self) -> u8 {
        match self {
            Self::Tape => 0x01,
            Self::Changer => 0x08,
            Self::Other(code) => code & 0x1F,
        }
    }
}

impl Standard {
    /// Reads a reply; `None` when it is cut short.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (layout, _) = Layout::read_from_prefix(bytes).ok()?;
        Some(Self {
            qualifier: layout.peripheral >> 5,
            device_type: DeviceType::from_code(layout.peripheral),
            removable: layout.removable & 0x80 != 0,
            version: layout.version,
            vendor: trimmed(&layout.vendor),
            product: trimmed(&layout.product),
            revision: trimmed(&layout.revision),
        })
    }

    /// The reply, 96 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let layout = Layout {
            peripheral: (self.qualifier << 5) | self.device_type.code(),
            removable: u8::from(self.removable) << 7,
            version: self.version,
            format: 2,
            additional: u8::try_from(ENCODED_LENGTH - 5).expect("91"),
            _flags: [0; 3],
            vendor: padded(&self.vendor),
            product: padded(&self.product),
            revision: padded(&self.revision),
        };
        let mut bytes = layout.as_bytes().to_vec();
        bytes.resize(ENCODED_LENGTH, 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tape_drive_introduces_itself() {
        let mut bytes = vec![0x01, 0x80, 0x06, 0x12, 0x5B, 0, 0, 0];
        bytes.extend(b"IBM     ULTRIUM-HH8     N9M1");
        let standard = Standard::decode(&bytes).unwrap();
        assert_eq!(
            standard,
            Standard {
                qualifier: 0,
                device_type: DeviceType::Tape,
                removable: true,
                version: 6,
                vendor: "IBM".to_owned(),
                product: "ULTRIUM-HH8".to_owned(),
                revision: "N9M1".to_owned(),
            }
        );
        let encoded = standard.encode();
        assert_eq!(encoded[..3], bytes[..3]);
        assert_eq!(encoded[4..36], bytes[4..36]);
        assert_eq!(Standard::decode(&bytes[..35]), None);
    }

    proptest! {
        #[test]
        fn what_decodes_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(standard) = Standard::decode(&bytes) {
                prop_assert_eq!(Standard::decode(&standard.encode()), Some(standard));
            }
        }
    }
}
