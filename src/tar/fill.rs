//! Filler: what stands in a segment where nothing else does. Readers skip it without a word.

use crate::tar::{UNIT, head, pax};

/// The shortest filler, in bytes: one header unit and one of data.
pub const FILLER_MIN: usize = 2 * UNIT;
/// The longest filler, in bytes. Observed: bsdtar 3.6.2 rejects extended headers over 1 MiB.
pub const FILLER_MAX: usize = 1 << 20;

const COMMENT: &str = "comment";

/// A pax `g` header with nothing but a comment, of exactly `bytes` bytes.
///
/// Another member has to follow before the end of the archive: Python's tarfile rejects an archive
/// that ends after an extended header.
///
/// # Panics
///
/// When `bytes` is no multiple of [`UNIT`] between [`FILLER_MIN`] and [`FILLER_MAX`].
pub fn filler(bytes: usize) -> Vec<u8> {
    assert!(
        bytes.is_multiple_of(UNIT) && (FILLER_MIN..=FILLER_MAX).contains(&bytes),
        "a filler is 1 KiB to 1 MiB in whole units, not {bytes} bytes"
    );
    let data = bytes - UNIT;
    let mut out = Vec::with_capacity(bytes);
    out.resize(UNIT, 0);
    let blanks = data - pax::digits(data) - COMMENT.len() - 3;
    pax::push(&mut out, COMMENT, &vec![b' '; blanks]);
    assert_eq!(out.len(), bytes, "the record fills the data");
    head::extended(&mut out[..UNIT], b'g', data as u64);
    out
}

/// The lengths of the fillers that together fill `gap` bytes, or `None` for a gap that cannot be
/// filled: one that is no multiple of [`UNIT`], or a single unit.
pub fn fillers(gap: u64) -> Option<impl Iterator<Item = usize>> {
    let (unit, max) = (UNIT as u64, FILLER_MAX as u64);
    if !gap.is_multiple_of(unit) || gap == unit {
        return None;
    }
    let mut left = gap;
    Some(std::iter::from_fn(move || {
        let mut now = left.min(max);
        if left - now == unit {
            // A single unit would be left over, which no filler fits.
            now -= unit;
        }
        left -= now;
        (now > 0).then(|| usize::try_from(now).expect("at most 1 MiB"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fillers_fill_every_gap_but_one_unit() {
        for units in (0..6000).filter(|&units| units != 1) {
            let gap = units * 512;
            let lengths: Vec<usize> = fillers(gap).unwrap().collect();
            assert_eq!(lengths.iter().sum::<usize>() as u64, gap);
            for length in lengths {
                assert!((FILLER_MIN..=FILLER_MAX).contains(&length), "{length} in {gap}");
            }
        }
        assert!(fillers(512).is_none());
        assert!(fillers(1000).is_none());
    }

    #[test]
    fn a_filler_has_its_length() {
        for bytes in [1024, 1536, 10_240, 10_752, 102_400, FILLER_MAX] {
            assert_eq!(filler(bytes).len(), bytes);
        }
    }
}
