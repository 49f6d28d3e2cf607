//! What keeps blocks safe beyond the drive's own error correction: their CRC on the way, and a key.
//!
//! Both are settings that a reset, a cartridge change or another program takes away without a word
//! in the reply to the next WRITE. So once one of those may have happened, blocks are neither
//! written nor read until all was set again.

mod encryption;
mod protection;

pub use encryption::{BlockKey, Encryption, KeyInDrive, NamedKey};

use crate::{
    drive::{answer::DriveError, handle::Drive},
    scsi::protection::Method,
};

/// What a session wants to be set. Nothing, by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Safeguards<'a> {
    /// How blocks are protected on the way to and from the drive.
    pub protection: Option<Method>,
    /// The key that the drive encrypts with.
    pub key: Option<NamedKey<'a>>,
}

/// What was set.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) protection: Option<Method>,
    /// The name of the key.
    pub(super) key: Option<String>,
    /// Whether any of it may be gone.
    pub(super) doubtful: bool,
    /// A block with its guard, where the caller's own buffer has no room for that.
    pub(super) bounce: Vec<u8>,
}

impl Standing {
    /// Notes that a reset or another program may have changed what was set.
    pub(super) fn doubt(&mut self) {
        self.doubtful |= self.is_any();
    }

    fn is_any(&self) -> bool {
        self.protection.is_some() || self.key.is_some()
    }
}

impl Drive {
    /// Sets exactly these safeguards, takes away all others, and asks the drive whether they stand.
    /// A cartridge has to be loaded.
    ///
    /// # Errors
    ///
    /// [`DriveError::Unsupported`] when the drive has no such method, cannot encrypt, or has its
    /// keys from the library; [`DriveError::Hardware`] when a setting does not stay.
    pub fn safeguard(&mut self, wanted: &Safeguards<'_>) -> Result<(), DriveError> {
        // Until all is set, nothing of it can be relied on.
        self.standing.doubtful = true;
        self.set_protection(wanted.protection)?;
        match wanted.key {
            Some(key) => self.set_key(key)?,
            None => self.take_key_away()?,
        }
        self.standing.protection = wanted.protection;
        self.standing.key = wanted.key.map(|key| key.name.to_owned());
        self.standing.doubtful = false;
        Ok(())
    }

    /// Asks the drive whether what was set stands, before anything relies on it.
    ///
    /// # Errors
    ///
    /// [`DriveError::PositionLost`] when it does not, or may not: set it again.
    pub fn hold_safeguards(&mut self) -> Result<(), DriveError> {
        self.rely()?;
        let stands = self.protection_stands()? && self.key_stands()?;
        if !stands {
            self.standing.doubtful = true;
        }
        self.rely()
    }

    /// Takes all safeguards away before the cartridge or the drive is given up. What fails at that
    /// is no reason to keep either: the drive forgets a key with the cartridge in any case.
    pub(super) fn lower_safeguards(&mut self) {
        if !self.standing.is_any() && !self.standing.doubtful {
            return;
        }
        let mut lowered = self.safeguard(&Safeguards::default());
        // What happened in between is told once, and then it can be done.
        for _ in 0..LOWER_TRIES {
            if let Err(DriveError::PositionLost(_)) = lowered {
                lowered = self.safeguard(&Safeguards::default());
            }
        }
        if let Err(error) = lowered {
            tracing::warn!(drive = self.name, %error, "protection or key could not be taken away");
            self.standing = Standing::default();
        }
    }

    /// Refuses to move data while it is not known how the drive would treat them.
    pub(super) fn rely(&mut self) -> Result<(), DriveError> {
        if !self.standing.doubtful {
            return Ok(());
        }
        let detail = Some("block protection and key may have been reset: set them again");
        Err(DriveError::PositionLost(self.fault("safeguards", None, detail)))
    }
}

/// Unit attentions that taking the safeguards away may meet.
const LOWER_TRIES: usize = 8;
