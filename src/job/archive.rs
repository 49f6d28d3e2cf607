//! The main job: list, plan, fetch, seal, write, flush, commit, verify, eject; or one half of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    catalog::{Catalog, CatalogError, CopyState, Mode},
    ident::{Barcode, JobName, SegmentId, SetId, SourceName, VolumeId},
    job::{
        Desk, JobError,
        adopt::{self, Adoption, Currency},
        export::{Export, SourcePlan},
        findings::Tally,
        library,
        monitor::{Counters, Event},
        rig::{self, Left, RigError, Station, Whereabouts},
        settings::{EjectTo, JobSettings, Settings},
        sources,
        verify::{self, Scope},
        write::{Afterwards, NoSupply, Supply, Write, unclosed},
    },
    media::{Custody, Volume, lifecycle},
    source::Source,
    staging::{self, Staging, Store, World, files::Disk},
};

/// Which half of the way is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// All of it.
    Both,
    /// List, plan, fetch, seal. Opens no device.
    Export,
    /// Write, flush, commit, verify, eject. Opens no socket.
    Write,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The job.
    pub job: JobName,
    /// Which half of it.
    pub half: Half,
    /// Copies, instead of what the settings say.
    pub copies: Option<u8>,
    /// The drive, instead of the only one.
    pub drive: Option<String>,
    /// Whether to plan only.
    pub dry_run: bool,
}

/// Opens the catalog of the settings, and makes it when there is none: the next job adopts what the
/// tapes have.
///
/// # Errors
///
/// When it cannot be opened, or is of the other mode than the settings say.
pub fn open_catalog(settings: &Settings, desk: &Desk) -> Result<Catalog, JobError> {
    let path = &settings.catalog.path;
    let mode = if settings.catalog.rehearsal { Mode::Rehearsal } else { Mode::Real };
    let catalog = match Catalog::open(path) {
        Err(CatalogError::Missing { .. }) => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(JobError::file("make", folder))?;
            }
            desk.notice(format!("there is no catalog at {}: a new one is made", path.display()));
            Catalog::create(path, mode, &*desk.clock)?
        }
        opened => opened?,
    };
    if catalog.mode() != mode {
        let (is, says) = match mode {
            Mode::Rehearsal => ("for real cartridges", "a rehearsal"),
            Mode::Real => ("a rehearsal's", "not a rehearsal"),
        };
        return Err(JobError::Request {
            what: format!("catalog {} is {is}, but the config says {says}", path.display()),
            advice: Some("check catalog.path and catalog.rehearsal".into()),
        });
    }
    Ok(catalog)
}

/// Refuses to go on with a clock that the catalog's newest event contradicts.
///
/// # Errors
///
/// [`JobError::Clock`] then.
pub fn check_clock(catalog: &Catalog, desk: &Desk) -> Result<(), JobError> {
    lifecycle::plausible(desk.clock.now(), catalog.newest_event()?).map_err(JobError::Clock)
}

/// Runs a job.
///
/// # Errors
///
/// What ended it early. Run again, it goes on where it stopped.
pub fn run(settings: &Settings, request: &Request, desk: &Desk) -> Result<Tally, JobError> {
    let job = settings.jobs.get(&request.job).ok_or_else(|| JobError::Request {
        what: format!("there is no job {} in the config", request.job),
        advice: settings.jobs.keys().next().map(|name| format!("there is `{name}`, for one")),
    })?;
    desk.tell(&Event::JobStarted { job: request.job.as_str(), pool: Some(&job.pool) });
    let catalog = open_catalog(settings, desk)?;
    check_clock(&catalog, desk)?;
    let set = SetId::new();
    let archive = Archive { settings, job, request, catalog: &catalog, set, desk };
    let outcome = archive.run();
    let tally = desk.ledger.tally();
    desk.tell(&Event::JobEnded {
        job: request.job.as_str(),
        outcome: word_for(&outcome, request, tally),
        losses: tally.losses,
        findings: tally.findings,
    });
    outcome.map(|()| tally)
}

/// How a job ended, in a word. Only what did its work is done.
fn word_for(outcome: &Result<(), JobError>, request: &Request, tally: Tally) -> &'static str {
    match (outcome, request.dry_run, tally.is_clean()) {
        (Ok(()), false, true) => "done",
        (Ok(()), false, false) => "done-with-findings",
        (Ok(()), true, true) => "planned",
        (Ok(()), true, false) => "planned-with-findings",
        (Err(JobError::Stopped), _, _) => "stopped",
        (Err(_), _, _) => "failed",
    }
}

/// A source with its name.
type NamedSource = (SourceName, Box<dyn Source>);

struct Archive<'a> {
    settings: &'a Settings,
    job: &'a JobSettings,
    request: &'a Request,
    catalog: &'a Catalog,
    /// What this job writes.
    set: SetId,
    desk: &'a Desk,
}

impl Archive<'_> {
    fn run(&self) -> Result<(), JobError> {
        let staging_dir = &self.settings.staging.dir;
        fs::create_dir_all(staging_dir).map_err(JobError::file("make", staging_dir))?;
        let was_current = self.currency().is_current()?;
        let done = match self.request.half {
            Half::Write => self.write(&NoSupply),
            Half::Export | Half::Both => self.export(),
        };
        // A catalog that knew all knows what this job added, too.
        if was_current || self.currency().is_current()? {
            self.currency().confirm()?;
        }
        done
    }

    fn export(&self) -> Result<(), JobError> {
        let sources = self.sources()?;
        let set = self.set;
        let (staging, recovered) = Staging::open(self.staging_settings()?, set, self.world())?;
        if recovered.members > 0 {
            self.desk.notice(format!(
                "{} items of an interrupted job are taken up again",
                recovered.members
            ));
        }
        let staging = Arc::new(staging);
        let export = Export {
            sources: &sources,
            catalog: self.catalog,
            staging: &staging,
            set,
            alone: self.request.half == Half::Export,
            desk: self.desk,
        };
        export.take_up()?;
        let mut plans = export.plan()?;
        if self.look_ahead(&plans)? {
            plans = export.plan_anew(plans)?;
        }
        export.tell(&plans);
        self.announce(&plans);
        if self.request.dry_run {
            return Ok(());
        }
        if self.request.half == Half::Export {
            export.run(&plans, &|| {})?;
            return Ok(());
        }
        let supply = Exporting::new(&staging, self.desk);
        thread::scope(|scope| {
            let exporting = scope.spawn(|| {
                // Also when the export panics: the tape half must not wait for it.
                let _end = EndOfExport(&supply);
                export.run(&plans, &|| supply.sealed())
            });
            let written = self.write(&supply);
            if written.is_err() {
                // Nobody frees room any more, so the export ends, too.
                self.desk.cancel.set();
                staging.close();
            }
            let exported = exporting.join().expect("the export does not panic");
            match (written, exported) {
                (Ok(()), Ok(_)) => Ok(()),
                (Err(error), _) | (Ok(()), Err(error)) => Err(error),
            }
        })
    }

    /// Before anything is fetched: makes sure that no cartridge holds it already, unless the catalog
    /// is known to know. Whether there was a look.
    fn look_ahead(&self, plans: &[SourcePlan]) -> Result<bool, JobError> {
        let nothing = plans.iter().all(|plan| plan.wanted == 0);
        if nothing || self.currency().is_current()? {
            return Ok(false);
        }
        if self.request.half != Half::Both || self.request.dry_run {
            if self.currency().is_doubtful()? {
                adopt::warn(self.desk);
            }
            return Ok(false);
        }
        let store = Store::open(&self.settings.staging.dir, Arc::new(Disk))?;
        let staged = store.sealed()?.into_iter().map(|sealed| sealed.segment).collect();
        let drive = self.request.drive.as_deref();
        rig::with_station(self.settings, drive, &self.desk.clock, |station| {
            let (catalog, desk) = (self.catalog, self.desk);
            Adoption { catalog, station, desk, staged }.look_ahead()
        })?;
        self.currency().confirm()?;
        Ok(true)
    }

    fn currency(&self) -> Currency<'_> {
        Currency::new(self.catalog, self.settings)
    }

    fn sources(&self) -> Result<Vec<NamedSource>, JobError> {
        let open =
            |name: &SourceName| Ok((name.clone(), sources::open(name, self.settings, self.desk)?));
        self.job.sources.iter().map(open).collect()
    }

    fn copies(&self) -> u8 {
        self.request.copies.unwrap_or(self.job.copies)
    }

    fn staging_settings(&self) -> Result<staging::Settings, JobError> {
        let pool = &self.settings.pools[&self.job.pool];
        let known = self.catalog.volumes()?;
        let smallest = known
            .iter()
            .filter(|volume| volume.pool == self.job.pool && volume.capacity_bytes > 0)
            .map(|volume| volume.capacity_bytes)
            .min();
        let cartridge = smallest.map(crate::unit::ByteCount).or(pool.capacity);
        let block_size = u32::try_from(pool.block_size.0).expect("checked with the config");
        let configured = &self.settings.staging;
        let mut settings =
            staging::Settings::new(&configured.dir, configured.budget, cartridge, block_size)
                .scaled(self.settings.scale());
        if let Some(segment) = configured.segment {
            settings.segment_bytes = settings.segment_bytes.min(segment.0);
            settings.part_bytes = settings.segment_bytes / 4 / (1 << 20) * (1 << 20);
        }
        settings.check()?;
        Ok(settings)
    }

    fn world(&self) -> World {
        World {
            files: Arc::new(Disk),
            clock: Arc::clone(&self.desk.clock),
            cancel: self.desk.cancel.clone(),
        }
    }

    /// Says what the plan comes to: how much is to be written, and how often cartridges change.
    fn announce(&self, plans: &[SourcePlan]) {
        let wanted: u64 = plans.iter().map(|plan| plan.wanted_bytes).sum();
        let copies = u64::from(self.copies());
        Counters::add(&self.desk.counters.to_write_bytes, wanted * copies);
        let rounds = wanted.div_ceil(self.settings.staging.budget.0.max(1));
        if copies > 1 && self.settings.drives.len() == 1 && rounds > 0 {
            let swaps = rounds * copies - 1;
            let why =
                "one drive writes several copies, and staging holds a part of the set at a time";
            self.desk.tell(&Event::SwapsExpected { swaps, why });
        }
    }

    fn write(&self, supply: &dyn Supply) -> Result<(), JobError> {
        let staging = &self.settings.staging;
        let store = Store::open(&staging.dir, Arc::new(Disk))?;
        if self.request.dry_run {
            let sealed = store.sealed()?;
            let bytes: u64 = sealed.iter().map(|sealed| sealed.bytes).sum();
            self.desk.notice(format!("{} segments are staged, {bytes} bytes", sealed.len()));
            return Ok(());
        }
        // When nothing is to be written, no drive is needed.
        while !self.has_work(&store)? {
            // Asked first, so that what is sealed in between is not missed.
            let exporting = supply.is_exporting();
            if !exporting && !self.has_work(&store)? {
                return Ok(());
            }
            if exporting {
                supply.wait(Duration::from_millis(200));
            }
        }
        let drive = self.request.drive.as_deref();
        rig::with_station(self.settings, drive, &self.desk.clock, |station| {
            self.write_with(station, &store, supply)
        })
    }

    fn write_with(
        &self,
        station: &mut Station,
        store: &Store,
        supply: &dyn Supply,
    ) -> Result<(), JobError> {
        self.look_at_library(station)?;
        let to = self.settings.library.as_ref().map(|library| library.eject).unwrap_or_default();
        let mut afterwards =
            VerifyAndEject { job: self.job, catalog: self.catalog, to, desk: self.desk };
        afterwards.clear(station, Owed::BeforeWriting)?;
        self.writer(station, store).run(supply, &mut afterwards)?;
        afterwards.clear(station, Owed::AtTheEnd)?;
        let mut writer = self.writer(station, store);
        writer.free_verified()?;
        writer.tell_unverified()
    }

    /// Where the library's cartridges are now: some may have been taken out, or put in.
    fn look_at_library(&self, station: &mut Station) -> Result<(), JobError> {
        if let Some((inventory, element)) = station.look().map_err(RigError::from)? {
            let drives = BTreeMap::from([(element, station.name.clone())]);
            library::sight(self.catalog, &inventory, &drives, self.desk)?;
        }
        Ok(())
    }

    fn writer<'a>(&'a self, station: &'a mut Station, store: &'a Store) -> Write<'a> {
        Write {
            catalog: self.catalog,
            store,
            staging: &self.settings.staging,
            station,
            pool: &self.job.pool,
            pool_settings: &self.settings.pools[&self.job.pool],
            copies: u32::from(self.copies()),
            set: self.set,
            desk: self.desk,
        }
    }

    fn has_work(&self, store: &Store) -> Result<bool, JobError> {
        Ok(!store.sealed()?.is_empty()
            || !self.catalog.runs_to_index(None, 1)?.is_empty()
            || unclosed(self.catalog, &self.job.pool)?.is_some()
            || self.is_owed()?)
    }

    /// Whether an interrupted job left a volume unverified, or to be ejected.
    fn is_owed(&self) -> Result<bool, JobError> {
        let only = Some(&self.settings.drives).filter(|drives| drives.len() == 1);
        let only = only.and_then(|drives| drives.keys().next());
        let Some(drive) = self.request.drive.as_ref().or(only) else { return Ok(false) };
        Ok(!owed(drive, self.job, self.catalog)?.is_empty())
    }
}

/// After a session: the volume is read back and leaves the drive.
struct VerifyAndEject<'a> {
    job: &'a JobSettings,
    catalog: &'a Catalog,
    to: EjectTo,
    desk: &'a Desk,
}

impl Afterwards for VerifyAndEject<'_> {
    fn closed(
        &mut self,
        station: &mut Station,
        volume: VolumeId,
        segments: &[SegmentId],
    ) -> Result<(), JobError> {
        if self.job.verify {
            // With them, what an interrupted job wrote and did not come to verify.
            let mut segments: BTreeSet<SegmentId> = segments.iter().copied().collect();
            segments.extend(unverified(self.catalog, volume)?);
            let scope = Scope::Segments(segments.into_iter().collect());
            verify::volume(self.catalog, station, volume, &scope, self.desk)?;
        }
        self.leave(station, volume)
    }
}

/// When it is looked for what an interrupted job owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    /// Only what would make way for other cartridges is in the way.
    BeforeWriting,
    /// All of it.
    AtTheEnd,
}

impl VerifyAndEject<'_> {
    /// Ends what an interrupted job began: verifies the volumes that it did not come to verify, and
    /// ejects the one that it left in the drive.
    fn clear(&self, station: &mut Station, when: Owed) -> Result<(), JobError> {
        for (volume, unverified) in owed(&station.name, self.job, self.catalog)? {
            let in_way = when == Owed::AtTheEnd
                || (matches!(volume.custody, Custody::InDrive { .. })
                    && !unverified.is_empty()
                    && !lifecycle::takes_data(volume.status)
                    && unclosed(self.catalog, &self.job.pool)?.is_none());
            if in_way {
                self.settle(station, &volume, unverified)?;
            }
        }
        Ok(())
    }

    fn settle(
        &self,
        station: &mut Station,
        volume: &Volume,
        unverified: Vec<SegmentId>,
    ) -> Result<(), JobError> {
        if matches!(volume.custody, Custody::InDrive { .. }) {
            if !self.is_still_there(station, volume)? {
                return Ok(());
            }
        } else {
            verify::bring(self.catalog, station, volume, self.desk)?;
        }
        if self.job.verify && !unverified.is_empty() {
            let scope = Scope::Segments(unverified);
            verify::volume(self.catalog, station, volume.id, &scope, self.desk)?;
        }
        self.leave(station, volume.id)
    }

    /// Whether the volume that an interrupted job left in the drive is there; its place is noted
    /// if not.
    fn is_still_there(&self, station: &mut Station, volume: &Volume) -> Result<bool, JobError> {
        let barcode = volume.barcode.unwrap_or(Barcode::from(volume.volser));
        let mut loaded = station.is_loaded().map_err(station.failed(Some(volume)))?;
        if !loaded && station.find(barcode).map_err(RigError::from)? == Whereabouts::Here {
            loaded = station.fetch(barcode)?;
        }
        if !loaded {
            let custody = match station.find(barcode).map_err(RigError::from)? {
                Whereabouts::Slot(slot) => Custody::InLibrary { slot },
                Whereabouts::Here | Whereabouts::OtherDrive(_) | Whereabouts::Outside => {
                    Custody::Unloaded
                }
            };
            self.desk.set_custody(self.catalog, volume.id, custody)?;
            return Ok(false);
        }
        // Also when its label cannot be read any more: that is for the verification to say.
        Ok(verify::in_drive(self.catalog, station)? == volume.id)
    }

    fn leave(&self, station: &mut Station, volume: VolumeId) -> Result<(), JobError> {
        if !self.job.eject {
            return Ok(());
        }
        let out = self.to == EjectTo::MailSlot;
        let left = station.eject(self.catalog, Some(volume), out, self.desk)?;
        let to = match left {
            Left::MailSlot(address) => format!("mail slot {address}, to be taken out"),
            Left::Slot(address) if out => {
                format!("library slot {address}, since no mail slot is free")
            }
            Left::Slot(address) => format!("library slot {address}"),
            Left::Unloaded => "unloaded, to be taken out of the drive".into(),
        };
        if let Some(volume) = self.catalog.volume_by_id(volume)? {
            self.desk.tell(&Event::Ejected { volser: volume.volser, to });
        }
        Ok(())
    }
}

/// The volumes of the job's pool that are in the drive although the job ejects, or within reach
/// with segments that the job verifies and nobody did; and these segments. The drive's comes first.
fn owed(
    drive: &str,
    job: &JobSettings,
    catalog: &Catalog,
) -> Result<Vec<(Volume, Vec<SegmentId>)>, JobError> {
    let mut owed = Vec::new();
    for volume in catalog.volumes()? {
        let here = match &volume.custody {
            Custody::InDrive { drive: name } if name == drive => true,
            Custody::InLibrary { .. } => false,
            Custody::InDrive { .. }
            | Custody::Unloaded
            | Custody::Removed
            | Custody::Vaulted { .. }
            | Custody::Unknown => continue,
        };
        if volume.pool != job.pool {
            continue;
        }
        let holds = !catalog.copies_on(volume.id)?.is_empty();
        let unverified = unverified(catalog, volume.id)?;
        if (here && job.eject && holds) || (job.verify && !unverified.is_empty()) {
            owed.push((!here, volume, unverified));
        }
    }
    owed.sort_by_key(|(elsewhere, ..)| *elsewhere);
    Ok(owed.into_iter().map(|(_, volume, unverified)| (volume, unverified)).collect())
}

/// The segments of a volume that nobody read back yet.
fn unverified(catalog: &Catalog, volume: VolumeId) -> Result<Vec<SegmentId>, JobError> {
    let copies = catalog.copies_on(volume)?.into_iter();
    let unread = copies.filter(|copy| copy.state == CopyState::OnTape);
    Ok(unread.map(|copy| copy.segment).collect())
}

/// An export that runs beside the tape half.
struct Exporting<'a> {
    staging: &'a Staging,
    desk: &'a Desk,
    running: AtomicBool,
    news: Mutex<bool>,
    bell: Condvar,
}

impl<'a> Exporting<'a> {
    fn new(staging: &'a Staging, desk: &'a Desk) -> Self {
        Self {
            staging,
            desk,
            running: AtomicBool::new(true),
            news: Mutex::new(false),
            bell: Condvar::new(),
        }
    }

    fn sealed(&self) {
        *self.news.lock().expect("no holder panics") = true;
        self.bell.notify_all();
    }

    fn end(&self) {
        self.running.store(false, Ordering::Release);
        self.sealed();
    }
}

/// Says that the export has ended, however it did.
struct EndOfExport<'a>(&'a Exporting<'a>);

impl Drop for EndOfExport<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Supply for Exporting<'_> {
    fn is_exporting(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    fn is_blocked(&self) -> bool {
        self.staging.is_blocked()
    }

    fn wait(&self, limit: Duration) {
        self.desk.progress();
        let news = self.news.lock().expect("no holder panics");
        let (mut news, _) =
            self.bell.wait_timeout_while(news, limit, |news| !*news).expect("no holder panics");
        *news = false;
    }
}
