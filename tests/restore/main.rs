//! Restoring, from emulated cartridges that the archive job wrote.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod conventions;
mod damage;
mod directory;
mod rig;
mod salvage;
mod staged;
mod store;
