//! Reading runs: levels of changes merged into rows.

use std::{sync::Arc, vec};

use rusqlite::{Connection, OptionalExtension};

use crate::{
    catalog::{
        Catalog, CatalogError,
        runs::block,
        state::{count, moment, nanoseconds, uuid},
        store::{Fault, Store},
    },
    clock::Timestamp,
    ident::{RunId, SourceName},
    item::{Key, Version},
    volume::run::{Change, Row, Run},
};

const COLUMNS: &str = "SELECT r.id, s.name, r.started, r.ended, r.complete, r.rows, r.missing
    FROM run r JOIN source s ON s.number = r.source";

fn run_row(row: &rusqlite::Row<'_>) -> Result<Run, rusqlite::Error> {
    let name: String = row.get(1)?;
    let source = name.parse().map_err(|error: crate::ident::BadName| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error.into())
    })?;
    Ok(Run {
        id: RunId(uuid(row, 0)?),
        source,
        started: moment(row.get(2)?),
        ended: row.get::<_, Option<i64>>(3)?.map(moment),
        complete: row.get(4)?,
        rows: count(row, 5)?,
        missing: count(row, 6)?,
    })
}

/// The run with this identity.
pub(super) fn load(connection: &Connection, id: RunId) -> Result<Run, Fault> {
    connection
        .prepare_cached(&format!("{COLUMNS} WHERE r.id = ?1"))?
        .query_row([id.0.as_bytes()], run_row)
        .optional()?
        .ok_or_else(|| Fault::unknown(format!("run {id}")))
}

/// The numbers of the runs that `run` is made of, itself first, a whole one last.
pub(super) fn chain(connection: &Connection, run: RunId) -> Result<Vec<i64>, Fault> {
    let mut numbers = Vec::new();
    let mut from = run;
    let mut next = Some(run);
    while let Some(id) = next {
        let found: Option<(i64, Option<[u8; 16]>)> = connection
            .prepare_cached("SELECT number, base FROM run WHERE id = ?1")?
            .query_row([id.0.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((number, base)) = found else {
            return Err(if id == run {
                Fault::unknown(format!("run {run}"))
            } else {
                CatalogError::BaseUnknown { run: from, base: id }.into()
            });
        };
        if numbers.contains(&number) {
            return Err(Fault::Damaged(format!("run {id} builds on itself")));
        }
        numbers.push(number);
        from = id;
        next = base.map(uuid::Uuid::from_bytes).map(RunId);
    }
    Ok(numbers)
}

/// The changes of one stored run in order, a block in memory at a time.
#[derive(Debug)]
pub struct Changes {
    store: Arc<Store>,
    run: i64,
    /// Where the block in memory begins; `None` before the first.
    first: Option<Vec<u8>>,
    loaded: vec::IntoIter<Change>,
    head: Option<Change>,
}

impl Changes {
    pub(super) fn new(store: &Arc<Store>, run: i64) -> Self {
        let store = Arc::clone(store);
        Self { store, run, first: None, loaded: Vec::new().into_iter(), head: None }
    }

    /// The change that [`Self::pull`] would give.
    pub(super) fn peek(&mut self) -> Result<Option<&Change>, CatalogError> {
        if self.head.is_none() {
            self.head = self.pull()?;
        }
        Ok(self.head.as_ref())
    }

    pub(super) fn pull(&mut self) -> Result<Option<Change>, CatalogError> {
        if let Some(change) = self.head.take() {
            return Ok(Some(change));
        }
        if self.loaded.len() == 0 {
            // The beginning stays where it is: whoever asks again at the end gets nothing again.
            let (run, first) = (self.run, self.first.as_deref().unwrap_or_default());
            let block = self.store.read("read a run", |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT first, data FROM run_block WHERE run = ?1 AND first > ?2
                     ORDER BY first LIMIT 1",
                )?;
                // Every stored beginning has its terminator, so all are more than nothing.
                decode(statement.query_row((run, first), |row| Ok((row.get(0)?, row.get(1)?))))
            })?;
            let Some((first, changes)) = block else { return Ok(None) };
            self.first = Some(first);
            self.loaded = changes.into_iter();
        }
        Ok(self.loaded.next())
    }
}

type Block = (Vec<u8>, Vec<Change>);

fn decode(found: Result<(Vec<u8>, Vec<u8>), rusqlite::Error>) -> Result<Option<Block>, Fault> {
    let Some((first, data)) = found.optional()? else { return Ok(None) };
    Ok(Some((first, block::decode(&data).map_err(Fault::Damaged)?)))
}

impl Iterator for Changes {
    type Item = Result<Change, CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pull().transpose()
    }
}

/// The rows of a run, sorted, in memory bounded by the length of its chain.
#[derive(Debug)]
pub struct Rows {
    /// The run's own changes first, then those of what it builds on.
    levels: Vec<Changes>,
    failed: bool,
}

impl Rows {
    pub(super) fn new(store: &Arc<Store>, run: RunId) -> Result<Self, CatalogError> {
        let numbers = store.read("read a run", |connection| chain(connection, run))?;
        let levels = numbers.into_iter().map(|number| Changes::new(store, number)).collect();
        Ok(Self { levels, failed: false })
    }

    /// No rows at all.
    pub(super) fn none() -> Self {
        Self { levels: Vec::new(), failed: false }
    }

    pub(super) fn pull(&mut self) -> Result<Option<Row>, CatalogError> {
        while let Some(newest) = self.newest()? {
            // Levels above `newest` are further on, those below are overruled if they are as far.
            let (above, below) = self.levels.split_at_mut(newest + 1);
            let change = above[newest].pull()?.expect("its head was seen");
            for level in below {
                if level.head.as_ref().is_some_and(|head| block::item(head) == block::item(&change))
                {
                    level.pull()?;
                }
            }
            if let Change::Put { row } = change {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The first level whose head is the least of all heads; `None` at the end.
    fn newest(&mut self) -> Result<Option<usize>, CatalogError> {
        for level in &mut self.levels {
            level.peek()?;
        }
        let heads = self.levels.iter().enumerate();
        let heads = heads.filter_map(|(at, level)| Some((block::item(level.head.as_ref()?), at)));
        Ok(heads.min().map(|(_, at)| at))
    }
}

impl Iterator for Rows {
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

/// A run that is asked for single items. Ascending questions are cheap.
#[derive(Debug)]
pub struct Snapshot {
    store: Arc<Store>,
    levels: Vec<(i64, Option<Loaded>)>,
}

/// A block of one level, and what it answers for.
#[derive(Debug)]
struct Loaded {
    /// The first item that the next block answers for, `None` for the last.
    end: Option<Vec<u8>>,
    /// Empty when the question comes before the first block.
    first: Vec<u8>,
    changes: Vec<Change>,
}

impl Snapshot {
    /// The row of an item, if the run has it.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn get(&mut self, key: &Key, version: &Version) -> Result<Option<Row>, CatalogError> {
        let wanted = block::sortable(key, version);
        for (run, loaded) in &mut self.levels {
            let covers = loaded.as_ref().is_some_and(|loaded| {
                loaded.first <= wanted && loaded.end.as_ref().is_none_or(|end| wanted < *end)
            });
            if !covers {
                let run = *run;
                *loaded =
                    Some(self.store.read("look up an item", |c| load_block(c, run, &wanted))?);
            }
            let changes = &loaded.as_ref().expect("just loaded").changes;
            let found = changes.binary_search_by(|change| block::item(change).cmp(&(key, version)));
            if let Ok(at) = found {
                return Ok(match &changes[at] {
                    Change::Put { row } => Some(row.clone()),
                    Change::Gone { .. } => None,
                });
            }
        }
        Ok(None)
    }
}

fn load_block(connection: &Connection, run: i64, wanted: &[u8]) -> Result<Loaded, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT first, data FROM run_block WHERE run = ?1 AND first <= ?2
         ORDER BY first DESC LIMIT 1",
    )?;
    let found = decode(statement.query_row((run, wanted), |row| Ok((row.get(0)?, row.get(1)?))))?;
    let (first, changes) = found.unwrap_or_default();
    let end = connection
        .prepare_cached("SELECT min(first) FROM run_block WHERE run = ?1 AND first > ?2")?
        .query_row((run, wanted), |row| row.get(0))?;
    Ok(Loaded { end, first, changes })
}

impl Catalog {
    /// The run with this identity.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when there is no such run.
    pub fn run(&self, id: RunId) -> Result<Run, CatalogError> {
        self.store.read("look up a run", |connection| load(connection, id))
    }

    /// The run that `run` is stored as changes of; `None` when it is stored whole.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when there is no such run.
    pub fn base(&self, run: RunId) -> Result<Option<RunId>, CatalogError> {
        self.store.read("look up a run", |connection| {
            let base: Option<Option<[u8; 16]>> = connection
                .prepare_cached("SELECT base FROM run WHERE id = ?1")?
                .query_row([run.0.as_bytes()], |row| row.get(0))
                .optional()?;
            let base = base.ok_or_else(|| Fault::unknown(format!("run {run}")))?;
            Ok(base.map(uuid::Uuid::from_bytes).map(RunId))
        })
    }

    /// The runs of a source, oldest first, unfinished and incomplete ones among them.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn runs(&self, source: &SourceName) -> Result<Vec<Run>, CatalogError> {
        self.store.read("list runs", |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "{COLUMNS} WHERE s.name = ?1 ORDER BY r.started, r.number"
            ))?;
            let runs = statement.query_map([source.as_str()], run_row)?;
            Ok(runs.collect::<Result<_, _>>()?)
        })
    }

    /// The sources that the catalog knows, sorted.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn sources(&self) -> Result<Vec<SourceName>, CatalogError> {
        self.store.read("list sources", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT name FROM source ORDER BY name")?;
            let names = statement.query_map([], |row| row.get::<_, String>(0))?;
            names
                .map(|name| name?.parse().map_err(|error| Fault::Damaged(format!("{error}"))))
                .collect()
        })
    }

    /// The newest complete run of a source that had ended by `at`: what the source is known to
    /// have held then.
    ///
    /// # Errors
    ///
    /// [`CatalogError::BaseUnknown`] when that run is known only as changes of a run that is not.
    /// An older run would be a wrong answer.
    pub fn run_as_of(
        &self,
        source: &SourceName,
        at: Timestamp,
    ) -> Result<Option<Run>, CatalogError> {
        self.store.read("look up a run", |connection| {
            let run = connection
                .prepare_cached(&format!(
                    "{COLUMNS} WHERE s.name = ?1 AND r.complete AND r.ended <= ?2
                     ORDER BY r.ended DESC, r.number DESC LIMIT 1"
                ))?
                .query_row((source.as_str(), nanoseconds(at)), run_row)
                .optional()?;
            if let Some(run) = &run {
                chain(connection, run.id)?;
            }
            Ok(run)
        })
    }

    /// The newest complete run of a source that can be told in full.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn last_complete_run(&self, source: &SourceName) -> Result<Option<Run>, CatalogError> {
        self.store.read("look up a run", |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "{COLUMNS} WHERE s.name = ?1 AND r.complete AND r.ended IS NOT NULL
                 ORDER BY r.ended DESC, r.number DESC"
            ))?;
            for run in statement.query_map([source.as_str()], run_row)? {
                let run = run?;
                if tellable(connection, run.id)? {
                    return Ok(Some(run));
                }
            }
            Ok(None)
        })
    }

    /// The rows of a run, sorted by item.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] or [`CatalogError::BaseUnknown`].
    pub fn rows(&self, run: RunId) -> Result<Rows, CatalogError> {
        Rows::new(&self.store, run)
    }

    /// A run, to look up single items in.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] or [`CatalogError::BaseUnknown`].
    pub fn snapshot(&self, run: RunId) -> Result<Snapshot, CatalogError> {
        let numbers = self.store.read("read a run", |connection| chain(connection, run))?;
        let levels = numbers.into_iter().map(|number| (number, None)).collect();
        Ok(Snapshot { store: Arc::clone(&self.store), levels })
    }
}

/// Whether all that a run builds on is known.
pub(super) fn tellable(connection: &Connection, run: RunId) -> Result<bool, Fault> {
    match chain(connection, run) {
        Ok(_) => Ok(true),
        Err(Fault::Refused(CatalogError::BaseUnknown { .. })) => Ok(false),
        Err(fault) => Err(fault),
    }
}
