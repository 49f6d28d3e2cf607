//! Sealed segments on their way into the catalog, while others are being filled.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    catalog::Segment,
    ident::SegmentId,
    job::{JobError, export::Export, monitor::Counters},
    staging::Sealed,
};

/// How long the sealer waits for a segment before it looks whether there will be more.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long an export waits for room without anything happening, before it looks for somebody who
/// will make room.
const STUCK: Duration = Duration::from_secs(5);

/// Since when nothing has come.
#[derive(Default)]
struct Idle {
    since: Duration,
    /// Bytes and members that had come by then.
    counts: (u64, u64),
    /// Whether the operator knows for whom the export waits.
    told: bool,
}

impl Export<'_> {
    /// Runs `fill` while a second thread records what is sealed, and tells `sealed`. Afterwards everything is sealed
    /// and recorded, unless either failed.
    pub(super) fn with_sealer(
        &self,
        sealed: &(dyn Fn(SegmentId) + Sync),
        fill: impl FnOnce() -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let sealer = scope.spawn(|| self.record_sealed(sealed, &done));
            let filled = fill();
            let closed = self.staging.seal_all().map_err(JobError::Staging);
            done.store(true, Ordering::Release);
            let recorded = sealer.join().expect("the sealer does not panic");
            recorded.and(filled).and(closed)
        })
    }

    fn record_sealed(
        &self,
        sealed: &(dyn Fn(SegmentId) + Sync),
        done: &AtomicBool,
    ) -> Result<(), JobError> {
        let mut idle = Idle::default();
        loop {
            // Asked first, so that what is sealed last is not missed.
            let last = done.load(Ordering::Acquire);
            match self.staging.next_sealed(PATIENCE)? {
                Some(segment) => {
                    if let Err(error) = self.record_segment(&segment) {
                        // Whoever fills must not wait for room that nobody will make.
                        self.staging.close();
                        return Err(error);
                    }
                    Counters::add(&self.desk.counters.sealed_bytes, segment.bytes);
                    sealed(segment.segment);
                }
                None if last => return Ok(()),
                None => self.look_for_room(&mut idle)?,
            }
        }
    }

    /// Ends an export that waits for room while nobody writes to tape.
    fn look_for_room(&self, idle: &mut Idle) -> Result<(), JobError> {
        let (now, counters) = (self.desk.clock.elapsed(), self.staging.counters());
        let counts = (counters.bytes_fetched(), counters.members_finished());
        if counts != idle.counts || !self.alone {
            (idle.since, idle.counts) = (now, counts);
            return Ok(());
        }
        if now - idle.since < STUCK || !self.staging.is_blocked() {
            return Ok(());
        }
        if !self.staging.is_being_emptied()? {
            self.staging.close();
            return Err(JobError::Staging(self.staging.full()?));
        }
        idle.since = now;
        if !std::mem::replace(&mut idle.told, true) {
            let full = self.staging.full()?;
            self.desk.notice(format!("{full}; waiting for the job that writes to tape"));
        }
        Ok(())
    }

    /// Takes up what an interrupted job left: what was sealed is recorded, what was finished is
    /// sealed and recorded. None of it is fetched again.
    ///
    /// # Errors
    ///
    /// When staging or the catalog fail.
    pub fn take_up(&self) -> Result<(), JobError> {
        for sealed in self.staging.sealed()? {
            if self.catalog.segment(sealed.segment)?.is_none() {
                self.record_segment(&sealed)?;
            }
        }
        self.with_sealer(&|_| {}, || Ok(()))
    }

    /// Records one sealed segment with its members. Doing it twice does no harm.
    pub(in crate::job) fn record_segment(&self, sealed: &Sealed) -> Result<(), JobError> {
        crate::crash::point("export.sealed");
        let segment = Segment {
            id: sealed.segment,
            set: sealed.set,
            created: sealed.created,
            bytes: sealed.bytes,
            blocks: sealed.blocks,
            block_size: sealed.block_size,
            digest: sealed.digest,
            manifest_offset: sealed.manifest_offset,
            manifest_bytes: sealed.manifest_bytes,
            manifest_digest: sealed.manifest_digest,
            members: sealed.members,
            staged: true,
        };
        let mut failure = None;
        let mut manifest = self.staging.manifest(sealed.segment)?;
        let mut entries = std::iter::from_fn(|| match manifest.next()? {
            Ok(entry) => Some(entry),
            Err(error) => {
                failure = Some(error);
                None
            }
        });
        let added = self.catalog.add_segment(&segment, &mut entries);
        if let Some(error) = failure {
            return Err(JobError::Staging(error));
        }
        added?;
        crate::crash::point("export.recorded");
        Ok(())
    }
}
