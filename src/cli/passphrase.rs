//! Asking for a passphrase at the terminal, without showing it.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
};

use rustix::termios::{self, LocalModes, OptionalActions};
use zeroize::Zeroizing;

/// The longest passphrase, in bytes.
const LENGTH_MAX: usize = 1024;

/// Asks on the terminal of this process, even when its standard input is another.
pub(super) fn ask(question: &str) -> io::Result<Zeroizing<String>> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let before = termios::tcgetattr(&terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    termios::tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
    let typed = write!(terminal, "{question}: ").and_then(|()| line(&mut terminal));
    termios::tcsetattr(&terminal, OptionalActions::Flush, &before)?;
    writeln!(terminal)?;
    typed
}

/// Reads up to the end of the line, byte by byte: a buffer would keep a copy.
fn line(from: &mut impl Read) -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH_MAX));
    let mut byte = Zeroizing::new([0]);
    while from.read(&mut *byte)? == 1 && byte[0] != b'\n' {
        if bytes.len() == LENGTH_MAX {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the passphrase is too long"));
        }
        bytes.push(byte[0]);
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.trim_end_matches('\r').to_owned())),
        Err(error) => Err(io::Error::new(ErrorKind::InvalidInput, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_it_ends() {
        let mut input = &b"correct horse\r\nmore"[..];
        assert_eq!(line(&mut input).unwrap().as_str(), "correct horse");
        assert_eq!(line(&mut input).unwrap().as_str(), "more");
        assert_eq!(line(&mut input).unwrap().as_str(), "");
        assert!(line(&mut &vec![b'x'; LENGTH_MAX + 1][..]).is_err());
        assert!(line(&mut &[0xFF, b'\n'][..]).is_err());
    }
}
