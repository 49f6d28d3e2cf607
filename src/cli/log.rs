//! The log: to standard error, as lines or as JSON.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt};

/// The environment variable that refines what is logged (`tapevault::drive=trace`).
const VARIABLE: &str = "TAPEVAULT_LOG";

/// Starts logging: warnings, more with each `-v`.
pub(super) fn start(verbose: u8, json: bool) {
    let level = match verbose {
        0 => LevelFilter::ERROR,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .with_env_var(VARIABLE)
        .from_env_lossy();
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    let started = if json { builder.json().try_init() } else { builder.try_init() };
    if let Err(error) = started {
        tracing::debug!(error, "logging was started before");
    }
}
