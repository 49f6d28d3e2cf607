//! Reading volumes back: every byte against what the tape says of itself, and against the catalog.
//!
//! A segment is hashed whole, once. Only when that disagrees is it read again, piece by piece, to
//! name what was hit. Nothing stops at the first thing that is wrong.

mod index;
mod label;
mod own;
mod segment;
mod sweep;
mod walk;

use crate::{
    catalog::{Catalog, Evidence, Method},
    ident::{SegmentId, VolumeId},
    job::{
        Desk, JobError,
        monitor::{Counters, Event, Stage},
        mount::{Recognised, recognise},
        rig::Station,
        verify::walk::Walk,
    },
    media::{Status, Volume},
};

/// What of a volume is read.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Everything on it.
    Whole,
    /// These segments, the label and the last index.
    Segments(Vec<SegmentId>),
    /// So many segments, spread over it, the label and the last index.
    Sample(u32),
}

/// Reads back the volume in the drive and records what that showed. Returns how many findings
/// there were. Of a volume that the catalog does not know, what the tape says of itself decides,
/// and nothing is recorded.
///
/// # Errors
///
/// When the drive or the catalog fail, or another volume is in the drive. What does not agree is a
/// finding, and the rest is read.
pub fn volume(
    catalog: &Catalog,
    station: &mut Station,
    id: VolumeId,
    scope: &Scope,
    desk: &Desk,
) -> Result<u64, JobError> {
    // A cartridge that was threaded anew proves more than one that never left the head.
    let volume = catalog.volume_by_id(id)?;
    let failed = station.failed(volume.as_ref());
    station.drive.unload().map_err(&failed)?;
    station.drive.load().map_err(&failed)?;
    station.drive.rewind().map_err(&failed)?;
    let label = label::read(station, volume.as_ref(), desk)?;
    match (&label.label, label.next) {
        (Some(said), _) => station.open_up(said)?,
        (None, Some(_)) => station.open_up_by_block()?,
        (None, None) => {}
    }
    let mut walk = Walk::new(catalog, station, (id, volume), desk, label)?;
    desk.tell(&Event::StageStarted { stage: Stage::Verify, of: walk.volser.as_str() });
    let whole = match scope {
        Scope::Whole => walk.whole()?,
        Scope::Segments(segments) => walk.chosen(|_, segment| segments.contains(&segment))?,
        Scope::Sample(count) => {
            let step = walk.copies().div_ceil(usize::try_from(*count).unwrap_or(1).max(1)).max(1);
            walk.chosen(|number, _| number % step == 0)?
        }
    };
    let Walk { volume, volser, findings, checked, holes, good, bytes, other_drive, .. } = walk;
    if let Some(volume) = &volume {
        let method = if other_drive { Method::OtherDrive } else { Method::AfterReload };
        let evidence = Evidence {
            volume: volume.id,
            drive: station.describe(),
            method,
            when: desk.clock.now(),
            whole,
            findings,
        };
        catalog.record_verification(&evidence, &checked)?;
    }
    let barcode = volume.and_then(|volume| volume.barcode);
    holes.tell(catalog, (id, volser, barcode), desk)?;
    desk.tell(&Event::Verified { volser, segments: good, bytes, findings, whole });
    Ok(findings)
}

/// Which volume is in the drive, for reading it. A damaged label does not hide it: its chip and its
/// sticker tell it too. Nothing may be written on the word of this.
///
/// # Errors
///
/// When that cannot be told, or the drive or the catalog fail.
pub fn in_drive(catalog: &Catalog, station: &mut Station) -> Result<VolumeId, JobError> {
    let loaded = station.identify()?;
    let (chip, barcode) = (loaded.medium.mam_serial.clone(), loaded.barcode);
    let emulated = station.drive.identity().emulated;
    match recognise(catalog, &station.name, emulated, loaded)? {
        Recognised::Known(mounted) => Ok(mounted.volume.id),
        Recognised::Unknown(label, ..) => Ok(label.volume),
        Recognised::Blank(..) => {
            Err(JobError::NotHeld { what: format!("the cartridge in {} is blank", station.name) })
        }
        Recognised::Alien(error) => {
            let is_it = |volume: &Volume| {
                let sticker =
                    barcode.zip(volume.barcode).is_none_or(|(seen, own)| seen.matches(own));
                volume.status != Status::Destroyed && volume.mam_serial == chip && sticker
            };
            let known = if chip.is_empty() { Vec::new() } else { catalog.volumes()? };
            known.into_iter().find(is_it).map(|volume| volume.id).ok_or(*error)
        }
    }
}

/// Brings this volume into the drive, for reading it: also if its label is damaged.
///
/// # Errors
///
/// When it cannot be had, or what is there is not it.
pub fn bring(
    catalog: &Catalog,
    station: &mut Station,
    volume: &Volume,
    desk: &Desk,
) -> Result<(), JobError> {
    match station.mount(catalog, volume, desk) {
        Ok(_) => Ok(()),
        Err(error @ (JobError::Cartridge { .. } | JobError::Operator { .. })) => {
            let loaded = station.is_loaded().map_err(station.failed(Some(volume)))?;
            match loaded.then(|| in_drive(catalog, station)) {
                Some(Ok(id)) if id == volume.id => Ok(()),
                Some(_) | None => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Adds to what has to be read.
fn expect(desk: &Desk, bytes: u64) {
    Counters::add(&desk.counters.to_read_bytes, bytes);
}
