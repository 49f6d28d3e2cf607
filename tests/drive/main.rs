//! The driver's prose, sentence by sentence, on a drive.
//!
//! `loaded` runs on any drive with a cartridge that may be overwritten: the emulated one in this
//! process or, when `TAPEVAULT_TEST_DRIVE` names a node, that one. On hardware the cartridge's
//! barcode, as its chip has it, must begin `TST`. `hands` and `accidents` need somebody who
//! changes cartridges, cuts the power and breaks things: only the emulator has that.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod accidents;
mod bench;
mod conventions;
mod hands;
mod loaded;
mod safeguards;
