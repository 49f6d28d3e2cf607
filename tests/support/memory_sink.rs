//! A sink in memory that holds its source to the contract of `source::Sink`.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tapevault::{
    digest::RANGE,
    item::{Item, Kind, Listed},
    source::{Claim, Finding, Findings, HeldPart, Outcome, Sink, SinkError},
    volume::manifest::Part,
};

/// One delivery: a whole item, or one part of it.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) item: Item,
    pub(crate) part: Option<Part>,
    pub(crate) bytes: Vec<u8>,
    /// The source's checksum that the bytes agreed with.
    pub(crate) verified: String,
    /// How that checksum stands at its end.
    pub(crate) running: String,
    pub(crate) torn: bool,
}

/// A sink in memory.
pub(crate) struct MemorySink {
    part_bytes: u64,
    /// How many claims may be open at once; whoever asks for more waits.
    claims: usize,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Default)]
struct State {
    delivered: Vec<Delivered>,
    findings: Vec<Finding>,
    open: usize,
    abandoned: usize,
    /// After so many deliveries it takes no more.
    fails_after: Option<usize>,
    /// What stands of any item.
    held: Vec<HeldPart>,
}

struct MemoryClaim {
    item: Item,
    part: Option<Part>,
    /// The bytes, and which ranges of them came.
    content: Mutex<(Vec<u8>, Vec<bool>)>,
    shared: Arc<Shared>,
    finished: bool,
}

impl MemorySink {
    /// A sink that takes parts of `part_bytes`.
    pub(crate) fn new(part_bytes: u64) -> Self {
        assert!(part_bytes > 0 && part_bytes.is_multiple_of(RANGE), "parts are whole ranges");
        Self { part_bytes, claims: usize::MAX, shared: Arc::default() }
    }

    /// A sink that has room for so many open claims.
    pub(crate) fn with_claims(part_bytes: u64, claims: usize) -> Self {
        Self { claims, ..Self::new(part_bytes) }
    }

    /// Takes no more after so many deliveries.
    pub(crate) fn fail_after(&self, deliveries: usize) {
        self.state().fails_after = Some(deliveries);
    }

    /// Has these parts already, whatever the item.
    pub(crate) fn hold(&self, held: Vec<HeldPart>) {
        self.state().held = held;
    }

    /// What came, by key, version and part.
    pub(crate) fn delivered(&self) -> Vec<Delivered> {
        let mut delivered = self.state().delivered.clone();
        delivered.sort_by_key(|one| {
            let part = one.part.map_or(0, |part| part.number);
            (one.item.key.clone(), one.item.version.clone(), part)
        });
        delivered
    }

    /// What was reported.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        std::mem::take(&mut self.state().findings)
    }

    /// Claims that were dropped instead of finished.
    pub(crate) fn abandoned(&self) -> usize {
        self.state().abandoned
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no holder panics")
    }
}

impl State {
    fn take(&mut self, delivered: Delivered) -> Result<(), SinkError> {
        if self.fails_after.is_some_and(|most| self.delivered.len() >= most) {
            return Err(SinkError);
        }
        self.delivered.push(delivered);
        Ok(())
    }
}

impl Findings for MemorySink {
    fn report(&self, finding: Finding) {
        self.state().findings.push(finding);
    }
}

impl Sink for MemorySink {
    fn part_bytes(&self) -> u64 {
        self.part_bytes
    }

    fn held(&self, _listed: &Listed) -> Vec<HeldPart> {
        self.state().held.clone()
    }

    fn put(&self, item: Item, data: &[u8]) -> Result<(), SinkError> {
        let size = if matches!(item.kind, Kind::File) { item.size } else { 0 };
        assert_eq!(data.len() as u64, size, "{:?}", item.key);
        assert!(size <= self.part_bytes, "{:?} had to come in parts", item.key);
        let verified = item.object.as_ref().map(|facts| facts.verified.clone()).unwrap_or_default();
        let bytes = data.to_vec();
        self.state().take(Delivered {
            item,
            part: None,
            bytes,
            verified,
            running: String::new(),
            torn: false,
        })
    }

    fn claim(&self, item: Item, part: Option<Part>) -> Result<Box<dyn Claim>, SinkError> {
        let length = match part {
            None => item.size,
            Some(part) => {
                assert_eq!(part.offset, u64::from(part.number - 1) * self.part_bytes);
                assert_eq!(part.length, self.part_bytes.min(item.size - part.offset));
                assert_eq!(u64::from(part.of), item.size.div_ceil(self.part_bytes));
                part.length
            }
        };
        assert!(length <= self.part_bytes, "{:?} had to come in parts", item.key);
        let mut state = self.state();
        while state.open >= self.claims {
            state = self.shared.closed.wait(state).expect("no holder panics");
        }
        state.open += 1;
        let bytes = vec![0; usize::try_from(length).expect("fits memory")];
        let ranges = vec![false; usize::try_from(length.div_ceil(RANGE)).expect("fits memory")];
        let shared = Arc::clone(&self.shared);
        let content = Mutex::new((bytes, ranges));
        Ok(Box::new(MemoryClaim { item, part, content, shared, finished: false }))
    }
}

impl Claim for MemoryClaim {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let mut content = self.content.lock().expect("no holder panics");
        let (all, ranges) = &mut *content;
        assert!(offset.is_multiple_of(RANGE), "a write begins at a range");
        let start = usize::try_from(offset).expect("fits memory");
        let end = start + bytes.len();
        let whole = (bytes.len() as u64).is_multiple_of(RANGE) || end == all.len();
        assert!(whole, "a write is whole ranges");
        all[start..end].copy_from_slice(bytes);
        let first = offset / RANGE;
        for range in first..first + (bytes.len() as u64).div_ceil(RANGE) {
            let range = &mut ranges[usize::try_from(range).expect("fits memory")];
            assert!(!*range, "no range comes twice");
            *range = true;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, outcome: Outcome) -> Result<(), SinkError> {
        let (bytes, ranges) = {
            let mut content = self.content.lock().expect("no holder panics");
            std::mem::take(&mut *content)
        };
        assert!(ranges.iter().all(|came| *came), "{:?} lacks bytes", self.item.key);
        self.finished = true;
        let item = self.item.clone();
        let Outcome { verified, running, torn } = outcome;
        let delivered = Delivered { item, part: self.part, bytes, verified, running, torn };
        self.shared.state.lock().expect("no holder panics").take(delivered)
    }
}

impl Drop for MemoryClaim {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().expect("no holder panics");
        state.open -= 1;
        state.abandoned += usize::from(!self.finished);
        drop(state);
        self.shared.closed.notify_all();
    }
}
