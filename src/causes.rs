//! An error with its causes, in one line.

use std::error::Error;

/// What the error says, and what each of its causes adds, joined by colons. A cause whose words the
/// one before has repeated is told once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read /x")]
        struct Outer(#[source] std::io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("source files: {0}")]
        struct Repeating(#[source] Outer);
        let error = Outer(std::io::Error::other("cable pulled"));
        assert_eq!(chain(&error), "cannot read /x: cable pulled");
        assert_eq!(chain(&Repeating(error)), "source files: cannot read /x: cable pulled");
    }
}
