//! An LTO drive and a library in software, with cartridges in files.

pub mod serve;
