//! Which bytes of a segment that is being filled are taken. Pure.

use crate::tar;

/// Bytes of a unit.
pub(in crate::staging) const UNIT: u64 = tar::UNIT as u64;

/// A stretch of a segment, in bytes. All are whole units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::staging) struct Span {
    pub(in crate::staging) offset: u64,
    pub(in crate::staging) length: u64,
}

impl Span {
    /// The first byte behind it.
    pub(in crate::staging) fn end(self) -> u64 {
        self.offset + self.length
    }
}

/// Where a member may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::staging) enum Place {
    /// Wherever it fits.
    Anywhere,
    /// Behind all others: a hard link, whose target has to come first, or a directory.
    Last,
}

/// Hands out the bytes of a segment: from gaps that failed members left, else at the end.
#[derive(Debug, Default)]
pub(in crate::staging) struct Allocator {
    end: u64,
    /// Ascending, apart, none touching `end`.
    gaps: Vec<Span>,
}

impl Allocator {
    /// One of a segment that already holds members up to `end`, but for `gaps`.
    pub(in crate::staging) fn resume(end: u64, gaps: Vec<Span>) -> Self {
        Self { end, gaps }
    }

    /// Where the last member ends.
    pub(in crate::staging) fn end(&self) -> u64 {
        self.end
    }

    /// How far [`Self::take`] would move the end.
    pub(in crate::staging) fn growth(&self, length: u64, place: Place) -> u64 {
        if self.gap_for(length, place).is_some() { 0 } else { length }
    }

    /// Takes `length` bytes; where they begin.
    pub(in crate::staging) fn take(&mut self, length: u64, place: Place) -> u64 {
        if let Some(index) = self.gap_for(length, place) {
            let gap = self.gaps[index];
            if gap.length == length {
                self.gaps.remove(index);
            } else {
                self.gaps[index] =
                    Span { offset: gap.offset + length, length: gap.length - length };
            }
            return gap.offset;
        }
        let offset = self.end;
        self.end += length;
        offset
    }

    /// A gap that `length` fits. None is cut down to a single unit, which is awkward to fill.
    fn gap_for(&self, length: u64, place: Place) -> Option<usize> {
        match place {
            Place::Last => None,
            Place::Anywhere => self
                .gaps
                .iter()
                .position(|gap| gap.length == length || gap.length >= length + 2 * UNIT),
        }
    }

    /// Takes back what a member will not use.
    pub(in crate::staging) fn give_back(&mut self, span: Span) {
        let index = self.gaps.partition_point(|gap| gap.offset < span.offset);
        self.gaps.insert(index, span);
        if index + 1 < self.gaps.len() && span.end() == self.gaps[index + 1].offset {
            self.gaps[index].length += self.gaps.remove(index + 1).length;
        }
        if index > 0 && self.gaps[index - 1].end() == span.offset {
            self.gaps[index - 1].length += self.gaps.remove(index).length;
        }
        if let Some(last) = self.gaps.last()
            && last.end() == self.end
        {
            self.end = last.offset;
            self.gaps.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_byte_is_taken_twice_or_forgotten(
            steps in prop::collection::vec((1_u64..9, any::<bool>(), any::<prop::sample::Index>()), 1..80),
        ) {
            let mut allocator = Allocator::default();
            let mut taken: Vec<Span> = Vec::new();
            for (units, give, which) in steps {
                if give && !taken.is_empty() {
                    allocator.give_back(taken.swap_remove(which.index(taken.len())));
                } else {
                    let length = units * UNIT;
                    let place = if units == 1 { Place::Last } else { Place::Anywhere };
                    let (before, growth) = (allocator.end(), allocator.growth(length, place));
                    let offset = allocator.take(length, place);
                    prop_assert_eq!(allocator.end(), before + growth);
                    prop_assert!(place == Place::Anywhere || offset == before);
                    taken.push(Span { offset, length });
                }
                let mut all: Vec<Span> = taken.iter().chain(&allocator.gaps).copied().collect();
                all.sort();
                let mut at = 0;
                for span in all {
                    prop_assert_eq!(span.offset, at);
                    at = span.end();
                }
                prop_assert_eq!(at, allocator.end());
            }
        }
    }
}
