//! `library`.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    catalog::Catalog,
    changer::{DrivePlace, Inventory, Place, Role},
    cli::{
        args::Library, bench::Bench, exit::Exit, fail::Failure, jobs::exit_of, media::with_station,
        say,
    },
    ident::Barcode,
    job::{
        JobError, archive,
        library::{self, Survey},
        monitor::EVENTS_VERSION,
        rig::{self, Left, Station},
        stock,
    },
    report::Table,
    unit::Count,
};

/// Runs a command about the library.
pub(in crate::cli) fn library(bench: &Bench, command: &Library) -> Result<Exit, Failure> {
    match command {
        Library::List => list(bench),
        Library::Status => status(bench),
        Library::Inventory => inventory(bench),
        Library::Load { barcode, drive } => load(bench, *barcode, drive.as_deref()),
        Library::Unload { drive } => unload(bench, drive.as_deref()),
        Library::Import { barcodes } => import(bench, barcodes),
        Library::Export { barcodes } => export(bench, barcodes),
        Library::Clean { drive } => {
            let catalog = archive::open_catalog(&bench.settings, &bench.desk)?;
            with_station(bench, drive.as_deref(), |station| {
                empty(station, &catalog, bench)?;
                station.clean(&bench.desk)
            })?;
            Ok(exit_of(bench.desk.ledger.tally()))
        }
    }
}

/// The catalog, if there is one: what a library holds can be seen without.
fn catalog(bench: &Bench) -> Result<Option<Catalog>, Failure> {
    if !Path::new(&bench.settings.catalog.path).exists() {
        return Ok(None);
    }
    Ok(Some(archive::open_catalog(&bench.settings, &bench.desk)?))
}

fn survey(bench: &Bench) -> Result<Survey, Failure> {
    Ok(library::survey(&bench.settings, catalog(bench)?.as_ref(), &bench.desk)?)
}

/// A line of `--json`.
fn event(bench: &Bench, name: &str, mut body: Value) {
    body["v"] = json!(EVENTS_VERSION);
    body["time"] = json!(bench.desk.clock.now());
    body["event"] = json!(name);
    say::line(&body.to_string());
}

fn device(bench: &Bench) -> &str {
    bench.settings.library.as_ref().map_or("", |library| library.changer.as_str())
}

fn list(bench: &Bench) -> Result<Exit, Failure> {
    let found = rig::library(&bench.settings, &bench.desk.clock).map_err(JobError::from)?;
    let Some(mut library) = found else {
        if !bench.json {
            say::aside("the config has no [library]");
        }
        return Ok(Exit::Done);
    };
    let inventory =
        library.inventory().map_err(|error| JobError::from(rig::RigError::from(error)))?;
    let identity = library.identity();
    let counts = [inventory.drives.len(), inventory.slots.len(), inventory.mail_slots.len()];
    if bench.json {
        let body = json!({
            "changer": device(bench),
            "vendor": identity.vendor,
            "product": identity.product,
            "revision": identity.revision,
            "serial": identity.serial,
            "drives": counts[0],
            "slots": counts[1],
            "mail_slots": counts[2],
        });
        event(bench, "library", body);
        return Ok(Exit::Done);
    }
    let headings = ["changer", "vendor", "product", "serial", "drives#", "slots#", "mail slots#"];
    let mut table = Table::new(&headings);
    let mut row = vec![device(bench).to_owned(), identity.vendor.clone()];
    row.extend([identity.product.clone(), identity.serial.clone()]);
    row.extend(counts.iter().map(usize::to_string));
    table.row(row);
    say::text(&table.to_string());
    Ok(Exit::Done)
}

/// Full and free places of one kind.
fn room(places: &[Place]) -> (u64, u64) {
    let full = places.iter().filter(|place| place.full).count() as u64;
    let free = places.iter().filter(|place| place.is_free()).count() as u64;
    (full, free)
}

fn status(bench: &Bench) -> Result<Exit, Failure> {
    let survey = survey(bench)?;
    let Inventory { slots, mail_slots, drives, .. } = &survey.inventory;
    let exit = if survey.problems.is_empty() { Exit::Done } else { Exit::Findings };
    let full = survey.inventory.all().filter(|(_, place)| place.full);
    let cartridges = full.clone().count() as u64;
    let known = full.filter(|(_, place)| survey.volume(place).is_some()).count() as u64;
    let cleaning = survey.cleaning().count() as u64;
    let unknown = cartridges - known - cleaning;
    let ((slots_full, slots_free), (mail_full, mail_free)) = (room(slots), room(mail_slots));
    let identity = &survey.identity;
    if bench.json {
        let body = json!({
            "changer": device(bench),
            "vendor": identity.vendor,
            "product": identity.product,
            "revision": identity.revision,
            "serial": identity.serial,
            "slots": { "total": slots.len(), "full": slots_full, "free": slots_free },
            "mail_slots": { "total": mail_slots.len(), "full": mail_full, "free": mail_free },
            "cartridges": { "known": known, "unknown": unknown, "cleaning": cleaning },
            "drives": drives.iter().map(|drive| drive_of(&survey, drive)).collect::<Vec<_>>(),
            "problems": survey.problems,
        });
        event(bench, "library-status", body);
        return Ok(exit);
    }
    say::text(&format!(
        "library     {} {} {}, serial number {}\nchanger     {}\nslots       {}, {} full, {} free\n\
         mail slots  {}, {} full, {} free\n\
         cartridges  {}: {} known to this catalog, {} unknown, {} for cleaning\n\n",
        identity.vendor,
        identity.product,
        identity.revision,
        identity.serial,
        device(bench),
        slots.len(),
        Count(slots_full),
        Count(slots_free),
        mail_slots.len(),
        Count(mail_full),
        Count(mail_free),
        Count(cartridges),
        Count(known),
        Count(unknown),
        Count(cleaning),
    ));
    let mut table = Table::new(&["drive", "element#", "serial", "device", "cartridge", "from"]);
    for drive in drives {
        let attached = survey.drives.get(&drive.place.address);
        table.row(vec![
            attached.map_or("(not in the config)", |drive| &drive.name).to_owned(),
            drive.place.address.to_string(),
            drive.serial.clone().unwrap_or_else(|| "not told".into()),
            attached.map_or("", |drive| &drive.device).to_owned(),
            if drive.place.full { drive.place.sticker() } else { "empty".into() },
            origin(&survey, &drive.place),
        ]);
    }
    say::text(&table.to_string());
    if !survey.problems.is_empty() {
        say::line("");
        survey.problems.iter().for_each(|problem| say::line(&format!("! {problem}")));
    }
    Ok(exit)
}

/// The slot that a cartridge came from, in words.
fn origin(survey: &Survey, place: &Place) -> String {
    let source = place.source.filter(|_| place.full);
    source.map_or_else(String::new, |address| survey.inventory.name_of(address))
}

fn drive_of(survey: &Survey, drive: &DrivePlace) -> Value {
    let attached = survey.drives.get(&drive.place.address);
    json!({
        "drive": attached.map(|drive| &drive.name),
        "device": attached.map(|drive| &drive.device),
        "element": drive.place.address,
        "serial": drive.serial,
        "full": drive.place.full,
        "barcode": drive.place.tag,
        "from": drive.place.source,
    })
}

fn inventory(bench: &Bench) -> Result<Exit, Failure> {
    let survey = survey(bench)?;
    let headings = ["place", "cartridge", "pool", "status", "verified", "custody", "remark"];
    let mut table = Table::new(&headings);
    let order = [Role::Drive, Role::Slot, Role::MailSlot];
    for (role, place) in order
        .iter()
        .flat_map(|wanted| survey.inventory.all().filter(move |(role, _)| role == wanted))
    {
        if bench.json {
            event(bench, "library-element", element_of(&survey, role, place));
            continue;
        }
        let volume = survey.volume(place);
        let verified = volume.map(|volume| volume.verified);
        table.row(vec![
            role.place(place.address),
            place.sticker(),
            volume.map(|volume| volume.pool.to_string()).unwrap_or_default(),
            volume.map(|volume| volume.status.to_string()).unwrap_or_default(),
            verified.map_or_else(String::new, |when| {
                when.map_or_else(|| "never".into(), |when| when.to_the_second().to_string())
            }),
            volume.map(|volume| volume.custody.to_string()).unwrap_or_default(),
            remark(&survey, role, place),
        ]);
    }
    if !bench.json {
        say::text(&table.to_string());
    }
    survey.problems.iter().for_each(|problem| say::aside(&format!("! {problem}")));
    Ok(if survey.problems.is_empty() { Exit::Done } else { Exit::Findings })
}

/// What else there is to say about an element.
fn remark(survey: &Survey, role: Role, place: &Place) -> String {
    let mut remarks = Vec::new();
    if role == Role::Drive {
        remarks.extend(survey.drives.get(&place.address).map(|drive| drive.name.clone()));
        let drive = survey.inventory.drives.iter().find(|drive| drive.place == *place);
        remarks.extend(drive.and_then(|drive| drive.serial.clone()));
    }
    if place.cleaning {
        remarks.push("for cleaning".into());
    }
    if place.placed_by_operator {
        remarks.push("put in by hand".into());
    }
    if role == Role::Drive && place.full {
        remarks.push(format!("from {}", origin(survey, place)));
    }
    if !place.accessible {
        remarks.push("out of reach".into());
    }
    remarks.join(", ")
}

fn element_of(survey: &Survey, role: Role, place: &Place) -> Value {
    let kind = match role {
        Role::Slot => "slot",
        Role::MailSlot => "mail-slot",
        Role::Drive => "drive",
        Role::Picker => "picker",
    };
    let volume = survey.volume(place);
    let drive = survey.inventory.drives.iter().find(|drive| drive.place.address == place.address);
    let drive = drive.filter(|_| role == Role::Drive);
    json!({
        "element": kind,
        "address": place.address,
        "full": place.full,
        "barcode": place.tag,
        "cleaning": place.cleaning,
        "accessible": place.accessible,
        "placed_by_operator": place.placed_by_operator,
        "from": place.source,
        "drive": survey.drives.get(&place.address).map(|drive| &drive.name),
        "serial": drive.and_then(|drive| drive.serial.clone()),
        "volume": volume.map(|volume| volume.volser),
        "pool": volume.map(|volume| &volume.pool),
        "status": volume.map(|volume| volume.status),
        "verified": volume.and_then(|volume| volume.verified),
        "custody": volume.map(|volume| &volume.custody),
    })
}

fn load(bench: &Bench, barcode: Barcode, drive: Option<&str>) -> Result<Exit, Failure> {
    if barcode.is_cleaning() {
        let what = format!("{barcode} is for cleaning: `tapevault library clean` uses it");
        return Err(Failure::Usage { what });
    }
    let catalog = archive::open_catalog(&bench.settings, &bench.desk)?;
    with_station(bench, drive, |station| {
        if !station.has_library() {
            let what = format!("{} stands in no library", station.name);
            return Err(JobError::Request { what, advice: Some("put it in by hand".into()) });
        }
        stock::bring(station, &catalog, Some(barcode), &bench.desk)?;
        station.identify()?;
        bench.desk.notice(format!("{barcode} is in {}", station.name));
        Ok(())
    })?;
    survey(bench)?;
    Ok(Exit::Done)
}

fn unload(bench: &Bench, drive: Option<&str>) -> Result<Exit, Failure> {
    let catalog = archive::open_catalog(&bench.settings, &bench.desk)?;
    with_station(bench, drive, |station| empty(station, &catalog, bench))?;
    Ok(exit_of(bench.desk.ledger.tally()))
}

/// Takes out whatever is in the drive.
fn empty(station: &mut Station, catalog: &Catalog, bench: &Bench) -> Result<(), JobError> {
    let here = station.barcode_here().map_err(rig::RigError::from)?;
    let left = station.eject(catalog, None, false, &bench.desk)?;
    let cartridge = here.map_or_else(|| "the cartridge".into(), |code| code.to_string());
    match left {
        Left::Slot(address) => bench.desk.notice(format!("{cartridge} is in slot {address}")),
        Left::MailSlot(address) => {
            bench.desk.notice(format!("{cartridge} is in mail slot {address}: no slot is free"));
        }
        Left::Unloaded if station.is_blocked().map_err(rig::RigError::from)? => {
            return Err(JobError::Library {
                what: format!("no place is free for {cartridge}, which is in {}", station.name),
                advice: "take out what stands in the mail slots".into(),
            });
        }
        Left::Unloaded => {}
    }
    Ok(())
}

fn opened(bench: &Bench) -> Result<rig::Library, Failure> {
    let found = rig::library(&bench.settings, &bench.desk.clock).map_err(JobError::from)?;
    found.ok_or_else(|| Failure::Usage { what: "the config has no [library]".into() })
}

fn import(bench: &Bench, barcodes: &[Barcode]) -> Result<Exit, Failure> {
    let moved = library::import(&mut opened(bench)?, barcodes, &bench.desk);
    // What was moved was moved, also when something after it was not.
    survey(bench)?;
    if moved? == 0 && !bench.json {
        say::aside("the mail slots are empty");
    }
    Ok(Exit::Done)
}

fn export(bench: &Bench, barcodes: &[Barcode]) -> Result<Exit, Failure> {
    let moved = library::export(&mut opened(bench)?, barcodes, &bench.desk);
    survey(bench)?;
    moved?;
    Ok(Exit::Done)
}
