//! What is set in a drive, and how the next block is encrypted.

use crate::scsi::security::{
    DecryptionMode, Descriptor, EncryptionMode, body_of, descriptor::USER_DATA, page_in, page_of,
};

const STATUS_LENGTH: usize = 20;
const NEXT_BLOCK_LENGTH: usize = 12;

/// The data encryption status page (SSC).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What becomes of blocks that this initiator writes.
    pub encryption: EncryptionMode,
    /// What becomes of blocks that it reads.
    pub decryption: DecryptionMode,
    /// The algorithm, by its number in the capabilities page.
    pub algorithm: u8,
    /// Counts the keys that were set and taken away.
    pub key_instance: u32,
    /// Who controls all this.
    pub control: ParametersControl,
    /// What `descriptors` hold: 0 is not said, 1 a binary name of the key, 2 one in ASCII.
    pub descriptor_format: u8,
    /// What goes with the key.
    pub descriptors: Vec<Descriptor>,
}

/// Who controls the parameters of encryption (SSC, PARAMETERS CONTROL field).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParametersControl {
    /// 0: the drive does not tell.
    #[default]
    NotTold,
    /// 1: the host may.
    Shared,
    /// 2: the host alone.
    Host,
    /// 3: the library alone.
    Library,
    /// 4: a management interface alone.
    Management,
    /// Anything else.
    Other(u8),
}

/// The next block encryption status page (SSC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextBlock {
    /// The object that comes next.
    pub object: u64,
    /// How it is encrypted.
    pub encryption: BlockEncryption,
    /// By which algorithm, by its number in the capabilities page.
    pub algorithm: u8,
    /// What `descriptors` hold: 0 is not said, 1 a binary name of the key, 2 one in ASCII.
    pub descriptor_format: u8,
    /// What was written beside it.
    pub descriptors: Vec<Descriptor>,
}

/// How a block is encrypted (SSC, ENCRYPTION STATUS field).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockEncryption {
    /// 0: the drive cannot tell.
    Incapable,
    /// 1: the drive cannot tell now.
    NotKnown,
    /// 2: it is no block.
    NoBlock,
    /// 3: not at all.
    Clear,
    /// 4: by an algorithm that the drive does not have.
    Unsupported,
    /// 5: with the key that is set.
    ThisKey,
    /// 6: with another key.
    OtherKey,
    /// Anything else.
    Other(u8),
}

impl ParametersControl {
    fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::NotTold,
            1 => Self::Shared,
            2 => Self::Host,
            3 => Self::Library,
            4 => Self::Management,
            other => Self::Other(other),
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::NotTold => 0,
            Self::Shared => 1,
            Self::Host => 2,
            Self::Library => 3,
            Self::Management => 4,
            Self::Other(bits) => bits & 7,
        }
    }
}

impl BlockEncryption {
    fn from_bits(bits: u8) -> Self {
        match bits & 0x0F {
            0 => Self::Incapable,
            1 => Self::NotKnown,
            2 => Self::NoBlock,
            3 => Self::Clear,
            4 => Self::Unsupported,
            5 => Self::ThisKey,
            6 => Self::OtherKey,
            other => Self::Other(other),
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Incapable => 0,
            Self::NotKnown => 1,
            Self::NoBlock => 2,
            Self::Clear => 3,
            Self::Unsupported => 4,
            Self::ThisKey => 5,
            Self::OtherKey => 6,
            Self::Other(bits) => bits & 0x0F,
        }
    }
}

/// The data that a host chose, among descriptors.
fn user_data(descriptors: &[Descriptor]) -> Option<&[u8]> {
    let user = descriptors.iter().find(|descriptor| descriptor.kind == USER_DATA)?;
    Some(&user.data)
}

impl Status {
    /// Reads the page; `None` when it is another, cut short, or of modes without meaning.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) =
            body_of(bytes, page_in::STATUS)?.split_first_chunk::<STATUS_LENGTH>()?;
        Some(Self {
            encryption: EncryptionMode::from_code(fixed[1])?,
            decryption: DecryptionMode::from_code(fixed[2])?,
            algorithm: fixed[3],
            key_instance: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            control: ParametersControl::from_bits(fixed[8] >> 4),
            descriptor_format: fixed[9],
            descriptors: Descriptor::decode_all(rest),
        })
    }

    /// The page, of parameters that all initiators see.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = vec![0; STATUS_LENGTH];
        body[0] = 0x42;
        body[1] = self.encryption.code();
        body[2] = self.decryption.code();
        body[3] = self.algorithm;
        body[4..8].copy_from_slice(&self.key_instance.to_be_bytes());
        body[8] = self.control.bits() << 4;
        body[9] = self.descriptor_format;
        Descriptor::encode_all(&self.descriptors, &mut body);
        page_of(page_in::STATUS, &body)
    }

    /// What the host chose to go with the key.
    pub fn user_data(&self) -> Option<&[u8]> {
        user_data(&self.descriptors)
    }
}

impl NextBlock {
    /// Reads the page; `None` when it is another or cut short.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let body = body_of(bytes, page_in::NEXT_BLOCK)?;
        let (fixed, rest) = body.split_first_chunk::<NEXT_BLOCK_LENGTH>()?;
        let (object, _) = fixed.split_first_chunk::<8>()?;
        Some(Self {
            object: u64::from_be_bytes(*object),
            encryption: BlockEncryption::from_bits(fixed[8]),
            algorithm: fixed[9],
            descriptor_format: fixed[11],
            descriptors: Descriptor::decode_all(rest),
        })
    }

    /// The page.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = self.object.to_be_bytes().to_vec();
        body.extend([self.encryption.bits(), self.algorithm, 0, self.descriptor_format]);
        Descriptor::encode_all(&self.descriptors, &mut body);
        page_of(page_in::NEXT_BLOCK, &body)
    }

    /// What a host chose to be written beside it.
    pub fn user_data(&self) -> Option<&[u8]> {
        user_data(&self.descriptors)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn status_lies_where_the_standard_says() {
        let fixed = [
            0x00, 0x20, 0x00, 0x24, // header
            0x42, 0x02, 0x02, 0x01, // scopes, modes, algorithm
            0, 0, 0, 1, // key instance
            0x10, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // control, format of the descriptors
        ];
        let bytes = [&fixed[..], b"\x00\x01\x00\x0cHello world!"].concat();
        let status = Status {
            encryption: EncryptionMode::Encrypt,
            decryption: DecryptionMode::Decrypt,
            algorithm: 1,
            key_instance: 1,
            control: ParametersControl::Shared,
            descriptor_format: 2,
            descriptors: vec![Descriptor { authenticated: 1, ..Descriptor::user(b"Hello world!") }],
        };
        assert_eq!(Status::decode(&bytes), Some(status.clone()));
        assert_eq!(status.encode(), bytes);
        assert_eq!(status.user_data(), Some(&b"Hello world!"[..]));
        assert_eq!(Status::decode(&bytes[..30]).unwrap().descriptors, []);
        assert_eq!(Status::decode(&bytes[..20]), None);
    }

    #[test]
    fn next_block_lies_where_the_standard_says() {
        let fixed = [0x00, 0x21, 0x00, 0x1C, 0, 0, 0, 0, 0, 0, 0, 1, 0x05, 0x01, 0x00, 0x02];
        let bytes = [&fixed[..], b"\x00\x01\x00\x0cHello world!"].concat();
        let page = NextBlock::decode(&bytes).unwrap();
        assert_eq!((page.object, page.encryption), (1, BlockEncryption::ThisKey));
        assert_eq!(page.user_data(), Some(&b"Hello world!"[..]));
        assert_eq!(page.encode(), bytes);
        assert_eq!(NextBlock::decode(&bytes[..12]), None);
    }

    proptest! {
        #[test]
        fn what_decodes_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            let status = [&[0, 0x20][..], &bytes].concat();
            if let Some(page) = Status::decode(&status) {
                prop_assert_eq!(Status::decode(&page.encode()), Some(page));
            }
            let next = [&[0, 0x21][..], &bytes].concat();
            if let Some(page) = NextBlock::decode(&next) {
                prop_assert_eq!(NextBlock::decode(&page.encode()), Some(page));
            }
        }
    }
}
