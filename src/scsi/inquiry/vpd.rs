//! Vital product data pages.

use crate::scsi::text::{padded, trimmed};

/// Supported pages.
pub const SUPPORTED: u8 = 0x00;
/// Unit serial number.
pub const SERIAL: u8 = 0x80;
/// Device identification.
pub const IDENTIFICATION: u8 = 0x83;
/// Sequential-access device capabilities.
pub const SEQUENTIAL: u8 = 0xB0;
/// Manufacturer-assigned serial number.
pub const MANUFACTURER_SERIAL: u8 = 0xB1;
/// TapeAlert supported flags.
pub const TAPE_ALERT: u8 = 0xB2;
/// Element address of the drive in its library.
pub const ELEMENT: u8 = 0xB4;
/// Logical block protection.
pub const BLOCK_PROTECTION: u8 = 0xB5;

/// A page: four bytes of header, then its body (SPC, Vital product data parameters).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Page code.
    pub code: u8,
    /// What follows the header.
    pub body: Vec<u8>,
}

/// One name of a device (SPC, Device Identification VPD page, designation descriptor).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Designator {
    /// 1 binary, 2 ASCII, 3 UTF-8.
    pub code_set: u8,
    /// 0 logical unit, 1 port, 2 target device.
    pub association: u8,
    /// 0 vendor specific, 1 T10 vendor ID, 2 EUI-64, 3 NAA, 4 relative port, 8 SCSI name.
    pub kind: u8,
    /// The name itself.
    pub name: Vec<u8>,
}

impl Page {
    /// Reads a page; its body is what its length says, or as much of that as has arrived.
    ///
    /// `None` when the header is cut short.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[_, code, high, low], rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        Some(Self { code, body: rest[..length.min(rest.len())].to_vec() })
    }

    /// The page of a device of type `device_type`.
    pub fn encode(&self, device_type: u8) -> Vec<u8> {
        let length = u16::try_from(self.body.len()).expect("a page is under 64 KiB");
        let [high, low] = length.to_be_bytes();
        let mut bytes = vec![device_type & 0x1F, self.code, high, low];
        bytes.extend(&self.body);
        bytes
    }

    /// The page that holds `text`, such as a serial number.
    pub fn of_text(code: u8, text: &str) -> Self {
        Self { code, body: text.as_bytes().to_vec() }
    }

    /// The page that lists `codes`, which ascend.
    pub fn of_supported(codes: &[u8]) -> Self {
        Self { code: SUPPORTED, body: codes.to_vec() }
    }

    /// The page that says whether the drive can use write-once media (SSC, Sequential-access
    /// device capabilities VPD page).
    pub fn of_sequential(worm: bool) -> Self {
        Self { code: SEQUENTIAL, body: vec![u8::from(worm), 0] }
    }

    /// The page that holds `designators`.
    pub fn of_designators(designators: &[Designator]) -> Self {
        Self {
            code: IDENTIFICATION,
            body: designators.iter().flat_map(Designator::encode).collect(),
        }
    }

    /// Its body as text.
    pub fn text(&self) -> String {
        trimmed(&self.body)
    }

    /// Of a sequential-access page: whether the drive can use write-once media.
    pub fn worm(&self) -> bool {
        self.body.first().is_some_and(|flags| flags & 1 != 0)
    }

    /// Of a device identification page: the names that are there whole.
    pub fn designators(&self) -> Vec<Designator> {
        let mut designators = Vec::new();
        let mut rest = self.body.as_slice();
        while let [first, second, _, length, after @ ..] = rest {
            let Some(name) = after.get(..usize::from(*length)) else { break };
            designators.push(Designator {
                code_set: first & 0x0F,
                association: second >> 4 & 0x03,
                kind: second & 0x0F,
                name: name.to_vec(),
            });
            rest = &after[name.len()..];
        }
        designators
    }
}

impl Designator {
    /// A T10 vendor identification of a logical unit, made of vendor, product and serial number.
    pub fn t10(vendor: &str, product: &str, serial: &str) -> Self {
        let mut name = padded::<8>(vendor).to_vec();
        name.extend(padded::<16>(product));
        name.extend(serial.bytes().take(64));
        Self { code_set: 2, association: 0, kind: 1, name }
    }

    fn encode(&self) -> Vec<u8> {
        let length = u8::try_from(self.name.len()).expect("a designator is under 256 bytes");
        let second = ((self.association & 0x03) << 4) | (self.kind & 0x0F);
        let mut bytes = vec![self.code_set & 0x0F, second, 0, length];
        bytes.extend(&self.name);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_serial_number_page() {
        let bytes = b"\x01\x80\x00\x0aHU1230ABCD";
        let page = Page::decode(bytes).unwrap();
        assert_eq!(page.text(), "HU1230ABCD");
        assert_eq!(page.encode(1), bytes);
        assert_eq!(Page::of_text(SERIAL, "HU1230ABCD"), page);
    }

    #[test]
    fn a_device_identification_page() {
        let bytes = [
            0x01, 0x83, 0, 28, // header
            0x02, 0x01, 0, 12, b'I', b'B', b'M', b' ', b' ', b' ', b' ', b' ', b'1', b'2', b'3',
            b'4', // T10 vendor
            0x01, 0x03, 0, 8, 0x50, 1, 2, 3, 4, 5, 6, 7, // NAA
        ];
        let page = Page::decode(&bytes).unwrap();
        let designators = page.designators();
        assert_eq!(designators.len(), 2);
        assert_eq!(designators[1].kind, 3);
        assert_eq!(designators[1].name, [0x50, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(Page::of_designators(&designators).encode(1), bytes);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(page) = Page::decode(&bytes) {
                prop_assert_eq!(Page::decode(&page.encode(1)), Some(page.clone()));
                let whole = Page::of_designators(&page.designators());
                prop_assert_eq!(whole.designators(), page.designators());
                prop_assert!(page.text().len() <= page.body.len());
            }
        }
    }
}
