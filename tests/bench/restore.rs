//! One file out of a full cartridge: what is read from the tape for it. Then many small ones, and
//! the same again when they are there: time and memory for each.

use std::fs;

use tapevault::unit::MIB;

use crate::{
    place,
    tools::{self, Bound, float, judge, setting},
};

const FILE: usize = 1 << 20;
const SMALL: usize = 64;

pub(crate) fn run() {
    let size = setting("RESTORE_SIZE", 8_000_000_000_u64);
    let count = size / MIB;
    let (memory, disk) = (place::in_memory(), place::on_disk());
    let source = memory.path().join("source");
    place::tree(&source, count, FILE);
    let home = disk.path().join("home");
    let config = place::config(&home, &source, ("2 GiB", "64 MiB"));
    tools::run(tools::tapevault(&config).args(["archive", place::JOB]));
    let (wanted, to) = (count / 2, memory.path().join("restored"));
    let key = place::key(wanted);
    let before = place::cartridge(&home).bytes_read;
    let mut restore = tools::tapevault(&config);
    restore.args(["restore", &key, "--match", "exact", "--to"]).arg(&to);
    tools::run(&mut restore);
    let read = place::cartridge(&home).bytes_read - before;
    let restored = fs::read(to.join("files").join(&key)).unwrap();
    assert_eq!(restored, fs::read(source.join(&key)).unwrap());
    println!("  one file of 1 MiB out of {count}");
    judge("MiB read from the tape", float(read) / float(MIB), (4.0, Bound::AtMost));
    drop((memory, disk));
    many();
}

/// Files of [`SMALL`] bytes, restored, and found where they are.
fn many() {
    let count = setting("RESTORE_ITEMS", 1_000_000_u64);
    let disk = place::on_disk();
    let source = disk.path().join("source");
    place::tree(&source, count, SMALL);
    let home = disk.path().join("home");
    let config = place::config(&home, &source, ("2 GiB", "64 MiB"));
    tools::run(tools::tapevault(&config).args(["archive", place::JOB]));
    fs::remove_dir_all(&source).unwrap();
    for what in ["restored", "there already"] {
        let mut peak = 0;
        let spent = tools::measured(|| {
            let mut restore = tools::tapevault(&config);
            peak = tools::peak_of(restore.args(["restore", "--to"]).arg(disk.path().join("to")));
        });
        let each = |seconds: f64| seconds * 1e6 / float(count);
        let (wall, cpu) = (each(spent.wall), each(spent.cpu));
        let peak = float(peak) / float(MIB);
        println!(
            "  {count} files of {SMALL} bytes {what}: {wall:.0} µs each, processor {cpu:.0} µs; \
             peak of {peak:.1} MiB"
        );
    }
}
