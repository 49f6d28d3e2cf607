//! Encryption: the key that a drive was given, blocks that are written and read with it, and the
//! pages of the tape data encryption protocol (SSC).
//!
//! An encrypted block lies on the tape as a record of a class of its own: a header in clear, the
//! block encrypted by AES-256-GCM, and the tag. Whoever reads the file finds nothing of the block.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};

use crate::emulator::{
    answer::{Answer, Check, deliver, invalid_field, received},
    drive::EmulatedDrive,
    library::io_error,
    tape::{Kind, Object, StorageError},
};
use crate::scsi::{
    security::{
        self, Algorithm, BlockEncryption, Capabilities, Configuration, DecryptionMode, Descriptor,
        EncryptionMode, KEY_LENGTH, Key, NextBlock, PROTOCOL, ParametersControl, SetEncryption,
        Status, page_in, page_out,
    },
    sense::{Code, Key as SenseKey},
};
use crate::transport::Transfer;

/// The number of AES-256-GCM in the pages of this drive.
const ALGORITHM: u8 = 1;
/// The most bytes of key-associated data that a host may choose.
const USER_DATA_MAX: usize = 32;
const MAGIC: &[u8; 8] = b"TVSEALED";
const CHECK_LEN: usize = 8;
const NONCE_LEN: usize = 12;
/// Bytes in front of what is encrypted: magic, check of the key, nonce, format and length of the
/// key-associated data, these, and two zeros.
const HEAD_LEN: usize = 8 + CHECK_LEN + NONCE_LEN + 2 + USER_DATA_MAX + 2;
/// Bytes that a record has more than its block.
const OVERHEAD: usize = HEAD_LEN + MAX_TAG_LEN;

const _: () = assert!(OVERHEAD as u64 == crate::emulator::tape::SEALED_OVERHEAD);

/// What is set about encryption.
#[derive(Debug, Default)]
pub(crate) struct Crypto {
    /// As a host set it; `None` while nothing is encrypted or decrypted.
    set: Option<SetEncryption>,
    /// How often it was set or taken away.
    instance: u32,
    /// Where the drive keeps it while no process uses the drive.
    path: Option<PathBuf>,
}

/// The clear front of a record.
struct Head {
    check: [u8; CHECK_LEN],
    nonce: [u8; NONCE_LEN],
    format: u8,
    user_data: Vec<u8>,
}

impl Crypto {
    /// What drive `number` of the library in `dir` was given by an earlier process.
    pub(crate) fn read(dir: &Path, number: u16) -> Result<Self, StorageError> {
        let path = dir.join("drives").join(format!("drive{number}.key"));
        let set = match fs::read(&path) {
            Ok(bytes) => SetEncryption::decode(&zeroize::Zeroizing::new(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        Ok(Self { set, instance: 0, path: Some(path) })
    }

    fn put(&mut self, set: Option<SetEncryption>) -> Result<(), StorageError> {
        self.instance = self.instance.wrapping_add(1);
        self.set = set;
        let Some(path) = &self.path else { return Ok(()) };
        let done = match &self.set {
            Some(set) => remove(path).and_then(|()| write_private(path, &set.encode())),
            None => remove(path),
        };
        done.map_err(io_error("write", path))
    }

    /// Forgets the key, as at power-on.
    pub(crate) fn forget(&mut self) -> Result<(), StorageError> {
        if self.set.is_none() { Ok(()) } else { self.put(None) }
    }

    /// Forgets the key if it was to go with the cartridge.
    pub(crate) fn demount(&mut self) -> Result<(), StorageError> {
        match &self.set {
            Some(set) if set.clear_on_demount => self.put(None),
            Some(_) | None => Ok(()),
        }
    }

    fn decryption(&self) -> DecryptionMode {
        self.set.as_ref().map_or(DecryptionMode::Disable, |set| set.decryption)
    }

    fn key(&self) -> Option<&Key> {
        self.set.as_ref()?.key.as_ref()
    }

    /// The record for a block, if blocks are encrypted.
    fn seal(&self, block: &[u8]) -> Option<Result<Vec<u8>, Check>> {
        let set = self.set.as_ref().filter(|set| set.encryption == EncryptionMode::Encrypt)?;
        let key = set.key.as_ref()?;
        let user_data = set.descriptors.first().map(|user| user.data.clone()).unwrap_or_default();
        let mut nonce = [0; NONCE_LEN];
        if SystemRandom::new().fill(&mut nonce).is_err() {
            return Some(Err(io::Error::other("the system has no random numbers").into()));
        }
        let format = set.descriptor_format;
        let head = Head { check: check_of(key), nonce, format, user_data };
        let head = head.encode();
        let mut sealed = block.to_vec();
        let done = cipher(key).seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(head),
            &mut sealed,
        );
        Some(match done {
            Ok(()) => Ok([&head[..], &sealed].concat()),
            Err(_) => Err(io::Error::other("the block cannot be encrypted").into()),
        })
    }

    /// The block of a record.
    fn open(&self, record: &mut Vec<u8>) -> Result<(), Check> {
        let protect = |code| Check::from((SenseKey::DataProtect, code));
        let key = match (self.decryption(), self.key()) {
            (DecryptionMode::Decrypt | DecryptionMode::Mixed, Some(key)) => key,
            (_, _) => return Err(protect(Code::UNABLE_TO_DECRYPT)),
        };
        let unreadable = || protect(Code::DECRYPTION_ERROR);
        let bytes = *record.first_chunk::<HEAD_LEN>().ok_or_else(unreadable)?;
        let head = Head::decode(&bytes).ok_or_else(unreadable)?;
        if head.check != check_of(key) {
            return Err(protect(Code::INCORRECT_KEY));
        }
        let mut sealed = record.split_off(HEAD_LEN);
        let nonce = Nonce::assume_unique_for_key(head.nonce);
        let opened = cipher(key).open_in_place(nonce, Aad::from(bytes), &mut sealed);
        let length = opened.map_err(|_| protect(Code::INTEGRITY_VALIDATION_FAILED))?.len();
        sealed.truncate(length);
        *record = sealed;
        Ok(())
    }
}

impl Head {
    fn encode(&self) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.check);
        bytes[16..28].copy_from_slice(&self.nonce);
        bytes[28] = self.format;
        bytes[29] = u8::try_from(self.user_data.len()).expect("32 at most");
        bytes[30..30 + self.user_data.len()].copy_from_slice(&self.user_data);
        bytes
    }

    fn decode(bytes: &[u8; HEAD_LEN]) -> Option<Self> {
        let user_data = bytes[30..62].get(..usize::from(bytes[29]))?.to_vec();
        Some(Self {
            check: bytes[8..16].try_into().ok()?,
            nonce: bytes[16..28].try_into().ok()?,
            format: bytes[28],
            user_data,
        })
        .filter(|_| &bytes[..8] == MAGIC)
    }
}

fn cipher(key: &Key) -> LessSafeKey {
    let unbound = UnboundKey::new(&AES_256_GCM, &key.0).expect("a key of 32 bytes");
    LessSafeKey::new(unbound)
}

/// Tells keys apart without saying anything else of them.
fn check_of(key: &Key) -> [u8; CHECK_LEN] {
    let digest = blake3::derive_key("tapevault emulated drive, check of a key", &key.0);
    *digest.first_chunk().expect("32 bytes")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

impl EmulatedDrive {
    /// Puts a block at `at`, encrypted if that is set.
    pub(crate) fn put_block(&mut self, at: u64, block: &[u8]) -> Result<(), Check> {
        let sealed = self.crypto.seal(block).transpose()?;
        let image = &mut self.usable()?.image;
        match sealed {
            Some(record) => image.write_sealed(at, &record)?,
            None => image.write_block(at, block)?,
        }
        Ok(())
    }

    /// Reads the front of the block `object`, of `length` bytes, into `room`.
    pub(crate) fn get_block(&mut self, object: Object, room: &mut [u8]) -> Result<(), Check> {
        let Kind::Sealed(length) = object.kind else {
            if self.crypto.decryption() == DecryptionMode::Decrypt {
                return Err((SenseKey::DataProtect, Code::UNENCRYPTED_WHILE_DECRYPTING).into());
            }
            return Ok(self.usable()?.image.read(object, room)?);
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let mut record = vec![0; length.saturating_add(OVERHEAD)];
        self.usable()?.image.read(object, &mut record)?;
        self.crypto.open(&mut record)?;
        room.copy_from_slice(&record[..room.len()]);
        Ok(())
    }

    pub(crate) fn security_in(
        &mut self,
        (protocol, page): (u8, u16),
        allocation: u32,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        if protocol != PROTOCOL {
            return Err(invalid_field(1));
        }
        let bytes = match page {
            page_in::SUPPORTED_IN => security::encode_supported(
                page,
                &[
                    page_in::SUPPORTED_IN,
                    page_in::SUPPORTED_OUT,
                    page_in::CAPABILITIES,
                    page_in::STATUS,
                    page_in::NEXT_BLOCK,
                ],
            ),
            page_in::SUPPORTED_OUT => security::encode_supported(page, &[page_out::SET]),
            page_in::CAPABILITIES => self.encryption_capabilities().encode(),
            page_in::STATUS => self.encryption_status().encode(),
            page_in::NEXT_BLOCK => self.next_block()?.encode(),
            _ => return Err(invalid_field(2)),
        };
        Ok(deliver(transfer, allocation, &bytes))
    }

    fn encryption_capabilities(&self) -> Capabilities {
        let configuration = if self.settings.library_manages_keys {
            Configuration::Prevented
        } else {
            Configuration::Allowed
        };
        let algorithm = Algorithm {
            index: ALGORITHM,
            // AVFMV; decrypts and encrypts in hardware.
            abilities: 0x8A,
            user_data_limit: 32,
            authenticated_data_limit: 12,
            key_length: 32,
            code: security::AES_256_GCM,
        };
        Capabilities { configuration, external_control: 2, algorithms: vec![algorithm] }
    }

    fn encryption_status(&self) -> Status {
        let control = if self.settings.library_manages_keys {
            ParametersControl::Library
        } else {
            ParametersControl::Shared
        };
        let set = self.crypto.set.as_ref();
        Status {
            encryption: set.map_or(EncryptionMode::Disable, |set| set.encryption),
            decryption: set.map_or(DecryptionMode::Disable, |set| set.decryption),
            algorithm: set.map_or(0, |set| set.algorithm),
            key_instance: self.crypto.instance,
            control,
            descriptor_format: set.map_or(0, |set| set.descriptor_format),
            descriptors: set.map(|set| set.descriptors.clone()).unwrap_or_default(),
        }
    }

    fn next_block(&mut self) -> Result<NextBlock, Check> {
        self.usable()?;
        self.known_position()?;
        let clear = NextBlock {
            object: self.stand.position,
            encryption: BlockEncryption::NoBlock,
            algorithm: 0,
            descriptor_format: 0,
            descriptors: Vec::new(),
        };
        let Some(object) = self.object_here() else { return Ok(clear) };
        let encryption = match object.kind {
            Kind::Filemark => BlockEncryption::NoBlock,
            Kind::Bad(_) => BlockEncryption::NotKnown,
            Kind::Block(_) => BlockEncryption::Clear,
            Kind::Sealed(_) => {
                let mut bytes = [0; HEAD_LEN];
                self.usable()?.image.read(object, &mut bytes)?;
                let Some(head) = Head::decode(&bytes) else {
                    return Ok(NextBlock { encryption: BlockEncryption::NotKnown, ..clear });
                };
                let fits = self.crypto.key().is_some_and(|key| check_of(key) == head.check);
                let decrypts = matches!(
                    self.crypto.decryption(),
                    DecryptionMode::Decrypt | DecryptionMode::Mixed
                );
                return Ok(NextBlock {
                    encryption: if fits && decrypts {
                        BlockEncryption::ThisKey
                    } else {
                        BlockEncryption::OtherKey
                    },
                    algorithm: ALGORITHM,
                    descriptor_format: head.format,
                    descriptors: vec![Descriptor {
                        authenticated: 1,
                        ..Descriptor::user(&head.user_data)
                    }],
                    ..clear
                });
            }
        };
        Ok(NextBlock { encryption, ..clear })
    }

    pub(crate) fn security_out(
        &mut self,
        (protocol, page): (u8, u16),
        length: u32,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        if protocol != PROTOCOL {
            return Err(invalid_field(1));
        }
        if page != page_out::SET || self.settings.library_manages_keys {
            return Err(invalid_field(2));
        }
        let bytes = received(transfer, length)?;
        let invalid = || (SenseKey::IllegalRequest, Code::INVALID_FIELD_IN_PARAMETER_LIST);
        let set = SetEncryption::decode(bytes).ok_or_else(invalid)?;
        let off =
            set.encryption == EncryptionMode::Disable && set.decryption == DecryptionMode::Disable;
        let known = matches!(set.encryption, EncryptionMode::Disable | EncryptionMode::Encrypt)
            && set.decryption != DecryptionMode::Raw
            && set.algorithm == ALGORITHM
            && set.key.is_some() != off;
        // Key-associated data go with encryption alone, and only what the host chose is taken.
        let room = if set.encryption == EncryptionMode::Encrypt { 1 } else { 0 };
        let fits = set.descriptors.len() <= room
            && set
                .descriptors
                .iter()
                .all(|user| user.kind == security::USER_DATA && user.data.len() <= USER_DATA_MAX);
        if !known || !fits {
            return Err(invalid().into());
        }
        self.crypto.put((!off).then_some(set))?;
        self.registers.attention(Code::ENCRYPTION_PARAMETERS_CHANGED, Some(self.nexus));
        self.registers_changed = true;
        Ok(bytes.len())
    }
}

const _: () = assert!(KEY_LENGTH == 32);

#[cfg(test)]
mod tests {
    use super::*;

    fn crypto(key: u8, decryption: DecryptionMode) -> Crypto {
        let set = SetEncryption {
            scope: security::Scope::All,
            clear_on_demount: true,
            encryption: EncryptionMode::Encrypt,
            decryption,
            algorithm: ALGORITHM,
            key: Some(Key([key; 32])),
            descriptor_format: 2,
            descriptors: vec![Descriptor::user(b"a key")],
        };
        Crypto { set: Some(set), instance: 1, path: None }
    }

    fn sense(check: Check) -> Code {
        check.sense.unwrap().code
    }

    #[test]
    fn a_block_comes_back_with_its_key_and_with_no_other() {
        let block = b"nothing of this is on the tape";
        let ours = crypto(1, DecryptionMode::Mixed);
        let sealed = ours.seal(block).unwrap().unwrap();
        assert_eq!(sealed.len(), block.len() + OVERHEAD);
        assert!(!sealed.windows(8).any(|window| window == &block[..8]));
        assert_ne!(ours.seal(block).unwrap().unwrap(), sealed, "no nonce serves twice");
        let mut opened = sealed.clone();
        ours.open(&mut opened).unwrap();
        assert_eq!(opened, block);
        for (crypto, code) in [
            (crypto(2, DecryptionMode::Mixed), Code::INCORRECT_KEY),
            (crypto(1, DecryptionMode::Disable), Code::UNABLE_TO_DECRYPT),
            (Crypto::default(), Code::UNABLE_TO_DECRYPT),
        ] {
            assert_eq!(sense(crypto.open(&mut sealed.clone()).unwrap_err()), code);
        }
        for at in [0, 20, 40, HEAD_LEN, sealed.len() - 1] {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert!(ours.open(&mut forged).is_err(), "byte {at}");
        }
        assert!(ours.open(&mut sealed[..HEAD_LEN].to_vec()).is_err());
    }
}
