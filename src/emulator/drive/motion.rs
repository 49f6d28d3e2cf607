//! Motion and position: REWIND, LOCATE, SPACE, READ POSITION (SSC).

use crate::emulator::{
    answer::{Answer, Check, deliver, invalid_field},
    drive::{EmulatedDrive, data::filemark},
    tape::Index,
};
use crate::scsi::{
    cdb::{LocateTarget, PositionForm, SpaceCode},
    position::{Extended, Flags, Long, Short},
    sense::{Code, Key, Sense},
};
use crate::transport::Transfer;

impl EmulatedDrive {
    /// Ends a spell of writing: the buffer and end of data go to the tape.
    pub(crate) fn settle(&mut self) {
        if self.stand.appending {
            self.flush();
            self.stand.appending = false;
        }
    }

    /// Whether the drive knows where it is.
    pub(crate) fn known_position(&self) -> Result<(), Check> {
        if self.stand.lost {
            return Err((Key::MediumError, Code::SEQUENTIAL_POSITIONING_ERROR).into());
        }
        Ok(())
    }

    pub(crate) fn rewind(&mut self) -> Answer {
        self.usable()?;
        self.settle();
        self.wind_to(0);
        self.registers_changed = true;
        (self.stand.position, self.stand.lost) = (0, false);
        self.save_cartridge()?;
        self.save_index();
        Ok(0)
    }

    pub(crate) fn locate(&mut self, partition: Option<u8>, to: LocateTarget) -> Answer {
        match to {
            LocateTarget::Object(object) => self.locate_object(partition, object),
            LocateTarget::File(file) => {
                self.start_motion(partition)?;
                let index = self.usable()?.image.index();
                let target = file
                    .checked_sub(1)
                    .map_or(Some(0), |before| index.filemark(before).map(|mark| mark + 1));
                match target {
                    Some(target) => self.arrive(target),
                    None => self.arrive_at_end(None),
                }
            }
            LocateTarget::EndOfData => {
                self.start_motion(partition)?;
                self.go_to_end()
            }
        }
    }

    pub(crate) fn locate_object(&mut self, partition: Option<u8>, object: u64) -> Answer {
        self.start_motion(partition)?;
        if object > self.objects() { self.arrive_at_end(None) } else { self.arrive(object) }
    }

    fn start_motion(&mut self, partition: Option<u8>) -> Result<(), Check> {
        if partition.is_some_and(|partition| partition != 0) {
            return Err(invalid_field(3));
        }
        self.usable()?;
        self.settle();
        Ok(())
    }

    fn arrive(&mut self, object: u64) -> Answer {
        self.wind_to(object);
        (self.stand.position, self.stand.lost) = (object, false);
        Ok(0)
    }

    /// Runs off the data, with `information` of the command left undone.
    fn arrive_at_end(&mut self, information: Option<i64>) -> Answer {
        self.arrive(self.objects())?;
        Err(self.end_of_data(information))
    }

    /// Goes to end of data on purpose: an error only if there is none.
    fn go_to_end(&mut self) -> Answer {
        self.arrive(self.objects())?;
        let missing = self.usable()?.cartridge.end_of_data_missing;
        if missing { Err(self.end_of_data(None)) } else { Ok(0) }
    }

    pub(crate) fn space(&mut self, code: SpaceCode, count: i64) -> Answer {
        self.usable()?;
        self.settle();
        if code == SpaceCode::EndOfData {
            return self.go_to_end();
        }
        self.known_position()?;
        let position = self.stand.position;
        let index = self.usable()?.image.index();
        let (target, stop) = match code {
            SpaceCode::Blocks => over_blocks(index, position, count),
            SpaceCode::Filemarks => over_filemarks(index, position, count),
            SpaceCode::SequentialFilemarks => over_sequential(index, position, count),
            SpaceCode::EndOfData => (position, Stop::Done),
        };
        self.wind_to(target);
        self.stand.position = target;
        match stop {
            Stop::Done => Ok(0),
            Stop::Filemark(left) => Err(filemark(i64::try_from(left).ok())),
            Stop::EndOfData(left) => Err(self.end_of_data(i64::try_from(left).ok())),
            Stop::Beginning(left) => {
                let sense = Sense::new(Key::NoSense, Code::BEGINNING_OF_PARTITION_DETECTED);
                let information = i64::try_from(left).ok();
                Err(Sense { end_of_medium: true, information, ..sense }.into())
            }
        }
    }

    pub(crate) fn read_position(
        &mut self,
        form: PositionForm,
        allocation: u16,
        transfer: &mut Transfer<'_>,
    ) -> Answer {
        self.usable()?;
        self.settle_buffer();
        let bytes = match form {
            PositionForm::Extended => {
                return Ok(deliver(transfer, allocation, &self.extended_position()));
            }
            PositionForm::Short | PositionForm::ShortVendor | PositionForm::Long
                if allocation != 0 =>
            {
                return Err(invalid_field(7));
            }
            PositionForm::Short | PositionForm::ShortVendor => self.short_position(),
            PositionForm::Long => self.long_position(),
        };
        Ok(deliver(transfer, u64::MAX, &bytes))
    }

    /// What the short and the extended form say first.
    fn position_flags(&self) -> Flags {
        if self.stand.lost {
            return Flags { position_unknown: true, ..Flags::default() };
        }
        let used = self.used_before(self.stand.position);
        let (warning, programmable) = self.warnings();
        Flags {
            beginning: self.stand.position == 0,
            early_warning: used > warning,
            programmable_early_warning: used > programmable,
            ..Flags::default()
        }
    }

    /// The first object not on the medium, and the objects and bytes in the buffer.
    fn buffered(&self) -> (u64, u64, u64) {
        let position = self.stand.position;
        if !self.stand.appending || self.stand.flushed >= position {
            return (position, 0, 0);
        }
        let from = self.stand.flushed;
        let bytes = self.used_before(position) - self.used_before(from);
        (from, position - from, bytes)
    }

    fn short_position(&self) -> Vec<u8> {
        let flags = self.position_flags();
        if flags.position_unknown {
            return Short { flags, ..Short::default() }.encode();
        }
        let (last, objects, bytes) = self.buffered();
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let position = self.stand.position;
        let overflow =
            position > u64::from(u32::MAX) || objects > 0xFF_FFFF || bytes > u64::from(u32::MAX);
        Short {
            flags: Flags { overflow, ..flags },
            partition: 0,
            first: narrow(position),
            last: narrow(last),
            objects: narrow(objects),
            bytes: narrow(bytes),
        }
        .encode()
    }

    fn long_position(&self) -> Vec<u8> {
        let flags = self.position_flags();
        if flags.position_unknown {
            return Long { object_unknown: true, file_unknown: true, ..Long::default() }.encode();
        }
        let position = self.stand.position;
        let files =
            self.loaded.as_ref().map_or(0, |loaded| loaded.image.index().files_before(position));
        Long {
            beginning: flags.beginning,
            early_warning: flags.early_warning,
            programmable_early_warning: flags.programmable_early_warning,
            object: position,
            file: files,
            ..Long::default()
        }
        .encode()
    }

    fn extended_position(&self) -> Vec<u8> {
        let flags = self.position_flags();
        if flags.position_unknown {
            return Extended { flags, ..Extended::default() }.encode();
        }
        let (last, objects, bytes) = self.buffered();
        Extended {
            flags: Flags { overflow: objects > 0xFF_FFFF, ..flags },
            partition: 0,
            first: self.stand.position,
            last,
            objects: u32::try_from(objects).unwrap_or(u32::MAX),
            bytes,
        }
        .encode()
    }
}

/// Where and why spacing ends, with what is left of the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Done,
    Filemark(u64),
    EndOfData(u64),
    Beginning(u64),
}

fn over_blocks(index: &Index, position: u64, count: i64) -> (u64, Stop) {
    let wanted = count.unsigned_abs();
    let files = index.files_before(position);
    if count >= 0 {
        let mark = index.filemark(files);
        let room = mark.unwrap_or(index.objects()).saturating_sub(position);
        match mark {
            _ if wanted <= room => (position + wanted, Stop::Done),
            Some(mark) => (mark + 1, Stop::Filemark(wanted - room)),
            None => (index.objects(), Stop::EndOfData(wanted - room)),
        }
    } else {
        let mark = files.checked_sub(1).and_then(|before| index.filemark(before));
        let room = position - mark.map_or(0, |mark| mark + 1);
        match mark {
            _ if wanted <= room => (position - wanted, Stop::Done),
            Some(mark) => (mark, Stop::Filemark(wanted - room)),
            None => (0, Stop::Beginning(wanted - room)),
        }
    }
}

fn over_filemarks(index: &Index, position: u64, count: i64) -> (u64, Stop) {
    let wanted = count.unsigned_abs();
    let files = index.files_before(position);
    if count == 0 {
        return (position, Stop::Done);
    }
    if count > 0 {
        let last = files.checked_add(wanted - 1).and_then(|before| index.filemark(before));
        let there = index.files() - files;
        last.map_or((index.objects(), Stop::EndOfData(wanted.saturating_sub(there))), |mark| {
            (mark + 1, Stop::Done)
        })
    } else {
        let mark = files.checked_sub(wanted).and_then(|before| index.filemark(before));
        mark.map_or((0, Stop::Beginning(wanted.saturating_sub(files))), |mark| (mark, Stop::Done))
    }
}

/// Spaces to the first place where so many filemarks follow one another.
fn over_sequential(index: &Index, position: u64, count: i64) -> (u64, Stop) {
    let wanted = count.unsigned_abs();
    if count == 0 {
        return (position, Stop::Done);
    }
    let files = index.files_before(position);
    let (mut run, mut last) = (0, None);
    let mut step = 0;
    loop {
        let number = if count > 0 { files.checked_add(step) } else { files.checked_sub(step + 1) };
        let Some(mark) = number.and_then(|number| index.filemark(number)) else {
            let end = if count > 0 { index.objects() } else { 0 };
            let stop = if count > 0 { Stop::EndOfData(wanted) } else { Stop::Beginning(wanted) };
            return (end, stop);
        };
        run = if last.is_some_and(|last: u64| last.abs_diff(mark) == 1) { run + 1 } else { 1 };
        last = Some(mark);
        if run == wanted {
            return (if count > 0 { mark + 1 } else { mark }, Stop::Done);
        }
        step += 1;
    }
}
