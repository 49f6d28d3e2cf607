//! The program as people run it: command lines, exit codes, messages, on an emulated library.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod adoption;
mod buckets;
mod crashes;
mod drives;
mod home;
mod keys;
mod library;
mod mistakes;
mod restores;
mod runs;
mod sources;
mod spanning;
mod verifies;

#[allow(dead_code, unused_imports, reason = "each user needs a part of it")]
#[path = "../support/s3_server/mod.rs"]
mod s3_server;
