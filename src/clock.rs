//! Time: the only place that reads the machine's clocks.

use std::{
    env, fmt,
    str::FromStr,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A moment in UTC, in nanoseconds since 1970 (negative before), without leap seconds.
///
/// Written as RFC 3339 with as many decimals as are needed: `2026-11-24T10:50:05Z`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i128);

/// Text that is not a moment.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a date: write 2026-11-24, or 2026-11-24T10:50:05Z")]
pub struct NotATimestamp {
    text: String,
}

/// Where time comes from. The system's in production, a hand-wound one in tests.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of day, UTC. It may jump.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start. It never goes back.
    fn elapsed(&self) -> Duration;
    /// Lets `duration` pass.
    fn sleep(&self, duration: Duration);
}

/// The machine's clocks.
#[derive(Clone, Debug)]
pub struct SystemClock {
    start: Instant,
}

/// A clock that moves only when told, or slept on.
#[derive(Clone, Debug)]
pub struct TestClock {
    state: Arc<Mutex<(Timestamp, Duration)>>,
}

impl Timestamp {
    /// The moment `seconds` and `nanoseconds` after 1970.
    pub fn from_parts(seconds: i64, nanoseconds: u32) -> Self {
        Self(i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds))
    }

    /// The moment `nanoseconds` after 1970.
    pub fn from_nanoseconds(nanoseconds: i128) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds after 1970.
    pub fn nanoseconds(self) -> i128 {
        self.0
    }

    /// Without what is below a second, for tables that people read.
    #[must_use]
    pub fn to_the_second(self) -> Self {
        Self::from_parts(self.parts().0, 0)
    }

    /// Whole seconds after 1970, rounded towards the past, and the nanoseconds beyond.
    pub fn parts(self) -> (i64, u32) {
        if let Ok(near) = i64::try_from(self.0) {
            let nanoseconds = near.rem_euclid(1_000_000_000);
            return (
                near.div_euclid(1_000_000_000),
                u32::try_from(nanoseconds).expect("below a thousand million"),
            );
        }
        let seconds = self.0.div_euclid(1_000_000_000);
        let nanoseconds = self.0.rem_euclid(1_000_000_000);
        (
            i64::try_from(seconds).expect("a file time fits 64 bits of seconds"),
            u32::try_from(nanoseconds).expect("below a thousand million"),
        )
    }

    /// The moment `duration` later.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0 + i128::try_from(duration.as_nanos()).expect("a duration fits 127 bits"))
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        u64::try_from(self.0 - earlier.0).map_or(Duration::ZERO, Duration::from_nanos)
    }

    fn from_civil(utc: jiff::civil::DateTime) -> Option<Self> {
        let timestamp = jiff::tz::Offset::UTC.to_timestamp(utc).ok()?;
        Some(Self(timestamp.as_nanosecond()))
    }

    /// The last moment of the day, second or fraction that `text` names, in UTC: what "as of
    /// 2026-11-24" means.
    ///
    /// # Errors
    ///
    /// When the text is neither a date nor a date with a time.
    pub fn end_of(text: &str) -> Result<Self, NotATimestamp> {
        if let Ok(date) = text.trim().parse::<jiff::civil::Date>()
            && !text.contains(['T', 't', ' '])
        {
            return Self::from_civil(date.at(23, 59, 59, 999_999_999))
                .ok_or_else(|| NotATimestamp { text: text.to_owned() });
        }
        text.parse()
    }
}

/// Days before 1 March of the year 0, from which on dates are counted, to 1970.
const EPOCH: i64 = 719_468;
/// Days in 400 years, after which the calendar repeats.
const ERA: i64 = 146_097;

/// Days from 1970 to a date. Years are taken to begin in March, so that the leap day comes last.
fn days_of((year, month, day): (i64, i64, i64)) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year.div_euclid(400) * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH
}

/// The date so many days after 1970: year, month, day.
fn date_of(days: i64) -> (i64, i64, i64) {
    let (era, of_era) = ((days + EPOCH).div_euclid(ERA), (days + EPOCH).rem_euclid(ERA));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, late) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + late, month, day)
}

/// Reads the form that moments are written in; `None` for any other, also for good ones. Manifests
/// have millions of them.
fn read_written(text: &str) -> Option<Timestamp> {
    let (head, fraction) = text.strip_suffix('Z')?.as_bytes().split_at_checked(19)?;
    for (at, mark) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        if head[at] != mark {
            return None;
        }
    }
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    };
    let date = (number(&head[..4])?, number(&head[5..7])?, number(&head[8..10])?);
    let (hour, minute, second) =
        (number(&head[11..13])?, number(&head[14..16])?, number(&head[17..])?);
    let days = days_of(date);
    if hour > 23 || minute > 59 || second > 59 || date_of(days) != date {
        return None;
    }
    let nanoseconds = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            digits.iter().chain(&[b'0'; 8]).take(9).try_fold(0_u32, |number, digit| {
                digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
            })?
        }
        _ => return None,
    };
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Timestamp::from_parts(seconds, nanoseconds))
}

/// Puts the digits of a number at the end of `to`, zeros before them.
fn put_digits(to: &mut [u8], mut number: i64) {
    for place in to.iter_mut().rev() {
        *place = b"0123456789"[usize::try_from(number % 10).expect("not negative")];
        number /= 10;
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ok(near) = i64::try_from(self.0) {
            // From 1677 to 2262.
            let mut text = *b"0000-00-00T00:00:00.000000000Z";
            let second = near.div_euclid(1_000_000_000);
            let (year, month, day) = date_of(second.div_euclid(86_400));
            let of_day = second.rem_euclid(86_400);
            put_digits(&mut text[..4], year);
            put_digits(&mut text[5..7], month);
            put_digits(&mut text[8..10], day);
            put_digits(&mut text[11..13], of_day / 3_600);
            put_digits(&mut text[14..16], of_day / 60 % 60);
            put_digits(&mut text[17..19], of_day % 60);
            put_digits(&mut text[20..29], near.rem_euclid(1_000_000_000));
            let zeros = text[20..29].iter().rev().take_while(|digit| **digit == b'0').count();
            // Without any decimals the point goes, too.
            let end = if zeros == 9 { 19 } else { 29 - zeros };
            text[end] = b'Z';
            return f.pad(std::str::from_utf8(&text[..=end]).expect("ASCII"));
        }
        match jiff::Timestamp::from_nanosecond(self.0) {
            Ok(timestamp) => f.pad(&timestamp.to_string()),
            // Beyond the year 9999: seconds, so that nothing is lost.
            Err(_) => write!(f, "@{}.{:09}", self.parts().0, self.parts().1),
        }
    }
}

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Self, NotATimestamp> {
        let error = || NotATimestamp { text: text.to_owned() };
        if let Some(moment) = read_written(text) {
            return Ok(moment);
        }
        let trimmed = text.trim();
        if let Some(raw) = trimmed.strip_prefix('@') {
            let (seconds, nanoseconds) = raw.split_once('.').ok_or_else(error)?;
            let seconds = seconds.parse().map_err(|_| error())?;
            return Ok(Self::from_parts(seconds, nanoseconds.parse().map_err(|_| error())?));
        }
        if let Ok(timestamp) = trimmed.parse::<jiff::Timestamp>() {
            return Ok(Self(timestamp.as_nanosecond()));
        }
        let civil: jiff::civil::DateTime = trimmed.parse().map_err(|_| error())?;
        Self::from_civil(civil).ok_or_else(error)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = NotATimestamp;

    fn try_from(text: String) -> Result<Self, NotATimestamp> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_string()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let nanoseconds = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i128::try_from(after.as_nanos()).expect("fits 127 bits"),
            Err(before) => -i128::try_from(before.duration().as_nanos()).expect("fits 127 bits"),
        };
        Self(nanoseconds)
    }
}

/// How far a test wants the time of day to be off, in nanoseconds: `TAPEVAULT_CLOCK_OFFSET` says
/// it in seconds, negative for the past. Only builds with debug assertions look at it.
fn offset() -> i128 {
    if cfg!(debug_assertions) {
        let offset = env::var("TAPEVAULT_CLOCK_OFFSET").ok();
        let seconds: Option<i64> = offset.and_then(|text| text.parse().ok());
        return i128::from(seconds.unwrap_or_default()) * 1_000_000_000;
    }
    0
}

#[expect(clippy::disallowed_methods, reason = "this is the one reader of the machine's clocks")]
impl SystemClock {
    /// A clock whose elapsed time starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one reader of the machine's clocks")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(Timestamp::from(SystemTime::now()).0 + offset())
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
    }
}

impl TestClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { state: Arc::new(Mutex::new((now, Duration::ZERO))) }
    }

    /// Moves the clock on.
    pub fn advance(&self, duration: Duration) {
        let mut state = self.state.lock().expect("no holder panics");
        *state = (state.0.after(duration), state.1 + duration);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.state.lock().expect("no holder panics").0
    }

    fn elapsed(&self) -> Duration {
        self.state.lock().expect("no holder panics").1
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_back() {
        for nanoseconds in
            [0, -1_500_000_000, 1_795_517_405_123_456_789, i128::from(i64::MAX) * 1000]
        {
            let timestamp = Timestamp(nanoseconds);
            assert_eq!(timestamp.to_string().parse::<Timestamp>().unwrap(), timestamp);
            let (seconds, rest) = timestamp.parts();
            assert_eq!(Timestamp::from_parts(seconds, rest), timestamp);
        }
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn moments_are_written_and_read_as_others_do() {
        let day = 86_400 * 1_000_000_000;
        // Every few days from 1677 to 2262, at every kind of fraction.
        for (step, days) in (-106_751..106_751).step_by(7).enumerate() {
            let fraction = 10_i128.pow(u32::try_from(step % 14).unwrap());
            let timestamp = Timestamp(i128::from(days) * day + fraction);
            let other = jiff::Timestamp::from_nanosecond(timestamp.0).unwrap().to_string();
            assert_eq!(timestamp.to_string(), other);
            assert_eq!(read_written(&other), Some(timestamp));
        }
        for text in [
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2023-00-10T00:00:00Z",
            "2023-13-10T00:00:00Z",
            "2023-01-00T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:60:00Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
        for text in
            ["2023-01-01T00:00:00.Z", "2023-01-01T00:00:00.1234567890Z", "+023-01-01T00:00:00Z"]
        {
            assert_eq!(read_written(text), None, "{text}");
        }
        assert_eq!(
            "2024-02-29T01:00:00+01:00".parse::<Timestamp>().unwrap().to_string(),
            "2024-02-29T00:00:00Z"
        );
    }

    #[test]
    fn a_date_means_the_end_of_its_day() {
        let end = Timestamp::end_of("2026-11-24").unwrap();
        assert_eq!(end.to_string(), "2026-11-24T23:59:59.999999999Z");
        let exact = Timestamp::end_of("2026-11-24T10:50:05Z").unwrap();
        assert_eq!(exact.to_string(), "2026-11-24T10:50:05Z");
        assert!(Timestamp::end_of("yesterday").is_err());
    }
}
