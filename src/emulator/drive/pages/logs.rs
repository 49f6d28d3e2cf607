//! What the drive counts: LOG SENSE and LOG SELECT (SPC, SSC).

use crate::emulator::{
    answer::{Answer, Check, deliver, invalid_field, unsupported},
    drive::{EmulatedDrive, state::Seat},
    generation::Format,
};
use crate::scsi::log::{
    Page, Parameter, PartitionRecord, alert,
    parameter::{capacity, compression, device, sequential, status, usage, volume, write_errors},
};
use crate::transport::Transfer;
use crate::unit::MIB;

const MB: u64 = 1_000_000;
const SUPPORTED: [u8; 13] = [
    0x00,
    write_errors::PAGE,
    write_errors::READ_PAGE,
    sequential::PAGE,
    status::PAGE,
    alert::RESPONSE_PAGE,
    device::PAGE,
    volume::PAGE,
    compression::PAGE,
    alert::CLEARING_PAGE,
    usage::PAGE,
    capacity::PAGE,
    compression::VENDOR_PAGE,
];
/// TapeAlert flags by which a drive wants to be cleaned.
const ALERT_CLEAN_NOW: u8 = 20;
const ALERT_CLEAN_PERIODIC: u8 = 21;
/// Bytes of a data set, the unit in which LTO drives write.
const DATA_SET_BYTES: u64 = 4_800_000;

impl EmulatedDrive {
    pub(crate) fn log_sense(
        &mut self,
        (code, subpage): (u8, u8),
        first: u16,
        allocation: u16,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        if subpage != 0 {
            return Err(invalid_field(3));
        }
        if code == 0 {
            return Ok(deliver(transfer, allocation, &Page::encode_supported(&SUPPORTED)));
        }
        let mut parameters = self.log_parameters(code)?;
        parameters.retain(|parameter| parameter.code >= first);
        if parameters.is_empty() {
            return Err(invalid_field(5));
        }
        let page = Page { code, subpage: 0, parameters };
        if code == alert::CLEARING_PAGE {
            self.registers_changed |= !self.registers.alerts.is_empty();
            self.registers.alerts.clear();
        }
        Ok(deliver(transfer, allocation, &page.encode()))
    }

    pub(crate) fn log_select(&mut self, reset: bool, page: u8, length: u16) -> Answer {
        if !reset || length != 0 {
            return Err(unsupported());
        }
        let counters = &mut self.registers.counters;
        if page == 0 || page == write_errors::PAGE {
            (counters.write_errors, counters.write_errors_corrected) = (0, 0);
        }
        if page == 0 || page == write_errors::READ_PAGE {
            (counters.read_errors, counters.read_errors_corrected) = (0, 0);
        }
        self.registers_changed = true;
        Ok(0)
    }

    fn log_parameters(&self, code: u8) -> Result<Vec<Parameter>, Check> {
        let counters = &self.registers.counters;
        Ok(match code {
            write_errors::PAGE => error_counters(
                counters.write_errors_corrected,
                counters.write_errors,
                counters.bytes_written,
            ),
            write_errors::READ_PAGE => error_counters(
                counters.read_errors_corrected,
                counters.read_errors,
                counters.bytes_read,
            ),
            sequential::PAGE => self.sequential_page(),
            status::PAGE => vec![
                Parameter { code: 0, control: 3, value: self.very_high_frequency().to_vec() },
                Parameter::of_number(1, 2, 100),
            ],
            alert::RESPONSE_PAGE => vec![Parameter::of_number(0, 8, self.alert_word())],
            alert::CLEARING_PAGE => (1..=64)
                .map(|flag| {
                    let set = self.registers.alerts.contains(&flag);
                    Parameter::of_number(u16::from(flag), 1, u64::from(set))
                })
                .collect(),
            device::PAGE => self.device_page(),
            volume::PAGE => self.volume_page(),
            compression::PAGE | compression::VENDOR_PAGE => self.compression_page(),
            usage::PAGE => self.usage_page(),
            capacity::PAGE => {
                let (remaining, maximum) = self.reported_mib();
                vec![
                    Parameter::of_number(capacity::REMAINING, 4, remaining),
                    Parameter::of_number(capacity::REMAINING_SECOND, 4, 0),
                    Parameter::of_number(capacity::MAXIMUM, 4, maximum),
                    Parameter::of_number(capacity::MAXIMUM_SECOND, 4, 0),
                ]
            }
            _ => return Err(invalid_field(2)),
        })
    }

    /// Remaining and maximum capacity in MiB as the drive tells them: coarse, and as of the last
    /// flush.
    pub(crate) fn reported_mib(&self) -> (u64, u64) {
        let capacity = self.loaded.as_ref().map_or(0, |loaded| loaded.cartridge.room_bytes());
        let step = self.settings.capacity_step_mib.max(1);
        let remaining = capacity.saturating_sub(self.used_at_flush) / MIB;
        (remaining / step * step, capacity / MIB)
    }

    /// The TapeAlert flags as a word: flag 1 is the most significant bit.
    pub(crate) fn alert_word(&self) -> u64 {
        let flags = self.registers.alerts.iter().filter(|flag| (1..=64).contains(*flag));
        flags.fold(0, |word, flag| word | 1 << (64 - flag))
    }

    fn sequential_page(&self) -> Vec<Parameter> {
        use sequential as is;
        let counters = &self.registers.counters;
        let cartridge = self.loaded.as_ref().map(|loaded| &loaded.cartridge);
        let capacity = cartridge.map_or(0, |cartridge| cartridge.room_bytes());
        let reserve = cartridge.map_or(0, |cartridge| cartridge.reserve_bytes);
        let number = Parameter::of_number;
        vec![
            number(is::BYTES_FROM_HOST, 8, counters.bytes_written),
            number(is::BYTES_TO_MEDIUM, 8, counters.bytes_written),
            number(is::BYTES_FROM_MEDIUM, 8, counters.bytes_read),
            number(is::BYTES_TO_HOST, 8, counters.bytes_read),
            number(is::TO_END_OF_DATA, 4, self.used_at_flush / MB),
            number(is::TO_EARLY_WARNING, 4, capacity / MB),
            number(is::AFTER_EARLY_WARNING, 4, reserve / MB),
            number(is::TO_HERE, 4, self.used_before(self.stand.position) / MB),
            number(is::BUFFER, 4, self.settings.buffer_bytes / MB),
            number(is::CLEANING, 8, u64::from(self.registers.alerts.contains(&ALERT_CLEAN_NOW))),
        ]
    }

    /// Very high frequency data (ADC, DT Device Status log page).
    fn very_high_frequency(&self) -> [u8; 4] {
        let (present, seated, threaded, mounted, activity) = match self.stand.seat {
            Seat::Empty => (false, false, false, false, 0),
            Seat::Ejected => (true, false, false, false, 0),
            Seat::Seated => (true, true, false, false, 0),
            // Calibrating, or loading.
            Seat::Loading(_) => {
                (true, true, false, false, if self.is_first_load() { 0x0B } else { 2 })
            }
            Seat::Ready => (true, true, true, true, 0),
        };
        let flag = |set: bool, bit: u8| u8::from(set) << bit;
        let protected = self.loaded.as_ref().is_some_and(|at| at.cartridge.write_protected);
        let raised = |alert| self.registers.alerts.contains(&alert);
        [
            flag(self.stand.prevented, 7)
                | flag(seated, 5)
                | flag(self.registers.modes.is_compressing(), 4)
                | flag(protected, 3)
                | flag(raised(ALERT_CLEAN_PERIODIC), 2)
                | flag(raised(ALERT_CLEAN_NOW), 1)
                | 1,
            flag(present && !seated, 5)
                | flag(present, 4)
                | flag(seated, 2)
                | flag(threaded, 1)
                | flag(mounted, 0),
            activity,
            flag(!self.registers.alerts.is_empty(), 0),
        ]
    }

    fn is_first_load(&self) -> bool {
        let first = self.loaded.as_ref().is_some_and(|loaded| loaded.cartridge.load_count == 1);
        first && self.settings.first_load_polls > 0
    }

    fn device_page(&self) -> Vec<Parameter> {
        let counters = &self.registers.counters;
        let number = Parameter::of_number;
        vec![
            number(device::LOADS, 4, counters.loads),
            number(device::CLEANINGS, 4, 0),
            number(device::POWER_ON_HOURS, 4, self.power_on_hours()),
            number(device::MOTION_HOURS, 4, self.motion_hours()),
            number(device::METRES, 4, self.metres()),
            number(device::MOTION_HOURS_SINCE_CLEANING, 4, self.motion_hours()),
            number(device::POWER_CYCLES, 4, counters.power_cycles),
            number(device::HARD_WRITE_ERRORS, 4, counters.write_errors),
            number(device::HARD_READ_ERRORS, 4, counters.read_errors),
            Parameter::of_text(0x40, &format!("{:<32}", self.identity.serial)),
        ]
    }

    fn volume_page(&self) -> Vec<Parameter> {
        use volume as is;
        let number = Parameter::of_number;
        let loaded = match (&self.loaded, self.stand.seat) {
            (Some(loaded), Seat::Ready) => loaded,
            (Some(_) | None, _) => return vec![number(is::VALID, 1, 0)],
        };
        let cartridge = &loaded.cartridge;
        let used = (!cartridge.end_of_data_missing).then_some(self.used_at_flush);
        let whole = |bytes: u64| u32::try_from(bytes / MB).unwrap_or(u32::MAX);
        let record = |megabytes| [PartitionRecord { partition: 0, megabytes }];
        let remaining = used.map(|used| whole(cartridge.room_bytes().saturating_sub(used)));
        let counters = &self.registers.counters;
        vec![
            number(is::VALID, 1, 1),
            number(is::MOUNTS, 4, cartridge.load_count),
            number(0x02, 8, cartridge.bytes_written / DATA_SET_BYTES),
            number(is::RECOVERED_WRITE_ERRORS, 4, counters.write_errors_corrected),
            number(is::WRITE_ERRORS, 2, counters.write_errors),
            number(0x07, 8, cartridge.bytes_read / DATA_SET_BYTES),
            number(is::RECOVERED_READ_ERRORS, 4, counters.read_errors_corrected),
            number(is::READ_ERRORS, 2, counters.read_errors),
            number(0x0E, 4, counters.mount_written / MB),
            number(0x0F, 4, counters.mount_read / MB),
            number(is::MEGABYTES_WRITTEN, 8, cartridge.bytes_written / MB),
            number(is::MEGABYTES_READ, 8, cartridge.bytes_read / MB),
            number(is::CAPACITY, 8, cartridge.room_bytes() / MB),
            number(is::USED, 8, used.map_or(u64::MAX, |used| used / MB)),
            number(is::LIFE_REMAINING, 1, 100),
            Parameter::of_text(is::SERIAL, &format!("{:<32}", cartridge.serial)),
            Parameter::of_text(is::BARCODE, &format!("{:<32}", cartridge.barcode)),
            Parameter::of_text(0x43, "TAPEVLT "),
            Parameter::of_text(
                0x45,
                &format!(
                    "Ultrium-{}",
                    Format::of(cartridge.density).map_or("?", |format| &format.name[2..])
                ),
            ),
            number(is::WRITE_PROTECTED, 1, u64::from(cartridge.write_protected)),
            number(is::WORM, 1, u64::from(cartridge.worm)),
            number(is::BEGINNING_PASSES, 4, cartridge.load_count),
            Parameter::of_records(
                is::PARTITION_CAPACITY,
                &record(Some(whole(cartridge.room_bytes()))),
            ),
            Parameter::of_records(is::PARTITION_USED, &record(used.map(whole))),
            Parameter::of_records(is::PARTITION_REMAINING, &record(remaining)),
        ]
    }

    fn compression_page(&self) -> Vec<Parameter> {
        let counters = &self.registers.counters;
        let (written, read) = (counters.mount_written, counters.mount_read);
        let number = Parameter::of_number;
        vec![
            number(compression::READ_RATIO, 2, 100),
            number(compression::WRITE_RATIO, 2, 100),
            number(2, 4, read / MB),
            number(3, 4, read % MB),
            number(4, 4, read / MB),
            number(5, 4, read % MB),
            number(compression::MEGABYTES_FROM_HOST, 4, written / MB),
            number(compression::BYTES_FROM_HOST, 4, written % MB),
            number(compression::MEGABYTES_TO_MEDIUM, 4, written / MB),
            number(compression::BYTES_TO_MEDIUM, 4, written % MB),
            number(0x100, 1, u64::from(self.registers.modes.is_compressing())),
        ]
    }

    fn usage_page(&self) -> Vec<Parameter> {
        let (loads, written) = self
            .loaded
            .as_ref()
            .map_or((0, 0), |loaded| (loaded.cartridge.load_count, loaded.cartridge.bytes_written));
        vec![
            Parameter::of_number(usage::MOUNTS, 4, loads),
            Parameter::of_number(usage::DATA_SETS_WRITTEN, 8, written / DATA_SET_BYTES),
        ]
    }
}

fn error_counters(corrected: u64, uncorrected: u64, bytes: u64) -> Vec<Parameter> {
    let number = Parameter::of_number;
    vec![
        number(0, 4, 0),
        number(1, 4, 0),
        number(write_errors::RETRIES, 4, corrected),
        number(write_errors::CORRECTED, 4, corrected),
        number(4, 4, 0),
        number(write_errors::BYTES, 8, bytes),
        number(write_errors::UNCORRECTED, 4, uncorrected),
    ]
}
