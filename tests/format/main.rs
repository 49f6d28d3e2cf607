//! Volume format 1 as others see it: golden volumes, stock readers, broken inputs, `recover.sh`.
//!
//! `docs/format.md` is what these hold the code to. A golden volume is a folder in which tape file
//! N is `N.tar`; none is written again once format 1 is frozen.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod broken;
mod build;
mod cases;
mod golden;
mod hard;
mod recover;
mod stock;
