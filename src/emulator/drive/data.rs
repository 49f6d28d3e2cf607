//! Data and marks: READ, WRITE, WRITE FILEMARKS, ERASE, VERIFY (SSC).

use crate::emulator::{
    answer::{Answer, Check, invalid_field, received},
    drive::{EmulatedDrive, medium::Loaded},
    generation::{Compatibility, compatibility},
    tape::{Kind, Object},
};
use crate::scsi::{
    cdb::Overwrite,
    protection::GUARD,
    sense::{Code, Key, Sense},
};
use crate::transport::Transfer;

/// The largest block, in bytes (READ BLOCK LIMITS).
pub(crate) const BLOCK_LIMIT: u32 = 8 << 20;

/// Bytes behind each block while block protection is on.
#[expect(clippy::cast_possible_truncation, reason = "four")]
const GUARD_LEN: u32 = GUARD as u32;

/// TapeAlert flags that data commands raise.
const ALERT_WRITE_PROTECT: u8 = 9;
const ALERT_READ_FAILURE: u8 = 5;
const ALERT_WORM_OVERWRITE: u8 = 60;

/// How many blocks of how many bytes a command moves.
#[derive(Clone, Copy, Debug)]
struct Request {
    fixed: bool,
    count: u64,
    size: u32,
}

impl Request {
    /// What is left of it after `done` blocks, as sense information counts it.
    fn residue(self, done: u64) -> Option<i64> {
        let blocks = self.count - done;
        let residue = if self.fixed { blocks } else { blocks * u64::from(self.size) };
        i64::try_from(residue).ok()
    }
}

impl EmulatedDrive {
    fn request(&self, fixed: bool, length: u32) -> Result<Request, Check> {
        if !fixed {
            return Ok(Request { fixed, count: u64::from(length != 0), size: length });
        }
        match self.registers.modes.block_length() {
            0 => Err(invalid_field(1)),
            size => Ok(Request { fixed, count: u64::from(length), size }),
        }
    }

    pub(crate) fn write(
        &mut self,
        fixed: bool,
        length: u32,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        let request = self.request(fixed, length)?;
        if request.size > BLOCK_LIMIT {
            return Err(invalid_field(2));
        }
        let data = received(transfer, request.count * u64::from(request.size))?;
        self.usable()?;
        self.may_write()?;
        if data.is_empty() {
            return Ok(0);
        }
        self.begin_writing()?;
        let size = usize::try_from(request.size).map_err(|_| invalid_field(2))?;
        let guard = self.registers.modes.guard_on_write();
        let before = self.used_before(self.stand.position);
        let mut moved = 0;
        for (done, chunk) in (0..).zip(data.chunks_exact(size)) {
            let block = match guard {
                Some(method) => method.checked(chunk).ok_or_else(|| guard_failed(moved))?,
                None => chunk,
            };
            if !self.has_room(self.stored(u64::from(request.size))) {
                let mut check = self.overflow(0);
                check.transferred = moved;
                if let Some(sense) = &mut check.sense {
                    sense.information = request.residue(done);
                }
                return Err(check);
            }
            let at = self.stand.position;
            self.put_block(at, block)?;
            self.stand.position += 1;
            moved += size;
        }
        self.count_written(moved as u64);
        if self.registers.modes.is_unbuffered() {
            self.flush();
        }
        self.warn_past(before, moved)
    }

    fn count_written(&mut self, bytes: u64) {
        self.registers.counters.bytes_written += bytes;
        self.registers.counters.mount_written += bytes;
        self.pass_bytes(bytes);
        if let Some(loaded) = &mut self.loaded {
            loaded.cartridge.bytes_written += bytes;
            loaded.changed = true;
        }
    }

    pub(crate) fn write_filemarks(&mut self, immediate: bool, count: u32) -> Answer {
        self.usable()?;
        if count == 0 {
            if !immediate {
                self.flush();
            }
            return Ok(0);
        }
        self.may_write()?;
        self.begin_writing()?;
        let before = self.used_before(self.stand.position);
        for done in 0..count {
            if !self.has_room(Kind::Filemark.cost()) {
                return Err(self.overflow(u64::from(count - done)));
            }
            let at = self.stand.position;
            self.usable()?.image.write_filemark(at)?;
            self.stand.position += 1;
        }
        if !immediate {
            self.flush();
        }
        self.warn_past(before, 0)
    }

    /// ERASE(6), short or long: nothing is behind the head any more.
    pub(crate) fn erase(&mut self) -> Answer {
        self.usable()?;
        self.may_write()?;
        if self.loaded.as_ref().is_some_and(|loaded| loaded.cartridge.worm) && self.objects() > 0 {
            return Err((Key::DataProtect, Code::WORM_OVERWRITE_ATTEMPTED).into());
        }
        self.begin_writing()?;
        self.flush();
        Ok(0)
    }

    /// FORMAT MEDIUM: only at the beginning, and to a single partition.
    pub(crate) fn format(&mut self) -> Answer {
        self.usable()?;
        if self.stand.position != 0 || self.stand.lost {
            return Err((Key::IllegalRequest, Code::COMMAND_SEQUENCE_ERROR).into());
        }
        self.erase()?;
        self.divide(u16::MAX, 0)
    }

    /// SET CAPACITY: only at the beginning, and what was on the tape is gone.
    pub(crate) fn set_capacity(&mut self, proportion: u16) -> Answer {
        self.usable()?;
        if self.stand.position != 0 || self.stand.lost {
            return Err((Key::IllegalRequest, Code::COMMAND_SEQUENCE_ERROR).into());
        }
        if self.loaded.as_ref().is_some_and(|loaded| loaded.cartridge.worm) {
            return Err((Key::DataProtect, Code::WORM_OVERWRITE_ATTEMPTED).into());
        }
        self.erase()?;
        let partitions =
            self.loaded.as_ref().map_or(0, |loaded| loaded.cartridge.additional_partitions);
        self.divide(proportion, partitions)
    }

    fn divide(&mut self, proportion: u16, additional_partitions: u8) -> Answer {
        if let Some(Loaded { cartridge, changed, .. }) = &mut self.loaded {
            cartridge.proportion = proportion;
            cartridge.additional_partitions = additional_partitions;
            *changed = true;
        }
        self.show_medium();
        self.registers_changed = true;
        self.save_cartridge()?;
        Ok(0)
    }

    /// Whether anything may be written where the drive stands.
    fn may_write(&mut self) -> Result<(), Check> {
        self.known_position()?;
        if self.registers.write_refused {
            return Err((Key::HardwareError, Code::INTERNAL_TARGET_FAILURE).into());
        }
        let generation = self.identity.generation;
        let protected_by_host = self.registers.modes.is_write_protected();
        let append_only = self.registers.modes.is_append_only();
        let (position, overwrite_at) = (self.stand.position, self.overwrite_at.take());
        let loaded = self.usable()?;
        let protected = loaded.cartridge.write_protected || !loaded.image.is_writable();
        let index = loaded.image.index();
        let objects = index.objects();
        let only_marks =
            index.files() - index.files_before(position) == objects.saturating_sub(position);
        let (density, worm) = (loaded.cartridge.density, loaded.cartridge.worm);
        if protected || protected_by_host {
            self.raise_alert(ALERT_WRITE_PROTECT);
            return Err((Key::DataProtect, Code::WRITE_PROTECTED).into());
        }
        if compatibility(generation, density) != Compatibility::Writes {
            return Err((Key::DataProtect, Code::CANNOT_WRITE_INCOMPATIBLE_FORMAT).into());
        }
        if worm && !only_marks {
            self.raise_alert(ALERT_WORM_OVERWRITE);
            return Err((Key::DataProtect, Code::WORM_OVERWRITE_ATTEMPTED).into());
        }
        if append_only && position != objects && overwrite_at != Some(position) {
            return Err((Key::DataProtect, Code::WRITE_APPEND_POSITION_ERROR).into());
        }
        Ok(())
    }

    /// ALLOW OVERWRITE: for one write at this very position.
    pub(crate) fn allow_overwrite(
        &mut self,
        what: Overwrite,
        (partition, object): (u8, u64),
    ) -> Answer {
        self.usable()?;
        self.known_position()?;
        if !self.registers.modes.is_append_only() {
            return Err((Key::IllegalRequest, Code::COMMAND_SEQUENCE_ERROR).into());
        }
        self.overwrite_at = match what {
            Overwrite::Nothing => None,
            Overwrite::CurrentPosition if partition != 0 => return Err(invalid_field(3)),
            Overwrite::CurrentPosition if object != self.stand.position => {
                return Err(invalid_field(4));
            }
            Overwrite::CurrentPosition => Some(object),
            Overwrite::Format => return Err(invalid_field(2)),
        };
        Ok(0)
    }

    /// Turns to writing: what is behind the head is gone before the first object is accepted, and
    /// the drive's own files say that it stands at the end of data from here on.
    fn begin_writing(&mut self) -> Result<(), Check> {
        if self.stand.appending {
            return Ok(());
        }
        let at = self.stand.position;
        if let Some(loaded) = &mut self.loaded {
            loaded.image.truncate(at)?;
            if at == 0 && loaded.cartridge.eaten_bytes > 0 {
                (loaded.cartridge.eaten_bytes, loaded.changed) = (0, true);
            }
            if loaded.cartridge.end_of_data_missing || !loaded.written {
                loaded.cartridge.end_of_data_missing = false;
                loaded.cartridge.change_reference += u32::from(!loaded.written);
                (loaded.written, loaded.changed) = (true, true);
            }
        }
        self.save_cartridge()?;
        self.stand.flushed = self.stand.flushed.min(at);
        self.stand.appending = true;
        Ok(self.save()?)
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| {
            let cartridge = &loaded.cartridge;
            let used = self.used_before(self.stand.position);
            used.saturating_add(bytes) <= cartridge.room_bytes() + cartridge.reserve_bytes
        })
    }

    /// VOLUME OVERFLOW: the medium ends here, with `residue` of the command left undone.
    pub(crate) fn overflow(&self, residue: u64) -> Check {
        let sense = Sense::new(Key::VolumeOverflow, Code::END_OF_PARTITION_DETECTED);
        let information = i64::try_from(residue).ok();
        Sense { end_of_medium: true, information, ..sense }.into()
    }

    /// Ends a command that has written: with a warning if the tape is nearly full.
    fn warn_past(&self, before: u64, transferred: usize) -> Answer {
        let used = self.used_before(self.stand.position);
        let (warning, programmable) = self.warnings();
        let each = !self.settings.early_warning_once;
        if used > warning && (each || before <= warning) {
            return Err(Check::after(transferred, self::warning(Code::END_OF_PARTITION_DETECTED)));
        }
        let each = self.settings.programmable_early_warning_each;
        if used > programmable && used <= warning && (each || before <= programmable) {
            let code = Code::PROGRAMMABLE_EARLY_WARNING_DETECTED;
            return Err(Check::after(transferred, self::warning(code)));
        }
        Ok(transferred)
    }

    /// Bytes used beyond which early warning holds, and programmable early warning.
    pub(crate) fn warnings(&self) -> (u64, u64) {
        let capacity = self.loaded.as_ref().map_or(0, |loaded| loaded.cartridge.room_bytes());
        match self.registers.modes.programmable_early_warning_bytes() {
            0 => (capacity, u64::MAX),
            zone => (capacity, capacity.saturating_sub(zone)),
        }
    }

    pub(crate) fn read(
        &mut self,
        fixed: bool,
        suppress_length: bool,
        length: u32,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        let request = self.request(fixed, length)?;
        if fixed && suppress_length {
            return Err(invalid_field(1));
        }
        self.usable()?;
        self.known_position()?;
        self.settle();
        let Transfer::FromDevice(buffer) = transfer else {
            return if request.count == 0 { Ok(0) } else { Err(invalid_field(2)) };
        };
        let asked = usize::try_from(request.size).unwrap_or(usize::MAX);
        let mut moved = 0;
        for done in 0..request.count {
            let room = &mut buffer[moved..];
            let fits = asked.min(room.len());
            let length = self.read_one(request.residue(done), &mut room[..fits]);
            let length = length.map_err(|check| Check { transferred: moved, ..check })?;
            moved += fits.min(usize::try_from(length).unwrap_or(usize::MAX));
            // SSC, READ(6): with SILI a short block is no error, nor a long one while the block
            // length of the mode parameters is zero.
            let silent = suppress_length
                && (length < request.size || self.registers.modes.block_length() == 0);
            if length != request.size && !silent {
                let sense =
                    Sense { incorrect_length: true, ..Sense::new(Key::NoSense, Code::NONE) };
                let difference = i64::from(request.size) - i64::from(length);
                let information = if fixed { request.residue(done) } else { Some(difference) };
                return Err(Check::after(moved, Sense { information, ..sense }));
            }
        }
        Ok(moved)
    }

    /// Reads the front of the block under the head into `room`, and passes it. The result is the
    /// length of the whole block.
    fn read_one(&mut self, information: Option<i64>, room: &mut [u8]) -> Result<u32, Check> {
        let Some(object) = self.object_here() else { return Err(self.end_of_data(information)) };
        self.stand.position += 1;
        let length = match object.kind {
            Kind::Filemark => return Err(filemark(information)),
            Kind::Bad(_) => return Err(self.unreadable(information)),
            Kind::Block(length) | Kind::Sealed(length) => length,
        };
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        let length_here = bytes.min(room.len());
        if let Err(check) = self.get_block(object, &mut room[..length_here]) {
            // What cannot be decrypted stays before the head (SSC, Decryption).
            self.stand.position -= 1;
            return Err(check);
        }
        let guard = self.registers.modes.guard_on_read();
        if let Some(method) = guard
            && let Some((block, behind)) = room.split_at_mut_checked(bytes)
            && let Some(behind) = behind.first_chunk_mut()
        {
            *behind = method.guard()(block);
        }
        if let Some(loaded) = &mut self.loaded {
            loaded.cartridge.bytes_read += u64::from(length);
            loaded.changed = true;
        }
        self.registers.counters.bytes_read += u64::from(length);
        self.registers.counters.mount_read += u64::from(length);
        self.pass_bytes(u64::from(length));
        Ok(if guard.is_some() { length + GUARD_LEN } else { length })
    }

    /// VERIFY(6): reads without delivering, to end of data, by filemarks or by blocks.
    pub(crate) fn verify(&mut self, to_end: bool, by_filemarks: bool, length: u32) -> Answer {
        self.usable()?;
        self.known_position()?;
        self.settle();
        let mut left = if to_end { u64::MAX } else { u64::from(length) };
        while left > 0 {
            let information = i64::try_from(left).ok();
            let Some(object) = self.object_here() else {
                return if to_end { Ok(0) } else { Err(self.end_of_data(information)) };
            };
            self.stand.position += 1;
            match object.kind {
                Kind::Bad(_) => return Err(self.unreadable(information)),
                Kind::Filemark if by_filemarks || to_end => left -= 1,
                Kind::Filemark => return Err(filemark(information)),
                Kind::Block(_) | Kind::Sealed(_) if by_filemarks => {}
                Kind::Block(_) | Kind::Sealed(_) => left -= 1,
            }
        }
        Ok(0)
    }

    /// Passes the object under the head without reading it.
    pub(crate) fn pass_object(&mut self) {
        self.settle();
        self.stand.position = (self.stand.position + 1).min(self.objects());
    }

    pub(crate) fn object_here(&self) -> Option<Object> {
        self.loaded.as_ref()?.image.index().object(self.stand.position)
    }

    /// BLANK CHECK, or a medium error where a power loss left no end of data.
    pub(crate) fn end_of_data(&self, information: Option<i64>) -> Check {
        let missing = self.loaded.as_ref().is_some_and(|at| at.cartridge.end_of_data_missing);
        let (key, code) = if missing {
            (Key::MediumError, Code::END_OF_DATA_NOT_FOUND)
        } else {
            (Key::BlankCheck, Code::END_OF_DATA_DETECTED)
        };
        Sense { information, ..Sense::new(key, code) }.into()
    }

    fn unreadable(&mut self, information: Option<i64>) -> Check {
        self.registers.counters.read_errors += 1;
        self.raise_alert(ALERT_READ_FAILURE);
        let sense = Sense::new(Key::MediumError, Code::UNRECOVERED_READ_ERROR);
        Sense { information, ..sense }.into()
    }
}

/// The block that came after `moved` bytes is not as the host sent it. It is not written.
fn guard_failed(moved: usize) -> Check {
    Check::after(moved, Sense::new(Key::HardwareError, Code::BLOCK_GUARD_CHECK_FAILED))
}

/// A filemark was met, and passed.
pub(crate) fn filemark(information: Option<i64>) -> Check {
    let sense = Sense::new(Key::NoSense, Code::FILEMARK_DETECTED);
    Sense { filemark: true, information, ..sense }.into()
}

/// The command was done, and nothing of it is left; but the end is near.
pub(crate) fn warning(code: Code) -> Sense {
    Sense { end_of_medium: true, information: Some(0), ..Sense::new(Key::NoSense, code) }
}
