//! Conformance suite of the catalog: each test is a sentence that any engine behind the domain
//! calls has to make true.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod figures;
mod find;
mod given;
mod members;
mod opening;
mod runs;
mod state;
mod tables;
