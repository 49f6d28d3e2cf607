//! The random part: several accidents in one history, chosen by a seed.

use std::env;

use crate::{
    fate::{Accident, Kind},
    history::Act,
    sweep::{Script, Stages, is_deep, play_all, say},
    world::Setting,
};

/// Histories of several accidents, unless `SIM_SEEDS` says how many.
const SEEDS: u64 = 500;
const DEEP: u64 = 5000;
/// Times that each pair of kinds is played, when there is time.
const PAIRS_DEEP: u64 = 8;
/// The next accident comes within so many commands.
const SOON: u64 = 10;

/// A small generator of numbers (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    fn kind(&mut self) -> Kind {
        Kind::ALL[usize::try_from(self.below(Kind::ALL.len() as u64)).unwrap()]
    }
}

/// The history of a seed: two or three accidents close together, sometimes far.
fn script(seed: u64, stages: &Stages) -> Script {
    let mut chance = Chance(seed);
    let setting = setting_of(seed);
    let act = if chance.below(4) == 0 { Act::Restore } else { Act::Write };
    let trace = &stages.of(setting, act).trace;
    let (at, kind) = loop {
        let at = chance.below(trace.len() as u64);
        let kind = chance.kind();
        if kind.fits(&trace[usize::try_from(at).unwrap()]) {
            break (at, kind);
        }
    };
    let mut accidents = vec![Accident { kind, at, lasting: kind.lasts() && chance.below(4) == 0 }];
    let mut at = at;
    for _ in 0..=chance.below(2) {
        at += 1 + if chance.below(8) == 0 { chance.below(300) } else { chance.below(SOON) };
        accidents.push(Accident { kind: chance.kind(), at, lasting: false });
    }
    Script { setting, act, accidents }
}

/// Half of the histories are in the plain setting.
fn setting_of(seed: u64) -> Setting {
    match seed % 6 {
        0 => Setting::Guarded,
        2 => Setting::TwoDrives,
        4 => Setting::WriteOnce,
        _ => Setting::Plain,
    }
}

#[test]
fn accidents_that_come_together() {
    if let Ok(seed) = env::var("SIM_SEED") {
        let seed = seed.parse().unwrap();
        let stages = Stages::new(&[setting_of(seed)]);
        let script = script(seed, &stages);
        say(&format!("sim: seed {seed}: {script:?}"));
        return play_all("seed", &stages, &[script]);
    }
    let stages = Stages::new(&Setting::ALL);
    let count = env::var("SIM_SEEDS")
        .map_or_else(|_| if is_deep() { DEEP } else { SEEDS }, |text| text.parse().unwrap());
    let scripts: Vec<Script> = (0..count).map(|seed| script(seed, &stages)).collect();
    play_all("seeds", &stages, &scripts);
}

/// Each kind after each other, within ten commands.
#[test]
fn every_kind_after_every_other() {
    let setting = Setting::Plain;
    let stages = Stages::new(&[setting]);
    let mut scripts = Vec::new();
    for first in Kind::ALL {
        for second in Kind::ALL {
            for _ in 0..if is_deep() { PAIRS_DEEP } else { 1 } {
                // The pair and its turn choose the place.
                let mut chance = Chance(scripts.len() as u64);
                let act = if chance.below(4) == 0 { Act::Restore } else { Act::Write };
                let fits = |act| {
                    let commands = (0..).zip(&stages.of(setting, act).trace);
                    let fits = commands.filter(|(_, command)| first.fits(command));
                    fits.map(|(at, _)| at).collect::<Vec<u64>>()
                };
                let (act, places) = match fits(act) {
                    none if none.is_empty() => (Act::Write, fits(Act::Write)),
                    some => (act, some),
                };
                let at = places[usize::try_from(chance.below(places.len() as u64)).unwrap()];
                let next = at + 1 + chance.below(SOON);
                let accidents = [(first, at), (second, next)];
                let accidents = accidents.map(|(kind, at)| Accident { kind, at, lasting: false });
                scripts.push(Script { setting, act, accidents: accidents.to_vec() });
            }
        }
    }
    play_all("pairs", &stages, &scripts);
}
