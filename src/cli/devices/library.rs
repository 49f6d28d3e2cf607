//! `library`.

use crate::{
    changer::Place,
    cli::{args::Library, bench::Bench, exit::Exit, fail::Failure, media::with_station, say},
    job::{JobError, archive, rig, stock},
    report::Table,
};

/// Runs a command about the library.
pub(in crate::cli) fn library(bench: &Bench, command: &Library) -> Result<Exit, Failure> {
    let desk = &bench.desk;
    match command {
        Library::Inventory => {
            let Some(mut changer) =
                rig::changer(&bench.settings, &desk.clock).map_err(JobError::from)?
            else {
                return Err(Failure::Usage { what: "the config has no [library]".into() });
            };
            let inventory =
                changer.inventory().map_err(|error| JobError::from(rig::RigError::from(error)))?;
            let mut table = Table::new(&["element", "address#", "barcode"]);
            let mut rows = |kind: &str, place: &Place| {
                let tag = if place.full { place.tag.as_deref().unwrap_or("?") } else { "" };
                table.row(vec![kind.into(), place.address.to_string(), tag.trim().into()]);
            };
            inventory.drives.iter().for_each(|drive| rows("drive", &drive.place));
            inventory.slots.iter().for_each(|place| rows("slot", place));
            inventory.mail_slots.iter().for_each(|place| rows("mail slot", place));
            say::text(&table.to_string());
        }
        Library::Load { barcode, drive } => {
            let catalog = archive::open_catalog(&bench.settings, desk)?;
            with_station(bench, drive.as_deref(), |station| {
                stock::bring(station, &catalog, Some(*barcode), desk)?;
                station.identify().map(|_| ())
            })?;
        }
        Library::Unload { drive } => {
            let catalog = archive::open_catalog(&bench.settings, desk)?;
            with_station(bench, drive.as_deref(), |station| station.put_away(&catalog, desk))?;
        }
    }
    Ok(Exit::Done)
}
