//! Persistent reservations: what PERSISTENT RESERVE IN and OUT carry.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    big_endian::{U32, U64},
};

/// The reservation type that this program takes: exclusive access, so that no other initiator
/// may even read (SPC, Persistent reservation type codes, 3h).
pub const EXCLUSIVE_ACCESS: u8 = 0x03;

/// What PERSISTENT RESERVE OUT is sent (SPC, PERSISTENT RESERVE OUT parameter list).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveParameters {
    /// The key this initiator is registered under; 0 for none.
    pub key: u64,
    /// The key to register, or whose registrant to preempt.
    pub action_key: u64,
    /// Whether the reservation survives a loss of power.
    pub persist_through_power_loss: bool,
}

/// The reply to READ KEYS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Counts registrations and preemptions.
    pub generation: u32,
    /// Every registered key.
    pub keys: Vec<u64>,
}

/// The reply to READ RESERVATION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Counts registrations and preemptions.
    pub generation: u32,
    /// Key of the holder and reservation type; `None` when nobody holds one.
    pub holder: Option<(u64, u8)>,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ParameterList {
    key: U64,
    action_key: U64,
    _obsolete: [u8; 4],
    /// Bit 0 is APTPL.
    flags: u8,
    _reserved: [u8; 3],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    generation: U32,
    length: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Holder {
    key: U64,
    _obsolete: [u8; 4],
    _reserved: u8,
    scope_and_kind: u8,
    _obsolete_too: [u8; 2],
}

const _: () = assert!(size_of::<ParameterList>() == ReserveParameters::LENGTH);
const _: () = assert!(size_of::<Header>() == 8);
const _: () = assert!(size_of::<Holder>() == 16);

impl ReserveParameters {
    /// Bytes of the parameter list.
    pub const LENGTH: usize = 24;

    /// Reads a parameter list; `None` when it is cut short.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (list, _) = ParameterList::read_from_prefix(bytes).ok()?;
        Some(Self {
            key: list.key.get(),
            action_key: list.action_key.get(),
            persist_through_power_loss: list.flags & 1 != 0,
        })
    }

    /// The parameter list.
    pub fn encode(&self) -> Vec<u8> {
        let list = ParameterList {
            key: self.key.into(),
            action_key: self.action_key.into(),
            _obsolete: [0; 4],
            flags: u8::from(self.persist_through_power_loss),
            _reserved: [0; 3],
        };
        list.as_bytes().to_vec()
    }
}

impl Keys {
    /// Reads a reply, as many keys as it holds whole; `None` when its header is cut short.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = Header::read_from_prefix(bytes).ok()?;
        let length = usize::try_from(header.length.get()).unwrap_or(usize::MAX);
        let (keys, _) = rest[..length.min(rest.len())].as_chunks::<8>();
        let keys = keys.iter().map(|key| u64::from_be_bytes(*key)).collect();
        Some(Self { generation: header.generation.get(), keys })
    }

    /// The reply.
    pub fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.keys.len() * 8).expect("few initiators register");
        let header = Header { generation: self.generation.into(), length: length.into() };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(self.keys.iter().flat_map(|key| key.to_be_bytes()));
        bytes
    }
}

impl Reservation {
    /// Reads a reply; `None` when it is cut short.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = Header::read_from_prefix(bytes).ok()?;
        let holder = if header.length.get() == 0 {
            None
        } else {
            let (holder, _) = Holder::read_from_prefix(rest).ok()?;
            Some((holder.key.get(), holder.scope_and_kind & 0x0F))
        };
        Some(Self { generation: header.generation.get(), holder })
    }

    /// The reply.
    pub fn encode(&self) -> Vec<u8> {
        let length = if self.holder.is_some() { 16 } else { 0 };
        let header = Header { generation: self.generation.into(), length: length.into() };
        let mut bytes = header.as_bytes().to_vec();
        if let Some((key, kind)) = self.holder {
            let holder = Holder {
                key: key.into(),
                _obsolete: [0; 4],
                _reserved: 0,
                scope_and_kind: kind & 0x0F,
                _obsolete_too: [0; 2],
            };
            bytes.extend(holder.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_have_the_bytes_of_the_standard() {
        let parameters =
            ReserveParameters { key: 0x0102, action_key: 3, persist_through_power_loss: true };
        let bytes = [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(parameters.encode(), bytes);
        let held = Reservation { generation: 7, holder: Some((0x0A0B, EXCLUSIVE_ACCESS)) };
        let bytes = [0, 0, 0, 7, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0x0A, 0x0B, 0, 0, 0, 0, 0, 3, 0, 0];
        assert_eq!(held.encode(), bytes);
        assert_eq!(Reservation::decode(&bytes), Some(held));
        let keys = Keys { generation: 1, keys: vec![1, 2] };
        let bytes = [0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
        assert_eq!(keys.encode(), bytes);
        assert_eq!(Keys::decode(&bytes[..20]).unwrap().keys, [1]);
    }

    proptest! {
        #[test]
        fn what_decodes_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(parameters) = ReserveParameters::decode(&bytes) {
                prop_assert_eq!(ReserveParameters::decode(&parameters.encode()), Some(parameters));
            }
            if let Some(keys) = Keys::decode(&bytes) {
                prop_assert_eq!(Keys::decode(&keys.encode()), Some(keys));
            }
            if let Some(held) = Reservation::decode(&bytes) {
                prop_assert_eq!(Reservation::decode(&held.encode()), Some(held));
            }
        }
    }
}
