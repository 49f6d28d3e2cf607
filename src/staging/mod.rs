//! Segment files on disk: claimed regions filled concurrently, sealed as the bytes of a tape file.
//!
//! The export half fills a staging, the tape half empties it through a [`Store`]; they may be two
//! processes, and meet in the directory alone:
//!
//! | file | content |
//! |---|---|
//! | `open/SEGMENT.part` | a segment that is being filled |
//! | `open/SEGMENT.journal` | what is finished in it |
//! | `sealed/SEGMENT.seg` | a sealed segment: exactly the bytes of its tape file |
//! | `sealed/SEGMENT.json` | its record; a segment is sealed only with it |
//! | `manifests/SEGMENT.jsonl.zst` | its manifest, until the volume index of every copy has it |
//! | `fill.lock`, `tape.lock` | held by the process that fills, and by the one that empties |

mod error;
pub mod files;
mod fill;
mod sealed;
mod segment;
mod settings;
mod store;

pub use error::StagingError;
pub use fill::{Counters, Outcome, Recovered, Region, Staging, World};
pub use sealed::Sealed;
pub use segment::Held;
pub use settings::{
    BLOCK_SIZE, MINIMUM_BUDGET, OPEN_SEGMENTS, SEGMENT_BYTES, SEGMENT_MEMBERS, Settings, Sizes,
};
pub use store::{Entries, OpenSealed, Store, Usage};
