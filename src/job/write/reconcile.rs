//! Staging and catalog brought to agree, after whatever ended the last job.

use std::collections::BTreeSet;

use crate::{
    catalog::SegmentCopy,
    ident::SegmentId,
    job::{JobError, write::Write},
};

impl Write<'_> {
    /// Frees what has all its copies, and tells the catalog of staged files that are gone.
    pub(super) fn reconcile(&mut self) -> Result<(), JobError> {
        let files: BTreeSet<SegmentId> = self.staged()?.into_keys().collect();
        for segment in self.catalog.staged_segments()? {
            if !files.contains(&segment.id) {
                self.catalog.set_staged(segment.id, false)?;
            }
        }
        for segment in &files {
            self.free_if_done(*segment)?;
        }
        for segment in self.store.manifests()? {
            self.release_if_indexed(segment)?;
        }
        Ok(())
    }

    /// Frees a staged segment that has every copy that it is to have.
    pub(super) fn free_if_done(&mut self, segment: SegmentId) -> Result<(), JobError> {
        if self.good_copies(segment)?.len() < usize::try_from(self.copies).expect("a few") {
            return Ok(());
        }
        self.catalog.set_staged(segment, false)?;
        crate::crash::point("write.unstaged");
        self.store.free(segment)?;
        Ok(())
    }

    /// Forgets a manifest that stands in a volume index beside every copy.
    pub(super) fn release_if_indexed(&mut self, segment: SegmentId) -> Result<(), JobError> {
        let good = self.good_copies(segment)?;
        if good.len() < usize::try_from(self.copies).expect("a few") {
            return Ok(());
        }
        for copy in &good {
            let session = self.catalog.session(copy.session)?;
            if session.is_none_or(|session| session.index.is_none()) {
                return Ok(());
            }
        }
        self.store.release_manifest(segment)?;
        Ok(())
    }

    fn good_copies(&self, segment: SegmentId) -> Result<Vec<SegmentCopy>, JobError> {
        if self.catalog.segment(segment)?.is_none() {
            return Ok(Vec::new());
        }
        let mut good = Vec::new();
        for copy in self.catalog.copies(segment)? {
            let volume = self.catalog.volume_by_id(copy.volume)?;
            if copy.state.is_good() && volume.is_some_and(|volume| volume.pool == *self.pool) {
                good.push(copy);
            }
        }
        Ok(good)
    }
}
