//! Error counters: how often the drive had to correct, and how often it could not.

use crate::scsi::log::{Page, parameter::write_errors};

/// Bytes of a TB, decimal.
const TERABYTE: f64 = 1e12;

/// Errors while writing, or while reading, since the drive last reset its counters (SPC, Write
/// Error Counters log page, Read Error Counters log page). What a drive does not count is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorCounters {
    /// Errors corrected.
    pub corrected: Option<u64>,
    /// Errors not corrected.
    pub uncorrected: Option<u64>,
    /// Blocks written or read again.
    pub repeated: Option<u64>,
    /// Bytes processed.
    pub bytes: Option<u64>,
}

impl ErrorCounters {
    /// Reads page 02h or 03h.
    pub fn of(page: &Page) -> Self {
        Self {
            corrected: page.number(write_errors::CORRECTED),
            uncorrected: page.number(write_errors::UNCORRECTED),
            repeated: page.number(write_errors::RETRIES),
            bytes: page.number(write_errors::BYTES),
        }
    }

    /// Errors corrected for each TB. `None` when they or the bytes are not counted, or no bytes
    /// are.
    pub fn corrected_per_terabyte(&self) -> Option<f64> {
        per_terabyte(self.corrected?, self.bytes?)
    }

    /// Errors not corrected for each TB, likewise.
    pub fn uncorrected_per_terabyte(&self) -> Option<f64> {
        per_terabyte(self.uncorrected?, self.bytes?)
    }
}

/// `count` for each TB of `bytes`; `None` of nothing.
pub fn per_terabyte(count: u64, bytes: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a rate is read to three digits")]
    let rate = count as f64 * TERABYTE / bytes as f64;
    (bytes > 0).then_some(rate)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Write Error Counters log page (SPC, Error counter log pages): parameters 2, 3, 5 and 6, of
    /// four and eight bytes.
    const PAGE: [u8; 40] = [
        0x02, 0, 0, 36, 0, 2, 3, 4, 0, 0, 0, 9, 0, 3, 3, 4, 0, 0, 0x0F, 0xA0, 0, 5, 3, 8, 0, 0, 1,
        0xD1, 0xA9, 0x4A, 0x20, 0, 0, 6, 3, 4, 0, 0, 0, 1,
    ];

    #[test]
    fn counters_become_rates() {
        let counters = ErrorCounters::of(&Page::decode(&PAGE).unwrap());
        let expected = ErrorCounters {
            corrected: Some(4000),
            uncorrected: Some(1),
            repeated: Some(9),
            bytes: Some(2_000_000_000_000),
        };
        assert_eq!(counters, expected);
        assert_eq!(counters.corrected_per_terabyte(), Some(2000.0));
        assert_eq!(counters.uncorrected_per_terabyte(), Some(0.5));
    }

    #[test]
    fn what_is_not_counted_has_no_rate() {
        let cut = ErrorCounters::of(&Page::decode(&PAGE[..20]).unwrap());
        assert_eq!((cut.corrected, cut.bytes), (Some(4000), None));
        assert_eq!(cut.corrected_per_terabyte(), None);
        let idle = ErrorCounters { corrected: Some(0), bytes: Some(0), ..cut };
        assert_eq!(idle.corrected_per_terabyte(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            if let Some(page) = Page::decode(&bytes) {
                let counters = ErrorCounters::of(&page);
                let rate = counters.corrected_per_terabyte();
                prop_assert!(rate.is_none_or(|rate| rate >= 0.0 && rate.is_finite()));
            }
        }
    }
}
