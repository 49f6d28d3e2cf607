//! The cartridge in the drive: what it is, how much it holds, and how the drive treats it.

mod about;
mod capacity;
mod chip;
mod prepare;

pub use about::{Application, Blankness, Medium};
pub use capacity::{Capacity, CapacityOrigin};
pub use prepare::Preparation;
