//! `drive`.

use crate::{
    cli::{args::DriveCommand, bench::Bench, exit::Exit, fail::Failure, media::with_station, say},
    drive::MediumState,
    job::{JobError, rig::Station},
    report::Table,
};

/// Runs a command about drives.
pub(in crate::cli) fn drive(bench: &Bench, command: &DriveCommand) -> Result<Exit, Failure> {
    match command {
        DriveCommand::List => {
            let mut table = Table::new(&["drive", "device"]);
            for (name, drive) in &bench.settings.drives {
                table.row(vec![name.clone(), drive.device.clone()]);
            }
            say::text(&table.to_string());
        }
        DriveCommand::Status { drive } => status(bench, drive.as_deref())?,
    }
    Ok(Exit::Done)
}

fn status(bench: &Bench, name: Option<&str>) -> Result<(), Failure> {
    with_station(bench, name, |station| {
        let failed = station.failed(None);
        let identity = station.drive.identity().clone();
        say::line(&format!(
            "{}: {} {} {}, serial {}",
            station.name, identity.vendor, identity.product, identity.revision, identity.serial
        ));
        let state = station.drive.state().map_err(&failed)?;
        say::line(match state {
            MediumState::Empty => "no cartridge",
            MediumState::Unloaded => "a cartridge that is not loaded",
            MediumState::Loading => "busy, or loading a cartridge",
            MediumState::Ready => "ready",
        });
        if state == MediumState::Ready {
            cartridge_status(station)?;
        }
        Ok(())
    })
}

fn cartridge_status(station: &mut Station) -> Result<(), JobError> {
    let failed = station.failed(None);
    let medium = station.drive.medium().map_err(&failed)?;
    let yes = |is: bool| if is { "yes" } else { "no" };
    say::line(&format!(
        "density {:#04x}, write-protected: {}, write-once: {}, chip {}",
        medium.density,
        yes(medium.write_protected),
        yes(medium.worm),
        if medium.mam_serial.is_empty() { "not readable" } else { &medium.mam_serial }
    ));
    if let Some(capacity) = &medium.capacity {
        let maximum = capacity.maximum.map_or_else(|| "?".into(), |bytes| bytes.to_string());
        say::line(&format!("{} left of {maximum}", capacity.remaining));
    }
    for alert in station.drive.tape_alerts().map_err(&failed)?.iter() {
        say::line(&format!("TapeAlert {alert}"));
    }
    Ok(())
}
