//! What a bucket holds, and how it changes.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use md5::Md5;
use sha2::{Digest, Sha256};
use tapevault::clock::Timestamp;

use super::auth::hex;

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Versioning {
    /// It never did.
    #[default]
    Off,
    On,
    /// It did: new writes replace the null version.
    Suspended,
}

/// A checksum that the server keeps of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    Crc64Nvme,
    /// Of the whole, though written in parts.
    Crc32,
    /// Of the parts' SHA-256.
    CompositeSha256,
}

/// How an object is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Put {
    pub(crate) body: Vec<u8>,
    /// Lengths of its parts; empty when it was written in one go.
    pub(crate) parts: Vec<usize>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) class: Option<String>,
    pub(crate) checksum: Option<Checksum>,
    /// Instead of the MD5, as with a customer's key.
    pub(crate) etag: Option<String>,
}

/// One version of one key.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) modified: Timestamp,
    pub(crate) etag: String,
    pub(crate) marker: bool,
    pub(crate) put: Put,
}

/// A bucket.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) versioning: Versioning,
    /// Of each key, the newest first.
    pub(crate) keys: BTreeMap<Vec<u8>, Vec<Version>>,
    writes: u64,
}

impl Put {
    /// Content and nothing more.
    pub(crate) fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// The parts' contents.
    fn pieces(&self) -> Vec<&[u8]> {
        let mut rest = &self.body[..];
        self.parts
            .iter()
            .map(|length| {
                let (piece, after) = rest.split_at(*length);
                rest = after;
                piece
            })
            .collect()
    }

    fn etag(&self) -> String {
        if let Some(etag) = &self.etag {
            return etag.clone();
        }
        if self.parts.is_empty() {
            return hex(&Md5::digest(&self.body));
        }
        let sums: Vec<u8> = self.pieces().iter().flat_map(Md5::digest).collect();
        format!("{}-{}", hex(&Md5::digest(sums)), self.parts.len())
    }

    /// The header with the checksum.
    pub(crate) fn checksum_header(&self) -> Option<(&'static str, String)> {
        let encode = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        match self.checksum? {
            Checksum::Crc64Nvme => {
                let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &self.body);
                Some(("x-amz-checksum-crc64nvme", encode(&sum.to_be_bytes())))
            }
            Checksum::Crc32 => {
                let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &self.body);
                Some(("x-amz-checksum-crc32", encode(&sum.to_be_bytes()[4..])))
            }
            Checksum::CompositeSha256 => {
                let sums: Vec<u8> = self.pieces().iter().flat_map(Sha256::digest).collect();
                let text = format!("{}-{}", encode(&Sha256::digest(sums)), self.parts.len());
                Some(("x-amz-checksum-sha256", text))
            }
        }
    }
}

impl Bucket {
    /// Writes an object, and says under which version id.
    pub(crate) fn put(&mut self, key: &[u8], put: Put, now: Timestamp) -> String {
        let etag = put.etag();
        self.add(key, Version { id: String::new(), modified: now, etag, marker: false, put })
    }

    /// Deletes a key: for good, or by a marker where versions are kept.
    pub(crate) fn delete(&mut self, key: &[u8], now: Timestamp) -> String {
        if self.versioning == Versioning::Off {
            self.keys.remove(key);
            return String::new();
        }
        let put = Put::default();
        self.add(
            key,
            Version { id: String::new(), modified: now, etag: String::new(), marker: true, put },
        )
    }

    fn add(&mut self, key: &[u8], mut version: Version) -> String {
        self.writes += 1;
        version.id = match self.versioning {
            Versioning::On => format!("v{:06}.{}+/=", self.writes, "x".repeat(20)),
            Versioning::Off | Versioning::Suspended => "null".to_owned(),
        };
        let id = version.id.clone();
        let versions = self.keys.entry(key.to_vec()).or_default();
        if id == "null" {
            versions.retain(|version| version.id != "null");
        }
        versions.insert(0, version);
        id
    }

    /// The version that a reader gets.
    pub(crate) fn find(&self, key: &[u8], id: Option<&[u8]>) -> Option<&Version> {
        let versions = self.keys.get(key)?;
        match id {
            None => versions.first(),
            Some(id) => versions.iter().find(|version| version.id.as_bytes() == id),
        }
    }
}
