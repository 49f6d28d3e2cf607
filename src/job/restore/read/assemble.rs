//! The disk's side: blocks become files, each named once its digest agreed.

use std::{
    collections::{HashMap, HashSet},
    iter::Peekable,
};

use crate::{
    catalog::{self, Catalog},
    destination::{Destination, NewFile},
    ident::SegmentId,
    job::{
        Desk, JobError,
        holes::Span,
        monitor::Event,
        restore::{
            missed::Hit,
            outcome::Outcome,
            plan::{Plan, Stop},
            read::{
                Delivery, Missing, OfLeg,
                member::{Arriving, Unfit},
                of_leg,
            },
            spool::SpoolWriter,
            wanted::{Piece, Tried},
        },
    },
    media::Volume,
    pipeline::Flow,
    position::ObjectNumber,
};

/// Files in several pieces that are open at once; the pieces of others wait for another round.
const OPEN_MAX: usize = 400;
/// Bad members of one volume that are kept before the catalog is told.
const BAD_MAX: usize = 1000;
/// Findings of one volume that the catalog takes down; their number is in the report anyway.
const EVENTS_MAX: u32 = 1000;

/// Files in several pieces, between their pieces.
#[derive(Debug, Default)]
pub(in crate::job::restore) struct OpenFiles {
    open: HashMap<u64, Open>,
    /// Those that will not come back: their other pieces are not read.
    given_up: HashSet<u64>,
}

#[derive(Debug)]
struct Open {
    file: NewFile,
    /// Pieces that have not come.
    left: u32,
}

impl OpenFiles {
    /// Gives up a file. `false` when it was given up before.
    pub(in crate::job::restore) fn give_up(&mut self, piece: &Piece) -> bool {
        self.open.remove(&piece.number);
        piece.of == 1 || self.given_up.insert(piece.number)
    }
}

/// Puts files together.
pub(in crate::job::restore) struct Assembler<'a, 'b> {
    pub(in crate::job::restore) catalog: &'a Catalog,
    pub(in crate::job::restore) desk: &'a Desk,
    pub(in crate::job::restore) destination: &'a mut Destination,
    pub(in crate::job::restore) outcome: &'a mut Outcome<'b>,
    pub(in crate::job::restore) files: &'a mut OpenFiles,
    /// Pieces for another round.
    pub(in crate::job::restore) again: &'a mut SpoolWriter<Piece>,
    /// Pieces that came to an end, good or bad.
    pub(in crate::job::restore) settled: u64,
    /// What is being read; staging, if it is no volume.
    volume: Option<&'a Volume>,
    stops: Option<Peekable<OfLeg<'a>>>,
    current: Option<Current>,
    events: u32,
    /// Members that the tape does not give, until the catalog knows.
    bad: Vec<(SegmentId, u32)>,
}

/// A member that has begun.
struct Current {
    stop: Stop,
    /// The next byte that is wanted, from the segment's start.
    at: u64,
    arriving: Arriving,
    /// Once the header agreed.
    file: Option<NewFile>,
    left: u32,
}

/// Why a piece is not taken.
enum Refusal {
    /// Try another copy.
    Copy(Defect),
    /// The destination does not take the file.
    File(crate::destination::DestinationError),
    /// Too many files are open.
    Later,
}

/// What is wrong with a copy of a member.
struct Defect {
    why: String,
    /// Where, if that is known.
    hit: Option<Hit>,
    /// Whether it is the tape that is at fault.
    is_tapes: bool,
}

impl<'a, 'b> Assembler<'a, 'b> {
    pub(in crate::job::restore) fn new(
        (catalog, desk): (&'a Catalog, &'a Desk),
        destination: &'a mut Destination,
        outcome: &'a mut Outcome<'b>,
        files: &'a mut OpenFiles,
        again: &'a mut SpoolWriter<Piece>,
    ) -> Self {
        Self {
            catalog,
            desk,
            destination,
            outcome,
            files,
            again,
            settled: 0,
            volume: None,
            stops: None,
            current: None,
            events: 0,
            bad: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, volume: Option<&'a Volume>, stops: OfLeg<'a>) {
        self.volume = volume;
        self.stops = Some(stops.peekable());
        self.current = None;
        self.events = 0;
    }

    /// Takes what comes from the drive.
    pub(super) fn take(&mut self, delivery: Delivery, block: &[u8]) -> Result<Flow, JobError> {
        match delivery {
            Delivery::Block(object) => self.take_block(object, block)?,
            Delivery::Bad(object, missing) => self.take_bad(object, &missing)?,
        }
        Ok(Flow::Continue)
    }

    /// Ends a volume: what is left did not come.
    pub(super) fn end(&mut self) -> Result<(), JobError> {
        if let Some(current) = self.current.take() {
            let stop = self.set_aside(current);
            self.failed(stop, Refusal::without_place("its end did not come"))?;
        }
        while let Some(stop) = self.next_stop(ObjectNumber(u64::MAX))? {
            self.failed(stop, Refusal::without_place("it did not come"))?;
        }
        self.note_bad()
    }

    /// Leaves a volume's pieces to another round: it cannot be had.
    pub(in crate::job::restore) fn postpone(
        &mut self,
        plan: &Plan,
        rank: usize,
    ) -> Result<(), JobError> {
        for stop in of_leg(&plan.stops, rank)? {
            self.again.push(&stop?.piece)?;
        }
        Ok(())
    }

    fn take_bad(&mut self, object: ObjectNumber, missing: &Missing) -> Result<(), JobError> {
        if let Some(current) = self.current.take() {
            let stop = self.set_aside(current);
            let defect = Defect::of(missing, object, &stop);
            self.failed(stop, Refusal::Copy(defect))?;
        }
        while let Some(stop) = self.next_stop(object)? {
            let refusal = if stop.last < object {
                // It has been read for another item; its bytes do not come twice in a row.
                Refusal::Later
            } else {
                Refusal::Copy(Defect::of(missing, object, &stop))
            };
            self.failed(stop, refusal)?;
        }
        Ok(())
    }

    /// Tells the catalog which members the tape does not give.
    fn note_bad(&mut self) -> Result<(), JobError> {
        let bad = std::mem::take(&mut self.bad);
        match self.volume {
            Some(volume) if !bad.is_empty() => {
                Ok(self.catalog.add_bad_members(volume.id, &bad, self.desk.clock.now())?)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn take_block(&mut self, object: ObjectNumber, block: &[u8]) -> Result<(), JobError> {
        loop {
            let fresh = self.current.is_none();
            let current = match self.current.take() {
                Some(current) => current,
                None => match self.next_stop(object)? {
                    Some(stop) => Current::new(stop),
                    None => return Ok(()),
                },
            };
            if fresh && current.stop.first < object {
                // The member has been read for another item; its bytes do not come twice in a row.
                self.failed(current.stop, Refusal::Later)?;
                continue;
            }
            let begin = current.block_begin(object);
            let end = current.stop.piece.member.end().min(begin + block.len() as u64);
            let range = usize::try_from(current.at - begin).expect("within the block")
                ..usize::try_from(end - begin).expect("within the block");
            if !self.advance(current, end, &block[range])? {
                return Ok(());
            }
        }
    }

    /// The next stop, if it begins at `object` or before.
    fn next_stop(&mut self, object: ObjectNumber) -> Result<Option<Stop>, JobError> {
        let Some(stops) = &mut self.stops else { return Ok(None) };
        stops.next_if(|stop| stop.as_ref().map_or(true, |stop| stop.first <= object)).transpose()
    }

    /// Feeds the current member; `false` when it wants the next block.
    fn advance(&mut self, mut current: Current, end: u64, bytes: &[u8]) -> Result<bool, JobError> {
        current.at = end;
        match self.feed(&mut current, bytes) {
            Ok(()) if end < current.stop.piece.member.end() => {
                self.current = Some(current);
                return Ok(false);
            }
            Ok(()) => self.finish(current)?,
            Err(refusal) => {
                let stop = self.set_aside(current);
                self.failed(stop, refusal)?;
            }
        }
        Ok(true)
    }

    /// Keeps a file whose other pieces stay good although this one does not.
    fn set_aside(&mut self, current: Current) -> Stop {
        let Current { stop, file, left, .. } = current;
        if let (Some(file), true) = (file, stop.piece.of > 1) {
            self.files.open.insert(stop.piece.number, Open { file, left });
        }
        stop
    }

    fn feed(&mut self, current: &mut Current, bytes: &[u8]) -> Result<(), Refusal> {
        let piece = &current.stop.piece;
        let mut content = bytes;
        if current.file.is_none() {
            if self.files.given_up.contains(&piece.number) {
                return Err(Refusal::Later);
            }
            let (rest, complete) = current.arriving.take_head(bytes);
            if !complete {
                return Ok(());
            }
            let checked = current.arriving.check_head(&piece.member);
            checked
                .map_err(|unfit| Refusal::of(unfit, (piece.member.offset, piece.member.data)))?;
            let (file, left) = self.open(piece)?;
            (current.file, current.left, content) = (Some(file), left, rest);
        }
        let file = current.file.as_ref().expect("opened above");
        let taken = current.arriving.take(content, file);
        taken.map_err(|unfit| Refusal::of(unfit, (piece.member.data, piece.member.end())))
    }

    /// The file that a piece belongs to, and how many of its pieces are still to come.
    fn open(&mut self, piece: &Piece) -> Result<(NewFile, u32), Refusal> {
        if let Some(open) = self.files.open.remove(&piece.number) {
            return Ok((open.file, open.left));
        }
        if piece.of > 1 && self.files.open.len() >= OPEN_MAX {
            return Err(Refusal::Later);
        }
        let created = self.destination.create(&piece.wanted.target.0, &piece.wanted.item);
        Ok((created.map_err(Refusal::File)?, piece.of))
    }

    fn finish(&mut self, mut current: Current) -> Result<(), JobError> {
        if let Err(unfit) = current.arriving.agree(&current.stop.piece.member) {
            let stop = self.set_aside(current);
            let content = (stop.piece.member.data, stop.piece.member.end());
            return self.failed(stop, Refusal::of(unfit, content));
        }
        self.settled += 1;
        let Current { stop: Stop { piece, .. }, file, left, .. } = current;
        let file = file.expect("a header comes before the end");
        if let (Some(volume), false) = (self.volume, piece.tried.is_empty()) {
            self.outcome.missed.came(piece.member.place, volume.volser);
        }
        if left > 1 {
            self.files.open.insert(piece.number, Open { file, left: left - 1 });
            return Ok(());
        }
        let digest = (piece.of == 1).then_some(&piece.member.digest);
        match self.destination.finish_file(file, Some(&piece.identity)) {
            Ok(restored) => self.outcome.restored(&piece.wanted, digest, restored),
            Err(error) => self.outcome.refused(&piece.wanted.source, &piece.wanted.item, error),
        }
    }

    /// A piece did not come to its place: another copy, or the end of the file.
    fn failed(&mut self, stop: Stop, refusal: Refusal) -> Result<(), JobError> {
        let mut piece = stop.piece;
        match refusal {
            Refusal::Later if self.files.given_up.contains(&piece.number) => {
                self.settled += 1;
                Ok(())
            }
            Refusal::Later => self.again.push(&piece),
            Refusal::File(error) => {
                self.settled += 1;
                if !self.files.give_up(&piece) {
                    return Ok(());
                }
                self.outcome.refused(&piece.wanted.source, &piece.wanted.item, error)
            }
            Refusal::Copy(Defect { why, hit, is_tapes }) => {
                self.settled += 1;
                self.note(&piece, stop.first, &why)?;
                if let (Some(volume), Some(hit)) = (self.volume, hit) {
                    let (segment, what) =
                        ((stop.begin, stop.block_size), (&piece.wanted, &piece.member));
                    self.outcome.missed.add(volume, segment, what, hit);
                }
                if is_tapes {
                    self.bad.push((piece.member.place.segment, piece.member.place.ordinal));
                    if self.bad.len() >= BAD_MAX {
                        self.note_bad()?;
                    }
                }
                let origin = self.volume.map(|volume| volume.id);
                piece.tried.push(Tried { origin, why });
                self.again.push(&piece)
            }
        }
    }

    /// Tells and takes down that a volume, or staging, does not give a member.
    fn note(&mut self, piece: &Piece, object: ObjectNumber, why: &str) -> Result<(), JobError> {
        let key = format!("{}: {}", piece.wanted.source, piece.wanted.item.key.printable());
        match self.volume {
            Some(Volume { volser, .. }) => {
                let what = format!("{key}, from object {object} on: {why}");
                self.desk.tell(&Event::VolumeFinding { volser: *volser, what });
            }
            None => self.desk.notice(format!("staging: {key}: {why}")),
        }
        self.desk.ledger.note(1);
        self.events += 1;
        if self.events > EVENTS_MAX {
            return Ok(());
        }
        let place = piece.member.place;
        self.catalog.record_event(&catalog::Event {
            when: self.desk.clock.now(),
            what: "restore.unreadable".to_owned(),
            volume: self.volume.map(|volume| volume.id),
            detail: serde_json::json!({
                "segment": place.segment, "ordinal": place.ordinal, "why": why
            }),
        })?;
        Ok(())
    }
}

impl Current {
    fn new(stop: Stop) -> Self {
        let arriving = Arriving::new(&stop.piece.member, &stop.piece.wanted.item);
        let (at, left) = (stop.piece.member.offset, stop.piece.of);
        Self { stop, at, arriving, file: None, left }
    }

    /// Where a block begins, in bytes from the segment's start.
    fn block_begin(&self, object: ObjectNumber) -> u64 {
        (object.0 - self.stop.begin.0) * u64::from(self.stop.block_size)
    }
}

impl Refusal {
    /// Something is wrong with these bytes of the segment.
    fn of(unfit: Unfit, (from, to): (u64, u64)) -> Self {
        match unfit {
            Unfit::Wrong(why) => {
                let hit = Hit { bytes: Span { from, to }, unread: false, more: false };
                // Memory or a cable may have done it: `verify` tells whether it was the tape.
                Self::Copy(Defect { why, hit: Some(hit), is_tapes: false })
            }
            Unfit::Destination(error) => Self::File(error),
        }
    }

    fn without_place(why: &str) -> Self {
        Self::Copy(Defect { why: why.to_owned(), hit: None, is_tapes: false })
    }
}

impl Defect {
    /// An object that a stop needs cannot be had.
    fn of(missing: &Missing, object: ObjectNumber, stop: &Stop) -> Self {
        let why = missing.why().to_owned();
        let size = u64::from(stop.block_size);
        let from = object.0.saturating_sub(stop.begin.0).saturating_mul(size);
        let member = &stop.piece.member;
        let whole = Span { from: member.offset, to: member.end() };
        let hit = Span { from, to: from.saturating_add(size) }.within(whole).map(|bytes| Hit {
            bytes,
            unread: true,
            more: bytes.to < whole.to,
        });
        match missing {
            Missing::Tape(_) => Self { why, hit, is_tapes: hit.is_some() },
            Missing::Path(_) => Self { why, hit, is_tapes: false },
            Missing::Untried(_) => Self { why, hit: None, is_tapes: false },
        }
    }
}
