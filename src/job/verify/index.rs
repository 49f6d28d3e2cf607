//! A volume index against its seal, its trailer and the place that it claims in the chain.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

use crate::{
    digest::Digest,
    ident::SegmentId,
    job::verify::segment::first_difference,
    tar::{Names, Reader, UNIT},
    volume::{
        index::{Header, IndexReader, Piece, RunReader, Seal, SegmentRow, Trailer, end_of},
        trailer::{self, TRAILER_BYTES},
    },
};

/// The most pieces of one index: a manifest for each segment, a run for each source.
const PIECES_MAX: usize = 1 << 20;

/// An index that was read from tape into a file.
pub(super) struct Spooled<'a> {
    /// Its bytes, zeros where they could not be read.
    pub(super) file: &'a File,
    /// How many.
    pub(super) bytes: u64,
    /// Bytes of one block.
    pub(super) block_size: u32,
    /// The seal that it must have, if that is known.
    pub(super) seal: Option<Digest>,
    /// The digest of a segment's manifest, if that is known.
    pub(super) manifest: &'a dyn Fn(SegmentId) -> Option<Digest>,
}

/// What an index showed.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// What of it is hit.
    pub(super) findings: Vec<String>,
    /// What it says, if its seal agreed.
    pub(super) said: Option<(Header, Vec<SegmentRow>, Digest)>,
}

/// A member of the index.
struct Part {
    name: String,
    offset: u64,
    data: u64,
    stored: u64,
}

impl Spooled<'_> {
    /// Holds the index against its seal, and names what was hit.
    pub(super) fn check(&self) -> io::Result<Index> {
        let mut index = Index::default();
        let trailer = self.trailer()?;
        let (parts, broken) = self.parts()?;
        let member = parts.iter().find(|part| part.name == "SEAL.json");
        let stated: Option<Seal> = match member {
            Some(part) => serde_json::from_slice(&self.bytes_of(part.data, part.stored)?).ok(),
            None => None,
        };
        let seals =
            [self.seal, trailer.map(|trailer| trailer.seal), stated.map(|stated| stated.blake3)];
        let places = [member.map(|part| part.offset), trailer.map(|trailer| trailer.sealed_bytes)];
        let fits = |&bytes: &u64| bytes <= self.bytes && bytes.is_multiple_of(UNIT as u64);
        let mut sealed = None;
        for bytes in places.into_iter().flatten().filter(fits) {
            let found = self.digest(bytes)?;
            let intact = match self.seal {
                Some(seal) => seal == found,
                None => seals.contains(&Some(found)),
            };
            if sealed.is_none() || intact {
                sealed = Some((bytes, found, intact));
            }
        }
        let Some((sealed, found, intact)) = sealed else {
            index.findings.push("neither its seal nor its trailer can be read".to_owned());
            return Ok(index);
        };
        let true_seal = if intact { Some(found) } else { seals.into_iter().flatten().next() };
        let header = if intact {
            match self.said() {
                Ok((header, rows)) => {
                    index.said = Some((header.clone(), rows, found));
                    Some(header)
                }
                Err(what) => {
                    index.findings.push(what);
                    None
                }
            }
        } else {
            index.findings.extend(self.suspects(&parts, broken, sealed)?);
            trailer.map(|trailer| header_for(&trailer))
        };
        if let (Some(header), Some(blake3)) = (header, true_seal) {
            index.findings.extend(self.end(&header, Seal { blake3, bytes: sealed })?);
        } else if trailer.is_none() {
            index.findings.push("its trailer cannot be read".to_owned());
        }
        Ok(index)
    }

    fn trailer(&self) -> io::Result<Option<Trailer>> {
        let block = u64::from(self.block_size);
        let Some(last) = self.bytes.checked_sub(block) else { return Ok(None) };
        let block = self.bytes_of(last, block)?;
        Ok(match trailer::decode(&block) {
            Ok(trailer::Trailer::Index(trailer)) => Some(trailer),
            Ok(trailer::Trailer::Segment(_)) | Err(_) => None,
        })
    }

    /// The members that can be made out, and where and why no more can.
    fn parts(&self) -> io::Result<(Vec<Part>, Option<String>)> {
        let mut file = self.file;
        file.seek(SeekFrom::Start(0))?;
        let mut reader = Reader::new(BufReader::new(file), Names::Safe);
        let mut parts = Vec::new();
        while parts.len() < PIECES_MAX {
            match reader.next_member() {
                Ok(Some(found)) => {
                    let path = &found.head.path;
                    let name = path.splitn(3, '/').nth(2).unwrap_or(path).to_owned();
                    let (offset, data, stored) = (found.offset, found.data, found.stored);
                    parts.push(Part { name, offset, data, stored });
                }
                Ok(None) => break,
                Err(error) => return Ok((parts, Some(error.to_string()))),
            }
        }
        Ok((parts, None))
    }

    /// What header and rows say; only of use when the seal agreed.
    fn said(&self) -> Result<(Header, Vec<SegmentRow>), String> {
        let mut file = self.file;
        file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
        let mut reader = IndexReader::new(BufReader::new(file)).map_err(|e| e.to_string())?;
        let header = reader.header().clone();
        match reader.next_piece() {
            Ok(Some(Piece::Segments(rows))) => Ok((header, rows)),
            Ok(_) => Err("it lists no segments".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Which pieces of a broken index are broken, as far as each can be told from itself; if none
    /// can, those that cannot be told to be good.
    fn suspects(
        &self,
        parts: &[Part],
        broken: Option<String>,
        sealed: u64,
    ) -> io::Result<Vec<String>> {
        let mut findings = Vec::new();
        let mut doubtful = Vec::new();
        for part in parts.iter().filter(|part| part.offset < sealed) {
            let end = (part.data + part.stored).saturating_sub(1);
            let said = format!("{} (bytes {} to {end})", part.name, part.offset);
            match self.judge(part)? {
                Some(true) => {}
                Some(false) => findings.push(format!("{said} is damaged")),
                None => doubtful.push(said),
            }
        }
        findings.extend(broken.map(|what| match parts.last() {
            Some(part) => format!("what follows {} is damaged: {what}", part.name),
            None => format!("its beginning is damaged: {what}"),
        }));
        if findings.is_empty() {
            let among =
                if doubtful.is_empty() { "a header".to_owned() } else { doubtful.join(", ") };
            findings.push(format!(
                "its first {sealed} bytes disagree with its seal: it is in {among}, or in a header"
            ));
        }
        Ok(findings)
    }

    /// Whether a piece is good, as far as it tells.
    fn judge(&self, part: &Part) -> io::Result<Option<bool>> {
        let raw = || -> io::Result<_> {
            let mut file = self.file;
            file.seek(SeekFrom::Start(part.data))?;
            Ok(BufReader::new(file).take(part.stored))
        };
        if part.name == "index.json" {
            let json = self.bytes_of(part.data, part.stored)?;
            let read = serde_json::from_slice::<Header>(&json);
            return Ok(if read.is_ok() { None } else { Some(false) });
        }
        if part.name == "segments.jsonl" {
            let lines = self.bytes_of(part.data, part.stored)?;
            let mut lines = lines.split(|&b| b == b'\n').filter(|line| !line.is_empty());
            let read = lines.all(|line| serde_json::from_slice::<SegmentRow>(line).is_ok());
            return Ok(if read { None } else { Some(false) });
        }
        let manifest = part.name.strip_prefix("manifests/").and_then(|name| name.split('.').next());
        let manifest = manifest.and_then(|name| (self.manifest)(name.parse().ok()?));
        if part.name.starts_with("runs/") {
            let good = RunReader::new(raw()?).is_ok_and(|mut run| run.all(|row| row.is_ok()));
            return Ok(if good { None } else { Some(false) });
        }
        let mut hasher = blake3::Hasher::new();
        let decoded =
            zstd::Decoder::new(raw()?).and_then(|mut decoder| io::copy(&mut decoder, &mut hasher));
        Ok(match (decoded, manifest) {
            (Err(_), _) => Some(false),
            (Ok(_), Some(digest)) => Some(Digest::from_hasher(&hasher) == digest),
            (Ok(_), None) => None,
        })
    }

    /// Compares what stands behind the sealed bytes with what must.
    fn end(&self, header: &Header, seal: Seal) -> io::Result<Option<String>> {
        if !trailer::is_block_size(header.block_size) {
            return Ok(Some("its block size is none that a volume has".to_owned()));
        }
        let (expected, made) = end_of(header, seal);
        let length = self.bytes - seal.bytes.min(self.bytes);
        // One block more than expected tells as much as all of them.
        let length = length.min(expected.len() as u64 + 1);
        let found = self.bytes_of(seal.bytes, length)?;
        let Some(at) = first_difference(&found, &expected) else { return Ok(None) };
        let at = seal.bytes + at;
        let unit = UNIT as u64;
        let last = made.blocks.saturating_sub(1) * u64::from(made.block_size);
        let what = if at < seal.bytes + 2 * unit {
            "its seal"
        } else if at < last {
            "the filler in front of its trailer"
        } else if at < last + unit + TRAILER_BYTES as u64 {
            "its trailer"
        } else {
            "the end of the archive"
        };
        Ok(Some(format!("{what} disagrees (byte {at})")))
    }

    /// The digest of the first so many bytes.
    fn digest(&self, bytes: u64) -> io::Result<Digest> {
        let mut file = self.file;
        file.seek(SeekFrom::Start(0))?;
        let mut hasher = blake3::Hasher::new();
        io::copy(&mut file.take(bytes), &mut hasher)?;
        Ok(Digest::from_hasher(&hasher))
    }

    /// Small pieces, whole.
    fn bytes_of(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        let length = length.min(self.bytes.saturating_sub(at));
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }
}

/// As much of a header as the end of an index is made from.
fn header_for(trailer: &Trailer) -> Header {
    Header {
        format: trailer.format,
        session: trailer.index,
        volume: trailer.volume,
        volser: "000000".parse().expect("six characters"),
        block_size: trailer.block_size,
        label_digest: Digest([0; 32]),
        previous: None,
        created: trailer.created,
    }
}
