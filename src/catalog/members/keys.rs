//! The keys of a pack, each as what it shares with the one before and what follows.

use crate::catalog::members::columns::{
    Damage, GROUP, Reader, Writer, length_of, put_varint, shared, take,
};

const SHARED: usize = 0;
const LENGTH: usize = 1;
const TEXT: usize = 2;
const COLUMNS: usize = 3;

/// Packs sorted keys.
pub(in crate::catalog) fn encode<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut writer = Writer::new(COLUMNS);
    let mut before: &[u8] = &[];
    for (at, key) in keys.enumerate() {
        if at.is_multiple_of(GROUP) {
            writer.mark();
            before = &[];
        }
        let shared = shared(before, key);
        put_varint(&mut writer.columns[SHARED], shared as u64);
        put_varint(&mut writer.columns[LENGTH], (key.len() - shared) as u64);
        writer.columns[TEXT].extend_from_slice(&key[shared..]);
        before = key;
    }
    writer.finish()
}

/// The keys of a pack, by group.
#[derive(Debug)]
pub(in crate::catalog) struct Keys {
    reader: Reader,
}

impl Keys {
    pub(in crate::catalog) fn open(bytes: &[u8]) -> Result<Self, Damage> {
        Ok(Self { reader: Reader::open(bytes, COLUMNS)? })
    }

    pub(in crate::catalog) fn groups(&self) -> usize {
        self.reader.groups()
    }

    /// Calls `visit` with each key of a group, in order, and its place in the group.
    pub(in crate::catalog) fn each(
        &self,
        group: usize,
        visit: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), Damage> {
        let [mut shared, mut length, mut text] = self.reader.group::<COLUMNS>(group)?;
        let mut key = Vec::new();
        for at in 0..GROUP {
            if shared.is_empty() {
                break;
            }
            let keep = length_of(&mut shared)?;
            if keep > key.len() {
                return Err("a key shares more than there is");
            }
            key.truncate(keep);
            let length = length_of(&mut length)?;
            key.extend_from_slice(take(&mut text, length)?);
            visit(at, &key);
        }
        Ok(())
    }
}
