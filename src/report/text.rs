//! Events for a person: sentences, and bars where there is a terminal.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    clock::Clock,
    job::monitor::{Answer, Event, Monitor, Prompt, Snapshot},
    report::{
        lines::{request, sentence},
        progress::Bars,
    },
    unit::ByteCount,
};

/// How often a line about progress is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Writes to standard error, so that standard output holds results only.
#[derive(Debug)]
pub struct Text {
    clock: Arc<dyn Clock>,
    bars: Option<Bars>,
    state: Mutex<State>,
    rehearsal: bool,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Duration>,
    last: Snapshot,
}

impl Text {
    /// A monitor for whatever standard error is. A rehearsal says so on each job.
    pub fn new(clock: Arc<dyn Clock>, rehearsal: bool) -> Self {
        let bars = io::stderr().is_terminal().then(Bars::new);
        Self { clock, bars, state: Mutex::new(State::default()), rehearsal }
    }

    fn print(&self, line: &str) {
        let write = || {
            let mut out = io::stderr().lock();
            // Nobody to read it is no reason to stop a job.
            if let Err(error) = writeln!(out, "{line}") {
                tracing::debug!(%error, "nobody reads the lines");
            }
        };
        match &self.bars {
            Some(bars) => bars.above(write),
            None => write(),
        }
    }

    /// Writes a line about progress now and then, where there are no bars.
    fn progress_line(&self, now: &Snapshot) {
        let elapsed = self.clock.elapsed();
        let mut state = self.state.lock().expect("no holder panics");
        let since = match state.told {
            None => {
                state.told = Some(elapsed);
                state.last = *now;
                return;
            }
            Some(told) => elapsed.saturating_sub(told),
        };
        if since < LINE_EVERY {
            return;
        }
        let line = progress_words(now, &state.last, since);
        state.told = Some(elapsed);
        state.last = *now;
        drop(state);
        self.print(&line);
    }
}

fn progress_words(now: &Snapshot, last: &Snapshot, since: Duration) -> String {
    let mut parts = Vec::new();
    let mut part = |what: &str, value: u64, before: u64, total: u64| {
        if total > 0 {
            let rate = ByteCount(value.saturating_sub(before)).per(since);
            parts.push(format!("{what} {} of {} ({rate}/s)", ByteCount(value), ByteCount(total)));
        }
    };
    part("fetched", now.fetched_bytes, last.fetched_bytes, now.wanted_bytes);
    part("sealed", now.sealed_bytes, last.sealed_bytes, now.to_write_bytes);
    part("on tape", now.on_tape_bytes, last.on_tape_bytes, now.to_write_bytes);
    part("read", now.read_bytes, last.read_bytes, now.to_read_bytes);
    part("compared", now.compared_bytes, last.compared_bytes, now.to_compare_bytes);
    let in_flight = now.written_bytes.saturating_sub(now.on_tape_bytes);
    if in_flight > 0 {
        parts.push(format!("in flight {}", ByteCount(in_flight)));
    }
    parts.join(", ")
}

impl Monitor for Text {
    fn event(&self, event: &Event<'_>) {
        if let Event::Progress(now) = event {
            match &self.bars {
                Some(bars) => bars.update(now),
                None => self.progress_line(now),
            }
            return;
        }
        if let (Event::JobStarted { .. }, true) = (event, self.rehearsal) {
            self.print("REHEARSAL: emulated media only; nothing here counts as a copy");
        }
        if let (Event::JobEnded { .. }, Some(bars)) = (event, &self.bars) {
            bars.clear();
        }
        if let Some(line) = sentence(event) {
            self.print(&line);
        }
    }

    fn ask(&self, prompt: &Prompt) -> Answer {
        let question = request(prompt);
        if !io::stdin().is_terminal() {
            self.print(&format!("{question}. (Nobody is there to do it.)"));
            return Answer::Declined;
        }
        self.print(&format!("{question}: "));
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => Answer::Declined,
            Ok(_) => Answer::Done(line.trim().to_owned()),
        }
    }
}
