//! Vectors from the CDB tables of SPC, SSC and SMC, and the laws of the codec.

use proptest::prelude::*;

use crate::scsi::{
    cdb::{
        AttributeAction, CdbError, Command, Format, LocateTarget, LogControl, OpcodeQuery,
        Overwrite, PageControl, Peripheral, PositionForm, ReserveInAction, ReserveOutAction,
        SpaceCode, U24,
    },
    element::ElementKind,
};

fn u24(value: u32) -> U24 {
    U24::try_from(value).unwrap()
}

#[track_caller]
fn check(peripheral: Peripheral, command: Command, bytes: &[u8]) {
    assert_eq!(&*command.encode(), bytes, "{}", command.name());
    assert_eq!(Command::decode(peripheral, bytes), Ok(command));
}

#[test]
fn allowing_to_overwrite_names_the_place() {
    check(
        Peripheral::Tape,
        Command::AllowOverwrite {
            what: Overwrite::CurrentPosition,
            partition: 1,
            object: 0x0102_0304_0506_0708,
        },
        &[0x82, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0],
    );
}

#[test]
fn six_byte_tape_commands_have_the_bytes_of_the_standard() {
    for (command, bytes) in [
        (Command::TestUnitReady, [0, 0, 0, 0, 0, 0]),
        (Command::Rewind { immediate: true }, [0x01, 1, 0, 0, 0, 0]),
        (Command::RequestSense { descriptor: true, allocation: 252 }, [0x03, 1, 0, 0, 252, 0]),
        (
            Command::FormatMedium {
                immediate: true,
                verify: false,
                format: Format::DefaultThenPartition,
                length: 0,
            },
            [0x04, 1, 2, 0, 0, 0],
        ),
        (Command::ReadBlockLimits, [0x05, 0, 0, 0, 0, 0]),
        (
            Command::Read6 { fixed: false, suppress_length: true, length: u24(0x08_0000) },
            [0x08, 2, 0x08, 0, 0, 0],
        ),
        (Command::Write6 { fixed: true, length: u24(3) }, [0x0A, 1, 0, 0, 3, 0]),
        (
            Command::SetCapacity { immediate: false, proportion: 0xFFFE },
            [0x0B, 0, 0, 0xFF, 0xFE, 0],
        ),
        (Command::WriteFilemarks6 { immediate: true, count: u24(2) }, [0x10, 1, 0, 0, 2, 0]),
        (Command::Space6 { code: SpaceCode::Filemarks, count: -2 }, [0x11, 1, 0xFF, 0xFF, 0xFE, 0]),
        (
            Command::Verify6 {
                to_end: true,
                protection: false,
                by_filemarks: true,
                immediate: false,
                length: u24(1),
            },
            [0x13, 0x28, 0, 0, 1, 0],
        ),
        (Command::Reserve6, [0x16, 0, 0, 0, 0, 0]),
        (Command::Release6, [0x17, 0, 0, 0, 0, 0]),
        (Command::Erase6 { long: false, immediate: true }, [0x19, 2, 0, 0, 0, 0]),
        (
            Command::LoadUnload {
                immediate: true,
                hold: false,
                end_of_tape: false,
                retension: false,
                load: true,
            },
            [0x1B, 1, 0, 0, 1, 0],
        ),
        (Command::PreventAllow { prevent: true }, [0x1E, 0, 0, 0, 1, 0]),
    ] {
        check(Peripheral::Tape, command, &bytes);
    }
}

#[test]
fn long_tape_commands_have_the_bytes_of_the_standard() {
    check(
        Peripheral::Tape,
        Command::Locate10 {
            device_specific: false,
            immediate: true,
            object: 0x0102_0304,
            partition: Some(1),
        },
        &[0x2B, 3, 0, 1, 2, 3, 4, 0, 1, 0],
    );
    check(
        Peripheral::Tape,
        Command::ReadPosition { form: PositionForm::Long, allocation: 0 },
        &[0x34, 6, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    check(
        Peripheral::Tape,
        Command::ReportDensitySupport { medium_types: false, of_medium: true, allocation: 512 },
        &[0x44, 1, 0, 0, 0, 0, 0, 2, 0, 0],
    );
    check(
        Peripheral::Tape,
        Command::ReadAttribute {
            action: AttributeAction::Values,
            partition: 0,
            first: 0x0806,
            allocation: 0x1000,
            cached: false,
        },
        &[0x8C, 0, 0, 0, 0, 0, 0, 0, 8, 6, 0, 0, 0x10, 0, 0, 0],
    );
    check(
        Peripheral::Tape,
        Command::WriteAttribute { write_through: true, partition: 0, length: 41 },
        &[0x8D, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 41, 0, 0],
    );
    check(
        Peripheral::Tape,
        Command::SecurityProtocolIn { protocol: 0x20, specific: 0x0021, allocation: 8192 },
        &[0xA2, 0x20, 0, 0x21, 0, 0, 0, 0, 0x20, 0, 0, 0],
    );
    check(
        Peripheral::Tape,
        Command::SecurityProtocolOut { protocol: 0x20, specific: 0x0010, length: 52 },
        &[0xB5, 0x20, 0, 0x10, 0, 0, 0, 0, 0, 52, 0, 0],
    );
    check(
        Peripheral::Tape,
        Command::Space16 { code: SpaceCode::EndOfData, count: 0 },
        &[0x91, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    check(
        Peripheral::Tape,
        Command::Space16 { code: SpaceCode::Blocks, count: -1 },
        &[0x91, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0],
    );
    check(
        Peripheral::Tape,
        Command::Locate16 {
            immediate: true,
            partition: None,
            to: LocateTarget::Object(0x01_0000_0002),
        },
        &[0x92, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0],
    );
    check(
        Peripheral::Tape,
        Command::Locate16 { immediate: false, partition: None, to: LocateTarget::EndOfData },
        &[0x92, 0x18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn primary_commands_have_the_bytes_of_the_standard() {
    for peripheral in [Peripheral::Tape, Peripheral::Changer] {
        for (command, bytes) in [
            (Command::Inquiry { page: None, allocation: 96 }, &[0x12, 0, 0, 0, 96, 0][..]),
            (Command::Inquiry { page: Some(0x80), allocation: 0x0102 }, &[0x12, 1, 0x80, 1, 2, 0]),
            (
                Command::ModeSelect6 { page_format: true, save: false, length: 28 },
                &[0x15, 0x10, 0, 0, 28, 0],
            ),
            (
                Command::ModeSense6 {
                    no_descriptors: true,
                    control: PageControl::Changeable,
                    page: 0x0F,
                    subpage: 0,
                    allocation: 255,
                },
                &[0x1A, 8, 0x4F, 0, 255, 0],
            ),
            (Command::SendDiagnostic { self_test: true, length: 0 }, &[0x1D, 4, 0, 0, 0, 0]),
            (
                Command::LogSelect {
                    reset: true,
                    save: false,
                    control: LogControl::Cumulative,
                    page: 0x17,
                    subpage: 0,
                    length: 0,
                },
                &[0x4C, 2, 0x57, 0, 0, 0, 0, 0, 0, 0],
            ),
            (
                Command::LogSense {
                    control: LogControl::Cumulative,
                    page: 0x2E,
                    subpage: 0,
                    parameter: 1,
                    allocation: 0x0800,
                },
                &[0x4D, 0, 0x6E, 0, 0, 0, 1, 8, 0, 0],
            ),
            (
                Command::ModeSelect10 { page_format: true, save: true, length: 40 },
                &[0x55, 0x11, 0, 0, 0, 0, 0, 0, 40, 0],
            ),
            (
                Command::ModeSense10 {
                    no_descriptors: false,
                    control: PageControl::Current,
                    page: 0x10,
                    subpage: 1,
                    allocation: 256,
                },
                &[0x5A, 0, 0x10, 1, 0, 0, 0, 1, 0, 0],
            ),
            (
                Command::PersistentReserveIn {
                    action: ReserveInAction::ReadReservation,
                    allocation: 24,
                },
                &[0x5E, 1, 0, 0, 0, 0, 0, 0, 24, 0],
            ),
            (
                Command::PersistentReserveOut {
                    action: ReserveOutAction::Reserve,
                    kind: 3,
                    length: 24,
                },
                &[0x5F, 1, 3, 0, 0, 0, 0, 0, 24, 0],
            ),
            (
                Command::ReportLuns { select: 0, allocation: 16 },
                &[0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0],
            ),
            (
                Command::ReportSupportedOperationCodes {
                    timeouts: true,
                    query: OpcodeQuery::One(0x92),
                    allocation: 0x2000,
                },
                &[0xA3, 0x0C, 0x81, 0x92, 0, 0, 0, 0, 0x20, 0, 0, 0],
            ),
        ] {
            check(peripheral, command, bytes);
        }
    }
}

#[test]
fn changer_commands_have_the_bytes_of_the_standard() {
    for (command, bytes) in [
        (Command::InitializeElementStatus, &[0x07, 0, 0, 0, 0, 0][..]),
        (
            Command::InitializeElementStatusWithRange {
                fast: true,
                ranged: true,
                start: 0x0400,
                count: 8,
            },
            &[0x37, 3, 4, 0, 0, 0, 0, 8, 0, 0],
        ),
        (
            Command::PositionToElement { transport: 1, destination: 0x0102, invert: true },
            &[0x2B, 0, 0, 1, 1, 2, 0, 0, 1, 0],
        ),
        (
            Command::MoveMedium {
                transport: 1,
                source: 0x03E9,
                destination: 0x0100,
                invert: false,
            },
            &[0xA5, 0, 0, 1, 3, 0xE9, 1, 0, 0, 0, 0, 0],
        ),
        (
            Command::ExchangeMedium { transport: 1, source: 2, first: 3, second: 4 },
            &[0xA6, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 0],
        ),
        (
            Command::ReadElementStatus {
                volume_tags: true,
                kind: Some(ElementKind::DataTransfer),
                start: 0x0100,
                count: 1000,
                current_data: true,
                device_id: true,
                allocation: u24(0xFFFF),
            },
            &[0xB8, 0x14, 1, 0, 3, 0xE8, 3, 0, 0xFF, 0xFF, 0, 0],
        ),
    ] {
        check(Peripheral::Changer, command, bytes);
    }
}

#[test]
fn wrong_blocks_are_refused_by_the_field_that_is_wrong() {
    for (bytes, error) in [
        (&[][..], CdbError::Short),
        (&[0x12, 0, 0, 0, 0], CdbError::Short),
        (&[0x02, 0, 0, 0, 0, 0], CdbError::Opcode(0x02)),
        (&[0xC0, 0, 0, 0, 0, 0], CdbError::Opcode(0xC0)),
        (&[0x12, 0, 0x80, 0, 36, 0], CdbError::Field(2)),
        (&[0x10, 2, 0, 0, 1, 0], CdbError::Field(1)),
        (&[0x11, 5, 0, 0, 1, 0], CdbError::Field(1)),
        (&[0xA5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], CdbError::Opcode(0xA5)),
    ] {
        assert_eq!(Command::decode(Peripheral::Tape, bytes), Err(error), "{bytes:02x?}");
    }
    assert_eq!(CdbError::Opcode(2).sense().to_string(), "5/20/00 (invalid operation code)");
}

fn pages() -> impl Strategy<Value = (PageControl, u8, u8)> {
    let control = prop_oneof![
        Just(PageControl::Current),
        Just(PageControl::Changeable),
        Just(PageControl::Default),
        Just(PageControl::Saved),
    ];
    (control, 0_u8..0x40, any::<u8>())
}

fn motion() -> impl Strategy<Value = Command> {
    let code = prop_oneof![
        Just(SpaceCode::Blocks),
        Just(SpaceCode::Filemarks),
        Just(SpaceCode::SequentialFilemarks),
        Just(SpaceCode::EndOfData)
    ];
    let target = prop_oneof![
        any::<u64>().prop_map(LocateTarget::Object),
        any::<u64>().prop_map(LocateTarget::File),
        Just(LocateTarget::EndOfData),
    ];
    prop_oneof![
        (any::<bool>(), any::<bool>(), 0..=0xFF_FFFF_u32).prop_map(
            |(fixed, suppress_length, length)| Command::Read6 {
                fixed,
                suppress_length,
                length: u24(length)
            }
        ),
        (any::<bool>(), 0..=0xFF_FFFF_u32)
            .prop_map(|(fixed, length)| Command::Write6 { fixed, length: u24(length) }),
        (code.clone(), -0x80_0000..0x80_0000)
            .prop_map(|(code, count)| Command::Space6 { code, count }),
        (code, any::<i64>()).prop_map(|(code, count)| Command::Space16 { code, count }),
        (any::<bool>(), any::<Option<u8>>(), target)
            .prop_map(|(immediate, partition, to)| Command::Locate16 { immediate, partition, to }),
        (any::<bool>(), any::<bool>(), any::<u32>(), any::<Option<u8>>()).prop_map(
            |(device_specific, immediate, object, partition)| Command::Locate10 {
                device_specific,
                immediate,
                object,
                partition
            }
        ),
    ]
}

fn reports() -> impl Strategy<Value = Command> {
    prop_oneof![
        (any::<bool>(), pages(), any::<u16>()).prop_map(
            |(no_descriptors, (control, page, subpage), allocation)| Command::ModeSense10 {
                no_descriptors,
                control,
                page,
                subpage,
                allocation
            }
        ),
        (any::<bool>(), pages(), any::<u8>()).prop_map(
            |(no_descriptors, (control, page, subpage), allocation)| Command::ModeSense6 {
                no_descriptors,
                control,
                page,
                subpage,
                allocation
            }
        ),
        (0_u8..0x40, any::<u8>(), any::<u16>(), any::<u16>()).prop_map(
            |(page, subpage, parameter, allocation)| Command::LogSense {
                control: LogControl::Cumulative,
                page,
                subpage,
                parameter,
                allocation
            }
        ),
        (any::<Option<u8>>(), any::<u16>())
            .prop_map(|(page, allocation)| Command::Inquiry { page, allocation }),
        (any::<u8>(), any::<u16>(), any::<u32>(), any::<bool>()).prop_map(
            |(partition, first, allocation, cached)| Command::ReadAttribute {
                action: AttributeAction::List,
                partition,
                first,
                allocation,
                cached
            }
        ),
        (any::<u8>(), any::<u64>()).prop_map(|(partition, object)| Command::AllowOverwrite {
            what: Overwrite::Format,
            partition,
            object
        }),
        (0_u8..16, any::<u32>()).prop_map(|(kind, length)| Command::PersistentReserveOut {
            action: ReserveOutAction::RegisterAndIgnore,
            kind,
            length
        }),
    ]
}

proptest! {
    #[test]
    fn a_tape_command_reads_back(command in prop_oneof![motion(), reports()]) {
        prop_assert_eq!(Command::decode(Peripheral::Tape, &command.encode()), Ok(command));
    }

    #[test]
    fn an_element_status_command_reads_back(
        (volume_tags, current_data, device_id) in any::<(bool, bool, bool)>(),
        kind in prop::option::of(prop::sample::select(ElementKind::ALL.to_vec())),
        (start, count) in any::<(u16, u16)>(),
        allocation in 0..=0xFF_FFFF_u32,
    ) {
        let allocation = u24(allocation);
        let command = Command::ReadElementStatus {
            volume_tags, kind, start, count, current_data, device_id, allocation,
        };
        prop_assert_eq!(Command::decode(Peripheral::Changer, &command.encode()), Ok(command));
    }

    /// Whatever decodes is a fixed point: encoding it loses only reserved bits.
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        for peripheral in [Peripheral::Tape, Peripheral::Changer] {
            match Command::decode(peripheral, &bytes) {
                Ok(command) => {
                    let again = Command::decode(peripheral, &command.encode());
                    prop_assert_eq!(again, Ok(command));
                }
                Err(error) => prop_assert_eq!(error.sense().key.code(), 5),
            }
        }
    }
}
