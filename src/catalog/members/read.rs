//! Entries out of packs.

use std::{sync::Arc, vec};

use rusqlite::{Connection, OptionalExtension};

use crate::{
    catalog::{
        Catalog, CatalogError,
        members::{Damage, GROUP, Pack},
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
    pack: Option<(Pack, usize)>,
    loaded: vec::IntoIter<Entry>,
    failed: bool,
}

/// The pack of a segment that has the manifest line `ordinal`, and its first line.
pub(in crate::catalog) fn load_pack(
    connection: &Connection,
    segment: i64,
    ordinal: u32,
) -> Result<Option<(u32, Pack)>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT p.first, p.members, s.name, p.keys, p.facts FROM pack p
         JOIN source s ON s.number = p.source
         WHERE p.segment = ?1 AND p.first <= ?2 ORDER BY p.first DESC LIMIT 1",
    )?;
    let mut rows = statement.query((segment, ordinal))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (first, members): (u32, u32) = (row.get(0)?, row.get(1)?);
    if ordinal - first >= members {
        return Ok(None);
    }
    let source = row
        .get::<_, String>(2)?
        .parse()
        .map_err(|error: crate::ident::BadName| Fault::Damaged(error.to_string()))?;
    let blob = |at| row.get_ref(at)?.as_blob().map_err(rusqlite::Error::from);
    let pack = Pack::open(source, blob(3)?, blob(4)?).map_err(damaged)?;
    Ok(Some((first, pack)))
}

/// Stored bytes that do not decode, as a fault of the catalog.
pub(in crate::catalog) fn damaged(damage: Damage) -> Fault {
    Fault::Damaged(damage.to_owned())
}

impl Entries {
    /// From the entry `first` on, which begins a pack.
    pub(in crate::catalog) fn from(store: &Arc<Store>, segment: i64, first: u32) -> Self {
        let store = Arc::clone(store);
        let loaded = Vec::new().into_iter();
        Self { store, segment, next: first, pack: None, loaded, failed: false }
    }

    fn load(&mut self) -> Result<(), CatalogError> {
        const OPERATION: &str = "read members";
        if self.pack.as_ref().is_none_or(|(pack, group)| *group == pack.keys.groups()) {
            let (segment, next) = (self.segment, self.next);
            let found =
                self.store.read(OPERATION, |connection| load_pack(connection, segment, next))?;
            self.pack = found.map(|(_, pack)| (pack, 0));
        }
        if let Some((pack, group)) = &mut self.pack {
            let entries = pack.group(*group);
            let entries = entries.map_err(|damage| self.store.error(OPERATION, damaged(damage)))?;
            self.loaded = entries.into_iter();
            *group += 1;
        }
        Ok(())
    }
}

impl Iterator for Entries {
    type Item = Result<(u32, Entry), CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.loaded.len() == 0
            && let Err(error) = self.load()
        {
            self.failed = true;
            return Some(Err(error));
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
            let segment = connection
                .prepare_cached("SELECT number FROM segment WHERE id = ?1")?
                .query_row([place.segment.0.as_bytes()], |row| row.get(0))
                .optional()?;
            let Some(segment) = segment else { return Ok(None) };
            let Some((first, pack)) = load_pack(connection, segment, place.ordinal)? else {
                return Ok(None);
            };
            let at = usize::try_from(place.ordinal - first).expect("fits");
            let mut entries = pack.group(at / GROUP).map_err(damaged)?;
            Ok((at % GROUP < entries.len()).then(|| entries.swap_remove(at % GROUP)))
        })
    }
}
