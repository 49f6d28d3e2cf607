//! The Reed-Solomon CRC (ECMA-319, CRC generation; SSC, Reed-Solomon CRC).
//!
//! A code over bytes: the block is a polynomial over GF(2⁸), and its remainder by
//! x⁴ + 38h x³ + CFh x² + 38h x + 1 are the four bytes.

/// The field's polynomial, x⁸ + x⁴ + x³ + x² + 1, without its highest term.
const FIELD: u8 = 0x1D;
/// Coefficients of the generator below its highest term.
const GENERATOR: [u8; 4] = [0x38, 0xCF, 0x38, 0x01];
/// Bytes that are taken at a time.
const STRIDE: usize = 8;

/// `TABLES[n][b]` is the remainder of byte `b` with `n` zero bytes behind it.
static TABLES: [[u32; 256]; STRIDE] = tables();

const fn product(mut a: u8, mut b: u8) -> u8 {
    let mut sum = 0;
    while b != 0 {
        if b & 1 != 0 {
            sum ^= a;
        }
        a = (a << 1) ^ if a & 0x80 != 0 { FIELD } else { 0 };
        b >>= 1;
    }
    sum
}

#[expect(clippy::cast_possible_truncation, reason = "there are 256 bytes")]
const fn tables() -> [[u32; 256]; STRIDE] {
    let mut tables = [[0; 256]; STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let factor = byte as u8;
        tables[0][byte] = u32::from_be_bytes([
            product(GENERATOR[0], factor),
            product(GENERATOR[1], factor),
            product(GENERATOR[2], factor),
            product(GENERATOR[3], factor),
        ]);
        byte += 1;
    }
    let mut row = 1;
    while row < STRIDE {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[row - 1][byte];
            tables[row][byte] = (before << 8) ^ tables[0][(before >> 24) as usize];
            byte += 1;
        }
        row += 1;
    }
    tables
}

/// The remainder of `block`, its highest coefficient in the highest byte.
pub(super) fn crc(block: &[u8]) -> u32 {
    let (strides, rest) = block.as_chunks::<STRIDE>();
    let mut state = 0;
    for &[a, b, c, d, e, f, g, h] in strides {
        let [p, q, r, s] = (state ^ u32::from_be_bytes([a, b, c, d])).to_be_bytes();
        state = [p, q, r, s, e, f, g, h]
            .into_iter()
            .zip(TABLES.iter().rev())
            .fold(0, |sum, (byte, table)| sum ^ table[usize::from(byte)]);
    }
    rest.iter().fold(state, |state, byte| step(state, *byte))
}

fn step(state: u32, byte: u8) -> u32 {
    let [high, ..] = state.to_be_bytes();
    (state << 8) ^ TABLES[0][usize::from(high ^ byte)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The generator itself leaves no remainder, and neither does any block with its CRC behind it.
    #[test]
    fn it_is_the_code_of_the_standard() {
        assert_eq!(TABLES[0][1], 0x38CF_3801);
        assert_eq!(crc(&[1, 0x38, 0xCF, 0x38, 0x01]), 0);
        // 38h times 2 and CFh times 2 in the field: the latter overflows and is reduced.
        assert_eq!(TABLES[0][2], 0x7083_7002);
        assert_eq!(crc(&[]), 0);
        assert_eq!(crc(&[0; 1000]), 0);
    }

    proptest! {
        #[test]
        fn strides_make_no_difference(block in prop::collection::vec(any::<u8>(), 0..100)) {
            let slow = block.iter().fold(0, |state, byte| step(state, *byte));
            prop_assert_eq!(crc(&block), slow);
            let guarded = [&block[..], &slow.to_be_bytes()].concat();
            prop_assert_eq!(crc(&guarded), 0);
        }
    }
}
