//! The changer: SMC over any transport. Says what is where, and moves cartridges.

mod error;
mod handle;
mod inventory;

pub use error::{ChangerError, ChangerFault};
pub use handle::{Changer, Identity};
pub use inventory::{DrivePlace, Inventory, Place, Role};
