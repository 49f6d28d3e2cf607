//! Reads a cartridge's file beside everything that is tested: SIMH records, as
//! `docs/emulator.md` has them.

use std::{fs, path::Path};

use tapevault::digest::Digest;

/// What is on a tape, by object number.
#[derive(Debug)]
pub(crate) struct Tape {
    bytes: Vec<u8>,
    objects: Vec<Object>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    Block { at: usize, length: usize },
    Filemark,
}

impl Tape {
    /// Reads a tape file. A torn last record is no data.
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let mut objects = Vec::new();
        let mut at = 0;
        while let Some(word) = bytes.get(at..at + 4) {
            let length = u32::from_le_bytes(word.try_into().unwrap()) as usize;
            at += 4;
            if length == 0 {
                objects.push(Object::Filemark);
                continue;
            }
            let end = at + length + length % 2;
            if bytes.len() < end + 4 {
                break;
            }
            objects.push(Object::Block { at, length });
            at = end + 4;
        }
        Self { bytes, objects }
    }

    /// The digest of one tape file: `blocks` blocks from `object` on, and then a filemark. `None`
    /// when something else stands there.
    pub(crate) fn digest(&self, object: u64, blocks: u64) -> Option<Digest> {
        let first = usize::try_from(object).unwrap();
        let end = first + usize::try_from(blocks).unwrap();
        let mut hasher = blake3::Hasher::new();
        for object in self.objects.get(first..end)? {
            match *object {
                Object::Block { at, length } => hasher.update(&self.bytes[at..at + length]),
                Object::Filemark => return None,
            };
        }
        let closed = self.objects.get(end) == Some(&Object::Filemark);
        closed.then(|| Digest::from_hasher(&hasher))
    }
}
