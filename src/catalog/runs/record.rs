//! Recording runs.

use std::{cmp::Ordering, iter::Peekable};

use rusqlite::OptionalExtension;

use crate::{
    catalog::{
        Catalog, CatalogError,
        members::name_source,
        runs::{
            BLOCK, CHAIN, Changes, Rows, block,
            read::{chain, load, tellable},
        },
        state::{nanoseconds, note_time},
        store::Fault,
    },
    clock::Timestamp,
    ident::{RunId, SourceName},
    volume::run::{Change, Row, Run},
};

/// Blocks written in one transaction, so that another writer waits no longer than for these.
const BATCH: usize = 64;

impl Catalog {
    /// Begins a run: a listing of `source` has started. Durable, but without rows until
    /// [`Catalog::push_rows`], and not to be seen as of any time until [`Catalog::finish_run`].
    ///
    /// # Errors
    ///
    /// When the catalog cannot be written.
    pub fn begin_run(
        &self,
        source: &SourceName,
        started: Timestamp,
    ) -> Result<RunId, CatalogError> {
        let id = RunId::new();
        self.store.write("begin a run", |transaction| {
            let source = name_source(transaction, source)?;
            transaction.execute(
                "INSERT INTO run (id, source, base, started, ended, complete, rows, missing, covers)
                 VALUES (?1, ?2, NULL, ?3, NULL, 0, 0, 0, NULL)",
                (id.0.as_bytes(), source, nanoseconds(started)),
            )?;
            note_time(transaction, started)
        })?;
        Ok(id)
    }

    /// Stores all rows of a run that is under way, sorted by item. Called again, it replaces them.
    /// `rows` may call the catalog.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Conflict`] when the rows are not sorted or the run has ended.
    pub fn push_rows(
        &self,
        run: RunId,
        rows: &mut dyn Iterator<Item = Row>,
    ) -> Result<(), CatalogError> {
        let (number, base) = self.store.write("store a run", |transaction| {
            let known = load(transaction, run)?;
            if known.ended.is_some() {
                return Err(Fault::conflict(format!("run {run} has ended")));
            }
            let base = choose_base(transaction, &known)?;
            let number = chain(transaction, run)?[0];
            transaction.execute("DELETE FROM run_block WHERE run = ?1", [number])?;
            transaction.execute(
                "UPDATE run SET base = ?2, rows = 0, missing = 0 WHERE number = ?1",
                (number, base.map(|base| *base.0.as_bytes())),
            )?;
            Ok((number, base))
        })?;
        let before = match base {
            Some(base) => self.rows(base)?,
            None => Rows::none(),
        };
        let mut counted = Counted { rows, count: 0, missing: 0 };
        let changes = Difference { before: before.peekable(), after: (&mut counted).peekable() };
        self.store_changes(number, changes)?;
        self.store.write("store a run", |transaction| {
            transaction.execute(
                "UPDATE run SET rows = ?2, missing = ?3 WHERE number = ?1",
                (number, counted.count, counted.missing),
            )?;
            Ok(())
        })
    }

    fn store_changes(
        &self,
        run: i64,
        mut changes: impl Iterator<Item = Result<Change, CatalogError>>,
    ) -> Result<(), CatalogError> {
        let mut last: Option<Vec<u8>> = None;
        loop {
            // Outside of any transaction: the caller's iterator may take its time, and may read.
            let mut blocks = Vec::with_capacity(BATCH);
            while blocks.len() < BATCH {
                let block = changes.by_ref().take(BLOCK).collect::<Result<Vec<_>, _>>()?;
                let Some(head) = block.first() else { break };
                for change in &block {
                    let (key, version) = block::item(change);
                    let item = block::sortable(key, version);
                    if last.as_ref().is_some_and(|last| *last >= item) {
                        let what = format!("run is not sorted at {}", key.printable());
                        return Err(CatalogError::Conflict { what });
                    }
                    last = Some(item);
                }
                let (key, version) = block::item(head);
                blocks.push((block::sortable(key, version), block::encode(&block)));
            }
            if blocks.is_empty() {
                return Ok(());
            }
            self.store.write("store a run", |transaction| {
                let mut statement = transaction.prepare_cached(
                    "INSERT INTO run_block (run, first, data) VALUES (?1, ?2, ?3)",
                )?;
                for (first, data) in &blocks {
                    statement.execute((run, first, data))?;
                }
                Ok(())
            })?;
        }
    }

    /// Ends a run: from now on it is what the source held at `ended`. `complete` says that every
    /// item listed is held or reported.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when there is no such run, [`CatalogError::Conflict`] when it has
    /// ended.
    pub fn finish_run(
        &self,
        run: RunId,
        (ended, complete): (Timestamp, bool),
    ) -> Result<Run, CatalogError> {
        crate::crash::point("catalog.finish-run.before");
        self.store.write("finish a run", |transaction| {
            if load(transaction, run)?.ended.is_some() {
                return Err(Fault::conflict(format!("run {run} has ended")));
            }
            transaction.execute(
                "UPDATE run SET ended = ?2, complete = ?3,
                 covers = (SELECT ifnull(max(number), 0) FROM segment) WHERE id = ?1",
                (run.0.as_bytes(), nanoseconds(ended), complete),
            )?;
            note_time(transaction, ended)?;
            load(transaction, run)
        })
    }

    /// Forgets a run that has not ended. That of another job is not looked for.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Conflict`] when it has ended.
    pub fn discard_run(&self, run: RunId) -> Result<(), CatalogError> {
        self.store.write("discard a run", |transaction| {
            if load(transaction, run)?.ended.is_some() {
                return Err(Fault::conflict(format!("run {run} has ended")));
            }
            transaction.execute("DELETE FROM run WHERE id = ?1", [run.0.as_bytes()])?;
            Ok(())
        })
    }

    /// The changes that lead from `base` (from nothing, when absent) to `run`, sorted by item.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] or [`CatalogError::BaseUnknown`].
    pub fn delta(
        &self,
        base: Option<RunId>,
        run: RunId,
    ) -> Result<Box<dyn Iterator<Item = Result<Change, CatalogError>> + Send>, CatalogError> {
        let numbers = self.store.read("read a run", |connection| chain(connection, run))?;
        if self.base(run)? == base {
            return Ok(Box::new(Changes::new(&self.store, numbers[0])));
        }
        let before = match base {
            Some(base) => self.rows(base)?,
            None => Rows::none(),
        };
        Ok(Box::new(Difference { before: before.peekable(), after: self.rows(run)?.peekable() }))
    }

    /// Records a run as a volume index has it: what it says of itself, the run that it builds on,
    /// and the changes from there. The base may come later; until it does the run cannot be told
    /// ([`CatalogError::BaseUnknown`]). A run that is known is left alone.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Conflict`] when the changes are not sorted or the run has not ended.
    pub fn apply_delta(
        &self,
        run: &Run,
        base: Option<RunId>,
        changes: &mut dyn Iterator<Item = Change>,
    ) -> Result<(), CatalogError> {
        let Some(ended) = run.ended else {
            return Err(CatalogError::Conflict { what: format!("run {} has not ended", run.id) });
        };
        let number = self.store.write("record a run", |transaction| {
            let known: Option<(i64, Option<i64>)> = transaction
                .prepare_cached("SELECT number, ended FROM run WHERE id = ?1")?
                .query_row([run.id.0.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            match known {
                Some((_, Some(_))) => return Ok(None),
                // Left by a rebuild that was broken off.
                Some((number, None)) => {
                    transaction.execute("DELETE FROM run WHERE number = ?1", [number])?;
                }
                None => {}
            }
            let source = name_source(transaction, &run.source)?;
            transaction.execute(
                "INSERT INTO run (id, source, base, started, ended, complete, rows, missing, covers)
                 VALUES (?1, ?2, ?3, ?4, NULL, 0, ?5, ?6, NULL)",
                rusqlite::params![
                    run.id.0.as_bytes(),
                    source,
                    base.map(|base| *base.0.as_bytes()),
                    nanoseconds(run.started),
                    run.rows.cast_signed(),
                    run.missing.cast_signed(),
                ],
            )?;
            Ok(Some(transaction.last_insert_rowid()))
        })?;
        let Some(number) = number else { return Ok(()) };
        self.store_changes(number, changes.map(Ok))?;
        self.shorten(run.id, number)?;
        self.store.write("record a run", |transaction| {
            transaction.execute(
                "UPDATE run SET ended = ?2, complete = ?3 WHERE number = ?1",
                (number, nanoseconds(ended), run.complete),
            )?;
            note_time(transaction, ended)
        })
    }

    /// Stores a run whole when its chain is known and has become too long.
    fn shorten(&self, run: RunId, number: i64) -> Result<(), CatalogError> {
        let long = self.store.read("read a run", |connection| {
            Ok(tellable(connection, run)? && chain(connection, run)?.len() > CHAIN)
        })?;
        if !long {
            return Ok(());
        }
        // Beside its changes, which are being read, and put in their place at the end.
        let whole = self.store.write("store a run", |transaction| {
            transaction.execute(
                "INSERT INTO run (id, source, base, started, ended, complete, rows, missing, covers)
                 SELECT ?1, source, NULL, started, NULL, 0, rows, missing, NULL
                 FROM run WHERE number = ?2",
                (RunId::new().0.as_bytes(), number),
            )?;
            Ok(transaction.last_insert_rowid())
        })?;
        let rows = self.rows(run)?;
        self.store_changes(whole, rows.map(|row| row.map(|row| Change::Put { row })))?;
        self.store.write("store a run", |transaction| {
            transaction.execute("DELETE FROM run_block WHERE run = ?1", [number])?;
            transaction.execute("UPDATE run_block SET run = ?1 WHERE run = ?2", (number, whole))?;
            transaction.execute("DELETE FROM run WHERE number = ?1", [whole])?;
            transaction.execute("UPDATE run SET base = NULL WHERE number = ?1", [number])?;
            Ok(())
        })
    }
}

/// The run that a new run of the same source is best stored as changes of.
fn choose_base(transaction: &rusqlite::Transaction<'_>, run: &Run) -> Result<Option<RunId>, Fault> {
    let last: Option<[u8; 16]> = transaction
        .prepare_cached(
            "SELECT id FROM run WHERE source = (SELECT source FROM run WHERE id = ?1)
             AND ended IS NOT NULL ORDER BY complete DESC, ended DESC, number DESC LIMIT 1",
        )?
        .query_row([run.id.0.as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(last) = last.map(uuid::Uuid::from_bytes).map(RunId) else { return Ok(None) };
    if tellable(transaction, last)? && chain(transaction, last)?.len() < CHAIN {
        Ok(Some(last))
    } else {
        Ok(None)
    }
}

/// Counts the rows that pass.
struct Counted<'a> {
    rows: &'a mut dyn Iterator<Item = Row>,
    count: i64,
    missing: i64,
}

impl Iterator for &mut Counted<'_> {
    type Item = Result<Row, CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        self.count += 1;
        self.missing += i64::from(row.places.is_empty() && !row.delete_marker);
        Some(Ok(row))
    }
}

/// What changed between two sorted sequences of rows.
struct Difference<B: Iterator, A: Iterator> {
    before: Peekable<B>,
    after: Peekable<A>,
}

impl<B, A> Iterator for Difference<B, A>
where
    B: Iterator<Item = Result<Row, CatalogError>>,
    A: Iterator<Item = Result<Row, CatalogError>>,
{
    type Item = Result<Change, CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.before.peek(), self.after.peek()) {
                (None, None) => return None,
                (Some(Err(_)), _) | (Some(_), None) => Ordering::Less,
                (_, Some(Err(_))) | (None, Some(_)) => Ordering::Greater,
                (Some(Ok(before)), Some(Ok(after))) => {
                    (&before.key, &before.version).cmp(&(&after.key, &after.version))
                }
            };
            match order {
                Ordering::Less => {
                    let gone = |row: Row| Change::Gone { key: row.key, version: row.version };
                    return Some(self.before.next()?.map(gone));
                }
                Ordering::Greater => {
                    return Some(self.after.next()?.map(|row| Change::Put { row }));
                }
                Ordering::Equal => {
                    let (before, after) = (self.before.next()?, self.after.next()?);
                    match (before, after) {
                        (Ok(before), Ok(after)) if before == after => {}
                        (Ok(_), Ok(row)) => return Some(Ok(Change::Put { row })),
                        (Err(error), _) | (_, Err(error)) => return Some(Err(error)),
                    }
                }
            }
        }
    }
}
