//! Keys, paths and addresses on their way to a person: nothing else may print them.

use std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt, path::Path};

/// Untrusted bytes, shown so that they can neither move a cursor nor reorder a line.
///
/// Controls, invalid UTF-8, bidirectional overrides and other invisible characters appear as
/// `\n`, `\x1b`, `\u{202e}`; a backslash is doubled, so two different names never look alike.
#[derive(Clone, Copy)]
pub struct Printable<'a>(pub &'a [u8]);

/// A URL or header text with whatever could be a secret left out.
#[derive(Clone, Copy)]
pub struct Redacted<'a>(pub &'a str);

/// Query parameters whose value is a secret, and the character that ends a value.
const SECRETS: [&str; 4] =
    ["X-Amz-Signature=", "X-Amz-Credential=", "X-Amz-Security-Token=", "Signature="];

impl<'a> From<&'a Path> for Printable<'a> {
    fn from(path: &'a Path) -> Self {
        Self(path.as_os_str().as_bytes())
    }
}

impl<'a> From<&'a OsStr> for Printable<'a> {
    fn from(text: &'a OsStr) -> Self {
        Self(text.as_bytes())
    }
}

impl<'a> From<&'a str> for Printable<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

/// Whether a terminal shows nothing for `c`, or shows what follows elsewhere.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c if is_hidden(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                    c => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if let Some((scheme, after)) = rest.split_once("://")
            && let Some((user, host)) = after.split_once('@')
            && !user.contains('/')
        {
            write!(f, "{}://…@", Printable::from(scheme))?;
            rest = host;
        }
        while let Some((at, name)) =
            SECRETS.iter().filter_map(|name| rest.find(name).map(|at| (at, name))).min()
        {
            let value = at + name.len();
            write!(f, "{}…", Printable::from(&rest[..value]))?;
            rest = rest[value..].find('&').map_or("", |end| &rest[value + end..]);
        }
        write!(f, "{}", Printable::from(rest))
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        for (raw, shown) in [
            (&b"plain/\xc3\xa9"[..], "plain/é"),
            (b"a\nb\x1b[2J", "a\\nb\\x1b[2J"),
            (b"\xff\\", "\\xff\\\\"),
            ("x\u{202e}y\u{200b}".as_bytes(), "x\\u{202e}y\\u{200b}"),
        ] {
            assert_eq!(Printable(raw).to_string(), shown);
        }
    }

    #[test]
    fn secrets_are_left_out() {
        assert_eq!(
            Redacted("https://me:pw@host/b?X-Amz-Signature=abc&x=1&X-Amz-Credential=q").to_string(),
            "https://…@host/b?X-Amz-Signature=…&x=1&X-Amz-Credential=…"
        );
        assert_eq!(Redacted("https://host/a@b").to_string(), "https://host/a@b");
    }
}
