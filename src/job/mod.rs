//! What the operator asked for, composed of everything below.

pub mod monitor;
pub mod settings;
