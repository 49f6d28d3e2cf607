//! READ BLOCK LIMITS: how long a block may be.

use crate::scsi::cdb::U24;

/// The limits of a block's length, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLimits {
    /// Lengths are multiples of 2 to this power; 0 to 31.
    pub granularity: u8,
    /// The longest block; 0 when there is no limit.
    pub longest: U24,
    /// The shortest block.
    pub shortest: u16,
}

impl BlockLimits {
    /// Bytes of the reply.
    pub const LENGTH: usize = 6;

    /// Reads a reply; `None` when it is cut short.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let &[granularity, a, b, c, d, e] = bytes.first_chunk::<6>()?;
        let longest = U24::try_from(u32::from_be_bytes([0, a, b, c])).expect("three bytes");
        let shortest = u16::from_be_bytes([d, e]);
        Some(Self { granularity: granularity & 0x1F, longest, shortest })
    }

    /// The reply.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.longest.get().to_be_bytes().to_vec();
        bytes[0] = self.granularity & 0x1F;
        bytes.extend(self.shortest.to_be_bytes());
        bytes
    }

    /// Whether a block of `length` bytes may be written.
    pub fn allow(&self, length: u32) -> bool {
        let longest = self.longest.get();
        (longest == 0 || length <= longest)
            && length >= u32::from(self.shortest)
            && length.trailing_zeros() >= u32::from(self.granularity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_the_bytes_of_the_standard() {
        let bytes = [0x02, 0x80, 0, 0, 0, 4];
        let limits = BlockLimits {
            granularity: 2,
            longest: U24::try_from(0x80_0000_u32).unwrap(),
            shortest: 4,
        };
        assert_eq!(BlockLimits::decode(&bytes), Some(limits));
        assert_eq!(limits.encode(), bytes);
        assert_eq!(BlockLimits::decode(&bytes[..5]), None);
        for (length, allowed) in
            [(4, true), (3, false), (6, false), (0x80_0000, true), (0x80_0004, false)]
        {
            assert_eq!(limits.allow(length), allowed, "{length}");
        }
    }
}
