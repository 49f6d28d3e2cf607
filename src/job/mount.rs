//! Which cartridge is in the drive, and bringing the right one there.

use std::{error::Error, time::Duration};

use crate::{
    catalog::{Catalog, Mode},
    digest::Digest,
    drive::{Blankness, DriveError, Medium, MediumState, ReadOutcome, Safeguards},
    ident::{Barcode, VolumeId},
    job::{
        Desk, JobError, mam,
        monitor::{Event, Prompt},
        rig::{Left, RigError, Station, Whereabouts},
    },
    media::{Custody, Volume},
    volume::label::{self, Label},
};

/// The longest label, in bytes; anything longer is not one.
const LABEL_MAX: usize = 64 << 10;
/// The longest block that is read while looking for a label, in bytes.
const BLOCK_MAX: usize = 1 << 20;
/// How long a loaded cartridge may take to become ready. LTO-9 calibrates a new one for up to two
/// hours.
const READY_LIMIT: Duration = Duration::from_secs(3 * 3600);

/// What is in the drive.
#[derive(Debug)]
pub struct Loaded {
    /// The cartridge, as the drive sees it.
    pub medium: Medium,
    /// Its sticker, as the library sees it.
    pub barcode: Option<Barcode>,
    /// What it holds.
    pub content: Content,
}

/// What a cartridge holds, by its first tape file.
#[derive(Debug)]
pub enum Content {
    /// Nothing, and never did as far as can be seen.
    Blank,
    /// A label of ours.
    Labelled {
        /// What it says.
        label: Box<Label>,
        /// Digest of its bytes.
        digest: Digest,
    },
    /// Something that is not ours.
    Foreign {
        /// What speaks for it.
        what: String,
    },
    /// The beginning cannot be read, which does not make it blank.
    Unreadable {
        /// Why.
        cause: DriveError,
    },
}

impl Station {
    /// Loads what is in the drive and finds out what it is.
    ///
    /// # Errors
    ///
    /// When there is no cartridge, or the drive fails.
    pub fn identify(&mut self) -> Result<Loaded, JobError> {
        let failed = self.failed(None);
        match self.drive.state().map_err(&failed)? {
            MediumState::Unloaded => self.drive.load().map_err(&failed)?,
            MediumState::Loading => self.drive.wait_ready(READY_LIMIT).map_err(&failed)?,
            MediumState::Empty | MediumState::Ready => {}
        }
        let medium = self.drive.medium().map_err(&failed)?;
        // A label is read without protection and key, and a crash may have left either.
        self.drive.safeguard(&Safeguards::default()).map_err(&failed)?;
        let barcode = self.barcode_here().map_err(RigError::from)?;
        let content = self.read_content().map_err(&failed)?;
        Ok(Loaded { medium, barcode, content })
    }

    fn read_content(&mut self) -> Result<Content, DriveError> {
        self.drive.rewind()?;
        if self.append_only && !self.drive.forbid_overwriting()? {
            tracing::debug!(drive = self.name, "it has no append-only mode");
        }
        let mut bytes = Vec::new();
        let mut block = vec![0; BLOCK_MAX];
        loop {
            match self.drive.read_block(&mut block) {
                Ok(ReadOutcome::Block(length)) => bytes.extend_from_slice(&block[..length]),
                Ok(ReadOutcome::LongBlock { bytes }) => {
                    let what = format!("its first tape file has a block of {bytes} bytes");
                    return Ok(Content::Foreign { what });
                }
                Ok(ReadOutcome::Filemark) => break,
                Ok(ReadOutcome::EndOfData) if bytes.is_empty() => {
                    return self.blank_or_not();
                }
                // A label without its filemark: labelling was interrupted.
                Ok(ReadOutcome::EndOfData) => break,
                Err(
                    cause @ (DriveError::Medium(_)
                    | DriveError::EndOfDataMissing(_)
                    | DriveError::Unusable(_)),
                ) => {
                    return Ok(Content::Unreadable { cause });
                }
                Err(error) => return Err(error),
            }
            if bytes.len() > LABEL_MAX {
                return Ok(Content::Foreign { what: "its first tape file is long".into() });
            }
        }
        Ok(match label::decode(&bytes) {
            Ok(label) => Content::Labelled { label: Box::new(label), digest: Digest::of(&bytes) },
            Err(error) => Content::Foreign { what: error.to_string() },
        })
    }
}

impl Station {
    /// Nothing can be read at the beginning. That alone does not make a cartridge blank.
    fn blank_or_not(&mut self) -> Result<Content, DriveError> {
        let what = match self.drive.is_blank()? {
            Blankness::Blank => return Ok(Content::Blank),
            Blankness::Recorded => "something is recorded on it".to_owned(),
            Blankness::Unreadable(fault) => {
                return Ok(Content::Unreadable { cause: DriveError::Medium(fault) });
            }
            Blankness::Partitioned { partitions } => format!("it has {partitions} partitions"),
            Blankness::Used { bytes } => format!("{bytes} of it are used"),
            Blankness::Owned(notes) => {
                format!("{} {} says that it is its own", notes.vendor, notes.application)
            }
        };
        Ok(Content::Foreign { what })
    }
}

/// A volume of this catalog in the drive, identified by label, chip and sticker together.
#[derive(Debug)]
pub struct Mounted {
    /// As the catalog knows it.
    pub volume: Volume,
    /// As the drive sees it.
    pub medium: Medium,
    /// What its label says.
    pub label: Box<Label>,
    /// What its chip says otherwise than its label: it is read, and never written.
    pub doubt: Option<String>,
}

impl Mounted {
    /// Why nothing is written to the volume, if its chip does not agree with its label.
    ///
    /// # Errors
    ///
    /// [`JobError::Cartridge`] then.
    pub fn undoubted(&self) -> Result<(), JobError> {
        match &self.doubt {
            None => Ok(()),
            Some(what) => Err(mam::doubtful(self.volume.volser, what)),
        }
    }
}

/// What a cartridge is to this catalog.
#[derive(Debug)]
pub enum Recognised {
    /// A volume that it knows.
    Known(Box<Mounted>),
    /// A volume of ours that it does not know.
    Unknown(Box<Label>, Digest, Box<Medium>),
    /// A cartridge without anything.
    Blank(Box<Medium>, Option<Barcode>),
    /// A cartridge that must be left alone.
    Alien(Box<JobError>),
}

/// Tells what a cartridge is to this catalog. Disagreement between label and sticker is an alien: it
/// must not be written. What its chip says otherwise is a doubt: it is read, and not written.
///
/// # Errors
///
/// When the catalog cannot be read.
pub fn recognise(
    catalog: &Catalog,
    drive: &str,
    emulated: bool,
    loaded: Loaded,
) -> Result<Recognised, JobError> {
    let Loaded { medium, barcode, content } = loaded;
    let sticker =
        barcode.map_or_else(|| format!("the cartridge in {drive}"), |code| code.to_string());
    let alien = |what: String, advice: &str, cause: Option<Box<dyn Error + Send + Sync>>| {
        let (cartridge, advice) = (sticker.clone(), advice.to_owned());
        Ok(Recognised::Alien(Box::new(JobError::Cartridge { cartridge, what, advice, cause })))
    };
    if barcode.is_some_and(Barcode::is_cleaning) {
        return alien("it is a cleaning cartridge".into(), "take it out", None);
    }
    if emulated != (catalog.mode() == Mode::Rehearsal) {
        let what = if emulated {
            "it is emulated, and this catalog is for real cartridges"
        } else {
            "it is real, and this catalog is a rehearsal's"
        };
        return alien(what.into(), "use another catalog (catalog.path, catalog.rehearsal)", None);
    }
    let (label, digest) = match content {
        Content::Blank => return Ok(Recognised::Blank(Box::new(medium), barcode)),
        Content::Labelled { label, digest } => (label, digest),
        Content::Foreign { what } => {
            let advice = "it holds data of another program; use another cartridge";
            return alien(
                format!("its data are not a volume of tapevault's: {what}"),
                advice,
                None,
            );
        }
        Content::Unreadable { cause } => {
            let advice = "this does not make it blank: clean the drive, try another drive, and never \
                          write to it";
            return alien("its label cannot be read".into(), advice, Some(Box::new(cause)));
        }
    };
    if let (Some(seen), Some(written)) = (barcode, label.barcode)
        && !seen.matches(written)
    {
        let what = format!("its sticker says {seen}, its label {written}");
        return alien(what, "put the right sticker on it, then take an inventory", None);
    }
    let Some(volume) = catalog.volume_by_id(label.volume)? else {
        return Ok(Recognised::Unknown(label, digest, Box::new(medium)));
    };
    if volume.label_digest != digest {
        let what = format!("its label is not the one that {} was given", volume.volser);
        return alien(what, "do not write to it", None);
    }
    let doubt = mam::disagreement(&label, &medium);
    Ok(Recognised::Known(Box::new(Mounted { volume, medium, label, doubt })))
}

impl Station {
    /// Loads what is in the drive, and tells what it is to this catalog. What is strange is read once
    /// more: a label comes without a CRC, and a bit that flips on its way is no reason to pass over
    /// a cartridge that holds what the catalog does not know yet.
    ///
    /// # Errors
    ///
    /// When there is no cartridge, or the drive or the catalog fail.
    pub fn recognise_here(&mut self, catalog: &Catalog) -> Result<Recognised, JobError> {
        let emulated = self.drive.identity().emulated;
        let loaded = self.identify()?;
        match recognise(catalog, &self.name, emulated, loaded)? {
            Recognised::Alien(_) | Recognised::Unknown(..) => {
                let again = self.identify()?;
                recognise(catalog, &self.name, emulated, again)
            }
            known @ (Recognised::Known(_) | Recognised::Blank(..)) => Ok(known),
        }
    }

    /// The volume in the drive, which this catalog has to know.
    ///
    /// # Errors
    ///
    /// When there is none, or the drive fails.
    pub fn mounted(&mut self, catalog: &Catalog) -> Result<Mounted, JobError> {
        match self.recognise_here(catalog)? {
            Recognised::Known(mounted) => Ok(*mounted),
            Recognised::Alien(error) => Err(*error),
            Recognised::Unknown(..) | Recognised::Blank(..) => Err(JobError::NotHeld {
                what: format!("the cartridge in {} is no volume of this catalog", self.name),
            }),
        }
    }

    /// Brings this volume into the drive: by the library, or by asking the operator.
    ///
    /// # Errors
    ///
    /// When it cannot be had, or what is there is not it.
    pub fn mount(
        &mut self,
        catalog: &Catalog,
        volume: &Volume,
        desk: &Desk,
    ) -> Result<Mounted, JobError> {
        let failed = self.failed(Some(volume));
        self.drive.set_patience(desk.patience());
        let mut asked = false;
        loop {
            desk.go_on()?;
            if self.is_loaded().map_err(&failed)? {
                match self.recognise_here(catalog)? {
                    Recognised::Known(mounted) if mounted.volume.id == volume.id => {
                        self.open_up(&mounted.label)?;
                        return self.welcome(catalog, *mounted, desk);
                    }
                    Recognised::Alien(error) if asked => return Err(*error),
                    Recognised::Known(other) if asked => {
                        return Err(self.not_it(volume, &format!("it is {}", other.volume.volser)));
                    }
                    Recognised::Unknown(label, ..) if asked => {
                        let what =
                            format!("it is {}, which this catalog does not know", label.volser);
                        return Err(self.not_it(volume, &what));
                    }
                    Recognised::Blank(..) if asked => {
                        return Err(self.not_it(volume, "it is blank"));
                    }
                    Recognised::Known(_)
                    | Recognised::Unknown(..)
                    | Recognised::Blank(..)
                    | Recognised::Alien(_) => {}
                }
                self.put_away(catalog, desk)?;
            } else if self.is_in_the_way(volume)? {
                self.put_away(catalog, desk)?;
            }
            if !self.fetch(volume.barcode.unwrap_or(Barcode::from(volume.volser)))? {
                desk.ask(&Prompt::Load {
                    drive: self.name.clone(),
                    volser: volume.volser,
                    barcode: volume.barcode,
                    place: volume.custody.to_string(),
                })?;
            }
            asked = true;
        }
    }

    /// Whether another cartridge than this volume's was left in the drive's mouth.
    fn is_in_the_way(&mut self, volume: &Volume) -> Result<bool, JobError> {
        let here = self.barcode_here().map_err(RigError::from)?;
        let own = volume.barcode.unwrap_or(Barcode::from(volume.volser));
        Ok(here.is_some_and(|here| !here.matches(own)))
    }

    /// Another cartridge came than the one that was asked for.
    fn not_it(&self, wanted: &Volume, what: &str) -> JobError {
        let advice = if self.has_library() {
            "stickers may have been swapped: look at the cartridges, then at `tapevault media list`"
        } else {
            "put the right one in, and run the same command again"
        };
        JobError::Cartridge {
            cartridge: format!("the cartridge in {}", self.name),
            what: format!("{what}, but {} is wanted", wanted.volser),
            advice: advice.into(),
            cause: None,
        }
    }

    /// Notes that the volume is in the drive, and tells so.
    pub(in crate::job) fn welcome(
        &self,
        catalog: &Catalog,
        mut mounted: Mounted,
        desk: &Desk,
    ) -> Result<Mounted, JobError> {
        let custody = Custody::InDrive { drive: self.name.clone() };
        if mounted.volume.custody != custody {
            mounted.volume = desk.set_custody(catalog, mounted.volume.id, custody)?;
        }
        let volser = mounted.volume.volser;
        desk.tell(&Event::Mounted { volser, drive: &self.name });
        mam::tell(desk, volser, mounted.doubt.as_deref());
        Ok(mounted)
    }

    /// Moves a cartridge from its slot into the drive. `false` when the library does not have it.
    pub(in crate::job) fn fetch(&mut self, barcode: Barcode) -> Result<bool, JobError> {
        match self.find(barcode).map_err(RigError::from)? {
            // In the drive, and unloaded: a job was interrupted between unloading and moving it.
            Whereabouts::Here => {
                self.drive.load().map_err(self.failed(None))?;
                Ok(true)
            }
            Whereabouts::Slot(slot) => {
                self.bring(slot)?;
                Ok(true)
            }
            Whereabouts::OtherDrive(address) => Err(JobError::Cartridge {
                cartridge: barcode.to_string(),
                what: format!("it is in another drive, element {address}"),
                advice: "wait until that drive is done, or unload it".into(),
                cause: None,
            }),
            Whereabouts::Outside => Ok(false),
        }
    }

    /// Unloads whatever is in the drive and, in a library, puts it into a slot.
    ///
    /// # Errors
    ///
    /// When drive or library fail.
    pub fn put_away(&mut self, catalog: &Catalog, desk: &Desk) -> Result<(), JobError> {
        self.eject(catalog, None, false, desk)?;
        Ok(())
    }

    /// Unloads the volume in the drive, takes it out if there is a library, and notes where it is.
    ///
    /// # Errors
    ///
    /// When drive or library fail.
    pub fn eject(
        &mut self,
        catalog: &Catalog,
        volume: Option<VolumeId>,
        out: bool,
        desk: &Desk,
    ) -> Result<Left, JobError> {
        let failed = self.failed(None);
        let barcode = self.barcode_here().map_err(RigError::from)?;
        if self.is_loaded().map_err(&failed)? {
            self.drive.unload().map_err(&failed)?;
        }
        crate::crash::point("eject.unloaded");
        let left = self.take_out(out)?;
        crate::crash::point("eject.out");
        let volume = match (volume, barcode) {
            (Some(id), _) => catalog.volume_by_id(id)?,
            (None, Some(barcode)) => catalog.volume(barcode.volser())?,
            (None, None) => None,
        };
        if let Some(volume) = volume {
            let custody = match left {
                Left::Slot(slot) | Left::MailSlot(slot) => Custody::InLibrary { slot },
                Left::Unloaded => Custody::Unloaded,
            };
            desk.set_custody(catalog, volume.id, custody)?;
        }
        if left != Left::Unloaded {
            self.clean_if_asked(desk)?;
        }
        Ok(left)
    }
}
