//! Indexes and segments read off the tape, each held against its own digest.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
};

use crate::{
    digest::Digest,
    job::{
        JobError,
        adopt::Adoption,
        tape::{Ending, TapeFile, ending_before, segment_of},
    },
    media::Volume,
    position::{FileNumber, ObjectNumber},
    volume::{
        index::{Header, IndexError, IndexReader},
        lines, segment,
        trailer::Trailer,
    },
};

/// An index that was read whole and agreed with its seal.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) file: File,
    pub(super) header: Header,
    pub(super) seal: Digest,
    pub(super) object: ObjectNumber,
    pub(super) number: FileNumber,
    /// Its blocks and its filemark.
    pub(super) objects: u64,
}

impl Adoption<'_> {
    /// Reads an index into a file and holds it against its seal. What it says may be used only
    /// then.
    pub(super) fn read_index(
        &mut self,
        volume: &Volume,
        object: ObjectNumber,
    ) -> Result<Result<Index, String>, JobError> {
        let failed = self.station.failed(Some(volume));
        let number = self.station.drive.locate(object).map_err(&failed)?.file;
        let mut file = self.desk.scratch_file()?;
        let mut tape = TapeFile::new(&mut self.station.drive, u64::MAX);
        let copied = match io::copy(&mut tape, &mut file) {
            Ok(copied) => copied,
            Err(error) => {
                return Ok(Err(format!("the index at object {object} cannot be read: {error}")));
            }
        };
        let objects = copied / u64::from(volume.block_size) + 1;
        file.rewind().map_err(JobError::scratch("read an index"))?;
        Ok(match check(&file) {
            Ok((header, seal)) if header.volume == volume.id => {
                Ok(Index { file, header, seal, object, number, objects })
            }
            Ok(_) => Err(format!("the index at object {object} is another volume's")),
            Err(error) => Err(format!("the index at object {object} is damaged: {error}")),
        })
    }

    /// Reads a segment that the catalog does not know, and records it with its members. It is read
    /// whole, because only that gives its digest.
    pub(super) fn take_segment(
        &mut self,
        volume: &Volume,
        object: ObjectNumber,
        blocks: u64,
    ) -> Result<Result<(), String>, JobError> {
        let failed = self.station.failed(Some(volume));
        let drive = &mut self.station.drive;
        let trailer = match ending_before(drive, object.after(blocks)).map_err(&failed)? {
            Ending::Trailer(Trailer::Segment(trailer)) if trailer.blocks == blocks => trailer,
            Ending::Trailer(_) | Ending::Unfinished | Ending::Filemark => {
                return Ok(Err(format!("no segment begins at object {object}")));
            }
        };
        drive.locate(object).map_err(&failed)?;
        let mut manifest = self.desk.scratch_file()?;
        let mut tape = TapeFile::new(drive, blocks);
        let digest = match digest_and_manifest(&mut tape, &trailer, &mut manifest) {
            Ok(digest) => digest,
            Err(error) => {
                return Ok(Err(format!("segment {} cannot be read: {error}", trailer.segment)));
            }
        };
        manifest.rewind().map_err(JobError::scratch("read a manifest"))?;
        let mut damage = None;
        let mut entries = lines::Reader::new(BufReader::new(manifest))
            .map_while(|entry| entry.map_err(|error| damage = Some(error.to_string())).ok());
        let segment = segment_of(&trailer, digest);
        let added = self.catalog.add_segment(&segment, &mut entries);
        if let Some(what) = damage {
            return Ok(Err(format!("the manifest of segment {} is damaged: {what}", segment.id)));
        }
        added?;
        Ok(Ok(()))
    }
}

/// Reads an index to its seal.
fn check(file: &File) -> Result<(Header, Digest), IndexError> {
    let mut reader = IndexReader::new(BufReader::new(file))?;
    let header = reader.header().clone();
    while reader.next_piece()?.is_some() {}
    Ok((header, reader.seal().expect("it was read to its seal")))
}

/// Digests a segment and keeps the lines of its manifest.
fn digest_and_manifest(
    tape: &mut impl Read,
    trailer: &segment::Trailer,
    manifest: &mut impl io::Write,
) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let first = trailer.manifest_offset;
    let last = first + trailer.manifest_bytes;
    let mut at = 0_u64;
    loop {
        let count = tape.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        let end = at + count as u64;
        let within =
            |offset: u64| usize::try_from(offset.clamp(at, end) - at).expect("in the buffer");
        manifest.write_all(&buffer[within(first)..within(last)])?;
        at = end;
    }
    if at != trailer.bytes() {
        return Err(io::Error::other("it is shorter than its trailer says"));
    }
    Ok(Digest::from_hasher(&hasher))
}
