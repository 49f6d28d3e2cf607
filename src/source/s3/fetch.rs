//! The source itself.

use std::sync::Arc;

use tokio::runtime::{self, Runtime};

use crate::{clock::Clock, source::SourceError};

use super::{bucket::Bucket, settings::Settings};

/// Threads that carry the network. Bytes are copied and checked elsewhere.
const NETWORK_THREADS: usize = 2;

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

    /// Asks whether the bucket is there and may be listed.
    ///
    /// # Errors
    ///
    /// When it is not, with the region it is in if that is the reason.
    pub fn check(&self) -> Result<(), SourceError> {
        let request = self.bucket.list(&[("list-type", b"2"), ("max-keys", b"1")]);
        let bytes = self.runtime.block_on(self.bucket.service.document(&request, 1 << 20));
        bytes.map(drop).map_err(|error| self.bucket.failure("list", error))
    }
}
