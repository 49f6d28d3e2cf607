//! Filling: items come in, members go to open segments.

mod group;
mod member;
mod recover;
mod region;
mod room;
mod staging;

pub use recover::Recovered;
pub use region::{Outcome, Region};
pub use room::Counters;
pub use staging::{Staging, World};
