//! Append-only mode: a drive that refuses to write over anything, whatever a program tells it.

use crate::{
    drive::{answer::DriveError, handle::Drive},
    scsi::{
        cdb::{Command, Overwrite},
        mode::page::{DeviceConfigurationExtension, Page},
    },
    transport::Transfer,
};

impl Drive {
    /// Has the drive write at end of data alone until the cartridge is unloaded, if it can. The tape
    /// has to stand at the beginning (SSC, Device Configuration Extension mode page, WRITE MODE).
    /// `false` when the drive has no such mode.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn forbid_overwriting(&mut self) -> Result<bool, DriveError> {
        self.append_only = None;
        if self.is_append_only()? {
            return Ok(true);
        }
        // What was given up has to be written over: without that command the mode would be a trap.
        if !self.abilities.allow_overwrite {
            return Ok(false);
        }
        let (code, subpage) =
            (DeviceConfigurationExtension::CODE, DeviceConfigurationExtension::SUBPAGE);
        let Some(mut list) = self.mode_sense(code, subpage)? else { return Ok(false) };
        let Some(mut page) = list.get::<DeviceConfigurationExtension>() else { return Ok(false) };
        page.forbid_overwriting();
        list.set(&page);
        match self.mode_select(&mut list) {
            Ok(()) | Err(DriveError::Unsupported(_)) => {}
            Err(error) => return Err(error),
        }
        self.append_only = None;
        self.is_append_only()
    }

    /// Allows the next write to write over what stands where the tape stands, which must be known:
    /// the drive refuses if it stands elsewhere. Nothing to allow where the mode is off.
    ///
    /// # Errors
    ///
    /// [`DriveError::PositionLost`] without sending anything when the position is not known.
    pub fn allow_overwriting_here(&mut self) -> Result<(), DriveError> {
        if !self.is_append_only()? {
            return Ok(());
        }
        let object = self.next.map_or(0, |object| object.0);
        let what = Overwrite::CurrentPosition;
        let command = Command::AllowOverwrite { what, partition: 0, object };
        self.issue_onto(&command, Transfer::None)?;
        Ok(())
    }

    /// Whether the mode is on; asked once.
    fn is_append_only(&mut self) -> Result<bool, DriveError> {
        if let Some(known) = self.append_only {
            return Ok(known);
        }
        let page = self.mode_page::<DeviceConfigurationExtension>()?;
        let known = page.is_some_and(|page| page.is_append_only());
        self.append_only = Some(known);
        Ok(known)
    }
}
