//! From a manifest to searchable packs.

use rusqlite::{OptionalExtension, Transaction};

use crate::{
    catalog::{
        Catalog, CatalogError, Segment,
        members::{PACK, pack},
        state::{note_time, segment_number, segments},
        store::Fault,
    },
    ident::{SegmentId, SourceName},
    volume::manifest::Entry,
};

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
    Ok(transaction.last_insert_rowid())
}

impl Catalog {
    /// Records a sealed segment with its members, which `entries` yields in the order of
    /// [`Entry::order`]. A segment that is known with its members is left alone; one that is known
    /// without them (from a snapshot) gets them.
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
        self.store.write("record a segment", |transaction| {
            let (number, listed) = segments::store(transaction, segment)?;
            if listed {
                return Ok(());
            }
            let mut packs = Packs { transaction, segment: number, next: 0, pending: Vec::new() };
            for entry in entries {
                packs.push(entry)?;
            }
            packs.flush()?;
            if u64::from(packs.next) != segment.members {
                let what = format!(
                    "segment {} has {} members, its manifest {}",
                    segment.id, segment.members, packs.next
                );
                return Err(Fault::conflict(what));
            }
            transaction.execute("UPDATE segment SET listed = 1 WHERE number = ?1", [number])?;
            note_time(transaction, segment.created)
        })?;
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
            let left: u64 = transaction
                .prepare_cached("SELECT count(*) FROM copy WHERE segment = ?1 AND state <> 'void'")?
                .query_row([number], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))?;
            if left > 0 {
                return Err(Fault::conflict(format!("segment {id} still has {left} copies")));
            }
            for statement in [
                "DELETE FROM copy WHERE segment = ?1",
                "DELETE FROM intent WHERE segment = ?1",
                "DELETE FROM pack WHERE segment = ?1",
                "DELETE FROM segment WHERE number = ?1",
            ] {
                transaction.prepare_cached(statement)?.execute([number])?;
            }
            Ok(())
        })
    }
}

/// Gathers entries into packs.
struct Packs<'a> {
    transaction: &'a Transaction<'a>,
    segment: i64,
    next: u32,
    pending: Vec<Entry>,
}

impl Packs<'_> {
    fn push(&mut self, entry: Entry) -> Result<(), Fault> {
        if let Some(last) = self.pending.last() {
            if last.order() >= entry.order() {
                let what = format!("manifest is not sorted at {}", entry.item.key.printable());
                return Err(Fault::conflict(what));
            }
            if self.pending.len() == PACK || last.source != entry.source {
                self.flush()?;
            }
        }
        self.pending.push(entry);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let Some(head) = self.pending.first() else { return Ok(()) };
        let seconds = || self.pending.iter().map(|entry| entry.item.modified.parts().0);
        let sizes = || self.pending.iter().map(|entry| entry.item.size);
        let encoded = pack::encode(&self.pending);
        let members = u32::try_from(self.pending.len()).expect("a pack is small");
        self.transaction
            .prepare_cached(
                "INSERT INTO pack (segment, source, first, members, oldest, newest, smallest,
                 largest, first_key, keys, facts)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(rusqlite::params![
                self.segment,
                name_source(self.transaction, &head.source)?,
                self.next,
                members,
                seconds().min(),
                seconds().max(),
                sizes().min().map(u64::cast_signed),
                sizes().max().map(u64::cast_signed),
                head.item.key.0,
                encoded.keys,
                encoded.facts,
            ])?;
        self.next += members;
        self.pending.clear();
        Ok(())
    }
}
