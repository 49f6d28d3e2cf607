//! How much memory an archive job takes, for some objects and for four times as many.

use std::fs;

use tapevault::unit::MIB;

use crate::{
    place,
    tools::{self, Bound, float, judge, setting},
};

/// Tiny, so that only their number counts.
const SIZE: usize = 8;

pub(crate) fn run() {
    let count = setting("OBJECTS", 1_000_000_u64);
    // A file system in memory has too few inodes, and takes a page for each.
    let folder = place::on_disk();
    let mut peaks = Vec::new();
    for times in [1, 4] {
        let source = folder.path().join("source");
        place::tree(&source, times * count, SIZE);
        let home = folder.path().join("home");
        let config = place::config(&home, &source, ("2 GiB", "64 MiB"));
        let peak = tools::peak_of(tools::tapevault(&config).args(["archive", place::JOB]));
        println!(
            "  archive of {:9} files of {SIZE} bytes: peak of {:.1} MiB",
            times * count,
            float(peak) / float(MIB)
        );
        peaks.push(peak);
        fs::remove_dir_all(&home).unwrap();
        fs::remove_dir_all(&source).unwrap();
    }
    let growth = (float(peaks[1]) - float(peaks[0])) / float(MIB);
    judge("growth of the peak, MiB", growth, (32.0, Bound::AtMost));
}
