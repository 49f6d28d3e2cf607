//! The final block of a tape file: a trailer member, by which the file is known from its end.
//!
//! The trailer begins where the final block begins, so that this one block tells all.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::clock::Timestamp;
use crate::tar::{self, Head, Names, UNIT};
use crate::volume::{FOLDER, index, segment};

/// Bytes of a trailer's content, blanks at its end included.
pub const TRAILER_BYTES: usize = 1024;
/// The smallest block that a volume may have, in bytes. A whole trailer with the end units fits.
pub const BLOCK_MIN: u32 = 4096;
/// The largest block, in bytes: stock readers are told to take blocks of up to 1 MiB.
pub const BLOCK_MAX: u32 = 1 << 20;

const NAME: &str = "TRAILER.json";

/// What a trailer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trailer", rename_all = "kebab-case")]
pub enum Trailer {
    /// That a segment ends here.
    Segment(segment::Trailer),
    /// That a volume index ends here.
    Index(index::Trailer),
}

/// Why a block is not the final one of a tape file.
#[derive(Debug, thiserror::Error)]
pub enum TrailerError {
    /// It does not begin with a trailer: the tape file is not finished, or not one of ours.
    #[error("the block does not begin with a trailer")]
    None,
    /// It begins with a trailer that cannot be read.
    #[error("the trailer is damaged")]
    Damaged(#[source] serde_json::Error),
    /// The trailer belongs to a later format.
    #[error("the trailer is of format {0}, which is later than this program")]
    Later(u32),
    /// The trailer states another number of blocks than stand before the filemark: something is
    /// missing or repeated in front of it.
    #[error("the trailer is for {stated} blocks, and {found} stand before the filemark")]
    Blocks {
        /// What it states.
        stated: u64,
        /// What the tape file has.
        found: u64,
    },
    /// The trailer states another block size than the block has.
    #[error("the trailer is for blocks of {stated} bytes, and this one has {found}")]
    BlockSize {
        /// What it states, in bytes.
        stated: u32,
        /// What the block has, in bytes.
        found: usize,
    },
}

/// Whether a volume may have blocks of `bytes`.
pub fn is_block_size(bytes: u32) -> bool {
    (BLOCK_MIN..=BLOCK_MAX).contains(&bytes) && bytes.is_multiple_of(512)
}

/// The folder of one tape file's own members.
pub fn folder(id: &impl std::fmt::Display) -> String {
    format!("{FOLDER}/{id}")
}

/// The whole final block: trailer, end of archive, zeros.
///
/// # Panics
///
/// When the block size is not one that a volume may have.
pub fn encode(trailer: &Trailer, created: Timestamp) -> Vec<u8> {
    let (folder, block_size) = match trailer {
        Trailer::Segment(segment) => (folder(&segment.segment), segment.block_size),
        Trailer::Index(index) => (folder(&index.index), index.block_size),
    };
    assert!(is_block_size(block_size), "blocks of {block_size} bytes");
    let mut block = encode_own(format!("{folder}/{NAME}"), TRAILER_BYTES as u64, created);
    serde_json::to_writer(&mut block, trailer).expect("a trailer is JSON, and memory takes it");
    assert!(block.len() < UNIT + TRAILER_BYTES, "a trailer has a bounded size");
    block.resize(UNIT + TRAILER_BYTES - 1, b' ');
    block.push(b'\n');
    block.resize(usize::try_from(block_size).expect("at most 1 MiB"), 0);
    block
}

/// The head of a member that is not the operator's, made in whole seconds so that it needs no
/// extended header.
pub(super) fn own_head(path: String, bytes: u64, created: Timestamp) -> Head {
    Head::file(path, bytes, Timestamp::from_parts(created.parts().0.max(0), 0))
}

/// [`own_head`] in exactly one unit.
///
/// # Panics
///
/// When the path or the length does not fit a unit.
pub(super) fn encode_own(path: String, bytes: u64, created: Timestamp) -> Vec<u8> {
    let unit = own_head(path, bytes, created).encode().expect("a name of ours is a good one");
    assert_eq!(unit.len(), UNIT, "a member of ours needs no extended header");
    unit
}

/// Reads the final block of a tape file.
///
/// # Errors
///
/// When it is not one.
pub fn decode(block: &[u8]) -> Result<Trailer, TrailerError> {
    let mut reader = tar::Reader::new(block, Names::Safe);
    let found = reader.next_member().ok().flatten().ok_or(TrailerError::None)?;
    let name = found.head.path.strip_prefix(FOLDER).and_then(|path| path.strip_suffix(NAME));
    let sized = found.data == UNIT as u64 && found.stored == TRAILER_BYTES as u64;
    if name.is_none() || !sized {
        return Err(TrailerError::None);
    }
    let json = block.get(UNIT..UNIT + TRAILER_BYTES).ok_or(TrailerError::None)?;
    let format = parse::<Format>(json)?.format;
    if format > super::FORMAT {
        return Err(TrailerError::Later(format));
    }
    let trailer: Trailer = parse(json)?;
    let stated = match &trailer {
        Trailer::Segment(segment) => segment.block_size,
        Trailer::Index(index) => index.block_size,
    };
    if usize::try_from(stated) != Ok(block.len()) {
        return Err(TrailerError::BlockSize { stated, found: block.len() });
    }
    Ok(trailer)
}

/// Reads the final block of a tape file that has `blocks` blocks before its filemark. Only what
/// passes this exists as a segment or index.
///
/// # Errors
///
/// When the tape file is not a whole one.
pub fn confirm(block: &[u8], blocks: u64) -> Result<Trailer, TrailerError> {
    let trailer = decode(block)?;
    let stated = match &trailer {
        Trailer::Segment(segment) => segment.blocks,
        Trailer::Index(index) => index.blocks,
    };
    if stated == blocks { Ok(trailer) } else { Err(TrailerError::Blocks { stated, found: blocks }) }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, TrailerError> {
    serde_json::from_slice(json).map_err(TrailerError::Damaged)
}
