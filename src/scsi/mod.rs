//! SCSI commands and the data they move, as pure codecs for both sides of the wire.
//!
//! The driver encodes commands and decodes replies; the emulator does the reverse. Nothing here
//! does I/O, and no decoder panics or allocates without bound, whatever the bytes. All multi-byte
//! fields are big-endian.

pub mod cdb;
pub mod density;
pub mod element;
pub mod inquiry;
pub mod limits;
pub mod log;
pub mod mam;
pub mod mode;
pub mod position;
pub mod protection;
pub mod reservation;
pub mod security;
pub mod sense;
pub mod text;
