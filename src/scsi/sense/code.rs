//! Sense keys and additional sense codes by name.

/// The sense key, the coarse reason (SPC, Sense key).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Key {
    /// 0: nothing wrong, or only the flags matter.
    NoSense = 0x0,
    /// 1: done, with some trouble.
    RecoveredError = 0x1,
    /// 2.
    NotReady = 0x2,
    /// 3.
    MediumError = 0x3,
    /// 4.
    HardwareError = 0x4,
    /// 5: the command itself is wrong.
    IllegalRequest = 0x5,
    /// 6: something happened since the last command.
    UnitAttention = 0x6,
    /// 7: protected against this access.
    DataProtect = 0x7,
    /// 8: end of data, or nothing written.
    BlankCheck = 0x8,
    /// 9.
    VendorSpecific = 0x9,
    /// A.
    CopyAborted = 0xA,
    /// B.
    AbortedCommand = 0xB,
    /// C: reserved.
    ReservedC = 0xC,
    /// D: the end of the medium, and the block did not land.
    VolumeOverflow = 0xD,
    /// E.
    Miscompare = 0xE,
    /// F: completed.
    Completed = 0xF,
}

impl Key {
    const ALL: [Self; 16] = [
        Self::NoSense,
        Self::RecoveredError,
        Self::NotReady,
        Self::MediumError,
        Self::HardwareError,
        Self::IllegalRequest,
        Self::UnitAttention,
        Self::DataProtect,
        Self::BlankCheck,
        Self::VendorSpecific,
        Self::CopyAborted,
        Self::AbortedCommand,
        Self::ReservedC,
        Self::VolumeOverflow,
        Self::Miscompare,
        Self::Completed,
    ];

    /// The key in the low four bits.
    pub fn from_bits(bits: u8) -> Self {
        Self::ALL[usize::from(bits & 0x0F)]
    }

    /// The key as a number, 0 to 15.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Additional sense code and its qualifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Code {
    /// ASC.
    pub asc: u8,
    /// ASCQ.
    pub ascq: u8,
}

macro_rules! codes {
    ($($name:ident = $asc:literal $ascq:literal $text:literal;)*) => {
        impl Code {
            $(
                #[doc = concat!("`", stringify!($asc), "/", stringify!($ascq), "`: ", $text, ".")]
                pub const $name: Self = Self { asc: $asc, ascq: $ascq };
            )*

            /// What the code means; `None` for one that is not in the table.
            pub fn meaning(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    NONE = 0x00 0x00 "no additional information";
    FILEMARK_DETECTED = 0x00 0x01 "filemark detected";
    END_OF_PARTITION_DETECTED = 0x00 0x02 "early warning or end of partition";
    BEGINNING_OF_PARTITION_DETECTED = 0x00 0x04 "beginning of partition";
    END_OF_DATA_DETECTED = 0x00 0x05 "end of data";
    PROGRAMMABLE_EARLY_WARNING_DETECTED = 0x00 0x07 "programmable early warning";
    OPERATION_IN_PROGRESS = 0x00 0x16 "operation in progress";
    CLEANING_REQUESTED = 0x00 0x17 "cleaning requested";
    ERASE_IN_PROGRESS = 0x00 0x18 "erase in progress";
    NOT_READY = 0x04 0x00 "not ready, no cause given";
    BECOMING_READY = 0x04 0x01 "becoming ready";
    INITIALIZING_COMMAND_REQUIRED = 0x04 0x02 "a load command is needed";
    MANUAL_INTERVENTION_REQUIRED = 0x04 0x03 "manual intervention required";
    FORMAT_IN_PROGRESS = 0x04 0x04 "format in progress";
    NOT_READY_OPERATION_IN_PROGRESS = 0x04 0x07 "not ready, operation in progress";
    SELF_TEST_IN_PROGRESS = 0x04 0x09 "self-test in progress";
    AUXILIARY_MEMORY_INACCESSIBLE = 0x04 0x10 "auxiliary memory not accessible";
    OFFLINE = 0x04 0x12 "offline";
    SA_CREATION_IN_PROGRESS = 0x04 0x13 "security association being made";
    TRACK_FOLLOWING_ERROR = 0x09 0x00 "track following error";
    ERROR_LOG_OVERFLOW = 0x0A 0x00 "error log overflow";
    TEMPERATURE_EXCEEDED = 0x0B 0x01 "temperature exceeded";
    WRITE_ERROR = 0x0C 0x00 "write error";
    AUXILIARY_MEMORY_WRITE_ERROR = 0x0C 0x0B "auxiliary memory write error";
    EXCESSIVE_WRITE_ERRORS = 0x03 0x02 "excessive write errors";
    BLOCK_GUARD_CHECK_FAILED = 0x10 0x01 "block protection check failed";
    PROTECTION_ERROR_ON_RECOVERY = 0x10 0x04 "block protection error on recovered buffered data";
    UNRECOVERED_READ_ERROR = 0x11 0x00 "unrecovered read error";
    READ_RETRIES_EXHAUSTED = 0x11 0x01 "read retries exhausted";
    INCOMPLETE_BLOCK_READ = 0x11 0x08 "incomplete block read";
    AUXILIARY_MEMORY_READ_ERROR = 0x11 0x12 "auxiliary memory read error";
    ENTITY_NOT_FOUND = 0x14 0x00 "recorded entity not found";
    RECORD_NOT_FOUND = 0x14 0x01 "block not found";
    FILEMARK_NOT_FOUND = 0x14 0x02 "filemark not found";
    END_OF_DATA_NOT_FOUND = 0x14 0x03 "end of data not found";
    BLOCK_SEQUENCE_ERROR = 0x14 0x04 "block sequence error";
    MECHANICAL_POSITIONING_ERROR = 0x15 0x01 "mechanical positioning error";
    RECOVERED_WITH_RETRIES = 0x17 0x01 "recovered with retries";
    RECOVERED_WITH_CORRECTION = 0x18 0x00 "recovered with error correction";
    PARAMETER_LIST_LENGTH_ERROR = 0x1A 0x00 "parameter list length error";
    INVALID_OPERATION_CODE = 0x20 0x00 "invalid operation code";
    ILLEGAL_WHILE_APPEND_ONLY = 0x20 0x0C "not allowed in append-only mode";
    INVALID_ELEMENT_ADDRESS = 0x21 0x01 "invalid element address";
    INVALID_FIELD_IN_CDB = 0x24 0x00 "invalid field in the command";
    LOGICAL_UNIT_NOT_SUPPORTED = 0x25 0x00 "logical unit not supported";
    INVALID_FIELD_IN_PARAMETER_LIST = 0x26 0x00 "invalid field in the parameters";
    PARAMETER_NOT_SUPPORTED = 0x26 0x01 "parameter not supported";
    PARAMETER_VALUE_INVALID = 0x26 0x02 "parameter value invalid";
    INVALID_RELEASE_OF_RESERVATION = 0x26 0x04 "invalid release of a reservation";
    WRONG_KEY_LIMIT = 0x26 0x10 "too many wrong keys, unload or power-cycle the drive";
    INCOMPLETE_KEY_DATA = 0x26 0x11 "incomplete key-associated data";
    KEY_REFERENCE_NOT_FOUND = 0x26 0x12 "key reference not found";
    WRITE_PROTECTED = 0x27 0x00 "write protected";
    MEDIUM_MAY_HAVE_CHANGED = 0x28 0x00 "became ready, the cartridge may have changed";
    IMPORT_OR_EXPORT_ACCESSED = 0x28 0x01 "a mail slot was accessed";
    POWER_ON_OR_RESET = 0x29 0x00 "power on or reset";
    POWER_ON = 0x29 0x01 "power on";
    BUS_RESET = 0x29 0x02 "bus reset";
    DEVICE_RESET = 0x29 0x03 "device reset";
    INTERNAL_RESET = 0x29 0x04 "internal reset";
    NEXUS_LOSS = 0x29 0x07 "initiator link lost";
    PARAMETERS_CHANGED = 0x2A 0x00 "parameters changed";
    MODE_PARAMETERS_CHANGED = 0x2A 0x01 "mode parameters changed";
    LOG_PARAMETERS_CHANGED = 0x2A 0x02 "log parameters changed";
    RESERVATIONS_PREEMPTED = 0x2A 0x03 "reservation preempted";
    RESERVATIONS_RELEASED = 0x2A 0x04 "reservation released";
    REGISTRATIONS_PREEMPTED = 0x2A 0x05 "registration preempted";
    ENCRYPTION_PARAMETERS_CHANGED = 0x2A 0x11 "encryption parameters changed by another initiator";
    ENCRYPTION_PARAMETERS_CHANGED_BY_VENDOR = 0x2A 0x12 "encryption parameters changed by the drive";
    KEY_INSTANCE_CHANGED = 0x2A 0x13 "the key instance counter changed";
    COMMAND_SEQUENCE_ERROR = 0x2C 0x00 "command sequence error";
    NOT_RESERVED = 0x2C 0x0B "not reserved";
    COMMANDS_CLEARED = 0x2F 0x00 "commands cleared by another initiator";
    INCOMPATIBLE_MEDIUM = 0x30 0x00 "incompatible medium";
    UNKNOWN_FORMAT = 0x30 0x01 "cannot read the medium, unknown format";
    INCOMPATIBLE_FORMAT = 0x30 0x02 "cannot read the medium, incompatible format";
    CLEANING_CARTRIDGE_PRESENT = 0x30 0x03 "cleaning cartridge present";
    CANNOT_WRITE_INCOMPATIBLE_FORMAT = 0x30 0x05 "cannot write the medium, incompatible format";
    CLEANING_FAILURE = 0x30 0x07 "cleaning failure";
    WORM_OVERWRITE_ATTEMPTED = 0x30 0x0C "overwrite of a write-once medium attempted";
    WORM_INTEGRITY_CHECK = 0x30 0x0D "write-once integrity check failed";
    MEDIUM_FORMAT_CORRUPTED = 0x31 0x00 "medium format corrupted";
    FORMAT_COMMAND_FAILED = 0x31 0x01 "format failed";
    TAPE_LENGTH_ERROR = 0x33 0x00 "tape length error";
    ROUNDED_PARAMETER = 0x37 0x00 "parameter rounded";
    SAVING_NOT_SUPPORTED = 0x39 0x00 "saving parameters not supported";
    NO_MEDIUM = 0x3A 0x00 "no cartridge";
    NO_MEDIUM_TRAY_OPEN = 0x3A 0x02 "no cartridge, tray open";
    NO_MEDIUM_MEMORY_ACCESSIBLE = 0x3A 0x04 "no cartridge threaded, its chip can be read";
    SEQUENTIAL_POSITIONING_ERROR = 0x3B 0x00 "sequential positioning error";
    REPOSITION_ERROR = 0x3B 0x08 "reposition error";
    PAST_BEGINNING_OF_MEDIUM = 0x3B 0x0C "position past the beginning";
    DESTINATION_FULL = 0x3B 0x0D "the destination element is full";
    SOURCE_EMPTY = 0x3B 0x0E "the source element is empty";
    MAGAZINE_NOT_ACCESSIBLE = 0x3B 0x11 "magazine not accessible";
    MAGAZINE_REMOVED = 0x3B 0x12 "magazine removed";
    MAGAZINE_INSERTED = 0x3B 0x13 "magazine inserted";
    NOT_SELF_CONFIGURED = 0x3E 0x00 "not self-configured yet";
    MICROCODE_CHANGED = 0x3F 0x01 "firmware changed";
    INQUIRY_DATA_CHANGED = 0x3F 0x03 "inquiry data changed";
    LUN_DATA_CHANGED = 0x3F 0x0E "logical units changed";
    INTERNAL_TARGET_FAILURE = 0x44 0x00 "internal failure";
    WRITE_APPEND_ERROR = 0x50 0x00 "write append error";
    WRITE_APPEND_POSITION_ERROR = 0x50 0x01 "write append position error";
    ERASE_FAILURE = 0x51 0x00 "erase failure";
    CARTRIDGE_FAULT = 0x52 0x00 "cartridge fault";
    LOAD_OR_EJECT_FAILED = 0x53 0x00 "load or eject failed";
    UNLOAD_TAPE_FAILURE = 0x53 0x01 "the drive did not unload the cartridge";
    MEDIUM_REMOVAL_PREVENTED = 0x53 0x02 "removal prevented";
    REMOVAL_PREVENTED_STATE = 0x53 0x03 "removal prevented by the data transfer element";
    THREAD_OR_UNTHREAD_FAILURE = 0x53 0x04 "thread or unthread failure";
    OPERATOR_REMOVAL_REQUEST = 0x5A 0x01 "the operator asks for the cartridge";
    OPERATOR_WRITE_PROTECT = 0x5A 0x02 "the operator selected write protect";
    FAILURE_PREDICTION = 0x5D 0x00 "failure predicted";
    SECURITY_ERROR = 0x74 0x00 "security error";
    UNABLE_TO_DECRYPT = 0x74 0x01 "unable to decrypt";
    UNENCRYPTED_WHILE_DECRYPTING = 0x74 0x02 "unencrypted data met while decrypting";
    INCORRECT_KEY = 0x74 0x03 "incorrect decryption key";
    INTEGRITY_VALIDATION_FAILED = 0x74 0x04 "decrypted data fail their integrity check";
    DECRYPTION_ERROR = 0x74 0x05 "error while decrypting";
}
