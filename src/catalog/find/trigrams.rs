//! Trigrams: three bytes in a row of a key in lower case, which an index finds keys by.

use crate::catalog::members::shared;

/// A trigram that was met: its three bytes, the first highest.
pub(super) type Trigram = u32;

/// How many trigrams there can be.
pub(super) const TRIGRAMS: u32 = 1 << 24;
/// Trigrams that a search asks for; further ones narrow it no more.
const ASKED: usize = 32;
/// Trigrams of a group that are remembered as met.
const SEEN: usize = 1 << SEEN_BITS;
const SEEN_BITS: u32 = 11;

/// Upper case turned to lower, character by character; what is not UTF-8 stays. The folding of a
/// part of a text is a part of the folding of the text, but for broken characters at its ends.
pub(in crate::catalog) fn fold(bytes: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(bytes.len());
    fold_into(bytes, &mut folded);
    folded
}

fn fold_into(bytes: &[u8], to: &mut Vec<u8>) {
    if bytes.is_ascii() {
        let from = to.len();
        to.extend_from_slice(bytes);
        to[from..].make_ascii_lowercase();
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars().flat_map(char::to_lowercase) {
            to.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        to.extend_from_slice(chunk.invalid());
    }
}

fn trigram(three: &[u8]) -> Trigram {
    u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2])
}

/// Finds the trigrams of the keys of one group after another.
#[derive(Debug)]
pub(super) struct Scanner {
    before: Vec<u8>,
    folded: Vec<u8>,
    /// For each of some hashes, which trigram was met last, and in which group.
    seen: Vec<(u32, Trigram)>,
    group: u32,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { before: Vec::new(), folded: Vec::new(), seen: vec![(0, 0); SEEN], group: 0 }
    }
}

impl Scanner {
    /// Forgets the keys so far: another group begins.
    pub(super) fn begin_group(&mut self) {
        self.before.clear();
        self.group = self.group.wrapping_add(1);
        if self.group == 0 {
            self.seen.fill((0, 0));
            self.group = 1;
        }
    }

    /// Visits the trigrams of the group's next key that no key of the group had before, and few
    /// that one had.
    pub(super) fn scan(&mut self, key: &[u8], visit: &mut dyn FnMut(Trigram)) {
        let shared = shared(&self.before, key);
        // The two bytes before begin trigrams that are new. Beyond ASCII a character may be cut
        // there, and be another in lower case.
        let from = if key.is_ascii() { shared.saturating_sub(2) } else { 0 };
        self.folded.clear();
        fold_into(&key[from..], &mut self.folded);
        for three in self.folded.windows(3) {
            let trigram = trigram(three);
            let hash = trigram.wrapping_mul(0x9e37_79b1) >> (u32::BITS - SEEN_BITS);
            let seen = &mut self.seen[usize::try_from(hash).expect("few bits")];
            if *seen != (self.group, trigram) {
                *seen = (self.group, trigram);
                visit(trigram);
            }
        }
        self.before.truncate(shared);
        self.before.extend_from_slice(&key[shared..]);
    }
}

/// The trigrams that every key that contains `literals` has; `None` when they have no three bytes
/// in a row, so that every key may contain them.
pub(super) fn required<'a>(literals: impl Iterator<Item = &'a [u8]>) -> Option<Vec<Trigram>> {
    let mut trigrams: Vec<Trigram> = Vec::new();
    for literal in literals {
        // Broken characters at the ends of a literal may be whole ones in the key.
        for chunk in literal.utf8_chunks() {
            trigrams.extend(fold(chunk.valid().as_bytes()).windows(3).map(trigram));
        }
    }
    trigrams.sort_unstable();
    trigrams.dedup();
    // Spread over the alphabet, so that what is left out resembles what is asked.
    let step = trigrams.len().div_ceil(ASKED).max(1);
    let asked: Vec<Trigram> = trigrams.into_iter().step_by(step).collect();
    (!asked.is_empty()).then_some(asked)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_group_has_every_trigram_of_every_key() {
        let keys: [&[u8]; 10] = [
            b"a",
            b"a/b/c.txt",
            b"a/b/c.txt",
            b"a/b/d",
            b"a/b/dx",
            "a/b/\u{e9}t\u{e9}".as_bytes(),
            "a/b/\u{e8}t\u{e9}\u{1f600}z".as_bytes(),
            "a/b/\u{c8}t\u{c9}\u{1f600}y".as_bytes(),
            b"a/b/\xff\xfe\0x",
            b"QUITE/Else",
        ];
        let mut scanner = Scanner::default();
        // What a group before had is new again.
        for _ in 0..2 {
            scanner.begin_group();
            let mut has = HashSet::new();
            keys.iter().for_each(|key| scanner.scan(key, &mut |trigram| _ = has.insert(trigram)));
            let wanted: HashSet<_> = keys
                .iter()
                .flat_map(|key| fold(key).windows(3).map(trigram).collect::<Vec<_>>())
                .collect();
            assert_eq!(has, wanted);
        }
    }

    #[test]
    fn patterns_ask_for_their_trigrams() {
        let ask = |text: &[u8]| required(std::iter::once(text));
        let trigrams = |texts: &[&[u8]]| Some(texts.iter().map(|text| trigram(text)).collect());
        assert_eq!(ask(b"ab"), None);
        assert_eq!(ask(b"aBc"), trigrams(&[b"abc"]));
        assert_eq!(ask(b"\xa9abcd\xc3"), trigrams(&[b"abc", b"bcd"]));
        assert_eq!(ask(b"a\0b"), trigrams(&[b"a\0b"]));
        assert_eq!(ask("\u{c9}A".as_bytes()), trigrams(&[b"\xc3\xa9a"]));
        let long: Vec<u8> = (0..=255).collect();
        assert!((17..=32).contains(&ask(&long).unwrap().len()));
    }
}
