//! Volume format 1: what lies on a cartridge, as pure codecs. `docs/format.md` is normative.

pub mod index;
pub mod label;
pub mod lines;
pub mod manifest;
pub mod member;
pub mod run;
pub mod segment;
pub mod trailer;

/// The format that this writes, as labels and trailers state it.
pub const FORMAT: u32 = 1;

/// The folder, in every tar, of what is not the operator's.
pub const FOLDER: &str = ".tapevault";
