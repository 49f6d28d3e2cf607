//! What operators and machines do wrong: each has its message and its exit code.
//!
//! | mistake | exit code | test |
//! |---|---|---|
//! | wrong cartridge | 3, or 4 by its pool | `the_wrong_cartridge`, `a_cartridge_of_another_pool` |
//! | swapped barcode | 4 | `swapped_barcodes` |
//! | write-protected | 4 | `a_write_protected_cartridge` |
//! | foreign data | 4 | `foreign_data` |
//! | foreign data behind a session that was interrupted | 1 | `foreign_data_behind_an_interrupted_session` |
//! | unreadable label | 4 | `an_unreadable_label` |
//! | no medium | 3, or 4 in a library | `no_medium` |
//! | busy drive | 5 | `a_busy_drive` |
//! | full staging disk | 7 | `a_full_staging_disk` |
//! | lost network | 6 | `sources::a_lost_network`, `sources::a_network_lost_midway` |
//! | wrong credentials | 6 | `sources::wrong_credentials`, `sources::check_names_the_permission_that_is_missing` |
//! | corrupt staging file | 7 | `a_corrupt_staging_file` |
//! | corrupt catalog | 7 | `a_corrupt_catalog`, `a_catalog_with_damaged_pages` |
//! | clock in the past and in 2099 | 2 | `a_clock_that_cannot_be_believed` |
//! | config errors | 2 | `a_wrong_config` |

use std::{fs, io::Write, process::Command};

use tapevault::emulator::{self, CommandKind, Effect, Fault};

use crate::home::{Home, Plan, code, config};

const ONE: Plan<'static> = Plan {
    cartridges: &["T00001L8"],
    capacity: 200 << 20,
    budget: "64 MiB",
    copies: 1,
    eject: false,
    library: true,
    drives: 1,
    mail_slots: 1,
    source: "type = \"directory\"\npath = \"source\"",
    label_blank: true,
};

fn filled(plan: &Plan<'_>) -> Home {
    let home = Home::new(plan);
    home.fill(2, 100_000);
    home
}

fn archived(plan: &Plan<'_>) -> Home {
    let home = filled(plan);
    home.archive();
    fs::write(home.source().join("new"), "new").unwrap();
    home
}

const ARCHIVE: [&str; 2] = ["archive", "job"];

#[test]
fn a_cartridge_of_another_pool() {
    let home = archived(&ONE);
    let text = config(&Plan { library: false, ..ONE });
    let text = text.replace("pool = \"pool\"", "pool = \"other\"");
    home.configure(&text.replace("[pools.pool]", "[pools.other]\n[pools.pool]"));
    home.run(&ARCHIVE).complains(4, &["T00001", "it is of pool pool, not other", "→"]);
}

#[test]
fn the_wrong_cartridge() {
    let home = filled(&Plan { cartridges: &["T00001L8", "T00002L8"], copies: 2, ..ONE });
    home.archive();
    home.configure(&config(&Plan { library: false, copies: 2, ..ONE }));
    // The second copy's cartridge is still in the drive.
    let wanted = "T00001";
    home.run(&["verify", wanted]).complains(3, &[&format!("put cartridge {wanted}"), "→"]);
}

#[test]
fn swapped_barcodes() {
    let home = archived(&Plan { cartridges: &["T00001L8", "T00002L8"], ..ONE });
    home.run(&["library", "unload"]).exits(0);
    home.emulator().swap_stickers(code("T00001L8"), code("T00002L8")).unwrap();
    home.run(&["verify", "T00001"]).complains(4, &["it is blank, but T00001 is wanted", "→"]);
    home.run(&ARCHIVE).complains(4, &["its sticker says T00002L8, its label T00001L8", "→"]);
    assert_eq!(home.keys(&["new"]).len(), 1, "it is sealed, and only staged");
}

#[test]
fn a_write_protected_cartridge() {
    let home = filled(&ONE);
    let protect = |on| {
        let change = |cartridge: &mut emulator::Cartridge| cartridge.write_protected = on;
        home.emulator().change_cartridge(code("T00001L8"), change).unwrap();
    };
    protect(true);
    home.run(&ARCHIVE).complains(4, &["T00001", "write-protected", "→ move its switch"]);
    protect(false);
    home.archive();
    home.run(&["library", "unload"]).exits(0);
    fs::write(home.source().join("new"), "new").unwrap();
    protect(true);
    home.run(&ARCHIVE).complains(4, &["T00001", "write-protected", "→ move its switch"]);
}

#[test]
fn foreign_data() {
    let home = filled(&ONE);
    let mut tar = Command::new("tar");
    let tar = tar.arg("cf").arg("-").arg("-C").arg(home.source()).arg("folder").output().unwrap();
    let mut tape = Vec::new();
    for block in tar.stdout.chunks(10_240) {
        let length = u32::try_from(block.len()).unwrap().to_le_bytes();
        tape.write_all(&[&length, block, &length].concat()).unwrap();
    }
    tape.write_all(&[0; 8]).unwrap();
    let words =
        ["T00001", "its data are not a volume of tapevault's", "→ it holds data of another"];
    // Long, and as short as a label is.
    for tape in [&tape[..], &[&tape[..4 + 10_240 + 4], &[0; 4]].concat()] {
        fs::write(home.emulator().tape(code("T00001L8")), tape).unwrap();
        home.run(&ARCHIVE).complains(4, &words);
        let found = fs::read(home.emulator().tape(code("T00001L8"))).unwrap();
        assert!(found == tape, "untouched");
    }
}

#[test]
fn foreign_data_behind_an_interrupted_session() {
    let home = filled(&Plan { cartridges: &["T00001L8", "T00002L8"], ..ONE });
    assert_eq!(home.run_with(("TAPEVAULT_CRASH_AT", "write.committed"), &ARCHIVE).code, None);
    let path = home.emulator().tape(code("T00001L8"));
    let mut tape = fs::read(&path).unwrap();
    let block = [7; 10_240];
    let length = u32::try_from(block.len()).unwrap().to_le_bytes();
    tape.extend([&length[..], &block, &length, &[0; 4]].concat());
    fs::write(&path, &tape).unwrap();
    // All is on tape; what is missing is the index, which goes on the other cartridge.
    home.run(&ARCHIVE).complains(1, &["T00001", "is not tapevault's", "it gets no index"]);
    assert_eq!(fs::read(&path).unwrap(), tape, "untouched");
    let to = home.path("back");
    home.run(&["restore", "--to", to.to_str().unwrap()]).exits(0);
}

#[test]
fn an_unreadable_label() {
    let home = archived(&ONE);
    let fault = Fault::always(Effect::MediumError).at(CommandKind::Read).before_object(0);
    let faults = serde_json::to_vec(&[fault]).unwrap();
    fs::write(home.library().join("faults.json"), faults).unwrap();
    home.run(&ARCHIVE).complains(4, &["T00001", "its label cannot be read", "never"]);
    fs::remove_file(home.library().join("faults.json")).unwrap();
    home.archive();
}

#[test]
fn no_medium() {
    let home = filled(&Plan { library: false, cartridges: &[], ..ONE });
    home.run(&ARCHIVE).complains(3, &["put a cartridge of pool pool", "→"]);
    home.run(&["verify"]).complains(3, &["→ put a cartridge into the drive"]);
    let home = filled(&Plan { cartridges: &[], ..ONE });
    home.run(&ARCHIVE).complains(4, &["no cartridge of pool pool takes data", "→"]);
}

#[test]
fn a_busy_drive() {
    let home = filled(&ONE);
    let held = emulator::drive(&home.library(), 0).unwrap();
    home.run(&ARCHIVE).complains(5, &["emulated:0 cannot be opened", "→ end the other program"]);
    drop(held);
    home.archive();
}

#[test]
fn a_full_staging_disk() {
    let home = filled(&ONE);
    home.fill(8, 700_000);
    // The shell's unit is 512 or 1,024 bytes: a file of a megabyte or two at most.
    let program = home.command(&["export", "job"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]);
    limited.arg(program.get_program()).args(program.get_args());
    limited.env("TAPEVAULT_CONFIG", home.path("tapevault.toml"));
    let done = crate::home::Done::from(limited.output().unwrap());
    done.complains(7, &["staging", "→ make room or mend the disk"]);
    home.archive();
}

#[test]
fn a_corrupt_staging_file() {
    for cut in [false, true] {
        corrupt_staging(cut);
    }
}

/// A sealed segment has a byte flipped, or has lost its end.
fn corrupt_staging(cut: bool) {
    let home = filled(&ONE);
    home.run(&["export", "job"]).exits(0);
    let sealed = home.path("staging/sealed");
    for entry in fs::read_dir(&sealed).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "json") {
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 3;
        if cut {
            bytes.truncate(middle);
        }
        bytes[middle - 1] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    home.run(&["write", "job"]).complains(7, &["it is not as it was sealed", "→ its items are"]);
    home.archive();
    home.run(&["verify"]).exits(0);
    for line in home.find(&[]) {
        assert_eq!(line["copies"].as_array().unwrap().len(), 1, "{line}");
    }
}

#[test]
fn a_corrupt_catalog() {
    let home = archived(&ONE);
    let length = fs::metadata(home.catalog()).unwrap().len();
    home.lose_catalog();
    fs::write(home.catalog(), vec![0xA5; usize::try_from(length).unwrap()]).unwrap();
    for arguments in [&ARCHIVE[..], &["find"]] {
        home.run(arguments).complains(7, &["catalog.sqlite", "→ move the file away"]);
    }
    home.lose_catalog();
    home.run(&["catalog", "rebuild"]).exits(0);
    home.archive();
}

/// Its first page is whole, so that it opens.
#[test]
fn a_catalog_with_damaged_pages() {
    let home = archived(&ONE);
    // Opened and closed, it is one file without a log beside it.
    home.find(&[]);
    let mut bytes = fs::read(home.catalog()).unwrap();
    bytes[8192..].fill(0xA5);
    home.lose_catalog();
    fs::write(home.catalog(), bytes).unwrap();
    for arguments in [&ARCHIVE[..], &["find"], &["media", "list"]] {
        home.run(arguments).complains(7, &["catalog.sqlite", "→ move the file away"]);
    }
    home.lose_catalog();
    home.archive();
}

#[test]
fn a_clock_that_cannot_be_believed() {
    let home = archived(&ONE);
    let year = 365 * 24 * 3600_i64;
    for years in [-10, 73] {
        let offset = (years * year).to_string();
        let done = home.run_with(("TAPEVAULT_CLOCK_OFFSET", &offset), &ARCHIVE);
        done.complains(2, &["the clock cannot be believed", "→ set the machine's clock"]);
    }
    home.archive();
}

#[test]
fn a_wrong_config() {
    let home = filled(&ONE);
    let good = config(&ONE);
    for (from, to, words) in [
        ("budget", "buget", &["unknown field `buget`", "→ did you mean `budget`?"][..]),
        ("64 MiB", "63 MiB", &["staging.budget is 63 MiB, but must be at least 64 MiB"]),
        ("rehearsal = true", "rehearsal = false", &["must be at least 2 GiB"]),
        ("[pools.pool]", "[pools.poll]", &["jobs.job.pool names the pool pool", "`poll`?"]),
        ("emulated:0", "nst0", &["drives.drive.device must be a path"]),
        ("[catalog]", "[catalog", &["tapevault.toml"]),
    ] {
        home.configure(&good.replacen(from, to, 1));
        home.run(&ARCHIVE).complains(2, words);
    }
    home.configure(&good);
    home.run(&["archive", "jb"]).complains(2, &["no job jb", "→ there is `job`"]);
    let missing = home.path("missing.toml");
    let missing = missing.to_str().unwrap();
    home.run(&["--config", missing, "check"]).complains(2, &["cannot read", "missing.toml"]);
    home.run(&["archiv", "job"]).complains(2, &["archive"]);
}

/// An export larger than the budget, and nobody writes to tape: it says so and does not wait for
/// ever, and the two halves by turns get to the end.
#[test]
fn a_staging_budget_that_is_used_up() {
    let home = Home::new(&Plan::default());
    home.fill(24, 3_300_000);
    let full = home.run(&["export", "job"]);
    let words = ["the staging budget of 64 MiB is used up", "in sealed segments", "manifests"];
    full.complains(
        7,
        &[&words[..], &["→ have what is sealed written by `tapevault write JOB`"]].concat(),
    );
    home.run(&["write", "job"]).exits(0);
    home.run(&["export", "job"]).exits(0);
    home.run(&["write", "job"]).exits(0);
    assert_eq!(home.keys(&[]).len(), 30);
    // 24 files in four parts each, once.
    assert_eq!(home.find(&[]).len(), 6 + 24 * 4);
}
