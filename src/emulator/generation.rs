//! The LTO generations: densities, capacities, and which drive takes which cartridge.

use serde::{Deserialize, Serialize};

/// A generation of drives, and of cartridges in the format of their own generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generation {
    /// LTO-5.
    Lto5,
    /// LTO-6.
    Lto6,
    /// LTO-7.
    Lto7,
    /// LTO-8.
    Lto8,
    /// LTO-9.
    Lto9,
    /// LTO-10.
    Lto10,
}

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
            generation.compatibility(format.density) != Compatibility::Neither
        })
    }
}

impl Generation {
    /// Its number: 5 to 10.
    pub fn number(self) -> u8 {
        match self {
            Self::Lto5 => 5,
            Self::Lto6 => 6,
            Self::Lto7 => 7,
            Self::Lto8 => 8,
            Self::Lto9 => 9,
            Self::Lto10 => 10,
        }
    }

    /// Density code of its own format.
    pub fn density(self) -> u8 {
        match self {
            Self::Lto5 => 0x58,
            Self::Lto6 => 0x5A,
            Self::Lto7 => 0x5C,
            Self::Lto8 => 0x5E,
            Self::Lto9 => 0x60,
            Self::Lto10 => 0x62,
        }
    }

    /// Media identifier on the barcode of a data cartridge (`L8`).
    pub fn media_identifier(self) -> &'static str {
        match self {
            Self::Lto5 => "L5",
            Self::Lto6 => "L6",
            Self::Lto7 => "L7",
            Self::Lto8 => "L8",
            Self::Lto9 => "L9",
            Self::Lto10 => "LA",
        }
    }

    /// Native capacity of its cartridges, in bytes.
    pub fn capacity_bytes(self) -> u64 {
        let format = Format::of(self.density()).expect("every generation has a format");
        u64::from(format.capacity_mb) * 1_000_000
    }

    /// What a drive of this generation can do with a cartridge of `density`.
    pub(crate) fn compatibility(self, density: u8) -> Compatibility {
        let (writes, reads): (&[u8], &[u8]) = match self {
            Self::Lto5 => (&[0x58, 0x46], &[0x44]),
            Self::Lto6 => (&[0x5A, 0x58], &[0x46]),
            Self::Lto7 => (&[0x5C, 0x5A], &[0x58]),
            Self::Lto8 => (&[0x5E, 0x5D, 0x5C], &[]),
            Self::Lto9 => (&[0x60, 0x5E], &[]),
            Self::Lto10 => (&[0x62, 0x63], &[]),
        };
        if writes.contains(&density) {
            Compatibility::Writes
        } else if reads.contains(&density) {
            Compatibility::Reads
        } else {
            Compatibility::Neither
        }
    }
}
