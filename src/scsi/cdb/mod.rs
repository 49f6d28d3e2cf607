//! Command descriptor blocks: every command that the drivers send or the emulator answers.

mod command;
mod decode;
mod encode;
mod field;
pub mod opcode;
pub mod support;
#[cfg(test)]
mod tests;

pub use command::{
    AttributeAction, Command, Format, LocateTarget, LogControl, OpcodeQuery, Overwrite,
    PageControl, PositionForm, ReserveInAction, ReserveOutAction, SpaceCode,
};
pub use decode::{CdbError, Peripheral};
pub use field::{Cdb, TooLong, U24};
