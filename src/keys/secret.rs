//! A key and its id.

use std::{fmt, str::FromStr};

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What the id is derived with.
const ID_CONTEXT: &str = "tapevault 2026-11 id of a data key";
const ID_RULE: &str = "a key id has 16 hexadecimal digits";

/// A key for AES-256. Not shown, and wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

/// Which key: made from the key, so that no two keys have one and a wrong key is told by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; 8]);

/// A text that is no key id.
#[derive(Debug, thiserror::Error)]
#[error("{0:?}: {ID_RULE}")]
pub struct BadKeyId(String);

impl DataKey {
    /// A new key, of the system's random numbers.
    ///
    /// # Panics
    ///
    /// When the system has none: then nothing on it is safe.
    pub fn new() -> Self {
        let mut key = Self([0; 32]);
        SystemRandom::new().fill(&mut key.0).expect("the system has random numbers");
        key
    }

    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        let digest = blake3::derive_key(ID_CONTEXT, &self.0);
        KeyId(*digest.first_chunk().expect("32 bytes"))
    }

    /// Its 64 hexadecimal digits.
    pub fn hex(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(64));
        for byte in &self.0 {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).expect("below 16"));
            }
        }
        text
    }

    /// The key of 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut key = Self([0; 32]);
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, digits) in key.0.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let mut value = 0;
            for digit in digits {
                value = value << 4 | char::from(*digit).to_digit(16)?;
            }
            *byte = u8::try_from(value).ok()?;
        }
        Some(key)
    }
}

impl Default for DataKey {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.id())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for KeyId {
    type Err = BadKeyId;

    fn from_str(text: &str) -> Result<Self, BadKeyId> {
        let bad = || BadKeyId(text.to_owned());
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| bad())?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl TryFrom<String> for KeyId {
    type Error = BadKeyId;

    fn try_from(text: String) -> Result<Self, BadKeyId> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_ids_read_back_and_are_not_shown() {
        let key = DataKey::new();
        assert_eq!(DataKey::from_hex(&key.hex()), Some(key.clone()));
        assert_eq!(key.id().to_string().parse::<KeyId>().unwrap(), key.id());
        assert_ne!(DataKey::new().id(), key.id());
        let shown = format!("{key:?}");
        assert!(!shown.contains(&key.hex()[..8]), "{shown}");
        for bad in ["", "0123456789abcde", "0123456789abcdefg", "+123456789abcdef"] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad}");
            assert_eq!(DataKey::from_hex(bad), None);
        }
    }

    /// The id of a key never changes: it stands in labels.
    #[test]
    fn an_id_is_what_it_always_was() {
        // As `b3sum --derive-key` makes it.
        assert_eq!(DataKey::from_bytes([7; 32]).id().to_string(), "25b46e9b1cf482fd");
        assert_eq!(DataKey::from_bytes([7; 32]).hex().as_str(), "07".repeat(32));
    }
}
