//! The sorter: fills memory, spills sorted runs, merges them.

use std::{
    cmp::Ordering,
    fmt,
    fs::File,
    io, mem,
    path::{Path, PathBuf},
};

use crate::sorter::{
    Merge, Record, SorterError, merge,
    run::{READER_BYTES, RunReader, RunWriter},
};

/// At most this many runs are read at once; more are merged in passes.
const MAX_FAN_IN: usize = 128;
const MIN_FAN_IN: usize = 4;

/// Takes records in any order and gives them back sorted, in bounded memory.
///
/// Equal records all come back.
#[derive(Debug)]
pub struct Sorter {
    directory: PathBuf,
    memory_bytes: usize,
    fan_in: usize,
    held: Held,
    /// Runs by how often their records were merged: those of one level are about equally long.
    levels: Vec<Vec<File>>,
}

/// Records that are not on disk yet.
#[derive(Debug, Default)]
struct Held {
    /// Keys and values one after the other.
    bytes: Vec<u8>,
    index: Vec<Span>,
}

/// Where a held record lies.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The key's first bytes as a number, which settles most comparisons without a look at the key.
    prefix: u64,
    offset: usize,
    key_length: u32,
    value_length: u32,
}

/// The records, ascending. Ends after an error.
pub struct Sorted {
    from: From,
}

enum From {
    Memory { held: Held, next: usize },
    Runs(Box<RunMerge>),
}

type RunMerge = Merge<Run, fn(&Record, &Record) -> Ordering>;

/// A run being read.
struct Run {
    directory: PathBuf,
    reader: RunReader,
}

impl Held {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        let mut prefix = [0; 8];
        let known = key.len().min(8);
        prefix[..known].copy_from_slice(&key[..known]);
        self.index.push(Span {
            prefix: u64::from_be_bytes(prefix),
            offset: self.bytes.len(),
            key_length: u32::try_from(key.len()).expect("a record is below 4 GiB"),
            value_length: u32::try_from(value.len()).expect("a record is below 4 GiB"),
        });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    fn memory(&self) -> usize {
        self.bytes.len() + self.index.len() * size_of::<Span>()
    }

    fn get(&self, span: Span) -> (&[u8], &[u8]) {
        let key_length = usize::try_from(span.key_length).expect("32 bits fit memory");
        let value_length = usize::try_from(span.value_length).expect("32 bits fit memory");
        let bytes = &self.bytes[span.offset..span.offset + key_length + value_length];
        bytes.split_at(key_length)
    }

    fn sort(&mut self) {
        let mut index = mem::take(&mut self.index);
        index.sort_unstable_by(|a, b| {
            a.prefix.cmp(&b.prefix).then_with(|| self.get(*a).cmp(&self.get(*b)))
        });
        self.index = index;
    }
}

impl Sorter {
    /// A sorter that holds up to `memory_bytes` of records in memory and puts the rest into
    /// unlinked temporary files in `directory`. While it merges it takes as much again, and never
    /// less than 2 MiB.
    pub fn new(directory: &Path, memory_bytes: usize) -> Self {
        Self {
            directory: directory.to_owned(),
            memory_bytes,
            fan_in: (memory_bytes / READER_BYTES).clamp(MIN_FAN_IN, MAX_FAN_IN),
            held: Held::default(),
            levels: Vec::new(),
        }
    }

    /// Takes a record that is sorted by all its bytes.
    ///
    /// # Errors
    ///
    /// When a temporary file cannot be written.
    ///
    /// # Panics
    ///
    /// When the record has 4 GiB or more.
    pub fn push(&mut self, record: &[u8]) -> Result<(), SorterError> {
        self.push_keyed(record, &[])
    }

    /// Takes a record that is sorted by `key`, then by `value`.
    ///
    /// # Errors
    ///
    /// When a temporary file cannot be written.
    ///
    /// # Panics
    ///
    /// When the key or the value has 4 GiB or more.
    pub fn push_keyed(&mut self, key: &[u8], value: &[u8]) -> Result<(), SorterError> {
        self.held.push(key, value);
        if self.held.memory() >= self.memory_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// Ends the taking: the records, ascending.
    ///
    /// # Errors
    ///
    /// When a temporary file cannot be written or read.
    pub fn finish(mut self) -> Result<Sorted, SorterError> {
        if self.levels.is_empty() {
            self.held.sort();
            return Ok(Sorted { from: From::Memory { held: self.held, next: 0 } });
        }
        if !self.held.index.is_empty() {
            self.spill()?;
        }
        self.held = Held::default();
        // The shortest runs first, so that few bytes are merged twice.
        let mut runs: Vec<File> = mem::take(&mut self.levels).into_iter().flatten().collect();
        while runs.len() > self.fan_in {
            let surplus = (runs.len() - self.fan_in + 1).min(self.fan_in);
            let merged = self.merge_runs(runs.drain(..surplus).collect())?;
            runs.push(merged);
        }
        let merge = self.open_merge(runs)?;
        Ok(Sorted { from: From::Runs(Box::new(merge)) })
    }

    fn error(&self, operation: &'static str) -> impl Fn(io::Error) -> SorterError {
        let directory = self.directory.clone();
        move |source| SorterError { operation, directory: directory.clone(), source }
    }

    fn spill(&mut self) -> Result<(), SorterError> {
        self.held.sort();
        let file = self.write_held().map_err(self.error("writing a"))?;
        self.held.bytes.clear();
        self.held.index.clear();
        self.add_run(0, file)
    }

    fn write_held(&self) -> io::Result<File> {
        let mut writer = RunWriter::create(&self.directory)?;
        for span in &self.held.index {
            let (key, value) = self.held.get(*span);
            writer.push(key, value)?;
        }
        writer.finish()
    }

    fn add_run(&mut self, level: usize, file: File) -> Result<(), SorterError> {
        let (mut level, mut file) = (level, file);
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(file);
            if self.levels[level].len() < self.fan_in {
                return Ok(());
            }
            let runs = mem::take(&mut self.levels[level]);
            file = self.merge_runs(runs)?;
            level += 1;
        }
    }

    fn open_merge(&self, runs: Vec<File>) -> Result<RunMerge, SorterError> {
        let mut readers = Vec::with_capacity(runs.len());
        for run in runs {
            let reader = RunReader::open(run).map_err(self.error("reading a"))?;
            readers.push(Run { directory: self.directory.clone(), reader });
        }
        Ok(merge(readers))
    }

    fn merge_runs(&self, runs: Vec<File>) -> Result<File, SorterError> {
        let error = self.error("writing a");
        let mut writer = RunWriter::create(&self.directory).map_err(&error)?;
        for record in self.open_merge(runs)? {
            let record = record?;
            writer.push(record.key(), record.value()).map_err(&error)?;
        }
        writer.finish().map_err(error)
    }
}

impl Iterator for Run {
    type Item = Result<Record, SorterError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reader.read().transpose().map(|record| {
            record.map_err(|source| SorterError {
                operation: "reading a",
                directory: self.directory.clone(),
                source,
            })
        })
    }
}

impl Iterator for Sorted {
    type Item = Result<Record, SorterError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.from {
            From::Memory { held, next } => {
                let span = *held.index.get(*next)?;
                *next += 1;
                let (key, value) = held.get(span);
                let bytes = [key, value].concat();
                Some(Ok(Record { bytes, key_length: key.len() }))
            }
            From::Runs(merge) => merge.next(),
        }
    }
}

impl fmt::Debug for Sorted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sorted").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sorts with `memory_bytes` and compares with the standard library's sort.
    fn check(records: &[(Vec<u8>, Vec<u8>)], memory_bytes: usize) {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(directory.path(), memory_bytes);
        for (key, value) in records {
            sorter.push_keyed(key, value).unwrap();
        }
        let sorted: Vec<(Vec<u8>, Vec<u8>)> = sorter
            .finish()
            .unwrap()
            .map(|record| record.map(|r| (r.key().to_vec(), r.value().to_vec())).unwrap())
            .collect();
        let mut expected = records.to_vec();
        expected.sort();
        assert!(sorted == expected, "{} records, {memory_bytes} bytes", records.len());
        assert_eq!(directory.path().read_dir().unwrap().count(), 0, "files are unlinked");
    }

    #[test]
    fn many_runs_merge_in_passes() {
        // A memory of one record, so that every record is a run and levels fill up.
        let records: Vec<_> = (0..300_u32)
            .map(|n| ((n * 7919 % 101).to_string().into_bytes(), n.to_string().into_bytes()))
            .collect();
        check(&records, 1);
        check(&records, 1000);
        check(&records, 1 << 20);
    }

    #[test]
    fn a_directory_that_is_gone_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(&directory.path().join("gone"), 10);
        let error = sorter.push(b"longer than that").unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn sorts_as_the_standard_library_does(
            records in prop::collection::vec(
                (prop::collection::vec(0..4_u8, 0..12), prop::collection::vec(any::<u8>(), 0..5)), 0..200),
            memory in 1_usize..3000,
        ) {
            check(&records, memory);
        }
    }
}
