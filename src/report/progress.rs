//! Progress bars: one a stage that moves bytes, each with its rate and time to go.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::job::monitor::Snapshot;

const TEMPLATE: &str = "{prefix:>8} {wide_bar:.cyan/dim} {bytes:>11} / {total_bytes:11} {bytes_per_sec:>13} {eta:>5}  {msg}";

/// The bars of a job.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    fetched: ProgressBar,
    sealed: ProgressBar,
    on_tape: ProgressBar,
    read: ProgressBar,
    compared: ProgressBar,
}

impl Bars {
    /// Bars on standard error, none of them shown before it moves.
    pub(super) fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is valid");
        let bar = |prefix: &'static str| {
            ProgressBar::hidden().with_style(style.clone()).with_prefix(prefix)
        };
        let [fetched, sealed, on_tape, read, compared] =
            ["fetched", "sealed", "on tape", "read", "compared"].map(bar);
        Self { all, fetched, sealed, on_tape, read, compared }
    }

    /// Shows how far the job is.
    pub(super) fn update(&self, now: &Snapshot) {
        let in_flight = now.written_bytes.saturating_sub(now.on_tape_bytes);
        let flight = match in_flight {
            0 => String::new(),
            bytes => format!("+ {} in flight", crate::unit::ByteCount(bytes)),
        };
        self.set(&self.fetched, (now.fetched_bytes, now.wanted_bytes), String::new());
        self.set(&self.sealed, (now.sealed_bytes, now.to_write_bytes), String::new());
        self.set(&self.on_tape, (now.on_tape_bytes, now.to_write_bytes), flight);
        self.set(&self.read, (now.read_bytes, now.to_read_bytes), String::new());
        let compared = (now.compared_bytes, now.to_compare_bytes);
        self.set(&self.compared, compared, String::new());
    }

    fn set(&self, bar: &ProgressBar, (position, total): (u64, u64), message: String) {
        if total == 0 {
            return;
        }
        if bar.is_hidden() && bar.position() == 0 {
            self.all.add(bar.clone());
        }
        bar.set_length(total.max(position));
        bar.set_position(position);
        bar.set_message(message);
    }

    /// Prints a line above the bars.
    pub(super) fn above(&self, print: impl FnOnce()) {
        self.all.suspend(print);
    }

    /// Takes the bars off the screen.
    pub(super) fn clear(&self) {
        for bar in [&self.fetched, &self.sealed, &self.on_tape, &self.read, &self.compared] {
            bar.finish_and_clear();
        }
    }
}
