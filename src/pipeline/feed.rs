//! Reads segment files ahead of the drive.

use std::{
    fs::File,
    io,
    num::NonZero,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender};
use rustix::fs::Advice;

use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::pipeline::ring::{Message, Over, Ring, Slot};
use crate::pipeline::{Counters, Flow, Guard, Settings};
use crate::printable::Printable;

/// After so many bytes the page cache is told to forget them, so that a job does not push the
/// machine's working set out of memory.
const FORGET_BYTES: u64 = 8 << 20;

/// A file to be fed, as sealed.
#[derive(Clone, Debug)]
pub struct SegmentFile {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes of one block, at most the ring's.
    pub block_bytes: usize,
    /// How many blocks it has; it is exactly so long.
    pub blocks: u64,
}

/// A file that went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// Blocks that the writer took.
    pub blocks: u64,
    /// BLAKE3 of the whole file; `None` when the writer stopped before its end.
    pub digest: Option<Digest>,
}

/// Why a file did not go through, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum FeedError<E: std::error::Error + 'static> {
    /// The staged file cannot be read: the segment has to be staged anew.
    #[error("reading staged file {} failed at byte {offset}", Printable::from(path.as_path()))]
    Read {
        /// The file.
        path: PathBuf,
        /// How far the reading came.
        offset: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The staged file is not as long as it was when it was sealed: it has to be staged anew.
    #[error(
        "staged file {} has {found} bytes in place of {expected}",
        Printable::from(path.as_path())
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// As sealed.
        expected: u64,
        /// As found.
        found: u64,
    },
    /// The operator wants to stop.
    #[error("stopped")]
    Cancelled,
    /// The writer's own failure.
    #[error(transparent)]
    Writer(#[from] E),
}

/// A thread that reads files, one after the other, through a ring to a writer.
///
/// Files are queued by [`Feed::queue`], ahead of their turn so that the drive does not wait between
/// two, and written in that order by [`Feed::write`].
#[derive(Debug)]
pub struct Feed {
    ring: Arc<Ring<Tag>>,
    requests: Option<Sender<(u64, SegmentFile)>>,
    /// What is read in an earlier round is of no use any more.
    round: Arc<AtomicU64>,
    cancel: Cancel,
    block_bytes: usize,
    reader: Option<JoinHandle<()>>,
}

/// What goes with each message.
#[derive(Debug)]
struct Tag {
    round: u64,
    note: Note,
}

#[derive(Debug)]
enum Note {
    Block,
    End(Digest),
    Failed { path: PathBuf, failure: Failure },
}

#[derive(Debug)]
enum Failure {
    Read { offset: u64, source: io::Error },
    Length { expected: u64, found: u64 },
}

/// The reader's side.
struct Reader {
    ring: Arc<Ring<Tag>>,
    round: Arc<AtomicU64>,
    cancel: Cancel,
    guard: Option<Guard>,
}

impl Feed {
    /// Starts the reader.
    ///
    /// # Errors
    ///
    /// When the machine has no thread to give.
    pub fn start(settings: Settings, cancel: &Cancel) -> io::Result<Self> {
        let ring = Arc::new(Ring::new(&settings));
        ring.set_idle(true);
        let round = Arc::new(AtomicU64::new(0));
        let (requests, receiver) = crossbeam_channel::unbounded();
        let reader = Reader {
            ring: Arc::clone(&ring),
            round: Arc::clone(&round),
            cancel: cancel.clone(),
            guard: settings.guard,
        };
        let thread =
            thread::Builder::new().name("feed".into()).spawn(move || reader.run(&receiver))?;
        Ok(Self {
            ring,
            requests: Some(requests),
            round,
            cancel: cancel.clone(),
            block_bytes: settings.block_bytes,
            reader: Some(thread),
        })
    }

    /// How far it is.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.ring.counters)
    }

    /// Queues a file to be read when those before it are.
    ///
    /// # Panics
    ///
    /// When its blocks are larger than the ring's, or of no bytes.
    pub fn queue(&self, file: SegmentFile) {
        assert!((1..=self.block_bytes).contains(&file.block_bytes), "a block fits a slot");
        let round = self.round.load(Ordering::Acquire);
        let requests = self.requests.as_ref().expect("there until dropped");
        if requests.send((round, file)).is_err() {
            // The reader has stopped because the operator wants to; `write` says so.
        }
    }

    /// Forgets all that is queued or read ahead.
    pub fn clear(&self) {
        self.round.fetch_add(1, Ordering::AcqRel);
    }

    /// Gives the blocks of the next queued file to `writer`, on this thread, each with its guard
    /// behind it if there is one. When the writer stops
    /// or fails, the rest of this file and all that is queued is forgotten, as by [`Feed::clear`].
    ///
    /// A file must have been queued, or this waits for one.
    ///
    /// # Errors
    ///
    /// When the file cannot be read whole, the operator stops, or the writer fails. Blocks before
    /// that have been written.
    ///
    /// # Panics
    ///
    /// When the reading thread did.
    pub fn write<E: std::error::Error + 'static>(
        &self,
        mut writer: impl FnMut(&[u8]) -> Result<Flow, E>,
    ) -> Result<Fed, FeedError<E>> {
        let mut blocks = 0;
        loop {
            let Message { slot, tag } = match self.ring.next(&self.cancel) {
                Ok(message) => message,
                Err(Over::Cancelled) => return Err(FeedError::Cancelled),
                Err(Over::Closed) => panic!("the thread that reads staged files panicked"),
            };
            if tag.round != self.round.load(Ordering::Acquire) {
                self.give_back(slot);
                continue;
            }
            match tag.note {
                Note::Block => {
                    let slot = slot.expect("a block comes in a slot");
                    let result = writer(slot.whole());
                    let bytes = slot.bytes().len();
                    self.ring.give_back(slot);
                    match result {
                        Ok(Flow::Continue) => {
                            blocks += 1;
                            self.ring.taken(bytes);
                        }
                        Ok(Flow::Stop) => {
                            self.ring.taken(bytes);
                            self.clear();
                            return Ok(Fed { blocks: blocks + 1, digest: None });
                        }
                        Err(error) => {
                            self.clear();
                            return Err(FeedError::Writer(error));
                        }
                    }
                }
                Note::End(digest) => return Ok(Fed { blocks, digest: Some(digest) }),
                Note::Failed { path, failure } => {
                    self.clear();
                    return Err(match failure {
                        Failure::Read { offset, source } => {
                            FeedError::Read { path, offset, source }
                        }
                        Failure::Length { expected, found } => {
                            FeedError::Length { path, expected, found }
                        }
                    });
                }
            }
        }
    }

    fn give_back(&self, slot: Option<Slot>) {
        if let Some(slot) = slot {
            self.ring.give_back(slot);
        }
    }
}

/// However the reader ends, the writer does not wait for it.
impl Drop for Reader {
    fn drop(&mut self) {
        self.ring.close();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.clear();
        self.requests = None;
        self.ring.close();
        if let Some(reader) = self.reader.take()
            && reader.join().is_err()
        {
            tracing::error!("the thread that reads staged files panicked");
        }
    }
}

/// A file is no longer wanted, or nothing is.
enum Ended {
    Stale,
    Over,
    Failed(Failure),
}

impl Reader {
    fn run(&self, requests: &Receiver<(u64, SegmentFile)>) {
        for (round, file) in requests {
            self.ring.set_idle(false);
            let note = match self.read(round, &file) {
                Ok(digest) => Note::End(digest),
                Err(Ended::Failed(failure)) => Note::Failed { path: file.path, failure },
                Err(Ended::Over) => return,
                Err(Ended::Stale) => {
                    self.ring.set_idle(requests.is_empty());
                    continue;
                }
            };
            self.ring.push(None, Tag { round, note });
            self.ring.set_idle(requests.is_empty());
        }
    }

    fn read(&self, round: u64, file: &SegmentFile) -> Result<Digest, Ended> {
        if round != self.round.load(Ordering::Acquire) {
            return Err(Ended::Stale);
        }
        let failed = |source| Ended::Failed(Failure::Read { offset: 0, source });
        let opened = File::open(&file.path).map_err(failed)?;
        let expected = file.blocks * file.block_bytes as u64;
        let found = opened.metadata().map_err(failed)?.len();
        if found != expected {
            return Err(Ended::Failed(Failure::Length { expected, found }));
        }
        advise(&opened, 0, None, Advice::Sequential);
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        while offset < expected {
            let mut slot = self.ring.free(&self.cancel).map_err(|over| match over {
                Over::Closed | Over::Cancelled => Ended::Over,
            })?;
            if round != self.round.load(Ordering::Acquire) {
                self.ring.give_back(slot);
                return Err(Ended::Stale);
            }
            let room = &mut slot.room()[..file.block_bytes];
            let read = opened.read_exact_at(room, offset).map_err(|source| {
                if source.kind() == io::ErrorKind::UnexpectedEof {
                    Ended::Failed(Failure::Length { expected, found: offset })
                } else {
                    Ended::Failed(Failure::Read { offset, source })
                }
            });
            if let Err(ended) = read {
                self.ring.give_back(slot);
                return Err(ended);
            }
            // Here and not in a stage of its own: the block is still in this core's cache.
            hasher.update(room);
            slot.filled = file.block_bytes;
            if let Some(guard) = self.guard {
                slot.guard(guard);
            }
            self.ring.push(Some(slot), Tag { round, note: Note::Block });
            let before = offset;
            offset += file.block_bytes as u64;
            if before / FORGET_BYTES != offset / FORGET_BYTES {
                let done = before / FORGET_BYTES * FORGET_BYTES;
                advise(&opened, done, Some(FORGET_BYTES), Advice::DontNeed);
            }
        }
        Ok(Digest::from_hasher(&hasher))
    }
}

/// Tells the page cache what comes. A file system that takes no advice is no worse for it.
fn advise(file: &File, offset: u64, length: Option<u64>, advice: Advice) {
    if let Err(errno) = rustix::fs::fadvise(file, offset, length.and_then(NonZero::new), advice) {
        tracing::trace!(%errno, "the page cache takes no advice");
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, fs};

    use super::*;

    const BLOCK: usize = 4096;

    fn settings(start_percent: u8) -> Settings {
        Settings { block_bytes: BLOCK, ring_bytes: 8 * BLOCK, start_percent, guard: None }
    }

    /// A file of `blocks` blocks, each with its number and `seed` in front.
    fn segment(directory: &std::path::Path, seed: u8, blocks: u64) -> (SegmentFile, Vec<u8>) {
        let mut bytes = Vec::new();
        for n in 0..blocks {
            let mut block = vec![seed; BLOCK];
            block[..8].copy_from_slice(&n.to_le_bytes());
            bytes.extend(block);
        }
        let path = directory.join(seed.to_string());
        fs::write(&path, &bytes).unwrap();
        (SegmentFile { path, block_bytes: BLOCK, blocks }, bytes)
    }

    fn collect(feed: &Feed) -> (Fed, Vec<u8>) {
        let mut got = Vec::new();
        let fed = feed
            .write(|block| {
                assert_eq!(block.as_ptr().align_offset(4096), 0, "blocks begin on a page");
                got.extend_from_slice(block);
                Ok::<_, Infallible>(Flow::Continue)
            })
            .unwrap();
        (fed, got)
    }

    #[test]
    fn files_go_through_whole_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        for start_percent in [0, 50, 100] {
            let feed = Feed::start(settings(start_percent), &Cancel::new()).unwrap();
            let files: Vec<_> = [(1, 40), (2, 0), (3, 1), (4, 8), (5, 100)]
                .map(|(seed, blocks)| segment(directory.path(), seed, blocks))
                .into();
            for (file, _) in &files {
                feed.queue(file.clone());
            }
            for (file, bytes) in &files {
                let (fed, got) = collect(&feed);
                assert!(got == *bytes);
                assert_eq!(fed, Fed { blocks: file.blocks, digest: Some(Digest::of(bytes)) });
            }
            let total: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
            let counters = feed.counters();
            assert_eq!((counters.bytes_read(), counters.bytes_taken()), (total, total));
            assert_eq!(counters.bytes_ready(), 0);
        }
    }

    #[test]
    fn a_guard_stands_behind_each_block() {
        let directory = tempfile::tempdir().unwrap();
        let (file, bytes) = segment(directory.path(), 1, 20);
        let guard: Guard = |block| [block[0], block[1], 7, 9];
        let settings = Settings { guard: Some(guard), ..settings(50) };
        let feed = Feed::start(settings, &Cancel::new()).unwrap();
        feed.queue(file);
        let (fed, got) = collect(&feed);
        assert_eq!(fed.digest, Some(Digest::of(&bytes)), "it is no part of the file");
        let blocks = bytes.chunks_exact(BLOCK);
        let expected: Vec<u8> =
            blocks.flat_map(|block| [block, &guard(block)[..]].concat()).collect();
        assert!(got == expected);
        assert_eq!(feed.counters().bytes_taken(), bytes.len() as u64);
    }

    #[derive(Debug, thiserror::Error, PartialEq)]
    #[error("refused")]
    struct Refused;

    #[test]
    fn what_is_read_ahead_is_forgotten_when_the_writer_stops() {
        let directory = tempfile::tempdir().unwrap();
        let feed = Feed::start(settings(50), &Cancel::new()).unwrap();
        let (first, first_bytes) = segment(directory.path(), 1, 50);
        let (second, _) = segment(directory.path(), 2, 50);
        for _ in 0..20 {
            feed.queue(first.clone());
            feed.queue(second.clone());
            let mut left = 3;
            let stopped = feed.write(|_| {
                left -= 1;
                Ok::<_, Infallible>(if left == 0 { Flow::Stop } else { Flow::Continue })
            });
            assert_eq!(stopped.unwrap(), Fed { blocks: 3, digest: None });
            feed.queue(first.clone());
            let failed = feed.write(|_| Err(Refused)).unwrap_err();
            assert!(matches!(failed, FeedError::Writer(Refused)));
            feed.queue(first.clone());
            assert!(collect(&feed).1 == first_bytes);
        }
    }

    #[test]
    fn files_that_are_gone_or_cut_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let feed = Feed::start(settings(80), &Cancel::new()).unwrap();
        let (mut file, bytes) = segment(directory.path(), 1, 30);
        file.blocks = 31;
        feed.queue(file.clone());
        let error = feed.write(|_| Ok::<_, Infallible>(Flow::Continue)).unwrap_err();
        let FeedError::Length { expected, found, .. } = error else { panic!("{error}") };
        assert_eq!((expected, found), (31 * 4096, 30 * 4096));
        file.path.set_extension("gone");
        feed.queue(file.clone());
        let error = feed.write(|_| Ok::<_, Infallible>(Flow::Continue)).unwrap_err();
        assert!(matches!(&error, FeedError::Read { path, .. } if *path == file.path), "{error}");
        let (whole, _) = segment(directory.path(), 1, 30);
        feed.queue(whole);
        assert!(collect(&feed).1 == bytes);
    }

    #[test]
    fn a_file_cut_while_it_is_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let feed = Feed::start(settings(0), &Cancel::new()).unwrap();
        let (file, _) = segment(directory.path(), 1, 1000);
        feed.queue(file.clone());
        let error = feed
            .write(|_| {
                File::options().write(true).open(&file.path).unwrap().set_len(500 * 4096).unwrap();
                Ok::<_, Infallible>(Flow::Continue)
            })
            .unwrap_err();
        assert!(matches!(error, FeedError::Length { .. }), "{error}");
    }

    #[test]
    fn stopping_ends_both_sides() {
        let directory = tempfile::tempdir().unwrap();
        let cancel = Cancel::new();
        let feed = Feed::start(settings(80), &cancel).unwrap();
        let (file, _) = segment(directory.path(), 1, 1000);
        feed.queue(file.clone());
        let error = feed
            .write(|_| {
                cancel.set();
                Ok::<_, Infallible>(Flow::Continue)
            })
            .unwrap_err();
        assert!(matches!(error, FeedError::Cancelled), "{error}");
        feed.queue(file);
        drop(feed);
    }
}
