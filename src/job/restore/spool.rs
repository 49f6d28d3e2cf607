//! Records on disk: written once, read as often as needed, by several readers at once.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    marker::PhantomData,
    os::unix::fs::FileExt,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::job::{Desk, JobError};

/// Compression level: less time than the disk that it saves.
const LEVEL: i32 = 1;
const BUFFER_BYTES: usize = 128 << 10;

/// Records that are being written, one JSON line each, in a file without a name.
pub(super) struct SpoolWriter<T> {
    to: zstd::Encoder<'static, BufWriter<File>>,
    count: u64,
    of: PhantomData<fn(T)>,
}

/// Records that were written.
#[derive(Debug)]
pub(super) struct Spool<T> {
    file: File,
    count: u64,
    of: PhantomData<fn() -> T>,
}

/// One reading of a spool.
pub(super) struct SpoolReader<'a, T> {
    from: BufReader<zstd::Decoder<'static, BufReader<At<'a>>>>,
    line: Vec<u8>,
    of: PhantomData<fn() -> T>,
}

/// Reads a shared file from a place of its own.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl<T: Serialize> SpoolWriter<T> {
    pub(super) fn new(desk: &Desk) -> Result<Self, JobError> {
        let file = BufWriter::with_capacity(BUFFER_BYTES, desk.scratch_file()?);
        let to = zstd::Encoder::new(file, LEVEL).map_err(writing())?;
        Ok(Self { to, count: 0, of: PhantomData })
    }

    pub(super) fn push(&mut self, record: &T) -> Result<(), JobError> {
        let mut line = serde_json::to_vec(record).expect("records are text, numbers and lists");
        line.push(b'\n');
        self.count += 1;
        self.to.write_all(&line).map_err(writing())
    }

    pub(super) fn finish(self) -> Result<Spool<T>, JobError> {
        let buffered = self.to.finish().map_err(writing())?;
        let file = buffered.into_inner().map_err(|error| writing()(error.into_error()))?;
        Ok(Spool { file, count: self.count, of: PhantomData })
    }
}

impl<T: DeserializeOwned> Spool<T> {
    /// How many records there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Reads from the beginning.
    pub(super) fn records(&self) -> Result<SpoolReader<'_, T>, JobError> {
        let at = BufReader::with_capacity(BUFFER_BYTES, At { file: &self.file, offset: 0 });
        let decoder = zstd::Decoder::with_buffer(at).map_err(reading())?;
        let from = BufReader::with_capacity(BUFFER_BYTES, decoder);
        Ok(SpoolReader { from, line: Vec::new(), of: PhantomData })
    }
}

impl<T: DeserializeOwned> Iterator for SpoolReader<'_, T> {
    type Item = Result<T, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        match self.from.read_until(b'\n', &mut self.line) {
            Ok(0) => None,
            Ok(_) => Some(
                serde_json::from_slice(&self.line)
                    .map_err(|error| reading()(io::Error::from(error))),
            ),
            Err(error) => Some(Err(reading()(error))),
        }
    }
}

fn writing() -> impl FnOnce(io::Error) -> JobError {
    JobError::scratch("write a temporary file")
}

fn reading() -> impl FnOnce(io::Error) -> JobError {
    JobError::scratch("read a temporary file")
}
