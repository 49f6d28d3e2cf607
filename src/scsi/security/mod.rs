//! SECURITY PROTOCOL IN and OUT with the tape data encryption protocol (SSC, Security protocol
//! parameters): how a drive is given a key, and what it says about keys and blocks.
//!
//! The other protocols, 00h among them, are not spoken here.

mod capabilities;
mod descriptor;
mod set;
mod status;

pub use capabilities::{Algorithm, Capabilities, Configuration};
pub use descriptor::{Descriptor, USER_DATA};
pub use set::{KEY_LENGTH, Key, SetEncryption};
pub use status::{BlockEncryption, NextBlock, ParametersControl, Status};

/// Security protocol: tape data encryption.
pub const PROTOCOL: u8 = 0x20;
/// AES-256-GCM with a tag of 16 bytes, as a security algorithm (SSC, security algorithm codes).
pub const AES_256_GCM: u32 = 0x0001_0014;

/// Pages that a drive delivers (SSC, SECURITY PROTOCOL SPECIFIC field).
pub mod page_in {
    /// Which pages can be asked for.
    pub const SUPPORTED_IN: u16 = 0x0000;
    /// Which pages can be sent.
    pub const SUPPORTED_OUT: u16 = 0x0001;
    /// What the drive can do.
    pub const CAPABILITIES: u16 = 0x0010;
    /// What is set.
    pub const STATUS: u16 = 0x0020;
    /// How the next block is encrypted.
    pub const NEXT_BLOCK: u16 = 0x0021;
}

/// Pages that a drive takes.
pub mod page_out {
    /// Sets modes and key.
    pub const SET: u16 = 0x0010;
}

/// What becomes of blocks that are written (SSC, ENCRYPTION MODE field).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncryptionMode {
    /// 0: they are written as they come.
    #[default]
    Disable,
    /// 1: they come encrypted.
    External,
    /// 2: the drive encrypts them.
    Encrypt,
}

/// What becomes of blocks that are read (SSC, DECRYPTION MODE field).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DecryptionMode {
    /// 0: encrypted blocks cannot be read.
    #[default]
    Disable,
    /// 1: encrypted blocks are delivered as they are.
    Raw,
    /// 2: encrypted blocks are decrypted; others cannot be read.
    Decrypt,
    /// 3: encrypted blocks are decrypted; others are delivered as they are.
    Mixed,
}

/// Who sees the parameters that one initiator sets (SSC, SCOPE field).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// 0: the initiator uses what others set for all.
    #[default]
    Public,
    /// 1: this initiator alone.
    Local,
    /// 2: every initiator.
    All,
}

impl EncryptionMode {
    fn code(self) -> u8 {
        match self {
            Self::Disable => 0,
            Self::External => 1,
            Self::Encrypt => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Disable, Self::External, Self::Encrypt].into_iter().find(|mode| mode.code() == code)
    }
}

impl DecryptionMode {
    fn code(self) -> u8 {
        match self {
            Self::Disable => 0,
            Self::Raw => 1,
            Self::Decrypt => 2,
            Self::Mixed => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        let all = [Self::Disable, Self::Raw, Self::Decrypt, Self::Mixed];
        all.into_iter().find(|mode| mode.code() == code)
    }
}

impl Scope {
    fn code(self) -> u8 {
        match self {
            Self::Public => 0,
            Self::Local => 1,
            Self::All => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Public, Self::Local, Self::All].into_iter().find(|scope| scope.code() == code)
    }
}

/// A page: its code, and what follows its header, as far as its length says and has arrived.
fn body_of(bytes: &[u8], code: u16) -> Option<&[u8]> {
    let (&[a, b, c, d], rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([c, d]));
    (u16::from_be_bytes([a, b]) == code).then(|| &rest[..length.min(rest.len())])
}

/// A page with its header.
fn page_of(code: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a page is under 64 KiB");
    let mut bytes = Vec::with_capacity(body.len() + 4);
    bytes.extend(code.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// The page that lists page codes.
pub fn encode_supported(page: u16, codes: &[u16]) -> Vec<u8> {
    let body: Vec<u8> = codes.iter().flat_map(|code| code.to_be_bytes()).collect();
    page_of(page, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_pages_has_the_bytes_of_the_standard() {
        let bytes = encode_supported(page_in::SUPPORTED_OUT, &[page_out::SET, 0x0102]);
        assert_eq!(bytes, [0, 1, 0, 4, 0, 0x10, 1, 2]);
        assert_eq!(body_of(&bytes, 1), Some(&bytes[4..]));
        assert_eq!(body_of(&bytes, 2), None);
        assert_eq!(body_of(&bytes[..6], 1), Some(&bytes[4..6]));
        assert_eq!(body_of(&bytes[..3], 1), None);
    }

    #[test]
    fn modes_have_the_numbers_of_the_standard() {
        for code in 0..=255 {
            let encryption = EncryptionMode::from_code(code).map(EncryptionMode::code);
            assert_eq!(encryption, (code < 3).then_some(code));
            let decryption = DecryptionMode::from_code(code).map(DecryptionMode::code);
            assert_eq!(decryption, (code < 4).then_some(code));
            assert_eq!(Scope::from_code(code).map(Scope::code), (code < 3).then_some(code));
        }
    }
}
