//! Entries out of packs.

use std::{sync::Arc, vec};

use rusqlite::OptionalExtension;

use crate::{
    catalog::{
        Catalog, CatalogError,
        members::pack,
        state::segment_number,
        store::{Fault, Store},
    },
    ident::SegmentId,
    item::Place,
    volume::manifest::Entry,
};

/// The entries of a segment with their ordinals, in order. Holds one pack at a time and no lock.
#[derive(Debug)]
pub struct Entries {
    store: Arc<Store>,
    segment: i64,
    next: u32,
    loaded: vec::IntoIter<Entry>,
    failed: bool,
}

impl Entries {
    /// From the entry `first` on, which begins a pack.
    pub(in crate::catalog) fn from(store: &Arc<Store>, segment: i64, first: u32) -> Self {
        let store = Arc::clone(store);
        Self { store, segment, next: first, loaded: Vec::new().into_iter(), failed: false }
    }

    fn load(&mut self) -> Result<bool, CatalogError> {
        let (segment, next) = (self.segment, self.next);
        let entries = self.store.read("read members", |connection| {
            let bytes: Option<(Vec<u8>, Vec<u8>)> = connection
                .prepare_cached("SELECT keys, facts FROM pack WHERE segment = ?1 AND first = ?2")?
                .query_row((segment, next), |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((keys, facts)) = bytes else { return Ok(Vec::new()) };
            pack::decode(&keys, &facts).map_err(Fault::Damaged)
        })?;
        self.loaded = entries.into_iter();
        Ok(self.loaded.len() > 0)
    }
}

impl Iterator for Entries {
    type Item = Result<(u32, Entry), CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.loaded.len() == 0 {
            match self.load() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        let entry = self.loaded.next()?;
        let ordinal = self.next;
        self.next += 1;
        Some(Ok((ordinal, entry)))
    }
}

impl Catalog {
    /// The entries of a segment, as its manifest has them but for the chaining values.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when there is no such segment.
    pub fn entries(&self, segment: SegmentId) -> Result<Entries, CatalogError> {
        let segment = self
            .store
            .read("look up a segment", |connection| segment_number(connection, segment))?;
        Ok(Entries::from(&self.store, segment, 0))
    }

    /// The entry at a place; `None` when its segment is not known, or has no such line.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn entry(&self, place: Place) -> Result<Option<Entry>, CatalogError> {
        self.store.read("look up a member", |connection| {
            let found: Option<(u32, Vec<u8>, Vec<u8>)> = connection
                .prepare_cached(
                    "SELECT p.first, p.keys, p.facts FROM pack p
                     WHERE p.segment = (SELECT number FROM segment WHERE id = ?1) AND p.first <= ?2
                     ORDER BY p.first DESC LIMIT 1",
                )?
                .query_row((place.segment.0.as_bytes(), place.ordinal), |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let Some((first, keys, facts)) = found else { return Ok(None) };
            let entries = pack::decode(&keys, &facts).map_err(Fault::Damaged)?;
            Ok(usize::try_from(place.ordinal - first)
                .ok()
                .and_then(|at| entries.into_iter().nth(at)))
        })
    }
}
