//! What every job has at hand: time, whoever is told, counts, findings, and whether to stop.

use std::{fs::File, path::PathBuf, sync::Arc};

use crate::{
    cancel::Cancel,
    catalog::{self, Catalog},
    clock::Clock,
    ident::VolumeId,
    job::{
        JobError,
        findings::Ledger,
        monitor::{Answer, Counters, Event, Monitor, Prompt},
    },
    media::{Custody, Volume},
    sorter,
};

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
