//! Events as JSON, one a line, for programs.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use serde::Serialize;

use crate::{
    clock::{Clock, Timestamp},
    job::monitor::{Answer, EVENTS_VERSION, Event, Monitor, Prompt},
};

/// Writes each event as one line of JSON to standard output. Nobody answers prompts.
#[derive(Debug)]
pub struct Json {
    clock: Arc<dyn Clock>,
    out: Mutex<io::Stdout>,
}

#[derive(Serialize)]
struct Line<'a, T> {
    v: u32,
    time: Timestamp,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Serialize)]
struct Asked<'a> {
    event: &'static str,
    #[serde(flatten)]
    prompt: &'a Prompt,
}

impl Json {
    /// A writer that stamps lines with this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, out: Mutex::new(io::stdout()) }
    }

    fn line<T: Serialize>(&self, body: &T) {
        let line = Line { v: EVENTS_VERSION, time: self.clock.now(), body };
        let text = serde_json::to_string(&line).expect("events are plain data");
        let mut out = self.out.lock().expect("no holder panics");
        // A reader that went away does not stop a job.
        if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
            tracing::debug!(%error, "nobody reads the events");
        }
    }
}

impl Monitor for Json {
    fn event(&self, event: &Event<'_>) {
        self.line(event);
    }

    fn ask(&self, prompt: &Prompt) -> Answer {
        self.line(&Asked { event: "operator-needed", prompt });
        Answer::Declined
    }
}
