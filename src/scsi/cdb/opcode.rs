//! Operation codes (SPC, SSC and SMC, command tables).

macro_rules! opcodes {
    ($($name:ident = $code:literal;)*) => {
        $(
            #[doc = concat!("Operation code `", stringify!($code), "`.")]
            pub const $name: u8 = $code;
        )*
    };
}

opcodes! {
    TEST_UNIT_READY = 0x00;
    REWIND = 0x01;
    REQUEST_SENSE = 0x03;
    FORMAT_MEDIUM = 0x04;
    READ_BLOCK_LIMITS = 0x05;
    INITIALIZE_ELEMENT_STATUS = 0x07;
    READ_6 = 0x08;
    WRITE_6 = 0x0A;
    SET_CAPACITY = 0x0B;
    WRITE_FILEMARKS_6 = 0x10;
    SPACE_6 = 0x11;
    INQUIRY = 0x12;
    VERIFY_6 = 0x13;
    MODE_SELECT_6 = 0x15;
    RESERVE_6 = 0x16;
    RELEASE_6 = 0x17;
    ERASE_6 = 0x19;
    MODE_SENSE_6 = 0x1A;
    LOAD_UNLOAD = 0x1B;
    SEND_DIAGNOSTIC = 0x1D;
    PREVENT_ALLOW = 0x1E;
    LOCATE_10 = 0x2B;
    POSITION_TO_ELEMENT = 0x2B;
    READ_POSITION = 0x34;
    INITIALIZE_ELEMENT_STATUS_WITH_RANGE = 0x37;
    REPORT_DENSITY_SUPPORT = 0x44;
    LOG_SELECT = 0x4C;
    LOG_SENSE = 0x4D;
    MODE_SELECT_10 = 0x55;
    MODE_SENSE_10 = 0x5A;
    PERSISTENT_RESERVE_IN = 0x5E;
    PERSISTENT_RESERVE_OUT = 0x5F;
    ALLOW_OVERWRITE = 0x82;
    READ_ATTRIBUTE = 0x8C;
    WRITE_ATTRIBUTE = 0x8D;
    SPACE_16 = 0x91;
    LOCATE_16 = 0x92;
    REPORT_LUNS = 0xA0;
    SECURITY_PROTOCOL_IN = 0xA2;
    MAINTENANCE_IN = 0xA3;
    MOVE_MEDIUM = 0xA5;
    EXCHANGE_MEDIUM = 0xA6;
    SECURITY_PROTOCOL_OUT = 0xB5;
    READ_ELEMENT_STATUS = 0xB8;
}

/// Service action of MAINTENANCE IN that reports supported operation codes.
pub const REPORT_SUPPORTED_OPERATION_CODES: u8 = 0x0C;

/// Bytes of the command block that begins with `opcode`; `None` for groups without a fixed length
/// (SAM, Operation code, group code field).
pub fn length(opcode: u8) -> Option<usize> {
    match opcode >> 5 {
        0 => Some(6),
        1 | 2 => Some(10),
        4 => Some(16),
        5 => Some(12),
        _ => None,
    }
}
