//! Lines exactly as [`super::write_line`] writes them, which is nearly all that are ever read: no
//! field is looked up by name, no text is unescaped. Whatever looks different is left to the parser
//! of any JSON.

use std::collections::BTreeMap;

use crate::{
    ident::SourceName,
    item::{Item, Key, Kind, LinkGroup, ObjectFacts, Posix, Token, Version},
    volume::manifest::{Entry, LinkedTo, Part},
};

/// The entry of a line; `None` when it is not in canonical form, which does not make it wrong.
pub(super) fn read(line: &[u8]) -> Option<Entry> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    // With neither escapes nor control characters, every text ends at the next quote.
    // Looking at all bytes, many at once, is faster than stopping at the first.
    if line.iter().fold(false, |odd, byte| odd | (*byte < b' ') | (*byte == b'\\')) {
        return None;
    }
    let mut text = Text(std::str::from_utf8(line).ok()?);
    let entry = entry(&mut text)?;
    text.0.is_empty().then_some(entry)
}

/// What is left of a line.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// Whether `token` comes next, which it then does no more.
    #[inline]
    fn has(&mut self, token: &str) -> bool {
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn skip(&mut self, token: &str) -> Option<()> {
        self.has(token).then_some(())
    }

    /// Text up to the next quote, which is skipped.
    fn text(&mut self) -> Option<&'a str> {
        let end = memchr::memchr(b'"', self.0.as_bytes())?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(text)
    }

    /// The text after `token`, which ends with a quote; empty when the token does not come next.
    fn optional(&mut self, token: &str) -> Option<&'a str> {
        if self.has(token) { self.text() } else { Some("") }
    }

    fn number(&mut self, token: &str) -> Option<u64> {
        self.skip(token)?;
        let mut number = 0_u64;
        let mut digits = 0;
        for byte in self.0.bytes() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            number = number.checked_mul(10)?.checked_add(digit.into())?;
            digits += 1;
        }
        if digits == 0 || digits > 1 && self.0.starts_with('0') {
            return None;
        }
        self.0 = &self.0[digits..];
        Some(number)
    }

    fn small(&mut self, token: &str) -> Option<u32> {
        self.number(token)?.try_into().ok()
    }
}

fn entry(text: &mut Text<'_>) -> Option<Entry> {
    text.skip("{\"source\":\"")?;
    let source: SourceName = text.text()?.parse().ok()?;
    let item = item(text)?;
    let path = if text.has(",\"path\":\"") { Some(text.text()?.to_owned()) } else { None };
    let offset = text.number(",\"offset\":")?;
    let data = text.number(",\"data\":")?;
    let stored = text.number(",\"stored\":")?;
    let digest = if text.has(",\"digest\":\"") { Some(text.text()?.parse().ok()?) } else { None };
    let part = if text.has(",\"part\":{") { Some(part(text)?) } else { None };
    let linked_to = if text.has(",\"linked_to\":{\"key\":\"") {
        let key = Key::from(text.text()?);
        text.skip("}")?;
        Some(LinkedTo { key })
    } else {
        None
    };
    let torn = text.has(",\"torn\":true");
    let chaining = text.optional(",\"chaining\":\"")?.to_owned();
    text.skip("}")?;
    Some(Entry {
        source,
        item,
        path,
        offset,
        data,
        stored,
        digest,
        part,
        linked_to,
        torn,
        chaining,
    })
}

fn part(text: &mut Text<'_>) -> Option<Part> {
    let part = Part {
        number: text.small("\"number\":")?,
        of: text.small(",\"of\":")?,
        offset: text.number(",\"offset\":")?,
        length: text.number(",\"length\":")?,
    };
    text.skip("}")?;
    Some(part)
}

fn item(text: &mut Text<'_>) -> Option<Item> {
    text.skip(",\"key\":\"")?;
    let key = Key::from(text.text()?);
    let version = Version(text.optional(",\"version\":\"")?.to_owned());
    text.skip(",\"kind\":\"")?;
    let kind = match text.text()? {
        "file" => Kind::File,
        "directory" => Kind::Directory,
        "delete-marker" => Kind::DeleteMarker,
        "symlink" => {
            text.skip(",\"target\":{\"key\":\"")?;
            let target = Key::from(text.text()?);
            text.skip("}")?;
            Kind::Symlink { target }
        }
        _ => return None,
    };
    let size = text.number(",\"size\":")?;
    text.skip(",\"modified\":\"")?;
    let modified = text.text()?.parse().ok()?;
    let latest = text.has(",\"latest\":true");
    let token = Token(text.number(",\"token\":")?);
    let posix = if text.has(",\"posix\":{") { Some(Box::new(posix(text)?)) } else { None };
    let object = if text.has(",\"object\":{") { Some(Box::new(object(text)?)) } else { None };
    Some(Item { key, version, kind, size, modified, latest, token, posix, object, extents: None })
}

fn posix(text: &mut Text<'_>) -> Option<Posix> {
    let (mode, uid, gid) =
        (text.small("\"mode\":")?, text.small(",\"uid\":")?, text.small(",\"gid\":")?);
    let user = text.optional(",\"user\":\"")?.to_owned();
    let group = text.optional(",\"group\":\"")?.to_owned();
    let link_group = if text.has(",\"link_group\":{") {
        let (device, inode) = (text.number("\"device\":")?, text.number(",\"inode\":")?);
        text.skip("}")?;
        Some(LinkGroup { device, inode })
    } else {
        None
    };
    text.skip("}")?;
    Some(Posix { mode, uid, gid, user, group, xattrs: Vec::new(), link_group })
}

fn object(text: &mut Text<'_>) -> Option<ObjectFacts> {
    // Whichever field comes first has no comma before it.
    let mut comma = false;
    let mut begins = |text: &mut Text<'_>, token: &str| {
        let has = text.has(if comma { token } else { &token[1..] });
        comma |= has;
        has
    };
    let mut facts = ObjectFacts::default();
    if begins(text, ",\"etag\":\"") {
        text.text()?.clone_into(&mut facts.etag);
    }
    if begins(text, ",\"storage_class\":\"") {
        text.text()?.clone_into(&mut facts.storage_class);
    }
    for (token, map) in [
        (",\"headers\":{", &mut facts.headers),
        (",\"metadata\":{", &mut facts.metadata),
        (",\"tags\":{", &mut facts.tags),
    ] {
        if begins(text, token) {
            *map = texts(text)?;
        }
    }
    if begins(text, ",\"verified\":\"") {
        text.text()?.clone_into(&mut facts.verified);
    }
    text.skip("}")?;
    Some(facts)
}

fn texts(text: &mut Text<'_>) -> Option<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    loop {
        text.skip("\"")?;
        let name = text.text()?.to_owned();
        text.skip(":\"")?;
        map.insert(name, text.text()?.to_owned());
        if text.has("}") {
            return Some(map);
        }
        text.skip(",")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::lines::write_line;

    fn plain() -> Entry {
        let item = Item {
            key: Key::from("a/\u{e9}/b.txt"),
            size: 20,
            modified: "2026-11-24T10:50:05.5Z".parse().unwrap(),
            latest: true,
            token: Token(u64::MAX),
            ..Item::default()
        };
        Entry {
            source: "home".parse().unwrap(),
            item,
            path: Some("home/a/\u{e9}/b.txt".into()),
            offset: 0,
            data: 1024,
            stored: 20,
            digest: Some(crate::digest::Digest::of(b"x")),
            part: None,
            linked_to: None,
            torn: false,
            chaining: String::new(),
        }
    }

    fn line_of(entry: &Entry) -> Vec<u8> {
        let mut line = Vec::new();
        write_line(entry, &mut line);
        line
    }

    /// What is common is read here, and not only by the parser of any JSON.
    #[test]
    fn common_entries_are_canonical() {
        let texts =
            BTreeMap::from([("a".to_owned(), "b c".to_owned()), ("d".into(), String::new())]);
        let object = |verified: &str| ObjectFacts {
            headers: texts.clone(),
            tags: texts.clone(),
            verified: verified.into(),
            ..ObjectFacts::default()
        };
        let link_group = Some(LinkGroup { device: 1, inode: 2 });
        let posix = Posix { mode: 0o644, user: "ann".into(), link_group, ..Posix::default() };
        let part = Some(Part { number: 1, of: 2, offset: 0, length: 10 });
        let with = |change: &dyn Fn(&mut Entry)| {
            let mut entry = plain();
            change(&mut entry);
            entry
        };
        for entry in [
            plain(),
            with(&|entry| entry.item.posix = Some(Box::new(posix.clone()))),
            with(&|entry| entry.item.posix = Some(Box::default())),
            with(&|entry| entry.item.object = Some(Box::new(object("md5=00")))),
            with(&|entry| entry.item.object = Some(Box::new(object("")))),
            with(&|entry| entry.item.object = Some(Box::default())),
            with(&|entry| entry.item.kind = Kind::DeleteMarker),
            with(&|entry| entry.item.kind = Kind::Symlink { target: Key::from("b") }),
            with(&|entry| (entry.path, entry.digest) = (None, None)),
            with(&|entry| (entry.torn, entry.part) = (true, part)),
            with(&|entry| entry.chaining = "AAAA".into()),
            with(&|entry| entry.linked_to = Some(LinkedTo { key: Key::from("c") })),
            with(&|entry| entry.item.version = Version("v1".into())),
        ] {
            assert_eq!(read(&line_of(&entry)).as_ref(), Some(&entry));
        }
    }

    #[test]
    fn what_is_not_json_is_not_canonical() {
        let line = String::from_utf8(line_of(&plain())).unwrap();
        for (part, other) in [
            ("\"size\":20", "\"size\":020"),
            ("\"size\":20", "\"size\":20.5"),
            ("\"size\":20", "\"size\":"),
            ("\"size\":20", "\"size\":99999999999999999999"),
            ("b.txt\"", "b\u{1}.txt\""),
            ("}\n", "}}\n"),
            ("}\n", "}\n\n"),
            ("}\n", ""),
        ] {
            let broken = line.replacen(part, other, 1);
            assert_ne!(broken, line);
            assert_eq!(read(broken.as_bytes()), None, "{broken}");
        }
        for cut in 0..line.len() - 1 {
            assert_eq!(read(&line.as_bytes()[..cut]), None);
        }
    }
}
