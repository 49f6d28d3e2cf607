//! The map of a sparse member: GNU.sparse 1.0, decimal lines in front of the data.

use crate::item::Extent;
use crate::tar::{UNIT_BYTES, padding, pax};

/// Rounds extents outwards to whole units and joins those that touch, so that each but the last
/// ends on a unit.
///
/// GNU tar starts each extent's data on a unit and bsdtar packs them; with whole units both agree.
/// The holes' bytes that this takes in are zeros. `extents` ascend and lie within `real_size`.
pub fn align(extents: &[Extent], real_size: u64) -> Vec<Extent> {
    let mut out: Vec<Extent> = Vec::with_capacity(extents.len());
    for extent in extents.iter().filter(|extent| extent.length > 0) {
        let begin = extent.offset / UNIT_BYTES * UNIT_BYTES;
        let end = extent.offset.saturating_add(extent.length).min(real_size);
        let end = end.checked_next_multiple_of(UNIT_BYTES).unwrap_or(real_size).min(real_size);
        match out.last_mut() {
            Some(last) if begin <= last.offset + last.length => {
                last.length = last.length.max(end.saturating_sub(last.offset));
            }
            _ if end > begin => out.push(Extent { offset: begin, length: end - begin }),
            _ => {}
        }
    }
    out
}

/// Whether extents ascend apart within `real_size`, each beginning on a unit and, unless it ends
/// the file, ending on one.
pub(super) fn are_aligned(extents: &[Extent], real_size: u64) -> bool {
    let mut from = 0;
    extents.iter().all(|extent| {
        let Some(end) = extent.offset.checked_add(extent.length) else { return false };
        let good = extent.length > 0
            && extent.offset >= from
            && end <= real_size
            && extent.offset.is_multiple_of(UNIT_BYTES)
            && (end.is_multiple_of(UNIT_BYTES) || end == real_size);
        from = end;
        good
    })
}

/// Bytes of data in the extents.
pub fn packed(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.length).sum()
}

/// Appends the map, padded to a whole unit.
pub(super) fn push_map(out: &mut Vec<u8>, extents: &[Extent], real_size: u64) {
    let start = out.len();
    // A file that ends in a hole is closed by an empty extent at its end, as GNU tar does.
    let ends = extents.last().is_some_and(|last| last.offset + last.length == real_size);
    let closing = (!ends).then_some(Extent { offset: real_size, length: 0 });
    let lines = extents.len() + usize::from(closing.is_some());
    push_line(out, lines as u64);
    for extent in extents.iter().copied().chain(closing) {
        push_line(out, extent.offset);
        push_line(out, extent.length);
    }
    let length = out.len() - start;
    out.resize(out.len() + padding(length as u64), 0);
}

fn push_line(out: &mut Vec<u8>, number: u64) {
    pax::push_number(out, number);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn aligned_extents_cover_the_given_ones(
            steps in prop::collection::vec((1_u64..5000, 1_u64..5000), 0..20),
            tail in 0_u64..2000,
        ) {
            let mut at = 0;
            let extents: Vec<Extent> = steps
                .iter()
                .map(|&(gap, length)| {
                    let offset = at + gap;
                    at = offset + length;
                    Extent { offset, length }
                })
                .collect();
            let size = at + tail;
            let aligned = align(&extents, size);
            prop_assert!(are_aligned(&aligned, size));
            for extent in extents {
                prop_assert!(aligned.iter().any(|a| a.offset <= extent.offset
                    && extent.offset + extent.length <= a.offset + a.length));
            }
        }
    }

    #[test]
    fn a_map_says_where_data_is() {
        let mut out = Vec::new();
        push_map(&mut out, &[Extent { offset: 512, length: 512 }], 4096);
        assert!(out.starts_with(b"2\n512\n512\n4096\n0\n\0"));
        assert_eq!(out.len(), 512);
        out.clear();
        push_map(&mut out, &[], 0);
        assert!(out.starts_with(b"1\n0\n0\n\0"));
    }
}
