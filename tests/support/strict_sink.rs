//! A sink in memory that holds its source to the contract.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tapevault::{
    digest::RANGE,
    item::{Item, Key, Listed},
    source::{Claim, Finding, Findings, HeldPart, Outcome, Problem, Sink, SinkError},
    volume::manifest::Part,
};

/// One member as it was delivered.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) item: Item,
    pub(crate) part: Option<Part>,
    pub(crate) data: Vec<u8>,
    pub(crate) torn: bool,
}

pub(crate) type Meddle = Arc<dyn Fn() + Send + Sync>;

/// A sink in memory that holds its source to the contract.
pub(crate) struct Memory {
    pub(crate) part_bytes: u64,
    pub(crate) delivered: Arc<Mutex<Vec<Delivered>>>,
    pub(crate) findings: Mutex<Vec<(Key, Problem)>>,
    /// Runs whenever bytes of a claim come.
    pub(crate) meddle: Meddle,
    /// Parts that stand of any item.
    pub(crate) held: Mutex<Vec<HeldPart>>,
    /// Takes nothing once so many members were delivered.
    pub(crate) full_at: usize,
}

struct Region {
    item: Item,
    part: Option<Part>,
    ranges: Mutex<BTreeMap<u64, Vec<u8>>>,
    delivered: Arc<Mutex<Vec<Delivered>>>,
    meddle: Meddle,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            part_bytes: 1 << 40,
            delivered: Arc::default(),
            findings: Mutex::default(),
            meddle: Arc::new(|| {}),
            held: Mutex::default(),
            full_at: usize::MAX,
        }
    }
}

impl Memory {
    pub(crate) fn take(&self) -> BTreeMap<Vec<u8>, Delivered> {
        let mut all = BTreeMap::new();
        for delivered in self.delivered.lock().unwrap().drain(..) {
            let key = delivered.item.key.0.clone();
            assert!(all.insert(key, delivered).is_none(), "an item came twice");
        }
        all
    }

    pub(crate) fn findings(&self) -> Vec<(String, Problem)> {
        let mut findings: Vec<_> = self
            .findings
            .lock()
            .unwrap()
            .drain(..)
            .map(|(key, problem)| (key.printable().to_string(), problem))
            .collect();
        findings.sort_by(|a, b| a.0.cmp(&b.0));
        findings
    }

    fn room(&self) -> Result<(), SinkError> {
        if self.delivered.lock().unwrap().len() >= self.full_at { Err(SinkError) } else { Ok(()) }
    }
}

impl Findings for Memory {
    fn report(&self, finding: Finding) {
        self.findings.lock().unwrap().push((finding.key, finding.what));
    }
}

impl Sink for Memory {
    fn part_bytes(&self) -> u64 {
        self.part_bytes
    }

    fn held(&self, _listed: &Listed) -> Vec<HeldPart> {
        self.held.lock().unwrap().clone()
    }

    fn put(&self, item: Item, data: &[u8]) -> Result<(), SinkError> {
        self.room()?;
        assert_eq!(item.size, data.len() as u64, "{:?}", item.key);
        let delivered = Delivered { item, part: None, data: data.to_vec(), torn: false };
        self.delivered.lock().unwrap().push(delivered);
        Ok(())
    }

    fn claim(&self, item: Item, part: Option<Part>) -> Result<Box<dyn Claim>, SinkError> {
        self.room()?;
        Ok(Box::new(Region {
            item,
            part,
            ranges: Mutex::default(),
            delivered: Arc::clone(&self.delivered),
            meddle: Arc::clone(&self.meddle),
        }))
    }
}

impl Claim for Region {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        assert_eq!(offset % RANGE, 0, "ranges are aligned");
        let earlier = self.ranges.lock().unwrap().insert(offset, bytes.to_vec());
        assert!(earlier.is_none(), "no range comes twice");
        (self.meddle)();
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Outcome) -> Result<(), SinkError> {
        let length = self.part.map_or(self.item.size, |part| part.length);
        let mut data = vec![0; usize::try_from(length).unwrap()];
        let mut come = 0;
        for (offset, bytes) in self.ranges.into_inner().unwrap() {
            let at = usize::try_from(offset).unwrap();
            data[at..at + bytes.len()].copy_from_slice(&bytes);
            come += bytes.len() as u64;
        }
        assert!(self.item.extents.is_some() || come == length, "bytes are missing");
        let delivered = Delivered { item: self.item, part: self.part, data, torn: outcome.torn };
        self.delivered.lock().unwrap().push(delivered);
        Ok(())
    }
}
