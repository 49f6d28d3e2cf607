//! The cartridge of a commissioning: nothing on it may be anybody's.

use crate::{
    catalog::Catalog,
    drive::{DriveError, Medium, Safeguards},
    ident::Barcode,
    job::{
        Desk, JobError,
        commission::Commission,
        mount::{Content, Loaded},
        rig::Station,
    },
    media::{Status, Volume},
    unit::ByteCount,
};

/// A cartridge that may be written.
pub(super) struct Scratch {
    /// Its sticker, else the number of its chip.
    pub(super) name: String,
    /// What fits on it.
    pub(super) room: ByteCount,
}

/// Makes sure that the cartridge in the drive may be written over.
pub(super) fn take(
    catalog: &Catalog,
    station: &mut Station,
    wanted: &Commission,
    desk: &Desk,
) -> Result<Scratch, JobError> {
    let loaded = station.identify()?;
    let Loaded { medium, barcode, content } = &loaded;
    let in_drive = format!("the cartridge in {}", station.name);
    let name = barcode.map_or_else(|| medium.mam_serial.clone(), |code| code.to_string());
    let name = if name.is_empty() { in_drive } else { name };
    let against = |what: String, advice: &str| {
        let (cartridge, advice) = (name.clone(), advice.to_owned());
        Err(JobError::Cartridge { cartridge, what, advice, cause: None })
    };
    let other = "load a blank cartridge";
    if let Some(volume) = known(catalog, medium, *barcode)? {
        let what = format!("it is volume {} of this catalog", volume.volser);
        return against(what, other);
    }
    if barcode.is_some_and(Barcode::is_cleaning) {
        return against("it is a cleaning cartridge".into(), other);
    }
    if medium.worm {
        return against("it can be written once only".into(), other);
    }
    if medium.write_protected {
        return against("it is write-protected".into(), "move its switch, or load another");
    }
    match content {
        Content::Blank => {}
        Content::Labelled { label, .. } if !is_destroyed(catalog, label.volume)? => {
            let what = format!("it is volume {}", label.volser);
            return against(
                what,
                "load a blank cartridge; `tapevault catalog rebuild` reads this one",
            );
        }
        Content::Unreadable { .. } => {
            let what = "what is on it cannot be read, which does not make it blank".into();
            return against(what, "load a blank cartridge; try this one in another drive");
        }
        Content::Foreign { what } if !wanted.erase => {
            let what = format!("it is not blank: {what}");
            return against(what, "load a blank cartridge; --erase destroys what is on this one");
        }
        Content::Foreign { what } => desk.notice(format!("{name} is written over: {what}")),
        Content::Labelled { label, .. } => {
            desk.notice(format!("{name} is written over: {} was erased", label.volser));
        }
    }
    let room = medium
        .capacity
        .map_or(wanted.amount, |capacity| capacity.maximum.unwrap_or(capacity.remaining));
    Ok(Scratch { name, room })
}

/// Leaves the cartridge blank, and the drive without protection.
pub(super) fn leave(station: &mut Station) -> Result<(), DriveError> {
    station.drive.safeguard(&Safeguards::default())?;
    station.drive.rewind()?;
    station.drive.erase_here()?;
    station.drive.rewind()?;
    Ok(())
}

/// The volume that the catalog knows by this chip or this sticker, unless it was destroyed.
fn known(
    catalog: &Catalog,
    medium: &Medium,
    barcode: Option<Barcode>,
) -> Result<Option<Volume>, JobError> {
    let chip = &medium.mam_serial;
    let volumes = catalog.volumes()?.into_iter();
    let mut alive = volumes.filter(|volume| volume.status != Status::Destroyed);
    Ok(alive.find(|volume| {
        let same_chip = !chip.is_empty() && volume.mam_serial == *chip;
        let own = volume.barcode.unwrap_or(Barcode::from(volume.volser));
        same_chip || barcode.is_some_and(|seen| seen.matches(own))
    }))
}

fn is_destroyed(catalog: &Catalog, id: crate::ident::VolumeId) -> Result<bool, JobError> {
    Ok(catalog.volume_by_id(id)?.is_some_and(|volume| volume.status == Status::Destroyed))
}
