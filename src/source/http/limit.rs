//! How many requests are under way: more while the service keeps up, half when it says slow down.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::Notify;

use crate::clock::Clock;

/// Refusals within this time of a cut count as part of it: they were sent before it.
const CUT_PAUSE: Duration = Duration::from_secs(1);

/// Bounds the requests under way, additive up and multiplicative down.
#[derive(Debug)]
pub struct Limiter {
    state: Mutex<State>,
    freed: Notify,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct State {
    /// How many may be under way. A fraction, so that it grows by one a round.
    limit: f64,
    highest: u32,
    under_way: u32,
    cut_at: Option<Duration>,
}

/// Leave for one request, given back when it is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Limiter>);

impl Limiter {
    /// At most `highest` requests at once, which is also where it begins.
    pub fn new(highest: u32, clock: Arc<dyn Clock>) -> Arc<Self> {
        let highest = highest.max(1);
        let state = State { limit: f64::from(highest), highest, under_way: 0, cut_at: None };
        Arc::new(Self { state: Mutex::new(state), freed: Notify::new(), clock })
    }

    /// Waits for leave.
    pub async fn acquire(self: &Arc<Self>) -> Permit {
        loop {
            let freed = self.freed.notified();
            if let Some(permit) = self.try_acquire() {
                return permit;
            }
            freed.await;
        }
    }

    /// Leave, if there is some right now.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.state();
        if f64::from(state.under_way) + 1.0 > state.limit {
            return None;
        }
        state.under_way += 1;
        Some(Permit(Arc::clone(self)))
    }

    /// The service answered in good order.
    pub fn succeeded(&self) {
        let mut state = self.state();
        let highest = f64::from(state.highest);
        if state.limit < highest {
            state.limit = (state.limit + 1.0 / state.limit).min(highest);
            drop(state);
            self.freed.notify_one();
        }
    }

    /// The service said that it is too much.
    pub fn throttled(&self) {
        let now = self.clock.elapsed();
        let mut state = self.state();
        if state.cut_at.is_some_and(|at| now < at + CUT_PAUSE) {
            return;
        }
        state.cut_at = Some(now);
        state.limit = (state.limit / 2.0).max(1.0);
        tracing::warn!(limit = state.limit, "the service asks to slow down");
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{TestClock, Timestamp};

    fn leave(limiter: &Arc<Limiter>) -> usize {
        let permits: Vec<Permit> = std::iter::from_fn(|| limiter.try_acquire()).collect();
        permits.len()
    }

    #[test]
    fn a_refusal_halves_and_successes_bring_it_back() {
        let clock = TestClock::at(Timestamp::default());
        let limiter = Limiter::new(16, Arc::new(clock.clone()));
        assert_eq!(leave(&limiter), 16);
        limiter.throttled();
        limiter.throttled();
        assert_eq!(leave(&limiter), 8, "refusals of one moment count once");
        clock.advance(CUT_PAUSE);
        limiter.throttled();
        assert_eq!(leave(&limiter), 4);
        for _ in 0..5 {
            limiter.succeeded();
        }
        assert_eq!(leave(&limiter), 5, "one more after about a round");
        for _ in 0..1000 {
            limiter.succeeded();
        }
        assert_eq!(leave(&limiter), 16, "and never above the highest");
        for _ in 0..20 {
            clock.advance(CUT_PAUSE);
            limiter.throttled();
        }
        assert_eq!(leave(&limiter), 1, "never none");
    }
}
