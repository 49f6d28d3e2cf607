//! Members: immutable packs of manifest entries, and what finds a pack.

mod check;
mod columns;
mod facts;
mod ingest;
mod keys;
mod pack;
mod read;

pub use check::Flaw;
pub use read::Entries;

pub(in crate::catalog) use columns::{
    Damage, GROUP, Reader, Writer, length_of, put_varint, shared, take, unzigzag, varint, zigzag,
};
pub(in crate::catalog) use facts::Facts;
pub(in crate::catalog) use ingest::{bounded_size, name_source};
pub(in crate::catalog) use keys::Keys;
pub(in crate::catalog) use pack::{Pack, group};
pub(in crate::catalog) use read::damaged;

/// Members in one pack. Larger ones save 2 bytes a member and cost every hit of a scattered search
/// the time to unpack them.
pub(in crate::catalog) const PACK: usize = 512;
/// The index by trigram numbers groups by the pack, these many bits to the left, and its group.
pub(in crate::catalog) const GROUP_BITS: u32 = 3;

const _: () = assert!(PACK == GROUP << GROUP_BITS);

/// Text that was stored as such.
pub(in crate::catalog) fn text_of(bytes: &[u8]) -> Result<String, Damage> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "text is not UTF-8")
}
