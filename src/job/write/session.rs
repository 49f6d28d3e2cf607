//! A session: one uninterrupted hold of a drive that writes to one volume.

use crate::{
    catalog::{Commit, CopyRecord},
    ident::{SegmentId, SessionId, VolumeId},
    job::{
        JobError,
        monitor::{Counters, Event},
        write::{
            Afterwards, Write,
            pace::Pace,
            room::{Room, commit_is_due},
        },
    },
    media::{IndexPlace, Status, Volume, lifecycle},
    pipeline::Feed,
    position::{FileNumber, ObjectNumber},
    staging::Sealed,
    unit::Binary,
};

/// A volume that is being written.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// Which copy it writes, from 1.
    pub(super) copy: u32,
    pub(super) volume: Volume,
    /// Where the next object goes.
    pub(super) object: ObjectNumber,
    /// Which tape file it begins.
    pub(super) file: FileNumber,
    pub(super) room: Room,
    /// Written since the last commit.
    pub(super) group: Vec<CopyRecord>,
    pub(super) group_bytes: u64,
    /// Committed and in no index yet: in this session, or in one that was interrupted.
    pub(super) segments: Vec<SegmentId>,
    pub(super) feed: Feed,
    /// What the feed reads ahead of its turn.
    pub(super) ahead: Option<SegmentId>,
    pub(super) pace: Pace,
}

impl Session {
    /// Whether it wrote this segment since the last commit.
    pub(super) fn is_uncommitted(&self, segment: SegmentId) -> bool {
        self.group.iter().any(|record| record.segment == segment)
    }

    /// Whether its volume holds nothing but the label.
    pub(super) fn is_fresh(&self) -> bool {
        self.group.is_empty() && self.volume.end_file == FileNumber(1)
    }
}

impl Write<'_> {
    /// Whether the segment fits with all that has to come after it. Asks the drive anew.
    pub(super) fn fits(
        &mut self,
        session: &mut Session,
        sealed: &Sealed,
    ) -> Result<bool, JobError> {
        if session.room.fits(sealed.bytes, sealed.manifest_bytes) {
            return Ok(true);
        }
        // What was counted since the last question is on the safe side; a flush makes it exact.
        self.commit(session)?;
        Ok(session.room.fits(sealed.bytes, sealed.manifest_bytes))
    }

    /// Flushes, compares positions, and commits what was written since the last time. Only then is
    /// it on tape.
    pub(super) fn commit(&mut self, session: &mut Session) -> Result<(), JobError> {
        if session.group.is_empty() {
            return Ok(());
        }
        let failed = self.station.failed(Some(&session.volume));
        crate::crash::point("write.before-flush");
        let flush = || self.station.drive.flush();
        let position = session.pace.other(&*self.desk.clock, flush).map_err(&failed)?;
        self.station.agree(position, (session.object, session.file), &session.volume)?;
        crate::crash::point("write.flushed");
        self.catalog.commit(&Commit {
            volume: session.volume.id,
            session: session.id,
            copies: &session.group,
            end: position.object,
            end_file: position.file,
            index: None,
            at: self.desk.clock.now(),
        })?;
        crate::crash::point("write.committed");
        session.volume.end = position.object;
        session.volume.end_file = position.file;
        let (segments, bytes) = (session.group.len() as u64, session.group_bytes);
        Counters::add(&self.desk.counters.on_tape_bytes, bytes);
        self.desk.tell(&Event::Checkpoint {
            volser: session.volume.volser,
            object: position.object,
            segments,
            bytes,
        });
        self.desk.progress_now();
        session.group_bytes = 0;
        for record in std::mem::take(&mut session.group) {
            session.segments.push(record.segment);
            self.free_if_done(record.segment)?;
        }
        session.room.remaining = self.station.drive.remaining().map_err(&failed)?.remaining.0;
        session.room.written_since = 0;
        Ok(())
    }

    /// Commits if enough was written since the last time.
    pub(super) fn commit_if_due(&mut self, session: &mut Session) -> Result<(), JobError> {
        if commit_is_due(session.group_bytes, self.staging.budget.0) {
            self.commit(session)?;
        }
        Ok(())
    }

    /// Notes that the volume takes no more.
    pub(super) fn note_full(&mut self, session: &mut Session, why: &str) -> Result<(), JobError> {
        session.volume = self.take_no_more(session.volume.id, why)?;
        Ok(())
    }

    /// Makes a volume one that takes no more segments, and tells so.
    pub(super) fn take_no_more(&self, volume: VolumeId, why: &str) -> Result<Volume, JobError> {
        let volume = self.desk.change_volume(self.catalog, volume, "volume.status", |volume| {
            if lifecycle::takes_data(volume.status) {
                volume.status = Status::Full;
            }
        })?;
        self.desk.tell(&Event::VolumeClosed { volser: volume.volser, why });
        Ok(volume)
    }

    /// Closes a session: commits, writes the volume index, and hands the volume on.
    pub(super) fn close(
        &mut self,
        mut session: Session,
        afterwards: &mut dyn Afterwards,
    ) -> Result<(), JobError> {
        self.commit(&mut session)?;
        let rates = self.station.rates();
        if let Some(streamed) = session.pace.streamed(&session.volume, &self.station.name, rates) {
            self.desk.tell(&Event::Streamed(streamed));
        }
        let runs = self.catalog.runs_to_index(Some(session.volume.id), self.copies)?;
        if !session.segments.is_empty() || !runs.is_empty() {
            self.write_index(&mut session, &runs)?;
        }
        let Session { volume, segments, .. } = session;
        afterwards.closed(self.station, volume.id, &segments)?;
        self.free_verified()
    }

    /// Ends the sessions of a volume: with the index that the last of them wrote, or without.
    pub(super) fn end_sessions(
        &self,
        volume: VolumeId,
        index: Option<IndexPlace>,
    ) -> Result<(), JobError> {
        for mut record in self.catalog.sessions(volume)? {
            if record.ended.is_none() {
                record.ended = Some(self.desk.clock.now());
                record.index = index;
                self.catalog.put_session(&record)?;
            }
        }
        Ok(())
    }

    /// A cartridge on which not even one segment fits.
    pub(super) fn too_small(&self, sealed: &Sealed) -> JobError {
        JobError::Cartridge {
            cartridge: format!("a fresh cartridge of pool {}", self.pool),
            what: format!("a segment of {} does not fit on it", Binary(sealed.bytes)),
            advice: "use larger cartridges; `staging.segment` makes the next segments smaller"
                .into(),
            cause: None,
        }
    }
}
