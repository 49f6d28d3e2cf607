//! Many small files, staged, sealed and catalogued.

use std::fs;

use crate::{
    place,
    tools::{self, Bound, float, judge, measured, median, setting},
};

const SIZE: usize = 4096;

pub(crate) fn run() {
    let count = setting("FILES", 1_000_000_u64);
    let folder = place::in_memory();
    let source = folder.path().join("source");
    place::tree(&source, count, SIZE);
    let (mut ours, mut tar) = (Vec::new(), Vec::new());
    for _ in 0..tools::rounds() {
        let home = folder.path().join("home");
        let config = place::config(&home, &source, ("16 GiB", "64 MiB"));
        let mut export = tools::tapevault(&config);
        ours.push(measured(|| tools::run(export.args(["export", place::JOB]))));
        fs::remove_dir_all(&home).unwrap();
        tar.push(measured(|| tools::shell(r#"tar cf - -C "$0" . | cat >/dev/null"#, &source)));
    }
    let (ours, tar) = (median(&ours), median(&tar));
    println!("  {count} files of {SIZE} bytes, median of {}", tools::rounds());
    for (what, spent) in [("tapevault export", ours), ("tar cf - | cat", tar)] {
        println!(
            "  {what:58} {:9.2} s    {:.2} CPU-s, {:.0} files a second",
            spent.wall,
            spent.cpu,
            float(count) / spent.wall
        );
    }
    judge("time, in that of tar", ours.wall / tar.wall, (1.5, Bound::AtMost));
}
