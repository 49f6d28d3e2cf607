//! An LTO drive and library in software: answers raw CDBs as hardware would.
//!
//! Everything lies in one directory: `library.json` says what is where, `cartridges/` holds a
//! SIMH `.tap` file and a JSON sidecar for each cartridge, `drives/` what each drive remembers
//! while nobody uses it, and `faults.json`, if there is one, what is to go wrong. Cartridges keep
//! the truth; faults are an overlay and change nothing on them.
//!
//! A drive outlives the processes that use it. When one is killed, all that the drive accepted is
//! on the tape; [`power_loss`] takes from the drive what it had not flushed.

mod answer;
mod changer;
mod drive;
mod faults;
mod generation;
mod library;
pub mod serve;
mod tape;

pub use changer::{EmulatedChanger, changer};
pub use drive::{EmulatedDrive, drive, power_loss};
pub use faults::{Circumstances, CommandKind, Effect, Fault, SharedWitness, Witness};
pub use library::{Element, ElementKind, Library, LibraryPlan, Settings};
pub use tape::{Cartridge, StorageError};

pub use crate::scsi::density::Generation;
