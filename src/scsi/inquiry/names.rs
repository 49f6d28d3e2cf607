//! What a drive calls itself: by this it is found among the elements of its library.

use crate::scsi::inquiry::vpd::{Designator, Page};

/// The names of one drive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceNames {
    /// Its serial number (page 80h); empty when it tells none.
    pub serial: String,
    /// Its designators (page 83h).
    pub designators: Vec<Designator>,
    /// Its element address in its library (page B4h), where it knows that.
    pub element: Option<u16>,
}

/// Letters of a serial number that the field of an element descriptor has room for (SMC, READ
/// ELEMENT STATUS, with vendor and product before them).
const SERIAL_FIELD: usize = 10;

impl DeviceNames {
    /// A drive of which only the serial number is known.
    pub fn of_serial(serial: String) -> Self {
        Self { serial, ..Self::default() }
    }

    /// Whether a library that tells this serial number means the drive. A longer one may be cut
    /// to its last ten letters.
    pub fn has_serial(&self, told: &str) -> bool {
        if told.is_empty() || self.serial.is_empty() {
            return false;
        }
        self.serial == told || (told.len() == SERIAL_FIELD && self.serial.ends_with(told))
    }

    /// Whether a library that tells this name, in this code set and of this type, means the drive.
    pub fn has_name(&self, (code_set, kind): (u8, u8), name: &[u8]) -> bool {
        self.designators.iter().any(|own| {
            let of_drive = matches!(own.association, 0 | 2);
            of_drive && (own.code_set, own.kind) == (code_set, kind) && own.name == name
        })
    }
}

/// The element address in a drive's page B4h; `None` when it stands in no library.
pub fn element(page: &Page) -> Option<u16> {
    let (&address, _) = page.body.split_first_chunk::<2>()?;
    Some(u16::from_be_bytes(address)).filter(|&address| address != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_serial_number_is_known_by_its_end() {
        let names = DeviceNames::of_serial("XYZ00078D1234".into());
        assert!(names.has_serial("XYZ00078D1234") && names.has_serial("00078D1234"));
        for other in ["", "1234", "00078D1235", "AXYZ00078D1234"] {
            assert!(!names.has_serial(other), "{other}");
        }
        assert!(!DeviceNames::default().has_serial(""));
    }

    #[test]
    fn a_binary_name_is_that_of_the_drive_and_not_of_its_port() {
        let name = vec![0x50, 1, 2, 3, 4, 5, 6, 7];
        let of = |association| DeviceNames {
            designators: vec![Designator { code_set: 1, association, kind: 3, name: name.clone() }],
            ..DeviceNames::default()
        };
        assert!(of(0).has_name((1, 3), &name) && of(2).has_name((1, 3), &name));
        assert!(!of(1).has_name((1, 3), &name) && !of(0).has_name((2, 3), &name));
    }

    #[test]
    fn an_address_of_zero_is_none() {
        let page = |body: &[u8]| Page { code: 0xB4, body: body.to_vec() };
        assert_eq!(element(&page(&[1, 2, 0])), Some(0x0102));
        assert_eq!(element(&page(&[0, 0])), None);
        assert_eq!(element(&page(&[1])), None);
    }
}
