//! `archive`, `export`, `write`.

use std::fs;

use crate::{
    cli::{args, bench::Bench, exit::Exit, fail::Failure},
    job::{
        JobError,
        archive::{self, Half, Request},
        findings::Tally,
    },
};

/// Runs a job or its second half.
pub(super) fn archive(bench: &Bench, archive: &args::Archive, half: Half) -> Result<Exit, Failure> {
    run(
        bench,
        &Request {
            job: archive.job.clone(),
            half,
            copies: archive.copies,
            drive: archive.drive.clone(),
            dry_run: archive.dry_run,
        },
    )
}

/// Runs a job's first half.
pub(super) fn export(bench: &Bench, export: &args::Export) -> Result<Exit, Failure> {
    run(
        bench,
        &Request {
            job: export.job.clone(),
            half: Half::Export,
            copies: None,
            drive: None,
            dry_run: export.dry_run,
        },
    )
}

/// Runs what was asked for. Findings have an exit code of their own.
pub(super) fn run(bench: &Bench, request: &Request) -> Result<Exit, Failure> {
    let staging = &bench.settings.staging.dir;
    fs::create_dir_all(staging).map_err(|cause| JobError::File {
        operation: "make",
        path: Some(staging.clone()),
        cause,
    })?;
    let mut desk = bench.desk.clone();
    desk.scratch.clone_from(staging);
    let tally = archive::run(&bench.settings, request, &desk)?;
    Ok(exit_of(tally))
}

/// The exit code of a job that came to its end.
pub(super) fn exit_of(tally: Tally) -> Exit {
    if tally.is_clean() { Exit::Done } else { Exit::Findings }
}
