//! What the drives and cartridges of each generation are like.

use crate::scsi::{density::Generation, protection::Method};

/// A recording format, as REPORT DENSITY SUPPORT describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Density code.
    pub(crate) density: u8,
    /// Density name (`U-8`).
    pub(crate) name: &'static str,
    pub(crate) bits_per_mm: u32,
    pub(crate) tracks: u16,
    /// Native capacity in units of 1,000,000 bytes.
    pub(crate) capacity_mb: u32,
    /// Length of the tape in metres.
    pub(crate) length_m: u32,
    /// Medium type byte of a data cartridge in the mode parameter header; WORM is 4 more.
    pub(crate) medium_type: u8,
}

/// What a drive can do with a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compatibility {
    Writes,
    Reads,
    Neither,
}

const FORMATS: [Format; 10] = [
    format(0x44, "U-3", (9638, 704), 400_000, (680, 0x38)),
    format(0x46, "U-4", (12_725, 896), 800_000, (820, 0x48)),
    format(0x58, "U-5", (15_142, 1280), 1_500_000, (846, 0x58)),
    format(0x5A, "U-6", (15_142, 2176), 2_500_000, (846, 0x68)),
    format(0x5C, "U-7", (19_107, 3584), 6_000_000, (960, 0x78)),
    format(0x5D, "U-M8", (19_107, 5376), 9_000_000, (960, 0x88)),
    format(0x5E, "U-8", (20_669, 6656), 12_000_000, (960, 0x88)),
    format(0x60, "U-9", (23_031, 8960), 18_000_000, (1035, 0x98)),
    format(0x62, "U-10", (21_657, 15_104), 30_000_000, (1035, 0xA8)),
    format(0x63, "U-10P", (22_441, 15_104), 40_000_000, (1337, 0xA9)),
];

const fn format(
    density: u8,
    name: &'static str,
    (bits_per_mm, tracks): (u32, u16),
    capacity_mb: u32,
    (length_m, medium_type): (u32, u8),
) -> Format {
    Format { density, name, bits_per_mm, tracks, capacity_mb, length_m, medium_type }
}

impl Format {
    /// The format with this density code.
    pub(crate) fn of(density: u8) -> Option<Self> {
        FORMATS.into_iter().find(|format| format.density == density)
    }

    /// The formats that a drive of `generation` takes, oldest first.
    pub(crate) fn taken_by(generation: Generation) -> impl Iterator<Item = Self> {
        FORMATS.into_iter().filter(move |format| {
            compatibility(generation, format.density) != Compatibility::Neither
        })
    }
}

/// What a drive of `drive` can do with a cartridge of this density.
pub(crate) fn compatibility(drive: Generation, density: u8) -> Compatibility {
    match Generation::from_density(density) {
        Some(medium) if drive.writes(medium) => Compatibility::Writes,
        Some(medium) if drive.reads(medium) => Compatibility::Reads,
        Some(_) | None => Compatibility::Neither,
    }
}

/// How a drive protects blocks on their way.
pub(crate) fn protection_methods(drive: Generation) -> &'static [Method] {
    if matches!(drive, Generation::Lto5 | Generation::Lto6) {
        &[Method::ReedSolomon]
    } else {
        &[Method::ReedSolomon, Method::Crc32c]
    }
}

/// The number of a generation that there are emulated drives of: LTO-5 to LTO-10.
pub(crate) fn drive_number(generation: Generation) -> Option<u8> {
    match generation {
        Generation::Lto5 => Some(5),
        Generation::Lto6 => Some(6),
        Generation::Lto7 => Some(7),
        Generation::Lto8 => Some(8),
        Generation::Lto9 => Some(9),
        Generation::Lto10 => Some(10),
        Generation::Lto1
        | Generation::Lto2
        | Generation::Lto3
        | Generation::Lto4
        | Generation::M8
        | Generation::Lto10P => None,
    }
}

/// What a drive of `generation` calls itself.
pub(crate) fn product(generation: Generation) -> String {
    format!("EMULATED LTO-{}", drive_number(generation).unwrap_or(0))
}
