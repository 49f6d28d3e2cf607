//! tapevault copies a cloud account out of the cloud's reach, on LTO tape.
//!
//! The modules, in reading order: words that everything uses, formats, policy, machines, jobs and
//! the shell. `docs/architecture.md` says which may name which.

// Words
pub mod cancel;
pub mod causes;
pub mod clock;
pub mod crash;
pub mod digest;
pub mod ident;
pub mod item;
pub mod position;
pub mod printable;
pub mod unit;

// Formats
pub mod scsi;
pub mod tar;
pub mod volume;

// Policy
pub mod media;

// Machines
pub mod catalog;
pub mod changer;
pub mod destination;
pub mod drive;
pub mod emulator;
pub mod keys;
pub mod pipeline;
pub mod sorter;
pub mod source;
pub mod staging;
pub mod sys;
pub mod transport;

// Jobs
pub mod job;

// Shell
pub mod cli;
pub mod config;
pub mod report;
