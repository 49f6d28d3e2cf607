//! What an object's head says.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};

use crate::clock::Timestamp;
use crate::item::{ObjectFacts, Token, Version};
use crate::source::http::parse_date;

/// Headers that are kept, since they are part of what the object is.
const KEPT: [&str; 17] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-mp-parts-count",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-replication-status",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-version-id",
    "x-amz-website-redirect-location",
];
const METADATA: &str = "x-amz-meta-";
/// The class that a missing header or element means.
const STANDARD: &str = "STANDARD";

/// The head of an object.
#[derive(Debug)]
pub(super) struct Head {
    /// Content bytes of the whole object.
    pub(super) size: u64,
    /// As it is sent, quotes and all, for `If-Match`.
    pub(super) etag: Option<HeaderValue>,
    /// When it was last modified, to the second.
    pub(super) modified: Timestamp,
    /// How many tags it has, if the service says so.
    pub(super) tags: Option<u32>,
    /// Pieces of metadata that the service has and cannot put in headers.
    pub(super) missing_metadata: u32,
    /// What is archived of it.
    pub(super) facts: ObjectFacts,
    /// The headers themselves, where the checksums are.
    pub(super) headers: HeaderMap,
}

/// A head that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("the object's head has no usable {0}")]
pub(super) struct BadHead(&'static str);

impl Head {
    /// Reads the headers of a whole object (not of a range of it).
    ///
    /// # Errors
    ///
    /// When they do not say how long it is.
    pub(super) fn read(headers: HeaderMap) -> Result<Self, BadHead> {
        let text = |name: &str| headers.get(name).map(text_of);
        let size = text("content-length").and_then(|text| text.trim().parse().ok());
        let size = size.ok_or(BadHead("content-length"))?;
        let modified = text("last-modified").and_then(|text| parse_date(&text)).unwrap_or_default();
        let etag = text("etag").unwrap_or_default();
        let facts = ObjectFacts {
            etag: etag.trim_matches('"').to_owned(),
            storage_class: class_of(&text("x-amz-storage-class").unwrap_or_default()).to_owned(),
            headers: KEPT
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), text(name)?)))
                .collect(),
            metadata: metadata(&headers),
            ..ObjectFacts::default()
        };
        let count = |name: &str| text(name).and_then(|text| text.trim().parse().ok());
        Ok(Self {
            size,
            etag: headers.get("etag").cloned(),
            modified,
            tags: count("x-amz-tagging-count"),
            missing_metadata: count("x-amz-missing-meta").unwrap_or_default(),
            facts,
            headers,
        })
    }

    /// The token that a listing of this very state gives.
    pub(super) fn token(&self, version: &Version) -> Token {
        token(&self.facts.etag, self.size, self.modified, version)
    }
}

/// A fingerprint of what a listing says of the content. Dates count to the second, since heads say no
/// more. The storage class is left out: an object that moves to another is the same object.
pub(super) fn token(etag: &str, size: u64, modified: Timestamp, version: &Version) -> Token {
    let mut hasher = blake3::Hasher::new();
    for text in [etag, &version.0] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(&size.to_le_bytes());
    hasher.update(&modified.parts().0.to_le_bytes());
    let digest = hasher.finalize();
    let (first, _) = digest.as_bytes().split_first_chunk().expect("32 bytes begin with 8");
    Token(u64::from_le_bytes(*first))
}

fn class_of(class: &str) -> &str {
    if class == STANDARD { "" } else { class }
}

fn metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(METADATA) else { continue };
        let text = text_of(value);
        metadata
            .entry(name.to_owned())
            .and_modify(|all| {
                all.push(',');
                all.push_str(&text);
            })
            .or_insert(text);
    }
    metadata
}

/// A header's value: UTF-8 as most clients store it, else Latin-1 as HTTP once had it.
fn text_of(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn a_head_is_read_and_has_the_listing_s_token() {
        let head = Head::read(headers(&[
            ("content-length", b"12"),
            ("etag", b"\"abc-3\""),
            ("last-modified", b"Fri, 02 Jan 2026 03:04:05 GMT"),
            ("x-amz-tagging-count", b"2"),
            ("x-amz-missing-meta", b"1"),
            ("content-type", b"text/plain"),
            ("x-amz-meta-a", "gr\u{fc}n".as_bytes()),
            ("x-amz-meta-b", b"gr\xfcn"),
        ]))
        .unwrap();
        assert_eq!((head.size, head.tags, head.missing_metadata), (12, Some(2), 1));
        assert_eq!(head.facts.metadata["a"], "grün");
        assert_eq!(head.facts.metadata["b"], "grün");
        assert_eq!(head.facts.headers["content-type"], "text/plain");
        let listed = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let version = Version::default();
        assert_eq!(head.token(&version), token("abc-3", 12, listed, &version));
        assert_ne!(head.token(&version), token("abc-4", 12, listed, &version));
        assert!(Head::read(headers(&[("etag", b"x")])).is_err());
    }
}
