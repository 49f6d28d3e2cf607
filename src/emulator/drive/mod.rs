//! The drive: one SSC logical unit that reads and writes the cartridge in its bay.

mod crypto;
mod data;
mod medium;
mod motion;
mod pages;
mod reserve;
mod state;
mod struck;
mod wear;

use std::{fs::File, io, path::Path, time::Duration};

use crate::emulator::{
    answer::{Answer, Check, completion, deliver, invalid_field, room, unsupported},
    drive::{
        crypto::Crypto,
        medium::Loaded,
        pages::{Identity, ModePages},
        state::{Counters, FIRST_NEXUS, Files, Registers, Seat, Stand},
        struck::Struck,
    },
    faults::{Circumstances, CommandKind, Fault, Faults, SharedWitness},
    library::{Library, Settings, bay_path, io_error, open_bay},
    tape::{Cartridge, StorageError},
};
use crate::scsi::density::Generation;
use crate::scsi::{
    cdb::{Command, Peripheral},
    sense::{Code, Key, Sense},
};
use crate::transport::{Completion, LastAct, Status, Transfer, Transport, TransportError};

pub(crate) use pages::{REVISION, VENDOR, local_name};
pub(crate) use state::bay;

/// An emulated drive, held exclusively.
#[derive(Debug)]
pub struct EmulatedDrive {
    name: String,
    identity: Identity,
    settings: Settings,
    home: Option<Home>,
    /// The initiator that commands come from.
    nexus: u64,
    stand: Stand,
    registers: Registers,
    /// Whether the registers differ from their file.
    registers_changed: bool,
    loaded: Option<Loaded>,
    crypto: Crypto,
    /// Where the next write may write over what stands there, in append-only mode.
    overwrite_at: Option<u64>,
    /// Capacity used at the last flush, which is what the capacity pages know.
    used_at_flush: u64,
    faults: Faults,
}

/// Where a drive keeps what outlives the process.
#[derive(Debug)]
struct Home {
    library: Library,
    number: u16,
    files: Files,
    bay: File,
    /// Held as long as the drive is: others are refused.
    _lock: File,
}

/// Opens drive `number` (from 0) of the library in `dir`.
///
/// # Errors
///
/// [`TransportError::Refused`] with EBUSY while someone else holds it, with ENXIO when there is no
/// such drive, else with what is wrong with the files.
pub fn drive(dir: &Path, number: u16) -> Result<EmulatedDrive, TransportError> {
    let lock = lock_drive(dir, number).map_err(TransportError::Refused)?;
    EmulatedDrive::open(dir, number, lock)
        .map_err(|error| TransportError::Refused(io::Error::other(error)))?
        .ok_or_else(|| TransportError::Refused(io::Error::from_raw_os_error(libc::ENXIO)))
}

/// Takes the power from every drive of the library in `dir`, and gives it back.
///
/// What a drive had not flushed is lost, but for a prefix that `seed` chooses; end of data may be
/// missing from the tape then. Modes, reservations and the position are as after power-on.
///
/// # Errors
///
/// When a drive is in use, or the files cannot be read or written.
pub fn power_loss(dir: &Path, seed: u64) -> Result<(), StorageError> {
    let drives = Library::open(dir)?.contents()?.drives();
    for number in 0..drives {
        let path = dir.join("drives").join(format!("drive{number}.lock"));
        let lock = lock_drive(dir, number).map_err(io_error("lock", &path))?;
        if let Some(mut drive) = EmulatedDrive::open(dir, number, lock)? {
            drive.lose_power(seed.wrapping_add(u64::from(number)))?;
        }
    }
    Ok(())
}

fn lock_drive(dir: &Path, number: u16) -> Result<File, io::Error> {
    let path = dir.join("drives").join(format!("drive{number}.lock"));
    let lock = File::options().create(true).truncate(false).write(true).open(path)?;
    lock.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => io::Error::from_raw_os_error(libc::EBUSY),
        std::fs::TryLockError::Error(error) => error,
    })?;
    Ok(lock)
}

impl EmulatedDrive {
    /// A drive without files that holds a fresh cartridge and throws away what is written to it,
    /// for measuring everything above it. Blocks read back as zeros.
    pub fn discarding(generation: Generation, capacity_bytes: u64) -> Self {
        let barcode = format!("NUL000{}", generation.media_identifier(false).unwrap_or_default());
        let barcode = barcode.parse().expect("six characters and a media identifier");
        let mut drive = Self {
            name: "emulated:discard".to_owned(),
            identity: Identity { generation, serial: "EMUDISCARD".to_owned(), element: None },
            settings: Settings::default(),
            home: None,
            nexus: FIRST_NEXUS,
            stand: Stand { seat: Seat::Ready, ..Stand::POWERED_ON },
            registers: Registers::powered_on(ModePages::new(), Counters::default()),
            registers_changed: false,
            loaded: None,
            crypto: Crypto::default(),
            overwrite_at: None,
            used_at_flush: 0,
            faults: Faults::default(),
        };
        let cartridge = Cartridge::new(barcode, generation, capacity_bytes);
        drive.loaded = Some(Loaded::discarding(cartridge));
        drive.show_medium();
        drive
    }

    fn open(dir: &Path, number: u16, lock: File) -> Result<Option<Self>, StorageError> {
        let library = Library::open(dir)?;
        let contents = library.contents()?;
        let Some(element) = contents.drive(number) else { return Ok(None) };
        let (files, stand, registers) = Files::open(dir, number)?;
        let path = bay_path(dir, number);
        let bay = open_bay(&path).map_err(io_error("open", &path))?;
        let fresh = registers.is_none();
        let registers = registers
            .unwrap_or_else(|| Registers::powered_on(ModePages::new(), Counters::default()));
        let mut drive = Self {
            name: format!("emulated:drive{number}"),
            identity: Identity {
                generation: contents.generation,
                serial: contents.drive_serial(number),
                element: Some(element.address),
            },
            settings: contents.settings.clone(),
            home: Some(Home { library, number, files, bay, _lock: lock }),
            nexus: FIRST_NEXUS,
            stand: stand.unwrap_or(Stand::POWERED_ON),
            registers,
            registers_changed: fresh,
            loaded: None,
            crypto: Crypto::read(dir, number)?,
            overwrite_at: None,
            used_at_flush: 0,
            faults: Faults::read(dir)?,
        };
        drive.resume()?;
        drive.save()?;
        Ok(Some(drive))
    }

    /// Sends the commands that follow as another initiator: 0 unless this is called.
    pub fn speak_as(&mut self, nexus: u64) {
        self.nexus = nexus;
        self.registers.attentions.entry(nexus).or_default();
    }

    /// Puts these faults in the place of all that are in force.
    pub fn set_faults(&mut self, faults: Vec<Fault>) {
        self.faults.replace(faults);
    }

    /// Has a witness asked about each command from now on.
    pub fn watch(&mut self, witness: SharedWitness) {
        self.faults.watch(witness);
    }

    /// The faults that have not run out.
    pub fn faults(&self) -> &[Fault] {
        self.faults.left()
    }

    /// Runs a command that nothing stands in the way of.
    fn run(&mut self, cdb: &[u8], transfer: &mut Transfer<'_>) -> Answer {
        self.notice_change()?;
        let command = Command::decode(Peripheral::Tape, cdb).map_err(|error| error.sense())?;
        self.admit(&command)?;
        self.answer(&command, transfer)
    }

    /// Whether a command may run now: pending attentions and other initiators come first.
    fn admit(&mut self, command: &Command) -> Result<(), Check> {
        if !self.registers.reservations.admits(self.nexus, command) {
            return Err(Check::status(Status::ReservationConflict));
        }
        let exempt = matches!(
            command,
            Command::Inquiry { .. } | Command::ReportLuns { .. } | Command::RequestSense { .. }
        );
        if exempt {
            return Ok(());
        }
        match self.take_attention() {
            Some(code) => Err((Key::UnitAttention, code).into()),
            None => Ok(()),
        }
    }

    fn take_attention(&mut self) -> Option<Code> {
        let pending = self.registers.attentions.entry(self.nexus).or_default();
        if pending.is_empty() {
            return None;
        }
        self.registers_changed = true;
        let (asc, ascq) = pending.remove(0);
        Some(Code { asc, ascq })
    }

    #[expect(clippy::too_many_lines, reason = "a table, one arm a command")]
    fn answer(&mut self, command: &Command, transfer: &mut Transfer<'_>) -> Answer {
        match *command {
            Command::TestUnitReady => self.test_unit_ready(),
            Command::Rewind { .. } => self.rewind(),
            Command::RequestSense { descriptor, allocation } => {
                self.request_sense(descriptor, allocation, transfer)
            }
            Command::FormatMedium { .. } => self.format(),
            Command::ReadBlockLimits => self.block_limits(transfer),
            Command::Read6 { fixed, suppress_length, length } => {
                self.read(fixed, suppress_length, length.get(), transfer)
            }
            Command::Write6 { fixed, length } => self.write(fixed, length.get(), transfer),
            Command::WriteFilemarks6 { immediate, count } => {
                self.write_filemarks(immediate, count.get())
            }
            Command::Space6 { code, count } => self.space(code, i64::from(count)),
            Command::Space16 { code, count } => self.space(code, count),
            Command::Inquiry { page, allocation } => self.inquiry(page, allocation, transfer),
            Command::Verify6 { to_end, by_filemarks, length, .. } => {
                self.verify(to_end, by_filemarks, length.get())
            }
            Command::ModeSelect6 { length, save, .. } => {
                self.mode_select(4, u16::from(length), save, transfer)
            }
            Command::ModeSelect10 { length, save, .. } => {
                self.mode_select(8, length, save, transfer)
            }
            Command::ModeSense6 { no_descriptors, control, page, subpage, allocation } => {
                let bytes = self.mode_sense(4, !no_descriptors, control, (page, subpage))?;
                Ok(deliver(transfer, allocation, &bytes))
            }
            Command::ModeSense10 { no_descriptors, control, page, subpage, allocation } => {
                let bytes = self.mode_sense(8, !no_descriptors, control, (page, subpage))?;
                Ok(deliver(transfer, allocation, &bytes))
            }
            Command::Reserve6 => self.reserve_6(),
            Command::Release6 => self.release_6(),
            Command::Erase6 { .. } => self.erase(),
            Command::LoadUnload { immediate, hold, load, .. } => {
                if load {
                    self.load(immediate, hold)
                } else {
                    self.unload()
                }
            }
            Command::SendDiagnostic { length, .. } if length != 0 => Err(invalid_field(3)),
            Command::SendDiagnostic { .. } => Ok(0),
            Command::PreventAllow { prevent } => {
                self.stand.prevented = prevent;
                Ok(0)
            }
            Command::Locate10 { object, partition, .. } => {
                self.locate_object(partition, u64::from(object))
            }
            Command::Locate16 { partition, to, .. } => self.locate(partition, to),
            Command::ReadPosition { form, allocation } => {
                self.read_position(form, allocation, transfer)
            }
            Command::ReportDensitySupport { medium_types, of_medium, allocation } => {
                self.densities(medium_types, of_medium, allocation, transfer)
            }
            Command::LogSelect { reset, page, length, .. } => self.log_select(reset, page, length),
            Command::LogSense { page, subpage, parameter, allocation, .. } => {
                self.log_sense((page, subpage), parameter, allocation, transfer)
            }
            Command::PersistentReserveIn { action, allocation } => {
                let bytes = self.registers.reservations.report(action);
                Ok(deliver(transfer, allocation, &bytes))
            }
            Command::PersistentReserveOut { action, kind, length } => {
                self.persistent_reserve(action, kind, length, transfer)
            }
            Command::ReadAttribute { action, partition, first, allocation, .. } => {
                self.read_attribute(action, (partition, first), allocation, transfer)
            }
            Command::WriteAttribute { partition, length, .. } => {
                self.write_attribute(partition, length, transfer)
            }
            Command::SecurityProtocolIn { protocol, specific, allocation } => {
                self.security_in((protocol, specific), allocation, transfer)
            }
            Command::SecurityProtocolOut { protocol, specific, length } => {
                self.security_out((protocol, specific), length, transfer)
            }
            Command::ReportLuns { allocation, .. } => self.report_luns(allocation, transfer),
            Command::ReportSupportedOperationCodes { timeouts, query, allocation } => {
                self.operation_codes(timeouts, query, allocation, transfer)
            }
            Command::AllowOverwrite { what, partition, object } => {
                self.allow_overwrite(what, (partition, object))
            }
            Command::SetCapacity { proportion, .. } => self.set_capacity(proportion),
            Command::InitializeElementStatus
            | Command::InitializeElementStatusWithRange { .. }
            | Command::PositionToElement { .. }
            | Command::MoveMedium { .. }
            | Command::ExchangeMedium { .. }
            | Command::ReadElementStatus { .. } => Err(unsupported()),
        }
    }

    fn request_sense(
        &mut self,
        descriptor: bool,
        allocation: u8,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        let sense = match self.take_attention() {
            Some(code) => Sense::new(Key::UnitAttention, code),
            None => match self.test_unit_ready() {
                Err(Check { sense: Some(sense), .. }) => sense,
                Err(_) | Ok(_) => Sense::new(Key::NoSense, Code::NONE),
            },
        };
        let bytes = if descriptor { sense.encode_descriptors() } else { sense.encode_fixed() };
        Ok(deliver(transfer, allocation, &bytes))
    }

    fn circumstances(&self, cdb: &[u8]) -> Circumstances {
        let command = Command::decode(Peripheral::Tape, cdb);
        Circumstances {
            drive: self.home.as_ref().map(|home| home.number),
            barcode: self.loaded.as_ref().map(|loaded| loaded.cartridge.barcode),
            kind: command.as_ref().map_or(CommandKind::Other, CommandKind::of),
            object: (self.stand.seat == Seat::Ready).then_some(self.stand.position),
        }
    }

    fn raise_alert(&mut self, flag: u8) {
        self.registers_changed |= self.registers.alerts.insert(flag);
    }

    /// Writes down what has changed.
    fn save(&mut self) -> Result<(), StorageError> {
        let Some(home) = &mut self.home else { return Ok(()) };
        if self.registers_changed {
            home.files.save_registers(&self.registers)?;
            self.registers_changed = false;
        }
        home.files.save_stand(&self.stand)
    }
}

impl Transport for EmulatedDrive {
    fn execute(
        &mut self,
        cdb: &[u8],
        mut transfer: Transfer<'_>,
        _timeout: Duration,
    ) -> Result<Completion, TransportError> {
        let refused = |errno| TransportError::Refused(io::Error::from_raw_os_error(errno));
        if room(&transfer) > usize::try_from(self.settings.max_transfer).unwrap_or(usize::MAX) {
            return Err(refused(libc::EINVAL));
        }
        let found = (!self.faults.is_empty()).then(|| self.circumstances(cdb));
        let effect = match found {
            None => None,
            Some(found) => self
                .faults
                .strike(found)
                .map_err(|error| TransportError::Unknown(io::Error::other(error)))?,
        };
        let struck = match effect {
            None => Struck::Answer(self.run(cdb, &mut transfer)),
            Some(effect) => self.run_struck(effect, cdb, &mut transfer),
        };
        found.inspect(|found| self.faults.done(*found));
        self.save().map_err(|error| TransportError::Unknown(io::Error::other(error)))?;
        match struck {
            Struck::Answer(answer) if self.settings.residual_in_header => Ok(completion(answer)),
            Struck::Answer(answer) => {
                let all = room(&transfer);
                Ok(Completion { transferred: all, ..completion(answer) })
            }
            Struck::NoReply => {
                Err(TransportError::Unknown(io::Error::from_raw_os_error(libc::EIO)))
            }
            Struck::Refused => Err(refused(libc::EPERM)),
        }
    }

    fn max_transfer(&self) -> u32 {
        self.settings.max_transfer
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn reopen(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    fn last_act(&mut self, act: LastAct) -> Result<(), TransportError> {
        let answer = self.notice_change().and_then(|()| match act {
            LastAct::Rewind => self.rewind(),
            LastAct::Unload => self.unload(),
        });
        self.save().map_err(|error| TransportError::Unknown(io::Error::other(error)))?;
        match answer {
            Ok(_) => Ok(()),
            Err(check) => Err(TransportError::Unknown(io::Error::other(format!("{check:?}")))),
        }
    }
}

impl Drop for EmulatedDrive {
    /// Keeps the index, so that the next to open the drive need not scan the tape, and statistics.
    /// No data are lost when this fails or never runs.
    fn drop(&mut self) {
        if !self.is_undisturbed() {
            return;
        }
        self.save_index();
        self.registers_changed = true;
        if let Err(error) = self.save_cartridge().and_then(|()| self.save()) {
            tracing::warn!(%error, "the drive's statistics are not kept");
        }
    }
}
