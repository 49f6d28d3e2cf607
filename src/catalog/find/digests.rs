//! Look-up by digest: for each segment, pages of sorted pairs.

use rusqlite::{Connection, Transaction};

use crate::{
    catalog::{
        members::{Damage, put_varint, varint},
        store::Fault,
    },
    digest::Digest,
};

/// Manifest lines that share a bucket.
const BUCKET: u32 = 64;
/// Pairs in one page: at 4.4 bytes each they fill a page of the database.
const PAGE: usize = 850;

/// The manifest lines of a bucket.
pub(in crate::catalog) fn bucket_members(bucket: u32) -> std::ops::Range<u32> {
    let first = bucket.saturating_mul(BUCKET);
    first..first.saturating_add(BUCKET)
}

/// The digests of a segment, as they come.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Pairs {
    pairs: Vec<(u32, u32)>,
}

impl Pairs {
    pub(in crate::catalog) fn push(&mut self, ordinal: u32, digest: &Digest) {
        let prefix = u32::from_be_bytes(digest.0[..4].try_into().expect("4 bytes"));
        self.pairs.push((prefix, ordinal / BUCKET));
    }

    pub(in crate::catalog) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Stores what has come, as pages, and forgets it.
    pub(in crate::catalog) fn store(
        &mut self,
        transaction: &Transaction<'_>,
        segment: i64,
    ) -> Result<(), Fault> {
        self.pairs.sort_unstable();
        self.pairs.dedup();
        let mut statement = transaction
            .prepare_cached("INSERT INTO digest_page (segment, first, data) VALUES (?1, ?2, ?3)")?;
        for page in self.pairs.chunks(PAGE) {
            let mut data = Vec::with_capacity(PAGE * 5);
            let mut before = 0;
            for (prefix, bucket) in page {
                put_varint(&mut data, (prefix - before).into());
                put_varint(&mut data, (*bucket).into());
                before = *prefix;
            }
            statement.execute((segment, page[0].0, data))?;
        }
        self.pairs.clear();
        Ok(())
    }
}

/// The buckets of a segment that may hold a digest whose first 32 bits lie between `from` and `to`,
/// both included; ascending.
pub(in crate::catalog) fn buckets(
    connection: &Connection,
    segment: i64,
    (from, to): (u32, u32),
) -> Result<Vec<u32>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT data FROM digest_page WHERE segment = ?1 AND first <= ?3 AND first >= ifnull(
         (SELECT max(first) FROM digest_page WHERE segment = ?1 AND first < ?2), 0)",
    )?;
    let mut rows = statement.query((segment, from, to))?;
    let mut buckets = Vec::new();
    while let Some(row) = rows.next()? {
        let data = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        read_page(data, &mut |prefix, bucket| {
            if (from..=to).contains(&prefix) {
                buckets.push(bucket);
            }
        })
        .map_err(|damage| Fault::Damaged(damage.to_owned()))?;
    }
    buckets.sort_unstable();
    buckets.dedup();
    Ok(buckets)
}

fn read_page(mut data: &[u8], visit: &mut dyn FnMut(u32, u32)) -> Result<(), Damage> {
    let mut prefix = 0_u32;
    let number =
        |data: &mut &[u8]| u32::try_from(varint(data)?).map_err(|_| "a digest is out of bounds");
    while !data.is_empty() {
        prefix = prefix.checked_add(number(&mut data)?).ok_or("a digest is out of bounds")?;
        visit(prefix, number(&mut data)?);
    }
    Ok(())
}
