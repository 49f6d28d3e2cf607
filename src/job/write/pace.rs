//! How steadily a drive was fed, and who held it up.

use std::time::Duration;

use crate::{
    clock::Clock,
    job::monitor::{HeldUp, Streamed},
    media::Volume,
};

/// A drive's own memory bridges pauses shorter than this; after a longer one it has stopped. Drives
/// hold 0.5 to 1 GB, which is more than a second at their full rate.
const PAUSE: Duration = Duration::from_secs(1);

/// The time of one session, by what it went into.
#[derive(Debug, Default)]
pub(super) struct Pace {
    bytes: u64,
    /// Within the drive's own commands.
    drive: Duration,
    /// Within a segment, until its next block was there.
    disk: Duration,
    /// Between segments, until one was sealed.
    source: Duration,
    starts: u64,
    /// When the drive was last given something, by [`Clock::elapsed`].
    last: Option<Duration>,
    running: bool,
}

impl Pace {
    /// Whether the drive was writing until now.
    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    /// There is nothing to write until the source delivers more.
    pub(super) fn stand(&mut self, clock: &dyn Clock) {
        if self.running {
            self.last = Some(clock.elapsed());
        }
        self.running = false;
    }

    /// The next segment begins.
    pub(super) fn begin(&mut self, clock: &dyn Clock) {
        let now = clock.elapsed();
        if let Some(last) = self.last
            && !self.running
        {
            self.source += now.saturating_sub(last);
        }
        self.note_start(now);
        self.running = true;
        self.last = Some(now);
    }

    /// Gives the drive a block by `write`, and keeps how long that took, and how long before it was
    /// there.
    pub(super) fn block<T>(
        &mut self,
        clock: &dyn Clock,
        bytes: u64,
        write: impl FnOnce() -> T,
    ) -> T {
        let begun = clock.elapsed();
        self.disk += begun.saturating_sub(self.last.unwrap_or(begun));
        self.note_start(begun);
        self.bytes += bytes;
        self.drive(clock, begun, write)
    }

    /// Has the drive do something else that belongs to writing: a filemark, a flush.
    pub(super) fn other<T>(&mut self, clock: &dyn Clock, act: impl FnOnce() -> T) -> T {
        self.drive(clock, clock.elapsed(), act)
    }

    fn drive<T>(&mut self, clock: &dyn Clock, begun: Duration, act: impl FnOnce() -> T) -> T {
        let done = act();
        let now = clock.elapsed();
        self.drive += now.saturating_sub(begun);
        self.last = Some(now);
        done
    }

    fn note_start(&mut self, now: Duration) {
        if self.last.is_none_or(|last| now.saturating_sub(last) >= PAUSE) {
            self.starts += 1;
        }
    }

    /// What it came to; `None` when nothing was written.
    pub(super) fn streamed<'a>(
        &self,
        volume: &Volume,
        drive: &'a str,
        rates: (Option<u64>, Option<u64>),
    ) -> Option<Streamed<'a>> {
        let (native_rate, least_rate) = rates;
        let writing = self.drive + self.disk;
        if self.bytes == 0 || writing.is_zero() {
            return None;
        }
        let shares = [
            (HeldUp::Source, self.source),
            (HeldUp::StagingDisk, self.disk),
            (HeldUp::Drive, self.drive),
        ];
        let (held_up_by, _) = shares.into_iter().max_by_key(|&(_, time)| time)?;
        Some(Streamed {
            volser: volume.volser,
            drive,
            bytes: self.bytes,
            rate: rate(self.bytes, writing),
            native_rate,
            least_rate,
            starts: self.starts,
            drive_ms: milliseconds(self.drive),
            disk_ms: milliseconds(self.disk),
            source_ms: milliseconds(self.source),
            held_up_by,
        })
    }
}

/// Bytes a second.
fn rate(bytes: u64, time: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / time.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{TestClock, Timestamp};

    /// A drive that takes `milliseconds` for a block of 1 MB.
    fn write(pace: &mut Pace, clock: &TestClock, milliseconds: u64) {
        pace.block(clock, 1_000_000, || clock.advance(Duration::from_millis(milliseconds)));
    }

    fn wait(clock: &TestClock, milliseconds: u64) {
        clock.advance(Duration::from_millis(milliseconds));
    }

    #[test]
    fn time_goes_to_who_took_it() {
        let clock = TestClock::at(Timestamp::from_parts(0, 0));
        let mut pace = Pace::default();
        assert!(!pace.is_running());
        pace.begin(&clock);
        wait(&clock, 30);
        write(&mut pace, &clock, 100);
        wait(&clock, 20);
        write(&mut pace, &clock, 100);
        pace.other(&clock, || wait(&clock, 50));
        assert!(pace.is_running());
        // The next segment was there at once: what we did in between is nobody's fault.
        wait(&clock, 5);
        pace.begin(&clock);
        write(&mut pace, &clock, 250);
        pace.stand(&clock);
        pace.stand(&clock);
        wait(&clock, 7000);
        pace.begin(&clock);
        write(&mut pace, &clock, 100);
        let times = [pace.drive, pace.disk, pace.source].map(milliseconds);
        assert_eq!(times, [600, 50, 7000]);
        assert_eq!((pace.bytes, pace.starts), (4_000_000, 2));
    }

    #[test]
    fn only_what_a_drive_cannot_bridge_is_a_stop() {
        let clock = TestClock::at(Timestamp::from_parts(0, 0));
        let mut pace = Pace::default();
        pace.begin(&clock);
        for (pause, starts) in [(0, 1), (999, 1), (1000, 2), (10, 2), (5000, 3)] {
            wait(&clock, pause);
            write(&mut pace, &clock, 1);
            assert_eq!(pace.starts, starts, "after {pause} ms");
        }
        assert_eq!(rate(4_000_000, Duration::from_millis(500)), 8_000_000);
    }
}
