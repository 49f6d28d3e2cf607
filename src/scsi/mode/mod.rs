//! MODE SENSE and MODE SELECT: what can be set about a device.

mod list;
pub mod page;

pub use list::{BlockDescriptor, Header, Parameters, RawPage};
