//! A library in a folder, and commands in words.

use std::{fs, path::Path, time::Duration};

use tapevault::{
    emulator::{Cartridge, EmulatedDrive, Generation, Library, LibraryPlan, Settings, drive},
    ident::Barcode,
    scsi::{
        cdb::{Command, LocateTarget, PositionForm, SpaceCode, U24},
        position::Long,
        sense::Sense,
    },
    transport::{Status, Transfer, Transport},
};

pub(crate) const MIB: u64 = 1 << 20;

/// How a command ended, in words: the sense as it prints, or the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) said: String,
    pub(crate) information: Option<i64>,
    pub(crate) data: Vec<u8>,
}

pub(crate) fn code(text: &str) -> Barcode {
    text.parse().unwrap()
}

pub(crate) fn u24(value: u32) -> U24 {
    U24::try_from(value).unwrap()
}

pub(crate) fn run(
    transport: &mut dyn Transport,
    command: &Command,
    transfer: Transfer<'_>,
) -> Reply {
    let done = transport.execute(&command.encode(), transfer, Duration::from_secs(1)).unwrap();
    let sense = Sense::decode(&done.sense);
    let said = match (done.status, sense) {
        (Status::Good, None) => "good".to_owned(),
        (Status::CheckCondition, Some(sense)) => {
            let text = sense.to_string();
            text.split(" (").next().unwrap().to_owned()
        }
        (status, _) => format!("{status:?}"),
    };
    let information = sense.and_then(|sense| sense.information);
    Reply { said, information, data: vec![0; done.transferred] }
}

/// Runs a command without data and says how it ended.
pub(crate) fn say(transport: &mut dyn Transport, command: Command) -> String {
    run(transport, &command, Transfer::None).said
}

/// Runs a command that delivers data, with room for 64 KiB.
pub(crate) fn ask(transport: &mut dyn Transport, command: Command) -> Reply {
    let mut buffer = vec![0xEE; 65_536];
    let mut reply = run(transport, &command, Transfer::FromDevice(&mut buffer));
    let length = reply.data.len();
    reply.data.copy_from_slice(&buffer[..length]);
    reply
}

pub(crate) fn write(transport: &mut dyn Transport, data: &[u8]) -> Reply {
    let length = U24::try_from(data.len()).unwrap();
    run(transport, &Command::Write6 { fixed: false, length }, Transfer::ToDevice(data))
}

pub(crate) fn mark(transport: &mut dyn Transport, count: u32) -> String {
    say(transport, Command::WriteFilemarks6 { immediate: false, count: u24(count) })
}

pub(crate) fn mark_at_once(transport: &mut dyn Transport, count: u32) -> String {
    say(transport, Command::WriteFilemarks6 { immediate: true, count: u24(count) })
}

pub(crate) fn read(transport: &mut dyn Transport, length: u32) -> Reply {
    let command = Command::Read6 { fixed: false, suppress_length: false, length: u24(length) };
    ask(transport, command)
}

pub(crate) fn locate(transport: &mut dyn Transport, object: u64) -> String {
    let to = LocateTarget::Object(object);
    say(transport, Command::Locate16 { immediate: false, partition: None, to })
}

pub(crate) fn space(transport: &mut dyn Transport, code: SpaceCode, count: i32) -> Reply {
    run(transport, &Command::Space6 { code, count }, Transfer::None)
}

pub(crate) fn position(transport: &mut dyn Transport) -> Long {
    let command = Command::ReadPosition { form: PositionForm::Long, allocation: 0 };
    Long::decode(&ask(transport, command).data).unwrap()
}

pub(crate) fn load(transport: &mut dyn Transport, load: bool) -> String {
    let flags = (false, false, false, false);
    let (immediate, hold, end_of_tape, retension) = flags;
    say(transport, Command::LoadUnload { immediate, hold, end_of_tape, retension, load })
}

/// Eats the attentions and polls until the drive is ready.
pub(crate) fn settle(transport: &mut dyn Transport) {
    for _ in 0..8 {
        if say(transport, Command::TestUnitReady) == "good" {
            return;
        }
    }
    panic!("the drive does not become ready");
}

pub(crate) fn library(dir: &Path, settings: Settings) -> Library {
    let plan = LibraryPlan { drives: 2, slots: 4, mail_slots: 1, settings, ..Default::default() };
    Library::create(dir, &plan).unwrap()
}

/// A library with a cartridge of `capacity` bytes in drive 0, which is ready.
pub(crate) fn ready(dir: &Path, capacity: u64) -> EmulatedDrive {
    let library = library(dir, Settings::default());
    let cartridge = Cartridge::new(code("T00001L8"), Generation::Lto8, capacity);
    library.shelve_cartridge(&cartridge).unwrap();
    library.push_in(0, code("T00001L8")).unwrap();
    let mut drive = drive(dir, 0).unwrap();
    settle(&mut drive);
    drive
}

/// What a kill leaves at this moment: the files, without the processes.
pub(crate) fn as_if_killed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for sub in ["", "cartridges", "drives"] {
        fs::create_dir_all(copy.path().join(sub)).unwrap();
        for entry in fs::read_dir(dir.join(sub)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), copy.path().join(sub).join(entry.file_name())).unwrap();
            }
        }
    }
    copy
}
