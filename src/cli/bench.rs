//! What a command works with: settings, clock, monitor.

use std::{env, path::PathBuf, sync::Arc};

use crate::{
    catalog::Catalog,
    cli::{args::Arguments, fail::Failure, passphrase, say},
    clock::{Clock, SystemClock},
    config,
    job::{Desk, JobError, monitor::Monitor, settings::Settings},
    report::{Json, Text},
};

/// Signals that end a job at its next safe place. A second one ends the process at once.
const SIGNALS: [i32; 2] = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];

/// What a command works with.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) settings: Settings,
    pub(super) desk: Desk,
    pub(super) json: bool,
    pub(super) path: PathBuf,
}

impl Bench {
    /// Reads the config that the arguments name, or the first that is there.
    pub(super) fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let path = config::locate(arguments.config.as_deref())?;
        let loaded = config::read(&path)?;
        if arguments.config.is_none() && !arguments.json {
            say::aside(&format!("config: {}", loaded.path.display()));
        }
        Ok(Self::new(loaded.settings, loaded.path, arguments.json))
    }

    /// Works with these settings.
    pub(super) fn new(mut settings: Settings, path: PathBuf, json: bool) -> Self {
        if let Some(keys) = &mut settings.keys {
            keys.ask = Some(passphrase::ask);
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let monitor: Arc<dyn Monitor> = if json {
            Arc::new(Json::new(Arc::clone(&clock)))
        } else {
            Arc::new(Text::new(Arc::clone(&clock), settings.catalog.rehearsal))
        };
        let staging = &settings.staging.dir;
        let scratch = if staging.is_dir() { staging.clone() } else { env::temp_dir() };
        let desk = Desk::new(clock, monitor, scratch);
        for signal in SIGNALS {
            let flag = desk.cancel.flag();
            // The first signal asks, the second does not.
            let registered =
                signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag))
                    .and_then(|_| signal_hook::flag::register(signal, flag));
            if let Err(error) = registered {
                tracing::warn!(signal, %error, "the signal ends the process at once");
            }
        }
        Self { settings, desk, json, path }
    }

    /// The catalog, which has to be there.
    pub(super) fn catalog(&self) -> Result<Catalog, Failure> {
        Ok(Catalog::open(&self.settings.catalog.path).map_err(JobError::from)?)
    }
}
