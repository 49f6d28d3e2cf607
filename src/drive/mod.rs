//! The tape drive: SSC over any transport, with outcomes sorted by what the caller does next.
//!
//! Filemarks, end of data and early warning are outcomes; every [`DriveError`] is another next
//! step. The driver keeps its own count of objects and holds it against READ POSITION after each
//! LOCATE and at each flush. After anything that could have moved the tape it refuses to write
//! until the position was asked for.

mod answer;
mod append;
mod cleaning;
mod data;
mod features;
mod handle;
mod health;
mod medium;
mod motion;
mod open;
mod safeguard;
mod timeout;
mod wait;
mod wear;

pub use answer::{DriveError, Fault};
pub use cleaning::{Cleaned, CleaningNeed};
pub use data::{Filemark, ReadOutcome, Written};
pub use features::{Access, Features, FormatSupport};
pub use handle::{Drive, Identity, MediumState};
pub use health::{AlertClass, Holding};
pub use medium::{Blankness, Capacity, CapacityOrigin, Medium, Notes, Preparation};
pub use motion::{SpaceStop, Spaced};
pub use safeguard::{BlockKey, Encryption, KeyInDrive, NamedKey, Safeguards};
pub use wait::{Patience, Wait};
pub use wear::Health;

pub use crate::scsi::density::Generation;
pub use crate::scsi::log::alert::{Alert, Alerts, Severity};
pub use crate::scsi::log::errors::{ErrorCounters, per_terabyte};
pub use crate::scsi::log::statistics::{Cleaning, DeviceStatistics, VolumeStatistics};
pub use crate::scsi::protection::{GUARD, Guard, Method as Protection};
