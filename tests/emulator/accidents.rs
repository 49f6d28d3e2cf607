//! Kills, power losses and faults: what a drive leaves behind.

use proptest::prelude::*;
use tapevault::{
    emulator::{CommandKind, Effect, EmulatedDrive, Fault, drive, power_loss},
    scsi::cdb::{Command, LocateTarget, SpaceCode},
    transport::{Transfer, Transport, TransportError},
};

use crate::rig::{
    MIB, as_if_killed, ask, load, locate, mark, mark_at_once, position, read, ready, say, settle,
    space, u24, write,
};

/// What stands on a tape: a block's bytes, or a filemark.
type Tape = Vec<Option<Vec<u8>>>;

#[derive(Clone, Debug)]
enum Act {
    Write(Vec<u8>),
    Mark,
    MarkAtOnce,
    Flush,
    Locate(u64),
    SpaceBlocks(i32),
    SpaceMarks(i32),
    Rewind,
    End,
    Read,
    Erase,
    Unload,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let data = proptest::collection::vec(any::<u8>(), 1..5);
    let act = prop_oneof![
        8 => data.prop_map(Act::Write),
        2 => Just(Act::Mark),
        2 => Just(Act::MarkAtOnce),
        1 => Just(Act::Flush),
        2 => (0_u64..16).prop_map(Act::Locate),
        1 => (-4_i32..5).prop_map(Act::SpaceBlocks),
        1 => (-3_i32..4).prop_map(Act::SpaceMarks),
        1 => Just(Act::Rewind),
        2 => Just(Act::End),
        3 => Just(Act::Read),
        1 => Just(Act::Erase),
        1 => Just(Act::Unload),
    ];
    proptest::collection::vec(act, 1..30)
}

/// A drive in few words: what is on the tape, where it stands, and what a power loss may take.
#[derive(Clone, Debug, Default)]
struct Model {
    tape: Tape,
    at: usize,
    flushed: usize,
    /// Whether end of data may be missing after a power loss.
    writing: bool,
}

impl Model {
    fn put(&mut self, object: Option<Vec<u8>>) {
        self.tape.truncate(self.at);
        self.flushed = self.flushed.min(self.at);
        self.tape.push(object);
        self.at += 1;
        self.writing = true;
    }

    fn flush(&mut self) {
        self.flushed = self.tape.len();
    }

    fn still(&mut self) {
        self.flush();
        self.writing = false;
    }

    /// Spaces object by object, as a person would.
    fn space(&mut self, count: i32, marks: bool) {
        for _ in 0..count.unsigned_abs() {
            loop {
                let next = if count > 0 { Some(self.at) } else { self.at.checked_sub(1) };
                let Some(object) = next.and_then(|at| self.tape.get(at)) else { return };
                self.at = if count > 0 { self.at + 1 } else { self.at - 1 };
                let is_mark = object.is_none();
                if is_mark && !marks {
                    return;
                }
                if is_mark == marks {
                    break;
                }
            }
        }
    }

    fn perform(&mut self, act: &Act) {
        match act {
            Act::Write(data) => self.put(Some(data.clone())),
            Act::Mark => {
                self.put(None);
                self.flush();
            }
            Act::MarkAtOnce => self.put(None),
            Act::Flush => self.flush(),
            Act::Locate(object) => {
                self.still();
                self.at = usize::try_from(*object).unwrap().min(self.tape.len());
            }
            Act::SpaceBlocks(count) => {
                self.still();
                self.space(*count, false);
            }
            Act::SpaceMarks(count) => {
                self.still();
                self.space(*count, true);
            }
            Act::Rewind | Act::Unload => {
                self.still();
                self.at = 0;
            }
            Act::End => {
                self.still();
                self.at = self.tape.len();
            }
            Act::Read => {
                self.still();
                self.at = (self.at + 1).min(self.tape.len());
            }
            Act::Erase => {
                self.tape.truncate(self.at);
                self.flush();
                self.writing = true;
            }
        }
    }
}

fn perform(drive: &mut EmulatedDrive, act: &Act) {
    match act {
        Act::Write(data) => assert_eq!(write(drive, data).said, "good"),
        Act::Mark => assert_eq!(mark(drive, 1), "good"),
        Act::MarkAtOnce => assert_eq!(mark_at_once(drive, 1), "good"),
        Act::Flush => assert_eq!(mark(drive, 0), "good"),
        Act::Locate(object) => {
            let said = locate(drive, *object);
            assert!(said == "good" || said == "8/00/05", "{said}");
        }
        Act::SpaceBlocks(count) => {
            space(drive, SpaceCode::Blocks, *count);
        }
        Act::SpaceMarks(count) => {
            space(drive, SpaceCode::Filemarks, *count);
        }
        Act::Rewind => assert_eq!(say(drive, Command::Rewind { immediate: false }), "good"),
        Act::End => assert_eq!(space(drive, SpaceCode::EndOfData, 0).said, "good"),
        Act::Read => {
            read(drive, 16);
        }
        Act::Erase => {
            let command = Command::Erase6 { long: false, immediate: false };
            assert_eq!(say(drive, command), "good");
        }
        Act::Unload => {
            assert_eq!(load(drive, false), "good");
            assert_eq!(say(drive, Command::TestUnitReady), "2/3A/00");
            assert_eq!(load(drive, true), "good");
            settle(drive);
        }
    }
}

/// Reads a tape from the beginning; the sense that ended it comes along.
fn all_of(drive: &mut EmulatedDrive) -> (Tape, String) {
    assert_eq!(say(drive, Command::Rewind { immediate: false }), "good");
    let mut tape = Vec::new();
    loop {
        let command = Command::Read6 { fixed: false, suppress_length: true, length: u24(16) };
        let reply = ask(drive, command);
        match reply.said.as_str() {
            "good" => tape.push(Some(reply.data)),
            "0/00/01 FM" => tape.push(None),
            _ => return (tape, reply.said),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_command_breaks_a_drive(
        commands in proptest::collection::vec((
            prop_oneof![4 => 0_u8..0x60, 1 => 0x80_u8..0xC0],
            proptest::collection::vec(prop_oneof![2 => Just(0), 1 => any::<u8>()], 0..16),
            0_usize..3000,
            any::<bool>(),
        ), 1..20)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut drive = ready(dir.path(), 4 * MIB);
        let mut buffer = vec![0x5A; 3000];
        for (opcode, rest, room, sends) in commands {
            let cdb: Vec<u8> = std::iter::once(opcode).chain(rest).collect();
            let room = &mut buffer[..room];
            let most = room.len();
            let transfer =
                if sends { Transfer::ToDevice(room) } else { Transfer::FromDevice(room) };
            let done = drive.execute(&cdb, transfer, std::time::Duration::ZERO).unwrap();
            prop_assert!(done.transferred <= most, "{:02x?}", cdb);
        }
    }

    #[test]
    fn a_drive_is_its_model_and_outlives_kills(acts in acts()) {
        let dir = tempfile::tempdir().unwrap();
        let mut live = ready(dir.path(), 64 * MIB);
        let mut model = Model::default();
        for act in &acts {
            perform(&mut live, act);
            model.perform(act);
            prop_assert_eq!(position(&mut live).object, model.at as u64, "after {:?}", act);
        }
        let copy = as_if_killed(dir.path());
        let mut heir = drive(copy.path(), 0).unwrap();
        prop_assert_eq!(position(&mut heir).object, model.at as u64);
        let (tape, said) = all_of(&mut heir);
        prop_assert_eq!((&tape, said.as_str()), (&model.tape, "8/00/05"));
        let (tape, _) = all_of(&mut live);
        prop_assert_eq!(&tape, &model.tape);
    }

    #[test]
    fn a_power_loss_takes_only_what_was_not_flushed(acts in acts(), seed in any::<u64>()) {
        let dir = tempfile::tempdir().unwrap();
        let mut live = ready(dir.path(), 64 * MIB);
        let mut model = Model::default();
        for act in &acts {
            perform(&mut live, act);
            model.perform(act);
        }
        let copy = as_if_killed(dir.path());
        power_loss(copy.path(), seed).unwrap();
        let mut heir = drive(copy.path(), 0).unwrap();
        prop_assert_eq!(say(&mut heir, Command::TestUnitReady), "6/29/00");
        prop_assert!(position(&mut heir).beginning);
        let (tape, said) = all_of(&mut heir);
        prop_assert!(tape.len() >= model.flushed, "{} of {}", tape.len(), model.flushed);
        prop_assert_eq!(&tape[..], &model.tape[..tape.len()]);
        if said == "3/14/03" {
            prop_assert!(model.writing);
            let end = LocateTarget::EndOfData;
            let command = Command::Locate16 { immediate: false, partition: None, to: end };
            prop_assert_eq!(say(&mut heir, command), "3/14/03");
            prop_assert_eq!(locate(&mut heir, tape.len() as u64), "good");
            prop_assert_eq!(mark(&mut heir, 1), "good");
        } else {
            prop_assert_eq!(said, "8/00/05");
        }
        let again = as_if_killed(copy.path());
        let (after, said) = all_of(&mut drive(again.path(), 0).unwrap());
        prop_assert_eq!(said, "8/00/05");
        prop_assert!(after.len() >= tape.len());
    }
}

#[test]
fn what_overflows_the_buffer_is_on_the_tape() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = ready(dir.path(), 512 * MIB);
    let block = vec![3; 1 << 20];
    for _ in 0..100 {
        assert_eq!(write(&mut live, &block).said, "good");
    }
    let (mut fewest, mut without_end) = (u64::MAX, 0);
    for seed in 0..12 {
        let copy = as_if_killed(dir.path());
        power_loss(copy.path(), seed).unwrap();
        let mut heir = drive(copy.path(), 0).unwrap();
        settle(&mut heir);
        without_end += usize::from(space(&mut heir, SpaceCode::EndOfData, 0).said == "3/14/03");
        fewest = fewest.min(position(&mut heir).object);
    }
    assert!((36..100).contains(&fewest), "a buffer of 64 MiB, so 36 blocks are safe: {fewest}");
    assert!((1..12).contains(&without_end), "{without_end}");
}

#[test]
fn a_drive_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let first = ready(dir.path(), 64 * MIB);
    let Err(TransportError::Refused(error)) = drive(dir.path(), 0) else { panic!("no refusal") };
    assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
    assert!(power_loss(dir.path(), 1).is_err());
    drop(first);
    drive(dir.path(), 0).unwrap();
    let Err(TransportError::Refused(error)) = drive(dir.path(), 9) else { panic!("no refusal") };
    assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
}

#[test]
fn a_transfer_beyond_the_limit_is_never_sent() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    let most = usize::try_from(drive.max_transfer()).unwrap();
    assert_eq!(write(&mut drive, &vec![0; most]).said, "good");
    let data = vec![0; most + 1];
    let command = Command::Write6 { fixed: false, length: u24(1 << 20) };
    let sent =
        drive.execute(&command.encode(), Transfer::ToDevice(&data), std::time::Duration::ZERO);
    let Err(TransportError::Refused(error)) = sent else { panic!("{sent:?}") };
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    assert_eq!(position(&mut drive).object, 1);
}

fn send(drive: &mut EmulatedDrive, data: &[u8]) -> Result<(), TransportError> {
    let length = u24(u32::try_from(data.len()).unwrap());
    let command = Command::Write6 { fixed: false, length }.encode();
    drive.execute(&command, Transfer::ToDevice(data), std::time::Duration::ZERO).map(drop)
}

#[test]
fn faults_strike_as_told_and_leave_the_cartridge_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    drive.set_faults(vec![Fault::once(Effect::ReplyLostAfter).at(CommandKind::Write)]);
    assert!(matches!(send(&mut drive, b"landed"), Err(TransportError::Unknown(_))));
    assert_eq!(position(&mut drive).object, 1);
    drive.set_faults(vec![Fault::once(Effect::ReplyLostBefore).at(CommandKind::Write).after(1)]);
    assert_eq!(write(&mut drive, b"second").said, "good");
    assert!(matches!(send(&mut drive, b"never there"), Err(TransportError::Unknown(_))));
    assert_eq!(position(&mut drive).object, 2);
    assert_eq!(drive.faults().len(), 0);

    let warn = Fault::always(Effect::EarlyWarning).at(CommandKind::Write).from_object(3);
    drive.set_faults(vec![warn]);
    assert_eq!(write(&mut drive, b"third").said, "good");
    assert_eq!(write(&mut drive, b"fourth").said, "0/00/02 EOM");
    drive.set_faults(vec![Fault::once(Effect::EndOfMedium).at(CommandKind::Write)]);
    assert_eq!(write(&mut drive, b"fifth").said, "D/00/02 EOM");
    assert_eq!(position(&mut drive).object, 4);

    let bad = Fault::always(Effect::MediumError).at(CommandKind::Read).before_object(1);
    let flip = Fault::always(Effect::FlipBit(6)).at(CommandKind::Read).before_object(2);
    drive.set_faults(vec![bad, flip]);
    assert_eq!(locate(&mut drive, 0), "good");
    assert_eq!(read(&mut drive, 6).data, b"landed");
    assert_eq!(read(&mut drive, 6).said, "3/11/00");
    assert_eq!(read(&mut drive, 5).data, b"vhird");
    drive.set_faults(vec![]);
    assert_eq!(locate(&mut drive, 1), "good");
    assert_eq!(read(&mut drive, 6).data, b"second");
    assert_eq!(read(&mut drive, 5).data, b"third");
}

#[test]
fn a_deferred_error_and_a_reset_take_what_was_buffered() {
    let dir = tempfile::tempdir().unwrap();
    let mut drive = ready(dir.path(), 64 * MIB);
    write(&mut drive, b"a");
    mark(&mut drive, 1);
    for block in [b"b", b"c", b"d"] {
        write(&mut drive, block);
    }
    drive.set_faults(vec![Fault::once(Effect::Deferred(2)).at(CommandKind::Write)]);
    assert_eq!(write(&mut drive, b"e").said, "deferred 3/0C/00");
    assert_eq!(position(&mut drive).object, 3);
    write(&mut drive, b"c");
    write(&mut drive, b"d");
    drive.set_faults(vec![Fault::once(Effect::Reset(9)).at(CommandKind::Flush)]);
    assert_eq!(mark(&mut drive, 0), "6/29/00");
    let long = position(&mut drive);
    assert!(long.object_unknown && long.position().is_none());
    assert_eq!(write(&mut drive, b"x").said, "3/3B/00");
    assert_eq!(read(&mut drive, 1).said, "3/3B/00");
    assert_eq!(space(&mut drive, SpaceCode::EndOfData, 0).said, "good");
    assert_eq!(position(&mut drive).object, 3, "none that was flushed is gone");
}

#[test]
fn faults_of_a_file_last_until_they_have_struck() {
    let dir = tempfile::tempdir().unwrap();
    drop(ready(dir.path(), 64 * MIB));
    let path = dir.path().join("faults.json");
    let text = r#"[{"command": "write", "drive": 0, "times": 1, "effect": "end-of-medium"},
        {"command": "read", "object": 0, "effect": {"flip-bit": 0}}]"#;
    std::fs::write(path, text).unwrap();
    let mut first = drive(dir.path(), 0).unwrap();
    assert_eq!(write(&mut first, b"a").said, "D/00/02 EOM");
    drop(first);
    let mut second = drive(dir.path(), 0).unwrap();
    assert_eq!(write(&mut second, b"a").said, "good");
    assert_eq!(locate(&mut second, 0), "good");
    assert_eq!(read(&mut second, 1).data, [b'a' ^ 0x80]);
}

#[test]
fn a_drive_that_discards_needs_no_files() {
    let mut drive = EmulatedDrive::discarding(tapevault::emulator::Generation::Lto9, 1 << 40);
    settle(&mut drive);
    let block = vec![9; 1 << 19];
    for _ in 0..1000 {
        assert_eq!(write(&mut drive, &block).said, "good");
    }
    assert_eq!(mark(&mut drive, 1), "good");
    assert_eq!(position(&mut drive).object, 1001);
    assert_eq!(locate(&mut drive, 5), "good");
    assert_eq!(read(&mut drive, 512).data, [0; 512], "what was thrown away reads as zeros");
}
