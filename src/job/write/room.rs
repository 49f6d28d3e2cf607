//! Whether a segment fits, and when a commit is due: pure arithmetic.

use crate::unit::{GIB, MIB};

/// Kept free for the volume index besides the manifests.
const INDEX_ROOM: u64 = 64 * MIB;
/// A small cartridge of a rehearsal keeps at most this fraction of itself free.
const INDEX_FRACTION: u64 = 16;
/// A session is closed before its manifests reach this, in bytes.
pub(super) const MANIFESTS_MAX: u64 = 32_000_000_000;
/// The most that is written between two commits.
const GROUP_BYTES: u64 = 64 * GIB;

/// What is known of a volume's room. All in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// What the drive said was left when it was last asked with an empty buffer.
    pub(super) remaining: u64,
    /// What was written since.
    pub(super) written_since: u64,
    /// Native capacity of the cartridge.
    pub(super) capacity: u64,
    /// Manifests that this session's index will hold.
    pub(super) manifests: u64,
}

impl Room {
    /// What has to stay free for the index of the session, with a segment's manifest more.
    pub(super) fn reserve(&self, manifest: u64) -> u64 {
        let fixed = INDEX_ROOM.min(self.capacity / INDEX_FRACTION);
        (self.manifests + manifest).saturating_add((self.manifests + manifest) / 4) + fixed
    }

    /// Whether a segment of `bytes` with such a manifest can be begun: uncompressed, and a
    /// hundredth more for what the drive may have to rewrite.
    pub(super) fn fits(&self, bytes: u64, manifest: u64) -> bool {
        let left = self.remaining.saturating_sub(self.written_since);
        let needed = bytes.saturating_add(bytes / 100).saturating_add(self.reserve(manifest));
        needed <= left && self.manifests + manifest < MANIFESTS_MAX
    }
}

/// Whether enough was written since the last commit for another: 64 GiB, or a third of the staging
/// budget.
pub(super) fn commit_is_due(written: u64, budget: u64) -> bool {
    written >= GROUP_BYTES.min(budget / 3)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plan_never_exceeds_capacity_minus_reserve(
            remaining in 0..20_000_000_000_000_u64,
            written_since in 0..1_000_000_000_000_u64,
            manifests in 0..MANIFESTS_MAX,
            bytes in 0..17_179_869_184_u64,
            manifest in 0..200_000_000_u64,
        ) {
            let room = Room { remaining, written_since, capacity: 20_000_000_000_000, manifests };
            if room.fits(bytes, manifest) {
                prop_assert!(bytes + written_since + room.reserve(manifest) <= remaining);
                prop_assert!(room.reserve(manifest) >= INDEX_ROOM + manifests + manifest);
            }
        }
    }

    #[test]
    fn a_small_cartridge_keeps_a_small_reserve() {
        let room =
            Room { remaining: 100 * MIB, written_since: 0, capacity: 100 * MIB, manifests: 0 };
        assert!(room.fits(90 * MIB, 0));
        assert!(!room.fits(95 * MIB, 0));
    }
}
