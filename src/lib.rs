//! tapevault copies a cloud account out of the cloud's reach, on LTO tape.
//!
//! The modules, in reading order: words that everything uses, formats, policy, machines, jobs and
//! the shell. `docs/architecture.md` says which may name which.

// Words
pub mod cancel;
pub mod clock;
pub mod crash;
pub mod digest;
pub mod ident;
pub mod item;
pub mod position;
pub mod printable;
pub mod unit;

// Formats
pub mod volume;

// Policy
pub mod media;

// Machines
pub mod source;
pub mod transport;
