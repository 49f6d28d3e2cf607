//! Motion: where the tape stands and how it gets elsewhere.

use crate::{
    drive::{
        answer::{DriveError, Trouble},
        handle::Drive,
    },
    position::{ObjectNumber, Position},
    scsi::{
        cdb::{Command, LocateTarget, PositionForm, SpaceCode},
        position::Long,
        sense::Key,
    },
    transport::Transfer,
};

/// Where spacing over filemarks ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spaced {
    /// Why it ended.
    pub stop: SpaceStop,
    /// Where the tape stands now.
    pub position: Position,
}

/// Why spacing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceStop {
    /// All filemarks were passed.
    Done,
    /// End of data came first.
    EndOfData,
    /// The beginning came first.
    Beginning,
}

impl Drive {
    /// Where the tape stands for the host, what is buffered included (READ POSITION, long form).
    ///
    /// # Errors
    ///
    /// [`DriveError::PositionLost`] when the drive does not know.
    pub fn position(&mut self) -> Result<Position, DriveError> {
        let command = Command::ReadPosition { form: PositionForm::Long, allocation: 0 };
        let data = self.fetch(&command, Long::LENGTH)?;
        let long = Long::decode(&data).ok_or_else(|| self.garbled(&command))?;
        let Some(position) = long.position() else {
            return Err(self.trouble(Trouble::PositionLost, &command, None));
        };
        // Zeros throughout are what a lost reply looks like.
        if position.object == ObjectNumber(0) && !position.at_beginning {
            return Err(self.garbled(&command));
        }
        self.next = Some(position.object);
        Ok(position)
    }

    /// Moves the tape before object `target` of the current partition, and makes sure of it.
    ///
    /// # Errors
    ///
    /// [`DriveError::Mismatch`] when there is no such object: the tape then stands at end of data.
    pub fn locate(&mut self, target: ObjectNumber) -> Result<Position, DriveError> {
        self.next = None;
        let command = Command::Locate16 {
            immediate: false,
            partition: None,
            to: LocateTarget::Object(target.0),
        };
        let mut known = self.abilities.locate_16 != Some(false);
        if known {
            known = self.issue_optional(&command, Transfer::None)?.is_some();
            self.abilities.locate_16 = Some(known);
        }
        if !known {
            self.locate_10(target)?;
        }
        let position = self.position()?;
        self.agree(Some(target), position)
    }

    /// The same on drives that only know addresses of 32 bits.
    fn locate_10(&mut self, target: ObjectNumber) -> Result<(), DriveError> {
        let Ok(object) = u32::try_from(target.0) else {
            let detail = Some("the object number needs more than 32 bits");
            return Err(DriveError::Unsupported(self.fault("LOCATE(10)", None, detail)));
        };
        let command =
            Command::Locate10 { device_specific: false, immediate: false, object, partition: None };
        self.issue(&command, Transfer::None)?;
        Ok(())
    }

    /// Moves the tape to end of data.
    ///
    /// # Errors
    ///
    /// [`DriveError::EndOfDataMissing`] when there is none, as after a power loss.
    pub fn locate_end_of_data(&mut self) -> Result<Position, DriveError> {
        self.next = None;
        let command = Command::Space6 { code: SpaceCode::EndOfData, count: 0 };
        self.issue(&command, Transfer::None)?;
        self.position()
    }

    /// Moves over `count` filemarks: forward to behind the last, or, negative, back to before it.
    ///
    /// # Errors
    ///
    /// As for any motion. End of data and the beginning are outcomes.
    pub fn space_filemarks(&mut self, count: i32) -> Result<Spaced, DriveError> {
        self.next = None;
        let code = SpaceCode::Filemarks;
        let command = if (-0x80_0000..0x80_0000).contains(&count) {
            Command::Space6 { code, count }
        } else {
            Command::Space16 { code, count: i64::from(count) }
        };
        let reply = self.issue(&command, Transfer::None)?;
        let position = self.position()?;
        let stop = match reply.sense {
            Some(sense) if sense.key == Key::BlankCheck => SpaceStop::EndOfData,
            Some(sense) if sense.end_of_medium && count < 0 => SpaceStop::Beginning,
            Some(_) | None => SpaceStop::Done,
        };
        Ok(Spaced { stop, position })
    }

    /// Moves the tape to the beginning of the partition. What is buffered is written first.
    ///
    /// # Errors
    ///
    /// As for any motion, and for what could not be written.
    pub fn rewind(&mut self) -> Result<Position, DriveError> {
        self.next = None;
        self.issue(&Command::Rewind { immediate: false }, Transfer::None)?;
        let position = self.position()?;
        self.agree(Some(ObjectNumber(0)), position)
    }

    /// Writes end of data where the tape stands: what came after is gone (ERASE, short).
    ///
    /// # Errors
    ///
    /// As [`Drive::write_block`].
    pub fn erase_here(&mut self) -> Result<(), DriveError> {
        self.allow_overwriting_here()?;
        let command = Command::Erase6 { long: false, immediate: false };
        self.issue_onto(&command, Transfer::None)?;
        let expected = self.next;
        let position = self.position()?;
        self.agree(expected, position)?;
        Ok(())
    }
}
