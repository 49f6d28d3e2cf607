//! Members: immutable packs of manifest entries, and what finds a pack.

mod ingest;
pub(in crate::catalog) mod pack;
mod read;

pub use read::Entries;

pub(in crate::catalog) use ingest::name_source;

/// Members in one pack.
pub(in crate::catalog) const PACK: usize = 1024;
