//! What is in its place already: compared with the catalog, so that a restore that was interrupted
//! goes on where it stopped and no cartridge is fetched for what is there.

use crate::{
    destination::{Destination, DestinationError, Existing, Look, Restored},
    digest::Digest,
    job::{
        Desk, JobError,
        monitor::Counters,
        restore::{
            outcome::{NotRestored, Outcome},
            wanted::{Member, WantedFile},
        },
    },
    unit::Count,
};

/// What is read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// What is to become of a file.
pub(super) enum There {
    /// It is to be brought.
    No,
    /// Its content is in its place.
    Yes(Restored),
    /// Something else is, and says how it differs.
    Other(String),
}

/// Why a comparison has no answer.
enum Obstacle {
    /// The destination does not take this item.
    Item(DestinationError),
    /// The restore ends.
    Job(JobError),
}

impl From<DestinationError> for Obstacle {
    fn from(error: DestinationError) -> Self {
        Self::Item(error)
    }
}

impl From<JobError> for Obstacle {
    fn from(error: JobError) -> Self {
        Self::Job(error)
    }
}

/// Compares files with what the catalog says of them.
pub(super) struct Comparison<'a> {
    desk: &'a Desk,
    overwrite: bool,
    buffer: Vec<u8>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(desk: &'a Desk, overwrite: bool) -> Self {
        Self { desk, overwrite, buffer: vec![0; BUFFER_BYTES] }
    }

    /// Settles what is in its place already, or may not be replaced. Gives back what is to be
    /// brought.
    ///
    /// # Errors
    ///
    /// When the destination takes nothing any more, or somebody stopped the restore.
    pub(super) fn settle(
        &mut self,
        destination: &mut Destination,
        file: WantedFile,
        outcome: &mut Outcome<'_>,
    ) -> Result<Option<WantedFile>, JobError> {
        self.desk.go_on()?;
        let wanted = &file.wanted;
        match self.there(destination, &file) {
            Ok(There::No) => return Ok(Some(file)),
            Ok(There::Yes(restored)) => {
                let digest = (file.members.len() == 1).then(|| file.identity());
                outcome.restored(wanted, digest.as_ref(), restored)?;
            }
            Ok(There::Other(what)) => outcome.lost(wanted, NotRestored::Exists, &what)?,
            Err(Obstacle::Item(error)) => outcome.refused(&wanted.source, &wanted.item, error)?,
            Err(Obstacle::Job(error)) => return Err(error),
        }
        Ok(None)
    }

    /// What is in a file's place.
    fn there(
        &mut self,
        destination: &mut Destination,
        file: &WantedFile,
    ) -> Result<There, Obstacle> {
        let item = &file.wanted.item;
        let identity = file.identity();
        let existing = match destination.look(&file.wanted.target.0, item) {
            Ok(Look::Nothing) => return Ok(There::No),
            Ok(Look::Other) => return Ok(self.other("it is no file".to_owned())),
            Ok(Look::File(existing)) => existing,
            // It cannot be read, but it can be replaced.
            Err(DestinationError::Item { .. }) if self.overwrite => return Ok(There::No),
            Err(error) => return Err(error.into()),
        };
        if existing.size() != item.size {
            let (found, wanted) = (Count(existing.size()), Count(item.size));
            return Ok(self.other(format!("it has {found} bytes, and not {wanted}")));
        }
        if self.overwrite && !existing.lacking().is_empty() {
            return Ok(There::No);
        }
        if !destination.is_linked(&existing, item, &identity) && !self.agrees(&existing, file)? {
            return Ok(self.other("it has the same length, but another content".to_owned()));
        }
        Ok(There::Yes(destination.keep(existing, item, &identity)))
    }

    fn other(&self, what: String) -> There {
        if self.overwrite { There::No } else { There::Other(what) }
    }

    /// Whether the content of each member is what the catalog says.
    fn agrees(&mut self, existing: &Existing, file: &WantedFile) -> Result<bool, Obstacle> {
        Counters::add(&self.desk.counters.to_compare_bytes, existing.size());
        for member in &file.members {
            if self.digest(existing, member)? != member.digest {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn digest(&mut self, existing: &Existing, member: &Member) -> Result<Digest, Obstacle> {
        let whole = (0, existing.size());
        let (mut at, length) = member.part.map_or(whole, |part| (part.offset, part.length));
        let end = at + length;
        let mut hasher = blake3::Hasher::new();
        while at < end {
            self.desk.go_on()?;
            let count = usize::try_from(end - at).unwrap_or(usize::MAX).min(BUFFER_BYTES);
            let read = existing.read_at(at, &mut self.buffer[..count])?;
            if read == 0 {
                // It has become shorter: then the digest does not agree.
                break;
            }
            hasher.update(&self.buffer[..read]);
            at += read as u64;
            Counters::add(&self.desk.counters.compared_bytes, read as u64);
            self.desk.progress();
        }
        Ok(Digest::from_hasher(&hasher))
    }
}
