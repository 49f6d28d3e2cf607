//! The library as a whole: what is where and whose, cartridges that come and go through the mail
//! slots, and cleaning.

mod clean;
mod mail;
mod sight;
mod survey;

pub use mail::{export, import};
pub use sight::sight;
pub use survey::{Attached, Survey, survey};
