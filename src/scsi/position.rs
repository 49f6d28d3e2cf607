//! READ POSITION replies: where the tape stands and what the buffer holds.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    big_endian::{U16, U32, U64},
};

use crate::position::{FileNumber, ObjectNumber, Position};

const BOP: u8 = 0x80;
const EOP: u8 = 0x40;
/// Short and extended: the object counts of the buffer are unknown.
const LOCU: u8 = 0x20;
/// Short and extended: the byte count of the buffer is unknown.
const BYCU: u8 = 0x10;
/// Long: the file number is unknown.
const MPU: u8 = 0x08;
/// The position is unknown.
const LOLU: u8 = 0x04;
/// Short and extended: a number does not fit its field.
const PERR: u8 = 0x02;
const BPEW: u8 = 0x01;

/// The short form (SSC, READ POSITION short form), object numbers in 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Short {
    /// What the numbers are worth.
    pub flags: Flags,
    /// Partition, from 0.
    pub partition: u8,
    /// The object that the host would transfer next.
    pub first: u32,
    /// The object that would move next between buffer and medium.
    pub last: u32,
    /// Objects in the buffer; of at most 24 bits.
    pub objects: u32,
    /// Bytes in the buffer.
    pub bytes: u32,
}

/// The long form (SSC, READ POSITION long form).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Long {
    /// Beginning of partition.
    pub beginning: bool,
    /// At or past early warning.
    pub early_warning: bool,
    /// Past programmable early warning.
    pub programmable_early_warning: bool,
    /// The file number is not known.
    pub file_unknown: bool,
    /// The object number is not known.
    pub object_unknown: bool,
    /// Partition, from 0.
    pub partition: u32,
    /// Objects before this point.
    pub object: u64,
    /// Filemarks before this point.
    pub file: u64,
}

/// The extended form (SSC, READ POSITION extended form), numbers in 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extended {
    /// What the numbers are worth.
    pub flags: Flags,
    /// Partition, from 0.
    pub partition: u8,
    /// The object that the host would transfer next.
    pub first: u64,
    /// The object that would move next between buffer and medium.
    pub last: u64,
    /// Objects in the buffer; of at most 24 bits.
    pub objects: u32,
    /// Bytes in the buffer.
    pub bytes: u64,
}

/// The first byte of the short and the extended form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Beginning of partition.
    pub beginning: bool,
    /// At or past early warning.
    pub early_warning: bool,
    /// The object count of the buffer is not known.
    pub objects_unknown: bool,
    /// The byte count of the buffer is not known.
    pub bytes_unknown: bool,
    /// The position is not known.
    pub position_unknown: bool,
    /// A number does not fit its field.
    pub overflow: bool,
    /// Past programmable early warning.
    pub programmable_early_warning: bool,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ShortForm {
    flags: u8,
    partition: u8,
    _reserved: [u8; 2],
    first: U32,
    last: U32,
    /// The high byte is reserved.
    objects: U32,
    bytes: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LongForm {
    flags: u8,
    _reserved: [u8; 3],
    partition: U32,
    object: U64,
    file: U64,
    _obsolete: [u8; 8],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ExtendedForm {
    flags: u8,
    partition: u8,
    additional: U16,
    /// The high byte is reserved.
    objects: U32,
    first: U64,
    last: U64,
    bytes: U64,
}

const _: () = assert!(size_of::<ShortForm>() == Short::LENGTH);
const _: () = assert!(size_of::<LongForm>() == Long::LENGTH);
const _: () = assert!(size_of::<ExtendedForm>() == Extended::LENGTH);

const MASK_24: u32 = 0xFF_FFFF;

impl Flags {
    fn from_byte(byte: u8) -> Self {
        Self {
            beginning: byte & BOP != 0,
            early_warning: byte & EOP != 0,
            objects_unknown: byte & LOCU != 0,
            bytes_unknown: byte & BYCU != 0,
            position_unknown: byte & LOLU != 0,
            overflow: byte & PERR != 0,
            programmable_early_warning: byte & BPEW != 0,
        }
    }

    fn byte(self) -> u8 {
        set(self.beginning, BOP)
            | set(self.early_warning, EOP)
            | set(self.objects_unknown, LOCU)
            | set(self.bytes_unknown, BYCU)
            | set(self.position_unknown, LOLU)
            | set(self.overflow, PERR)
            | set(self.programmable_early_warning, BPEW)
    }
}

fn set(on: bool, mask: u8) -> u8 {
    if on { mask } else { 0 }
}

impl Short {
    /// Bytes of the reply.
    pub const LENGTH: usize = 20;

    /// Reads a reply; `None` when it is cut short.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (form, _) = ShortForm::read_from_prefix(bytes).ok()?;
        Some(Self {
            flags: Flags::from_byte(form.flags),
            partition: form.partition,
            first: form.first.get(),
            last: form.last.get(),
            objects: form.objects.get() & MASK_24,
            bytes: form.bytes.get(),
        })
    }

    /// The reply.
    pub fn encode(&self) -> Vec<u8> {
        let form = ShortForm {
            flags: self.flags.byte(),
            partition: self.partition,
            _reserved: [0; 2],
            first: self.first.into(),
            last: self.last.into(),
            objects: (self.objects & MASK_24).into(),
            bytes: self.bytes.into(),
        };
        form.as_bytes().to_vec()
    }
}

impl Long {
    /// Bytes of the reply.
    pub const LENGTH: usize = 32;

    /// Reads a reply; `None` when it is cut short.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (form, _) = LongForm::read_from_prefix(bytes).ok()?;
        Some(Self {
            beginning: form.flags & BOP != 0,
            early_warning: form.flags & EOP != 0,
            programmable_early_warning: form.flags & BPEW != 0,
            file_unknown: form.flags & MPU != 0,
            object_unknown: form.flags & LOLU != 0,
            partition: form.partition.get(),
            object: form.object.get(),
            file: form.file.get(),
        })
    }

    /// The reply.
    pub fn encode(&self) -> Vec<u8> {
        let form = LongForm {
            flags: set(self.beginning, BOP)
                | set(self.early_warning, EOP)
                | set(self.programmable_early_warning, BPEW)
                | set(self.file_unknown, MPU)
                | set(self.object_unknown, LOLU),
            _reserved: [0; 3],
            partition: self.partition.into(),
            object: self.object.into(),
            file: self.file.into(),
            _obsolete: [0; 8],
        };
        form.as_bytes().to_vec()
    }

    /// The position; `None` when the drive does not know where it is, as after a reset.
    pub fn position(&self) -> Option<Position> {
        (!self.object_unknown && !self.file_unknown).then_some(Position {
            partition: self.partition,
            object: ObjectNumber(self.object),
            file: FileNumber(self.file),
            at_beginning: self.beginning,
            past_early_warning: self.early_warning,
            past_programmable_early_warning: self.programmable_early_warning,
        })
    }
}

impl Extended {
    /// Bytes of the reply.
    pub const LENGTH: usize = 32;

    /// Reads a reply; `None` when it is cut short.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (form, _) = ExtendedForm::read_from_prefix(bytes).ok()?;
        Some(Self {
            flags: Flags::from_byte(form.flags),
            partition: form.partition,
            first: form.first.get(),
            last: form.last.get(),
            objects: form.objects.get() & MASK_24,
            bytes: form.bytes.get(),
        })
    }

    /// The reply.
    pub fn encode(&self) -> Vec<u8> {
        let form = ExtendedForm {
            flags: self.flags.byte(),
            partition: self.partition,
            additional: 0x1C.into(),
            objects: (self.objects & MASK_24).into(),
            first: self.first.into(),
            last: self.last.into(),
            bytes: self.bytes.into(),
        };
        form.as_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_reply_has_the_bytes_of_the_standard() {
        let bytes = [
            0x41, 0, 0, 0, 0, 0, 0, 1, // EOP, BPEW, partition 1
            0, 0, 0, 1, 0, 0, 0, 2, // object
            0, 0, 0, 0, 0, 0, 0, 3, // file
            0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let long = Long {
            early_warning: true,
            programmable_early_warning: true,
            partition: 1,
            object: 0x1_0000_0002,
            file: 3,
            ..Long::default()
        };
        assert_eq!(Long::decode(&bytes), Some(long));
        assert_eq!(long.encode(), bytes);
        assert_eq!(long.position().unwrap().object, ObjectNumber(0x1_0000_0002));
    }

    #[test]
    fn an_unknown_position_is_none() {
        for unknown in [0x04, 0x08, 0x0C] {
            let mut bytes = [0; 32];
            bytes[0] = unknown;
            assert_eq!(Long::decode(&bytes).unwrap().position(), None);
        }
        assert_eq!(Long::decode(&[0; 31]), None);
    }

    #[test]
    fn a_short_reply_has_the_bytes_of_the_standard() {
        let bytes = [0x80, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0x28, 0, 0];
        let short = Short {
            flags: Flags { beginning: true, ..Flags::default() },
            partition: 0,
            first: 9,
            last: 4,
            objects: 5,
            bytes: 0x28_0000,
        };
        assert_eq!(Short::decode(&bytes), Some(short));
        assert_eq!(short.encode(), bytes);
    }

    #[test]
    fn an_extended_reply_has_the_bytes_of_the_standard() {
        let bytes = [
            0x30, 2, 0, 0x1C, 0, 0, 1, 0, // LOCU, BYCU, partition 2, 256 objects
            0, 0, 0, 0, 0, 0, 2, 0, // first
            0, 0, 0, 0, 0, 0, 1, 0, // last
            0, 0, 0, 1, 0, 0, 0, 0, // bytes
        ];
        let extended = Extended {
            flags: Flags { objects_unknown: true, bytes_unknown: true, ..Flags::default() },
            partition: 2,
            first: 512,
            last: 256,
            objects: 256,
            bytes: 1 << 32,
        };
        assert_eq!(Extended::decode(&bytes), Some(extended));
        assert_eq!(extended.encode(), bytes);
    }

    proptest! {
        #[test]
        fn replies_read_back_and_no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(short) = Short::decode(&bytes) {
                prop_assert_eq!(Short::decode(&short.encode()), Some(short));
            }
            if let Some(long) = Long::decode(&bytes) {
                prop_assert_eq!(Long::decode(&long.encode()), Some(long));
            }
            if let Some(extended) = Extended::decode(&bytes) {
                prop_assert_eq!(Extended::decode(&extended.encode()), Some(extended));
            }
        }
    }
}
