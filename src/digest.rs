//! BLAKE3 of content: whole, by ranges that merge, and by chaining value.

use std::{fmt, str::FromStr};

use blake3::hazmat::{self, HasherExt, Mode};

/// The span of content that one chaining value covers, in bytes.
///
/// A power of two of BLAKE3's 1,024-byte chunks, so that it is a whole subtree.
pub const RANGE: u64 = 1 << 20;

/// A BLAKE3 digest, shown and stored as 64 lower-case hexadecimal digits.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

/// Text that is not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a digest is 64 hexadecimal digits")]
pub struct NotADigest;

/// The chaining value of one [`RANGE`] of content (the last may be shorter).
///
/// Only meaningful when the content is longer than one range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainingValue(pub [u8; 32]);

/// Hashes a stream and keeps the chaining value of each range.
///
/// Ranges of one content may be hashed apart, in any order and on any thread, each by its own
/// hasher begun at the range's number; [`merge`] then gives the digest of the whole.
#[derive(Debug)]
pub struct RangeHasher {
    hasher: blake3::Hasher,
    /// Number of the range being filled, from 0.
    range: u64,
    filled: u64,
    done: Vec<ChainingValue>,
    first: u64,
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Its 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }

    /// The digest that a plain hasher arrived at.
    pub fn from_hasher(hasher: &blake3::Hasher) -> Self {
        Self(*hasher.finalize().as_bytes())
    }
}

impl RangeHasher {
    /// A hasher for content from its first byte on.
    pub fn new() -> Self {
        Self::at_range(0)
    }

    /// A hasher for content from range number `range` on, that is from byte `range * RANGE`.
    pub fn at_range(range: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(range * RANGE);
        Self { hasher, range, filled: 0, done: Vec::new(), first: range }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.filled == RANGE {
                self.close();
            }
            let room = usize::try_from(RANGE - self.filled).expect("a range fits memory");
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.hasher.update(now);
            self.filled += now.len() as u64;
            bytes = later;
        }
    }

    fn close(&mut self) {
        self.done.push(ChainingValue(self.hasher.finalize_non_root()));
        self.range += 1;
        self.filled = 0;
        // Not `reset`: it cannot be followed by another offset.
        self.hasher = blake3::Hasher::new();
        self.hasher.set_input_offset(self.range * RANGE);
    }

    /// The chaining values of the ranges taken, for [`merge`]. Empty when nothing was taken.
    ///
    /// Content of at most one range has no chaining value, only a digest: use [`Self::finish`].
    pub fn chaining_values(mut self) -> Vec<ChainingValue> {
        if self.filled > 0 {
            self.done.push(ChainingValue(self.hasher.finalize_non_root()));
        }
        self.done
    }

    /// The digest of the whole, and the chaining values if there is more than one range.
    ///
    /// # Panics
    ///
    /// When this hasher did not begin at range 0: the whole cannot be known from a part.
    pub fn finish(self) -> (Digest, Vec<ChainingValue>) {
        assert_eq!(self.first, 0, "the digest of the whole needs its first range");
        if self.done.is_empty() {
            return (Digest::from_hasher(&self.hasher), Vec::new());
        }
        let values = self.chaining_values();
        (merge(&values), values)
    }
}

impl Default for RangeHasher {
    fn default() -> Self {
        Self::new()
    }
}

/// The digest of content from the chaining values of its ranges, in order.
///
/// # Panics
///
/// When there are fewer than two: content of at most one range is hashed directly.
pub fn merge(values: &[ChainingValue]) -> Digest {
    assert!(values.len() >= 2, "content of one range is hashed directly");
    let split = values.len().next_power_of_two() / 2;
    let left = subtree(&values[..split]);
    let right = subtree(&values[split..]);
    Digest(*hazmat::merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
}

fn subtree(values: &[ChainingValue]) -> hazmat::ChainingValue {
    if let [only] = values {
        return only.0;
    }
    let split = values.len().next_power_of_two() / 2;
    hazmat::merge_subtrees_non_root(
        &subtree(&values[..split]),
        &subtree(&values[split..]),
        Mode::Hash,
    )
}

/// What each byte stands for as a hexadecimal digit of either case; 255 when it is none.
const VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit as usize] as usize] = digit;
        values[b"0123456789ABCDEF"[digit as usize] as usize] = digit;
        digit += 1;
    }
    values
};

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).expect("ASCII"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let text: &[u8; 64] = text.as_bytes().try_into().map_err(|_| NotADigest)?;
        let mut bytes = [0; 32];
        let mut seen = 0;
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
            seen |= high | low;
            *byte = high << 4 | low & 15;
        }
        if seen < 16 { Ok(Self(bytes)) } else { Err(NotADigest) }
    }
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(len: u64) -> Vec<u8> {
        (0..len).map(|n| u8::try_from(n * 31 % 251).expect("below 251")).collect()
    }

    #[test]
    fn ranges_agree_with_the_plain_digest() {
        let lengths = [0, 1, 1024, RANGE - 1, RANGE, RANGE + 1, 2 * RANGE, 5 * RANGE + 7];
        for len in lengths {
            let bytes = content(len);
            let mut hasher = RangeHasher::new();
            for piece in bytes.chunks(777_777) {
                hasher.update(piece);
            }
            let (digest, values) = hasher.finish();
            assert_eq!(digest, Digest::of(&bytes), "{len} bytes");
            let expected = if len > RANGE { len.div_ceil(RANGE) } else { 0 };
            assert_eq!(values.len() as u64, expected, "{len} bytes");
        }
    }

    #[test]
    fn ranges_hashed_apart_merge() {
        let bytes = content(3 * RANGE + 12);
        let mut values = Vec::new();
        let (left, right) = bytes.split_at(usize::try_from(RANGE).unwrap());
        for (first, part) in [(0, left), (1, right)] {
            let mut hasher = RangeHasher::at_range(first);
            hasher.update(part);
            values.extend(hasher.chaining_values());
        }
        assert_eq!(merge(&values), Digest::of(&bytes));
    }

    #[test]
    fn digests_read_back() {
        let digest = Digest::of(b"tape");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.to_string(), blake3::hash(b"tape").to_hex().as_str());
        assert_eq!(digest.to_string().to_uppercase().parse(), Ok(digest));
        for bad in ["abc", &"g".repeat(64), &"\u{e9}".repeat(32), &"0".repeat(65)] {
            assert_eq!(bad.parse::<Digest>(), Err(NotADigest));
        }
    }
}
