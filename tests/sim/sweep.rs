//! The exhaustive part: each kind of accident at each command.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write as _},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tapevault::{
    clock::{Clock, SystemClock},
    emulator::{Circumstances, CommandKind},
};

use crate::{
    fate::{Accident, Kind},
    history::{self, Act, Passed},
    world::{Setting, World},
};

/// In the gate, one of so many commands that only ask or read.
const SAMPLE: u64 = 8;
/// In the gate, commands at which a kind strikes in settings other than the plain one.
const ELSEWHERE: usize = 5;
/// Losses that are told in full.
const TOLD: usize = 3;

/// Says a line that shows also when the test passes.
pub(crate) fn say(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}

/// What to play.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) setting: Setting,
    pub(crate) act: Act,
    pub(crate) accidents: Vec<Accident>,
}

/// The stages that histories begin on.
pub(crate) struct Stages(BTreeMap<Setting, [Stage; 2]>);

/// Where an act begins, and the commands that it sends when nothing goes wrong.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) trace: Vec<Circumstances>,
}

impl Stages {
    pub(crate) fn new(settings: &[Setting]) -> Self {
        let stages = settings.iter().map(|setting| {
            let staged = World::staged(*setting);
            let written = history::written(&staged);
            let stages = [(staged, Act::Write), (written, Act::Restore)].map(|(world, act)| {
                let trace = history::undisturbed(&world, act);
                Stage { world, trace }
            });
            (*setting, stages)
        });
        Self(stages.collect())
    }

    pub(crate) fn of(&self, setting: Setting, act: Act) -> &Stage {
        let [staged, written] = &self.0[&setting];
        match act {
            Act::Write => staged,
            Act::Restore => written,
        }
    }
}

/// Whether all is played that could be.
pub(crate) fn is_deep() -> bool {
    env::var_os("TAPEVAULT_DEEP").is_some()
}

/// Plays scripts on two threads, and says how many.
pub(crate) fn play_all(name: &str, stages: &Stages, scripts: &[Script]) {
    let clock = SystemClock::new();
    let next = AtomicUsize::new(0);
    let helped = Mutex::new(BTreeMap::<String, u32>::new());
    let lost = Mutex::new(Vec::new());
    let workers = env::var("SIM_THREADS").map_or(2, |text| text.parse().unwrap());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(script) = scripts.get(number) else { break };
                    let world = &stages.of(script.setting, script.act).world;
                    match history::play(world, script.act, &script.accidents) {
                        Ok(Passed { struck: true, helped: None }) => {}
                        Ok(Passed { struck: true, helped: Some(place) }) => {
                            *helped.lock().unwrap().entry(place).or_default() += 1;
                        }
                        Ok(Passed { struck: false, .. }) => {
                            let what = format!("nothing happened: {script:?}");
                            lost.lock().unwrap().push(what);
                        }
                        // Of seeds this is the one for `SIM_SEED`.
                        Err(story) => {
                            lost.lock().unwrap().push(format!("number {number}: {story}"));
                        }
                    }
                }
            });
        }
    });
    let lost = lost.into_inner().unwrap();
    let helped = helped.into_inner().unwrap();
    if env::var_os("SIM_HELP").is_some() {
        for (place, count) in &helped {
            say(&format!("sim: {name}: {count} × somebody had to help with {place}"));
        }
    }
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
        "sim: {name}: {} histories, {} lost, in {} somebody had to help, {:.1} s",
        scripts.len(),
        lost.len(),
        helped.values().sum::<u32>(),
        clock.elapsed().as_secs_f64()
    ));
    count(name, scripts.len());
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

/// Leaves word of how many histories were played, so that `tests/run` can say the sum.
fn count(name: &str, histories: usize) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sim");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), format!("{histories}\n")).unwrap();
}

/// The commands of an act at which a kind of accident is to strike.
fn places(stage: &Stage, kind: Kind) -> Vec<u64> {
    let commands = (0..).zip(&stage.trace);
    let chosen = commands.filter(|(at, command)| {
        kind.fits(command) && (is_deep() || matters(command.kind) || at % SAMPLE == 0)
    });
    chosen.map(|(at, _)| at).collect()
}

fn singles(kind: Kind) {
    let setting = Setting::Plain;
    let stages = Stages::new(&[setting]);
    let mut scripts = Vec::new();
    for act in [Act::Write, Act::Restore] {
        for at in places(stages.of(setting, act), kind) {
            let script = |lasting| {
                let accidents = vec![Accident { kind, at, lasting }];
                Script { setting, act, accidents }
            };
            scripts.push(script(false));
            if kind.lasts() {
                scripts.push(script(true));
            }
        }
    }
    assert!(!scripts.is_empty(), "{kind:?} fits no command");
    // For a first look: `SIM_EVERY=7` plays a seventh of them.
    let every = env::var("SIM_EVERY").map_or(1, |text| text.parse().unwrap());
    let scripts: Vec<Script> = scripts.into_iter().step_by(every).collect();
    play_all(&format!("{kind:?}"), &stages, &scripts);
}

/// Every kind in another setting, at commands that lie evenly apart.
fn elsewhere(setting: Setting) {
    let stages = Stages::new(&[setting]);
    let mut scripts = Vec::new();
    for (number, kind) in Kind::ALL.into_iter().enumerate() {
        for act in [Act::Write, Act::Restore] {
            let places = places(stages.of(setting, act), kind);
            let step = if is_deep() { 1 } else { places.len().div_ceil(ELSEWHERE).max(1) };
            for at in places.into_iter().skip(number % step).step_by(step) {
                let accidents = vec![Accident { kind, at, lasting: false }];
                scripts.push(Script { setting, act, accidents });
            }
        }
    }
    play_all(&format!("{setting:?}"), &stages, &scripts);
}

#[test]
fn every_kind_with_protection_and_encryption() {
    elsewhere(Setting::Guarded);
}

#[test]
fn every_kind_with_two_drives() {
    elsewhere(Setting::TwoDrives);
}

#[test]
fn every_kind_on_write_once_cartridges() {
    elsewhere(Setting::WriteOnce);
}

#[test]
fn undisturbed_histories_are_alike() {
    let stages = Stages::new(&Setting::ALL);
    for setting in Setting::ALL {
        for act in [Act::Write, Act::Restore] {
            let Stage { world, trace } = stages.of(setting, act);
            say(&format!("sim: {setting:?} {act:?}: {} commands", trace.len()));
            assert_eq!(*trace, history::undisturbed(world, act));
        }
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
    catalog_full_at_each_command() => CatalogFull,
}
