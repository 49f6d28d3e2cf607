//! The command line.

mod advice;
mod args;
mod bench;
mod check;
mod devices;
mod exit;
mod fail;
mod find;
mod jobs;
mod keys;
mod log;
mod media;
mod papers;
mod passphrase;
mod query;
mod quickstart;
mod restore;
mod say;

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::Parser;

pub use args::Arguments;
pub use exit::Exit;

use crate::{
    cli::{args::Command, bench::Bench, fail::Failure},
    job::archive::Half,
};

/// Runs the program with the process's own arguments.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // A closed output is no reason for another exit code.
            if let Err(error) = error.print() {
                tracing::debug!(%error, "nobody reads the usage");
            }
            return exit.into();
        }
    };
    log::start(arguments.verbose, arguments.json);
    // An assertion that guards the write path has printed what it found. Nothing goes on after it.
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(&arguments)));
    outcome.unwrap_or(Exit::Bug).into()
}

fn run(arguments: &Arguments) -> Exit {
    finish(match &arguments.command {
        Command::Init { path } => Ok(papers::init(path)),
        Command::Completions { shell } => Ok(papers::completions(*shell)),
        Command::Man { folder } => Ok(papers::man(folder)),
        Command::Quickstart(quickstart) => quickstart::run(quickstart, arguments.json),
        Command::EmulatorMake { dir } => devices::make(dir),
        Command::EmulatorServe { dir, unit, uio, fault } => devices::serve((dir, unit), uio, fault),
        Command::Check
        | Command::Archive(_)
        | Command::Export(_)
        | Command::Write(_)
        | Command::Verify(_)
        | Command::Find(_)
        | Command::Restore(_)
        | Command::Media(_)
        | Command::Key(_)
        | Command::Drive(_)
        | Command::Library(_)
        | Command::Catalog(_)
        | Command::Emulator(_) => configured(arguments),
    })
}

/// Runs a command that needs the config.
fn configured(arguments: &Arguments) -> Result<Exit, Failure> {
    let bench = Bench::open(arguments)?;
    match &arguments.command {
        Command::Check => check::run(&bench),
        Command::Archive(archive) => jobs::archive(&bench, archive, Half::Both),
        Command::Write(archive) => jobs::archive(&bench, archive, Half::Write),
        Command::Export(export) => jobs::export(&bench, export),
        Command::Verify(verify) => media::verify(&bench, verify),
        Command::Find(find) => find::run(find, &bench.catalog()?, arguments.json),
        Command::Restore(restore) => restore::run(&bench, restore),
        Command::Media(command) => media::media(&bench, command),
        Command::Key(command) => keys::run(&bench, command),
        Command::Drive(command) => devices::drive(&bench, command),
        Command::Library(command) => devices::library(&bench, command),
        Command::Catalog(command) => media::catalog(&bench, command),
        Command::Emulator(command) => devices::emulator(&bench, command),
        Command::Init { .. }
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Quickstart(_)
        | Command::EmulatorMake { .. }
        | Command::EmulatorServe { .. } => unreachable!("run without a config"),
    }
}

/// Prints what went wrong, and gives its exit code.
fn finish(outcome: Result<Exit, Failure>) -> Exit {
    outcome.unwrap_or_else(|failure| {
        say::trouble(&failure.message());
        failure.exit()
    })
}
