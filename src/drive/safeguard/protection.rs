//! Logical block protection: turning it on and off, and blocks with their guards.

use tracing::info;

use crate::{
    drive::{
        answer::DriveError,
        data::{ReadOutcome, Written},
        handle::Drive,
    },
    position::ObjectNumber,
    scsi::{
        density::Generation,
        inquiry::vpd,
        mode::page::{DataProtection, Page},
        protection::{GUARD, Guard, Method, Offer},
    },
};

impl DataProtection {
    const BOTH_WAYS: u8 = 0xC0;
    const FLAGS: u8 = 0xE0;

    fn of(method: Option<Method>) -> (u8, u8, u8) {
        match method {
            Some(method) => (method.code(), u8::try_from(GUARD).expect("four"), Self::BOTH_WAYS),
            None => (0, 0, 0),
        }
    }

    /// Whether exactly this is set. What the length says does not matter while nothing is.
    fn is(&self, method: Option<Method>) -> bool {
        let (code, length, flags) = Self::of(method);
        self.method == code
            && self.flags & Self::FLAGS == flags
            && (method.is_none() || self.length & 0x3F == length)
    }
}

impl Drive {
    /// The methods by which this drive protects blocks both ways, the best first; none when it
    /// cannot.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn protection_methods(&mut self) -> Result<Vec<Method>, DriveError> {
        if let Some(methods) = &self.abilities.protection {
            return Ok(methods.clone());
        }
        let has_page = self.mode_page::<DataProtection>()?.is_some();
        let mut methods = match self.vital_page(vpd::BLOCK_PROTECTION)? {
            _ if !has_page => Vec::new(),
            Some(page) => Offer::decode_all(&page.body)
                .into_iter()
                .filter(|offer| offer.on_write && offer.on_read)
                .filter(|offer| usize::from(offer.length) == GUARD)
                .filter_map(|offer| Method::from_code(offer.method))
                .collect(),
            // Drives older than the page.
            None => match self.identity.generation {
                Some(Generation::Lto5 | Generation::Lto6) => vec![Method::ReedSolomon],
                Some(_) | None => Vec::new(),
            },
        };
        methods.sort_by_key(|method| std::cmp::Reverse(method.code()));
        methods.dedup();
        self.abilities.protection = Some(methods.clone());
        Ok(methods)
    }

    /// The function that makes what goes behind each block; `None` while protection is off.
    pub fn guard(&self) -> Option<Guard> {
        self.standing.protection.map(Method::guard)
    }

    /// How blocks are protected; `None` while they are not.
    pub fn protection(&self) -> Option<Method> {
        self.standing.protection
    }

    pub(super) fn set_protection(&mut self, method: Option<Method>) -> Result<(), DriveError> {
        let list = self.mode_sense(DataProtection::CODE, DataProtection::SUBPAGE)?;
        let page = list.as_ref().and_then(|list| list.get::<DataProtection>());
        let (Some(mut list), Some(mut page)) = (list, page) else {
            if method.is_none() {
                return Ok(());
            }
            let detail = Some("the drive has no logical block protection");
            return Err(DriveError::Unsupported(self.fault("MODE SENSE(10)", None, detail)));
        };
        if page.is(method) {
            return Ok(());
        }
        (page.method, page.length, page.flags) = DataProtection::of(method);
        list.set(&page);
        self.mode_select(&mut list)?;
        if !self.protection_is(method)? {
            let detail = Some("logical block protection does not stay as it was set");
            return Err(DriveError::Hardware(self.fault("MODE SELECT(10)", None, detail)));
        }
        info!(drive = self.name, method = method.map_or("none", Method::name), "block protection");
        Ok(())
    }

    /// Sets again what is to be set, unless that is not known any more.
    pub(in crate::drive) fn keep_protection(&mut self) -> Result<(), DriveError> {
        self.rely()?;
        self.set_protection(self.standing.protection)
    }

    pub(super) fn protection_stands(&mut self) -> Result<bool, DriveError> {
        match self.standing.protection {
            Some(method) => self.protection_is(Some(method)),
            None => Ok(true),
        }
    }

    fn protection_is(&mut self, method: Option<Method>) -> Result<bool, DriveError> {
        let page = self.mode_page::<DataProtection>()?;
        Ok(page.is_some_and(|page| page.is(method)))
    }

    /// Writes one block that has its guard behind it already, made by [`Drive::guard`]; without
    /// protection there is none.
    ///
    /// # Errors
    ///
    /// As [`Drive::write_block`].
    pub fn write_guarded(&mut self, guarded: &[u8]) -> Result<Written, DriveError> {
        self.write_as_is(guarded)
    }

    /// Writes a block, with its guard if protection is on.
    pub(in crate::drive) fn write_with_guard(
        &mut self,
        block: &[u8],
    ) -> Result<Written, DriveError> {
        let Some(method) = self.standing.protection else { return self.write_as_is(block) };
        let mut bounce = std::mem::take(&mut self.standing.bounce);
        bounce.clear();
        bounce.extend_from_slice(block);
        bounce.extend(method.guard()(block));
        let written = self.write_as_is(&bounce);
        self.standing.bounce = bounce;
        written
    }

    /// Reads a block into a buffer that has [`GUARD`] bytes more than the longest block that is
    /// looked for, so that no protected block has to be copied.
    ///
    /// # Errors
    ///
    /// As [`Drive::read_block`].
    ///
    /// # Panics
    ///
    /// When the buffer is shorter than a guard.
    pub fn read_guarded(&mut self, buffer: &mut [u8]) -> Result<ReadOutcome, DriveError> {
        let Some(method) = self.standing.protection else {
            let room = buffer.len() - GUARD;
            return self.read_as_is(&mut buffer[..room]);
        };
        let object = self.next;
        let longest = usize::try_from(self.max_transfer()).unwrap_or(usize::MAX);
        let room = buffer.len().min(longest);
        let buffer = &mut buffer[..room];
        match self.read_as_is(buffer)? {
            ReadOutcome::Block(bytes) => match method.checked(&buffer[..bytes]) {
                Some(block) => Ok(ReadOutcome::Block(block.len())),
                None => Err(self.damaged(object)),
            },
            ReadOutcome::LongBlock { bytes } => {
                Ok(ReadOutcome::LongBlock { bytes: bytes.saturating_sub(GUARD) })
            }
            outcome @ (ReadOutcome::Filemark | ReadOutcome::EndOfData) => Ok(outcome),
        }
    }

    /// Reads a block into a buffer without room for its guard.
    pub(in crate::drive) fn read_without_guard(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<ReadOutcome, DriveError> {
        if self.standing.protection.is_none() {
            return self.read_as_is(buffer);
        }
        let mut bounce = std::mem::take(&mut self.standing.bounce);
        bounce.resize(buffer.len() + GUARD, 0);
        let outcome = self.read_guarded(&mut bounce);
        match &outcome {
            Ok(ReadOutcome::Block(bytes)) => buffer[..*bytes].copy_from_slice(&bounce[..*bytes]),
            Ok(ReadOutcome::LongBlock { .. }) => {
                let length = buffer.len();
                buffer.copy_from_slice(&bounce[..length]);
            }
            Ok(ReadOutcome::Filemark | ReadOutcome::EndOfData) | Err(_) => {}
        }
        self.standing.bounce = bounce;
        outcome
    }

    /// The error of a block that came with a wrong guard. The tape stands behind it.
    fn damaged(&self, object: Option<ObjectNumber>) -> DriveError {
        let detail = Some("the CRC that came with the block is not the block's");
        let mut fault = self.fault("READ(6)", None, detail);
        fault.object = object;
        DriveError::Damaged(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protection_is_told_by_method_length_and_both_flags() {
        let page = |method, length, flags| DataProtection {
            method,
            length,
            flags,
            ..DataProtection::default()
        };
        let crc = Some(Method::Crc32c);
        for (page, wanted, expected) in [
            (page(0, 0, 0), None, true),
            // What drives say that keep their length while protection is off.
            (page(0, 4, 0), None, true),
            (page(2, 4, 0xC0), None, false),
            (page(0, 0, 0x80), None, false),
            (page(2, 4, 0xC0), crc, true),
            (page(2, 4, 0x80), crc, false),
            (page(2, 4, 0xE0), crc, false),
            (page(1, 4, 0xC0), crc, false),
            (page(2, 0, 0xC0), crc, false),
        ] {
            assert_eq!(page.is(wanted), expected, "{page:?} {wanted:?}");
        }
    }
}
