//! A key on paper, and a key typed in from there.

use zeroize::Zeroizing;

use qrcode::{EcLevel, QrCode, render::svg, render::unicode::Dense1x2};

use crate::keys::{
    file::{Owner, StoredKey},
    secret::{DataKey, KeyId},
    words::{LINES, check_word, check_words},
};

/// What a scanned code begins with.
const SCANNED: &str = "TAPEVAULT-KEY-1";
/// Hexadecimal digits of a line.
const DIGITS: usize = 16;

/// What was typed, and is no key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TypedError {
    /// A line has not its 16 digits and its word.
    #[error("line {line} has {digits} of its 16 hexadecimal digits, or no check word")]
    Shape {
        /// Which, from 1.
        line: usize,
        /// How many digits there are.
        digits: usize,
    },
    /// The word behind a line is not that line's.
    #[error("line {line} is mistyped: its check word does not agree")]
    Word {
        /// Which, from 1.
        line: usize,
    },
    /// There are not four lines.
    #[error("{0} lines of a key's four")]
    Lines(usize),
    /// The code that was scanned is damaged.
    #[error("what was scanned is no key, or it is damaged")]
    Scanned,
    /// It is another key.
    #[error("this is key {0}, another one")]
    Other(KeyId),
}

/// A key as a person types it, line after line.
#[derive(Debug, Default)]
pub struct Typed {
    bytes: Zeroizing<Vec<u8>>,
    lines: usize,
}

impl Typed {
    /// Takes one line: 16 digits and the check word, or all of a scanned code. Returns the key when
    /// it is whole. Blanks, and a number in front of the digits, do not matter.
    ///
    /// # Errors
    ///
    /// When the line is mistyped; it may be typed once more.
    pub fn line(&mut self, text: &str) -> Result<Option<DataKey>, TypedError> {
        if let Some(scanned) = text.trim().strip_prefix(SCANNED) {
            return scan(scanned).map(Some);
        }
        let line = self.lines + 1;
        let mut tokens: Vec<&str> = text.split_whitespace().collect();
        if tokens.first().is_some_and(|first| *first == line.to_string()) {
            tokens.remove(0);
        }
        let word = tokens.pop().unwrap_or_default().to_ascii_lowercase();
        let digits = Zeroizing::new(tokens.concat());
        let wrong = TypedError::Shape { line, digits: digits.len() };
        if digits.len() != DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        let number = Zeroizing::new(u64::from_str_radix(&digits, 16).map_err(|_| wrong)?);
        let bytes = Zeroizing::new(number.to_be_bytes());
        if check_word(&*bytes) != word {
            return Err(TypedError::Word { line });
        }
        self.bytes.reserve_exact(32);
        self.bytes.extend_from_slice(&*bytes);
        self.lines = line;
        if line < LINES {
            return Ok(None);
        }
        let key = self.bytes.first_chunk().expect("four lines of eight bytes");
        Ok(Some(DataKey::from_bytes(*key)))
    }

    /// The number of the line that is missing next, from 1.
    pub fn next(&self) -> usize {
        self.lines + 1
    }
}

/// What stands behind the beginning of a scanned code: the id, then the digits.
fn scan(text: &str) -> Result<DataKey, TypedError> {
    let mut tokens = text.split_whitespace();
    let id = tokens.next().and_then(|id| id.parse::<KeyId>().ok());
    let key = tokens.next().and_then(DataKey::from_hex);
    match (id, key) {
        (Some(id), Some(key)) if key.id() == id => Ok(key),
        (_, _) => Err(TypedError::Scanned),
    }
}

/// The code that goes on the page: capitals and digits take the least room.
fn code(key: &DataKey) -> QrCode {
    let text = Zeroizing::new(format!("{SCANNED} {} {}", key.id(), &*key.hex()).to_uppercase());
    QrCode::with_error_correction_level(text.as_bytes(), EcLevel::Q).expect("98 characters fit")
}

/// The text of the page, without the code.
fn text(stored: &StoredKey) -> Zeroizing<String> {
    let key = stored.key();
    let hex = key.hex();
    let mut lines = Zeroizing::new(String::with_capacity(512));
    for (number, word) in check_words(key).into_iter().enumerate() {
        let digits = &hex[number * DIGITS..][..DIGITS];
        lines.push_str(&format!("    {}   ", number + 1));
        for start in (0..DIGITS).step_by(4) {
            lines.push_str(&digits[start..start + 4]);
            lines.push(' ');
        }
        lines.push_str(&format!("  {word}\n"));
    }
    let id = stored.id();
    let whose = match &stored.owner {
        Owner::Pool(pool) => format!("all volumes of pool {pool} that name it"),
        Owner::Volume(pool, volser) => format!("volume {volser} of pool {pool}"),
    };
    Zeroizing::new(format!(
        "TAPEVAULT KEY {id}\n\n\
         opens   {whose}\n\
         made    {}\n\n\
         Whoever has this page can read these cartridges, and whoever has lost it and the key file\n\
         cannot. Keep it apart from the cartridges.\n\n\
         {}\n\
         These are four lines of 16 hexadecimal digits, each with a word that says whether it was\n\
         read right.\n\n\
         On another machine:     tapevault key import, and type the four lines with their words\n\
         To show that it reads:  tapevault key prove {id}, and type the four words\n\
         Without tapevault:      the 64 digits in one line are a key file of stenc; the name of the\n\
         \x20                       key, which each block bears, is {id}\n",
        stored.made, &*lines,
    ))
}

/// The page, as text with the code in block characters.
pub fn page(stored: &StoredKey) -> Zeroizing<String> {
    // Dark is what is printed: on paper, not on a dark screen, it has to be scanned.
    let picture = Zeroizing::new(code(stored.key()).render::<Dense1x2>().build());
    Zeroizing::new(format!("{}\n{}\n", &*text(stored), &*picture))
}

/// The page, as HTML with the code as a drawing: for a browser's printer.
pub fn page_as_html(stored: &StoredKey) -> Zeroizing<String> {
    let drawing = Zeroizing::new(
        code(stored.key()).render::<svg::Color<'_>>().min_dimensions(260, 260).build(),
    );
    let drawing = drawing.trim_start_matches("<?xml version=\"1.0\" standalone=\"yes\"?>");
    Zeroizing::new(format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>key {}</title>\n\
         <style>@page {{ margin: 2cm }} pre {{ font: 11pt monospace }}</style>\n\
         <pre>{}</pre>\n{drawing}\n</html>\n",
        stored.id(),
        &*text(stored),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn stored() -> StoredKey {
        let bytes = std::array::from_fn(|at| u8::try_from(at * 7).unwrap_or(3));
        let owner = Owner::Pool("offsite".parse().unwrap());
        StoredKey::new(DataKey::from_bytes(bytes), owner, Timestamp::from_parts(1_800_000_000, 0))
    }

    /// The four lines as they stand on the page.
    fn lines(page: &str) -> Vec<&str> {
        page.lines().filter(|line| line.starts_with("    ")).take(LINES).collect()
    }

    #[test]
    fn what_is_printed_can_be_typed() {
        let stored = stored();
        let page = page(&stored);
        let mut typed = Typed::default();
        let lines = lines(&page);
        assert_eq!(lines.len(), LINES, "{}", &*page);
        for line in &lines[..3] {
            assert_eq!(typed.line(line), Ok(None));
        }
        let sloppy = lines[3].trim().to_uppercase().replace(' ', "  ");
        let key = typed.line(&sloppy).unwrap().unwrap();
        assert_eq!(key, *stored.key());
        let html = page_as_html(&stored);
        assert!(html.contains("<svg") && html.contains(lines[0]));
    }

    #[test]
    fn what_is_scanned_is_the_key() {
        let stored = stored();
        let hex = stored.key().hex().to_uppercase();
        let code = format!("{SCANNED} {} {hex}", stored.id().to_string().to_uppercase());
        assert_eq!(Typed::default().line(&code), Ok(Some(stored.key().clone())));
        let other = code.replacen('0', "1", 2);
        assert_eq!(Typed::default().line(&other), Err(TypedError::Scanned));
    }

    #[test]
    fn a_mistyped_line_is_told_and_may_be_typed_again() {
        let stored = stored();
        let page = page(&stored);
        let lines = lines(&page);
        let mut typed = Typed::default();
        typed.line(lines[0]).unwrap();
        let word = check_words(stored.key())[1];
        let wrong = lines[1].replace(word, "zulu");
        assert_eq!(typed.line(&wrong), Err(TypedError::Word { line: 2 }));
        let short = lines[1].replacen(word, "", 1);
        assert_eq!(typed.line(&short), Err(TypedError::Shape { line: 2, digits: 12 }));
        assert_eq!(typed.next(), 2);
        assert_eq!(typed.line(lines[1]), Ok(None));
    }
}
