//! Of which segments something is wanted, and which of them need no cartridge.

use std::collections::HashMap;

use crate::{
    ident::SegmentId,
    job::{
        JobError,
        restore::{
            plan::Planner,
            spool::Spool,
            wanted::{Origin, Piece},
        },
    },
    position::ObjectNumber,
    staging::{OpenSealed, files::Disk},
};

/// Members of one segment that the same copies did not give.
pub(super) type Need = (SegmentId, Vec<Origin>);

/// Of which segments something is wanted, and which of them stand in staging.
#[derive(Debug)]
pub(in crate::job::restore) struct Survey {
    pub(super) needs: Vec<Need>,
    numbers: HashMap<Need, usize>,
    /// By the numbers of the needs that they serve.
    pub(super) standing: HashMap<usize, Standing>,
}

impl Survey {
    /// Whether not all that is wanted is in staging.
    pub(in crate::job::restore) fn needs_tape(&self) -> bool {
        self.standing.len() < self.needs.len()
    }

    /// Whether anything is.
    pub(in crate::job::restore) fn needs_staging(&self) -> bool {
        !self.standing.is_empty()
    }

    pub(super) fn number(&self, piece: &Piece) -> usize {
        self.numbers[&(piece.member.place.segment, piece.excluded())]
    }
}

/// A sealed segment in staging.
#[derive(Clone, Debug)]
pub(in crate::job::restore) struct Standing {
    /// Which.
    pub(in crate::job::restore) segment: SegmentId,
    /// The number that its first block is given.
    pub(in crate::job::restore) begin: ObjectNumber,
    pub(super) block_size: u32,
}

impl Planner<'_> {
    /// Looks at what is needed, and what of it is in staging.
    ///
    /// # Errors
    ///
    /// When catalog or temporary files fail.
    pub(in crate::job::restore) fn survey(
        &self,
        pieces: &Spool<Piece>,
    ) -> Result<Survey, JobError> {
        let mut survey =
            Survey { needs: Vec::new(), numbers: HashMap::new(), standing: HashMap::new() };
        for piece in pieces.records()? {
            let piece = piece?;
            let need = (piece.member.place.segment, piece.excluded());
            let next = survey.needs.len();
            survey.numbers.entry(need).or_insert_with_key(|need| {
                survey.needs.push(need.clone());
                next
            });
        }
        let mut begin = ObjectNumber(0);
        for (number, (segment, excluded)) in survey.needs.iter().enumerate() {
            if excluded.contains(&None) {
                continue;
            }
            if let Some((blocks, block_size)) = self.stands(*segment)? {
                survey.standing.insert(number, Standing { segment: *segment, begin, block_size });
                begin = begin.after(blocks);
            }
        }
        Ok(survey)
    }

    /// How many blocks of which size a segment has that is whole in staging, as far as can be seen
    /// without reading it: each member has a digest of its own.
    fn stands(&self, segment: SegmentId) -> Result<Option<(u64, u32)>, JobError> {
        let open = match OpenSealed::open((self.staging, &Disk), segment) {
            Ok(Some(open)) => open,
            Ok(None) => return Ok(None),
            // Nobody but its export has to have it whole; the tape may.
            Err(error) => {
                tracing::warn!(%error, %segment, "staging does not serve");
                return Ok(None);
            }
        };
        let Some(known) = self.catalog.segment(segment)? else { return Ok(None) };
        let is_it = (known.digest, known.block_size, known.blocks)
            == (open.sealed.digest, open.sealed.block_size, open.sealed.blocks);
        Ok(is_it.then_some((known.blocks, known.block_size)))
    }
}
