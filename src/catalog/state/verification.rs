//! What reading back proved.

use rusqlite::Transaction;

use crate::{
    catalog::{
        Catalog, CatalogError, Checked, CopyState, Evidence, Verdict,
        state::{
            copies::{self, set_state},
            json, nanoseconds, note_time, segment_number, to_json, volume_number, volumes,
        },
        store::Fault,
    },
    clock::Timestamp,
    ident::{SegmentId, VolumeId},
};

/// Records the outcome for one copy.
fn record(
    transaction: &Transaction<'_>,
    evidence: &Evidence,
    checked: &Checked,
) -> Result<(), Fault> {
    let copy = (checked.segment, evidence.volume);
    let segment = segment_number(transaction, checked.segment)?;
    let volume = volume_number(transaction, evidence.volume)?;
    let (state, bad): (_, &[u32]) = match &checked.verdict {
        Verdict::SampleGood => return Ok(()),
        Verdict::Good => (CopyState::Verified, &[]),
        Verdict::BadMembers(ordinals) => (CopyState::Bad, ordinals),
        Verdict::Unreadable => (CopyState::Bad, &[]),
    };
    set_state(transaction, copy, (state, evidence.when))?;
    transaction
        .execute("DELETE FROM bad_member WHERE segment = ?1 AND volume = ?2", (segment, volume))?;
    let mut statement = transaction.prepare_cached(
        "INSERT OR IGNORE INTO bad_member (segment, volume, ordinal) VALUES (?1, ?2, ?3)",
    )?;
    for ordinal in bad {
        statement.execute((segment, volume, ordinal))?;
    }
    Ok(())
}

impl Catalog {
    /// Records, in one transaction, that a volume was read back and what each copy showed. Copies
    /// that `checked` does not name keep their state.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when the volume or one of the copies is not known.
    pub fn record_verification(
        &self,
        evidence: &Evidence,
        checked: &[Checked],
    ) -> Result<(), CatalogError> {
        self.store.write("record a verification", |transaction| {
            for one in checked {
                record(transaction, evidence, one)?;
            }
            let findings = checked
                .iter()
                .filter(|one| match one.verdict {
                    Verdict::Good | Verdict::SampleGood => false,
                    Verdict::BadMembers(_) | Verdict::Unreadable => true,
                })
                .count();
            let findings = evidence.findings.max(findings as u64);
            let evidence = Evidence { findings, ..evidence.clone() };
            if evidence.whole && findings == 0 {
                let mut volume = volumes::load(transaction, evidence.volume)?
                    .ok_or_else(|| Fault::unknown(format!("volume {}", evidence.volume)))?;
                volume.verified = Some(evidence.when);
                volumes::store(transaction, &volume)?;
            }
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO evidence (volume, at, body) VALUES (?1, ?2, ?3)",
                )?
                .execute((
                    volume_number(transaction, evidence.volume)?,
                    nanoseconds(evidence.when),
                    to_json(&evidence),
                ))?;
            note_time(transaction, evidence.when)
        })
    }

    /// Records, in one transaction, members of copies on a volume that the drive could not read. A
    /// copy of which nothing is good stays so, and one that was given up.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] when there is no such copy.
    pub fn add_bad_members(
        &self,
        volume: VolumeId,
        members: &[(SegmentId, u32)],
        at: Timestamp,
    ) -> Result<(), CatalogError> {
        self.store.write("record bad members", |transaction| {
            let number = volume_number(transaction, volume)?;
            for (id, ordinal) in members {
                let segment = segment_number(transaction, *id)?;
                let copy = copies::load(transaction, segment, number)?
                    .ok_or_else(|| Fault::unknown(format!("copy of segment {id} on {volume}")))?;
                let known: u32 = transaction
                    .prepare_cached(
                        "SELECT count(*) FROM bad_member WHERE segment = ?1 AND volume = ?2",
                    )?
                    .query_row((segment, number), |row| row.get(0))?;
                match copy.state {
                    CopyState::OnTape | CopyState::Verified => {
                        set_state(transaction, (*id, volume), (CopyState::Bad, at))?;
                    }
                    CopyState::Bad if known > 0 => {}
                    CopyState::Bad | CopyState::Void => continue,
                }
                transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO bad_member (segment, volume, ordinal)
                         VALUES (?1, ?2, ?3)",
                    )?
                    .execute((segment, number, ordinal))?;
            }
            note_time(transaction, at)
        })
    }

    /// When and how a volume was read back, newest first.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn evidence(&self, volume: VolumeId) -> Result<Vec<Evidence>, CatalogError> {
        self.store.read("list evidence", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT e.body FROM evidence e JOIN volume v ON v.number = e.volume
                 WHERE v.id = ?1 ORDER BY e.at DESC",
            )?;
            let evidence = statement.query_map([volume.0.as_bytes()], |row| json(row, 0))?;
            Ok(evidence.collect::<Result<_, _>>()?)
        })
    }

    /// The manifest lines, from 0, that are bad in the copy of `segment` on `volume`, ascending.
    /// Empty for a bad copy of which nothing is good.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub fn bad_members(
        &self,
        segment: SegmentId,
        volume: VolumeId,
    ) -> Result<Vec<u32>, CatalogError> {
        self.store.read("list bad members", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT b.ordinal FROM bad_member b
                 JOIN segment s ON s.number = b.segment JOIN volume v ON v.number = b.volume
                 WHERE s.id = ?1 AND v.id = ?2 ORDER BY b.ordinal",
            )?;
            let ordinals = statement
                .query_map((segment.0.as_bytes(), volume.0.as_bytes()), |row| row.get(0))?;
            Ok(ordinals.collect::<Result<_, _>>()?)
        })
    }
}
