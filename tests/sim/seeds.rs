//! The random part: several accidents in one history, chosen by a seed.

use std::env;

use tapevault::emulator::Circumstances;

use crate::{
    fate::{Accident, Kind},
    history::{self, Act},
    sweep::{Script, Stages, play_all, say},
};

/// Histories of several accidents, unless `SIM_SEEDS` says how many.
const SEEDS: u64 = 150;
const DEEP: u64 = 5000;
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
fn script(seed: u64, traces: &[(Act, Vec<Circumstances>)]) -> Script {
    let mut chance = Chance(seed);
    let (act, trace) = &traces[usize::from(chance.below(4) == 0)];
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
    (*act, accidents)
}

#[test]
fn accidents_that_come_together() {
    let stages = Stages::new();
    let traces =
        [Act::Write, Act::Restore].map(|act| (act, history::undisturbed(stages.of(act), act)));
    if let Ok(seed) = env::var("SIM_SEED") {
        let script = script(seed.parse().unwrap(), &traces);
        say(&format!("sim: seed {seed}: {script:?}"));
        return play_all("seed", &stages, &[script]);
    }
    let count = env::var("SIM_SEEDS").map_or_else(
        |_| if env::var_os("TAPEVAULT_DEEP").is_some() { DEEP } else { SEEDS },
        |text| text.parse().unwrap(),
    );
    let scripts: Vec<Script> = (0..count).map(|seed| script(seed, &traces)).collect();
    play_all("seeds", &stages, &scripts);
}
