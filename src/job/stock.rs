//! Cartridges in an operator's hands: labelling, custody, retirement, erasure, rebuilding.

use std::collections::BTreeSet;

use crate::{
    catalog::Catalog,
    changer::Changer,
    ident::{Barcode, PoolName, Volser},
    job::{
        Desk, JobError,
        adopt::{Adoption, Taken},
        monitor::{Event, Prompt},
        mount::{Content, Recognised, recognise},
        rig::{RigError, Station},
        settings::Settings,
        write::Labelling,
    },
    media::{Custody, Status, Volume, lifecycle},
};

/// The volume of this name.
///
/// # Errors
///
/// When the catalog does not know it.
pub fn known(catalog: &Catalog, volser: Volser) -> Result<Volume, JobError> {
    catalog
        .volume(volser)?
        .ok_or_else(|| JobError::NotHeld { what: format!("this catalog knows no volume {volser}") })
}

/// Labels the blank cartridge of this volser: the library's, or the one in the drive.
///
/// # Errors
///
/// When it is not blank, the volser is taken, or drive or library fail.
pub fn label(
    settings: &Settings,
    catalog: &Catalog,
    station: &mut Station,
    (volser, pool): (Volser, &PoolName),
    desk: &Desk,
) -> Result<Volume, JobError> {
    let Some(pool_settings) = settings.pools.get(pool) else {
        return Err(JobError::Request {
            what: format!("there is no pool {pool} in the config"),
            advice: settings.pools.keys().next().map(|name| format!("there is `{name}`, for one")),
        });
    };
    bring(station, catalog, Some(Barcode::from(volser)), desk)?;
    let loaded = station.identify()?;
    let barcode = loaded.barcode;
    let emulated = station.drive.identity().emulated;
    let medium = loaded.medium.clone();
    let destroyed = match &loaded.content {
        Content::Labelled { label, .. } => catalog
            .volume_by_id(label.volume)?
            .is_some_and(|volume| volume.status == Status::Destroyed),
        Content::Blank | Content::Foreign { .. } | Content::Unreadable { .. } => false,
    };
    let in_drive = format!("the cartridge in {}", station.name);
    let cartridge = barcode.map_or(in_drive, |code| code.to_string());
    let refused = |what: String, advice: &str| {
        let advice = advice.to_owned();
        Err(JobError::Cartridge { cartridge: cartridge.clone(), what, advice, cause: None })
    };
    if !destroyed {
        match recognise(catalog, &station.name, emulated, loaded)? {
            Recognised::Blank(..) => {}
            Recognised::Alien(error) => return Err(*error),
            Recognised::Known(mounted) => {
                let what = format!("it is volume {} already", mounted.volume.volser);
                return refused(what, "`tapevault media erase` destroys what is on it");
            }
            Recognised::Unknown(label, ..) => {
                let what =
                    format!("it is a volume, {}, that this catalog does not know", label.volser);
                return refused(what, "`tapevault catalog rebuild` takes it into the catalog");
            }
        }
    }
    let labelling = Labelling { catalog, pool, settings: pool_settings, desk };
    Ok(labelling.write(station, volser, barcode, &medium)?.volume)
}

/// Brings a cartridge into the drive: the one of this barcode if the library has it; else whatever
/// is there is taken for it.
///
/// # Errors
///
/// When drive or library fail.
pub fn bring(
    station: &mut Station,
    catalog: &Catalog,
    barcode: Option<Barcode>,
    desk: &Desk,
) -> Result<(), JobError> {
    let Some(barcode) = barcode.filter(|_| station.has_library()) else { return Ok(()) };
    let here = station.barcode_here().map_err(RigError::from)?;
    if here.is_some_and(|here| here.matches(barcode)) {
        return Ok(());
    }
    let is_loaded = station.is_loaded().map_err(station.failed(None))?;
    if is_loaded || station.is_blocked().map_err(RigError::from)? {
        station.put_away(catalog, desk)?;
    }
    if station.fetch(barcode)? {
        return Ok(());
    }
    Err(JobError::Cartridge {
        cartridge: barcode.to_string(),
        what: "it is not in the library".into(),
        advice: "put it into a mail slot".into(),
        cause: None,
    })
}

/// Records that a cartridge was taken away, by the barcode that was read off it.
///
/// # Errors
///
/// When no such volume is known, or the library still sees it.
pub fn remove(
    catalog: &Catalog,
    changer: Option<&mut Changer>,
    barcode: Barcode,
    desk: &Desk,
) -> Result<Volume, JobError> {
    let volume = known(catalog, barcode.volser())?;
    let is_it = volume.barcode.is_none_or(|sticker| sticker.matches(barcode));
    let seen = changer.map(Changer::inventory).transpose().map_err(RigError::from)?;
    if !is_it || seen.is_some_and(|inventory| inventory.find(barcode).is_some()) {
        return Err(JobError::Cartridge {
            cartridge: barcode.to_string(),
            what: if is_it {
                "the library still holds it".into()
            } else {
                format!("volume {} has another sticker", volume.volser)
            },
            advice: "take it out, and read the barcode off the cartridge in your hand".into(),
            cause: None,
        });
    }
    desk.set_custody(catalog, volume.id, Custody::Removed)
}

/// Never writes to a volume again.
///
/// # Errors
///
/// When no such volume is known.
pub fn retire(catalog: &Catalog, volser: Volser, desk: &Desk) -> Result<Volume, JobError> {
    let volume = known(catalog, volser)?;
    desk.change_volume(catalog, volume.id, "volume.retired", |volume| {
        volume.status = Status::Retired;
    })
}

/// Destroys what is on a volume. That the copies are gone is committed before the first write.
///
/// # Errors
///
/// When the volume is still needed or protected, it is not the one in the drive, the operator does
/// not confirm, or the drive fails.
pub fn erase(
    catalog: &Catalog,
    station: &mut Station,
    (volser, confirmed): (Volser, Option<Volser>),
    desk: &Desk,
) -> Result<(), JobError> {
    let volume = known(catalog, volser)?;
    let needed = catalog.indispensable(volume.id, 1)?.len() as u64;
    let (now, newest) = (desk.clock.now(), catalog.newest_event()?);
    if let Err(kept) = lifecycle::may_overwrite(&volume, needed, now, newest) {
        return Err(JobError::Cartridge {
            cartridge: volser.to_string(),
            what: format!("it must not be erased: {kept}"),
            advice: "make and verify other copies first, or wait until its date has passed".into(),
            cause: None,
        });
    }
    let mounted = station.mount(catalog, &volume, desk)?;
    mounted.undoubted()?;
    let prompt = Prompt::Confirm { what: format!("Everything on {volser} will be gone."), volser };
    let typed = match confirmed {
        Some(confirmed) => confirmed.to_string(),
        None => desk.ask(&prompt)?,
    };
    if typed != volser.as_str() {
        return Err(JobError::Operator { prompt });
    }
    let failed = station.failed(Some(&volume));
    if mounted.medium.write_protected {
        return Err(JobError::Cartridge {
            cartridge: volser.to_string(),
            what: "it is write-protected".into(),
            advice: "move its switch if it may be erased".into(),
            cause: None,
        });
    }
    for orphan in catalog.destroy_volume(volume.id, now)? {
        catalog.drop_segment(orphan)?;
    }
    crate::crash::point("erase.recorded");
    // The chip first: while the label is there still, it can be labelled anew without being blank.
    station.disown(volser.as_str(), desk)?;
    crate::crash::point("erase.disowned");
    station.drive.rewind().map_err(&failed)?;
    station.drive.erase_here().map_err(&failed)?;
    station.drive.rewind().map_err(&failed)?;
    desk.notice(format!("{volser} is blank; `tapevault media label` makes it a volume again"));
    Ok(())
}

/// Takes cartridges into the catalog: these, or all that the library holds, or the one in the
/// drive. Returns how many volumes were read.
///
/// # Errors
///
/// When drive or library fail.
pub fn rebuild(
    catalog: &Catalog,
    station: &mut Station,
    barcodes: &[Barcode],
    desk: &Desk,
) -> Result<u64, JobError> {
    let mut wanted: Vec<Barcode> = barcodes.to_vec();
    if wanted.is_empty() && station.has_library() {
        wanted = station.barcodes_in_slots().map_err(RigError::from)?;
        wanted.extend(station.barcode_here().map_err(RigError::from)?);
        wanted.retain(|barcode| !barcode.is_cleaning());
        wanted.sort();
    }
    if wanted.is_empty() {
        return Ok(u64::from(adopt(catalog, station, desk)?));
    }
    let mut read = 0;
    for barcode in wanted {
        desk.go_on()?;
        bring(station, catalog, Some(barcode), desk)?;
        read += u64::from(adopt(catalog, station, desk)?);
        station.put_away(catalog, desk)?;
    }
    Ok(read)
}

/// Takes the cartridge in the drive into the catalog. `false` when it is no volume.
fn adopt(catalog: &Catalog, station: &mut Station, desk: &Desk) -> Result<bool, JobError> {
    let taken = Adoption { catalog, station, desk, staged: BTreeSet::new() }.take_here()?;
    match taken {
        Taken::Volume(volume) => {
            desk.tell(&Event::Mounted { volser: volume.volser, drive: &station.name });
            Ok(true)
        }
        Taken::Blank(barcode) => {
            let name = barcode.map_or_else(|| station.name.clone(), |code| code.to_string());
            desk.notice(format!("{name} is blank"));
            Ok(false)
        }
        Taken::Alien(error) => {
            desk.ledger.note(1);
            desk.notice(format!("left alone: {error}"));
            Ok(false)
        }
    }
}
