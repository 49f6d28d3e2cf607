//! Where hits may be: which index answers a query, and what it names.

use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension};

use crate::catalog::{
    Pattern, Query,
    find::{
        digests::{bucket_members, buckets},
        index::{groups_with, stretch_from},
        search::Filter,
        trigrams::{Trigram, required},
    },
    members::{GROUP, GROUP_BITS},
    store::Fault,
};

/// A pack, or one group of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) pack: i64,
    /// `None` for all groups.
    pub(super) group: Option<usize>,
}

/// How candidates are found.
pub(super) enum Plan {
    /// Groups that have all trigrams of the pattern.
    Trigrams(Vec<Trigram>),
    /// Packs that reach into a range of keys, its end not included; `None` without an end.
    Keys { from: Vec<u8>, to: Option<Vec<u8>> },
    /// Groups with a digest in a range of 32-bit prefixes, its end included.
    Digests { from: u32, to: u32 },
    /// Every pack.
    All,
}

/// What is done with each candidate.
type Visit<'a> = &'a mut dyn FnMut(Candidate) -> Result<ControlFlow<()>, Fault>;

impl Plan {
    pub(super) fn of(query: &Query) -> Self {
        let literals: Vec<Vec<u8>> = match &query.pattern {
            Pattern::Any => Vec::new(),
            Pattern::Prefix(prefix) if !query.ignore_case => {
                return Self::Keys { from: prefix.clone(), to: after_prefix(prefix) };
            }
            Pattern::Exact(key) if !query.ignore_case => {
                let mut next = key.clone();
                next.push(0);
                return Self::Keys { from: key.clone(), to: Some(next) };
            }
            Pattern::Substring(text) | Pattern::Prefix(text) | Pattern::Exact(text) => {
                vec![text.clone()]
            }
            Pattern::Glob(glob) => glob.literals(),
            Pattern::Digest(prefix) => {
                let (from, to) = prefix.range();
                return Self::Digests { from, to };
            }
        };
        match required(literals.iter().map(Vec::as_slice)) {
            Some(trigrams) => Self::Trigrams(trigrams),
            None => Self::All,
        }
    }

    /// Visits the candidates, packs ascending, until `visit` breaks off.
    pub(super) fn each(
        &self,
        connection: &Connection,
        filter: &Filter,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>, Fault> {
        match self {
            Self::Trigrams(trigrams) => each_with(connection, trigrams.clone(), visit),
            Self::Keys { from, to } => each_in_range(connection, filter, (from, to), visit),
            Self::Digests { from, to } => each_digest(connection, filter, (*from, *to), visit),
            Self::All => {
                let mut statement =
                    connection.prepare_cached("SELECT number FROM pack ORDER BY number")?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    if visit(Candidate { pack: row.get(0)?, group: None })?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            }
        }
    }
}

fn each_with(
    connection: &Connection,
    mut trigrams: Vec<Trigram>,
    visit: Visit<'_>,
) -> Result<ControlFlow<()>, Fault> {
    let mut next = stretch_from(connection, 0)?;
    while let Some(stretch) = next {
        for group in groups_with(connection, stretch, &mut trigrams)?.iter() {
            let pack = stretch + i64::try_from(group >> GROUP_BITS).expect("few packs");
            let group = Some(group & ((1 << GROUP_BITS) - 1));
            if visit(Candidate { pack, group })?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        next = stretch_from(connection, stretch + 1)?;
    }
    Ok(ControlFlow::Continue(()))
}

/// The least key after all that begin with `prefix`.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

fn sorted(numbers: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut numbers: Vec<i64> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

fn each_in_range(
    connection: &Connection,
    filter: &Filter,
    (from, to): (&[u8], &Option<Vec<u8>>),
    visit: Visit<'_>,
) -> Result<ControlFlow<()>, Fault> {
    // The last pack that begins before the range may reach into it.
    let mut statement = connection.prepare_cached(
        "SELECT number FROM pack WHERE segment = ?1 AND source = ?2
         AND first_key >= ifnull((SELECT max(first_key) FROM pack
             WHERE segment = ?1 AND source = ?2 AND first_key < ?3), x'')
         AND (?4 IS NULL OR first_key < ?4) ORDER BY first",
    )?;
    let sources = sorted(filter.sources.keys().copied());
    for segment in sorted(filter.segments.keys().copied()) {
        for source in &sources {
            let mut rows = statement.query((segment, source, from, to))?;
            while let Some(row) = rows.next()? {
                if visit(Candidate { pack: row.get(0)?, group: None })?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn each_digest(
    connection: &Connection,
    filter: &Filter,
    range: (u32, u32),
    visit: Visit<'_>,
) -> Result<ControlFlow<()>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT number, first, members FROM pack WHERE segment = ?1 AND first <= ?2
         ORDER BY first DESC LIMIT 1",
    )?;
    for segment in sorted(filter.segments.keys().copied()) {
        let mut last = None;
        for bucket in buckets(connection, segment, range)? {
            let mut lines = bucket_members(bucket);
            // A bucket may reach over the end of a pack.
            while !lines.is_empty() {
                let found: Option<(i64, u32, u32)> = statement
                    .query_row((segment, lines.start), |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })
                    .optional()?;
                let Some((pack, first, members)) = found else { break };
                if lines.start >= first + members {
                    break;
                }
                let at = usize::try_from(lines.start - first).expect("a pack is small");
                let candidate = Candidate { pack, group: Some(at / GROUP) };
                if last != Some(candidate) && visit(candidate)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                last = Some(candidate);
                let group_end = u32::try_from((at / GROUP + 1) * GROUP).expect("a pack is small");
                lines.start = first.saturating_add(group_end.min(members));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}
