//! Maps of holes: what a volume does not give of what stands on it, and which other volume does.

use serde::Serialize;

use crate::{
    catalog::{Catalog, CatalogError, CopyState},
    clock::Timestamp,
    ident::{Barcode, SegmentId, SourceName, Volser, VolumeId},
    item::{Extent, Key, Version},
    job::{Desk, JobError, monitor::Event},
    media::{Status, Volume},
    position::ObjectNumber,
    tar::sparse,
    volume::manifest::Part,
};

/// Holes of one volume that a map lists; of the others only the number is told.
const LISTED_MAX: usize = 1000;

/// Bytes from one, counted from 0, up to another that is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The first byte.
    pub from: u64,
    /// The byte behind the last.
    pub to: u64,
}

/// A place of a volume at which something cannot be read, or is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hole {
    /// The segment that it is in.
    pub segment: SegmentId,
    /// What is hit: a member's `data` or `header`, or `filler`, `padding`, `manifest`, `digests`,
    /// `trailer`, `end`.
    pub what: &'static str,
    /// Whether it cannot be read; else it was read, and something in it is wrong.
    pub unread: bool,
    /// The first block of the tape that is hit.
    pub object: ObjectNumber,
    /// The last one.
    pub last_object: ObjectNumber,
    /// Which bytes of the segment's tape file.
    pub bytes: Span,
    /// Whether what stands behind it was not read, so that more may be hit.
    pub more: bool,
    /// The member that is hit, if one is.
    pub member: Option<HitMember>,
    /// Who else has a copy that is not known to be bad.
    pub copies: Vec<OtherCopy>,
    /// The volume that gave the member in place of this one.
    pub came_from: Option<Volser>,
}

/// A member that is hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HitMember {
    /// Its line in the segment's manifest, from 0.
    pub ordinal: u32,
    /// The source of its item.
    pub source: SourceName,
    /// The item.
    #[serde(flatten)]
    pub key: Key,
    /// The item's version.
    #[serde(skip_serializing_if = "Version::is_none")]
    pub version: Version,
    /// Which part of the item it is, unless it is the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Which bytes of the item's content; `None` when only its header is hit.
    pub bytes: Option<Span>,
}

/// A copy elsewhere that is not known to be bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherCopy {
    /// The volume.
    pub volser: Volser,
    /// Its sticker.
    pub barcode: Option<Barcode>,
    /// Where it is.
    pub place: String,
    /// When it was read back and agreed; `None` when it was not.
    pub verified: Option<Timestamp>,
}

/// The holes of one volume.
#[derive(Debug, Default)]
pub(in crate::job) struct Holes {
    list: Vec<Hole>,
    more: u64,
}

impl Span {
    /// What both have; `None` when that is nothing.
    pub(in crate::job) fn within(self, other: Self) -> Option<Self> {
        let (from, to) = (self.from.max(other.from), self.to.min(other.to));
        (from < to).then_some(Self { from, to })
    }
}

impl Holes {
    /// Adds one.
    pub(in crate::job) fn push(&mut self, hole: Hole) {
        if self.list.len() < LISTED_MAX {
            self.list.push(hole);
        } else {
            self.more += 1;
        }
    }

    /// Adds to the number of those that are not listed.
    pub(in crate::job) fn add_unlisted(&mut self, count: u64) {
        self.more += count;
    }

    /// Takes out what is known of one member.
    pub(in crate::job) fn forget(&mut self, segment: SegmentId, ordinal: u32) {
        self.list.retain(|hole| {
            hole.segment != segment
                || hole.member.as_ref().is_none_or(|member| member.ordinal != ordinal)
        });
    }

    /// The holes that are listed.
    pub(in crate::job) fn listed_mut(&mut self) -> impl Iterator<Item = &mut Hole> {
        self.list.iter_mut()
    }

    /// Tells the map, if there is anything on it.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub(in crate::job) fn tell(
        mut self,
        catalog: &Catalog,
        volume: (VolumeId, Volser, Option<Barcode>),
        desk: &Desk,
    ) -> Result<(), JobError> {
        if self.list.is_empty() {
            return Ok(());
        }
        let (id, volser, barcode) = volume;
        for hole in &mut self.list {
            let ordinal = hole.member.as_ref().map(|member| member.ordinal);
            hole.copies = other_copies(catalog, (hole.segment, ordinal), id)?;
        }
        self.list.sort_by_key(|hole| (hole.object, hole.bytes.from));
        desk.tell(&Event::Holes { volser, barcode, holes: &self.list, more: self.more });
        Ok(())
    }
}

/// The copies of a segment on other volumes than `except` that are not known to be bad, at least as
/// far as this member is concerned.
fn other_copies(
    catalog: &Catalog,
    (segment, ordinal): (SegmentId, Option<u32>),
    except: VolumeId,
) -> Result<Vec<OtherCopy>, CatalogError> {
    let mut others = Vec::new();
    for copy in catalog.copies(segment)?.into_iter().filter(|copy| copy.volume != except) {
        let verified = match copy.state {
            CopyState::Verified => Some(copy.since),
            CopyState::OnTape => None,
            CopyState::Bad => {
                let bad = catalog.bad_members(segment, copy.volume)?;
                match ordinal {
                    Some(ordinal) if !bad.is_empty() && !bad.contains(&ordinal) => None,
                    Some(_) | None => continue,
                }
            }
            CopyState::Void => continue,
        };
        let volume = catalog.volume_by_id(copy.volume)?;
        others.extend(volume.filter(|volume| volume.status != Status::Destroyed).map(|volume| {
            let Volume { volser, barcode, custody, .. } = volume;
            OtherCopy { volser, barcode, place: custody.to_string(), verified }
        }));
    }
    Ok(others)
}

/// Where a member's content lies.
#[derive(Clone, Copy, Debug)]
pub(in crate::job) struct Content<'a> {
    /// Where its data, or the map of a sparse member, begin, in bytes from the segment's start.
    pub(in crate::job) data: u64,
    /// Bytes from there.
    pub(in crate::job) stored: u64,
    /// Bytes of the content.
    pub(in crate::job) size: u64,
    /// Which part of the item it is.
    pub(in crate::job) part: Option<Part>,
    /// Where it has data, if it is sparse.
    pub(in crate::job) extents: Option<&'a [Extent]>,
}

impl Content<'_> {
    /// Where the bytes of the content begin, behind the map of a sparse member; and where they have
    /// data, in the content.
    pub(in crate::job) fn layout(&self) -> (u64, Vec<Extent>) {
        match self.extents {
            Some(extents) => {
                let extents = sparse::align(extents, self.size);
                let map = self.stored.saturating_sub(sparse::packed(&extents));
                (self.data + map, extents)
            }
            None if self.size == 0 => (self.data, Vec::new()),
            None => (self.data, vec![Extent { offset: 0, length: self.size }]),
        }
    }

    /// Which bytes of the item's content lie in these bytes of the segment.
    pub(in crate::job) fn bytes_in(&self, hit: Span) -> Option<Span> {
        let (start, extents) = self.layout();
        let base = self.part.map_or(0, |part| part.offset);
        let mut found: Option<Span> = None;
        let mut at = start;
        for Extent { offset, length } in extents {
            if let Some(inside) = hit.within(Span { from: at, to: at + length }) {
                let from = base + offset + (inside.from - at);
                let to = base + offset + (inside.to - at);
                found = Some(Span { from: found.map_or(from, |found| found.from), to });
            }
            at += length;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: u64, to: u64) -> Span {
        Span { from, to }
    }

    #[test]
    fn bytes_of_a_segment_are_bytes_of_an_item() {
        let plain = Content { data: 1024, stored: 5000, size: 5000, part: None, extents: None };
        let part = Part { number: 2, of: 3, offset: 7000, length: 5000 };
        let extents = [Extent { offset: 512, length: 512 }, Extent { offset: 4096, length: 904 }];
        let sparse = Content { stored: 512 + 1416, extents: Some(&extents), ..plain };
        for (content, hit, expected) in [
            (plain, span(0, 2000), Some(span(0, 976))),
            (plain, span(4096, 1 << 20), Some(span(3072, 5000))),
            (plain, span(0, 1024), None),
            (plain, span(6024, 9000), None),
            (Content { part: Some(part), ..plain }, span(1024, 1025), Some(span(7000, 7001))),
            // The map of a sparse member is no content.
            (sparse, span(1024, 1536), None),
            (sparse, span(1536, 1537), Some(span(512, 513))),
            (sparse, span(2000, 2049), Some(span(976, 4097))),
        ] {
            assert_eq!(content.bytes_in(hit), expected, "{content:?} {hit:?}");
        }
    }
}
