//! Search.

mod candidates;
mod digests;
mod index;
mod pattern;
mod postings;
mod search;
mod trigrams;

pub(in crate::catalog) use digests::Pairs;
pub(in crate::catalog) use index::{forget, is_complete, store};
pub(in crate::catalog) use postings::{Page, Stretch};

pub use pattern::{BadPattern, DigestPrefix, Glob, Pattern};

use crate::{
    clock::Timestamp,
    ident::{SourceName, VolumeId},
    item::{Key, Place},
    volume::manifest::Entry,
};

/// What is looked for. Every field narrows; the default finds everything.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// What the key or the digest looks like.
    pub pattern: Pattern,
    /// Whether upper and lower case are the same in the pattern.
    pub ignore_case: bool,
    /// From one of these sources; from any when empty.
    pub sources: Vec<SourceName>,
    /// With a copy on one of these volumes, that is not void; anywhere when empty.
    pub volumes: Vec<VolumeId>,
    /// Last modified at this moment or later.
    pub modified_from: Option<Timestamp>,
    /// Last modified at this moment or earlier.
    pub modified_to: Option<Timestamp>,
    /// At least so many bytes of content.
    pub size_from: Option<u64>,
    /// At most so many bytes of content.
    pub size_to: Option<u64>,
    /// What the newest complete run that had ended by then holds: one state of each item, and
    /// nothing that was deleted. Every state ever archived when absent.
    pub as_of: Option<Timestamp>,
}

impl Query {
    /// Whether a key is what the pattern looks for, ready to be asked often. What the pattern says
    /// of digests, and what else narrows the query, is not asked.
    pub fn key_matcher(&self) -> impl Fn(&Key) -> bool + use<> {
        let matcher = pattern::Matcher::new(&self.pattern, self.ignore_case);
        move |key| matcher.matches(&key.0)
    }
}

/// A member that was looked for. An item in parts makes one hit for each part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Where it is.
    pub place: Place,
    /// What it is, without chaining values.
    pub entry: Entry,
}
