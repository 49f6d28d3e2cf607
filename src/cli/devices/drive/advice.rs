//! What to do about a TapeAlert flag (SSC, TapeAlert flags, recommended actions; in our own words).

use crate::drive::Alert;

/// About cleaning.
pub(super) const CLEAN: &str =
    "`tapevault library clean`, or put a cleaning cartridge into the drive; then run this again";
/// About errors that the drive could not correct.
pub(super) const UNCORRECTED: &str = "`tapevault verify` the cartridges that were in it; if it was not always the same one, the drive \
     is at fault";

/// What to do about one flag.
pub(super) fn of(alert: Alert) -> &'static str {
    match alert.number() {
        1 | 2 => "it corrects many errors: clean the drive; if it goes on, change the cartridge",
        3 => "a read or write failed: verify the cartridge, and see which of 4 to 6 is raised",
        4 => "use another cartridge, and restore what is on this one from its other copy",
        5 => "`tapevault verify` the cartridge in another drive; clean this one",
        6 => "try another cartridge; if that fails too, have the drive looked at",
        7 | 19 => {
            "copy what is on the cartridge to a new one, and retire it: `tapevault media retire`"
        }
        8 => "use a data-grade cartridge",
        9 => "move the cartridge's write-protect switch if it may be written",
        10 => "nothing, if a job runs; else unload the drive by `tapevault library unload`",
        11 => "nothing: a cleaning cartridge is in the drive",
        12 => "use a cartridge of a format that `tapevault drive status` lists",
        13 | 14 => "the tape broke: do not unload by force; call service, and keep the cartridge",
        15 => "the chip fails: the tape is read without it; write to another cartridge",
        16 => "somebody forced the cartridge out while it was used: run the job again, and verify",
        17 => "the drive reads this format only: write to another cartridge",
        18 | 51 => "finding places is slow until the tape was read through once: verify it whole",
        20 | 21 => CLEAN,
        22 => "the cleaning cartridge is used up: take it out, and use a new one",
        23 => "use a cleaning cartridge that is made for this drive",
        24 => "wind the tape to its end and back: `mt retension`",
        25 => "one of its ports failed: check the cable, or use the other port",
        26 => "the fan fails: have it changed soon",
        27 | 28 | 37 => "check its power supply",
        29 => "it needs maintenance, though not cleaning: call service",
        30 | 31 => "the drive is broken: switch it off and on once; if it comes back, call service",
        32 => "check cable, host adapter and terminator",
        33 => "unload the cartridge, load it again, and run the job again",
        34 => "load the firmware again, the one for this drive",
        35 => "the air is too dry or too damp for it: check the room",
        36 => "it is too warm or too cold: check the room and the fan",
        38 => "the drive says that it will fail: have it changed before the next job",
        39 => "run the drive's own diagnostics",
        40..=46 => "look at the library's panel",
        47 | 48 => "look at the key manager: the drive does not get its keys from it",
        49 => "the cartridge holds less than it should: use another one",
        50 => "nothing: it lost its counters, which begin anew",
        52 | 53 => "verify the cartridge now; if that fails, restore it from its other copy",
        54 => {
            "the beginning of the tape cannot be found: try another drive, and do not write to it"
        }
        55 | 56 => "the cartridge is stuck or damaged: do not pull; call service if it stays so",
        57 => "the drive cannot speak to its library: check their connection",
        58 => "the firmware failed: switch the drive off and on; update the firmware",
        59 | 60 => {
            "a write-once cartridge is not as it was left: do not write to it, and verify it"
        }
        61 => "the drive is set up to allow no such encryption: look at its panel",
        _ => "this flag has no meaning that the standards define",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_with_a_name_has_advice() {
        for number in 1..=61 {
            let advice = of(Alert::new(number).unwrap());
            assert!(!advice.contains("no meaning"), "{number}");
        }
        assert!(of(Alert::new(64).unwrap()).contains("no meaning"));
    }
}
