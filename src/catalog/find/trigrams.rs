//! The text that the trigram index sees, and what a pattern asks of it.

/// Invalid bytes and zeros, which the index does not take, become these private characters.
const STAND_IN: u32 = 0xf700;
/// Trigrams that a search asks for; further ones narrow it no more.
const ASKED: usize = 20;

/// Text for the index: lower case, character by character, every byte accounted for. The folding of
/// a part of a text is a part of the folding of the text, but for broken characters at its ends.
fn index_text(bytes: &[u8], to: &mut String) {
    if bytes.is_ascii() && !bytes.contains(&0) {
        let text = std::str::from_utf8(bytes).expect("ASCII");
        to.extend(text.chars().map(|c| c.to_ascii_lowercase()));
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\0' => to.push(stand_in(0)),
                c => to.extend(c.to_lowercase()),
            }
        }
        to.extend(chunk.invalid().iter().map(|byte| stand_in(*byte)));
    }
}

fn stand_in(byte: u8) -> char {
    char::from_u32(STAND_IN + u32::from(byte)).expect("in the private use area")
}

/// Upper case turned to lower, character by character; what is not UTF-8 stays.
pub(in crate::catalog) fn fold(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_ascii() {
        return bytes.to_ascii_lowercase();
    }
    let mut folded = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars().flat_map(char::to_lowercase) {
            folded.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        folded.extend_from_slice(chunk.invalid());
    }
    folded
}

/// The text of one group: of each key only what makes trigrams that the key before did not.
#[derive(Debug, Default)]
pub(in crate::catalog) struct GroupText {
    text: String,
    before: String,
    key: String,
}

impl GroupText {
    pub(in crate::catalog) fn clear(&mut self) {
        self.text.clear();
        self.before.clear();
    }

    pub(in crate::catalog) fn push(&mut self, key: &[u8]) {
        self.key.clear();
        index_text(key, &mut self.key);
        let (before, key) = (self.before.as_bytes(), self.key.as_bytes());
        let mut from = before.iter().zip(key).take_while(|(a, b)| a == b).count();
        if from < key.len() {
            // Back to the character's beginning, and over two more, which the new trigrams need.
            let mut back = 3;
            while from > 0 && back > 0 {
                if self.key.is_char_boundary(from) {
                    back -= 1;
                    if back == 0 {
                        break;
                    }
                }
                from -= 1;
            }
            while !self.key.is_char_boundary(from) {
                from -= 1;
            }
            self.text.push_str(&self.key[from..]);
            self.text.push('\n');
        }
        std::mem::swap(&mut self.before, &mut self.key);
    }

    pub(in crate::catalog) fn text(&self) -> &str {
        &self.text
    }
}

/// The expression that every group with a key that contains `literals` matches; `None` when they
/// have no three characters in a row, so that every group may.
pub(in crate::catalog) fn required<'a>(literals: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut trigrams: Vec<[char; 3]> = Vec::new();
    for literal in literals {
        // Broken characters at the ends of a literal may be whole ones in the key.
        for chunk in literal.utf8_chunks() {
            let mut text = String::new();
            index_text(chunk.valid().as_bytes(), &mut text);
            let characters: Vec<char> = text.chars().collect();
            trigrams.extend(characters.windows(3).map(|three| [three[0], three[1], three[2]]));
        }
    }
    trigrams.sort_unstable();
    trigrams.dedup();
    if trigrams.is_empty() {
        return None;
    }
    // Spread over the alphabet, so that what is left out resembles what is asked.
    let step = trigrams.len().div_ceil(ASKED);
    let quoted = trigrams.iter().step_by(step).map(|three| {
        let text: String = three.iter().collect();
        format!("\"{}\"", text.replace('"', "\"\""))
    });
    Some(quoted.collect::<Vec<_>>().join(" AND "))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn trigrams(text: &str) -> HashSet<String> {
        let characters: Vec<char> = text.chars().collect();
        characters.windows(3).map(|three| three.iter().collect()).collect()
    }

    #[test]
    fn a_group_has_every_trigram_of_every_key() {
        let keys: [&[u8]; 9] = [
            b"a",
            b"a/b/c.txt",
            b"a/b/c.txt",
            b"a/b/d",
            b"a/b/dx",
            "a/b/\u{e9}t\u{e9}".as_bytes(),
            "a/b/\u{e8}t\u{e9}\u{1f600}z".as_bytes(),
            b"a/b/\xff\xfe\0x",
            b"QUITE/Else",
        ];
        let mut group = GroupText::default();
        keys.iter().for_each(|key| group.push(key));
        let has = trigrams(group.text());
        for key in keys {
            let mut text = String::new();
            index_text(key, &mut text);
            for trigram in trigrams(&text) {
                assert!(has.contains(&trigram), "{trigram:?} of {key:?} in {:?}", group.text());
            }
        }
    }

    #[test]
    fn patterns_ask_for_their_trigrams() {
        let ask = |text: &[u8]| required(std::iter::once(text));
        assert_eq!(ask(b"ab"), None);
        assert_eq!(ask(b"aBc").as_deref(), Some("\"abc\""));
        assert_eq!(ask(b"a\"b").as_deref(), Some("\"a\"\"b\""));
        assert_eq!(ask(b"\xa9abcd\xc3").as_deref(), Some("\"abc\" AND \"bcd\""));
        assert_eq!(ask(b"a\0b").as_deref(), Some("\"a\u{f700}b\""));
    }
}
