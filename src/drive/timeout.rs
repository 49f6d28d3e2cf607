//! How long each command may take before the kernel gives up on it.
//!
//! A timeout makes the kernel abort the command and reset the drive, which loses the position and
//! what is buffered, so the values are generous. They are the LTFS reference implementation's
//! by drive; what the drive itself recommends comes first.

use std::time::Duration;

use crate::scsi::{
    cdb::{opcode, support::Supported},
    density::Generation,
};

/// For commands that move nothing.
const PLAIN: u64 = 60;
/// A self-test of the drive.
const DIAGNOSTIC: u64 = 2000;

/// What a drive is, as far as its pace depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Height {
    Full,
    Half,
}

/// Seconds by kind of command, for one model.
#[derive(Clone, Copy, Debug)]
struct Row {
    generation: Generation,
    height: Height,
    erase: u64,
    format: u64,
    load: u64,
    locate: u64,
    space: u64,
    read: u64,
    rewind: u64,
    verify: u64,
    write: u64,
    filemarks: u64,
    capacity: u64,
}

const fn row(generation: Generation, height: Height, seconds: [u64; 11]) -> Row {
    let [erase, format, load, locate, space, read, rewind, verify, write, filemarks, capacity] =
        seconds;
    Row {
        generation,
        height,
        erase,
        format,
        load,
        locate,
        space,
        read,
        rewind,
        verify,
        write,
        filemarks,
        capacity,
    }
}

use Generation::{Lto5, Lto6, Lto7, Lto8, Lto9, Lto10};
use Height::{Full, Half};

/// ERASE, FORMAT, LOAD UNLOAD, LOCATE, SPACE, READ, REWIND, VERIFY, WRITE, WRITE FILEMARKS, SET
/// CAPACITY.
const TABLE: [Row; 12] = [
    row(Lto5, Full, [16380, 1560, 780, 2040, 2040, 1500, 600, 16920, 1500, 1620, 780]),
    row(Lto5, Half, [19200, 1980, 1020, 2700, 2700, 1920, 780, 19980, 1920, 1740, 960]),
    row(Lto6, Full, [24600, 3000, 780, 2940, 2040, 1500, 600, 25200, 1500, 1620, 780]),
    row(Lto6, Half, [29400, 3840, 1020, 2700, 2700, 1920, 780, 30000, 1920, 1740, 960]),
    row(Lto7, Full, [27540, 3000, 960, 2880, 2880, 2280, 600, 28860, 1500, 1620, 780]),
    row(Lto7, Half, [27540, 3240, 960, 2940, 2940, 2340, 600, 28860, 1560, 1680, 960]),
    row(Lto8, Full, [54896, 3000, 960, 2880, 2880, 2280, 600, 47700, 1500, 1620, 780]),
    row(Lto8, Half, [121_448, 3240, 960, 2940, 2940, 2340, 600, 54360, 1560, 1680, 960]),
    row(Lto9, Full, [74341, 3000, 960, 2940, 2940, 2340, 600, 63300, 1500, 1620, 780]),
    row(Lto9, Half, [166_370, 3240, 960, 2940, 2940, 2340, 600, 63300, 1560, 1680, 960]),
    row(Lto10, Full, [16320, 3180, 780, 2940, 2940, 2340, 600, 104_880, 1500, 1620, 780]),
    row(Lto10, Half, [166_370, 3240, 960, 3940, 3940, 2340, 600, 104_880, 1560, 1680, 960]),
];

/// For a drive that is in no row: the slowest of each.
const UNKNOWN: Row =
    row(Lto10, Half, [166_370, 3840, 1020, 3940, 3940, 2340, 780, 104_880, 1920, 1740, 960]);

/// The timeouts of one drive.
#[derive(Clone, Debug)]
pub(super) struct Timeouts {
    row: Row,
    /// What the drive recommends, by operation code.
    recommended: Vec<(u8, Duration)>,
}

impl Timeouts {
    /// The table's values for a drive.
    pub(super) fn of(generation: Option<Generation>, height: Height) -> Self {
        let row = TABLE
            .iter()
            .find(|row| Some(row.generation) == generation && row.height == height)
            .copied()
            .unwrap_or(UNKNOWN);
        Self { row, recommended: Vec::new() }
    }

    /// With what the drive recommends, where it recommends anything.
    pub(super) fn recommended(mut self, commands: &[Supported]) -> Self {
        self.recommended = commands
            .iter()
            .filter(|command| command.action.is_none())
            .filter_map(|command| Some((command.opcode, command.timeouts?.recommended)))
            .filter(|(_, recommended)| *recommended >= Duration::from_secs(PLAIN))
            .collect();
        self
    }

    /// How long the command with this operation code may take.
    pub(super) fn of_command(&self, opcode: u8) -> Duration {
        let recommended = self.recommended.iter().find(|(known, _)| *known == opcode);
        match recommended {
            Some((_, recommended)) => *recommended,
            None => Duration::from_secs(self.table(opcode)),
        }
    }

    fn table(&self, code: u8) -> u64 {
        match code {
            opcode::READ_6 => self.row.read,
            opcode::WRITE_6 => self.row.write,
            opcode::WRITE_FILEMARKS_6 => self.row.filemarks,
            opcode::SPACE_6 | opcode::SPACE_16 => self.row.space,
            opcode::LOCATE_10 | opcode::LOCATE_16 => self.row.locate,
            opcode::ERASE_6 => self.row.erase,
            opcode::FORMAT_MEDIUM => self.row.format,
            opcode::SET_CAPACITY => self.row.capacity,
            opcode::VERIFY_6 => self.row.verify,
            opcode::SEND_DIAGNOSTIC => DIAGNOSTIC,
            // These first write what is buffered.
            opcode::REWIND => self.row.rewind.max(self.row.filemarks),
            opcode::LOAD_UNLOAD => self.row.load.max(self.row.filemarks),
            opcode::MODE_SELECT_6 | opcode::MODE_SELECT_10 | opcode::WRITE_ATTRIBUTE => {
                self.row.filemarks
            }
            _ => PLAIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::cdb::support;

    #[test]
    fn the_drive_knows_better_than_the_table() {
        let table = Timeouts::of(Some(Lto8), Half);
        assert_eq!(table.of_command(opcode::WRITE_6), Duration::from_secs(1560));
        assert_eq!(table.of_command(opcode::REWIND), Duration::from_secs(1680));
        assert_eq!(table.of_command(opcode::INQUIRY), Duration::from_secs(60));
        let says = |opcode, seconds| Supported {
            opcode,
            action: None,
            length: 6,
            timeouts: Some(support::Timeouts {
                nominal: Duration::ZERO,
                recommended: Duration::from_secs(seconds),
            }),
        };
        let drive = table.recommended(&[says(opcode::WRITE_6, 700), says(opcode::READ_6, 0)]);
        assert_eq!(drive.of_command(opcode::WRITE_6), Duration::from_secs(700));
        assert_eq!(drive.of_command(opcode::READ_6), Duration::from_secs(2340));
    }

    #[test]
    fn an_unknown_drive_gets_the_slowest_of_each() {
        let unknown = Timeouts::of(None, Full);
        for row in &TABLE {
            let known = Timeouts { row: *row, recommended: Vec::new() };
            for code in 0..=u8::MAX {
                assert!(unknown.of_command(code) >= known.of_command(code), "{row:?} {code:#x}");
            }
        }
    }
}
