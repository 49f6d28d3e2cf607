//! How the gaps of a segment are closed before it is sealed. Pure.

use std::{cmp::Reverse, mem};

use crate::staging::segment::allocator::{Span, UNIT};

/// The most bytes that a segment spends on fillers. No more, so that at most eight extended headers
/// stand in front of one member.
pub(in crate::staging) const FILLER_TOTAL: u64 = 1 << 20;

/// A member's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::staging) struct Spot {
    pub(in crate::staging) span: Span,
    /// Whether it may come in front of members that it was behind: not a hard link, whose target
    /// comes first, nor a directory, which comes after what is in it.
    pub(in crate::staging) movable: bool,
}

/// What closes the gaps.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::staging) struct Closing {
    /// Members that move, by their index among the spots, and where to. Each goes to a lower
    /// offset, and done in this order none overwrites what has not moved yet, though it may
    /// overlap itself.
    pub(in crate::staging) moves: Vec<(usize, u64)>,
    /// What is filled afterwards.
    pub(in crate::staging) fillers: Vec<Span>,
    /// Where the last member ends then.
    pub(in crate::staging) end: u64,
}

/// Plans the closing of everything between `spots`, which ascend and are apart.
///
/// Small gaps are filled. What is more is closed with the last members that fit; and if even that
/// leaves too much, everything behind the gaps moves down.
pub(in crate::staging) fn close(spots: &[Spot]) -> Closing {
    let mut closing = Closing::default();
    // Where every member lies now, ascending, with its index among the spots.
    let mut lying: Vec<(Span, usize)> =
        spots.iter().enumerate().map(|(index, spot)| (spot.span, index)).collect();
    let mut gaps = between(&lying);
    while total(&gaps) > FILLER_TOTAL {
        gaps.sort_by_key(|gap| Reverse(gap.length));
        if !gaps.iter().any(|gap| fill_from_behind(*gap, spots, &mut lying, &mut closing)) {
            break;
        }
        gaps = between(&lying);
    }
    gaps.sort();
    slide(&mut lying, &gaps, &mut closing);
    closing.fillers = between(&lying);
    closing.end = lying.last().map_or(0, |(span, _)| span.end());
    closing
}

fn total(gaps: &[Span]) -> u64 {
    gaps.iter().map(|gap| gap.length).sum()
}

fn between(lying: &[(Span, usize)]) -> Vec<Span> {
    let mut gaps = Vec::new();
    let mut at = 0;
    for (span, _) in lying {
        if span.offset > at {
            gaps.push(Span { offset: at, length: span.offset - at });
        }
        at = span.end();
    }
    gaps
}

/// Moves the last members that fit into `gap`; whether there was one.
fn fill_from_behind(
    gap: Span,
    spots: &[Spot],
    lying: &mut [(Span, usize)],
    closing: &mut Closing,
) -> bool {
    let mut left = gap;
    let mut came = Vec::new();
    for place in (0..lying.len()).rev() {
        let (span, index) = lying[place];
        if span.offset < gap.offset || left.length == 0 {
            break;
        }
        let fits = span.length == left.length || span.length + 2 * UNIT <= left.length;
        if spots[index].movable && fits {
            closing.moves.push((index, left.offset));
            lying[place].0 = Span { offset: left.offset, ..span };
            came.push(place);
            left = Span { offset: left.offset + span.length, length: left.length - span.length };
        }
    }
    if !came.is_empty() {
        lying.sort_unstable();
    }
    !came.is_empty()
}

/// Moves down everything behind the first gaps that fillers are enough for.
fn slide(lying: &mut [(Span, usize)], gaps: &[Span], closing: &mut Closing) {
    let mut kept = 0;
    let first = gaps.iter().find(|gap| {
        kept += gap.length;
        // No filler is as short as a single unit.
        kept > FILLER_TOTAL || gap.length == UNIT
    });
    let Some(mut at) = first.map(|gap| gap.offset) else { return };
    let begin = lying.partition_point(|(span, _)| span.offset < at);
    for (span, index) in &mut lying[begin..] {
        let from = mem::replace(&mut span.offset, at);
        debug_assert!(from > at, "it moves down");
        closing.moves.push((*index, at));
        at = span.end();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Carries the plan out on `spots` and says where they are then.
    fn carry_out(spots: &[Spot], closing: &Closing) -> Vec<Span> {
        let mut now: Vec<Span> = spots.iter().map(|spot| spot.span).collect();
        for &(index, to) in &closing.moves {
            assert!(to < now[index].offset, "moves go down");
            let landing = Span { offset: to, length: now[index].length };
            for (other, span) in now.iter().enumerate() {
                let apart = span.end() <= landing.offset || landing.end() <= span.offset;
                assert!(other == index || apart, "{landing:?} overwrites {span:?}");
            }
            now[index] = landing;
        }
        now
    }

    proptest! {
        #[test]
        fn no_void_is_left(
            steps in prop::collection::vec((0_u64..40, 1_u64..2000, 0..5), 0..60),
            scale in prop::sample::select(vec![512_u64, 65_536]),
        ) {
            let mut at = 0;
            let mut spots = Vec::new();
            for (gap, units, kind) in steps {
                // Most members follow each other.
                at += if gap < 30 { 0 } else { (gap - 29) * scale };
                let span = Span { offset: at, length: units * 512 };
                at = span.end();
                spots.push(Spot { span, movable: kind > 0 });
            }
            let closing = close(&spots);
            let now = carry_out(&spots, &closing);
            prop_assert!(total(&closing.fillers) <= FILLER_TOTAL);
            prop_assert!(closing.fillers.iter().all(|gap| gap.length > UNIT));
            let mut all: Vec<Span> = now.iter().chain(&closing.fillers).copied().collect();
            all.sort();
            let mut at = 0;
            for span in all {
                prop_assert_eq!(span.offset, at);
                at = span.end();
            }
            prop_assert_eq!(at, closing.end);
            // What is not movable stays behind all that it was behind, or was moved past it.
            for (index, spot) in spots.iter().enumerate().filter(|(_, spot)| !spot.movable) {
                for other in 0..index {
                    prop_assert!(now[other].offset < now[index].offset, "{:?}", spot);
                }
            }
        }
    }

    #[test]
    fn a_large_gap_takes_the_last_members() {
        let mib = 1 << 20;
        let spot = |offset: u64, length: u64| Spot {
            span: Span { offset: offset * mib, length: length * mib },
            movable: true,
        };
        let closing = close(&[spot(0, 1), spot(5, 8), spot(13, 2), spot(15, 2)]);
        assert_eq!(closing.moves, [(3, mib), (2, 3 * mib)]);
        assert_eq!((closing.fillers.len(), closing.end), (0, 13 * mib));
    }
}
