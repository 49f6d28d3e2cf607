//! Generations of LTO, and what REPORT DENSITY SUPPORT says of densities.

use std::fmt;

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    big_endian::{U16, U32},
};

use crate::{
    scsi::text::{padded, trimmed},
    unit::ByteCount,
};

/// A format of LTO, told by its density code.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Generation {
    /// LTO-1.
    Lto1,
    /// LTO-2.
    Lto2,
    /// LTO-3.
    Lto3,
    /// LTO-4.
    Lto4,
    /// LTO-5.
    Lto5,
    /// LTO-6.
    Lto6,
    /// LTO-7.
    Lto7,
    /// An LTO-7 cartridge formatted by an LTO-8 drive to 9 TB.
    M8,
    /// LTO-8.
    Lto8,
    /// LTO-9.
    Lto9,
    /// LTO-10, 30 TB.
    Lto10,
    /// LTO-10, 40 TB.
    Lto10P,
}

/// Density code, name, media identifiers of data and write-once cartridges, and native capacity
/// in GB, of one generation.
struct Row {
    generation: Generation,
    density: u8,
    name: &'static str,
    data: &'static str,
    worm: Option<&'static str>,
    gigabytes: u64,
}

const fn row(
    generation: Generation,
    density: u8,
    name: &'static str,
    (data, worm): (&'static str, Option<&'static str>),
    gigabytes: u64,
) -> Row {
    Row { generation, density, name, data, worm, gigabytes }
}

const TABLE: [Row; 12] = [
    row(Generation::Lto1, 0x40, "LTO-1", ("L1", None), 100),
    row(Generation::Lto2, 0x42, "LTO-2", ("L2", None), 200),
    row(Generation::Lto3, 0x44, "LTO-3", ("L3", Some("LT")), 400),
    row(Generation::Lto4, 0x46, "LTO-4", ("L4", Some("LU")), 800),
    row(Generation::Lto5, 0x58, "LTO-5", ("L5", Some("LV")), 1_500),
    row(Generation::Lto6, 0x5A, "LTO-6", ("L6", Some("LW")), 2_500),
    row(Generation::Lto7, 0x5C, "LTO-7", ("L7", Some("LX")), 6_000),
    row(Generation::M8, 0x5D, "LTO-7 type M", ("M8", None), 9_000),
    row(Generation::Lto8, 0x5E, "LTO-8", ("L8", Some("LY")), 12_000),
    row(Generation::Lto9, 0x60, "LTO-9", ("L9", Some("LZ")), 18_000),
    row(Generation::Lto10, 0x62, "LTO-10", ("LA", None), 30_000),
    row(Generation::Lto10P, 0x63, "LTO-10 40 TB", ("PA", None), 40_000),
];

impl Generation {
    /// Every generation, oldest first.
    pub const ALL: [Self; 12] = [
        Self::Lto1,
        Self::Lto2,
        Self::Lto3,
        Self::Lto4,
        Self::Lto5,
        Self::Lto6,
        Self::Lto7,
        Self::M8,
        Self::Lto8,
        Self::Lto9,
        Self::Lto10,
        Self::Lto10P,
    ];

    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.generation == self).expect("every generation has a row")
    }

    /// The generation that records in this density.
    pub fn from_density(density: u8) -> Option<Self> {
        TABLE.iter().find(|row| row.density == density).map(|row| row.generation)
    }

    /// The generation of a cartridge whose barcode ends in this media identifier, and whether it
    /// is write-once.
    pub fn from_media_identifier(identifier: &str) -> Option<(Self, bool)> {
        let row = TABLE.iter().find(|row| row.data == identifier || row.worm == Some(identifier));
        row.map(|row| (row.generation, row.worm == Some(identifier)))
    }

    /// The generation of a drive by its product name, which is matched loosely: `ULTRIUM-HH8`,
    /// `ULT3580-TD8`, `Ultrium 8-SCSI`, `HH LTO Gen 8`, `EMULATED LTO-8`.
    pub fn of_drive(product: &str) -> Option<Self> {
        let upper = product.to_ascii_uppercase();
        let markers = ["-TD", "-HH", "LTO-", "LTO GEN ", "ULTRIUM "];
        let number = markers.iter().find_map(|marker| {
            let (_, after) = upper.split_once(marker)?;
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            after[..end].parse::<u8>().ok()
        })?;
        match number {
            1 => Some(Self::Lto1),
            2 => Some(Self::Lto2),
            3 => Some(Self::Lto3),
            4 => Some(Self::Lto4),
            5 => Some(Self::Lto5),
            6 => Some(Self::Lto6),
            7 => Some(Self::Lto7),
            8 => Some(Self::Lto8),
            9 => Some(Self::Lto9),
            10 => Some(Self::Lto10),
            _ => None,
        }
    }

    /// Its density code.
    pub fn density(self) -> u8 {
        self.row().density
    }

    /// The last two characters of the barcode of its cartridges; `None` for write-once ones where
    /// that is not known.
    pub fn media_identifier(self, worm: bool) -> Option<&'static str> {
        if worm { self.row().worm } else { Some(self.row().data) }
    }

    /// Native capacity as the trade prints it.
    pub fn capacity(self) -> ByteCount {
        ByteCount(self.row().gigabytes * 1_000_000_000)
    }

    /// Bytes a second at which full-height drives of this generation write what they cannot
    /// compress, and the least at which they stream instead of stopping and winding back, as far as
    /// a manufacturer published them for the generation as a whole (IBM's drive documentation).
    pub fn rates(self) -> (Option<u64>, Option<u64>) {
        let (native, least) = match self {
            Self::Lto1 | Self::Lto2 | Self::M8 => (None, None),
            Self::Lto3 => (Some(80), None),
            Self::Lto4 => (Some(120), None),
            Self::Lto5 => (Some(140), None),
            Self::Lto6 => (Some(160), None),
            Self::Lto7 => (Some(300), Some(101)),
            Self::Lto8 => (Some(360), Some(112)),
            Self::Lto9 => (Some(400), Some(177)),
            Self::Lto10 | Self::Lto10P => (Some(400), None),
        };
        let bytes = |megabytes: Option<u64>| megabytes.map(|megabytes| megabytes * 1_000_000);
        (bytes(native), bytes(least))
    }

    /// Whether a drive of this generation writes media of `medium`.
    pub fn writes(self, medium: Self) -> bool {
        match self {
            Self::Lto1 => medium == Self::Lto1,
            Self::Lto2 | Self::Lto3 | Self::Lto4 | Self::Lto5 | Self::Lto6 | Self::Lto7 => {
                self == medium || self.steps_after(medium) == Some(1)
            }
            Self::M8 => false,
            Self::Lto8 => matches!(medium, Self::Lto8 | Self::M8 | Self::Lto7),
            Self::Lto9 => matches!(medium, Self::Lto9 | Self::Lto8),
            Self::Lto10 | Self::Lto10P => matches!(medium, Self::Lto10 | Self::Lto10P),
        }
    }

    /// Whether a drive of this generation reads media of `medium`.
    pub fn reads(self, medium: Self) -> bool {
        let two_back = self <= Self::Lto7 && self.steps_after(medium) == Some(2);
        self.writes(medium) || two_back
    }

    /// How many generations `self` is after `older`, among LTO-1 to LTO-7.
    fn steps_after(self, older: Self) -> Option<usize> {
        let place = |generation| Self::ALL[..7].iter().position(|&other| other == generation);
        place(self)?.checked_sub(place(older)?)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.row().name)
    }
}

/// One density that a drive or its medium supports (SSC, Density support data block).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Density {
    /// Density code.
    pub primary: u8,
    /// Another code for it; the same if there is none.
    pub secondary: u8,
    /// Whether the drive writes it.
    pub writable: bool,
    /// Whether it is the drive's default.
    pub default: bool,
    /// Bits per mm of track.
    pub bits_per_mm: u32,
    /// Medium width, 0.1 mm.
    pub width: u16,
    /// Tracks.
    pub tracks: u16,
    /// Native capacity, MB (decimal).
    pub megabytes: u32,
    /// Assigning organisation, `LTO-CVE`.
    pub organisation: String,
    /// Name, such as `U-8`.
    pub name: String,
    /// Description.
    pub description: String,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    primary: u8,
    secondary: u8,
    /// Bit 7 WRTOK, bit 6 DUP, bit 5 DEFLT, bit 0 DLV.
    flags: u8,
    /// Bytes beyond the 52, when DLV says so.
    more: U16,
    bits_per_mm: [u8; 3],
    width: U16,
    tracks: U16,
    megabytes: U32,
    organisation: [u8; 8],
    name: [u8; 8],
    description: [u8; 20],
}

const _: () = assert!(size_of::<Layout>() == 52);

/// Reads the reply to REPORT DENSITY SUPPORT, as many descriptors as are whole; `None` when the
/// header is cut short.
pub fn decode(bytes: &[u8]) -> Option<Vec<Density>> {
    let (&[high, low, _, _], rest) = bytes.split_first_chunk::<4>()?;
    // The length counts the two reserved bytes after it.
    let length = usize::from(u16::from_be_bytes([high, low])).saturating_sub(2);
    let mut rest = &rest[..length.min(rest.len())];
    let mut densities = Vec::new();
    while let Ok((layout, after)) = Layout::read_from_prefix(rest) {
        let [a, b, c] = layout.bits_per_mm;
        densities.push(Density {
            primary: layout.primary,
            secondary: layout.secondary,
            writable: layout.flags & 0x80 != 0,
            default: layout.flags & 0x20 != 0,
            bits_per_mm: u32::from_be_bytes([0, a, b, c]),
            width: layout.width.get(),
            tracks: layout.tracks.get(),
            megabytes: layout.megabytes.get(),
            organisation: trimmed(&layout.organisation),
            name: trimmed(&layout.name),
            description: trimmed(&layout.description),
        });
        let skipped = if layout.flags & 1 == 0 { 0 } else { usize::from(layout.more.get()) };
        rest = after.get(skipped..).unwrap_or(&[]);
    }
    Some(densities)
}

/// The reply, to be cut to the allocation length.
pub fn encode(densities: &[Density]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for density in densities {
        let [_, a, b, c] = density.bits_per_mm.to_be_bytes();
        let layout = Layout {
            primary: density.primary,
            secondary: density.secondary,
            flags: (u8::from(density.writable) << 7) | (u8::from(density.default) << 5),
            more: 0.into(),
            bits_per_mm: [a, b, c],
            width: density.width.into(),
            tracks: density.tracks.into(),
            megabytes: density.megabytes.into(),
            organisation: padded(&density.organisation),
            name: padded(&density.name),
            description: padded(&density.description),
        };
        bytes.extend(layout.as_bytes());
    }
    let length = u16::try_from(bytes.len() - 2).expect("there are few densities");
    bytes[..2].copy_from_slice(&length.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn generations_know_their_codes() {
        for generation in Generation::ALL {
            assert_eq!(Generation::from_density(generation.density()), Some(generation));
            let identifier = generation.media_identifier(false).unwrap();
            assert_eq!(Generation::from_media_identifier(identifier), Some((generation, false)));
        }
        assert_eq!(Generation::from_media_identifier("LY"), Some((Generation::Lto8, true)));
        assert_eq!(Generation::from_media_identifier("CU"), None);
        assert_eq!(Generation::Lto8.capacity().to_string(), "12 TB");
    }

    #[test]
    fn drives_are_known_by_their_product() {
        for (product, generation) in [
            ("ULTRIUM-HH8", Some(Generation::Lto8)),
            ("ULT3580-TD5", Some(Generation::Lto5)),
            ("Ultrium 6-SCSI", Some(Generation::Lto6)),
            ("HH LTO Gen 7", Some(Generation::Lto7)),
            ("EMULATED LTO-10", Some(Generation::Lto10)),
            ("03592E08", None),
            ("VIRTUAL-TAPE", None),
        ] {
            assert_eq!(Generation::of_drive(product), generation, "{product}");
        }
    }

    #[test]
    fn drives_take_what_the_table_of_compatibility_says() {
        use Generation::{Lto5, Lto6, Lto7, Lto8, Lto9, Lto10, Lto10P, M8};
        for (drive, medium, reads, writes) in [
            (Lto7, Lto7, true, true),
            (Lto7, Lto6, true, true),
            (Lto7, Lto5, true, false),
            (Lto7, Lto8, false, false),
            (Lto8, M8, true, true),
            (Lto8, Lto7, true, true),
            (Lto8, Lto6, false, false),
            (Lto9, Lto8, true, true),
            (Lto9, M8, false, false),
            (Lto10, Lto9, false, false),
            (Lto10, Lto10P, true, true),
        ] {
            assert_eq!((drive.reads(medium), drive.writes(medium)), (reads, writes), "{drive}");
        }
    }

    #[test]
    fn a_descriptor_has_the_bytes_of_the_standard() {
        let lto8 = Density {
            primary: 0x5E,
            secondary: 0x5E,
            writable: true,
            default: true,
            bits_per_mm: 20_669,
            width: 127,
            tracks: 6656,
            megabytes: 12_000_000,
            organisation: "LTO-CVE".to_owned(),
            name: "U-832".to_owned(),
            description: "Ultrium 8/32T".to_owned(),
        };
        let mut bytes = vec![0, 54, 0, 0, 0x5E, 0x5E, 0xA0, 0, 0, 0, 0x50, 0xBD, 0, 127];
        bytes.extend([0x1A, 0x00, 0x00, 0xB7, 0x1B, 0x00]);
        bytes.extend(b"LTO-CVE U-832   Ultrium 8/32T       ");
        assert_eq!(encode(std::slice::from_ref(&lto8)), bytes);
        assert_eq!(decode(&bytes).unwrap(), [lto8]);
        assert_eq!(decode(&bytes[..55]).unwrap(), []);
    }

    proptest! {
        #[test]
        fn what_decodes_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            if let Some(densities) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&densities)), Some(densities));
            }
        }
    }
}
