//! The export half: list, plan, fetch, seal, and the runs that say what a source held.
//!
//! Opens no device. What it seals it records in the catalog, and whoever writes to tape finds it
//! there.

mod ahead;
mod join;
mod list;
mod plan_file;
mod record;
mod runs;
mod seal;
mod sink;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use crate::{
    catalog::Catalog,
    clock::Timestamp,
    ident::{RunId, SegmentId, SetId, SourceName},
    job::{
        Desk, JobError,
        export::{
            plan_file::PlanFile,
            sink::{LeftOut, StagingSink},
        },
        findings::Tally,
        monitor::{Event, Stage},
    },
    source::{Source, SourceError},
    staging::Staging,
};

/// One export: some sources into staging.
#[derive(Debug)]
pub struct Export<'a> {
    /// The sources, each with its name.
    pub sources: &'a [(SourceName, Box<dyn Source>)],
    /// The catalog.
    pub catalog: &'a Catalog,
    /// Where segments are filled.
    pub staging: &'a Arc<Staging>,
    /// The set that the segments belong to.
    pub set: SetId,
    /// Whether no tape half works beside it in this process.
    pub alone: bool,
    /// Time, monitor, counts, findings.
    pub desk: &'a Desk,
}

/// What an export came to.
#[derive(Clone, Debug, Default)]
pub struct Exported {
    /// The runs that it recorded.
    pub runs: Vec<RunId>,
    /// What was found.
    pub tally: Tally,
}

/// What is to be fetched from one source.
#[derive(Debug)]
pub struct SourcePlan {
    pub(in crate::job) source: SourceName,
    index: usize,
    started: Timestamp,
    file: PlanFile,
    listed: u64,
    /// Items of the last run that are listed no longer.
    gone: u64,
    /// Items of which parts are held, and how many bytes those are.
    resumed: (u64, u64),
    /// Items to fetch.
    pub wanted: u64,
    /// Their bytes.
    pub wanted_bytes: u64,
    /// Whether the listing had gaps (directories that cannot be read).
    gaps: bool,
    left_out: Arc<LeftOut>,
}

impl Export<'_> {
    /// Lists every source and plans what to fetch from it. Fetches nothing.
    ///
    /// # Errors
    ///
    /// When a listing is not whole, or the catalog or the disk fail.
    pub fn plan(&self) -> Result<Vec<SourcePlan>, JobError> {
        let named = self.sources.iter().enumerate();
        named.map(|(index, (name, source))| self.plan_source(index, name, &**source)).collect()
    }

    /// Plans anew what to fetch, by the same listings: the catalog knows more by now.
    ///
    /// # Errors
    ///
    /// When the catalog or the disk fail.
    pub fn plan_anew(&self, plans: Vec<SourcePlan>) -> Result<Vec<SourcePlan>, JobError> {
        plans.into_iter().map(|plan| self.plan_source_anew(plan)).collect()
    }

    /// Fetches what was planned, seals it, and records the runs. `sealed` is called after each
    /// segment that is sealed and recorded.
    ///
    /// # Errors
    ///
    /// When a source, staging or the catalog fail. What was sealed by then is kept, and not fetched
    /// again.
    pub fn run(
        &self,
        plans: &[SourcePlan],
        sealed: &(dyn Fn() + Sync),
    ) -> Result<Exported, JobError> {
        let delivered = Mutex::new(BTreeSet::new());
        let note = |segment: SegmentId| {
            delivered.lock().expect("no holder panics").insert(segment);
            sealed();
        };
        self.with_sealer(&note, || self.fetch_all(plans))?;
        let delivered = delivered.into_inner().expect("no holder panics");
        let ended = self.desk.clock.now();
        let mut runs = Vec::new();
        for plan in plans {
            runs.push(self.record_run(plan, &delivered, ended)?);
        }
        Ok(Exported { runs, tally: self.desk.ledger.tally() })
    }

    fn fetch_all(&self, plans: &[SourcePlan]) -> Result<(), JobError> {
        for directories in [false, true] {
            for plan in plans {
                self.fetch(plan, directories)?;
            }
        }
        Ok(())
    }

    /// Fetches either everything but directories, or directories. They come last, so that an
    /// extraction with stock tools ends with their times set.
    fn fetch(&self, plan: &SourcePlan, directories: bool) -> Result<(), JobError> {
        let (name, source) = &self.sources[plan.index];
        let (staging, left_out) = (Arc::clone(self.staging), Arc::clone(&plan.left_out));
        let sink = StagingSink::new(name.clone(), staging, left_out, self.desk.clone());
        if plan.wanted == 0 {
            return Ok(());
        }
        if !directories {
            self.desk.tell(&Event::StageStarted { stage: Stage::Fetch, of: name.as_str() });
        }
        let mut wanted = plan.wanted_records(directories, &sink)?;
        let fetched = source.fetch(&mut wanted, &sink, &self.desk.cancel);
        if let Some(error) = wanted.failure() {
            return Err(error);
        }
        match fetched {
            Ok(()) => Ok(()),
            Err(SourceError::Sink(_)) => Err(sink.failure().unwrap_or(JobError::Stopped)),
            Err(SourceError::Stopped) => Err(JobError::Stopped),
            Err(
                error @ (SourceError::NotFound { .. }
                | SourceError::Denied { .. }
                | SourceError::Lost { .. }
                | SourceError::Protocol { .. }),
            ) => Err(JobError::Source { source_name: name.clone(), cause: error }),
        }
    }
}
