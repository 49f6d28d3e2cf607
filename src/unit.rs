//! Amounts of data and time as people read them: the only place that formats either.

use std::{fmt, time::Duration};

/// One KiB, in bytes. Block sizes are binary.
pub const KIB: u64 = 1 << 10;
/// One MiB, in bytes.
pub const MIB: u64 = 1 << 20;
/// One GiB, in bytes.
pub const GIB: u64 = 1 << 30;

/// An amount of data, in bytes. Displays in decimal units (`12.4 GB`), as the tape trade prints
/// capacities.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct ByteCount(pub u64);

/// The same amount in binary units (`512 KiB`), as block sizes and memory are named.
#[derive(Clone, Copy, Debug)]
pub struct Binary(pub u64);

/// A count of things with thousands separated (`1,234,567`).
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64);

/// A span of time as people say it (`2 h 05 min`, `41 s`, `0.3 s`).
#[derive(Clone, Copy, Debug)]
pub struct Span(pub Duration);

/// Why text is not an amount of data.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{text:?} is not an amount of data: write a number with B, KiB, MiB, GiB, TiB, kB, MB, GB or TB"
)]
pub struct AmountError {
    text: String,
}

impl ByteCount {
    /// Reads `512 MiB`, `18TB`, `1048576`. Fractions are allowed (`1.5 GB`).
    ///
    /// # Errors
    ///
    /// When the text has no number, an unknown unit, or more than 64 bits of bytes.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let error = || AmountError { text: text.to_owned() };
        let trimmed = text.trim();
        let digits = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
            .unwrap_or(trimmed.len());
        let number = trimmed[..digits].replace('_', "");
        let scale: u64 = match trimmed[digits..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(error()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(scale).map(Self).ok_or_else(error);
        }
        let (whole, fraction) = number.split_once('.').ok_or_else(error)?;
        let whole: u64 = whole.parse().map_err(|_| error())?;
        if fraction.is_empty()
            || fraction.len() > 9
            || !fraction.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(error());
        }
        let divisor = 10_u128.pow(u32::try_from(fraction.len()).expect("at most 9 digits"));
        let fraction: u128 = fraction.parse().map_err(|_| error())?;
        let bytes = u128::from(whole) * u128::from(scale) + fraction * u128::from(scale) / divisor;
        u64::try_from(bytes).map(Self).map_err(|_| error())
    }

    /// This amount per `elapsed`, in bytes a second; zero when no time has passed.
    pub fn per(self, elapsed: Duration) -> Self {
        let nanos = elapsed.as_nanos();
        if nanos == 0 {
            return Self(0);
        }
        Self(u64::try_from(u128::from(self.0) * 1_000_000_000 / nanos).unwrap_or(u64::MAX))
    }
}

/// Writes `value` in the largest of `units` that leaves a whole part, to three digits.
fn scaled(f: &mut fmt::Formatter<'_>, value: u64, step: u64, units: &[&str]) -> fmt::Result {
    let mut scale = 1_u64;
    let mut unit = 0;
    while unit + 1 < units.len() && value / scale >= step {
        scale *= step;
        unit += 1;
    }
    let whole = value / scale;
    let tenths = u128::from(value % scale) * 100 / u128::from(scale);
    let text = match whole {
        _ if unit == 0 || value.is_multiple_of(scale) => format!("{whole} {}", units[unit]),
        0..10 => format!("{whole}.{tenths:02} {}", units[unit]),
        10..100 => format!("{whole}.{} {}", tenths / 10, units[unit]),
        _ => format!("{whole} {}", units[unit]),
    };
    f.pad(&text)
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1000, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let text = match seconds {
            0..10 => format!("{:.1} s", self.0.as_secs_f64()),
            10..60 => format!("{seconds} s"),
            60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
            _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_and_print() {
        for (text, bytes) in [
            ("0", 0),
            ("512 KiB", 512 << 10),
            ("1.5 GB", 1_500_000_000),
            ("18TB", 18_000_000_000_000),
            ("64MiB", 64 << 20),
            ("1_000", 1000),
        ] {
            assert_eq!(ByteCount::parse(text), Ok(ByteCount(bytes)), "{text}");
        }
        for text in ["", "x", "1.2.3 GB", "-1", "5 XB", "99999999999 TB", ".5 GB", "1. GB"] {
            assert!(ByteCount::parse(text).is_err(), "{text}");
        }
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1 kB"),
            (1_234, "1.23 kB"),
            (12_345_678, "12.3 MB"),
            (18_000_000_000_000, "18 TB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(ByteCount(bytes).to_string(), text);
        }
        assert_eq!(Binary(512 << 10).to_string(), "512 KiB");
        assert_eq!(Count(1_234_567).to_string(), "1,234,567");
        assert_eq!(Count(12).to_string(), "12");
    }

    #[test]
    fn spans_print_as_people_say_them() {
        for (millis, text) in
            [(300, "0.3 s"), (41_000, "41 s"), (125_000, "2 min 05 s"), (7_500_000, "2 h 05 min")]
        {
            assert_eq!(Span(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
