//! Bringing items back from tape: select, plan, read in the order of the tape, put into place.

mod missed;
mod outcome;
mod plan;
mod read;
mod salvage;
mod select;
mod spool;
mod there;
mod wanted;

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::atomic::Ordering,
};

use crate::{
    catalog::{Catalog, Query},
    causes,
    destination::Destination,
    ident::{Barcode, Volser, VolumeId},
    item::{Key, Kind, Place},
    job::{
        Desk, JobError,
        findings::Tally,
        monitor::{Counters, Event, RestoreEnded, RestorePlanned, Stage},
        restore::{
            outcome::{NotRestored, Outcome},
            plan::{Leg, Plan, Planner},
            read::{Assembler, OpenFiles, Reading, ReadingStaged},
            select::Selected,
            spool::{Spool, SpoolWriter},
            there::Comparison,
            wanted::{Piece, Wanted, WantedFile},
        },
        rig::{self, Left, RigError, Station},
        settings::Settings,
    },
    media::Volume,
};

pub use crate::destination::Options;

/// Rounds over the links that could not be made without reading.
const LINK_ROUNDS: u32 = 2;

/// Damaged files of which what can be read is put together; further ones are only reported.
const DAMAGED_MAX: usize = 100_000;

/// What comes back.
#[derive(Clone, Debug)]
pub enum Selection {
    /// What a query finds among what was current at its date, or is now.
    Query {
        /// The query.
        query: Box<Query>,
        /// Whether older versions come back, too, each beside the latest.
        all_versions: bool,
    },
    /// What is at these places.
    Places(Vec<Place>),
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What comes back.
    pub selection: Selection,
    /// Where to.
    pub to: PathBuf,
    /// What else than bytes in new files.
    pub options: Options,
    /// The drive, instead of the only one.
    pub drive: Option<String>,
    /// Whether what can be read of files that no copy gives whole is kept beside their places.
    pub salvage: bool,
    /// Whether to plan only.
    pub dry_run: bool,
}

/// What is near the drive.
#[derive(Debug, Default)]
struct Near {
    /// Whether drive and library were asked; else the catalog's word counts.
    asked: bool,
    drive: Option<String>,
    in_drive: Option<Barcode>,
    in_library: Vec<Barcode>,
}

/// Restores.
///
/// # Errors
///
/// What ended it early. Items that do not come back are findings, and the rest does.
pub fn run(
    settings: &Settings,
    catalog: &Catalog,
    request: &Request,
    desk: &Desk,
) -> Result<Tally, JobError> {
    desk.tell(&Event::JobStarted { job: "restore", pool: None });
    let mut outcome = Outcome::new(desk, &request.to);
    let selected = select::select(catalog, &request.selection, desk, &mut outcome)?;
    if selected.items() == 0 && outcome.lost == 0 {
        let what = "nothing that is held and was current at that date matches".to_owned();
        return Err(JobError::NotHeld { what });
    }
    let mut restore = Restore {
        settings,
        catalog,
        request,
        desk,
        near: Near::default(),
        station: None,
        mounted: None,
        unavailable: HashSet::new(),
        damaged: BTreeMap::new(),
        obstacle: None,
        numbers: 0,
        staged_bytes: 0,
    };
    if request.dry_run {
        restore.rehearse(&selected)?;
        return Ok(desk.ledger.tally());
    }
    let done = restore.restore(&selected, &mut outcome);
    let put_back = restore.put_back();
    let given_up = restore.station.take().map_or(Ok(()), rig::give_up);
    std::mem::take(&mut outcome.missed).tell(catalog, desk)?;
    desk.progress_now();
    desk.tell(&Event::RestoreEnded(RestoreEnded {
        restored: outcome.restored,
        already: outcome.already,
        bytes: outcome.bytes,
        not_restored: outcome.lost,
        read_bytes: desk.counters.read_bytes.load(Ordering::Relaxed) - restore.staged_bytes,
        staged_bytes: restore.staged_bytes,
    }));
    done.and(put_back).and(given_up)?;
    // All that could be had is in its place; but there was more.
    match restore.obstacle {
        Some(error) if outcome.lost > 0 => Err(error),
        Some(_) | None => Ok(desk.ledger.tally()),
    }
}

struct Restore<'a> {
    settings: &'a Settings,
    catalog: &'a Catalog,
    request: &'a Request,
    desk: &'a Desk,
    near: Near,
    station: Option<Station>,
    mounted: Option<Volser>,
    unavailable: HashSet<VolumeId>,
    /// Files that no copy gave and that are to be salvaged, by their places; and why.
    damaged: BTreeMap<Key, (Wanted, String)>,
    /// Why the first of them cannot be had.
    obstacle: Option<JobError>,
    /// Files numbered so far.
    numbers: u64,
    /// Bytes that were read in staging.
    staged_bytes: u64,
}

impl Restore<'_> {
    /// Plans, and no more.
    fn rehearse(&mut self, selected: &Selected) -> Result<(), JobError> {
        let mut pieces = SpoolWriter::new(self.desk)?;
        for file in selected.files.records()? {
            self.explode(file?, &mut pieces)?;
        }
        let pieces = pieces.finish()?;
        let planner = self.planner();
        let plan = planner.plan(&planner.survey(&pieces)?, &pieces)?;
        self.announce(selected, &plan);
        let mut outcome = Outcome::new(self.desk, &self.request.to);
        self.report_lost(&plan, &mut OpenFiles::default(), &mut outcome)?;
        Ok(())
    }

    fn restore(&mut self, selected: &Selected, outcome: &mut Outcome<'_>) -> Result<(), JobError> {
        let mut destination =
            Destination::open(&self.request.to, self.request.options).map_err(outcome::fatal)?;
        let records = destination.temporary();
        let done = self.fill(selected, &mut destination, outcome);
        // Whatever came of it, what is there is left in order.
        let mut failure = None;
        let finished = destination.finish(&mut |item, result| {
            if let Err(error) = outcome.deferred(item, result) {
                failure.get_or_insert(error);
            }
        });
        if outcome.kept > 0 {
            self.desk.notice(format!(
                "{} directories were there before: they keep their modes and times",
                outcome.kept
            ));
        }
        // Those that an early end kept from being salvaged.
        for (wanted, why) in std::mem::take(&mut self.damaged).into_values() {
            outcome.lost(&wanted, NotRestored::Damaged, &why)?;
        }
        let records = outcome.finish_records(&records);
        done?;
        drop(finished.map_err(outcome::fatal)?);
        failure.map_or(Ok(()), Err)?;
        if let Some((path, count)) = records? {
            self.desk.notice(format!(
                "{count} items have another name here than in the archive: {} says which",
                path.display()
            ));
        }
        Ok(())
    }

    fn fill(
        &mut self,
        selected: &Selected,
        destination: &mut Destination,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), JobError> {
        self.put_plain(selected, destination, outcome)?;
        let mut pieces = SpoolWriter::new(self.desk)?;
        let mut comparison = Comparison::new(self.desk, self.request.options.overwrite);
        for file in selected.files.records()? {
            // What is there already need not be read.
            if let Some(file) = comparison.settle(destination, file?, outcome)? {
                self.explode(file, &mut pieces)?;
            }
        }
        if outcome.already > 0 {
            self.desk.notice(format!("{} items are in their place already", outcome.already));
        }
        let pieces = pieces.finish()?;
        self.rounds(pieces, Some(selected), destination, outcome)?;
        self.links(&selected.links, destination, outcome)?;
        self.salvage(selected, destination, outcome)
    }

    /// Puts what needs no tape.
    fn put_plain(
        &self,
        selected: &Selected,
        destination: &mut Destination,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), JobError> {
        // Directories that agree are known before anything is put into them.
        let mut left = SpoolWriter::new(self.desk)?;
        for wanted in selected.plain.records()? {
            self.desk.go_on()?;
            let wanted = wanted?;
            let is_kept = wanted.item.kind == Kind::Directory
                && destination
                    .keep_directory(&wanted.target.0, &wanted.item)
                    .map_err(outcome::fatal)?;
            if !is_kept {
                left.push(&wanted)?;
            }
        }
        let mut comparison = Comparison::new(self.desk, self.request.options.overwrite);
        for wanted in left.finish()?.records()? {
            self.desk.go_on()?;
            let mut wanted = wanted?;
            let put = if wanted.item.kind == Kind::File {
                let empty = WantedFile { wanted, members: Vec::new() };
                let Some(empty) = comparison.settle(destination, empty, outcome)? else { continue };
                wanted = empty.wanted;
                put_empty(destination, &wanted).map(Some)
            } else {
                destination.put(&wanted.target.0, &wanted.item)
            };
            match put {
                Ok(Some(restored)) => outcome.restored(&wanted, None, restored)?,
                Ok(None) => {}
                Err(error) => outcome.refused(&wanted.source, &wanted.item, error)?,
            }
        }
        Ok(())
    }

    fn explode(&mut self, file: WantedFile, to: &mut SpoolWriter<Piece>) -> Result<(), JobError> {
        self.numbers += 1;
        for piece in file.pieces(self.numbers) {
            to.push(&piece)?;
        }
        Ok(())
    }

    /// Reads until every piece has come, or no volume is left that might give it.
    fn rounds(
        &mut self,
        mut pieces: Spool<Piece>,
        mut selected: Option<&Selected>,
        destination: &mut Destination,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), JobError> {
        let mut files = OpenFiles::default();
        while pieces.count() > 0 || selected.is_some() {
            let survey = self.planner().survey(&pieces)?;
            if survey.needs_tape() {
                self.open_station_or_do_without(survey.needs_staging())?;
            }
            let plan = self.planner().plan(&survey, &pieces)?;
            match selected.take() {
                Some(selected) => self.announce(selected, &plan),
                None => self.desk.notice(format!(
                    "{} members are looked for on other copies{}",
                    plan.stops.count(),
                    on_volumes(&plan)
                )),
            }
            let mut settled = self.report_lost(&plan, &mut files, outcome)?;
            let mut again = SpoolWriter::new(self.desk)?;
            for piece in plan.again.records()? {
                settled += 1;
                again.push(&piece?)?;
            }
            let (catalog, desk) = (self.catalog, self.desk);
            let mut assembler =
                Assembler::new((catalog, desk), destination, outcome, &mut files, &mut again);
            settled += self.read(&plan, &mut assembler)?;
            pieces = again.finish()?;
            assert!(settled > 0 || pieces.count() == 0, "each round settles something");
        }
        Ok(())
    }

    /// Reads the legs of a plan. Returns how many pieces came to an end, or volumes fell away.
    fn read<'p>(
        &mut self,
        plan: &'p Plan,
        assembler: &mut Assembler<'p, '_>,
    ) -> Result<u64, JobError> {
        let mut fallen = 0;
        for (rank, leg) in plan.legs.iter().enumerate() {
            self.desk.go_on()?;
            let stops = &plan.stops;
            let (catalog, desk) = (self.catalog, self.desk);
            let (stage, before) =
                (Stage::Restore, desk.counters.read_bytes.load(Ordering::Relaxed));
            let read = || desk.counters.read_bytes.load(Ordering::Relaxed) - before;
            match leg {
                Leg::Staging(standing, told) => {
                    let of = "staging";
                    desk.tell(&Event::StageStarted { stage, of });
                    Counters::add(&desk.counters.to_read_bytes, told.bytes);
                    let dir = &self.settings.staging.dir;
                    ReadingStaged { dir, desk, standing, rank, stops }.run(assembler)?;
                    self.staged_bytes += read();
                    desk.tell(&Event::StageEnded { stage, of, count: told.members, bytes: read() });
                }
                Leg::Volume(volume, told) => {
                    let of = volume.volser;
                    desk.tell(&Event::StageStarted { stage, of: of.as_str() });
                    Counters::add(&desk.counters.to_read_bytes, told.read_bytes);
                    let station = self.station.as_mut().expect("opened before the plan");
                    let mut reading = Reading { catalog, station, desk, volume, rank, stops };
                    if let Err(error) = reading.mount() {
                        self.fell_away(volume, error)?;
                        assembler.postpone(plan, rank)?;
                        fallen += 1;
                        continue;
                    }
                    self.mounted = Some(of);
                    reading.run(assembler)?;
                    let (count, bytes) = (told.members, read());
                    desk.tell(&Event::StageEnded { stage, of: of.as_str(), count, bytes });
                }
            }
        }
        Ok(assembler.settled + fallen)
    }

    /// A volume cannot be had. Others may hold the same.
    fn fell_away(&mut self, volume: &Volume, error: JobError) -> Result<(), JobError> {
        if !matches!(error, JobError::Operator { .. } | JobError::Cartridge { .. }) {
            return Err(error);
        }
        let what = format!("it cannot be read now: {}", causes::chain(&error));
        self.desk.tell(&Event::VolumeFinding { volser: volume.volser, what });
        self.desk.ledger.note(1);
        self.unavailable.insert(volume.id);
        self.obstacle.get_or_insert(error);
        Ok(())
    }

    /// Makes the further names of what was restored; what cannot be linked is read.
    fn links(
        &mut self,
        links: &Spool<WantedFile>,
        destination: &mut Destination,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), JobError> {
        let overwrite = self.request.options.overwrite;
        let mut missing = SpoolWriter::new(self.desk)?;
        let mut comparison = Comparison::new(self.desk, overwrite);
        for file in links.records()? {
            if let Some(file) = comparison.settle(destination, file?, outcome)? {
                missing.push(&file)?;
            }
        }
        let mut left = missing.finish()?;
        for round in 1..=LINK_ROUNDS {
            let mut pieces = SpoolWriter::new(self.desk)?;
            let mut later = SpoolWriter::new(self.desk)?;
            let mut reading = None;
            for file in left.records()? {
                self.desk.go_on()?;
                let file = file?;
                let WantedFile { wanted, .. } = &file;
                let identity = file.identity();
                match destination.link(&wanted.target.0, &wanted.item, &identity) {
                    Ok(Some(restored)) => {
                        let digest = (file.members.len() == 1).then_some(&identity);
                        outcome.restored(wanted, digest, restored)?;
                    }
                    // One name is read, and the others may be linked to it.
                    Ok(None)
                        if reading == Some((file.link_group(), identity))
                            && round < LINK_ROUNDS =>
                    {
                        later.push(&file)?;
                    }
                    Ok(None) => {
                        reading = Some((file.link_group(), identity));
                        self.explode(file, &mut pieces)?;
                    }
                    Err(error) => outcome.refused(&wanted.source, &wanted.item, error)?,
                }
            }
            let pieces = pieces.finish()?;
            self.rounds(pieces, None, destination, outcome)?;
            left = later.finish()?;
        }
        Ok(())
    }

    fn planner(&self) -> Planner<'_> {
        let Self { catalog, desk, near, unavailable, settings, .. } = self;
        Planner { catalog, desk, staging: &settings.staging.dir, near, unavailable }
    }

    fn announce(&self, selected: &Selected, plan: &Plan) {
        self.desk.tell(&Event::RestorePlanned(RestorePlanned {
            items: selected.items(),
            bytes: selected.bytes,
            volumes: plan.volumes(),
            without_tape: selected.plain.count(),
        }));
        for leg in &plan.legs {
            self.desk.tell(&match leg {
                Leg::Staging(_, told) => Event::RestoreStaged(*told),
                Leg::Volume(_, told) => Event::RestoreVolume(told.clone()),
            });
        }
    }

    /// Reports what no volume gives. Returns how many pieces that are.
    fn report_lost(
        &mut self,
        plan: &Plan,
        files: &mut OpenFiles,
        outcome: &mut Outcome<'_>,
    ) -> Result<u64, JobError> {
        for lost in plan.lost.records()? {
            let (piece, why): (Piece, NotRestored) = lost?;
            if !files.give_up(&piece) {
                continue;
            }
            let detail = match piece.tried.last() {
                Some(tried) => {
                    let volume = tried.origin.map(|volume| self.catalog.volume_by_id(volume));
                    let volser = volume.transpose()?.flatten().map(|v| v.volser.to_string());
                    format!("{}: {}", volser.as_deref().unwrap_or("staging"), tried.why)
                }
                None => String::new(),
            };
            let is_kept = self.request.salvage
                && !self.request.dry_run
                && why == NotRestored::Damaged
                && self.damaged.len() < DAMAGED_MAX;
            if is_kept {
                self.damaged.insert(piece.wanted.target.clone(), (piece.wanted, detail));
            } else {
                outcome.lost(&piece.wanted, why, &detail)?;
            }
        }
        Ok(plan.lost.count())
    }

    /// Opens the drive. If it cannot be opened, what is in staging can come back all the same.
    fn open_station_or_do_without(&mut self, needs_staging: bool) -> Result<(), JobError> {
        let Err(error) = self.open_station() else { return Ok(()) };
        if !needs_staging {
            return Err(error);
        }
        self.desk
            .notice(format!("what is in staging comes back; no more: {}", causes::chain(&error)));
        self.unavailable.extend(self.catalog.volumes()?.iter().map(|volume| volume.id));
        self.obstacle.get_or_insert(error);
        Ok(())
    }

    /// Opens the drive, and looks at what is near it.
    fn open_station(&mut self) -> Result<(), JobError> {
        if self.station.is_some() {
            return Ok(());
        }
        let drive = self.request.drive.as_deref();
        let mut station = rig::station(self.settings, drive, &self.desk.clock)?;
        self.near = Near {
            asked: true,
            drive: Some(station.name.clone()),
            in_drive: station.barcode_here().map_err(RigError::from)?,
            in_library: station.barcodes_in_slots().map_err(RigError::from)?,
        };
        self.station = Some(station);
        Ok(())
    }

    /// Unloads the last cartridge, and puts it back into its slot.
    fn put_back(&mut self) -> Result<(), JobError> {
        let (Some(station), Some(volser)) = (&mut self.station, self.mounted.take()) else {
            return Ok(());
        };
        let volume = self.catalog.volume(volser)?.map(|volume| volume.id);
        let to = match station.eject(self.catalog, volume, false, self.desk)? {
            Left::Slot(address) | Left::MailSlot(address) => format!("library slot {address}"),
            Left::Unloaded => "unloaded, to be taken out of the drive".into(),
        };
        self.desk.tell(&Event::Ejected { volser, to });
        Ok(())
    }
}

/// On which volumes, in words.
fn on_volumes(plan: &Plan) -> String {
    let volumes = plan.legs.iter().filter_map(|leg| match leg {
        Leg::Volume(volume, _) => Some(volume.volser.to_string()),
        Leg::Staging(..) => None,
    });
    let volumes: Vec<String> = volumes.collect();
    if volumes.is_empty() { String::new() } else { format!(": {}", volumes.join(", ")) }
}

fn put_empty(
    destination: &mut Destination,
    wanted: &wanted::Wanted,
) -> Result<crate::destination::Restored, crate::destination::DestinationError> {
    let file = destination.create(&wanted.target.0, &wanted.item)?;
    destination.finish_file(file, Some(&crate::digest::Digest::of(b"")))
}
