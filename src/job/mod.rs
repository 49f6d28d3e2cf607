//! What the operator asked for, composed of everything below.

pub mod adopt;
pub mod archive;
pub mod commission;
mod desk;
mod error;
pub mod export;
pub mod findings;
pub mod holes;
pub mod library;
mod mam;
pub mod monitor;
pub mod mount;
pub mod restore;
pub mod rig;
pub mod settings;
pub mod sources;
pub mod stock;
mod tape;
pub mod verify;
pub mod write;

pub use desk::Desk;
pub use error::{JobError, Remedy};
