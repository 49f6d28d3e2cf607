//! Logical block protection: four bytes behind each block that say whether it came through whole.
//!
//! They go with a block between host and drive in both directions and are no part of it: the drive
//! checks them when it writes, and makes them when it reads (SSC, Logical block protection).

mod reed_solomon;

use crc_fast::CrcAlgorithm::Crc32Iscsi;

/// Bytes that protection adds to a block.
pub const GUARD: usize = 4;

/// Makes the bytes that go behind a block.
pub type Guard = fn(&[u8]) -> [u8; GUARD];

/// How the bytes are made (SSC, Control Data Protection mode page, logical block protection method).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// 1: the Reed-Solomon CRC of ECMA-319, high byte first. Every drive from LTO-5 on has it.
    ReedSolomon,
    /// 2: CRC-32C, low byte first. Drives from LTO-7 on have it.
    Crc32c,
}

/// A method that a drive offers (SSC, Logical Block Protection VPD page, method descriptor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its code in the mode page.
    pub method: u8,
    /// Bytes that it adds to a block.
    pub length: u8,
    /// Whether blocks can be protected when they are written.
    pub on_write: bool,
    /// Whether blocks can be protected when they are read.
    pub on_read: bool,
}

impl Method {
    /// Its code in the mode page.
    pub fn code(self) -> u8 {
        match self {
            Self::ReedSolomon => 1,
            Self::Crc32c => 2,
        }
    }

    /// The method of this code; `None` for no protection and for methods that are not known here.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::ReedSolomon),
            2 => Some(Self::Crc32c),
            _ => None,
        }
    }

    /// Its name, as labels and people have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReedSolomon => "reed-solomon",
            Self::Crc32c => "crc32c",
        }
    }

    /// The method of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::ReedSolomon, Self::Crc32c].into_iter().find(|method| method.name() == name)
    }

    /// The function that makes the four bytes that go behind a block.
    pub fn guard(self) -> Guard {
        match self {
            Self::ReedSolomon => |block| reed_solomon::crc(block).to_be_bytes(),
            Self::Crc32c => |block| {
                // A CRC of 32 bits comes in the low half.
                let [a, b, c, d, ..] = crc_fast::checksum(Crc32Iscsi, block).to_le_bytes();
                [a, b, c, d]
            },
        }
    }

    /// The block in front of its four bytes, if they are right; `None` when they are not, or when
    /// there is no block.
    pub fn checked(self, guarded: &[u8]) -> Option<&[u8]> {
        let (block, guard) = guarded.split_last_chunk::<GUARD>()?;
        (!block.is_empty() && self.guard()(block) == *guard).then_some(block)
    }
}

impl Offer {
    /// Bytes of a descriptor.
    const LENGTH: usize = 4;
    /// Bytes between the page's header and its first descriptor.
    const START: usize = 4;

    /// What the body of the VPD page (behind its header) offers.
    pub fn decode_all(body: &[u8]) -> Vec<Self> {
        let mut offers = Vec::new();
        let mut rest = body.get(Self::START..).unwrap_or_default();
        while let [length, method, info, flags, ..] = *rest {
            offers.push(Self {
                method,
                length: info & 0x3F,
                on_write: flags & 0x80 != 0,
                on_read: flags & 0x40 != 0,
            });
            let Some(next) = rest.get(usize::from(length) + 1..) else { break };
            rest = next;
        }
        offers
    }

    /// The body of the VPD page that offers these.
    pub fn encode_all(offers: &[Self]) -> Vec<u8> {
        let mut body = vec![0; Self::START];
        for offer in offers {
            let flags = (u8::from(offer.on_write) << 7) | (u8::from(offer.on_read) << 6);
            let length = u8::try_from(Self::LENGTH - 1).expect("three");
            body.extend([length, offer.method, offer.length & 0x3F, flags]);
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The primes below 160, which drives and other programs are tested with.
    const PRIMES: [u8; 37] = [
        2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89,
        97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157,
    ];

    #[test]
    fn both_crcs_are_those_that_drives_make() {
        assert_eq!(Method::ReedSolomon.guard()(&PRIMES), [0x73, 0x3D, 0x4D, 0xCA]);
        assert_eq!(Method::Crc32c.guard()(&PRIMES), [0x48, 0x4F, 0x17, 0xE8]);
        // RFC 3720, CRC examples: 32 bytes of zeros, of ones, ascending.
        let ascending: Vec<u8> = (0..32).collect();
        for (block, crc) in [
            (&[0; 32][..], [0xAA, 0x36, 0x91, 0x8A]),
            (&[0xFF; 32], [0x43, 0xAB, 0xA8, 0x62]),
            (&ascending, [0x4E, 0x79, 0xDD, 0x46]),
            (b"123456789", [0x83, 0x92, 0x06, 0xE3]),
        ] {
            assert_eq!(Method::Crc32c.guard()(block), crc);
        }
    }

    #[test]
    fn offers_lie_where_the_standard_says() {
        let crc = Offer { method: 2, length: 4, on_write: true, on_read: true };
        let old = Offer { method: 1, on_read: false, ..crc };
        let body = [0, 0, 0, 0, 3, 1, 4, 0x80, 3, 2, 4, 0xC0];
        assert_eq!(Offer::encode_all(&[old, crc]), body);
        assert_eq!(Offer::decode_all(&body), [old, crc]);
        assert_eq!(Offer::decode_all(&body[..11]), [old], "one that is cut short is left out");
        // Descriptors of a later standard may be longer.
        let longer = [0, 0, 0, 0, 5, 1, 4, 0x80, 9, 9, 3, 2, 4, 0xC0];
        assert_eq!(Offer::decode_all(&longer), [old, crc]);
        assert_eq!(Offer::decode_all(&[]), []);
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_seen(
            block in prop::collection::vec(any::<u8>(), 1..300), bit in any::<prop::sample::Index>()
        ) {
            for method in [Method::ReedSolomon, Method::Crc32c] {
                prop_assert_eq!(Method::from_code(method.code()), Some(method));
                prop_assert_eq!(Method::from_name(method.name()), Some(method));
                let mut guarded = [&block[..], &method.guard()(&block)].concat();
                prop_assert_eq!(method.checked(&guarded), Some(&block[..]));
                let bit = bit.index(guarded.len() * 8);
                guarded[bit / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(method.checked(&guarded), None);
                prop_assert_eq!(method.checked(&guarded[..4]), None);
            }
        }

        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
            drop(Offer::decode_all(&body));
        }
    }
}
