//! The sweep: every way in which a drive, a robot or the machine fails, at every command of a job
//! that writes three volumes, reads them back and restores them.
//!
//! A *history* is one such job on an emulated library of its own. At one command something goes
//! wrong; the operator does what the program asks for and runs the same command again, until it
//! ends. Real jobs, catalog, staging, drivers and emulator run; only the wire to the machines is
//! watched. Files lie in memory (`/dev/shm`), the clock moves only when somebody sleeps on it, and
//! all commands come from one thread, so that a history replays by its fault and seed.
//!
//! What goes wrong is listed in [`fate::Kind`]. What must hold whatever goes wrong is in
//! [`oracle`]:
//!
//! - (a) what the catalog calls on tape is there bit for bit, and restores from the tapes alone;
//! - (b) a catalog rebuilt from the tapes equals the catalog;
//! - (c) nothing below a flush that was committed is ever written over;
//! - (d) a cartridge is in one place, where the catalog says;
//! - (e) a job ends: done, or with what is not safe named, after a bounded number of commands,
//!   mounts and tries.
//!
//! What a job has to get over by itself, it does without anybody's help, and the ledger says what
//! happened (`got_over` in [`history`]).
//!
//! In the gate, each kind strikes at each command that writes, moves the tape or moves cartridges,
//! and at every eighth of those that only ask or read; with `TAPEVAULT_DEEP` at each. In the other
//! settings (protected and encrypted, two drives, write-once cartridges) each kind strikes at a
//! few commands of each act. Then comes each kind within ten commands of each other, and then
//! seeds: `SIM_SEED=n` replays one history of [`seeds`], `SIM_SEEDS=n` runs the first n of them.
//! `tests/run` says how many histories were played. `SIM_HELP=1` tells in which of them somebody had
//! to help.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod fate;
mod history;
mod oracle;
mod seeds;
mod sweep;
mod tape;
mod world;
