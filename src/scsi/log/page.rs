//! A log page: parameters by code, each as long as it says.

use crate::scsi::text::trimmed;

/// Parameters that a page may hold at most, whatever its bytes say.
const PARAMETERS_LIMIT: usize = 4096;

/// DU off, list format binary: what a plain counter has (SPC, Log parameter, control byte).
const CONTROL_BINARY: u8 = 0x03;
/// The same for text.
const CONTROL_TEXT: u8 = 0x01;

/// One page (SPC, Log page structure).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Page code, 0 to 3Fh.
    pub code: u8,
    /// Subpage code; 0 without subpage.
    pub subpage: u8,
    /// The parameters in order.
    pub parameters: Vec<Parameter>,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Which one.
    pub code: u16,
    /// Control byte.
    pub control: u8,
    /// Its value.
    pub value: Vec<u8>,
}

/// What a volume statistics page says of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRecord {
    /// Which partition, from 0.
    pub partition: u16,
    /// How much, in MB; `None` when it is not known (end of data is missing).
    pub megabytes: Option<u32>,
}

impl Page {
    /// Reads a page; a parameter that is cut short is left out. `None` when the header is.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[code, subpage, high, low], rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let mut rest = &rest[..length.min(rest.len())];
        let subpage = if code & 0x40 == 0 { 0 } else { subpage };
        let mut page = Self { code: code & 0x3F, subpage, parameters: Vec::new() };
        while page.parameters.len() < PARAMETERS_LIMIT
            && let [high, low, control, length, after @ ..] = rest
            && let Some(value) = after.get(..usize::from(*length))
        {
            page.parameters.push(Parameter {
                code: u16::from_be_bytes([*high, *low]),
                control: *control,
                value: value.to_vec(),
            });
            rest = &after[value.len()..];
        }
        Some(page)
    }

    /// The page, to be cut to the allocation length.
    ///
    /// # Panics
    ///
    /// When the parameters take more than 65,535 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let first = (self.code & 0x3F) | if self.subpage == 0 { 0 } else { 0x40 };
        let mut bytes = vec![first, self.subpage, 0, 0];
        for parameter in &self.parameters {
            let length = u8::try_from(parameter.value.len()).expect("a value is under 256 bytes");
            bytes.extend(parameter.code.to_be_bytes());
            bytes.extend([parameter.control, length]);
            bytes.extend(&parameter.value);
        }
        let length = u16::try_from(bytes.len() - 4).expect("a page is under 64 KiB");
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// The page that lists the page codes `codes`, which ascend (SPC, Supported Log Pages).
    pub fn encode_supported(codes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(codes.len()).expect("there are 64 page codes");
        let mut bytes = vec![0, 0, 0, length];
        bytes.extend(codes);
        bytes
    }

    /// The page codes that a device supports.
    pub fn decode_supported(bytes: &[u8]) -> Option<Vec<u8>> {
        let (&[_, _, high, low], rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        Some(rest[..length.min(rest.len())].to_vec())
    }

    /// The parameter with this code.
    pub fn parameter(&self, code: u16) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.code == code)
    }

    /// The value of the counter with this code; `None` when it is absent, not a number, or all
    /// ones, which is how drives say that they do not know.
    pub fn number(&self, code: u16) -> Option<u64> {
        self.parameter(code)?.number()
    }

    /// The value of the text with this code.
    pub fn text(&self, code: u16) -> Option<String> {
        Some(trimmed(&self.parameter(code)?.value))
    }
}

impl Parameter {
    /// A counter of `length` bytes, at most 8; one that does not fit is all ones.
    pub fn of_number(code: u16, length: usize, number: u64) -> Self {
        let bytes = number.to_be_bytes();
        let (cut, kept) = bytes.split_at(8 - length);
        let value =
            if cut.iter().all(|&byte| byte == 0) { kept.to_vec() } else { vec![0xFF; length] };
        Self { code, control: CONTROL_BINARY, value }
    }

    /// A text.
    pub fn of_text(code: u16, text: &str) -> Self {
        Self { code, control: CONTROL_TEXT, value: text.as_bytes().to_vec() }
    }

    /// Partition records (SSC, Volume Statistics log page, volume statistics partition record).
    pub fn of_records(code: u16, records: &[PartitionRecord]) -> Self {
        let mut value = Vec::new();
        for record in records {
            value.extend([7, 0]);
            value.extend(record.partition.to_be_bytes());
            value.extend(record.megabytes.unwrap_or(u32::MAX).to_be_bytes());
        }
        Self { code, control: CONTROL_BINARY, value }
    }

    /// Its value as a number; `None` when it is empty, over 8 bytes, or all ones.
    pub fn number(&self) -> Option<u64> {
        let unknown = self.value.iter().all(|&byte| byte == 0xFF);
        if unknown || self.value.len() > 8 {
            return None;
        }
        Some(self.value.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Its value as partition records, as many as are whole.
    pub fn records(&self) -> Vec<PartitionRecord> {
        let mut records = Vec::new();
        let mut rest = self.value.as_slice();
        while let [length, _, a, b, c, d, e, f, after @ ..] = rest {
            let megabytes = u32::from_be_bytes([*c, *d, *e, *f]);
            records.push(PartitionRecord {
                partition: u16::from_be_bytes([*a, *b]),
                megabytes: (megabytes != u32::MAX).then_some(megabytes),
            });
            // The length counts what follows it, so a record of 8 bytes says 7.
            let skipped = usize::from(*length).saturating_sub(7);
            rest = after.get(skipped..).unwrap_or(&[]);
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_has_the_bytes_of_the_standard() {
        let page = Page {
            code: 0x31,
            subpage: 0,
            parameters: vec![
                Parameter::of_number(1, 4, 0x0102_0304),
                Parameter::of_number(3, 4, 5),
            ],
        };
        let bytes = [0x31, 0, 0, 16, 0, 1, 3, 4, 1, 2, 3, 4, 0, 3, 3, 4, 0, 0, 0, 5];
        assert_eq!(page.encode(), bytes);
        assert_eq!(Page::decode(&bytes), Some(page));
        assert_eq!(Page::decode(&bytes[..19]).unwrap().parameters.len(), 1);
        assert_eq!(Page::decode(&bytes[..3]), None);
        assert_eq!(Page::decode_supported(&Page::encode_supported(&[0, 2])), Some(vec![0, 2]));
    }

    #[test]
    fn numbers_are_read_by_their_length() {
        for (value, number) in [
            (&[5][..], Some(5)),
            (&[1, 0, 0], Some(0x1_0000)),
            (&[0; 8], Some(0)),
            (&[0xFF; 4], None),
            (&[], None),
            (&[0; 9], None),
        ] {
            let parameter = Parameter { code: 0, control: 0, value: value.to_vec() };
            assert_eq!(parameter.number(), number, "{value:?}");
        }
        assert_eq!(Parameter::of_number(0, 2, 0x1_0000).number(), None);
    }

    #[test]
    fn partition_records_have_the_bytes_of_the_standard() {
        let records = [
            PartitionRecord { partition: 0, megabytes: Some(12_000_000) },
            PartitionRecord { partition: 1, megabytes: None },
        ];
        let parameter = Parameter::of_records(0x203, &records);
        let bytes = [7, 0, 0, 0, 0, 0xB7, 0x1B, 0, 7, 0, 0, 1, 255, 255, 255, 255];
        assert_eq!(parameter.value, bytes);
        assert_eq!(parameter.records(), records);
    }

    proptest! {
        #[test]
        fn what_decodes_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Some(page) = Page::decode(&bytes) {
                prop_assert_eq!(Page::decode(&page.encode()), Some(page.clone()));
                for parameter in &page.parameters {
                    let records = parameter.records();
                    prop_assert!(records.len() <= parameter.value.len() / 8);
                }
            }
        }

        #[test]
        fn a_number_reads_back(number in 0..u64::MAX) {
            prop_assert_eq!(Parameter::of_number(0, 8, number).number(), Some(number));
        }
    }
}
