//! Why staging did not do what was asked, sorted by what happens next.

use std::{io, path::PathBuf};

use crate::{
    ident::SegmentId,
    item::Key,
    printable::Printable,
    staging::store::Usage,
    unit::{Binary, ByteCount},
};

/// Why staging did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// Another process fills or empties this staging: wait for it, or stop it.
    #[error("another process {doing} the staging in {}", Printable::from(dir.as_path()))]
    Busy {
        /// The staging directory.
        dir: PathBuf,
        /// `fills` or `empties`.
        doing: &'static str,
    },
    /// The settings cannot work, whatever is to be staged: change the config.
    #[error("{what} of {} is too small: at least {} is needed", Binary(*bytes), Binary(*minimum))]
    TooSmall {
        /// Which setting.
        what: &'static str,
        /// Its value, in bytes.
        bytes: u64,
        /// The least that works, in bytes.
        minimum: u64,
    },
    /// The budget is used up, and nobody makes room: have what is sealed written to tape.
    #[error(
        "the staging budget of {} is used up: {} in sealed segments, {} in manifests of them and {} \
         in open ones are in {}",
        Binary(*budget), ByteCount(usage.sealed), ByteCount(usage.manifests), ByteCount(usage.open),
        Printable::from(dir.as_path())
    )]
    Full {
        /// The staging directory.
        dir: PathBuf,
        /// The budget, in bytes.
        budget: u64,
        /// What takes it.
        usage: Usage,
    },
    /// The item can never fit a segment: leave it out, part it, or raise the staging budget.
    #[error(
        "{} needs {} in one segment, and a segment takes {}",
        key.printable(), ByteCount(*bytes), ByteCount(*limit)
    )]
    TooLarge {
        /// The item.
        key: Key,
        /// What its member takes, in bytes.
        bytes: u64,
        /// What a segment takes, in bytes.
        limit: u64,
    },
    /// The item cannot be a member of a tar at all: report it and go on.
    #[error("{} cannot be a member of a segment", key.printable())]
    Unfit {
        /// The item.
        key: Key,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The bytes that came are not those that were claimed: fetch the item again.
    #[error("{}: {what}", key.printable())]
    Content {
        /// The item.
        key: Key,
        /// What is wrong with them.
        what: &'static str,
    },
    /// The disk refused something (full, permission, I/O): mend it and run the job again. Nothing
    /// that was sealed is affected, and what was finished is taken up again.
    #[error("cannot {operation} {}", Printable::from(path.as_path()))]
    Disk {
        /// What was tried.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// A segment could not be made durable and is discarded: its items are to be fetched again.
    #[error(
        "cannot sync {}: segment {segment} with {members} members is discarded",
        Printable::from(path.as_path())
    )]
    SealLost {
        /// The segment.
        segment: SegmentId,
        /// Its file.
        path: PathBuf,
        /// How many members it had.
        members: u32,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// A sealed segment is not what was sealed: discard it and export its items again.
    #[error("sealed segment {} is damaged: {what}", Printable::from(path.as_path()))]
    Damaged {
        /// The segment.
        segment: SegmentId,
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Staging takes no more: it was closed, the job was cancelled, or it failed before.
    #[error("staging is closed")]
    Closed,
}

/// Puts the operation and the path to an I/O error.
pub(in crate::staging) fn disk(
    operation: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> StagingError {
    let path = path.into();
    move |cause| StagingError::Disk { operation, path, cause }
}
