//! Runs and manifests as an index holds them: JSON lines, zstd.

use std::io::{self, BufRead, BufReader, Read, Write};

use serde::{Deserialize, Serialize};

use crate::ident::RunId;
use crate::volume::{
    lines,
    manifest::Entry,
    run::{Change, Run},
};

/// zstd level: the one where speed still keeps up with a session's end.
const LEVEL: i32 = 3;
/// The longest line of a run, in bytes.
const LINE_MAX: u64 = 64 << 20;
/// The largest window that a reader gives zstd, as a power of two.
const WINDOW_LOG_MAX: u32 = 27;

/// The first line of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunHeader {
    /// The run.
    pub run: Run,
    /// The run that the changes are against, or `None` when every row is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<RunId>,
}

/// Why a run cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The stream or its compression failed.
    #[error("cannot read line {line} of a run")]
    Io {
        /// The line, from 0, which is the header's.
        line: u64,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// A line is not what belongs there.
    #[error("line {line} of a run is malformed")]
    Malformed {
        /// The line, from 0, which is the header's.
        line: u64,
        /// The cause.
        #[source]
        cause: serde_json::Error,
    },
}

/// Compresses a run, header first, then its changes in order.
pub struct RunWriter<W: Write> {
    out: zstd::Encoder<'static, W>,
    line: Vec<u8>,
}

impl<W: Write> std::fmt::Debug for RunWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunWriter").finish_non_exhaustive()
    }
}

impl<W: Write> RunWriter<W> {
    /// Begins with the header.
    ///
    /// # Errors
    ///
    /// When `out` fails.
    pub fn new(out: W, header: &RunHeader) -> io::Result<Self> {
        let mut writer = Self { out: zstd::Encoder::new(out, LEVEL)?, line: Vec::new() };
        writer.push_json(header)?;
        Ok(writer)
    }

    /// Takes the next change.
    ///
    /// # Errors
    ///
    /// When the output fails.
    pub fn push(&mut self, change: &Change) -> io::Result<()> {
        self.push_json(change)
    }

    fn push_json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    /// Ends the compressed stream and gives the output back.
    ///
    /// # Errors
    ///
    /// When the output fails.
    pub fn finish(self) -> io::Result<W> {
        self.out.finish()
    }
}

/// Reads a run: the header, then its changes.
pub struct RunReader<R: Read> {
    inner: BufReader<zstd::Decoder<'static, BufReader<R>>>,
    header: RunHeader,
    line: u64,
    buffer: Vec<u8>,
    failed: bool,
}

impl<R: Read> std::fmt::Debug for RunReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunReader").field("header", &self.header).finish_non_exhaustive()
    }
}

fn decoder<R: Read>(inner: R) -> io::Result<BufReader<zstd::Decoder<'static, BufReader<R>>>> {
    let mut decoder = zstd::Decoder::new(inner)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(BufReader::with_capacity(1 << 17, decoder))
}

impl<R: Read> RunReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn new(inner: R) -> Result<Self, RunError> {
        let mut inner = decoder(inner).map_err(|cause| RunError::Io { line: 0, cause })?;
        let mut buffer = Vec::new();
        read_line(&mut inner, &mut buffer, 0)?;
        let header = serde_json::from_slice(&buffer)
            .map_err(|cause| RunError::Malformed { line: 0, cause })?;
        Ok(Self { inner, header, line: 1, buffer, failed: false })
    }

    /// What is known of the run as a whole.
    pub fn header(&self) -> &RunHeader {
        &self.header
    }
}

impl<R: Read> Iterator for RunReader<R> {
    type Item = Result<Change, RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.line;
        if self.failed {
            return None;
        }
        match read_line(&mut self.inner, &mut self.buffer, line) {
            Ok(false) => None,
            Ok(true) => {
                self.line += 1;
                let change = serde_json::from_slice(&self.buffer);
                Some(change.map_err(|cause| RunError::Malformed { line, cause }))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

fn read_line(inner: &mut impl BufRead, out: &mut Vec<u8>, line: u64) -> Result<bool, RunError> {
    out.clear();
    let count = inner
        .take(LINE_MAX)
        .read_until(b'\n', out)
        .map_err(|cause| RunError::Io { line, cause })?;
    Ok(count > 0)
}

/// Compresses a manifest for the index.
pub struct ManifestWriter<W: Write> {
    out: zstd::Encoder<'static, W>,
    line: Vec<u8>,
}

impl<W: Write> std::fmt::Debug for ManifestWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManifestWriter").finish_non_exhaustive()
    }
}

impl<W: Write> ManifestWriter<W> {
    /// Begins.
    ///
    /// # Errors
    ///
    /// When `out` fails.
    pub fn new(out: W) -> io::Result<Self> {
        Ok(Self { out: zstd::Encoder::new(out, LEVEL)?, line: Vec::new() })
    }

    /// Takes the next entry, in the manifest's order.
    ///
    /// # Errors
    ///
    /// When the output fails.
    pub fn push(&mut self, entry: &Entry) -> io::Result<()> {
        self.line.clear();
        lines::write_line(entry, &mut self.line);
        self.out.write_all(&self.line)
    }

    /// Takes manifest lines as they stand in the segment.
    ///
    /// # Errors
    ///
    /// When the output fails.
    pub fn push_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        self.out.write_all(lines)
    }

    /// Ends the compressed stream and gives the output back.
    ///
    /// # Errors
    ///
    /// When the output fails.
    pub fn finish(self) -> io::Result<W> {
        self.out.finish()
    }
}

/// The entries of a manifest that an index holds.
pub struct Entries<R: Read> {
    inner: lines::Reader<BufReader<zstd::Decoder<'static, BufReader<R>>>>,
}

impl<R: Read> std::fmt::Debug for Entries<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}

impl<R: Read> Entries<R> {
    /// Reads the compressed manifest that `inner` delivers.
    ///
    /// # Errors
    ///
    /// When the decompressor cannot be set up.
    pub fn new(inner: R) -> io::Result<Self> {
        Ok(Self { inner: lines::Reader::new(decoder(inner)?) })
    }
}

impl<R: Read> Iterator for Entries<R> {
    type Item = Result<Entry, lines::ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next()
    }
}
