//! Runs: what a source held at one time. A run is stored as its changes from an earlier run of the
//! source, over a bounded chain, and reads as if it were whole.

mod block;
mod held;
mod indexed;
mod read;
mod record;

pub use held::Held;
pub use read::{Changes, Rows, Snapshot};

/// Changes in one stored block.
pub(in crate::catalog) const BLOCK: usize = 1024;
/// The longest chain of runs that build on each other, beyond which a run is stored whole.
pub(in crate::catalog) const CHAIN: usize = 16;

/// What is wrong with a stored block of changes, if anything is.
pub(in crate::catalog) fn check_block(data: &[u8]) -> Result<(), String> {
    let changes = block::decode(data)?;
    if changes.is_sorted_by(|a, b| block::item(a) < block::item(b)) {
        Ok(())
    } else {
        Err("its changes are out of order".to_owned())
    }
}
