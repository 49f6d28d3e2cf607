//! Events as sentences.

use std::time::Duration;

use crate::{
    ident::Volser,
    job::monitor::{
        Event, HeldUp, Lost, NotRestored, Prompt, RestoreEnded, RestorePlanned, RestoreStaged,
        RestoreVolume, Salvaged, Stage, Streamed,
    },
    printable::Printable,
    report::holes,
    unit::{ByteCount, Count, Span},
};

/// Missing spans of one file that are told.
const SPANS_TOLD: usize = 20;

/// How long a drive has to be at work before it is worth a word what held it up.
const WORTH_TELLING_MS: u64 = 1000;

/// The verb of a stage that is under way.
pub(super) fn doing(stage: Stage) -> &'static str {
    match stage {
        Stage::List => "listing",
        Stage::Plan => "planning",
        Stage::Fetch => "fetching",
        Stage::Seal => "sealing",
        Stage::Write => "writing",
        Stage::Flush => "flushing",
        Stage::Commit => "committing",
        Stage::Verify => "verifying",
        Stage::Eject => "ejecting",
        Stage::Restore => "restoring",
        Stage::Rebuild => "reading back",
    }
}

fn done(stage: Stage) -> &'static str {
    match stage {
        Stage::List => "listed",
        Stage::Plan => "planned",
        Stage::Fetch => "fetched",
        Stage::Seal => "sealed",
        Stage::Write => "wrote",
        Stage::Flush => "flushed",
        Stage::Commit => "committed",
        Stage::Verify => "read back",
        Stage::Eject => "ejected",
        Stage::Restore => "restored",
        Stage::Rebuild => "read",
    }
}

/// One line for a person, or nothing for events that only progress bars and programs need.
pub fn sentence(event: &Event<'_>) -> Option<String> {
    Some(match event {
        Event::Progress(_) | Event::JobStarted { .. } | Event::Restored { .. } => return None,
        Event::StageStarted { stage, of } => format!("{} {of}", doing(*stage)),
        Event::StageEnded { stage, of, count, bytes } => stage_ended(*stage, of, *count, *bytes),
        Event::Planned { source, listed, held, wanted, wanted_bytes, gone } => format!(
            "{source}: {} items, {} held already, {} to fetch ({}), {} gone since the last run",
            Count(*listed),
            Count(*held),
            Count(*wanted),
            ByteCount(*wanted_bytes),
            Count(*gone)
        ),
        Event::SwapsExpected { swaps, why } => {
            format!("cartridges will have to be changed {} more times: {why}", Count(*swaps))
        }
        Event::Finding { source, key, problem, detail } => {
            let problem = serde_json::to_value(problem).ok();
            let problem = problem.as_ref().and_then(|value| value.as_str()).unwrap_or("finding");
            let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            format!("{source}: {problem}: {}{detail}", key.printable())
        }
        Event::Mounted { volser, drive } => format!("{volser} is in {drive}"),
        Event::Labelled { volser, pool } => format!("labelled {volser} for {pool}"),
        Event::Adopted { volser, segments } => format!(
            "{volser} has {} segments that this catalog did not know; they are in it now",
            Count(*segments)
        ),
        Event::Checkpoint { volser, object, segments, bytes } => format!(
            "{volser}: {} segments on tape, {}, up to object {object}",
            Count(*segments),
            ByteCount(*bytes)
        ),
        Event::Streamed(streamed) => self::streamed(*streamed),
        Event::VolumeClosed { volser, why } => format!("{volser} takes no more: {why}"),
        Event::VolumeFinding { volser, what } => format!("{volser}: {what}"),
        Event::Verified { volser, segments, bytes, findings, whole } => verified(
            *volser,
            (*segments, *bytes, *findings),
            if *whole { "whole" } else { "in part" },
        ),
        Event::Holes { volser, barcode, holes: list, more } => {
            holes::map((*volser, *barcode), list, *more)
        }
        Event::Salvaged(salvaged) => kept(salvaged),
        Event::Ejected { volser, to } => format!("{volser} is out of the drive: {to}"),
        Event::Moved { cartridge, from, to } => format!("{cartridge}: from {from} to {to}"),
        Event::Cleaned { drive, cartridge, outcome } => cleaned(drive, cartridge, outcome),
        Event::RestorePlanned(planned) => restore_planned(*planned),
        Event::RestoreStaged(staged) => restore_staged(*staged),
        Event::RestoreVolume(volume) => restore_volume(volume),
        Event::NotRestored(lost) => not_restored(lost),
        Event::RestoreEnded(ended) => restore_ended(*ended),
        Event::Notice { text } => text.clone(),
        Event::JobEnded { job, outcome, losses, findings } => {
            ending(job, outcome, *losses, *findings)
        }
    })
}

fn stage_ended(stage: Stage, of: &str, count: u64, bytes: u64) -> String {
    let (count, bytes) = (Count(count), ByteCount(bytes));
    match stage {
        Stage::List => format!("{of}: listed {count} items"),
        Stage::Seal | Stage::Write => format!("{of}: {} {count} segments, {bytes}", done(stage)),
        Stage::Plan
        | Stage::Fetch
        | Stage::Flush
        | Stage::Commit
        | Stage::Verify
        | Stage::Eject
        | Stage::Restore
        | Stage::Rebuild => format!("{of}: {} {count}, {bytes}", done(stage)),
    }
}

fn verified(volser: Volser, (segments, bytes, findings): (u64, u64, u64), how: &str) -> String {
    format!(
        "{volser}: read back {how} ({}), {} segments agree, {} findings",
        ByteCount(bytes),
        Count(segments),
        Count(findings)
    )
}

fn streamed(streamed: Streamed<'_>) -> String {
    let Streamed { volser, drive, bytes, rate, native_rate, least_rate, .. } = streamed;
    let mut line = format!("{volser}: {} into {drive} at {}/s", ByteCount(bytes), ByteCount(rate));
    let told = [(native_rate, "native"), (least_rate, "the least to stream at")];
    let told: Vec<String> = told
        .into_iter()
        .filter_map(|(rate, what)| Some(format!("{}/s {what}", ByteCount(rate?))))
        .collect();
    if !told.is_empty() {
        line.push_str(&format!(" ({})", told.join(", ")));
    }
    match streamed.starts {
        1 => line.push_str(", started once"),
        starts => line.push_str(&format!(", started {} times", Count(starts))),
    }
    let Streamed { drive_ms, disk_ms, source_ms, held_up_by, .. } = streamed;
    let all = drive_ms + disk_ms + source_ms;
    if all >= WORTH_TELLING_MS {
        let (who, took) = match held_up_by {
            HeldUp::Source => ("the source", source_ms),
            HeldUp::StagingDisk => ("the staging disk", disk_ms),
            HeldUp::Drive => ("the drive itself", drive_ms),
        };
        line.push_str(&format!("; {who} took {} % of the time", took * 100 / all));
    }
    if least_rate.is_some_and(|least| rate < least) {
        line.push_str(". SLOWER THAN IT STREAMS: it stops and winds back again and again");
    }
    line
}

fn restore_planned(planned: RestorePlanned) -> String {
    format!(
        "{} items to restore, {}, from {} cartridges; {} of them need none",
        Count(planned.items),
        ByteCount(planned.bytes),
        Count(planned.volumes),
        Count(planned.without_tape)
    )
}

fn restore_ended(ended: RestoreEnded) -> String {
    let mut line = format!(
        "restored {} items, {}; read {} from tape",
        Count(ended.restored),
        ByteCount(ended.bytes),
        ByteCount(ended.read_bytes)
    );
    if ended.staged_bytes > 0 {
        line.push_str(&format!(", {} in staging", ByteCount(ended.staged_bytes)));
    }
    if ended.already > 0 {
        let already = Count(ended.already);
        line.push_str(&format!("; {already} of them were there already, and were verified"));
    }
    if ended.not_restored > 0 {
        line.push_str(&format!("; {} items NOT restored", Count(ended.not_restored)));
    }
    line
}

fn restore_staged(staged: RestoreStaged) -> String {
    format!(
        "staging: {} members, {}, in {} segments; no cartridge is needed for them",
        Count(staged.members),
        ByteCount(staged.bytes),
        Count(staged.segments)
    )
}

fn restore_volume(volume: &RestoreVolume) -> String {
    let sticker = volume.barcode.map_or_else(|| volume.volser.to_string(), |code| code.to_string());
    format!(
        "{}. {sticker} ({}): {} members, {}; {} blocks to read ({}), about {}",
        volume.number,
        volume.place,
        Count(volume.members),
        ByteCount(volume.bytes),
        Count(volume.blocks),
        ByteCount(volume.read_bytes),
        Span(Duration::from_secs(volume.seconds))
    )
}

fn not_restored(lost: &Lost<'_>) -> String {
    let why = match lost.why {
        NotRestored::NeverArchived => "not restored: it was seen, but could not be archived then",
        NotRestored::Staged => "not restored: it is on no volume, and staging does not have it",
        NotRestored::NoCopy => "not restored: no volume holds it any more",
        NotRestored::NoVolume => "not restored: no volume that holds it could be had",
        NotRestored::Damaged => "not restored: no copy of it is good",
        NotRestored::Exists => "not restored: something is there already",
        NotRestored::Device => "not restored: it is a device node (--privileged restores those)",
        NotRestored::Refused => "not restored",
        NotRestored::Incomplete => "restored, but without",
    };
    let mut line = format!("{}: {}", lost.source, lost.key.printable());
    if !lost.version.is_none() {
        line.push_str(&format!(" [version {}]", Printable::from(&*lost.version.0)));
    }
    line.push_str(&format!(": {why}"));
    if !lost.detail.is_empty() {
        let joint = if lost.why == NotRestored::Incomplete { "" } else { ":" };
        line.push_str(&format!("{joint} {}", Printable::from(&*lost.detail)));
    }
    line
}

fn kept(salvaged: &Salvaged<'_>) -> String {
    let what = match salvaged.missing {
        [] => "all of it could be read, and something in it is wrong".to_owned(),
        missing => {
            let told: Vec<String> = missing.iter().take(SPANS_TOLD).map(holes::span).collect();
            let more = if missing.len() > SPANS_TOLD { ", …" } else { "" };
            format!("there are zeros in place of bytes {}{more}", told.join(", "))
        }
    };
    format!("kept {} of what could be read in {}: {what}", ByteCount(salvaged.bytes), salvaged.path)
}

fn ending(job: &str, outcome: &str, losses: u64, findings: u64) -> String {
    let mut line = format!("{job}: {}", outcome.replace('-', " "));
    if losses > 0 {
        line.push_str(&format!(", {} items NOT archived", Count(losses)));
    }
    if findings > 0 {
        line.push_str(&format!(", {} other findings", Count(findings)));
    }
    line
}

/// What the operator is asked to do.
pub(super) fn request(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Load { drive, volser, barcode, place } => {
            let sticker = barcode.map_or_else(|| volser.to_string(), |code| code.to_string());
            format!("Put cartridge {sticker} into {drive} (last known: {place}), then press Enter")
        }
        Prompt::LoadScratch { drive, pool, copy } => format!(
            "Put a cartridge of pool {pool} that takes data into {drive}, for copy {copy}, then \
             press Enter"
        ),
        Prompt::Remove { volser } => {
            format!("Take cartridge {volser} out, and type its barcode")
        }
        Prompt::Confirm { what, volser } => format!("{what} Type {volser} to go on"),
    }
}

fn cleaned(drive: &str, cartridge: &str, outcome: &str) -> String {
    match outcome {
        "clean" => format!("{drive} was cleaned with {cartridge}"),
        "still-asked" => format!("{drive} was cleaned with {cartridge}, and asks for it still"),
        "cartridge-expired" => format!("{cartridge} is used up and cleaned nothing: throw it away"),
        _ => format!("{drive} does not take {cartridge} for a cleaning cartridge"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_that_was_fed_too_slowly_is_told() {
        let mut told = Streamed {
            volser: "A00001".parse().expect("a volser"),
            drive: "drive0",
            bytes: 64_000_000_000,
            rate: 90_000_000,
            native_rate: Some(360_000_000),
            least_rate: Some(112_000_000),
            starts: 214,
            drive_ms: 100_000,
            disk_ms: 300_000,
            source_ms: 0,
            held_up_by: HeldUp::StagingDisk,
        };
        assert_eq!(
            streamed(told),
            "A00001: 64 GB into drive0 at 90 MB/s (360 MB/s native, 112 MB/s the least to \
             stream at), started 214 times; the staging disk took 75 % of the time. SLOWER THAN IT \
             STREAMS: it stops and winds back again and again"
        );
        (told.rate, told.starts, told.native_rate, told.least_rate) = (140_000_000, 1, None, None);
        (told.disk_ms, told.held_up_by) = (0, HeldUp::Drive);
        assert_eq!(
            streamed(told),
            "A00001: 64 GB into drive0 at 140 MB/s, started once; the drive itself took 100 % of \
             the time"
        );
    }
}
