//! What is held of a source already, so that it need not be fetched again.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use rusqlite::Connection;

use crate::{
    catalog::{
        Catalog, CatalogError, Entries,
        runs::Rows,
        state::{moment, nanoseconds, uuid},
        store::{Fault, Store},
    },
    clock::Timestamp,
    ident::{SegmentId, SourceName},
    item::{Key, Kind, Place, Token, Version},
    volume::{
        manifest::{self, Entry, Part},
        run::{Row, Run},
    },
};

/// Rows whose bytes are held: those of the last complete run, and whatever was sealed since. Sorted
/// by item; of one item there may be several rows, which differ in their token, the likeliest
/// first. A row is whole: all its parts are held, in staging or in a good copy.
#[derive(Debug)]
pub struct Held {
    rows: Rows,
    row: Option<Row>,
    /// Segments whose first key is still to come, the next one last.
    waiting: Vec<Since>,
    /// Segments that the merge is in, the newest first.
    open: Vec<Since>,
    holding: Holding,
    ready: std::vec::IntoIter<Row>,
    /// Rows of the item that [`Held::matching`] is at.
    current: Vec<Row>,
    /// What is held of items that are not held whole, from that item on.
    partial: Vec<Partial>,
    failed: bool,
}

/// The entries of one segment for the source, from the segment's first for it on. It is not read
/// until the merge is there: most segments cover a short stretch of a source.
#[derive(Debug)]
struct Since {
    segment: SegmentId,
    number: i64,
    first: u32,
    first_key: Key,
    source: SourceName,
    store: Arc<Store>,
    entries: Option<Entries>,
    head: Option<(u32, Entry)>,
}

impl Since {
    /// Reads the next entry for the source, or none at the end.
    fn advance(&mut self) -> Result<(), CatalogError> {
        let entries =
            self.entries.get_or_insert_with(|| Entries::from(&self.store, self.number, self.first));
        self.head = entries.next().transpose()?.filter(|(_, entry)| entry.source == self.source);
        Ok(())
    }

    fn key(&self) -> Option<&Key> {
        self.head.as_ref().map(|(_, entry)| &entry.item.key)
    }
}

/// Parts that are held of an item, though not all of them.
#[derive(Debug)]
struct Partial {
    key: Key,
    version: Version,
    /// The state of the item that they are of.
    token: Token,
    /// By number, with how the source's checksum stands at the end of each. An item that was cut in
    /// several ways has parts of each.
    parts: Vec<(Part, String)>,
}

/// A part that was found.
#[derive(Debug)]
struct Found {
    part: Part,
    place: Place,
    running: String,
}

/// The row of an item in parts, still without places, and the parts found, of each number the
/// newest first.
type InParts = (Row, Vec<Found>);

/// Parts of one item in one state, cut into so many, of so many bytes in all.
type Cut = (Version, Token, u32, u64);

/// Which places can be relied on.
#[derive(Debug)]
struct Holding {
    store: Arc<Store>,
    segments: HashMap<SegmentId, Reliance>,
}

/// What of a segment can be relied on.
#[derive(Clone, Debug)]
enum Reliance {
    All,
    Nothing,
    /// Only bad copies are left; these members are bad in all of them.
    AllBut(BTreeSet<u32>),
}

impl Holding {
    fn holds(&mut self, place: Place) -> Result<bool, CatalogError> {
        let reliance = match self.segments.get(&place.segment) {
            Some(reliance) => reliance,
            None => {
                let found = self
                    .store
                    .read("look up copies", |connection| reliance(connection, place.segment))?;
                self.segments.entry(place.segment).or_insert(found)
            }
        };
        Ok(match reliance {
            Reliance::All => true,
            Reliance::Nothing => false,
            Reliance::AllBut(bad) => !bad.contains(&place.ordinal),
        })
    }

    fn holds_all(&mut self, places: &[Place]) -> Result<bool, CatalogError> {
        for place in places {
            if !self.holds(*place)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn reliance(connection: &Connection, segment: SegmentId) -> Result<Reliance, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT s.number, s.staged OR EXISTS (SELECT 1 FROM copy c
         WHERE c.segment = s.number AND c.state IN ('on-tape', 'verified'))
         FROM segment s WHERE s.id = ?1",
    )?;
    let mut rows = statement.query([segment.0.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(Reliance::Nothing) };
    let (number, good): (i64, bool) = (row.get(0)?, row.get(1)?);
    if good {
        return Ok(Reliance::All);
    }
    // A bad copy without bad members has nothing good.
    let mut statement = connection.prepare_cached(
        "SELECT c.volume, b.ordinal FROM copy c
         JOIN bad_member b ON b.segment = c.segment AND b.volume = c.volume
         WHERE c.segment = ?1 AND c.state = 'bad'",
    )?;
    let mut volumes: HashMap<i64, BTreeSet<u32>> = HashMap::new();
    for pair in statement.query_map([number], |row| Ok((row.get(0)?, row.get(1)?)))? {
        let (volume, ordinal) = pair?;
        volumes.entry(volume).or_default().insert(ordinal);
    }
    let bad = volumes.into_values().reduce(|all, one| all.intersection(&one).copied().collect());
    Ok(bad.map_or(Reliance::Nothing, Reliance::AllBut))
}

impl Held {
    fn pull(&mut self) -> Result<Option<Row>, CatalogError> {
        loop {
            if let Some(row) = self.ready.next() {
                return Ok(Some(row));
            }
            if !self.gather()? {
                return Ok(None);
            }
        }
    }

    /// Makes the rows of the next item ready. Whether there was one.
    fn gather(&mut self) -> Result<bool, CatalogError> {
        if self.row.is_none() {
            self.row = self.rows.pull()?;
        }
        let Some(key) = self.next_key() else { return Ok(false) };
        let mut candidates: Vec<Row> = Vec::new();
        while let Some(row) = self.row.take_if(|row| row.key == key) {
            candidates.push(row);
            self.row = self.rows.pull()?;
        }
        let mut parts: HashMap<Cut, InParts> = HashMap::new();
        while let Some(mut since) = self.waiting.pop_if(|since| since.first_key == key) {
            since.advance()?;
            let at = self.open.partition_point(|other| other.number > since.number);
            self.open.insert(at, since);
        }
        for since in &mut self.open {
            while let Some((ordinal, entry)) =
                since.head.take_if(|(_, entry)| entry.item.key == key)
            {
                since.advance()?;
                let place = Place { segment: since.segment, ordinal };
                let mut row = row_of(&entry);
                match entry.part {
                    None => {
                        row.places.push(place);
                        candidates.push(row);
                    }
                    Some(part) => {
                        let cut = (row.version.clone(), row.token, part.of, entry.item.size);
                        let running = entry.item.object.map(|object| object.running);
                        let found = Found { part, place, running: running.unwrap_or_default() };
                        parts.entry(cut).or_insert((row, Vec::new())).1.push(found);
                    }
                }
            }
        }
        self.open.retain(|since| since.head.is_some());
        for ((_, _, of, size), (row, parts)) in parts {
            candidates.extend(self.put_together(row, parts, (of, size))?);
        }
        self.select(candidates)?;
        Ok(true)
    }

    fn next_key(&self) -> Option<Key> {
        let waiting = self.waiting.last().map(|since| &since.first_key);
        let open = self.open.iter().filter_map(Since::key);
        let row = self.row.as_ref().map(|row| &row.key);
        open.chain(waiting).chain(row).min().cloned()
    }

    /// The row of an item in parts, if all of them are held. What is held of one that is not whole
    /// is kept aside.
    fn put_together(
        &mut self,
        mut row: Row,
        mut parts: Vec<Found>,
        (of, size): (u32, u64),
    ) -> Result<Option<Row>, CatalogError> {
        let mut held = Vec::with_capacity(parts.len());
        for found in parts.drain(..) {
            if self.holding.holds(found.place)? {
                held.push(found);
            }
        }
        held.sort_by_key(|found| found.part.number);
        let spans: Vec<Part> = held.iter().map(|found| found.part).collect();
        if let Some(joined) = manifest::join(&spans, (of, size)) {
            row.places = joined.into_iter().map(|index| held[index].place).collect();
            return Ok(Some(row));
        }
        let mut parts: Vec<(Part, String)> =
            held.into_iter().map(|found| (found.part, found.running)).collect();
        parts.dedup_by_key(|(part, _)| *part);
        let Row { key, version, token, .. } = row;
        match self.partial.iter_mut().find(|partial| {
            (&partial.key, &partial.version, partial.token) == (&key, &version, token)
        }) {
            Some(partial) => partial.parts.extend(parts),
            None if parts.is_empty() => {}
            None => self.partial.push(Partial { key, version, token, parts }),
        }
        Ok(None)
    }

    /// Of the rows of one key, those that are held, one for each version and token, the run's
    /// before what was sealed since.
    fn select(&mut self, candidates: Vec<Row>) -> Result<(), CatalogError> {
        let mut chosen: Vec<Row> = Vec::new();
        for row in candidates {
            let same = |other: &Row| other.version == row.version && other.token == row.token;
            let bare = row.places.is_empty() && !row.delete_marker;
            if !bare && !chosen.iter().any(same) && self.holding.holds_all(&row.places)? {
                chosen.push(row);
            }
        }
        chosen.sort_by(|a, b| a.version.cmp(&b.version));
        self.ready = chosen.into_iter();
        Ok(())
    }

    /// The held row of an item whose listing has this token. Items are to be asked for in ascending
    /// order, each as often as wanted.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn matching(
        &mut self,
        key: &Key,
        version: &Version,
        token: Token,
    ) -> Result<Option<Row>, CatalogError> {
        let wanted = (key, version);
        let order = |row: &Row| (&row.key, &row.version).cmp(&wanted);
        self.partial.retain(|partial| (&partial.key, &partial.version) >= wanted);
        self.current.retain(|row| order(row).is_eq());
        if self.current.is_empty() || self.current.iter().all(|row| row.token != token) {
            while let Some(row) = self.pull()? {
                match order(&row) {
                    Ordering::Less => {}
                    Ordering::Equal => self.current.push(row),
                    Ordering::Greater => {
                        let rest = std::mem::take(&mut self.ready);
                        self.ready =
                            std::iter::once(row).chain(rest).collect::<Vec<_>>().into_iter();
                        break;
                    }
                }
            }
        }
        Ok(self.current.iter().find(|row| row.token == token).cloned())
    }

    /// What is held of the item that [`Held::matching`] found no row of: in other states.
    pub fn other_states(&self) -> &[Row] {
        &self.current
    }

    /// The parts that are held of the item that [`Self::matching`] was just asked for, and found not
    /// to be held whole; with each, how the source's checksum stands at its end. An item that was cut
    /// in several ways may have parts of each.
    pub fn partial(&self, key: &Key, version: &Version, token: Token) -> Vec<(Part, String)> {
        let wanted = (key, version, token);
        let of = |partial: &&Partial| (&partial.key, &partial.version, partial.token) == wanted;
        self.partial.iter().find(of).map(|partial| partial.parts.clone()).unwrap_or_default()
    }
}

/// The row that an entry makes, still without a place.
fn row_of(entry: &Entry) -> Row {
    Row {
        key: entry.item.key.clone(),
        version: entry.item.version.clone(),
        token: entry.item.token,
        latest: entry.item.latest,
        delete_marker: entry.item.kind == Kind::DeleteMarker,
        places: Vec::new(),
    }
}

impl Iterator for Held {
    type Item = Result<Row, CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.pull();
        self.failed = row.is_err();
        row.transpose()
    }
}

impl Catalog {
    /// What is held of a source: the base for planning, and at a job's end, when all is sealed, what
    /// its run is made from.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn held(&self, source: &SourceName) -> Result<Held, CatalogError> {
        let run = self.last_complete_run(source)?;
        let rows = match &run {
            Some(run) => self.rows(run.id)?,
            None => Rows::none(),
        };
        let mut waiting = self.sealed_since(source, run.as_ref())?;
        waiting.sort_by(|a, b| b.first_key.cmp(&a.first_key));
        Ok(Held {
            rows,
            row: None,
            waiting,
            open: Vec::new(),
            holding: Holding { store: Arc::clone(&self.store), segments: HashMap::new() },
            ready: Vec::new().into_iter(),
            current: Vec::new(),
            partial: Vec::new(),
            failed: false,
        })
    }

    fn sealed_since(
        &self,
        source: &SourceName,
        run: Option<&Run>,
    ) -> Result<Vec<Since>, CatalogError> {
        let (number, started) = match run {
            None => (Some(0), moment(i64::MIN)),
            Some(run) => {
                let number = self.store.read("look up a run", |connection| {
                    Ok(connection.query_row(
                        "SELECT covers FROM run WHERE id = ?1",
                        [run.id.0.as_bytes()],
                        |row| row.get::<_, Option<i64>>(0),
                    )?)
                })?;
                (number, run.started)
            }
        };
        self.segments_after(source, number, started)
    }

    /// Segments with entries of a source that became known after segment `number`, or, where that
    /// says nothing because the run was read from tape, were sealed at `started` or later.
    fn segments_after(
        &self,
        source: &SourceName,
        number: Option<i64>,
        started: Timestamp,
    ) -> Result<Vec<Since>, CatalogError> {
        self.store.read("look for sealed segments", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT s.number, s.id, min(p.first), p.first_key FROM pack p
                 JOIN segment s ON s.number = p.segment
                 WHERE p.source = (SELECT number FROM source WHERE name = ?1)
                 AND CASE WHEN ?2 IS NULL THEN s.created >= ?3 ELSE s.number > ?2 END
                 GROUP BY p.segment ORDER BY p.segment",
            )?;
            let since =
                statement.query_map((source.as_str(), number, nanoseconds(started)), |row| {
                    Ok(Since {
                        number: row.get(0)?,
                        segment: SegmentId(uuid(row, 1)?),
                        source: source.clone(),
                        store: Arc::clone(&self.store),
                        first: row.get(2)?,
                        first_key: Key(row.get(3)?),
                        entries: None,
                        head: None,
                    })
                })?;
            Ok(since.collect::<Result<_, _>>()?)
        })
    }
}
