//! Fields of a command block, by byte and bit.

use std::{fmt, ops::Deref};

/// A command block on its way to a device: 6 to 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cdb {
    bytes: [u8; 16],
    length: usize,
}

/// A number of at most 24 bits, as the lengths of READ(6) and WRITE(6) are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct U24(u32);

/// A number that needs more than 24 bits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0} does not fit 24 bits")]
pub struct TooLong(u64);

impl U24 {
    /// The largest, 16,777,215.
    pub const MAX: Self = Self(0xFF_FFFF);

    /// Its value.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl From<u16> for U24 {
    fn from(value: u16) -> Self {
        Self(u32::from(value))
    }
}

impl TryFrom<u32> for U24 {
    type Error = TooLong;

    fn try_from(value: u32) -> Result<Self, TooLong> {
        if value > Self::MAX.0 { Err(TooLong(u64::from(value))) } else { Ok(Self(value)) }
    }
}

impl TryFrom<usize> for U24 {
    type Error = TooLong;

    fn try_from(value: usize) -> Result<Self, TooLong> {
        u32::try_from(value).map_err(|_| TooLong(value as u64))?.try_into()
    }
}

impl Cdb {
    /// A block of zeros but for its operation code.
    pub(super) fn new(opcode: u8, length: usize) -> Self {
        let mut bytes = [0; 16];
        bytes[0] = opcode;
        Self { bytes, length }
    }

    pub(super) fn bits(mut self, byte: usize, shift: u8, value: u8) -> Self {
        self.bytes[byte] |= value << shift;
        self
    }

    pub(super) fn flag(self, byte: usize, bit: u8, on: bool) -> Self {
        self.bits(byte, bit, u8::from(on))
    }

    pub(super) fn u8(self, byte: usize, value: u8) -> Self {
        self.put(byte, &[value])
    }

    pub(super) fn u16(self, byte: usize, value: u16) -> Self {
        self.put(byte, &value.to_be_bytes())
    }

    pub(super) fn u24(self, byte: usize, value: U24) -> Self {
        self.put(byte, &value.0.to_be_bytes()[1..])
    }

    /// 24 bits in two's complement.
    pub(super) fn i24(self, byte: usize, value: i32) -> Self {
        assert!((-0x80_0000..0x80_0000).contains(&value), "{value} does not fit 24 bits");
        self.put(byte, &value.to_be_bytes()[1..])
    }

    pub(super) fn u32(self, byte: usize, value: u32) -> Self {
        self.put(byte, &value.to_be_bytes())
    }

    pub(super) fn u64(self, byte: usize, value: u64) -> Self {
        self.put(byte, &value.to_be_bytes())
    }

    fn put(mut self, byte: usize, value: &[u8]) -> Self {
        self.bytes[byte..byte + value.len()].copy_from_slice(value);
        self
    }
}

impl Deref for Cdb {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Debug for Cdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Cdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.iter().enumerate() {
            write!(f, "{}{byte:02x}", if place == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// The fields of a block that arrived, known to be as long as its group demands.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn flag(self, byte: usize, bit: u8) -> bool {
        self.0[byte] >> bit & 1 == 1
    }

    /// The `width` bits of `byte` that begin at `shift`.
    pub(super) fn bits(self, byte: usize, shift: u8, width: u8) -> u8 {
        self.0[byte] >> shift & ((1 << width) - 1)
    }

    pub(super) fn u8(self, byte: usize) -> u8 {
        self.0[byte]
    }

    pub(super) fn u16(self, byte: usize) -> u16 {
        u16::from_be_bytes([self.0[byte], self.0[byte + 1]])
    }

    pub(super) fn u24(self, byte: usize) -> U24 {
        U24(u32::from_be_bytes([0, self.0[byte], self.0[byte + 1], self.0[byte + 2]]))
    }

    /// 24 bits in two's complement.
    pub(super) fn i24(self, byte: usize) -> i32 {
        i32::from_be_bytes([self.0[byte], self.0[byte + 1], self.0[byte + 2], 0]) >> 8
    }

    pub(super) fn u32(self, byte: usize) -> u32 {
        (u32::from(self.u16(byte)) << 16) | u32::from(self.u16(byte + 2))
    }

    pub(super) fn u64(self, byte: usize) -> u64 {
        (u64::from(self.u32(byte)) << 32) | u64::from(self.u32(byte + 4))
    }

    pub(super) fn i64(self, byte: usize) -> i64 {
        self.u64(byte).cast_signed()
    }
}
