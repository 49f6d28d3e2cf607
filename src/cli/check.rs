//! `check`: is all of it fit to run? Each line is one thing, and whether it is.

use crate::{
    causes,
    cli::{bench::Bench, exit::Exit, fail::Failure, media::with_station, say},
    drive::MediumState,
    ident::PoolName,
    job::{JobError, archive, rig, settings::PoolEncryption, sources},
    keys::{KeyRing, Owner},
    unit::{Binary, ByteCount},
};

/// What checking came to.
#[derive(Default)]
struct Checks {
    worst: Option<Exit>,
}

impl Checks {
    /// Prints one line, and remembers the first thing that is not fit.
    fn note(&mut self, what: &str, outcome: Result<String, Failure>) {
        match outcome {
            Ok(words) => say::line(&format!("ok    {what}: {words}")),
            Err(failure) => {
                say::line(&format!("FAIL  {what}: {}", failure.message()));
                self.worst.get_or_insert(failure.exit());
            }
        }
    }
}

/// Runs all checks, also after one failed.
pub(super) fn run(bench: &Bench) -> Result<Exit, Failure> {
    let mut checks = Checks::default();
    checks.note("config", Ok(bench.path.display().to_string()));
    checks.note("staging", staging(bench));
    checks.note("catalog and clock", catalog(bench));
    for name in bench.settings.sources.keys() {
        let opened = sources::open(name, &bench.settings, &bench.desk)
            .and_then(|source| sources::probe(name, &*source, &bench.desk));
        checks.note(&format!("source {name}"), opened.map_err(Failure::from));
    }
    for (pool, settings) in &bench.settings.pools {
        if settings.encryption != PoolEncryption::Off {
            checks.note(&format!("keys of pool {pool}"), keys(bench, pool, settings.encryption));
        }
    }
    for name in bench.settings.drives.keys() {
        checks.note(&format!("drive {name}"), drive(bench, name));
    }
    if bench.settings.library.is_some() {
        checks.note("library", library(bench));
    }
    Ok(checks.worst.unwrap_or(Exit::Done))
}

fn staging(bench: &Bench) -> Result<String, Failure> {
    let dir = &bench.settings.staging.dir;
    let failed = |operation: &'static str| {
        move |cause| JobError::File { operation, path: Some(dir.clone()), cause }
    };
    std::fs::create_dir_all(dir).map_err(failed("make"))?;
    let room = rustix::fs::statvfs(dir).map_err(|errno| failed("look at")(errno.into()))?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let budget = bench.settings.staging.budget.0;
    let used = folder_bytes(dir);
    if free.saturating_add(used) < budget {
        return Err(Failure::Usage {
            what: format!(
                "{} has {} free and {} staged, less than the budget of {}",
                dir.display(),
                ByteCount(free),
                ByteCount(used),
                Binary(budget)
            ),
        });
    }
    Ok(format!("{}, {} free, budget {}", dir.display(), ByteCount(free), Binary(budget)))
}

/// Bytes of the files in a folder and the folders in it.
fn folder_bytes(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => folder_bytes(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn catalog(bench: &Bench) -> Result<String, Failure> {
    let path = &bench.settings.catalog.path;
    if !path.exists() {
        return Ok(format!("none yet at {}; the first job makes it", path.display()));
    }
    let catalog = archive::open_catalog(&bench.settings, &bench.desk)?;
    archive::check_clock(&catalog, &bench.desk)?;
    Ok(format!("{}, {} volumes", path.display(), catalog.volumes()?.len()))
}

/// Whether the key file opens, and a volume could be begun.
fn keys(bench: &Bench, pool: &PoolName, encryption: PoolEncryption) -> Result<String, Failure> {
    let Some(settings) = &bench.settings.keys else { return Ok("none".into()) };
    let ring = KeyRing::open(settings)?;
    if encryption == PoolEncryption::PoolKey {
        let key = ring.for_label(&Owner::Pool(pool.clone()))?;
        return Ok(format!("{} is on paper", key.id()));
    }
    Ok(format!("{} in {}", ring.keys().len(), settings.file.display()))
}

fn drive(bench: &Bench, name: &str) -> Result<String, Failure> {
    with_station(bench, Some(name), |station| {
        let identity = station.drive.identity();
        let words = format!("{} {} {}", identity.vendor, identity.product, identity.serial);
        let failed = station.failed(None);
        let holding = match station.drive.state().map_err(failed)? {
            MediumState::Empty => "empty",
            MediumState::Unloaded => "a cartridge is not loaded",
            MediumState::Loading => "loading",
            MediumState::Ready => "a cartridge is loaded",
        };
        Ok(format!("{words}, {holding}"))
    })
}

fn library(bench: &Bench) -> Result<String, Failure> {
    let failed = |error: rig::RigError| {
        tracing::debug!(error = causes::chain(&error), "library");
        Failure::Job(error.into())
    };
    let opened = rig::changer(&bench.settings, &bench.desk.clock).map_err(failed)?;
    let Some(mut changer) = opened else { return Ok("none".into()) };
    let inventory = changer.inventory().map_err(|error| failed(error.into()))?;
    let full = inventory.slots.iter().filter(|place| place.full).count();
    Ok(format!(
        "{} drives, {} slots ({full} full), {} mail slots",
        inventory.drives.len(),
        inventory.slots.len(),
        inventory.mail_slots.len()
    ))
}
