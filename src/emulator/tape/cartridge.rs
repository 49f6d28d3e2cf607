//! The sidecar of a tape file: sticker, chip and the facts of the plastic.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

use crate::ident::Barcode;
use crate::scsi::density::Generation;
use crate::unit::{GIB, MIB};

/// Why the files of the emulated library are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file system refused.
    #[error("cannot {action} {path:?}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file holds something else than what the emulator wrote.
    #[error("{path:?} is not a file of the emulated library")]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// Where it stumbles.
        source: serde_json::Error,
    },
    /// The operator's hand cannot do that: a full slot, a cartridge that is elsewhere.
    #[error("{0}")]
    Impossible(String),
}

/// One cartridge, apart from what is on its tape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cartridge {
    /// The sticker; also the name of its files.
    pub barcode: Barcode,
    /// Medium serial number (MAM attribute 0401h).
    pub serial: String,
    /// Density code of its format.
    pub density: u8,
    /// What fits before early warning, in bytes. Scaled down from what such a cartridge holds.
    pub capacity_bytes: u64,
    /// What fits between early warning and the end, in bytes.
    pub reserve_bytes: u64,
    /// What SET CAPACITY left of that, in parts of 65,535.
    #[serde(default = "all_of_it")]
    pub proportion: u16,
    /// Partitions besides the first, as LTFS makes one.
    #[serde(default)]
    pub additional_partitions: u8,
    /// Bytes that blocks written anew have taken of the tape.
    #[serde(default)]
    pub eaten_bytes: u64,
    /// Whether the scanner cannot read its sticker.
    #[serde(default)]
    pub sticker_unreadable: bool,
    /// Whether its tab is set.
    pub write_protected: bool,
    /// Whether it is a write-once cartridge.
    pub worm: bool,
    /// How often it was loaded.
    pub load_count: u64,
    /// Changes with the first write after each load (MAM attribute 0009h).
    pub change_reference: u32,
    /// Whether a power loss left the tape without its end-of-data mark.
    pub end_of_data_missing: bool,
    /// Bytes ever written to it, and read.
    pub bytes_written: u64,
    /// Bytes ever read from it.
    pub bytes_read: u64,
    /// Vendor and serial number of the drives that loaded it last, newest first.
    pub loaded_by: Vec<String>,
    /// Attributes that hosts wrote (0800h to 0BFFh).
    pub(crate) attributes: BTreeMap<u16, Attribute>,
}

/// How an attribute's value is meant (SPC, MAM attribute format).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AttributeFormat {
    Binary,
    Ascii,
    Text,
}

/// One attribute that a host wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attribute {
    pub(crate) format: AttributeFormat,
    pub(crate) value: Vec<u8>,
}

fn all_of_it() -> u16 {
    u16::MAX
}

impl Cartridge {
    /// A fresh data cartridge of `generation` on which `capacity_bytes` fit before early warning.
    pub fn new(barcode: Barcode, generation: Generation, capacity_bytes: u64) -> Self {
        Self {
            barcode,
            serial: format!("EMU{barcode:0>7}"),
            density: generation.density(),
            capacity_bytes,
            reserve_bytes: (capacity_bytes / 32).clamp(16 * MIB, 4 * GIB),
            proportion: all_of_it(),
            additional_partitions: 0,
            eaten_bytes: 0,
            sticker_unreadable: false,
            write_protected: false,
            worm: false,
            load_count: 0,
            change_reference: 0,
            end_of_data_missing: false,
            bytes_written: 0,
            bytes_read: 0,
            loaded_by: Vec::new(),
            attributes: BTreeMap::new(),
        }
    }

    /// What fits before early warning now, in bytes.
    pub fn room_bytes(&self) -> u64 {
        let room = u128::from(self.capacity_bytes) * u128::from(self.proportion);
        u64::try_from(room / u128::from(u16::MAX)).expect("no more than the capacity")
    }

    /// Reads the sidecar at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, StorageError> {
        read_json(path)
    }

    /// Writes the sidecar at `path`.
    pub(crate) fn write(&self, path: &Path) -> Result<(), StorageError> {
        write_json(path, self)
    }
}

/// Counts the JSON files written, so that no two threads use one temporary name.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Reads a JSON file.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, StorageError> {
    let text = fs::read(path).map_err(|source| StorageError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text)
        .map_err(|source| StorageError::Damaged { path: path.to_owned(), source })
}

/// Puts a JSON file in the place of an older one at once, so that a kill leaves one or the other.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), StorageError> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain data are always JSON");
    text.push(b'\n');
    let mut fresh = path.as_os_str().to_owned();
    let count = WRITES.fetch_add(1, Ordering::Relaxed);
    fresh.push(format!("-{}-{count}", std::process::id()));
    fs::write(&fresh, text)
        .and_then(|()| fs::rename(&fresh, path))
        .map_err(|source| StorageError::Io { action: "write", path: path.to_owned(), source })
}
