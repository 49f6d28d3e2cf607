//! Copies and the intents that precede them.

use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::{
    catalog::{
        Catalog, CatalogError, Commit, CopyRecord, CopyState, Intent, IntentId, SegmentCopy,
        state::{
            count, moment, nanoseconds, note_time, segments::segment_number, uuid, volume_number,
            volumes,
        },
        store::Fault,
    },
    clock::Timestamp,
    ident::{SegmentId, SessionId, VolumeId},
    position::{FileNumber, ObjectNumber},
};

pub(in crate::catalog) const COLUMNS: &str =
    "SELECT s.id, v.id, c.object, c.file, c.session, c.state, c.since
    FROM copy c JOIN segment s ON s.number = c.segment JOIN volume v ON v.number = c.volume";

pub(in crate::catalog) fn word(state: CopyState) -> &'static str {
    match state {
        CopyState::OnTape => "on-tape",
        CopyState::Verified => "verified",
        CopyState::Bad => "bad",
        CopyState::Void => "void",
    }
}

pub(in crate::catalog) fn copy_row(
    row: &rusqlite::Row<'_>,
) -> Result<SegmentCopy, rusqlite::Error> {
    let state = match row.get_ref(5)?.as_str()? {
        "on-tape" => CopyState::OnTape,
        "verified" => CopyState::Verified,
        "bad" => CopyState::Bad,
        "void" => CopyState::Void,
        other => {
            return Err(rusqlite::Error::FromSqlConversionFailure(
                5,
                rusqlite::types::Type::Text,
                format!("{other:?} is not a state of a copy").into(),
            ));
        }
    };
    Ok(SegmentCopy {
        segment: SegmentId(uuid(row, 0)?),
        volume: VolumeId(uuid(row, 1)?),
        object: ObjectNumber(count(row, 2)?),
        file: FileNumber(count(row, 3)?),
        session: SessionId(uuid(row, 4)?),
        state,
        since: moment(row.get(6)?),
    })
}

/// The copy of a segment on a volume.
pub(in crate::catalog) fn load(
    connection: &Connection,
    segment: i64,
    volume: i64,
) -> Result<Option<SegmentCopy>, Fault> {
    Ok(connection
        .prepare_cached(&format!("{COLUMNS} WHERE c.segment = ?1 AND c.volume = ?2"))?
        .query_row((segment, volume), copy_row)
        .optional()?)
}

/// Inserts or replaces a copy's row.
pub(in crate::catalog) fn store(connection: &Connection, copy: &SegmentCopy) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO copy (segment, volume, object, file, session, state, since)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (segment, volume) DO UPDATE SET object = excluded.object,
             file = excluded.file, session = excluded.session, state = excluded.state,
             since = excluded.since",
        )?
        .execute((
            segment_number(connection, copy.segment)?,
            volume_number(connection, copy.volume)?,
            copy.object.0.cast_signed(),
            copy.file.0.cast_signed(),
            copy.session.0.as_bytes(),
            word(copy.state),
            nanoseconds(copy.since),
        ))?;
    Ok(())
}

/// Records that one segment is on tape, unless the same is recorded already.
fn commit_copy(
    transaction: &Transaction<'_>,
    commit: &Commit<'_>,
    record: &CopyRecord,
) -> Result<(), Fault> {
    let volume = volume_number(transaction, commit.volume)?;
    let segment = segment_number(transaction, record.segment)?;
    match load(transaction, segment, volume)? {
        Some(known) if known.state.is_good() && known.object == record.object => return Ok(()),
        Some(known) if known.state.is_good() => {
            let what = format!(
                "segment {} stands at object {} of this volume, it cannot stand at {} too",
                record.segment, known.object, record.object
            );
            return Err(Fault::conflict(what));
        }
        Some(_) | None => {}
    }
    transaction
        .execute("DELETE FROM bad_member WHERE segment = ?1 AND volume = ?2", (segment, volume))?;
    store(
        transaction,
        &SegmentCopy {
            segment: record.segment,
            volume: commit.volume,
            object: record.object,
            file: record.file,
            session: commit.session,
            state: CopyState::OnTape,
            since: commit.at,
        },
    )
}

/// Where it is noted that only a snapshot told of a volume, or of its end.
fn unread_key(volume: VolumeId) -> String {
    format!("unread {volume}")
}

/// Notes that a snapshot told more of a volume than was read from it.
pub(super) fn note_unread(transaction: &Transaction<'_>, volume: VolumeId) -> Result<(), Fault> {
    let mut statement = transaction
        .prepare_cached("INSERT INTO meta (key, value) VALUES (?1, '') ON CONFLICT DO NOTHING")?;
    statement.execute([unread_key(volume)])?;
    Ok(())
}

impl Catalog {
    /// Records, durably, that a segment is about to be written. Comes before its first block.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when the volume or the segment is not known.
    pub fn intend(&self, volume: VolumeId, record: CopyRecord) -> Result<IntentId, CatalogError> {
        self.store.write("record an intent", |transaction| {
            let volume = volume_number(transaction, volume)?;
            let segment = segment_number(transaction, record.segment)?;
            transaction
                .prepare_cached(
                    "INSERT INTO intent (volume, segment, object, file) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((
                    volume,
                    segment,
                    record.object.0.cast_signed(),
                    record.file.0.cast_signed(),
                ))?;
            Ok(IntentId(transaction.last_insert_rowid()))
        })
    }

    /// What was about to be written and is neither committed nor withdrawn, oldest first.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn intents(&self) -> Result<Vec<Intent>, CatalogError> {
        self.store.read("list intents", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT i.id, v.id, i.object, i.file, s.id FROM intent i
                 JOIN volume v ON v.number = i.volume JOIN segment s ON s.number = i.segment
                 ORDER BY i.id",
            )?;
            let intents = statement.query_map([], |row| {
                Ok(Intent {
                    id: IntentId(row.get(0)?),
                    volume: VolumeId(uuid(row, 1)?),
                    object: ObjectNumber(count(row, 2)?),
                    file: FileNumber(count(row, 3)?),
                    segment: SegmentId(uuid(row, 4)?),
                })
            })?;
            Ok(intents.collect::<Result<_, _>>()?)
        })
    }

    /// Takes the intents for a volume back: the tape was asked, and nothing of them is there.
    /// Withdrawing them twice does no harm.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be written.
    pub fn withdraw(&self, volume: VolumeId) -> Result<(), CatalogError> {
        self.store.write("withdraw intents", |transaction| {
            transaction.execute(
                "DELETE FROM intent WHERE volume = (SELECT number FROM volume WHERE id = ?1)",
                [volume.0.as_bytes()],
            )?;
            Ok(())
        })
    }

    /// Records what a flush proved, in one durable transaction: the copies are on tape, their
    /// intents on this volume are fulfilled, the volume ends where the drive says. Committing the
    /// same again changes nothing.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Conflict`] when a segment has a good copy elsewhere on the volume.
    pub fn commit(&self, commit: &Commit<'_>) -> Result<(), CatalogError> {
        crate::crash::point("catalog.commit.before");
        self.store.write("commit copies", |transaction| {
            let number = volume_number(transaction, commit.volume)?;
            for record in commit.copies {
                commit_copy(transaction, commit, record)?;
                transaction
                    .prepare_cached(
                        "DELETE FROM intent WHERE volume = ?1
                         AND segment = (SELECT number FROM segment WHERE id = ?2)",
                    )?
                    .execute((number, record.segment.0.as_bytes()))?;
            }
            let mut volume = volumes::load(transaction, commit.volume)?
                .ok_or_else(|| Fault::unknown(format!("volume {}", commit.volume)))?;
            volume.end = commit.end;
            volume.end_file = commit.end_file;
            if commit.index.is_some() {
                volume.last_index = commit.index;
            }
            volumes::store(transaction, &volume)?;
            note_time(transaction, commit.at)
        })?;
        crate::crash::point("catalog.commit.after");
        Ok(())
    }

    /// The copies of a segment, in the order in which its volumes became known.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn copies(&self, segment: SegmentId) -> Result<Vec<SegmentCopy>, CatalogError> {
        self.store.read("list copies", |connection| {
            let mut statement = connection
                .prepare_cached(&format!("{COLUMNS} WHERE s.id = ?1 ORDER BY c.volume"))?;
            let copies = statement.query_map([segment.0.as_bytes()], copy_row)?;
            Ok(copies.collect::<Result<_, _>>()?)
        })
    }

    /// The copies on a volume, in the order in which they lie there.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn copies_on(&self, volume: VolumeId) -> Result<Vec<SegmentCopy>, CatalogError> {
        self.store.read("list copies on a volume", |connection| {
            let mut statement = connection
                .prepare_cached(&format!("{COLUMNS} WHERE v.id = ?1 ORDER BY c.object"))?;
            let copies = statement.query_map([volume.0.as_bytes()], copy_row)?;
            Ok(copies.collect::<Result<_, _>>()?)
        })
    }

    /// Whether only another volume's snapshot told of what is on a volume, or of some of it: members
    /// of segments, or runs in its indexes, are not known then.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn has_unread(&self, volume: VolumeId) -> Result<bool, CatalogError> {
        self.store.read("look for what only a snapshot told of", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM copy c JOIN segment s ON s.number = c.segment
                 JOIN volume v ON v.number = c.volume
                 WHERE v.id = ?1 AND NOT s.listed AND c.state <> 'void')
                 OR EXISTS (SELECT 1 FROM meta WHERE key = ?2)",
            )?;
            let key = unread_key(volume);
            Ok(statement.query_row((volume.0.as_bytes(), key), |row| row.get(0))?)
        })
    }

    /// Notes that what is on a volume was read from it, up to where it ends.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be written.
    pub fn note_read(&self, volume: VolumeId) -> Result<(), CatalogError> {
        self.store.write("note that a volume was read", |transaction| {
            transaction.execute("DELETE FROM meta WHERE key = ?1", [unread_key(volume)])?;
            Ok(())
        })
    }

    /// Records what is now known of one copy. Its bad members are forgotten unless it stays bad.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when there is no such copy.
    pub fn set_copy_state(
        &self,
        segment: SegmentId,
        volume: VolumeId,
        (state, at): (CopyState, Timestamp),
    ) -> Result<(), CatalogError> {
        self.store.write("record the state of a copy", |transaction| {
            set_state(transaction, (segment, volume), (state, at))?;
            if state != CopyState::Bad {
                let segment = segment_number(transaction, segment)?;
                let volume = volume_number(transaction, volume)?;
                transaction.execute(
                    "DELETE FROM bad_member WHERE segment = ?1 AND volume = ?2",
                    (segment, volume),
                )?;
            }
            note_time(transaction, at)
        })
    }

    /// The segments on a volume that do not have `copies` verified copies on other volumes: what
    /// would be lost, or held too thinly, if it were overwritten. In the order in which they lie
    /// there.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when there is no such volume.
    pub fn indispensable(
        &self,
        volume: VolumeId,
        copies: u32,
    ) -> Result<Vec<SegmentId>, CatalogError> {
        self.store.read("look for copies elsewhere", |connection| {
            let number = volume_number(connection, volume)?;
            let mut statement = connection.prepare_cached(
                "SELECT s.id FROM copy c JOIN segment s ON s.number = c.segment
                 WHERE c.volume = ?1 AND c.state <> 'void' AND (
                     SELECT count(*) FROM copy o JOIN volume v ON v.number = o.volume
                     WHERE o.segment = c.segment AND o.volume <> ?1 AND o.state = 'verified'
                     AND v.status <> 'destroyed'
                 ) < ?2 ORDER BY c.object",
            )?;
            let segments =
                statement.query_map((number, copies), |row| uuid(row, 0).map(SegmentId))?;
            Ok(segments.collect::<Result<_, _>>()?)
        })
    }
}

/// Sets the state of one copy, which has to exist.
pub(in crate::catalog) fn set_state(
    transaction: &Transaction<'_>,
    (segment, volume): (SegmentId, VolumeId),
    (state, at): (CopyState, Timestamp),
) -> Result<(), Fault> {
    let changed = transaction
        .prepare_cached(
            "UPDATE copy SET state = ?3, since = ?4 WHERE segment = ?1 AND volume = ?2",
        )?
        .execute((
            segment_number(transaction, segment)?,
            volume_number(transaction, volume)?,
            word(state),
            nanoseconds(at),
        ))?;
    if changed == 0 {
        return Err(Fault::unknown(format!("copy of segment {segment} on volume {volume}")));
    }
    Ok(())
}
