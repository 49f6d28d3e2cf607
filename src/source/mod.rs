//! Sources: where items come from, and what they are handed to.
//!
//! A source knows nothing of staging, catalog or drive. It lists what is there and, asked for some
//! of it, delivers bytes to a [`Sink`].

pub mod directory;
pub mod http;
pub mod s3;

use std::{error::Error, fmt};

use crate::cancel::Cancel;
use crate::item::{Item, Key, Listed, Version};
use crate::volume::manifest::Part;

/// A place that items come from.
pub trait Source: Send + Sync + fmt::Debug {
    /// Lists everything, each key's versions together and keys in ascending byte order, in bounded
    /// memory. `visit` may stop the listing.
    ///
    /// What cannot be listed (a directory without permission) is a [`Finding`] to `findings`.
    ///
    /// # Errors
    ///
    /// When the listing is not whole: then it proves nothing about what is absent.
    fn list(
        &self,
        visit: &mut dyn FnMut(Listed) -> Result<(), Stop>,
        findings: &dyn Findings,
        cancel: &Cancel,
    ) -> Result<(), SourceError>;

    /// Reads what `wanted` yields, many at once, into `sink`. Returns when all of it is delivered
    /// or reported as a finding. The order of delivery is free, but an item that names another
    /// through a link group comes after it or carries its own bytes.
    ///
    /// # Errors
    ///
    /// When reading any further item is pointless: credentials refused, network lost for long, the
    /// sink failed.
    fn fetch(
        &self,
        wanted: &mut (dyn Iterator<Item = Listed> + Send),
        sink: &dyn Sink,
        cancel: &Cancel,
    ) -> Result<(), SourceError>;
}

/// The listing is to go no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

/// Where a source puts the bytes of items. Called from many threads.
pub trait Sink: Findings {
    /// How long a part is, in bytes, a multiple of [`crate::digest::RANGE`]. A longer item is
    /// delivered as parts of this length (the last is shorter). A sparse one is cut at multiples of
    /// [`crate::digest::RANGE`] so that each part has at most so many bytes of data.
    fn part_bytes(&self) -> u64;

    /// The parts of an item, in the state that its listing tells of, that stand already: an
    /// interrupted job delivered them. They need not come again if the item is still in that state
    /// and is cut as it was; a part that does come again takes the place of the one that stands.
    /// To be asked for once.
    fn held(&self, _listed: &Listed) -> Vec<HeldPart> {
        Vec::new()
    }

    /// Takes a whole item at once: a small file, or one without content. `data` has `item.size`
    /// bytes. Waits while there is no room.
    ///
    /// # Errors
    ///
    /// When the sink takes nothing any more.
    fn put(&self, item: Item, data: &[u8]) -> Result<(), SinkError>;

    /// Takes several whole items at once, each as [`Self::put`] does. `data` is their contents, one
    /// after the other.
    ///
    /// # Errors
    ///
    /// When the sink takes nothing any more.
    fn put_all(&self, items: Vec<Item>, data: &[u8]) -> Result<(), SinkError> {
        let mut rest = data;
        for item in items {
            let size = usize::try_from(item.size).expect("it is in memory");
            let (content, later) = rest.split_at(size);
            self.put(item, content)?;
            rest = later;
        }
        Ok(())
    }

    /// Claims room for an item, or for one part of it, whose bytes then come by
    /// [`Claim::write_at`]. The extents of a sparse item are those of the part. Waits while there is
    /// no room.
    ///
    /// # Errors
    ///
    /// When the sink takes nothing any more.
    fn claim(&self, item: Item, part: Option<Part>) -> Result<Box<dyn Claim>, SinkError>;
}

/// Room for the bytes of one member. Dropping it without [`Claim::finish`] gives the room back.
pub trait Claim: Send + Sync {
    /// Takes bytes of the content (of the part's content). `offset` is a multiple of
    /// [`crate::digest::RANGE`], and `bytes` are whole ranges, but for the last of the content.
    /// Calls may come in any order and from many threads at once; no range comes twice. Of a sparse
    /// item only ranges that touch an extent need to come, with the holes in them as zeros.
    ///
    /// # Errors
    ///
    /// When the sink takes nothing any more.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SinkError>;

    /// Seals the member after its last byte.
    ///
    /// # Errors
    ///
    /// When bytes are missing, or the sink takes nothing any more.
    fn finish(self: Box<Self>, outcome: Outcome) -> Result<(), SinkError>;
}

/// A part of an item that stands already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPart {
    /// Which.
    pub part: Part,
    /// The [`Outcome::running`] that it was finished with.
    pub running: String,
}

/// What was learned while an item's bytes came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Which checksum of the source's own the bytes agreed with (`crc64nvme=…`); empty for none.
    pub verified: String,
    /// Of a part but the last: the source's checksum as it stands at the part's end, in the source's
    /// own words, for [`HeldPart::running`]; empty for none.
    pub running: String,
    /// Whether the item changed under the reader, three times over.
    pub torn: bool,
}

/// Takes what an operator has to know about single items.
pub trait Findings: Send + Sync {
    /// Takes one finding.
    fn report(&self, finding: Finding);
}

/// Something about one item that is neither success nor a reason to stop.
#[derive(Debug)]
pub struct Finding {
    /// Which item.
    pub key: Key,
    /// Which version of it.
    pub version: Version,
    /// What about it.
    pub what: Problem,
    /// The source's own words, if there are any.
    pub detail: Option<Box<dyn Error + Send + Sync>>,
}

/// What can be wrong with one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// It was listed, and gone when it was to be read.
    Vanished,
    /// It changed while it was read, three times over; what was read last is archived, marked torn.
    Torn,
    /// It cannot be read (permission, I/O error, refused): not archived.
    Unreadable,
    /// Its bytes disagree with the source's own checksum, again and again: not archived.
    ChecksumMismatch,
    /// It lies in an archive tier that has to be thawed first: not archived.
    Frozen,
    /// It is of a kind that no archive can hold (a socket): not archived.
    Unsupported,
    /// Its content is archived, but something about it (tags, an extended attribute) was not to be
    /// had.
    Incomplete,
    /// It was listed, and at the end nothing holds it, and nothing else says why: not archived.
    Missing,
}

impl Problem {
    /// Whether the item is not in the archive because of this.
    pub fn is_loss(self) -> bool {
        match self {
            Self::Vanished | Self::Torn | Self::Incomplete => false,
            Self::Unreadable
            | Self::ChecksumMismatch
            | Self::Frozen
            | Self::Unsupported
            | Self::Missing => true,
        }
    }

    /// Whether it says why a listed item has no bytes in the archive.
    pub fn is_without_bytes(self) -> bool {
        self.is_loss() || self == Self::Vanished
    }
}

/// Why a listing or a fetch ended early, sorted by what the operator does next.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source is not there: no such directory or bucket, wrong endpoint.
    #[error("{source_name} is not there")]
    NotFound {
        /// Directory, or bucket and endpoint.
        source_name: String,
        /// The cause.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The credentials are missing, expired, or not allowed to do this.
    #[error("{operation} on {source_name} was refused")]
    Denied {
        /// What was tried.
        operation: &'static str,
        /// Directory, or bucket and endpoint.
        source_name: String,
        /// The cause.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The network or the disk failed for longer than retries last. The same job goes on later.
    #[error("{operation} on {source_name} failed after {attempts} attempts")]
    Lost {
        /// What was tried.
        operation: &'static str,
        /// Directory, or bucket and endpoint.
        source_name: String,
        /// How often.
        attempts: u32,
        /// The cause.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The other side breaks its protocol: keys that do not ascend, a page without its end.
    #[error("{source_name} sent a reply that cannot be trusted: {what}")]
    Protocol {
        /// Directory, or bucket and endpoint.
        source_name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The sink takes nothing any more; it knows why.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The operator wants to stop, or the visitor of a listing did.
    #[error("stopped")]
    Stopped,
}

/// The sink takes nothing any more. The side that implements it keeps the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("staging takes no more")]
pub struct SinkError;
