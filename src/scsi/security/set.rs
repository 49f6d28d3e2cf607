//! Giving a drive a key, and taking it away.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::scsi::security::{DecryptionMode, Descriptor, EncryptionMode, Scope, body_of, page_out};

/// Bytes of an AES-256 key.
pub const KEY_LENGTH: usize = 32;
/// Bytes of the page in front of its key, without its header.
const FIXED_LENGTH: usize = 16;

/// A key. It is not shown, and wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Key(pub [u8; KEY_LENGTH]);

/// The set data encryption page (SSC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetEncryption {
    /// Who sees these parameters.
    pub scope: Scope,
    /// Whether the drive forgets the key when the cartridge leaves it (CKOD).
    pub clear_on_demount: bool,
    /// What becomes of blocks that are written.
    pub encryption: EncryptionMode,
    /// What becomes of blocks that are read.
    pub decryption: DecryptionMode,
    /// The algorithm, by its number in the capabilities page.
    pub algorithm: u8,
    /// The key; `None` takes it away.
    pub key: Option<Key>,
    /// What `descriptors` hold: 0 is not said, 1 a binary name of the key, 2 one in ASCII.
    pub descriptor_format: u8,
    /// What is written beside each block.
    pub descriptors: Vec<Descriptor>,
}

impl SetEncryption {
    /// CEEM 1: blocks are not checked for having been encrypted elsewhere.
    const NO_EXTERNAL_CHECK: u8 = 0x40;
    const CLEAR_ON_DEMOUNT: u8 = 0x04;

    /// The page; wiped when it is dropped.
    ///
    /// # Panics
    ///
    /// When the descriptors are longer than a page can say.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let key = self.key.as_ref().map_or(&[][..], |key| &key.0);
        let mut tail = Vec::new();
        Descriptor::encode_all(&self.descriptors, &mut tail);
        let length = u16::try_from(FIXED_LENGTH + key.len() + tail.len()).expect("a short page");
        let key_length = u16::try_from(key.len()).expect("32 at most");
        // All the room at once: a vector that grows would leave copies of the key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::from(length) + 4));
        bytes.extend(page_out::SET.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        let demount = if self.clear_on_demount { Self::CLEAR_ON_DEMOUNT } else { 0 };
        bytes.extend([
            self.scope.code() << 5,
            Self::NO_EXTERNAL_CHECK | demount,
            self.encryption.code(),
            self.decryption.code(),
            self.algorithm,
            0,
            self.descriptor_format,
        ]);
        bytes.extend([0; 7]);
        bytes.extend(key_length.to_be_bytes());
        bytes.extend(key);
        bytes.extend(tail);
        bytes
    }

    /// Reads a page; `None` when it is another, is cut short, or holds what has no meaning.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let body = body_of(bytes, page_out::SET)?;
        let (fixed, rest) = body.split_first_chunk::<FIXED_LENGTH>()?;
        let key_length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        let key = match (rest.get(..key_length)?, fixed[5]) {
            ([], _) => None,
            // Only plain keys.
            (key, 0) => Some(Key(key.try_into().ok()?)),
            (_, _) => return None,
        };
        Some(Self {
            scope: Scope::from_code(fixed[0] >> 5)?,
            clear_on_demount: fixed[1] & Self::CLEAR_ON_DEMOUNT != 0,
            encryption: EncryptionMode::from_code(fixed[2])?,
            decryption: DecryptionMode::from_code(fixed[3])?,
            algorithm: fixed[4],
            key,
            descriptor_format: fixed[6],
            descriptors: Descriptor::decode_all(&rest[key_length..]),
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn setting() -> SetEncryption {
        let mut key = [0; KEY_LENGTH];
        for (byte, value) in key.iter_mut().zip(0x40..) {
            *byte = value;
        }
        SetEncryption {
            scope: Scope::All,
            clear_on_demount: true,
            encryption: EncryptionMode::Encrypt,
            decryption: DecryptionMode::Mixed,
            algorithm: 1,
            key: Some(Key(key)),
            descriptor_format: 2,
            descriptors: vec![Descriptor::user(b"Hello world!")],
        }
    }

    #[test]
    fn a_key_is_set_by_the_bytes_of_the_standard() {
        let head = [
            0x00, 0x10, 0x00, 0x40, // page and length
            0x40, 0x44, 0x02, 0x03, 0x01, 0x00,
            0x02, // scope, CEEM and CKOD, modes, algorithm
            0, 0, 0, 0, 0, 0, 0, 0x00, 0x20, // key length
        ];
        let key: Vec<u8> = (0x40..0x60).collect();
        let kad = b"\x00\x00\x00\x0cHello world!";
        let bytes = [&head[..], &key, kad].concat();
        assert_eq!(*setting().encode(), bytes);
        assert_eq!(SetEncryption::decode(&bytes), Some(setting()));
        assert_eq!(SetEncryption::decode(&bytes[..50]), None);
    }

    #[test]
    fn a_key_is_taken_away_by_the_bytes_of_the_standard() {
        let bytes = [0, 0x10, 0, 0x10, 0x40, 0x40, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let off = SetEncryption {
            clear_on_demount: false,
            encryption: EncryptionMode::Disable,
            decryption: DecryptionMode::Disable,
            key: None,
            descriptor_format: 0,
            descriptors: Vec::new(),
            ..setting()
        };
        assert_eq!(*off.encode(), bytes);
        assert_eq!(SetEncryption::decode(&bytes), Some(off));
    }

    #[test]
    fn a_key_is_not_shown() {
        let shown = format!("{:?}", setting());
        assert!(shown.contains("Some(Key)") && !shown.contains("64, 65"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_decodes_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            let length = u8::try_from(bytes.len()).unwrap();
            let bytes = [&[0, 0x10, 0, length, 0x40][..], &bytes].concat();
            if let Some(page) = SetEncryption::decode(&bytes) {
                prop_assert_eq!(SetEncryption::decode(&page.encode()), Some(page));
            }
        }
    }
}
