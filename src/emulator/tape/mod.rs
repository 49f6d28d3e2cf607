//! What a cartridge of the emulated library is: a SIMH `.tap` file for what is on the tape, a
//! cached index of where each object lies in it, and a JSON sidecar for what is on the chip.

mod cartridge;
mod image;
mod index;

pub(crate) use cartridge::{Attribute, AttributeFormat, read_json, write_json};
pub use cartridge::{Cartridge, StorageError};
pub(crate) use image::Image;
pub(crate) use index::{Index, Kind, Object, SEALED_OVERHEAD};
