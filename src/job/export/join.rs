//! How a listing differs from the last run. Pure, and in bounded memory.

use std::cmp::Ordering;

use crate::{item::Listed, volume::run::Row};

/// Joins listed items, in order, with the rows of the last run, in the same order.
pub(super) struct Join<I> {
    rows: I,
    next: Option<Row>,
    begun: bool,
    changes: Changes,
}

/// How many items are not as they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Listed, and not in the last run.
    pub(super) new: u64,
    /// In both, with another token.
    pub(super) changed: u64,
    /// In the last run, and not listed.
    pub(super) gone: u64,
}

impl<E, I: Iterator<Item = Result<Row, E>>> Join<I> {
    /// A join with these rows, sorted by key and version.
    pub(super) fn new(rows: I) -> Self {
        Self { rows, next: None, begun: false, changes: Changes::default() }
    }

    fn advance(&mut self) -> Result<(), E> {
        self.next = self.rows.next().transpose()?;
        self.begun = true;
        Ok(())
    }

    /// Takes the next listed item.
    pub(super) fn take(&mut self, listed: &Listed) -> Result<(), E> {
        if !self.begun {
            self.advance()?;
        }
        while let Some(row) = &self.next {
            match (&row.key, &row.version).cmp(&(&listed.key, &listed.version)) {
                Ordering::Less => {
                    self.changes.gone += 1;
                    self.advance()?;
                }
                Ordering::Equal => {
                    self.changes.changed += u64::from(row.token != listed.token);
                    return self.advance();
                }
                Ordering::Greater => break,
            }
        }
        self.changes.new += 1;
        Ok(())
    }

    /// What it came to, once the listing has ended.
    pub(super) fn finish(mut self) -> Result<Changes, E> {
        if !self.begun {
            self.advance()?;
        }
        while self.next.is_some() {
            self.changes.gone += 1;
            self.advance()?;
        }
        Ok(self.changes)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{
        clock::Timestamp,
        item::{Key, Kind, Token, Version},
    };

    fn row(key: &str, version: &str, token: u64) -> Row {
        Row {
            key: key.into(),
            version: Version(version.into()),
            token: Token(token),
            latest: true,
            delete_marker: false,
            places: Vec::new(),
        }
    }

    fn listed(key: &str, version: &str, token: u64) -> Listed {
        Listed {
            key: Key::from(key),
            version: Version(version.into()),
            token: Token(token),
            size: 10,
            modified: Timestamp::default(),
            latest: false,
            kind: Kind::File,
        }
    }

    #[test]
    fn what_is_new_changed_and_gone_is_counted() {
        let rows = [("a", ""), ("b", "1"), ("b", "2"), ("d", ""), ("z", "")];
        let rows = rows.into_iter().map(|(key, version)| Ok::<_, Infallible>(row(key, version, 1)));
        let mut join = Join::new(rows);
        for (key, version, token) in
            [("a", "", 1), ("b", "1", 1), ("b", "3", 1), ("c", "", 1), ("d", "", 2)]
        {
            let Ok(()) = join.take(&listed(key, version, token));
        }
        let Ok(changes) = join.finish();
        assert_eq!(changes, Changes { new: 2, changed: 1, gone: 2 });
        let Ok(changes) = Join::new([Ok::<_, Infallible>(row("a", "", 1))].into_iter()).finish();
        assert_eq!(changes.gone, 1);
    }
}
