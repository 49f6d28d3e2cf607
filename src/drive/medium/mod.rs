//! The cartridge in the drive: what it is, how much it holds, and how the drive treats it.

mod about;
mod capacity;
mod chip;
mod notes;
mod prepare;

pub use about::{Blankness, Medium};
pub use capacity::{Capacity, CapacityOrigin};
pub use notes::Notes;
pub use prepare::Preparation;
