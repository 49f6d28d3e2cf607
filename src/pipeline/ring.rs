//! Slots that go round between one producer and one consumer.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, atomic::Ordering},
    time::Duration,
};

use bytes::BytesMut;

use crate::cancel::Cancel;
use crate::pipeline::{Counters, GUARD, Guard, Settings};
use crate::sys;

/// Slots begin on a page, so that the kernel can hand them to a device without copying.
const PAGE: usize = 4096;
/// A large page of x86-64, and of others with pages of 4 KiB. In small ones a block of 512 KiB and
/// its guard lie in 129 pieces, more than common host adapters take.
const LARGE_PAGE: usize = 2 << 20;
/// How often a waiting thread looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// A full ring is refilled once this part of it is free: waking a thread for each block costs more
/// than the block.
const REFILL_PART: usize = 8;

/// Room for one block.
#[derive(Debug)]
pub(super) struct Slot {
    room: BytesMut,
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
    /// Used last, taken first: it is still in the processor's cache, and a short file touches few.
    free: Vec<Slot>,
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

/// Zeroed memory of so many bytes, in large pages where the kernel has them: a block and its guard
/// lie in few pieces there. What is never used is never touched, and costs nothing.
pub fn large_memory(bytes: usize) -> BytesMut {
    let mut memory = BytesMut::zeroed(bytes.next_multiple_of(LARGE_PAGE) + LARGE_PAGE);
    let lead = memory.as_ptr().align_offset(LARGE_PAGE).min(LARGE_PAGE);
    drop(memory.split_to(lead));
    if let Err(error) = sys::memory::prefer_large_pages(&mut memory) {
        tracing::debug!(%error, "blocks lie in small pages");
    }
    memory.truncate(bytes);
    memory
}

/// Takes the slots of a ring out of one piece of memory.
fn slots(count: usize, bytes: usize) -> Vec<Slot> {
    let stride = bytes.next_multiple_of(PAGE);
    let mut memory = large_memory(count * stride);
    let mut slots: Vec<Slot> = (0..count)
        .map(|_| {
            let mut room = memory.split_to(stride);
            room.truncate(bytes);
            Slot { room, filled: 0, guarded: 0 }
        })
        .collect();
    // They are taken from the end.
    slots.reverse();
    slots
}

impl Slot {
    /// Puts a guard behind what is filled.
    pub(super) fn guard(&mut self, guard: Guard) {
        let made = guard(self.bytes());
        self.room[self.filled..self.filled + GUARD].copy_from_slice(&made);
        self.guarded = GUARD;
    }

    /// What is filled, with its guard.
    pub(super) fn whole(&self) -> &[u8] {
        &self.room[..self.filled + self.guarded]
    }

    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.room
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.room[..self.filled]
    }
}

impl<T> Ring<T> {
    pub(super) fn new(settings: &Settings) -> Self {
        let guard = if settings.guard.is_some() { GUARD } else { 0 };
        let count = (settings.ring_bytes / settings.block_bytes).max(2);
        let start_slots = (count * usize::from(settings.start_percent) / 100).clamp(1, count);
        Self {
            state: Mutex::new(State {
                free: slots(count, settings.block_bytes + guard),
                filled: VecDeque::with_capacity(count),
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
            slots: count,
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
            if (state.free.len() >= enough || state.filled.is_empty())
                && let Some(slot) = state.free.pop()
            {
                state.full = false;
                return Ok(slot);
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
        if state.producer_waits && (state.free.len() >= enough || state.filled.is_empty()) {
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
