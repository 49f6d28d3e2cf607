//! Volume format 1: what lies on a cartridge, as pure codecs. `docs/format.md` is normative.

pub mod manifest;
pub mod run;
