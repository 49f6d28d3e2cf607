//! TapeAlert: the numbered flags that a drive raises about itself and its medium.

use std::fmt;

use crate::scsi::log::page::{Page, Parameter};

/// TapeAlert page; reading it clears the flags (SSC, TapeAlert log page).
pub const CLEARING_PAGE: u8 = 0x2E;
/// TapeAlert response page; reading it leaves them (SSC, TapeAlert Response log page).
pub const RESPONSE_PAGE: u8 = 0x12;

/// One flag, from 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alert(u8);

/// A set of flags.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Alerts(u64);

/// How grave a flag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Data may be lost.
    Critical,
    /// Something wears out.
    Warning,
    /// Worth knowing.
    Information,
    /// No text at hand says how grave it is.
    Unrated,
}

use Severity::{Critical, Information, Unrated, Warning};

/// Flags 1 to 64 (SSC, TapeAlert flags).
const TABLE: [(Severity, &str); 64] = [
    (Warning, "read warning"),
    (Warning, "write warning"),
    (Warning, "hard error"),
    (Critical, "medium"),
    (Critical, "read failure"),
    (Critical, "write failure"),
    (Warning, "medium life"),
    (Warning, "not data grade"),
    (Critical, "write protect"),
    (Information, "removal prevented"),
    (Information, "cleaning cartridge"),
    (Information, "unsupported format"),
    (Critical, "recoverable mechanical failure"),
    (Critical, "unrecoverable mechanical failure"),
    (Warning, "memory chip failure"),
    (Critical, "forced eject"),
    (Warning, "read-only format"),
    (Warning, "tape directory corrupted"),
    (Information, "nearing medium life"),
    (Critical, "clean now"),
    (Warning, "clean periodically"),
    (Critical, "expired cleaning cartridge"),
    (Critical, "invalid cleaning cartridge"),
    (Warning, "retension requested"),
    (Warning, "port failure"),
    (Warning, "cooling fan failure"),
    (Warning, "power supply failure"),
    (Warning, "power consumption"),
    (Warning, "drive maintenance"),
    (Critical, "hardware A"),
    (Critical, "hardware B"),
    (Warning, "interface"),
    (Critical, "eject the cartridge"),
    (Warning, "firmware download failure"),
    (Warning, "humidity"),
    (Warning, "temperature"),
    (Warning, "voltage"),
    (Critical, "predictive failure"),
    (Warning, "diagnostics required"),
    (Critical, "loader hardware A"),
    (Critical, "loader stray tape"),
    (Warning, "loader hardware B"),
    (Critical, "loader door"),
    (Critical, "loader hardware C"),
    (Critical, "loader magazine"),
    (Warning, "loader predictive failure"),
    (Unrated, "encryption communication failure"),
    (Unrated, "key manager error"),
    (Unrated, "diminished native capacity"),
    (Warning, "lost statistics"),
    (Warning, "tape directory invalid at unload"),
    (Critical, "system area write failure"),
    (Critical, "system area read failure"),
    (Critical, "no start of data"),
    (Critical, "loading failure"),
    (Critical, "unrecoverable unload failure"),
    (Critical, "automation interface failure"),
    (Warning, "firmware failure"),
    (Unrated, "write-once integrity"),
    (Unrated, "write-once overwrite attempted"),
    (Unrated, "encryption policy violation"),
    (Unrated, "reserved 62"),
    (Unrated, "reserved 63"),
    (Unrated, "reserved 64"),
];

impl Alert {
    /// Flag `number`; `None` unless it is from 1 to 64.
    pub fn new(number: u8) -> Option<Self> {
        (1..=64).contains(&number).then_some(Self(number))
    }

    /// Its number, from 1.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        TABLE[usize::from(self.0 - 1)].1
    }

    /// How grave it is.
    pub fn severity(self) -> Severity {
        TABLE[usize::from(self.0 - 1)].0
    }

    fn bit(self) -> u64 {
        1 << (64 - self.0)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number(), self.name())
    }
}

impl Alerts {
    /// The flags as a word: flag 1 is the most significant bit.
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Flag 1 is the most significant bit.
    pub fn word(self) -> u64 {
        self.0
    }

    /// Whether no flag is raised.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `alert` is raised.
    pub fn contains(self, alert: Alert) -> bool {
        self.0 & alert.bit() != 0
    }

    /// With `alert` raised too.
    #[must_use]
    pub fn with(self, alert: Alert) -> Self {
        Self(self.0 | alert.bit())
    }

    /// The flags of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are raised, by number.
    pub fn iter(self) -> impl Iterator<Item = Alert> {
        (1..=64).map(Alert).filter(move |&alert| self.contains(alert))
    }

    /// Reads page 12h.
    pub fn from_response_page(page: &Page) -> Option<Self> {
        let value = page.parameter(0)?.value.first_chunk::<8>()?;
        Some(Self(u64::from_be_bytes(*value)))
    }

    /// Reads page 2Eh.
    pub fn from_clearing_page(page: &Page) -> Self {
        let raised = page
            .parameters
            .iter()
            .filter(|parameter| parameter.value.first().is_some_and(|value| value & 1 != 0));
        raised
            .filter_map(|parameter| Alert::new(u8::try_from(parameter.code).ok()?))
            .fold(Self::default(), Self::with)
    }

    /// Page 12h.
    pub fn response_page(self) -> Page {
        let value = self.0.to_be_bytes().to_vec();
        let parameters = vec![Parameter { code: 0, control: 0x03, value }];
        Page { code: RESPONSE_PAGE, subpage: 0, parameters }
    }

    /// Page 2Eh: 64 parameters of one byte.
    pub fn clearing_page(self) -> Page {
        let parameters = (1..=64)
            .map(|number| Parameter {
                code: u16::from(number),
                control: 0x00,
                value: vec![u8::from(self.contains(Alert(number)))],
            })
            .collect();
        Page { code: CLEARING_PAGE, subpage: 0, parameters }
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Alert::number)).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flag_one_is_the_most_significant_bit() {
        let alerts = Alerts::default().with(Alert::new(1).unwrap()).with(Alert::new(64).unwrap());
        let page = alerts.response_page();
        assert_eq!(page.encode(), [0x12, 0, 0, 12, 0, 0, 3, 8, 0x80, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(Alert::new(20).unwrap().to_string(), "20 (clean now)");
        assert_eq!(Alert::new(38).unwrap().severity(), Severity::Critical);
        assert_eq!(Alert::new(49).unwrap().name(), "diminished native capacity");
        assert_eq!((Alert::new(0), Alert::new(65)), (None, None));
    }

    proptest! {
        #[test]
        fn both_pages_read_back(word in any::<u64>()) {
            let alerts = Alerts::from_word(word);
            let response = Page::decode(&alerts.response_page().encode()).unwrap();
            prop_assert_eq!(Alerts::from_response_page(&response), Some(alerts));
            let clearing = Page::decode(&alerts.clearing_page().encode()).unwrap();
            prop_assert_eq!(Alerts::from_clearing_page(&clearing), alerts);
        }
    }
}
