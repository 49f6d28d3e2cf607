//! From bytes to a command, for the side that answers.

use crate::scsi::{
    cdb::{
        command::{
            AttributeAction, Command, Format, LocateTarget, LogControl, OpcodeQuery, Overwrite,
            PageControl, PositionForm, ReserveInAction, ReserveOutAction, SpaceCode,
        },
        field::Fields,
        opcode as op,
    },
    element::ElementKind,
    sense::{Code, Key, Sense},
};

/// What a command block is addressed to: operation code 2Bh means another command to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peripheral {
    /// A tape drive.
    Tape,
    /// A changer.
    Changer,
}

/// Why bytes are no command that is known here.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CdbError {
    /// No such command for this peripheral.
    #[error("operation code {0:#04x} is not supported")]
    Opcode(u8),
    /// The block ends before its command does.
    #[error("the command block is cut short")]
    Short,
    /// A field holds a value without meaning.
    #[error("byte {0} of the command block has an invalid field")]
    Field(u16),
}

impl CdbError {
    /// The sense that a device answers with.
    pub fn sense(self) -> Sense {
        match self {
            Self::Opcode(_) | Self::Short => {
                Sense::new(Key::IllegalRequest, Code::INVALID_OPERATION_CODE)
            }
            Self::Field(byte) => Sense::invalid_cdb_field(byte),
        }
    }
}

impl Command {
    /// Reads a command block; bytes past its end, reserved bits and the control byte are ignored.
    ///
    /// # Errors
    ///
    /// When it is cut short, unknown, or has a field without meaning; see [`CdbError::sense`].
    pub fn decode(peripheral: Peripheral, bytes: &[u8]) -> Result<Self, CdbError> {
        let opcode = *bytes.first().ok_or(CdbError::Short)?;
        let length = op::length(opcode).ok_or(CdbError::Opcode(opcode))?;
        let fields = Fields(bytes.get(..length).ok_or(CdbError::Short)?);
        match peripheral {
            Peripheral::Tape => tape(opcode, fields),
            Peripheral::Changer => changer(opcode, fields),
        }
    }
}

fn tape(opcode: u8, f: Fields<'_>) -> Result<Command, CdbError> {
    Ok(match opcode {
        op::REWIND => Command::Rewind { immediate: f.flag(1, 0) },
        op::FORMAT_MEDIUM => Command::FormatMedium {
            immediate: f.flag(1, 0),
            verify: f.flag(1, 1),
            format: Format::from_code(f.bits(2, 0, 4)).ok_or(CdbError::Field(2))?,
            length: f.u16(3),
        },
        op::READ_BLOCK_LIMITS => Command::ReadBlockLimits,
        op::READ_6 => {
            Command::Read6 { fixed: f.flag(1, 0), suppress_length: f.flag(1, 1), length: f.u24(2) }
        }
        op::WRITE_6 => Command::Write6 { fixed: f.flag(1, 0), length: f.u24(2) },
        op::SET_CAPACITY => Command::SetCapacity { immediate: f.flag(1, 0), proportion: f.u16(3) },
        op::WRITE_FILEMARKS_6 if f.flag(1, 1) => return Err(CdbError::Field(1)),
        op::WRITE_FILEMARKS_6 => {
            Command::WriteFilemarks6 { immediate: f.flag(1, 0), count: f.u24(2) }
        }
        op::SPACE_6 => Command::Space6 { code: space_code(f)?, count: f.i24(2) },
        op::VERIFY_6 if f.flag(1, 1) => return Err(CdbError::Field(1)),
        op::VERIFY_6 => Command::Verify6 {
            to_end: f.flag(1, 5),
            protection: f.flag(1, 4),
            by_filemarks: f.flag(1, 3),
            immediate: f.flag(1, 2),
            length: f.u24(2),
        },
        op::ERASE_6 => Command::Erase6 { long: f.flag(1, 0), immediate: f.flag(1, 1) },
        op::LOAD_UNLOAD => Command::LoadUnload {
            immediate: f.flag(1, 0),
            hold: f.flag(4, 3),
            end_of_tape: f.flag(4, 2),
            retension: f.flag(4, 1),
            load: f.flag(4, 0),
        },
        op::LOCATE_10 => Command::Locate10 {
            device_specific: f.flag(1, 2),
            immediate: f.flag(1, 0),
            object: f.u32(3),
            partition: f.flag(1, 1).then(|| f.u8(8)),
        },
        op::READ_POSITION => Command::ReadPosition {
            form: PositionForm::from_code(f.bits(1, 0, 5)).ok_or(CdbError::Field(1))?,
            allocation: f.u16(7),
        },
        op::REPORT_DENSITY_SUPPORT => Command::ReportDensitySupport {
            medium_types: f.flag(1, 1),
            of_medium: f.flag(1, 0),
            allocation: f.u16(7),
        },
        op::ALLOW_OVERWRITE => allow_overwrite(f)?,
        op::READ_ATTRIBUTE => Command::ReadAttribute {
            action: AttributeAction::from_code(f.bits(1, 0, 5)).ok_or(CdbError::Field(1))?,
            partition: f.u8(7),
            first: f.u16(8),
            allocation: f.u32(10),
            cached: f.flag(14, 0),
        },
        op::WRITE_ATTRIBUTE => Command::WriteAttribute {
            write_through: f.flag(1, 0),
            partition: f.u8(7),
            length: f.u32(10),
        },
        op::SPACE_16 => Command::Space16 { code: space_code(f)?, count: f.i64(4) },
        op::LOCATE_16 => locate_16(f)?,
        op::SECURITY_PROTOCOL_IN | op::SECURITY_PROTOCOL_OUT => security(opcode, f)?,
        _ => return primary(opcode, f),
    })
}

fn allow_overwrite(f: Fields<'_>) -> Result<Command, CdbError> {
    let what = Overwrite::from_code(f.bits(2, 0, 4)).ok_or(CdbError::Field(2))?;
    Ok(Command::AllowOverwrite { what, partition: f.u8(3), object: f.u64(4) })
}

fn security(opcode: u8, f: Fields<'_>) -> Result<Command, CdbError> {
    // INC_512: lengths in units of 512 bytes, which no page here needs.
    if f.flag(4, 7) {
        return Err(CdbError::Field(4));
    }
    let (protocol, specific, length) = (f.u8(1), f.u16(2), f.u32(6));
    Ok(if opcode == op::SECURITY_PROTOCOL_IN {
        Command::SecurityProtocolIn { protocol, specific, allocation: length }
    } else {
        Command::SecurityProtocolOut { protocol, specific, length }
    })
}

fn changer(opcode: u8, f: Fields<'_>) -> Result<Command, CdbError> {
    Ok(match opcode {
        op::INITIALIZE_ELEMENT_STATUS => Command::InitializeElementStatus,
        op::INITIALIZE_ELEMENT_STATUS_WITH_RANGE => Command::InitializeElementStatusWithRange {
            fast: f.flag(1, 1),
            ranged: f.flag(1, 0),
            start: f.u16(2),
            count: f.u16(6),
        },
        op::POSITION_TO_ELEMENT => Command::PositionToElement {
            transport: f.u16(2),
            destination: f.u16(4),
            invert: f.flag(8, 0),
        },
        op::MOVE_MEDIUM => Command::MoveMedium {
            transport: f.u16(2),
            source: f.u16(4),
            destination: f.u16(6),
            invert: f.flag(10, 0),
        },
        op::EXCHANGE_MEDIUM => Command::ExchangeMedium {
            transport: f.u16(2),
            source: f.u16(4),
            first: f.u16(6),
            second: f.u16(8),
        },
        op::READ_ELEMENT_STATUS => Command::ReadElementStatus {
            volume_tags: f.flag(1, 4),
            kind: match f.bits(1, 0, 4) {
                0 => None,
                code => Some(ElementKind::from_code(code).ok_or(CdbError::Field(1))?),
            },
            start: f.u16(2),
            count: f.u16(4),
            current_data: f.flag(6, 1),
            device_id: f.flag(6, 0),
            allocation: f.u24(7),
        },
        _ => return primary(opcode, f),
    })
}

/// Commands of every peripheral.
fn primary(opcode: u8, f: Fields<'_>) -> Result<Command, CdbError> {
    Ok(match opcode {
        op::TEST_UNIT_READY => Command::TestUnitReady,
        op::REQUEST_SENSE => {
            Command::RequestSense { descriptor: f.flag(1, 0), allocation: f.u8(4) }
        }
        op::INQUIRY if !f.flag(1, 0) && f.u8(2) != 0 => return Err(CdbError::Field(2)),
        op::INQUIRY => {
            Command::Inquiry { page: f.flag(1, 0).then(|| f.u8(2)), allocation: f.u16(3) }
        }
        op::MODE_SELECT_6 => {
            Command::ModeSelect6 { page_format: f.flag(1, 4), save: f.flag(1, 0), length: f.u8(4) }
        }
        op::MODE_SELECT_10 => Command::ModeSelect10 {
            page_format: f.flag(1, 4),
            save: f.flag(1, 0),
            length: f.u16(7),
        },
        op::MODE_SENSE_6 => Command::ModeSense6 {
            no_descriptors: f.flag(1, 3),
            control: PageControl::from_bits(f.bits(2, 6, 2)),
            page: f.bits(2, 0, 6),
            subpage: f.u8(3),
            allocation: f.u8(4),
        },
        op::MODE_SENSE_10 => Command::ModeSense10 {
            no_descriptors: f.flag(1, 3),
            control: PageControl::from_bits(f.bits(2, 6, 2)),
            page: f.bits(2, 0, 6),
            subpage: f.u8(3),
            allocation: f.u16(7),
        },
        op::RESERVE_6 => Command::Reserve6,
        op::RELEASE_6 => Command::Release6,
        op::SEND_DIAGNOSTIC => {
            Command::SendDiagnostic { self_test: f.flag(1, 2), length: f.u16(3) }
        }
        op::PREVENT_ALLOW => Command::PreventAllow { prevent: f.flag(4, 0) },
        _ => return reporting(opcode, f),
    })
}

/// Commands of every peripheral about logs, reservations and abilities.
fn reporting(opcode: u8, f: Fields<'_>) -> Result<Command, CdbError> {
    Ok(match opcode {
        op::LOG_SELECT => Command::LogSelect {
            reset: f.flag(1, 1),
            save: f.flag(1, 0),
            control: LogControl::from_bits(f.bits(2, 6, 2)),
            page: f.bits(2, 0, 6),
            subpage: f.u8(3),
            length: f.u16(7),
        },
        op::LOG_SENSE => Command::LogSense {
            control: LogControl::from_bits(f.bits(2, 6, 2)),
            page: f.bits(2, 0, 6),
            subpage: f.u8(3),
            parameter: f.u16(5),
            allocation: f.u16(7),
        },
        op::PERSISTENT_RESERVE_IN => Command::PersistentReserveIn {
            action: ReserveInAction::from_code(f.bits(1, 0, 5)).ok_or(CdbError::Field(1))?,
            allocation: f.u16(7),
        },
        op::PERSISTENT_RESERVE_OUT if f.bits(2, 4, 4) != 0 => return Err(CdbError::Field(2)),
        op::PERSISTENT_RESERVE_OUT => Command::PersistentReserveOut {
            action: ReserveOutAction::from_code(f.bits(1, 0, 5)).ok_or(CdbError::Field(1))?,
            kind: f.bits(2, 0, 4),
            length: f.u32(5),
        },
        op::REPORT_LUNS => Command::ReportLuns { select: f.u8(2), allocation: f.u32(6) },
        op::MAINTENANCE_IN if f.bits(1, 0, 5) != op::REPORT_SUPPORTED_OPERATION_CODES => {
            return Err(CdbError::Field(1));
        }
        op::MAINTENANCE_IN => Command::ReportSupportedOperationCodes {
            timeouts: f.flag(2, 7),
            query: match f.bits(2, 0, 3) {
                0 => OpcodeQuery::All,
                1 => OpcodeQuery::One(f.u8(3)),
                2 => OpcodeQuery::WithAction(f.u8(3), f.u16(4)),
                _ => return Err(CdbError::Field(2)),
            },
            allocation: f.u32(6),
        },
        _ => return Err(CdbError::Opcode(opcode)),
    })
}

fn space_code(f: Fields<'_>) -> Result<SpaceCode, CdbError> {
    match f.bits(1, 0, 4) {
        0 => Ok(SpaceCode::Blocks),
        1 => Ok(SpaceCode::Filemarks),
        2 => Ok(SpaceCode::SequentialFilemarks),
        3 => Ok(SpaceCode::EndOfData),
        _ => Err(CdbError::Field(1)),
    }
}

fn locate_16(f: Fields<'_>) -> Result<Command, CdbError> {
    let to = match f.bits(1, 3, 3) {
        0 => LocateTarget::Object(f.u64(4)),
        1 => LocateTarget::File(f.u64(4)),
        3 => LocateTarget::EndOfData,
        _ => return Err(CdbError::Field(1)),
    };
    let partition = f.flag(1, 1).then(|| f.u8(3));
    Ok(Command::Locate16 { immediate: f.flag(1, 0), partition, to })
}

impl Format {
    fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Default),
            1 => Some(Self::Partition),
            2 => Some(Self::DefaultThenPartition),
            _ => None,
        }
    }
}

impl PageControl {
    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Current,
            1 => Self::Changeable,
            2 => Self::Default,
            _ => Self::Saved,
        }
    }
}

impl LogControl {
    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Threshold,
            1 => Self::Cumulative,
            2 => Self::DefaultThreshold,
            _ => Self::DefaultCumulative,
        }
    }
}

impl PositionForm {
    fn from_code(code: u8) -> Option<Self> {
        match code {
            0x00 => Some(Self::Short),
            0x01 => Some(Self::ShortVendor),
            0x06 => Some(Self::Long),
            0x08 => Some(Self::Extended),
            _ => None,
        }
    }
}

impl Overwrite {
    fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Nothing),
            1 => Some(Self::CurrentPosition),
            2 => Some(Self::Format),
            _ => None,
        }
    }
}

impl AttributeAction {
    fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Values),
            1 => Some(Self::List),
            2 => Some(Self::VolumeList),
            3 => Some(Self::PartitionList),
            5 => Some(Self::Supported),
            _ => None,
        }
    }
}

impl ReserveInAction {
    fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::ReadKeys),
            1 => Some(Self::ReadReservation),
            2 => Some(Self::ReportCapabilities),
            3 => Some(Self::ReadFullStatus),
            _ => None,
        }
    }
}

impl ReserveOutAction {
    fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Register),
            1 => Some(Self::Reserve),
            2 => Some(Self::Release),
            3 => Some(Self::Clear),
            4 => Some(Self::Preempt),
            5 => Some(Self::PreemptAndAbort),
            6 => Some(Self::RegisterAndIgnore),
            _ => None,
        }
    }
}
