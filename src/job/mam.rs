//! The cartridge's chip beside its label: what is noted there, and whether the two agree.
//!
//! The label decides. A chip that says otherwise forbids writing, because then nobody can tell whose
//! cartridge it is; it never keeps a tape from being read.

use crate::{
    clock::Timestamp,
    drive::{DriveError, Medium, Notes},
    ident::{Barcode, Volser},
    job::{Desk, JobError, monitor::Event, rig::Station},
    media::Volume,
    volume::{FORMAT, label::Label},
};

/// The vendor by which the chip names this program.
const VENDOR: &str = "TAPEVLT";
/// Its name there.
const APPLICATION: &str = "tapevault";
/// How often a command is sent again that met something that had happened before.
const TRIES: u32 = 4;

/// What the chip of a volume that is written now is to say.
fn notes(volume: &Volume, now: Timestamp) -> Notes {
    let host = nix::unistd::gethostname().unwrap_or_default();
    Notes {
        vendor: VENDOR.into(),
        application: APPLICATION.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        user_label: volume.volser.to_string(),
        last_written: minute(now),
        barcode: volume.barcode.map(|code| code.to_string()).unwrap_or_default(),
        host: host.to_string_lossy().into_owned(),
        pool: volume.pool.to_string(),
        format_version: FORMAT.to_string(),
    }
}

/// What the chip says otherwise than the label, if anything. What it does not say is no
/// disagreement: a drive may not have been able to write it.
pub(in crate::job) fn disagreement(label: &Label, medium: &Medium) -> Option<String> {
    let said = |text: &str| !text.is_empty();
    let (chip, notes) = (&medium.mam_serial, &medium.notes);
    if said(chip) && said(&label.mam_serial) && *chip != label.mam_serial {
        let own = &label.mam_serial;
        return Some(format!("its label was written on cartridge {own}, its chip says {chip}"));
    }
    if notes.is_owned() && (notes.vendor != VENDOR || notes.application != APPLICATION) {
        let (vendor, name) = (&notes.vendor, &notes.application);
        return Some(format!("its chip says that {vendor} {name} owns it, its label tapevault"));
    }
    if let Some(barcode) = label.barcode
        && said(&notes.barcode)
        && !notes.barcode.parse::<Barcode>().is_ok_and(|noted| barcode.matches(noted))
    {
        let noted = &notes.barcode;
        return Some(format!("its chip says that its barcode is {noted}, its label {barcode}"));
    }
    if said(&notes.pool) && notes.pool != label.pool.as_str() {
        let (noted, pool) = (&notes.pool, &label.pool);
        return Some(format!("its chip says that it is of pool {noted}, its label {pool}"));
    }
    None
}

/// Why nothing is written to a volume whose chip does not agree with its label.
pub(in crate::job) fn doubtful(volser: Volser, what: &str) -> JobError {
    JobError::Cartridge {
        cartridge: volser.to_string(),
        what: what.to_owned(),
        advice:
            "it may be a copy, or another program may have taken the cartridge: read it, but do \
                 not write to it"
                .into(),
        cause: None,
    }
}

/// Tells that a volume is read whose chip does not agree with its label.
pub(in crate::job) fn tell(desk: &Desk, volser: Volser, doubt: Option<&str>) {
    let Some(doubt) = doubt else { return };
    desk.ledger.note(1);
    let what = format!("{doubt}: it is read, and nothing is written to it");
    desk.tell(&Event::VolumeFinding { volser, what });
}

/// The date of the chip (SPC, date and time last written): UTC, to the minute.
fn minute(now: Timestamp) -> String {
    now.to_string().chars().filter(char::is_ascii_digit).take("YYYYMMDDhhmm".len()).collect()
}

impl Station {
    /// Notes on the chip of the cartridge in the drive whose volume it is. A chip that does not take
    /// that is reported, and is no reason against the volume: its label says it all.
    ///
    /// # Errors
    ///
    /// When the drive does not come back, or tells of blocks that it lost.
    pub(in crate::job) fn note(&mut self, volume: &Volume, desk: &Desk) -> Result<(), JobError> {
        let notes = notes(volume, desk.clock.now());
        let Some(error) = self.past_attentions(|station| station.drive.write_notes(&notes))? else {
            return Ok(());
        };
        desk.ledger.note(1);
        desk.tell(&Event::VolumeFinding {
            volser: volume.volser,
            what: format!(
                "its chip takes no notes ({error}): other programs do not see whose it is"
            ),
        });
        Ok(())
    }

    /// Notes the same once more, at the end of a session, for the date. That a chip takes no notes was
    /// reported with the label.
    ///
    /// # Errors
    ///
    /// When the drive does not come back.
    pub(in crate::job) fn note_again(
        &mut self,
        volume: &Volume,
        desk: &Desk,
    ) -> Result<(), JobError> {
        let notes = notes(volume, desk.clock.now());
        if let Some(error) = self.past_attentions(|station| station.drive.write_notes(&notes))? {
            tracing::warn!(drive = self.name, volume = %volume.volser, %error, "no notes on the chip");
        }
        Ok(())
    }

    /// Takes the notes off the chip, so that the cartridge is nobody's.
    ///
    /// # Errors
    ///
    /// As [`Station::note`].
    pub(in crate::job) fn disown(&mut self, cartridge: &str, desk: &Desk) -> Result<(), JobError> {
        let Some(error) = self.past_attentions(|station| station.drive.erase_notes())? else {
            return Ok(());
        };
        desk.notice(format!(
            "the chip of {cartridge} keeps its notes ({error}); a blank cartridge with such a chip \
             is not taken for blank"
        ));
        Ok(())
    }

    /// Does something with the chip. What the chip itself is the reason for comes back as `Some`.
    fn past_attentions(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<(), DriveError>,
    ) -> Result<Option<DriveError>, JobError> {
        let failed = self.failed(None);
        let mut last = None;
        for _ in 0..TRIES {
            match work(self) {
                Ok(()) => return Ok(None),
                // It was not done, because something else had happened.
                Err(error @ DriveError::PositionLost(_)) => last = Some(error),
                // It may have been done, and doing it again does no harm.
                Err(error @ DriveError::Unknown { .. }) => {
                    self.drive.recover().map_err(&failed)?;
                    last = Some(error);
                }
                // Blocks that were taken did not land: whoever wrote them has to know.
                Err(error @ DriveError::Deferred(_)) => return Err(failed(error)),
                Err(error) => return Ok(Some(error)),
            }
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        digest::Digest,
        ident::VolumeId,
        media::{Custody, Status},
        position::{FileNumber, ObjectNumber},
    };

    fn label() -> Label {
        Label {
            format: 1,
            volume: VolumeId::new(),
            volser: "A00001".parse().unwrap(),
            barcode: Some("A00001L8".parse().unwrap()),
            mam_serial: "CHIP1".into(),
            pool: "offsite".parse().unwrap(),
            block_size: 512 << 10,
            created: "2026-11-24T18:30:59Z".parse().unwrap(),
            protected_until: None,
            encryption: None,
            block_protection: None,
            emulated: true,
        }
    }

    fn volume() -> Volume {
        let label = label();
        Volume {
            id: label.volume,
            volser: label.volser,
            barcode: label.barcode,
            mam_serial: label.mam_serial,
            pool: label.pool,
            status: Status::Scratch,
            custody: Custody::Unloaded,
            custody_since: label.created,
            density: 0x5E,
            worm: false,
            emulated: true,
            block_size: label.block_size,
            capacity_bytes: 0,
            created: label.created,
            protected_until: None,
            label_digest: Digest::of(b""),
            end: ObjectNumber(0),
            end_file: FileNumber(0),
            last_index: None,
            verified: None,
        }
    }

    fn medium(notes: Notes) -> Medium {
        Medium {
            density: 0x5E,
            generation: None,
            medium_type: 0x88,
            worm: false,
            write_protected: false,
            partitions: 1,
            chip_readable: true,
            mam_serial: "CHIP1".into(),
            manufacturer: String::new(),
            loads: None,
            notes,
            capacity: None,
        }
    }

    #[test]
    fn what_is_noted_agrees_with_the_label() {
        let label = label();
        let noted = notes(&volume(), label.created);
        assert_eq!(noted.last_written, "202611241830");
        assert_eq!((&*noted.barcode, &*noted.pool), ("A00001L8", "offsite"));
        assert_eq!(disagreement(&label, &medium(noted)), None);
        assert_eq!(disagreement(&label, &medium(Notes::default())), None);
        let silent = Medium { mam_serial: String::new(), ..medium(Notes::default()) };
        assert_eq!(disagreement(&label, &silent), None);
    }

    #[test]
    fn each_disagreement_is_named() {
        let label = label();
        let noted = notes(&volume(), label.created);
        let with = |change: fn(&mut Notes)| {
            let mut notes = noted.clone();
            change(&mut notes);
            medium(notes)
        };
        for (medium, word) in [
            (Medium { mam_serial: "CHIP2".into(), ..medium(noted.clone()) }, "chip says CHIP2"),
            (with(|notes| notes.vendor = "OTHER".into()), "OTHER tapevault owns it"),
            (with(|notes| notes.application = "LTFS".into()), "TAPEVLT LTFS owns it"),
            (with(|notes| notes.barcode = "A00002L8".into()), "barcode is A00002L8"),
            (with(|notes| notes.barcode = "?".into()), "barcode is ?"),
            (with(|notes| notes.pool = "other".into()), "of pool other"),
        ] {
            let found = disagreement(&label, &medium).unwrap();
            assert!(found.contains(word), "{found}");
        }
        let trimmed = with(|notes| notes.barcode = "A00001".into());
        assert_eq!(disagreement(&label, &trimmed), None);
    }
}
