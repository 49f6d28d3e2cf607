//! Where a sparse file has data.

use std::os::fd::BorrowedFd;

use rustix::{fs::SeekFrom, io::Errno};

use crate::item::Extent;

/// Fewer bytes of holes than this are not worth a map.
pub(super) const MIN_HOLE_BYTES: u64 = 64 << 10;
/// Most extents of one item. Beyond it the smallest holes are stored as zeros.
const MAX_EXTENTS: usize = 16 << 10;

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
