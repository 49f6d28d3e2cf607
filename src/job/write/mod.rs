//! The tape half: sealed segments onto volumes, flushed, committed, indexed.
//!
//! Opens no socket. It takes what the catalog says is staged and wants copies, and never calls
//! anything on tape before the drive was flushed and its position agreed.

mod index;
mod label;
mod next;
mod pace;
mod reconcile;
mod room;
mod segment;
mod session;
mod trouble;
mod volume;

use std::{collections::BTreeMap, time::Duration};

pub use label::Labelling;
pub use reconcile::unclosed;

use crate::{
    catalog::Catalog,
    ident::{PoolName, SegmentId, SetId, VolumeId},
    job::{
        Desk, JobError,
        rig::Station,
        settings::{Free, PoolSettings, StagingSettings},
        write::{
            next::{Next, Pending, Situation, next},
            session::Session,
            trouble::Troubles,
        },
    },
    staging::{Sealed, Store},
};

/// How long the tape half waits for the export before it looks again.
const WAIT: Duration = Duration::from_millis(200);
/// How often it does so while the export waits for room that nothing can make, before it says so.
const STUCK_WAITS: u32 = 25;
/// When an export waits for room, a session is closed for its manifests, and for its segments that
/// wait to be verified, if they are at least this fraction of the budget.
const CLOSING_SHARE: u64 = 4;

/// The other half, as the tape half sees it.
pub trait Supply: Sync {
    /// Whether more segments may come.
    fn is_exporting(&self) -> bool;

    /// Whether the export waits for room in staging.
    fn is_blocked(&self) -> bool;

    /// Waits until a segment was sealed or the export ended, at most for `limit`.
    fn wait(&self, limit: Duration);
}

/// Everything is sealed already: `write` without `export`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSupply;

/// Writes what is staged.
#[derive(Debug)]
pub struct Write<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// Staging, to be emptied.
    pub store: &'a Store,
    /// How staging is set up.
    pub staging: &'a StagingSettings,
    /// The drive.
    pub station: &'a mut Station,
    /// Which media.
    pub pool: &'a PoolName,
    /// Its settings.
    pub pool_settings: &'a PoolSettings,
    /// How many volumes each segment goes on.
    pub copies: u32,
    /// The set that is written.
    pub set: SetId,
    /// Time, monitor, counts, findings.
    pub desk: &'a Desk,
}

/// What becomes of a volume after its session: reading back, and leaving the drive.
pub trait Afterwards {
    /// Called when a session was closed; its volume is still in the drive.
    ///
    /// # Errors
    ///
    /// What ends the job.
    fn closed(
        &mut self,
        station: &mut Station,
        volume: VolumeId,
        segments: &[SegmentId],
    ) -> Result<(), JobError>;
}

impl Supply for NoSupply {
    fn is_exporting(&self) -> bool {
        false
    }

    fn is_blocked(&self) -> bool {
        false
    }

    fn wait(&self, _limit: Duration) {}
}

/// What one step came to.
enum Step {
    Done,
    /// The export waits for room, and there is none to be made.
    Stuck,
    /// There is nothing left.
    Last,
}

impl Write<'_> {
    /// Writes until everything that is sealed has its copies and nothing more comes.
    ///
    /// # Errors
    ///
    /// When no volume can be had, the drive fails for good, or the operator wants to stop. What was
    /// committed counts, and nothing else is called written.
    pub fn run(
        &mut self,
        supply: &dyn Supply,
        afterwards: &mut dyn Afterwards,
    ) -> Result<(), JobError> {
        self.reconcile()?;
        let mut session: Option<Session> = None;
        let mut troubles = Troubles::default();
        let mut stuck = 0;
        loop {
            match self.step(&mut session, supply, afterwards) {
                Ok(Step::Done) => stuck = 0,
                Ok(Step::Stuck) if stuck < STUCK_WAITS => stuck += 1,
                Ok(Step::Stuck) => return Err(self.store.full(self.staging.budget.0)?.into()),
                Ok(Step::Last) => return Ok(()),
                Err(JobError::Stopped) => {
                    // What landed until now is worth a commit and an index.
                    if let Some(session) = session.take() {
                        self.close(session, afterwards)?;
                    }
                    return Err(JobError::Stopped);
                }
                Err(error) => {
                    session = None;
                    self.get_over(error, &mut troubles)?;
                }
            }
        }
    }

    /// Does one thing.
    fn step(
        &mut self,
        session: &mut Option<Session>,
        supply: &dyn Supply,
        afterwards: &mut dyn Afterwards,
    ) -> Result<Step, JobError> {
        self.desk.go_on()?;
        // Asked first, so that what is sealed in between is not missed.
        let exporting = supply.is_exporting();
        let blocked = supply.is_blocked();
        let staged = self.staged()?;
        let pending = self.pending(&staged, session.as_ref())?;
        let decision = next(Situation {
            pending: &pending,
            session: session.as_ref().map(|session| session.copy),
            running: session.as_ref().is_some_and(|session| session.pace.is_running()),
            exporting,
            blocked,
            closing_frees: blocked && self.closing_frees(session.as_ref())?,
        });
        match decision {
            Next::Write { segment, then } => {
                let then = then.map(|then| &staged[&then]);
                self.write_next(session, (&staged[&segment], then), afterwards)?;
            }
            Next::Wait => {
                if let Some(current) = session {
                    self.commit(current)?;
                    current.pace.stand(&*self.desk.clock);
                } else if blocked && pending.is_empty() {
                    return self.make_room(supply, afterwards);
                }
                self.desk.progress();
                supply.wait(WAIT);
            }
            Next::Close => {
                let current = session.take().expect("only a session is closed");
                self.close(current, afterwards)?;
            }
            Next::Open { copy } => {
                let wanted = pending.iter().filter(|pending| pending.copies + 1 == copy);
                let wanted: Vec<SegmentId> = wanted.map(|pending| pending.segment).collect();
                *session = Some(self.open(copy, &wanted)?);
            }
            Next::Done => {
                if self.close_interrupted(afterwards)? {
                    return Ok(Step::Done);
                }
                // Runs without new bytes (something was deleted) are worth an index, too.
                if self.has_news()? {
                    let current = self.open(1, &[])?;
                    self.close(current, afterwards)?;
                }
                return Ok(Step::Last);
            }
        }
        Ok(Step::Done)
    }

    /// Whether the index of a session would let go of much that staging keeps. What was written is
    /// committed before: that may make room enough.
    fn closing_frees(&self, session: Option<&Session>) -> Result<bool, JobError> {
        let Some(session) = session.filter(|session| session.group.is_empty()) else {
            return Ok(false);
        };
        let unverified: u64 = match self.staging.free {
            Free::Flushed => 0,
            Free::Verified => {
                let staged = self.staged()?;
                session.segments.iter().filter_map(|id| staged.get(id)).map(|seg| seg.bytes).sum()
            }
        };
        let share = self.staging.budget.0 / CLOSING_SHARE;
        Ok(self.store.usage()?.manifests + unverified >= share)
    }

    /// The export waits for room, and there is nothing to write: what can be let go is the manifests
    /// of a session that was interrupted.
    fn make_room(
        &mut self,
        supply: &dyn Supply,
        afterwards: &mut dyn Afterwards,
    ) -> Result<Step, JobError> {
        if self.close_interrupted(afterwards)? {
            return Ok(Step::Done);
        }
        supply.wait(WAIT);
        Ok(Step::Stuck)
    }

    /// Closes a session that was interrupted. `false` when there is none.
    fn close_interrupted(&mut self, afterwards: &mut dyn Afterwards) -> Result<bool, JobError> {
        let Some(volume) = unclosed(self.catalog, self.pool)? else { return Ok(false) };
        if let Some(session) = self.reopen(&volume)? {
            self.close(session, afterwards)?;
        }
        Ok(true)
    }

    /// Writes one segment, if it fits, and closes the session if nothing more does.
    fn write_next(
        &mut self,
        session: &mut Option<Session>,
        (sealed, then): (&Sealed, Option<&Sealed>),
        afterwards: &mut dyn Afterwards,
    ) -> Result<(), JobError> {
        let current = session.as_mut().expect("only a session writes");
        let why = if !self.fits(current, sealed)? {
            if current.is_fresh() {
                return Err(self.too_small(sealed));
            }
            "the next segment does not fit".to_owned()
        } else {
            match self.write_segment(current, sealed, then)? {
                segment::Outcome::Written => return Ok(()),
                segment::Outcome::Closing { why } => why,
            }
        };
        let mut current = session.take().expect("it is still there");
        // Committed first: nobody looks at a volume again that takes no more, so that what a crash
        // keeps from being committed would stay unknown.
        self.commit(&mut current)?;
        self.note_full(&mut current, &why)?;
        self.close(current, afterwards)
    }

    /// Whether there is a run on no volume that says something new.
    fn has_news(&self) -> Result<bool, JobError> {
        for run in self.catalog.runs_to_index(None, 1)? {
            let run = self.catalog.run(run)?;
            let all = self.catalog.runs(&run.source)?;
            let before = all.iter().rev().find(|other| other.complete && other.ended < run.ended);
            let mut changes = self.catalog.delta(before.map(|before| before.id), run.id)?;
            if changes.next().transpose()?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What staging holds, by segment.
    fn staged(&self) -> Result<BTreeMap<SegmentId, Sealed>, JobError> {
        let sealed = self.store.sealed()?;
        Ok(sealed.into_iter().map(|sealed| (sealed.segment, sealed)).collect())
    }

    /// The staged segments that want more copies, oldest first; without those that were written
    /// since the last commit.
    fn pending(
        &self,
        staged: &BTreeMap<SegmentId, Sealed>,
        session: Option<&Session>,
    ) -> Result<Vec<Pending>, JobError> {
        let mut pending = Vec::new();
        for lacking in self.catalog.lacking(self.pool, self.copies)? {
            let is_staged = staged.contains_key(&lacking.segment);
            if !is_staged || session.is_some_and(|open| open.is_uncommitted(lacking.segment)) {
                continue;
            }
            let is_here = match session {
                Some(session) => {
                    let copies = self.catalog.copies(lacking.segment)?;
                    copies.iter().any(|copy| copy.volume == session.volume.id)
                }
                None => false,
            };
            pending.push(Pending { segment: lacking.segment, copies: lacking.good, is_here });
        }
        Ok(pending)
    }
}
