//! From the end of a tape backwards, tape file by tape file, without reading what is in them.

use crate::{
    job::{
        JobError,
        adopt::{Adoption, read::Index},
        monitor::Event,
        tape::{Ending, ending_before},
    },
    media::Volume,
    position::ObjectNumber,
    volume::{segment, trailer::Trailer},
};

/// Tape files that a walk passes at most: more than fit any cartridge.
const FILES_MAX: usize = 1 << 22;

/// What stands between what the catalog knows, or the last good index, and the end.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Segments that no index in `indexes` can list, in tape order, by their first blocks.
    pub(super) segments: Vec<(segment::Trailer, ObjectNumber)>,
    /// The last good index, and those before it as far as the catalog does not know them; oldest
    /// first.
    pub(super) indexes: Vec<Index>,
    /// Whether a tape file among them is not finished, or not ours.
    pub(super) unfinished: bool,
}

impl Adoption<'_> {
    /// Walks from `end`, which comes right behind a filemark, back to the last good index or to
    /// where the catalog says that the volume ends.
    pub(super) fn walk(&mut self, volume: &Volume, end: ObjectNumber) -> Result<Found, JobError> {
        let failed = self.station.failed(Some(volume));
        let mut found = Found::default();
        let mut at = end;
        for _ in 0..FILES_MAX {
            if at <= volume.end {
                break;
            }
            self.desk.go_on()?;
            let mark = ObjectNumber(at.0 - 1);
            let drive = &mut self.station.drive;
            let begins = |blocks: u64| mark.0.checked_sub(blocks).map(ObjectNumber);
            let start = match ending_before(drive, mark).map_err(&failed)? {
                Ending::Trailer(Trailer::Segment(trailer)) => {
                    let start = begins(trailer.blocks);
                    found.segments.extend(start.map(|start| (trailer, start)));
                    start
                }
                Ending::Trailer(Trailer::Index(trailer)) => {
                    let start = begins(trailer.blocks);
                    if let Some(start) = start
                        && self.chain(volume, start, &mut found)?
                    {
                        break;
                    }
                    start
                }
                Ending::Unfinished => {
                    found.unfinished = true;
                    drive.locate(mark).map_err(&failed)?;
                    Some(drive.space_filemarks(-1).map_err(&failed)?.position.object.after(1))
                }
                Ending::Filemark => Some(mark),
            };
            match start {
                Some(start) if start >= volume.end && start < at => at = start,
                // It claims to begin within what is known.
                Some(_) | None => {
                    found.unfinished = true;
                    found.segments.retain(|(_, object)| *object >= volume.end);
                    break;
                }
            }
        }
        found.segments.reverse();
        found.indexes.reverse();
        Ok(found)
    }

    /// Reads the index at `object` and those before it that the catalog does not know. `false` when
    /// the first of them is no good.
    fn chain(
        &mut self,
        volume: &Volume,
        object: ObjectNumber,
        found: &mut Found,
    ) -> Result<bool, JobError> {
        let mut next = Some(object);
        while let Some(object) = next {
            match self.read_index(volume, object)? {
                Ok(index) => {
                    next = index.header.previous.map(|previous| previous.object);
                    next = next.filter(|previous| *previous >= volume.end && *previous < object);
                    found.indexes.push(index);
                }
                Err(what) => {
                    self.desk.ledger.note(1);
                    self.desk.tell(&Event::VolumeFinding { volser: volume.volser, what });
                    break;
                }
            }
        }
        Ok(!found.indexes.is_empty())
    }
}
