//! INQUIRY: what a logical unit is, and its vital product data.

pub mod names;
mod standard;
pub mod vpd;

pub use names::DeviceNames;
pub use standard::{DeviceType, Standard};
