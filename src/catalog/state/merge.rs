//! Taking over what a snapshot says, row by row, without giving up anything newer.

use std::cmp::Ordering;

use rusqlite::{OptionalExtension, Transaction};

use crate::{
    catalog::{
        CopyState, Event, Evidence, SegmentCopy, Session,
        state::{
            copies, json, nanoseconds, note_time, segment_number, sessions, to_json, volume_number,
            volumes,
        },
        store::Fault,
    },
    clock::Timestamp,
    ident::{SegmentId, VolumeId},
    media::{Status, Volume},
};

/// Takes over a volume.
pub(super) fn volume(transaction: &Transaction<'_>, told: &Volume) -> Result<(), Fault> {
    let known = volumes::load(transaction, told.id)?;
    if known.as_ref().is_none_or(|known| told.end > known.end) {
        copies::note_unread(transaction, told.id)?;
    }
    let mut merged = match known {
        Some(known) => merge_volumes(known, told),
        None => told.clone(),
    };
    if merged.status != Status::Destroyed {
        // One cartridge cannot bear two labels: the later one destroyed what the earlier held.
        let rivals = living_rivals(transaction, &merged)?;
        for mut rival in rivals {
            if rival.created > merged.created {
                merged.status = Status::Destroyed;
            } else {
                rival.status = Status::Destroyed;
                volumes::store(transaction, &rival)?;
                forget_copies(transaction, rival.id)?;
            }
        }
    }
    volumes::store(transaction, &merged)?;
    if merged.status == Status::Destroyed {
        forget_copies(transaction, merged.id)?;
    }
    note_time(transaction, merged.custody_since)
}

fn merge_volumes(known: Volume, told: &Volume) -> Volume {
    let later = if told.end > known.end { told } else { &known };
    let destroyed = known.status == Status::Destroyed || told.status == Status::Destroyed;
    let custody = if told.custody_since > known.custody_since { told } else { &known };
    Volume {
        status: if destroyed { Status::Destroyed } else { later.status },
        end: later.end,
        end_file: later.end_file,
        last_index: later.last_index,
        custody: custody.custody.clone(),
        custody_since: custody.custody_since,
        verified: known.verified.max(told.verified),
        protected_until: known.protected_until.max(told.protected_until),
        ..known
    }
}

fn living_rivals(transaction: &Transaction<'_>, volume: &Volume) -> Result<Vec<Volume>, Fault> {
    let mut statement = transaction.prepare_cached(
        "SELECT body FROM volume WHERE volser = ?1 AND status <> 'destroyed' AND id <> ?2",
    )?;
    let rivals = statement
        .query_map((volume.volser.as_str(), volume.id.0.as_bytes()), |row| json(row, 0))?;
    Ok(rivals.collect::<Result<_, _>>()?)
}

fn forget_copies(transaction: &Transaction<'_>, volume: VolumeId) -> Result<(), Fault> {
    let number = volume_number(transaction, volume)?;
    transaction.execute("DELETE FROM copy WHERE volume = ?1", [number])?;
    transaction.execute("DELETE FROM intent WHERE volume = ?1", [number])?;
    Ok(())
}

/// Takes over a copy, unless what is known of it is better founded.
pub(super) fn copy(transaction: &Transaction<'_>, told: &SegmentCopy) -> Result<(), Fault> {
    let holder = volumes::load(transaction, told.volume)?;
    if holder.is_some_and(|volume| volume.status == Status::Destroyed) {
        return Ok(());
    }
    let segment = segment_number(transaction, told.segment)?;
    let volume = volume_number(transaction, told.volume)?;
    let known = copies::load(transaction, segment, volume)?;
    if known.is_some_and(|known| !supersedes(told, &known)) {
        return Ok(());
    }
    transaction
        .execute("DELETE FROM bad_member WHERE segment = ?1 AND volume = ?2", (segment, volume))?;
    copies::store(transaction, told)
}

/// Whether what is told of a copy counts more than what is known.
fn supersedes(told: &SegmentCopy, known: &SegmentCopy) -> bool {
    let evidence = |state| match state {
        CopyState::Verified | CopyState::Bad => true,
        CopyState::OnTape | CopyState::Void => false,
    };
    if told.object != known.object || evidence(told.state) == evidence(known.state) {
        return match told.since.cmp(&known.since) {
            Ordering::Less => false,
            Ordering::Greater => true,
            // At the same moment the worse is believed.
            Ordering::Equal => known.state.is_good() && !told.state.is_good(),
        };
    }
    // That it was found on tape says nothing against what reading it back had shown.
    evidence(told.state) || known.state == CopyState::Void && told.since > known.since
}

/// Takes over the bad members of a copy that is bad by the finding that the snapshot tells of. By
/// another finding others may be, or all.
pub(super) fn bad_members(
    transaction: &Transaction<'_>,
    (segment, volume, since): (SegmentId, VolumeId, Timestamp),
    ordinals: &[u32],
) -> Result<(), Fault> {
    let segment = segment_number(transaction, segment)?;
    let volume = volume_number(transaction, volume)?;
    let known = copies::load(transaction, segment, volume)?;
    if known.is_none_or(|known| known.state != CopyState::Bad || known.since != since) {
        return Ok(());
    }
    let mut statement = transaction.prepare_cached(
        "INSERT OR IGNORE INTO bad_member (segment, volume, ordinal) VALUES (?1, ?2, ?3)",
    )?;
    for ordinal in ordinals {
        statement.execute((segment, volume, ordinal))?;
    }
    Ok(())
}

/// Takes over a session, unless it is known to have ended.
pub(super) fn session(transaction: &Transaction<'_>, told: &Session) -> Result<(), Fault> {
    let known: Option<Session> = transaction
        .prepare_cached("SELECT body FROM session WHERE id = ?1")?
        .query_row([told.id.0.as_bytes()], |row| json(row, 0))
        .optional()?;
    if known.is_some_and(|known| known.ended.is_some() || told.ended.is_none()) {
        return Ok(());
    }
    sessions::store(transaction, told)
}

/// Takes over that a volume was read back.
pub(super) fn evidence(transaction: &Transaction<'_>, told: &Evidence) -> Result<(), Fault> {
    transaction
        .prepare_cached("INSERT OR IGNORE INTO evidence (volume, at, body) VALUES (?1, ?2, ?3)")?
        .execute((
            volume_number(transaction, told.volume)?,
            nanoseconds(told.when),
            to_json(told),
        ))?;
    Ok(())
}

/// Takes over an event that is not known.
pub(super) fn event(transaction: &Transaction<'_>, told: &Event) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached("SELECT body FROM event WHERE at = ?1")?;
    for known in statement.query_map([nanoseconds(told.when)], |row| json::<Event>(row, 0))? {
        if known? == *told {
            return Ok(());
        }
    }
    sessions::record(transaction, told)
}
