//! The commands, with their fields as values.

use crate::scsi::{cdb::field::U24, element::ElementKind};

/// One command. Field names say what the standards abbreviate; `immediate` is always IMMED:
/// return status before the motion has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// TEST UNIT READY.
    TestUnitReady,
    /// REWIND.
    Rewind { immediate: bool },
    /// REQUEST SENSE; `descriptor` asks for descriptor format.
    RequestSense { descriptor: bool, allocation: u8 },
    /// FORMAT MEDIUM: partitions the medium; destroys what is on it.
    FormatMedium { immediate: bool, verify: bool, format: Format, length: u16 },
    /// READ BLOCK LIMITS.
    ReadBlockLimits,
    /// READ(6). `length` is bytes, or blocks if `fixed`; `suppress_length` is SILI.
    Read6 { fixed: bool, suppress_length: bool, length: U24 },
    /// WRITE(6). `length` is bytes, or blocks if `fixed`.
    Write6 { fixed: bool, length: U24 },
    /// SET CAPACITY: `proportion` of 65,535; destroys what is on the medium.
    SetCapacity { immediate: bool, proportion: u16 },
    /// WRITE FILEMARKS(6). A count of 0 writes out the buffer and no mark.
    WriteFilemarks6 { immediate: bool, count: U24 },
    /// SPACE(6). `count` is 24 bits in two's complement, negative towards the beginning.
    Space6 { code: SpaceCode, count: i32 },
    /// INQUIRY, of vital product data page `page` if there is one.
    Inquiry { page: Option<u8>, allocation: u16 },
    /// VERIFY(6): reads without moving data. `to_end` is VTE, `by_filemarks` VBF.
    Verify6 { to_end: bool, protection: bool, by_filemarks: bool, immediate: bool, length: U24 },
    /// MODE SELECT(6).
    ModeSelect6 { page_format: bool, save: bool, length: u8 },
    /// RESERVE(6), of the older kind of reservation.
    Reserve6,
    /// RELEASE(6).
    Release6,
    /// ERASE(6). Without `long` it writes end of data where the tape stands.
    Erase6 { long: bool, immediate: bool },
    /// MODE SENSE(6).
    ModeSense6 { no_descriptors: bool, control: PageControl, page: u8, subpage: u8, allocation: u8 },
    /// LOAD UNLOAD: unloads unless `load`.
    LoadUnload { immediate: bool, hold: bool, end_of_tape: bool, retension: bool, load: bool },
    /// SEND DIAGNOSTIC.
    SendDiagnostic { self_test: bool, length: u16 },
    /// PREVENT ALLOW MEDIUM REMOVAL.
    PreventAllow { prevent: bool },
    /// LOCATE(10). `device_specific` is BT.
    Locate10 { device_specific: bool, immediate: bool, object: u32, partition: Option<u8> },
    /// READ POSITION. `allocation` is 0 except in the extended form.
    ReadPosition { form: PositionForm, allocation: u16 },
    /// REPORT DENSITY SUPPORT, of the drive or of the loaded medium.
    ReportDensitySupport { medium_types: bool, of_medium: bool, allocation: u16 },
    /// LOG SELECT; `reset` is PCR.
    LogSelect { reset: bool, save: bool, control: LogControl, page: u8, subpage: u8, length: u16 },
    /// LOG SENSE, from `parameter` on.
    LogSense { control: LogControl, page: u8, subpage: u8, parameter: u16, allocation: u16 },
    /// MODE SELECT(10).
    ModeSelect10 { page_format: bool, save: bool, length: u16 },
    /// MODE SENSE(10).
    ModeSense10 {
        no_descriptors: bool,
        control: PageControl,
        page: u8,
        subpage: u8,
        allocation: u16,
    },
    /// PERSISTENT RESERVE IN.
    PersistentReserveIn { action: ReserveInAction, allocation: u16 },
    /// PERSISTENT RESERVE OUT; `kind` is the reservation type, the scope is the logical unit.
    PersistentReserveOut { action: ReserveOutAction, kind: u8, length: u32 },
    /// ALLOW OVERWRITE, in append-only mode: for the next write, if the tape stands before `object`.
    AllowOverwrite { what: Overwrite, partition: u8, object: u64 },
    /// READ ATTRIBUTE, from attribute `first` on.
    ReadAttribute {
        action: AttributeAction,
        partition: u8,
        first: u16,
        allocation: u32,
        cached: bool,
    },
    /// WRITE ATTRIBUTE.
    WriteAttribute { write_through: bool, partition: u8, length: u32 },
    /// SPACE(16).
    Space16 { code: SpaceCode, count: i64 },
    /// LOCATE(16).
    Locate16 { immediate: bool, partition: Option<u8>, to: LocateTarget },
    /// SECURITY PROTOCOL IN. `specific` is the page; lengths are bytes.
    SecurityProtocolIn { protocol: u8, specific: u16, allocation: u32 },
    /// SECURITY PROTOCOL OUT.
    SecurityProtocolOut { protocol: u8, specific: u16, length: u32 },
    /// REPORT LUNS.
    ReportLuns { select: u8, allocation: u32 },
    /// REPORT SUPPORTED OPERATION CODES; `timeouts` is RCTD.
    ReportSupportedOperationCodes { timeouts: bool, query: OpcodeQuery, allocation: u32 },
    /// INITIALIZE ELEMENT STATUS: a full inventory.
    InitializeElementStatus,
    /// INITIALIZE ELEMENT STATUS WITH RANGE, of `count` elements from `start` if `ranged`.
    InitializeElementStatusWithRange { fast: bool, ranged: bool, start: u16, count: u16 },
    /// POSITION TO ELEMENT.
    PositionToElement { transport: u16, destination: u16, invert: bool },
    /// MOVE MEDIUM. A `transport` of 0 is the default picker.
    MoveMedium { transport: u16, source: u16, destination: u16, invert: bool },
    /// EXCHANGE MEDIUM.
    ExchangeMedium { transport: u16, source: u16, first: u16, second: u16 },
    /// READ ELEMENT STATUS, of one kind or of all.
    ReadElementStatus {
        volume_tags: bool,
        kind: Option<ElementKind>,
        start: u16,
        count: u16,
        current_data: bool,
        device_id: bool,
        allocation: U24,
    },
}

/// What FORMAT MEDIUM makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 0: one partition.
    Default,
    /// 1: partitions by mode page 11h.
    Partition,
    /// 2: a default format, then partitions.
    DefaultThenPartition,
}

/// What SPACE counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceCode {
    /// 0.
    Blocks,
    /// 1.
    Filemarks,
    /// 2.
    SequentialFilemarks,
    /// 3: goes to end of data; the count is ignored.
    EndOfData,
}

/// Which values MODE SENSE asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageControl {
    /// 0.
    Current,
    /// 1: ones where a bit may be changed.
    Changeable,
    /// 2.
    Default,
    /// 3.
    Saved,
}

/// Which values LOG SENSE asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogControl {
    /// 0.
    Threshold,
    /// 1: the counters themselves.
    Cumulative,
    /// 2.
    DefaultThreshold,
    /// 3.
    DefaultCumulative,
}

/// The form of a READ POSITION reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionForm {
    /// 00h: 20 bytes, 32-bit object numbers.
    Short,
    /// 01h: as short, with numbers of the vendor's own.
    ShortVendor,
    /// 06h: 32 bytes, with the file number.
    Long,
    /// 08h: 32 bytes, with what the buffer holds.
    Extended,
}

/// Where LOCATE(16) goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocateTarget {
    /// Before this logical object.
    Object(u64),
    /// To this logical file; drives disagree on which side of the mark.
    File(u64),
    /// End of data.
    EndOfData,
}

/// What ALLOW OVERWRITE allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// 0: nothing.
    Nothing,
    /// 1: to write over what stands behind the current position.
    CurrentPosition,
    /// 2: FORMAT MEDIUM.
    Format,
}

/// What READ ATTRIBUTE asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeAction {
    /// 0: identifiers and values.
    Values,
    /// 1: identifiers of the attributes that exist.
    List,
    /// 2: logical volumes.
    VolumeList,
    /// 3: partitions.
    PartitionList,
    /// 5: identifiers of the attributes that could exist.
    Supported,
}

/// What PERSISTENT RESERVE IN asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReserveInAction {
    /// 0.
    ReadKeys,
    /// 1.
    ReadReservation,
    /// 2.
    ReportCapabilities,
    /// 3.
    ReadFullStatus,
}

/// What PERSISTENT RESERVE OUT does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReserveOutAction {
    /// 0.
    Register,
    /// 1.
    Reserve,
    /// 2.
    Release,
    /// 3.
    Clear,
    /// 4.
    Preempt,
    /// 5.
    PreemptAndAbort,
    /// 6: registers whatever key was there before.
    RegisterAndIgnore,
}

/// Which commands REPORT SUPPORTED OPERATION CODES is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpcodeQuery {
    /// All.
    All,
    /// One without service actions.
    One(u8),
    /// One with a service action.
    WithAction(u8, u16),
}

impl Command {
    /// The command's name as the standards print it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TestUnitReady => "TEST UNIT READY",
            Self::Rewind { .. } => "REWIND",
            Self::RequestSense { .. } => "REQUEST SENSE",
            Self::FormatMedium { .. } => "FORMAT MEDIUM",
            Self::ReadBlockLimits => "READ BLOCK LIMITS",
            Self::Read6 { .. } => "READ(6)",
            Self::Write6 { .. } => "WRITE(6)",
            Self::SetCapacity { .. } => "SET CAPACITY",
            Self::WriteFilemarks6 { .. } => "WRITE FILEMARKS(6)",
            Self::Space6 { .. } => "SPACE(6)",
            Self::Inquiry { .. } => "INQUIRY",
            Self::Verify6 { .. } => "VERIFY(6)",
            Self::ModeSelect6 { .. } => "MODE SELECT(6)",
            Self::Reserve6 => "RESERVE(6)",
            Self::Release6 => "RELEASE(6)",
            Self::Erase6 { .. } => "ERASE(6)",
            Self::ModeSense6 { .. } => "MODE SENSE(6)",
            Self::LoadUnload { .. } => "LOAD UNLOAD",
            Self::SendDiagnostic { .. } => "SEND DIAGNOSTIC",
            Self::PreventAllow { .. } => "PREVENT ALLOW MEDIUM REMOVAL",
            Self::Locate10 { .. } => "LOCATE(10)",
            Self::ReadPosition { .. } => "READ POSITION",
            Self::ReportDensitySupport { .. } => "REPORT DENSITY SUPPORT",
            Self::LogSelect { .. } => "LOG SELECT",
            Self::LogSense { .. } => "LOG SENSE",
            Self::ModeSelect10 { .. } => "MODE SELECT(10)",
            Self::ModeSense10 { .. } => "MODE SENSE(10)",
            Self::PersistentReserveIn { .. } => "PERSISTENT RESERVE IN",
            Self::PersistentReserveOut { .. } => "PERSISTENT RESERVE OUT",
            Self::AllowOverwrite { .. } => "ALLOW OVERWRITE",
            Self::ReadAttribute { .. } => "READ ATTRIBUTE",
            Self::WriteAttribute { .. } => "WRITE ATTRIBUTE",
            Self::Space16 { .. } => "SPACE(16)",
            Self::Locate16 { .. } => "LOCATE(16)",
            Self::SecurityProtocolIn { .. } => "SECURITY PROTOCOL IN",
            Self::SecurityProtocolOut { .. } => "SECURITY PROTOCOL OUT",
            Self::ReportLuns { .. } => "REPORT LUNS",
            Self::ReportSupportedOperationCodes { .. } => "REPORT SUPPORTED OPERATION CODES",
            Self::InitializeElementStatus => "INITIALIZE ELEMENT STATUS",
            Self::InitializeElementStatusWithRange { .. } => "INITIALIZE ELEMENT STATUS WITH RANGE",
            Self::PositionToElement { .. } => "POSITION TO ELEMENT",
            Self::MoveMedium { .. } => "MOVE MEDIUM",
            Self::ExchangeMedium { .. } => "EXCHANGE MEDIUM",
            Self::ReadElementStatus { .. } => "READ ELEMENT STATUS",
        }
    }
}
