//! Where a sparse file has data, and how a file is cut into parts.

use std::os::fd::BorrowedFd;

use rustix::{fs::SeekFrom, io::Errno};

use crate::digest::RANGE;
use crate::item::Extent;
use crate::volume::manifest::Part;

/// Fewer bytes of holes than this are not worth a map.
pub(super) const MIN_HOLE_BYTES: u64 = 64 << 10;
/// Most extents of one item. Beyond it the smallest holes are stored as zeros.
const MAX_EXTENTS: usize = 16 << 10;

/// The most bytes of a part of a sparse file, holes included: the digest of each range is kept until
/// the part is finished.
const SPAN: u64 = 1 << 40;
/// A tar's data begin on units.
const UNIT: u64 = 512;

/// What is read and delivered at once: a whole file, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Which part; of a whole file there is but one.
    pub(super) part: Part,
    /// Where it has data, from its own beginning; `None` when it has no holes.
    pub(super) extents: Option<Vec<Extent>>,
}

/// Cuts a file into pieces of at most `part_bytes` of data each. `map` is of a sparse file.
pub(super) fn cut(size: u64, map: Option<Vec<Extent>>, part_bytes: u64) -> Vec<Piece> {
    let cuts = match &map {
        Some(map) => sparse_cuts(size, map, part_bytes),
        None => (1..size.div_ceil(part_bytes)).map(|number| number * part_bytes).collect(),
    };
    let of = u32::try_from(cuts.len() + 1).expect("parts are many MiB long");
    let ends = cuts.iter().copied().chain([size]);
    let begins = std::iter::once(0).chain(cuts.iter().copied());
    let mut rest = map.as_deref();
    let mut pieces = Vec::with_capacity(cuts.len() + 1);
    for (number, (begin, end)) in (1..).zip(begins.zip(ends)) {
        let part = Part { number, of, offset: begin, length: end - begin };
        let whole = [Extent { offset: 0, length: end - begin }];
        let extents = rest.as_mut().map(|rest| within(rest, begin, end));
        pieces.push(Piece { part, extents: extents.filter(|extents| *extents != whole) });
    }
    pieces
}

/// The extents between `begin` and `end`, from `begin` on. `rest` are those that are not used up.
fn within(rest: &mut &[Extent], begin: u64, end: u64) -> Vec<Extent> {
    let mut found = Vec::new();
    while let [first, later @ ..] = *rest {
        let (from, to) = (first.offset.max(begin), (first.offset + first.length).min(end));
        if from < to {
            found.push(Extent { offset: from - begin, length: to - from });
        }
        if first.offset + first.length > end {
            break;
        }
        *rest = later;
    }
    found
}

/// Where a sparse file is cut, at multiples of [`RANGE`].
fn sparse_cuts(size: u64, map: &[Extent], part_bytes: u64) -> Vec<u64> {
    let mut cuts = Cuts { list: Vec::new(), begin: 0, filled: 0 };
    // The range at hand, and how many bytes of it are data.
    let (mut range, mut in_range) = (0, 0);
    for extent in map {
        let mut at = extent.offset / UNIT * UNIT;
        let end = extent.offset + extent.length;
        while at < end {
            if at - at % RANGE != range {
                (range, in_range) = (at - at % RANGE, 0);
            }
            let stop = end.next_multiple_of(UNIT).min(range + RANGE);
            // Neighbours may share a unit.
            let bytes = (stop - at).min(RANGE - in_range);
            cuts.reach(range);
            if cuts.filled + bytes > part_bytes {
                cuts.cut(range);
                cuts.filled = in_range;
            }
            cuts.filled += bytes;
            in_range += bytes;
            at = stop;
        }
    }
    cuts.reach(size.saturating_sub(1));
    cuts.list
}

/// Cuts, and the part behind the last of them.
struct Cuts {
    list: Vec<u64>,
    begin: u64,
    /// Bytes of its data so far.
    filled: u64,
}

impl Cuts {
    fn cut(&mut self, at: u64) {
        self.list.push(at);
        (self.begin, self.filled) = (at, 0);
    }

    /// Cuts so that no part is too long that ends behind byte `to`.
    fn reach(&mut self, to: u64) {
        while to - self.begin >= SPAN {
            self.cut(self.begin + SPAN);
        }
    }
}

/// A list of extents that stays bounded.
struct Extents {
    list: Vec<Extent>,
    /// A hole of fewer bytes than this does not part two extents.
    min_gap: u64,
}

impl Extents {
    fn push(&mut self, extent: Extent) {
        if let Some(last) = self.list.last_mut()
            && extent.offset - (last.offset + last.length) < self.min_gap
        {
            last.length = extent.offset + extent.length - last.offset;
            return;
        }
        self.list.push(extent);
        while self.list.len() > MAX_EXTENTS {
            self.min_gap *= 2;
            for extent in std::mem::take(&mut self.list) {
                self.push(extent);
            }
        }
    }
}

/// The extents of a file of `size` bytes; `None` when it has too few holes to bother, or its file
/// system does not tell.
///
/// # Errors
///
/// When the file cannot be asked.
pub(super) fn map(file: BorrowedFd<'_>, size: u64) -> Result<Option<Vec<Extent>>, Errno> {
    let mut extents = Extents { list: Vec::new(), min_gap: 1 };
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        if start >= size {
            break;
        }
        let end = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size),
            Err(Errno::NXIO) => size,
            Err(errno) => return Err(errno),
        };
        if end <= start {
            // It changed under the question; the stamp will tell.
            return Ok(None);
        }
        extents.push(Extent { offset: start, length: end - start });
        at = end;
    }
    let data: u64 = extents.list.iter().map(|extent| extent.length).sum();
    Ok((size - data >= MIN_HOLE_BYTES).then_some(extents.list))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd, os::unix::fs::FileExt};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn holes_are_found() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        assert_eq!(map(file.as_fd(), 1 << 20), Ok(Some(vec![])), "nothing but a hole");
        file.write_all_at(&[1; 4096], 512 << 10).unwrap();
        let data = Extent { offset: 512 << 10, length: 4096 };
        assert_eq!(map(file.as_fd(), 1 << 20), Ok(Some(vec![data])));
        let full = File::open("/proc/self/exe").unwrap();
        assert_eq!(map(full.as_fd(), full.metadata().unwrap().len()), Ok(None));
    }

    #[test]
    fn a_file_without_holes_is_cut_evenly() {
        let lengths = |size, part_bytes| -> Vec<u64> {
            let pieces = cut(size, None, part_bytes);
            assert!(pieces.iter().all(|piece| piece.extents.is_none()));
            pieces.into_iter().map(|piece| piece.part.length).collect()
        };
        for (size, expected) in
            [(0, vec![0]), (1, vec![1]), (4, vec![4]), (5, vec![4, 1]), (12, vec![4, 4, 4])]
        {
            assert_eq!(lengths(size, 4), expected, "{size}");
        }
    }

    #[test]
    fn a_huge_hole_is_cut_too() {
        let map = vec![Extent { offset: 5 * SPAN / 2, length: 1 }];
        let pieces = cut(4 * SPAN + 1, Some(map), RANGE);
        let data: Vec<_> = pieces.iter().map(|p| p.extents.as_ref().unwrap().len()).collect();
        assert_eq!(data, [0, 0, 1, 0, 0]);
        assert_eq!(pieces[4].part, Part { number: 5, of: 5, offset: 4 * SPAN, length: 1 });
        assert_eq!(cut(SPAN, Some(Vec::new()), RANGE).len(), 1);
    }

    proptest! {
        #[test]
        fn parts_of_a_sparse_file_have_all_its_data(
            steps in prop::collection::vec((0_u64..5 << 20, 1_u64..3 << 20), 0..40),
            coarse in prop::sample::select(vec![1_u64, 512, 4096]),
            (ranges, tail) in (1_u64..5, 0_u64..3 << 20),
        ) {
            let mut at = 0;
            let mut map: Vec<Extent> = Vec::new();
            for (hole, data) in steps {
                let offset = at + (hole / coarse + 1) * coarse;
                map.push(Extent { offset, length: data.next_multiple_of(coarse) });
                at = offset + data.next_multiple_of(coarse);
            }
            let (size, part_bytes) = (at + tail, ranges * RANGE);
            let pieces = cut(size, Some(map.clone()), part_bytes);
            let (mut at, mut found): (u64, Vec<Extent>) = (0, Vec::new());
            for (number, Piece { part, extents }) in (1..).zip(&pieces) {
                prop_assert_eq!((part.number, part.offset), (number, at));
                prop_assert!(at % RANGE == 0 && (part.length > 0 || size == 0));
                let whole = [Extent { offset: 0, length: part.length }];
                let extents = extents.as_deref().unwrap_or(&whole);
                let aligned = crate::tar::sparse::align(extents, part.length);
                prop_assert!(crate::tar::sparse::packed(&aligned) <= part_bytes);
                for extent in extents {
                    let offset = at + extent.offset;
                    match found.last_mut() {
                        Some(last) if last.offset + last.length == offset => {
                            last.length += extent.length;
                        }
                        _ => found.push(Extent { offset, length: extent.length }),
                    }
                }
                at += part.length;
            }
            prop_assert_eq!(at, size);
            prop_assert!(pieces.iter().all(|piece| piece.part.of as usize == pieces.len()));
            prop_assert_eq!(found, map);
        }
    }

    #[test]
    fn a_map_stays_bounded_and_covers_all_data() {
        let mut extents = Extents { list: Vec::new(), min_gap: 1 };
        for n in 0..40_000_u64 {
            extents.push(Extent { offset: n * 8192, length: 10 });
        }
        assert!(extents.list.len() <= MAX_EXTENTS);
        assert!(extents.list.is_sorted_by(|a, b| a.offset + a.length < b.offset));
        let last = extents.list.last().unwrap();
        assert_eq!(last.offset + last.length, 39_999 * 8192 + 10);
    }
}
