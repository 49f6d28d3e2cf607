//! Key-associated data: what is written beside an encrypted block, in clear.

/// Descriptor type of data that the host chose and the drive does not authenticate (U-KAD).
pub const USER_DATA: u8 = 0x00;
/// Descriptors that a page may hold at most, whatever its bytes say.
const DESCRIPTORS_LIMIT: usize = 64;

/// One piece of key-associated data (SSC, Key-associated data descriptors).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// 0 U-KAD, 1 A-KAD, 2 nonce, 3 M-KAD, 4 wrapped key.
    pub kind: u8,
    /// 0 not covered by authentication, 1 not checked, 2 checked and right, 3 checked and wrong.
    pub authenticated: u8,
    /// The data.
    pub data: Vec<u8>,
}

impl Descriptor {
    /// Data that the host chose, not authenticated.
    pub fn user(data: &[u8]) -> Self {
        Self { kind: USER_DATA, authenticated: 0, data: data.to_vec() }
    }

    /// The descriptors that are there whole.
    pub(super) fn decode_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut found = Vec::new();
        while found.len() < DESCRIPTORS_LIMIT
            && let Some((&[kind, flags, a, b], rest)) = bytes.split_first_chunk::<4>()
            && let Some(data) = rest.get(..usize::from(u16::from_be_bytes([a, b])))
        {
            found.push(Self { kind, authenticated: flags & 0x07, data: data.to_vec() });
            bytes = &rest[data.len()..];
        }
        found
    }

    pub(super) fn encode_all(descriptors: &[Self], bytes: &mut Vec<u8>) {
        for descriptor in descriptors {
            let length = u16::try_from(descriptor.data.len()).expect("a descriptor is short");
            bytes.extend([descriptor.kind, descriptor.authenticated & 0x07]);
            bytes.extend(length.to_be_bytes());
            bytes.extend(&descriptor.data);
        }
    }
}
