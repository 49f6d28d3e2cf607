//! Taking into the catalog what a volume has: after a crash, and when the catalog is older than
//! the tape or gone.
//!
//! The tape is read from its end: the final block of each tape file says what it is and where it
//! begins, up to an index that the catalog knows or the first of the chain. No member data is read,
//! except of segments that no index lists.

mod ahead;
mod import;
mod read;
mod take;
mod walk;

pub(in crate::job) use ahead::{Currency, warn};
pub(in crate::job) use import::capacity_of;
pub(in crate::job) use take::Taken;

use std::collections::BTreeSet;

use crate::{
    catalog::Catalog,
    drive::{DriveError, ReadOutcome, SpaceStop, Spaced},
    ident::SegmentId,
    job::{
        Desk, JobError,
        monitor::Event,
        rig::Station,
        tape::{BLOCK_MAX, Ending},
    },
    media::{Status, Volume},
    position::{FileNumber, ObjectNumber, Position},
    volume::index::IndexReader,
};

/// Works on the volume that is in the drive.
#[derive(Debug)]
pub struct Adoption<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// The drive.
    pub station: &'a mut Station,
    /// Time, monitor, counts, findings.
    pub desk: &'a Desk,
    /// What staging holds: an unfinished copy of it on the tape may be written over.
    pub staged: BTreeSet<SegmentId>,
}

/// Where a tape ends, against what the catalog says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As the catalog says.
    Agrees,
    /// Further on: there is something that the catalog does not know.
    Longer,
    /// Before: something that was committed is not there.
    Shorter,
}

fn compare(known: ObjectNumber, found: ObjectNumber) -> End {
    match found.cmp(&known) {
        std::cmp::Ordering::Equal => End::Agrees,
        std::cmp::Ordering::Greater => End::Longer,
        std::cmp::Ordering::Less => End::Shorter,
    }
}

impl Adoption<'_> {
    /// Compares where the volume in the drive ends with the catalog, adopts what is new, and says
    /// where the next append begins. The volume's status says whether there may be one.
    ///
    /// # Errors
    ///
    /// When the drive or the catalog fail.
    pub fn settle_end(&mut self, mut volume: Volume) -> Result<Volume, JobError> {
        let told = volume.end;
        let unread = self.catalog.has_unread(volume.id)?;
        if unread {
            // Another volume's snapshot told of this one, and where it ends, but not what is on it.
            (volume.end, volume.end_file) = self.behind_label()?;
        }
        let failed = self.station.failed(Some(&volume));
        let end = match self.station.drive.locate_end_of_data() {
            Ok(end) => end,
            Err(DriveError::EndOfDataMissing(_)) => return self.without_end(volume),
            Err(error) => return Err(failed(error)),
        };
        match compare(volume.end, end.object) {
            // Nothing is behind the label, and a snapshot told of more.
            End::Agrees if told > end.object => self.shorter(Volume { end: told, ..volume }, end),
            End::Agrees => {
                if unread {
                    self.catalog.note_read(volume.id)?;
                }
                self.catalog.withdraw(volume.id)?;
                Ok(volume)
            }
            End::Longer => {
                let volume = self.longer(volume, end)?;
                if told <= end.object {
                    return Ok(volume);
                }
                self.shorter(Volume { end: told, ..volume }, end)
            }
            End::Shorter => self.shorter(volume, end),
        }
    }

    /// There is more than the catalog knows: complete segments are adopted, an unfinished one of
    /// ours is written over, anything else closes the volume.
    fn longer(&mut self, volume: Volume, end: Position) -> Result<Volume, JobError> {
        let failed = self.station.failed(Some(&volume));
        let mut end_object = end.object;
        let mut unfinished = false;
        // A tape file without its filemark, or one whose last block is no trailer, comes last.
        let before = crate::job::tape::ending_before(&mut self.station.drive, end_object);
        if !matches!(before.map_err(&failed)?, Ending::Filemark) {
            let spaced = {
                self.station.drive.locate_end_of_data().map_err(&failed)?;
                self.station.drive.space_filemarks(-1).map_err(&failed)?
            };
            end_object = spaced.position.object.after(1);
            unfinished = true;
        }
        let found = self.walk(&volume, end_object)?;
        let unfinished = unfinished || found.unfinished;
        let known_end = volume.end;
        let volume = self.take_in(volume, found, end_object)?;
        if unfinished {
            let ours = self.catalog.intents()?.into_iter().any(|intent| {
                intent.volume == volume.id
                    && (intent.object == volume.end || intent.object == known_end)
                    && self.staged.contains(&intent.segment)
            });
            if !ours && !self.begins_our_index(&volume)? {
                return self.close(volume, "it ends in something that was not finished here");
            }
        }
        self.catalog.withdraw(volume.id)?;
        Ok(volume)
    }

    /// Whether what stands behind the volume's end begins an index of a session of ours that never
    /// came to its end. The index is made anew, so that this one may be written over.
    fn begins_our_index(&mut self, volume: &Volume) -> Result<bool, JobError> {
        let failed = self.station.failed(Some(volume));
        self.station.drive.locate(volume.end).map_err(&failed)?;
        let mut block = vec![0; BLOCK_MAX];
        let Ok(ReadOutcome::Block(bytes)) = self.station.drive.read_block(&mut block) else {
            return Ok(false);
        };
        let Ok(index) = IndexReader::new(&block[..bytes]) else { return Ok(false) };
        let (session, of) = (index.header().session, index.header().volume);
        let known = self.catalog.session(session)?;
        Ok(of == volume.id && known.is_some_and(|session| session.ended.is_none()))
    }

    /// Something that was committed is not there.
    fn shorter(&mut self, volume: Volume, end: Position) -> Result<Volume, JobError> {
        self.desk.ledger.note(1);
        self.desk.tell(&Event::VolumeFinding {
            volser: volume.volser,
            what: format!(
                "it ends at object {}, but {} were committed: what lies beyond is lost",
                end.object, volume.end
            ),
        });
        for copy in self.catalog.copies_on(volume.id)? {
            let blocks = self.catalog.segment(copy.segment)?.map_or(0, |segment| segment.blocks);
            if copy.object.after(blocks) > end.object {
                let now = self.desk.clock.now();
                self.catalog.set_copy_state(
                    copy.segment,
                    copy.volume,
                    (crate::catalog::CopyState::Bad, now),
                )?;
            }
        }
        self.close(volume, "it ends before what was committed")
    }

    /// The tape has no end of data, as after a power loss: it is readable up to the last flush. What
    /// the catalog does not know is looked for forward, from filemark to filemark, and adopted; what
    /// comes after the last filemark was never flushed, so nobody called it written.
    fn without_end(&mut self, volume: Volume) -> Result<Volume, JobError> {
        self.desk.notice(format!(
            "{} has no end of data, as after a power loss: writing goes on behind what was flushed",
            volume.volser
        ));
        let end = self.last_filemark(&volume)?;
        let volume = if end > volume.end {
            let found = self.walk(&volume, end)?;
            let unfinished = found.unfinished;
            let volume = self.take_in(volume, found, end)?;
            if unfinished {
                return self.close(volume, "it ends in something that was not finished here");
            }
            volume
        } else {
            volume
        };
        self.catalog.withdraw(volume.id)?;
        Ok(volume)
    }

    /// Behind the last filemark that can be read, from where the catalog says that the volume ends.
    fn last_filemark(&mut self, volume: &Volume) -> Result<ObjectNumber, JobError> {
        let failed = self.station.failed(Some(volume));
        let mut end = volume.end;
        self.station.drive.locate(end).map_err(&failed)?;
        loop {
            self.desk.go_on()?;
            match self.station.drive.space_filemarks(1) {
                Ok(Spaced { stop: SpaceStop::Done, position }) if position.object > end => {
                    end = position.object;
                }
                Ok(_) | Err(DriveError::EndOfDataMissing(_) | DriveError::Medium(_)) => {
                    return Ok(end);
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn close(&mut self, volume: Volume, why: &str) -> Result<Volume, JobError> {
        let volume =
            self.desk.change_volume(self.catalog, volume.id, "volume.settled", |volume| {
                if matches!(volume.status, Status::Scratch | Status::Appendable | Status::Full) {
                    volume.status = Status::Suspect;
                }
            })?;
        self.desk.tell(&Event::VolumeClosed { volser: volume.volser, why });
        Ok(volume)
    }

    fn note_end(
        &mut self,
        volume: &Volume,
        object: ObjectNumber,
        file: FileNumber,
    ) -> Result<Volume, JobError> {
        self.desk.change_volume(self.catalog, volume.id, "volume.settled", |volume| {
            volume.end = object;
            volume.end_file = file;
        })
    }
}
