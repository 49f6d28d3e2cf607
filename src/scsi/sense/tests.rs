//! Vectors from the sense data tables of SPC and SSC, and the laws of the codec.

use proptest::prelude::*;

use crate::scsi::sense::{Code, FieldPointer, Key, Sense, Specific};

#[test]
fn a_filemark_met_by_a_variable_read() {
    let bytes = [0xF0, 0, 0x80, 0, 8, 0, 0, 10, 0, 0, 0, 0, 0x00, 0x01, 0, 0, 0, 0];
    let sense = Sense {
        filemark: true,
        information: Some(0x08_0000),
        ..Sense::new(Key::NoSense, Code::FILEMARK_DETECTED)
    };
    assert_eq!(Sense::decode(&bytes), Some(sense));
    assert_eq!(sense.encode_fixed(), bytes);
    assert_eq!(sense.to_string(), "0/00/01 FM (filemark detected)");
}

#[test]
fn a_block_longer_than_the_read_has_negative_information() {
    let bytes = [0xF0, 0, 0x20, 0xFF, 0xFF, 0xFE, 0x00, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let sense = Sense {
        incorrect_length: true,
        information: Some(-512),
        ..Sense::new(Key::NoSense, Code::NONE)
    };
    assert_eq!(Sense::decode(&bytes), Some(sense));
    assert_eq!(sense.encode_fixed(), bytes);
}

#[test]
fn a_deferred_write_error_in_descriptors() {
    let bytes = [
        0x73, 0x03, 0x0C, 0x00, 0, 0, 0, 16, // header
        0x00, 0x0A, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 7, // information
        0x04, 0x02, 0, 0x40, // stream commands: end of medium
    ];
    let sense = Sense {
        deferred: true,
        end_of_medium: true,
        information: Some(7),
        ..Sense::new(Key::MediumError, Code::WRITE_ERROR)
    };
    assert_eq!(Sense::decode(&bytes), Some(sense));
    assert_eq!(sense.encode_descriptors(), bytes);
    assert_eq!(sense.to_string(), "deferred 3/0C/00 EOM (write error)");
}

#[test]
fn an_illegal_request_points_at_its_field() {
    let bytes = [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xC0, 0, 2];
    assert_eq!(Sense::decode(&bytes), Some(Sense::invalid_cdb_field(2)));
    assert_eq!(Sense::invalid_cdb_field(2).encode_fixed(), bytes);
}

#[test]
fn what_the_additional_length_leaves_out_is_absent() {
    let bytes = [0x70, 0, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 0x00, 0, 0, 0, 0];
    assert_eq!(Sense::decode(&bytes), Some(Sense::new(Key::MediumError, Code::NONE)));
    assert_eq!(Sense::decode(&[0x70, 0, 0x08]), Some(Sense::new(Key::BlankCheck, Code::NONE)));
    assert_eq!(Sense::decode(&[]), None);
    assert_eq!(Sense::decode(&[0x7F, 0, 0]), None);
    assert_eq!(Sense::decode(&[0; 18]), None);
}

fn sense(information: impl Strategy<Value = Option<i64>>) -> impl Strategy<Value = Sense> {
    let field = (any::<bool>(), prop::option::of(0_u8..8), any::<u16>())
        .prop_map(|(in_command, bit, byte)| FieldPointer { in_command, bit, byte });
    (
        (any::<bool>(), 0_u8..16, any::<u8>(), any::<u8>(), any::<u8>()),
        any::<[bool; 4]>(),
        information,
        (field, any::<u16>()),
    )
        .prop_map(
            |((deferred, key, asc, ascq, unit), [fm, eom, ili, more], information, specific)| {
                let key = Key::from_bits(key);
                let specific = match (more, key) {
                    (true, Key::IllegalRequest) => Specific::Field(specific.0),
                    (true, Key::NoSense | Key::NotReady) => Specific::Progress(specific.1),
                    _ => Specific::None,
                };
                Sense {
                    deferred,
                    key,
                    code: Code { asc, ascq },
                    filemark: fm,
                    end_of_medium: eom,
                    incorrect_length: ili,
                    information,
                    specific,
                    unit,
                }
            },
        )
}

proptest! {
    #[test]
    fn the_fixed_format_reads_back(
        sense in sense(prop::option::of(any::<i32>().prop_map(i64::from))),
    ) {
        prop_assert_eq!(Sense::decode(&sense.encode_fixed()), Some(sense));
    }

    #[test]
    fn the_descriptor_format_reads_back(sense in sense(any::<Option<i64>>())) {
        prop_assert_eq!(Sense::decode(&sense.encode_descriptors()), Some(sense));
    }

    #[test]
    fn any_bytes_decode_without_panic(
        response in 0x70_u8..0x74,
        mut bytes in prop::collection::vec(any::<u8>(), 1..260),
        cut in 0_usize..260,
    ) {
        bytes[0] = bytes[0] & 0x80 | response;
        bytes.truncate(cut);
        if let Some(sense) = Sense::decode(&bytes) {
            prop_assert_eq!(Sense::decode(&sense.encode_descriptors()), Some(sense));
        }
    }
}
