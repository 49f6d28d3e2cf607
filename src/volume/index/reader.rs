//! Reads a volume index as one stream, and holds it to its seal.

use std::io::{self, Read};

use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::ident::{RunId, SegmentId};
use crate::tar::{Names, ReadError, Reader, UNIT};
use crate::volume::{
    FORMAT,
    index::{Header, Seal, SegmentRow, name},
    trailer::folder,
};

/// The most bytes of a piece that is read whole: header, rows, seal.
const WHOLE_MAX: u64 = 256 << 20;

/// One piece of an index. The compressed ones are read from the [`IndexReader`] itself, until it
/// says 0, before the next piece is asked for; what is not read is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The rows of all segments of the volume, in tape order.
    Segments(Vec<SegmentRow>),
    /// A manifest of the session; its bytes follow ([`super::Entries`]).
    Manifest(SegmentId),
    /// A run; its bytes follow ([`super::RunReader`]).
    Run(RunId),
    /// The snapshot of the living tables, zstd; its bytes follow.
    Tables,
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The stream is not a tar, or ends early.
    #[error("the volume index cannot be read")]
    Tar(#[from] ReadError),
    /// A piece does not have its form.
    #[error("{piece} of the volume index is malformed")]
    Malformed {
        /// Which piece.
        piece: String,
        /// The cause.
        #[source]
        cause: serde_json::Error,
    },
    /// A member that does not belong there.
    #[error("the volume index holds {path:?} where {wanted} belongs")]
    Unexpected {
        /// The member.
        path: String,
        /// What belongs there.
        wanted: &'static str,
    },
    /// It belongs to a later format.
    #[error("the volume index is of format {0}, which is later than this program")]
    Later(u32),
    /// The bytes do not agree with the seal: nothing that was read from it may be used.
    #[error("the volume index disagrees with its seal")]
    Seal {
        /// What the seal says.
        sealed: Digest,
        /// What the bytes say.
        found: Digest,
    },
}

/// Hashes what is read, except the last unit, which may be the seal's header.
#[derive(Debug)]
struct Hashing<R> {
    inner: R,
    hasher: blake3::Hasher,
    at: u64,
    tail: Vec<u8>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.at += count as u64;
        let bytes = &buffer[..count];
        if count >= UNIT {
            self.hasher.update(&self.tail);
            self.hasher.update(&bytes[..count - UNIT]);
            self.tail.clear();
            self.tail.extend_from_slice(&bytes[count - UNIT..]);
        } else {
            let over = (self.tail.len() + count).saturating_sub(UNIT);
            self.hasher.update(&self.tail[..over]);
            self.tail.drain(..over);
            self.tail.extend_from_slice(bytes);
        }
        Ok(count)
    }
}

/// Reads an index, piece after piece, from its first block on.
///
/// Nothing is certain before [`IndexReader::next_piece`] has said `None`: only then the seal
/// agreed. So a rebuild puts what it reads into a transaction, or reads twice.
#[derive(Debug)]
pub struct IndexReader<R> {
    tar: Reader<Hashing<R>>,
    header: Header,
    folder: String,
    seal: Option<Digest>,
}

impl<R: Read> IndexReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// When the stream does not begin as an index.
    pub fn new(inner: R) -> Result<Self, IndexError> {
        let hashing =
            Hashing { inner, hasher: blake3::Hasher::new(), at: 0, tail: Vec::with_capacity(UNIT) };
        let mut tar = Reader::new(hashing, Names::Safe);
        let found = tar.next_member()?;
        let path = found.map(|found| found.head.path).unwrap_or_default();
        if !path.ends_with(name::INDEX) {
            return Err(IndexError::Unexpected { path, wanted: name::INDEX });
        }
        let json = whole(&mut tar)?;
        let format = parse::<Format>(&json, name::INDEX)?.format;
        if format > FORMAT {
            return Err(IndexError::Later(format));
        }
        let header: Header = parse(&json, name::INDEX)?;
        let folder = format!("{}/", folder(&header.session));
        Ok(Self { tar, header, folder, seal: None })
    }

    /// What this is the index of.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The seal, once the last piece was read.
    pub fn seal(&self) -> Option<Digest> {
        self.seal
    }

    /// The next piece, or `None` when all were read and the seal agreed.
    ///
    /// # Errors
    ///
    /// When the index is damaged.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, IndexError> {
        if self.seal.is_some() {
            return Ok(None);
        }
        let unexpected = |path| IndexError::Unexpected { path, wanted: "a piece or the seal" };
        let found = self.tar.next_member()?.ok_or_else(|| unexpected(String::new()))?;
        let path = found.head.path;
        let Some(piece) = path.strip_prefix(&self.folder) else { return Err(unexpected(path)) };
        if piece == name::SEAL {
            self.check_seal(found.offset)?;
            return Ok(None);
        }
        if piece == name::TABLES {
            return Ok(Some(Piece::Tables));
        }
        if piece == name::SEGMENTS {
            let lines = whole(&mut self.tar)?;
            let lines = lines.split(|&b| b == b'\n').filter(|line| !line.is_empty());
            let rows: Result<_, _> = lines.map(|line| parse(line, name::SEGMENTS)).collect();
            return rows.map(Piece::Segments).map(Some);
        }
        let id = |begin, end| piece.strip_prefix(begin).and_then(|id: &str| id.strip_suffix(end));
        if let Some(segment) = id(name::MANIFESTS, name::MANIFEST_END)
            && let Ok(segment) = segment.parse()
        {
            return Ok(Some(Piece::Manifest(segment)));
        }
        if let Some(run) = id(name::RUNS, name::RUN_END)
            && let Ok(run) = run.parse()
        {
            return Ok(Some(Piece::Run(run)));
        }
        Err(unexpected(path))
    }

    /// Compares the seal, whose header begins at `offset`, with what was read before it.
    fn check_seal(&mut self, offset: u64) -> Result<(), IndexError> {
        // The header is the last unit that was read, and is not hashed yet.
        let hashing = self.tar.get_ref();
        let found = Digest::from_hasher(&hashing.hasher);
        let bytes = hashing.at - hashing.tail.len() as u64;
        let json = whole(&mut self.tar)?;
        let seal: Seal = parse(&json, name::SEAL)?;
        if seal.blake3 != found || seal.bytes != offset || bytes != offset {
            return Err(IndexError::Seal { sealed: seal.blake3, found });
        }
        self.seal = Some(found);
        Ok(())
    }
}

impl<R: Read> Read for IndexReader<R> {
    /// Reads the compressed bytes of the piece that was last asked for.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tar.read_data(buffer).map_err(io::Error::other)
    }
}

/// Reads the current member whole.
fn whole<R: Read>(tar: &mut Reader<R>) -> Result<Vec<u8>, IndexError> {
    let at = tar.at();
    let bytes = usize::try_from(tar.data_left().min(WHOLE_MAX)).expect("bounded");
    let mut out = Vec::new();
    let mut buffer = [0; 1 << 16];
    while out.len() < bytes {
        let room = buffer.len().min(bytes - out.len());
        let count = tar.read_data(&mut buffer[..room])?;
        out.extend_from_slice(&buffer[..count]);
    }
    if tar.data_left() > 0 {
        return Err(ReadError::Malformed { at, what: "a piece of the index is too long" }.into());
    }
    Ok(out)
}

#[derive(serde::Deserialize)]
struct Format {
    format: u32,
}

fn parse<T: DeserializeOwned>(json: &[u8], piece: &str) -> Result<T, IndexError> {
    serde_json::from_slice(json)
        .map_err(|cause| IndexError::Malformed { piece: piece.to_owned(), cause })
}
