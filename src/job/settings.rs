//! What the operator settled beforehand: staging, drives, pools, sources, jobs.
//!
//! The config file is these structures in TOML. Paths are absolute once the file is loaded.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use crate::{
    ident::{JobName, PoolName, SourceName},
    job::rig::SharedWitness,
    keys::KeySettings,
    unit::{ByteCount, GIB, MIB},
};

/// Staging budgets below this are refused: a segment would be too small to stream.
pub const MINIMUM_BUDGET: u64 = 2 * GIB;
/// A rehearsal's cartridges may be scaled down, and its staging with them, by this much at most.
pub const REHEARSAL_SCALE: u64 = 32;
/// Block size unless a pool says otherwise, in bytes.
pub const BLOCK_SIZE: u64 = 512 << 10;
/// Memory of the ring between staging and drive unless the config says otherwise, in bytes: 2.5
/// seconds of an LTO-9 drive.
pub const RING_BYTES: u64 = GIB;
/// No more than this part of the machine's memory, either.
const RING_PART: u64 = 8;

/// Everything in the config file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The catalog.
    pub catalog: CatalogSettings,
    /// Where exports wait for the tape.
    pub staging: StagingSettings,
    /// The emulated library, for rehearsals.
    pub emulator: Option<EmulatorSettings>,
    /// Where keys for encryption in the drive are kept.
    pub keys: Option<KeySettings>,
    /// The changer of a library, if there is one.
    pub library: Option<LibrarySettings>,
    /// Drives by name.
    #[serde(default)]
    pub drives: BTreeMap<String, DriveSettings>,
    /// Pools by name.
    #[serde(default)]
    pub pools: BTreeMap<PoolName, PoolSettings>,
    /// Sources by name.
    #[serde(default)]
    pub sources: BTreeMap<SourceName, SourceSettings>,
    /// Jobs by name.
    #[serde(default)]
    pub jobs: BTreeMap<JobName, JobSettings>,
}

/// Where the catalog is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogSettings {
    /// The database file.
    pub path: PathBuf,
    /// Whether this is a rehearsal: only emulated media, and nothing counts as a copy.
    #[serde(default)]
    pub rehearsal: bool,
}

/// Where and how much is staged.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagingSettings {
    /// The folder.
    pub dir: PathBuf,
    /// How many bytes it may hold, at least [`MINIMUM_BUDGET`]; in a rehearsal [`REHEARSAL_SCALE`]
    /// times less.
    #[serde(deserialize_with = "amount")]
    pub budget: ByteCount,
    /// The size that a segment aims at; by default what the budget and the cartridge suggest.
    #[serde(default, deserialize_with = "amount_option")]
    pub segment: Option<ByteCount>,
    /// When the file of a written segment goes.
    #[serde(default)]
    pub free: Free,
    /// Memory of the ring between staging and drive.
    #[serde(default = "ring_default", deserialize_with = "amount")]
    pub ring: ByteCount,
}

/// When a segment's file in staging is not needed any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Free {
    /// When all copies that the job demands are flushed to tape. Members that verifying finds bad
    /// are fetched again.
    #[default]
    Flushed,
    /// When besides one of the copies was read back and agreed. A segment that verifying finds bad
    /// is written again from staging.
    Verified,
}

/// Where the emulated library keeps its cartridges.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmulatorSettings {
    /// The folder.
    pub dir: PathBuf,
    /// Who sees each command, and says what goes wrong: tests alone set it.
    #[serde(skip)]
    pub witness: Option<SharedWitness>,
}

/// The changer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibrarySettings {
    /// A device node, or `emulated`.
    pub changer: String,
    /// Where a job's cartridges go that leave the drive at its end.
    #[serde(default)]
    pub eject: EjectTo,
}

/// Where a library puts the cartridges that a job is done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EjectTo {
    /// Into a mail slot as long as one is free, to be taken out; else as [`EjectTo::Slot`].
    #[default]
    MailSlot,
    /// Into the slot that they came from.
    Slot,
}

/// One drive.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriveSettings {
    /// A device node (`/dev/tape/by-id/…-nst`), or `emulated:0`.
    pub device: String,
    /// Whether it stands in the library, if the config has one.
    #[serde(default = "yes")]
    pub in_library: bool,
    /// Whether jobs that write set it so that it refuses to write over anything, if it can.
    #[serde(default = "yes")]
    pub append_only: bool,
    /// Its element address in a library that does not tell its drives' serial numbers.
    pub element: Option<u16>,
}

/// One pool of media.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSettings {
    /// Bytes of one block.
    #[serde(default = "block_default", deserialize_with = "amount")]
    pub block_size: ByteCount,
    /// How many days a new volume is protected from being overwritten.
    #[serde(default)]
    pub protect_days: u32,
    /// Whether a blank cartridge with a barcode is labelled without asking.
    #[serde(default)]
    pub label_blank: bool,
    /// Whether blocks go to and from the drive with a CRC.
    #[serde(default)]
    pub block_protection: BlockProtection,
    /// Whether new volumes are encrypted by the drive, and whose key they have.
    #[serde(default)]
    pub encryption: PoolEncryption,
    /// Native capacity to plan with when no cartridge has been seen, in bytes.
    #[serde(default, deserialize_with = "amount_option")]
    pub capacity: Option<ByteCount>,
}

/// Whether blocks go to and from the drive with a CRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockProtection {
    /// They do not.
    #[default]
    Off,
    /// By the best method that the drive has, if it has one.
    Auto,
    /// The same, and a drive without one labels no volume of the pool.
    Required,
}

/// Whether volumes are encrypted by the drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolEncryption {
    /// They are not.
    #[default]
    Off,
    /// With the newest proven key of the pool.
    PoolKey,
    /// Each with a key that was made for it.
    VolumeKey,
}

/// One source.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SourceSettings {
    /// Files below a directory.
    Directory(DirectorySettings),
    /// A bucket.
    S3(S3Settings),
}

/// Files below a directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectorySettings {
    /// The directory.
    pub path: PathBuf,
    /// Patterns of paths, relative to the directory, that are left out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether other file systems mounted below are left out.
    #[serde(default)]
    pub one_file_system: bool,
}

/// A bucket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// Only keys that begin so.
    #[serde(default)]
    pub prefix: String,
    /// The region.
    #[serde(default = "region_default")]
    pub region: String,
    /// Address of a store other than AWS, `https://host:port`.
    pub endpoint: Option<String>,
    /// Whether the bucket is a part of the path, or of the host name.
    #[serde(default)]
    pub style: AddressStyle,
    /// Which versions are archived.
    #[serde(default)]
    pub versions: Versions,
    /// The profile of the AWS config files whose credentials are used.
    pub profile: Option<String>,
    /// A role to assume with them.
    pub role: Option<String>,
    /// Names of the two environment variables that hold an access key and its secret, instead of a
    /// profile.
    pub key_variables: Option<[String; 2]>,
    /// How many requests run at once.
    #[serde(default = "concurrency_default")]
    pub concurrency: u32,
    /// Whether tags are fetched.
    #[serde(default = "yes")]
    pub tags: bool,
    /// Whether the requester pays.
    #[serde(default)]
    pub requester_pays: bool,
}

/// Where an S3 address has its bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressStyle {
    /// In the path, for everything but AWS; in the host name for AWS.
    #[default]
    Auto,
    /// `https://host/bucket/key`.
    Path,
    /// `https://bucket.host/key`.
    VirtualHost,
}

/// Which versions of a bucket's objects are archived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Versions {
    /// Every version and delete marker.
    #[default]
    All,
    /// What a reader without a version id gets.
    Current,
}

/// One job.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSettings {
    /// What is archived.
    pub sources: Vec<SourceName>,
    /// Onto which media.
    pub pool: PoolName,
    /// On how many volumes each segment is written.
    #[serde(default = "one")]
    pub copies: u8,
    /// Whether volumes leave the drive at the end.
    #[serde(default = "yes")]
    pub eject: bool,
    /// Whether what was written is read back before the job ends.
    #[serde(default = "yes")]
    pub verify: bool,
}

impl Settings {
    /// How many times less than [`MINIMUM_BUDGET`] staging may be.
    pub fn scale(&self) -> u64 {
        if self.catalog.rehearsal { REHEARSAL_SCALE } else { 1 }
    }
}

fn amount<'de, D: serde::Deserializer<'de>>(from: D) -> Result<ByteCount, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(u64),
        Text(String),
    }
    match Form::deserialize(from)? {
        Form::Number(bytes) => Ok(ByteCount(bytes)),
        Form::Text(text) => ByteCount::parse(&text).map_err(serde::de::Error::custom),
    }
}

fn amount_option<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<ByteCount>, D::Error> {
    amount(from).map(Some)
}

fn ring_default() -> ByteCount {
    let machine = rustix::system::sysinfo();
    ring_for(machine.totalram * u64::from(machine.mem_unit))
}

/// The ring of a machine with so much memory.
fn ring_for(memory: u64) -> ByteCount {
    ByteCount((memory / RING_PART).clamp(16 * MIB, RING_BYTES))
}

fn block_default() -> ByteCount {
    ByteCount(BLOCK_SIZE)
}

fn region_default() -> String {
    "us-east-1".to_owned()
}

fn concurrency_default() -> u32 {
    16
}

fn yes() -> bool {
    true
}

fn one() -> u8 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_machines_get_a_small_ring() {
        for (memory, ring) in [(1, 128 * MIB), (4, 512 * MIB), (8, GIB), (256, GIB)] {
            assert_eq!(ring_for(memory * GIB), ByteCount(ring));
        }
        assert_eq!(ring_for(0), ByteCount(16 * MIB));
    }
}
