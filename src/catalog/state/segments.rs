//! Segments as wholes.

use rusqlite::{Connection, OptionalExtension};

use crate::{
    catalog::{
        Catalog, CatalogError, Lacking, Segment,
        state::{count, digest, moment, nanoseconds, uuid},
        store::Fault,
    },
    ident::{PoolName, SegmentId, SetId},
};

pub(in crate::catalog) const COLUMNS: &str =
    "SELECT s.id, s.set_id, s.created, s.bytes, s.blocks, s.block_size, s.digest,
    s.manifest_offset, s.manifest_bytes, s.members, s.staged, s.manifest_digest
    FROM segment s";

/// Reads a row of [`COLUMNS`].
pub(in crate::catalog) fn segment_row(row: &rusqlite::Row<'_>) -> Result<Segment, rusqlite::Error> {
    Ok(Segment {
        id: SegmentId(uuid(row, 0)?),
        set: SetId(uuid(row, 1)?),
        created: moment(row.get(2)?),
        bytes: count(row, 3)?,
        blocks: count(row, 4)?,
        block_size: row.get(5)?,
        digest: digest(row, 6)?,
        manifest_offset: count(row, 7)?,
        manifest_bytes: count(row, 8)?,
        members: count(row, 9)?,
        staged: row.get(10)?,
        manifest_digest: digest(row, 11)?,
    })
}

/// The number of a segment.
pub(in crate::catalog) fn segment_number(
    connection: &Connection,
    id: SegmentId,
) -> Result<i64, Fault> {
    connection
        .prepare_cached("SELECT number FROM segment WHERE id = ?1")?
        .query_row([id.0.as_bytes()], |row| row.get(0))
        .optional()?
        .ok_or_else(|| Fault::unknown(format!("segment {id}")))
}

/// The segment with this identity.
pub(in crate::catalog) fn load(
    connection: &Connection,
    id: SegmentId,
) -> Result<Option<Segment>, Fault> {
    Ok(connection
        .prepare_cached(&format!("{COLUMNS} WHERE s.id = ?1"))?
        .query_row([id.0.as_bytes()], segment_row)
        .optional()?)
}

/// Inserts a segment's row unless it is there. Returns its number and whether its members are here.
pub(in crate::catalog) fn store(
    connection: &Connection,
    segment: &Segment,
) -> Result<(i64, bool), Fault> {
    if let Some(known) = load(connection, segment.id)? {
        let agrees = known.digest == segment.digest
            && known.bytes == segment.bytes
            && known.members == segment.members;
        if !agrees {
            let what = format!("segment {} is known with another content", segment.id);
            return Err(Fault::conflict(what));
        }
        return Ok(connection
            .prepare_cached("SELECT number, listed FROM segment WHERE id = ?1")?
            .query_row([segment.id.0.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?);
    }
    connection
        .prepare_cached(
            "INSERT INTO segment (id, set_id, created, bytes, blocks, block_size, digest,
             manifest_offset, manifest_bytes, members, staged, manifest_digest, listed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0)",
        )?
        .execute(rusqlite::params![
            segment.id.0.as_bytes(),
            segment.set.0.as_bytes(),
            nanoseconds(segment.created),
            segment.bytes.cast_signed(),
            segment.blocks.cast_signed(),
            segment.block_size,
            segment.digest.0,
            segment.manifest_offset.cast_signed(),
            segment.manifest_bytes.cast_signed(),
            segment.members.cast_signed(),
            segment.staged,
            segment.manifest_digest.0,
        ])?;
    Ok((connection.last_insert_rowid(), false))
}

impl Catalog {
    /// The segment with this identity.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn segment(&self, id: SegmentId) -> Result<Option<Segment>, CatalogError> {
        self.store.read("look up a segment", |connection| load(connection, id))
    }

    /// Whether it is known what is in a segment, and not only from a snapshot that it is.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn is_listed(&self, id: SegmentId) -> Result<bool, CatalogError> {
        self.store.read("look up a segment", |connection| {
            let mut statement = connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM segment WHERE id = ?1 AND listed)")?;
            Ok(statement.query_row([id.0.as_bytes()], |row| row.get(0))?)
        })
    }

    /// All segments, in the order in which they became known.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn segments(&self) -> Result<Vec<Segment>, CatalogError> {
        self.store.read("list segments", |connection| {
            let mut statement =
                connection.prepare_cached(&format!("{COLUMNS} ORDER BY s.number"))?;
            let segments = statement.query_map([], segment_row)?;
            Ok(segments.collect::<Result<_, _>>()?)
        })
    }

    /// The segments that staging still holds, in the order in which they became known.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn staged_segments(&self) -> Result<Vec<Segment>, CatalogError> {
        self.store.read("list staged segments", |connection| {
            let mut statement = connection
                .prepare_cached(&format!("{COLUMNS} WHERE s.staged ORDER BY s.number"))?;
            let segments = statement.query_map([], segment_row)?;
            Ok(segments.collect::<Result<_, _>>()?)
        })
    }

    /// Records whether staging holds a segment's file: a segment that it does not hold is held only
    /// by its copies.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when there is no such segment.
    pub fn set_staged(&self, id: SegmentId, staged: bool) -> Result<(), CatalogError> {
        self.store.write("record what is staged", |transaction| {
            let changed = transaction
                .prepare_cached("UPDATE segment SET staged = ?2 WHERE id = ?1")?
                .execute((id.0.as_bytes(), staged))?;
            if changed == 0 { Err(Fault::unknown(format!("segment {id}"))) } else { Ok(()) }
        })
    }

    /// The segments of which a pool has fewer than `copies` good copies, in the order in which they
    /// became known. Copies on destroyed volumes do not exist; copies on emulated volumes count
    /// only in a rehearsal.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn lacking(&self, pool: &PoolName, copies: u32) -> Result<Vec<Lacking>, CatalogError> {
        self.store.read("look for segments that lack copies", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT s.id, (
                     SELECT count(*) FROM copy c JOIN volume v ON v.number = c.volume
                     WHERE c.segment = s.number AND v.pool = ?1 AND v.status <> 'destroyed'
                     AND c.state IN ('on-tape', 'verified')
                 ) AS good
                 FROM segment s
                 WHERE good < ?2 ORDER BY s.number",
            )?;
            let lacking = statement.query_map((pool.as_str(), copies), |row| {
                Ok(Lacking { segment: SegmentId(uuid(row, 0)?), good: row.get(1)? })
            })?;
            Ok(lacking.collect::<Result<_, _>>()?)
        })
    }

    /// The segments that no copy and no staging file holds any more.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn orphans(&self) -> Result<Vec<SegmentId>, CatalogError> {
        self.store.read("look for segments without copies", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT s.id FROM segment s WHERE NOT s.staged AND NOT EXISTS (SELECT 1 FROM copy WHERE segment = s.number)
                 ORDER BY s.number",
            )?;
            let orphans = statement.query_map([], |row| uuid(row, 0).map(SegmentId))?;
            Ok(orphans.collect::<Result<_, _>>()?)
        })
    }
}
