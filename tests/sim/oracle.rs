//! What must hold, whatever went wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use tapevault::{
    catalog::{Catalog, CopyState},
    ident::{SegmentId, Volser},
    job::{rig, stock},
    media::Custody,
    transport::LastAct,
};

use crate::{
    tape::Tape,
    world::{Ended, SEGMENTS, World, picture},
};

/// Which segment is on which volume at which object and tape file.
type Copy = (SegmentId, Volser, u64, u64);

/// Layouts that were restored from the tapes alone.
static PROVEN: Mutex<BTreeSet<Vec<Copy>>> = Mutex::new(BTreeSet::new());

/// The good copies of a catalog: which segment, on which volume, at which object and tape file.
fn copies(catalog: &Catalog) -> BTreeSet<Copy> {
    let mut copies = BTreeSet::new();
    for volume in catalog.volumes().unwrap() {
        for copy in catalog.copies_on(volume.id).unwrap() {
            if matches!(copy.state, CopyState::OnTape | CopyState::Verified) {
                copies.insert((copy.segment, volume.volser, copy.object.0, copy.file.0));
            }
        }
    }
    copies
}

/// (a) Each copy that the catalog calls good is on its tape, as it was sealed.
pub(crate) fn copies_are_on_tape(world: &World) -> Result<(), String> {
    let catalog = world.catalog();
    let mut tapes: BTreeMap<Volser, Tape> = BTreeMap::new();
    for (segment, volser, object, _) in copies(&catalog) {
        let known = catalog.segment(segment).unwrap().unwrap();
        let volume = catalog.volume(volser).unwrap().unwrap();
        let tape = tapes
            .entry(volser)
            .or_insert_with(|| Tape::read(&world.library.tape(volume.barcode.unwrap())));
        if tape.digest((object, known.blocks), world.key()) != Some(known.digest) {
            return Err(format!(
                "the catalog says that segment {segment} is on {volser} at object {object}, and \
                 it is not"
            ));
        }
    }
    Ok(())
}

/// Whether all that the source holds has a good copy.
pub(crate) fn is_complete(world: &World) -> bool {
    let catalog = world.catalog();
    let good: BTreeSet<SegmentId> =
        copies(&catalog).into_iter().map(|(segment, ..)| segment).collect();
    let all = catalog.segments().unwrap();
    let keys: BTreeSet<_> = all
        .iter()
        .filter(|segment| good.contains(&segment.id))
        .flat_map(|segment| catalog.entries(segment.id).unwrap())
        .map(|entry| entry.unwrap().1.item.key)
        .collect();
    let files = keys.iter().filter(|key| format!("{key:?}").contains("large")).count();
    files == SEGMENTS
}

/// What must hold when all is done.
pub(crate) fn settled(world: &World, clean: bool) -> Result<(), String> {
    copies_are_on_tape(world)?;
    in_one_place(world)?;
    let fresh = rebuilt(world)?;
    equal(&world.catalog(), &fresh, clean)?;
    all_verified(&world.catalog())?;
    // What lies where was proven to restore already.
    let layout: Vec<_> = copies(&fresh).into_iter().collect();
    if !PROVEN.lock().unwrap().insert(layout) {
        return Ok(());
    }
    let (ended, told) = world.restore(&fresh, "proof", None);
    if !matches!(ended, Ended::Done(tally) if tally.is_clean()) {
        return Err(format!("what is on the tapes does not restore: {ended:?} {told:#?}"));
    }
    if picture(&world.path("proof/files")) != *world.picture {
        return Err("what the tapes restore is not what was archived".to_owned());
    }
    Ok(())
}

/// The job reads back what it wrote, so that nothing is left that was only written.
fn all_verified(catalog: &Catalog) -> Result<(), String> {
    for volume in catalog.volumes().unwrap() {
        let unread: Vec<_> = catalog
            .copies_on(volume.id)
            .unwrap()
            .into_iter()
            .filter(|copy| copy.state == CopyState::OnTape)
            .collect();
        if !unread.is_empty() {
            return Err(format!("nobody verified {} segments of {}", unread.len(), volume.volser));
        }
    }
    Ok(())
}

/// A catalog of what the tapes say.
fn rebuilt(world: &World) -> Result<Catalog, String> {
    let listener = world.listener();
    let desk = world.desk(&listener);
    let catalog = world.fresh_catalog();
    let drive = world.drive.as_deref();
    let done = rig::station(&world.settings, drive, &desk.clock).map_err(Into::into).and_then(
        |mut station| {
            let read = stock::rebuild(&catalog, &mut station, &[], &desk);
            let given_up = station.drive.finish(LastAct::Rewind);
            given_up.unwrap();
            read
        },
    );
    match done {
        Ok(_) => Ok(catalog),
        Err(error) => Err(format!(
            "the catalog cannot be rebuilt: {error:?} {:#?}",
            listener.lines.lock().unwrap()
        )),
    }
}

/// (b) What the catalog calls good the tapes say too; and if nothing went wrong, nothing else.
fn equal(catalog: &Catalog, fresh: &Catalog, clean: bool) -> Result<(), String> {
    let (known, found) = (copies(catalog), copies(fresh));
    if let Some(missing) = known.difference(&found).next() {
        return Err(format!("the tapes do not tell of {missing:?}"));
    }
    if clean && let Some(more) = found.difference(&known).next() {
        return Err(format!("the catalog does not tell of {more:?}"));
    }
    for (segment, ..) in known {
        let mut one = catalog.segment(segment).unwrap().unwrap();
        let other = fresh.segment(segment).unwrap().unwrap();
        one.staged = other.staged;
        if one != other {
            return Err(format!("{one:?} is {other:?} on tape"));
        }
        let entries = |catalog: &Catalog| -> Vec<_> {
            catalog.entries(segment).unwrap().map(|entry| entry.unwrap()).collect()
        };
        for (one, other) in entries(catalog).into_iter().zip(entries(fresh)) {
            if one != other {
                return Err(format!("a member is another on tape: {one:?} and {other:?}"));
            }
        }
        if entries(catalog).len() != entries(fresh).len() {
            return Err(format!("the members of segment {segment} are others on tape"));
        }
    }
    for source in catalog.sources().unwrap() {
        let runs = |catalog: &Catalog| -> Vec<_> {
            catalog
                .runs(&source)
                .unwrap()
                .into_iter()
                .filter(|run| run.complete)
                .map(|run| {
                    let rows: Vec<_> =
                        catalog.rows(run.id).unwrap().map(|row| row.unwrap()).collect();
                    (run, rows)
                })
                .collect()
        };
        let (known, found) = (runs(catalog), runs(fresh));
        if known != found {
            return Err(format!("{} runs are {} on tape, or others", known.len(), found.len()));
        }
    }
    Ok(())
}

/// (d) Each cartridge is where the catalog says.
fn in_one_place(world: &World) -> Result<(), String> {
    let elements = world.library.elements().unwrap();
    for volume in world.catalog().volumes().unwrap() {
        let places: Vec<_> =
            elements.iter().filter(|element| element.barcode == volume.barcode).collect();
        let [place] = places[..] else {
            return Err(format!("{} is in {} places", volume.volser, places.len()));
        };
        let agrees = match &volume.custody {
            Custody::InDrive { .. } | Custody::Unloaded => {
                place.kind == tapevault::emulator::ElementKind::Drive
            }
            Custody::InLibrary { slot } => place.address == *slot,
            Custody::Removed | Custody::Vaulted { .. } | Custody::Unknown => false,
        };
        if !agrees {
            return Err(format!(
                "{} is {}, and the library has it in {:?} {}",
                volume.volser, volume.custody, place.kind, place.address
            ));
        }
    }
    Ok(())
}
