//! What a job has to tell about single items, counted and passed on.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    causes,
    ident::SourceName,
    job::monitor::{Event, Monitor},
    source::Finding,
};

/// Counts findings.
#[derive(Debug, Default)]
pub struct Ledger {
    losses: AtomicU64,
    findings: AtomicU64,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Items that are not archived although they should be.
    pub losses: u64,
    /// Everything else that somebody should look at.
    pub findings: u64,
}

impl Ledger {
    /// Counts a finding and tells the monitor.
    pub fn take(&self, source: &SourceName, finding: &Finding, monitor: &dyn Monitor) {
        let counter = if finding.what.is_loss() { &self.losses } else { &self.findings };
        counter.fetch_add(1, Ordering::Relaxed);
        let detail =
            finding.detail.as_deref().map(|detail| causes::chain(detail)).unwrap_or_default();
        monitor.event(&Event::Finding { source, key: &finding.key, problem: finding.what, detail });
    }

    /// Counts something that is not about an item of a source.
    pub fn note(&self, count: u64) {
        self.findings.fetch_add(count, Ordering::Relaxed);
    }

    /// What was found until now.
    pub fn tally(&self) -> Tally {
        Tally {
            losses: self.losses.load(Ordering::Relaxed),
            findings: self.findings.load(Ordering::Relaxed),
        }
    }
}

impl Tally {
    /// Whether there is nothing to look at.
    pub fn is_clean(self) -> bool {
        self == Self::default()
    }
}
