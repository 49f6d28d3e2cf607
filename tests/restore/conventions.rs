//! Drives and cartridges that have their ways: a job goes through with each of them, and what it
//! wrote comes back.

use std::{fs, sync::Arc};

use tapevault::{
    catalog::{CopyState, Query},
    emulator::{Cartridge, CommandKind, Effect, Fault, Settings, SharedWitness},
    job::{JobError, archive::Half},
};

use crate::rig::{Rig, noise, picture};

/// Three segments fit, and no more.
const SMALL: u64 = 60_000_000;

fn fill(rig: &Rig) {
    for number in 0..90 {
        let name = format!("{number:02}");
        fs::write(rig.source.join(&name), noise(&name, 1_000_000)).unwrap();
    }
}

/// Early warning comes within a segment that would have fitted: rewrites take the room.
fn rewritten() -> Fault {
    let rewrite = Fault::always(Effect::RecoveredError).at(CommandKind::Write).from_object(72);
    Fault { times: Some(20), ..rewrite }
}

/// Archives what spans cartridges of this kind, and has it back: by the catalog, and by one that was
/// made from the cartridges alone.
fn spans(ways: Settings, change: fn(&mut Cartridge), faults: &[Fault]) -> Rig {
    let rig = Rig::of(1, ways, SMALL, change);
    fill(&rig);
    rig.set_faults(faults);
    rig.archive(Half::Both);
    rig.set_faults(&[]);
    let catalog = rig.catalog();
    let volumes = catalog.volumes().unwrap();
    assert!(volumes.len() > 1, "it spans");
    for volume in &volumes {
        let copies = catalog.copies_on(volume.id).unwrap();
        assert!(copies.iter().all(|copy| copy.state == CopyState::Verified), "{copies:#?}");
        assert!(volume.last_index.is_some(), "{} has its index", volume.volser);
    }
    drop(catalog);
    for (to, rebuilt) in [("out", false), ("again", true)] {
        if rebuilt {
            rig.rebuild();
        }
        let (tally, told) = rig.restore(&rig.request(Query::default(), to));
        assert!(tally.unwrap().is_clean(), "{told:#?}");
        assert_eq!(picture(&rig.path(to).join("files")), picture(&rig.source));
    }
    rig
}

#[test]
fn early_warning_is_told_once_or_each_time() {
    for early_warning_once in [false, true] {
        for programmable_early_warning_each in [false, true] {
            let ways = Settings {
                early_warning_once,
                programmable_early_warning_each,
                rewrite_bytes: 2_000_000,
                ..Settings::default()
            };
            spans(ways, |_| {}, &[rewritten()]);
        }
    }
}

#[test]
fn little_room_after_early_warning_is_enough() {
    spans(Settings::default(), |cartridge| cartridge.reserve_bytes = 25_000_000, &[]);
}

#[test]
fn lengths_need_no_residual() {
    spans(Settings { residual_in_header: false, ..Settings::default() }, |_| {}, &[]);
}

#[test]
fn rewrites_eat_capacity_and_the_next_cartridge_takes_the_rest() {
    let ways = Settings { rewrite_bytes: 2_000_000, ..Settings::default() };
    let rig = spans(ways, |_| {}, &[rewritten()]);
    let ends: Vec<u64> =
        rig.catalog().volumes().unwrap().iter().map(|volume| volume.end.0).collect();
    assert!(ends.iter().any(|end| *end < 90), "one took a segment, and not two: {ends:?}");
}

#[test]
fn a_cartridge_of_another_file_system_is_not_labelled() {
    // As LTFS leaves one: divided, with nothing that can be read at the beginning.
    let rig = Rig::of(1, Settings::default(), SMALL, |cartridge| {
        cartridge.additional_partitions = 1;
    });
    fs::write(rig.source.join("one"), "one").unwrap();
    let error = rig.try_archive().unwrap_err();
    assert!(matches!(error, JobError::Cartridge { .. }), "{error:?}");
    assert!(error.to_string().contains("2 partitions"), "{error}");
    assert!(rig.catalog().volumes().unwrap().is_empty(), "none of them is ours now");
}

/// Reads, before each write, how far before early warning the drive warns.
#[derive(Debug)]
struct Warnings {
    registers: std::path::PathBuf,
    /// In MB, as it was before each write, without repetitions.
    seen: Vec<u16>,
    writes: u32,
    /// The write at which the modes are set back.
    at: u32,
}

impl tapevault::emulator::Witness for Warnings {
    fn before(&mut self, command: &tapevault::emulator::Circumstances) -> Option<Effect> {
        if command.kind != CommandKind::Write {
            return None;
        }
        let text = fs::read_to_string(&self.registers).unwrap();
        let registers: serde_json::Value = serde_json::from_str(&text).unwrap();
        let pages = registers["modes"]["pages"].as_array().unwrap();
        let is_it = |page: &&serde_json::Value| page["code"] == 0x10 && page["subpage"] == 1;
        let body = &pages.iter().find(is_it).unwrap()["body"];
        let byte = |at: usize| u8::try_from(body[at].as_u64().unwrap()).unwrap();
        let warned = u16::from_be_bytes([byte(2), byte(3)]);
        if self.seen.last() != Some(&warned) {
            self.seen.push(warned);
        }
        self.writes += 1;
        (self.writes == self.at).then_some(Effect::ParametersChanged)
    }

    fn after(&mut self, _command: &tapevault::emulator::Circumstances) {}
}

#[test]
fn early_warning_is_set_again_after_somebody_changed_the_parameters() {
    let mut rig = Rig::new(1);
    fill(&rig);
    let registers = rig.library.dir().join("drives/drive0.json");
    let (seen, writes, at) = (Vec::new(), 0, 60);
    let witness = Arc::new(std::sync::Mutex::new(Warnings { registers, seen, writes, at }));
    let shared: SharedWitness = Arc::<std::sync::Mutex<Warnings>>::clone(&witness);
    rig.settings.emulator.as_mut().unwrap().witness = Some(shared);
    rig.archive(Half::Both);
    let Warnings { seen, writes, .. } = &*witness.lock().unwrap();
    assert!(*writes > 300, "the job went on: {writes}");
    // The label is written without; then the segments with, before the change and after.
    assert_eq!(seen.len(), 2, "never without since: {seen:?}");
    assert!(seen[0] == 0 && seen[1] > 64, "{seen:?}");
}

/// Looks, at each write, at whether the drive would refuse to write over anything; and moves the tape
/// behind the job's back at one of them.
#[derive(Debug)]
struct Meddler {
    registers: std::path::PathBuf,
    unguarded: u32,
    writes: u32,
}

impl tapevault::emulator::Witness for Meddler {
    fn before(&mut self, command: &tapevault::emulator::Circumstances) -> Option<Effect> {
        if command.kind != CommandKind::Write {
            return None;
        }
        let text = fs::read_to_string(&self.registers).unwrap();
        let registers: serde_json::Value = serde_json::from_str(&text).unwrap();
        let pages = registers["modes"]["pages"].as_array().unwrap();
        let is_it = |page: &&serde_json::Value| page["code"] == 0x10 && page["subpage"] == 1;
        let modes = pages.iter().find(is_it).unwrap()["body"][1].as_u64().unwrap();
        self.unguarded += u32::from(modes >> 4 != 1);
        self.writes += 1;
        // Rewound, and the unit attention is gone: the next write would go over the label.
        (self.writes == 100).then_some(Effect::Rewound)
    }

    fn after(&mut self, _command: &tapevault::emulator::Circumstances) {}
}

#[test]
fn a_tape_that_somebody_rewound_is_not_written_over() {
    let mut rig = Rig::new(1);
    fill(&rig);
    let registers = rig.library.dir().join("drives/drive0.json");
    let meddler = Meddler { registers, unguarded: 0, writes: 0 };
    let witness = Arc::new(std::sync::Mutex::new(meddler));
    let shared: SharedWitness = Arc::<std::sync::Mutex<Meddler>>::clone(&witness);
    rig.settings.emulator.as_mut().unwrap().witness = Some(shared);
    rig.archive(Half::Both);
    // The lock is not held on: the restore asks the witness, too.
    let seen = |witness: &Meddler| (witness.unguarded, witness.writes);
    let (unguarded, writes) = seen(&witness.lock().unwrap());
    assert!(writes > 300 && unguarded == 0, "{unguarded} of {writes}");
    let volumes = rig.catalog().volumes().unwrap();
    assert_eq!(volumes.len(), 1, "the label stands, and the job went on behind it: {volumes:#?}");
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(tally.unwrap().is_clean(), "{told:#?}");
    assert_eq!(picture(&rig.path("out/files")), picture(&rig.source));
}
