//! Reading what is wanted, several files at once.

use std::{
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crossbeam_channel::Sender;

use crate::cancel::Cancel;
use crate::item::Listed;
use crate::source::directory::DirectorySource;
use crate::source::directory::read::Reader;
use crate::source::{Sink, SourceError};

/// Fewest and most files read at once. More than the cores, so that disks with latency are kept
/// busy; few, so that disks with heads are not torn about.
const MIN_READERS: usize = 2;
const MAX_READERS: usize = 4;
/// Items handed to a reader at once, so that neighbours share their directory's descriptor.
const BATCH_ITEMS: usize = 64;
const BATCH_BYTES: u64 = 4 << 20;
/// Batches that wait for a reader.
const BATCHES_WAITING: usize = 8;

/// Delivers what `wanted` yields to `sink`.
pub(super) fn fetch(
    source: &DirectorySource,
    wanted: &mut (dyn Iterator<Item = Listed> + Send),
    sink: &dyn Sink,
    cancel: &Cancel,
) -> Result<(), SourceError> {
    let readers = thread::available_parallelism()
        .map_or(MIN_READERS, NonZero::get)
        .clamp(MIN_READERS, MAX_READERS);
    let failed = AtomicBool::new(false);
    let failure: Mutex<Option<SourceError>> = Mutex::new(None);
    thread::scope(|scope| {
        let (sender, receiver) = crossbeam_channel::bounded::<Vec<Listed>>(BATCHES_WAITING);
        for _ in 0..readers {
            let receiver = receiver.clone();
            let (failed, failure) = (&failed, &failure);
            scope.spawn(move || {
                let mut reader = Reader::new(source, sink, cancel);
                for batch in receiver {
                    let stop = || failed.load(Ordering::Acquire);
                    if let Err(error) = reader.deliver_all(&batch, &stop) {
                        // Kept before it is told, so that who stops because of it comes second.
                        failure.lock().expect("no holder panics").get_or_insert(error);
                        failed.store(true, Ordering::Release);
                        break;
                    }
                }
            });
        }
        // So that sending fails, and does not wait, once every reader is gone.
        drop(receiver);
        dispatch(wanted, &sender, &|| cancel.is_set() || failed.load(Ordering::Acquire));
    });
    if let Some(error) = failure.into_inner().expect("no holder panics") {
        return Err(error);
    }
    if cancel.is_set() { Err(SourceError::Stopped) } else { Ok(()) }
}

fn dispatch(
    wanted: &mut (dyn Iterator<Item = Listed> + Send),
    sender: &Sender<Vec<Listed>>,
    stop: &dyn Fn() -> bool,
) {
    let mut batch = Vec::with_capacity(BATCH_ITEMS);
    let mut bytes = 0;
    for listed in wanted {
        if stop() {
            return;
        }
        bytes += listed.size;
        batch.push(listed);
        if batch.len() == BATCH_ITEMS || bytes >= BATCH_BYTES {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_ITEMS));
            bytes = 0;
            if sender.send(full).is_err() {
                return;
            }
        }
    }
    if !batch.is_empty() && sender.send(batch).is_err() {
        // Every reader has stopped, and its failure is kept.
    }
}
