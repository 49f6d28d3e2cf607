//! A segment that is being filled: its file, and its journal.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use crate::{
    ident::SegmentId,
    staging::{
        error::{StagingError, disk},
        files::{Files, Handle},
        sealed::Layout,
        segment::journal::Journal,
    },
};

/// A segment that is being filled.
#[derive(Debug)]
pub(in crate::staging) struct Segment {
    pub(in crate::staging) id: SegmentId,
    pub(in crate::staging) path: PathBuf,
    pub(in crate::staging) handle: Box<dyn Handle>,
    journal: Mutex<Journal>,
}

impl Segment {
    /// A new, empty one.
    pub(in crate::staging) fn create(
        layout: &Layout,
        files: &dyn Files,
    ) -> Result<Self, StagingError> {
        let id = SegmentId::new();
        // The journal first: a file without one is never taken for a segment.
        let journal = Journal::create(files, &layout.journal(id), &layout.dir)?;
        let path = layout.part(id);
        let handle = files.create(&path).map_err(disk("create", &path))?;
        Ok(Self { id, path, handle, journal: Mutex::new(journal) })
    }

    /// One whose file was there before.
    pub(in crate::staging) fn resume(
        id: SegmentId,
        path: &Path,
        handle: Box<dyn Handle>,
        journal: Journal,
    ) -> Self {
        Self { id, path: path.to_owned(), handle, journal: Mutex::new(journal) }
    }

    pub(in crate::staging) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().expect("no holder panics")
    }

    pub(in crate::staging) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), StagingError> {
        self.handle.write_at(bytes, offset).map_err(disk("write", &self.path))
    }
}
