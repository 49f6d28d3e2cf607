//! Which runs are on tape, in the index of which volume.

use rusqlite::OptionalExtension;

use crate::{
    catalog::{
        Catalog, CatalogError,
        state::{uuid, volume_number},
    },
    ident::{RunId, SourceName, VolumeId},
};

impl Catalog {
    /// Records that runs stand in an index of a volume.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when there is no such volume; runs that are not known are left out.
    pub fn record_indexed_runs(
        &self,
        volume: VolumeId,
        runs: &[RunId],
    ) -> Result<(), CatalogError> {
        self.store.write("record runs on tape", |transaction| {
            let volume = volume_number(transaction, volume)?;
            let mut statement = transaction.prepare_cached(
                "INSERT OR IGNORE INTO run_copy (run, volume)
                 SELECT number, ?2 FROM run WHERE id = ?1",
            )?;
            for run in runs {
                statement.execute((run.0.as_bytes(), volume))?;
            }
            Ok(())
        })
    }

    /// Runs that have ended and stand in the indexes of fewer than `copies` volumes, and not in one
    /// of `volume`; oldest first. Destroyed volumes do not count.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read, or there is no such volume.
    pub fn runs_to_index(
        &self,
        volume: Option<VolumeId>,
        copies: u32,
    ) -> Result<Vec<RunId>, CatalogError> {
        self.store.read("look up runs on tape", |connection| {
            let volume = volume.map(|id| volume_number(connection, id)).transpose()?;
            let mut statement = connection.prepare_cached(
                "SELECT r.id FROM run r WHERE r.ended IS NOT NULL
                 AND (SELECT count(*) FROM run_copy c JOIN volume v ON v.number = c.volume
                      WHERE c.run = r.number AND v.status <> 'destroyed') < ?2
                 AND NOT EXISTS (SELECT 1 FROM run_copy c
                                 WHERE c.run = r.number AND c.volume = ?1)
                 ORDER BY r.ended, r.number",
            )?;
            let runs = statement.query_map((volume, copies), |row| uuid(row, 0))?;
            Ok(runs.map(|run| run.map(RunId)).collect::<Result<_, _>>()?)
        })
    }

    /// The newest run of a source that stands in an index of a volume.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read, or there is no such volume.
    pub fn newest_indexed_run(
        &self,
        volume: VolumeId,
        source: &SourceName,
    ) -> Result<Option<RunId>, CatalogError> {
        self.store.read("look up runs on tape", |connection| {
            let volume = volume_number(connection, volume)?;
            let found = connection
                .prepare_cached(
                    "SELECT r.id FROM run_copy c JOIN run r ON r.number = c.run
                     JOIN source s ON s.number = r.source
                     WHERE c.volume = ?1 AND s.name = ?2 ORDER BY r.ended DESC LIMIT 1",
                )?
                .query_row((volume, source.as_str()), |row| uuid(row, 0))
                .optional()?;
            Ok(found.map(RunId))
        })
    }
}
