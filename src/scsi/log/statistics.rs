//! Statistics of a drive's life, of the loaded cartridge's life, and whether the drive wants to be
//! cleaned.

use crate::scsi::log::{
    Page,
    parameter::{compression, device, sequential, status, volume},
};

/// Bytes of a MB, in which volume statistics count.
const MEGABYTE: u64 = 1_000_000;

/// A drive's life (SSC, Device Statistics log page). What a drive does not count is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatistics {
    /// Cartridges loaded.
    pub loads: Option<u64>,
    /// Times it was cleaned.
    pub cleanings: Option<u64>,
    /// Hours with power.
    pub power_on_hours: Option<u64>,
    /// Hours in which tape moved over the head.
    pub motion_hours: Option<u64>,
    /// The same since it was last cleaned.
    pub motion_hours_since_cleaning: Option<u64>,
    /// Metres of tape that moved over the head.
    pub metres: Option<u64>,
    /// Times it was powered on.
    pub power_cycles: Option<u64>,
    /// Hard errors while writing.
    pub hard_write_errors: Option<u64>,
    /// Hard errors while reading.
    pub hard_read_errors: Option<u64>,
}

/// The life of the loaded cartridge (SSC, Volume Statistics log page). What a drive does not count
/// is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeStatistics {
    /// Times it was threaded.
    pub mounts: Option<u64>,
    /// Recovered errors while writing.
    pub recovered_write_errors: Option<u64>,
    /// Errors while writing.
    pub write_errors: Option<u64>,
    /// Recovered errors while reading.
    pub recovered_read_errors: Option<u64>,
    /// Errors while reading.
    pub read_errors: Option<u64>,
    /// Bytes written, to the MB.
    pub bytes_written: Option<u64>,
    /// Bytes read, to the MB.
    pub bytes_read: Option<u64>,
    /// Life that remains, percent.
    pub life_remaining: Option<u64>,
    /// Times that its beginning passed the head.
    pub beginning_passes: Option<u64>,
    /// Times that its middle passed the head.
    pub middle_passes: Option<u64>,
}

/// Whether a drive wants to be cleaned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cleaning {
    /// It does not say.
    #[default]
    NotTold,
    /// It does not.
    NotDue,
    /// It does, when there is time.
    Requested,
    /// It does, now.
    Required,
}

impl DeviceStatistics {
    /// Reads page 14h.
    pub fn of(page: &Page) -> Self {
        Self {
            loads: page.number(device::LOADS),
            cleanings: page.number(device::CLEANINGS),
            power_on_hours: page.number(device::POWER_ON_HOURS),
            motion_hours: page.number(device::MOTION_HOURS),
            motion_hours_since_cleaning: page.number(device::MOTION_HOURS_SINCE_CLEANING),
            metres: page.number(device::METRES),
            power_cycles: page.number(device::POWER_CYCLES),
            hard_write_errors: page.number(device::HARD_WRITE_ERRORS),
            hard_read_errors: page.number(device::HARD_READ_ERRORS),
        }
    }
}

impl VolumeStatistics {
    /// Reads page 17h; `None` while the page says that it is not valid, as without a cartridge.
    pub fn of(page: &Page) -> Option<Self> {
        if page.number(volume::VALID) == Some(0) {
            return None;
        }
        let bytes = |code| page.number(code).map(|count| count.saturating_mul(MEGABYTE));
        Some(Self {
            mounts: page.number(volume::MOUNTS),
            recovered_write_errors: page.number(volume::RECOVERED_WRITE_ERRORS),
            write_errors: page.number(volume::WRITE_ERRORS),
            recovered_read_errors: page.number(volume::RECOVERED_READ_ERRORS),
            read_errors: page.number(volume::READ_ERRORS),
            bytes_written: bytes(volume::MEGABYTES_WRITTEN),
            bytes_read: bytes(volume::MEGABYTES_READ),
            life_remaining: page.number(volume::LIFE_REMAINING),
            beginning_passes: page.number(volume::BEGINNING_PASSES),
            middle_passes: page.number(volume::MIDDLE_PASSES),
        })
    }
}

impl Cleaning {
    /// CRQRD and CRQST of the very high frequency data, which hold once DINIT is set (ADC, DT Device
    /// Status log page).
    const REQUIRED: u8 = 0x02;
    const REQUESTED: u8 = 0x04;
    const INITIALIZED: u8 = 0x01;

    /// Reads page 11h.
    pub fn of_status(page: &Page) -> Self {
        let data = page.parameter(status::VERY_HIGH_FREQUENCY).map(|found| found.value.as_slice());
        match data.and_then(<[u8]>::first) {
            Some(first) if first & Self::INITIALIZED == 0 => Self::NotTold,
            Some(first) if first & Self::REQUIRED != 0 => Self::Required,
            Some(first) if first & Self::REQUESTED != 0 => Self::Requested,
            Some(_) => Self::NotDue,
            None => Self::NotTold,
        }
    }

    /// Reads page 0Ch (SSC, Sequential-Access Device log page, cleaning requested).
    pub fn of_sequential(page: &Page) -> Self {
        match page.number(sequential::CLEANING) {
            Some(0) => Self::NotDue,
            Some(_) => Self::Requested,
            None => Self::NotTold,
        }
    }
}

/// By how much what was written since the load was compressed, in hundredths; `None` when the page
/// does not say, or nothing was written (SSC, Data Compression log page).
pub fn write_compression(page: &Page) -> Option<u64> {
    page.number(compression::WRITE_RATIO).filter(|&ratio| ratio > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Device Statistics log page: loads, cleanings, hours with power, of motion, metres, hours
    /// since cleaning, one that says that it does not know, and one that is a text.
    const DEVICE: [u8; 72] = [
        0x14, 0, 0, 68, 0, 0, 3, 4, 0, 0, 1, 2, 0, 1, 3, 4, 0, 0, 0, 3, 0, 2, 3, 4, 0, 0, 0x22, 0,
        0, 3, 3, 4, 0, 0, 0, 0x40, 0, 4, 3, 4, 0, 0x0F, 0x42, 0x40, 0, 8, 3, 4, 0, 0, 0, 7, 0,
        0x0C, 3, 4, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0x40, 1, 8, b'1', b'2', b'3', b'4', b'5', b'6',
        b'7', b'8',
    ];
    /// Volume Statistics log page: valid, mounts, MB written, passes of beginning and middle.
    const VOLUME: [u8; 41] = [
        0x17, 0, 0, 37, 0, 0, 3, 1, 1, 0, 1, 3, 4, 0, 0, 0, 12, 0, 0x10, 3, 4, 0, 0, 0x27, 0x10, 1,
        1, 3, 4, 0, 0, 0, 30, 1, 2, 3, 4, 0, 0, 0, 31,
    ];

    #[test]
    fn a_device_page_tells_of_a_life() {
        let found = DeviceStatistics::of(&Page::decode(&DEVICE).unwrap());
        let expected = DeviceStatistics {
            loads: Some(258),
            cleanings: Some(3),
            power_on_hours: Some(8704),
            motion_hours: Some(64),
            motion_hours_since_cleaning: Some(7),
            metres: Some(1_000_000),
            power_cycles: None,
            hard_write_errors: None,
            hard_read_errors: None,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_volume_page_counts_in_megabytes() {
        let found = VolumeStatistics::of(&Page::decode(&VOLUME).unwrap()).unwrap();
        let expected = VolumeStatistics {
            mounts: Some(12),
            bytes_written: Some(10_000_000_000),
            beginning_passes: Some(30),
            middle_passes: Some(31),
            ..VolumeStatistics::default()
        };
        assert_eq!(found, expected);
        let mut invalid = VOLUME;
        invalid[8] = 0;
        assert_eq!(VolumeStatistics::of(&Page::decode(&invalid).unwrap()), None);
    }

    #[test]
    fn cleaning_is_told_by_two_bits_or_a_parameter() {
        for (first, cleaning) in [
            (0x00, Cleaning::NotTold),
            (0x06, Cleaning::NotTold),
            (0x01, Cleaning::NotDue),
            (0x05, Cleaning::Requested),
            (0x03, Cleaning::Required),
            (0x07, Cleaning::Required),
        ] {
            let page = Page::decode(&[0x11, 0, 0, 8, 0, 0, 3, 4, first, 0, 0, 0]).unwrap();
            assert_eq!(Cleaning::of_status(&page), cleaning, "{first:#04x}");
        }
        for (bytes, cleaning) in [
            (&[0x0C, 0, 0, 8, 1, 0, 3, 4, 0, 0, 0, 0][..], Cleaning::NotDue),
            (&[0x0C, 0, 0, 8, 1, 0, 3, 4, 0, 0, 0, 1][..], Cleaning::Requested),
            (&[0x0C, 0, 0, 0][..], Cleaning::NotTold),
        ] {
            assert_eq!(Cleaning::of_sequential(&Page::decode(bytes).unwrap()), cleaning);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            if let Some(page) = Page::decode(&bytes) {
                let device = DeviceStatistics::of(&page);
                prop_assert_eq!(device, DeviceStatistics::of(&page));
                let written = VolumeStatistics::of(&page).and_then(|found| found.bytes_written);
                let whole = written.is_none_or(|bytes| bytes == u64::MAX || bytes % MEGABYTE == 0);
                prop_assert!(whole);
                prop_assert!(Cleaning::of_status(&page) <= Cleaning::Required);
                prop_assert!(Cleaning::of_sequential(&page) <= Cleaning::Requested);
                prop_assert!(write_compression(&page) != Some(0));
            }
        }
    }
}
