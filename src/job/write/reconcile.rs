//! Staging and catalog brought to agree, after whatever ended the last job.

use std::collections::BTreeSet;

use crate::{
    catalog::{Catalog, CopyState, SegmentCopy},
    ident::{PoolName, SegmentId, SessionId, VolumeId},
    job::{JobError, settings::Free, write::Write},
    media::{Status, Volume},
};

/// Segments of a volume that were flushed in sessions that never came to their index.
pub(super) fn unindexed(catalog: &Catalog, volume: VolumeId) -> Result<Vec<SegmentId>, JobError> {
    let sessions = catalog.sessions(volume)?;
    let open: BTreeSet<SessionId> = sessions
        .iter()
        .filter(|session| session.ended.is_none())
        .map(|session| session.id)
        .collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let mut copies = catalog.copies_on(volume)?;
    copies.retain(|copy| copy.state.is_good() && open.contains(&copy.session));
    copies.sort_by_key(|copy| copy.object);
    Ok(copies.into_iter().map(|copy| copy.segment).collect())
}

/// A volume of the pool that an interrupted session left without an index.
///
/// # Errors
///
/// When the catalog cannot be read.
pub fn unclosed(catalog: &Catalog, pool: &PoolName) -> Result<Option<Volume>, JobError> {
    for volume in catalog.volumes()? {
        let writable = volume.pool == *pool && takes_index(&volume);
        if writable && !unindexed(catalog, volume.id)?.is_empty() {
            return Ok(Some(volume));
        }
    }
    Ok(None)
}

/// Whether the index of a session may be written on its volume.
pub(super) fn takes_index(volume: &Volume) -> bool {
    match volume.status {
        Status::Scratch | Status::Appendable | Status::Full => true,
        Status::Suspect | Status::Retired | Status::Destroyed => false,
    }
}

impl Write<'_> {
    /// Frees what has all its copies, and tells the catalog of staged files that are gone.
    pub(super) fn reconcile(&mut self) -> Result<(), JobError> {
        // The catalog is asked first: a segment that is sealed in between has its file before it is
        // recorded.
        let recorded = self.catalog.staged_segments()?;
        let files: BTreeSet<SegmentId> = self.staged()?.into_keys().collect();
        for segment in recorded {
            if !files.contains(&segment.id) {
                self.forget_staged(segment.id)?;
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

    /// Notes that a staged file is gone. Without copies, too, the segment never was: its items are
    /// planned again.
    pub(super) fn forget_staged(&mut self, segment: SegmentId) -> Result<(), JobError> {
        self.catalog.set_staged(segment, false)?;
        if self.catalog.copies(segment)?.is_empty() {
            self.catalog.drop_segment(segment)?;
        }
        Ok(())
    }

    /// Frees what was written, now that some of it has been verified, and says what has to stay.
    ///
    /// # Errors
    ///
    /// When staging or the catalog fail.
    pub fn free_verified(&mut self) -> Result<(), JobError> {
        if self.staging.free == Free::Flushed {
            return Ok(());
        }
        let staged: Vec<SegmentId> = self.staged()?.into_keys().collect();
        for segment in &staged {
            self.free_if_done(*segment)?;
        }
        Ok(())
    }

    /// Tells of segments that stay staged although they are on tape, because nobody verified them.
    ///
    /// # Errors
    ///
    /// When staging or the catalog fail.
    pub fn tell_unverified(&self) -> Result<(), JobError> {
        let mut waiting = 0_u64;
        for segment in self.staged()?.into_keys() {
            waiting += u64::from(self.has_copies(&self.good_copies(segment)?));
        }
        if waiting > 0 {
            self.desk.notice(format!(
                "{waiting} segments stay staged until a copy of them is verified: \
                 `tapevault verify VOLUME` does that, and the next job frees them"
            ));
        }
        Ok(())
    }

    fn has_copies(&self, good: &[SegmentCopy]) -> bool {
        good.len() >= usize::try_from(self.copies).expect("a few")
    }

    /// Frees a staged segment that has every copy that it is to have, and the evidence that the
    /// settings ask for.
    pub(super) fn free_if_done(&mut self, segment: SegmentId) -> Result<(), JobError> {
        let good = self.good_copies(segment)?;
        let proven = match self.staging.free {
            Free::Flushed => true,
            Free::Verified => good.iter().any(|copy| copy.state == CopyState::Verified),
        };
        if !self.has_copies(&good) || !proven {
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
        if !self.has_copies(&good) {
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
