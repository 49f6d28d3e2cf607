//! The bytes of the index by trigram. Members are indexed in *stretches* of packs; in each, a
//! trigram has a list of the groups that it occurs in, and lists are packed into pages.

use crate::catalog::{
    find::trigrams::{Scanner, TRIGRAMS, Trigram},
    members::{Damage, GROUP, GROUP_BITS, length_of, put_varint, take, varint},
};

/// Packs in a stretch at most.
pub(in crate::catalog) const STRETCH: usize = 512;
/// Groups in a stretch at most.
const GROUPS: usize = STRETCH << GROUP_BITS;
/// A stretch ends early when it has so many trigrams, which take 8 bytes each in memory.
const ENOUGH: usize = 1 << 22;
/// Bytes in a page: with its head it fills a page of the database.
const PAGE: usize = 4_040;
/// How a pair of trigram and group lies in one number.
const GROUP_WIDTH: u32 = 16;

const _: () = assert!(GROUPS <= 1 << GROUP_WIDTH);

/// Lists of groups, of trigrams that ascend.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::catalog) struct Page {
    /// The first trigram on it.
    pub(in crate::catalog) first: Trigram,
    /// The lists.
    pub(in crate::catalog) data: Vec<u8>,
}

/// A stretch as its packs come.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Stretch {
    scanner: Scanner,
    packs: usize,
    /// Trigram and group; groups ascend.
    pairs: Vec<u64>,
    sorted: Vec<u64>,
}

impl Stretch {
    /// Takes the keys of the next pack.
    pub(in crate::catalog) fn push<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) {
        let before = (self.packs << GROUP_BITS) as u64;
        let pairs = &mut self.pairs;
        for (at, key) in keys.enumerate() {
            if at.is_multiple_of(GROUP) {
                self.scanner.begin_group();
            }
            let group = before + (at / GROUP) as u64;
            self.scanner
                .scan(key, &mut |trigram| pairs.push(u64::from(trigram) << GROUP_WIDTH | group));
        }
        self.packs += 1;
    }

    /// Whether no further pack may come before [`Self::finish`].
    pub(in crate::catalog) fn is_full(&self) -> bool {
        self.packs >= STRETCH || self.pairs.len() >= ENOUGH
    }

    /// The pages of the stretch, if a pack came. The next pack begins another.
    pub(in crate::catalog) fn finish(&mut self) -> Vec<Page> {
        sort_by_trigram(&mut self.pairs, &mut self.sorted);
        let mut pages: Vec<Page> = Vec::new();
        let mut list = List::default();
        let mut last = 0;
        let trigram_of = |pair: u64| u32::try_from(pair >> GROUP_WIDTH).expect("24 bits");
        for pairs in self.pairs.chunk_by(|a, b| trigram_of(*a) == trigram_of(*b)) {
            let trigram = trigram_of(pairs[0]);
            let (form, bytes) = list.encode(pairs);
            let word = (bytes.len() as u64) << 2 | form as u64;
            if pages.last().is_none_or(|page| page.data.len() + bytes.len() + 6 > PAGE) {
                pages.push(Page { first: trigram, data: Vec::with_capacity(PAGE) });
                last = trigram;
            }
            let data = &mut pages.last_mut().expect("one was begun").data;
            put_varint(data, (trigram - last).into());
            put_varint(data, word);
            data.extend_from_slice(bytes);
            last = trigram;
        }
        self.pairs.clear();
        self.packs = 0;
        pages
    }
}

/// Sorts pairs whose groups ascend already: by the lower half of the trigram, then by the upper.
fn sort_by_trigram(pairs: &mut Vec<u64>, scratch: &mut Vec<u64>) {
    const DIGITS: usize = 1 << 12;
    scratch.clear();
    scratch.resize(pairs.len(), 0);
    for shift in [GROUP_WIDTH, GROUP_WIDTH + 12] {
        let digit =
            |pair: u64| usize::try_from(pair >> shift & (DIGITS as u64 - 1)).expect("12 bits");
        let mut places = vec![0_usize; DIGITS];
        pairs.iter().for_each(|pair| places[digit(*pair)] += 1);
        let mut before = 0;
        for place in &mut places {
            before += std::mem::replace(place, before);
        }
        for pair in pairs.iter() {
            let place = &mut places[digit(*pair)];
            scratch[*place] = *pair;
            *place += 1;
        }
        std::mem::swap(pairs, scratch);
    }
}

/// How the groups of a trigram are written.
#[derive(Clone, Copy)]
enum Form {
    /// The distance of each from the one before.
    Gaps = 0,
    /// Stretches of groups without and with the trigram, in turn.
    Runs = 1,
    /// One bit a group, up to the last that has it.
    Bits = 2,
}

/// A list as it is written, in every form.
#[derive(Default)]
struct List {
    gaps: Vec<u8>,
    runs: Vec<u8>,
    bits: Vec<u8>,
}

impl List {
    /// Writes the groups of pairs that ascend, in the form that takes the least.
    fn encode(&mut self, pairs: &[u64]) -> (Form, &[u8]) {
        self.gaps.clear();
        self.runs.clear();
        let group_of = |pair: &u64| pair & ((1 << GROUP_WIDTH) - 1);
        // The first group after the run so far, and where the run began.
        let (mut next, mut begun) = (0, 0);
        for group in pairs.iter().map(group_of) {
            if group < next {
                continue;
            }
            put_varint(&mut self.gaps, group - next);
            if group > next || next == 0 {
                if next > 0 {
                    put_varint(&mut self.runs, next - begun);
                }
                put_varint(&mut self.runs, group - next);
                begun = group;
            }
            next = group + 1;
        }
        put_varint(&mut self.runs, next - begun);
        let shortest = self.gaps.len().min(self.runs.len());
        let bits = usize::try_from(next.div_ceil(8)).expect("few groups");
        if bits < shortest {
            self.bits.clear();
            self.bits.resize(bits, 0);
            for group in pairs.iter().map(group_of) {
                self.bits[usize::try_from(group / 8).expect("few groups")] |= 1 << (group % 8);
            }
            return (Form::Bits, &self.bits);
        }
        if self.runs.len() < self.gaps.len() {
            (Form::Runs, &self.runs)
        } else {
            (Form::Gaps, &self.gaps)
        }
    }
}

/// A set of groups of one stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Groups([u64; GROUPS / 64]);

impl Groups {
    pub(super) fn none() -> Self {
        Self([0; GROUPS / 64])
    }

    pub(super) fn all() -> Self {
        Self([u64::MAX; GROUPS / 64])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Keeps the groups that are in `other`, too.
    pub(super) fn keep(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    /// The groups, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = usize::try_from(left.trailing_zeros()).expect("small");
                (left != 0).then(|| {
                    left &= left - 1;
                    at * 64 + bit
                })
            })
        })
    }

    fn insert(&mut self, from: u64, count: u64) -> Result<u64, Damage> {
        let end = from.checked_add(count).filter(|end| *end <= GROUPS as u64);
        let end = end.ok_or("a group is beyond its stretch")?;
        for group in from..end {
            self.0[usize::try_from(group / 64).expect("checked")] |= 1 << (group % 64);
        }
        Ok(end)
    }
}

/// The groups of `trigram`, which is on this page if it is in the stretch at all.
pub(super) fn groups_of(
    (first, mut page): (Trigram, &[u8]),
    trigram: Trigram,
) -> Result<Groups, Damage> {
    let mut at = u64::from(first);
    while !page.is_empty() {
        at = at.checked_add(varint(&mut page)?).ok_or("a trigram is out of bounds")?;
        if at >= u64::from(TRIGRAMS) {
            return Err("a trigram is out of bounds");
        }
        let word = varint(&mut page)?;
        let length = usize::try_from(word >> 2).map_err(|_| "a list is too long")?;
        let list = take(&mut page, length)?;
        if at == u64::from(trigram) {
            return read_list(word & 3, list);
        }
        if at > u64::from(trigram) {
            break;
        }
    }
    Ok(Groups::none())
}

fn read_list(form: u64, mut list: &[u8]) -> Result<Groups, Damage> {
    let mut groups = Groups::none();
    let mut next = 0_u64;
    if form == Form::Bits as u64 {
        for (word, bytes) in (0_u64..).zip(list.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            let place = usize::try_from(word).ok().and_then(|word| groups.0.get_mut(word));
            *place.ok_or("a group is beyond its stretch")? = u64::from_le_bytes(padded);
        }
        return Ok(groups);
    }
    while !list.is_empty() {
        let from = next.checked_add(varint(&mut list)?).ok_or("a group is beyond its stretch")?;
        let count = match form {
            0 => 1,
            1 => length_of(&mut list)? as u64,
            _ => return Err("a list has an unknown form"),
        };
        next = groups.insert(from, count)?;
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn pages_of(pairs: &[(u32, u16)]) -> Vec<Page> {
        let pairs =
            pairs.iter().map(|(t, g)| u64::from(*t) << GROUP_WIDTH | u64::from(*g)).collect();
        Stretch { pairs, ..Stretch::default() }.finish()
    }

    fn look_up(pages: &[Page], trigram: u32) -> Vec<usize> {
        let Some(page) = pages.iter().rev().find(|page| page.first <= trigram) else {
            return Vec::new();
        };
        groups_of((page.first, &page.data), trigram).unwrap().iter().collect()
    }

    /// Pairs of every density.
    fn pairs() -> impl Strategy<Value = Vec<(u32, u16)>> {
        let list = (0..TRIGRAMS, 0..4096_u16, 1..4096_u16, 1..300_u16);
        prop::collection::vec(list, 0..40).prop_map(|lists| {
            let mut pairs = Vec::new();
            for (trigram, from, count, step) in lists {
                let groups = (from..4096).step_by(step.into()).take(count.into());
                pairs.extend(groups.map(|group| (trigram, group)));
            }
            pairs.sort_by_key(|(_, group)| *group);
            pairs
        })
    }

    proptest! {
        #[test]
        fn lists_read_back(pairs in pairs()) {
            let mut wanted: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            for (trigram, group) in &pairs {
                let groups = wanted.entry(*trigram).or_default();
                if groups.last() != Some(&usize::from(*group)) {
                    groups.push((*group).into());
                }
            }
            let pages = pages_of(&pairs);
            for (trigram, groups) in &wanted {
                prop_assert_eq!(&look_up(&pages, *trigram), groups);
                if !wanted.contains_key(&(trigram + 1)) {
                    prop_assert_eq!(look_up(&pages, trigram + 1), [0; 0]);
                }
            }
            for page in &pages {
                prop_assert!(page.data.len() <= PAGE);
            }
        }

        #[test]
        fn any_page_never_panics(page in prop::collection::vec(any::<u8>(), 0..60), first: u32) {
            drop(groups_of((first, &page), 7));
        }
    }

    #[test]
    fn keys_are_in_the_groups_of_their_trigrams() {
        let mut stretch = Stretch::default();
        let keys: Vec<String> = (0..3 * 512).map(|n| format!("folder/{:04}", n / 64)).collect();
        keys.chunks(512).for_each(|pack| stretch.push(pack.iter().map(String::as_bytes)));
        let pages = stretch.finish();
        assert_eq!(look_up(&pages, u32::from_be_bytes(*b"\x00fol")), (0..24).collect::<Vec<_>>());
        assert_eq!(look_up(&pages, u32::from_be_bytes(*b"\x00023")), [23]);
        assert_eq!(look_up(&pages, u32::from_be_bytes(*b"\x00024")), [0; 0]);
        assert!(stretch.finish().is_empty());
    }
}
