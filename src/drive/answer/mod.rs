//! What a drive's answer means for the caller.

mod error;
mod sort;
#[cfg(test)]
mod tests;

pub use error::{DriveError, Fault};
pub(super) use sort::{Answer, Trouble, answer, read_outcome, written};
