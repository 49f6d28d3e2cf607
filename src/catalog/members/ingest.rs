//! From a manifest to searchable packs: the caller's thread reads the manifest, a second one packs
//! what it yields, a third one puts it into the database.

use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use crate::{
    catalog::{
        Catalog, CatalogError, Segment,
        find::{Page, Pairs, Stretch, forget, store},
        members::{PACK, pack},
        state::{note_time, segment_number, segments},
        store::Fault,
    },
    digest::Digest,
    ident::{SegmentId, SourceName},
    volume::manifest::Entry,
};

/// Packs between the two threads.
const QUEUE: usize = 8;
/// Digests gathered before they are stored, so that memory is bounded for any manifest.
const GATHERED: usize = 1 << 18;
const OPERATION: &str = "record a segment";

/// The number of a source's name, given one if it has none.
pub(in crate::catalog) fn name_source(
    transaction: &Transaction<'_>,
    source: &SourceName,
) -> Result<i64, Fault> {
    let known = transaction
        .prepare_cached("SELECT number FROM source WHERE name = ?1")?
        .query_row([source.as_str()], |row| row.get(0))
        .optional()?;
    if let Some(number) = known {
        return Ok(number);
    }
    transaction.execute("INSERT INTO source (name) VALUES (?1)", [source.as_str()])?;
    // One more than that of the pack before, as the index takes for granted: nothing else inserts
    // packs in this transaction, and numbers are not used twice.
    Ok(transaction.last_insert_rowid())
}

impl Catalog {
    /// Records a sealed segment with its members, which `entries` yields in the order of
    /// [`Entry::order`]. A segment that is known with its members is left alone; one that is known
    /// without them (from a snapshot) gets them.
    ///
    /// The catalog is locked for writing until the last entry came: `entries` must not write to it.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Conflict`] when the entries are not sorted, are not as many as
    /// `segment.members`, or the segment is known with another content. Nothing is recorded then.
    pub fn add_segment(
        &self,
        segment: &Segment,
        entries: &mut dyn Iterator<Item = Entry>,
    ) -> Result<(), CatalogError> {
        crate::crash::point("catalog.add-segment.before");
        let mut writer = self.store.writer();
        let (gathered, to_pack) = bounded(QUEUE);
        let (packed, to_insert) = bounded(QUEUE);
        let connection = &mut *writer;
        let outcome = thread::scope(|scope| {
            scope.spawn(move || pack_all(&to_pack, &packed));
            let inserting = scope.spawn(move || insert(connection, segment, &to_insert));
            let read = gather(entries, &gathered);
            drop(gathered);
            let inserted =
                inserting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // That the manifest was refused is why the inserting side came to nothing.
            read.and(inserted)
        });
        outcome.map_err(|fault| self.store.error(OPERATION, fault))?;
        crate::crash::point("catalog.add-segment.after");
        Ok(())
    }

    /// Forgets a segment and its members: it has no copy left and is not staged.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Conflict`] when a copy other than a void one is left.
    pub fn drop_segment(&self, id: SegmentId) -> Result<(), CatalogError> {
        self.store.write("drop a segment", |transaction| {
            let number = segment_number(transaction, id)?;
            let left: i64 = transaction
                .prepare_cached("SELECT count(*) FROM copy WHERE segment = ?1 AND state <> 'void'")?
                .query_row([number], |row| row.get(0))?;
            if left > 0 {
                return Err(Fault::conflict(format!("segment {id} still has {left} copies")));
            }
            drop_members(transaction, number)?;
            for statement in [
                "DELETE FROM copy WHERE segment = ?1",
                "DELETE FROM intent WHERE segment = ?1",
                "DELETE FROM segment WHERE number = ?1",
            ] {
                transaction.prepare_cached(statement)?.execute([number])?;
            }
            Ok(())
        })
    }
}

/// Removes the members of a segment and all that finds them.
fn drop_members(transaction: &Transaction<'_>, segment: i64) -> Result<(), Fault> {
    // The packs of a segment were stored in one transaction, so no other's are among them.
    let packs: Option<(i64, i64)> = transaction
        .prepare_cached(
            "SELECT min(number), max(number) FROM pack WHERE segment = ?1 HAVING count(*) > 0",
        )?
        .query_row([segment], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some(packs) = packs {
        forget(transaction, packs)?;
    }
    for statement in
        ["DELETE FROM pack WHERE segment = ?1", "DELETE FROM digest_page WHERE segment = ?1"]
    {
        transaction.prepare_cached(statement)?.execute([segment])?;
    }
    Ok(())
}

/// What the threads hand on.
enum Batch<T, E> {
    Some(T),
    /// The manifest has come to its end, and was good.
    End(E),
}

/// Entries for one pack.
type Raw = Batch<Vec<Entry>, ()>;
/// A pack; at the end, the index of the last stretch.
type Ready = Batch<Box<Packed>, Vec<Page>>;

/// A pack with all that finds it.
struct Packed {
    source: SourceName,
    members: u32,
    first_key: Vec<u8>,
    seconds: (i64, i64),
    sizes: (u64, u64),
    encoded: pack::Encoded,
    digests: Vec<(u32, Digest)>,
    /// The index of the stretch that this pack ends, if it ends one.
    index: Option<Vec<Page>>,
}

/// Reads the manifest and hands on entries for one pack at a time. Returns early when nobody takes
/// them: the other side says why.
fn gather(entries: &mut dyn Iterator<Item = Entry>, to: &Sender<Raw>) -> Result<(), Fault> {
    let mut pending: Vec<Entry> = Vec::with_capacity(PACK);
    for entry in entries {
        if let Some(last) = pending.last() {
            if last.order() >= entry.order() {
                let what = format!("manifest is not sorted at {}", entry.item.key.printable());
                return Err(Fault::conflict(what));
            }
            if pending.len() == PACK || last.source != entry.source {
                let full = std::mem::replace(&mut pending, Vec::with_capacity(PACK));
                if to.send(Batch::Some(full)).is_err() {
                    return Ok(());
                }
            }
        }
        pending.push(entry);
    }
    if !pending.is_empty() && to.send(Batch::Some(pending)).is_err() {
        return Ok(());
    }
    drop(to.send(Batch::End(())));
    Ok(())
}

fn pack_all(from: &Receiver<Raw>, to: &Sender<Ready>) {
    let mut stretch = Stretch::default();
    for batch in from {
        let packed = match batch {
            Batch::Some(entries) => Batch::Some(Box::new(pack_one(&entries, &mut stretch))),
            Batch::End(()) => Batch::End(stretch.finish()),
        };
        if to.send(packed).is_err() {
            return;
        }
    }
}

fn pack_one(entries: &[Entry], stretch: &mut Stretch) -> Packed {
    let bounds = |values: &mut dyn Iterator<Item = i64>| {
        values
            .fold((i64::MAX, i64::MIN), |(least, most), value| (least.min(value), most.max(value)))
    };
    let sizes = entries.iter().map(|entry| entry.item.size);
    let sizes = sizes.fold((u64::MAX, 0), |(least, most), size| (least.min(size), most.max(size)));
    stretch.push(entries.iter().map(|entry| &*entry.item.key.0));
    let digests = (0..).zip(entries).filter_map(|(at, entry)| Some((at, entry.digest?)));
    Packed {
        source: entries[0].source.clone(),
        members: u32::try_from(entries.len()).expect("a pack is small"),
        first_key: entries[0].item.key.0.clone(),
        seconds: bounds(&mut entries.iter().map(|entry| entry.item.modified.parts().0)),
        sizes,
        encoded: pack::encode(entries),
        digests: digests.collect(),
        index: stretch.is_full().then(|| stretch.finish()),
    }
}

/// Receives packs within one transaction, and commits it at the manifest's end.
fn insert(
    connection: &mut Connection,
    segment: &Segment,
    from: &Receiver<Ready>,
) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (number, listed) = segments::store(&transaction, segment)?;
    if listed {
        return Ok(());
    }
    let mut members = 0_u32;
    let mut pairs = Pairs::default();
    // The first pack of the stretch that is not complete.
    let mut stretch = None;
    loop {
        match from.recv() {
            // The reading side gave up, and says why.
            Err(_) => return Ok(()),
            Ok(Batch::End(index)) => {
                if let Some(stretch) = stretch {
                    store(&transaction, stretch, &index)?;
                }
                break;
            }
            Ok(Batch::Some(pack)) => {
                let inserted = insert_pack(&transaction, (number, members), &pack)?;
                let first = *stretch.get_or_insert(inserted);
                if let Some(index) = &pack.index {
                    store(&transaction, first, index)?;
                    stretch = None;
                }
                for (at, digest) in &pack.digests {
                    pairs.push(members + at, digest);
                }
                if pairs.len() >= GATHERED {
                    pairs.store(&transaction, number)?;
                }
                members = members.checked_add(pack.members).ok_or_else(|| {
                    Fault::conflict("a manifest has more lines than 32 bits count")
                })?;
            }
        }
    }
    pairs.store(&transaction, number)?;
    if u64::from(members) != segment.members {
        let what = format!(
            "segment {} has {} members, its manifest {members}",
            segment.id, segment.members
        );
        return Err(Fault::conflict(what));
    }
    transaction.execute("UPDATE segment SET listed = 1 WHERE number = ?1", [number])?;
    note_time(&transaction, segment.created)?;
    transaction.commit()?;
    Ok(())
}

fn insert_pack(
    transaction: &Transaction<'_>,
    (segment, first): (i64, u32),
    pack: &Packed,
) -> Result<i64, Fault> {
    transaction
        .prepare_cached(
            "INSERT INTO pack (segment, source, first, members, oldest, newest, smallest, largest,
             first_key, keys, facts) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(rusqlite::params![
            segment,
            name_source(transaction, &pack.source)?,
            first,
            pack.members,
            pack.seconds.0,
            pack.seconds.1,
            bounded_size(pack.sizes.0),
            bounded_size(pack.sizes.1),
            pack.first_key,
            pack.encoded.keys,
            pack.encoded.facts,
        ])?;
    // One more than that of the pack before, as the index takes for granted: nothing else inserts
    // packs in this transaction, and numbers are not used twice.
    Ok(transaction.last_insert_rowid())
}

/// A size as the bounds of a pack hold it: beyond 63 bits all are alike.
pub(in crate::catalog) fn bounded_size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
