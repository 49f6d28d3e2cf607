//! A source's sink over staging.

use std::{
    collections::HashMap,
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::{
    ident::SourceName,
    item::{Item, Key, Listed, Token, Version},
    job::{Desk, JobError, monitor::Counters},
    sorter::{Sorted, Sorter, SorterError},
    source::{Claim, Finding, Findings, HeldPart, Outcome, Problem, Sink, SinkError},
    staging::{self, Region, Staging, StagingError},
    volume::manifest::Part,
};

/// Memory for the names of items that are left out, in bytes; more go to disk.
const LEFT_OUT_BYTES: usize = 1 << 20;

/// The items that are reported to be without bytes in the archive, so that each is told once.
#[derive(Debug)]
pub(super) struct LeftOut {
    folder: PathBuf,
    items: Mutex<Result<Sorter, SorterError>>,
}

/// Puts what a source delivers into staging, and keeps why that failed.
#[derive(Debug)]
pub(super) struct StagingSink {
    shared: Arc<Shared>,
    /// Parts that are held of items that are on their way to be fetched.
    held: Mutex<HashMap<(Key, Version), HeldOf>>,
}

/// The state of an item, and the parts of it that are held.
type HeldOf = (Token, Vec<HeldPart>);

#[derive(Debug)]
struct Shared {
    source: SourceName,
    staging: Arc<Staging>,
    desk: Desk,
    left_out: Arc<LeftOut>,
    /// The first failure that ends the fetch.
    failure: Mutex<Option<StagingError>>,
}

/// One claimed region.
struct StagingClaim {
    shared: Arc<Shared>,
    region: Region,
    name: (Key, Version),
    /// Whether the item is done with this claim: it is whole, or the last part.
    last: bool,
}

/// Stands for a region that could not be claimed because of the item itself, which is reported:
/// its source goes on with the next.
struct Unfit;

impl LeftOut {
    /// None yet. Temporary files go to `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        let items = Mutex::new(Ok(Sorter::new(folder, LEFT_OUT_BYTES)));
        Self { folder: folder.to_owned(), items }
    }

    fn add(&self, finding: &Finding) {
        let mut items = self.items.lock().expect("no holder panics");
        if let Ok(sorter) = &mut *items
            && let Err(error) = sorter.push_keyed(&finding.key.0, finding.version.0.as_bytes())
        {
            *items = Err(error);
        }
    }

    /// Their keys, with their versions as values, ascending. Begins anew.
    ///
    /// # Errors
    ///
    /// When a temporary file could not be written, now or before.
    pub(super) fn sorted(&self) -> Result<Sorted, JobError> {
        let mut items = self.items.lock().expect("no holder panics");
        let items = mem::replace(&mut *items, Ok(Sorter::new(&self.folder, LEFT_OUT_BYTES)));
        items.and_then(Sorter::finish).map_err(JobError::sorting)
    }
}

impl StagingSink {
    pub(super) fn new(
        source: SourceName,
        staging: Arc<Staging>,
        left_out: Arc<LeftOut>,
        desk: Desk,
    ) -> Self {
        let failure = Mutex::default();
        let shared = Arc::new(Shared { source, staging, desk, left_out, failure });
        Self { shared, held: Mutex::default() }
    }

    /// Takes note of the parts that are held of an item, until its source asks for them.
    pub(super) fn hold(&self, listed: &Listed, parts: Vec<HeldPart>) {
        let name = (listed.key.clone(), listed.version.clone());
        self.held.lock().expect("no holder panics").insert(name, (listed.token, parts));
    }

    /// Why the sink took no more, once it said so.
    pub(super) fn failure(&self) -> Option<JobError> {
        self.shared.failure.lock().expect("no holder panics").take().map(JobError::Staging)
    }
}

impl Shared {
    /// Sorts what staging said: about one item it is a finding (`None`), else the end.
    fn sort<T>(
        &self,
        (key, version): &(Key, Version),
        result: Result<T, StagingError>,
    ) -> Result<Option<T>, SinkError> {
        let (what, error) = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error @ (StagingError::Unfit { .. } | StagingError::TooLarge { .. })) => {
                (Problem::Unsupported, error)
            }
            Err(error @ StagingError::Content { .. }) => (Problem::Unreadable, error),
            Err(
                error @ (StagingError::Busy { .. }
                | StagingError::TooSmall { .. }
                | StagingError::Full { .. }
                | StagingError::Disk { .. }
                | StagingError::SealLost { .. }
                | StagingError::Damaged { .. }
                | StagingError::Closed),
            ) => {
                self.failure.lock().expect("no holder panics").get_or_insert(error);
                return Err(SinkError);
            }
        };
        self.report(Finding {
            key: key.clone(),
            version: version.clone(),
            what,
            detail: Some(Box::new(error)),
        });
        Ok(None)
    }

    fn report(&self, finding: Finding) {
        if finding.what.is_without_bytes() {
            self.left_out.add(&finding);
        }
        self.desk.ledger.take(&self.source, &finding, &*self.desk.monitor);
    }

    fn count(&self, items: u64, bytes: u64) {
        Counters::add(&self.desk.counters.fetched, items);
        Counters::add(&self.desk.counters.fetched_bytes, bytes);
        self.desk.progress();
    }

    fn go_on(&self) -> Result<(), SinkError> {
        if self.desk.cancel.is_set() { Err(SinkError) } else { Ok(()) }
    }
}

impl Findings for StagingSink {
    fn report(&self, finding: Finding) {
        self.shared.report(finding);
    }
}

impl Sink for StagingSink {
    fn part_bytes(&self) -> u64 {
        self.shared.staging.part_bytes()
    }

    fn held(&self, listed: &Listed) -> Vec<HeldPart> {
        let name = (listed.key.clone(), listed.version.clone());
        let held = self.held.lock().expect("no holder panics").remove(&name);
        let (_, parts) = held.filter(|(token, _)| *token == listed.token).unwrap_or_default();
        if parts.iter().any(|held| held.part.number == held.part.of) {
            // Its last part may not come, and that counts the item.
            self.shared.count(1, 0);
        }
        parts
    }

    fn put(&self, item: Item, data: &[u8]) -> Result<(), SinkError> {
        let shared = &self.shared;
        shared.go_on()?;
        let name = (item.key.clone(), item.version.clone());
        let put = shared.staging.put(&shared.source, item, data);
        if shared.sort(&name, put)?.is_some() {
            shared.count(1, data.len() as u64);
        }
        Ok(())
    }

    fn put_all(&self, items: Vec<Item>, data: &[u8]) -> Result<(), SinkError> {
        let shared = &self.shared;
        shared.go_on()?;
        let (Some(first), count) = (items.first(), items.len() as u64) else { return Ok(()) };
        let name = (first.key.clone(), first.version.clone());
        let put = shared.staging.put_all(&shared.source, items, data);
        let Some(left) = shared.sort(&name, put)? else { return Ok(()) };
        if left.is_empty() {
            shared.count(count, data.len() as u64);
        }
        let mut rest = data;
        for item in left {
            let size = usize::try_from(item.size).expect("it is in memory");
            let (content, later) = rest.split_at(size);
            self.put(item, content)?;
            rest = later;
        }
        Ok(())
    }

    fn claim(&self, item: Item, part: Option<Part>) -> Result<Box<dyn Claim>, SinkError> {
        let shared = &self.shared;
        shared.go_on()?;
        let name = (item.key.clone(), item.version.clone());
        let claimed = shared.staging.claim(&shared.source, item, part);
        let Some(region) = shared.sort(&name, claimed)? else { return Ok(Box::new(Unfit)) };
        let last = part.is_none_or(|part| part.number == part.of);
        let shared = Arc::clone(shared);
        Ok(Box::new(StagingClaim { shared, region, name, last }))
    }
}

impl Claim for StagingClaim {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        self.shared.go_on()?;
        let written = self.region.write_at(offset, bytes);
        if self.shared.sort(&self.name, written)?.is_some() {
            self.shared.count(0, bytes.len() as u64);
        }
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Outcome) -> Result<(), SinkError> {
        let Outcome { verified, running, torn } = outcome;
        let finished = self.region.finish(staging::Outcome { verified, running, torn });
        if self.shared.sort(&self.name, finished)?.is_some() && self.last {
            self.shared.count(1, 0);
        }
        Ok(())
    }
}

impl Claim for Unfit {
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(self: Box<Self>, _outcome: Outcome) -> Result<(), SinkError> {
        Ok(())
    }
}
