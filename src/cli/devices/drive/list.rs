//! `drive list`.

use serde_json::{Map, Value};

use crate::{
    causes,
    cli::{
        bench::Bench,
        devices::drive::{print_json, state_key, state_words},
        exit::Exit,
        say,
    },
    drive::{Drive, Identity, MediumState},
    job::rig::{self, RigError},
    report::Table,
};

/// What is known of one drive of the config.
enum Seen {
    /// It answered.
    Found(Identity, MediumState),
    /// Another program, or another host, has it.
    Busy,
    /// It cannot be reached, and why.
    Gone(String),
}

/// Lists the drives of the config. One that cannot be reached keeps no other from being listed.
pub(super) fn run(bench: &Bench) -> Exit {
    let mut table =
        Table::new(&["drive", "state", "model", "firmware", "serial", "generation", "device"]);
    let mut notes = Vec::new();
    let mut exit = Exit::Done;
    for (name, settings) in &bench.settings.drives {
        let seen = see(bench, name);
        if bench.json {
            print_json("drive", name, facts(&settings.device, &seen));
        }
        let (state, cells) = words(&seen);
        let mut row = vec![name.clone(), state.to_owned()];
        row.extend(cells);
        row.push(settings.device.clone());
        table.row(row);
        if let Seen::Gone(why) = seen {
            notes.push(format!("{name}: {why}"));
            exit = Exit::Device;
        }
    }
    if !bench.json {
        say::text(&table.to_string());
        notes.iter().for_each(|note| say::aside(note));
    }
    exit
}

fn see(bench: &Bench, name: &str) -> Seen {
    let asked = rig::look(&bench.settings, Some(name), &bench.desk.clock);
    let found = asked.and_then(|(_, mut drive): (String, Drive)| {
        let state = drive.state()?;
        Ok::<_, RigError>(Seen::Found(drive.identity().clone(), state))
    });
    match found {
        Ok(seen) => seen,
        Err(error) if error.is_busy() => Seen::Busy,
        Err(error) => Seen::Gone(causes::chain(&error)),
    }
}

fn words(seen: &Seen) -> (&'static str, [String; 4]) {
    let unknown = || ["-".to_owned(), "-".to_owned(), "-".to_owned(), "-".to_owned()];
    match seen {
        Seen::Found(identity, state) => {
            let generation = identity.generation.map_or_else(|| "-".into(), |own| own.to_string());
            let model = format!("{} {}", identity.vendor, identity.product);
            let cells = [model, identity.revision.clone(), identity.serial.clone(), generation];
            (state_words(*state), cells)
        }
        Seen::Busy => ("busy", unknown()),
        Seen::Gone(_) => ("no answer", unknown()),
    }
}

fn facts(device: &str, seen: &Seen) -> Map<String, Value> {
    let state = match seen {
        Seen::Found(_, state) => state_key(*state),
        Seen::Busy => "busy",
        Seen::Gone(_) => "no-answer",
    };
    let mut facts = Map::new();
    let mut put = |key: &str, value: Value| facts.insert(key.to_owned(), value);
    put("device", device.into());
    put("state", state.into());
    if let Seen::Found(identity, _) = seen {
        put("vendor", identity.vendor.as_str().into());
        put("product", identity.product.as_str().into());
        put("firmware", identity.revision.as_str().into());
        put("serial", identity.serial.as_str().into());
        put("generation", identity.generation.map(|own| own.to_string()).into());
        put("emulated", identity.emulated.into());
    }
    if let Seen::Gone(why) = seen {
        put("why", why.as_str().into());
    }
    facts
}
