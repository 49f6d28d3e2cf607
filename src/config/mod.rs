//! The config file, checked strictly.

mod load;
mod suggest;
mod template;

pub use load::{ConfigError, Loaded, VARIABLE, locate, read};
pub use template::{commented, rehearsal};
