//! The operator's wish to stop, as work that runs long looks at it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Set once, seen by every clone. Work stops at its next safe place.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// One that nobody has set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all work that holds a clone to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether work is to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The flag itself, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}
