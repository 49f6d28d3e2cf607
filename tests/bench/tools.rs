//! Running and measuring.

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    str::FromStr,
    time::Duration,
};

use tapevault::clock::{Clock, SystemClock};

/// Ticks of a second in `/proc/PID/stat`, on every Linux.
const TICKS: f64 = 100.0;
/// How often a child's memory is looked at. The kernel keeps the peak meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// What something took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Seconds on the clock.
    pub(crate) wall: f64,
    /// Processor seconds, of this process and of the children it waited for.
    pub(crate) cpu: f64,
}

/// A number from the environment.
pub(crate) fn setting<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}

/// How often each thing is measured.
pub(crate) fn rounds() -> usize {
    setting("ROUNDS", 5)
}

/// Processor seconds of this process and of its children that have ended.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // The second field is the program's name, which may hold anything.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(4).map(|field| field.parse::<f64>().unwrap());
    ticks.sum::<f64>() / TICKS
}

/// Measures what `act` takes.
pub(crate) fn measured(act: impl FnOnce()) -> Spent {
    let clock = SystemClock::new();
    let (wall, before) = (clock.elapsed(), cpu());
    act();
    Spent { wall: (clock.elapsed() - wall).as_secs_f64(), cpu: cpu() - before }
}

/// The median of each.
pub(crate) fn median(spent: &[Spent]) -> Spent {
    let middle = |of: fn(&Spent) -> f64| {
        let mut all: Vec<f64> = spent.iter().map(of).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Spent { wall: middle(|spent| spent.wall), cpu: middle(|spent| spent.cpu) }
}

/// Runs a program that has to succeed; what it prints is not shown.
pub(crate) fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// Runs a line of bash, with `of` as `$0`.
pub(crate) fn shell(line: &str, of: &Path) {
    run(Command::new("bash").args(["-o", "pipefail", "-c", line]).arg(of));
}

/// This package's program.
pub(crate) fn tapevault(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapevault"));
    command.arg("--config").arg(config);
    command
}

/// Runs a program that has to succeed; the most memory that it had, in bytes.
pub(crate) fn peak_of(command: &mut Command) -> u64 {
    let clock = SystemClock::new();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        if let Some(bytes) = peak_so_far(&child) {
            peak = bytes;
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{command:?}: {status}");
            return peak;
        }
        clock.sleep(LOOK);
    }
}

fn peak_so_far(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// Prints a figure with its target, and whether it holds.
pub(crate) fn judge(what: &str, figure: f64, (target, most): (f64, Bound)) {
    let (sign, holds) = match most {
        Bound::AtMost => ("at most", figure <= target),
        Bound::AtLeast => ("at least", figure >= target),
    };
    let word = if holds { "holds" } else { "MISSED" };
    println!("  {what:58} {figure:9.2}   {sign} {target:<6} {word}");
}

/// Which way a target goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtMost,
    AtLeast,
}
