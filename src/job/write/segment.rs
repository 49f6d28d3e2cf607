//! Writing one segment: whole, or not at all.

use crate::{
    catalog::CopyRecord,
    drive::{DriveError, Fault, Filemark, GUARD, ReadOutcome, Written},
    job::{
        JobError,
        monitor::Counters,
        rig::Station,
        write::{Write, session::Session},
    },
    media::Volume,
    pipeline::{FeedError, Flow, SegmentFile},
    position::{FileNumber, ObjectNumber, Position},
    staging::{Sealed, StagingError},
};

/// How writing a segment ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is in the drive's buffer or on the medium, with its filemark.
    Written,
    /// It is not on this volume, or it is and nothing more fits: close the volume.
    Closing {
        /// Why.
        why: String,
    },
}

/// How an attempt ended that did not fail.
enum Attempt {
    /// All of it was accepted.
    Written {
        /// Whether early warning has passed.
        last: bool,
    },
    /// The tape ended before the segment did.
    NoRoom,
}

impl Write<'_> {
    /// Writes a segment and its filemark. When the tape ends within it, it is void: the tape goes
    /// back before its first block, for the index.
    ///
    /// # Errors
    ///
    /// When the drive fails. What landed since the last commit is then for the tape to say; the
    /// intent stays, so that an unfinished segment is known for ours.
    pub(super) fn write_segment(
        &mut self,
        session: &mut Session,
        sealed: &Sealed,
        then: Option<&Sealed>,
    ) -> Result<Outcome, JobError> {
        let record =
            CopyRecord { segment: sealed.segment, object: session.object, file: session.file };
        let failed = self.station.failed(Some(&session.volume));
        if self.station.drive.position().map_err(&failed)?.object != session.object {
            self.station.stand_behind_filemark(session.object, &session.volume)?;
        }
        self.catalog.intend(session.volume.id, record)?;
        crate::crash::point("write.intended");
        match self.attempt(session, sealed, then)? {
            Attempt::Written { last } => {
                session.object = session.object.after(sealed.blocks + 1);
                session.file.0 += 1;
                session.group.push(record);
                session.group_bytes += sealed.bytes;
                session.room.written_since += sealed.bytes;
                session.room.manifests += sealed.manifest_bytes;
                crate::crash::point("write.written");
                if last {
                    return Ok(Outcome::Closing { why: "early warning".into() });
                }
                self.commit_if_due(session)?;
                Ok(Outcome::Written)
            }
            Attempt::NoRoom => {
                self.station.stand_behind_filemark(session.object, &session.volume)?;
                Ok(Outcome::Closing { why: "the tape ends within a segment".into() })
            }
        }
    }

    fn attempt(
        &mut self,
        session: &mut Session,
        sealed: &Sealed,
        then: Option<&Sealed>,
    ) -> Result<Attempt, JobError> {
        session.read_ahead(sealed, then);
        let failed = self.station.failed(Some(&session.volume));
        let drive = &mut self.station.drive;
        if let Err(error) = drive.hold_safeguards() {
            session.forget_ahead();
            return Err(failed(error));
        }
        let guard = if drive.guard().is_some() { GUARD } else { 0 };
        let (desk, mut left) = (self.desk, sealed.blocks);
        let (mut last, mut cut_short) = (false, false);
        let Session { feed, pace, .. } = &mut *session;
        let clock = &*desk.clock;
        pace.begin(clock);
        let fed = feed.write(|block| {
            let bytes = (block.len() - guard) as u64;
            let written = pace.block(clock, bytes, || drive.write_guarded(block))?;
            left -= 1;
            Counters::add(&desk.counters.written_bytes, bytes);
            desk.progress();
            last |= written == Written::EarlyWarning;
            cut_short = last && left > 0;
            Ok(if cut_short { Flow::Stop } else { Flow::Continue })
        });
        if !fed.as_ref().is_ok_and(|fed| fed.digest.is_some()) {
            session.forget_ahead();
        }
        match fed {
            Ok(_) if cut_short => Ok(Attempt::NoRoom),
            Ok(fed) if fed.digest != Some(sealed.digest) => Err(self.spoilt(session, sealed)?),
            Ok(_) => match self.filemark(session) {
                Ok(written) => {
                    Ok(Attempt::Written { last: last || written == Written::EarlyWarning })
                }
                Err(DriveError::EndOfMedium(_)) => Ok(Attempt::NoRoom),
                Err(error) => Err(failed(error)),
            },
            Err(FeedError::Writer(DriveError::EndOfMedium(_))) => Ok(Attempt::NoRoom),
            Err(FeedError::Writer(error)) => Err(failed(error)),
            Err(FeedError::Cancelled) => {
                self.station.stand_behind_filemark(session.object, &session.volume)?;
                Err(JobError::Stopped)
            }
            Err(FeedError::Read { path, source, .. }) => {
                self.station.stand_behind_filemark(session.object, &session.volume)?;
                Err(JobError::file("read", &path)(source))
            }
            Err(FeedError::Length { .. }) => Err(self.spoilt(session, sealed)?),
        }
    }

    fn filemark(&mut self, session: &mut Session) -> Result<Written, DriveError> {
        let drive = &mut self.station.drive;
        session.pace.other(&*self.desk.clock, || drive.write_filemark(Filemark::Immediate))
    }

    /// A staged file whose bytes are not those that were sealed: what went to tape is void, and its
    /// items are exported again.
    fn spoilt(&mut self, session: &Session, sealed: &Sealed) -> Result<JobError, JobError> {
        self.station.stand_behind_filemark(session.object, &session.volume)?;
        // Nothing of it may stay: with its staged file gone, nobody could tell whose it is.
        if !session.volume.worm {
            let failed = self.station.failed(Some(&session.volume));
            self.station.drive.erase_here().map_err(failed)?;
        }
        self.forget_staged(sealed.segment)?;
        self.store.discard(sealed.segment)?;
        Ok(JobError::Staging(StagingError::Damaged {
            segment: sealed.segment,
            path: sealed.path.clone(),
            what: "it is not as it was sealed".into(),
        }))
    }
}

impl Session {
    /// Has the segment read, unless it is already, and the one after it once there is room for it in
    /// the ring: the drive is not to wait between the two.
    fn read_ahead(&mut self, sealed: &Sealed, then: Option<&Sealed>) {
        if self.ahead.take() != Some(sealed.segment) {
            self.feed.clear();
            self.feed.queue(file_of(sealed));
        }
        if let Some(then) = then {
            self.feed.queue(file_of(then));
            self.ahead = Some(then.segment);
        }
    }

    fn forget_ahead(&mut self) {
        self.feed.clear();
        self.ahead = None;
    }
}

fn file_of(sealed: &Sealed) -> SegmentFile {
    SegmentFile {
        path: sealed.path.clone(),
        block_bytes: usize::try_from(sealed.block_size).expect("a block fits memory"),
        blocks: sealed.blocks,
    }
}

impl Station {
    /// Holds where the drive says that it is, after a flush, against where the session is.
    ///
    /// # Errors
    ///
    /// [`DriveError::Mismatch`] when they differ: nothing was committed then.
    pub(in crate::job) fn agree(
        &self,
        found: Position,
        (object, file): (ObjectNumber, FileNumber),
        volume: &Volume,
    ) -> Result<(), JobError> {
        if found.object == object && found.file == file {
            return Ok(());
        }
        let fault = Fault {
            drive: self.name.clone(),
            operation: "READ POSITION",
            object: Some(object),
            sense: None,
            detail: (found.file != file).then_some("it counts other tape files than were written"),
        };
        let fault = Box::new(fault);
        let (expected, found) = (object, found.object);
        Err(self.failed(Some(volume))(DriveError::Mismatch { expected, found, fault }))
    }

    /// Moves the tape before `object`, and makes sure that a filemark comes right before it.
    pub(in crate::job) fn stand_behind_filemark(
        &mut self,
        object: ObjectNumber,
        volume: &Volume,
    ) -> Result<(), JobError> {
        let failed = self.failed(Some(volume));
        let before = ObjectNumber(object.0.checked_sub(1).expect("the label comes first"));
        self.drive.locate(before).map_err(&failed)?;
        let mut buffer = vec![0; 4096];
        match self.drive.read_block(&mut buffer).map_err(&failed)? {
            ReadOutcome::Filemark => Ok(()),
            ReadOutcome::Block(_) | ReadOutcome::LongBlock { .. } | ReadOutcome::EndOfData => {
                Err(JobError::Cartridge {
                    cartridge: volume.volser.to_string(),
                    what: format!(
                        "no filemark stands before object {object}, where writing goes on"
                    ),
                    advice: "nothing was written there; read the volume with `tapevault verify`"
                        .into(),
                    cause: None,
                })
            }
        }
    }
}
