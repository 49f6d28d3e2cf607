//! The cartridge in the bay: putting it in, threading it, giving it up, losing power with it.

use crate::emulator::{
    answer::{Answer, Check},
    drive::{
        EmulatedDrive,
        pages::ModePages,
        state::{Registers, Seat, Stand},
    },
    generation::{Compatibility, compatibility},
    library::{bay_path, io_error, read_bay},
    tape::{Cartridge, Image, StorageError},
};
use crate::ident::Barcode;
use crate::scsi::sense::{Code, Key};

/// How many past loads the chip names.
const LOADS_REMEMBERED: usize = 4;
/// How often a cleaning cartridge cleans.
const CLEANINGS: u64 = 50;
/// TapeAlert flags: clean now, clean periodically, expired cleaning cartridge.
const CLEANING_ALERTS: [u8; 3] = [20, 21, EXPIRED_ALERT];
const EXPIRED_ALERT: u8 = 22;

/// A cartridge that is in.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) cartridge: Cartridge,
    pub(crate) image: Image,
    /// Whether the sidecar is out of date.
    pub(crate) changed: bool,
    /// Whether anything was written since it was loaded.
    pub(crate) written: bool,
}

impl Loaded {
    pub(crate) fn discarding(cartridge: Cartridge) -> Self {
        Self { cartridge, image: Image::discarding(), changed: false, written: false }
    }
}

impl EmulatedDrive {
    /// Takes up where the last process left the drive.
    pub(crate) fn resume(&mut self) -> Result<(), StorageError> {
        if let Some(barcode) = self.barcode_in_bay()?
            && self.stand.seat != Seat::Empty
            && self.changes()? == self.stand.changes
        {
            self.take_in(barcode)?;
            let objects = self.objects();
            if self.stand.appending {
                self.stand.position = objects;
                self.settle_buffer();
            }
            self.stand.position = self.stand.position.min(objects);
            self.stand.flushed = self.stand.flushed.min(objects);
            self.used_at_flush =
                self.used_before(self.stand.flushed.max(if self.stand.appending {
                    0
                } else {
                    objects
                }));
        }
        self.look_into_bay()
    }

    /// Notices that a robot or an operator changed the cartridge.
    pub(crate) fn notice_change(&mut self) -> Result<(), Check> {
        match &self.home {
            None => Ok(()),
            Some(home) if read_bay(&home.bay)? == self.stand.changes => Ok(()),
            Some(_) => Ok(self.look_into_bay()?),
        }
    }

    fn changes(&self) -> Result<u64, StorageError> {
        let Some(home) = &self.home else { return Ok(0) };
        let path = bay_path(home.library.dir(), home.number);
        read_bay(&home.bay).map_err(io_error("read", &path))
    }

    fn barcode_in_bay(&self) -> Result<Option<Barcode>, StorageError> {
        let Some(home) = &self.home else { return Ok(None) };
        let contents = home.library.contents()?;
        Ok(contents.drive(home.number).and_then(|element| element.barcode))
    }

    fn look_into_bay(&mut self) -> Result<(), StorageError> {
        let changes = self.changes()?;
        if self.stand.changes == changes && (self.loaded.is_some() || self.home.is_none()) {
            return Ok(());
        }
        let barcode = self.barcode_in_bay()?;
        if self.stand.changes == changes && barcode.is_none() == (self.stand.seat == Seat::Empty) {
            return Ok(());
        }
        // Whatever was in has been pulled out: its files may be another drive's by now.
        self.loaded = None;
        self.crypto.demount()?;
        self.stand = Stand { changes, prevented: self.stand.prevented, ..Stand::POWERED_ON };
        self.registers.modes.forget_medium();
        self.registers_changed = true;
        if let Some(barcode) = barcode {
            self.take_in(barcode)?;
            if self.settings.auto_load {
                self.thread()?;
            } else {
                self.stand.seat = Seat::Seated;
            }
        }
        Ok(())
    }

    /// Opens the files of the cartridge in the bay.
    fn take_in(&mut self, barcode: Barcode) -> Result<(), StorageError> {
        let Some(home) = &self.home else { return Ok(()) };
        let cartridge = home.library.cartridge(barcode)?;
        let path = home.library.tape(barcode);
        let image = Image::open(&path).map_err(io_error("open", &path))?;
        self.loaded = Some(Loaded { cartridge, image, changed: false, written: false });
        self.show_medium();
        Ok(())
    }

    /// Threads the cartridge and notes that on its chip.
    fn thread(&mut self) -> Result<(), StorageError> {
        let by = format!("TAPEVLT {}", self.identity.serial);
        if let Some(loaded) = &mut self.loaded {
            loaded.cartridge.load_count += 1;
            loaded.cartridge.loaded_by.insert(0, by);
            loaded.cartridge.loaded_by.truncate(LOADS_REMEMBERED);
            (loaded.changed, loaded.written) = (true, false);
        }
        // A cleaning cartridge is never ready: it is seen at work, and then put out.
        let polls = self.settings.load_polls.max(u32::from(self.is_cleaning()));
        let is_first = self.loaded.as_ref().is_some_and(|loaded| loaded.cartridge.load_count == 1);
        let polls = if is_first { polls.max(self.settings.first_load_polls) } else { polls };
        let seat = if polls == 0 { Seat::Ready } else { Seat::Loading(polls) };
        let objects = self.objects();
        self.stand = Stand {
            seat,
            position: 0,
            flushed: objects,
            appending: false,
            lost: false,
            ..self.stand
        };
        self.used_at_flush = self.used_before(objects);
        self.registers.counters.loads += 1;
        self.registers.counters.mount_written = 0;
        self.registers.counters.mount_read = 0;
        self.registers.attention(Code::MEDIUM_MAY_HAVE_CHANGED, None);
        self.registers_changed = true;
        self.show_medium();
        self.save_cartridge()
    }

    pub(crate) fn test_unit_ready(&mut self) -> Answer {
        match self.stand.seat {
            Seat::Empty | Seat::Ejected => Err((Key::NotReady, Code::NO_MEDIUM).into()),
            Seat::Seated => Err((Key::NotReady, Code::INITIALIZING_COMMAND_REQUIRED).into()),
            Seat::Loading(polls) if self.is_cleaning() => {
                match polls {
                    0 | 1 => self.clean(),
                    _ => self.stand.seat = Seat::Loading(polls - 1),
                }
                Err((Key::NotReady, Code::CLEANING_CARTRIDGE_PRESENT).into())
            }
            Seat::Loading(polls) => {
                self.stand.seat = if polls <= 1 { Seat::Ready } else { Seat::Loading(polls - 1) };
                Err((Key::NotReady, Code::BECOMING_READY).into())
            }
            Seat::Ready => self.usable().map(|_| 0),
        }
    }

    fn is_cleaning(&self) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| loaded.cartridge.barcode.is_cleaning())
    }

    /// The cleaning cartridge has done its work, if it is not used up, and is put out.
    fn clean(&mut self) {
        let loads = self.loaded.as_ref().map_or(0, |loaded| loaded.cartridge.load_count);
        if loads > CLEANINGS {
            self.raise_alert(EXPIRED_ALERT);
        } else {
            self.registers.alerts.retain(|flag| !CLEANING_ALERTS.contains(flag));
        }
        self.stand.seat = Seat::Ejected;
        self.registers.modes.forget_medium();
        self.registers_changed = true;
    }

    /// The cartridge, if it is threaded and of a format that this drive takes.
    pub(crate) fn usable(&mut self) -> Result<&mut Loaded, Check> {
        if self.stand.seat != Seat::Ready {
            self.test_unit_ready()?;
        }
        let generation = self.identity.generation;
        let loaded = self.loaded.as_mut().ok_or((Key::NotReady, Code::NO_MEDIUM))?;
        if loaded.cartridge.barcode.is_cleaning() {
            return Err((Key::NotReady, Code::CLEANING_CARTRIDGE_PRESENT).into());
        }
        match compatibility(generation, loaded.cartridge.density) {
            Compatibility::Writes | Compatibility::Reads => Ok(loaded),
            Compatibility::Neither => Err((Key::MediumError, Code::INCOMPATIBLE_MEDIUM).into()),
        }
    }

    /// The cartridge, if its chip can be read: it need not be threaded.
    pub(crate) fn chip(&mut self) -> Result<&mut Loaded, Check> {
        match self.stand.seat {
            Seat::Empty | Seat::Ejected => Err((Key::NotReady, Code::NO_MEDIUM).into()),
            Seat::Seated | Seat::Loading(_) | Seat::Ready => {
                Ok(self.loaded.as_mut().ok_or((Key::NotReady, Code::NO_MEDIUM))?)
            }
        }
    }

    pub(crate) fn load(&mut self, immediate: bool, hold: bool) -> Answer {
        match self.stand.seat {
            Seat::Empty => return Err((Key::NotReady, Code::NO_MEDIUM).into()),
            Seat::Loading(_) => return self.test_unit_ready(),
            Seat::Ready => return self.rewind(),
            Seat::Ejected | Seat::Seated if hold => {
                self.stand.seat = Seat::Seated;
                return Ok(0);
            }
            Seat::Ejected | Seat::Seated => self.thread()?,
        }
        if !immediate && !self.is_cleaning() {
            self.stand.seat = Seat::Ready;
        }
        Ok(0)
    }

    pub(crate) fn unload(&mut self) -> Answer {
        match self.stand.seat {
            Seat::Empty | Seat::Ejected => return Ok(0),
            Seat::Seated | Seat::Loading(_) | Seat::Ready => {}
        }
        if self.stand.prevented {
            return Err((Key::IllegalRequest, Code::MEDIUM_REMOVAL_PREVENTED).into());
        }
        self.flush();
        self.save_cartridge()?;
        self.save_index();
        self.stand = Stand {
            seat: Seat::Ejected,
            position: 0,
            flushed: 0,
            appending: false,
            lost: false,
            ..self.stand
        };
        self.registers.modes.forget_medium();
        self.crypto.demount()?;
        self.registers.write_refused = false;
        self.registers_changed = true;
        Ok(0)
    }

    /// Tells the mode pages what is loaded.
    pub(crate) fn show_medium(&mut self) {
        let generation = self.identity.generation;
        if let Some(loaded) = &self.loaded {
            let can = compatibility(generation, loaded.cartridge.density);
            let writable = can == Compatibility::Writes
                && !loaded.cartridge.write_protected
                && loaded.image.is_writable();
            self.registers.modes.show_medium(&loaded.cartridge, writable);
        }
    }

    pub(crate) fn objects(&self) -> u64 {
        self.loaded.as_ref().map_or(0, |loaded| loaded.image.index().objects())
    }

    pub(crate) fn used_before(&self, object: u64) -> u64 {
        let Some(loaded) = self.loaded.as_ref().filter(|_| object > 0) else { return 0 };
        self.stored(loaded.image.index().used_before(object)) + loaded.cartridge.eaten_bytes
    }

    /// What so many bytes of objects take of the tape.
    pub(crate) fn stored(&self, bytes: u64) -> u64 {
        let percent = u64::from(self.settings.stored_percent);
        bytes / 100 * percent + bytes % 100 * percent / 100
    }

    /// A block was written anew, which takes room.
    pub(crate) fn rewrite(&mut self) {
        let bytes = self.settings.rewrite_bytes;
        if let Some(loaded) = &mut self.loaded {
            loaded.cartridge.eaten_bytes += bytes;
            loaded.changed |= bytes > 0;
        }
    }

    /// Everything accepted is on the medium now.
    pub(crate) fn flush(&mut self) {
        let objects = self.objects();
        // The counters are worth keeping as often as data are, and no more often.
        self.registers_changed |= self.stand.flushed != objects;
        self.stand.flushed = objects;
        self.used_at_flush = self.used_before(objects);
    }

    /// What no longer fits the buffer is on the medium.
    pub(crate) fn settle_buffer(&mut self) {
        if let Some(loaded) = &self.loaded {
            let floor = loaded.image.index().tail_within(self.settings.buffer_bytes);
            self.stand.flushed = self.stand.flushed.max(floor);
        }
    }

    /// Drops the last `lost` objects, but none that is on the medium.
    pub(crate) fn lose_buffered(&mut self, lost: u64) -> Answer {
        self.settle_buffer();
        let end = self.objects();
        let keep = end.saturating_sub(lost).max(self.stand.flushed.min(end));
        if let Some(loaded) = &mut self.loaded {
            loaded.image.truncate(keep)?;
        }
        self.stand.position = self.stand.position.min(keep);
        self.flush();
        Ok(0)
    }

    pub(crate) fn save_cartridge(&mut self) -> Result<(), StorageError> {
        if let (Some(home), Some(loaded)) = (&self.home, &mut self.loaded)
            && loaded.changed
        {
            loaded.cartridge.write(&home.library.sidecar(loaded.cartridge.barcode))?;
            loaded.changed = false;
        }
        Ok(())
    }

    /// Whether the cartridge that the drive knows of is still in the bay: else its files may be
    /// another drive's by now.
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.changes().is_ok_and(|changes| changes == self.stand.changes)
    }

    pub(crate) fn save_index(&mut self) {
        if let Some(loaded) = &mut self.loaded
            && let Err(error) = loaded.image.save_index()
        {
            tracing::warn!(%error, "the index of a tape is not kept; the next open scans it");
        }
    }

    /// Loses power and gets it back.
    pub(crate) fn lose_power(&mut self, seed: u64) -> Result<(), StorageError> {
        let mut chance = Chance(seed);
        if self.stand.seat != Seat::Empty && self.loaded.is_some() {
            self.settle_buffer();
            let (end, flushed) = (self.objects(), self.stand.flushed);
            let keep = flushed + chance.below(end.saturating_sub(flushed) + 1);
            if let Some(loaded) = &mut self.loaded
                && self.stand.appending
            {
                let cut = loaded.image.truncate(keep);
                let path = self.home.as_ref().map(|home| home.library.dir().to_owned());
                cut.map_err(io_error("cut a tape in", &path.unwrap_or_default()))?;
                loaded.cartridge.end_of_data_missing = chance.below(2) == 1;
                loaded.changed = true;
            }
            self.save_cartridge()?;
            self.save_index();
        }
        self.crypto.forget()?;
        let seat = match self.stand.seat {
            Seat::Empty => Seat::Empty,
            Seat::Ejected => Seat::Ejected,
            Seat::Seated if !self.settings.auto_load => Seat::Seated,
            // A drive that finds a cartridge rewinds it and is ready.
            Seat::Seated | Seat::Loading(_) | Seat::Ready => Seat::Ready,
        };
        let counters = std::mem::take(&mut self.registers.counters);
        self.stand = Stand {
            seat,
            flushed: self.objects(),
            changes: self.stand.changes,
            ..Stand::POWERED_ON
        };
        let known: Vec<u64> = self.registers.attentions.keys().copied().collect();
        self.registers = Registers::powered_on(ModePages::new(), counters);
        self.registers.counters.power_cycles += 1;
        for nexus in known {
            self.registers.attentions.insert(nexus, Vec::new());
        }
        self.registers.attention(Code::POWER_ON_OR_RESET, None);
        self.registers_changed = true;
        self.save()
    }
}

/// A small generator of numbers (splitmix64), so that a seed tells the whole accident.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}
