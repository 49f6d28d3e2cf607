//! Whether the catalog agrees with itself.

use std::fmt;

use rusqlite::Connection;

use crate::{
    catalog::{
        Catalog, CatalogError, find::is_complete, members::read::load_pack, runs, state::uuid,
        store::Fault,
    },
    ident::{RunId, SegmentId},
};

/// Something in the catalog that contradicts the rest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The database's own check found it.
    Database {
        /// Its words.
        words: String,
    },
    /// A row names one that is not there.
    Dangling {
        /// The table that the row is in.
        table: String,
        /// The table that it refers to.
        parent: String,
    },
    /// Members of a segment cannot be read, or are not as many as it has.
    Members {
        /// The segment.
        segment: SegmentId,
        /// What is wrong.
        what: String,
    },
    /// The changes of a run cannot be read.
    Run {
        /// The run.
        run: RunId,
        /// What is wrong.
        what: String,
    },
    /// The index by text is not what the keys of a segment ask for.
    Index {
        /// The segment.
        segment: SegmentId,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database { words } => write!(f, "database: {words}"),
            Self::Dangling { table, parent } => {
                write!(f, "a row of table {table} names one of {parent} that is not there")
            }
            Self::Members { segment, what } => write!(f, "members of segment {segment}: {what}"),
            Self::Run { run, what } => write!(f, "run {run}: {what}"),
            Self::Index { segment } => {
                write!(f, "the index by text does not agree with the keys of segment {segment}")
            }
        }
    }
}

impl Catalog {
    /// Reads all of the catalog and compares it with itself. Takes time in proportion to its size.
    ///
    /// # Errors
    ///
    /// When it cannot be read at all; what can be read and is wrong is a [`Flaw`].
    pub fn check(&self) -> Result<Vec<Flaw>, CatalogError> {
        let mut flaws = Vec::new();
        self.store
            .read("check the database", |connection| check_database(connection, &mut flaws))?;
        let segments = self.store.read("list segments", |connection| {
            let mut statement = connection
                .prepare_cached("SELECT number, id, members FROM segment WHERE listed")?;
            let rows = statement
                .query_map([], |row| Ok((row.get(0)?, SegmentId(uuid(row, 1)?), row.get(2)?)))?;
            Ok(rows.collect::<Result<Vec<(i64, SegmentId, i64)>, _>>()?)
        })?;
        for (number, segment, members) in segments {
            let found = self.store.read("check members", |connection| {
                check_members(connection, number, members.cast_unsigned())
            });
            if let Some(what) = words_of(found)? {
                flaws.push(Flaw::Members { segment, what });
            }
            let complete = self.store.read("check the index by text", |connection| {
                Ok((!is_complete(connection, number)?).then(String::new))
            });
            if words_of(complete)?.is_some() {
                flaws.push(Flaw::Index { segment });
            }
        }
        self.store.read("check runs", |connection| check_runs(connection, &mut flaws))?;
        Ok(flaws)
    }
}

/// What a check found, where bytes that do not decode are a finding.
fn words_of(found: Result<Option<String>, CatalogError>) -> Result<Option<String>, CatalogError> {
    match found {
        Err(CatalogError::Corrupt { cause, .. }) => Ok(Some(cause.to_string())),
        found => found,
    }
}

fn check_database(connection: &Connection, flaws: &mut Vec<Flaw>) -> Result<(), Fault> {
    let mut statement = connection.prepare("PRAGMA quick_check(100)")?;
    for words in statement.query_map([], |row| row.get::<_, String>(0))? {
        let words = words?;
        if words != "ok" {
            flaws.push(Flaw::Database { words });
        }
    }
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    for row in statement.query_map([], |row| Ok((row.get(0)?, row.get(2)?)))? {
        let (table, parent) = row?;
        flaws.push(Flaw::Dangling { table, parent });
    }
    Ok(())
}

/// What is wrong with the members of a segment, if anything is.
fn check_members(
    connection: &Connection,
    segment: i64,
    members: u64,
) -> Result<Option<String>, Fault> {
    let mut next = 0;
    let mut last = None;
    while let Some((first, pack)) = load_pack(connection, segment, next)? {
        if first != next {
            return Ok(Some(format!("line {next} is in the middle of a pack")));
        }
        for group in 0..pack.keys.groups() {
            for entry in pack.group(group).map_err(super::damaged)? {
                if last.as_ref().is_some_and(|last: &crate::volume::manifest::Entry| {
                    last.order() >= entry.order()
                }) {
                    return Ok(Some(format!("line {next} is out of order")));
                }
                last = Some(entry);
                next += 1;
            }
        }
    }
    let wrong = u64::from(next) != members;
    Ok(wrong.then(|| format!("{next} are here, {members} belong to it")))
}

fn check_runs(connection: &Connection, flaws: &mut Vec<Flaw>) -> Result<(), Fault> {
    let mut statement = connection.prepare(
        "SELECT r.id, b.data FROM run_block b JOIN run r ON r.number = b.run ORDER BY b.rowid",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let data = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        if let Err(what) = runs::check_block(data) {
            flaws.push(Flaw::Run { run: RunId(uuid(row, 0)?), what });
        }
    }
    Ok(())
}
