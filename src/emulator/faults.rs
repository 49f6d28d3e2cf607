//! What is to go wrong: an overlay for tests and drills, apart from the truth on the cartridges.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::emulator::tape::{StorageError, read_json, write_json};
use crate::ident::Barcode;
use crate::scsi::cdb::{Command, SpaceCode};

/// One thing that goes wrong, and when. All conditions must hold; those left out hold always.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// In this drive, from 0. Faults of moves name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drive: Option<u16>,
    /// With this cartridge loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barcode: Option<Barcode>,
    /// At such a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandKind>,
    /// When the drive stands before this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<u64>,
    /// When the drive stands before this object or a later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_object: Option<u64>,
    /// Commands that meet the conditions and pass unharmed first.
    #[serde(default)]
    pub skip: u64,
    /// How often it happens then; for ever if that is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// What happens.
    pub effect: Effect,
}

/// Commands, sorted as faults tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandKind {
    /// READ.
    Read,
    /// WRITE.
    Write,
    /// WRITE FILEMARKS with at least one.
    Filemark,
    /// WRITE FILEMARKS with none.
    Flush,
    /// LOCATE.
    Locate,
    /// SPACE, but not to end of data.
    Space,
    /// SPACE to end of data.
    SpaceToEnd,
    /// REWIND.
    Rewind,
    /// LOAD UNLOAD with LOAD.
    Load,
    /// LOAD UNLOAD without.
    Unload,
    /// READ POSITION.
    Position,
    /// ERASE.
    Erase,
    /// READ or WRITE ATTRIBUTE.
    Attribute,
    /// MODE SENSE or MODE SELECT.
    Mode,
    /// LOG SENSE or LOG SELECT.
    Log,
    /// MOVE or EXCHANGE MEDIUM.
    Move,
    /// READ or INITIALIZE ELEMENT STATUS.
    Inventory,
    /// INQUIRY or REPORT LUNS, which answer in any state.
    Inquiry,
    /// Any other.
    Other,
}

/// What goes wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It never reaches the machine, and no reply comes.
    ReplyLostBefore,
    /// The machine does it, but no reply comes.
    ReplyLostAfter,
    /// The kernel refuses to send it.
    Refused,
    /// It is not done: the medium is bad here.
    MediumError,
    /// It is done, with some trouble.
    RecoveredError,
    /// It is done, and reported as past early warning.
    EarlyWarning,
    /// It is done, and reported as past programmable early warning.
    ProgrammableEarlyWarning,
    /// It is not done: the medium ends here.
    EndOfMedium,
    /// It is not done, since an earlier write turns out to have failed: so many of the last
    /// objects are gone, but none that was flushed.
    Deferred(u64),
    /// It is not done, since the drive was reset: so many of the last objects are gone, but none
    /// that was flushed, and the position is lost.
    Reset(u64),
    /// It is done; in the data that it delivers, this bit (from the front, most significant
    /// first) is flipped.
    FlipBit(u64),
    /// It is not done: sense key, additional sense code and qualifier.
    Sense(u8, u8, u8),
    /// It is done, then answered with sense key, additional sense code and qualifier.
    SenseAfter(u8, u8, u8),
    /// It is done, and this TapeAlert flag is raised.
    Alert(u8),
    /// It is not done: the drive breaks, and refuses to write until the cartridge was unloaded.
    HardwareError,
    /// It is not done: somebody set the drive's modes back.
    ParametersChanged,
    /// Before it is done, somebody else rewinds the tape and takes the unit attention.
    Rewound,
    /// Before it is done, the power fails and comes back: what was buffered is lost but for a
    /// prefix that this number chooses, and end of data may be missing.
    PowerLoss(u64),
    /// Before it is done, the cartridge's switch is moved.
    WriteProtect,
    /// A move that takes the cartridge of another place than it was told.
    WrongCartridge,
}

/// Sees the commands of all machines of a library that one process uses, in the order in which
/// they come, and says what goes wrong with them: faults by the number of a command, across drives
/// and changer.
pub trait Witness: Send + fmt::Debug {
    /// A command has come and was not looked at yet. What this returns goes before other faults.
    fn before(&mut self, command: &Circumstances) -> Option<Effect>;

    /// The same command is done, whatever it came to.
    fn after(&mut self, command: &Circumstances);
}

/// A witness that several machines share.
pub type SharedWitness = Arc<Mutex<dyn Witness>>;

/// The faults that a machine is under.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<Fault>,
    /// Where what is left of them is written down, for machines that are used by many processes.
    path: Option<PathBuf>,
    witness: Option<SharedWitness>,
}

impl Fault {
    /// Something that happens once, at the first command.
    pub fn once(effect: Effect) -> Self {
        Self { times: Some(1), ..Self::always(effect) }
    }

    /// Something that happens at every command.
    pub fn always(effect: Effect) -> Self {
        Self {
            drive: None,
            barcode: None,
            command: None,
            object: None,
            from_object: None,
            skip: 0,
            times: None,
            effect,
        }
    }

    /// The same, only at commands of this kind.
    pub fn at(self, command: CommandKind) -> Self {
        Self { command: Some(command), ..self }
    }

    /// The same, only before this object.
    pub fn before_object(self, object: u64) -> Self {
        Self { object: Some(object), ..self }
    }

    /// The same, only before this object or a later one.
    pub fn from_object(self, object: u64) -> Self {
        Self { from_object: Some(object), ..self }
    }

    /// The same, after so many commands that would meet the conditions.
    pub fn after(self, skip: u64) -> Self {
        Self { skip, ..self }
    }
}

/// What a command finds, for the conditions of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// The drive, from 0; `None` for the changer.
    pub drive: Option<u16>,
    /// The cartridge in the drive.
    pub barcode: Option<Barcode>,
    /// The command.
    pub kind: CommandKind,
    /// The object that the drive stands before, while a cartridge is threaded.
    pub object: Option<u64>,
}

impl Faults {
    /// The faults that `faults.json` in `dir` tells of, if there is one.
    pub(crate) fn read(dir: &Path) -> Result<Self, StorageError> {
        let path = dir.join("faults.json");
        let list = if path.exists() { read_json(&path)? } else { Vec::new() };
        Ok(Self { list, path: Some(path), witness: None })
    }

    /// Puts others in the place of these; they are not written down.
    pub(crate) fn replace(&mut self, list: Vec<Fault>) {
        *self = Self { list, path: None, witness: self.witness.take() };
    }

    /// Has a witness asked from now on.
    pub(crate) fn watch(&mut self, witness: SharedWitness) {
        self.witness = Some(witness);
    }

    /// Tells the witness that a command is done.
    pub(crate) fn done(&self, found: Circumstances) {
        if let Some(witness) = &self.witness {
            witness.lock().unwrap_or_else(PoisonError::into_inner).after(&found);
        }
    }

    /// Those that have not run out.
    pub(crate) fn left(&self) -> &[Fault] {
        &self.list
    }

    /// Whether nothing can go wrong any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.witness.is_none()
    }

    /// What happens to a command: what the witness says, or, of the faults whose conditions hold, the first.
    pub(crate) fn strike(&mut self, found: Circumstances) -> Result<Option<Effect>, StorageError> {
        if let Some(witness) = &self.witness {
            let effect = witness.lock().unwrap_or_else(PoisonError::into_inner).before(&found);
            if effect.is_some() {
                return Ok(effect);
            }
        }
        let holds = |fault: &Fault| {
            fault.drive.is_none_or(|drive| found.drive == Some(drive))
                && fault.barcode.is_none_or(|barcode| found.barcode == Some(barcode))
                && fault.command.is_none_or(|kind| found.kind == kind)
                && fault.object.is_none_or(|object| found.object == Some(object))
                && fault.from_object.is_none_or(|object| found.object >= Some(object))
        };
        let mut effect = None;
        let mut changed = false;
        for fault in self.list.iter_mut().filter(|fault| holds(fault)) {
            if fault.skip > 0 {
                fault.skip -= 1;
                changed = true;
            } else if effect.is_none() {
                effect = Some(fault.effect);
                if let Some(times) = &mut fault.times {
                    *times = times.saturating_sub(1);
                    changed = true;
                }
            }
        }
        if changed {
            self.list.retain(|fault| fault.times != Some(0));
            if let Some(path) = &self.path {
                write_json(path, &self.list)?;
            }
        }
        Ok(effect)
    }
}

impl CommandKind {
    pub(crate) fn of(command: &Command) -> Self {
        match command {
            Command::Read6 { .. } => Self::Read,
            Command::Write6 { .. } => Self::Write,
            Command::WriteFilemarks6 { count, .. } if count.get() == 0 => Self::Flush,
            Command::WriteFilemarks6 { .. } => Self::Filemark,
            Command::Locate10 { .. } | Command::Locate16 { .. } => Self::Locate,
            Command::Space6 { code: SpaceCode::EndOfData, .. }
            | Command::Space16 { code: SpaceCode::EndOfData, .. } => Self::SpaceToEnd,
            Command::Space6 { .. } | Command::Space16 { .. } => Self::Space,
            Command::Rewind { .. } => Self::Rewind,
            Command::LoadUnload { load: true, .. } => Self::Load,
            Command::LoadUnload { load: false, .. } => Self::Unload,
            Command::ReadPosition { .. } => Self::Position,
            Command::Erase6 { .. } | Command::FormatMedium { .. } => Self::Erase,
            Command::ReadAttribute { .. } | Command::WriteAttribute { .. } => Self::Attribute,
            Command::ModeSense6 { .. }
            | Command::ModeSense10 { .. }
            | Command::ModeSelect6 { .. }
            | Command::ModeSelect10 { .. } => Self::Mode,
            Command::LogSense { .. } | Command::LogSelect { .. } => Self::Log,
            Command::MoveMedium { .. } | Command::ExchangeMedium { .. } => Self::Move,
            Command::ReadElementStatus { .. }
            | Command::InitializeElementStatus
            | Command::InitializeElementStatusWithRange { .. } => Self::Inventory,
            Command::Inquiry { .. } | Command::ReportLuns { .. } => Self::Inquiry,
            Command::TestUnitReady
            | Command::RequestSense { .. }
            | Command::ReadBlockLimits
            | Command::AllowOverwrite { .. }
            | Command::SetCapacity { .. }
            | Command::Verify6 { .. }
            | Command::Reserve6
            | Command::Release6
            | Command::SendDiagnostic { .. }
            | Command::PreventAllow { .. }
            | Command::ReportDensitySupport { .. }
            | Command::PersistentReserveIn { .. }
            | Command::PersistentReserveOut { .. }
            | Command::SecurityProtocolIn { .. }
            | Command::SecurityProtocolOut { .. }
            | Command::ReportSupportedOperationCodes { .. }
            | Command::PositionToElement { .. } => Self::Other,
        }
    }
}
