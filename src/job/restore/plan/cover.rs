//! Which volumes are read, so that few cartridges have to be fetched. Pure.

/// How near a volume is. Nearer comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::job::restore) enum Reach {
    /// In the drive.
    Drive,
    /// In the library.
    Library,
    /// Hands have to fetch it.
    Elsewhere,
}

/// How far a copy can be trusted. Better comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::job::restore) enum Quality {
    /// Read back, and agreed.
    Verified,
    /// Flushed.
    OnTape,
    /// Something about it did not agree. Each member has a digest of its own, so it may be tried.
    Doubtful,
}

/// A copy that may be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The volume, by its place in the list of volumes.
    pub(super) volume: usize,
    /// The copy.
    pub(super) quality: Quality,
}

/// Chooses a volume for each need, or `None` where there is no candidate.
///
/// Volumes that need no hands come before those that do; then whichever holds most of what is
/// still needed (greedy set cover). Doubtful copies serve only where there are no others. Of the
/// chosen volumes each need takes the best copy.
pub(super) fn choose(needs: &[Vec<Candidate>], reach: &[Reach]) -> Vec<Option<usize>> {
    let needs: Vec<Vec<Candidate>> = needs.iter().map(|need| serious(need)).collect();
    let mut cover = Cover::new(&needs, reach.len());
    let mut chosen = Vec::new();
    for tier in [Reach::Drive, Reach::Library, Reach::Elsewhere] {
        while let Some(volume) = cover.best(|volume| reach[volume] == tier) {
            cover.take(volume);
            chosen.push(volume);
        }
    }
    let is_chosen = without_idle(&needs, &chosen, reach);
    needs
        .iter()
        .map(|need| {
            let held = need.iter().filter(|candidate| is_chosen[candidate.volume]);
            held.min_by_key(|c| (c.quality, reach[c.volume], c.volume)).map(|c| c.volume)
        })
        .collect()
}

/// The good candidates, or all when none is good.
fn serious(need: &[Candidate]) -> Vec<Candidate> {
    let good: Vec<Candidate> =
        need.iter().filter(|c| c.quality < Quality::Doubtful).copied().collect();
    if good.is_empty() { need.to_vec() } else { good }
}

struct Cover<'a> {
    needs: &'a [Vec<Candidate>],
    open: Vec<bool>,
    /// For each volume the needs that it could serve.
    serves: Vec<Vec<usize>>,
    /// For each volume how many of them are open, and in how many its copy is verified.
    counts: Vec<(u64, u64)>,
}

impl<'a> Cover<'a> {
    fn new(needs: &'a [Vec<Candidate>], volumes: usize) -> Self {
        let mut serves = vec![Vec::new(); volumes];
        let mut counts = vec![(0, 0); volumes];
        for (number, need) in needs.iter().enumerate() {
            for candidate in need {
                serves[candidate.volume].push(number);
                counts[candidate.volume].0 += 1;
                counts[candidate.volume].1 += u64::from(candidate.quality == Quality::Verified);
            }
        }
        Self { needs, open: vec![true; needs.len()], serves, counts }
    }

    /// The volume that serves most open needs; of equals, that with more verified copies, then the
    /// first.
    fn best(&self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        (0..self.counts.len())
            .filter(|volume| eligible(*volume) && self.counts[*volume].0 > 0)
            .max_by_key(|volume| (self.counts[*volume], std::cmp::Reverse(*volume)))
    }

    fn take(&mut self, volume: usize) {
        for number in std::mem::take(&mut self.serves[volume]) {
            if !std::mem::replace(&mut self.open[number], false) {
                continue;
            }
            for candidate in &self.needs[number] {
                let count = &mut self.counts[candidate.volume];
                count.0 -= 1;
                count.1 -= u64::from(candidate.quality == Quality::Verified);
            }
        }
    }
}

/// Marks the chosen volumes, without those that later ones have made superfluous. The farthest are
/// let go first.
fn without_idle(needs: &[Vec<Candidate>], chosen: &[usize], reach: &[Reach]) -> Vec<bool> {
    let mut is_chosen = vec![false; reach.len()];
    for volume in chosen {
        is_chosen[*volume] = true;
    }
    let mut holders: Vec<usize> = needs
        .iter()
        .map(|need| need.iter().filter(|candidate| is_chosen[candidate.volume]).count())
        .collect();
    let mut serves = vec![Vec::new(); reach.len()];
    for (number, need) in needs.iter().enumerate() {
        for candidate in need.iter().filter(|candidate| is_chosen[candidate.volume]) {
            serves[candidate.volume].push(number);
        }
    }
    // Of one reach, those that serve least are asked first.
    let mut order = chosen.to_vec();
    order.sort_by_key(|volume| (std::cmp::Reverse(reach[*volume]), serves[*volume].len()));
    for volume in order {
        if serves[volume].iter().all(|number| holders[*number] > 1) {
            is_chosen[volume] = false;
            for number in &serves[volume] {
                holders[*number] -= 1;
            }
        }
    }
    is_chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Quality::{Doubtful, OnTape, Verified};
    use Reach::{Drive, Elsewhere, Library};

    fn need(copies: &[(usize, Quality)]) -> Vec<Candidate> {
        copies.iter().map(|&(volume, quality)| Candidate { volume, quality }).collect()
    }

    #[test]
    fn few_cartridges_are_fetched() {
        // 0 and 1 hold half each, 2 holds all.
        let needs = [
            need(&[(0, Verified), (2, OnTape)]),
            need(&[(0, Verified), (2, OnTape)]),
            need(&[(1, Verified), (2, OnTape)]),
        ];
        assert_eq!(choose(&needs, &[Elsewhere; 3]), [Some(2); 3]);
        // What needs no hands is preferred.
        assert_eq!(choose(&needs, &[Library, Drive, Elsewhere]), [Some(0), Some(0), Some(1)]);
        // What is in the drive serves, the rest comes from one more.
        let chosen = choose(&needs, &[Drive, Elsewhere, Elsewhere]);
        assert_eq!(chosen[..2], [Some(0); 2]);
        assert!(chosen[2].is_some());
    }

    #[test]
    fn doubtful_copies_come_last() {
        let needs = [
            need(&[(0, Doubtful), (1, OnTape)]),
            need(&[(0, Doubtful)]),
            need(&[]),
            need(&[(0, OnTape), (1, Verified)]),
        ];
        let chosen = choose(&needs, &[Drive, Elsewhere]);
        assert_eq!(chosen, [Some(1), Some(0), None, Some(1)]);
    }

    proptest! {
        #[test]
        fn every_need_is_served_that_can_be(
            needs in prop::collection::vec(
                prop::collection::vec((0_usize..6, 0_u8..3), 0..4), 0..20),
            reach in prop::collection::vec(0_u8..3, 6),
        ) {
            let reach: Vec<Reach> =
                reach.iter().map(|r| [Drive, Library, Elsewhere][usize::from(*r)]).collect();
            let needs: Vec<Vec<Candidate>> = needs
                .iter()
                .map(|copies| {
                    let mut seen = Vec::new();
                    let mut list = Vec::new();
                    for &(volume, quality) in copies {
                        if !seen.contains(&volume) {
                            seen.push(volume);
                            let quality = [Verified, OnTape, Doubtful][usize::from(quality)];
                            list.push(Candidate { volume, quality });
                        }
                    }
                    list
                })
                .collect();
            let chosen = choose(&needs, &reach);
            for (need, chosen) in needs.iter().zip(&chosen) {
                match chosen {
                    None => prop_assert!(need.is_empty()),
                    Some(volume) => {
                        let copy = need.iter().find(|c| c.volume == *volume).unwrap();
                        let best = need.iter().map(|c| c.quality).min().unwrap();
                        prop_assert!((copy.quality == Doubtful) == (best == Doubtful));
                    }
                }
            }
            // No volume is fetched for what another chosen one holds anyway.
            let used: std::collections::BTreeSet<usize> = chosen.iter().flatten().copied().collect();
            for volume in &used {
                let needed = needs.iter().any(|need| {
                    let serious = serious(need);
                    serious.iter().any(|c| c.volume == *volume)
                        && serious.iter().filter(|c| used.contains(&c.volume)).count() == 1
                });
                prop_assert!(needed, "{volume} is idle");
            }
        }
    }
}
