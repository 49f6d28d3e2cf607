//! How large staging and its segments are.

use std::path::PathBuf;

use crate::{
    staging::error::StagingError,
    unit::{ByteCount, GIB, MIB},
};

/// What a segment aims at, in bytes.
pub const SEGMENT_BYTES: u64 = 16 * GIB;
/// The most members of a segment.
pub const SEGMENT_MEMBERS: u32 = 262_144;
/// The least staging budget, in bytes.
pub const MINIMUM_BUDGET: u64 = 2 * GIB;
/// The size of a tape block, in bytes, unless the host adapter takes less.
pub const BLOCK_SIZE: u32 = 512 << 10;
/// Segments that are filled or being sealed at one time.
pub const OPEN_SEGMENTS: usize = 2;

/// A budget holds at least this many segments.
const SEGMENTS_PER_BUDGET: u64 = 6;
/// A cartridge holds at least this many segments.
const SEGMENTS_PER_CARTRIDGE: u64 = 50;
/// A segment holds at least this many parts.
const PARTS_PER_SEGMENT: u64 = 4;
/// The least segment, in bytes: four parts of the least part. Only a rehearsal's scaled cartridge
/// is so small that a fiftieth of it is less.
const SEGMENT_FLOOR: u64 = PARTS_PER_SEGMENT * MIB;

/// Where staging is and how much it may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory that holds everything staged. Made when it is not there.
    pub dir: PathBuf,
    /// The most bytes that open and sealed segments and kept manifests may take.
    pub budget_bytes: u64,
    /// The least `budget_bytes` that is accepted.
    pub minimum_budget: u64,
    /// The most bytes of a segment, its manifest and padding included.
    pub segment_bytes: u64,
    /// The most members of a segment.
    pub segment_members: u32,
    /// Content bytes of a part; a multiple of 1 MiB.
    pub part_bytes: u64,
    /// Bytes of a tape block; a segment file is whole blocks.
    pub block_size: u32,
}

/// How large segments and parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The most bytes of a segment.
    pub segment_bytes: u64,
    /// Content bytes of a part; a multiple of 1 MiB.
    pub part_bytes: u64,
}

impl Sizes {
    /// A segment aims at 16 GiB, but takes at most a sixth of the budget and a fiftieth of the
    /// cartridge, so that neither is ever filled by a few of them; a part takes at most a quarter
    /// of a segment. `cartridge` is the native capacity of the smallest cartridge that the segments
    /// are for, if that is known.
    ///
    /// A segment never becomes smaller than 4 MiB, which only a scaled cartridge would ask for.
    pub fn plan(budget: ByteCount, cartridge: Option<ByteCount>) -> Self {
        let of_cartridge = cartridge.map_or(u64::MAX, |bytes| bytes.0 / SEGMENTS_PER_CARTRIDGE);
        let segment_bytes =
            SEGMENT_BYTES.min(of_cartridge).max(SEGMENT_FLOOR).min(budget.0 / SEGMENTS_PER_BUDGET);
        let part_bytes = segment_bytes / PARTS_PER_SEGMENT / MIB * MIB;
        Self { segment_bytes, part_bytes }
    }
}

impl Settings {
    /// Settings for a staging in `dir` of at most `budget`, for cartridges of at least `cartridge`
    /// native capacity.
    pub fn new(
        dir: impl Into<PathBuf>,
        budget: ByteCount,
        cartridge: Option<ByteCount>,
        block_size: u32,
    ) -> Self {
        let Sizes { segment_bytes, part_bytes } = Sizes::plan(budget, cartridge);
        Self {
            dir: dir.into(),
            budget_bytes: budget.0,
            minimum_budget: MINIMUM_BUDGET,
            segment_bytes,
            segment_members: SEGMENT_MEMBERS,
            part_bytes,
            block_size,
        }
    }

    /// The same for a rehearsal or a test: a budget of `divisor` times less than 2 GiB is accepted.
    pub fn scaled(self, divisor: u64) -> Self {
        Self { minimum_budget: MINIMUM_BUDGET / divisor, ..self }
    }

    /// Whether the settings can work.
    ///
    /// # Errors
    ///
    /// [`StagingError::TooSmall`] names the setting that cannot.
    pub fn check(&self) -> Result<(), StagingError> {
        let segment = SEGMENT_FLOOR.max(4 * u64::from(self.block_size));
        let least = [
            ("a block", u64::from(self.block_size), 512),
            ("the staging budget", self.budget_bytes, self.minimum_budget),
            ("the staging budget", self.budget_bytes / SEGMENTS_PER_BUDGET, self.segment_bytes),
            ("a segment", self.segment_bytes, segment),
            ("a segment", self.segment_bytes / PARTS_PER_SEGMENT, self.part_bytes),
            ("a part", self.part_bytes, MIB),
        ];
        for (what, bytes, minimum) in least {
            if bytes < minimum {
                return Err(StagingError::TooSmall { what, bytes, minimum });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sizes_keep_the_rule(budget in MINIMUM_BUDGET.., cartridge in proptest::option::of(1_u64..)) {
            let sizes = Sizes::plan(ByteCount(budget), cartridge.map(ByteCount));
            prop_assert!(sizes.segment_bytes <= SEGMENT_BYTES);
            prop_assert!(sizes.segment_bytes <= budget / 6);
            let fiftieth = cartridge.map_or(u64::MAX, |bytes| bytes / 50);
            prop_assert!(sizes.segment_bytes <= fiftieth.max(SEGMENT_FLOOR));
            prop_assert!(sizes.part_bytes <= sizes.segment_bytes / 4);
            prop_assert!(sizes.part_bytes >= MIB);
            prop_assert_eq!(sizes.part_bytes % MIB, 0);
            let settings =
                Settings::new("s", ByteCount(budget), cartridge.map(ByteCount), BLOCK_SIZE);
            prop_assert!(settings.check().is_ok());
        }
    }

    #[test]
    fn a_large_disk_and_an_lto_cartridge_give_sixteen_gibibytes() {
        let sizes = Sizes::plan(ByteCount(1_000_000_000_000), Some(ByteCount(12_000_000_000_000)));
        assert_eq!(sizes, Sizes { segment_bytes: 16 * GIB, part_bytes: 4 * GIB });
    }

    #[test]
    fn a_budget_under_two_gibibytes_is_refused_unless_scaled() {
        let settings = Settings::new("s", ByteCount(MINIMUM_BUDGET - 1), None, BLOCK_SIZE);
        let error = settings.check().unwrap_err();
        assert!(error.to_string().contains("at least 2 GiB is needed"), "{error}");
        settings.scaled(2).check().unwrap();
        let tiny = Settings::new("s", ByteCount(20 * MIB), None, BLOCK_SIZE).scaled(1 << 20);
        assert!(tiny.check().is_err());
    }
}
