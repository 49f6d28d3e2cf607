//! `drive commission`.

use serde_json::{Map, Value};

use crate::{
    cli::{
        bench::Bench, devices::drive::print_json, exit::Exit, fail::Failure, media::with_station,
        say,
    },
    job::{
        JobError, archive,
        commission::{self, Commission, Commissioned},
    },
    report::Table,
    unit::{Binary, ByteCount},
};

/// Proves that a drive does what jobs will ask of it. One that does not is an error.
pub(super) fn run(
    bench: &Bench,
    name: Option<&str>,
    erase: bool,
    amount: &str,
) -> Result<Exit, Failure> {
    let amount =
        ByteCount::parse(amount).map_err(|error| Failure::Usage { what: error.to_string() })?;
    let catalog = archive::open_catalog(&bench.settings, &bench.desk)?;
    let wanted = Commission { amount, erase };
    let found = with_station(bench, name, |station| {
        commission::commission(&bench.settings, &catalog, station, &wanted, &bench.desk)
    })?;
    if bench.json {
        print_json("drive-commissioned", &found.drive, facts(&found));
    } else {
        say::text(&words(&found));
    }
    if found.is_fit() {
        return Ok(Exit::Done);
    }
    let failed = found.trials.iter().filter(|trial| trial.flaw.is_some()).count();
    let what = match failed {
        0 => found.flaws.join("; "),
        _ => format!("{failed} of {} trials failed", found.trials.len()),
    };
    Err(JobError::Unfit { drive: found.drive, what }.into())
}

fn facts(found: &Commissioned) -> Map<String, Value> {
    let value = serde_json::to_value(found).expect("plain data");
    let mut facts = match value {
        Value::Object(facts) => facts,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    facts.insert("fit".into(), found.is_fit().into());
    facts
}

fn words(found: &Commissioned) -> String {
    let mut table = Table::new(&["blocks#", "protection", "data#", "write#", "read#", "result"]);
    for trial in &found.trials {
        let rate = |rate: Option<u64>| {
            rate.map_or_else(|| "-".into(), |rate| format!("{}/s", ByteCount(rate)))
        };
        table.row(vec![
            Binary(u64::from(trial.block)).to_string(),
            trial.protection.unwrap_or("off").to_owned(),
            ByteCount(trial.bytes).to_string(),
            rate(trial.write_rate),
            rate(trial.read_rate),
            if trial.flaw.is_none() { "passed" } else { "FAILED" }.to_owned(),
        ]);
    }
    let Commissioned { vendor, product, firmware, serial, .. } = found;
    let proven = match found.proven_transfer {
        0 => "nothing came back right".to_owned(),
        bytes => format!("{bytes} bytes came back right"),
    };
    let verdict = if found.is_fit() {
        "fit for the pools of this config\n".to_owned()
    } else {
        found.flaws.iter().map(|flaw| format!("FAILED  {flaw}\n")).collect()
    };
    format!(
        "{}: {vendor} {product}, firmware {firmware}, serial {serial}, with {}\n\n{table}\n\
         one command moves up to {} by the host adapter's word; {proven}\n{verdict}",
        found.drive,
        found.cartridge,
        Binary(u64::from(found.max_transfer)),
    )
}
