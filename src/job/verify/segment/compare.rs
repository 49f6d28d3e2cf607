//! Holds the bytes of a segment, as they come, against what must stand there.

use std::{collections::BTreeMap, fs::File, io, os::unix::fs::FileExt};

use crate::{
    digest::{ChainingValue, Digest, RANGE, RangeHasher},
    job::{
        holes::Span as Bytes,
        verify::segment::layout::{Member, SparseHasher, gap_bytes},
    },
    tar::UNIT,
};

/// Damages of which more is kept than where they are.
const TRACES_MAX: usize = 100;
/// The longest gap that is compared, in bytes; staging leaves shorter ones.
const GAP_MAX: u64 = 32 << 20;

/// What of a segment was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Struck {
    /// The filler between two members.
    Gap,
    /// A member's headers, or its sparse map.
    Header,
    /// A member's content.
    Data,
    /// The zeros behind a member.
    Padding,
    /// The manifest's header.
    ManifestHeader,
    /// The manifest.
    Manifest,
    /// The zeros behind the manifest.
    ManifestPadding,
    /// The header of the list of digests.
    SumsHeader,
    /// The list of digests.
    Sums,
    /// What fills up to the final block.
    Filler,
    /// The trailer.
    Trailer,
    /// What stands behind the trailer.
    End,
}

/// One thing that does not agree.
#[derive(Debug)]
pub(super) struct Damage {
    /// What was hit.
    pub(super) struck: Struck,
    /// Of which member, by its line in the manifest.
    pub(super) ordinal: Option<u32>,
    /// The first byte of the segment that disagrees, or of the span in which one does.
    pub(super) offset: u64,
    /// Bytes of that span; 1 when the byte is known.
    pub(super) length: u64,
    /// Which bytes of the segment that may be, as narrow as is known: apart, ascending.
    pub(super) spans: Vec<Bytes>,
    /// Whether it could not be read, rather than disagreed.
    pub(super) unread: bool,
    /// What was found there.
    pub(super) trace: Trace,
}

/// What was found in place of what must be.
#[derive(Debug)]
pub(super) enum Trace {
    /// Not kept.
    None,
    /// These headers.
    Header(Vec<u8>),
    /// Content with these chaining values.
    Values(Vec<ChainingValue>),
}

impl Damage {
    pub(super) fn at(struck: Struck, offset: u64, length: u64, unread: bool) -> Self {
        let spans = vec![Bytes { from: offset, to: offset + length }];
        Self { struck, ordinal: None, offset, length, spans, unread, trace: Trace::None }
    }

    /// Makes it as narrow as chaining values of content that begins at `begin` allow: those that
    /// must be there are given. What could not be read is known to the byte already.
    pub(super) fn narrow(&mut self, (begin, end): (u64, u64), values: &[ChainingValue]) {
        let Trace::Values(found) = &self.trace else { return };
        let holes = if self.unread { std::mem::take(&mut self.spans) } else { Vec::new() };
        let mut spans: Vec<Bytes> = Vec::new();
        let mut add = |span: Bytes| match spans.last_mut() {
            Some(last) if last.to == span.from => last.to = span.to,
            Some(_) | None => spans.push(span),
        };
        for (number, (found, value)) in (0..).zip(found.iter().zip(values)) {
            let from = begin + number * RANGE;
            let range = Bytes { from, to: (from + RANGE).min(end) };
            let mut inside = holes.iter().filter_map(|hole| hole.within(range)).peekable();
            if inside.peek().is_none() && found != value {
                add(range);
            }
            inside.for_each(&mut add);
        }
        if let (Some(first), Some(last)) = (spans.first(), spans.last()) {
            (self.offset, self.length) = (first.from, last.to - first.from);
            self.spans = spans;
        } else {
            self.spans = holes;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Gap,
    Header,
    Data,
    Padding,
    Tail,
}

#[derive(Debug)]
enum Content {
    Plain(RangeHasher),
    Sparse(SparseHasher),
}

/// Compares a segment's bytes.
#[derive(Debug)]
pub(super) struct Comparison {
    members: Vec<Member>,
    /// Where the manifest's header begins.
    tail: u64,
    /// Bytes of the segment.
    total: u64,
    /// Bytes of a block that could not be read.
    block_size: u64,
    next: usize,
    span: Span,
    span_start: u64,
    span_end: u64,
    at: u64,
    /// What the span has, unless it is data.
    raw: Vec<u8>,
    content: Content,
    /// What of the span could not be read.
    unread: Vec<Bytes>,
    whole: blake3::Hasher,
    out: Compared,
}

/// What a comparison came to.
#[derive(Debug)]
pub(super) struct Compared {
    /// What does not agree, in the order of the segment, up to the manifest.
    pub(super) damages: Vec<Damage>,
    /// Chaining values of the good members that have any, by ordinal.
    pub(super) values: BTreeMap<u32, Vec<ChainingValue>>,
    /// What stands from the manifest's header on, at its place in the segment.
    pub(super) spool: File,
    /// What of that could not be read: first byte, and the one behind.
    pub(super) tail_unread: Vec<(u64, u64)>,
    /// The digest of all that came.
    pub(super) digest: Digest,
}

impl Comparison {
    /// `spool` is an empty file; `tail` is where the manifest's header begins.
    pub(super) fn new(
        members: Vec<Member>,
        (tail, total): (u64, u64),
        block_size: u32,
        spool: File,
    ) -> Self {
        let out = Compared {
            damages: Vec::new(),
            values: BTreeMap::new(),
            spool,
            tail_unread: Vec::new(),
            digest: Digest([0; 32]),
        };
        let span_end = members.first().map_or(tail, |member| member.offset);
        Self {
            members,
            tail,
            total,
            block_size: block_size.into(),
            next: 0,
            span: Span::Gap,
            span_start: 0,
            span_end,
            at: 0,
            raw: Vec::new(),
            content: Content::Plain(RangeHasher::new()),
            unread: Vec::new(),
            whole: blake3::Hasher::new(),
            out,
        }
    }

    /// Takes the next block, or that it could not be read.
    pub(super) fn take(&mut self, block: Option<&[u8]>) -> io::Result<()> {
        let Some(mut bytes) = block else {
            let mut left = self.block_size;
            while left > 0 {
                let now = self.room().min(left);
                self.skip(now);
                left -= now;
            }
            return Ok(());
        };
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let room = usize::try_from(self.room()).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.feed(now)?;
            self.at += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Takes what is missing at the end as not read, and says what was found.
    pub(super) fn finish(mut self) -> io::Result<Compared> {
        while self.at < self.total {
            self.take(None)?;
        }
        self.room();
        self.out.digest = Digest::from_hasher(&self.whole);
        Ok(self.out)
    }

    /// Bytes up to the end of the current span, after those that are over were closed.
    fn room(&mut self) -> u64 {
        while self.at >= self.span_end && self.span != Span::Tail {
            self.close();
            self.open();
        }
        self.span_end - self.at
    }

    fn skip(&mut self, bytes: u64) {
        let (from, to) = (self.at, self.at + bytes);
        if self.span == Span::Tail {
            self.out.tail_unread.push((from, to));
        }
        match self.unread.last_mut() {
            Some(last) if last.to == from => last.to = to,
            Some(_) | None => self.unread.push(Bytes { from, to }),
        }
        if let (Span::Data, Content::Plain(hasher)) = (self.span, &mut self.content) {
            // What comes behind has its own chaining values, if it comes at its place.
            static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
            let mut left = bytes;
            while left > 0 {
                let now = left.min(ZEROS.len() as u64);
                hasher.update(&ZEROS[..usize::try_from(now).expect("at most 64 KiB")]);
                left -= now;
            }
        }
        self.at = to;
    }

    fn feed(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.span {
            Span::Tail => self.out.spool.write_all_at(bytes, self.at)?,
            Span::Data => match &mut self.content {
                Content::Plain(hasher) => hasher.update(bytes),
                Content::Sparse(hasher) => hasher.update(bytes),
            },
            Span::Gap if self.span_end - self.span_start > GAP_MAX => {}
            Span::Gap | Span::Header | Span::Padding => self.raw.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn open(&mut self) {
        let member = self.members.get(self.next);
        let data = member.map_or(0, |member| member.data);
        let end = member.map_or(0, |member| member.end);
        (self.span, self.span_end) = match (self.span, member) {
            (Span::Gap, Some(_)) => (Span::Header, data),
            (Span::Gap, None) | (Span::Tail, _) => (Span::Tail, u64::MAX),
            (Span::Header, _) => (Span::Data, end),
            (Span::Data, _) => (Span::Padding, end.next_multiple_of(UNIT as u64)),
            (Span::Padding, _) => {
                self.next += 1;
                let next = self.members.get(self.next);
                (Span::Gap, next.map_or(self.tail, |member| member.offset))
            }
        };
        // Entries that contradict each other cannot lead back.
        self.span_end = self.span_end.max(self.at);
        self.span_start = self.at;
        self.unread.clear();
        self.raw.clear();
        if self.span == Span::Data {
            let sparse = self.members[self.next].sparse.as_deref();
            self.content = match sparse {
                Some(sparse) => Content::Sparse(SparseHasher::new(sparse)),
                None => Content::Plain(RangeHasher::new()),
            };
        }
    }

    fn close(&mut self) {
        let struck = match self.span {
            Span::Gap => Struck::Gap,
            Span::Header => Struck::Header,
            Span::Data => Struck::Data,
            Span::Padding => Struck::Padding,
            Span::Tail => return,
        };
        let ordinal = match self.span {
            Span::Gap | Span::Tail => None,
            Span::Header | Span::Data | Span::Padding => Some(self.members[self.next].ordinal),
        };
        let length = self.span_end - self.span_start;
        let spans = std::mem::take(&mut self.unread);
        let unread = !spans.is_empty();
        let found = match (spans.first(), spans.last()) {
            (Some(first), Some(last)) => {
                Some((first.from, last.to - first.from, self.values_read()))
            }
            (None, _) | (_, None) => self.disagreement(length),
        };
        if let Some((offset, length, trace)) = found {
            let trace = if self.out.damages.len() < TRACES_MAX { trace } else { Trace::None };
            let mut damage =
                Damage { ordinal, trace, ..Damage::at(struck, offset, length, unread) };
            if unread {
                damage.spans = spans;
            }
            self.out.damages.push(damage);
        }
    }

    /// The chaining values of content of which some could not be read.
    fn values_read(&mut self) -> Trace {
        if self.span != Span::Data {
            return Trace::None;
        }
        match std::mem::replace(&mut self.content, Content::Plain(RangeHasher::new())) {
            Content::Plain(hasher) => Trace::Values(hasher.finish().1),
            Content::Sparse(_) => Trace::None,
        }
    }

    /// Where the span disagrees: offset, length, and what is there.
    fn disagreement(&mut self, length: u64) -> Option<(u64, u64, Trace)> {
        let start = self.span_start;
        match self.span {
            Span::Tail => None,
            Span::Gap if length == 0 => None,
            Span::Gap if length > GAP_MAX => Some((start, length, Trace::None)),
            Span::Gap => first_difference(&self.raw, &gap_bytes(length))
                .map(|at| (start + at, 1, Trace::None)),
            Span::Padding => {
                let at = self.raw.iter().position(|&byte| byte != 0)?;
                Some((start + at as u64, 1, Trace::None))
            }
            Span::Header => {
                let good = self.members[self.next].head == Some(Digest::of(&self.raw));
                (!good).then(|| (start, length, Trace::Header(std::mem::take(&mut self.raw))))
            }
            Span::Data => {
                let member = &self.members[self.next];
                let plain = Content::Plain(RangeHasher::new());
                let (digest, values) = match std::mem::replace(&mut self.content, plain) {
                    Content::Plain(hasher) => hasher.finish(),
                    Content::Sparse(hasher) => (hasher.finish(), Vec::new()),
                };
                match member.digest {
                    Some(wanted) if wanted != digest => {
                        Some((start, length, Trace::Values(values)))
                    }
                    Some(_) | None => {
                        if !values.is_empty() {
                            self.out.values.insert(member.ordinal, values);
                        }
                        None
                    }
                }
            }
        }
    }
}

/// The first place at which two byte strings differ; where the shorter ends, if it begins the
/// longer.
pub(in crate::job::verify) fn first_difference(one: &[u8], other: &[u8]) -> Option<u64> {
    let differs = one.iter().zip(other).position(|(one, other)| one != other);
    let end = (one.len() != other.len()).then(|| one.len().min(other.len()));
    differs.or(end).map(|at| at as u64)
}
