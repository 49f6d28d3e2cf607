//! What a drive can do, and how it is set. What it lacks is named, and never guessed.

use crate::{
    drive::{
        answer::DriveError,
        handle::Drive,
        safeguard::{Encryption, KeyInDrive},
    },
    scsi::{
        cdb::Command,
        density::{self, Density, Generation},
        mode::page::{Compression, DataProtection, DeviceConfigurationExtension},
        protection::Method,
    },
    unit::ByteCount,
};

/// The longest reply to REPORT DENSITY SUPPORT that is asked for: more formats than any drive has.
const DENSITIES_ALLOCATION: u16 = 4096;

/// What a drive can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// The longest block that the drive takes, in bytes; `None` when it names no limit.
    pub longest_block: Option<u32>,
    /// The shortest block that it takes, in bytes.
    pub shortest_block: u32,
    /// The most bytes that one command moves on the way to it, by the host adapter's own word.
    pub max_transfer: u32,
    /// Formats that it takes; empty when it does not say.
    pub formats: Vec<FormatSupport>,
    /// Whether it compresses now; `None` when it cannot.
    pub compression: Option<bool>,
    /// How far before early warning it says so, 0 while that is off; `None` when it cannot.
    pub early_warning: Option<ByteCount>,
    /// Whether it takes data at the end alone now; `None` when it has no such mode.
    pub append_only: Option<bool>,
    /// How it can protect blocks on their way, the best first.
    pub protection: Vec<Method>,
    /// How blocks are protected now.
    pub protection_now: Option<Method>,
    /// What it can do with keys; `None` when it does not say without a cartridge.
    pub encryption: Option<Encryption>,
    /// Whether there is a key in it now.
    pub key: KeyInDrive,
}

/// One format that a drive takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatSupport {
    /// Density code.
    pub density: u8,
    /// Its generation, where the code is known.
    pub generation: Option<Generation>,
    /// As the drive calls it.
    pub name: String,
    /// Whether the drive writes it, and not only reads it.
    pub writable: bool,
}

/// What a drive can do with a cartridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write it.
    Write,
    /// Read it.
    Read,
    /// Neither.
    Neither,
    /// That is not known.
    NotKnown,
}

impl Features {
    /// What a drive of `drive` can do with a cartridge of this density: by its own list of
    /// formats, else by the table of generations.
    pub fn access(&self, drive: Option<Generation>, density: u8) -> Access {
        if density == 0 {
            return Access::NotKnown;
        }
        if !self.formats.is_empty() {
            return match self.formats.iter().find(|format| format.density == density) {
                Some(format) if format.writable => Access::Write,
                Some(_) => Access::Read,
                None => Access::Neither,
            };
        }
        match (drive, Generation::from_density(density)) {
            (Some(drive), Some(medium)) if drive.writes(medium) => Access::Write,
            (Some(drive), Some(medium)) if drive.reads(medium) => Access::Read,
            (Some(_), Some(_)) => Access::Neither,
            (None, _) | (_, None) => Access::NotKnown,
        }
    }
}

impl Drive {
    /// What the drive can do, and how it is set. Nothing moves.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn features(&mut self) -> Result<Features, DriveError> {
        let limits = self.block_limits()?;
        let extension = self.mode_page::<DeviceConfigurationExtension>()?;
        let megabytes = extension.as_ref().map(|page| page.early_warning_megabytes.get());
        let compression = self.mode_page::<Compression>()?.filter(Compression::is_capable);
        let protection_now = self.mode_page::<DataProtection>()?;
        Ok(Features {
            longest_block: Some(limits.longest.get()).filter(|&longest| longest > 0),
            shortest_block: u32::from(limits.shortest),
            max_transfer: self.max_transfer(),
            formats: self.formats()?,
            compression: compression.map(|page| page.is_enabled()),
            early_warning: megabytes.map(|count| ByteCount(u64::from(count) * 1_000_000)),
            append_only: extension.map(|page| page.is_append_only()),
            protection: self.protection_methods()?,
            protection_now: protection_now.and_then(|page| Method::from_code(page.method)),
            encryption: told(self.encryption())?,
            key: told(self.key_in_drive())?.unwrap_or(KeyInDrive::NotTold),
        })
    }

    /// The formats that the drive takes (SSC, REPORT DENSITY SUPPORT); empty when it does not say.
    fn formats(&mut self) -> Result<Vec<FormatSupport>, DriveError> {
        let command = Command::ReportDensitySupport {
            medium_types: false,
            of_medium: false,
            allocation: DENSITIES_ALLOCATION,
        };
        let data = self.fetch_optional(&command, usize::from(DENSITIES_ALLOCATION))?;
        let densities = data.as_deref().and_then(density::decode).unwrap_or_default();
        Ok(merged(&densities))
    }
}

/// A format may stand there once for each kind of cartridge: it is written if any of these is.
fn merged(densities: &[Density]) -> Vec<FormatSupport> {
    let mut formats: Vec<FormatSupport> = Vec::new();
    for density in densities {
        match formats.iter_mut().find(|format| format.density == density.primary) {
            Some(format) => format.writable |= density.writable,
            None => formats.push(FormatSupport {
                density: density.primary,
                generation: Generation::from_density(density.primary),
                name: density.name.clone(),
                writable: density.writable,
            }),
        }
    }
    formats
}

/// Some drives say nothing about keys while there is no cartridge.
fn told<T>(answer: Result<T, DriveError>) -> Result<Option<T>, DriveError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(DriveError::NoMedium(_) | DriveError::NotReady(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn density(generation: Generation, writable: bool) -> Density {
        Density {
            primary: generation.density(),
            secondary: generation.density(),
            writable,
            default: false,
            bits_per_mm: 0,
            width: 127,
            tracks: 0,
            megabytes: 0,
            organisation: "LTO-CVE".into(),
            name: "U".into(),
            description: String::new(),
        }
    }

    fn features(formats: Vec<FormatSupport>) -> Features {
        Features {
            longest_block: None,
            shortest_block: 1,
            max_transfer: 1 << 20,
            formats,
            compression: None,
            early_warning: None,
            append_only: None,
            protection: Vec::new(),
            protection_now: None,
            encryption: None,
            key: KeyInDrive::NotTold,
        }
    }

    #[test]
    fn the_drives_own_list_goes_before_the_table() {
        use Generation::{Lto6, Lto7, Lto8, Lto9};
        let list = merged(&[density(Lto8, true), density(Lto7, false), density(Lto8, false)]);
        assert_eq!(list.len(), 2);
        for (formats, drive, medium, access) in [
            (list.clone(), Some(Lto8), Lto8.density(), Access::Write),
            (list.clone(), Some(Lto8), Lto7.density(), Access::Read),
            (list.clone(), Some(Lto8), Lto6.density(), Access::Neither),
            (list, None, 0, Access::NotKnown),
            (Vec::new(), Some(Lto8), Lto7.density(), Access::Write),
            (Vec::new(), Some(Lto7), Generation::Lto5.density(), Access::Read),
            (Vec::new(), Some(Lto9), Lto7.density(), Access::Neither),
            (Vec::new(), None, Lto7.density(), Access::NotKnown),
            (Vec::new(), Some(Lto8), 0x51, Access::NotKnown),
        ] {
            assert_eq!(features(formats).access(drive, medium), access, "{drive:?} {medium:#04x}");
        }
    }
}
