//! Which copy of each member is read, on which cartridges, in which order.

mod cover;
mod motion;

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

pub(super) use cover::{Quality, Reach};
pub(super) use motion::{Motion, motion};

use crate::{
    catalog::{Catalog, CopyState, Segment},
    ident::{SegmentId, VolumeId},
    job::{
        Desk, JobError,
        monitor::RestoreVolume,
        restore::{
            Near,
            outcome::NotRestored,
            plan::{cover::Candidate, motion::Estimate},
            spool::{Spool, SpoolWriter},
            wanted::{Piece, Tried},
        },
    },
    media::{Custody, Status, Volume},
    position::ObjectNumber,
    sorter::Sorter,
};

/// Memory for sorting the pieces into the order of the tape, before it spills.
const SORTER_BYTES: usize = 32 << 20;

/// One piece, with its place on the volume that was chosen.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stop {
    /// The volume, by its place in [`Plan::volumes`].
    pub(super) rank: usize,
    /// The segment's first block.
    pub(super) begin: ObjectNumber,
    /// Bytes of a block.
    pub(super) block_size: u32,
    /// The first block that is needed.
    pub(super) first: ObjectNumber,
    /// The last one.
    pub(super) last: ObjectNumber,
    /// What is read there.
    pub(super) piece: Piece,
}

/// One volume, with what reading it comes to.
pub(super) type Leg = (Volume, RestoreVolume);

/// What is read, in the order in which it lies on tape.
#[derive(Debug)]
pub(super) struct Plan {
    /// The volumes in the order in which they are read, with what each comes to.
    pub(super) volumes: Vec<Leg>,
    /// All pieces that can be read, by volume, then by place.
    pub(super) stops: Spool<Stop>,
    /// Pieces that the chosen copy is known not to give.
    pub(super) again: Spool<Piece>,
    /// Pieces that nothing gives.
    pub(super) lost: Spool<(Piece, NotRestored)>,
}

/// Makes plans.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) desk: &'a Desk,
    /// What the library holds and the drive has in it.
    pub(super) near: &'a Near,
    /// Volumes that cannot be had.
    pub(super) unavailable: &'a HashSet<VolumeId>,
}

/// Members of one segment that the same volumes did not give.
type Need = (SegmentId, Vec<VolumeId>);

/// The copy that serves a need.
#[derive(Clone, Debug)]
struct Choice {
    rank: usize,
    volume: VolumeId,
    begin: ObjectNumber,
    block_size: u32,
    bad: BTreeSet<u32>,
}

impl Planner<'_> {
    /// Plans how to read these pieces.
    ///
    /// # Errors
    ///
    /// When catalog or temporary files fail.
    pub(super) fn plan(&self, pieces: &Spool<Piece>) -> Result<Plan, JobError> {
        let mut needs: Vec<Need> = Vec::new();
        let mut numbers: HashMap<Need, usize> = HashMap::new();
        for piece in pieces.records()? {
            let piece = piece?;
            let need = (piece.member.place.segment, piece.excluded());
            numbers.entry(need).or_insert_with_key(|need| {
                needs.push(need.clone());
                needs.len() - 1
            });
        }
        let (volumes, choices) = self.choose(&needs)?;
        let mut sorter = Sorter::new(&self.desk.scratch, SORTER_BYTES);
        let mut again = SpoolWriter::new(self.desk)?;
        let mut lost = SpoolWriter::new(self.desk)?;
        for piece in pieces.records()? {
            self.desk.go_on()?;
            let mut piece = piece?;
            let need = (piece.member.place.segment, piece.excluded());
            match &choices[numbers[&need]] {
                None => {
                    let why = self.why_not(&piece)?;
                    lost.push(&(piece, why))?;
                }
                Some(choice) if choice.bad.contains(&piece.member.place.ordinal) => {
                    let why = "it is known to be bad there".to_owned();
                    piece.tried.push(Tried { volume: choice.volume, why });
                    again.push(&piece)?;
                }
                Some(choice) => push_stop(&mut sorter, choice, piece)?,
            }
        }
        let (volumes, stops) = self.lay_out(volumes, sorter)?;
        Ok(Plan { volumes, stops, again: again.finish()?, lost: lost.finish()? })
    }

    /// The volumes to read, in order, and for each need the copy that serves it.
    fn choose(&self, needs: &[Need]) -> Result<(Vec<Volume>, Vec<Option<Choice>>), JobError> {
        let mut volumes: Vec<Volume> = Vec::new();
        let mut known: HashMap<VolumeId, Option<usize>> = HashMap::new();
        let mut candidates = Vec::with_capacity(needs.len());
        for (segment, excluded) in needs {
            let mut of_need = Vec::new();
            for copy in self.catalog.copies(*segment)? {
                let quality = match copy.state {
                    CopyState::Verified => Quality::Verified,
                    CopyState::OnTape => Quality::OnTape,
                    CopyState::Bad => Quality::Doubtful,
                    CopyState::Void => continue,
                };
                if excluded.contains(&copy.volume) || self.unavailable.contains(&copy.volume) {
                    continue;
                }
                let index = match known.get(&copy.volume) {
                    Some(index) => *index,
                    None => {
                        let volume = self.catalog.volume_by_id(copy.volume)?;
                        let index = volume.filter(|v| v.status != Status::Destroyed).map(|v| {
                            volumes.push(v);
                            volumes.len() - 1
                        });
                        known.insert(copy.volume, index);
                        index
                    }
                };
                of_need.extend(index.map(|volume| Candidate { volume, quality }));
            }
            candidates.push(of_need);
        }
        let reach: Vec<Reach> = volumes.iter().map(|volume| self.near.reach(volume)).collect();
        let chosen = cover::choose(&candidates, &reach);
        let mut order: Vec<usize> = chosen.iter().flatten().copied().collect();
        order.sort_by_key(|index| (reach[*index], volumes[*index].volser, *index));
        order.dedup();
        let mut choices = Vec::with_capacity(needs.len());
        for ((segment, _), chosen) in needs.iter().zip(chosen) {
            choices.push(match chosen {
                Some(index) => self.choice(*segment, &volumes[index], place_in(&order, index))?,
                None => None,
            });
        }
        Ok((order.into_iter().map(|index| volumes[index].clone()).collect(), choices))
    }

    fn choice(
        &self,
        segment: SegmentId,
        volume: &Volume,
        rank: usize,
    ) -> Result<Option<Choice>, JobError> {
        let Some(Segment { block_size, .. }) = self.catalog.segment(segment)? else {
            return Ok(None);
        };
        let copies = self.catalog.copies(segment)?;
        let Some(copy) = copies.iter().find(|copy| copy.volume == volume.id) else {
            return Ok(None);
        };
        let bad = match copy.state {
            CopyState::Bad => self.catalog.bad_members(segment, volume.id)?,
            CopyState::OnTape | CopyState::Verified | CopyState::Void => Vec::new(),
        };
        let (begin, bad) = (copy.object, bad.into_iter().collect());
        Ok(Some(Choice { rank, volume: volume.id, begin, block_size, bad }))
    }

    /// Why there is no copy to read.
    fn why_not(&self, piece: &Piece) -> Result<NotRestored, JobError> {
        if !piece.tried.is_empty() {
            return Ok(NotRestored::Damaged);
        }
        let segment = piece.member.place.segment;
        let copies = self.catalog.copies(segment)?;
        if copies.iter().any(|copy| self.unavailable.contains(&copy.volume)) {
            return Ok(NotRestored::NoVolume);
        }
        let staged = self.catalog.segment(segment)?.is_some_and(|segment| segment.staged);
        Ok(if staged { NotRestored::Staged } else { NotRestored::NoCopy })
    }

    /// Sorts the stops and says what each volume comes to.
    fn lay_out(
        &self,
        volumes: Vec<Volume>,
        sorter: Sorter,
    ) -> Result<(Vec<Leg>, Spool<Stop>), JobError> {
        let mut stops = SpoolWriter::new(self.desk)?;
        let mut estimates: Vec<Estimate> =
            volumes.iter().map(|volume| Estimate::new(volume, self.near.reach(volume))).collect();
        for record in sorter.finish().map_err(sorting)? {
            let record = record.map_err(sorting)?;
            let stop: Stop = serde_json::from_slice(record.value()).expect("it was written so");
            estimates[stop.rank].add(&stop);
            stops.push(&stop)?;
        }
        let volumes =
            volumes.into_iter().zip(estimates).zip(1..).map(|((volume, estimate), number)| {
                let told = estimate.finish(&volume, number, self.near.place(&volume));
                (volume, told)
            });
        Ok((volumes.collect(), stops.finish()?))
    }
}

fn place_in(order: &[usize], index: usize) -> usize {
    order.iter().position(|other| *other == index).expect("every chosen volume is in the order")
}

fn push_stop(sorter: &mut Sorter, choice: &Choice, piece: Piece) -> Result<(), JobError> {
    let (first, last) = piece.member.blocks(choice.block_size);
    let stop = Stop {
        rank: choice.rank,
        begin: choice.begin,
        block_size: choice.block_size,
        first: choice.begin.after(first),
        last: choice.begin.after(last),
        piece,
    };
    let mut key = Vec::with_capacity(24);
    key.extend_from_slice(&(stop.rank as u64).to_be_bytes());
    key.extend_from_slice(&stop.begin.0.to_be_bytes());
    key.extend_from_slice(&stop.piece.member.offset.to_be_bytes());
    let value = serde_json::to_vec(&stop).expect("text, numbers and lists");
    sorter.push_keyed(&key, &value).map_err(sorting)
}

pub(super) fn sorting(cause: crate::sorter::SorterError) -> JobError {
    JobError::File { operation: "sort in", path: Some(cause.directory), cause: cause.source }
}

impl Near {
    /// How near a volume is.
    pub(super) fn reach(&self, volume: &Volume) -> Reach {
        let is = |barcode: &crate::ident::Barcode| barcode.volser() == volume.volser;
        if self.in_drive.as_ref().is_some_and(is) {
            return Reach::Drive;
        }
        if self.in_library.iter().any(is) {
            return Reach::Library;
        }
        match &volume.custody {
            Custody::InDrive { .. } if !self.asked => Reach::Drive,
            // Without a library nobody else knows what is in the drive.
            Custody::InDrive { drive } if self.drive.as_ref() == Some(drive) => Reach::Drive,
            Custody::InLibrary { .. } if !self.asked => Reach::Library,
            Custody::InDrive { .. }
            | Custody::InLibrary { .. }
            | Custody::Unloaded
            | Custody::Removed
            | Custody::Vaulted { .. }
            | Custody::Unknown => Reach::Elsewhere,
        }
    }

    /// Where a volume is, in words.
    fn place(&self, volume: &Volume) -> String {
        match (self.reach(volume), &volume.custody) {
            (_, Custody::Unknown) if self.reach(volume) == Reach::Library => {
                "in the library".into()
            }
            (_, custody) => custody.to_string(),
        }
    }
}
