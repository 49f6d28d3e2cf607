//! Settings that a session needs. A crash leaves others' and our own behind, so all are read and
//! set at each opening.

use tracing::{debug, info};

use crate::{
    drive::{answer::DriveError, handle::Drive},
    scsi::{
        cdb::{Command, U24},
        limits::BlockLimits,
        mode::{
            Parameters,
            page::{Compression, DeviceConfigurationExtension, Page},
        },
        protection::GUARD,
    },
    transport::Transfer,
    unit::ByteCount,
};

/// Buffered mode in which the drive's buffer takes a write (SSC, Mode parameter header).
const BUFFERED: u8 = 1;

/// What a session wants of the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparation {
    /// The longest block that it writes or reads, in bytes.
    pub block_size: u32,
    /// How far before early warning the drive says so, to the MB; 0 turns it off.
    pub early_warning: ByteCount,
}

impl Drive {
    /// Sets variable blocks, buffering, compression, programmable early warning, keeps the cartridge
    /// in, and holds the reservation, which a power loss may have ended. Reads back what must hold. Block protection is as [`Drive::safeguard`] set it:
    /// what another program left on would add four bytes to each block.
    ///
    /// # Errors
    ///
    /// [`DriveError::Unsupported`] when drive or host adapter do not take blocks this long;
    /// [`DriveError::Hardware`] when a setting does not stay.
    pub fn prepare(&mut self, wanted: &Preparation) -> Result<(), DriveError> {
        self.check_block_size(wanted.block_size)?;
        self.set_blocks()?;
        self.set_early_warning(wanted.early_warning)?;
        self.keep_protection()?;
        self.prevent_removal()?;
        self.keep_reservation()?;
        let position = self.position()?;
        debug!(drive = self.name, ?wanted, ?position, "prepared");
        Ok(())
    }

    /// The longest block that drive and host adapter take, in bytes.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn longest_block(&mut self) -> Result<u32, DriveError> {
        let longest = match self.block_limits()?.longest.get() {
            0 => U24::MAX.get(),
            longest => longest,
        };
        Ok(longest.min(self.max_transfer()))
    }

    pub(in crate::drive) fn block_limits(&mut self) -> Result<BlockLimits, DriveError> {
        let command = Command::ReadBlockLimits;
        let data = self.fetch(&command, BlockLimits::LENGTH)?;
        BlockLimits::decode(&data).ok_or_else(|| self.garbled(&command))
    }

    fn check_block_size(&mut self, block_size: u32) -> Result<(), DriveError> {
        let guard = if self.protection().is_some() { GUARD } else { 0 };
        let block_size = block_size.saturating_add(u32::try_from(guard).expect("four"));
        let detail = if block_size > self.max_transfer() {
            "the host adapter does not take blocks of this size"
        } else if !self.block_limits()?.allow(block_size) {
            "the drive does not take blocks of this size"
        } else {
            return Ok(());
        };
        Err(DriveError::Unsupported(self.fault("READ BLOCK LIMITS", None, Some(detail))))
    }

    fn set_blocks(&mut self) -> Result<(), DriveError> {
        let with_compression = self.mode_sense(Compression::CODE, None)?;
        let list = match with_compression {
            Some(list) => Some(list),
            None => self.mode_sense(0, None)?,
        };
        let Some(mut list) = list else { return Ok(()) };
        list.header.buffered = BUFFERED;
        if let Some(block) = &mut list.block {
            block.blocks = U24::default();
            block.block_length = U24::default();
        }
        if let Some(mut page) = list.get::<Compression>()
            && page.is_capable()
        {
            page.enable(true);
            list.set(&page);
        }
        self.mode_select(&mut list)?;
        let Some(now) = self.mode_sense(list.pages.first().map_or(0, |page| page.code), None)?
        else {
            return Ok(());
        };
        let variable = now.block.is_none_or(|block| block.block_length == U24::default());
        let compresses =
            now.get::<Compression>().is_none_or(|page| !page.is_capable() || page.is_enabled());
        let detail = match (variable, now.header.buffered == BUFFERED, compresses) {
            (true, true, true) => return Ok(()),
            (false, _, _) => "variable blocks do not stay set",
            (_, false, _) => "buffered mode does not stay set",
            (_, _, false) => "compression does not stay set",
        };
        Err(DriveError::Hardware(self.fault("MODE SELECT(10)", None, Some(detail))))
    }

    /// Drives without the page have early warning alone.
    fn set_early_warning(&mut self, distance: ByteCount) -> Result<(), DriveError> {
        let code = DeviceConfigurationExtension::CODE;
        let subpage = DeviceConfigurationExtension::SUBPAGE;
        let Some(mut list) = self.mode_sense(code, subpage)? else { return Ok(()) };
        let Some(mut page) = list.get::<DeviceConfigurationExtension>() else { return Ok(()) };
        let megabytes = u16::try_from(distance.0.div_ceil(1_000_000)).unwrap_or(u16::MAX);
        if page.early_warning_megabytes.get() == megabytes {
            return Ok(());
        }
        page.early_warning_megabytes = megabytes.into();
        list.set(&page);
        self.mode_select(&mut list)?;
        let now = self.mode_page::<DeviceConfigurationExtension>()?;
        if now.is_some_and(|page| page.early_warning_megabytes.get() != megabytes) {
            info!(drive = self.name, megabytes, "the drive rounds programmable early warning");
        }
        Ok(())
    }

    pub(in crate::drive) fn mode_select(
        &mut self,
        list: &mut Parameters,
    ) -> Result<(), DriveError> {
        for page in &mut list.pages {
            page.savable = false;
        }
        let data = list.encode_select_10();
        let length = u16::try_from(data.len()).expect("one page is under 300 bytes");
        let command = Command::ModeSelect10 { page_format: true, save: false, length };
        self.issue(&command, Transfer::ToDevice(&data))?;
        Ok(())
    }
}
