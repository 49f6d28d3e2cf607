//! From page to page.

use std::sync::Arc;

use crate::item::{Key, Listed, Version};
use crate::source::SourceError;
use crate::source::s3::bucket::Bucket;
use crate::source::s3::settings::Versions;

use super::page::{Found, Marker, Page, parse};

/// The longest page: a thousand keys of 1,024 bytes, each byte encoded as three, and their facts.
const PAGE_BYTES: usize = 16 << 20;
/// Pages without entries that may follow each other.
const EMPTY_PAGES: u32 = 10_000;
/// What errors call it.
const OPERATION: &str = "list";

/// A listing under way.
#[derive(Debug)]
pub(in crate::source::s3) struct Walk {
    bucket: Arc<Bucket>,
    prefix: Vec<u8>,
    /// The most entries of a page that are asked for.
    page_entries: &'static str,
    next: Option<Marker>,
    ended: bool,
    order: Order,
}

/// What the pages so far prove, and the next must not contradict.
#[derive(Debug, Default)]
struct Order {
    last: Option<(Key, Version)>,
    /// A marker seen before, moved on at each power of two, so that any cycle of markers meets it.
    remembered: Option<Marker>,
    pages: u64,
    empty: u32,
}

impl Walk {
    /// A listing of what begins with `prefix`, from its beginning.
    pub(in crate::source::s3) fn new(bucket: Arc<Bucket>, prefix: &[u8]) -> Self {
        Self {
            bucket,
            prefix: prefix.to_vec(),
            page_entries: "1000",
            next: None,
            ended: false,
            order: Order::default(),
        }
    }

    /// The entries of the next page, in order; `None` after the last.
    ///
    /// # Errors
    ///
    /// When the service refuses, or a page cannot be trusted.
    pub(in crate::source::s3) async fn page(&mut self) -> Result<Option<Vec<Found>>, SourceError> {
        if self.ended {
            return Ok(None);
        }
        let request = self.bucket.list(&self.query());
        let document = self
            .bucket
            .service
            .document(&request, PAGE_BYTES)
            .await
            .map_err(|error| self.bucket.failure((OPERATION, self.bucket.to_list()), error))?;
        let protocol = |what| SourceError::Protocol { source_name: self.bucket.name.clone(), what };
        let page = parse(&document).map_err(protocol)?;
        self.order.take(&page, &self.prefix).map_err(protocol)?;
        self.ended = page.next.is_none();
        self.next = page.next;
        Ok(Some(page.entries))
    }

    fn query(&self) -> Vec<(&'static str, &[u8])> {
        let mut query: Vec<(&'static str, &[u8])> = match self.bucket.settings.versions {
            Versions::Current => vec![("list-type", b"2")],
            Versions::All => vec![("versions", b"")],
        };
        query.push(("encoding-type", b"url"));
        query.push(("max-keys", self.page_entries.as_bytes()));
        if !self.prefix.is_empty() {
            query.push(("prefix", &self.prefix));
        }
        match &self.next {
            None => {}
            Some(Marker::Token(token)) => query.push(("continuation-token", token.as_bytes())),
            Some(Marker::After { key, version }) => {
                query.push(("key-marker", key));
                if !version.is_empty() {
                    query.push(("version-id-marker", version.as_bytes()));
                }
            }
        }
        query
    }
}

/// Lists one key again: what stands there now of the version that was `listed`.
///
/// # Errors
///
/// When the listing fails.
pub(in crate::source::s3) async fn find(
    bucket: Arc<Bucket>,
    listed: &Listed,
) -> Result<Option<Found>, SourceError> {
    let mut walk = Walk::new(bucket, &listed.key.0);
    if listed.version.is_none() {
        // The key itself comes before all that it is a prefix of.
        walk.page_entries = "1";
    }
    while let Some(entries) = walk.page().await? {
        for found in entries {
            if found.listed.key != listed.key {
                return Ok(None);
            }
            if found.listed.version == listed.version {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

impl Order {
    /// Takes the next page, whose own entries are in order already.
    fn take(&mut self, page: &Page, prefix: &[u8]) -> Result<(), String> {
        for found in &page.entries {
            let Listed { key, version, .. } = &found.listed;
            if !key.0.starts_with(prefix) {
                return Err(format!("key {key:?}, which is not below the prefix"));
            }
            if let Some((last_key, last_version)) = &self.last {
                let repeated = key == last_key && (version.is_none() || version == last_version);
                if key < last_key || repeated {
                    return Err(format!("key {key:?} after {last_key:?}"));
                }
            }
            match &mut self.last {
                Some((last_key, last_version)) => {
                    last_key.0.clone_from(&key.0);
                    last_version.0.clone_from(&version.0);
                }
                None => self.last = Some((key.clone(), version.clone())),
            }
        }
        self.empty = if page.entries.is_empty() { self.empty + 1 } else { 0 };
        if self.empty > EMPTY_PAGES {
            return Err(format!("more than {EMPTY_PAGES} pages without a key"));
        }
        let Some(next) = &page.next else { return Ok(()) };
        if self.remembered.as_ref() == Some(next) {
            return Err("a page that leads back to one before it".to_owned());
        }
        self.pages += 1;
        if self.pages.is_power_of_two() {
            self.remembered = Some(next.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::item::{Kind, Token};

    fn page(entries: &[(&str, &str)], next: Option<&str>) -> Page {
        let entries = entries
            .iter()
            .map(|(key, version)| Found {
                listed: Listed {
                    key: Key::from(*key),
                    version: Version((*version).to_owned()),
                    token: Token(0),
                    size: 0,
                    modified: Timestamp::default(),
                    latest: true,
                    kind: Kind::File,
                },
                etag: String::new(),
            })
            .collect();
        Page { entries, next: next.map(|token| Marker::Token(token.to_owned())) }
    }

    fn take_all(pages: &[Page]) -> Result<(), String> {
        let mut order = Order::default();
        pages.iter().try_for_each(|page| order.take(page, b""))
    }

    #[test]
    fn pages_that_go_on_are_taken() {
        take_all(&[
            page(&[("a", "1"), ("a", "2")], Some("1")),
            page(&[], Some("2")),
            page(&[("a", "3"), ("b", "1")], None),
        ])
        .unwrap();
    }

    #[test]
    fn pages_that_go_back_are_refused() {
        let again = take_all(&[page(&[("a", ""), ("b", "")], Some("1")), page(&[("b", "")], None)]);
        assert_eq!(again.unwrap_err(), "key \"b\" after \"b\"");
        let back = take_all(&[page(&[("b", "1")], Some("1")), page(&[("a", "1")], None)]);
        assert_eq!(back.unwrap_err(), "key \"a\" after \"b\"");
        let mut order = Order::default();
        let outside = order.take(&page(&[("a", "")], None), b"b");
        assert_eq!(outside.unwrap_err(), "key \"a\", which is not below the prefix");
    }

    #[test]
    fn a_cycle_of_any_length_ends() {
        for length in 1..40 {
            let mut order = Order::default();
            let circle = (0..).map(|n| n % length);
            let turn = circle
                .take(1000)
                .try_for_each(|n| order.take(&page(&[], Some(&n.to_string())), b""));
            assert!(turn.is_err(), "a cycle of {length}");
        }
        let mut order = Order::default();
        let endless = (0..).try_for_each(|n| order.take(&page(&[], Some(&format!("{n}"))), b""));
        assert_eq!(endless.unwrap_err(), "more than 10000 pages without a key");
    }
}
