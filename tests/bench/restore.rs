//! One file out of a full cartridge: what is read from the tape for it.

use std::fs;

use tapevault::unit::MIB;

use crate::{
    place,
    tools::{self, Bound, float, judge, setting},
};

const FILE: usize = 1 << 20;

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
}
