//! What a drive can do with keys.

use crate::scsi::security::{body_of, page_in, page_of};

/// Bytes of an algorithm descriptor.
const ALGORITHM_LENGTH: usize = 24;
/// Bytes between the page's header and its first algorithm.
const FIXED_LENGTH: usize = 16;
/// Algorithms that a page may hold at most, whatever its bytes say.
const ALGORITHMS_LIMIT: usize = 64;

/// The data encryption capabilities page (SSC).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether keys may be set by a host (CFG_P).
    pub configuration: Configuration,
    /// Whether the library can control encryption (EXTDECC): 0 not told, 1 no, 2 yes.
    pub external_control: u8,
    /// What it can encrypt with.
    pub algorithms: Vec<Algorithm>,
}

/// Whether a host may configure encryption (SSC, CFG_P field).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Configuration {
    /// 0: the drive does not tell.
    #[default]
    NotTold,
    /// 1: it may.
    Allowed,
    /// 2: it may not: the library or the drive's own panel does.
    Prevented,
}

/// One way to encrypt (SSC, logical block encryption algorithm descriptor).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Algorithm {
    /// Its number in the pages of this drive.
    pub index: u8,
    /// Bits of the fifth byte: 7 AVFMV, 6 SDK_C, 5 MAC_C, 4 DELB_C, 3 to 2 DECRYPT_C, 1 to 0
    /// ENCRYPT_C.
    pub abilities: u8,
    /// The most bytes of data that the host may choose to go with a key.
    pub user_data_limit: u16,
    /// The same of data that are authenticated.
    pub authenticated_data_limit: u16,
    /// Bytes of a key.
    pub key_length: u16,
    /// Which algorithm it is.
    pub code: u32,
}

impl Configuration {
    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::Allowed,
            2 => Self::Prevented,
            _ => Self::NotTold,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::NotTold => 0,
            Self::Allowed => 1,
            Self::Prevented => 2,
        }
    }
}

impl Algorithm {
    /// Whether the drive itself encrypts and decrypts by it (2, in hardware, in both fields).
    pub fn is_in_drive(&self) -> bool {
        self.abilities & 0x03 == 2 && self.abilities >> 2 & 0x03 == 2
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<ALGORITHM_LENGTH>()?;
        let short = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        Some(Self {
            index: bytes[0],
            abilities: bytes[4],
            user_data_limit: short(6),
            authenticated_data_limit: short(8),
            key_length: short(10),
            code: (u32::from(short(20)) << 16) | u32::from(short(22)),
        })
    }

    fn encode(self) -> [u8; ALGORITHM_LENGTH] {
        let mut bytes = [0; ALGORITHM_LENGTH];
        bytes[0] = self.index;
        bytes[3] = 0x14;
        bytes[4] = self.abilities;
        bytes[6..8].copy_from_slice(&self.user_data_limit.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.authenticated_data_limit.to_be_bytes());
        bytes[10..12].copy_from_slice(&self.key_length.to_be_bytes());
        bytes[20..].copy_from_slice(&self.code.to_be_bytes());
        bytes
    }
}

impl Capabilities {
    /// Reads the page; `None` when it is another or cut short.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let body = body_of(bytes, page_in::CAPABILITIES)?;
        let flags = *body.first()?;
        let mut rest = body.get(FIXED_LENGTH..).unwrap_or_default();
        let mut algorithms = Vec::new();
        while algorithms.len() < ALGORITHMS_LIMIT
            && let Some(algorithm) = Algorithm::decode(rest)
        {
            algorithms.push(algorithm);
            let length = usize::from(u16::from_be_bytes([rest[2], rest[3]])) + 4;
            rest = rest.get(length.max(4)..).unwrap_or_default();
        }
        Some(Self {
            configuration: Configuration::from_bits(flags),
            external_control: flags >> 2 & 0x03,
            algorithms,
        })
    }

    /// The page.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = vec![0; FIXED_LENGTH];
        body[0] = ((self.external_control & 0x03) << 2) | self.configuration.bits();
        body.extend(self.algorithms.iter().flat_map(|algorithm| algorithm.encode()));
        page_of(page_in::CAPABILITIES, &body)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scsi::security::AES_256_GCM;

    /// As an LTO drive answers whose keys the application sets.
    const PAGE: [u8; 44] = [
        0x00, 0x10, 0x00, 0x28, // header
        0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // EXTDECC 2, CFG_P 1
        0x01, 0x00, 0x00, 0x14, 0x8A, 0x8C, 0x00, 0x20, 0x00, 0x3C, 0x00, 0x20, // algorithm 1
        0xED, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x14,
    ];

    #[test]
    fn capabilities_lie_where_the_standard_says() {
        let page = Capabilities::decode(&PAGE).unwrap();
        assert_eq!(page.configuration, Configuration::Allowed);
        assert_eq!(page.external_control, 2);
        let algorithm = Algorithm {
            index: 1,
            abilities: 0x8A,
            user_data_limit: 32,
            authenticated_data_limit: 60,
            key_length: 32,
            code: AES_256_GCM,
        };
        assert_eq!(page.algorithms, [algorithm]);
        assert!(algorithm.is_in_drive());
        let mut expected = PAGE;
        (expected[25], expected[32]) = (0, 0);
        assert_eq!(page.encode(), expected);
        assert_eq!(Capabilities::decode(&PAGE[..43]).unwrap().algorithms, []);
        assert_eq!(Capabilities::decode(&PAGE[..4]), None);
    }

    proptest! {
        #[test]
        fn what_decodes_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let bytes = [&[0, 0x10][..], &bytes].concat();
            if let Some(page) = Capabilities::decode(&bytes) {
                prop_assert_eq!(Capabilities::decode(&page.encode()), Some(page));
            }
        }
    }
}
