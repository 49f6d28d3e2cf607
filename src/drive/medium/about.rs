//! What a cartridge is, and whether anything is on it.

use crate::{
    drive::{
        answer::{DriveError, Fault},
        data::ReadOutcome,
        handle::Drive,
        medium::{capacity::Capacity, notes::Notes},
    },
    scsi::{
        cdb::{Command, PageControl},
        density::Generation,
        log::parameter::volume,
        mam::{Attribute, id},
        mode::{
            Parameters,
            page::{DeviceConfiguration, MediumConfiguration, Page, Partitions},
        },
    },
    unit::ByteCount,
};

/// Enough for every page together.
const MODE_ALLOCATION: u16 = 512;
/// What is read of the first object to see whether there is one.
const PROBE: usize = 64 << 10;
const ALL_SUBPAGES: u8 = 0xFF;

/// The cartridge that is in the drive, as the drive and the cartridge's chip describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medium {
    /// Density code of its format; 0 when the drive does not say.
    pub density: u8,
    /// Its generation, where the code is known.
    pub generation: Option<Generation>,
    /// Medium type of the mode header: `88h` is an LTO-8 cartridge.
    pub medium_type: u8,
    /// Whether it is write-once.
    pub worm: bool,
    /// Whether it is protected against writing.
    pub write_protected: bool,
    /// Partitions, 1 on a cartridge that was never divided.
    pub partitions: u8,
    /// Whether its chip could be read.
    pub chip_readable: bool,
    /// Medium serial number of the chip; empty when there is none.
    pub mam_serial: String,
    /// Medium manufacturer of the chip; empty when there is none.
    pub manufacturer: String,
    /// Times it was loaded, by its chip.
    pub loads: Option<u64>,
    /// What an application noted in the chip.
    pub notes: Notes,
    /// What it holds and what is left; `None` when neither log pages nor chip say.
    pub capacity: Option<Capacity>,
}

/// Whether a cartridge is blank. Only `Blank` may be labelled without asking.
#[derive(Debug)]
pub enum Blankness {
    /// Blank by every rule: end of data at the beginning, one partition, nothing used, no
    /// application in the chip.
    Blank,
    /// Something is recorded at the beginning.
    Recorded,
    /// The beginning cannot be read, which says nothing about what is there.
    Unreadable(Box<Fault>),
    /// It has more than one partition.
    Partitioned {
        /// How many.
        partitions: u8,
    },
    /// Nothing at the beginning, and yet the drive says that some of it is used.
    Used {
        /// How much, to the MB.
        bytes: ByteCount,
    },
    /// Nothing at the beginning, and yet an application says that it is its own.
    Owned(Box<Notes>),
}

impl Drive {
    /// Describes the cartridge in the drive, which must be ready.
    ///
    /// # Errors
    ///
    /// As for any question.
    pub fn medium(&mut self) -> Result<Medium, DriveError> {
        let list = self.mode_header()?;
        let configuration = self.mode_page::<MediumConfiguration>()?;
        let partitions = self.mode_page::<Partitions>()?.map_or(0, |page| page.additional);
        let attributes = self.chip()?;
        let attributes = attributes.as_deref();
        let text = |id| find(attributes, id).map(Attribute::text).unwrap_or_default();
        let chip_density = find(attributes, id::DENSITY).and_then(Attribute::number);
        let density = match list.block.map(|block| block.density) {
            Some(density @ 1..) => density,
            Some(0) | None => chip_density.map_or(0, |code| u8::try_from(code).unwrap_or(0)),
        };
        let type_says_worm = list.header.medium_type & 0x0F == 0x0C;
        Ok(Medium {
            density,
            generation: Generation::from_density(density),
            medium_type: list.header.medium_type,
            worm: configuration.map_or(type_says_worm, |page| page.is_worm()),
            write_protected: list.header.write_protected,
            partitions: partitions.saturating_add(1),
            chip_readable: attributes.is_some(),
            mam_serial: text(id::SERIAL),
            manufacturer: text(id::MANUFACTURER),
            loads: find(attributes, id::LOAD_COUNT).and_then(Attribute::number),
            notes: Notes::of(attributes),
            capacity: self.capacity()?,
        })
    }

    /// Header and block descriptor. Page 0 brings these alone; where it is some page of the vendor's
    /// or none, they come with a page that every drive has.
    fn mode_header(&mut self) -> Result<Parameters, DriveError> {
        if let Some(list) = self.mode_sense(0, None)? {
            return Ok(list);
        }
        Ok(self.mode_sense(DeviceConfiguration::CODE, None)?.unwrap_or_default())
    }

    /// Whether the cartridge is blank. The tape stands at the beginning afterwards.
    ///
    /// # Errors
    ///
    /// As for any motion; a beginning that cannot be read is an outcome.
    pub fn is_blank(&mut self) -> Result<Blankness, DriveError> {
        self.rewind()?;
        let mut probe = vec![0; PROBE];
        let first = self.read_block(&mut probe);
        self.rewind()?;
        match first {
            Ok(ReadOutcome::EndOfData) => (),
            Ok(ReadOutcome::Block(_) | ReadOutcome::LongBlock { .. } | ReadOutcome::Filemark) => {
                return Ok(Blankness::Recorded);
            }
            Err(
                DriveError::Medium(fault)
                | DriveError::Unusable(fault)
                | DriveError::EndOfDataMissing(fault),
            ) => return Ok(Blankness::Unreadable(fault)),
            Err(error) => return Err(error),
        }
        let medium = self.medium()?;
        if medium.partitions > 1 {
            return Ok(Blankness::Partitioned { partitions: medium.partitions });
        }
        if medium.notes.is_owned() {
            return Ok(Blankness::Owned(Box::new(medium.notes)));
        }
        match self.used()? {
            Some(bytes) if bytes > ByteCount(0) => Ok(Blankness::Used { bytes }),
            Some(_) | None => Ok(Blankness::Blank),
        }
    }

    /// How much of the first partition is used, where the drive says.
    fn used(&mut self) -> Result<Option<ByteCount>, DriveError> {
        let Some(page) = self.log_page(volume::PAGE)? else { return Ok(None) };
        let records = page.parameter(volume::PARTITION_USED).map(|used| used.records());
        let first = records.unwrap_or_default().into_iter().find(|record| record.partition == 0);
        let megabytes = match first {
            Some(record) => record.megabytes.map(u64::from),
            None => page.number(volume::USED),
        };
        Ok(megabytes.map(|megabytes| ByteCount(megabytes.saturating_mul(1_000_000))))
    }

    /// A mode page as the drive has it now, with header and block descriptor; page 0 asks for
    /// these alone. `None` when the drive does not have it.
    pub(in crate::drive) fn mode_sense(
        &mut self,
        page: u8,
        subpage: Option<u8>,
    ) -> Result<Option<Parameters>, DriveError> {
        debug_assert_ne!(subpage, Some(ALL_SUBPAGES), "one page at a time");
        let command = Command::ModeSense10 {
            no_descriptors: false,
            control: PageControl::Current,
            page,
            subpage: subpage.unwrap_or(0),
            allocation: MODE_ALLOCATION,
        };
        let Some(data) = self.fetch_optional(&command, usize::from(MODE_ALLOCATION))? else {
            return Ok(None);
        };
        Parameters::decode_10(&data).ok_or_else(|| self.garbled(&command)).map(Some)
    }

    /// One page alone; `None` when the drive does not have it.
    pub(in crate::drive) fn mode_page<P: Page>(&mut self) -> Result<Option<P>, DriveError> {
        Ok(self.mode_sense(P::CODE, P::SUBPAGE)?.and_then(|list| list.get::<P>()))
    }
}

pub(super) fn find(attributes: Option<&[Attribute]>, id: u16) -> Option<&Attribute> {
    attributes?.iter().find(|attribute| attribute.id == id)
}
