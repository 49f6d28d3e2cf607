//! Exit codes. `docs/operating.md` lists them; scripts depend on them.

use std::process::ExitCode;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All of it was done.
    Done = 0,
    /// It was done, and something was found that somebody has to look at.
    Findings = 1,
    /// The command line or the config is wrong.
    Usage = 2,
    /// An operator is needed: a cartridge to be changed, a name to be typed, or it was stopped.
    Operator = 3,
    /// No cartridge can be used for this.
    NoMedia = 4,
    /// A drive, a library or its node failed.
    Device = 5,
    /// A source or the network failed.
    Source = 6,
    /// Staging, catalog or another file failed.
    Storage = 7,
    /// A bug in tapevault.
    Bug = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
