//! The sense bytes.

use std::fmt;

use crate::scsi::sense::code::{Code, Key};

/// Bytes of the fixed format that this module writes: all that the standard defines.
const FIXED_LENGTH: u8 = 18;
/// Descriptors are looked at until this byte at most, whatever their count.
const DESCRIPTOR_LIMIT: usize = 252;

const INFORMATION: u8 = 0x00;
const SENSE_KEY_SPECIFIC: u8 = 0x02;
const FIELD_REPLACEABLE_UNIT: u8 = 0x03;
const STREAM_COMMANDS: u8 = 0x04;

/// Why a command ended so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    /// Whether it belongs to an earlier command, such as a buffered write. The command that
    /// delivered it was then not executed.
    pub deferred: bool,
    /// The coarse reason.
    pub key: Key,
    /// The fine one.
    pub code: Code,
    /// A filemark was met.
    pub filemark: bool,
    /// Beginning or end of the partition, or early warning, lies here.
    pub end_of_medium: bool,
    /// The block had another length than asked for.
    pub incorrect_length: bool,
    /// Asked less done, in the unit of the command: bytes of a variable block, blocks or filemarks
    /// otherwise. Negative when the block was longer than asked for.
    pub information: Option<i64>,
    /// More, by sense key.
    pub specific: Specific,
    /// Field replaceable unit, 0 if none.
    pub unit: u8,
}

/// The sense-key specific field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specific {
    /// Not valid, or a kind that is of no use here.
    None,
    /// Of an illegal request: which field.
    Field(FieldPointer),
    /// Of no sense and not ready: how much is done, of 65,536.
    Progress(u16),
}

/// Which field of a request is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldPointer {
    /// In the command block, otherwise in the data that were sent.
    pub in_command: bool,
    /// Its most significant bit, if that is known.
    pub bit: Option<u8>,
    /// Its first byte, from 0.
    pub byte: u16,
}

impl Sense {
    /// Current sense with this key and code, and no flag.
    pub fn new(key: Key, code: Code) -> Self {
        Self {
            deferred: false,
            key,
            code,
            filemark: false,
            end_of_medium: false,
            incorrect_length: false,
            information: None,
            specific: Specific::None,
            unit: 0,
        }
    }

    /// ILLEGAL REQUEST for byte `byte` of the command block.
    pub fn invalid_cdb_field(byte: u16) -> Self {
        let pointer = FieldPointer { in_command: true, bit: None, byte };
        let specific = Specific::Field(pointer);
        Self { specific, ..Self::new(Key::IllegalRequest, Code::INVALID_FIELD_IN_CDB) }
    }

    /// ILLEGAL REQUEST for byte `byte` of the data sent.
    pub fn invalid_parameter_field(byte: u16) -> Self {
        let pointer = FieldPointer { in_command: false, bit: None, byte };
        let specific = Specific::Field(pointer);
        Self { specific, ..Self::new(Key::IllegalRequest, Code::INVALID_FIELD_IN_PARAMETER_LIST) }
    }

    /// Reads either format; fields that the bytes do not reach are absent.
    ///
    /// `None` when these are not sense data of a known format.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let response = bytes.first()? & 0x7F;
        match response {
            0x70 | 0x71 => Self::decode_fixed(response == 0x71, bytes),
            0x72 | 0x73 => Self::decode_descriptors(response == 0x73, bytes),
            _ => None,
        }
    }

    fn decode_fixed(deferred: bool, bytes: &[u8]) -> Option<Self> {
        let flags = *bytes.get(2)?;
        let length = bytes.get(7).map_or(bytes.len(), |&more| 8 + usize::from(more));
        let bytes = bytes.get(..length).unwrap_or(bytes);
        let at = |byte: usize| bytes.get(byte).copied().unwrap_or(0);
        let key = Key::from_bits(flags);
        let information = (bytes[0] & 0x80 != 0 && bytes.len() >= 7)
            .then(|| i64::from(i32::from_be_bytes([at(3), at(4), at(5), at(6)])));
        Some(Self {
            deferred,
            key,
            code: Code { asc: at(12), ascq: at(13) },
            filemark: flags & 0x80 != 0,
            end_of_medium: flags & 0x40 != 0,
            incorrect_length: flags & 0x20 != 0,
            information,
            specific: Specific::decode(key, [at(15), at(16), at(17)]),
            unit: at(14),
        })
    }

    fn decode_descriptors(deferred: bool, bytes: &[u8]) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<4>()?;
        let key = Key::from_bits(header[1]);
        let code = Code { asc: header[2], ascq: header[3] };
        let mut sense = Self { deferred, ..Self::new(key, code) };
        let end = bytes.get(7).map_or(0, |&more| 8 + usize::from(more));
        let end = end.min(bytes.len()).min(DESCRIPTOR_LIMIT);
        let mut rest = bytes.get(8..end).unwrap_or(&[]);
        while let [kind, length, after @ ..] = rest {
            let body = after.get(..usize::from(*length)).unwrap_or(after);
            sense.take_descriptor(*kind, body);
            rest = &after[body.len()..];
        }
        Some(sense)
    }

    /// Takes in one descriptor; `body` begins after its length.
    fn take_descriptor(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (INFORMATION, [valid, _, value @ ..]) if valid & 0x80 != 0 => {
                self.information = value.first_chunk().map(|value| i64::from_be_bytes(*value));
            }
            (SENSE_KEY_SPECIFIC, [_, _, a, b, c, ..]) => {
                self.specific = Specific::decode(self.key, [*a, *b, *c]);
            }
            (FIELD_REPLACEABLE_UNIT, [_, unit, ..]) => self.unit = *unit,
            (STREAM_COMMANDS, [_, flags, ..]) => {
                self.filemark = flags & 0x80 != 0;
                self.end_of_medium = flags & 0x40 != 0;
                self.incorrect_length = flags & 0x20 != 0;
            }
            _ => (),
        }
    }

    fn flags(&self) -> u8 {
        (u8::from(self.filemark) << 7)
            | (u8::from(self.end_of_medium) << 6)
            | (u8::from(self.incorrect_length) << 5)
    }

    /// The fixed format, 18 bytes. Information that does not fit 32 bits is marked not valid.
    pub fn encode_fixed(&self) -> Vec<u8> {
        let information = self.information.and_then(|information| i32::try_from(information).ok());
        let mut bytes = vec![0; usize::from(FIXED_LENGTH)];
        bytes[0] = 0x70 | u8::from(self.deferred) | (u8::from(information.is_some()) << 7);
        bytes[2] = self.flags() | self.key.code();
        bytes[3..7].copy_from_slice(&information.unwrap_or(0).to_be_bytes());
        bytes[7] = FIXED_LENGTH - 8;
        bytes[12] = self.code.asc;
        bytes[13] = self.code.ascq;
        bytes[14] = self.unit;
        bytes[15..18].copy_from_slice(&self.specific.encode());
        bytes
    }

    /// The descriptor format.
    pub fn encode_descriptors(&self) -> Vec<u8> {
        let response = 0x72 | u8::from(self.deferred);
        let mut bytes = vec![response, self.key.code(), self.code.asc, self.code.ascq, 0, 0, 0, 0];
        if let Some(information) = self.information {
            bytes.extend([INFORMATION, 0x0A, 0x80, 0]);
            bytes.extend(information.to_be_bytes());
        }
        if self.specific != Specific::None {
            let [a, b, c] = self.specific.encode();
            bytes.extend([SENSE_KEY_SPECIFIC, 0x06, 0, 0, a, b, c, 0]);
        }
        if self.unit != 0 {
            bytes.extend([FIELD_REPLACEABLE_UNIT, 0x02, 0, self.unit]);
        }
        if self.flags() != 0 {
            bytes.extend([STREAM_COMMANDS, 0x02, 0, self.flags()]);
        }
        bytes[7] = u8::try_from(bytes.len() - 8).expect("four descriptors are under 40 bytes");
        bytes
    }
}

impl Specific {
    fn decode(key: Key, [first, second, third]: [u8; 3]) -> Self {
        if first & 0x80 == 0 {
            return Self::None;
        }
        let value = u16::from_be_bytes([second, third]);
        if key == Key::IllegalRequest {
            let bit = (first & 0x08 != 0).then_some(first & 0x07);
            return Self::Field(FieldPointer { in_command: first & 0x40 != 0, bit, byte: value });
        }
        if key == Key::NoSense || key == Key::NotReady {
            return Self::Progress(value);
        }
        Self::None
    }

    fn encode(self) -> [u8; 3] {
        let (first, value) = match self {
            Self::None => return [0; 3],
            Self::Progress(done) => (0x80, done),
            Self::Field(FieldPointer { in_command, bit, byte }) => {
                let bit = bit.map_or(0, |bit| 0x08 | (bit & 0x07));
                (0x80 | (u8::from(in_command) << 6) | bit, byte)
            }
        };
        let [high, low] = value.to_be_bytes();
        [first, high, low]
    }
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Code { asc, ascq } = self.code;
        if self.deferred {
            f.write_str("deferred ")?;
        }
        write!(f, "{:X}/{asc:02X}/{ascq:02X}", self.key.code())?;
        for (set, name) in
            [(self.filemark, " FM"), (self.end_of_medium, " EOM"), (self.incorrect_length, " ILI")]
        {
            if set {
                f.write_str(name)?;
            }
        }
        match self.code.meaning() {
            Some(meaning) => write!(f, " ({meaning})"),
            None => Ok(()),
        }
    }
}
