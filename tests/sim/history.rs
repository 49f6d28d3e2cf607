//! One history: a job, what goes wrong in it, and an operator who does what is asked.

use std::{
    fmt::Write as _,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tapevault::{
    emulator::{self, SharedWitness},
    job::{Remedy, archive::Half},
};

use crate::{
    fate::{Accident, Fate, Kind},
    oracle,
    world::{Ended, World, picture},
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
}

struct History<'a> {
    world: World,
    fate: Arc<Mutex<Fate>>,
    accidents: &'a [Accident],
    /// What was told, run by run.
    told: Vec<Vec<String>>,
    clean: bool,
}

/// Plays a history. `Err` says what was lost, and how it came to that.
pub(crate) fn play(stage: &World, act: Act, accidents: &[Accident]) -> Result<Passed, String> {
    let world = stage.copy();
    let fate = Fate::new(accidents, Arc::clone(&world.floors));
    let fate = Arc::new(Mutex::new(fate));
    let mut history = History { world, fate, accidents, told: Vec::new(), clean: true };
    let done = match act {
        Act::Write => history.write(),
        Act::Restore => history.restore(),
    };
    let done = done.and_then(|()| history.is_bounded());
    match done {
        Ok(()) => Ok(Passed { struck: history.fate().struck }),
        Err(what) => Err(history.story(&what)),
    }
}

/// The commands of a history in which nothing goes wrong.
pub(crate) fn undisturbed(stage: &World, act: Act) -> Vec<emulator::Circumstances> {
    let world = stage.copy();
    let fate = Arc::new(Mutex::new(Fate::new(&[], Arc::clone(&world.floors))));
    let mut history = History { world, fate, accidents: &[], told: Vec::new(), clean: true };
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

impl History<'_> {
    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn witness(&self) -> SharedWitness {
        let witness: SharedWitness = self.fate.clone();
        witness
    }

    /// Runs a command until it ends by itself.
    fn until_done(
        &mut self,
        run: impl Fn(&World, &SharedWitness) -> (Ended, Vec<String>),
    ) -> Result<(), String> {
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
                    return Ok(());
                }
                Ended::Failed(error) => {
                    if error.remedy() == Remedy::Config {
                        return Err(format!("the config is blamed: {error:?}"));
                    }
                    self.fate().mend();
                    self.operator(number);
                }
                Ended::Killed => {
                    self.fate.clear_poison();
                    let dark = |accident: &Accident| accident.kind == Kind::Blackout;
                    if let Some(blackout) = self.accidents.iter().find(|one| dark(one)) {
                        emulator::power_loss(self.world.library.dir(), blackout.at).unwrap();
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
        oracle::settled(&self.world, self.clean)
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
