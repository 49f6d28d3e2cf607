//! The tables that a drive reports: who it is, its modes, its logs, the chip of the cartridge.

mod identity;
mod logs;
mod mam;
mod modes;

pub(crate) use identity::{Identity, REVISION, VENDOR, local_name};
pub(crate) use modes::ModePages;
