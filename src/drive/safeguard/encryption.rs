//! Keys: what the drive can do with one, giving it one, and asking how blocks are encrypted.

use std::fmt;

use tracing::info;

use crate::{
    drive::{answer::DriveError, handle::Drive},
    scsi::{
        cdb::Command,
        security::{
            AES_256_GCM, BlockEncryption, Capabilities, Configuration, DecryptionMode, Descriptor,
            EncryptionMode, Key, NextBlock, PROTOCOL, ParametersControl, Scope, SetEncryption,
            Status, page_in, page_out,
        },
    },
    transport::Transfer,
};

/// The longest reply that is asked for, in bytes.
const ALLOCATION: u32 = 8192;
/// Key-associated data in ASCII (SSC, KAD format).
const ASCII: u8 = 2;
/// What an LTO drive writes beside a block of data that the host chose, at most, in bytes.
const NAME_MAX: usize = 32;

/// What a drive can do with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// It cannot encrypt, or not by AES-256-GCM.
    Absent,
    /// The library gives it keys, or something else does; it takes none from a host.
    Managed,
    /// It takes keys.
    Ready {
        /// The number that AES-256-GCM has here.
        algorithm: u8,
    },
}

/// A key with the name that is written beside each block. The key is not shown.
#[derive(Clone, Copy)]
pub struct NamedKey<'a> {
    /// Its name: 1 to 32 bytes of ASCII.
    pub name: &'a str,
    /// The key.
    pub key: &'a [u8; 32],
}

/// How the block that comes next is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockKey {
    /// Not at all.
    Clear,
    /// With the key that is set.
    Ours {
        /// What is written beside it.
        name: Option<String>,
    },
    /// With another key, or none is set.
    Other {
        /// What is written beside it.
        name: Option<String>,
    },
    /// It is a filemark, or there is none.
    NoBlock,
    /// The drive cannot tell.
    NotTold,
}

/// Whether there is a key in the drive now, whoever put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyInDrive {
    /// There is none: blocks are neither encrypted nor decrypted.
    None,
    /// There is one.
    Set {
        /// What is written beside each block, where the drive repeats it.
        name: Option<String>,
    },
    /// The drive does not say.
    NotTold,
}

impl fmt::Debug for NamedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drive {
    /// What the drive can do with keys.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn encryption(&mut self) -> Result<Encryption, DriveError> {
        if let Some(known) = self.abilities.encryption {
            return Ok(known);
        }
        let found = match self.security_in(page_in::CAPABILITIES)? {
            Some(data) => {
                let page = Capabilities::decode(&data);
                let page = page.ok_or_else(|| self.garbled(&question(page_in::CAPABILITIES)))?;
                able(&page)
            }
            None => Encryption::Absent,
        };
        self.abilities.encryption = Some(found);
        Ok(found)
    }

    /// How the block that comes next is encrypted.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn next_block_key(&mut self) -> Result<BlockKey, DriveError> {
        let Some(data) = self.security_in(page_in::NEXT_BLOCK)? else {
            return Ok(BlockKey::NotTold);
        };
        let page = NextBlock::decode(&data);
        let page = page.ok_or_else(|| self.garbled(&question(page_in::NEXT_BLOCK)))?;
        let name = page.user_data().map(readable);
        Ok(match page.encryption {
            BlockEncryption::Clear => BlockKey::Clear,
            BlockEncryption::ThisKey => BlockKey::Ours { name },
            BlockEncryption::OtherKey | BlockEncryption::Unsupported => BlockKey::Other { name },
            BlockEncryption::NoBlock => BlockKey::NoBlock,
            BlockEncryption::Incapable | BlockEncryption::NotKnown | BlockEncryption::Other(_) => {
                BlockKey::NotTold
            }
        })
    }

    /// The name of the key that was set, if one was.
    pub fn key_name(&self) -> Option<&str> {
        self.standing.key.as_deref()
    }

    /// Whether there is a key in the drive now.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn key_in_drive(&mut self) -> Result<KeyInDrive, DriveError> {
        Ok(match self.encryption_status()? {
            None => KeyInDrive::NotTold,
            Some(status)
                if status.encryption == EncryptionMode::Disable
                    && status.decryption == DecryptionMode::Disable =>
            {
                KeyInDrive::None
            }
            Some(status) => KeyInDrive::Set { name: status.user_data().map(readable) },
        })
    }

    pub(super) fn set_key(&mut self, key: NamedKey<'_>) -> Result<(), DriveError> {
        assert!((1..=NAME_MAX).contains(&key.name.len()) && key.name.is_ascii(), "a short name");
        let algorithm = match self.encryption()? {
            Encryption::Ready { algorithm } => algorithm,
            Encryption::Absent => {
                return Err(self.no_key("the drive cannot encrypt by AES-256-GCM"));
            }
            Encryption::Managed => return Err(self.no_key(MANAGED)),
        };
        if let Some(status) = self.encryption_status()?
            && matches!(status.control, ParametersControl::Library | ParametersControl::Management)
        {
            return Err(self.no_key(MANAGED));
        }
        let page = SetEncryption {
            scope: Scope::All,
            clear_on_demount: true,
            encryption: EncryptionMode::Encrypt,
            decryption: DecryptionMode::Mixed,
            algorithm,
            key: Some(Key(*key.key)),
            descriptor_format: ASCII,
            descriptors: vec![Descriptor::user(key.name.as_bytes())],
        };
        self.security_out(&page)?;
        if !self.key_is(Some(key.name))? {
            return Err(self.no_stay());
        }
        info!(drive = self.name, key = key.name, "the drive encrypts");
        Ok(())
    }

    /// Takes away whatever key there is, also one that somebody else left.
    pub(super) fn take_key_away(&mut self) -> Result<(), DriveError> {
        let Encryption::Ready { algorithm } = self.encryption()? else { return Ok(()) };
        if self.key_is(None)? {
            return Ok(());
        }
        let page = SetEncryption {
            scope: Scope::All,
            clear_on_demount: false,
            encryption: EncryptionMode::Disable,
            decryption: DecryptionMode::Disable,
            algorithm,
            key: None,
            descriptor_format: 0,
            descriptors: Vec::new(),
        };
        self.security_out(&page)?;
        if !self.key_is(None)? {
            return Err(self.no_stay());
        }
        info!(drive = self.name, "the drive has no key any more");
        Ok(())
    }

    pub(super) fn key_stands(&mut self) -> Result<bool, DriveError> {
        match self.standing.key.clone() {
            Some(name) => self.key_is(Some(&name)),
            None => Ok(true),
        }
    }

    /// Whether the drive encrypts with the key of this name, or not at all.
    fn key_is(&mut self, name: Option<&str>) -> Result<bool, DriveError> {
        let Some(status) = self.encryption_status()? else { return Ok(name.is_none()) };
        Ok(match name {
            Some(name) => {
                status.encryption == EncryptionMode::Encrypt
                    && status.decryption == DecryptionMode::Mixed
                    // Some drives do not repeat it.
                    && status.user_data().is_none_or(|data| readable(data) == name)
            }
            None => {
                status.encryption == EncryptionMode::Disable
                    && status.decryption == DecryptionMode::Disable
            }
        })
    }

    fn encryption_status(&mut self) -> Result<Option<Status>, DriveError> {
        let Some(data) = self.security_in(page_in::STATUS)? else { return Ok(None) };
        let status = Status::decode(&data);
        status.map(Some).ok_or_else(|| self.garbled(&question(page_in::STATUS)))
    }

    fn security_in(&mut self, page: u16) -> Result<Option<Vec<u8>>, DriveError> {
        self.fetch_optional(&question(page), ALLOCATION as usize)
    }

    fn security_out(&mut self, page: &SetEncryption) -> Result<(), DriveError> {
        let bytes = page.encode();
        let command = Command::SecurityProtocolOut {
            protocol: PROTOCOL,
            specific: page_out::SET,
            length: u32::try_from(bytes.len()).expect("a short page"),
        };
        match self.issue(&command, Transfer::ToDevice(&bytes)) {
            Ok(_) => Ok(()),
            // The page itself is right, so it is the drive's policy that is against it.
            Err(DriveError::Unsupported(mut fault) | DriveError::Unusable(mut fault)) => {
                fault.detail = Some(MANAGED);
                Err(DriveError::Unsupported(fault))
            }
            Err(error) => Err(error),
        }
    }

    fn no_key(&self, detail: &'static str) -> DriveError {
        DriveError::Unsupported(self.fault("SECURITY PROTOCOL OUT", None, Some(detail)))
    }

    fn no_stay(&self) -> DriveError {
        let detail = Some("the key does not stay as it was set");
        DriveError::Hardware(self.fault("SECURITY PROTOCOL IN", None, detail))
    }
}

const MANAGED: &str = "it takes no key from a host: its encryption is managed by the library, or \
                       by its own panel; set it to application-managed there";

fn question(page: u16) -> Command {
    Command::SecurityProtocolIn { protocol: PROTOCOL, specific: page, allocation: ALLOCATION }
}

fn able(page: &Capabilities) -> Encryption {
    let algorithm = page.algorithms.iter().find(|algorithm| {
        algorithm.code == AES_256_GCM && algorithm.is_in_drive() && algorithm.key_length == 32
    });
    match (algorithm, page.configuration) {
        (None, _) => Encryption::Absent,
        (Some(_), Configuration::Prevented) => Encryption::Managed,
        (Some(algorithm), Configuration::Allowed | Configuration::NotTold) => {
            Encryption::Ready { algorithm: algorithm.index }
        }
    }
}

/// Key-associated data as text: some drives fill them up.
fn readable(data: &[u8]) -> String {
    String::from_utf8_lossy(data).trim_end_matches(['\0', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::security::Algorithm;

    #[test]
    fn a_drive_takes_keys_only_when_it_says_so() {
        let algorithm = Algorithm {
            index: 3,
            abilities: 0x0A,
            key_length: 32,
            code: AES_256_GCM,
            ..Algorithm::default()
        };
        let ready = Encryption::Ready { algorithm: 3 };
        let (told, allowed) = (Configuration::NotTold, Configuration::Allowed);
        for (configuration, algorithm, expected) in [
            (allowed, algorithm, ready),
            (told, algorithm, ready),
            (Configuration::Prevented, algorithm, Encryption::Managed),
            (allowed, Algorithm { code: 0x0001_0010, ..algorithm }, Encryption::Absent),
            (allowed, Algorithm { abilities: 0x0F, ..algorithm }, Encryption::Absent),
            (allowed, Algorithm { key_length: 16, ..algorithm }, Encryption::Absent),
        ] {
            let algorithms = vec![algorithm];
            let page = Capabilities { configuration, external_control: 0, algorithms };
            assert_eq!(able(&page), expected, "{page:?}");
        }
        assert_eq!(able(&Capabilities::default()), Encryption::Absent);
    }

    #[test]
    fn keys_are_not_shown() {
        let shown = format!("{:?}", NamedKey { name: "k1", key: &[0xAB; 32] });
        assert!(shown.contains("k1") && !shown.contains("171") && !shown.contains("ab"), "{shown}");
    }
}
