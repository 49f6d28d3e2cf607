//! Groups: small members that are written side by side at once.

use std::{cell::RefCell, sync::Arc};

use crate::{
    digest::{Digest, RANGE},
    ident::SourceName,
    item::{Item, Kind},
    staging::{
        error::StagingError,
        fill::{
            member,
            room::{Need, Shared},
            staging::need,
        },
        segment::{allocator::Span, journal::Lines},
    },
    tar::Encoded,
    volume::manifest::Entry,
};

/// The most content of a group, in bytes: it is copied once, within the processor's cache.
const GROUP_BYTES: usize = 2 << 20;

/// What a thread that puts groups keeps, so that the next one costs no allocation.
#[derive(Debug, Default)]
struct Scratch {
    bytes: Vec<u8>,
    lines: Lines,
    shapes: Vec<Encoded>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Shared {
    /// Takes whole items as one stretch of members. Returns them if that cannot be.
    pub(in crate::staging) fn put_all(
        self: &Arc<Self>,
        source: &SourceName,
        items: Vec<Item>,
        data: &[u8],
    ) -> Result<Vec<Item>, StagingError> {
        let bytes: u64 = items.iter().map(|item| item.size).sum();
        let suits = items.iter().all(suits) && bytes == data.len() as u64;
        if !suits || items.is_empty() || data.len() > GROUP_BYTES {
            return Ok(items);
        }
        let mut entries: Vec<Entry> =
            items.into_iter().map(|item| member::draft(source, item, None)).collect();
        let taken =
            SCRATCH.with_borrow_mut(|scratch| self.put_group(&mut entries, data, scratch))?;
        if taken {
            return Ok(Vec::new());
        }
        Ok(entries.into_iter().map(|entry| entry.item).collect())
    }

    /// Whether the members were taken.
    fn put_group(
        self: &Arc<Self>,
        entries: &mut [Entry],
        data: &[u8],
        scratch: &mut Scratch,
    ) -> Result<bool, StagingError> {
        let Scratch { bytes, lines, shapes } = scratch;
        bytes.clear();
        shapes.clear();
        let mut rest = data;
        for entry in entries.iter_mut() {
            let begin = bytes.len();
            // What is wrong with one of them is said when it is put alone.
            let Ok(Some((encoded, _))) = member::encode_head(entry, bytes) else {
                return Ok(false);
            };
            let size = usize::try_from(entry.item.size).expect("it is in memory");
            let (content, later) = rest.split_at(size);
            entry.digest = Some(Digest::of(content));
            bytes.extend_from_slice(content);
            bytes.resize(begin + usize::try_from(encoded.total()).expect("it is in memory"), 0);
            shapes.push(encoded);
            rest = later;
        }
        let need = all_need(entries, shapes);
        let (bytes_alone, limit) = self.least_segment(&need);
        if bytes_alone > limit {
            return Ok(false);
        }
        let Some(ticket) = self.take(need)? else { return Ok(false) };
        self.counters.fetch(data.len() as u64);
        lines.clear();
        let (mut at, mut manifest) = (ticket.span.offset, 0);
        for (entry, encoded) in entries.iter_mut().zip(shapes.iter()) {
            member::place(entry, *encoded, at);
            manifest += lines.push(entry, Span { offset: at, length: encoded.total() });
            at += encoded.total();
        }
        ticket.segment.write(bytes, ticket.span.offset)?;
        ticket.segment.journal().append_all(lines)?;
        ticket.finish(manifest, None);
        Ok(true)
    }
}

/// Whether an item is like all others: a plain file of one range at most, and with a single name.
fn suits(item: &Item) -> bool {
    let linked = item.posix.as_ref().is_some_and(|posix| posix.link_group.is_some());
    item.kind == Kind::File && item.size <= RANGE && item.extents.is_none() && !linked
}

/// What all entries ask for together.
fn all_need<'a>(entries: &'a [Entry], shapes: &[Encoded]) -> Need<'a> {
    let (first, others) = entries.split_first().expect("a group is not empty");
    let mut all = Need { others, ..need(first, (0, 0), None) };
    (all.length, all.line, all.sum) = (0, 0, 0);
    for (entry, encoded) in entries.iter().zip(shapes) {
        let one = need(entry, (encoded.total(), encoded.data), None);
        all.length += one.length;
        all.line += one.line;
        all.sum += one.sum;
    }
    all
}
