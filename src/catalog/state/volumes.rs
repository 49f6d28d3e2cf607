//! Volumes.

use rusqlite::{Connection, OptionalExtension};

use crate::{
    catalog::{
        Catalog, CatalogError, Holdings, Mode,
        state::{count, json, note_time, to_json},
        store::Fault,
        types::Event,
    },
    clock::Timestamp,
    ident::{PoolName, SegmentId, Volser, VolumeId},
    media::{Status, Volume},
};

/// The row number of a volume.
pub(in crate::catalog) fn volume_number(
    connection: &Connection,
    id: VolumeId,
) -> Result<i64, Fault> {
    connection
        .prepare_cached("SELECT number FROM volume WHERE id = ?1")?
        .query_row([id.0.as_bytes()], |row| row.get(0))
        .optional()?
        .ok_or_else(|| Fault::unknown(format!("volume {id}")))
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Scratch => "scratch",
        Status::Appendable => "appendable",
        Status::Full => "full",
        Status::Suspect => "suspect",
        Status::Retired => "retired",
        Status::Destroyed => "destroyed",
    }
}

/// Inserts or replaces a volume's row.
pub(in crate::catalog) fn store(connection: &Connection, volume: &Volume) -> Result<(), Fault> {
    let rival: Option<[u8; 16]> = connection
        .prepare_cached(
            "SELECT id FROM volume WHERE volser = ?1 AND status <> 'destroyed' AND id <> ?2",
        )?
        .query_row((volume.volser.as_str(), volume.id.0.as_bytes()), |row| row.get(0))
        .optional()?;
    if let (Some(rival), false) = (rival, volume.status == Status::Destroyed) {
        let rival = uuid::Uuid::from_bytes(rival);
        let what = format!("volser {} belongs to volume {rival} already", volume.volser);
        return Err(Fault::conflict(what));
    }
    connection
        .prepare_cached(
            "INSERT INTO volume (id, volser, status, pool, body) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET volser = excluded.volser, status = excluded.status,
             pool = excluded.pool, body = excluded.body",
        )?
        .execute((
            volume.id.0.as_bytes(),
            volume.volser.as_str(),
            word(volume.status),
            volume.pool.as_str(),
            to_json(volume),
        ))?;
    Ok(())
}

/// The volume with this identity.
pub(in crate::catalog) fn load(
    connection: &Connection,
    id: VolumeId,
) -> Result<Option<Volume>, Fault> {
    Ok(connection
        .prepare_cached("SELECT body FROM volume WHERE id = ?1")?
        .query_row([id.0.as_bytes()], |row| json(row, 0))
        .optional()?)
}

impl Catalog {
    /// Records a volume, or what is now known of it.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Conflict`] when another volume that is not destroyed has its volser, or when
    /// an emulated volume is put in a real catalog.
    pub fn put_volume(&self, volume: &Volume) -> Result<(), CatalogError> {
        self.store.write("record a volume", |transaction| {
            if volume.emulated && self.mode() == Mode::Real {
                let what = format!("volume {} is emulated, the catalog is not", volume.volser);
                return Err(Fault::conflict(what));
            }
            store(transaction, volume)?;
            note_time(transaction, volume.created)?;
            note_time(transaction, volume.custody_since)
        })
    }

    /// Changes a volume's row in one transaction, and records why.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when there is no such volume.
    pub fn update_volume(
        &self,
        id: VolumeId,
        event: &Event,
        change: impl FnOnce(&mut Volume),
    ) -> Result<Volume, CatalogError> {
        self.store.write("change a volume", |transaction| {
            let mut volume =
                load(transaction, id)?.ok_or_else(|| Fault::unknown(format!("volume {id}")))?;
            change(&mut volume);
            volume.id = id;
            store(transaction, &volume)?;
            super::sessions::record(transaction, event)?;
            Ok(volume)
        })
    }

    /// The volume that bears this volser now. Of destroyed ones, the last.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn volume(&self, volser: Volser) -> Result<Option<Volume>, CatalogError> {
        self.store.read("look up a volume", |connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT body FROM volume WHERE volser = ?1
                     ORDER BY status = 'destroyed', number DESC LIMIT 1",
                )?
                .query_row([volser.as_str()], |row| json(row, 0))
                .optional()?)
        })
    }

    /// The volume with this identity, destroyed or not.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn volume_by_id(&self, id: VolumeId) -> Result<Option<Volume>, CatalogError> {
        self.store.read("look up a volume", |connection| load(connection, id))
    }

    /// All volumes, sorted by volser; destroyed ones are among them.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn volumes(&self) -> Result<Vec<Volume>, CatalogError> {
        self.store.read("list volumes", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT body FROM volume ORDER BY volser, number")?;
            let volumes = statement.query_map([], |row| json(row, 0))?;
            Ok(volumes.collect::<Result<_, _>>()?)
        })
    }

    /// The volumes of a pool that have this status, sorted by volser.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn volumes_in(&self, pool: &PoolName, status: Status) -> Result<Vec<Volume>, CatalogError> {
        self.store.read("list volumes", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT body FROM volume WHERE pool = ?1 AND status = ?2 ORDER BY volser, number",
            )?;
            let volumes = statement.query_map((pool.as_str(), word(status)), |row| json(row, 0))?;
            Ok(volumes.collect::<Result<_, _>>()?)
        })
    }

    /// Commits that the copies on a volume are destroyed, before the first write over them: the
    /// volume becomes [`Status::Destroyed`], its copies and intents are forgotten. Returns the
    /// segments that have no copy left and are not staged, for [`Catalog::drop_segment`].
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when there is no such volume.
    pub fn destroy_volume(
        &self,
        id: VolumeId,
        at: Timestamp,
    ) -> Result<Vec<SegmentId>, CatalogError> {
        self.store.write("record a destruction", |transaction| {
            let mut volume =
                load(transaction, id)?.ok_or_else(|| Fault::unknown(format!("volume {id}")))?;
            let number = volume_number(transaction, id)?;
            let mut statement = transaction.prepare_cached(
                "SELECT s.id FROM copy c JOIN segment s ON s.number = c.segment
                 WHERE c.volume = ?1 AND NOT s.staged AND NOT EXISTS (
                     SELECT 1 FROM copy o WHERE o.segment = c.segment AND o.volume <> ?1)
                 ORDER BY c.object",
            )?;
            let orphans = statement
                .query_map([number], |row| super::uuid(row, 0).map(SegmentId))?
                .collect::<Result<Vec<_>, _>>()?;
            transaction.execute("DELETE FROM copy WHERE volume = ?1", [number])?;
            transaction.execute("DELETE FROM intent WHERE volume = ?1", [number])?;
            volume.status = Status::Destroyed;
            store(transaction, &volume)?;
            let event = Event {
                when: at,
                what: "volume.destroyed".to_owned(),
                volume: Some(id),
                detail: serde_json::json!({ "volser": volume.volser, "orphans": orphans.len() }),
            };
            super::sessions::record(transaction, &event)?;
            Ok(orphans)
        })
    }

    /// What a volume holds in good copies.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when there is no such volume.
    pub fn holdings(&self, id: VolumeId) -> Result<Holdings, CatalogError> {
        self.store.read("add up a volume", |connection| {
            let number = volume_number(connection, id)?;
            let holdings = connection
                .prepare_cached(
                    "SELECT count(*), ifnull(sum(s.bytes), 0), ifnull(sum(s.members), 0),
                     ifnull(sum(c.state = 'verified'), 0)
                     FROM copy c JOIN segment s ON s.number = c.segment
                     WHERE c.volume = ?1 AND c.state IN ('on-tape', 'verified')",
                )?
                .query_row([number], |row| {
                    Ok(Holdings {
                        segments: count(row, 0)?,
                        bytes: count(row, 1)?,
                        members: count(row, 2)?,
                        verified: count(row, 3)?,
                    })
                })?;
            Ok(holdings)
        })
    }
}
