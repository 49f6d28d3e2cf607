//! The cartridge's chip, read and written through the drive.

use tracing::warn;

use crate::{
    drive::{answer::DriveError, handle::Drive},
    scsi::{
        cdb::{AttributeAction, Command},
        mam::{self, Attribute},
        sense::{Code, Sense},
    },
    transport::Transfer,
};

/// What one READ ATTRIBUTE brings at most.
const ALLOCATION: u32 = 16_384;
/// Replies that one chip may take: 16 KiB is more than most hold.
const READS_LIMIT: u32 = 16;

impl Drive {
    /// One attribute of the first partition; `None` when the cartridge does not have it or its
    /// chip cannot be read.
    ///
    /// # Errors
    ///
    /// As for any question; a bad chip is no error, since the tape may be fine.
    pub fn mam_read(&mut self, id: u16) -> Result<Option<Attribute>, DriveError> {
        let attributes = self.attributes_from(id)?.unwrap_or_default();
        Ok(attributes.into_iter().find(|attribute| attribute.id == id))
    }

    /// Every attribute of the first partition; `None` when the chip cannot be read.
    ///
    /// # Errors
    ///
    /// As [`Drive::mam_read`].
    pub fn chip(&mut self) -> Result<Option<Vec<Attribute>>, DriveError> {
        let Some(mut all) = self.attributes_from(0)? else { return Ok(None) };
        for _ in 0..READS_LIMIT {
            let Some(last) = all.last().map(|attribute| attribute.id) else { break };
            let Some(next) = last.checked_add(1) else { break };
            let more = self.attributes_from(next)?.unwrap_or_default();
            // A drive that ignores the first identifier would go on for ever.
            let fresh: Vec<_> = more.into_iter().filter(|attribute| attribute.id > last).collect();
            if fresh.is_empty() {
                break;
            }
            all.extend(fresh);
        }
        Ok(Some(all))
    }

    /// Attributes from `first` on, as many as one reply holds.
    fn attributes_from(&mut self, first: u16) -> Result<Option<Vec<Attribute>>, DriveError> {
        let command = Command::ReadAttribute {
            action: AttributeAction::Values,
            partition: 0,
            first,
            allocation: ALLOCATION,
            cached: false,
        };
        match self.fetch(&command, ALLOCATION as usize) {
            Ok(data) => mam::decode(&data).ok_or_else(|| self.garbled(&command)).map(Some),
            // An identifier beyond the last is an invalid field to some drives.
            Err(DriveError::Unsupported(_)) if first > 0 => Ok(Some(Vec::new())),
            Err(DriveError::Unsupported(_)) => Ok(None),
            Err(DriveError::Medium(fault) | DriveError::NotReady(fault))
                if fault.sense.is_some_and(is_of_chip) =>
            {
                warn!(drive = self.name, %fault, "the cartridge's chip cannot be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes attributes of the host's to the chip. One without value is deleted.
    ///
    /// # Errors
    ///
    /// [`DriveError::Unsupported`] when the drive does not take them, [`DriveError::Medium`] when
    /// the chip is bad.
    pub fn mam_write(&mut self, attributes: &[Attribute]) -> Result<(), DriveError> {
        let mut attributes = attributes.to_vec();
        attributes.sort_by_key(|attribute| attribute.id);
        let data = mam::encode(&attributes);
        let length = u32::try_from(data.len()).expect("a chip holds a few KiB");
        let command = Command::WriteAttribute { write_through: true, partition: 0, length };
        let position = self.next;
        let result = self.issue(&command, Transfer::ToDevice(&data));
        match result {
            Ok(_) => Ok(()),
            Err(error) => {
                // A bad chip does not move the tape.
                if error.sense().is_some_and(is_of_chip) {
                    self.next = position;
                }
                Err(error)
            }
        }
    }
}

fn is_of_chip(sense: Sense) -> bool {
    sense.code == Code::AUXILIARY_MEMORY_INACCESSIBLE
        || sense.code == Code::AUXILIARY_MEMORY_READ_ERROR
        || sense.code == Code::AUXILIARY_MEMORY_WRITE_ERROR
}
