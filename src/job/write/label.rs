//! Labelling a blank cartridge.

use std::time::Duration;

use crate::{
    catalog::Catalog,
    digest::Digest,
    drive::{Filemark, Medium, Preparation},
    ident::{Barcode, PoolName, Volser, VolumeId},
    job::{
        Desk, JobError,
        adopt::capacity_of,
        monitor::Event,
        mount::{Content, Mounted},
        rig::Station,
        settings::PoolSettings,
    },
    media::{Custody, Status, Volume},
    unit::ByteCount,
    volume::{
        FORMAT,
        label::{self, Label},
    },
};

/// Labels cartridges for one pool.
#[derive(Debug)]
pub struct Labelling<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// The pool.
    pub pool: &'a PoolName,
    /// Its settings.
    pub settings: &'a PoolSettings,
    /// Time, monitor, counts, findings.
    pub desk: &'a Desk,
}

impl Labelling<'_> {
    /// Labels the blank cartridge in the drive, reads the label back, and records the volume.
    ///
    /// # Errors
    ///
    /// When the volser is taken, the cartridge is protected or its barcode says otherwise, or the
    /// drive fails. Whether the cartridge is blank is for the caller to have found out.
    pub fn write(
        &self,
        station: &mut Station,
        volser: Volser,
        barcode: Option<Barcode>,
        medium: &Medium,
    ) -> Result<Mounted, JobError> {
        self.check(station, volser, barcode, medium)?;
        let block_protection = station.protection_for(self.settings)?;
        let encryption = station.encryption_for((self.pool, volser), self.settings)?;
        let failed = station.failed(None);
        let now = self.desk.clock.now();
        let days = u64::from(self.settings.protect_days);
        let until = now.after(Duration::from_secs(days * 24 * 3600));
        let block_size =
            u32::try_from(self.settings.block_size.0).expect("checked with the config");
        let label = Label {
            format: FORMAT,
            volume: VolumeId::new(),
            volser,
            barcode,
            mam_serial: medium.mam_serial.clone(),
            pool: self.pool.clone(),
            block_size: block_size.min(station.drive.max_transfer()),
            created: now,
            protected_until: (days > 0).then_some(until),
            encryption,
            block_protection,
            emulated: station.drive.identity().emulated,
        };
        let bytes = label::encode(&label);
        let said = label.clone();
        let preparation = Preparation { block_size: label.block_size, early_warning: ByteCount(0) };
        station.drive.prepare(&preparation).map_err(&failed)?;
        station.drive.rewind().map_err(&failed)?;
        crate::crash::point("label.before-write");
        for block in bytes.chunks(label::BLOCK) {
            station.drive.write_block(block).map_err(&failed)?;
        }
        station.drive.write_filemark(Filemark::Synchronous).map_err(&failed)?;
        let position = station.drive.flush().map_err(&failed)?;
        crate::crash::point("label.written");
        self.read_back(station, &label, &bytes)?;
        let volume = Volume {
            id: label.volume,
            volser,
            barcode,
            mam_serial: label.mam_serial,
            pool: label.pool,
            status: Status::Scratch,
            custody: Custody::InDrive { drive: station.name.clone() },
            custody_since: now,
            density: medium.density,
            worm: medium.worm,
            emulated: label.emulated,
            block_size: label.block_size,
            capacity_bytes: capacity_of(medium),
            created: now,
            protected_until: label.protected_until,
            label_digest: Digest::of(&bytes),
            end: position.object,
            end_file: position.file,
            last_index: None,
            verified: None,
        };
        self.catalog.put_volume(&volume)?;
        crate::crash::point("label.recorded");
        self.desk.tell(&Event::Labelled { volser, pool: self.pool });
        station.note(&volume, self.desk)?;
        crate::crash::point("label.noted");
        Ok(Mounted { volume, medium: medium.clone(), label: Box::new(said), doubt: None })
    }

    fn check(
        &self,
        station: &Station,
        volser: Volser,
        barcode: Option<Barcode>,
        medium: &Medium,
    ) -> Result<(), JobError> {
        let cartridge = || {
            barcode.map_or_else(
                || format!("the cartridge in {}", station.name),
                |code| code.to_string(),
            )
        };
        let wrong = |what: String, advice: &str| {
            Err(JobError::Cartridge {
                cartridge: cartridge(),
                what,
                advice: advice.to_owned(),
                cause: None,
            })
        };
        if let Some(volume) = self.catalog.volume(volser)?
            && volume.status != Status::Destroyed
        {
            let what = format!("there is a volume {volser} already");
            return wrong(
                what,
                "give it another volser; if it should be that volume, stickers may have been swapped",
            );
        }
        if let Some(barcode) = barcode
            && barcode.volser() != volser
        {
            let what = format!("its barcode says {barcode}, not {volser}");
            return wrong(what, "a volume bears the volser of its cartridge's barcode");
        }
        if medium.write_protected {
            return wrong(
                "it is write-protected".into(),
                "move its switch, or use another cartridge",
            );
        }
        Ok(())
    }

    /// A label that cannot be read back is none.
    fn read_back(
        &self,
        station: &mut Station,
        label: &Label,
        bytes: &[u8],
    ) -> Result<(), JobError> {
        let loaded = station.identify()?;
        match loaded.content {
            Content::Labelled { label: read, digest }
                if *read == *label && digest == Digest::of(bytes) =>
            {
                Ok(())
            }
            Content::Labelled { .. }
            | Content::Blank
            | Content::Foreign { .. }
            | Content::Unreadable { .. } => Err(JobError::Cartridge {
                cartridge: label.volser.to_string(),
                what: "its label does not read back as it was written".into(),
                advice: "clean the drive; use another cartridge".into(),
                cause: None,
            }),
        }
    }
}
