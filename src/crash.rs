//! Named crash points, so that a test can kill the process between any two durable steps.
//!
//! Only builds with debug assertions look at the variable; in a release a point costs nothing.

/// Kills the process as `kill -9` would when `TAPEVAULT_CRASH_AT` is `name`, or `name:N` at the
/// N-th passage (counted from 1).
pub fn point(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::point(name);
    #[cfg(not(debug_assertions))]
    let _: &str = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::{
        env,
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
    };

    use nix::{
        sys::signal::{Signal, raise},
        unistd,
    };

    static TARGET: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let text = env::var("TAPEVAULT_CRASH_AT").ok()?;
        match text.rsplit_once(':') {
            Some((name, passage)) => Some((name.to_owned(), passage.parse().ok()?)),
            None => Some((text, 1)),
        }
    });
    static PASSAGES: AtomicU64 = AtomicU64::new(0);

    pub(super) fn point(name: &'static str) {
        let Some((target, passage)) = &*TARGET else { return };
        if target == name && PASSAGES.fetch_add(1, Ordering::SeqCst) + 1 == *passage {
            tracing::error!(name, pid = unistd::getpid().as_raw(), "crash point");
            raise(Signal::SIGKILL).expect("a process may kill itself");
        }
    }
}
