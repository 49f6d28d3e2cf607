//! Choosing a volume to write, and beginning a session on it.

use std::collections::BTreeSet;

use crate::{
    catalog, causes,
    drive::{DriveError, Filemark, Preparation, ReadOutcome, SpaceStop},
    ident::{Barcode, SegmentId, SessionId},
    job::{
        JobError,
        adopt::Adoption,
        mam,
        monitor::{Event, Prompt},
        mount::{Mounted, Recognised},
        rig::RigError,
        settings::PoolEncryption,
        write::{
            Write,
            label::Labelling,
            pace::Pace,
            reconcile::{takes_index, unindexed},
            room::Room,
            session::Session,
        },
    },
    media::{Status, Volume, lifecycle},
    pipeline::{self, Feed},
    unit::ByteCount,
    volume::label::Label,
};

/// Filled to this before the drive starts, in percent of the ring.
const START_PERCENT: u8 = 80;
/// How often an operator may put the wrong cartridge in before the job ends.
const ATTEMPTS: u32 = 8;

/// Why a cartridge is not written, said to the operator.
type Objection = JobError;

impl Write<'_> {
    /// Begins a session on a volume that takes data and has none of `wanted`.
    pub(super) fn open(&mut self, copy: u32, wanted: &[SegmentId]) -> Result<Session, JobError> {
        let mounted = self.mount_writable(copy, wanted)?;
        self.begin(copy, mounted.volume)
    }

    /// Begins a session on a volume that an interrupted one left without an index. `None` when what
    /// is on it now forbids to write there: whatever that is, it is not ours to destroy.
    pub(super) fn reopen(&mut self, volume: &Volume) -> Result<Option<Session>, JobError> {
        self.station.forbid_overwriting();
        let mounted = self.station.mount(self.catalog, volume, self.desk)?;
        mounted.undoubted()?;
        let volume = self.adopt(|adoption| adoption.settle_end(mounted.volume))?;
        if !takes_index(&volume) {
            self.desk.ledger.note(1);
            self.desk.tell(&Event::VolumeFinding {
                volser: volume.volser,
                what: "what stands behind its last segment is not tapevault's, or something is \
                       missing: it gets no index, and is read without one"
                    .into(),
            });
            return Ok(None);
        }
        self.begin(1, volume).map(Some)
    }

    /// Begins a session on the volume in the drive. What earlier sessions left without an index
    /// goes into this one's.
    fn begin(&mut self, copy: u32, volume: Volume) -> Result<Session, JobError> {
        let segments = unindexed(self.catalog, volume.id)?;
        let mut manifests = 0;
        for segment in &segments {
            manifests += self.catalog.segment(*segment)?.map_or(0, |known| known.manifest_bytes);
        }
        let failed = self.station.failed(Some(&volume));
        let capacity = volume.capacity_bytes;
        let room = Room { remaining: 0, written_since: 0, capacity, manifests };
        let block_size = volume.block_size;
        let preparation = Preparation { block_size, early_warning: ByteCount(room.reserve(0)) };
        self.station.drive.prepare(&preparation).map_err(&failed)?;
        self.station.stand_behind_filemark(volume.end, &volume)?;
        let volume = self.clear_behind(volume)?;
        let remaining = self.station.drive.remaining().map_err(&failed)?.remaining.0;
        let settings = pipeline::Settings {
            block_bytes: usize::try_from(block_size).expect("a block fits memory"),
            ring_bytes: usize::try_from(self.staging.ring.0).expect("the ring fits memory"),
            start_percent: START_PERCENT,
            guard: self.station.drive.guard(),
        };
        let feed = Feed::start(settings, &self.desk.cancel)
            .map_err(JobError::scratch("start the thread that reads staged files"))?;
        let session = Session {
            id: SessionId::new(),
            copy,
            object: volume.end,
            file: volume.end_file,
            volume,
            room: Room { remaining, ..room },
            group: Vec::new(),
            group_bytes: 0,
            segments,
            feed,
            ahead: None,
            pace: Pace::default(),
        };
        self.catalog.put_session(&catalog::Session {
            id: session.id,
            volume: session.volume.id,
            set: self.set,
            drive: self.station.describe(),
            started: self.desk.clock.now(),
            ended: None,
            index: None,
        })?;
        Ok(session)
    }

    /// What an interrupted session left behind the end, and nobody adopted, would count against the
    /// room that is left: the tape ends here from now on. What was written once stays: there a
    /// filemark closes it, and writing goes on behind.
    fn clear_behind(&mut self, volume: Volume) -> Result<Volume, JobError> {
        let failed = self.station.failed(Some(&volume));
        let mut block = vec![0; 4096];
        match self.station.drive.read_block(&mut block) {
            Ok(ReadOutcome::EndOfData) => return Ok(volume),
            Ok(ReadOutcome::Block(_) | ReadOutcome::LongBlock { .. } | ReadOutcome::Filemark)
            | Err(DriveError::Medium(_) | DriveError::EndOfDataMissing(_)) => {}
            Err(error) => return Err(failed(error)),
        }
        let drive = &mut self.station.drive;
        if volume.worm {
            drive.locate_end_of_data().map_err(&failed)?;
            drive.write_filemark(Filemark::Synchronous).map_err(&failed)?;
            let end = drive.flush().map_err(&failed)?;
            return self.desk.change_volume(self.catalog, volume.id, "volume.voided", |volume| {
                (volume.end, volume.end_file) = (end.object, end.file)
            });
        }
        self.station.stand_behind_filemark(volume.end, &volume)?;
        self.station.drive.erase_here().map_err(failed)?;
        Ok(volume)
    }

    /// Brings a volume into the drive that may be written and has none of `wanted`: the one that is
    /// there, one of the library, or one that the operator brings.
    fn mount_writable(&mut self, copy: u32, wanted: &[SegmentId]) -> Result<Mounted, JobError> {
        self.station.drive.set_patience(self.desk.patience());
        self.station.forbid_overwriting();
        let mut tried = BTreeSet::new();
        let mut objection: Option<Objection> = None;
        for _ in 0..ATTEMPTS {
            if self.station.is_loaded().map_err(self.station.failed(None))? {
                let barcode = self.station.barcode_here().map_err(RigError::from)?;
                match self.consider(wanted)? {
                    Ok(mounted) => return self.station.welcome(self.catalog, mounted, self.desk),
                    Err(error) => {
                        self.desk.notice(format!("not written: {}", causes::chain(&error)));
                        objection = Some(error);
                    }
                }
                tried.extend(barcode);
                self.station.put_away(self.catalog, self.desk)?;
            } else if self.station.is_blocked().map_err(RigError::from)? {
                self.station.put_away(self.catalog, self.desk)?;
            }
            if let Some(mounted) = self.mount_from_library(wanted, &mut tried, &mut objection)? {
                return self.station.welcome(self.catalog, mounted, self.desk);
            }
            if self.station.has_library() {
                break;
            }
            let prompt = Prompt::LoadScratch {
                drive: self.station.name.clone(),
                pool: self.pool.clone(),
                copy: u8::try_from(copy).unwrap_or(u8::MAX),
            };
            match self.desk.ask(&prompt) {
                Ok(_) => {}
                // What is wrong with the cartridge that was there says more than "bring another".
                Err(declined) => return Err(objection.unwrap_or(declined)),
            }
        }
        Err(match objection {
            Some(error @ (JobError::Cartridge { .. } | JobError::Key { .. })) => error,
            Some(_) | None => JobError::NoMedia { pool: self.pool.clone() },
        })
    }

    /// Tries what the library holds: volumes that hold data first, then what is unknown.
    fn mount_from_library(
        &mut self,
        wanted: &[SegmentId],
        tried: &mut BTreeSet<Barcode>,
        objection: &mut Option<Objection>,
    ) -> Result<Option<Mounted>, JobError> {
        for barcode in self.candidates(wanted, tried)? {
            tried.insert(barcode);
            if !self.station.fetch(barcode)? {
                continue;
            }
            match self.consider(wanted)? {
                Ok(mounted) => return Ok(Some(mounted)),
                Err(error) => {
                    self.desk.notice(format!("not written: {}", causes::chain(&error)));
                    *objection = Some(error);
                    self.station.put_away(self.catalog, self.desk)?;
                }
            }
        }
        Ok(None)
    }

    /// Barcodes of the library's slots that are worth a try, the best first.
    fn candidates(
        &mut self,
        wanted: &[SegmentId],
        tried: &BTreeSet<Barcode>,
    ) -> Result<Vec<Barcode>, JobError> {
        let barcodes = self.station.barcodes_in_slots().map_err(RigError::from)?;
        let mut ranked = Vec::new();
        for barcode in barcodes {
            if tried.contains(&barcode) || barcode.is_cleaning() {
                continue;
            }
            let rank = match self.catalog.volume(barcode.volser())? {
                Some(volume) => match self.objection(&volume, wanted)? {
                    Some(_) => continue,
                    None if volume.status == Status::Appendable => 0,
                    None => 1,
                },
                None => 2,
            };
            ranked.push((rank, barcode));
        }
        ranked.sort();
        Ok(ranked.into_iter().map(|(_, barcode)| barcode).collect())
    }

    /// Why the catalog is against writing to a volume, if it is.
    fn objection(
        &self,
        volume: &Volume,
        wanted: &[SegmentId],
    ) -> Result<Option<Objection>, JobError> {
        let against = |what: String, advice: &str| {
            let (cartridge, advice) = (volume.volser.to_string(), advice.to_owned());
            Ok(Some(JobError::Cartridge { cartridge, what, advice, cause: None }))
        };
        if volume.pool != *self.pool {
            let what = format!("it is of pool {}, not {}", volume.pool, self.pool);
            return against(what, "use a cartridge of the job's pool");
        }
        if let Some(objection) = full(volume) {
            return Ok(Some(objection));
        }
        for segment in wanted {
            let copies = self.catalog.copies(*segment)?;
            if copies.iter().any(|copy| copy.volume == volume.id) {
                let what = "it holds a copy of what is to be written already".to_owned();
                return against(what, "the next copy goes on another cartridge");
            }
        }
        Ok(None)
    }

    /// Looks at the cartridge in the drive: ready to be appended to, or why not.
    fn consider(&mut self, wanted: &[SegmentId]) -> Result<Result<Mounted, Objection>, JobError> {
        let mounted = match self.station.recognise_here(self.catalog)? {
            Recognised::Alien(error) => return Ok(Err(*error)),
            Recognised::Known(mounted) => *mounted,
            Recognised::Unknown(label, digest, medium) => {
                if let Some(doubt) = mam::disagreement(&label, &medium) {
                    return Ok(Err(mam::doubtful(label.volser, &doubt)));
                }
                if let Some(error) = self.locked(&label)? {
                    return Ok(Err(error));
                }
                if label.pool == *self.pool && !medium.write_protected {
                    match self.finish_label() {
                        Err(JobError::Drive { cause, .. }) if is_of_medium(&cause) => {
                            return Ok(Err(unlabelable(Barcode::from(label.volser), cause)));
                        }
                        finished => finished?,
                    }
                }
                self.adopt(|adoption| adoption.volume(*label, digest, *medium))?
            }
            Recognised::Blank(medium, barcode) => {
                let Some(barcode) = barcode.filter(|_| self.pool_settings.label_blank) else {
                    return Ok(Err(self.unlabelled()));
                };
                let labelling = Labelling {
                    catalog: self.catalog,
                    pool: self.pool,
                    settings: self.pool_settings,
                    desk: self.desk,
                };
                match labelling.write(self.station, barcode.volser(), Some(barcode), &medium) {
                    Ok(mounted) => mounted,
                    // Another cartridge may do.
                    Err(error @ JobError::Cartridge { .. }) => return Ok(Err(error)),
                    Err(JobError::Drive { cause, .. }) if is_of_medium(&cause) => {
                        return Ok(Err(unlabelable(barcode, cause)));
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        if let Err(error) = mounted.undoubted() {
            return Ok(Err(error));
        }
        if let Some(error) = self.objection(&mounted.volume, wanted)? {
            return Ok(Err(error));
        }
        if mounted.medium.write_protected {
            return Ok(Err(JobError::Cartridge {
                cartridge: mounted.volume.volser.to_string(),
                what: "it is write-protected".into(),
                advice: "move its switch if it may be written, or use another cartridge".into(),
                cause: None,
            }));
        }
        if let Some(error) = self.locked(&mounted.label)? {
            return Ok(Err(error));
        }
        let Mounted { volume, medium, label, doubt } = mounted;
        // The catalog alone never authorises a write: the tape is asked where it ends.
        let volume = self.adopt(|adoption| adoption.settle_end(volume))?;
        if let Some(error) = full(&volume) {
            return Ok(Err(error));
        }
        // What was adopted may be what staging still holds. It is no reason against the volume: its
        // session has yet to be closed.
        self.reconcile()?;
        Ok(Ok(Mounted { volume, medium, label, doubt }))
    }

    /// Sets block protection and key for a volume. Why it is not written, if that cannot be.
    fn locked(&mut self, label: &Label) -> Result<Option<Objection>, JobError> {
        if label.encryption.is_none() && self.pool_settings.encryption != PoolEncryption::Off {
            return Ok(Some(JobError::Cartridge {
                cartridge: label.volser.to_string(),
                what: format!("it is not encrypted, and pool {} is to be", self.pool),
                advice: "it stays readable; use another cartridge".into(),
                cause: None,
            }));
        }
        match self.station.open_up(label) {
            Ok(()) => Ok(None),
            Err(error @ (JobError::Key { .. } | JobError::Cartridge { .. })) => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    /// A label that was interrupted before its filemark has nothing behind it: the filemark is
    /// written now.
    fn finish_label(&mut self) -> Result<(), JobError> {
        let failed = self.station.failed(None);
        let drive = &mut self.station.drive;
        drive.rewind().map_err(&failed)?;
        if drive.space_filemarks(1).map_err(&failed)?.stop == SpaceStop::EndOfData {
            drive.write_filemark(Filemark::Synchronous).map_err(&failed)?;
            drive.flush().map_err(&failed)?;
        }
        Ok(())
    }

    fn adopt<T>(
        &mut self,
        work: impl FnOnce(&mut Adoption<'_>) -> Result<T, JobError>,
    ) -> Result<T, JobError> {
        let staged = self.staged()?.into_keys().collect();
        let mut adoption =
            Adoption { catalog: self.catalog, station: self.station, desk: self.desk, staged };
        work(&mut adoption)
    }

    fn unlabelled(&self) -> JobError {
        JobError::Cartridge {
            cartridge: format!("the cartridge in {}", self.station.name),
            what: "it is blank and has no label".into(),
            advice: format!(
                "`tapevault media label VOLSER --pool {}` labels it; `label_blank` in the pool's \
                 settings lets jobs do so",
                self.pool
            ),
            cause: None,
        }
    }
}

/// Whether another cartridge may do better.
fn is_of_medium(cause: &DriveError) -> bool {
    matches!(
        cause,
        DriveError::EndOfMedium(_)
            | DriveError::Medium(_)
            | DriveError::Deferred(_)
            | DriveError::WriteProtected(_)
            | DriveError::Unusable(_)
    )
}

fn unlabelable(barcode: Barcode, cause: DriveError) -> JobError {
    JobError::Cartridge {
        cartridge: barcode.to_string(),
        what: "it cannot be labelled".into(),
        advice: "clean the drive; use another cartridge".into(),
        cause: Some(Box::new(cause)),
    }
}

/// Why a volume takes no data, if it does not.
fn full(volume: &Volume) -> Option<Objection> {
    let takes = lifecycle::takes_data(volume.status);
    (!takes).then(|| JobError::Cartridge {
        cartridge: volume.volser.to_string(),
        what: format!("it takes no more data, it is {}", volume.status),
        advice: "use another cartridge".into(),
        cause: None,
    })
}
