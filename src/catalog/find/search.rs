//! Running a query.

use std::{collections::HashSet, ops::ControlFlow};

use rusqlite::Connection;

use crate::{
    catalog::{
        Catalog, CatalogError, Pattern, Query,
        find::{Hit, pattern::Matcher},
        members::pack,
        runs::Snapshot,
        state::{uuid, volume_number},
        store::Fault,
    },
    ident::SegmentId,
    item::Place,
    volume::manifest::Entry,
};

impl Catalog {
    /// Calls `visit` for each member that the query finds, as soon as it is found, until `visit`
    /// breaks off. Hits of one segment come in its order, segments in the order in which they
    /// became known. `visit` may call the catalog.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read, the query names an unknown volume, or the run that `as_of`
    /// asks for cannot be told ([`CatalogError::BaseUnknown`]).
    pub fn find(
        &self,
        query: &Query,
        visit: &mut dyn FnMut(Hit) -> ControlFlow<()>,
    ) -> Result<(), CatalogError> {
        let mut search = self.search(query)?;
        self.store.read("search", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT p.number, s.id, p.first, s.number FROM pack p
                 JOIN segment s ON s.number = p.segment ORDER BY p.number",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let segment = SegmentId(uuid(row, 1)?);
                if search.segments.as_ref().is_some_and(|known| !known.contains(&segment)) {
                    continue;
                }
                let first: u32 = row.get(2)?;
                for (ordinal, entry) in (first..).zip(load(connection, row.get(0)?)?) {
                    let place = Place { segment, ordinal };
                    if search.accepts(place, &entry)? && visit(Hit { place, entry }).is_break() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
    }

    /// How many members the query finds.
    ///
    /// # Errors
    ///
    /// As for [`Catalog::find`].
    pub fn count(&self, query: &Query) -> Result<u64, CatalogError> {
        let mut count = 0;
        self.find(query, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(count)
    }

    fn search<'a>(&self, query: &'a Query) -> Result<Search<'a>, CatalogError> {
        let segments = if query.volumes.is_empty() { None } else { Some(self.segments_on(query)?) };
        let matcher = Matcher::new(&query.pattern, query.ignore_case);
        let mut snapshots = Vec::new();
        if let Some(at) = query.as_of {
            let sources =
                if query.sources.is_empty() { self.sources()? } else { query.sources.clone() };
            for source in sources {
                if let Some(run) = self.run_as_of(&source, at)? {
                    snapshots.push((source, self.snapshot(run.id)?));
                }
            }
        }
        Ok(Search { query, matcher, segments, snapshots })
    }

    fn segments_on(&self, query: &Query) -> Result<HashSet<SegmentId>, CatalogError> {
        self.store.read("look up volumes", |connection| {
            let mut segments = HashSet::new();
            for volume in &query.volumes {
                let number = volume_number(connection, *volume)?;
                let mut statement = connection.prepare_cached(
                    "SELECT s.id FROM copy c JOIN segment s ON s.number = c.segment
                     WHERE c.volume = ?1 AND c.state <> 'void'",
                )?;
                for segment in statement.query_map([number], |row| uuid(row, 0))? {
                    segments.insert(SegmentId(segment?));
                }
            }
            Ok(segments)
        })
    }
}

fn load(connection: &Connection, pack: i64) -> Result<Vec<Entry>, Fault> {
    let (keys, facts): (Vec<u8>, Vec<u8>) = connection
        .prepare_cached("SELECT keys, facts FROM pack WHERE number = ?1")?
        .query_row([pack], |row| Ok((row.get(0)?, row.get(1)?)))?;
    pack::decode(&keys, &facts).map_err(Fault::Damaged)
}

/// A query made ready.
struct Search<'a> {
    query: &'a Query,
    matcher: Matcher,
    segments: Option<HashSet<SegmentId>>,
    snapshots: Vec<(crate::ident::SourceName, Snapshot)>,
}

impl Search<'_> {
    fn accepts(&mut self, place: Place, entry: &Entry) -> Result<bool, Fault> {
        let query = self.query;
        let item = &entry.item;
        let plain = (query.sources.is_empty() || query.sources.contains(&entry.source))
            && query.modified_from.is_none_or(|from| item.modified >= from)
            && query.modified_to.is_none_or(|to| item.modified <= to)
            && query.size_from.is_none_or(|from| item.size >= from)
            && query.size_to.is_none_or(|to| item.size <= to)
            && self.matcher.matches(&item.key.0);
        let digest = match &query.pattern {
            Pattern::Digest(prefix) => entry.digest.is_some_and(|digest| prefix.matches(&digest)),
            Pattern::Any
            | Pattern::Substring(_)
            | Pattern::Glob(_)
            | Pattern::Prefix(_)
            | Pattern::Exact(_) => true,
        };
        if !plain || !digest {
            return Ok(false);
        }
        if query.as_of.is_none() {
            return Ok(true);
        }
        let Some((_, snapshot)) =
            self.snapshots.iter_mut().find(|(source, _)| *source == entry.source)
        else {
            return Ok(false);
        };
        let row = snapshot.get(&item.key, &item.version)?;
        Ok(row.is_some_and(|row| row.places.contains(&place)))
    }
}
