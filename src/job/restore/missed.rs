//! What volumes did not give, for the map at the end, and who gave it instead.

use std::collections::{BTreeMap, HashMap};

use crate::{
    catalog::Catalog,
    ident::{Barcode, SegmentId, Volser, VolumeId},
    item::Place,
    job::{
        Desk, JobError,
        holes::{Content, HitMember, Hole, Holes, Span},
        restore::wanted::{Member, Wanted},
    },
    media::Volume,
    position::ObjectNumber,
};

/// Members of which is kept who gave them.
const GIVERS_MAX: usize = 100_000;

/// What volumes did not give.
#[derive(Debug, Default)]
pub(super) struct Missed {
    volumes: BTreeMap<Volser, (VolumeId, Option<Barcode>, Holes)>,
    givers: HashMap<(SegmentId, u32), Volser>,
}

/// A place at which a member is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    /// Which bytes of the segment.
    pub(super) bytes: Span,
    /// Whether they cannot be read; else they are wrong.
    pub(super) unread: bool,
    /// Whether what stands behind was not read.
    pub(super) more: bool,
}

impl Missed {
    /// Notes a place. `begin` is the segment's first block.
    pub(super) fn add(
        &mut self,
        volume: &Volume,
        (begin, block_size): (ObjectNumber, u32),
        (wanted, member): (&Wanted, &Member),
        hit: Hit,
    ) {
        let block = u64::from(block_size).max(1);
        let Hit { bytes, unread, more } = hit;
        let content = content_of(wanted, member).bytes_in(bytes);
        let hole = Hole {
            segment: member.place.segment,
            what: if content.is_some() { "data" } else { "header" },
            unread,
            object: begin.after(bytes.from / block),
            last_object: begin.after(bytes.to.saturating_sub(1).max(bytes.from) / block),
            bytes,
            more,
            member: Some(HitMember {
                ordinal: member.place.ordinal,
                source: wanted.source.clone(),
                key: wanted.item.key.clone(),
                version: wanted.item.version.clone(),
                part: member.part,
                bytes: content,
            }),
            copies: Vec::new(),
            came_from: None,
        };
        self.of(volume).push(hole);
    }

    /// Forgets what a volume did not give of a member: it is about to be looked at closely.
    pub(super) fn forget(&mut self, volume: &Volume, place: Place) {
        self.of(volume).forget(place.segment, place.ordinal);
    }

    fn of(&mut self, volume: &Volume) -> &mut Holes {
        let fresh = || (volume.id, volume.barcode, Holes::default());
        &mut self.volumes.entry(volume.volser).or_insert_with(fresh).2
    }

    /// Notes who gave a member that others did not.
    pub(super) fn came(&mut self, place: Place, from: Volser) {
        if self.givers.len() < GIVERS_MAX {
            self.givers.insert((place.segment, place.ordinal), from);
        }
    }

    /// Tells a map of each volume.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub(super) fn tell(self, catalog: &Catalog, desk: &Desk) -> Result<(), JobError> {
        for (volser, (id, barcode, mut holes)) in self.volumes {
            for hole in holes.listed_mut() {
                let ordinal = hole.member.as_ref().map(|member| member.ordinal);
                let place = ordinal.map(|ordinal| (hole.segment, ordinal));
                hole.came_from = place.and_then(|place| self.givers.get(&place).copied());
            }
            holes.tell(catalog, (id, volser, barcode), desk)?;
        }
        Ok(())
    }
}

/// Where a member's content lies.
pub(super) fn content_of<'a>(wanted: &Wanted, member: &'a Member) -> Content<'a> {
    Content {
        data: member.data,
        stored: member.stored,
        size: member.part.map_or(wanted.item.size, |part| part.length),
        part: member.part,
        extents: member.extents.as_deref(),
    }
}
