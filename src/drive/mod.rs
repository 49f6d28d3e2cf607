//! The tape drive: SSC over any transport, with outcomes sorted by what the caller does next.
//!
//! Filemarks, end of data and early warning are outcomes; every [`DriveError`] is another next
//! step. The driver keeps its own count of objects and holds it against READ POSITION after each
//! LOCATE and at each flush. After anything that could have moved the tape it refuses to write
//! until the position was asked for.

mod answer;
mod cleaning;
mod data;
mod handle;
mod health;
mod medium;
mod motion;
mod open;
mod safeguard;
mod timeout;
mod wait;

pub use answer::{DriveError, Fault};
pub use cleaning::{Cleaned, CleaningNeed};
pub use data::{Filemark, ReadOutcome, Written};
pub use handle::{Drive, Identity, MediumState};
pub use health::{AlertClass, Holding};
pub use medium::{Application, Blankness, Capacity, CapacityOrigin, Medium, Preparation};
pub use motion::{SpaceStop, Spaced};
pub use safeguard::{BlockKey, Encryption, NamedKey, Safeguards};
pub use wait::{Patience, Wait};

pub use crate::scsi::protection::{GUARD, Guard, Method as Protection};
