//! From tape file to tape file of one volume.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use crate::{
    catalog::{Catalog, Checked, CopyState, Segment, SegmentCopy, Verdict},
    digest::Digest,
    drive::{DriveError, ReadOutcome},
    ident::{SegmentId, Volser, VolumeId},
    job::{
        Desk, JobError,
        holes::Holes,
        monitor::Event,
        rig::Station,
        tape::BLOCK_MAX,
        verify::{
            expect,
            index::Spooled,
            label::LabelRead,
            segment::{self, Place},
            sweep::{Stop, Stretch, sweep},
        },
    },
    media::Volume,
    position::{FileNumber, ObjectNumber},
    volume::index::{Header, SegmentRow, SegmentState},
};

/// What the catalog says that a tape file is.
#[derive(Clone, Debug)]
enum Known {
    Segment(SegmentCopy),
    /// An attempt that was given up: there is nothing to read.
    Void,
    Index(Digest),
}

/// Reads one volume.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) station: &'a mut Station,
    pub(super) desk: &'a Desk,
    /// As the catalog knows it.
    pub(super) volume: Option<Volume>,
    pub(super) volser: Volser,
    pub(super) block_size: u32,
    pub(super) findings: u64,
    pub(super) checked: Vec<Checked>,
    /// What does not agree, for a map.
    pub(super) holes: Holes,
    /// Segments that agreed.
    pub(super) good: u64,
    /// Bytes of the segments that were read.
    pub(super) bytes: u64,
    /// Whether another drive wrote all that was read.
    pub(super) other_drive: bool,
    /// Whole segments that the tape alone told, by what was read.
    pub(super) seen: BTreeMap<SegmentId, (ObjectNumber, Digest)>,
    plan: BTreeMap<ObjectNumber, Known>,
    label_digest: Option<Digest>,
    /// Tape files without a trailer that fits, and what is to be said of each unless an index calls
    /// it void.
    pub(super) unexplained: BTreeMap<ObjectNumber, (u64, String)>,
    /// The index that was read last.
    previous: Option<(ObjectNumber, Digest)>,
    /// What that one lists.
    listed: BTreeSet<SegmentId>,
    indexes_read: usize,
    /// Where the tape stands, if that is known.
    standing: Option<ObjectNumber>,
    first: ObjectNumber,
}

impl<'a> Walk<'a> {
    /// After the label was read.
    pub(super) fn new(
        catalog: &'a Catalog,
        station: &'a mut Station,
        (id, volume): (VolumeId, Option<Volume>),
        desk: &'a Desk,
        label: LabelRead,
    ) -> Result<Self, JobError> {
        let said = label.label.as_ref().filter(|label| volume.is_some() || label.volume == id);
        let Some((volser, block_size)) = volume
            .as_ref()
            .map(|volume| (volume.volser, volume.block_size))
            .or(said.map(|label| (label.volser, label.block_size)))
        else {
            let what = format!("{} does not hold volume {id}", station.name);
            return Err(JobError::NotHeld { what });
        };
        let mut plan = BTreeMap::new();
        let mut other_drive = false;
        if let Some(volume) = &volume {
            (plan, other_drive) = plan_of(catalog, volume, station)?;
        }
        let first = label.next.or_else(|| plan.keys().next().copied());
        let mut walk = Self {
            catalog,
            station,
            desk,
            volume,
            volser,
            block_size,
            findings: 0,
            checked: Vec::new(),
            holes: Holes::default(),
            good: 0,
            bytes: 0,
            other_drive,
            seen: BTreeMap::new(),
            plan,
            label_digest: label.digest,
            unexplained: BTreeMap::new(),
            previous: None,
            listed: BTreeSet::new(),
            indexes_read: 0,
            standing: label.next,
            first: first.unwrap_or(ObjectNumber(1)),
        };
        if let Some(finding) = label.finding {
            walk.found(finding);
        }
        Ok(walk)
    }

    /// Tells a finding.
    pub(super) fn found(&mut self, what: String) {
        self.count(1);
        self.desk.tell(&Event::VolumeFinding { volser: self.volser, what });
    }

    fn count(&mut self, findings: u64) {
        self.findings += findings;
        self.desk.ledger.note(findings);
    }

    /// How many copies there are to read.
    pub(super) fn copies(&self) -> usize {
        self.plan.values().filter(|known| matches!(known, Known::Segment(_))).count()
    }

    /// Reads everything, in the order of the tape. Says whether all that counts as a copy was read.
    pub(super) fn whole(&mut self) -> Result<bool, JobError> {
        for known in self.plan.values() {
            if let Known::Segment(copy) = known {
                let bytes = self.catalog.segment(copy.segment)?.map_or(0, |known| known.bytes);
                expect(self.desk, bytes);
            }
        }
        let end = self.volume.as_ref().map(|volume| volume.end);
        let mut at = self.first;
        while end.is_none_or(|end| at < end) {
            self.desk.go_on()?;
            let planned = self.plan.range(at..).next().map(|(at, known)| (*at, known.clone()));
            let next = match planned {
                Some((object, known)) if object == at => self.known(at, &known)?,
                Some(_) | None => self.own(at)?,
            };
            let after = self.plan.range(at.after(1)..).next().map(|(object, _)| *object);
            let overrun = next.zip(after).is_some_and(|(next, after)| next > after);
            match next.filter(|_| !overrun).or(after) {
                Some(next) => at = next,
                None => break,
            }
        }
        if let Some(end) = end {
            self.beyond(end)?;
        }
        for (_, what) in std::mem::take(&mut self.unexplained).into_values() {
            self.found(what);
        }
        self.last_index_lists_all()?;
        Ok(self.all_read())
    }

    /// Reads some segments, and the last index. Says whether that is all that counts as a copy.
    pub(super) fn chosen(
        &mut self,
        wanted: impl Fn(usize, SegmentId) -> bool,
    ) -> Result<bool, JobError> {
        let last = self.volume.as_ref().and_then(|volume| volume.last_index);
        let mut number = 0;
        let mut chosen = Vec::new();
        for (object, known) in &self.plan {
            let take = match known {
                Known::Segment(copy) => {
                    number += 1;
                    wanted(number - 1, copy.segment)
                }
                Known::Void => false,
                Known::Index(_) => last.is_some_and(|last| last.object == *object),
            };
            if let (true, Known::Segment(copy)) = (take, known) {
                expect(self.desk, self.catalog.segment(copy.segment)?.map_or(0, |one| one.bytes));
            }
            chosen.extend(take.then(|| (*object, known.clone())));
        }
        for (object, known) in chosen {
            self.desk.go_on()?;
            self.known(object, &known)?;
        }
        Ok(self.all_read())
    }

    /// Whether every copy, every index and the label were read.
    fn all_read(&self) -> bool {
        let indexes = self.plan.values().filter(|known| matches!(known, Known::Index(_))).count();
        let copies = self.plan.values().filter(|known| match known {
            Known::Segment(copy) => copy.state.is_good(),
            Known::Void | Known::Index(_) => false,
        });
        copies.count() <= self.checked.len() && indexes <= self.indexes_read
    }

    /// Brings the tape to an object. `false`, and a finding, when it cannot be reached.
    pub(super) fn stand(&mut self, object: ObjectNumber) -> Result<bool, JobError> {
        if self.standing == Some(object) {
            return Ok(true);
        }
        self.standing = None;
        match self.station.drive.locate(object) {
            Ok(_) => self.standing = Some(object),
            Err(
                error @ (DriveError::Medium(_)
                | DriveError::EndOfDataMissing(_)
                | DriveError::Mismatch { .. }),
            ) => {
                self.found(format!("object {object} cannot be reached: {error}"));
                return Ok(false);
            }
            Err(error) => return Err(self.failed(error)),
        }
        Ok(true)
    }

    /// Forgets where the tape stands, after something else moved it.
    pub(super) fn forget(&mut self) {
        self.standing = None;
    }

    pub(super) fn failed(&self, error: DriveError) -> JobError {
        self.station.failed(self.volume.as_ref())(error)
    }

    /// The tape file at `object`, by its filemarks.
    pub(super) fn file_here(&mut self) -> Result<FileNumber, JobError> {
        let position = self.station.drive.position().map_err(|error| self.failed(error))?;
        Ok(position.file)
    }

    /// Reads a tape file that the catalog knows. Says where the next one begins, if that showed.
    fn known(
        &mut self,
        object: ObjectNumber,
        known: &Known,
    ) -> Result<Option<ObjectNumber>, JobError> {
        match known {
            Known::Void => Ok(None),
            Known::Index(seal) => {
                if !self.stand(object)? {
                    return Ok(None);
                }
                let next = self.plan.range(object.after(1)..).next().map(|(object, _)| *object);
                let end = next.or(self.volume.as_ref().map(|volume| volume.end));
                let blocks = end.and_then(|end| end.0.checked_sub(object.0 + 1));
                self.index(object, blocks, Some(*seal))
            }
            Known::Segment(copy) => {
                let Some(segment) = self.catalog.segment(copy.segment)? else {
                    self.found(format!("the catalog has no segment {}", copy.segment));
                    return Ok(None);
                };
                if !self.stand(object)? {
                    let verdict = Verdict::Unreadable;
                    self.checked.push(Checked { segment: copy.segment, verdict });
                    return Ok(None);
                }
                self.segment(&segment, object, copy.file)
            }
        }
    }

    /// Reads a segment that the catalog knows.
    pub(super) fn segment(
        &mut self,
        segment: &Segment,
        object: ObjectNumber,
        file: FileNumber,
    ) -> Result<Option<ObjectNumber>, JobError> {
        let wrong = self.station.wrongly_encrypted().map_err(|error| self.failed(error))?;
        if let Some(what) = wrong {
            self.found(format!("object {object} {what}"));
        }
        let place = Place { segment, object, file };
        let catalog = self.catalog;
        let id = segment.id;
        let entries = || -> Result<Box<dyn Iterator<Item = _>>, JobError> {
            Ok(Box::new(catalog.entries(id)?.map(|entry| entry.map_err(JobError::from))))
        };
        let read = segment::known(self.station, place, &entries, self.desk)?;
        self.bytes += segment.bytes;
        self.take_read(segment, object, read)
    }

    /// Notes what reading a segment showed.
    pub(super) fn take_read(
        &mut self,
        segment: &Segment,
        object: ObjectNumber,
        read: segment::Read,
    ) -> Result<Option<ObjectNumber>, JobError> {
        for what in read.findings {
            self.desk.tell(&Event::VolumeFinding { volser: self.volser, what });
        }
        self.count(read.count);
        read.holes.into_iter().for_each(|hole| self.holes.push(hole));
        self.holes.add_unlisted(read.unlisted);
        self.good += u64::from(read.verdict == Some(Verdict::Good));
        if let Some(verdict) = read.verdict
            && let Some(volume) = &self.volume
            && self.catalog.copies(segment.id)?.iter().any(|copy| copy.volume == volume.id)
        {
            self.checked.push(Checked { segment: segment.id, verdict });
        }
        let next = (read.end == Stop::Filemark).then(|| object.after(segment.blocks + 1));
        self.standing = next;
        Ok(next)
    }

    /// Reads an index, and holds what it says against what else is known.
    pub(super) fn index(
        &mut self,
        object: ObjectNumber,
        blocks: Option<u64>,
        seal: Option<Digest>,
    ) -> Result<Option<ObjectNumber>, JobError> {
        let mut file = self.desk.scratch_file()?;
        let blank = vec![0; usize::try_from(self.block_size).expect("a block fits memory")];
        let mut bytes = 0;
        let stretch = Stretch { start: object, blocks, skip: true };
        let swept = sweep(self.station, stretch, self.desk, |block| {
            let block = block.unwrap_or(&blank);
            bytes += block.len() as u64;
            file.write_all(block)
        })?;
        self.standing = None;
        let (catalog, volser) = (self.catalog, self.volser);
        let spooled = Spooled {
            file: &file,
            bytes,
            block_size: self.block_size,
            seal,
            manifest: &|id| Some(catalog.segment(id).ok()??.manifest_digest),
        };
        let index = spooled.check().map_err(JobError::scratch("read an index"))?;
        let say = |what: &str| format!("the index at object {object} {what}");
        for block in &swept.unread {
            self.found(say(&format!("has a block that cannot be read: {}", object.after(*block))));
        }
        for what in index.findings {
            self.found(say(&format!("is hit: {what}")));
        }
        if let (Some(what), true) = (&swept.damaged, swept.unread.is_empty()) {
            self.found(say(&segment::read_again(Some(what))));
        }
        if swept.end != Stop::Filemark {
            self.found(say("is not followed by the filemark that ends it"));
        }
        self.indexes_read += 1;
        if let Some((header, rows, seal)) = index.said {
            if header.volser != volser {
                self.found(say(&format!("is of another volume, {}", header.volser)));
            }
            self.hold(object, &header, &rows)?;
            self.previous = Some((object, seal));
        }
        let next = object.after(swept.blocks + 1);
        self.standing = (swept.end == Stop::Filemark).then_some(next);
        Ok(self.standing)
    }

    /// Holds what a good index says against label, chain, catalog and what was read.
    fn hold(
        &mut self,
        object: ObjectNumber,
        header: &Header,
        rows: &[SegmentRow],
    ) -> Result<(), JobError> {
        let say = |what: String| format!("the index at object {object} {what}");
        let label = self.volume.as_ref().map(|volume| volume.label_digest).or(self.label_digest);
        if label.is_some_and(|label| label != header.label_digest) {
            self.found(say("was written for another label than the volume has".to_owned()));
        }
        let before = header.previous.map(|previous| (previous.object, previous.seal));
        let known = before.and_then(|(object, _)| match self.plan.get(&object) {
            Some(Known::Index(seal)) => Some((object, *seal)),
            Some(Known::Segment(_) | Known::Void) | None => None,
        });
        let expected = self.previous.or(known);
        if expected.is_some() && expected != before {
            self.found(say("does not follow from the index before it".to_owned()));
        }
        for row in rows.iter().filter(|row| row.state == SegmentState::Void) {
            if self.unexplained.get(&row.object).is_some_and(|(blocks, _)| *blocks == row.blocks) {
                self.unexplained.remove(&row.object);
            }
        }
        for row in rows.iter().filter(|row| row.state == SegmentState::Whole) {
            let seen = self.seen.get(&row.segment).copied();
            if seen.is_some_and(|seen| seen != (row.object, row.digest)) {
                self.found(say(format!(
                    "lists segment {} otherwise than it was read",
                    row.segment
                )));
            }
            let Some(volume) = &self.volume else { continue };
            if row.object >= volume.end {
                // That the tape is longer than the catalog says is told by itself.
                continue;
            }
            let copies = self.catalog.copies(row.segment)?;
            let copy = copies.into_iter().find(|copy| copy.volume == volume.id);
            let segment = self.catalog.segment(row.segment)?;
            let agrees = copy.zip(segment).is_some_and(|(copy, segment)| {
                (copy.object, copy.file) == (row.object, row.file)
                    && segment.digest == row.digest
                    && segment.manifest_digest == row.manifest_digest
                    && segment.blocks == row.blocks
            });
            if !agrees {
                self.found(say(format!(
                    "lists segment {} otherwise than the catalog",
                    row.segment
                )));
            }
        }
        self.listed = rows.iter().map(|row| row.segment).collect();
        Ok(())
    }

    /// The last index lists every segment of the volume that stands before it.
    fn last_index_lists_all(&mut self) -> Result<(), JobError> {
        let Some(last) = self.volume.as_ref().and_then(|volume| volume.last_index) else {
            return Ok(());
        };
        if self.previous.is_none_or(|(object, _)| object != last.object) {
            return Ok(());
        }
        let missing: Vec<_> = self
            .plan
            .range(..last.object)
            .filter_map(|(_, known)| match known {
                Known::Segment(copy) if !self.listed.contains(&copy.segment) => Some(copy.segment),
                Known::Segment(_) | Known::Void | Known::Index(_) => None,
            })
            .collect();
        for segment in missing {
            self.found(format!("the last index does not list segment {segment}"));
        }
        Ok(())
    }

    /// What stands where the catalog says that the volume ends.
    fn beyond(&mut self, end: ObjectNumber) -> Result<(), JobError> {
        if !self.stand(end)? {
            return Ok(());
        }
        self.standing = None;
        let mut block = vec![0; BLOCK_MAX];
        match self.station.drive.read_block(&mut block) {
            Ok(ReadOutcome::EndOfData) => return Ok(()),
            Err(DriveError::EndOfDataMissing(_)) => {
                self.found("it has no end of data, as after a power loss".to_owned());
                return Ok(());
            }
            Ok(ReadOutcome::Block(_) | ReadOutcome::LongBlock { .. } | ReadOutcome::Filemark)
            | Err(DriveError::Medium(_) | DriveError::Damaged(_)) => {}
            Err(error) => return Err(self.failed(error)),
        }
        self.found(format!("it goes on behind object {end}, where the catalog says that it ends"));
        let mut at = end;
        while let Some(next) = self.own(at)? {
            self.desk.go_on()?;
            at = next;
        }
        Ok(())
    }
}

type Plan = BTreeMap<ObjectNumber, Known>;

/// What the catalog says that stands where, and whether other drives wrote all of it.
fn plan_of(
    catalog: &Catalog,
    volume: &Volume,
    station: &Station,
) -> Result<(Plan, bool), JobError> {
    let mut plan = BTreeMap::new();
    for copy in catalog.copies_on(volume.id)? {
        let known = match copy.state {
            CopyState::Void => Known::Void,
            CopyState::OnTape | CopyState::Verified | CopyState::Bad => {
                Known::Segment(copy.clone())
            }
        };
        plan.insert(copy.object, known);
    }
    let sessions = catalog.sessions(volume.id)?;
    let serial = &station.drive.identity().serial;
    let other = !sessions.is_empty()
        && sessions.iter().all(|session| {
            let writer = session.drive.split_whitespace().next_back();
            writer.is_some_and(|writer| writer != serial)
        });
    let indexes = sessions.iter().filter_map(|session| session.index).chain(volume.last_index);
    for index in indexes {
        plan.insert(index.object, Known::Index(index.seal));
    }
    Ok((plan, other))
}
