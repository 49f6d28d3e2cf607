//! The plan on disk: every listed item in order, written once and read as often as needed.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

use crate::{job::export::record::Planned, sorter};

/// Compression level: the plan is written and read at the speed of listing.
const LEVEL: i32 = 1;
/// The longest record, in bytes: a key of 4 KiB, and parts of an object of 50 TiB.
const RECORD_MAX: usize = 1 << 22;

/// A plan that is being written, in a file without a name.
pub(super) struct PlanWriter {
    to: zstd::Encoder<'static, BufWriter<File>>,
    buffer: Vec<u8>,
}

/// A plan that can be read again and again.
#[derive(Debug)]
pub(super) struct PlanFile {
    file: File,
}

/// One reading of a plan.
pub(super) struct PlanReader<'a> {
    from: zstd::Decoder<'static, BufReader<At<'a>>>,
    buffer: Vec<u8>,
}

/// Reads a shared file from a place of its own.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl PlanWriter {
    /// A plan in an unlinked file in `folder`.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 18, sorter::unlinked(folder)?);
        let to = zstd::Encoder::new(file, LEVEL)?;
        Ok(Self { to, buffer: Vec::new() })
    }

    /// Appends one record.
    pub(super) fn push(&mut self, planned: &Planned) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.extend([0; 4]);
        planned.encode(&mut self.buffer);
        let length = self.buffer.len() - 4;
        if length > RECORD_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an item has too many parts"));
        }
        let length = u32::try_from(length).expect("bounded above").to_le_bytes();
        self.buffer[..4].copy_from_slice(&length);
        self.to.write_all(&self.buffer)
    }

    /// Ends the plan.
    pub(super) fn finish(self) -> io::Result<PlanFile> {
        let mut file = self.to.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(PlanFile { file })
    }
}

impl PlanFile {
    /// Reads the plan from its beginning.
    pub(super) fn records(&self) -> io::Result<PlanReader<'_>> {
        let at = At { file: &self.file, offset: 0 };
        let from = zstd::Decoder::with_buffer(BufReader::with_capacity(1 << 18, at))?;
        Ok(PlanReader { from, buffer: Vec::new() })
    }
}

impl Iterator for PlanReader<'_> {
    type Item = io::Result<Planned>;

    fn next(&mut self) -> Option<io::Result<Planned>> {
        let mut length = [0; 4];
        match self.from.read(&mut length[..1]) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
        let read = (|| {
            self.from.read_exact(&mut length[1..])?;
            let length = usize::try_from(u32::from_le_bytes(length)).expect("32 bits fit memory");
            self.buffer.resize(length, 0);
            self.from.read_exact(&mut self.buffer)
        })();
        Some(read.map(|()| Planned::decode(&self.buffer)))
    }
}
