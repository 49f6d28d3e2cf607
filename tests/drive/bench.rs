//! A drive to try things on.

use std::{
    env, iter,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tapevault::{
    clock::{Clock, SystemClock, TestClock, Timestamp},
    drive::{Drive, DriveError, Filemark, Preparation, ReadOutcome, Written},
    emulator::{self, EmulatedDrive, Library, LibraryPlan, Settings},
    ident::Barcode,
    position::{ObjectNumber, Position},
    scsi::density::Generation,
    transport::sg::Sg,
    unit::{ByteCount, MIB},
};
use tempfile::TempDir;

pub(crate) const BLOCK: usize = 64 << 10;
pub(crate) const PREPARATION: Preparation =
    Preparation { block_size: 512 << 10, early_warning: ByteCount(0) };

/// One test at a time on a drive that there is only one of.
static TURN: Mutex<()> = Mutex::new(());

/// A drive, and what it stands on.
pub(crate) struct Bench {
    pub(crate) drive: Drive,
    pub(crate) place: Option<Place>,
    _turn: Option<MutexGuard<'static, ()>>,
}

/// An emulated library of one drive in a directory of its own.
pub(crate) struct Place {
    dir: TempDir,
    pub(crate) library: Library,
}

/// What one read met, with the block's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    Block(Vec<u8>),
    LongBlock(usize),
    Filemark,
    EndOfData,
}

pub(crate) fn barcode() -> Barcode {
    "TST001L8".parse().unwrap()
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(TestClock::at(Timestamp::from_parts(1_795_000_000, 0)))
}

/// A drive that holds a blank cartridge, ready and prepared, at the beginning.
pub(crate) fn loaded() -> Bench {
    let Some(node) = env::var_os("TAPEVAULT_TEST_DRIVE") else {
        let place = Place::new(Settings::default());
        place.shelve(256 * MIB, |_| {});
        place.library.push_in(0, barcode()).unwrap();
        let mut drive = place.open();
        drive.prepare(&PREPARATION).unwrap();
        return Bench { drive, place: Some(place), _turn: None };
    };
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let transport = Sg::open_tape(Path::new(&node)).unwrap();
    let mut drive = Drive::open(Box::new(transport), Arc::new(SystemClock::new())).unwrap();
    drive.wait_ready(std::time::Duration::from_secs(120)).unwrap();
    let medium = drive.medium().unwrap();
    assert!(
        drive.identity().emulated || medium.notes.barcode.starts_with("TST"),
        "the cartridge {:?} must not be overwritten: its barcode does not begin TST",
        medium.notes.barcode
    );
    drive.prepare(&PREPARATION).unwrap();
    drive.rewind().unwrap();
    drive.erase_here().unwrap();
    Bench { drive, place: None, _turn: Some(turn) }
}

impl Place {
    /// A library whose one drive is empty.
    pub(crate) fn new(settings: Settings) -> Self {
        Self::of(Generation::Lto8, settings)
    }

    pub(crate) fn of(generation: Generation, settings: Settings) -> Self {
        let dir = TempDir::new().unwrap();
        let plan = LibraryPlan { drives: 1, slots: 4, mail_slots: 1, generation, settings };
        let library = Library::create(dir.path(), &plan).unwrap();
        Self { dir, library }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Lays a cartridge on the shelf, changed as told.
    pub(crate) fn shelve(
        &self,
        capacity_bytes: u64,
        change: impl FnOnce(&mut emulator::Cartridge),
    ) {
        let mut cartridge = emulator::Cartridge::new(barcode(), Generation::Lto8, capacity_bytes);
        change(&mut cartridge);
        self.library.shelve_cartridge(&cartridge).unwrap();
    }

    pub(crate) fn transport(&self) -> EmulatedDrive {
        emulator::drive(self.dir(), 0).unwrap()
    }

    pub(crate) fn open(&self) -> Drive {
        self.open_with(self.transport())
    }

    pub(crate) fn open_with(&self, transport: EmulatedDrive) -> Drive {
        let mut drive = Drive::open(Box::new(transport), clock()).unwrap();
        drive.wait_ready(std::time::Duration::from_secs(120)).unwrap();
        drive
    }
}

/// A block of `length` bytes that no other `number` gives.
pub(crate) fn block(number: usize, length: usize) -> Vec<u8> {
    let seed = number.wrapping_mul(0x9E37_79B9) | 1;
    iter::successors(Some(seed), |last| Some(last.wrapping_mul(31).wrapping_add(number)))
        .map(|value| value.to_le_bytes()[1])
        .take(length)
        .collect()
}

pub(crate) fn read(drive: &mut Drive, length: usize) -> Result<Met, DriveError> {
    let mut buffer = vec![0xEE; length];
    Ok(match drive.read_block(&mut buffer)? {
        ReadOutcome::Block(length) => {
            buffer.truncate(length);
            Met::Block(buffer)
        }
        ReadOutcome::LongBlock { bytes } => Met::LongBlock(bytes),
        ReadOutcome::Filemark => Met::Filemark,
        ReadOutcome::EndOfData => Met::EndOfData,
    })
}

/// All objects from here to end of data.
pub(crate) fn read_all(drive: &mut Drive) -> Vec<Met> {
    let mut all = Vec::new();
    loop {
        match read(drive, 512 << 10).unwrap() {
            Met::EndOfData => return all,
            met @ (Met::Block(_) | Met::LongBlock(_) | Met::Filemark) => all.push(met),
        }
    }
}

/// Writes `blocks` blocks and a filemark, `files` times, and flushes.
pub(crate) fn write_files(drive: &mut Drive, files: usize, blocks: usize) -> Position {
    for file in 0..files {
        for number in 0..blocks {
            let written = drive.write_block(&block(file * 100 + number, BLOCK)).unwrap();
            assert_eq!(written, Written::Clear);
        }
        drive.write_filemark(Filemark::Immediate).unwrap();
    }
    drive.flush().unwrap()
}

pub(crate) fn object(number: u64) -> ObjectNumber {
    ObjectNumber(number)
}
