//! From a command to its bytes (SPC, SSC and SMC: the CDB table of each command).

use crate::scsi::cdb::{
    command::{
        AttributeAction, Command, Format, LocateTarget, LogControl, OpcodeQuery, Overwrite,
        PageControl, PositionForm, ReserveInAction, ReserveOutAction, SpaceCode,
    },
    field::Cdb,
    opcode as op,
};

fn cdb(opcode: u8) -> Cdb {
    Cdb::new(opcode, op::length(opcode).expect("every operation code used is in a fixed group"))
}

impl Command {
    /// The command block.
    ///
    /// # Panics
    ///
    /// When the count of a SPACE(6) needs more than 24 bits.
    #[expect(clippy::too_many_lines, reason = "the CDB table, one arm a command")]
    pub fn encode(&self) -> Cdb {
        match *self {
            Self::TestUnitReady => cdb(op::TEST_UNIT_READY),
            Self::Rewind { immediate } => cdb(op::REWIND).flag(1, 0, immediate),
            Self::RequestSense { descriptor, allocation } => {
                cdb(op::REQUEST_SENSE).flag(1, 0, descriptor).u8(4, allocation)
            }
            Self::FormatMedium { immediate, verify, format, length } => cdb(op::FORMAT_MEDIUM)
                .flag(1, 0, immediate)
                .flag(1, 1, verify)
                .u8(2, format.code())
                .u16(3, length),
            Self::ReadBlockLimits => cdb(op::READ_BLOCK_LIMITS),
            Self::Read6 { fixed, suppress_length, length } => {
                cdb(op::READ_6).flag(1, 0, fixed).flag(1, 1, suppress_length).u24(2, length)
            }
            Self::Write6 { fixed, length } => cdb(op::WRITE_6).flag(1, 0, fixed).u24(2, length),
            Self::SetCapacity { immediate, proportion } => {
                cdb(op::SET_CAPACITY).flag(1, 0, immediate).u16(3, proportion)
            }
            Self::WriteFilemarks6 { immediate, count } => {
                cdb(op::WRITE_FILEMARKS_6).flag(1, 0, immediate).u24(2, count)
            }
            Self::Space6 { code, count } => cdb(op::SPACE_6).u8(1, code.code()).i24(2, count),
            Self::Inquiry { page, allocation } => cdb(op::INQUIRY)
                .flag(1, 0, page.is_some())
                .u8(2, page.unwrap_or(0))
                .u16(3, allocation),
            Self::Verify6 { to_end, protection, by_filemarks, immediate, length } => {
                cdb(op::VERIFY_6)
                    .flag(1, 5, to_end)
                    .flag(1, 4, protection)
                    .flag(1, 3, by_filemarks)
                    .flag(1, 2, immediate)
                    .u24(2, length)
            }
            Self::ModeSelect6 { page_format, save, length } => {
                cdb(op::MODE_SELECT_6).flag(1, 4, page_format).flag(1, 0, save).u8(4, length)
            }
            Self::Reserve6 => cdb(op::RESERVE_6),
            Self::Release6 => cdb(op::RELEASE_6),
            Self::Erase6 { long, immediate } => {
                cdb(op::ERASE_6).flag(1, 0, long).flag(1, 1, immediate)
            }
            Self::ModeSense6 { no_descriptors, control, page, subpage, allocation } => {
                cdb(op::MODE_SENSE_6)
                    .flag(1, 3, no_descriptors)
                    .bits(2, 6, control.code())
                    .bits(2, 0, page & 0x3F)
                    .u8(3, subpage)
                    .u8(4, allocation)
            }
            Self::LoadUnload { immediate, hold, end_of_tape, retension, load } => {
                cdb(op::LOAD_UNLOAD)
                    .flag(1, 0, immediate)
                    .flag(4, 3, hold)
                    .flag(4, 2, end_of_tape)
                    .flag(4, 1, retension)
                    .flag(4, 0, load)
            }
            Self::SendDiagnostic { self_test, length } => {
                cdb(op::SEND_DIAGNOSTIC).flag(1, 2, self_test).u16(3, length)
            }
            Self::PreventAllow { prevent } => cdb(op::PREVENT_ALLOW).flag(4, 0, prevent),
            Self::Locate10 { device_specific, immediate, object, partition } => cdb(op::LOCATE_10)
                .flag(1, 2, device_specific)
                .flag(1, 1, partition.is_some())
                .flag(1, 0, immediate)
                .u32(3, object)
                .u8(8, partition.unwrap_or(0)),
            Self::ReadPosition { form, allocation } => {
                cdb(op::READ_POSITION).u8(1, form.code()).u16(7, allocation)
            }
            Self::ReportDensitySupport { medium_types, of_medium, allocation } => {
                cdb(op::REPORT_DENSITY_SUPPORT)
                    .flag(1, 1, medium_types)
                    .flag(1, 0, of_medium)
                    .u16(7, allocation)
            }
            Self::LogSelect { reset, save, control, page, subpage, length } => cdb(op::LOG_SELECT)
                .flag(1, 1, reset)
                .flag(1, 0, save)
                .bits(2, 6, control.code())
                .bits(2, 0, page & 0x3F)
                .u8(3, subpage)
                .u16(7, length),
            Self::LogSense { control, page, subpage, parameter, allocation } => cdb(op::LOG_SENSE)
                .bits(2, 6, control.code())
                .bits(2, 0, page & 0x3F)
                .u8(3, subpage)
                .u16(5, parameter)
                .u16(7, allocation),
            Self::ModeSelect10 { page_format, save, length } => {
                cdb(op::MODE_SELECT_10).flag(1, 4, page_format).flag(1, 0, save).u16(7, length)
            }
            Self::ModeSense10 { no_descriptors, control, page, subpage, allocation } => {
                cdb(op::MODE_SENSE_10)
                    .flag(1, 3, no_descriptors)
                    .bits(2, 6, control.code())
                    .bits(2, 0, page & 0x3F)
                    .u8(3, subpage)
                    .u16(7, allocation)
            }
            Self::PersistentReserveIn { action, allocation } => {
                cdb(op::PERSISTENT_RESERVE_IN).u8(1, action.code()).u16(7, allocation)
            }
            Self::PersistentReserveOut { action, kind, length } => cdb(op::PERSISTENT_RESERVE_OUT)
                .u8(1, action.code())
                .bits(2, 0, kind & 0x0F)
                .u32(5, length),
            Self::AllowOverwrite { what, partition, object } => {
                cdb(op::ALLOW_OVERWRITE).bits(2, 0, what.code()).u8(3, partition).u64(4, object)
            }
            Self::ReadAttribute { action, partition, first, allocation, cached } => {
                cdb(op::READ_ATTRIBUTE)
                    .u8(1, action.code())
                    .u8(7, partition)
                    .u16(8, first)
                    .u32(10, allocation)
                    .flag(14, 0, cached)
            }
            Self::WriteAttribute { write_through, partition, length } => {
                cdb(op::WRITE_ATTRIBUTE).flag(1, 0, write_through).u8(7, partition).u32(10, length)
            }
            Self::Space16 { code, count } => {
                cdb(op::SPACE_16).u8(1, code.code()).u64(4, count.cast_unsigned())
            }
            Self::Locate16 { immediate, partition, to } => {
                let (kind, identifier) = to.code();
                cdb(op::LOCATE_16)
                    .bits(1, 3, kind)
                    .flag(1, 1, partition.is_some())
                    .flag(1, 0, immediate)
                    .u8(3, partition.unwrap_or(0))
                    .u64(4, identifier)
            }
            Self::SecurityProtocolIn { protocol, specific, allocation } => {
                cdb(op::SECURITY_PROTOCOL_IN).u8(1, protocol).u16(2, specific).u32(6, allocation)
            }
            Self::SecurityProtocolOut { protocol, specific, length } => {
                cdb(op::SECURITY_PROTOCOL_OUT).u8(1, protocol).u16(2, specific).u32(6, length)
            }
            Self::ReportLuns { select, allocation } => {
                cdb(op::REPORT_LUNS).u8(2, select).u32(6, allocation)
            }
            Self::ReportSupportedOperationCodes { timeouts, query, allocation } => {
                let (options, opcode, action) = query.code();
                cdb(op::MAINTENANCE_IN)
                    .u8(1, op::REPORT_SUPPORTED_OPERATION_CODES)
                    .flag(2, 7, timeouts)
                    .bits(2, 0, options)
                    .u8(3, opcode)
                    .u16(4, action)
                    .u32(6, allocation)
            }
            Self::InitializeElementStatus => cdb(op::INITIALIZE_ELEMENT_STATUS),
            Self::InitializeElementStatusWithRange { fast, ranged, start, count } => {
                cdb(op::INITIALIZE_ELEMENT_STATUS_WITH_RANGE)
                    .flag(1, 1, fast)
                    .flag(1, 0, ranged)
                    .u16(2, start)
                    .u16(6, count)
            }
            Self::PositionToElement { transport, destination, invert } => {
                cdb(op::POSITION_TO_ELEMENT)
                    .u16(2, transport)
                    .u16(4, destination)
                    .flag(8, 0, invert)
            }
            Self::MoveMedium { transport, source, destination, invert } => cdb(op::MOVE_MEDIUM)
                .u16(2, transport)
                .u16(4, source)
                .u16(6, destination)
                .flag(10, 0, invert),
            Self::ExchangeMedium { transport, source, first, second } => cdb(op::EXCHANGE_MEDIUM)
                .u16(2, transport)
                .u16(4, source)
                .u16(6, first)
                .u16(8, second),
            Self::ReadElementStatus {
                volume_tags,
                kind,
                start,
                count,
                current_data,
                device_id,
                allocation,
            } => cdb(op::READ_ELEMENT_STATUS)
                .flag(1, 4, volume_tags)
                .bits(1, 0, kind.map_or(0, |kind| kind.code()))
                .u16(2, start)
                .u16(4, count)
                .flag(6, 1, current_data)
                .flag(6, 0, device_id)
                .u24(7, allocation),
        }
    }
}

impl Format {
    fn code(self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Partition => 1,
            Self::DefaultThenPartition => 2,
        }
    }
}

impl SpaceCode {
    fn code(self) -> u8 {
        match self {
            Self::Blocks => 0,
            Self::Filemarks => 1,
            Self::SequentialFilemarks => 2,
            Self::EndOfData => 3,
        }
    }
}

impl PageControl {
    fn code(self) -> u8 {
        match self {
            Self::Current => 0,
            Self::Changeable => 1,
            Self::Default => 2,
            Self::Saved => 3,
        }
    }
}

impl LogControl {
    fn code(self) -> u8 {
        match self {
            Self::Threshold => 0,
            Self::Cumulative => 1,
            Self::DefaultThreshold => 2,
            Self::DefaultCumulative => 3,
        }
    }
}

impl PositionForm {
    fn code(self) -> u8 {
        match self {
            Self::Short => 0x00,
            Self::ShortVendor => 0x01,
            Self::Long => 0x06,
            Self::Extended => 0x08,
        }
    }
}

impl LocateTarget {
    /// Destination type and identifier.
    fn code(self) -> (u8, u64) {
        match self {
            Self::Object(number) => (0, number),
            Self::File(number) => (1, number),
            Self::EndOfData => (3, 0),
        }
    }
}

impl Overwrite {
    fn code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::CurrentPosition => 1,
            Self::Format => 2,
        }
    }
}

impl AttributeAction {
    fn code(self) -> u8 {
        match self {
            Self::Values => 0,
            Self::List => 1,
            Self::VolumeList => 2,
            Self::PartitionList => 3,
            Self::Supported => 5,
        }
    }
}

impl ReserveInAction {
    fn code(self) -> u8 {
        match self {
            Self::ReadKeys => 0,
            Self::ReadReservation => 1,
            Self::ReportCapabilities => 2,
            Self::ReadFullStatus => 3,
        }
    }
}

impl ReserveOutAction {
    fn code(self) -> u8 {
        match self {
            Self::Register => 0,
            Self::Reserve => 1,
            Self::Release => 2,
            Self::Clear => 3,
            Self::Preempt => 4,
            Self::PreemptAndAbort => 5,
            Self::RegisterAndIgnore => 6,
        }
    }
}

impl OpcodeQuery {
    /// Reporting options, operation code and service action.
    fn code(self) -> (u8, u8, u16) {
        match self {
            Self::All => (0, 0, 0),
            Self::One(opcode) => (1, opcode, 0),
            Self::WithAction(opcode, action) => (2, opcode, action),
        }
    }
}
