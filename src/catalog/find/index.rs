//! The index by trigram in the database: pages under the number of the stretch's first pack and the
//! page's first trigram, both in one key.

use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::catalog::{
    find::{
        postings::{Groups, Page, Stretch, groups_of},
        trigrams::Trigram,
    },
    members::{Keys, damaged},
    store::Fault,
};

/// Bits of a trigram in the key of a page.
const TRIGRAM_BITS: u32 = 24;
const TRIGRAM_MASK: i64 = (1 << TRIGRAM_BITS) - 1;

/// Stores the pages of the stretch whose first pack has the number `pack`.
pub(in crate::catalog) fn store(
    transaction: &Transaction<'_>,
    pack: i64,
    pages: &[Page],
) -> Result<(), Fault> {
    let mut statement =
        transaction.prepare_cached("INSERT INTO trigram_page (number, data) VALUES (?1, ?2)")?;
    for page in pages {
        statement.execute((key(pack, page.first), &page.data))?;
    }
    Ok(())
}

/// Removes the pages of all stretches that begin with one of these packs, both ends included.
pub(in crate::catalog) fn forget(
    transaction: &Transaction<'_>,
    (first, last): (i64, i64),
) -> Result<(), Fault> {
    transaction
        .prepare_cached("DELETE FROM trigram_page WHERE number BETWEEN ?1 AND ?2")?
        .execute((key(first, 0), key(last, 0) | TRIGRAM_MASK))?;
    Ok(())
}

fn key(pack: i64, trigram: Trigram) -> i64 {
    pack << TRIGRAM_BITS | i64::from(trigram)
}

/// The first pack of the first stretch that begins with the pack `from` or a later one.
pub(super) fn stretch_from(connection: &Connection, from: i64) -> Result<Option<i64>, Fault> {
    let number = connection
        .prepare_cached(
            "SELECT number FROM trigram_page WHERE number >= ?1 ORDER BY number LIMIT 1",
        )?
        .query_row([key(from, 0)], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(number.map(|number| number >> TRIGRAM_BITS))
}

/// The groups of a stretch that have all of `trigrams`, which are brought into an order in which
/// the next stretch, which is alike, is soon done.
pub(super) fn groups_with(
    connection: &Connection,
    stretch: i64,
    trigrams: &mut [Trigram],
) -> Result<Groups, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT number, data FROM trigram_page WHERE number BETWEEN ?1 AND ?2
         ORDER BY number DESC LIMIT 1",
    )?;
    let mut groups = Groups::all();
    for at in 0..trigrams.len() {
        let trigram = trigrams[at];
        let mut rows = statement.query((key(stretch, 0), key(stretch, trigram)))?;
        let found = match rows.next()? {
            None => Groups::none(),
            Some(row) => {
                let number = row.get::<_, i64>(0)? & TRIGRAM_MASK;
                let first = Trigram::try_from(number).expect("masked");
                let data = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
                groups_of((first, data), trigram).map_err(damaged)?
            }
        };
        groups.keep(&found);
        if groups.is_empty() {
            trigrams[..=at].rotate_right(1);
            break;
        }
    }
    Ok(groups)
}

/// Whether the index of a segment is what its keys ask for.
pub(in crate::catalog) fn is_complete(
    connection: &Connection,
    segment: i64,
) -> Result<bool, Fault> {
    let mut packs = connection
        .prepare_cached("SELECT number, keys FROM pack WHERE segment = ?1 ORDER BY first")?;
    let mut rows = packs.query([segment])?;
    let mut stretch = Stretch::default();
    let mut first = None;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let all = all_keys(&Keys::open(bytes).map_err(damaged)?)?;
        stretch.push(all.iter().map(Vec::as_slice));
        let begun = *first.get_or_insert(number);
        if stretch.is_full() {
            if !is_stored(connection, begun, &stretch.finish())? {
                return Ok(false);
            }
            first = None;
        }
    }
    first.map_or(Ok(true), |begun| is_stored(connection, begun, &stretch.finish()))
}

fn all_keys(keys: &Keys) -> Result<Vec<Vec<u8>>, Fault> {
    let mut all = Vec::new();
    for group in 0..keys.groups() {
        keys.each(group, &mut |_, key| all.push(key.to_vec())).map_err(damaged)?;
    }
    Ok(all)
}

fn is_stored(connection: &Connection, stretch: i64, pages: &[Page]) -> Result<bool, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT number, data FROM trigram_page WHERE number BETWEEN ?1 AND ?2 ORDER BY number",
    )?;
    let mut rows = statement.query((key(stretch, 0), key(stretch, 0) | TRIGRAM_MASK))?;
    for page in pages {
        let Some(row) = rows.next()? else { return Ok(false) };
        let data = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        if row.get::<_, i64>(0)? != key(stretch, page.first) || data != page.data {
            return Ok(false);
        }
    }
    Ok(rows.next()?.is_none())
}
