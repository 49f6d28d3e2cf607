//! Merging of streams that are sorted already.

use std::{cmp::Ordering, fmt};

/// Several sorted streams as one, see [`merge_by`].
pub struct Merge<I: Iterator, F> {
    sources: Vec<I>,
    /// A binary heap of the next item of each source, the least first.
    heads: Vec<(I::Item, usize)>,
    compare: F,
    started: bool,
    failed: bool,
}

/// Merges streams that each ascend. Equal items come in the order of their sources.
pub fn merge<T: Ord, E, I: Iterator<Item = Result<T, E>>>(
    sources: Vec<I>,
) -> Merge<I, fn(&T, &T) -> Ordering> {
    merge_by(sources, T::cmp)
}

/// Merges streams that each ascend by `compare`. Equal items come in the order of their sources.
///
/// Ends after the first error of any source: what follows it would have gaps.
pub fn merge_by<T, E, I, F>(sources: Vec<I>, compare: F) -> Merge<I, F>
where
    I: Iterator<Item = Result<T, E>>,
    F: Fn(&T, &T) -> Ordering,
{
    let heads = Vec::with_capacity(sources.len());
    Merge { sources, heads, compare, started: false, failed: false }
}

impl<T, E, I, F> Merge<I, F>
where
    I: Iterator<Item = Result<T, E>>,
    F: Fn(&T, &T) -> Ordering,
{
    fn before(&self, left: usize, right: usize) -> bool {
        let ((left, left_source), (right, right_source)) = (&self.heads[left], &self.heads[right]);
        let by_item = match (left, right) {
            (Ok(left), Ok(right)) => (self.compare)(left, right),
            // An error comes at once: nobody knows what its source still has.
            (left, right) => left.is_ok().cmp(&right.is_ok()),
        };
        by_item.then(left_source.cmp(right_source)) == Ordering::Less
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heads.len() && self.before(child, least) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heads.swap(at, least);
            at = least;
        }
    }

    fn start(&mut self) {
        for source in 0..self.sources.len() {
            if let Some(head) = self.sources[source].next() {
                self.heads.push((head, source));
            }
        }
        for at in (0..self.heads.len() / 2).rev() {
            self.sift_down(at);
        }
    }
}

impl<T, E, I, F> Iterator for Merge<I, F>
where
    I: Iterator<Item = Result<T, E>>,
    F: Fn(&T, &T) -> Ordering,
{
    type Item = Result<T, E>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if !self.started {
            self.started = true;
            self.start();
        }
        let (_, source) = self.heads.first()?;
        let source = *source;
        let out = match self.sources[source].next() {
            Some(next) => std::mem::replace(&mut self.heads[0], (next, source)).0,
            None => self.heads.swap_remove(0).0,
        };
        self.sift_down(0);
        self.failed = out.is_err();
        Some(out)
    }
}

impl<I: Iterator, F> fmt::Debug for Merge<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merge").field("sources", &self.sources.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_merge_in_order_and_keep_the_order_of_equals() {
        let sources: Vec<Vec<Result<(u32, char), ()>>> = vec![
            vec![Ok((1, 'a')), Ok((3, 'a')), Ok((3, 'b'))],
            vec![],
            vec![Ok((0, 'c')), Ok((3, 'c')), Ok((9, 'c'))],
        ];
        let sources = sources.into_iter().map(Vec::into_iter).collect();
        let merged: Vec<_> = merge_by(sources, |a: &(u32, char), b: &(u32, char)| a.0.cmp(&b.0))
            .map(Result::unwrap)
            .collect();
        assert_eq!(merged, [(0, 'c'), (1, 'a'), (3, 'a'), (3, 'b'), (3, 'c'), (9, 'c')]);
    }

    #[test]
    fn an_error_ends_the_merge() {
        let sources =
            vec![vec![Ok(1), Err("gone"), Ok(2)].into_iter(), vec![Ok(5), Ok(6)].into_iter()];
        let merged: Vec<_> = merge(sources).collect();
        assert_eq!(merged, [Ok(1), Err("gone")]);
    }
}
