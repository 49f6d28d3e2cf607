//! The label: tape file 0, which says which volume this is and how anybody can read it.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ident::{Barcode, PoolName, Volser, VolumeId};
use crate::tar::{self, Names, Reader};
use crate::volume::trailer::own_head;

/// Bytes of one block of a label: tar's default, so that `tar xf /dev/nst0` reads it.
pub const BLOCK: usize = 10_240;
/// The longest label, in bytes.
pub const LABEL_MAX: usize = 60 << 10;

/// Method of [`Encryption`]: AES-256-GCM in the drive, each block with the key's id as U-KAD.
pub const IN_DRIVE: &str = "drive-aes-256-gcm";

const JSON: &str = "label.json";
/// What a person reads first.
pub const README: &str = include_str!("README.txt");
/// Lists, extracts and checks a volume with stock tools.
pub const RECOVER: &str = include_str!("recover.sh");

/// Which volume this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The format's version.
    pub format: u32,
    /// This labelling of the cartridge.
    pub volume: VolumeId,
    /// What the operator calls it.
    pub volser: Volser,
    /// The sticker, as scanned or typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barcode: Option<Barcode>,
    /// Medium serial number from the cartridge's chip (MAM 0401h); empty when it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mam_serial: String,
    /// The pool that it was labelled for.
    pub pool: PoolName,
    /// Bytes of one block of everything but the label.
    pub block_size: u32,
    /// When it was labelled.
    pub created: Timestamp,
    /// Until when it must not be overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected_until: Option<Timestamp>,
    /// How everything but the label is encrypted, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// By which method the drive that labelled it checked blocks on their way (`crc32c`,
    /// `reed-solomon`), if it did: then all that is written to the volume or read from it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_protection: Option<String>,
    /// Whether this is a file of the emulated library and no cartridge.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emulated: bool,
}

/// How a volume is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// By what (`drive-aes-256-gcm`).
    pub method: String,
    /// Which key it needs. Never the key.
    pub key_id: String,
}

/// Why bytes are not a label that can be used.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// Something else: data of another program.
    #[error("it is not a label of tapevault")]
    Foreign,
    /// It begins as a label does, and is damaged.
    #[error("the label is damaged")]
    Damaged(#[source] serde_json::Error),
    /// The label belongs to a later format.
    #[error("the label is of format {0}, which is later than this program")]
    Later(u32),
}

/// The label's bytes on tape, in whole blocks of [`BLOCK`] bytes. Equal labels give equal bytes.
///
/// # Panics
///
/// When the label would be longer than [`LABEL_MAX`]: its texts are bounded, so it never is.
pub fn encode(label: &Label) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(label).expect("a label is JSON, and memory takes it");
    json.push(b'\n');
    let mut out = Vec::with_capacity(LABEL_MAX);
    let files = [(JSON, 0o644, json.as_slice()), ("README.txt", 0o644, README.as_bytes())];
    for (name, mode, bytes) in files.into_iter().chain([("recover.sh", 0o755, RECOVER.as_bytes())])
    {
        let mut head = own_head(name.to_owned(), bytes.len() as u64, label.created);
        head.mode = mode;
        head.encode_into(&mut out).expect("a name of ours is a good one");
        out.extend_from_slice(bytes);
        out.resize(out.len() + tar::padding(bytes.len() as u64), 0);
    }
    out.extend_from_slice(&tar::END);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    assert!(out.len() <= LABEL_MAX, "a label of {} bytes", out.len());
    out
}

/// Reads a label from the first block of a tape, or from all of its tape file 0.
///
/// # Errors
///
/// When it is none. That says nothing about whether the tape is blank.
pub fn decode(bytes: &[u8]) -> Result<Label, LabelError> {
    let mut reader = Reader::new(bytes, Names::Safe);
    let found = reader.next_member().ok().flatten().ok_or(LabelError::Foreign)?;
    let span = usize::try_from(found.data).ok().zip(usize::try_from(found.stored).ok());
    let json = span
        .filter(|_| found.head.path == JSON)
        .and_then(|(data, stored)| bytes.get(data..)?.get(..stored))
        .ok_or(LabelError::Foreign)?;
    let format = serde_json::from_slice::<Format>(json).map_err(LabelError::Damaged)?.format;
    if format > super::FORMAT {
        return Err(LabelError::Later(format));
    }
    serde_json::from_slice(json).map_err(LabelError::Damaged)
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label() -> Label {
        Label {
            format: 1,
            volume: VolumeId::new(),
            volser: "A00012".parse().unwrap(),
            barcode: Some("A00012L8".parse().unwrap()),
            mam_serial: "HD8X".into(),
            pool: "offsite".parse().unwrap(),
            block_size: 524_288,
            created: Timestamp::from_parts(1_800_000_000, 1),
            protected_until: Some(Timestamp::from_parts(1_900_000_000, 0)),
            encryption: Some(Encryption { method: "drive".into(), key_id: "k1".into() }),
            block_protection: Some("crc32c".into()),
            emulated: true,
        }
    }

    #[test]
    fn a_label_reads_back() {
        let label = label();
        let bytes = encode(&label);
        assert!(bytes.len().is_multiple_of(BLOCK) && bytes.len() <= LABEL_MAX);
        assert_eq!(decode(&bytes).unwrap(), label);
        assert_eq!(decode(&bytes[..BLOCK]).unwrap(), label);
        assert_eq!(encode(&label), bytes);
    }

    #[test]
    fn what_is_no_label_is_refused() {
        let bytes = encode(&label());
        for foreign in [&b""[..], &[0; BLOCK], &bytes[..600], b"VOL1A00012"] {
            assert!(matches!(decode(foreign), Err(LabelError::Foreign)), "{foreign:?}");
        }
        let mut later = bytes.clone();
        let at = memchr::memmem::find(&later, b"\"format\": 1").unwrap();
        later[at + 10] = b'2';
        assert!(matches!(decode(&later), Err(LabelError::Later(2))));
        later[at + 10] = b'x';
        assert!(matches!(decode(&later), Err(LabelError::Damaged(_))));
    }

    proptest! {
        #[test]
        fn a_damaged_label_never_panics(at in 0_usize..BLOCK, mask in 1_u8..) {
            let mut bytes = encode(&label());
            bytes[at] ^= mask;
            drop(decode(&bytes));
        }
    }
}
