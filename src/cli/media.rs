//! `media`, `catalog` and `verify`: commands about volumes.

use crate::{
    catalog::{Catalog, Method},
    cli::{
        args::{self, CatalogCommand, Media},
        bench::Bench,
        exit::Exit,
        fail::Failure,
        jobs::exit_of,
        say,
    },
    ident::Volser,
    job::{
        JobError, archive,
        monitor::Event,
        rig::{self, Station},
        stock,
        verify::{self, Scope},
    },
    media::{Custody, Volume},
    report::Table,
    unit::{ByteCount, Count},
};

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

/// Runs a command about cartridges.
pub(super) fn media(bench: &Bench, media: &Media) -> Result<Exit, Failure> {
    let catalog = archive::open_catalog(&bench.settings, &bench.desk)?;
    let desk = &bench.desk;
    match media {
        Media::List => list(&catalog, bench.json)?,
        Media::Show { volser } => show(&catalog, *volser, bench.json)?,
        Media::Label { volser, pool, drive } => {
            with_station(bench, drive.as_deref(), |station| {
                stock::label(&bench.settings, &catalog, station, (*volser, pool), desk)
            })?;
        }
        Media::Remove { barcode } => {
            let mut changer = rig::changer(&bench.settings, &desk.clock).map_err(JobError::from)?;
            let volume = stock::remove(&catalog, changer.as_mut(), *barcode, desk)?;
            say::aside(&format!("{} is {}: offline", volume.volser, volume.custody));
        }
        Media::Vault { volser, place } => {
            let volume = stock::known(&catalog, *volser)?;
            let place = place.clone();
            desk.set_custody(&catalog, volume.id, Custody::Vaulted { place })?;
        }
        Media::Recall { volser } => {
            let volume = stock::known(&catalog, *volser)?;
            desk.set_custody(&catalog, volume.id, Custody::Unloaded)?;
        }
        Media::Retire { volser } => {
            stock::retire(&catalog, *volser, desk)?;
        }
        Media::Erase { volser, confirm, drive } => {
            with_station(bench, drive.as_deref(), |station| {
                stock::erase(&catalog, station, (*volser, *confirm), desk)
            })?;
        }
    }
    Ok(Exit::Done)
}

/// Does work with a drive, and gives it up afterwards.
pub(super) fn with_station<T>(
    bench: &Bench,
    drive: Option<&str>,
    work: impl FnOnce(&mut Station) -> Result<T, JobError>,
) -> Result<T, Failure> {
    Ok(rig::with_station(&bench.settings, drive, &bench.desk.clock, work)?)
}

fn list(catalog: &Catalog, json: bool) -> Result<(), Failure> {
    let mut table = Table::new(&[
        "volume",
        "pool",
        "status",
        "segments#",
        "bytes#",
        "verified",
        "custody",
        "offline",
    ]);
    for volume in catalog.volumes()? {
        let holdings = catalog.holdings(volume.id)?;
        if json {
            say::line(&json_of(&volume)?);
            continue;
        }
        table.row(vec![
            volume.volser.to_string(),
            volume.pool.to_string(),
            volume.status.to_string(),
            Count(holdings.segments).to_string(),
            ByteCount(holdings.bytes).to_string(),
            volume.verified.map_or_else(|| "never".into(), |when| when.to_the_second().to_string()),
            volume.custody.to_string(),
            offline(&volume).into(),
        ]);
    }
    if !json {
        say::text(&table.to_string());
    }
    Ok(())
}

fn offline(volume: &Volume) -> &'static str {
    match (volume.emulated, volume.custody.is_offline()) {
        (true, _) => "rehearsal",
        (false, true) => "yes",
        (false, false) => "no",
    }
}

fn json_of(volume: &Volume) -> Result<String, Failure> {
    serde_json::to_string(volume).map_err(|error| Failure::Usage { what: error.to_string() })
}

fn show(catalog: &Catalog, volser: Volser, json: bool) -> Result<(), Failure> {
    let volume = stock::known(catalog, volser)?;
    if json {
        say::line(&json_of(&volume)?);
        return Ok(());
    }
    let barcode = volume.barcode.map_or_else(|| "none".into(), |code| code.to_string());
    let protected = volume.protected_until.map_or_else(|| "no".into(), |until| until.to_string());
    say::text(&format!(
        "volume     {volser}\nbarcode    {barcode}\nchip       {}\npool       {}\nstatus     {}\n\
         custody    {}, since {}\noffline    {}\nlabelled   {}\nprotected  {protected}\n\
         capacity   {}\n",
        volume.mam_serial,
        volume.pool,
        volume.status,
        volume.custody,
        volume.custody_since.to_the_second(),
        offline(&volume),
        volume.created.to_the_second(),
        ByteCount(volume.capacity_bytes),
    ));
    let mut table = Table::new(&["file#", "object#", "members#", "bytes#", "state", "segment"]);
    for copy in catalog.copies_on(volume.id)? {
        let Some(segment) = catalog.segment(copy.segment)? else { continue };
        table.row(vec![
            copy.file.to_string(),
            copy.object.to_string(),
            Count(segment.members).to_string(),
            ByteCount(segment.bytes).to_string(),
            format!("{:?}", copy.state).to_lowercase(),
            segment.id.to_string(),
        ]);
    }
    if !table.is_empty() {
        say::text(&format!("\n{table}"));
    }
    for evidence in catalog.evidence(volume.id)? {
        let extent = if evidence.whole { "whole" } else { "in part" };
        let method = match evidence.method {
            Method::AfterRewind => "after a rewind",
            Method::AfterReload => "after unloading and loading it",
            Method::OtherDrive => "another drive than the one that wrote it",
        };
        say::line(&format!(
            "read back {extent} {} in {} ({method}): {} findings",
            evidence.when, evidence.drive, evidence.findings
        ));
    }
    Ok(())
}

/// Reads volumes back.
pub(super) fn verify(bench: &Bench, verify: &args::Verify) -> Result<Exit, Failure> {
    let catalog = bench.catalog()?;
    let desk = &bench.desk;
    let scope = verify.sample.map_or(Scope::Whole, Scope::Sample);
    let mut volumes = Vec::new();
    for volser in &verify.volumes {
        volumes.push(stock::known(&catalog, *volser)?);
    }
    if let Some(days) = verify.due {
        volumes = due(bench, &catalog, days)?;
        if volumes.is_empty() {
            say::aside("no volume is due");
            return Ok(Exit::Done);
        }
    }
    with_station(bench, verify.drive.as_deref(), |station| {
        if volumes.is_empty() {
            let id = verify::in_drive(&catalog, station)?;
            verify::volume(&catalog, station, id, &scope, desk)?;
        }
        let mut obstacle = None;
        for volume in &volumes {
            desk.go_on()?;
            match verify::bring(&catalog, station, volume, desk) {
                Ok(()) => {}
                // One that cannot be had keeps nobody from reading the others.
                Err(error @ (JobError::Operator { .. } | JobError::Cartridge { .. })) => {
                    let what = format!("it cannot be read now: {error}");
                    desk.tell(&Event::VolumeFinding { volser: volume.volser, what });
                    obstacle.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            verify::volume(&catalog, station, volume.id, &scope, desk)?;
            station.put_away(&catalog, desk)?;
        }
        obstacle.map_or(Ok(()), Err)
    })?;
    Ok(exit_of(desk.ledger.tally()))
}

/// Volumes with data that were not verified for so many days, the longest first.
fn due(bench: &Bench, catalog: &Catalog, days: u32) -> Result<Vec<Volume>, Failure> {
    let now = bench.desk.clock.now();
    let mut volumes = Vec::new();
    for volume in catalog.volumes()? {
        let fresh =
            volume.verified.is_some_and(|when| now.since(when).as_secs() < u64::from(days) * DAY);
        if !fresh && catalog.holdings(volume.id)?.segments > 0 {
            volumes.push(volume);
        }
    }
    volumes.sort_by_key(|volume| volume.verified);
    Ok(volumes)
}

/// Runs a command about the catalog.
pub(super) fn catalog(bench: &Bench, command: &CatalogCommand) -> Result<Exit, Failure> {
    match command {
        CatalogCommand::Rebuild { barcodes, drive } => {
            let catalog = archive::open_catalog(&bench.settings, &bench.desk)?;
            let read = with_station(bench, drive.as_deref(), |station| {
                stock::rebuild(&catalog, station, barcodes, &bench.desk)
            })?;
            say::aside(&format!("{} volumes are in the catalog", Count(read)));
            Ok(exit_of(bench.desk.ledger.tally()))
        }
        CatalogCommand::Check => {
            let findings = bench.catalog()?.check()?;
            for finding in &findings {
                say::line(&finding.to_string());
            }
            Ok(if findings.is_empty() { Exit::Done } else { Exit::Findings })
        }
    }
}
