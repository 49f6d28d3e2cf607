//! From one listed object to the sink.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::cancel::Cancel;
use crate::digest;
use crate::item::{Item, Kind, Listed, Version};
use crate::source::http::{Fault, Permit, Reply, Request};
use crate::source::s3::bucket::{Bucket, to_read, to_read_tags, version_query};
use crate::source::s3::checksum::{Meter, Verdict, offers};
use crate::source::s3::head::Head;
use crate::source::s3::listing::find;
use crate::source::s3::settings::Tags;
use crate::source::{Claim, Finding, HeldPart, Outcome, Problem, Sink, SourceError};
use crate::volume::manifest::Part;

use super::{
    beside::{parts, tags},
    range::{Pinned, is_whole, read},
    trouble::Trouble,
};

/// Objects up to this size come in one request and wait in memory for their place, in bytes.
const SMALL: u64 = 8 << 20;
/// Larger ones come in ranges of this many bytes, a multiple of [`digest::RANGE`].
const RANGE: u64 = 8 << 20;
const _: () = assert!(RANGE.is_multiple_of(digest::RANGE));
/// How often an object is read that changes meanwhile, or whose bytes are wrong.
const TRIES: u32 = 3;
/// After so many objects in a row that the service fails on, it is the service.
const STUMBLES: u32 = 32;
/// How long a wish to stop may go unnoticed.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// Reads objects into a sink, one at a time; each of several threads calls it.
#[derive(Clone, Copy)]
pub(in crate::source::s3) struct Delivery<'a> {
    pub(in crate::source::s3) bucket: &'a Arc<Bucket>,
    pub(in crate::source::s3) runtime: &'a Runtime,
    pub(in crate::source::s3) sink: &'a dyn Sink,
    pub(in crate::source::s3) cancel: &'a Cancel,
    /// Set when another thread met what ends the job.
    pub(in crate::source::s3) stop: &'a AtomicBool,
    /// Objects in a row that the service failed on.
    pub(in crate::source::s3) stumbles: &'a AtomicU32,
}

/// It was different at each try.
#[derive(Debug, thiserror::Error)]
#[error("it changed while it was read, {TRIES} times over")]
struct KeepsChanging;

/// It changed when a part of it was already archived.
#[derive(Debug, thiserror::Error)]
#[error("it changed while it was read, after parts of it had been archived")]
struct ChangedMidway;

/// It is gone from the listing.
#[derive(Debug, thiserror::Error)]
#[error("it is no longer listed")]
struct NoLongerListed;

/// The service holds metadata that no header can carry.
#[derive(Debug, thiserror::Error)]
#[error("{0} pieces of metadata cannot be sent")]
struct MissingMetadata(u32);

/// What one claim takes: a part of an item, or all of it.
#[derive(Debug)]
struct Stretch {
    part: Option<Part>,
    span: Range<u64>,
}

/// A range on its way. Dropping it ends the request.
#[derive(Debug)]
struct Fetching {
    task: JoinHandle<Result<Vec<u8>, Trouble>>,
    _permit: Permit,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Delivery<'_> {
    /// Delivers one object, or reports why not.
    ///
    /// # Errors
    ///
    /// When nothing more can be read or taken.
    pub(in crate::source::s3) fn deliver(&self, listed: Listed) -> Result<(), SourceError> {
        if listed.kind == Kind::DeleteMarker {
            let item = Item { kind: Kind::DeleteMarker, ..item_of(&listed) };
            return Ok(self.sink.put(item, &[])?);
        }
        let mut listed = listed;
        let mut held = if self.is_small(&listed) { Vec::new() } else { self.sink.held(&listed) };
        let mut last: (Problem, Box<dyn std::error::Error + Send + Sync>) =
            (Problem::Unreadable, Box::new(KeepsChanging));
        for _ in 0..TRIES {
            match self.read(&mut listed, &held) {
                Ok(()) => {
                    self.stumbles.store(0, Ordering::Relaxed);
                    return Ok(());
                }
                Err(Trouble::Fatal(error)) => return Err(error),
                Err(Trouble::Stumble(fault)) => return self.stumbled(&listed, fault),
                Err(Trouble::Finding(problem, detail)) => {
                    self.report(&listed, problem, detail);
                    return Ok(());
                }
                Err(Trouble::Mismatch(mismatch)) => {
                    // What stands from an earlier job may be what is wrong: all of it again.
                    held.clear();
                    last = (Problem::ChecksumMismatch, Box::new(mismatch));
                }
                Err(Trouble::Changed) => {
                    last = (Problem::Unreadable, Box::new(KeepsChanging));
                    let found = self.ask(find(Arc::clone(self.bucket), &listed))??;
                    let Some(found) = found.filter(|found| found.listed.kind == Kind::File) else {
                        self.report(&listed, Problem::Vanished, Box::new(NoLongerListed));
                        return Ok(());
                    };
                    listed = found.listed;
                    held.clear();
                }
            }
        }
        self.report(&listed, last.0, last.1);
        Ok(())
    }

    fn stumbled(&self, listed: &Listed, fault: Box<Fault>) -> Result<(), SourceError> {
        if self.stumbles.fetch_add(1, Ordering::Relaxed) + 1 < STUMBLES {
            self.report(listed, Problem::Unreadable, fault);
            return Ok(());
        }
        Err(SourceError::Lost {
            operation: "read objects",
            source_name: self.bucket.name.clone(),
            attempts: STUMBLES,
            cause: fault,
        })
    }

    fn report(
        &self,
        listed: &Listed,
        what: Problem,
        detail: Box<dyn std::error::Error + Send + Sync>,
    ) {
        let (key, version) = (listed.key.clone(), listed.version.clone());
        self.sink.report(Finding { key, version, what, detail: Some(detail) });
    }

    fn read(&self, listed: &mut Listed, held: &[HeldPart]) -> Result<(), Trouble> {
        if self.is_small(listed) { self.read_small(listed) } else { self.read_large(listed, held) }
    }

    fn is_small(&self, listed: &Listed) -> bool {
        listed.size <= SMALL.min(self.sink.part_bytes())
    }

    fn read_small(&self, listed: &mut Listed) -> Result<(), Trouble> {
        let permit = self.wait(self.bucket.service.limiter().acquire())?;
        let query: Vec<_> = version_query(&listed.version).into_iter().collect();
        let reply =
            self.wait(self.send(self.bucket.get(&listed.key, &query), &listed.version))??;
        if !is_whole(reply.status, &reply.headers) {
            let what = format!("{} to a request for a whole object", reply.status);
            return Err(Trouble::protocol(self.bucket, what));
        }
        let head = self.head_of(listed, &reply)?;
        if !self.is_small(listed) {
            return Err(Trouble::Changed);
        }
        let object = Arc::new(self.pin(listed, &head));
        let span = 0..listed.size;
        let bytes = self.wait(read(Arc::clone(self.bucket), object, span, Some(reply)))??;
        drop(permit);

        let mut meter = self.meter(listed, &head)?;
        meter.update(&bytes);
        let mut item = self.describe(listed, head)?;
        let facts = item.object.as_mut().expect("an object has facts");
        facts.verified = verified(meter)?;
        Ok(self.sink.put(item, &bytes)?)
    }

    fn read_large(&self, listed: &mut Listed, held: &[HeldPart]) -> Result<(), Trouble> {
        let token = listed.token;
        let permit = self.wait(self.bucket.service.limiter().acquire())?;
        let query: Vec<_> = version_query(&listed.version).into_iter().collect();
        let reply =
            self.wait(self.send(self.bucket.head(&listed.key, &query), &listed.version))??;
        let head = self.head_of(listed, &reply)?;
        drop((reply, permit));
        let object = Arc::new(self.pin(listed, &head));
        let mut meter = self.meter(listed, &head)?;
        let item = self.describe(listed, head)?;
        let all = stretches(listed.size, self.sink.part_bytes());
        // Parts of another state are of no use.
        let held = if listed.token == token { held } else { &[] };
        let missing = missing(all, held, &mut meter);
        let (count, resumed) = (missing.len(), !held.is_empty());
        for (index, stretch) in missing.into_iter().enumerate() {
            let is_last = index + 1 == count;
            let delivered = self.read_stretch(&object, &item, stretch, &mut meter);
            let finished = delivered.and_then(|claim| {
                let mut outcome = Outcome::default();
                if is_last {
                    outcome.verified = verified(std::mem::take(&mut meter))?;
                } else {
                    outcome.running = meter.state();
                }
                claim.finish(outcome).map_err(Trouble::from)
            });
            match finished {
                Ok(()) => {}
                Err(trouble @ Trouble::Mismatch(_)) if resumed => return Err(trouble),
                Err(trouble) if index > 0 => return Err(midway(trouble)),
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    /// Reads one part (or all) into a claim of its own, in order, several ranges ahead.
    fn read_stretch(
        &self,
        object: &Arc<Pinned>,
        item: &Item,
        stretch: Stretch,
        meter: &mut Meter,
    ) -> Result<Box<dyn Claim>, Trouble> {
        let Stretch { part, span } = stretch;
        let claim = self.sink.claim(item.clone(), part)?;
        let mut next = span.start;
        let mut offset = 0;
        let mut ahead: VecDeque<Fetching> = VecDeque::new();
        let limiter = self.bucket.service.limiter();
        loop {
            while next < span.end {
                // Only whoever has nothing under way may wait for leave: so each thread that
                // waits holds none, and each that holds some is getting on.
                let permit = match limiter.try_acquire() {
                    Some(permit) => permit,
                    None if ahead.is_empty() => self.wait(limiter.acquire())?,
                    None => break,
                };
                let end = (next + RANGE).min(span.end);
                let reading = read(Arc::clone(self.bucket), Arc::clone(object), next..end, None);
                ahead.push_back(Fetching { task: self.runtime.spawn(reading), _permit: permit });
                next = end;
            }
            let Some(mut first) = ahead.pop_front() else { return Ok(claim) };
            let bytes = self
                .wait(&mut first.task)?
                .expect("only dropping it aborts a range, and it does not panic")?;
            meter.update(&bytes);
            claim.write_at(offset, &bytes)?;
            offset += bytes.len() as u64;
            // Only now is its memory free, and the leave with it.
            drop((bytes, first));
        }
    }

    /// Sends a request that asks for checksums too. Whoever calls it holds leave.
    async fn send(&self, request: Request, version: &Version) -> Result<Reply, Trouble> {
        let request = request.with("x-amz-checksum-mode", HeaderValue::from_static("ENABLED"));
        let sent = self.bucket.service.send(&request).await;
        sent.map_err(|error| Trouble::from_call(self.bucket, to_read(version), error))
    }

    /// Waits for a request of few bytes and for the leave to make it. Whoever calls it holds none:
    /// two would wait for each other.
    fn ask<T>(&self, what: impl Future<Output = T>) -> Result<T, SourceError> {
        self.wait(async {
            let _permit = self.bucket.service.limiter().acquire().await;
            what.await
        })
    }

    /// Reads the head, and makes sure that it is of what was listed. Whoever calls it holds leave.
    fn head_of(&self, listed: &mut Listed, reply: &Reply) -> Result<Head, Trouble> {
        let head = Head::read(reply.headers.clone())
            .map_err(|error| Trouble::Finding(Problem::Unreadable, Box::new(error)))?;
        let same = head.token(&listed.version) == listed.token;
        if same || (Pinned::is_final(&listed.version) && head.size == listed.size) {
            return Ok(head);
        }
        // Either it was written anew, or this service's heads and listings differ in their ways.
        // Only the listing's word is comparable with the next listing.
        let found = self.wait(find(Arc::clone(self.bucket), listed))??;
        match found {
            Some(found) if found.etag == head.facts.etag && found.listed.size == head.size => {
                *listed = found.listed;
                Ok(head)
            }
            Some(_) => Err(Trouble::Changed),
            None => Err(Trouble::Finding(Problem::Vanished, Box::new(NoLongerListed))),
        }
    }

    fn pin(&self, listed: &Listed, head: &Head) -> Pinned {
        Pinned {
            key: listed.key.clone(),
            version: listed.version.clone(),
            etag: head.etag.clone(),
            size: listed.size,
        }
    }

    /// A meter for the best checksum that can be checked.
    fn meter(&self, listed: &Listed, head: &Head) -> Result<Meter, SourceError> {
        let meaning = self.bucket.settings.etag;
        for offer in offers(&head.headers, &head.facts.etag, meaning) {
            let (key, version) = (&listed.key, &listed.version);
            let known = self.ask(parts(self.bucket, key, version, &offer))?;
            let meter = Meter::new(Some(offer), known, listed.size);
            if meter.compares() {
                return Ok(meter);
            }
        }
        Ok(Meter::default())
    }

    /// The item, with its tags.
    fn describe(&self, listed: &Listed, head: Head) -> Result<Item, Trouble> {
        let mut facts = head.facts;
        if !listed.version.is_none() {
            // The item has it.
            facts.headers.remove("x-amz-version-id");
        }
        let ask = match (self.bucket.settings.tags, head.tags) {
            (Tags::Never, _) | (Tags::Counted, Some(0)) => false,
            // A GET that says nothing means none; a HEAD of some services never says.
            (Tags::Counted, None) => !self.is_small(listed),
            (Tags::Counted, Some(_)) | (Tags::Always, _) => true,
        };
        if ask {
            match self.ask(tags(self.bucket, &listed.key, &listed.version))? {
                Ok(tags) => facts.tags = tags,
                Err(error) => {
                    match Trouble::from_call(self.bucket, to_read_tags(&listed.version), error) {
                        Trouble::Finding(Problem::Unreadable, detail) => {
                            self.report(listed, Problem::Incomplete, detail);
                        }
                        trouble @ (Trouble::Changed
                        | Trouble::Mismatch(_)
                        | Trouble::Stumble(_)
                        | Trouble::Finding(..)
                        | Trouble::Fatal(_)) => return Err(trouble),
                    }
                }
            }
        }
        if head.missing_metadata > 0 {
            let detail = MissingMetadata(head.missing_metadata);
            self.report(listed, Problem::Incomplete, Box::new(detail));
        }
        Ok(Item { object: Some(Box::new(facts)), ..item_of(listed) })
    }

    /// Waits for the network, unless the job is to stop.
    fn wait<T>(&self, what: impl Future<Output = T>) -> Result<T, SourceError> {
        let stopped = async {
            while !self.cancel.is_set() && !self.stop.load(Ordering::Acquire) {
                tokio::time::sleep(CANCEL_POLL).await;
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                value = what => Ok(value),
                () = stopped => Err(SourceError::Stopped),
            }
        })
    }
}

fn item_of(listed: &Listed) -> Item {
    Item {
        key: listed.key.clone(),
        version: listed.version.clone(),
        kind: listed.kind.clone(),
        size: listed.size,
        modified: listed.modified,
        latest: listed.latest,
        token: listed.token,
        ..Item::default()
    }
}

/// The stretches that an item of `size` bytes is delivered in.
fn stretches(size: u64, part_bytes: u64) -> Vec<Stretch> {
    if size <= part_bytes {
        return vec![Stretch { part: None, span: 0..size }];
    }
    let of = u32::try_from(size.div_ceil(part_bytes)).expect("a part is at least a range");
    (0..of)
        .map(|index| {
            let offset = u64::from(index) * part_bytes;
            let length = part_bytes.min(size - offset);
            let part = Some(Part { number: index + 1, of, offset, length });
            Stretch { part, span: offset..offset + length }
        })
        .collect()
}

/// Of the stretches of an item those that still have to come, and the meter brought to where they
/// begin. A checksum over the whole takes bytes in order, so it goes on behind the parts that stand
/// from the first one on; what stands behind a gap comes again.
fn missing(all: Vec<Stretch>, held: &[HeldPart], meter: &mut Meter) -> Vec<Stretch> {
    let stands = |stretch: &Stretch| held.iter().find(|held| Some(held.part) == stretch.part);
    if !meter.compares() {
        return all.into_iter().filter(|stretch| stands(stretch).is_none()).collect();
    }
    let leading: Vec<&HeldPart> = all.iter().map_while(stands).collect();
    let resumed = leading
        .iter()
        .enumerate()
        .rev()
        .find(|(_, last)| meter.resume(&last.running, last.part.offset + last.part.length));
    let skip = resumed.map_or(0, |(index, _)| index + 1);
    all.into_iter().skip(skip).collect()
}

fn verified(meter: Meter) -> Result<String, Trouble> {
    match meter.finish() {
        Verdict::Agreed(label) => Ok(label),
        Verdict::Unchecked => Ok(String::new()),
        Verdict::Differs(mismatch) => Err(Trouble::Mismatch(mismatch)),
    }
}

/// Parts that are archived cannot be read again in the same run: the next one takes the item.
fn midway(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Changed => Trouble::Finding(Problem::Unreadable, Box::new(ChangedMidway)),
        Trouble::Mismatch(mismatch) => {
            Trouble::Finding(Problem::ChecksumMismatch, Box::new(mismatch))
        }
        Trouble::Finding(..) | Trouble::Stumble(_) | Trouble::Fatal(_) => trouble,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_an_item_once() {
        for (size, part, count) in [(10, 10, 1), (11, 10, 2), (20, 10, 2), (21, 10, 3), (0, 10, 1)]
        {
            let parts = stretches(size, part);
            assert_eq!(parts.len(), count, "{size} by {part}");
            let mut at = 0;
            for Stretch { span, .. } in &parts {
                assert_eq!(span.start, at);
                at = span.end;
            }
            assert_eq!(at, size);
        }
    }
}
