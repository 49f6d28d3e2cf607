//! Blocks and filemarks: what a session writes and reads.

use crate::{
    drive::{
        answer::{DriveError, read_outcome, written},
        handle::{Drive, Reply},
    },
    position::{ObjectNumber, Position},
    scsi::{
        cdb::{Command, PositionForm, U24},
        position::{Extended, Flags, Short},
    },
    transport::Transfer,
};

/// How an object was written. It landed in the buffer in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Room remains.
    Clear,
    /// Past programmable early warning: finish what fits, then close the volume.
    ProgrammableEarlyWarning,
    /// Past early warning: close the volume now.
    EarlyWarning,
}

/// What a read met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// A block of this many bytes, at the front of the buffer.
    Block(usize),
    /// A block longer than the buffer. The tape stands behind it; what the buffer holds is its
    /// beginning.
    LongBlock {
        /// How long it is.
        bytes: usize,
    },
    /// A filemark. The tape stands behind it.
    Filemark,
    /// End of data. The tape stands there still.
    EndOfData,
}

/// When a filemark is on the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filemark {
    /// Some time later; it only orders what is buffered.
    Immediate,
    /// With everything before it, when the call returns.
    Synchronous,
}

impl Drive {
    /// Writes one block of any length that the drive takes. It is in the drive's buffer afterwards,
    /// not on the medium: see [`Drive::flush`].
    ///
    /// # Errors
    ///
    /// [`DriveError::PositionLost`] without sending anything when the position is not known;
    /// otherwise as each variant says. After [`DriveError::Deferred`] and
    /// [`DriveError::Medium`] anything since the last flush may be missing.
    pub fn write_block(&mut self, block: &[u8]) -> Result<Written, DriveError> {
        self.write_with_guard(block)
    }

    /// Sends one block as it is: with protection on, its guard is a part of it.
    pub(super) fn write_as_is(&mut self, block: &[u8]) -> Result<Written, DriveError> {
        self.rely()?;
        let command = match U24::try_from(block.len()) {
            Ok(length) if length > U24::default() => Command::Write6 { fixed: false, length },
            Ok(_) | Err(_) => {
                let detail = Some("a block has 1 to 16,777,215 bytes");
                return Err(DriveError::Unsupported(self.fault("WRITE(6)", None, detail)));
            }
        };
        let reply = self.issue_onto(&command, Transfer::ToDevice(block))?;
        self.advance();
        Ok(written(reply.sense))
    }

    /// Writes one filemark.
    ///
    /// # Errors
    ///
    /// As [`Drive::write_block`].
    pub fn write_filemark(&mut self, filemark: Filemark) -> Result<Written, DriveError> {
        let immediate = match filemark {
            Filemark::Immediate => true,
            Filemark::Synchronous => false,
        };
        let command = Command::WriteFilemarks6 { immediate, count: U24::from(1) };
        let reply = self.issue_onto(&command, Transfer::None)?;
        self.advance();
        Ok(written(reply.sense))
    }

    /// Writes the buffer to the medium, and makes sure of it: the buffer must be empty and the
    /// drive's position the one that was counted here.
    ///
    /// # Errors
    ///
    /// When anything since the last flush did not land. [`DriveError::Mismatch`] when the drive
    /// stands elsewhere than it was counted to.
    pub fn flush(&mut self) -> Result<Position, DriveError> {
        let command = Command::WriteFilemarks6 { immediate: false, count: U24::default() };
        self.issue_onto(&command, Transfer::None)?;
        self.check_buffer()?;
        let expected = self.next;
        let position = self.position()?;
        self.agree(expected, position)
    }

    /// Reads the next object. `buffer` must be as long as the longest block that is looked for.
    ///
    /// # Errors
    ///
    /// After [`DriveError::Medium`] the position is not known: ask for it, and locate behind the
    /// bad object to go on. After [`DriveError::Damaged`] the tape stands behind the block.
    pub fn read_block(&mut self, buffer: &mut [u8]) -> Result<ReadOutcome, DriveError> {
        self.read_without_guard(buffer)
    }

    /// Reads the next object as it comes: with protection on, a block's guard is a part of it.
    pub(super) fn read_as_is(&mut self, buffer: &mut [u8]) -> Result<ReadOutcome, DriveError> {
        self.rely()?;
        // What the host adapter does not take is not asked for: a block that long is told as such.
        let longest = self.max_transfer().min(U24::MAX.get()) as usize;
        let asked = buffer.len().min(longest);
        let length = U24::try_from(asked).expect("cut to 24 bits");
        let command = Command::Read6 { fixed: false, suppress_length: false, length };
        let reply = self.issue(&command, Transfer::FromDevice(&mut buffer[..asked]))?;
        let outcome = read_outcome(reply.sense, asked, reply.moved);
        match outcome {
            ReadOutcome::Block(_) | ReadOutcome::LongBlock { .. } | ReadOutcome::Filemark => {
                self.advance();
            }
            ReadOutcome::EndOfData => (),
        }
        Ok(outcome)
    }

    /// Sends a command that puts something on the tape where it stands, which must be known.
    pub(super) fn issue_onto(
        &mut self,
        command: &Command,
        transfer: Transfer<'_>,
    ) -> Result<Reply, DriveError> {
        if self.next.is_none() {
            let detail = Some("the position was not asked for since the tape may have moved");
            return Err(DriveError::PositionLost(self.fault(command.name(), None, detail)));
        }
        self.issue(command, transfer)
    }

    fn advance(&mut self) {
        self.next = self.next.map(|object| object.after(1));
    }

    /// Holds the drive's buffer to be empty, by the extended form or, on drives without, the
    /// short one.
    fn check_buffer(&mut self) -> Result<(), DriveError> {
        if self.abilities.extended_position != Some(false) {
            let length = u16::try_from(Extended::LENGTH).expect("32");
            let command =
                Command::ReadPosition { form: PositionForm::Extended, allocation: length };
            let data = self.fetch_optional(&command, Extended::LENGTH)?;
            self.abilities.extended_position = Some(data.is_some());
            if let Some(data) = data {
                let reply = Extended::decode(&data).ok_or_else(|| self.garbled(&command))?;
                return self.hold(&command, Buffer::of_extended(&reply));
            }
        }
        let command = Command::ReadPosition { form: PositionForm::Short, allocation: 0 };
        let data = self.fetch(&command, Short::LENGTH)?;
        let reply = Short::decode(&data).ok_or_else(|| self.garbled(&command))?;
        self.hold(&command, Buffer::of_short(&reply))
    }

    fn hold(&mut self, command: &Command, buffer: Buffer) -> Result<(), DriveError> {
        let error = match buffer {
            Buffer::Empty => return Ok(()),
            Buffer::Unknown => {
                let detail = Some("the drive does not know what its buffer holds");
                DriveError::PositionLost(self.fault(command.name(), None, detail))
            }
            Buffer::Held => {
                let detail = Some("the buffer is not empty after a flush");
                DriveError::Deferred(self.fault(command.name(), None, detail))
            }
        };
        self.next = None;
        Err(error)
    }

    /// Holds the drive's position against what was expected, if anything was.
    pub(super) fn agree(
        &mut self,
        expected: Option<ObjectNumber>,
        position: Position,
    ) -> Result<Position, DriveError> {
        match expected {
            Some(expected) if expected != position.object => {
                let fault = self.fault("READ POSITION", None, None);
                self.next = None;
                Err(DriveError::Mismatch { expected, found: position.object, fault })
            }
            Some(_) | None => Ok(position),
        }
    }
}

/// What a drive says of its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Buffer {
    Empty,
    Held,
    Unknown,
}

impl Buffer {
    fn of_extended(reply: &Extended) -> Self {
        let same = reply.first == reply.last;
        Self::of(reply.flags, reply.objects == 0 && reply.bytes == 0 && same)
    }

    /// The numbers of objects stop at 32 bits here, so that they prove nothing.
    fn of_short(reply: &Short) -> Self {
        Self::of(reply.flags, reply.objects == 0 && reply.bytes == 0)
    }

    fn of(flags: Flags, empty: bool) -> Self {
        if flags.objects_unknown || flags.bytes_unknown || flags.position_unknown {
            return Self::Unknown;
        }
        if empty { Self::Empty } else { Self::Held }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_empty_only_when_every_number_is_known_and_says_so() {
        let empty = Extended { first: 9, last: 9, ..Extended::default() };
        let flags = Flags::default();
        for (reply, buffer) in [
            (empty, Buffer::Empty),
            (Extended { objects: 1, ..empty }, Buffer::Held),
            (Extended { bytes: 1, ..empty }, Buffer::Held),
            (Extended { last: 8, ..empty }, Buffer::Held),
            (
                Extended { flags: Flags { objects_unknown: true, ..flags }, ..empty },
                Buffer::Unknown,
            ),
            (Extended { flags: Flags { bytes_unknown: true, ..flags }, ..empty }, Buffer::Unknown),
            (
                Extended { flags: Flags { position_unknown: true, ..flags }, ..empty },
                Buffer::Unknown,
            ),
            (Extended { flags: Flags { early_warning: true, ..flags }, ..empty }, Buffer::Empty),
        ] {
            assert_eq!(Buffer::of_extended(&reply), buffer, "{reply:?}");
            let short = Short {
                flags: reply.flags,
                objects: reply.objects,
                bytes: u32::try_from(reply.bytes).unwrap(),
                ..Short::default()
            };
            if reply.first == reply.last {
                assert_eq!(Buffer::of_short(&short), buffer, "{short:?}");
            }
        }
    }
}
