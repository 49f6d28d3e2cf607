//! `drive`, `library` and `emulator`.

mod drive;
mod emulator;
mod library;

pub(super) use drive::drive;
pub(super) use emulator::{emulator, make, serve};
pub(super) use library::library;
