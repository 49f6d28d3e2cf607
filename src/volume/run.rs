//! Runs: what a source held at one time, as sorted rows that point into segments.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ident::{RunId, SourceName};
use crate::item::{Key, Place, Token, Version};

/// One item of a run. Rows are sorted by key, then version; no two are equal in both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The item.
    #[serde(flatten)]
    pub key: Key,
    /// Its version, if the source has versions.
    #[serde(default, skip_serializing_if = "Version::is_none")]
    pub version: Version,
    /// What its listing said.
    pub token: Token,
    /// Whether it was the latest version when the run listed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latest: bool,
    /// Whether it is a delete marker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete_marker: bool,
    /// Where its bytes are: one place, or one for each part in order. Empty when the run saw the
    /// item but could not archive it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
}

/// What is known of a run as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// The source that it lists.
    pub source: SourceName,
    /// When its listing began.
    pub started: Timestamp,
    /// When the last of its items was sealed; `None` while it is under way.
    pub ended: Option<Timestamp>,
    /// Whether every item that was listed is either held or reported. Only a complete run proves
    /// that something was absent.
    pub complete: bool,
    /// How many rows it has.
    pub rows: u64,
    /// How many of them have no place: seen, but not archived.
    pub missing: u64,
}

/// A change from one run to a later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// A row that is new, or differs.
    Put {
        /// The row as it is now.
        #[serde(flatten)]
        row: Row,
    },
    /// A row that is there no longer.
    Gone {
        /// The item.
        #[serde(flatten)]
        key: Key,
        /// Its version.
        #[serde(default, skip_serializing_if = "Version::is_none")]
        version: Version,
    },
}
