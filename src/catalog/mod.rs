//! The catalog: which member is where, in which version, on which volumes, with what evidence, and
//! what each source held at each run.
//!
//! One SQLite file, behind domain calls: no query language leaves this module. Members never change
//! once their segment is sealed, so they lie in immutable compressed blocks; volumes, copies, runs
//! and states are ordinary rows (the *living tables*). Every transaction is synchronous, so what a
//! call returned survives `kill -9` and a power loss. Members and runs can be rebuilt from the
//! cartridges.
//!
//! A [`Catalog`] may be cloned and used from many threads. There are many readers and one writer at
//! a time; another process may read, and write between this one's transactions.

mod find;
mod members;
mod runs;
mod state;
mod store;
mod types;

pub use find::{BadPattern, DigestPrefix, Glob, Hit, Pattern, Query};
pub use members::{Entries, Flaw};
pub use runs::{Changes, Held, Rows, Snapshot};
pub use store::{Catalog, CatalogError, SCHEMA};
pub use types::*;
