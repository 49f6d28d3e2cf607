//! One history: a job, what goes wrong in it, and an operator who does what is asked.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tapevault::{
    clock::Timestamp,
    emulator::{self, CommandKind, SharedWitness},
    ident::Barcode,
    job::{Remedy, archive::Half},
};

use crate::{
    fate::{Accident, Fate, Kind},
    oracle,
    world::{Ended, Setting, World, picture},
};

/// How often a command is run before the operator gives up.
const TRIES: usize = 8;
/// Commands that a history sends at most, and moves: a fault must not make a job run for ever.
const COMMANDS: u64 = 6000;
const MOVES: u64 = 120;

/// What a history is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Writes what is staged, and verifies it.
    Write,
    /// Restores what was written.
    Restore,
}

/// How a history ended, if nothing was lost.
#[derive(Debug)]
pub(crate) struct Passed {
    /// Whether anything went wrong at all.
    pub(crate) struck: bool,
    /// Where somebody had to help: what the first accident was, at what command.
    pub(crate) helped: Option<String>,
}

struct History<'a> {
    stage: &'a World,
    world: World,
    fate: Arc<Mutex<Fate>>,
    accidents: &'a [Accident],
    /// What was told, run by run.
    told: Vec<Vec<String>>,
    clean: bool,
    /// Whether the operator went on with another drive, and left the first with what it has: the
    /// catalog hears of that when its cartridge is used again.
    left: bool,
}

/// Plays a history. `Err` says what was lost, and how it came to that.
pub(crate) fn play(stage: &World, act: Act, accidents: &[Accident]) -> Result<Passed, String> {
    let mut history = History::new(stage, accidents);
    let done = match act {
        Act::Write => history.write(),
        Act::Restore => history.restore(),
    };
    let done = done.and_then(|()| history.is_bounded());
    match done {
        Ok(()) => {
            let struck = history.fate().struck;
            Ok(Passed { struck, helped: history.helped() })
        }
        Err(what) => Err(history.story(&what)),
    }
}

/// The commands of a history in which nothing goes wrong.
pub(crate) fn undisturbed(stage: &World, act: Act) -> Vec<emulator::Circumstances> {
    let mut history = History::new(stage, &[]);
    let done = match act {
        Act::Write => history.write(),
        Act::Restore => history.restore(),
    };
    if let Err(what) = done {
        panic!("{}", history.story(&what));
    }
    assert!(history.clean, "{}", history.story("there were findings without a fault"));
    let mut fate = history.fate();
    std::mem::take(&mut fate.trace)
}

/// The stage on which a restore begins: everything is written.
pub(crate) fn written(stage: &World) -> World {
    let world = stage.copy();
    let (ended, told) = world.archive(Half::Write, None);
    assert!(matches!(ended, Ended::Done(tally) if tally.is_clean()), "{ended:?}: {told:#?}");
    world
}

impl<'a> History<'a> {
    fn new(stage: &'a World, accidents: &'a [Accident]) -> Self {
        let world = stage.copy();
        let catalog = world.settings.catalog.path.clone();
        let fate = Fate::new(accidents, Arc::clone(&world.floors), catalog);
        let fate = Arc::new(Mutex::new(fate));
        Self { stage, world, fate, accidents, told: Vec::new(), clean: true, left: false }
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn witness(&self) -> SharedWitness {
        let witness: SharedWitness = self.fate.clone();
        witness
    }

    /// Runs a command until it ends by itself; with two drives by turns, and on each that began.
    fn until_done(
        &mut self,
        run: impl Fn(&World, &SharedWitness) -> (Ended, Vec<String>),
    ) -> Result<(), String> {
        let mut owing = BTreeSet::from([self.world.drive.clone()]);
        for number in 0..TRIES {
            let (ended, mut told) = run(&self.world, &self.witness());
            self.clean &= told.iter().all(|line| {
                !line.contains("\"volume-finding\"") && !line.contains("\"not-restored\"")
            });
            told.push(format!("{ended:?}"));
            self.told.push(told);
            self.checkpoint()?;
            match ended {
                Ended::Done(tally) => {
                    self.clean &= tally.is_clean();
                    self.fate().make_room();
                    owing.remove(&self.world.drive);
                    let Some(drive) = owing.first() else { return Ok(()) };
                    self.world.drive = drive.clone();
                }
                Ended::Failed(error) => {
                    if error.remedy() == Remedy::Config {
                        return Err(format!("the config is blamed: {error:?}"));
                    }
                    self.fate().mend();
                    self.operator(number);
                    if self.world.setting == Setting::TwoDrives {
                        self.left = true;
                        self.world.drive = Some(format!("drive{}", (number + 1) % 2));
                        owing.insert(self.world.drive.clone());
                    }
                }
                Ended::Killed => {
                    self.fate.clear_poison();
                    let dark = |accident: &Accident| accident.kind == Kind::Blackout;
                    if let Some(blackout) = self.accidents.iter().find(|one| dark(one)) {
                        emulator::power_loss(self.world.library.dir(), blackout.at).unwrap();
                        if blackout.at % 2 == 0 {
                            self.world.undo_removals(self.stage);
                        }
                    }
                }
                Ended::Panicked(what) => return Err(format!("it panicked: {what}")),
            }
        }
        Err(format!("it did not end in {TRIES} tries"))
    }

    /// Whether the last run said of everything that is not there that it did not come back.
    fn all_missing_is_named(&self) -> bool {
        let wanted = self.world.picture.keys();
        let told = self.told.last().unwrap();
        let mut missing = wanted.filter(|path| !self.world.path("out/files").join(path).exists());
        missing.all(|path| {
            let key = format!("\"key\":{path:?}");
            told.iter().any(|line| line.contains("not-restored") && line.contains(&key))
        })
    }

    /// Somebody looks at the machines, and moves switches back.
    fn operator(&self, _number: usize) {
        for barcode in self.world.library.cartridges().unwrap() {
            if self.world.library.cartridge(barcode).unwrap().write_protected {
                let moved = self.world.library.change_cartridge(barcode, |cartridge| {
                    cartridge.write_protected = false;
                });
                // It is in the drive: not now.
                drop(moved);
            }
        }
    }

    /// What must hold at any time.
    fn checkpoint(&self) -> Result<(), String> {
        if let Some(what) = self.fate().overwritten.first() {
            return Err(format!("something committed was written over: {what}"));
        }
        oracle::copies_are_on_tape(&self.world)
    }

    fn is_bounded(&self) -> Result<(), String> {
        let fate = self.fate();
        if fate.commands > COMMANDS || fate.moves > MOVES {
            return Err(format!("{} commands and {} moves", fate.commands, fate.moves));
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), String> {
        self.until_done(|world, witness| world.archive(Half::Write, Some(witness)))?;
        self.got_over()?;
        if !oracle::is_complete(&self.world) {
            if self.clean {
                return Err("the job said that it was done, and it is not".to_owned());
            }
            // What could not be read back is exported again.
            self.until_done(|world, witness| world.archive(Half::Both, Some(witness)))?;
            if !oracle::is_complete(&self.world) {
                return Err("what was found bad was not written again".to_owned());
            }
        }
        oracle::settled(&self.world, self.clean && !self.left)
    }

    fn helped(&self) -> Option<String> {
        let first = self.accidents.first().filter(|_| self.told.len() > 1)?;
        let command = self.fate().trace[usize::try_from(first.at).unwrap()].kind;
        let lasting = if first.lasting { ", lasting," } else { "" };
        Some(format!("{:?}{lasting} at {command:?}", first.kind))
    }

    /// A single accident while objects are written is the job's own to get over: nobody is asked,
    /// everything is on tape, and the ledger says what happened.
    fn got_over(&self) -> Result<(), String> {
        let [Accident { kind, at, lasting: false }] = *self.accidents else { return Ok(()) };
        let Some(words) = kind.trouble() else { return Ok(()) };
        let at = usize::try_from(at).unwrap();
        let struck = self.fate().trace[at];
        if !matches!(struck.kind, CommandKind::Write | CommandKind::Filemark | CommandKind::Flush) {
            return Ok(());
        }
        if self.told.len() > 1 {
            return Err("the job ended where it should have gone on by itself".to_owned());
        }
        if !oracle::is_complete(&self.world) {
            return Err("the job did not write again what had not landed".to_owned());
        }
        let events = self.world.catalog().events(Timestamp::from_parts(0, 0), 1000).unwrap();
        let told = events.iter().filter(|event| event.what == "drive.trouble").any(|event| {
            let volser = event.volume.and_then(|id| self.world.volser(id));
            event.detail["error"].as_str().is_some_and(|error| error.contains(words))
                && (volser.is_none() || volser == struck.barcode.map(Barcode::volser))
        });
        // A cartridge that does not take its label is put away for another, and no volume yet.
        let unlabelled = self.told[0].iter().any(|line| line.contains("not written: "));
        // A switch that is moved when all is written refuses nothing.
        let late = kind == Kind::WriteProtected
            && !self.fate().trace[at + 1..].iter().any(|later| {
                later.barcode == struck.barcode
                    && matches!(later.kind, CommandKind::Write | CommandKind::Filemark)
            });
        if !words.is_empty() && !told && !unlabelled && !late {
            return Err(format!("the ledger does not say {words:?}: {events:#?}"));
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<(), String> {
        let done = self.until_done(|world, witness| {
            drop(fs::remove_dir_all(world.path("out")));
            fs::create_dir(world.path("out")).unwrap();
            world.restore(&world.catalog(), "out", Some(witness))
        });
        // A cartridge that nothing can be read of gives nothing.
        let lasting = self.accidents.iter().any(|one| one.lasting && one.kind == Kind::ReadError);
        if lasting && done.is_err() && self.all_missing_is_named() {
            return Ok(());
        }
        done?;
        let (found, wanted) = (picture(&self.world.path("out/files")), &*self.world.picture);
        for (path, words) in found.iter().filter(|(path, _)| path.extension().is_none()) {
            if wanted.get(path) != Some(words) {
                return Err(format!("{path:?} came back as {words}"));
            }
        }
        if self.clean && found != *wanted {
            return Err("the restore said that all came back, and it did not".to_owned());
        }
        Ok(())
    }

    fn story(&self, what: &str) -> String {
        let mut text = format!("{what}\n  accidents: {:?}\n", self.accidents);
        let fate = self.fate();
        for accident in self.accidents {
            let at = usize::try_from(accident.at).unwrap();
            for number in at.saturating_sub(4)..at + 6 {
                if let Some(command) = fate.trace.get(number) {
                    let mark = if number == at { ">" } else { " " };
                    writeln!(text, "  {mark} {number}: {command:?}").unwrap();
                }
            }
        }
        for (number, told) in self.told.iter().enumerate() {
            writeln!(text, "  run {number}:").unwrap();
            for line in told {
                writeln!(text, "    {line}").unwrap();
            }
        }
        text
    }
}
