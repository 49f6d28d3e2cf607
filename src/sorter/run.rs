//! One sorted run in an unlinked temporary file, compressed.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::sorter::Record;

/// Level 1 costs less time than the disk that it saves.
const ZSTD_LEVEL: i32 = 1;
/// A small window, since up to 128 runs are read at once, each with a window of its own.
const WINDOW_LOG: u32 = 16;
const BUFFER_BYTES: usize = 64 << 10;

/// What one reader of a run takes of memory, in bytes: window, decoder and buffer.
pub(super) const READER_BYTES: usize = 512 << 10;

/// Writes records, which must ascend, to a new run.
pub(super) struct RunWriter {
    encoder: zstd::Encoder<'static, File>,
    buffer: Vec<u8>,
}

/// Reads a run from its beginning.
pub(super) struct RunReader {
    decoder: BufReader<zstd::Decoder<'static, BufReader<File>>>,
}

/// A file in `directory` that has no name and vanishes with its last handle.
///
/// # Errors
///
/// When the directory takes none.
pub fn unlinked(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        // Not every file system has O_TMPFILE; there a name lives for a moment.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            let path = directory.join(format!(".tapevault-{}", uuid::Uuid::new_v4().simple()));
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        Err(errno) => Err(errno.into()),
    }
}

impl RunWriter {
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        let mut encoder = zstd::Encoder::new(unlinked(directory)?, ZSTD_LEVEL)?;
        encoder.window_log(WINDOW_LOG)?;
        Ok(Self { encoder, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        for part in [key, value] {
            let length = u32::try_from(part.len()).expect("a sorter takes no record of 4 GiB");
            self.buffer.extend_from_slice(&length.to_le_bytes());
        }
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        if self.buffer.len() >= BUFFER_BYTES {
            self.encoder.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// The run, from its beginning.
    pub(super) fn finish(mut self) -> io::Result<File> {
        self.encoder.write_all(&self.buffer)?;
        let mut file = self.encoder.finish()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }
}

impl RunReader {
    pub(super) fn open(file: File) -> io::Result<Self> {
        let compressed = BufReader::with_capacity(BUFFER_BYTES, file);
        let decoder = zstd::Decoder::with_buffer(compressed)?;
        Ok(Self { decoder: BufReader::with_capacity(BUFFER_BYTES, decoder) })
    }

    /// The next record, `None` after the last.
    pub(super) fn read(&mut self) -> io::Result<Option<Record>> {
        let mut lengths = [0; 8];
        // A run ends between two records; the frame's end says that it is whole.
        if self.decoder.read(&mut lengths[..1])? == 0 {
            return Ok(None);
        }
        self.decoder.read_exact(&mut lengths[1..])?;
        let [a, b, c, d, e, f, g, h] = lengths;
        let key_length = usize::try_from(u32::from_le_bytes([a, b, c, d])).expect("64 bits");
        let value_length = usize::try_from(u32::from_le_bytes([e, f, g, h])).expect("64 bits");
        let mut bytes = vec![0; key_length + value_length];
        self.decoder.read_exact(&mut bytes)?;
        Ok(Some(Record { bytes, key_length }))
    }
}
