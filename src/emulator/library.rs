//! The box: drives, slots, mail slots, a picker, and the shelf beside it. An operator's hand.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::emulator::{
    drive::bay,
    generation::drive_number,
    tape::{Cartridge, Image, StorageError, read_json, write_json},
};
use crate::ident::Barcode;
use crate::scsi::density::Generation;

/// What a new library is made of.
#[derive(Clone, Debug)]
pub struct LibraryPlan {
    /// Drives, at most 64.
    pub drives: u16,
    /// Storage slots, at most 1,000.
    pub slots: u16,
    /// Mail slots, at most 32.
    pub mail_slots: u16,
    /// Generation of its drives.
    pub generation: Generation,
    /// How its machines behave.
    pub settings: Settings,
}

/// How the machines of a library behave where real ones differ. Lives in `library.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether a move out of a drive unloads it first. Else such a move is refused.
    pub auto_unload: bool,
    /// Whether a drive threads a cartridge as soon as it is put in. Else it waits for LOAD.
    pub auto_load: bool,
    /// How often a drive answers "becoming ready" after a load.
    pub load_polls: u32,
    /// The same when a cartridge is loaded for the first time, if that is more: LTO-9 drives calibrate
    /// it then, for up to two hours.
    pub first_load_polls: u32,
    /// Whether the host adapter tells how many bytes did not move. Else only sense does.
    pub residual_in_header: bool,
    /// The most bytes that one command may move.
    pub max_transfer: u32,
    /// Bytes that a drive accepts before they are on the medium.
    pub buffer_bytes: u64,
    /// Whether early warning is reported for the first write past it only.
    pub early_warning_once: bool,
    /// Whether programmable early warning is reported for each write past it.
    pub programmable_early_warning_each: bool,
    /// What 100 bytes of blocks take of the tape: less than 100 if they compress.
    pub stored_percent: u32,
    /// What a block that was written anew, after a recovered error, takes of the tape besides.
    pub rewrite_bytes: u64,
    /// Step of the capacity pages, in MiB.
    pub capacity_step_mib: u64,
    /// Whether the library gives the drives their keys, so that they take none from a host.
    pub library_manages_keys: bool,
    /// Whether the library tells the serial numbers of its drives.
    pub tells_drive_serials: bool,
}

/// What an element of the library is for (SMC, element types).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ElementKind {
    /// The robot's hand.
    Picker,
    /// A storage slot.
    Slot,
    /// An import/export slot.
    MailSlot,
    /// A drive.
    Drive,
}

/// One place for a cartridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Element {
    /// Element address.
    pub address: u16,
    /// What it is for.
    pub kind: ElementKind,
    /// The cartridge in it.
    pub barcode: Option<Barcode>,
    /// The slot or mail slot from which that came.
    pub source: Option<u16>,
    /// Whether an operator put it there (mail slots).
    pub placed_by_operator: bool,
}

/// What `library.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    /// Serial number of the changer; those of the drives begin with it.
    pub(crate) serial: String,
    pub(crate) generation: Generation,
    pub(crate) settings: Settings,
    pub(crate) elements: Vec<Element>,
    /// Counts the times that an operator opened the mail slot.
    pub(crate) mail_slot_visits: u64,
}

/// An emulated library in a directory.
#[derive(Clone, Debug)]
pub struct Library {
    dir: PathBuf,
}

const FIRST_PICKER: u16 = 1;
const FIRST_MAIL_SLOT: u16 = 16;
const FIRST_DRIVE: u16 = 256;
const FIRST_SLOT: u16 = 4096;
const MOST_DRIVES: u16 = 64;
const MOST_SLOTS: u16 = 1000;
const MOST_MAIL_SLOTS: u16 = 32;

impl ElementKind {
    /// Element type code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Picker => 1,
            Self::Slot => 2,
            Self::MailSlot => 3,
            Self::Drive => 4,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auto_unload: false,
            auto_load: true,
            load_polls: 1,
            first_load_polls: 0,
            residual_in_header: true,
            max_transfer: 1 << 20,
            buffer_bytes: 64 << 20,
            early_warning_once: false,
            programmable_early_warning_each: false,
            stored_percent: 100,
            rewrite_bytes: 0,
            capacity_step_mib: 1,
            library_manages_keys: false,
            tells_drive_serials: true,
        }
    }
}

impl Default for LibraryPlan {
    fn default() -> Self {
        Self {
            drives: 1,
            slots: 8,
            mail_slots: 1,
            generation: Generation::Lto8,
            settings: Settings::default(),
        }
    }
}

impl Library {
    /// Makes the files of a library without cartridges. There must be none in `dir` yet.
    ///
    /// # Errors
    ///
    /// When `dir` holds a library, or the file system refuses.
    pub fn create(dir: &Path, plan: &LibraryPlan) -> Result<Self, StorageError> {
        let library = Self { dir: dir.to_owned() };
        for sub in [library.dir.join("cartridges"), library.dir.join("drives")] {
            fs::create_dir_all(&sub).map_err(io_error("make the directory", &sub))?;
        }
        if drive_number(plan.generation).is_none() {
            let text = format!("there are no emulated {} drives", plan.generation);
            return Err(StorageError::Impossible(text));
        }
        let lock = library.lock()?;
        if library.dir.join("library.json").exists() {
            let text = format!("{} already holds an emulated library", dir.display());
            return Err(StorageError::Impossible(text));
        }
        if plan.drives > MOST_DRIVES || plan.slots > MOST_SLOTS || plan.mail_slots > MOST_MAIL_SLOTS
        {
            let text = format!(
                "an emulated library has at most {MOST_DRIVES} drives, {MOST_SLOTS} slots and {MOST_MAIL_SLOTS} mail slots"
            );
            return Err(StorageError::Impossible(text));
        }
        let elements = [
            (ElementKind::Picker, FIRST_PICKER, 1),
            (ElementKind::MailSlot, FIRST_MAIL_SLOT, plan.mail_slots),
            (ElementKind::Drive, FIRST_DRIVE, plan.drives),
            (ElementKind::Slot, FIRST_SLOT, plan.slots),
        ];
        let elements = elements.into_iter().flat_map(|(kind, first, count)| {
            (first..first + count).map(move |address| Element {
                address,
                kind,
                barcode: None,
                source: None,
                placed_by_operator: false,
            })
        });
        let contents = Contents {
            serial: format!("EMU{:06}", uuid::Uuid::new_v4().as_u128() % 1_000_000),
            generation: plan.generation,
            settings: plan.settings.clone(),
            elements: elements.collect(),
            mail_slot_visits: 0,
        };
        write_json(&library.dir.join("library.json"), &contents)?;
        drop(lock);
        Ok(library)
    }

    /// Opens the library in `dir`.
    ///
    /// # Errors
    ///
    /// When there is none, or its file is damaged.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let library = Self { dir: dir.to_owned() };
        library.contents()?;
        Ok(library)
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every place for a cartridge, and what is in it.
    ///
    /// # Errors
    ///
    /// When the file is missing or damaged.
    pub fn elements(&self) -> Result<Vec<Element>, StorageError> {
        Ok(self.contents()?.elements)
    }

    /// Buys a data cartridge of `generation`, on which `capacity_bytes` fit before early warning,
    /// and puts it in the first free slot, whose address is the result.
    ///
    /// # Errors
    ///
    /// When no slot is free or there is a cartridge with this barcode already.
    pub fn add_cartridge(
        &self,
        barcode: Barcode,
        generation: Generation,
        capacity_bytes: u64,
    ) -> Result<u16, StorageError> {
        self.add(&Cartridge::new(barcode, generation, capacity_bytes))
    }

    /// Buys a cartridge and puts it in the first free slot, whose address is the result.
    ///
    /// # Errors
    ///
    /// When no slot is free or there is a cartridge with this barcode already.
    pub fn add(&self, cartridge: &Cartridge) -> Result<u16, StorageError> {
        let lock = self.lock()?;
        let mut contents = self.contents()?;
        let address = contents.put_first(ElementKind::Slot, cartridge.barcode)?;
        self.make(cartridge)?;
        self.replace(&contents, &lock)?;
        Ok(address)
    }

    /// Buys a cartridge and lays it on the shelf beside the library.
    ///
    /// # Errors
    ///
    /// When there is a cartridge with this barcode already.
    pub fn shelve_cartridge(&self, cartridge: &Cartridge) -> Result<(), StorageError> {
        let _lock = self.lock()?;
        self.make(cartridge)
    }

    /// The facts of a cartridge, wherever it is.
    ///
    /// # Errors
    ///
    /// When there is none with this barcode.
    pub fn cartridge(&self, barcode: Barcode) -> Result<Cartridge, StorageError> {
        Cartridge::read(&self.sidecar(barcode))
    }

    /// Changes the facts of a cartridge: its tab, say.
    ///
    /// # Errors
    ///
    /// When it is in a drive, which keeps those facts itself while it is there.
    pub fn change_cartridge(
        &self,
        barcode: Barcode,
        change: impl FnOnce(&mut Cartridge),
    ) -> Result<(), StorageError> {
        let _lock = self.lock()?;
        let contents = self.contents()?;
        contents.refuse_in_drive(barcode)?;
        let mut cartridge = self.cartridge(barcode)?;
        change(&mut cartridge);
        cartridge.write(&self.sidecar(barcode))
    }

    /// Someone puts the sticker of each of two cartridges on the other. The tapes and the chips
    /// stay what they are.
    ///
    /// # Errors
    ///
    /// When one of them is in a drive, or there is no such cartridge.
    pub fn swap_stickers(&self, first: Barcode, second: Barcode) -> Result<(), StorageError> {
        let _lock = self.lock()?;
        let contents = self.contents()?;
        for barcode in [first, second] {
            contents.refuse_in_drive(barcode)?;
        }
        let (mut one, mut other) = (self.cartridge(first)?, self.cartridge(second)?);
        let tapes = [self.tape(first), self.tape(second)];
        let aside = tapes[0].with_extension("aside");
        for (from, to) in [(&tapes[0], &aside), (&tapes[1], &tapes[0]), (&aside, &tapes[1])] {
            fs::rename(from, to).map_err(io_error("rename", from))?;
        }
        (one.barcode, other.barcode) = (second, first);
        one.write(&self.sidecar(second))?;
        other.write(&self.sidecar(first))
    }

    /// The barcodes of all cartridges, in the library and on the shelf, in order.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn cartridges(&self) -> Result<Vec<Barcode>, StorageError> {
        let dir = self.dir.join("cartridges");
        let failed = || io_error("list", &dir);
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            let barcode = name.to_str().and_then(|name| name.strip_suffix(".json"));
            found.extend(barcode.and_then(|barcode| barcode.parse::<Barcode>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// An operator takes a cartridge from the shelf and puts it in the first free mail slot, whose
    /// address is the result.
    ///
    /// # Errors
    ///
    /// When there is no such cartridge, it is in the library, or no mail slot is free.
    pub fn insert(&self, barcode: Barcode) -> Result<u16, StorageError> {
        let lock = self.lock()?;
        let mut contents = self.contents()?;
        self.cartridge(barcode)?;
        let address = contents.put_first(ElementKind::MailSlot, barcode)?;
        contents.mail_slot_visits += 1;
        self.replace(&contents, &lock)?;
        Ok(address)
    }

    /// An operator takes what is in the mail slot at `address` and lays it on the shelf.
    ///
    /// # Errors
    ///
    /// When that is no mail slot or it is empty.
    pub fn take(&self, address: u16) -> Result<Barcode, StorageError> {
        let lock = self.lock()?;
        let mut contents = self.contents()?;
        let element = contents
            .elements
            .iter_mut()
            .find(|element| element.address == address && element.kind == ElementKind::MailSlot);
        let barcode = element.and_then(|element| {
            (element.source, element.placed_by_operator) = (None, false);
            element.barcode.take()
        });
        let barcode = barcode.ok_or_else(|| {
            StorageError::Impossible(format!("mail slot {address} has no cartridge"))
        })?;
        contents.mail_slot_visits += 1;
        self.replace(&contents, &lock)?;
        Ok(barcode)
    }

    /// An operator takes a cartridge from the shelf and pushes it into drive `drive` (from 0).
    ///
    /// # Errors
    ///
    /// When there is no such cartridge or drive, it is in the library, or the drive is occupied.
    pub fn push_in(&self, drive: u16, barcode: Barcode) -> Result<(), StorageError> {
        let lock = self.lock()?;
        let mut contents = self.contents()?;
        self.cartridge(barcode)?;
        contents.refuse_second(barcode)?;
        let element = contents.drive_mut(drive)?;
        if let Some(occupant) = element.barcode {
            return Err(StorageError::Impossible(format!("drive {drive} holds {occupant}")));
        }
        (element.barcode, element.source) = (Some(barcode), None);
        self.replace(&contents, &lock)?;
        self.notify(drive)
    }

    /// An operator pulls out what drive `drive` (from 0) has ejected and lays it on the shelf.
    ///
    /// # Errors
    ///
    /// When the drive is empty, or its cartridge is not unloaded.
    pub fn pull_out(&self, drive: u16) -> Result<Barcode, StorageError> {
        let lock = self.lock()?;
        let mut contents = self.contents()?;
        if bay(&self.dir, drive).threaded {
            let text = format!("drive {drive} has not unloaded its cartridge");
            return Err(StorageError::Impossible(text));
        }
        let element = contents.drive_mut(drive)?;
        element.source = None;
        let barcode = element
            .barcode
            .take()
            .ok_or_else(|| StorageError::Impossible(format!("drive {drive} has no cartridge")))?;
        self.replace(&contents, &lock)?;
        self.notify(drive)?;
        Ok(barcode)
    }

    /// The serial number of drive `drive` (from 0); `None` when there is no such drive, or the
    /// library cannot be read.
    pub fn drive_serial(&self, drive: u16) -> Option<String> {
        let contents = self.contents().ok()?;
        contents.drive(drive).map(|_| contents.drive_serial(drive))
    }

    /// The tape file of a cartridge.
    pub fn tape(&self, barcode: Barcode) -> PathBuf {
        self.dir.join("cartridges").join(format!("{barcode}.tap"))
    }

    pub(crate) fn sidecar(&self, barcode: Barcode) -> PathBuf {
        self.dir.join("cartridges").join(format!("{barcode}.json"))
    }

    pub(crate) fn contents(&self) -> Result<Contents, StorageError> {
        read_json(&self.dir.join("library.json"))
    }

    /// Keeps every other process from changing the library until it is dropped.
    pub(crate) fn lock(&self) -> Result<File, StorageError> {
        let path = self.dir.join("library.lock");
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(io_error("open", &path))?;
        file.lock().map_err(io_error("lock", &path))?;
        Ok(file)
    }

    /// Puts `contents` in force. The lock shows that nobody changed them meanwhile.
    pub(crate) fn replace(&self, contents: &Contents, _lock: &File) -> Result<(), StorageError> {
        write_json(&self.dir.join("library.json"), contents)
    }

    /// Lets a drive know that something was put in it or taken from it.
    pub(crate) fn notify(&self, drive: u16) -> Result<(), StorageError> {
        let path = bay_path(&self.dir, drive);
        let failed = || io_error("write", &path);
        let file = open_bay(&path).map_err(failed())?;
        let changes = read_bay(&file).map_err(failed())?;
        file.write_all_at(&(changes + 1).to_le_bytes(), 0).map_err(failed())
    }

    fn make(&self, cartridge: &Cartridge) -> Result<(), StorageError> {
        let tape = self.tape(cartridge.barcode);
        Image::create(&tape).map_err(io_error("make the tape file", &tape))?;
        cartridge.write(&self.sidecar(cartridge.barcode))
    }
}

impl Contents {
    /// Where a cartridge is, unless it is on the shelf.
    pub(crate) fn place_of(&self, barcode: Barcode) -> Option<&Element> {
        self.elements.iter().find(|element| element.barcode == Some(barcode))
    }

    /// The drive with this number, from 0.
    pub(crate) fn drive(&self, number: u16) -> Option<&Element> {
        let mut drives = self.elements.iter().filter(|element| element.kind == ElementKind::Drive);
        drives.nth(usize::from(number))
    }

    /// How many drives there are.
    pub(crate) fn drives(&self) -> u16 {
        let drives = self.elements.iter().filter(|element| element.kind == ElementKind::Drive);
        u16::try_from(drives.count()).expect("element addresses are 16 bits")
    }

    /// The number, from 0, of the drive at `address`.
    pub(crate) fn drive_number(&self, address: u16) -> Option<u16> {
        let mut drives = self.elements.iter().filter(|element| element.kind == ElementKind::Drive);
        drives.position(|element| element.address == address).and_then(|n| u16::try_from(n).ok())
    }

    /// Serial number of the drive with this number.
    pub(crate) fn drive_serial(&self, number: u16) -> String {
        format!("{}{number:x}", self.serial)
    }

    fn drive_mut(&mut self, number: u16) -> Result<&mut Element, StorageError> {
        let mut drives =
            self.elements.iter_mut().filter(|element| element.kind == ElementKind::Drive);
        drives
            .nth(usize::from(number))
            .ok_or_else(|| StorageError::Impossible(format!("there is no drive {number}")))
    }

    fn refuse_in_drive(&self, barcode: Barcode) -> Result<(), StorageError> {
        match self.place_of(barcode) {
            Some(element) if element.kind == ElementKind::Drive => {
                Err(StorageError::Impossible(format!("{barcode} is in a drive")))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn refuse_second(&self, barcode: Barcode) -> Result<(), StorageError> {
        match self.place_of(barcode) {
            None => Ok(()),
            Some(element) => Err(StorageError::Impossible(format!(
                "{barcode} is in the library already, at element {}",
                element.address
            ))),
        }
    }

    fn put_first(&mut self, kind: ElementKind, barcode: Barcode) -> Result<u16, StorageError> {
        self.refuse_second(barcode)?;
        let mut free = self
            .elements
            .iter_mut()
            .filter(|element| element.kind == kind && element.barcode.is_none());
        let element = free.next().ok_or_else(|| {
            StorageError::Impossible(format!("no place is free in the library for {barcode}"))
        })?;
        element.barcode = Some(barcode);
        element.source = None;
        element.placed_by_operator = kind == ElementKind::MailSlot;
        Ok(element.address)
    }
}

/// The file by which a drive learns that its cartridge was changed: a counter of eight bytes.
pub(crate) fn bay_path(dir: &Path, drive: u16) -> PathBuf {
    dir.join("drives").join(format!("drive{drive}.bay"))
}

pub(crate) fn open_bay(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

/// How often the cartridge in a drive was changed.
pub(crate) fn read_bay(file: &File) -> io::Result<u64> {
    let mut bytes = [0; 8];
    match file.read_at(&mut bytes, 0)? {
        8 => Ok(u64::from_le_bytes(bytes)),
        _ => Ok(0),
    }
}

pub(crate) fn io_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> StorageError + use<> {
    let path = path.to_owned();
    move |source| StorageError::Io { action, path, source }
}
