//! What an application notes on a cartridge's chip about the volume that is on its tape.

use crate::{
    drive::{answer::DriveError, handle::Drive, medium::about::find},
    scsi::mam::{Attribute, Format, id},
};

/// Text localisation: UTF-8 (SPC, text localization identifier).
const UTF_8: u8 = 0x81;

/// An application's notes (SPC, medium auxiliary memory attributes, host type). A note that is
/// empty is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The vendor of the application that owns the volume, 8 characters.
    pub vendor: String,
    /// Its name, 32 characters.
    pub application: String,
    /// Its version, 8 characters.
    pub version: String,
    /// Label for people, 160 bytes.
    pub user_label: String,
    /// When the volume was last written, `YYYYMMDDhhmm`.
    pub last_written: String,
    /// Barcode, 32 characters.
    pub barcode: String,
    /// The host that owns the volume, 80 bytes.
    pub host: String,
    /// Media pool, 160 bytes.
    pub pool: String,
    /// Version of the application's format, 16 characters.
    pub format_version: String,
}

/// The identifiers, as they ascend, with the note of each.
type Numbered<'a> = [(u16, &'a str); 9];

impl Notes {
    /// The notes among all attributes of a chip.
    pub(super) fn of(attributes: Option<&[Attribute]>) -> Self {
        let text = |id| find(attributes, id).map(Attribute::text).unwrap_or_default();
        Self {
            vendor: text(id::APPLICATION_VENDOR),
            application: text(id::APPLICATION_NAME),
            version: text(id::APPLICATION_VERSION),
            user_label: text(id::USER_LABEL),
            last_written: text(id::LAST_WRITTEN),
            barcode: text(id::BARCODE),
            host: text(id::HOST),
            pool: text(id::POOL),
            format_version: text(id::FORMAT_VERSION),
        }
    }

    /// Whether an application owns the volume.
    pub fn is_owned(&self) -> bool {
        !self.vendor.is_empty() || !self.application.is_empty()
    }

    fn numbered(&self) -> Numbered<'_> {
        [
            (id::APPLICATION_VENDOR, self.vendor.as_str()),
            (id::APPLICATION_NAME, &self.application),
            (id::APPLICATION_VERSION, &self.version),
            (id::USER_LABEL, &self.user_label),
            (id::LAST_WRITTEN, &self.last_written),
            (id::BARCODE, &self.barcode),
            (id::HOST, &self.host),
            (id::POOL, &self.pool),
            (id::FORMAT_VERSION, &self.format_version),
        ]
    }

    /// The attributes that say this, those without text left out, and how their text is encoded.
    fn attributes(&self) -> Vec<Attribute> {
        let mut attributes: Vec<Attribute> = self
            .numbered()
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .filter_map(|(id, text)| Attribute::of_host(id, cut(id, text)))
            .collect();
        let localisation = Attribute {
            id: id::LOCALISATION,
            read_only: false,
            format: Format::Binary,
            value: vec![UTF_8],
        };
        let at = attributes.partition_point(|attribute| attribute.id < id::LOCALISATION);
        attributes.insert(at, localisation);
        attributes
    }
}

/// As much of the text as the attribute holds, whole characters only.
fn cut(id: u16, text: &str) -> &str {
    let room = id::host_length(id).unwrap_or(0);
    &text[..text.floor_char_boundary(room)]
}

impl Drive {
    /// Writes these notes on the chip of the cartridge in the drive. What is noted there already,
    /// and is empty here, stays.
    ///
    /// # Errors
    ///
    /// As [`Drive::mam_write`].
    pub fn write_notes(&mut self, notes: &Notes) -> Result<(), DriveError> {
        self.mam_write(&notes.attributes())
    }

    /// Takes every note off the chip, so that no application owns the cartridge.
    ///
    /// # Errors
    ///
    /// As [`Drive::mam_write`].
    pub fn erase_notes(&mut self) -> Result<(), DriveError> {
        let chip = self.chip()?.unwrap_or_default();
        let ours = |id| Notes::default().numbered().iter().any(|(own, _)| *own == id);
        let gone: Vec<Attribute> = chip
            .into_iter()
            .filter(|attribute| ours(attribute.id) || attribute.id == id::LOCALISATION)
            .map(|attribute| Attribute { read_only: false, value: Vec::new(), ..attribute })
            .collect();
        if gone.is_empty() { Ok(()) } else { self.mam_write(&gone) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_read_back_from_attributes_that_ascend() {
        let notes = Notes {
            vendor: "TAPEVLT".into(),
            application: "tapevault".into(),
            version: "1.2.3".into(),
            user_label: "A00001".into(),
            last_written: "202611241830".into(),
            barcode: "A00001L8".into(),
            host: "archive.example.org".into(),
            pool: "offsite".into(),
            format_version: "1".into(),
        };
        let attributes = notes.attributes();
        assert!(attributes.is_sorted_by_key(|attribute| attribute.id), "{attributes:?}");
        assert_eq!(Notes::of(Some(&attributes)), notes);
        assert!(notes.is_owned() && !Notes::default().is_owned());
        assert_eq!(Notes::of(None), Notes::default());
        assert_eq!(Notes::default().attributes().len(), 1);
    }

    #[test]
    fn what_does_not_fit_is_cut_at_a_character() {
        assert_eq!(cut(id::APPLICATION_VERSION, "1.2.3-pre"), "1.2.3-pr");
        assert_eq!(cut(id::HOST, &"é".repeat(50)), "é".repeat(40));
        let odd = format!("a{}", "é".repeat(50));
        assert_eq!(cut(id::HOST, &odd).len(), 79);
    }
}
