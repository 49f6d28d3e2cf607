//! The volume index that closes a session.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write as _},
};

use crate::{
    catalog::{Commit, CopyState},
    drive::{DriveError, Filemark},
    ident::RunId,
    job::{
        JobError,
        monitor::Event,
        write::{Write, session::Session},
    },
    media::{IndexPlace, Status},
    position::FileNumber,
    volume::index::{
        Finished, Header, IndexWriter, Previous, RunHeader, RunWriter, SegmentRow, SegmentState,
    },
};

/// Compression level of the snapshot of the living tables.
const LEVEL: i32 = 3;

impl Write<'_> {
    /// Writes the index behind the session's last segment, flushes, and records it. A volume that
    /// refuses its index is closed without one; nothing that was committed is affected.
    pub(super) fn write_index(
        &mut self,
        session: &mut Session,
        runs: &[RunId],
    ) -> Result<(), JobError> {
        let (mut file, finished) = self.build_index(session, runs)?;
        crate::crash::point("index.built");
        let failed = self.station.failed(Some(&session.volume));
        if self.station.drive.position().map_err(&failed)?.object != session.object {
            self.station.stand_behind_filemark(session.object, &session.volume)?;
        }
        // A segment that the tape ended in, or that was given up, may stand here.
        self.station.drive.allow_overwriting_here().map_err(&failed)?;
        let block = usize::try_from(finished.trailer.block_size).expect("a block fits memory");
        match self.send(&mut file, finished.trailer.blocks, block)? {
            Ok(()) => {}
            // Whatever else went wrong, another try may do.
            Err(error @ DriveError::EndOfMedium(_)) => return self.refused(session, &error),
            Err(error) => return Err(failed(error)),
        }
        crate::crash::point("index.written");
        let position = self.station.drive.flush().map_err(&failed)?;
        let end = session.object.after(finished.trailer.blocks + 1);
        let file_after = FileNumber(session.file.0 + 1);
        self.station.agree(position, (end, file_after), &session.volume)?;
        crate::crash::point("index.flushed");
        let place = IndexPlace {
            object: session.object,
            file: session.file,
            seal: finished.trailer.seal,
            session: session.id,
        };
        self.catalog.commit(&Commit {
            volume: session.volume.id,
            session: session.id,
            copies: &[],
            end: position.object,
            end_file: position.file,
            index: Some(place),
            at: self.desk.clock.now(),
        })?;
        self.catalog.record_indexed_runs(session.volume.id, runs)?;
        self.end_sessions(session.volume.id, Some(place))?;
        // What was intended and is not committed: the index stands in its place.
        self.catalog.withdraw(session.volume.id)?;
        crate::crash::point("index.committed");
        self.station.note_again(&session.volume, self.desk)?;
        crate::crash::point("index.noted");
        session.object = position.object;
        session.file = position.file;
        session.volume = self.desk.change_volume(
            self.catalog,
            session.volume.id,
            "volume.status",
            |volume| {
                if volume.status == Status::Scratch {
                    volume.status = Status::Appendable;
                }
            },
        )?;
        for segment in self.store.manifests()? {
            self.release_if_indexed(segment)?;
        }
        Ok(())
    }

    /// Writes the index's blocks and a synchronous filemark.
    fn send(
        &mut self,
        file: &mut File,
        blocks: u64,
        block_size: usize,
    ) -> Result<Result<(), DriveError>, JobError> {
        let mut block = vec![0; block_size];
        file.seek(SeekFrom::Start(0)).map_err(JobError::scratch("read the volume index"))?;
        for _ in 0..blocks {
            file.read_exact(&mut block).map_err(JobError::scratch("read the volume index"))?;
            // Early warning is behind us more often than not here; the block landed all the same.
            if let Err(error) = self.station.drive.write_block(&block) {
                return Ok(Err(error));
            }
        }
        Ok(self.station.drive.write_filemark(Filemark::Synchronous).map(|_| ()))
    }

    fn refused(&mut self, session: &mut Session, error: &DriveError) -> Result<(), JobError> {
        self.desk.ledger.note(1);
        self.desk.tell(&Event::VolumeFinding {
            volser: session.volume.volser,
            what: format!("it refused its index, so it is closed without one: {error}"),
        });
        session.volume = self.desk.change_volume(
            self.catalog,
            session.volume.id,
            "volume.status",
            |volume| {
                volume.status = Status::Full;
            },
        )?;
        self.end_sessions(session.volume.id, None)?;
        self.catalog.withdraw(session.volume.id)?;
        Ok(())
    }

    fn build_index(
        &mut self,
        session: &Session,
        runs: &[RunId],
    ) -> Result<(File, Finished), JobError> {
        let failed = || JobError::scratch("write the volume index");
        let volume = &session.volume;
        let header = Header {
            format: crate::volume::FORMAT,
            session: session.id,
            volume: volume.id,
            volser: volume.volser,
            block_size: volume.block_size,
            label_digest: volume.label_digest,
            previous: volume.last_index.map(|last| Previous {
                object: last.object,
                file: last.file,
                seal: last.seal,
            }),
            created: self.desk.clock.now(),
        };
        let rows = self.segment_rows(session)?;
        let out = io::BufWriter::new(self.scratch_file()?);
        let mut index = IndexWriter::new(out, header, &rows).map_err(failed())?;
        for segment in &session.segments {
            let path = self.store.manifest_path(*segment);
            let mut manifest = match File::open(&path) {
                Ok(manifest) => manifest,
                // Adopted after staging was lost: the segment's own manifest says what it holds.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                Err(cause) => return Err(JobError::file("read", &path)(cause)),
            };
            let bytes = manifest.metadata().map_err(failed())?.len();
            index.manifest(*segment, bytes, &mut manifest).map_err(failed())?;
        }
        for run in runs {
            let mut file = self.run_file(session, *run)?;
            let bytes = file.stream_position().map_err(failed())?;
            file.seek(SeekFrom::Start(0)).map_err(failed())?;
            index.run(*run, bytes, &mut file).map_err(failed())?;
        }
        let mut tables = self.tables_file()?;
        let bytes = tables.stream_position().map_err(failed())?;
        tables.seek(SeekFrom::Start(0)).map_err(failed())?;
        index.tables(bytes, &mut tables).map_err(failed())?;
        let (out, finished) = index.finish().map_err(failed())?;
        let file = out.into_inner().map_err(|error| failed()(error.into_error()))?;
        Ok((file, finished))
    }

    /// One row for every segment of the volume, in tape order.
    fn segment_rows(&self, session: &Session) -> Result<Vec<SegmentRow>, JobError> {
        let mut rows = Vec::new();
        for copy in self.catalog.copies_on(session.volume.id)? {
            let Some(segment) = self.catalog.segment(copy.segment)? else { continue };
            rows.push(SegmentRow {
                segment: segment.id,
                set: segment.set,
                session: copy.session,
                created: segment.created,
                object: copy.object,
                file: copy.file,
                blocks: segment.blocks,
                block_size: segment.block_size,
                digest: segment.digest,
                members: segment.members,
                manifest_offset: segment.manifest_offset,
                manifest_bytes: segment.manifest_bytes,
                manifest_digest: segment.manifest_digest,
                state: match copy.state {
                    CopyState::OnTape | CopyState::Verified | CopyState::Bad => SegmentState::Whole,
                    CopyState::Void => SegmentState::Void,
                },
            });
        }
        rows.sort_by_key(|row| row.object);
        Ok(rows)
    }

    /// A run, compressed: as changes against the newest run of its source that the volume has.
    fn run_file(&self, session: &Session, run: RunId) -> Result<File, JobError> {
        let failed = || JobError::scratch("write a run");
        let known = self.catalog.run(run)?;
        let base = self.catalog.newest_indexed_run(session.volume.id, &known.source)?;
        let header = RunHeader { run: known, base };
        let mut writer =
            RunWriter::new(io::BufWriter::new(self.scratch_file()?), &header).map_err(failed())?;
        for change in self.catalog.delta(base, run)? {
            writer.push(&change?).map_err(failed())?;
        }
        let out = writer.finish().map_err(failed())?;
        out.into_inner().map_err(|error| failed()(error.into_error()))
    }

    fn tables_file(&self) -> Result<File, JobError> {
        let failed = || JobError::scratch("write the snapshot of the tables");
        let mut out =
            zstd::Encoder::new(io::BufWriter::new(self.scratch_file()?), LEVEL).map_err(failed())?;
        self.catalog.export_tables(&mut out)?;
        let mut out = out.finish().map_err(failed())?;
        out.flush().map_err(failed())?;
        out.into_inner().map_err(|error| failed()(error.into_error()))
    }

    fn scratch_file(&self) -> Result<File, JobError> {
        self.desk.scratch_file()
    }
}
