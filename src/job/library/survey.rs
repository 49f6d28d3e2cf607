//! What is where in the library, and what the catalog knows of it.

use std::collections::BTreeMap;

use crate::{
    catalog::Catalog,
    causes,
    changer::{Identity, Inventory, Place},
    ident::Volser,
    job::{
        Desk, JobError,
        library::sight,
        rig::{self, RigError},
        settings::Settings,
    },
    media::Volume,
};

/// A library, its drives as the config names them, and its cartridges as the catalog knows them.
#[derive(Debug)]
pub struct Survey {
    /// Who the changer says that it is.
    pub identity: Identity,
    /// What is where.
    pub inventory: Inventory,
    /// The config's drives that stand in it, by element address.
    pub drives: BTreeMap<u16, Attached>,
    /// What is wrong with the config's drives, and with the elements.
    pub problems: Vec<String>,
    volumes: BTreeMap<Volser, Volume>,
}

/// A drive of the config in its element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Its device.
    pub device: String,
}

/// Looks at the library, and notes in the catalog, if there is one, where its volumes are.
///
/// # Errors
///
/// [`JobError::Request`] when the config has no library; when the changer or the catalog fail. A
/// drive that cannot be told is a problem of the survey.
pub fn survey(
    settings: &Settings,
    catalog: Option<&Catalog>,
    desk: &Desk,
) -> Result<Survey, JobError> {
    let mut library = rig::library(settings, &desk.clock)?.ok_or_else(|| JobError::Request {
        what: "the config has no [library]".into(),
        advice: Some("name its changer: `[library]` with `changer = \"/dev/sg…\"`".into()),
    })?;
    let inventory = library.inventory().map_err(RigError::from)?;
    let mut drives = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, found) in rig::attached(settings, &inventory, &desk.clock) {
        match found {
            Ok(address) => {
                let device = settings.drives[&name].device.clone();
                drives.insert(address, Attached { name, device });
            }
            Err(error) => {
                problems.push(format!("drive {name}: {}", causes::chain(&JobError::from(error))));
            }
        }
    }
    problems.extend(inventory.all().filter_map(|(role, place)| {
        let name = role.place(place.address);
        trouble(place).map(|what| format!("{name}: {what}"))
    }));
    let mut volumes = BTreeMap::new();
    if let Some(catalog) = catalog {
        let names = drives.iter().map(|(address, drive)| (*address, drive.name.clone()));
        sight(catalog, &inventory, &names.collect(), desk)?;
        volumes.extend(catalog.volumes()?.into_iter().map(|volume| (volume.volser, volume)));
    }
    Ok(Survey { identity: library.identity().clone(), inventory, drives, problems, volumes })
}

/// What is not as it should be with an element.
fn trouble(place: &Place) -> Option<String> {
    if let Some(code) = place.exception {
        let what = code.meaning().unwrap_or("the library does not say which");
        return Some(format!("abnormal ({:02x}h/{:02x}h): {what}", code.asc, code.ascq));
    }
    if place.disabled {
        return Some("switched off".into());
    }
    (place.full && place.tag.is_none()).then(|| "its cartridge's barcode cannot be read".into())
}

impl Survey {
    /// The volume of the cartridge that stands here, if the catalog knows it.
    pub fn volume(&self, place: &Place) -> Option<&Volume> {
        let barcode = place.barcode.filter(|_| place.full && !place.cleaning)?;
        let volume = self.volumes.get(&barcode.volser())?;
        volume.barcode.is_none_or(|own| own.matches(barcode)).then_some(volume)
    }

    /// The cleaning cartridges.
    pub fn cleaning(&self) -> impl Iterator<Item = &Place> {
        self.inventory.all().map(|(_, place)| place).filter(|place| place.cleaning)
    }
}
