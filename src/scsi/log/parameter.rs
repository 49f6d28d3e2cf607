//! Page codes and parameter codes that are used, by page.

/// Page 02h: errors while writing (SPC, Error counter log pages).
pub mod write_errors {
    /// Page code.
    pub const PAGE: u8 = 0x02;
    /// The same counters for reading.
    pub const READ_PAGE: u8 = 0x03;
    /// Blocks written again.
    pub const RETRIES: u16 = 2;
    /// Errors corrected.
    pub const CORRECTED: u16 = 3;
    /// Bytes processed.
    pub const BYTES: u16 = 5;
    /// Errors not corrected.
    pub const UNCORRECTED: u16 = 6;
}

/// Page 0Ch (SSC, Sequential-Access Device log page).
pub mod sequential {
    /// Page code.
    pub const PAGE: u8 = 0x0C;
    /// Bytes from the host to be written.
    pub const BYTES_FROM_HOST: u16 = 0;
    /// Bytes on the medium.
    pub const BYTES_TO_MEDIUM: u16 = 1;
    /// Bytes read from the medium.
    pub const BYTES_FROM_MEDIUM: u16 = 2;
    /// Bytes to the host.
    pub const BYTES_TO_HOST: u16 = 3;
    /// Native capacity from the beginning to end of data, MB.
    pub const TO_END_OF_DATA: u16 = 4;
    /// From the beginning to early warning, MB.
    pub const TO_EARLY_WARNING: u16 = 5;
    /// From early warning to the end, MB, at least.
    pub const AFTER_EARLY_WARNING: u16 = 6;
    /// From the beginning to here, MB.
    pub const TO_HERE: u16 = 7;
    /// Of the buffer, MB.
    pub const BUFFER: u16 = 8;
    /// Whether cleaning is requested; 0 when not.
    pub const CLEANING: u16 = 0x100;
}

/// Page 11h (ADC, DT Device Status log page).
pub mod status {
    /// Page code.
    pub const PAGE: u8 = 0x11;
    /// Very high frequency data, 4 bytes.
    pub const VERY_HIGH_FREQUENCY: u16 = 0;
}

/// Page 14h (SSC, Device Statistics log page).
pub mod device {
    /// Page code.
    pub const PAGE: u8 = 0x14;
    /// Cartridges loaded in the drive's life.
    pub const LOADS: u16 = 0x00;
    /// Times it was cleaned.
    pub const CLEANINGS: u16 = 0x01;
    /// Hours with power.
    pub const POWER_ON_HOURS: u16 = 0x02;
    /// Hours of motion.
    pub const MOTION_HOURS: u16 = 0x03;
    /// Metres of tape moved.
    pub const METRES: u16 = 0x04;
    /// Hours of motion since it was last cleaned.
    pub const MOTION_HOURS_SINCE_CLEANING: u16 = 0x08;
    /// Times it was powered on.
    pub const POWER_CYCLES: u16 = 0x0C;
    /// Hard errors while writing.
    pub const HARD_WRITE_ERRORS: u16 = 0x0E;
    /// Hard errors while reading.
    pub const HARD_READ_ERRORS: u16 = 0x0F;
}

/// Page 17h (SSC, Volume Statistics log page), of the loaded cartridge.
pub mod volume {
    /// Page code.
    pub const PAGE: u8 = 0x17;
    /// 1 when the page is valid.
    pub const VALID: u16 = 0x00;
    /// Times it was threaded.
    pub const MOUNTS: u16 = 0x01;
    /// Recovered errors while writing.
    pub const RECOVERED_WRITE_ERRORS: u16 = 0x03;
    /// Errors while writing.
    pub const WRITE_ERRORS: u16 = 0x04;
    /// Recovered errors while reading.
    pub const RECOVERED_READ_ERRORS: u16 = 0x08;
    /// Errors while reading.
    pub const READ_ERRORS: u16 = 0x09;
    /// MB written in its life.
    pub const MEGABYTES_WRITTEN: u16 = 0x10;
    /// MB read in its life.
    pub const MEGABYTES_READ: u16 = 0x11;
    /// Native capacity, MB.
    pub const CAPACITY: u16 = 0x16;
    /// Native capacity that is used, MB.
    pub const USED: u16 = 0x17;
    /// Life that remains, percent.
    pub const LIFE_REMAINING: u16 = 0x19;
    /// Medium serial number.
    pub const SERIAL: u16 = 0x40;
    /// Barcode, as its chip has it.
    pub const BARCODE: u16 = 0x42;
    /// Whether it is write-protected.
    pub const WRITE_PROTECTED: u16 = 0x80;
    /// Whether it is write-once.
    pub const WORM: u16 = 0x81;
    /// Times it passed the beginning.
    pub const BEGINNING_PASSES: u16 = 0x101;
    /// Times its middle passed.
    pub const MIDDLE_PASSES: u16 = 0x102;
    /// Native capacity by partition: records, MB.
    pub const PARTITION_CAPACITY: u16 = 0x202;
    /// Of that used.
    pub const PARTITION_USED: u16 = 0x203;
    /// Of that remaining.
    pub const PARTITION_REMAINING: u16 = 0x204;
}

/// Page 31h, tape capacity, as IBM and HPE drives have it; MB, or MiB on older ones.
pub mod capacity {
    /// Page code.
    pub const PAGE: u8 = 0x31;
    /// What remains of partition 0.
    pub const REMAINING: u16 = 1;
    /// What remains of partition 1.
    pub const REMAINING_SECOND: u16 = 2;
    /// All of partition 0.
    pub const MAXIMUM: u16 = 3;
    /// All of partition 1.
    pub const MAXIMUM_SECOND: u16 = 4;
}

/// Page 30h, tape usage, as IBM and HPE drives have it.
pub mod usage {
    /// Page code.
    pub const PAGE: u8 = 0x30;
    /// Times the cartridge was threaded.
    pub const MOUNTS: u16 = 1;
    /// Data sets written in its life.
    pub const DATA_SETS_WRITTEN: u16 = 2;
}

/// Page 32h (and 1Bh): data compression.
pub mod compression {
    /// Page code of the standard.
    pub const PAGE: u8 = 0x1B;
    /// Page code that LTO drives have.
    pub const VENDOR_PAGE: u8 = 0x32;
    /// Ratio while reading, in hundredths.
    pub const READ_RATIO: u16 = 0;
    /// Ratio while writing, in hundredths.
    pub const WRITE_RATIO: u16 = 1;
    /// MB from the host.
    pub const MEGABYTES_FROM_HOST: u16 = 6;
    /// Bytes from the host beyond those, signed.
    pub const BYTES_FROM_HOST: u16 = 7;
    /// MB to the medium.
    pub const MEGABYTES_TO_MEDIUM: u16 = 8;
    /// Bytes to the medium beyond those, signed.
    pub const BYTES_TO_MEDIUM: u16 = 9;
}
