//! An S3 server in this process, on the loopback interface: one bucket in memory.
//!
//! It checks every signature by its own reading of the Signature Version 4 rules, knows versions,
//! delete markers, tags, checksums, parts and pages, and misbehaves where a test asks it to.

mod auth;
mod bucket;
mod keys;
mod pages;
mod roles;
mod serve;
mod wire;

#[allow(unused_imports, reason = "each user needs a part of it")]
pub(crate) use bucket::{Bucket, Checksum, Put, Versioning};
pub(crate) use keys::hostile_keys;
pub(crate) use roles::Role;
pub(crate) use serve::{Fault, S3Server, Setup};
pub(crate) use wire::Request;
