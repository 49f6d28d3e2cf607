//! Which copy of each member is read, on which cartridges, in which order.

mod cover;
mod motion;
mod survey;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::Path,
};

use serde::{Deserialize, Serialize};

pub(super) use cover::{Quality, Reach};
pub(super) use motion::{Motion, motion};
pub(super) use survey::{Standing, Survey};

use crate::{
    catalog::{Catalog, CopyState, Segment, SegmentCopy},
    ident::{SegmentId, VolumeId},
    job::{
        Desk, JobError,
        monitor::{RestoreStaged, RestoreVolume},
        restore::{
            Near,
            outcome::NotRestored,
            plan::{cover::Candidate, motion::Estimate},
            spool::{Spool, SpoolWriter},
            wanted::{Origin, Piece, Tried},
        },
    },
    media::{Custody, Status, Volume},
    position::ObjectNumber,
    sorter::Sorter,
};

/// Memory for sorting the pieces into the order of the tape, before it spills.
const SORTER_BYTES: usize = 32 << 20;

/// One piece, with its place on the volume, or in staging.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stop {
    /// What it is read in, by its place in [`Plan::legs`].
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

/// What is read in one go.
#[derive(Debug)]
pub(super) enum Leg {
    /// Sealed segments that still stand in staging, in order, as if they lay on one tape.
    Staging(Vec<Standing>, RestoreStaged),
    /// A volume.
    Volume(Box<Volume>, RestoreVolume),
}

/// What is read, in the order in which it lies on tape.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is read in turn, staging first.
    pub(super) legs: Vec<Leg>,
    /// All pieces that can be read, by leg, then by place.
    pub(super) stops: Spool<Stop>,
    /// Pieces that the chosen copy is known not to give.
    pub(super) again: Spool<Piece>,
    /// Pieces that nothing gives.
    pub(super) lost: Spool<(Piece, NotRestored)>,
}

impl Plan {
    /// How many cartridges are read.
    pub(super) fn volumes(&self) -> u64 {
        self.legs.iter().filter(|leg| matches!(leg, Leg::Volume(..))).count() as u64
    }
}

/// Makes plans.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) desk: &'a Desk,
    /// Where staging is.
    pub(super) staging: &'a Path,
    /// What the library holds and the drive has in it.
    pub(super) near: &'a Near,
    /// Volumes that cannot be had.
    pub(super) unavailable: &'a HashSet<VolumeId>,
}

/// The copy that serves a need.
#[derive(Clone, Debug)]
struct Choice {
    rank: usize,
    origin: Origin,
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
    pub(super) fn plan(&self, survey: &Survey, pieces: &Spool<Piece>) -> Result<Plan, JobError> {
        let (legs, choices) = self.choose(survey)?;
        let mut sorter = Sorter::new(&self.desk.scratch, SORTER_BYTES);
        let mut again = SpoolWriter::new(self.desk)?;
        let mut lost = SpoolWriter::new(self.desk)?;
        for piece in pieces.records()? {
            self.desk.go_on()?;
            let mut piece = piece?;
            match &choices[survey.number(&piece)] {
                None => {
                    let why = self.why_not(&piece)?;
                    lost.push(&(piece, why))?;
                }
                Some(choice) if choice.bad.contains(&piece.member.place.ordinal) => {
                    let why = "it is known to be bad there".to_owned();
                    piece.tried.push(Tried { origin: choice.origin, why });
                    again.push(&piece)?;
                }
                Some(choice) => push_stop(&mut sorter, choice, piece)?,
            }
        }
        let (legs, stops) = self.lay_out(legs, sorter)?;
        Ok(Plan { legs, stops, again: again.finish()?, lost: lost.finish()? })
    }

    /// What is read, in order, and for each need the copy that serves it.
    fn choose(&self, survey: &Survey) -> Result<(Vec<Draft>, Vec<Option<Choice>>), JobError> {
        let Survey { needs, standing, .. } = survey;
        let (volumes, candidates) = self.candidates(survey)?;
        let reach: Vec<Reach> = volumes.iter().map(|volume| self.near.reach(volume)).collect();
        let chosen = cover::choose(&candidates, &reach);
        let mut order: Vec<usize> = chosen.iter().flatten().copied().collect();
        order.sort_by_key(|index| (reach[*index], volumes[*index].volser, *index));
        order.dedup();
        let mut legs = Vec::new();
        if !standing.is_empty() {
            let mut standing: Vec<Standing> = standing.values().cloned().collect();
            standing.sort_by_key(|standing| standing.begin);
            let segments = standing.len() as u64;
            let told = RestoreStaged { segments, ..RestoreStaged::default() };
            legs.push(Draft::Staging(standing, told));
        }
        let before = legs.len();
        let mut choices = Vec::with_capacity(needs.len());
        for (number, ((segment, _), chosen)) in needs.iter().zip(chosen).enumerate() {
            choices.push(match (standing.get(&number), chosen) {
                (Some(Standing { begin, block_size, .. }), _) => {
                    let (begin, block_size, bad) = (*begin, *block_size, BTreeSet::new());
                    Some(Choice { rank: 0, origin: None, begin, block_size, bad })
                }
                (None, Some(index)) => {
                    self.choice(*segment, &volumes[index], before + place_in(&order, index))?
                }
                (None, None) => None,
            });
        }
        legs.extend(order.into_iter().map(|index| {
            let volume = volumes[index].clone();
            let estimate = Estimate::new(&volume, reach[index]);
            Draft::Volume(Box::new((volume, estimate)))
        }));
        Ok((legs, choices))
    }

    /// The volumes that hold anything, and for each need those that may serve it.
    fn candidates(&self, survey: &Survey) -> Result<(Vec<Volume>, Vec<Vec<Candidate>>), JobError> {
        let mut volumes: Vec<Volume> = Vec::new();
        let mut known: HashMap<VolumeId, Option<usize>> = HashMap::new();
        let mut candidates = Vec::with_capacity(survey.needs.len());
        for (number, (segment, excluded)) in survey.needs.iter().enumerate() {
            let mut of_need = Vec::new();
            if survey.standing.contains_key(&number) {
                candidates.push(of_need);
                continue;
            }
            for copy in self.catalog.copies(*segment)? {
                let quality = match copy.state {
                    CopyState::Verified => Quality::Verified,
                    CopyState::OnTape => Quality::OnTape,
                    CopyState::Bad => Quality::Doubtful,
                    CopyState::Void => continue,
                };
                if excluded.contains(&Some(copy.volume)) || self.unavailable.contains(&copy.volume)
                {
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
        Ok((volumes, candidates))
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
        Ok(Some(Choice { rank, origin: Some(volume.id), begin, block_size, bad }))
    }

    /// Why there is no copy to read.
    fn why_not(&self, piece: &Piece) -> Result<NotRestored, JobError> {
        let segment = piece.member.place.segment;
        let copies = self.catalog.copies(segment)?;
        let excluded = piece.excluded();
        let is_untried = |copy: &SegmentCopy| !excluded.contains(&Some(copy.volume));
        if copies.iter().any(|copy| is_untried(copy) && self.unavailable.contains(&copy.volume)) {
            return Ok(NotRestored::NoVolume);
        }
        if !piece.tried.is_empty() {
            return Ok(NotRestored::Damaged);
        }
        let staged = self.catalog.segment(segment)?.is_some_and(|segment| segment.staged);
        Ok(if staged { NotRestored::Staged } else { NotRestored::NoCopy })
    }

    /// Sorts the stops and says what each leg comes to.
    fn lay_out(
        &self,
        mut drafts: Vec<Draft>,
        sorter: Sorter,
    ) -> Result<(Vec<Leg>, Spool<Stop>), JobError> {
        let mut stops = SpoolWriter::new(self.desk)?;
        for record in sorter.finish().map_err(JobError::sorting)? {
            let record = record.map_err(JobError::sorting)?;
            let stop: Stop = serde_json::from_slice(record.value()).expect("it was written so");
            match &mut drafts[stop.rank] {
                Draft::Staging(_, told) => {
                    told.members += 1;
                    told.bytes += stop.piece.member.stored;
                }
                Draft::Volume(volume) => volume.1.add(&stop),
            }
            stops.push(&stop)?;
        }
        let mut legs = Vec::with_capacity(drafts.len());
        let mut number = 0;
        for draft in drafts {
            legs.push(match draft {
                Draft::Staging(standing, told) => Leg::Staging(standing, told),
                Draft::Volume(volume) => {
                    let (volume, estimate) = *volume;
                    number += 1;
                    let told = estimate.finish(&volume, number, self.near.place(&volume));
                    Leg::Volume(Box::new(volume), told)
                }
            });
        }
        Ok((legs, stops.finish()?))
    }
}

/// A leg whose stops are still being counted.
enum Draft {
    Staging(Vec<Standing>, RestoreStaged),
    Volume(Box<(Volume, Estimate)>),
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
    sorter.push_keyed(&key, &value).map_err(JobError::sorting)
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
