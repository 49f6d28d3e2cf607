//! Tar members as format 1 writes them: headers, names, sparse maps, and a strict reader. Pure.
//!
//! A member is one or more header units ([`Head::encode`]), its data, and zeros up to a whole unit.
//! Everything that does not fit the ustar fields goes into a pax `x` header in front. What GNU tar,
//! bsdtar and Python's tarfile accept without a word was tried, and `docs/format.md` says which
//! forms that rules out.

mod extended;
pub mod fill;
pub mod head;
pub mod name;
mod pax;
pub mod reader;
pub mod sparse;

pub use fill::{FILLER_MAX, FILLER_MIN, filler, fillers};
pub use head::{Encoded, Head, HeadError, MemberKind};
pub(crate) use pax::push_number;
pub use reader::{Found, Names, ReadError, Reader};

/// Bytes of one unit: tar headers and data are padded to it.
pub const UNIT: usize = 512;

/// [`UNIT`] as a length of data.
const UNIT_BYTES: u64 = 512;

/// The two zero units that end an archive.
pub const END: [u8; 2 * UNIT] = [0; 2 * UNIT];

/// Zeros that follow `len` bytes of data, up to a whole unit. Below [`UNIT`].
pub fn padding(len: u64) -> usize {
    let over = len % UNIT_BYTES;
    usize::try_from((UNIT_BYTES - over) % UNIT_BYTES).expect("below a unit")
}
