//! The emulated drive and library, by the commands that reach them.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod accidents;
mod conventions;
mod data;
mod elements;
mod rig;
mod tables;
