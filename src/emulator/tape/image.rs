//! A tape as a SIMH `.tap` file: length, data, padding to an even length, length again.
//!
//! Lengths are 32 bits, low byte first; a filemark is a length of zero. An erase gap is
//! `FFFFFFFEh`, the end of the medium `FFFFFFFFh`, and bit 31 of a length marks a block that cannot
//! be read. Bit 28, a private class, marks an encrypted block. (SIMH Magtape Representation and
//! Handling, extended format.)

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, IoSlice},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use crate::emulator::tape::index::{Index, Kind, Object, SEALED_OVERHEAD, Stamp};

const END_OF_MEDIUM: u32 = 0xFFFF_FFFF;
const ERASE_GAP: u32 = 0xFFFF_FFFE;
const LENGTH_MASK: u32 = 0x0FFF_FFFF;
/// Class of a record that holds an encrypted block: one of those that are private.
const SEALED: u32 = 0x1000_0000;
const SCAN_WINDOW: usize = 4096;

/// One tape, open.
#[derive(Debug)]
pub(crate) struct Image {
    /// `None` for a tape that keeps no data.
    file: Option<File>,
    path: PathBuf,
    index: Index,
    /// Length of the file: beyond the last record there may be a torn one.
    length: u64,
    writable: bool,
    /// Whether the stored index is out of date.
    changed: bool,
}

/// Reads small pieces of a file in ascending order.
struct Window<'a> {
    file: &'a File,
    bytes: [u8; SCAN_WINDOW],
    start: u64,
    filled: usize,
}

impl Image {
    /// Makes the file of a tape with nothing on it. An existing one is an error.
    pub(crate) fn create(path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).open(path).map(drop)
    }

    /// A tape without a file: blocks are counted and thrown away, and read back as zeros.
    pub(crate) fn discarding() -> Self {
        Self {
            file: None,
            path: PathBuf::new(),
            index: Index::default(),
            length: 0,
            writable: true,
            changed: false,
        }
    }

    /// Opens a tape, by its cached index if that is about this very file, else by a scan.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let (file, writable) = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => (file, true),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                (File::open(path)?, false)
            }
            Err(error) => return Err(error),
        };
        let stamp = stamp_of(&file)?;
        let stored = fs::read(index_path(path)).ok();
        let stored = stored.and_then(|bytes| Index::decode(&bytes, stamp));
        let changed = stored.is_none();
        let index = match stored {
            Some(index) => index,
            None => scan(&file, stamp.length)?,
        };
        let path = path.to_owned();
        Ok(Self { file: Some(file), path, index, length: stamp.length, writable, changed })
    }

    /// Where everything lies.
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// Whether its file may be written.
    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Reads the front of a block's data into all of `into`.
    pub(crate) fn read(&self, object: Object, into: &mut [u8]) -> io::Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(into, object.offset + 4),
            None => {
                into.fill(0);
                Ok(())
            }
        }
    }

    /// Puts a block after object `at - 1`; whatever stood behind that is gone.
    ///
    /// # Errors
    ///
    /// When the host's disk refuses. The tape then ends at `at`.
    pub(crate) fn write_block(&mut self, at: u64, data: &[u8]) -> io::Result<()> {
        let len = u32::try_from(data.len()).ok().filter(|len| (1..=LENGTH_MASK).contains(len));
        let len = len.ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
        self.append_record(at, Kind::Block(len), len, data)
    }

    /// The same with the record of an encrypted block.
    ///
    /// # Errors
    ///
    /// When the host's disk refuses. The tape then ends at `at`.
    pub(crate) fn write_sealed(&mut self, at: u64, record: &[u8]) -> io::Result<()> {
        let len = u32::try_from(record.len()).ok().filter(|len| *len <= LENGTH_MASK);
        let len = len.ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
        let kind = sealed(len).ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
        self.append_record(at, kind, len | SEALED, record)
    }

    fn append_record(&mut self, at: u64, kind: Kind, word: u32, data: &[u8]) -> io::Result<()> {
        let word = word.to_le_bytes();
        let close = [0, word[0], word[1], word[2], word[3]];
        let close = if data.len().is_multiple_of(2) { &close[1..] } else { &close[..] };
        self.append(at, kind, &[&word, data, close])
    }

    /// Puts a filemark after object `at - 1`; whatever stood behind that is gone.
    ///
    /// # Errors
    ///
    /// When the host's disk refuses. The tape then ends at `at`.
    pub(crate) fn write_filemark(&mut self, at: u64) -> io::Result<()> {
        self.append(at, Kind::Filemark, &[&[0; 4]])
    }

    /// Makes `at` the end of data.
    pub(crate) fn truncate(&mut self, at: u64) -> io::Result<()> {
        self.index.truncate(at);
        if self.length != self.index.end() {
            self.changed = true;
            if let Some(file) = &self.file {
                file.set_len(self.index.end())?;
            }
            self.length = self.index.end();
        }
        Ok(())
    }

    fn append(&mut self, at: u64, kind: Kind, pieces: &[&[u8]]) -> io::Result<()> {
        self.truncate(at)?;
        self.changed = true;
        if let Some(file) = &self.file
            && let Err(error) = write_all(file, pieces, self.length)
        {
            // A torn record would be taken for the end of data anyway; this only tidies up.
            file.set_len(self.length)?;
            return Err(error);
        }
        self.index.append(kind);
        self.length = self.index.end();
        Ok(())
    }

    /// Writes the index beside the tape, so that the next open need not scan it.
    ///
    /// # Errors
    ///
    /// When the host's disk refuses; the tape is as good as before.
    pub(crate) fn save_index(&mut self) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.changed && self.writable) else {
            return Ok(());
        };
        let bytes = self.index.encode(stamp_of(file)?);
        let path = index_path(&self.path);
        let fresh = path.with_extension("idx-new");
        fs::write(&fresh, bytes)?;
        fs::rename(&fresh, &path)?;
        self.changed = false;
        Ok(())
    }
}

/// Writes all of `pieces` at `offset`: with one system call, unless the kernel stops early.
fn write_all(file: &File, pieces: &[&[u8]], mut offset: u64) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]), IoSlice::new(&[]), IoSlice::new(&[])];
    for (slice, piece) in slices.iter_mut().zip(pieces) {
        *slice = IoSlice::new(piece);
    }
    let mut slices = &mut slices[..];
    loop {
        IoSlice::advance_slices(&mut slices, 0);
        if slices.is_empty() {
            return Ok(());
        }
        match rustix::io::pwritev(file, slices, offset) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut slices, written);
                offset += written as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// An encrypted block whose record has so many bytes of data; `None` when none has so few.
fn sealed(record: u32) -> Option<Kind> {
    let overhead = u32::try_from(SEALED_OVERHEAD).ok()?;
    record.checked_sub(overhead).filter(|length| *length > 0).map(Kind::Sealed)
}

fn index_path(tape: &Path) -> PathBuf {
    tape.with_extension("idx")
}

fn stamp_of(file: &File) -> io::Result<Stamp> {
    let metadata = file.metadata()?;
    Ok(Stamp {
        length: metadata.len(),
        modified_seconds: metadata.mtime(),
        modified_nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
    })
}

/// Walks the records of a tape file of `length` bytes.
///
/// What a torn last record holds is not data: the tape ends before it.
fn scan(file: &File, length: u64) -> io::Result<Index> {
    let mut index = Index::default();
    let mut window = Window { file, bytes: [0; SCAN_WINDOW], start: 0, filled: 0 };
    let mut offset = 0;
    while offset + 4 <= length {
        let word = window.word(offset)?;
        let kind = match word {
            0 => Kind::Filemark,
            END_OF_MEDIUM => break,
            // An erase gap, or a marker that other programs put between records.
            _ if word == ERASE_GAP || word >> 28 == 0xF || word >> 28 == 0x7 => {
                offset += 4;
                continue;
            }
            _ if word >> 28 == 0 => Kind::Block(word),
            _ if word & !LENGTH_MASK == SEALED && sealed(word & LENGTH_MASK).is_some() => {
                sealed(word & LENGTH_MASK).expect("just seen")
            }
            // Marked bad, or of a class that holds no tape data.
            _ => Kind::Bad(word & LENGTH_MASK),
        };
        let next = offset + kind.record_len();
        let closed = kind == Kind::Filemark || (next <= length && window.word(next - 4)? == word);
        match kind {
            _ if closed => index.push(kind, offset),
            Kind::Block(_) | Kind::Sealed(_) | Kind::Bad(_) if next < length => {
                index.push(Kind::Bad(word & LENGTH_MASK), offset);
            }
            Kind::Block(_) | Kind::Sealed(_) | Kind::Bad(_) | Kind::Filemark => break,
        }
        offset = next;
    }
    Ok(index)
}

impl Window<'_> {
    fn word(&mut self, offset: u64) -> io::Result<u32> {
        let within = |window: &Self| {
            let at = usize::try_from(offset.checked_sub(window.start)?).ok()?;
            window.bytes[..window.filled].get(at..)?.first_chunk::<4>().copied()
        };
        if let Some(word) = within(self) {
            return Ok(u32::from_le_bytes(word));
        }
        (self.start, self.filled) = (offset, 0);
        while self.filled < self.bytes.len() {
            let at = offset + self.filled as u64;
            match self.file.read_at(&mut self.bytes[self.filled..], at)? {
                0 => break,
                read => self.filled += read,
            }
        }
        let word = within(self).ok_or(ErrorKind::UnexpectedEof)?;
        Ok(u32::from_le_bytes(word))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a tape is, in a few words.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Thing {
        Block(Vec<u8>),
        Filemark,
    }

    #[derive(Clone, Debug)]
    enum Act {
        Write(u64, Vec<u8>),
        Mark(u64),
        Truncate(u64),
        Reopen,
        SaveIndex,
        Kill,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let data = proptest::collection::vec(any::<u8>(), 1..9);
        let near_end = prop_oneof![4 => Just(u64::MAX), 1 => 0_u64..20];
        let act = prop_oneof![
            6 => (near_end.clone(), data).prop_map(|(at, data)| Act::Write(at, data)),
            2 => near_end.clone().prop_map(Act::Mark),
            1 => near_end.prop_map(Act::Truncate),
            1 => Just(Act::Reopen),
            1 => Just(Act::SaveIndex),
            1 => Just(Act::Kill),
        ];
        proptest::collection::vec(act, 0..40)
    }

    fn contents(image: &Image) -> Vec<Thing> {
        let thing = |number| {
            let object = image.index().object(number).unwrap();
            match object.kind {
                Kind::Filemark => Thing::Filemark,
                Kind::Block(len) | Kind::Sealed(len) | Kind::Bad(len) => {
                    let mut data = vec![0; usize::try_from(len).unwrap()];
                    image.read(object, &mut data).unwrap();
                    Thing::Block(data)
                }
            }
        };
        (0..image.index().objects()).map(thing).collect()
    }

    fn perform(image: &mut Image, model: &mut Vec<Thing>, path: &Path, act: Act) {
        let place = |at: u64, model: &[Thing]| at.min(model.len() as u64);
        match act {
            Act::Write(at, data) => {
                let at = place(at, model);
                image.write_block(at, &data).unwrap();
                model.truncate(usize::try_from(at).unwrap());
                model.push(Thing::Block(data));
            }
            Act::Mark(at) => {
                let at = place(at, model);
                image.write_filemark(at).unwrap();
                model.truncate(usize::try_from(at).unwrap());
                model.push(Thing::Filemark);
            }
            Act::Truncate(at) => {
                let at = place(at, model);
                image.truncate(at).unwrap();
                model.truncate(usize::try_from(at).unwrap());
            }
            Act::SaveIndex => image.save_index().unwrap(),
            Act::Reopen => {
                image.save_index().unwrap();
                *image = Image::open(path).unwrap();
            }
            // A process killed within a write leaves a torn record, and an index that is stale. The
            // write began where the tape ends, and not behind what another one left torn.
            Act::Kill => {
                let mut bytes = fs::read(path).unwrap();
                bytes.truncate(usize::try_from(image.index().end()).unwrap());
                bytes.extend([9, 0, 0, 0, 1, 2]);
                fs::write(path, bytes).unwrap();
                *image = Image::open(path).unwrap();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_tape_is_a_list(acts in acts()) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("T00001L8.tap");
            Image::create(&path).unwrap();
            let mut image = Image::open(&path).unwrap();
            let mut model = Vec::new();
            for act in acts {
                perform(&mut image, &mut model, &path, act);
                prop_assert_eq!(&contents(&image), &model);
            }
            image.save_index().unwrap();
            let again = Image::open(&path).unwrap();
            prop_assert!(!again.changed, "the stored index is taken");
            prop_assert_eq!(again.index(), image.index());
            let file = File::open(&path).unwrap();
            let scanned = scan(&file, file.metadata().unwrap().len()).unwrap();
            prop_assert_eq!(&scanned, image.index());
        }

        #[test]
        fn any_bytes_are_some_tape(bytes in proptest::collection::vec(
            prop_oneof![Just(0_u8), Just(2), Just(0x80), Just(0xFF), Just(0xFE), any::<u8>()], 0..80))
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("T00001L8.tap");
            fs::write(&path, &bytes).unwrap();
            let mut image = Image::open(&path).unwrap();
            let index = image.index().clone();
            for number in 0..index.objects() {
                let object = index.object(number).unwrap();
                if let Kind::Block(len) = object.kind {
                    let mut data = vec![0; usize::try_from(len).unwrap()];
                    image.read(object, &mut data).unwrap();
                }
            }
            image.write_block(index.objects(), b"more").unwrap();
            prop_assert_eq!(Image::open(&path).unwrap().index().objects(), index.objects() + 1);
        }
    }

    #[test]
    fn records_are_as_simh_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("T00001L8.tap");
        Image::create(&path).unwrap();
        let mut image = Image::open(&path).unwrap();
        image.write_block(0, b"abc").unwrap();
        image.write_filemark(1).unwrap();
        image.write_block(2, b"defg").unwrap();
        let expected = b"\x03\0\0\0abc\0\x03\0\0\0\0\0\0\0\x04\0\0\0defg\x04\0\0\0";
        assert_eq!(fs::read(&path).unwrap(), expected);
    }

    #[test]
    fn broken_records_are_bad_blocks_and_gaps_are_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("T00001L8.tap");
        let records: [&[u8]; 7] = [
            b"\x02\0\0\0ab\x02\0\0\0",
            b"\xFE\xFF\xFF\xFF\xFE\xFF\xFF\xFF",
            b"\x02\0\0\x80ab\x02\0\0\x80",
            b"\x02\0\0\0ab\x03\0\0\0",
            b"\0\0\0\0",
            b"\x01\0\0\0z\0\x01\0\0\0",
            b"\xFF\xFF\xFF\xFF\x02\0\0\0ab\x02\0\0\0",
        ];
        fs::write(&path, records.concat()).unwrap();
        let index = Image::open(&path).unwrap().index().clone();
        let kinds: Vec<Kind> =
            (0..index.objects()).map(|number| index.object(number).unwrap().kind).collect();
        let expected = [Kind::Block(2), Kind::Bad(2), Kind::Bad(2), Kind::Filemark, Kind::Block(1)];
        assert_eq!(kinds, expected);
    }
}
