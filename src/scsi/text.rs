//! Text in fixed fields: printable ASCII, padded with spaces.

/// The text of a field without its padding. Spaces and zeros at the end are padding; a byte that
/// is not printable ASCII becomes `?`, so that what a device says can be shown as it stands.
pub fn trimmed(field: &[u8]) -> String {
    let end = field.iter().rposition(|&byte| byte != b' ' && byte != 0).map_or(0, |last| last + 1);
    field[..end]
        .iter()
        .map(|&byte| if (b' '..0x7F).contains(&byte) { char::from(byte) } else { '?' })
        .collect::<String>()
        .trim_start()
        .to_owned()
}

/// A field of `N` bytes that holds `text`, cut or padded with spaces.
pub fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_comes_and_goes() {
        assert_eq!(padded::<8>("IBM"), *b"IBM     ");
        assert_eq!(padded::<2>("long"), *b"lo");
        assert_eq!(trimmed(b"IBM     "), "IBM");
        assert_eq!(trimmed(b"A00012L8\0\0 "), "A00012L8");
        assert_eq!(trimmed(b"\0\0\0"), "");
        assert_eq!(trimmed(b"a\x1b[2Jb\xff"), "a?[2Jb?");
    }
}
