//! Writing one segment: whole, or not at all.

use crate::{
    catalog::CopyRecord,
    drive::{DriveError, Filemark, GUARD, ReadOutcome, Written},
    job::{
        JobError,
        monitor::{Counters, Event},
        rig::Station,
        write::{Write, session::Session},
    },
    media::Volume,
    pipeline::{FeedError, Flow, SegmentFile},
    position::ObjectNumber,
    staging::{Sealed, StagingError},
};

/// How often a segment is begun on one volume.
const ATTEMPTS: u32 = 2;

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

/// How one attempt ended.
enum Attempt {
    /// All of it was accepted.
    Written {
        /// Whether early warning has passed.
        last: bool,
    },
    /// Early warning came before the end of the segment.
    NoRoom,
    /// The drive failed; the segment has to be begun again.
    Failed(DriveError),
}

impl Write<'_> {
    /// Writes a segment and its filemark. A segment that cannot be finished here is void: the tape
    /// goes back before its first block then, for the index.
    pub(super) fn write_segment(
        &mut self,
        session: &mut Session,
        sealed: &Sealed,
    ) -> Result<Outcome, JobError> {
        let record =
            CopyRecord { segment: sealed.segment, object: session.object, file: session.file };
        for _ in 0..ATTEMPTS {
            let failed = self.station.failed(Some(&session.volume));
            if self.station.drive.position().map_err(&failed)?.object != session.object {
                self.station.stand_behind_filemark(session.object, &session.volume)?;
            }
            let intent = self.catalog.intend(session.volume.id, record)?;
            crate::crash::point("write.intended");
            match self.attempt(session, sealed)? {
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
                    return Ok(Outcome::Written);
                }
                Attempt::NoRoom => {
                    self.catalog.withdraw(intent)?;
                    let why = "early warning came within a segment".into();
                    return Ok(Outcome::Closing { why });
                }
                Attempt::Failed(error) => {
                    self.catalog.withdraw(intent)?;
                    self.desk.ledger.note(1);
                    self.desk.tell(&Event::VolumeFinding {
                        volser: session.volume.volser,
                        what: format!("segment {} could not be written: {error}", sealed.segment),
                    });
                    self.recover(session, error)?;
                }
            }
        }
        Ok(Outcome::Closing { why: format!("a segment could not be written {ATTEMPTS} times") })
    }

    fn attempt(&mut self, session: &mut Session, sealed: &Sealed) -> Result<Attempt, JobError> {
        session.feed.queue(SegmentFile {
            path: sealed.path.clone(),
            block_bytes: usize::try_from(sealed.block_size).expect("a block fits memory"),
            blocks: sealed.blocks,
        });
        let drive = &mut self.station.drive;
        if let Err(error) = drive.hold_safeguards() {
            session.feed.clear();
            return Ok(Attempt::Failed(error));
        }
        let guard = if drive.guard().is_some() { GUARD } else { 0 };
        let (desk, mut left) = (self.desk, sealed.blocks);
        let (mut last, mut cut_short) = (false, false);
        let fed = session.feed.write(|block| {
            let written = drive.write_guarded(block)?;
            left -= 1;
            Counters::add(&desk.counters.written_bytes, (block.len() - guard) as u64);
            desk.progress();
            last |= written == Written::EarlyWarning;
            cut_short = last && left > 0;
            Ok(if cut_short { Flow::Stop } else { Flow::Continue })
        });
        match fed {
            Ok(_) if cut_short => Ok(Attempt::NoRoom),
            Ok(fed) if fed.digest != Some(sealed.digest) => Err(self.spoilt(session, sealed)?),
            Ok(_) => match self.station.drive.write_filemark(Filemark::Immediate) {
                Ok(written) => {
                    Ok(Attempt::Written { last: last || written == Written::EarlyWarning })
                }
                Err(DriveError::EndOfMedium(_)) => Ok(Attempt::NoRoom),
                Err(error) => Ok(Attempt::Failed(error)),
            },
            Err(FeedError::Writer(DriveError::EndOfMedium(_))) => Ok(Attempt::NoRoom),
            Err(FeedError::Writer(error)) => Ok(Attempt::Failed(error)),
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

    /// After a write error: what is on the medium since the last flush is not known. The cartridge
    /// is identified again, and the tape goes back before the segment, if all before it is there.
    fn recover(&mut self, session: &Session, error: DriveError) -> Result<(), JobError> {
        let failed = self.station.failed(Some(&session.volume));
        match error {
            DriveError::Medium(_) | DriveError::Damaged(_) | DriveError::Deferred(_) => {}
            DriveError::PositionLost(_) | DriveError::Unknown { .. } => {
                self.station.drive.recover().map_err(&failed)?;
            }
            DriveError::EndOfMedium(_)
            | DriveError::EndOfDataMissing(_)
            | DriveError::Mismatch { .. }
            | DriveError::NotReady(_)
            | DriveError::NoMedium(_)
            | DriveError::Unusable(_)
            | DriveError::WriteProtected(_)
            | DriveError::Busy(_)
            | DriveError::Refused { .. }
            | DriveError::Unsupported(_)
            | DriveError::Hardware(_)
            | DriveError::WrongDevice { .. } => return Err(failed(error)),
        }
        self.identify_again(session)?;
        self.station.stand_behind_filemark(session.object, &session.volume)
    }
}

impl Station {
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
