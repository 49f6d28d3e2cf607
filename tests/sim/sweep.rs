//! The exhaustive part: each kind of accident at each command.

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write as _},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tapevault::{
    clock::{Clock, SystemClock},
    emulator::CommandKind,
};

use crate::{
    fate::{Accident, Kind},
    history::{self, Act, Passed},
    world::World,
};

/// In the gate, one of so many commands that only ask or read.
const SAMPLE: u64 = 8;
/// Losses that are told in full.
const TOLD: usize = 3;

/// Says a line that shows also when the test passes.
pub(crate) fn say(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}

/// What to play.
pub(crate) type Script = (Act, Vec<Accident>);

/// The stages that histories begin on.
pub(crate) struct Stages {
    staged: World,
    written: World,
}

impl Stages {
    pub(crate) fn new() -> Self {
        let staged = World::staged();
        let written = history::written(&staged);
        Self { staged, written }
    }

    pub(crate) fn of(&self, act: Act) -> &World {
        match act {
            Act::Write => &self.staged,
            Act::Restore => &self.written,
        }
    }
}

/// Plays scripts on two threads, and says how many.
pub(crate) fn play_all(name: &str, stages: &Stages, scripts: &[Script]) {
    let clock = SystemClock::new();
    let (next, played) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let lost = Mutex::new(Vec::new());
    let workers = env::var("SIM_THREADS").map_or(2, |text| text.parse().unwrap());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((act, accidents)) = scripts.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    match history::play(stages.of(*act), *act, accidents) {
                        Ok(Passed { struck: true }) => {
                            played.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(Passed { struck: false }) => {
                            let what = format!("nothing happened: {accidents:?}");
                            lost.lock().unwrap().push(what);
                        }
                        Err(story) => lost.lock().unwrap().push(story),
                    }
                }
            });
        }
    });
    let lost = lost.into_inner().unwrap();
    let ended = lost.iter().map(|story: &String| story.lines().next().unwrap_or_default());
    let mut sorts: BTreeMap<String, u32> = BTreeMap::new();
    for line in ended {
        let digits = |c: char| c.is_ascii_digit();
        *sorts.entry(line.replace(digits, "0").replace("00", "0")).or_default() += 1;
    }
    for (line, count) in &sorts {
        say(&format!("sim: {name}: {count} × {line}"));
    }
    say(&format!(
        "sim: {name}: {} histories, {} lost, {:.1} s",
        scripts.len(),
        lost.len(),
        clock.elapsed().as_secs_f64()
    ));
    let told = if env::var_os("SIM_ALL").is_some() { usize::MAX } else { TOLD };
    for story in lost.iter().take(told) {
        say(&format!("LOST: {story}"));
    }
    assert!(lost.is_empty(), "{name}: {} of {} histories lost", lost.len(), scripts.len());
}

/// Whether a command writes, or moves the tape or a cartridge.
fn matters(command: CommandKind) -> bool {
    use CommandKind as C;
    matches!(
        command,
        C::Write
            | C::Filemark
            | C::Flush
            | C::Erase
            | C::Locate
            | C::Space
            | C::SpaceToEnd
            | C::Rewind
            | C::Load
            | C::Unload
            | C::Move
    )
}

fn singles(kind: Kind) {
    let stages = Stages::new();
    let deep = env::var_os("TAPEVAULT_DEEP").is_some();
    let mut scripts = Vec::new();
    for act in [Act::Write, Act::Restore] {
        let trace = history::undisturbed(stages.of(act), act);
        for (at, command) in (0..).zip(&trace) {
            if !kind.fits(command) || !(deep || matters(command.kind) || at % SAMPLE == 0) {
                continue;
            }
            scripts.push((act, vec![Accident { kind, at, lasting: false }]));
            if kind.lasts() {
                scripts.push((act, vec![Accident { kind, at, lasting: true }]));
            }
        }
    }
    assert!(!scripts.is_empty(), "{kind:?} fits no command");
    // For a first look: `SIM_EVERY=7` plays a seventh of them.
    let every = env::var("SIM_EVERY").map_or(1, |text| text.parse().unwrap());
    let scripts: Vec<Script> = scripts.into_iter().step_by(every).collect();
    play_all(&format!("{kind:?}"), &stages, &scripts);
}

#[test]
fn undisturbed_histories_are_alike() {
    let stages = Stages::new();
    for act in [Act::Write, Act::Restore] {
        let trace = history::undisturbed(stages.of(act), act);
        say(&format!("sim: {act:?}: {} commands", trace.len()));
        assert_eq!(trace, history::undisturbed(stages.of(act), act));
    }
}

macro_rules! singles {
    ($($name:ident() => $kind:ident,)*) => {
        $(#[test]
        fn $name() {
            singles(Kind::$kind);
        })*
    };
}

singles! {
    early_warning_at_each_object() => EarlyWarning,
    programmable_early_warning_at_each_object() => ProgrammableEarlyWarning,
    end_of_medium_at_each_object() => EndOfMedium,
    write_error_at_each_object() => WriteError,
    read_error_at_each_object() => ReadError,
    deferred_error_at_each_command() => DeferredLast,
    deferred_error_for_all_at_each_command() => DeferredAll,
    hardware_error_at_each_command() => Hardware,
    aborted_at_each_command() => Aborted,
    aborted_after_each_command() => AbortedAfter,
    recovered_at_each_command() => Recovered,
    reset_at_each_command() => Reset,
    gentle_reset_at_each_command() => ResetGently,
    parameters_changed_at_each_command() => ParametersChanged,
    reply_lost_before_each_command() => LostBefore,
    reply_lost_after_each_command() => LostAfter,
    refused_at_each_command() => Refused,
    rewound_at_each_command() => Rewound,
    bit_flipped_at_each_read() => FlippedBit,
    drive_power_lost_at_each_command() => PowerLoss,
    write_protected_at_each_object() => WriteProtected,
    move_failed_at_each_move() => MoveFails,
    element_full_at_each_move() => ElementFull,
    wrong_cartridge_at_each_move() => WrongCartridge,
    not_ready_at_each_command() => NotReady,
    killed_before_each_command() => Killed,
    killed_after_each_command() => KilledAfter,
    blackout_at_each_command() => Blackout,
}
