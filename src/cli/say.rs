//! Printing: results to standard output, trouble to standard error.

use std::io::{self, Write};

/// Prints a result line.
pub(super) fn line(line: &str) {
    text(&format!("{line}\n"));
}

/// Prints a result line, and says whether anybody still reads them.
pub(super) fn line_or_closed(line: &str) -> bool {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").is_ok()
}

/// Prints results as they are.
pub(super) fn text(text: &str) {
    let mut out = io::stdout().lock();
    // A reader that went away (`| head`) has seen enough.
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        tracing::debug!(%error, "nobody reads the results");
    }
}

/// Prints something beside the results.
pub(super) fn aside(line: &str) {
    let mut out = io::stderr().lock();
    if let Err(error) = writeln!(out, "{line}") {
        tracing::debug!(%error, "nobody reads along");
    }
}

/// Prints what went wrong.
pub(super) fn trouble(line: &str) {
    aside(&format!("tapevault: {line}"));
}
