//! The changer: the robot's logical unit (SMC).

mod elements;

use std::{fs::File, io, path::Path, time::Duration};

use crate::emulator::{
    answer::{Answer, Check, completion, deliver, invalid_field, room, unsupported},
    drive::{REVISION, VENDOR, local_name},
    faults::{Circumstances, CommandKind, Effect, Fault, Faults, SharedWitness},
    library::{Contents, Element, ElementKind, Library},
    tape::StorageError,
};
use crate::scsi::{
    cdb::{Command, Peripheral},
    inquiry::{DeviceType, Standard, vpd},
    sense::{Code, Key, Sense},
};
use crate::transport::{Completion, LastAct, Transfer, Transport, TransportError};

const PRODUCT: &str = "EMULATED LIBRARY";
const MAX_TRANSFER: u32 = 1 << 20;

/// The robot of an emulated library. Any number of handles may use it at once.
#[derive(Debug)]
pub struct EmulatedChanger {
    library: Library,
    serial: String,
    /// Unit attentions that this handle has not delivered yet, oldest first.
    attentions: Vec<Code>,
    /// Visits to the mail slot that it knows of.
    mail_slot_visits: u64,
    prevented: bool,
    faults: Faults,
}

/// Opens the changer of the library in `dir`.
///
/// # Errors
///
/// [`TransportError::Refused`] when there is no library.
pub fn changer(dir: &Path) -> Result<EmulatedChanger, TransportError> {
    let open = || -> Result<EmulatedChanger, StorageError> {
        let library = Library::open(dir)?;
        let contents = library.contents()?;
        Ok(EmulatedChanger {
            library,
            serial: contents.serial,
            attentions: Vec::new(),
            mail_slot_visits: contents.mail_slot_visits,
            prevented: false,
            faults: Faults::read(dir)?,
        })
    };
    open().map_err(|error| TransportError::Refused(io::Error::other(error)))
}

impl EmulatedChanger {
    /// Puts these faults in the place of all that are in force.
    pub fn set_faults(&mut self, faults: Vec<Fault>) {
        self.faults.replace(faults);
    }

    /// Has a witness asked about each command from now on.
    pub fn watch(&mut self, witness: SharedWitness) {
        self.faults.watch(witness);
    }

    fn run(&mut self, cdb: &[u8], transfer: &mut Transfer<'_>) -> Answer {
        let lock = self.library.lock()?;
        let mut contents = self.library.contents()?;
        if contents.mail_slot_visits != self.mail_slot_visits {
            self.mail_slot_visits = contents.mail_slot_visits;
            self.attentions.push(Code::IMPORT_OR_EXPORT_ACCESSED);
        }
        let command = Command::decode(Peripheral::Changer, cdb).map_err(|error| error.sense())?;
        let exempt = matches!(
            command,
            Command::Inquiry { .. } | Command::ReportLuns { .. } | Command::RequestSense { .. }
        );
        if !exempt && !self.attentions.is_empty() {
            return Err((Key::UnitAttention, self.attentions.remove(0)).into());
        }
        self.answer(&command, (&mut contents, &lock), transfer)
    }

    #[expect(clippy::too_many_lines, reason = "a table, one arm a command")]
    fn answer(
        &mut self,
        command: &Command,
        (contents, lock): (&mut Contents, &File),
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        match *command {
            Command::TestUnitReady
            | Command::InitializeElementStatus
            | Command::InitializeElementStatusWithRange { .. }
            | Command::SendDiagnostic { length: 0, .. }
            | Command::Reserve6
            | Command::Release6 => Ok(0),
            Command::RequestSense { descriptor, allocation } => {
                let sense = if self.attentions.is_empty() {
                    Sense::new(Key::NoSense, Code::NONE)
                } else {
                    Sense::new(Key::UnitAttention, self.attentions.remove(0))
                };
                let bytes =
                    if descriptor { sense.encode_descriptors() } else { sense.encode_fixed() };
                Ok(deliver(transfer, allocation, &bytes))
            }
            Command::Inquiry { page, allocation } => self.inquiry(page, allocation, transfer),
            Command::ReportLuns { allocation, .. } => {
                let bytes = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                Ok(deliver(transfer, allocation, &bytes))
            }
            Command::PreventAllow { prevent } => {
                self.prevented = prevent;
                Ok(0)
            }
            Command::ModeSense6 { no_descriptors: _, control, page, subpage, allocation } => {
                let list = elements::modes(contents, control, (page, subpage))?;
                Ok(deliver(transfer, allocation, &list.encode_sense_6()))
            }
            Command::ModeSense10 { no_descriptors: _, control, page, subpage, allocation } => {
                let list = elements::modes(contents, control, (page, subpage))?;
                Ok(deliver(transfer, allocation, &list.encode_sense_10()))
            }
            Command::PositionToElement { transport, destination, .. } => {
                elements::picker(contents, transport)?;
                elements::find(contents, destination).map(|_| 0)
            }
            Command::MoveMedium { transport, source, destination, .. } => {
                elements::picker(contents, transport)?;
                let drives = elements::move_medium(&self.library, contents, source, destination)?;
                self.put_in_force(contents, lock, &drives)
            }
            Command::ExchangeMedium { transport, source, first, second } => {
                elements::picker(contents, transport)?;
                let places = (first, second);
                let drives = elements::exchange(&self.library, contents, source, places)?;
                self.put_in_force(contents, lock, &drives)
            }
            Command::ReadElementStatus {
                volume_tags,
                kind,
                start,
                count,
                device_id,
                allocation,
                ..
            } => {
                let asked = elements::Asked { volume_tags, device_id, kind, start, count };
                let bytes = elements::status(&self.library, contents, asked);
                Ok(deliver(transfer, allocation.get(), &bytes))
            }
            Command::Rewind { .. }
            | Command::FormatMedium { .. }
            | Command::ReadBlockLimits
            | Command::Read6 { .. }
            | Command::Write6 { .. }
            | Command::AllowOverwrite { .. }
            | Command::SetCapacity { .. }
            | Command::WriteFilemarks6 { .. }
            | Command::Space6 { .. }
            | Command::Verify6 { .. }
            | Command::ModeSelect6 { .. }
            | Command::ModeSelect10 { .. }
            | Command::Erase6 { .. }
            | Command::LoadUnload { .. }
            | Command::SendDiagnostic { .. }
            | Command::Locate10 { .. }
            | Command::ReadPosition { .. }
            | Command::ReportDensitySupport { .. }
            | Command::LogSelect { .. }
            | Command::LogSense { .. }
            | Command::PersistentReserveIn { .. }
            | Command::PersistentReserveOut { .. }
            | Command::ReadAttribute { .. }
            | Command::WriteAttribute { .. }
            | Command::SecurityProtocolIn { .. }
            | Command::SecurityProtocolOut { .. }
            | Command::Space16 { .. }
            | Command::Locate16 { .. }
            | Command::ReportSupportedOperationCodes { .. } => Err(unsupported()),
        }
    }

    /// Writes down where the cartridges are now, then tells the drives.
    fn put_in_force(&mut self, contents: &Contents, lock: &File, drives: &[u16]) -> Answer {
        self.library.replace(contents, lock)?;
        for drive in drives {
            self.library.notify(*drive)?;
        }
        Ok(0)
    }

    fn inquiry(
        &mut self,
        page: Option<u8>,
        allocation: u16,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        let Some(page) = page else {
            let standard = Standard {
                qualifier: 0,
                device_type: DeviceType::Changer,
                removable: true,
                version: 6,
                vendor: VENDOR.to_owned(),
                product: PRODUCT.to_owned(),
                revision: REVISION.to_owned(),
            };
            return Ok(deliver(transfer, allocation, &standard.encode()));
        };
        let page = match page {
            vpd::SUPPORTED => {
                vpd::Page::of_supported(&[vpd::SUPPORTED, vpd::SERIAL, vpd::IDENTIFICATION])
            }
            vpd::SERIAL => vpd::Page::of_text(page, &self.serial),
            vpd::IDENTIFICATION => vpd::Page::of_designators(&[
                vpd::Designator::t10(VENDOR, PRODUCT, &self.serial),
                local_name(&self.serial),
            ]),
            _ => return Err(invalid_field(2)),
        };
        Ok(deliver(transfer, allocation, &page.encode(DeviceType::Changer.code())))
    }

    /// The same command, with another cartridge if it moves one out of a slot and there is another.
    fn another(&self, cdb: &[u8]) -> Vec<u8> {
        let command = Command::decode(Peripheral::Changer, cdb);
        let (Ok(Command::MoveMedium { transport, source, destination, invert }), Ok(contents)) =
            (command, self.library.contents())
        else {
            return cdb.to_vec();
        };
        let is_other = |element: &&Element| {
            element.kind == ElementKind::Slot
                && element.barcode.is_some()
                && element.address != source
        };
        let from_slot = contents
            .elements
            .iter()
            .any(|from| from.address == source && from.kind == ElementKind::Slot);
        match contents.elements.iter().find(is_other).filter(|_| from_slot) {
            Some(other) => {
                let source = other.address;
                Command::MoveMedium { transport, source, destination, invert }.encode().to_vec()
            }
            None => cdb.to_vec(),
        }
    }

    /// Runs a command under a fault; `Err` when no reply comes.
    fn run_struck(
        &mut self,
        effect: Effect,
        cdb: &[u8],
        transfer: &mut Transfer<'_>,
    ) -> Result<Answer, TransportError> {
        let lost = || TransportError::Unknown(io::Error::from_raw_os_error(libc::EIO));
        let sense = |key: u8, asc, ascq| Sense::new(Key::from_bits(key), Code { asc, ascq });
        let failed = |code| Ok(Err((Key::HardwareError, code).into()));
        match effect {
            Effect::ReplyLostBefore => Err(lost()),
            Effect::ReplyLostAfter => {
                if let Err(check) = self.run(cdb, transfer) {
                    tracing::debug!(?check, "an answer that never arrives");
                }
                Err(lost())
            }
            Effect::Refused => {
                Err(TransportError::Refused(io::Error::from_raw_os_error(libc::EPERM)))
            }
            Effect::Sense(key, asc, ascq) => Ok(Err(sense(key, asc, ascq).into())),
            Effect::SenseAfter(key, asc, ascq) => Ok(self
                .run(cdb, transfer)
                .and_then(|moved| Err(Check::after(moved, sense(key, asc, ascq))))),
            Effect::WrongCartridge => Ok(self.run(&self.another(cdb), transfer)),
            Effect::Reset(_) => Ok(Err((Key::UnitAttention, Code::POWER_ON_OR_RESET).into())),
            // Whatever else is meant for drives looks like a mechanical failure here.
            Effect::MediumError
            | Effect::RecoveredError
            | Effect::EarlyWarning
            | Effect::ProgrammableEarlyWarning
            | Effect::EndOfMedium
            | Effect::Deferred(_)
            | Effect::FlipBit(_)
            | Effect::Alert(_)
            | Effect::HardwareError
            | Effect::ParametersChanged
            | Effect::Rewound
            | Effect::PowerLoss(_)
            | Effect::WriteProtect => failed(Code::MECHANICAL_POSITIONING_ERROR),
        }
    }
}

impl Transport for EmulatedChanger {
    fn execute(
        &mut self,
        cdb: &[u8],
        mut transfer: Transfer<'_>,
        _timeout: Duration,
    ) -> Result<Completion, TransportError> {
        if room(&transfer) > usize::try_from(MAX_TRANSFER).unwrap_or(usize::MAX) {
            return Err(TransportError::Refused(io::Error::from_raw_os_error(libc::EINVAL)));
        }
        let found = (!self.faults.is_empty()).then(|| {
            let command = Command::decode(Peripheral::Changer, cdb);
            let kind = command.as_ref().map_or(CommandKind::Other, CommandKind::of);
            Circumstances { drive: None, barcode: None, kind, object: None }
        });
        let effect = match found {
            None => None,
            Some(found) => self
                .faults
                .strike(found)
                .map_err(|error| TransportError::Unknown(io::Error::other(error)))?,
        };
        let answer = match effect {
            None => Ok(self.run(cdb, &mut transfer)),
            Some(effect) => self.run_struck(effect, cdb, &mut transfer),
        };
        found.inspect(|found| self.faults.done(*found));
        Ok(completion(answer?))
    }

    fn max_transfer(&self) -> u32 {
        MAX_TRANSFER
    }

    fn name(&self) -> &'static str {
        "emulated:changer"
    }

    fn reopen(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    fn last_act(&mut self, _act: LastAct) -> Result<(), TransportError> {
        Ok(())
    }
}
