//! INQUIRY: what a logical unit is, and its vital product data.

mod standard;
pub mod vpd;

pub use standard::{DeviceType, Standard};
