//! Names that can exist: what stands for a path that a file system cannot hold.
//!
//! Every component that can exist stays as it is, but for those that begin as a stand-in does; so
//! no stand-in ever takes the name of something else.

use std::fmt::Write;

use crate::digest::Digest;

/// What a stand-in begins with.
const PREFIX: &str = "%~";
/// Longest component that Linux file systems take, in bytes.
const LONGEST: usize = 255;
/// How much of a component that is too long stays readable, in escaped bytes.
const READABLE: usize = 120;
/// Temporary files begin so; nothing that is restored may.
pub(super) const TEMPORARY: &str = ".tapevault-restore-";

/// One component of a path, as it can exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Component {
    /// Its name: not empty, not `.` or `..`, no slash or zero, at most 255 bytes.
    pub(super) name: Vec<u8>,
    /// What the archive calls it.
    pub(super) true_name: Vec<u8>,
    /// Whether the one differs from the other.
    pub(super) stand_in: bool,
}

impl Component {
    /// What stands for the empty path when that is no directory.
    pub(super) fn nameless() -> Self {
        component(b"")
    }
}

/// The components of a path. The empty path has none: it is the destination itself.
pub(super) fn components(path: &[u8]) -> Vec<Component> {
    if path.is_empty() {
        return Vec::new();
    }
    path.split(|byte| *byte == b'/').map(component).collect()
}

fn component(name: &[u8]) -> Component {
    let possible = !matches!(name, b"" | b"." | b"..")
        && name.len() <= LONGEST
        && !name.contains(&0)
        && !name.starts_with(PREFIX.as_bytes())
        && !name.starts_with(TEMPORARY.as_bytes());
    let true_name = name.to_vec();
    if possible {
        return Component { name: name.to_vec(), true_name, stand_in: false };
    }
    Component { name: stand_in(name, ""), true_name, stand_in: true }
}

/// For a file whose name is that of a directory. (Unless the name has no true form either.)
pub(super) fn of_file(name: &[u8]) -> Vec<u8> {
    stand_in(name, "")
}

/// For something whose place, perhaps a stand-in already, became that of a directory.
pub(super) fn of_placed(name: &[u8]) -> Vec<u8> {
    if name.starts_with(PREFIX.as_bytes()) { digested(name, "~", READABLE) } else { of_file(name) }
}

/// For a directory whose name is that of a file.
pub(super) fn of_directory(name: &[u8]) -> Vec<u8> {
    stand_in(name, "%2F")
}

/// For a name that the file system cannot tell from another, because it ignores case.
pub(super) fn of_twin(name: &[u8]) -> Vec<u8> {
    digested(name, "", 16)
}

/// Escaped, with a mark that no escaped name has; digested when too long.
fn stand_in(name: &[u8], mark: &str) -> Vec<u8> {
    let escaped = escaped(name);
    if PREFIX.len() + escaped.len() + mark.len() > LONGEST {
        return digested(name, mark, READABLE);
    }
    format!("{PREFIX}{escaped}{mark}").into_bytes()
}

/// The beginning and the digest: a `~` stands in no escaped name.
fn digested(name: &[u8], mark: &str, readable: usize) -> Vec<u8> {
    let digest = Digest::of(name).to_string();
    let escaped = escaped(&name[..name.len().min(readable / 3)]);
    format!("{PREFIX}{escaped}~{}{mark}", &digest[..32]).into_bytes()
}

fn escaped(name: &[u8]) -> String {
    let dots = matches!(name, b"." | b"..");
    let mut text = String::with_capacity(name.len());
    for byte in name {
        match byte {
            b'.' if !dots => text.push('.'),
            b'%' | b'~' | b'/' | b'.' | 0..=0x1f | 0x7f.. => {
                write!(text, "%{byte:02X}").expect("a string takes all");
            }
            byte => text.push(char::from(*byte)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_names_that_cannot_exist_are_replaced() {
        let long = "x".repeat(256);
        for (path, expected) in [
            ("a/b.c", "a/b.c"),
            ("", ""),
            ("/", "%~/%~"),
            ("a//b", "a/%~/b"),
            ("../etc", "%~%2E%2E/etc"),
            ("./x", "%~%2E/x"),
            ("...", "..."),
            ("a\0b", "%~a%00b"),
            ("%7E", "%7E"),
            ("%~x", "%~%25%7Ex"),
            (".tapevault-restore-1", "%~.tapevault-restore-1"),
        ] {
            let names: Vec<_> =
                components(path.as_bytes()).into_iter().map(|part| part.name).collect();
            assert_eq!(String::from_utf8(names.join(&b'/')).unwrap(), expected, "{path:?}");
        }
        let part = component(long.as_bytes());
        assert!(part.stand_in && part.name.len() <= LONGEST);
    }

    proptest! {
        #[test]
        fn names_are_possible_and_differ(
            names in prop::collection::hash_set(
                prop::collection::vec(prop::sample::select(b"./%~2E\0a\n\xff".to_vec()), 0..4), 2..40),
            long in prop::collection::vec(any::<u8>(), 0..700),
        ) {
            let mut seen: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
            for name in names.iter().chain([&long]) {
                let true_name: Vec<u8> = name.iter().copied().filter(|byte| *byte != b'/').collect();
                let forms = [
                    component(&true_name).name,
                    of_directory(&true_name),
                    of_twin(&true_name),
                ];
                for (form, kind) in forms.into_iter().zip(0_u8..) {
                    prop_assert!(!form.is_empty() && form.len() <= LONGEST);
                    prop_assert!(!form.contains(&b'/') && !form.contains(&0));
                    prop_assert!(form != b"." && form != b"..");
                    let mut from = true_name.clone();
                    from.push(kind);
                    if let Some(other) = seen.insert(form, from.clone()) {
                        prop_assert_eq!(other, from);
                    }
                }
            }
        }
    }
}
