//! Reads a cartridge's file beside everything that is tested: SIMH records, as
//! `docs/emulator.md` has them.

use std::{fs, path::Path};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tapevault::digest::Digest;

/// What stands in front of an encrypted block in its record.
const HEAD: usize = 64;
const NONCE: std::ops::Range<usize> = 16..28;

/// What is on a tape, by object number.
#[derive(Debug)]
pub(crate) struct Tape {
    bytes: Vec<u8>,
    objects: Vec<Object>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    Block {
        at: usize,
        length: usize,
    },
    /// An encrypted block.
    Sealed {
        at: usize,
        length: usize,
    },
    /// What nobody can read.
    Bad,
    Filemark,
}

impl Tape {
    /// Reads a tape file. A torn last record is no data.
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let mut objects = Vec::new();
        let mut at = 0;
        while let Some(word) = bytes.get(at..at + 4) {
            let word = u32::from_le_bytes(word.try_into().unwrap());
            let (class, length) = (word >> 28, (word & 0x0FFF_FFFF) as usize);
            at += 4;
            if length == 0 {
                objects.push(Object::Filemark);
                continue;
            }
            let end = at + length + length % 2;
            if bytes.len() < end + 4 {
                break;
            }
            objects.push(match class {
                0 => Object::Block { at, length },
                1 => Object::Sealed { at, length },
                _ => Object::Bad,
            });
            at = end + 4;
        }
        Self { bytes, objects }
    }

    /// The digest of one tape file: `blocks` blocks from `object` on, all encrypted if there is a
    /// key, and then a filemark. `None` when something else stands there.
    pub(crate) fn digest(
        &self,
        (object, blocks): (u64, u64),
        key: Option<&[u8; 32]>,
    ) -> Option<Digest> {
        let first = usize::try_from(object).unwrap();
        let end = first + usize::try_from(blocks).unwrap();
        let mut hasher = blake3::Hasher::new();
        for object in self.objects.get(first..end)? {
            match (*object, key) {
                (Object::Block { at, length }, None) => {
                    hasher.update(&self.bytes[at..at + length]);
                }
                (Object::Sealed { at, length }, Some(key)) => {
                    hasher.update(&open(&self.bytes[at..at + length], key)?);
                }
                _ => return None,
            }
        }
        let closed = self.objects.get(end) == Some(&Object::Filemark);
        closed.then(|| Digest::from_hasher(&hasher))
    }
}

/// The block of an encrypted record.
fn open(record: &[u8], key: &[u8; 32]) -> Option<Vec<u8>> {
    let (head, sealed) = record.split_at_checked(HEAD)?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&head[NONCE]).unwrap();
    let mut sealed = sealed.to_vec();
    let length = key.open_in_place(nonce, Aad::from(head), &mut sealed).ok()?.len();
    sealed.truncate(length);
    Some(sealed)
}
