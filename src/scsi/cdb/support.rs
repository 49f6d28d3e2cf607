//! REPORT SUPPORTED OPERATION CODES: which commands a device knows, and how long each may take.

use std::time::Duration;

/// Bytes of a timeouts descriptor with its length field.
const TIMEOUTS_LENGTH: usize = 12;
/// Commands that a reply may hold at most, whatever its bytes say.
const COMMANDS_LIMIT: usize = 4096;

/// One command that a device knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supported {
    /// Operation code.
    pub opcode: u8,
    /// Service action, of a command that has them.
    pub action: Option<u16>,
    /// Bytes of its command block.
    pub length: u16,
    /// How long it may take.
    pub timeouts: Option<Timeouts>,
}

/// How long a command may take, in whole seconds; zero when the device does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// As a rule.
    pub nominal: Duration,
    /// What to wait before giving up.
    pub recommended: Duration,
}

impl Timeouts {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<TIMEOUTS_LENGTH>()?;
        let seconds = |at: usize| {
            let field = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            Duration::from_secs(u64::from(u32::from_be_bytes(field)))
        };
        Some(Self { nominal: seconds(4), recommended: seconds(8) })
    }

    fn encode(self) -> [u8; TIMEOUTS_LENGTH] {
        let field = |duration: Duration| {
            u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).to_be_bytes()
        };
        let [a, b, c, d] = field(self.nominal);
        let [e, f, g, h] = field(self.recommended);
        [0, 0x0A, 0, 0, a, b, c, d, e, f, g, h]
    }
}

/// Reads the reply that lists all commands, as many as are whole; `None` when the header is cut
/// short (SPC, All_commands parameter data format).
pub fn decode_all(bytes: &[u8]) -> Option<Vec<Supported>> {
    let (header, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
    let mut rest = &rest[..length.min(rest.len())];
    let mut commands = Vec::new();
    while commands.len() < COMMANDS_LIMIT
        && let Some((&[opcode, _, a, b, _, flags, c, d], after)) = rest.split_first_chunk::<8>()
    {
        let timed = flags & 0x02 != 0;
        let timeouts = Timeouts::decode(after).filter(|_| timed);
        commands.push(Supported {
            opcode,
            action: (flags & 0x01 != 0).then_some(u16::from_be_bytes([a, b])),
            length: u16::from_be_bytes([c, d]),
            timeouts,
        });
        rest = if timed { after.get(TIMEOUTS_LENGTH..).unwrap_or(&[]) } else { after };
    }
    Some(commands)
}

/// The reply that lists all commands.
pub fn encode_all(commands: &[Supported]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for command in commands {
        let [a, b] = command.action.unwrap_or(0).to_be_bytes();
        let [c, d] = command.length.to_be_bytes();
        let flags =
            (u8::from(command.timeouts.is_some()) << 1) | u8::from(command.action.is_some());
        bytes.extend([command.opcode, 0, a, b, 0, flags, c, d]);
        bytes.extend(command.timeouts.iter().flat_map(|timeouts| timeouts.encode()));
    }
    let length = u32::try_from(bytes.len() - 4).expect("there are few commands");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// The reply about one command: whether it is supported, and the bits of its block that are
/// (SPC, One_command parameter data format).
pub fn encode_one(usage: Option<&[u8]>, timeouts: Option<Timeouts>) -> Vec<u8> {
    let Some(usage) = usage else { return vec![0, 0x01, 0, 0] };
    let length = u16::try_from(usage.len()).expect("a command block is at most 16 bytes");
    let [high, low] = length.to_be_bytes();
    let mut bytes = vec![0, (u8::from(timeouts.is_some()) << 7) | 0x03, high, low];
    bytes.extend(usage);
    bytes.extend(timeouts.iter().flat_map(|timeouts| timeouts.encode()));
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reply_has_the_bytes_of_the_standard() {
        let timeouts =
            Timeouts { nominal: Duration::from_secs(60), recommended: Duration::from_secs(0x0110) };
        let commands = [
            Supported { opcode: 0x0A, action: None, length: 6, timeouts: Some(timeouts) },
            Supported { opcode: 0xA3, action: Some(0x0C), length: 12, timeouts: None },
        ];
        let bytes = [
            0, 0, 0, 28, // length
            0x0A, 0, 0, 0, 0, 0x02, 0, 6, // WRITE(6)
            0, 0x0A, 0, 0, 0, 0, 0, 60, 0, 0, 1, 0x10, // its timeouts
            0xA3, 0, 0, 0x0C, 0, 0x01, 0, 12,
        ];
        assert_eq!(encode_all(&commands), bytes);
        assert_eq!(decode_all(&bytes).unwrap(), commands);
        assert_eq!(encode_one(None, None), [0, 1, 0, 0]);
        assert_eq!(encode_one(Some(&[0x1B, 1]), None), [0, 3, 0, 2, 0x1B, 1]);
    }

    proptest! {
        #[test]
        fn what_decodes_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            if let Some(mut commands) = decode_all(&bytes) {
                prop_assert_eq!(decode_all(&encode_all(&commands)), Some(commands.clone()));
                commands.clear();
                prop_assert_eq!(decode_all(&encode_all(&commands)), Some(commands));
            }
        }
    }
}
