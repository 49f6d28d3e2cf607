//! Looking at cartridges before anything is fetched, when they may hold what the catalog does not
//! know: it is lost, or older than the last job.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    catalog::Catalog,
    clock::Timestamp,
    ident::{Barcode, CatalogId},
    job::{
        Desk, JobError, Remedy,
        adopt::{Adoption, Taken},
        rig::RigError,
        settings::Settings,
    },
    media::lifecycle,
};

/// In the staging folder: what the catalog knew when it was last known to know all.
const MARK: &str = "catalog.json";
/// After so many blank cartridges one after the other no further unknown one is looked at: jobs
/// take blank ones in the order of their barcodes, too, and each may take long to load.
const BLANKS_MAX: u32 = 3;

/// What the catalog knew. It stands outside of the catalog, so that it does not come back with a
/// backup of it.
#[derive(Serialize, Deserialize)]
struct Mark {
    catalog: CatalogId,
    newest: Option<Timestamp>,
}

/// Tells whether the catalog knows what the cartridges hold.
#[derive(Debug)]
pub(in crate::job) struct Currency<'a> {
    catalog: &'a Catalog,
    path: PathBuf,
}

/// What looking at one cartridge showed.
enum Seen {
    /// A volume, and all that is on it is in the catalog now.
    Volume,
    Blank,
    /// Something that is to be left alone.
    Other,
}

impl<'a> Currency<'a> {
    pub(in crate::job) fn new(catalog: &'a Catalog, settings: &Settings) -> Self {
        Self { catalog, path: settings.staging.dir.join(MARK) }
    }

    /// Whether the catalog is the one that knew all, and has forgotten nothing since.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub(in crate::job) fn is_current(&self) -> Result<bool, JobError> {
        let mark = fs::read(&self.path).ok();
        let mark: Option<Mark> = mark.and_then(|text| serde_json::from_slice(&text).ok());
        let newest = self.catalog.newest_event()?;
        Ok(mark.is_some_and(|mark| mark.catalog == self.catalog.id() && newest >= mark.newest))
    }

    /// Whether something speaks against it: it knows no volume, or has forgotten something.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub(in crate::job) fn is_doubtful(&self) -> Result<bool, JobError> {
        Ok(!self.is_current()? && (self.path.exists() || self.catalog.volumes()?.is_empty()))
    }

    /// Notes that the catalog knows all. A note that is lost only costs another look.
    ///
    /// # Errors
    ///
    /// When the catalog cannot be read.
    pub(in crate::job) fn confirm(&self) -> Result<(), JobError> {
        let mark = Mark { catalog: self.catalog.id(), newest: self.catalog.newest_event()? };
        let text = serde_json::to_vec(&mark).expect("an id and a time");
        let new = self.path.with_extension("new");
        if let Err(error) = fs::write(&new, text).and_then(|()| fs::rename(&new, &self.path)) {
            tracing::warn!(path = %self.path.display(), %error, "cannot be written");
        }
        Ok(())
    }
}

impl Adoption<'_> {
    /// Looks at what may hold more than the catalog knows, and adopts it: the cartridge in the
    /// drive, and those of the library that the catalog does not know or knows as taking data.
    ///
    /// # Errors
    ///
    /// When drive, library or catalog fail, or the operator wants to stop.
    pub(in crate::job) fn look_ahead(&mut self) -> Result<(), JobError> {
        let is_loaded = self.station.is_loaded().map_err(self.station.failed(None))?;
        if is_loaded {
            self.look()?;
        } else if self.station.is_blocked().map_err(RigError::from)? {
            // Back in its slot it is one of those that are looked at below.
            self.station.put_away(self.catalog, self.desk)?;
        }
        let mut barcodes = self.station.barcodes_in_slots().map_err(RigError::from)?;
        barcodes.retain(|barcode| !barcode.is_cleaning());
        barcodes.sort();
        let mut blanks = 0;
        let mut passed = 0_u32;
        for barcode in barcodes {
            self.desk.go_on()?;
            let Some(is_known) = self.is_worth_a_look(barcode)? else { continue };
            if !is_known && blanks >= BLANKS_MAX {
                passed += 1;
                continue;
            }
            if self.station.is_loaded().map_err(self.station.failed(None))? {
                self.station.put_away(self.catalog, self.desk)?;
            }
            if !self.station.fetch(barcode)? {
                continue;
            }
            match self.look()? {
                Seen::Blank => blanks += 1,
                Seen::Volume => blanks = 0,
                Seen::Other => {}
            }
            self.station.put_away(self.catalog, self.desk)?;
        }
        if passed > 0 {
            self.desk.notice(format!(
                "{passed} more cartridges are unknown and were not looked at, since {BLANKS_MAX} \
                 before them were blank; `tapevault catalog rebuild` looks at all"
            ));
        }
        let knows_none = self.catalog.volumes()?.is_empty();
        if knows_none && !is_loaded && !self.station.has_library() {
            self.desk.notice(
                "this catalog knows no volume, and the drive is empty: if cartridges hold this \
                 data already, stop here and put them in for `tapevault catalog rebuild`, one \
                 after the other",
            );
        }
        Ok(())
    }

    /// Whether a cartridge of the library may hold what the catalog does not know, and if so,
    /// whether it knows the volume.
    fn is_worth_a_look(&self, barcode: Barcode) -> Result<Option<bool>, JobError> {
        let Some(volume) = self.catalog.volume(barcode.volser())? else { return Ok(Some(false)) };
        let grows = lifecycle::takes_data(volume.status);
        Ok((grows || self.catalog.has_unread(volume.id)?).then_some(true))
    }

    /// Looks at the cartridge in the drive. One that cannot be used is no reason to stop.
    fn look(&mut self) -> Result<Seen, JobError> {
        let error = match self.take_here() {
            Ok(Taken::Volume(_)) => return Ok(Seen::Volume),
            Ok(Taken::Blank(_)) => return Ok(Seen::Blank),
            Ok(Taken::Alien(error)) => *error,
            Err(error) => error,
        };
        if error.remedy() == Remedy::Media || matches!(error, JobError::Key { .. }) {
            self.desk.notice(format!("left alone: {}", crate::causes::chain(&error)));
            return Ok(Seen::Other);
        }
        Err(error)
    }
}

/// Says what a half without a drive, or a job that only plans, cannot do.
pub(in crate::job) fn warn(desk: &Desk) {
    desk.notice(
        "the catalog may know less than the cartridges hold: `tapevault archive` looks at them \
         before it fetches, and `tapevault catalog rebuild` looks at all",
    );
}
