//! Keys for encryption in the drive: made here, kept in a file that `age` encrypts, printed on paper.
//!
//! A lost key is a lost archive, so a key is used for a first volume only after somebody proved that
//! it is on paper, by typing back what stands there. Keys never reach logs, events or errors, and
//! their memory is wiped; only their ids are told.

mod file;
mod paper;
mod secret;
mod settings;
mod words;

pub use file::{KeyError, KeyRing, Owner, StoredKey};
pub use paper::{Typed, TypedError, page, page_as_html};
pub use secret::{DataKey, KeyId};
pub use settings::{Ask, KeySettings};
pub use words::{LINES, check_words};
