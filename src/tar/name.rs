//! Member paths: an escape that makes any key a path that every reader can extract.
//!
//! Paths are valid UTF-8, relative, without `.` or `..`, with components of at most 255 bytes, and
//! two different names never give one path, nor a path that another needs as a directory.
//! `docs/format.md`, "Paths", is the rule; the true key stands in the manifest.

use std::fmt::Write;

use crate::digest::Digest;
use crate::ident::SourceName;
use crate::item::{Key, Version};

/// The longest component that Linux file systems take, in bytes.
const COMPONENT_MAX: usize = 255;
/// The longest member path, in bytes: below Linux's limit of 4,095 with a little for `./`.
const PATH_MAX: usize = 4_080;
/// Follows the source's name in paths of what is not current.
const VERSIONS: &str = "@versions";
/// Ends a piece of a component that goes on in the next one.
const CONTINUED: &str = "%+";
/// Stands for an empty component that is not the last.
const EMPTY: &str = "%_";
/// Stands, before the key's digest, for a key whose escaped path is too long.
const HASHED: &str = "%~";
/// Ends a name that looks like a file's and is a directory's, or the other way round.
const MARK: char = '%';
const PART: &str = ".part-";
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// How a source's keys lie in folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A file system's paths: no name is a file's and a directory's at once, none is empty.
    Tree,
    /// An object store's keys: `a` may stand beside `a/` and `a/b`.
    Flat,
}

/// What a path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The source.
    pub source: SourceName,
    /// The item's key.
    pub key: Key,
    /// The version, of what is not current.
    pub version: Option<Version>,
    /// Which part of the item, from 1, and of how many.
    pub part: Option<(u32, u32)>,
}

/// Why a path has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    /// The path has the key's digest in its place: only the manifest has the key.
    #[error("the path stands for a key that is too long for it")]
    Hashed,
    /// No name is escaped so.
    #[error("the path is not an escaped name")]
    Foreign,
}

impl Name {
    /// The path of this name's member.
    pub fn path(&self, shape: Shape) -> String {
        let mut out = String::with_capacity(self.key.0.len() + 80);
        out.push_str(self.source.as_str());
        if self.version.is_some() {
            out.push_str(VERSIONS);
        }
        let start = out.len();
        push_key(&mut out, self, shape);
        push_version(&mut out, self);
        if out.len() > PATH_MAX {
            out.truncate(start);
            let suffix =
                if self.version.is_none() { part_suffix(self.part) } else { String::new() };
            write!(out, "/{HASHED}/{}{suffix}", Digest::of(&self.key.0)).expect("memory takes it");
            push_version(&mut out, self);
        }
        out
    }

    /// Reads a path back.
    ///
    /// # Errors
    ///
    /// When the path does not say its key.
    pub fn of(path: &str) -> Result<Self, NotAName> {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let (source, versions) =
            first.strip_suffix(VERSIONS).map_or((first, false), |source| (source, true));
        let source = source.parse().map_err(|_| NotAName::Foreign)?;
        if first.len() == path.len() && !versions {
            return Ok(Self { source, key: Key::default(), version: None, part: None });
        }
        if rest.starts_with(HASHED) && rest[HASHED.len()..].starts_with('/') {
            return Err(NotAName::Hashed);
        }
        let mut components = joined(rest)?;
        let last = components.pop().ok_or(NotAName::Foreign)?;
        let (last, part) = split_part(&last);
        let mut version = None;
        let mut leaf = last.to_owned();
        if versions {
            version = Some(Version(text(unescape(unmarked(last))?)?));
            leaf = components.pop().ok_or(NotAName::Foreign)?;
        }
        let mut key = Vec::with_capacity(path.len());
        for component in components {
            key.extend(unescape(if component == EMPTY { "" } else { unmarked(&component) })?);
            key.push(b'/');
        }
        key.extend(unescape(unmarked(&leaf))?);
        Ok(Self { source, key: Key(key), version, part })
    }
}

fn push_key(out: &mut String, name: &Name, shape: Shape) {
    let key = name.key.0.as_slice();
    let marks = shape == Shape::Flat || name.version.is_some();
    if key.is_empty() && !marks {
        return;
    }
    let mut from = 0;
    for slash in memchr::memchr_iter(b'/', key) {
        let component = &key[from..slash];
        from = slash + 1;
        if component.is_empty() {
            out.push('/');
            out.push_str(EMPTY);
        } else {
            push_component(
                out,
                component,
                if marks && looks_like_file(component) { "%" } else { "" },
            );
        }
    }
    let leaf = &key[from..];
    // A part's suffix already tells it from any directory.
    let parted = name.part.is_some() && name.version.is_none();
    let suffix = if parted { part_suffix(name.part) } else { String::new() };
    if leaf.is_empty() {
        write!(out, "/{MARK}{suffix}").expect("memory takes it");
    } else if parted {
        push_component(out, leaf, &suffix);
    } else {
        push_component(out, leaf, if marks && !looks_like_file(leaf) { "%" } else { "" });
    }
}

fn push_version(out: &mut String, name: &Name) {
    let Some(version) = &name.version else { return };
    let suffix = part_suffix(name.part);
    if version.0.is_empty() {
        write!(out, "/{MARK}{suffix}").expect("memory takes it");
        return;
    }
    // A version is one component: its slashes are escaped too.
    let escaped = escaped(version.0.as_bytes(), b'/');
    push_pieces(out, &escaped, &suffix);
}

fn part_suffix(part: Option<(u32, u32)>) -> String {
    part.map_or_else(String::new, |(number, of)| format!("{PART}{number:05}-of-{of:05}"))
}

/// Whether a person would take the name for a file's: it has an extension of one to eight letters
/// and digits, not digits alone.
fn looks_like_file(component: &[u8]) -> bool {
    let Some(dot) = memchr::memrchr(b'.', component) else { return false };
    let extension = &component[dot + 1..];
    dot > 0
        && (1..=8).contains(&extension.len())
        && extension.iter().all(u8::is_ascii_alphanumeric)
        && extension.iter().any(u8::is_ascii_alphabetic)
}

fn push_component(out: &mut String, component: &[u8], suffix: &str) {
    let plain = component.iter().all(|&b| is_plain(b))
        && component.len() + suffix.len() <= COMPONENT_MAX
        && component != b"."
        && component != b".."
        && memchr::memmem::find(component, PART.as_bytes()).is_none();
    if plain {
        out.push('/');
        out.push_str(std::str::from_utf8(component).expect("plain bytes are ASCII"));
        out.push_str(suffix);
    } else {
        // A key's component has no slash, so nothing is escaped on top.
        push_pieces(out, &escaped(component, b'%'), suffix);
    }
}

/// Whether an ASCII byte stands for itself.
fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) && byte != b'%' && byte != b'\\'
}

/// Escapes what is not safe, and `also`.
fn escaped(component: &[u8], also: u8) -> String {
    let mut out = String::with_capacity(component.len() * 2);
    let dots = component == b"." || component == b"..";
    // A name that ends as a part's does is not to be taken for one.
    let part_dot = part_at(component);
    for chunk in component.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut utf8 = [0; 4];
            let bytes = c.encode_utf8(&mut utf8).as_bytes();
            let plain = match u8::try_from(c) {
                Ok(byte) if byte.is_ascii() => is_plain(byte) && byte != also && !dots,
                _ => !c.is_control() && c != '\u{fffd}',
            };
            if plain {
                out.push(c);
            } else {
                bytes.iter().for_each(|&byte| push_hex(&mut out, byte));
            }
        }
        chunk.invalid().iter().for_each(|&byte| push_hex(&mut out, byte));
    }
    if part_dot.is_some()
        && let Some(dot) = out.rfind(PART)
    {
        out.replace_range(dot..=dot, "%2E");
    }
    out
}

fn push_hex(out: &mut String, byte: u8) {
    out.push('%');
    out.push(char::from(HEX[usize::from(byte >> 4)]));
    out.push(char::from(HEX[usize::from(byte & 15)]));
}

/// Where the suffix of a part begins, if the name ends in one.
fn part_at(component: &[u8]) -> Option<usize> {
    let at = memchr::memmem::rfind(component, PART.as_bytes())?;
    let text = std::str::from_utf8(&component[at + PART.len()..]).ok()?;
    let (number, of) = text.split_once("-of-")?;
    let digits = |text: &str| text.len() >= 5 && text.bytes().all(|b| b.is_ascii_digit());
    (digits(number) && digits(of)).then_some(at)
}

fn split_part(component: &str) -> (&str, Option<(u32, u32)>) {
    let split = part_at(component.as_bytes()).and_then(|at| {
        let (number, of) = component[at + PART.len()..].split_once("-of-")?;
        Some((&component[..at], Some((number.parse().ok()?, of.parse().ok()?))))
    });
    split.unwrap_or((component, None))
}

/// Appends an escaped component, broken into as many as it needs.
fn push_pieces(out: &mut String, escaped: &str, suffix: &str) {
    let mut rest = escaped;
    while rest.len() + suffix.len() > COMPONENT_MAX && !rest.is_empty() {
        let mut end = rest.floor_char_boundary(COMPONENT_MAX - CONTINUED.len());
        // Not within an escape: one begins at most two bytes before the cut.
        if end < rest.len()
            && let Some(percent) = rest[..end].rfind('%')
            && percent + 3 > end
        {
            end = percent;
        }
        out.push('/');
        out.push_str(&rest[..end]);
        out.push_str(CONTINUED);
        rest = &rest[end..];
    }
    out.push('/');
    out.push_str(rest);
    out.push_str(suffix);
}

/// The components of a path with the broken ones put together.
fn joined(path: &str) -> Result<Vec<String>, NotAName> {
    let mut out = Vec::new();
    let mut open = String::new();
    for piece in path.split('/') {
        if piece.is_empty() || piece == "." || piece == ".." {
            return Err(NotAName::Foreign);
        }
        if let Some(begun) = piece.strip_suffix(CONTINUED) {
            open.push_str(begun);
        } else {
            open.push_str(piece);
            out.push(std::mem::take(&mut open));
        }
    }
    if open.is_empty() { Ok(out) } else { Err(NotAName::Foreign) }
}

fn unmarked(component: &str) -> &str {
    component.strip_suffix(MARK).unwrap_or(component)
}

fn unescape(component: &str) -> Result<Vec<u8>, NotAName> {
    let mut out = Vec::with_capacity(component.len());
    let mut rest = component.as_bytes();
    while let Some(percent) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..percent]);
        let digit = |at: usize| {
            let byte = rest.get(percent + at).copied().ok_or(NotAName::Foreign)?;
            let value = HEX.iter().position(|&hex| hex == byte).ok_or(NotAName::Foreign)?;
            u8::try_from(value).map_err(|_| NotAName::Foreign)
        };
        out.push(digit(1)? << 4 | digit(2)?);
        rest = &rest[percent + 3..];
    }
    out.extend_from_slice(rest);
    Ok(out)
}

fn text(bytes: Vec<u8>) -> Result<String, NotAName> {
    String::from_utf8(bytes).map_err(|_| NotAName::Foreign)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn name(key: &[u8]) -> Name {
        Name { source: "s".parse().unwrap(), key: Key(key.to_vec()), version: None, part: None }
    }

    #[test]
    fn keys_become_these_paths() {
        let long = "x".repeat(300);
        let cut = format!("s/{}%+/{}%", "x".repeat(253), "x".repeat(47));
        for (key, tree, flat) in [
            ("a/b.txt", "s/a/b.txt", "s/a/b.txt"),
            ("a", "s/a", "s/a%"),
            ("a/", "s/a/%", "s/a/%"),
            ("a/b", "s/a/b", "s/a/b%"),
            ("/a.c", "s/%_/a.c", "s/%_/a.c"),
            ("a//b.c", "s/a/%_/b.c", "s/a/%_/b.c"),
            (".", "s/%2E", "s/%2E%"),
            ("../x.y", "s/%2E%2E/x.y", "s/%2E%2E/x.y"),
            ("v.git/x", "s/v.git/x", "s/v.git%/x%"),
            ("100%\n\\é\u{fffd}", "s/100%25%0A%5Cé%EF%BF%BD", "s/100%25%0A%5Cé%EF%BF%BD%"),
            ("z.part-00001-of-00002", "s/z%2Epart-00001-of-00002", "s/z%2Epart-00001-of-00002%"),
            (&long, &cut[..cut.len() - 1], &cut),
        ] {
            assert_eq!(name(key.as_bytes()).path(Shape::Tree), tree, "{key:?}");
            assert_eq!(name(key.as_bytes()).path(Shape::Flat), flat, "{key:?}");
        }
        assert_eq!(name(b"").path(Shape::Tree), "s");
        assert_eq!(name(b"\xff.c").path(Shape::Flat), "s/%FF.c");
        let part = Name { part: Some((1, 42)), ..name(b"d/big") };
        assert_eq!(part.path(Shape::Flat), "s/d/big.part-00001-of-00042");
        let version = Some(Version("3/sL4".into()));
        let old = Name { version, ..name(b"d/cat.jpg") };
        assert_eq!(old.path(Shape::Flat), "s@versions/d/cat.jpg/3%2FsL4");
        let old = Name { part: Some((2, 3)), ..old };
        assert_eq!(old.path(Shape::Flat), "s@versions/d/cat.jpg/3%2FsL4.part-00002-of-00003");
    }

    #[test]
    fn a_key_too_long_for_a_path_is_hashed() {
        let key = b"\x01".repeat(1500);
        let path = name(&key).path(Shape::Flat);
        assert_eq!(path, format!("s/%~/{}", Digest::of(&key)));
        assert_eq!(Name::of(&path), Err(NotAName::Hashed));
    }

    /// Keys that hit the rules: few letters, many specials.
    fn keys() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => prop::sample::select(vec![
                "/", ".", "..", "a", "b", "%", "%+", "%_", "%~", ".c", "\n", "\\", "\u{fffd}", "é",
                "\u{85}", ".part-00001-of-00002", "-of-", ".part-",
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 1..3),
            1 => (200_usize..300).prop_map(|len| vec![b'x'; len]),
            1 => (60_usize..130).prop_map(|len| "é%".repeat(len).into_bytes()),
        ];
        prop::collection::vec(piece, 1..7).prop_map(|pieces| pieces.concat())
    }

    fn names() -> impl Strategy<Value = Name> {
        let part = prop::option::of((1_u32..3, 2_u32..200_000));
        let version = prop::option::of("[a/.%\n]{0,3}".prop_map(Version));
        (keys(), version, part).prop_map(|(key, version, part)| Name {
            version,
            part,
            ..name(&key)
        })
    }

    fn is_safe(path: &str) -> bool {
        path.len() <= PATH_MAX
            && path.split('/').all(|component| {
                (1..=COMPONENT_MAX).contains(&component.len())
                    && component != "."
                    && component != ".."
                    && !component.chars().any(|c| c.is_control() || c == '\u{fffd}' || c == '\\')
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_path_is_safe_and_says_its_name(name in names()) {
            for shape in [Shape::Flat, Shape::Tree] {
                let path = name.path(shape);
                prop_assert!(is_safe(&path), "{path}");
                prop_assert_eq!(Name::of(&path), Ok(name.clone()), "{}", path);
            }
        }

        #[test]
        fn no_file_is_also_a_directory(names in prop::collection::vec(names(), 2..40)) {
            let mut files = BTreeMap::new();
            for name in names {
                let path = name.path(Shape::Flat);
                if let Some(other) = files.insert(path, name.clone()) {
                    prop_assert_eq!(other, name);
                }
            }
            for path in files.keys() {
                let mut directory = path.as_str();
                while let Some((parent, _)) = directory.rsplit_once('/') {
                    prop_assert!(!files.contains_key(parent), "{parent} and {path}");
                    directory = parent;
                }
            }
        }

        #[test]
        fn reading_a_path_never_panics(path in "[a-z@/%+_~.0-9A-F-]{0,40}|\\PC{0,20}") {
            if let Ok(name) = Name::of(&path) {
                prop_assert!(is_safe(&name.path(Shape::Flat)));
            }
        }
    }
}
