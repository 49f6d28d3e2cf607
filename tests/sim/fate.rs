//! What goes wrong, and when.

use std::{
    collections::BTreeMap,
    panic,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use rusqlite::Connection;
use tapevault::{
    emulator::{Circumstances, CommandKind, Effect, Witness},
    ident::{Barcode, Volser},
};

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The object lands, and the end of the tape is near.
    EarlyWarning,
    /// The object lands, and the end of the tape is nearer than was asked to be told.
    ProgrammableEarlyWarning,
    /// The object does not land: the tape ends here.
    EndOfMedium,
    /// The object does not land: the medium is bad here.
    WriteError,
    /// The medium cannot be read here.
    ReadError,
    /// An earlier object did not land, and it alone.
    DeferredLast,
    /// Nothing landed that was not flushed.
    DeferredAll,
    /// The drive breaks, and writes no more before the cartridge was unloaded.
    Hardware,
    /// The drive gave the command up before it did anything.
    Aborted,
    /// The drive gave the command up when all was done.
    AbortedAfter,
    /// It worked, with some trouble.
    Recovered,
    /// The drive was reset: what was not flushed is gone, and the position.
    Reset,
    /// The drive was reset; nothing but the position is gone.
    ResetGently,
    /// Somebody changed the modes.
    ParametersChanged,
    /// The command never arrived, and no reply came.
    LostBefore,
    /// The command was done, and no reply came.
    LostAfter,
    /// The kernel would not send it.
    Refused,
    /// Somebody else rewound the tape, and took the unit attention.
    ///
    /// Never between the blocks of a tape file: there the reservation keeps others away, and
    /// nothing could tell.
    Rewound,
    /// A bit is flipped in what was read.
    FlippedBit,
    /// The drive lost its power, and what it had not flushed with it.
    PowerLoss,
    /// The cartridge's switch was moved.
    WriteProtected,
    /// The robot's hand does not reach.
    MoveFails,
    /// The robot finds the place taken.
    ElementFull,
    /// The robot takes another cartridge.
    WrongCartridge,
    /// The drive is busy with itself, for [`BUSY`] commands.
    NotReady,
    /// The process is killed before the command.
    Killed,
    /// The process is killed when the command is done.
    KilledAfter,
    /// Process and drive lose their power; what was removed without a sync is there again.
    Blackout,
    /// The disk of the catalog is full, until somebody makes room: it takes no more writes.
    CatalogFull,
}

/// Commands during which a busy drive stays so.
const BUSY: u64 = 20;

/// What the process dies of, when it is killed.
#[derive(Debug)]
pub(crate) struct Death;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accident {
    pub(crate) kind: Kind,
    /// At this command, counted from 0 over all that the history sends.
    pub(crate) at: u64,
    /// At every command of the kind from then on: of this cartridge, or until the operator has
    /// mended the drive.
    pub(crate) lasting: bool,
}

/// Watches the wire of one history.
#[derive(Debug)]
pub(crate) struct Fate {
    accidents: Vec<Accident>,
    /// Which of them have happened.
    happened: Vec<bool>,
    /// Commands until now.
    pub(crate) commands: u64,
    /// Moves until now.
    pub(crate) moves: u64,
    /// Where the lasting trouble is.
    cartridge: Option<Barcode>,
    /// Whether the operator has had the drive mended.
    mended: bool,
    pub(crate) struck: bool,
    dying: bool,
    /// What was committed on each volume: nothing before may be written.
    floors: Floors,
    /// Writes below a floor.
    pub(crate) overwritten: Vec<String>,
    /// What was sent.
    pub(crate) trace: Vec<Circumstances>,
    catalog: PathBuf,
}

/// Ends of volumes as they were committed.
pub(crate) type Floors = Arc<Mutex<BTreeMap<Volser, u64>>>;

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 29] = [
        Self::EarlyWarning,
        Self::ProgrammableEarlyWarning,
        Self::EndOfMedium,
        Self::WriteError,
        Self::ReadError,
        Self::DeferredLast,
        Self::DeferredAll,
        Self::Hardware,
        Self::Aborted,
        Self::AbortedAfter,
        Self::Recovered,
        Self::Reset,
        Self::ResetGently,
        Self::ParametersChanged,
        Self::LostBefore,
        Self::LostAfter,
        Self::Refused,
        Self::Rewound,
        Self::FlippedBit,
        Self::PowerLoss,
        Self::WriteProtected,
        Self::MoveFails,
        Self::ElementFull,
        Self::WrongCartridge,
        Self::NotReady,
        Self::Killed,
        Self::KilledAfter,
        Self::Blackout,
        Self::CatalogFull,
    ];

    /// Whether it can last, and does not only repeat what happened once.
    pub(crate) fn lasts(self) -> bool {
        match self {
            Self::EarlyWarning
            | Self::ProgrammableEarlyWarning
            | Self::EndOfMedium
            | Self::WriteError
            | Self::ReadError
            | Self::Hardware
            | Self::Aborted
            | Self::Recovered
            | Self::LostBefore
            | Self::LostAfter
            | Self::Refused
            | Self::FlippedBit
            | Self::MoveFails
            | Self::ElementFull => true,
            Self::DeferredLast
            | Self::DeferredAll
            | Self::AbortedAfter
            | Self::Reset
            | Self::ResetGently
            | Self::ParametersChanged
            | Self::Rewound
            | Self::PowerLoss
            | Self::WriteProtected
            | Self::WrongCartridge
            | Self::NotReady
            | Self::Killed
            | Self::KilledAfter
            | Self::Blackout
            | Self::CatalogFull => false,
        }
    }

    /// Whether it is the cartridge's and goes where that goes.
    fn is_of_medium(self) -> bool {
        matches!(
            self,
            Self::EarlyWarning
                | Self::ProgrammableEarlyWarning
                | Self::EndOfMedium
                | Self::WriteError
                | Self::ReadError
        )
    }

    /// Whether it can happen to such a command.
    pub(crate) fn fits(self, command: &Circumstances) -> bool {
        use CommandKind as C;
        let is_drive = command.drive.is_some();
        let threaded = command.object.is_some();
        let writes = matches!(command.kind, C::Write | C::Filemark);
        match self {
            Self::EarlyWarning | Self::ProgrammableEarlyWarning | Self::EndOfMedium => writes,
            Self::WriteError => writes || command.kind == C::Flush,
            Self::ReadError => {
                matches!(command.kind, C::Read | C::Locate | C::Space | C::SpaceToEnd)
            }
            Self::DeferredLast | Self::DeferredAll => {
                writes
                    || matches!(
                        command.kind,
                        C::Flush | C::Locate | C::Rewind | C::SpaceToEnd | C::Unload
                    )
            }
            Self::FlippedBit => command.kind == C::Read,
            Self::WriteProtected => writes || command.kind == C::Flush,
            Self::Rewound => is_drive && threaded && !writes,
            Self::MoveFails | Self::ElementFull | Self::WrongCartridge => command.kind == C::Move,
            Self::Reset | Self::ResetGently | Self::PowerLoss | Self::NotReady => {
                is_drive && threaded && command.kind != C::Inquiry
            }
            Self::Hardware | Self::ParametersChanged | Self::Recovered => {
                is_drive && command.kind != C::Inquiry
            }
            Self::Aborted
            | Self::AbortedAfter
            | Self::LostBefore
            | Self::LostAfter
            | Self::Refused
            | Self::Killed
            | Self::KilledAfter
            | Self::Blackout
            | Self::CatalogFull => true,
        }
    }

    /// What the ledger says when it strikes while objects are written, and the job gets over it by
    /// itself; nothing when it is part of a tape's life. `None` when somebody has to help.
    pub(crate) fn trouble(self) -> Option<&'static str> {
        Some(match self {
            Self::EarlyWarning
            | Self::ProgrammableEarlyWarning
            | Self::EndOfMedium
            | Self::Recovered => "",
            // Where early warning begins, that is what the drive says.
            Self::AbortedAfter => "",
            Self::WriteError => "medium error",
            Self::DeferredLast | Self::DeferredAll => "an earlier write failed",
            Self::Hardware => "hardware error",
            Self::Aborted | Self::LostBefore | Self::LostAfter => {
                "whether the command acted is not known"
            }
            Self::Reset | Self::ResetGently | Self::ParametersChanged | Self::PowerLoss => {
                "the drive was disturbed"
            }
            Self::WriteProtected => "write protected",
            Self::ReadError
            | Self::Refused
            | Self::Rewound
            | Self::FlippedBit
            | Self::MoveFails
            | Self::ElementFull
            | Self::WrongCartridge
            | Self::NotReady
            | Self::Killed
            | Self::KilledAfter
            | Self::Blackout
            | Self::CatalogFull => return None,
        })
    }

    fn effect(self, at: u64) -> Option<Effect> {
        Some(match self {
            Self::EarlyWarning => Effect::EarlyWarning,
            Self::ProgrammableEarlyWarning => Effect::ProgrammableEarlyWarning,
            Self::EndOfMedium => Effect::EndOfMedium,
            Self::WriteError => Effect::MediumError,
            Self::ReadError => Effect::MediumError,
            Self::DeferredLast => Effect::Deferred(1),
            Self::DeferredAll => Effect::Deferred(u64::MAX),
            Self::Hardware => Effect::HardwareError,
            // 47h: a protocol service CRC error; 4Bh: a data phase error.
            Self::Aborted => Effect::Sense(0x0B, 0x47, 0x00),
            Self::AbortedAfter => Effect::SenseAfter(0x0B, 0x4B, 0x00),
            Self::Recovered => Effect::RecoveredError,
            Self::Reset => Effect::Reset(u64::MAX),
            Self::ResetGently => Effect::Reset(0),
            Self::ParametersChanged => Effect::ParametersChanged,
            Self::LostBefore => Effect::ReplyLostBefore,
            Self::LostAfter => Effect::ReplyLostAfter,
            Self::Refused => Effect::Refused,
            Self::Rewound => Effect::Rewound,
            Self::FlippedBit => Effect::FlipBit(8 * 1000),
            Self::PowerLoss => Effect::PowerLoss(at),
            Self::WriteProtected => Effect::WriteProtect,
            Self::MoveFails => Effect::Sense(0x04, 0x15, 0x01),
            Self::ElementFull => Effect::Sense(0x05, 0x3B, 0x0D),
            Self::WrongCartridge => Effect::WrongCartridge,
            Self::NotReady => Effect::Sense(0x02, 0x04, 0x01),
            Self::Killed | Self::KilledAfter | Self::Blackout | Self::CatalogFull => return None,
        })
    }
}

impl Fate {
    /// That these accidents happen.
    pub(crate) fn new(accidents: &[Accident], floors: Floors, catalog: PathBuf) -> Self {
        Self {
            accidents: accidents.to_vec(),
            happened: vec![false; accidents.len()],
            commands: 0,
            moves: 0,
            cartridge: None,
            mended: false,
            struck: false,
            dying: false,
            floors,
            overwritten: Vec::new(),
            trace: Vec::new(),
            catalog,
        }
    }

    /// The operator has looked after the drive, the library and the disks.
    pub(crate) fn mend(&mut self) {
        self.mended = true;
        self.make_room();
    }

    /// The catalog takes writes again.
    pub(crate) fn make_room(&self) {
        if self.accidents.iter().any(|accident| accident.kind == Kind::CatalogFull) {
            let connection = Connection::open(&self.catalog).unwrap();
            let triggers: Vec<String> = names(&connection, TRIGGERS);
            let drops = triggers.iter().map(|name| format!("DROP TRIGGER \"{name}\";"));
            connection.execute_batch(&drops.collect::<String>()).unwrap();
        }
    }

    /// Fills the disk of the catalog, if its time has come. While a transaction is under way the
    /// next command will do.
    fn fill_catalog(&mut self) {
        for number in 0..self.accidents.len() {
            let Accident { kind, at, .. } = self.accidents[number];
            if kind == Kind::CatalogFull && self.commands >= at && !self.happened[number] {
                self.happened[number] = refuse_writes(&self.catalog).is_ok();
                self.struck |= self.happened[number];
            }
        }
    }

    /// Whether an accident happens at this command. The first of a history comes at its very
    /// command, the others at the next that they fit: nobody knows what comes after the first.
    fn strikes(&mut self, number: usize, command: &Circumstances) -> bool {
        let Accident { kind, at, lasting } = self.accidents[number];
        if self.commands < at || !kind.fits(command) || kind == Kind::CatalogFull {
            return false;
        }
        if !self.happened[number] && (number > 0 || self.commands == at) {
            self.happened[number] = true;
            self.cartridge = if number == 0 { command.barcode } else { self.cartridge };
            return true;
        }
        if kind == Kind::NotReady && self.commands < at + BUSY && !self.mended {
            return true;
        }
        lasting
            && if kind.is_of_medium() {
                command.barcode == self.cartridge && self.cartridge.is_some()
            } else {
                !self.mended
            }
    }

    fn guard(&mut self, command: &Circumstances) {
        let writes =
            matches!(command.kind, CommandKind::Write | CommandKind::Filemark | CommandKind::Erase);
        let (true, Some(barcode), Some(object)) = (writes, command.barcode, command.object) else {
            return;
        };
        let floors = self.floors.lock().unwrap();
        if let Some(floor) = floors.get(&barcode.volser())
            && object < *floor
        {
            let what =
                format!("{:?} at object {object} of {barcode}, committed to {floor}", command.kind);
            self.overwritten.push(what);
        }
    }
}

impl Witness for Fate {
    fn before(&mut self, command: &Circumstances) -> Option<Effect> {
        self.guard(command);
        self.trace.push(*command);
        self.moves += u64::from(command.kind == CommandKind::Move);
        self.fill_catalog();
        let hit = (0..self.accidents.len()).find(|number| self.strikes(*number, command));
        let number = self.commands;
        self.commands += 1;
        let Accident { kind, .. } = self.accidents[hit?];
        self.struck = true;
        if matches!(kind, Kind::Killed | Kind::Blackout) {
            panic::panic_any(Death);
        }
        self.dying = kind == Kind::KilledAfter;
        kind.effect(number)
    }

    fn after(&mut self, _command: &Circumstances) {
        if std::mem::take(&mut self.dying) {
            panic::panic_any(Death);
        }
    }
}

const TABLES: &str = "SELECT name FROM pragma_table_list
    WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite%'";
const TRIGGERS: &str =
    "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'full_%'";

fn names(connection: &Connection, query: &str) -> Vec<String> {
    let mut statement = connection.prepare(query).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

/// Has a catalog refuse every write from now on, whoever comes.
fn refuse_writes(catalog: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(catalog)?;
    connection.busy_timeout(Duration::ZERO)?;
    let mut batch = "BEGIN IMMEDIATE;".to_owned();
    for table in names(&connection, TABLES) {
        for change in ["INSERT", "UPDATE", "DELETE"] {
            batch.push_str(&format!(
                "CREATE TRIGGER \"full_{table}_{change}\" BEFORE {change} ON \"{table}\" \
                 BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END;"
            ));
        }
    }
    batch.push_str("COMMIT;");
    connection.execute_batch(&batch)
}
