//! What use does to a drive: tape that moves over the head, and the hours of that.

use crate::emulator::{drive::EmulatedDrive, generation::Format};

/// Tape moves at about this speed, in micrometres a second, whether it is written, read or wound:
/// at 6 m/s an LTO-8 drive writes its 360 MB/s.
const SPEED: u64 = 6_000_000;
/// Loading and unloading a cartridge, in seconds. A drive in software has power only while it works.
const LOAD_SECONDS: u64 = 60;
const HOUR_SECONDS: u64 = 3600;
const MICROMETRES: u64 = 1_000_000;
/// Tracks that a head writes at once: a wrap.
const ELEMENTS: u16 = 32;
/// The same up to LTO-6.
const ELEMENTS_OLD: u16 = 16;

impl EmulatedDrive {
    /// Counts tape that passed the head with so many bytes on it.
    pub(super) fn pass_bytes(&mut self, bytes: u64) {
        if let Some(path) = self.path() {
            self.registers.counters.micrometres += path.micrometres(bytes);
        }
    }

    /// Counts tape that is wound from where the drive stands to an object.
    pub(super) fn wind_to(&mut self, object: u64) {
        let (from, to) = (self.used_before(self.stand.position), self.used_before(object));
        if let Some(path) = self.path() {
            self.registers.counters.micrometres += path.along(from).abs_diff(path.along(to));
        }
    }

    /// Metres of tape that moved over the head.
    pub(super) fn metres(&self) -> u64 {
        self.registers.counters.micrometres / MICROMETRES
    }

    /// Hours in which tape moved.
    pub(super) fn motion_hours(&self) -> u64 {
        self.registers.counters.micrometres / SPEED / HOUR_SECONDS
    }

    /// Hours with power.
    pub(super) fn power_on_hours(&self) -> u64 {
        let counters = &self.registers.counters;
        (counters.micrometres / SPEED + counters.loads * LOAD_SECONDS) / HOUR_SECONDS
    }

    fn path(&self) -> Option<TapePath> {
        let format = Format::of(self.loaded.as_ref()?.cartridge.density)?;
        Some(TapePath::of(&format))
    }
}

/// The way of data on a tape: to and fro, a wrap each.
struct TapePath {
    /// Of the tape, in micrometres.
    length: u64,
    /// Bytes of one wrap.
    wrap: u64,
}

impl TapePath {
    fn of(format: &Format) -> Self {
        let elements = if format.tracks > 3000 { ELEMENTS } else { ELEMENTS_OLD };
        let wraps = u64::from(format.tracks / elements).max(1);
        let capacity = u64::from(format.capacity_mb) * 1_000_000;
        Self { length: u64::from(format.length_m) * MICROMETRES, wrap: (capacity / wraps).max(1) }
    }

    /// The length of tape that holds so many bytes.
    fn micrometres(&self, bytes: u64) -> u64 {
        let length = u128::from(bytes) * u128::from(self.length) / u128::from(self.wrap);
        u64::try_from(length).unwrap_or(u64::MAX)
    }

    /// How far from the beginning of the tape the byte with this number lies.
    fn along(&self, byte: u64) -> u64 {
        let (wrap, within) = (byte / self.wrap, byte % self.wrap);
        self.micrometres(if wrap % 2 == 0 { within } else { self.wrap - within })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_lto_8_tape_is_two_hundred_kilometres() {
        let path = TapePath::of(&Format::of(0x5E).unwrap());
        let whole = path.micrometres(12_000_000_000_000);
        assert_eq!(whole / MICROMETRES, 960 * 208);
        assert_eq!(path.along(0), 0);
        assert_eq!(path.along(path.wrap), path.length);
        assert!(path.along(2 * path.wrap - 1) < MICROMETRES);
        assert_eq!(path.along(path.wrap / 2).abs_diff(path.length / 2), 0);
    }
}
