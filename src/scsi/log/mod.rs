//! LOG SENSE: what a drive counts about itself and its medium.

pub mod alert;
mod page;
pub mod parameter;

pub use page::{Page, Parameter, PartitionRecord};
