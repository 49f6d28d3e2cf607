//! The bytes of a pack.

use crate::{
    catalog::members::{
        columns::{Damage, GROUP},
        facts::{self, Facts},
        keys::{self, Keys},
    },
    ident::SourceName,
    item::Key,
    volume::manifest::Entry,
};

/// A pack as it is stored.
#[derive(Debug)]
pub(in crate::catalog) struct Encoded {
    pub(in crate::catalog) keys: Vec<u8>,
    pub(in crate::catalog) facts: Vec<u8>,
}

/// Packs entries of one source, in order. Chaining values are left out.
pub(in crate::catalog) fn encode(entries: &[Entry]) -> Encoded {
    Encoded {
        keys: keys::encode(entries.iter().map(|entry| &*entry.item.key.0)),
        facts: facts::encode(entries),
    }
}

/// A pack that is being read.
#[derive(Debug)]
pub(in crate::catalog) struct Pack {
    pub(in crate::catalog) source: SourceName,
    pub(in crate::catalog) keys: Keys,
    facts: Facts,
}

/// The entries of a group of a pack, in order.
pub(in crate::catalog) fn group(
    source: &SourceName,
    (keys, facts): (&Keys, &Facts),
    group: usize,
) -> Result<Vec<Entry>, Damage> {
    let mut known = Vec::with_capacity(GROUP);
    keys.each(group, &mut |_, key| known.push(Key(key.to_vec())))?;
    let mut entries = Vec::with_capacity(known.len());
    facts.each(group, (source, known), &mut |_, entry| entries.push(entry))?;
    Ok(entries)
}

impl Pack {
    pub(in crate::catalog) fn open(
        source: SourceName,
        keys: &[u8],
        facts: &[u8],
    ) -> Result<Self, Damage> {
        Ok(Self { source, keys: Keys::open(keys)?, facts: Facts::open(facts)? })
    }

    /// The entries of a group, in order.
    pub(in crate::catalog) fn group(&self, group: usize) -> Result<Vec<Entry>, Damage> {
        self::group(&self.source, (&self.keys, &self.facts), group)
    }
}
