//! Listing a source and planning what to fetch.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crossbeam_channel::Receiver;

use crate::{
    catalog::{CatalogError, Held},
    clock::Timestamp,
    ident::SourceName,
    item::{Kind, Listed},
    job::{
        Desk, JobError,
        export::{
            Export, SourcePlan,
            ahead::{Outlet, Unwanted},
            join::Join,
            plan_file::{PlanReader, PlanWriter},
            record::Planned,
            sink::{LeftOut, StagingSink},
        },
        monitor::{Counters, Event, Stage},
    },
    source::{Finding, Findings, HeldPart, Source, SourceError, Stop},
    unit::ByteCount,
};

/// The most versions of one key that are sorted in memory. S3 lists a key's versions newest first.
const VERSIONS_MAX: usize = 1 << 20;

/// Findings of a listing.
struct ListFindings<'a> {
    source: &'a SourceName,
    desk: &'a Desk,
    gaps: AtomicBool,
}

impl Findings for ListFindings<'_> {
    fn report(&self, finding: Finding) {
        if finding.what.is_loss() {
            self.gaps.store(true, Ordering::Relaxed);
        }
        self.desk.ledger.take(self.source, &finding, &*self.desk.monitor);
    }
}

/// A plan in the making.
struct Planner {
    held: Held,
    changes: Join<Box<dyn Iterator<Item = Result<crate::volume::run::Row, CatalogError>> + Send>>,
    writer: PlanWriter,
    /// The versions of the key that is being listed.
    versions: Vec<Listed>,
    listed: u64,
    wanted: u64,
    wanted_bytes: u64,
    /// Items of which parts are held, and how many bytes those are.
    resumed: (u64, u64),
}

/// What a plan says of its listing.
struct Listing {
    source: SourceName,
    index: usize,
    started: Timestamp,
    gaps: bool,
    left_out: Arc<LeftOut>,
}

impl Planner {
    /// Plans what is listed until nothing more comes.
    fn plan_all(mut self, listed: &Receiver<Vec<Listed>>) -> Result<Self, JobError> {
        for batch in listed {
            for listed in batch {
                let same = self.versions.last().is_some_and(|last| last.key == listed.key);
                if !same || self.versions.len() >= VERSIONS_MAX {
                    self.close_key()?;
                }
                self.versions.push(listed);
            }
        }
        self.close_key()?;
        Ok(self)
    }

    fn close_key(&mut self) -> Result<(), JobError> {
        let mut versions = std::mem::take(&mut self.versions);
        versions.sort_by(|a, b| a.version.cmp(&b.version));
        for listed in versions.drain(..) {
            self.plan(listed)?;
        }
        self.versions = versions;
        Ok(())
    }

    fn plan(&mut self, listed: Listed) -> Result<(), JobError> {
        self.listed += 1;
        self.changes.take(&listed)?;
        let Listed { key, version, token, .. } = &listed;
        let wanted = self.held.matching(key, version, *token)?.is_none();
        let mut held = Vec::new();
        if wanted {
            let parts = self.held.partial(key, version, *token).into_iter();
            held = parts.map(|(part, running)| HeldPart { part, running }).collect();
            let bytes: u64 = held.iter().map(|held| held.part.length).sum();
            self.resumed.0 += u64::from(!held.is_empty());
            self.resumed.1 += bytes;
            self.wanted += 1;
            self.wanted_bytes += listed.size.saturating_sub(bytes);
        }
        let planned = Planned { listed, wanted, held };
        self.writer.push(&planned).map_err(JobError::scratch("write the plan"))
    }

    fn finish(self, listing: Listing) -> Result<SourcePlan, JobError> {
        let Listing { source, index, started, gaps, left_out } = listing;
        Ok(SourcePlan {
            source,
            index,
            started,
            file: self.writer.finish().map_err(JobError::scratch("write the plan"))?,
            listed: self.listed,
            gone: self.changes.finish()?.gone,
            resumed: self.resumed,
            wanted: self.wanted,
            wanted_bytes: self.wanted_bytes,
            gaps,
            left_out,
        })
    }
}

impl Export<'_> {
    fn planner(&self, name: &SourceName) -> Result<Planner, JobError> {
        let rows: Box<dyn Iterator<Item = _> + Send> = match self.catalog.last_complete_run(name)? {
            Some(run) => Box::new(self.catalog.rows(run.id)?),
            None => Box::new(std::iter::empty()),
        };
        Ok(Planner {
            held: self.catalog.held(name)?,
            changes: Join::new(rows),
            writer: PlanWriter::new(&self.desk.scratch)
                .map_err(JobError::scratch("make the plan"))?,
            versions: Vec::new(),
            listed: 0,
            wanted: 0,
            wanted_bytes: 0,
            resumed: (0, 0),
        })
    }

    pub(super) fn plan_source(
        &self,
        index: usize,
        name: &SourceName,
        source: &dyn Source,
    ) -> Result<SourcePlan, JobError> {
        self.desk.tell(&Event::StageStarted { stage: Stage::List, of: name.as_str() });
        let started = self.desk.clock.now();
        let planner = self.planner(name)?;
        let findings = ListFindings { source: name, desk: self.desk, gaps: AtomicBool::new(false) };
        let (listing, planner) = self.list(source, &findings, planner);
        // Why a plan failed is also why its listing was stopped.
        let planner = planner?;
        match listing {
            Ok(()) => {}
            Err(SourceError::Stopped) => return Err(JobError::Stopped),
            Err(cause) => return Err(JobError::Source { source_name: name.clone(), cause }),
        }
        planner.finish(Listing {
            source: name.clone(),
            index,
            started,
            gaps: findings.gaps.into_inner(),
            left_out: Arc::new(LeftOut::new(&self.desk.scratch)),
        })
    }

    /// Plans what an earlier plan listed.
    pub(super) fn plan_source_anew(&self, plan: SourcePlan) -> Result<SourcePlan, JobError> {
        let mut planner = self.planner(&plan.source)?;
        for record in plan.records()? {
            let Planned { listed, .. } = record.map_err(JobError::scratch("read the plan"))?;
            planner.plan(listed)?;
        }
        let SourcePlan { source, index, started, gaps, left_out, .. } = plan;
        planner.finish(Listing { source, index, started, gaps, left_out })
    }

    /// Tells what the plans come to.
    pub fn tell(&self, plans: &[SourcePlan]) {
        for plan in plans {
            let SourcePlan { source, listed, wanted, wanted_bytes, gone, .. } = plan;
            if let (items @ 1.., bytes) = plan.resumed {
                let bytes = ByteCount(bytes);
                self.desk.notice(format!(
                    "{source}: parts of {items} large items stand from an interrupted job, \
                     {bytes}: only the rest is fetched"
                ));
            }
            Counters::add(&self.desk.counters.wanted, *wanted);
            Counters::add(&self.desk.counters.wanted_bytes, *wanted_bytes);
            self.desk.tell(&Event::Planned {
                source,
                listed: *listed,
                held: listed - wanted,
                wanted: *wanted,
                wanted_bytes: *wanted_bytes,
                gone: *gone,
            });
        }
    }
}

impl Export<'_> {
    /// Lists a source on this thread, and plans what comes on another.
    fn list(
        &self,
        source: &dyn Source,
        findings: &ListFindings<'_>,
        planner: Planner,
    ) -> (Result<(), SourceError>, Result<Planner, JobError>) {
        thread::scope(|scope| {
            let (mut outlet, listed) = Outlet::new();
            let planning = scope.spawn(move || planner.plan_all(&listed));
            let listing = source.list(
                &mut |listed| {
                    Counters::add(&self.desk.counters.listed, 1);
                    self.desk.progress();
                    outlet.push(listed).map_err(|Unwanted| Stop)
                },
                findings,
                &self.desk.cancel,
            );
            let flushed = outlet.flush().map_err(|Unwanted| SourceError::Stopped);
            drop(outlet);
            let planned = planning.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (listing.and(flushed), planned)
        })
    }
}

/// What is to be fetched, read from a plan.
pub(super) struct Wanted<'a> {
    records: PlanReader<'a>,
    directories: bool,
    /// Is told of the parts that are held of an item, before the item is asked for.
    sink: &'a StagingSink,
    failure: Option<io::Error>,
}

impl SourcePlan {
    /// The wanted items: either directories, or all others.
    pub(super) fn wanted_records<'a>(
        &'a self,
        directories: bool,
        sink: &'a StagingSink,
    ) -> Result<Wanted<'a>, JobError> {
        let records = self.file.records().map_err(JobError::scratch("read the plan"))?;
        Ok(Wanted { records, directories, sink, failure: None })
    }

    /// Everything that was listed, in order.
    pub(super) fn records(&self) -> Result<PlanReader<'_>, JobError> {
        self.file.records().map_err(JobError::scratch("read the plan"))
    }

    pub(super) fn started(&self) -> Timestamp {
        self.started
    }

    pub(super) fn has_gaps(&self) -> bool {
        self.gaps
    }
}

impl Wanted<'_> {
    /// Why the plan could not be read to its end.
    pub(super) fn failure(self) -> Option<JobError> {
        self.failure.map(JobError::scratch("read the plan"))
    }
}

impl Iterator for Wanted<'_> {
    type Item = Listed;

    fn next(&mut self) -> Option<Listed> {
        loop {
            match self.records.next()? {
                Ok(Planned { listed, wanted, held }) => {
                    if wanted && (listed.kind == Kind::Directory) == self.directories {
                        if !held.is_empty() {
                            self.sink.hold(&listed, held);
                        }
                        return Some(listed);
                    }
                }
                Err(error) => {
                    self.failure = Some(error);
                    return None;
                }
            }
        }
    }
}
