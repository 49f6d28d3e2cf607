//! Sessions and events.

use rusqlite::{OptionalExtension, Transaction};

use crate::{
    catalog::{
        Catalog, CatalogError, Event, Session,
        state::{json, nanoseconds, note_time, to_json, volume_number},
        store::Fault,
    },
    clock::Timestamp,
    ident::{SessionId, VolumeId},
};

/// Appends an event.
pub(in crate::catalog) fn record(
    transaction: &Transaction<'_>,
    event: &Event,
) -> Result<(), Fault> {
    transaction
        .prepare_cached("INSERT INTO event (at, volume, body) VALUES (?1, ?2, ?3)")?
        .execute((
            nanoseconds(event.when),
            event.volume.map(|volume| *volume.0.as_bytes()),
            to_json(event),
        ))?;
    note_time(transaction, event.when)
}

/// Inserts or replaces a session's row.
pub(in crate::catalog) fn store(
    transaction: &Transaction<'_>,
    session: &Session,
) -> Result<(), Fault> {
    let volume = volume_number(transaction, session.volume)?;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO session (id, volume, started, body) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((
            session.id.0.as_bytes(),
            volume,
            nanoseconds(session.started),
            to_json(session),
        ))?;
    Ok(())
}

impl Catalog {
    /// Records a session, or what is now known of it.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when the volume is not known.
    pub fn put_session(&self, session: &Session) -> Result<(), CatalogError> {
        self.store.write("record a session", |transaction| {
            store(transaction, session)?;
            note_time(transaction, session.ended.unwrap_or(session.started))
        })
    }

    /// The session with this identity.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn session(&self, id: SessionId) -> Result<Option<Session>, CatalogError> {
        self.store.read("look up a session", |connection| {
            Ok(connection
                .prepare_cached("SELECT body FROM session WHERE id = ?1")?
                .query_row([id.0.as_bytes()], |row| json(row, 0))
                .optional()?)
        })
    }

    /// The sessions that wrote to a volume, oldest first.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn sessions(&self, volume: VolumeId) -> Result<Vec<Session>, CatalogError> {
        self.store.read("list sessions", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT s.body FROM session s JOIN volume v ON v.number = s.volume
                 WHERE v.id = ?1 ORDER BY s.started, s.id",
            )?;
            let sessions = statement.query_map([volume.0.as_bytes()], |row| json(row, 0))?;
            Ok(sessions.collect::<Result<_, _>>()?)
        })
    }

    /// Records something that happened.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be written.
    pub fn record_event(&self, event: &Event) -> Result<(), CatalogError> {
        self.store.write("record an event", |transaction| record(transaction, event))
    }

    /// What happened at `since` or later, oldest first, at most `limit` events.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn events(&self, since: Timestamp, limit: u32) -> Result<Vec<Event>, CatalogError> {
        self.store.read("list events", |connection| {
            let mut statement = connection
                .prepare_cached("SELECT body FROM event WHERE at >= ?1 ORDER BY at, id LIMIT ?2")?;
            let events = statement.query_map((nanoseconds(since), limit), |row| json(row, 0))?;
            Ok(events.collect::<Result<_, _>>()?)
        })
    }

    /// The latest moment that anything in the catalog is dated. A clock that stands before it is
    /// wrong, or was when that was recorded.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn newest_event(&self) -> Result<Option<Timestamp>, CatalogError> {
        self.store.read("look up the newest event", |connection| {
            let nanoseconds: Option<i64> = connection
                .prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'newest'")?
                .query_row([], |row| row.get(0))
                .optional()?;
            Ok(nanoseconds.map(super::moment))
        })
    }
}
