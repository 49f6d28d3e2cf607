//! What every job has at hand: time, whoever is told, counts, findings, and whether to stop.

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    cancel::Cancel,
    catalog::{self, Catalog},
    clock::Clock,
    drive::{Patience, Wait},
    ident::VolumeId,
    job::{
        JobError,
        findings::Ledger,
        monitor::{Answer, Counters, Event, Monitor, Prompt},
    },
    media::{Custody, Volume},
    sorter,
    unit::Span,
};

/// How often is told of a drive that takes long.
const TOLD_EVERY: Duration = Duration::from_secs(120);

/// Shared by all threads of a job.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who is told and asked.
    pub monitor: Arc<dyn Monitor>,
    /// How far the job is.
    pub counters: Arc<Counters>,
    /// What was found.
    pub ledger: Arc<Ledger>,
    /// Whether to stop.
    pub cancel: Cancel,
    /// A folder for temporary files.
    pub scratch: PathBuf,
}

impl Desk {
    /// A desk with nothing counted yet.
    pub fn new(clock: Arc<dyn Clock>, monitor: Arc<dyn Monitor>, scratch: PathBuf) -> Self {
        Self {
            clock,
            monitor,
            counters: Arc::default(),
            ledger: Arc::default(),
            cancel: Cancel::new(),
            scratch,
        }
    }

    /// Tells an event.
    pub fn tell(&self, event: &Event<'_>) {
        self.monitor.event(event);
    }

    /// Tells a line.
    pub fn notice(&self, text: impl Into<String>) {
        self.tell(&Event::Notice { text: text.into() });
    }

    /// Tells how far the job is, now and then.
    pub fn progress(&self) {
        self.counters.tell(&*self.monitor, &*self.clock);
    }

    /// Tells how far the job is, now.
    pub fn progress_now(&self) {
        self.tell(&Event::Progress(self.counters.snapshot()));
    }

    /// Tells, now and then, of a drive that takes long over a cartridge, and says when somebody wants
    /// the job to stop.
    pub fn patience(&self) -> Patience {
        let (desk, told) = (self.clone(), Mutex::new(Duration::ZERO));
        Arc::new(move |wait| {
            let mut told = told.lock().expect("no holder panics");
            if wait.elapsed < *told {
                *told = Duration::ZERO;
            }
            if wait.elapsed >= *told + TOLD_EVERY {
                *told = wait.elapsed;
                desk.notice(wait_words(wait));
            }
            !desk.cancel.is_set()
        })
    }

    /// Changes what is known of a volume, and records why.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be written.
    pub fn change_volume(
        &self,
        catalog: &Catalog,
        id: VolumeId,
        what: &str,
        change: impl FnOnce(&mut Volume),
    ) -> Result<Volume, JobError> {
        let event = catalog::Event {
            when: self.clock.now(),
            what: what.to_owned(),
            volume: Some(id),
            detail: serde_json::Value::Null,
        };
        Ok(catalog.update_volume(id, &event, change)?)
    }

    /// Notes who has a volume now.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be written.
    pub fn set_custody(
        &self,
        catalog: &Catalog,
        id: VolumeId,
        custody: Custody,
    ) -> Result<Volume, JobError> {
        let now = self.clock.now();
        self.change_volume(catalog, id, "volume.custody", |volume| {
            volume.custody = custody;
            volume.custody_since = now;
        })
    }

    /// A file without a name in the scratch folder: it is gone when it is closed.
    ///
    /// # Errors
    ///
    /// When the folder takes none.
    pub fn scratch_file(&self) -> Result<File, JobError> {
        sorter::unlinked(&self.scratch)
            .map_err(JobError::file("make a temporary file in", &self.scratch))
    }

    /// Asks the operator.
    ///
    /// # Errors
    ///
    /// When nobody is there, or does not want to.
    pub fn ask(&self, prompt: &Prompt) -> Result<String, JobError> {
        match self.monitor.ask(prompt) {
            Answer::Done(typed) => Ok(typed),
            Answer::Declined => Err(JobError::Operator { prompt: prompt.clone() }),
        }
    }

    /// Ends the job here when somebody wants it to stop.
    ///
    /// # Errors
    ///
    /// [`JobError::Stopped`] then.
    pub fn go_on(&self) -> Result<(), JobError> {
        if self.cancel.is_set() { Err(JobError::Stopped) } else { Ok(()) }
    }
}

fn wait_words(wait: &Wait<'_>) -> String {
    let why = if wait.calibrating {
        "it calibrates the cartridge, as LTO-9 drives do at the first load: 40 minutes on average, \
         two hours at most, and it cannot be unloaded before"
    } else {
        "it is loading, cleaning or busy with itself"
    };
    let (elapsed, limit) = (Span(wait.elapsed), Span(wait.limit));
    format!("{} is not ready after {elapsed} (it has until {limit}): {why}", wait.drive)
}
