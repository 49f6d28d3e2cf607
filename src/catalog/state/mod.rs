//! The living tables: volumes, segments, copies, intents, sessions, evidence, events.

pub(in crate::catalog) mod copies;
mod merge;
pub(in crate::catalog) mod segments;
pub(in crate::catalog) mod sessions;
mod tables;
mod verification;
pub(in crate::catalog) mod volumes;

pub(in crate::catalog) use segments::segment_number;
pub(in crate::catalog) use volumes::volume_number;

use rusqlite::{Transaction, types::Type};
use uuid::Uuid;

use crate::{catalog::store::Fault, clock::Timestamp, digest::Digest};

/// A moment as the tables hold it: nanoseconds after 1970. Clocks beyond the year 2262 are held at
/// its end, which every plausibility check refuses anyway.
pub(in crate::catalog) fn nanoseconds(at: Timestamp) -> i64 {
    let clamped = at.nanoseconds().clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(clamped).expect("clamped")
}

pub(in crate::catalog) fn moment(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanoseconds(nanoseconds.into())
}

/// Reads column `at` as an identifier.
pub(in crate::catalog) fn uuid(
    row: &rusqlite::Row<'_>,
    at: usize,
) -> Result<Uuid, rusqlite::Error> {
    row.get::<_, [u8; 16]>(at).map(Uuid::from_bytes)
}

pub(in crate::catalog) fn digest(
    row: &rusqlite::Row<'_>,
    at: usize,
) -> Result<Digest, rusqlite::Error> {
    row.get(at).map(Digest)
}

/// Reads column `at` as a count, of which all 64 bits are kept.
pub(in crate::catalog) fn count(
    row: &rusqlite::Row<'_>,
    at: usize,
) -> Result<u64, rusqlite::Error> {
    row.get::<_, i64>(at).map(i64::cast_unsigned)
}

/// Reads column `at`, which holds JSON or a word of ours.
pub(in crate::catalog) fn json<T: serde::de::DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    at: usize,
) -> Result<T, rusqlite::Error> {
    let text: String = row.get(at)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, error.into()))
}

pub(in crate::catalog) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("our types have only text keys")
}

/// Remembers that the catalog has seen `at`, for the plausibility of the clock.
pub(in crate::catalog) fn note_time(
    transaction: &Transaction<'_>,
    at: Timestamp,
) -> Result<(), Fault> {
    transaction
        .prepare_cached(
            "INSERT INTO meta (key, value) VALUES ('newest', ?1) ON CONFLICT (key)
             DO UPDATE SET value = excluded.value
             WHERE CAST(excluded.value AS INTEGER) > CAST(value AS INTEGER)",
        )?
        .execute([nanoseconds(at).to_string()])?;
    Ok(())
}
