//! Slots that go round between one producer and one consumer.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, atomic::Ordering},
    time::Duration,
};

use crate::cancel::Cancel;
use crate::pipeline::{Counters, GUARD, Guard, Settings};

/// Slots begin on a page, so that the kernel can hand them to a device without copying.
const PAGE: usize = 4096;
/// How often a waiting thread looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// A full ring is refilled once this part of it is free: waking a thread for each block costs more
/// than the block.
const REFILL_PART: usize = 8;

/// Room for one block.
#[derive(Debug)]
pub(super) struct Slot {
    storage: Vec<u8>,
    /// Where the page-aligned room begins.
    start: usize,
    /// Bytes of it in use.
    pub(super) filled: usize,
    /// Bytes of a guard behind them.
    guarded: usize,
}

/// What the consumer gets: a filled slot or a note without one.
#[derive(Debug)]
pub(super) struct Message<T> {
    pub(super) slot: Option<Slot>,
    pub(super) tag: T,
}

#[derive(Debug)]
struct State<T> {
    /// Used last, taken first: it is still in the processor's cache.
    free: Vec<Slot>,
    /// Slots that were not made yet: a short file needs few of them.
    unmade: usize,
    filled: VecDeque<Message<T>>,
    /// Messages in `filled` that have no slot. They are not held back.
    notes: usize,
    /// Whether blocks go out, or wait for the ring to fill.
    running: bool,
    /// Whether the producer has nothing to produce just now.
    idle: bool,
    /// Whether the producer waits for the ring to be emptied.
    full: bool,
    closed: bool,
    producer_waits: bool,
    consumer_waits: bool,
}

/// The ring. Both ends may wait; [`Ring::close`] wakes them for good.
#[derive(Debug)]
pub(super) struct Ring<T> {
    state: Mutex<State<T>>,
    for_producer: Condvar,
    for_consumer: Condvar,
    slots: usize,
    slot_bytes: usize,
    start_slots: usize,
    pub(super) counters: Arc<Counters>,
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The other end is gone.
    Closed,
    /// The operator wants to stop.
    Cancelled,
}

impl Slot {
    fn new(bytes: usize) -> Self {
        let storage = vec![0; bytes + PAGE];
        let start = storage.as_ptr().align_offset(PAGE).min(PAGE);
        Self { storage, start, filled: 0, guarded: 0 }
    }

    /// Puts a guard behind what is filled.
    pub(super) fn guard(&mut self, guard: Guard) {
        let made = guard(self.bytes());
        let behind = self.start + self.filled;
        self.storage[behind..behind + GUARD].copy_from_slice(&made);
        self.guarded = GUARD;
    }

    /// What is filled, with its guard.
    pub(super) fn whole(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.filled + self.guarded]
    }

    pub(super) fn room(&mut self) -> &mut [u8] {
        let bytes = self.storage.len() - PAGE;
        &mut self.storage[self.start..self.start + bytes]
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.filled]
    }
}

impl<T> State<T> {
    fn free_slots(&self) -> usize {
        self.free.len() + self.unmade
    }
}

impl<T> Ring<T> {
    pub(super) fn new(settings: &Settings) -> Self {
        let guard = if settings.guard.is_some() { GUARD } else { 0 };
        let slots = (settings.ring_bytes / settings.block_bytes).max(2);
        let start_slots = (slots * usize::from(settings.start_percent) / 100).clamp(1, slots);
        Self {
            state: Mutex::new(State {
                free: Vec::with_capacity(slots),
                unmade: slots,
                filled: VecDeque::with_capacity(slots),
                notes: 0,
                running: false,
                idle: false,
                full: false,
                closed: false,
                producer_waits: false,
                consumer_waits: false,
            }),
            for_producer: Condvar::new(),
            for_consumer: Condvar::new(),
            slots,
            slot_bytes: settings.block_bytes + guard,
            start_slots,
            counters: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect("no holder panics")
    }

    /// A free slot for the producer.
    pub(super) fn free(&self, cancel: &Cancel) -> Result<Slot, Over> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(Over::Closed);
            }
            if cancel.is_set() {
                return Err(Over::Cancelled);
            }
            let enough = if state.full { (self.slots / REFILL_PART).max(1) } else { 1 };
            // With nothing left to take, no more slots will come free than are.
            let free = state.free_slots();
            if free >= enough || (state.filled.is_empty() && free > 0) {
                state.full = false;
                if let Some(slot) = state.free.pop() {
                    return Ok(slot);
                }
                state.unmade -= 1;
                drop(state);
                return Ok(Slot::new(self.slot_bytes));
            }
            state.full = true;
            state.producer_waits = true;
            if state.consumer_waits && self.may_go(&state) {
                self.for_consumer.notify_one();
            }
            state = self.for_producer.wait_timeout(state, LOOK).expect("no holder panics").0;
            state.producer_waits = false;
        }
    }

    /// Hands a message to the consumer.
    pub(super) fn push(&self, slot: Option<Slot>, tag: T) {
        let mut state = self.lock();
        match &slot {
            Some(slot) => {
                let bytes = slot.filled as u64;
                self.counters.read.fetch_add(bytes, Ordering::Relaxed);
                self.counters.ready.fetch_add(bytes, Ordering::Relaxed);
            }
            None => state.notes += 1,
        }
        state.filled.push_back(Message { slot, tag });
        if state.consumer_waits && self.may_go(&state) {
            self.for_consumer.notify_one();
        }
    }

    /// Says whether the producer has anything to produce.
    pub(super) fn set_idle(&self, idle: bool) {
        let mut state = self.lock();
        state.idle = idle;
        if state.consumer_waits && self.may_go(&state) {
            self.for_consumer.notify_one();
        }
    }

    fn may_go(&self, state: &State<T>) -> bool {
        !state.filled.is_empty()
            && (state.running
                || state.idle
                || state.full
                || state.notes > 0
                || state.filled.len() >= self.start_slots)
    }

    /// The next message for the consumer.
    pub(super) fn next(&self, cancel: &Cancel) -> Result<Message<T>, Over> {
        let mut state = self.lock();
        loop {
            if cancel.is_set() {
                return Err(Over::Cancelled);
            }
            if self.may_go(&state) {
                state.running = true;
                let message = state.filled.pop_front().expect("there is at least one");
                match &message.slot {
                    Some(slot) => {
                        self.counters.ready.fetch_sub(slot.filled as u64, Ordering::Relaxed);
                    }
                    None => state.notes -= 1,
                }
                return Ok(message);
            }
            if state.closed {
                return Err(Over::Closed);
            }
            if state.running && !state.idle {
                self.counters.starved.fetch_add(1, Ordering::Relaxed);
            }
            state.running = false;
            state.consumer_waits = true;
            state = self.for_consumer.wait_timeout(state, LOOK).expect("no holder panics").0;
            state.consumer_waits = false;
        }
    }

    /// Takes back a slot that the consumer is done with, or that the producer did not need.
    pub(super) fn give_back(&self, mut slot: Slot) {
        (slot.filled, slot.guarded) = (0, 0);
        let mut state = self.lock();
        state.free.push(slot);
        let enough = if state.full { (self.slots / REFILL_PART).max(1) } else { 1 };
        if state.producer_waits && (state.free_slots() >= enough || state.filled.is_empty()) {
            self.for_producer.notify_one();
        }
    }

    /// Counts what the consumer took.
    pub(super) fn taken(&self, bytes: usize) {
        self.counters.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Ends the ring for both ends. What is filled can still be taken.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.idle = true;
        self.for_producer.notify_all();
        self.for_consumer.notify_all();
    }
}
