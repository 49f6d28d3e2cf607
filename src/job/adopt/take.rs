//! Taking the cartridge that is in the drive into the catalog.

use crate::{
    ident::Barcode,
    job::{JobError, adopt::Adoption, mam, mount::Recognised},
    media::Volume,
};

/// What the cartridge in the drive turned out to be.
pub(in crate::job) enum Taken {
    /// A volume, and all that is on it is in the catalog now.
    Volume(Box<Volume>),
    Blank(Option<Barcode>),
    /// Something that is to be left alone, and why.
    Alien(Box<JobError>),
}

impl Adoption<'_> {
    /// Identifies the cartridge in the drive and takes in what is on it.
    ///
    /// # Errors
    ///
    /// When the drive or the catalog fail, or the key of the volume is missing.
    pub(in crate::job) fn take_here(&mut self) -> Result<Taken, JobError> {
        let volume = match self.station.recognise_here(self.catalog)? {
            Recognised::Known(mounted) => {
                mam::tell(self.desk, mounted.volume.volser, mounted.doubt.as_deref());
                self.station.open_up(&mounted.label)?;
                self.settle_end(mounted.volume)?
            }
            Recognised::Unknown(label, digest, medium) => {
                self.station.open_up(&label)?;
                self.volume(*label, digest, *medium)?.volume
            }
            Recognised::Blank(_, barcode) => return Ok(Taken::Blank(barcode)),
            Recognised::Alien(error) => return Ok(Taken::Alien(error)),
        };
        Ok(Taken::Volume(Box::new(volume)))
    }
}
