//! One segment: whole against its digest, and if that disagrees, once more piece by piece.

mod compare;
mod layout;
mod tail;

use std::{collections::BTreeMap, io};

use crate::{
    catalog::{Segment, Verdict},
    digest::Digest,
    job::{
        Desk, JobError,
        holes::{Content, HitMember, Hole, Span},
        rig::Station,
        verify::{
            segment::{
                compare::{Compared, Comparison, Damage, Struck, Trace},
                layout::{head_bytes, members},
            },
            sweep::{Stop, Stretch, Swept, sweep},
        },
    },
    position::{FileNumber, ObjectNumber},
    printable::Printable,
    tar::UNIT,
    volume::manifest::Entry,
};

/// Damages of one segment that are told one by one.
const TOLD_MAX: usize = 100;

pub(super) use compare::first_difference;

/// Gives the entries of the segment, with their ordinals, from the first on.
pub(super) type Entries<'a> = dyn Fn() -> Result<Box<dyn Iterator<Item = Result<(u32, Entry), JobError>> + 'a>, JobError>
    + 'a;

/// A segment where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// What is known of it.
    pub(super) segment: &'a Segment,
    /// Its first block. The drive stands there.
    pub(super) object: ObjectNumber,
    /// Its tape file.
    pub(super) file: FileNumber,
}

/// What reading a segment showed.
#[derive(Debug)]
pub(super) struct Read {
    /// What disagrees, in words.
    pub(super) findings: Vec<String>,
    /// The same, for a map.
    pub(super) holes: Vec<Hole>,
    /// How many more damages there are than the map has.
    pub(super) unlisted: u64,
    /// How many findings there are, those not told one by one included.
    pub(super) count: u64,
    /// What it comes to; `None` when it proves nothing, neither good nor bad.
    pub(super) verdict: Option<Verdict>,
    /// The digest of what was read.
    pub(super) digest: Digest,
    /// How the last sweep ended: whether the drive stands behind the filemark.
    pub(super) end: Stop,
}

/// Reads a segment whose digest is known.
pub(super) fn known(
    station: &mut Station,
    place: Place<'_>,
    entries: &Entries<'_>,
    desk: &Desk,
) -> Result<Read, JobError> {
    let mut hasher = blake3::Hasher::new();
    let blocks = Some(place.segment.blocks);
    let stretch = Stretch { start: place.object, blocks, skip: false };
    let swept = sweep(station, stretch, desk, |block| {
        hasher.update(block.unwrap_or_default());
        Ok(())
    })?;
    let digest = Digest::from_hasher(&hasher);
    if digest == place.segment.digest && swept.unread.is_empty() {
        let mut findings: Vec<_> = behind(place, &swept).into_iter().collect();
        findings.extend(swept.damaged.as_deref().map(|what| place.say(&read_again(Some(what)))));
        let count = findings.len() as u64;
        return Ok(Read {
            findings,
            holes: Vec::new(),
            unlisted: 0,
            count,
            verdict: Some(Verdict::Good),
            digest,
            end: swept.end,
        });
    }
    station.drive.locate(place.object).map_err(station.failed(None))?;
    let mut read = piecewise(station, place, entries, desk)?;
    if read.count == 0 && read.digest != place.segment.digest {
        read.findings.push(place.say("disagrees with its digest, and all its members are good"));
        read.count = 1;
        read.verdict = Some(Verdict::BadMembers(vec![beyond(place.segment)]));
    }
    if read.count == 0 {
        read.findings.push(place.say(&read_again(swept.damaged.as_deref())));
        read.count = 1;
        read.verdict = None;
    }
    Ok(read)
}

/// Reads a segment member by member against its entries, and its end byte by byte.
pub(super) fn piecewise(
    station: &mut Station,
    place: Place<'_>,
    entries: &Entries<'_>,
    desk: &Desk,
) -> Result<Read, JobError> {
    let segment = place.segment;
    let tail = segment.manifest_offset.saturating_sub(UNIT as u64);
    let mut comparison = Some(Comparison::new(
        members(entries()?)?,
        (tail, segment.bytes),
        segment.block_size,
        desk.scratch_file()?,
    ));
    let stretch = Stretch { start: place.object, blocks: Some(segment.blocks), skip: true };
    let running = &mut comparison;
    let swept = sweep(station, stretch, desk, |block| {
        running.as_mut().map_or(Ok(()), |comparison| comparison.take(block))
    })?;
    let finish =
        comparison.take().map_or_else(|| Err(io::Error::other("lost")), Comparison::finish);
    let mut compared = finish.map_err(JobError::scratch("keep what was read"))?;
    tail::compare(segment, entries()?, &mut compared, desk)?;
    let (mut findings, holes) = name(place, entries, &compared)?;
    let mut count = compared.damages.len() as u64;
    let verdict = Some(verdict_of(segment, &compared));
    if let Some(what) = behind(place, &swept) {
        findings.push(what);
        count += 1;
    }
    let unlisted = compared.damages.len().saturating_sub(TOLD_MAX) as u64;
    let digest = compared.digest;
    Ok(Read { findings, holes, unlisted, count, verdict, digest, end: swept.end })
}

/// What is said of what came right only when it was read again.
pub(super) fn read_again(first: Option<&str>) -> String {
    let why = first.map(|what| format!(" ({what})")).unwrap_or_default();
    format!("did not read right at first{why}, and did when it was read again")
}

/// Stands, among bad members, for the segment's own pieces.
fn beyond(segment: &Segment) -> u32 {
    u32::try_from(segment.members).unwrap_or(u32::MAX)
}

fn verdict_of(segment: &Segment, compared: &Compared) -> Verdict {
    if compared.damages.is_empty() {
        return Verdict::Good;
    }
    let mut bad = Vec::new();
    for damage in &compared.damages {
        bad.push(match (damage.struck, damage.ordinal) {
            (Struck::Header | Struck::Data, Some(ordinal)) => ordinal,
            _ => beyond(segment),
        });
    }
    bad.sort_unstable();
    bad.dedup();
    let members = bad.iter().filter(|&&ordinal| ordinal != beyond(segment)).count();
    if members as u64 == segment.members { Verdict::Unreadable } else { Verdict::BadMembers(bad) }
}

/// What is wrong behind the last block.
fn behind(place: Place<'_>, swept: &Swept) -> Option<String> {
    let blocks = place.segment.blocks;
    Some(place.say(&match swept.end {
        Stop::Open | Stop::Filemark if swept.blocks == blocks => return None,
        Stop::Open | Stop::Filemark | Stop::Unread => {
            format!("has {} blocks instead of {blocks}", swept.blocks)
        }
        Stop::EndOfData => format!("ends the tape after {} of {blocks} blocks", swept.blocks),
        Stop::TooLong => format!("has more than its {blocks} blocks"),
        Stop::Unmarked => "is followed by a filemark that cannot be read".to_owned(),
        Stop::GivenUp => format!("was given up at block {}: too much cannot be read", swept.blocks),
    }))
}

impl Place<'_> {
    fn say(&self, what: &str) -> String {
        format!("segment {} in tape file {} {what}", self.segment.id, self.file)
    }
}

/// Says each damage in words, the members by their keys, and for a map.
fn name(
    place: Place<'_>,
    entries: &Entries<'_>,
    compared: &Compared,
) -> Result<(Vec<String>, Vec<Hole>), JobError> {
    let (mut findings, mut holes) = (Vec::new(), Vec::new());
    let told = &compared.damages[..compared.damages.len().min(TOLD_MAX)];
    let mut named: BTreeMap<u32, Option<Entry>> =
        told.iter().filter_map(|damage| Some((damage.ordinal?, None))).collect();
    let last = named.keys().next_back().copied();
    for entry in entries()? {
        let (ordinal, entry) = entry?;
        if last.is_none_or(|last| ordinal > last) {
            break;
        }
        if let Some(slot) = named.get_mut(&ordinal) {
            *slot = Some(entry);
        }
    }
    for damage in told {
        let entry = damage.ordinal.and_then(|ordinal| named.get(&ordinal)?.as_ref());
        findings.push(sentence(place, damage, entry));
        holes.extend(damage.spans.iter().map(|bytes| hole(place, damage, entry, *bytes)));
    }
    let more = compared.damages.len() - told.len();
    if more > 0 {
        findings.push(place.say(&format!("has {more} more damages")));
    }
    Ok((findings, holes))
}

fn hole(place: Place<'_>, damage: &Damage, entry: Option<&Entry>, bytes: Span) -> Hole {
    let block = u64::from(place.segment.block_size).max(1);
    let member = entry.zip(damage.ordinal).map(|(entry, ordinal)| HitMember {
        ordinal,
        source: entry.source.clone(),
        key: entry.item.key.clone(),
        version: entry.item.version.clone(),
        part: entry.part,
        bytes: (damage.struck == Struck::Data).then(|| content_of(entry).bytes_in(bytes)).flatten(),
    });
    Hole {
        segment: place.segment.id,
        what: word(damage.struck),
        unread: damage.unread,
        object: place.object.after(bytes.from / block),
        last_object: place.object.after(bytes.to.saturating_sub(1).max(bytes.from) / block),
        bytes,
        more: false,
        member,
        copies: Vec::new(),
        came_from: None,
    }
}

fn content_of(entry: &Entry) -> Content<'_> {
    Content {
        data: entry.data,
        stored: entry.stored,
        size: entry.part.map_or(entry.item.size, |part| part.length),
        part: entry.part,
        extents: entry.item.extents.as_deref(),
    }
}

fn word(struck: Struck) -> &'static str {
    match struck {
        Struck::Gap | Struck::Filler => "filler",
        Struck::Header => "header",
        Struck::Data => "data",
        Struck::Padding | Struck::ManifestPadding => "padding",
        Struck::ManifestHeader | Struck::Manifest => "manifest",
        Struck::SumsHeader | Struck::Sums => "digests",
        Struck::Trailer => "trailer",
        Struck::End => "end",
    }
}

fn sentence(place: Place<'_>, damage: &Damage, entry: Option<&Entry>) -> String {
    let member = entry.map_or_else(
        || "a member that nothing names".to_owned(),
        |entry| {
            let part = entry
                .part
                .map_or_else(String::new, |part| format!(", part {} of {}", part.number, part.of));
            format!("{} of {}{part}", Printable(&entry.item.key.0), entry.source)
        },
    );
    let line = damage.ordinal.map_or_else(String::new, |line| format!(", line {line} ({member})"));
    let what = match damage.struck {
        Struck::Gap => "the filler between members".to_owned(),
        Struck::Header => format!("the header of {member}"),
        Struck::Data => format!("the data of {member}"),
        Struck::Padding => format!("the padding behind {member}"),
        Struck::ManifestHeader => "the manifest's header".to_owned(),
        Struck::Manifest => format!("the manifest{line}"),
        Struck::ManifestPadding => "the padding behind the manifest".to_owned(),
        Struck::SumsHeader => "the header of the digests (BLAKE3SUMS)".to_owned(),
        Struck::Sums => "the digests (BLAKE3SUMS)".to_owned(),
        Struck::Filler => "the filler in front of the trailer".to_owned(),
        Struck::Trailer => "the trailer".to_owned(),
        Struck::End => "the end of the archive".to_owned(),
    };
    let (mut offset, mut length) = (damage.offset, damage.length);
    if let (Trace::Header(found), Some(entry)) = (&damage.trace, entry)
        && let Some(at) = first_difference(found, &head_bytes(entry))
    {
        (offset, length) = (damage.offset + at, 1);
    }
    let block = u64::from(place.segment.block_size);
    let object = place.object.after(offset / block);
    let spot = match length {
        0 | 1 => format!("byte {offset}"),
        _ => format!("bytes {offset} to {}", offset + length - 1),
    };
    let verb = if damage.unread { "cannot be read" } else { "disagrees" };
    place.say(&format!("is hit: {what} {verb} ({spot}, block {object} of the tape)"))
}
