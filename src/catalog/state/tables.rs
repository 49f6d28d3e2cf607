//! The living tables as lines of JSON: the snapshot in a volume index.

use std::io::{self, BufRead, Write};

use rusqlite::{Connection, Transaction};
use serde::{Deserialize, Serialize};

use crate::{
    catalog::{
        Catalog, CatalogError, Event, Evidence, Mode, Segment, SegmentCopy, Session,
        state::{copies, json, merge, moment, segments, uuid},
        store::Fault,
    },
    clock::Timestamp,
    ident::{CatalogId, SegmentId, VolumeId},
    media::Volume,
};

/// The format of the snapshot that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;
const EXPORT: &str = "export the tables";
const IMPORT: &str = "import the tables";

/// One line of a snapshot. The first is the catalog's own; what a line names comes before it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "row", content = "of", rename_all = "kebab-case")]
pub(in crate::catalog) enum Line {
    Catalog { format: u32, id: CatalogId, mode: Mode, newest: Option<Timestamp> },
    Volume(Box<Volume>),
    Segment(Box<Segment>),
    Copy(SegmentCopy),
    BadMembers { segment: SegmentId, volume: VolumeId, since: Timestamp, ordinals: Vec<u32> },
    Session(Session),
    Evidence(Evidence),
    Event(Event),
}

impl Catalog {
    /// Writes volumes, segments (without their members), copies, sessions, evidence and events as
    /// lines of JSON, all as of one moment. The same tables make the same lines.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read or `to` takes no more.
    pub fn export_tables(&self, to: &mut dyn Write) -> Result<(), CatalogError> {
        let newest = self.newest_event()?;
        self.store.read(EXPORT, |connection| {
            let snapshot = connection.unchecked_transaction()?;
            let mut put = |line: Line| {
                let mut text = serde_json::to_vec(&line).expect("our types have only text keys");
                text.push(b'\n');
                to.write_all(&text).map_err(|error| self.io_fault(EXPORT, error))
            };
            put(Line::Catalog { format: FORMAT, id: self.id(), mode: self.mode(), newest })?;
            export_holdings(&snapshot, &mut put)?;
            export_history(&snapshot, &mut put)
        })
    }

    /// Takes over what a snapshot knows, in one transaction, without giving up anything newer:
    /// a volume that either side calls destroyed is destroyed, of two custodies or findings the
    /// later counts, and a copy that was only found on tape becomes verified only when the snapshot
    /// has evidence for it. Nothing becomes staged. Importing the same again changes nothing.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Conflict`] when the lines are not a snapshot, one of a newer format, or of a
    /// rehearsal in a real catalog (or the other way round).
    pub fn import_tables(&self, from: &mut dyn BufRead) -> Result<(), CatalogError> {
        self.store.write(IMPORT, |transaction| {
            let mut begun = false;
            for line in from.lines() {
                let line = line.map_err(|error| self.io_fault(IMPORT, error))?;
                let line: Line = serde_json::from_str(&line)
                    .map_err(|error| Fault::conflict(format!("not a snapshot: {error}")))?;
                if !begun && !matches!(line, Line::Catalog { .. }) {
                    return Err(Fault::conflict("not a snapshot: its first line is missing"));
                }
                begun = true;
                self.import_line(transaction, line)?;
            }
            if begun { Ok(()) } else { Err(Fault::conflict("not a snapshot: it is empty")) }
        })
    }

    fn import_line(&self, transaction: &Transaction<'_>, line: Line) -> Result<(), Fault> {
        match line {
            Line::Catalog { format, mode, newest, .. } => {
                if format > FORMAT {
                    let what = format!("snapshot of format {format}, newer than {FORMAT}");
                    return Err(Fault::conflict(what));
                }
                if mode != self.mode() {
                    let what = "of a snapshot and a catalog one is a rehearsal, the other is not";
                    return Err(Fault::conflict(what));
                }
                newest.map_or(Ok(()), |newest| super::note_time(transaction, newest))
            }
            Line::Volume(volume) => merge::volume(transaction, &volume),
            Line::Segment(segment) => {
                let segment = Segment { staged: false, ..*segment };
                segments::store(transaction, &segment).map(|_| ())
            }
            Line::Copy(copy) => merge::copy(transaction, &copy),
            Line::BadMembers { segment, volume, since, ordinals } => {
                merge::bad_members(transaction, (segment, volume, since), &ordinals)
            }
            Line::Session(session) => merge::session(transaction, &session),
            Line::Evidence(evidence) => merge::evidence(transaction, &evidence),
            Line::Event(event) => merge::event(transaction, &event),
        }
    }

    fn io_fault(&self, operation: &'static str, error: io::Error) -> Fault {
        let path = self.path().to_owned();
        Fault::Refused(CatalogError::Io { path, operation, cause: error.into() })
    }
}

/// Where lines go.
type Put<'a> = &'a mut dyn FnMut(Line) -> Result<(), Fault>;

fn export_holdings(connection: &Connection, put: Put<'_>) -> Result<(), Fault> {
    let mut statement = connection.prepare("SELECT body FROM volume ORDER BY number")?;
    for volume in statement.query_map([], |row| json(row, 0))? {
        put(Line::Volume(volume?))?;
    }
    let mut statement = connection.prepare(&format!("{} ORDER BY s.number", segments::COLUMNS))?;
    for segment in statement.query_map([], segments::segment_row)? {
        put(Line::Segment(Box::new(segment?)))?;
    }
    let mut statement =
        connection.prepare(&format!("{} ORDER BY c.segment, c.volume", copies::COLUMNS))?;
    for copy in statement.query_map([], copies::copy_row)? {
        put(Line::Copy(copy?))?;
    }
    let mut statement = connection.prepare(
        "SELECT s.id, v.id, c.since, json_group_array(b.ordinal ORDER BY b.ordinal)
         FROM bad_member b JOIN copy c ON c.segment = b.segment AND c.volume = b.volume
         JOIN segment s ON s.number = b.segment JOIN volume v ON v.number = b.volume
         GROUP BY b.segment, b.volume ORDER BY b.segment, b.volume",
    )?;
    let bad = statement.query_map([], |row| {
        Ok(Line::BadMembers {
            segment: SegmentId(uuid(row, 0)?),
            volume: VolumeId(uuid(row, 1)?),
            since: moment(row.get(2)?),
            ordinals: json(row, 3)?,
        })
    })?;
    for line in bad {
        put(line?)?;
    }
    Ok(())
}

fn export_history(connection: &Connection, put: Put<'_>) -> Result<(), Fault> {
    let mut statement = connection.prepare("SELECT body FROM session ORDER BY started, id")?;
    for session in statement.query_map([], |row| json(row, 0))? {
        put(Line::Session(session?))?;
    }
    let mut statement = connection.prepare("SELECT body FROM evidence ORDER BY volume, at")?;
    for evidence in statement.query_map([], |row| json(row, 0))? {
        put(Line::Evidence(evidence?))?;
    }
    let mut statement = connection.prepare("SELECT body FROM event ORDER BY at, id")?;
    for event in statement.query_map([], |row| json(row, 0))? {
        put(Line::Event(event?))?;
    }
    Ok(())
}
