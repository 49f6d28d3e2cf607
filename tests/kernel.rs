//! The transport to hardware, on the kernel's real tape drivers.
//!
//! `tests/vm/run` runs these in the virtual machine, where the first drive holds a cartridge that
//! may be overwritten. Elsewhere they are ignored: most machines have no tape drive, and one that
//! has must not be written to.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    env, fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};
use tapevault::clock::{Clock, SystemClock};
use tapevault::transport::node::{self, NodeError, Unit};
use tapevault::transport::sg::{OpenError, Sg};
use tapevault::transport::{Completion, LastAct, Status, Transfer, Transport, TransportError};

const MINUTE: Duration = Duration::from_secs(60);
const REWIND: [u8; 6] = [0x01, 0, 0, 0, 0, 0];
const TEST_UNIT_READY: [u8; 6] = [0; 6];
const READ_POSITION: [u8; 10] = [0x34, 6, 0, 0, 0, 0, 0, 0, 0, 0];

fn first(unit: Unit) -> node::Device {
    node::discover().unwrap().into_iter().find(|device| device.unit == unit).unwrap()
}

fn drive() -> Sg {
    Sg::open_tape(&first(Unit::Tape).node).unwrap()
}

/// All nodes and links in `/dev` that are of one SCSI device.
fn names(device: &node::Device) -> Vec<PathBuf> {
    let folder = PathBuf::from("/sys/bus/scsi/devices").join(&device.address);
    let mut numbers = Vec::new();
    for class in ["scsi_tape", "scsi_generic", "scsi_changer"] {
        for entry in fs::read_dir(folder.join(class)).into_iter().flatten() {
            let text = fs::read_to_string(entry.unwrap().path().join("dev")).unwrap();
            numbers.push(text.trim().to_owned());
        }
    }
    let mut found = Vec::new();
    for folder in ["/dev", "/dev/tape/by-id", "/dev/tape/by-path", "/dev/tapevault"] {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let rdev = metadata.rdev();
            let number = format!("{}:{}", libc::major(rdev), libc::minor(rdev));
            if metadata.file_type().is_char_device() && numbers.contains(&number) {
                found.push(path);
            }
        }
    }
    found
}

fn ran(result: Result<Completion, TransportError>) -> Completion {
    let completion = result.unwrap();
    assert_eq!(completion.status, Status::Good, "sense {:02x?}", completion.sense);
    completion
}

/// Takes the unit attentions that wait, as whoever opens a drive must.
fn settle(sg: &mut Sg) {
    for _ in 0..10 {
        let completion = sg.execute(&TEST_UNIT_READY, Transfer::None, MINUTE).unwrap();
        if completion.status == Status::Good {
            return;
        }
    }
    panic!("the drive does not become ready");
}

/// The logical object that the drive stands before.
fn object(sg: &mut Sg) -> u64 {
    let mut answer = [0; 32];
    ran(sg.execute(&READ_POSITION, Transfer::FromDevice(&mut answer), MINUTE));
    u64::from_be_bytes(answer[8..16].try_into().unwrap())
}

fn write(sg: &mut Sg, block: &[u8]) -> Result<Completion, TransportError> {
    let [_, high, middle, low] = u32::try_from(block.len()).unwrap().to_be_bytes();
    sg.execute(&[0x0a, 0, high, middle, low, 0], Transfer::ToDevice(block), MINUTE)
}

/// Page-aligned memory of `length` bytes, filled with a pattern.
fn aligned(memory: &mut Vec<u8>, length: usize) -> &mut [u8] {
    memory.resize(length + 4096, 0);
    let from = memory.as_ptr().align_offset(4096);
    let block = &mut memory[from..from + length];
    for (byte, value) in block.iter_mut().zip((0..=250).cycle()) {
        *byte = value;
    }
    block
}

#[test]
#[ignore = "needs the kernel's tape drivers: tests/vm/run has them"]
fn every_name_of_a_drive_leads_to_it() {
    let drive = first(Unit::Tape);
    assert!(drive.serial.is_some(), "{drive:?}");
    let names = names(&drive);
    let text: Vec<_> = names.iter().map(|name| name.display().to_string()).collect();
    for wanted in ["/dev/nst", "/dev/st", "/dev/sg", "/dev/tape/by-id/", "/dev/tapevault/drive-"] {
        assert!(text.iter().any(|name| name.starts_with(wanted)), "no {wanted} among {text:?}");
    }
    for name in names {
        let sg = Sg::open_tape(&name).unwrap();
        assert_eq!(sg.device(), &drive, "{}", name.display());
        assert_eq!(sg.name(), name.display().to_string());
    }
}

#[test]
#[ignore = "needs the kernel's tape drivers: tests/vm/run has them"]
fn every_name_of_a_changer_leads_to_it() {
    let changer = first(Unit::Changer);
    let names = names(&changer);
    let text: Vec<_> = names.iter().map(|name| name.display().to_string()).collect();
    for wanted in ["/dev/sch", "/dev/sg", "/dev/tape/by-id/", "/dev/tapevault/changer-"] {
        assert!(text.iter().any(|name| name.starts_with(wanted)), "no {wanted} among {text:?}");
    }
    for name in names {
        let mut sg = Sg::open_changer(&name).unwrap();
        assert_eq!(sg.device(), &changer, "{}", name.display());
        sg.reopen().unwrap();
        sg.last_act(LastAct::Rewind).unwrap();
    }
}

#[test]
#[ignore = "needs the kernel's tape drivers: tests/vm/run has them"]
fn a_node_of_the_other_kind_is_said_to_be_it() {
    let (drive, changer) = (first(Unit::Tape).node, first(Unit::Changer).node);
    let error = Sg::open_tape(&changer).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} is a medium changer, not a tape drive", changer.display())
    );
    let error = Sg::open_changer(&drive).unwrap_err();
    assert!(matches!(error, OpenError::Node(NodeError::Other { .. })), "{error}");
}

#[test]
#[ignore = "needs the kernel's tape drivers: tests/vm/run has them"]
fn a_held_drive_is_busy() {
    let held = drive();
    for name in names(held.device()) {
        let error = Sg::open_tape(&name).unwrap_err();
        assert!(matches!(error, OpenError::Busy { .. }), "{}: {error}", name.display());
    }
    drop(held);
    drop(drive());
}

#[test]
#[ignore = "needs the kernel's tape drivers: tests/vm/run has them"]
fn a_command_of_the_greatest_length_passes_and_a_longer_one_is_refused() {
    let mut sg = drive();
    settle(&mut sg);
    ran(sg.execute(&REWIND, Transfer::None, MINUTE));
    let most = usize::try_from(sg.max_transfer()).unwrap();
    assert!(most >= 512 * 1024, "{most}");
    let mut memory = Vec::new();
    let sent = aligned(&mut memory, most);
    assert_eq!(ran(write(&mut sg, sent)).transferred, most);
    assert_eq!(object(&mut sg), 1);
    // One byte into a page: one page more to scatter the same length over.
    let mut memory = Vec::new();
    let ragged = &aligned(&mut memory, most + 1)[1..];
    assert_eq!(ran(write(&mut sg, ragged)).transferred, most);
    assert_eq!(object(&mut sg), 2);
    let mut longer = Vec::new();
    let refused = write(&mut sg, aligned(&mut longer, 4 * most));
    assert!(matches!(refused, Err(TransportError::Refused(_))), "{refused:?}");
    assert_eq!(object(&mut sg), 2);

    ran(sg.execute(&REWIND, Transfer::None, MINUTE));
    let mut memory = Vec::new();
    let read = aligned(&mut memory, most);
    read.fill(0);
    let [_, high, middle, low] = sg.max_transfer().to_be_bytes();
    let cdb = [0x08, 0, high, middle, low, 0];
    assert_eq!(ran(sg.execute(&cdb, Transfer::FromDevice(read), MINUTE)).transferred, most);
    assert!(read == sent, "the block read back is another");
    let mut memory = Vec::new();
    let read = &mut aligned(&mut memory, most + 1)[1..];
    let expected = read.to_vec();
    read.fill(0);
    assert_eq!(ran(sg.execute(&cdb, Transfer::FromDevice(read), MINUTE)).transferred, most);
    assert!(read == expected, "the block read back is another");
    sg.last_act(LastAct::Rewind).unwrap();
}

#[test]
#[ignore = "needs the kernel's tape drivers: tests/vm/run has them"]
fn a_short_block_and_a_filemark_come_with_sense_and_length() {
    let mut sg = drive();
    settle(&mut sg);
    ran(sg.execute(&REWIND, Transfer::None, MINUTE));
    ran(write(&mut sg, &[7; 100]));
    ran(sg.execute(&[0x10, 0, 0, 0, 1, 0], Transfer::None, MINUTE));
    ran(sg.execute(&REWIND, Transfer::None, MINUTE));
    let mut buffer = [0; 1000];
    let read = [0x08, 0, 0, 0x03, 0xe8, 0];
    // Incorrect length: 900 bytes fewer than were asked for.
    let short = sg.execute(&read, Transfer::FromDevice(&mut buffer), MINUTE).unwrap();
    assert_eq!(short.status, Status::CheckCondition);
    assert_eq!((short.sense[0] & 0x7f, short.sense[2] & 0x2f), (0x70, 0x20));
    assert_eq!(short.sense[3..7], 900_u32.to_be_bytes());
    assert_eq!(buffer[..100], [7; 100]);
    let mark = sg.execute(&read, Transfer::FromDevice(&mut buffer), MINUTE).unwrap();
    assert_eq!(mark.status, Status::CheckCondition);
    assert_eq!(mark.sense[2] & 0x8f, 0x80, "sense {:02x?}", mark.sense);
    assert_eq!(object(&mut sg), 2);
    let end = sg.execute(&read, Transfer::FromDevice(&mut buffer), MINUTE).unwrap();
    assert_eq!(end.sense[2] & 0x0f, 0x08, "blank check: {:02x?}", end.sense);
}

#[test]
#[ignore = "needs the kernel's tape drivers: tests/vm/run has them"]
fn reopening_rewinds() {
    let mut sg = drive();
    settle(&mut sg);
    ran(sg.execute(&REWIND, Transfer::None, MINUTE));
    ran(write(&mut sg, &[1; 512]));
    assert_eq!(object(&mut sg), 1);
    sg.reopen().unwrap();
    settle(&mut sg);
    assert_eq!(object(&mut sg), 0);
}

/// Run by `tests/vm/guest.sh`, which names the process that is the drive.
#[test]
#[ignore = "needs the kernel's tape drivers: tests/vm/run has them"]
fn a_command_that_outlives_its_time_has_an_unknown_fate() {
    let served = Pid::from_raw(env::var("TAPEVAULT_SERVER").unwrap().parse().unwrap());
    let mut sg = drive();
    settle(&mut sg);
    ran(sg.execute(&REWIND, Transfer::None, MINUTE));
    ran(write(&mut sg, &[1; 512]));
    // The drive falls asleep over the second block, and wakes after the kernel gave it up, which
    // it never does before seven seconds.
    kill(served, Signal::SIGSTOP).unwrap();
    let waker = thread::spawn(move || {
        SystemClock::new().sleep(Duration::from_secs(12));
        kill(served, Signal::SIGCONT).unwrap();
    });
    let second = [2; 512];
    let cdb = [0x0a, 0, 0, 2, 0, 0];
    let result = sg.execute(&cdb, Transfer::ToDevice(&second), Duration::from_secs(2));
    waker.join().unwrap();
    assert!(matches!(result, Err(TransportError::Unknown(_))), "{result:?}");
    sg.reopen().unwrap();
    settle(&mut sg);
    assert_eq!(object(&mut sg), 0);
    // The block landed although nobody heard of it: only the drive can tell.
    let mut buffer = [0; 512];
    for expected in [1, 2] {
        ran(sg.execute(&[0x08, 0, 0, 2, 0, 0], Transfer::FromDevice(&mut buffer), MINUTE));
        assert_eq!(buffer, [expected; 512]);
    }
}

/// Run by `tests/vm/guest.sh` as a user in the group `tape` without the capability.
#[test]
#[ignore = "needs the kernel's tape drivers: tests/vm/run has them"]
fn without_the_capability_the_error_names_it() {
    let error = Sg::open_tape(&first(Unit::Tape).node).unwrap_err();
    assert!(matches!(error, OpenError::RawIo { .. }), "{error}");
    assert!(error.to_string().contains("CAP_SYS_RAWIO"), "{error}");
}

/// Run by `tests/vm/guest.sh` as a user outside the group.
#[test]
#[ignore = "needs the kernel's tape drivers: tests/vm/run has them"]
fn without_the_group_the_error_names_it() {
    let error = Sg::open_tape(&first(Unit::Tape).node).unwrap_err();
    assert!(matches!(error, OpenError::Permission { .. }), "{error}");
    assert!(error.to_string().contains("group `tape`"), "{error}");
    assert!(matches!(
        Sg::open_tape(Path::new("/dev/nst77")).unwrap_err(),
        OpenError::Node(NodeError::NotFound { .. })
    ));
}

/// Run by `tests/vm/guest.sh` on a drive without a cartridge.
#[test]
#[ignore = "needs the kernel's tape drivers: tests/vm/run has them"]
fn an_empty_drive_opens_at_once() {
    let mut sg = drive();
    // Not ready, medium not present (after a unit attention, perhaps).
    let mut sense = Vec::new();
    for _ in 0..3 {
        let completion = sg.execute(&TEST_UNIT_READY, Transfer::None, MINUTE).unwrap();
        assert_eq!(completion.status, Status::CheckCondition);
        sense = completion.sense;
    }
    assert_eq!((sense[2] & 0x0f, sense[12]), (0x02, 0x3a), "sense {sense:02x?}");
    sg.reopen().unwrap();
    sg.last_act(LastAct::Rewind).unwrap();
}
