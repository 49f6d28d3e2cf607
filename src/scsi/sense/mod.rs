//! Sense data: why a command ended as it did, in fixed and descriptor format.

mod code;
mod data;
#[cfg(test)]
mod tests;

pub use code::{Code, Key};
pub use data::{FieldPointer, Sense, Specific};
