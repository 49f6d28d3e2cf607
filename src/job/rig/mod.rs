//! Drives and libraries, opened as the settings name them. Only here are transports opened.

mod library;
mod safeguard;
mod station;

use std::{io, path::Path, sync::Arc};

pub use library::{Library, Refusal, attached};
pub use station::{Left, Station, Whereabouts};

pub use crate::emulator::SharedWitness;
pub use crate::transport::sg::OpenError;

use crate::{
    changer::{Changer, ChangerError},
    clock::Clock,
    drive::{Drive, DriveError, Holding},
    emulator,
    job::{JobError, rig::safeguard::Keys, settings::Settings},
    transport::{LastAct, Transport, TransportError, sg::Sg},
};

/// How a device is named that lies in the emulated library.
const EMULATED: &str = "emulated";

/// Why a drive or a library cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// The config names no such drive, or several and none was chosen.
    #[error("{what}")]
    Choice {
        /// What is to be chosen from.
        what: String,
    },
    /// A node could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A device of the emulated library could not be opened.
    #[error("{name} cannot be opened")]
    Emulated {
        /// As the config names it.
        name: String,
        /// Why.
        #[source]
        cause: TransportError,
    },
    /// The drive.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The changer.
    #[error(transparent)]
    Changer(#[from] ChangerError),
    /// The library did not move a cartridge.
    #[error("{refusal}")]
    Move {
        /// Which cartridge, from where to where.
        refusal: Box<Refusal>,
        /// What the library said.
        #[source]
        cause: ChangerError,
    },
    /// The config says that a drive stands in the library, and the library does not bear it out.
    #[error("{}", stranger(drive, serial, *element, drives))]
    Stranger {
        /// The drive's name in the config.
        drive: String,
        /// Its serial number.
        serial: String,
        /// Its element address by the config.
        element: Option<u16>,
        /// The library's drives, each with serial number and element address.
        drives: String,
    },
}

fn stranger(drive: &str, serial: &str, element: Option<u16>, drives: &str) -> String {
    let place = element.map_or_else(String::new, |address| format!(" at element {address}"));
    format!(
        "drive {drive}, serial number {serial}, is not the library's{place}; the library's drives \
         are {drives}"
    )
}

impl RigError {
    /// Whether another program, or another host, has the device now.
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Open(OpenError::Busy { .. }) | Self::Drive(DriveError::Busy(_)) => true,
            Self::Emulated { cause: TransportError::Refused(cause), .. } => {
                cause.kind() == io::ErrorKind::ResourceBusy
            }
            Self::Choice { .. }
            | Self::Open(_)
            | Self::Emulated { .. }
            | Self::Drive(_)
            | Self::Changer(_)
            | Self::Move { .. }
            | Self::Stranger { .. } => false,
        }
    }
}

/// Does work with the drive of this name, or the only one there is, and gives it up afterwards,
/// however the work ended: whoever comes next finds a drive that is free and at rest.
///
/// # Errors
///
/// When the drive cannot be opened, or what the work failed with.
pub fn with_station<T>(
    settings: &Settings,
    name: Option<&str>,
    clock: &Arc<dyn Clock>,
    work: impl FnOnce(&mut Station) -> Result<T, JobError>,
) -> Result<T, JobError> {
    let mut station = station(settings, name, clock)?;
    let done = work(&mut station);
    match (done, give_up(station)) {
        (Ok(value), Ok(())) => Ok(value),
        (Ok(_), Err(error)) => Err(error),
        (Err(error), given_up) => {
            if let Err(second) = given_up {
                tracing::warn!(%second, "the drive could not be given up");
            }
            Err(error)
        }
    }
}

/// Gives the drive up: whoever comes next finds it free and at rest.
///
/// # Errors
///
/// When the drive fails.
pub fn give_up(station: Station) -> Result<(), JobError> {
    let failed = station.failed(None);
    station.drive.finish(LastAct::Rewind).map_err(failed)
}

/// Opens the drive of this name, or the only one there is, and the changer if there is one. The
/// drive is reserved for this host.
///
/// # Errors
///
/// When there is no such drive, or it or the changer cannot be opened.
pub fn station(
    settings: &Settings,
    name: Option<&str>,
    clock: &Arc<dyn Clock>,
) -> Result<Station, RigError> {
    let (name, drive) = look(settings, name, clock)?;
    let library = library(settings, clock)?;
    let keys = Keys::new(settings.keys.clone());
    let mut station = Station::new((&name, &settings.drives[&name]), drive, library, keys)?;
    // Only a drive that is used is reserved, so that none stays so when something else fails.
    if station.drive.reserve(reservation_key())? == Holding::Unsupported {
        tracing::debug!(drive = name, "it knows no reservations");
    }
    Ok(station)
}

/// Opens the drive of this name, or the only one there is, only to ask it questions: it is not
/// reserved, nothing in it is set, and dropping it moves no tape.
///
/// # Errors
///
/// When there is no such drive, or it cannot be opened.
pub fn look(
    settings: &Settings,
    name: Option<&str>,
    clock: &Arc<dyn Clock>,
) -> Result<(String, Drive), RigError> {
    let name = choose(settings, name)?;
    let transport = drive_transport(settings, &settings.drives[name].device)?;
    Ok((name.to_owned(), Drive::open(transport, Arc::clone(clock))?))
}

/// Opens the library, if the settings name one.
///
/// # Errors
///
/// When its changer cannot be opened.
pub fn library(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Option<Library>, RigError> {
    Ok(changer(settings, clock)?.map(Library::new))
}

/// Opens the changer, if the settings name one.
///
/// # Errors
///
/// When it cannot be opened.
pub fn changer(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Option<Changer>, RigError> {
    let Some(library) = &settings.library else { return Ok(None) };
    let transport: Box<dyn Transport> = match (&*library.changer, &settings.emulator) {
        (EMULATED, Some(emulator)) => {
            let opened = emulator::changer(&emulator.dir);
            let mut changer =
                opened.map_err(|cause| RigError::Emulated { name: EMULATED.into(), cause })?;
            emulator.witness.iter().for_each(|witness| changer.watch(Arc::clone(witness)));
            Box::new(changer)
        }
        (node, _) => Box::new(Sg::open_changer(Path::new(node))?),
    };
    Ok(Some(Changer::open(transport, Arc::clone(clock))?))
}

/// This host's own reservation key: the same after a crash, so that the drive is ours again.
fn reservation_key() -> u64 {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let digest = blake3::hash(host.as_encoded_bytes());
    let (key, _) = digest.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
    u64::from_le_bytes(*key).max(1)
}

fn choose<'a>(settings: &'a Settings, name: Option<&str>) -> Result<&'a str, RigError> {
    let names = || settings.drives.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    match name {
        Some(name) => {
            let found = settings.drives.keys().find(|known| *known == name);
            let what = || format!("there is no drive {name} in the config, but {}", names());
            found.map(String::as_str).ok_or_else(|| RigError::Choice { what: what() })
        }
        None => {
            let mut all = settings.drives.keys();
            match (all.next(), all.next()) {
                (Some(only), None) => Ok(only),
                (None, _) => Err(RigError::Choice { what: "the config has no drive".into() }),
                (Some(_), Some(_)) => Err(RigError::Choice {
                    what: format!("the config has several drives ({}): choose one", names()),
                }),
            }
        }
    }
}

/// Which of the emulated library's drives a device is; `None` when it is a node.
fn emulated_number(device: &str) -> Option<&str> {
    device.strip_prefix(EMULATED).and_then(|rest| rest.strip_prefix(':'))
}

fn drive_transport(settings: &Settings, device: &str) -> Result<Box<dyn Transport>, RigError> {
    if let (Some(number), Some(emulator)) = (emulated_number(device), &settings.emulator) {
        let number = number.parse().map_err(|_| RigError::Choice {
            what: format!("{device} is not a drive of the emulated library"),
        })?;
        let opened = emulator::drive(&emulator.dir, number);
        let mut drive =
            opened.map_err(|cause| RigError::Emulated { name: device.into(), cause })?;
        emulator.witness.iter().for_each(|witness| drive.watch(Arc::clone(witness)));
        return Ok(Box::new(drive));
    }
    Ok(Box::new(Sg::open_tape(Path::new(device))?))
}
