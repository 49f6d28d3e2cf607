//! Staging, held to its contract: real files and stock tar, a simulated disk that loses and refuses,
//! and processes that are killed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod interleave;
mod kill;
mod members;
mod room;
mod speed;
mod support;
mod sweep;
