//! What a drive remembers while no process uses it.
//!
//! Where it stands lies in a record of 64 bytes that is overwritten in place after each command
//! that changed it; all that changes seldom lies in a JSON file. While blocks are appended the
//! record does not change: the drive stands where the last object ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::emulator::{
    drive::{pages::ModePages, reserve::Reservations},
    library::{bay_path, io_error, read_bay},
    tape::{StorageError, read_json, write_json},
};
use crate::scsi::sense::Code;

const MAGIC: &[u8; 8] = b"TVDRIVE1";
const RECORD_LEN: usize = 64;

/// The initiator that a handle speaks for unless it is told otherwise.
pub(crate) const FIRST_NEXUS: u64 = 0;

/// How far a cartridge is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// No cartridge.
    Empty,
    /// Unloaded: it sticks out.
    Ejected,
    /// In, but not threaded: LOAD is needed.
    Seated,
    /// Being threaded, for so many polls more.
    Loading(u32),
    /// Threaded.
    Ready,
}

/// Where a drive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) seat: Seat,
    /// Objects before the head.
    pub(crate) position: u64,
    /// Objects that are on the medium; later ones are in the buffer.
    pub(crate) flushed: u64,
    /// Whether objects were written since the last motion, so that end of data is not on the tape.
    pub(crate) appending: bool,
    /// Whether the drive lost its position.
    pub(crate) lost: bool,
    /// Whether removal is prevented.
    pub(crate) prevented: bool,
    /// How often the cartridge had been changed when the drive last looked.
    pub(crate) changes: u64,
}

/// What changes seldom.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registers {
    pub(crate) modes: ModePages,
    pub(crate) reservations: Reservations,
    /// Unit attentions that an initiator has not seen yet, oldest first, as ASC and ASCQ.
    pub(crate) attentions: BTreeMap<u64, Vec<(u8, u8)>>,
    /// TapeAlert flags that are set.
    pub(crate) alerts: BTreeSet<u8>,
    /// Whether the drive broke, and writes nothing more until the cartridge was unloaded.
    #[serde(default)]
    pub(crate) write_refused: bool,
    pub(crate) counters: Counters,
}

/// What the log pages count.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counters {
    /// Cartridges loaded, ever.
    pub(crate) loads: u64,
    pub(crate) power_cycles: u64,
    /// Bytes from and to the host since the counters were reset.
    pub(crate) bytes_written: u64,
    pub(crate) bytes_read: u64,
    /// The same since the last load.
    pub(crate) mount_written: u64,
    pub(crate) mount_read: u64,
    pub(crate) write_errors_corrected: u64,
    pub(crate) read_errors_corrected: u64,
    pub(crate) write_errors: u64,
    pub(crate) read_errors: u64,
    /// Tape that ever moved over the head.
    #[serde(default)]
    pub(crate) micrometres: u64,
}

/// The files of one drive.
#[derive(Debug)]
pub(crate) struct Files {
    record: File,
    record_path: PathBuf,
    registers_path: PathBuf,
    written: Option<[u8; RECORD_LEN]>,
}

impl Stand {
    pub(crate) const POWERED_ON: Self = Self {
        seat: Seat::Empty,
        position: 0,
        flushed: 0,
        appending: false,
        lost: false,
        prevented: false,
        changes: 0,
    };

    fn encode(&self) -> [u8; RECORD_LEN] {
        let (seat, polls) = match self.seat {
            Seat::Empty => (0, 0),
            Seat::Ejected => (1, 0),
            Seat::Seated => (2, 0),
            Seat::Loading(polls) => (3, polls),
            Seat::Ready => (4, 0),
        };
        // The head of a growing tape is not written down with each block.
        let position = if self.appending { 0 } else { self.position };
        let mut bytes = [0; RECORD_LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = seat;
        bytes[9] = u8::from(self.appending);
        bytes[10] = u8::from(self.lost);
        bytes[11] = u8::from(self.prevented);
        bytes[12..16].copy_from_slice(&polls.to_le_bytes());
        bytes[16..24].copy_from_slice(&position.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.flushed.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.changes.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; RECORD_LEN]) -> Option<Self> {
        let number =
            |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if &bytes[..8] != MAGIC {
            return None;
        }
        let polls = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes"));
        let seat = match bytes[8] {
            0 => Seat::Empty,
            1 => Seat::Ejected,
            2 => Seat::Seated,
            3 => Seat::Loading(polls),
            4 => Seat::Ready,
            _ => return None,
        };
        Some(Self {
            seat,
            position: number(16),
            flushed: number(24),
            appending: bytes[9] != 0,
            lost: bytes[10] != 0,
            prevented: bytes[11] != 0,
            changes: number(32),
        })
    }
}

impl Registers {
    /// What a drive knows when power comes on; the counters outlive that.
    pub(crate) fn powered_on(modes: ModePages, counters: Counters) -> Self {
        let attention = Code::POWER_ON_OR_RESET;
        Self {
            modes,
            reservations: Reservations::default(),
            attentions: BTreeMap::from([(FIRST_NEXUS, vec![(attention.asc, attention.ascq)])]),
            alerts: BTreeSet::new(),
            write_refused: false,
            counters,
        }
    }

    /// Tells every known initiator but `except` of an event.
    pub(crate) fn attention(&mut self, code: Code, except: Option<u64>) {
        for (nexus, pending) in &mut self.attentions {
            let entry = (code.asc, code.ascq);
            if Some(*nexus) != except && !pending.contains(&entry) {
                pending.push(entry);
            }
        }
    }
}

impl Files {
    /// Opens the files of drive `number` and reads them; `None` in place of what a drive that
    /// never had power does not know.
    pub(crate) fn open(
        dir: &Path,
        number: u16,
    ) -> Result<(Self, Option<Stand>, Option<Registers>), StorageError> {
        let record_path = record_path(dir, number);
        let registers_path = record_path.with_extension("json");
        let record = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&record_path)
            .map_err(io_error("open", &record_path))?;
        let stand = read_record(&record);
        let registers = registers_path.exists().then(|| read_json(&registers_path)).transpose()?;
        Ok((Self { record, record_path, registers_path, written: None }, stand, registers))
    }

    /// Writes down where the drive stands, if that has changed.
    pub(crate) fn save_stand(&mut self, stand: &Stand) -> Result<(), StorageError> {
        let bytes = stand.encode();
        if self.written != Some(bytes) {
            let written = self.record.write_all_at(&bytes, 0);
            written.map_err(io_error("write", &self.record_path))?;
            self.written = Some(bytes);
        }
        Ok(())
    }

    pub(crate) fn save_registers(&self, registers: &Registers) -> Result<(), StorageError> {
        write_json(&self.registers_path, registers)
    }
}

fn record_path(dir: &Path, number: u16) -> PathBuf {
    dir.join("drives").join(format!("drive{number}.state"))
}

fn read_record(file: &File) -> Option<Stand> {
    let mut bytes = [0; RECORD_LEN];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Stand::decode(&bytes)
}

/// What the robot feels when it reaches into a drive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bay {
    /// Whether the cartridge is threaded, or about to be.
    pub(crate) threaded: bool,
    /// Whether a host prevents removal.
    pub(crate) prevented: bool,
}

/// The bay of drive `number`, as another machine of the library finds it.
pub(crate) fn bay(dir: &Path, number: u16) -> Bay {
    let stand = File::open(record_path(dir, number)).ok().and_then(|file| read_record(&file));
    let Some(stand) = stand else { return Bay { threaded: false, prevented: false } };
    // A drive that has not noticed its cartridge yet has not threaded it either.
    let changes = File::open(bay_path(dir, number)).and_then(|file| read_bay(&file)).unwrap_or(0);
    let threaded = match stand.seat {
        Seat::Empty | Seat::Ejected | Seat::Seated => false,
        Seat::Loading(_) | Seat::Ready => stand.changes == changes,
    };
    Bay { threaded, prevented: stand.prevented }
}
