//! Running a query.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
};

use rusqlite::Connection;

use crate::{
    catalog::{
        Catalog, CatalogError, Pattern, Query,
        find::{
            Hit,
            candidates::{Candidate, Plan},
            pattern::Matcher,
        },
        members::{self, Facts, GROUP, Keys, bounded_size, damaged},
        runs::Snapshot,
        state::{uuid, volume_number},
        store::Fault,
    },
    ident::{SegmentId, SourceName},
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
            // What is found is read as it was when the search began.
            let _snapshot = connection.unchecked_transaction()?;
            let (plan, filter) = (Plan::of(query), Arc::clone(&search.filter));
            let flow = plan.each(connection, &filter, &mut |candidate| {
                search.hits(connection, candidate, visit)
            });
            flow.map(|_| ())
        })
    }

    /// How many members the query finds.
    ///
    /// # Errors
    ///
    /// As for [`Catalog::find`].
    pub fn count(&self, query: &Query) -> Result<u64, CatalogError> {
        let mut search = self.search(query)?;
        let mut count = 0;
        self.store.read("count", |connection| {
            let _snapshot = connection.unchecked_transaction()?;
            let (plan, filter) = (Plan::of(query), Arc::clone(&search.filter));
            let flow = plan.each(connection, &filter, &mut |candidate| {
                count += search.count(connection, candidate)?;
                Ok(ControlFlow::Continue(()))
            });
            flow.map(|_| count)
        })
    }

    fn search<'a>(&self, query: &'a Query) -> Result<Search<'a>, CatalogError> {
        let filter =
            self.store.read("prepare a search", |connection| Filter::new(connection, query))?;
        let mut snapshots = HashMap::new();
        if let Some(at) = query.as_of {
            for source in filter.sources.values() {
                if let Some(run) = self.run_as_of(source, at)? {
                    snapshots.insert(source.clone(), self.snapshot(run.id)?);
                }
            }
        }
        let matcher = Matcher::new(&query.pattern, query.ignore_case);
        Ok(Search { query, matcher, filter: Arc::new(filter), snapshots, loaded: None })
    }
}

/// Which packs can be left out.
pub(super) struct Filter {
    /// The sources that are asked for, by number.
    pub(super) sources: HashMap<i64, SourceName>,
    /// The segments that are asked for, by number.
    pub(super) segments: HashMap<i64, SegmentId>,
}

impl Filter {
    fn new(connection: &Connection, query: &Query) -> Result<Self, Fault> {
        let mut sources = HashMap::new();
        let mut statement = connection.prepare_cached("SELECT number, name FROM source")?;
        for pair in statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))? {
            let (number, name) = pair?;
            let name: SourceName = name
                .parse()
                .map_err(|error: crate::ident::BadName| Fault::Damaged(error.to_string()))?;
            if query.sources.is_empty() || query.sources.contains(&name) {
                sources.insert(number, name);
            }
        }
        let mut asked = HashSet::new();
        for volume in &query.volumes {
            let number = volume_number(connection, *volume)?;
            let mut statement = connection
                .prepare_cached("SELECT segment FROM copy WHERE volume = ?1 AND state <> 'void'")?;
            for segment in statement.query_map([number], |row| row.get::<_, i64>(0))? {
                asked.insert(segment?);
            }
        }
        let mut segments = HashMap::new();
        let mut statement = connection.prepare_cached("SELECT number, id FROM segment")?;
        for pair in statement.query_map([], |row| Ok((row.get(0)?, uuid(row, 1)?)))? {
            let (number, id) = pair?;
            if query.volumes.is_empty() || asked.contains(&number) {
                segments.insert(number, SegmentId(id));
            }
        }
        Ok(Self { sources, segments })
    }
}

/// A query made ready.
struct Search<'a> {
    query: &'a Query,
    matcher: Matcher,
    filter: Arc<Filter>,
    snapshots: HashMap<SourceName, Snapshot>,
    loaded: Option<Loaded>,
}

/// The pack that the last candidate was in.
struct Loaded {
    number: i64,
    segment: SegmentId,
    source: SourceName,
    first: u32,
    /// `None` when the bounds of the pack rule it out.
    keys: Option<Keys>,
    facts: Option<Facts>,
}

impl Search<'_> {
    /// Visits the hits in a candidate.
    fn hits(
        &mut self,
        connection: &Connection,
        candidate: Candidate,
        visit: &mut dyn FnMut(Hit) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Fault> {
        for group in self.groups(connection, candidate)? {
            let matches = self.matches(group)?;
            if matches.is_empty() {
                continue;
            }
            let entries = self.entries(connection, group)?;
            for (at, entry) in (0..).zip(entries) {
                if !matches.contains(&at) {
                    continue;
                }
                let place = self.place(group, at);
                if self.accepts(place, &entry)? && visit(Hit { place, entry }).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn count(&mut self, connection: &Connection, candidate: Candidate) -> Result<u64, Fault> {
        let query = self.query;
        let by_key = query.as_of.is_none()
            && query.modified_from.is_none()
            && query.modified_to.is_none()
            && query.size_from.is_none()
            && query.size_to.is_none()
            && !matches!(query.pattern, Pattern::Digest(_));
        let mut count = 0;
        if !by_key {
            let flow = self.hits(connection, candidate, &mut |_| {
                count += 1;
                ControlFlow::Continue(())
            })?;
            debug_assert!(flow.is_continue(), "the visitor never breaks off");
            return Ok(count);
        }
        for group in self.groups(connection, candidate)? {
            count += self.matches(group)?.len() as u64;
        }
        Ok(count)
    }

    /// The groups of a candidate that are to be looked at; its pack is loaded.
    fn groups(
        &mut self,
        connection: &Connection,
        candidate: Candidate,
    ) -> Result<std::ops::Range<usize>, Fault> {
        if self.loaded.as_ref().is_none_or(|loaded| loaded.number != candidate.pack) {
            self.loaded = self.load(connection, candidate.pack)?;
        }
        let keys = self.loaded.as_ref().and_then(|loaded| loaded.keys.as_ref());
        let Some(keys) = keys else { return Ok(0..0) };
        Ok(match candidate.group {
            Some(group) => group..(group + 1).min(keys.groups()),
            None => 0..keys.groups(),
        })
    }

    fn load(&self, connection: &Connection, pack: i64) -> Result<Option<Loaded>, Fault> {
        let mut statement = connection.prepare_cached(
            "SELECT segment, source, first, oldest, newest, smallest, largest, keys
             FROM pack WHERE number = ?1",
        )?;
        let mut rows = statement.query([pack])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let segment = self.filter.segments.get(&row.get(0)?);
        let source = self.filter.sources.get(&row.get(1)?);
        let (Some(segment), Some(source)) = (segment, source) else { return Ok(None) };
        let query = self.query;
        let (oldest, newest): (i64, i64) = (row.get(3)?, row.get(4)?);
        let (smallest, largest): (i64, i64) = (row.get(5)?, row.get(6)?);
        let possible = query.modified_from.is_none_or(|from| newest >= from.parts().0)
            && query.modified_to.is_none_or(|to| oldest <= to.parts().0)
            && query.size_from.is_none_or(|from| largest >= bounded_size(from))
            && query.size_to.is_none_or(|to| smallest <= bounded_size(to));
        let keys = if possible {
            let bytes = row.get_ref(7)?.as_blob().map_err(rusqlite::Error::from)?;
            Some(Keys::open(bytes).map_err(damaged)?)
        } else {
            None
        };
        Ok(Some(Loaded {
            number: pack,
            segment: *segment,
            source: source.clone(),
            first: row.get(2)?,
            keys,
            facts: None,
        }))
    }

    fn loaded(&self) -> &Loaded {
        self.loaded.as_ref().expect("a pack was loaded for its groups")
    }

    fn place(&self, group: usize, at: u32) -> Place {
        let loaded = self.loaded();
        let before = u32::try_from(group * GROUP).expect("a pack is small");
        Place { segment: loaded.segment, ordinal: loaded.first + before + at }
    }

    /// Which members of a group have a key that matches.
    fn matches(&self, group: usize) -> Result<Vec<u32>, Fault> {
        let mut matches = Vec::new();
        let keys = self.loaded().keys.as_ref().expect("groups were looked for");
        keys.each(group, &mut |at, key| {
            if self.matcher.matches(key) {
                matches.push(u32::try_from(at).expect("a group is small"));
            }
        })
        .map_err(damaged)?;
        Ok(matches)
    }

    fn entries(&mut self, connection: &Connection, group: usize) -> Result<Vec<Entry>, Fault> {
        let loaded = self.loaded.as_mut().expect("a pack was loaded for its groups");
        let keys = loaded.keys.as_ref().expect("groups were looked for");
        let facts = match &mut loaded.facts {
            Some(facts) => facts,
            None => {
                let mut statement =
                    connection.prepare_cached("SELECT facts FROM pack WHERE number = ?1")?;
                let facts = statement.query_row([loaded.number], |row| {
                    Ok(Facts::open(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?))
                })?;
                loaded.facts.insert(facts.map_err(damaged)?)
            }
        };
        members::group(&loaded.source, (keys, facts), group).map_err(damaged)
    }

    /// Whether an entry whose key matches is what the query asks for.
    fn accepts(&mut self, place: Place, entry: &Entry) -> Result<bool, Fault> {
        let query = self.query;
        let item = &entry.item;
        let plain = query.modified_from.is_none_or(|from| item.modified >= from)
            && query.modified_to.is_none_or(|to| item.modified <= to)
            && query.size_from.is_none_or(|from| item.size >= from)
            && query.size_to.is_none_or(|to| item.size <= to);
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
        let Some(snapshot) = self.snapshots.get_mut(&entry.source) else { return Ok(false) };
        let row = snapshot.get(&item.key, &item.version)?;
        Ok(row.is_some_and(|row| row.places.contains(&place)))
    }
}
