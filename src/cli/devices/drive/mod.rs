//! `drive`: what drives there are, what they can do, and how they are.
//!
//! `list`, `status` and `health` only ask: they reserve nothing, set nothing and move no tape, and a
//! drive that somebody has is left alone.

mod advice;
mod commission;
mod health;
mod list;
mod status;

use serde_json::{Map, Value};

use crate::{
    cli::{args::DriveCommand, bench::Bench, exit::Exit, fail::Failure, say},
    drive::{Drive, MediumState},
    job::{JobError, monitor::EVENTS_VERSION, rig},
    report::Sheet,
};

/// Runs a command about drives.
pub(in crate::cli) fn drive(bench: &Bench, command: &DriveCommand) -> Result<Exit, Failure> {
    match command {
        DriveCommand::List => Ok(list::run(bench)),
        DriveCommand::Status { drive } => status::run(bench, drive.as_deref()),
        DriveCommand::Health { drive } => health::run(bench, drive.as_deref()),
        DriveCommand::Commission { drive, erase, amount } => {
            commission::run(bench, drive.as_deref(), *erase, amount)
        }
    }
}

/// Opens a drive to ask it questions.
fn look(bench: &Bench, name: Option<&str>) -> Result<(String, Drive), Failure> {
    Ok(rig::look(&bench.settings, name, &bench.desk.clock).map_err(JobError::from)?)
}

/// Puts the drive's name to its error.
fn failed(name: &str) -> impl Fn(crate::drive::DriveError) -> JobError + use<> {
    let drive = name.to_owned();
    move |cause| JobError::Drive { drive: drive.clone(), volser: None, cause }
}

/// A drive's state in a word or two.
fn state_words(state: MediumState) -> &'static str {
    match state {
        MediumState::Empty => "empty",
        MediumState::Unloaded => "not loaded",
        MediumState::Loading => "loading",
        MediumState::Ready => "loaded",
    }
}

/// The same for programs.
fn state_key(state: MediumState) -> &'static str {
    match state {
        MediumState::Empty => "empty",
        MediumState::Unloaded => "unloaded",
        MediumState::Loading => "loading",
        MediumState::Ready => "loaded",
    }
}

/// Prints a sheet: its text, or one line of JSON.
fn print(bench: &Bench, event: &str, name: &str, sheet: &Sheet) {
    if bench.json {
        print_json(event, name, sheet.value());
    } else {
        say::text(&sheet.to_string());
    }
}

/// Prints one line of JSON about a drive.
fn print_json(event: &str, name: &str, facts: Map<String, Value>) {
    let mut line = Map::new();
    line.insert("v".into(), EVENTS_VERSION.into());
    line.insert("event".into(), event.into());
    line.insert("drive".into(), name.into());
    line.extend(facts);
    say::line(&Value::Object(line).to_string());
}
