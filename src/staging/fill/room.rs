//! Room in the open segments, and who waits for it.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    cancel::Cancel,
    clock::{Clock, Timestamp},
    digest::Digest,
    ident::{SegmentId, SetId, SourceName},
    item::{Key, LinkGroup},
    staging::{
        error::StagingError,
        files::{Files, Guard},
        sealed::{Layout, Sealed},
        segment::{
            allocator::{Allocator, Place, Span},
            open::Segment,
        },
        settings::{OPEN_SEGMENTS, Settings},
        store::usage,
    },
    volume::{manifest::Entry, segment::end_room},
};

/// How often who waits looks at the disk, the cancel flag and what another process freed.
const LOOK: Duration = Duration::from_millis(100);
/// The most names of linked files that an open segment remembers, and their bytes. Names beyond
/// are staged with their data once more.
const LINKS: usize = 65_536;
const LINK_BYTES: usize = 8 << 20;

/// What the threads that fill and the one that seals share.
pub(in crate::staging) struct Shared {
    pub(in crate::staging) settings: Settings,
    pub(in crate::staging) set: SetId,
    pub(in crate::staging) layout: Layout,
    pub(in crate::staging) files: Arc<dyn Files>,
    pub(in crate::staging) clock: Arc<dyn Clock>,
    pub(in crate::staging) counters: Counters,
    cancel: Cancel,
    state: Mutex<State>,
    changed: Condvar,
    /// How many wait for room.
    blocked: AtomicUsize,
    /// Held for as long as anybody fills.
    _guard: Box<dyn Guard>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("dir", &self.layout.dir).finish_non_exhaustive()
    }
}

/// What was done since the staging was opened. Numbers only grow.
#[derive(Debug, Default)]
pub struct Counters {
    fetched: AtomicU64,
    members: AtomicU64,
    sealed: AtomicU64,
    segments: AtomicU64,
}

impl Counters {
    /// Bytes of content that were taken, failed members' too.
    pub fn bytes_fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Members that were finished.
    pub fn members_finished(&self) -> u64 {
        self.members.load(Ordering::Relaxed)
    }

    /// Bytes of segments that were sealed.
    pub fn bytes_sealed(&self) -> u64 {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Segments that were sealed.
    pub fn segments_sealed(&self) -> u64 {
        self.segments.load(Ordering::Relaxed)
    }

    pub(in crate::staging) fn fetch(&self, bytes: u64) {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct State {
    /// At most [`OPEN_SEGMENTS`], of which at most one is filling.
    slots: Vec<Slot>,
    /// Bytes of sealed segments and manifests, as last counted: never less than there are.
    stored: u64,
    closed: bool,
    failure: Option<StagingError>,
    /// Sealed, and not yet asked for.
    sealed: Vec<Sealed>,
}

/// How far an open segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::staging) enum Stage {
    /// It takes members.
    Filling,
    /// It takes no more, and waits for those that are under way.
    Draining,
    /// It waits for the sealer.
    Ready,
    /// It is being sealed.
    Sealing,
}

/// One open segment's room.
#[derive(Debug)]
pub(in crate::staging) struct Slot {
    pub(in crate::staging) segment: Arc<Segment>,
    pub(in crate::staging) stage: Stage,
    pub(in crate::staging) space: Allocator,
    pub(in crate::staging) members: u32,
    /// Bytes of its manifest and sums, for what is under way as estimated.
    pub(in crate::staging) manifest: u64,
    pub(in crate::staging) sums: u64,
    pub(in crate::staging) links: Links,
    under_way: u32,
}

/// Files of several names that an open segment holds under one of them.
#[derive(Debug, Default)]
pub(in crate::staging) struct Links {
    known: HashMap<(SourceName, LinkGroup), Linked>,
    /// The names among them.
    names: HashSet<(SourceName, Key)>,
    bytes: usize,
}

/// A finished member that others can link to.
#[derive(Clone, Debug)]
pub(in crate::staging) struct Linked {
    pub(in crate::staging) key: Key,
    pub(in crate::staging) size: u64,
    pub(in crate::staging) modified: Timestamp,
    pub(in crate::staging) digest: Digest,
}

impl Links {
    pub(in crate::staging) fn insert(&mut self, of: (SourceName, LinkGroup), linked: Linked) {
        if self.known.len() < LINKS && self.bytes + linked.key.0.len() <= LINK_BYTES {
            self.bytes += linked.key.0.len();
            self.names.insert((of.0.clone(), linked.key.clone()));
            self.known.insert(of, linked);
        }
    }

    /// Whether other names may link to this one.
    fn has(&self, source: &SourceName, key: &Key) -> bool {
        !self.names.is_empty() && self.names.contains(&(source.clone(), key.clone()))
    }
}

/// What a member asks for.
#[derive(Clone, Copy, Debug)]
pub(in crate::staging) struct Need<'a> {
    pub(in crate::staging) source: &'a SourceName,
    pub(in crate::staging) key: &'a Key,
    /// Members that come with it, in the same stretch; what follows is about all of them together.
    pub(in crate::staging) others: &'a [Entry],
    /// For another name of a file: the segment that has it. There has to be room in that one.
    pub(in crate::staging) only: Option<SegmentId>,
    /// Bytes of head, data and padding.
    pub(in crate::staging) length: u64,
    pub(in crate::staging) place: Place,
    /// What its lines of the manifest and of the sums will take, in bytes.
    pub(in crate::staging) line: u64,
    pub(in crate::staging) sum: u64,
}

/// What of a [`Need`] was taken into account: members, and bytes as estimated.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    members: u32,
    line: u64,
    sum: u64,
}

impl Need<'_> {
    fn estimate(&self) -> Estimate {
        let others = u32::try_from(self.others.len()).expect("a group is small");
        Estimate { members: 1 + others, line: self.line, sum: self.sum }
    }
}

/// Room that was taken. Dropped unfinished, it goes back.
#[derive(Debug)]
pub(in crate::staging) struct Ticket {
    pub(in crate::staging) segment: Arc<Segment>,
    pub(in crate::staging) span: Span,
    shared: Arc<Shared>,
    estimate: Estimate,
    finished: bool,
}

impl Slot {
    pub(in crate::staging) fn new(segment: Segment) -> Self {
        Self {
            segment: Arc::new(segment),
            stage: Stage::Filling,
            space: Allocator::default(),
            members: 0,
            manifest: 0,
            sums: 0,
            links: Links::default(),
            under_way: 0,
        }
    }

    /// What it takes of the budget: members, the end to come, and the journal.
    fn charge(&self, block_size: u32) -> u64 {
        self.space.end() + end_room(self.manifest, self.sums, block_size) + self.manifest
    }

    fn fits(&self, need: Need<'_>, settings: &Settings) -> bool {
        let end = end_room(self.manifest + need.line, self.sums + need.sum, settings.block_size);
        let growth = self.space.growth(need.length, need.place);
        // A name that others may link to keeps its bytes: a second state of it goes elsewhere.
        let others = need.others.iter();
        let pinned = self.links.has(need.source, need.key)
            || others.into_iter().any(|other| self.links.has(&other.source, &other.item.key));
        !pinned
            && self.members + need.estimate().members <= settings.segment_members
            && self.space.end() + growth + end <= settings.segment_bytes
    }

    fn drain(&mut self) {
        self.stage = if self.under_way == 0 { Stage::Ready } else { Stage::Draining };
    }
}

impl State {
    fn used(&self, block_size: u32) -> u64 {
        self.stored + self.slots.iter().map(|slot| slot.charge(block_size)).sum::<u64>()
    }

    fn slot(&mut self, segment: SegmentId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.segment.id == segment)
    }

    fn filling(&mut self) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.stage == Stage::Filling)
    }
}

/// What a look for room came to.
enum Look {
    Taken(Arc<Segment>, Span),
    /// Something changed: look again.
    Again,
    /// The segment that it has to be in takes no more, or not so many at once.
    Elsewhere,
    Wait,
}

/// What everything about a staging needs that is not a setting.
#[derive(Debug)]
pub(in crate::staging) struct Parts {
    pub(in crate::staging) layout: Layout,
    pub(in crate::staging) files: Arc<dyn Files>,
    pub(in crate::staging) clock: Arc<dyn Clock>,
    pub(in crate::staging) cancel: Cancel,
    pub(in crate::staging) guard: Box<dyn Guard>,
}

impl Shared {
    pub(in crate::staging) fn new(
        settings: Settings,
        set: SetId,
        parts: Parts,
        slots: Vec<Slot>,
    ) -> Result<Self, StagingError> {
        let usage = usage(&parts.layout, &*parts.files)?;
        let state = State {
            slots,
            stored: usage.sealed + usage.manifests,
            closed: false,
            failure: None,
            sealed: Vec::new(),
        };
        Ok(Self {
            settings,
            set,
            layout: parts.layout,
            files: parts.files,
            clock: parts.clock,
            counters: Counters::default(),
            cancel: parts.cancel,
            state: Mutex::new(state),
            changed: Condvar::new(),
            blocked: AtomicUsize::new(0),
            _guard: parts.guard,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Whether anything may still be taken; else the failure that nobody was told yet.
    fn admit(&self, state: &mut State) -> Result<(), StagingError> {
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        if state.closed || self.cancel.is_set() { Err(StagingError::Closed) } else { Ok(()) }
    }

    /// Takes room for a member, waiting for it. `None` for a link when the segment of its target
    /// takes no more, and for several members when the segment being filled does not take them all.
    pub(in crate::staging) fn take(
        self: &Arc<Self>,
        need: Need<'_>,
    ) -> Result<Option<Ticket>, StagingError> {
        let (bytes, limit) = self.least_segment(&need);
        if bytes > limit {
            return Err(StagingError::TooLarge { key: need.key.clone(), bytes, limit });
        }
        let mut state = self.state();
        loop {
            self.admit(&mut state)?;
            match self.look(&mut state, need)? {
                Look::Taken(segment, span) => {
                    drop(state);
                    let shared = Arc::clone(self);
                    let estimate = need.estimate();
                    return Ok(Some(Ticket { segment, span, shared, estimate, finished: false }));
                }
                Look::Again => {}
                Look::Elsewhere => return Ok(None),
                Look::Wait => {
                    self.blocked.fetch_add(1, Ordering::Relaxed);
                    state = self.wait(state);
                    self.blocked.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// How long a segment with nothing else would be, and how long one may be, in bytes.
    pub(in crate::staging) fn least_segment(&self, need: &Need<'_>) -> (u64, u64) {
        let end = end_room(need.line, need.sum, self.settings.block_size);
        (need.length + end, self.settings.segment_bytes)
    }

    fn look(&self, state: &mut State, need: Need<'_>) -> Result<Look, StagingError> {
        let settings = &self.settings;
        let Some(index) = state.slots.iter().position(|slot| slot.stage == Stage::Filling) else {
            if need.only.is_some() {
                return Ok(Look::Elsewhere);
            }
            if state.slots.len() >= OPEN_SEGMENTS {
                return Ok(Look::Wait);
            }
            let segment = Segment::create(&self.layout, &*self.files)?;
            state.slots.push(Slot::new(segment));
            return Ok(Look::Again);
        };
        let slot = &mut state.slots[index];
        if need.only.is_some_and(|only| only != slot.segment.id) {
            return Ok(Look::Elsewhere);
        }
        if !slot.fits(need, settings) {
            // What is left of the segment is for those that fit one by one.
            if !need.others.is_empty() {
                return Ok(Look::Elsewhere);
            }
            slot.drain();
            self.changed.notify_all();
            return Ok(Look::Again);
        }
        let growth = slot.space.growth(need.length, need.place) + 2 * need.line + need.sum;
        if state.used(settings.block_size) + growth > settings.budget_bytes {
            // Perhaps the tape half has freed something meanwhile.
            let usage = usage(&self.layout, &*self.files)?;
            state.stored = usage.sealed + usage.manifests;
            if state.used(settings.block_size) + growth > settings.budget_bytes {
                return Ok(Look::Wait);
            }
        }
        let slot = &mut state.slots[index];
        let offset = slot.space.take(need.length, need.place);
        slot.members += need.estimate().members;
        slot.manifest += need.line;
        slot.sums += need.sum;
        slot.under_way += 1;
        let span = Span { offset, length: need.length };
        Ok(Look::Taken(Arc::clone(&slot.segment), span))
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, LOOK).expect("no holder panics").0
    }

    /// The member of the segment being filled that another name of the file can link to.
    pub(in crate::staging) fn linked(
        &self,
        of: &(SourceName, LinkGroup),
    ) -> Option<(SegmentId, Linked)> {
        let mut state = self.state();
        let slot = state.filling()?;
        slot.links.known.get(of).map(|linked| (slot.segment.id, linked.clone()))
    }

    /// Whether somebody waits for room, and no segment is being sealed that would end the wait.
    pub(in crate::staging) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) > 0
            && self.state().slots.iter().all(|slot| slot.stage == Stage::Filling)
    }

    /// Takes no more; who waits is told.
    pub(in crate::staging) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Has everything sealed, and waits for it.
    pub(in crate::staging) fn seal_all(&self) -> Result<(), StagingError> {
        let mut state = self.state();
        loop {
            self.admit(&mut state)?;
            if state.slots.is_empty() {
                return Ok(());
            }
            if let Some(slot) = state.filling() {
                slot.drain();
                self.changed.notify_all();
            }
            state = self.wait(state);
        }
    }

    /// The next segment that was sealed since the staging was opened, waiting up to `patience`.
    pub(in crate::staging) fn next_sealed(
        &self,
        patience: Duration,
    ) -> Result<Option<Sealed>, StagingError> {
        let mut state = self.state();
        if state.sealed.is_empty() && !state.closed {
            state = self.changed.wait_timeout(state, patience).expect("no holder panics").0;
        }
        if !state.sealed.is_empty() {
            return Ok(Some(state.sealed.remove(0)));
        }
        state.failure.take().map_or(Ok(None), Err)
    }

    /// The next segment for the sealer, or `None` when there will be none.
    pub(in crate::staging) fn next_ready(&self) -> Option<Arc<Segment>> {
        let mut state = self.state();
        loop {
            // What is open stays so for the next time.
            if state.closed || self.cancel.is_set() {
                return None;
            }
            if let Some(slot) = state.slots.iter_mut().find(|slot| slot.stage == Stage::Ready) {
                slot.stage = Stage::Sealing;
                return Some(Arc::clone(&slot.segment));
            }
            state = self.wait(state);
        }
    }

    /// Takes what sealing came to.
    pub(in crate::staging) fn settle(
        &self,
        segment: SegmentId,
        result: Result<Option<(Sealed, u64)>, StagingError>,
    ) {
        let mut state = self.state();
        state.slots.retain(|slot| slot.segment.id != segment);
        match result {
            Ok(Some((sealed, manifest_bytes))) => {
                self.counters.sealed.fetch_add(sealed.bytes, Ordering::Relaxed);
                self.counters.segments.fetch_add(1, Ordering::Relaxed);
                state.stored += sealed.bytes + manifest_bytes;
                state.sealed.push(sealed);
            }
            Ok(None) => {}
            Err(error) => {
                state.failure = Some(error);
                state.closed = true;
            }
        }
        self.changed.notify_all();
    }

    /// The segments that are open.
    pub(in crate::staging) fn open_segments(&self) -> Vec<SegmentId> {
        self.state().slots.iter().map(|slot| slot.segment.id).collect()
    }
}

impl Ticket {
    /// The members are finished, their lines of `line` bytes in the journal; others may link to
    /// one.
    pub(in crate::staging) fn finish(
        mut self,
        line: u64,
        link: Option<((SourceName, LinkGroup), Linked)>,
    ) {
        self.finished = true;
        self.shared.counters.members.fetch_add(self.estimate.members.into(), Ordering::Relaxed);
        let mut state = self.shared.state();
        let Some(slot) = state.slot(self.segment.id) else { return };
        slot.manifest = slot.manifest - self.estimate.line + line;
        slot.under_way -= 1;
        if let Some((of, linked)) = link {
            slot.links.insert(of, linked);
        }
        if slot.stage == Stage::Draining {
            slot.drain();
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut state = self.shared.state();
        let Some(slot) = state.slot(self.segment.id) else { return };
        if self.span.length > 0 {
            slot.space.give_back(self.span);
        }
        slot.members -= self.estimate.members;
        slot.manifest -= self.estimate.line;
        slot.sums -= self.estimate.sum;
        slot.under_way -= 1;
        if slot.stage == Stage::Draining {
            slot.drain();
        }
        self.shared.changed.notify_all();
    }
}
