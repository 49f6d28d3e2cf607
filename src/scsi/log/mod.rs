//! LOG SENSE: what a drive counts about itself and its medium.

pub mod alert;
pub mod errors;
mod page;
pub mod parameter;
pub mod statistics;

pub use page::{Page, Parameter, PartitionRecord};
