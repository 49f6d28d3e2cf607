//! `restore`.

use crate::cli::{args, bench::Bench, exit::Exit, fail::Failure};

/// Brings files back.
pub(super) fn run(_bench: &Bench, _restore: &args::Restore) -> Result<Exit, Failure> {
    Err(Failure::Usage { what: "restore is being built".into() })
}
