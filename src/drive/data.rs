//! Blocks and filemarks: what a session writes and reads.

use crate::{
    drive::{
        answer::{DriveError, read_outcome, written},
        handle::{Drive, Reply},
    },
    position::{ObjectNumber, Position},
    scsi::{
        cdb::{Command, PositionForm, U24},
        position::{Extended, Short},
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
    /// bad object to go on.
    pub fn read_block(&mut self, buffer: &mut [u8]) -> Result<ReadOutcome, DriveError> {
        let asked = buffer.len().min(U24::MAX.get() as usize);
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
                let unknown = reply.flags.objects_unknown
                    || reply.flags.bytes_unknown
                    || reply.flags.position_unknown;
                let empty = reply.objects == 0 && reply.bytes == 0 && reply.first == reply.last;
                return self.held(&command, unknown, empty);
            }
        }
        let command = Command::ReadPosition { form: PositionForm::Short, allocation: 0 };
        let data = self.fetch(&command, Short::LENGTH)?;
        let reply = Short::decode(&data).ok_or_else(|| self.garbled(&command))?;
        let unknown = reply.flags.objects_unknown
            || reply.flags.bytes_unknown
            || reply.flags.position_unknown;
        self.held(&command, unknown, reply.objects == 0 && reply.bytes == 0)
    }

    fn held(&mut self, command: &Command, unknown: bool, empty: bool) -> Result<(), DriveError> {
        if !unknown && empty {
            return Ok(());
        }
        let detail = if unknown {
            "the drive does not know what its buffer holds"
        } else {
            "the buffer is not empty after a flush"
        };
        let fault = self.fault(command.name(), None, Some(detail));
        self.next = None;
        Err(if unknown { DriveError::PositionLost(fault) } else { DriveError::Deferred(fault) })
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
