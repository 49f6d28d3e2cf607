//! The source itself.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::{self, Runtime},
    sync::mpsc,
};

use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::item::Listed;
use crate::source::{Findings, Sink, Source, SourceError, Stop};

use super::{
    bucket::Bucket,
    listing::{Found, Walk},
    object::Delivery,
    settings::Settings,
};

/// Threads that carry the network. Bytes are copied and checked elsewhere.
const NETWORK_THREADS: usize = 2;
/// How long a wish to stop may go unnoticed while a page is awaited.
const CANCEL_POLL: Duration = Duration::from_millis(100);
/// Pages that wait while the one before is taken.
const PAGES_AHEAD: usize = 1;

/// A bucket as a source.
#[derive(Debug)]
pub struct S3 {
    bucket: Arc<Bucket>,
    runtime: Runtime,
}

impl S3 {
    /// Works out the address and starts the threads that carry the network. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// When the endpoint is not an address, or this machine gives no threads or certificates.
    pub fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let bucket = Bucket::new(settings, clock)?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .thread_name("s3-network")
            .enable_all()
            .build()
            .map_err(|error| SourceError::NotFound {
                source_name: bucket.name.clone(),
                cause: Box::new(error),
            })?;
        Ok(Self { bucket: Arc::new(bucket), runtime })
    }

    /// Takes the next page, or notices that it is not wanted any more.
    fn next_page(
        &self,
        pages: &mut mpsc::Receiver<Result<Vec<Found>, SourceError>>,
        cancel: &Cancel,
    ) -> Result<Option<Vec<Found>>, SourceError> {
        loop {
            if cancel.is_set() {
                return Err(SourceError::Stopped);
            }
            // The timer has to be made within the runtime.
            let next = self
                .runtime
                .block_on(async { tokio::time::timeout(CANCEL_POLL, pages.recv()).await });
            if let Ok(next) = next {
                return next.transpose();
            }
        }
    }
}

impl Source for S3 {
    fn list(
        &self,
        visit: &mut dyn FnMut(Listed) -> Result<(), Stop>,
        _findings: &dyn Findings,
        cancel: &Cancel,
    ) -> Result<(), SourceError> {
        let (sender, mut pages) = mpsc::channel(PAGES_AHEAD);
        let mut walk = Walk::new(Arc::clone(&self.bucket), self.bucket.settings.prefix.as_bytes());
        let walking = self.runtime.spawn(async move {
            while let Some(page) = walk.page().await.transpose() {
                let failed = page.is_err();
                if sender.send(page).await.is_err() || failed {
                    return;
                }
            }
        });
        let result = (|| {
            while let Some(page) = self.next_page(&mut pages, cancel)? {
                for found in page {
                    visit(found.listed).map_err(|Stop| SourceError::Stopped)?;
                }
            }
            Ok(())
        })();
        walking.abort();
        result
    }

    fn fetch(
        &self,
        wanted: &mut (dyn Iterator<Item = Listed> + Send),
        sink: &dyn Sink,
        cancel: &Cancel,
    ) -> Result<(), SourceError> {
        let stop = AtomicBool::new(false);
        let first_error = Mutex::new(None);
        let threads = usize::try_from(self.bucket.settings.concurrency.max(1)).unwrap_or(1);
        let (sender, listed) = crossbeam_channel::bounded::<Listed>(threads);
        let delivery = Delivery {
            bucket: &self.bucket,
            runtime: &self.runtime,
            sink,
            cancel,
            stop: &stop,
            stumbles: &AtomicU32::new(0),
        };
        thread::scope(|scope| {
            for _ in 0..threads {
                let listed = listed.clone();
                let (delivery, first_error) = (&delivery, &first_error);
                scope.spawn(move || {
                    for listed in listed {
                        if let Err(error) = delivery.deliver(listed) {
                            // In this order: those that stop because of it report that they did.
                            first_error.lock().expect("no holder panics").get_or_insert(error);
                            delivery.stop.store(true, Ordering::Release);
                            return;
                        }
                    }
                });
            }
            drop(listed);
            for item in wanted {
                if cancel.is_set() || stop.load(Ordering::Acquire) || sender.send(item).is_err() {
                    break;
                }
            }
            drop(sender);
        });
        match first_error.into_inner().expect("no holder panics") {
            Some(error) => Err(error),
            None if cancel.is_set() => Err(SourceError::Stopped),
            None => Ok(()),
        }
    }
}
