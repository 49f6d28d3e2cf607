//! Writes a volume index as one stream of whole blocks.

use std::io::{self, Read, Write};

use crate::digest::Digest;
use crate::ident::{RunId, SegmentId};
use crate::tar::{self, UNIT};
use crate::volume::{
    index::{Header, Seal, SegmentRow, Trailer, name},
    segment::fill_to_block,
    trailer::{self, folder},
};

/// Writes an index: begin, then every piece in the order of the methods, then finish.
///
/// What goes out in the end is a whole number of blocks. Pieces that are compressed come as
/// readers with a known length: compress them into a file first ([`super::ManifestWriter`],
/// [`super::RunWriter`]).
#[derive(Debug)]
pub struct IndexWriter<W> {
    out: Hashing<W>,
    header: Header,
    folder: String,
}

/// An index that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// What its trailer says.
    pub trailer: Trailer,
    /// BLAKE3 of all its bytes on tape.
    pub digest: Digest,
}

impl Finished {
    /// Bytes of the whole index: all its blocks.
    pub fn bytes(&self) -> u64 {
        self.trailer.blocks * u64::from(self.trailer.block_size)
    }
}

#[derive(Debug)]
struct Hashing<W> {
    inner: W,
    hasher: blake3::Hasher,
    at: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> IndexWriter<W> {
    /// Writes the header and one row for every segment of the volume, in tape order.
    ///
    /// # Errors
    ///
    /// When the output fails.
    ///
    /// # Panics
    ///
    /// When the block size is not one that a volume may have.
    pub fn new(out: W, header: Header, rows: &[SegmentRow]) -> io::Result<Self> {
        assert!(trailer::is_block_size(header.block_size), "blocks of {}", header.block_size);
        let folder = folder(&header.session);
        let out = Hashing { inner: out, hasher: blake3::Hasher::new(), at: 0 };
        let mut writer = Self { out, header, folder };
        let mut json = serde_json::to_vec_pretty(&writer.header)?;
        json.push(b'\n');
        writer.piece(name::INDEX, json.len() as u64, &mut json.as_slice())?;
        let mut lines = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut lines, row)?;
            lines.push(b'\n');
        }
        writer.piece(name::SEGMENTS, lines.len() as u64, &mut lines.as_slice())?;
        Ok(writer)
    }

    /// Writes one compressed manifest of this session: exactly `bytes` bytes of `from`.
    ///
    /// # Errors
    ///
    /// When the output or `from` fails.
    pub fn manifest(
        &mut self,
        segment: SegmentId,
        bytes: u64,
        from: &mut dyn Read,
    ) -> io::Result<()> {
        let name = format!("{}{segment}{}", name::MANIFESTS, name::MANIFEST_END);
        self.piece(&name, bytes, from)
    }

    /// Writes one compressed run: exactly `bytes` bytes of `from`.
    ///
    /// # Errors
    ///
    /// When the output or `from` fails.
    pub fn run(&mut self, run: RunId, bytes: u64, from: &mut dyn Read) -> io::Result<()> {
        self.piece(&format!("{}{run}{}", name::RUNS, name::RUN_END), bytes, from)
    }

    /// Writes the compressed snapshot of the living tables: exactly `bytes` bytes of `from`.
    ///
    /// # Errors
    ///
    /// When the output or `from` fails.
    pub fn tables(&mut self, bytes: u64, from: &mut dyn Read) -> io::Result<()> {
        self.piece(name::TABLES, bytes, from)
    }

    fn piece(&mut self, name: &str, bytes: u64, from: &mut dyn Read) -> io::Result<()> {
        let path = format!("{}/{name}", self.folder);
        let head = trailer::own_head(path, bytes, self.header.created).encode();
        self.out.write_all(&head.expect("a name of ours is a good one"))?;
        let copied = io::copy(&mut from.take(bytes), &mut self.out)?;
        if copied != bytes {
            let what = format!("{name} was to have {bytes} bytes and has {copied}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        self.out.write_all(&[0; UNIT][..tar::padding(bytes)])
    }

    /// Writes the seal and the final block.
    ///
    /// # Errors
    ///
    /// When the output fails.
    pub fn finish(mut self) -> io::Result<(W, Finished)> {
        let blake3 = Digest::from_hasher(&self.out.hasher);
        let (end, trailer) = end_of(&self.header, Seal { blake3, bytes: self.out.at });
        self.out.write_all(&end)?;
        self.out.flush()?;
        let digest = Digest::from_hasher(&self.out.hasher);
        Ok((self.out.inner, Finished { trailer, digest }))
    }
}

/// What stands behind the sealed bytes, from the seal's own header to the end of the final block:
/// it follows from header and seal alone, so a reader can tell where it was hit.
///
/// # Panics
///
/// When the block size is not one that a volume may have.
pub fn end_of(header: &Header, seal: Seal) -> (Vec<u8>, Trailer) {
    let mut out = Vec::new();
    let mut json = serde_json::to_vec(&seal).expect("a seal is JSON, and memory takes it");
    json.push(b'\n');
    let path = format!("{}/{}", folder(&header.session), name::SEAL);
    let head = trailer::own_head(path, json.len() as u64, header.created).encode();
    out.extend(head.expect("a name of ours is a good one"));
    out.extend_from_slice(&json);
    out.resize(out.len() + tar::padding(json.len() as u64), 0);
    let block = u64::from(header.block_size);
    let at = seal.bytes + out.len() as u64;
    let last = fill_to_block(&mut out, at, block).expect("memory takes it");
    let trailer = Trailer {
        format: crate::volume::FORMAT,
        index: header.session,
        volume: header.volume,
        created: header.created,
        block_size: header.block_size,
        blocks: last / block + 1,
        seal: seal.blake3,
        sealed_bytes: seal.bytes,
    };
    out.extend(trailer::encode(&trailer::Trailer::Index(trailer), header.created));
    (out, trailer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::ident::SessionId;
    use crate::ident::{SetId, VolumeId};
    use crate::item::{Key, Token, Version};
    use crate::position::{FileNumber, ObjectNumber};
    use crate::volume::{
        index::{
            Entries, IndexError, IndexReader, ManifestWriter, Piece, Previous, RunHeader,
            RunReader, RunWriter, SegmentState,
        },
        lines,
        manifest::Entry,
        run::{Change, Row, Run},
    };

    fn row(session: SessionId) -> SegmentRow {
        SegmentRow {
            segment: SegmentId::new(),
            set: SetId::new(),
            session,
            created: Timestamp::default(),
            object: ObjectNumber(7),
            file: FileNumber(1),
            blocks: 3,
            block_size: 4096,
            digest: Digest::of(b"segment"),
            members: 1,
            manifest_offset: 512,
            manifest_bytes: 100,
            manifest_digest: Digest::of(b"manifest"),
            state: SegmentState::Whole,
        }
    }

    fn entry() -> Entry {
        lines::read_line(
            br#"{"source":"s","key":"a","kind":"file","size":0,"modified":"1970-01-01T00:00:00Z","token":0}"#,
        )
        .unwrap()
    }

    fn changes() -> Vec<Change> {
        let row = Row {
            key: Key::from("a"),
            version: Version::default(),
            token: Token(5),
            latest: true,
            delete_marker: false,
            places: Vec::new(),
        };
        let gone = Change::Gone { key: Key(vec![0xff]), version: Version("v".into()) };
        vec![Change::Put { row }, gone]
    }

    fn run() -> RunHeader {
        let run = Run {
            id: RunId::new(),
            source: "s".parse().unwrap(),
            started: Timestamp::default(),
            ended: None,
            complete: false,
            rows: 2,
            missing: 1,
        };
        RunHeader { run, base: Some(RunId::new()) }
    }

    fn header() -> Header {
        Header {
            format: 1,
            session: SessionId::new(),
            volume: VolumeId::new(),
            volser: "A00001".parse().unwrap(),
            block_size: 4096,
            label_digest: Digest::of(b"label"),
            previous: Some(Previous {
                object: ObjectNumber(3),
                file: FileNumber(2),
                seal: Digest::of(b""),
            }),
            created: Timestamp::from_parts(1_800_000_000, 1),
        }
    }

    fn write(header: &Header, row: &SegmentRow, run: &RunHeader) -> (Vec<u8>, Finished) {
        let mut manifest = ManifestWriter::new(Vec::new()).unwrap();
        manifest.push(&entry()).unwrap();
        let manifest = manifest.finish().unwrap();
        let mut changed = RunWriter::new(Vec::new(), run).unwrap();
        changes().iter().for_each(|change| changed.push(change).unwrap());
        let changed = changed.finish().unwrap();
        let rows = std::slice::from_ref(row);
        let mut writer = IndexWriter::new(Vec::new(), header.clone(), rows).unwrap();
        writer.manifest(row.segment, manifest.len() as u64, &mut manifest.as_slice()).unwrap();
        writer.run(run.run.id, changed.len() as u64, &mut changed.as_slice()).unwrap();
        writer.tables(6, &mut &b"tables"[..]).unwrap();
        writer.finish().unwrap()
    }

    /// Every piece in turn, and what was read from it.
    fn read(bytes: &[u8]) -> Result<Vec<Piece>, IndexError> {
        let mut reader = IndexReader::new(bytes)?;
        let mut pieces = Vec::new();
        while let Some(piece) = reader.next_piece()? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    #[test]
    fn an_index_reads_back() {
        let (header, run) = (header(), run());
        let row = row(header.session);
        let (bytes, finished) = write(&header, &row, &run);
        assert_eq!(bytes.len() as u64, finished.bytes());
        assert_eq!(Digest::of(&bytes), finished.digest);
        let last = trailer::decode(&bytes[bytes.len() - 4096..]).unwrap();
        assert_eq!(last, trailer::Trailer::Index(finished.trailer));
        let sealed = usize::try_from(finished.trailer.sealed_bytes).unwrap();
        assert_eq!(Digest::of(&bytes[..sealed]), finished.trailer.seal);

        let mut reader = IndexReader::new(&bytes[..]).unwrap();
        assert_eq!(reader.header(), &header);
        let rows = reader.next_piece().unwrap();
        assert_eq!(rows, Some(Piece::Segments(vec![row.clone()])));
        assert_eq!(reader.next_piece().unwrap(), Some(Piece::Manifest(row.segment)));
        let entries: Vec<_> = Entries::new(&mut reader).unwrap().map(Result::unwrap).collect();
        assert_eq!(entries, [entry()]);
        assert_eq!(reader.next_piece().unwrap(), Some(Piece::Run(run.run.id)));
        let read_run = RunReader::new(&mut reader).unwrap();
        assert_eq!(read_run.header(), &run);
        assert_eq!(read_run.map(Result::unwrap).collect::<Vec<_>>(), changes());
        assert_eq!(reader.next_piece().unwrap(), Some(Piece::Tables));
        let mut tables = Vec::new();
        reader.read_to_end(&mut tables).unwrap();
        assert_eq!(tables, b"tables");
        assert_eq!(reader.next_piece().unwrap(), None);
        assert_eq!(reader.seal(), Some(finished.trailer.seal));
    }

    #[test]
    fn a_flipped_byte_of_an_index_is_found() {
        let header = header();
        let (mut bytes, finished) = write(&header, &row(header.session), &run());
        assert_eq!(read(&bytes).unwrap().len(), 4);
        let sealed = usize::try_from(finished.trailer.sealed_bytes).unwrap();
        for at in 0..sealed {
            bytes[at] ^= 0x10;
            assert!(read(&bytes).is_err(), "byte {at}");
            bytes[at] ^= 0x10;
        }
        for length in (0..sealed).step_by(97) {
            assert!(read(&bytes[..length]).is_err(), "cut at {length}");
        }
    }
}
