//! What was found on a tape, into the catalog.

use std::{
    collections::BTreeMap,
    io::{BufReader, Seek},
};

use crate::{
    catalog::{CatalogError, Commit, CopyRecord, Segment, Session},
    digest::Digest,
    drive::Medium,
    ident::{SegmentId, SessionId},
    job::{
        JobError,
        adopt::{Adoption, read::Index, walk::Found},
        mam,
        monitor::Event,
        mount::Mounted,
    },
    media::{Custody, IndexPlace, Status, Volume},
    position::{FileNumber, ObjectNumber},
    volume::{
        index::{Entries, IndexReader, Piece, RunReader, SegmentRow, SegmentState},
        label::Label,
        segment,
    },
};

impl Adoption<'_> {
    /// Takes a volume of ours that the catalog does not know: all of its indexes, and what no index
    /// lists.
    ///
    /// # Errors
    ///
    /// When the drive or the catalog fail.
    pub fn volume(
        &mut self,
        label: Label,
        digest: Digest,
        medium: Medium,
    ) -> Result<Mounted, JobError> {
        let (end, end_file) = self.behind_label()?;
        let now = self.desk.clock.now();
        let said = Box::new(label.clone());
        let doubt = mam::disagreement(&label, &medium);
        mam::tell(self.desk, label.volser, doubt.as_deref());
        let volume = Volume {
            id: label.volume,
            volser: label.volser,
            barcode: label.barcode,
            mam_serial: label.mam_serial,
            pool: label.pool,
            status: Status::Appendable,
            custody: Custody::InDrive { drive: self.station.name.clone() },
            custody_since: now,
            density: medium.density,
            worm: medium.worm,
            emulated: label.emulated,
            block_size: label.block_size,
            capacity_bytes: capacity_of(&medium),
            created: label.created,
            protected_until: label.protected_until,
            label_digest: digest,
            end,
            end_file,
            last_index: None,
            verified: None,
        };
        self.catalog.put_volume(&volume)?;
        let volume = self.settle_end(volume)?;
        self.desk.notice(format!("{} is in the catalog now", volume.volser));
        Ok(Mounted { volume, medium, label: said, doubt })
    }

    /// Behind the label's filemark: where all else begins.
    pub(super) fn behind_label(&mut self) -> Result<(ObjectNumber, FileNumber), JobError> {
        let failed = self.station.failed(None);
        self.station.drive.rewind().map_err(&failed)?;
        let spaced = self.station.drive.space_filemarks(1).map_err(&failed)?;
        Ok((spaced.position.object, spaced.position.file))
    }

    /// Takes in what a walk found, up to `end`.
    pub(super) fn take_in(
        &mut self,
        volume: Volume,
        mut found: Found,
        end: ObjectNumber,
    ) -> Result<Volume, JobError> {
        // A snapshot of the tables brings copies along, so they are counted before and after.
        let known = self.copies_held(&volume)?;
        for index in std::mem::take(&mut found.indexes) {
            self.take_index(&volume, index)?;
        }
        self.take_unlisted(&volume, &found.segments, end)?;
        let segments = self.copies_held(&volume)?.saturating_sub(known);
        if segments > 0 {
            self.desk.tell(&Event::Adopted { volser: volume.volser, segments });
        }
        let end_file = self.file_at(&volume, end)?;
        if self.catalog.has_unread(volume.id)? {
            self.catalog.note_read(volume.id)?;
        }
        self.note_end(&volume, end, end_file)
    }

    fn copies_held(&self, volume: &Volume) -> Result<u64, JobError> {
        let copies = self.catalog.copies_on(volume.id)?;
        Ok(copies.iter().filter(|copy| copy.state.is_good()).count() as u64)
    }

    /// Filemarks before `object`, as the drive counts them.
    fn file_at(&mut self, volume: &Volume, object: ObjectNumber) -> Result<FileNumber, JobError> {
        let failed = self.station.failed(Some(volume));
        Ok(self.station.drive.locate(object).map_err(&failed)?.file)
    }

    fn take_index(&mut self, volume: &Volume, mut index: Index) -> Result<(), JobError> {
        let malformed = |what: String| JobError::Cartridge {
            cartridge: volume.volser.to_string(),
            what,
            advice: "report it: the index agrees with its seal, and yet makes no sense".into(),
            cause: None,
        };
        index.file.rewind().map_err(JobError::scratch("read an index"))?;
        let mut reader = IndexReader::new(BufReader::new(&index.file))
            .map_err(|error| malformed(error.to_string()))?;
        let mut rows: BTreeMap<SegmentId, SegmentRow> = BTreeMap::new();
        while let Some(piece) = reader.next_piece().map_err(|error| malformed(error.to_string()))? {
            match piece {
                Piece::Segments(all) => {
                    rows = all.into_iter().map(|row| (row.segment, row)).collect();
                }
                Piece::Manifest(id) => {
                    let Some(row) = rows.get(&id) else { continue };
                    let entries =
                        Entries::new(&mut reader).map_err(|error| malformed(error.to_string()))?;
                    let mut damage = None;
                    let mut entries = entries.map_while(|entry| {
                        entry.map_err(|error| damage = Some(error.to_string())).ok()
                    });
                    let added = self.catalog.add_segment(&segment_of(row), &mut entries);
                    if let Some(what) = damage {
                        return Err(malformed(what));
                    }
                    self.taken(volume, &format!("the manifest of segment {id}"), added)?;
                }
                Piece::Run(_) => {
                    let run = RunReader::new(&mut reader)
                        .map_err(|error| malformed(error.to_string()))?;
                    let header = run.header().clone();
                    let mut damage = None;
                    let mut changes = run.map_while(|change| {
                        change.map_err(|error| damage = Some(error.to_string())).ok()
                    });
                    let applied = self.catalog.apply_delta(&header.run, header.base, &mut changes);
                    if let Some(what) = damage {
                        return Err(malformed(what));
                    }
                    let what = format!("run {} of {}", header.run.id, header.run.source);
                    if self.taken(volume, &what, applied)? {
                        self.catalog.record_indexed_runs(volume.id, &[header.run.id])?;
                    }
                }
                Piece::Tables => {
                    let tables = zstd::Decoder::new(&mut reader)
                        .map_err(JobError::scratch("read the snapshot of the tables"))?;
                    let imported = self.catalog.import_tables(&mut BufReader::new(tables));
                    self.taken(volume, "the snapshot of the tables", imported)?;
                }
            }
        }
        drop(reader);
        self.commit_index(volume, &index, &rows)
    }

    /// Records the copies that an index lists, and the index.
    fn commit_index(
        &mut self,
        volume: &Volume,
        index: &Index,
        rows: &BTreeMap<SegmentId, SegmentRow>,
    ) -> Result<(), JobError> {
        let mut copies: BTreeMap<SessionId, Vec<CopyRecord>> = BTreeMap::new();
        for row in rows.values().filter(|row| row.state == SegmentState::Whole) {
            let known = self.catalog.is_listed(row.segment)?;
            // Its session's index is lost: its own manifest says what it holds.
            if !known && let Err(what) = self.take_segment(volume, row.object, row.blocks)? {
                self.finding(volume, what);
                continue;
            }
            let held = self.catalog.copies(row.segment)?;
            if held.iter().any(|copy| copy.volume == volume.id && copy.state.is_good()) {
                continue;
            }
            copies.entry(row.session).or_default().push(CopyRecord {
                segment: row.segment,
                object: row.object,
                file: row.file,
            });
        }
        copies.entry(index.header.session).or_default();
        let place = IndexPlace {
            object: index.object,
            file: index.number,
            seal: index.seal,
            session: index.header.session,
        };
        for (session, copies) in copies {
            let own = session == index.header.session;
            let set = rows.values().find(|row| row.session == session).map(|row| row.set);
            let known = self.catalog.session(session)?;
            let interrupted = known.as_ref().is_some_and(|known| known.ended.is_none());
            if known.is_none() || interrupted || own {
                self.catalog.put_session(&Session {
                    id: session,
                    volume: volume.id,
                    set: set.unwrap_or_default(),
                    drive: String::new(),
                    started: index.header.created,
                    ended: Some(index.header.created),
                    index: (own || interrupted).then_some(place),
                })?;
            }
            self.catalog.commit(&Commit {
                volume: volume.id,
                session,
                copies: &copies,
                end: index.object.after(index.objects),
                end_file: FileNumber(index.number.0 + 1),
                index: own.then_some(place),
                at: index.header.created,
            })?;
        }
        Ok(())
    }

    /// Whether the catalog took what an index says. What it refuses, since it makes no sense or
    /// since what it builds on is lost, keeps nobody from the rest.
    fn taken<T>(
        &self,
        volume: &Volume,
        what: &str,
        result: Result<T, CatalogError>,
    ) -> Result<bool, JobError> {
        match result {
            Ok(_) => Ok(true),
            Err(error @ (CatalogError::Conflict { .. } | CatalogError::BaseUnknown { .. })) => {
                self.finding(volume, format!("{what} is not taken: {error}"));
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn finding(&self, volume: &Volume, what: String) {
        self.desk.ledger.note(1);
        self.desk.tell(&Event::VolumeFinding { volser: volume.volser, what });
    }

    /// Segments that were flushed but never indexed: their own manifests say what they hold.
    fn take_unlisted(
        &mut self,
        volume: &Volume,
        found: &[(segment::Trailer, ObjectNumber)],
        end: ObjectNumber,
    ) -> Result<(), JobError> {
        let Some((first, _)) = found.first() else { return Ok(()) };
        let mut copies = Vec::new();
        for (trailer, object) in found {
            if !self.catalog.is_listed(trailer.segment)?
                && let Err(what) = self.take_segment(volume, *object, trailer.blocks)?
            {
                self.finding(volume, what);
                continue;
            }
            let file = self.file_at(volume, *object)?;
            copies.push(CopyRecord { segment: trailer.segment, object: *object, file });
        }
        let (session, now) = (SessionId::new(), self.desk.clock.now());
        self.catalog.put_session(&Session {
            id: session,
            volume: volume.id,
            set: first.set,
            drive: self.station.describe(),
            started: now,
            ended: None,
            index: None,
        })?;
        let end_file = self.file_at(volume, end)?;
        self.catalog.commit(&Commit {
            volume: volume.id,
            session,
            copies: &copies,
            end,
            end_file,
            index: None,
            at: now,
        })?;
        Ok(())
    }
}

/// Native capacity, as far as the drive says.
pub(in crate::job) fn capacity_of(medium: &Medium) -> u64 {
    let capacity = medium.capacity.as_ref();
    capacity.map_or(0, |known| known.maximum.unwrap_or(known.remaining).0)
}

fn segment_of(row: &SegmentRow) -> Segment {
    Segment {
        id: row.segment,
        set: row.set,
        created: row.created,
        bytes: row.blocks * u64::from(row.block_size),
        blocks: row.blocks,
        block_size: row.block_size,
        digest: row.digest,
        manifest_offset: row.manifest_offset,
        manifest_bytes: row.manifest_bytes,
        manifest_digest: row.manifest_digest,
        members: row.members,
        staged: false,
    }
}
