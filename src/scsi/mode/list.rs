//! The mode parameter list: header, block descriptor, pages.

use crate::scsi::cdb::U24;

/// Block descriptors and pages that a list may hold at most, whatever its bytes say.
const PAGES_LIMIT: usize = 64;

/// The list that MODE SENSE delivers and MODE SELECT takes (SPC, Mode parameters).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The header.
    pub header: Header,
    /// The block descriptor, unless it was left out.
    pub block: Option<BlockDescriptor>,
    /// The pages, in order.
    pub pages: Vec<RawPage>,
}

/// The header without its lengths (SSC, Mode parameter header, device-specific parameter).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Medium type: `88h` is an LTO-8 cartridge, `8Ch` its write-once form, 0 when unloaded.
    pub medium_type: u8,
    /// Whether the medium is protected; ignored by MODE SELECT.
    pub write_protected: bool,
    /// Buffered mode: 0 each write waits for the medium, 1 the buffer takes it.
    pub buffered: u8,
    /// Speed; 0 is the default.
    pub speed: u8,
}

/// The block descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockDescriptor {
    /// Density code: `5Eh` is LTO-8.
    pub density: u8,
    /// How many blocks this speaks of; 0 is all.
    pub blocks: U24,
    /// Bytes of each block; 0 is variable.
    pub block_length: U24,
}

/// A page by its code, with its body as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPage {
    /// Page code, 0 to 3Fh.
    pub code: u8,
    /// Subpage code, of a page in the subpage format.
    pub subpage: Option<u8>,
    /// Whether the device can save it (PS); must be 0 in MODE SELECT.
    pub savable: bool,
    /// What follows the page's header of two (subpage format: four) bytes.
    pub body: Vec<u8>,
}

impl Header {
    fn device_specific(self) -> u8 {
        (u8::from(self.write_protected) << 7) | ((self.buffered & 7) << 4) | (self.speed & 0x0F)
    }

    fn new(medium_type: u8, device_specific: u8) -> Self {
        Self {
            medium_type,
            write_protected: device_specific & 0x80 != 0,
            buffered: device_specific >> 4 & 7,
            speed: device_specific & 0x0F,
        }
    }
}

impl BlockDescriptor {
    const LENGTH: usize = 8;

    fn decode(bytes: &[u8]) -> Option<Self> {
        let &[density, a, b, c, _, d, e, f] = bytes.first_chunk::<8>()?;
        let number =
            |a, b, c| U24::try_from(u32::from_be_bytes([0, a, b, c])).expect("three bytes");
        Some(Self { density, blocks: number(a, b, c), block_length: number(d, e, f) })
    }

    fn encode(self) -> [u8; Self::LENGTH] {
        let [_, a, b, c] = self.blocks.get().to_be_bytes();
        let [_, d, e, f] = self.block_length.get().to_be_bytes();
        [self.density, a, b, c, 0, d, e, f]
    }
}

impl RawPage {
    /// The page if this list begins with one that is whole, and how many bytes it takes.
    fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let first = *bytes.first()?;
        let (start, length, subpage) = if first & 0x40 == 0 {
            (2, usize::from(*bytes.get(1)?), None)
        } else {
            let length = u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]);
            (4, usize::from(length), Some(bytes[1]))
        };
        let body = bytes.get(start..start + length)?.to_vec();
        let page = Self { code: first & 0x3F, subpage, savable: first & 0x80 != 0, body };
        Some((page, start + length))
    }

    /// Its bytes with the header.
    ///
    /// # Panics
    ///
    /// When the body is longer than the length field can say.
    pub fn encode(&self) -> Vec<u8> {
        let first = (u8::from(self.savable) << 7) | (self.code & 0x3F);
        let mut bytes = if let Some(subpage) = self.subpage {
            let length = u16::try_from(self.body.len()).expect("a subpage is under 64 KiB");
            let [high, low] = length.to_be_bytes();
            vec![first | 0x40, subpage, high, low]
        } else {
            vec![first, u8::try_from(self.body.len()).expect("a page is under 256 bytes")]
        };
        bytes.extend(&self.body);
        bytes
    }
}

impl Parameters {
    /// Reads what MODE SENSE(6) delivered or MODE SELECT(6) sends; a page that is cut short is
    /// left out, and so is what follows it.
    ///
    /// `None` when the header or the block descriptor is cut short.
    pub fn decode_6(bytes: &[u8]) -> Option<Self> {
        let &[length, medium_type, specific, descriptors] = bytes.first_chunk::<4>()?;
        let end = if length == 0 { bytes.len() } else { usize::from(length) + 1 };
        let header = Header::new(medium_type, specific);
        Self::decode_after(header, bytes.get(..end).unwrap_or(bytes), 4, usize::from(descriptors))
    }

    /// The same of MODE SENSE(10) and MODE SELECT(10).
    pub fn decode_10(bytes: &[u8]) -> Option<Self> {
        let &[a, b, medium_type, specific, _, _, c, d] = bytes.first_chunk::<8>()?;
        let length = usize::from(u16::from_be_bytes([a, b]));
        let end = if length == 0 { bytes.len() } else { length + 2 };
        let header = Header::new(medium_type, specific);
        let descriptors = usize::from(u16::from_be_bytes([c, d]));
        Self::decode_after(header, bytes.get(..end).unwrap_or(bytes), 8, descriptors)
    }

    fn decode_after(
        header: Header,
        bytes: &[u8],
        start: usize,
        descriptors: usize,
    ) -> Option<Self> {
        let block = match descriptors {
            0 => None,
            length => Some(BlockDescriptor::decode(bytes.get(start..start + length)?)?),
        };
        let mut pages = Vec::new();
        let mut rest = bytes.get(start + descriptors..).unwrap_or(&[]);
        while pages.len() < PAGES_LIMIT
            && let Some((page, length)) = RawPage::decode(rest)
        {
            pages.push(page);
            rest = &rest[length..];
        }
        Some(Self { header, block, pages })
    }

    /// What MODE SENSE(6) delivers: all of it, to be cut to the allocation length.
    ///
    /// # Panics
    ///
    /// When the pages are longer than one byte of length can say.
    pub fn encode_sense_6(&self) -> Vec<u8> {
        let mut bytes = self.encode_select_6();
        bytes[0] = u8::try_from(bytes.len() - 1).expect("the pages fit MODE SENSE(6)");
        bytes[2] = self.header.device_specific();
        bytes
    }

    /// What MODE SENSE(10) delivers: all of it, to be cut to the allocation length.
    pub fn encode_sense_10(&self) -> Vec<u8> {
        let mut bytes = self.encode_select_10();
        let length = u16::try_from(bytes.len() - 2).expect("the pages fit MODE SENSE(10)");
        bytes[..2].copy_from_slice(&length.to_be_bytes());
        bytes[3] = self.header.device_specific();
        bytes
    }

    /// What MODE SELECT(6) sends: the length field and write protection are reserved there.
    pub fn encode_select_6(&self) -> Vec<u8> {
        let descriptors = if self.block.is_some() { 8 } else { 0 };
        let specific = self.header.device_specific() & 0x7F;
        let mut bytes = vec![0, self.header.medium_type, specific, descriptors];
        self.encode_rest(&mut bytes);
        bytes
    }

    /// What MODE SELECT(10) sends.
    pub fn encode_select_10(&self) -> Vec<u8> {
        let descriptors = if self.block.is_some() { 8 } else { 0 };
        let specific = self.header.device_specific() & 0x7F;
        let mut bytes = vec![0, 0, self.header.medium_type, specific, 0, 0, 0, descriptors];
        self.encode_rest(&mut bytes);
        bytes
    }

    fn encode_rest(&self, bytes: &mut Vec<u8>) {
        if let Some(block) = self.block {
            bytes.extend(block.encode());
        }
        for page in &self.pages {
            bytes.extend(page.encode());
        }
    }

    /// The body of the page with this code and subpage.
    pub fn page(&self, code: u8, subpage: Option<u8>) -> Option<&[u8]> {
        let page = self.pages.iter().find(|page| page.code == code && page.subpage == subpage)?;
        Some(&page.body)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lto8() -> Parameters {
        Parameters {
            header: Header { medium_type: 0x88, write_protected: true, buffered: 1, speed: 0 },
            block: Some(BlockDescriptor { density: 0x5E, ..BlockDescriptor::default() }),
            pages: vec![
                RawPage { code: 0x0F, subpage: None, savable: true, body: vec![0xC0, 0x80] },
                RawPage { code: 0x10, subpage: Some(1), savable: false, body: vec![0, 0, 1] },
            ],
        }
    }

    #[test]
    fn lists_have_the_bytes_of_the_standard() {
        let tail = [0x5E, 0, 0, 0, 0, 0, 0, 0, 0x8F, 2, 0xC0, 0x80, 0x50, 1, 0, 3, 0, 0, 1];
        let six = [&[22, 0x88, 0x90, 8][..], &tail].concat();
        assert_eq!(lto8().encode_sense_6(), six);
        assert_eq!(Parameters::decode_6(&six), Some(lto8()));
        let ten = [&[0, 25, 0x88, 0x90, 0, 0, 0, 8][..], &tail].concat();
        assert_eq!(lto8().encode_sense_10(), ten);
        assert_eq!(Parameters::decode_10(&ten), Some(lto8()));
        assert_eq!(lto8().encode_select_10()[..4], [0, 0, 0x88, 0x10]);
    }

    #[test]
    fn a_page_cut_short_is_left_out() {
        let whole = lto8().encode_sense_10();
        let cut = Parameters::decode_10(&whole[..whole.len() - 1]).unwrap();
        assert_eq!(cut.pages, lto8().pages[..1]);
        assert_eq!(Parameters::decode_10(&whole[..15]), None);
        assert_eq!(Parameters::decode_6(&[0, 0, 0]), None);
    }

    proptest! {
        #[test]
        fn what_decodes_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Some(list) = Parameters::decode_10(&bytes) {
                let again = Parameters::decode_10(&list.encode_sense_10());
                prop_assert_eq!(again, Some(list));
            }
            if let Some(list) = Parameters::decode_6(&bytes) {
                let again = Parameters::decode_6(&list.encode_sense_6());
                prop_assert_eq!(again, Some(list));
            }
        }
    }
}
