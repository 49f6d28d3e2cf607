//! One page of a listing, from XML.

use crate::clock::Timestamp;
use crate::item::{Key, Kind, Listed, Token, Version};
use crate::source::http::walk;
use crate::source::s3::head::token;

/// One entry of a listing, with what only the object's own head tells again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source::s3) struct Found {
    pub(in crate::source::s3) listed: Listed,
    /// The entity tag without its quotes; empty for a delete marker.
    pub(in crate::source::s3) etag: String,
}

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// What a listing of current objects hands out; opaque.
    Token(String),
    /// The last key and version of the page before.
    After { key: Vec<u8>, version: String },
}

/// A page that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Keys ascend, versions of one key are together.
    pub(super) entries: Vec<Found>,
    pub(super) next: Option<Marker>,
}

/// An element of the page as it is read.
#[derive(Default)]
struct Raw {
    key: Option<String>,
    version: Option<String>,
    latest: bool,
    modified: String,
    etag: String,
    size: String,
    marker: bool,
}

/// The page as it is read.
#[derive(Default)]
struct Reading {
    current: Raw,
    entries: Vec<Raw>,
    url_encoded: bool,
    truncated: Option<bool>,
    count: Option<String>,
    token: Option<String>,
    next_key: Option<String>,
    next_version: Option<String>,
    versions: bool,
}

/// Reads a page.
///
/// # Errors
///
/// What is wrong with it, as a clause.
pub(super) fn parse(document: &[u8]) -> Result<Page, String> {
    let mut reading = Reading::default();
    let mut known = true;
    walk(document, &mut |path, text| match path.split_once('/') {
        Some(("ListBucketResult" | "ListVersionsResult", inner)) => reading.take(inner, text),
        Some(_) => known = false,
        None => match path {
            "ListBucketResult" => {}
            "ListVersionsResult" => reading.versions = true,
            _ => known = false,
        },
    })
    .map_err(|error| format!("a listing page that is not whole: {error}"))?;
    if !known {
        return Err("something else than a listing page".to_owned());
    }
    reading.finish()
}

impl Reading {
    fn take(&mut self, path: &str, text: &str) {
        let field = match path.split_once('/') {
            Some(("Contents" | "Version" | "DeleteMarker", field)) => field,
            Some(_) => return,
            None => return self.take_outer(path, text),
        };
        let raw = &mut self.current;
        match field {
            "Key" => raw.key = Some(text.to_owned()),
            "VersionId" => raw.version = Some(text.trim().to_owned()),
            "IsLatest" => raw.latest = text.trim() == "true",
            "LastModified" => text.trim().clone_into(&mut raw.modified),
            "ETag" => text.trim().trim_matches('"').clone_into(&mut raw.etag),
            "Size" => text.trim().clone_into(&mut raw.size),
            _ => {}
        }
    }

    fn take_outer(&mut self, path: &str, text: &str) {
        match path {
            "Contents" | "Version" | "DeleteMarker" => {
                let mut raw = std::mem::take(&mut self.current);
                raw.marker = path == "DeleteMarker";
                self.entries.push(raw);
            }
            "EncodingType" => self.url_encoded = text.trim() == "url",
            "IsTruncated" => self.truncated = text.trim().parse().ok(),
            "KeyCount" => self.count = Some(text.trim().to_owned()),
            "NextContinuationToken" => self.token = Some(text.to_owned()),
            "NextKeyMarker" => self.next_key = Some(text.to_owned()),
            "NextVersionIdMarker" => self.next_version = Some(text.to_owned()),
            _ => {}
        }
    }

    fn finish(mut self) -> Result<Page, String> {
        if let Some(count) = &self.count
            && count.parse() != Ok(self.entries.len())
        {
            let entries = self.entries.len();
            return Err(format!("a page of {entries} keys that claims to have {count:?}"));
        }
        let next = self.next()?;
        let versions = self.versions;
        let entries: Vec<Found> = std::mem::take(&mut self.entries)
            .into_iter()
            .map(|raw| raw.finish(self.url_encoded, versions))
            .collect::<Result<_, _>>()?;
        Ok(Page { entries: in_order(entries)?, next })
    }

    fn next(&self) -> Result<Option<Marker>, String> {
        match self.truncated {
            None => return Err("a page that does not say whether more follow".to_owned()),
            Some(false) => return Ok(None),
            Some(true) => {}
        }
        let missing = || "a page that has more behind it and does not say where".to_owned();
        if !self.versions {
            let token = self.token.as_ref().filter(|token| !token.is_empty());
            return Ok(Some(Marker::Token(token.ok_or_else(missing)?.clone())));
        }
        // The key marker is encoded as keys are, and has to go back decoded; version ids never are.
        let key = self.next_key.as_ref().filter(|key| !key.is_empty()).ok_or_else(missing)?;
        let key = decode(key, self.url_encoded)?;
        Ok(Some(Marker::After { key, version: self.next_version.clone().unwrap_or_default() }))
    }
}

impl Raw {
    fn finish(self, url_encoded: bool, versions: bool) -> Result<Found, String> {
        let key = self.key.ok_or("an entry without a key")?;
        let key = Key(decode(&key, url_encoded)?);
        let wrong = |what: &str, value: &str| format!("key {key:?} with the {what} {value:?}");
        let modified: Timestamp =
            self.modified.parse().map_err(|_| wrong("date", &self.modified))?;
        let (kind, size) = if self.marker {
            (Kind::DeleteMarker, 0)
        } else {
            (Kind::File, self.size.parse().map_err(|_| wrong("size", &self.size))?)
        };
        let version = match (versions, self.version) {
            (true, version) => Version(version.unwrap_or_else(|| "null".to_owned())),
            (false, _) => Version::default(),
        };
        let token: Token = token(&self.etag, size, modified, &version);
        let latest = self.latest || !versions;
        let listed = Listed { key, version, token, size, modified, latest, kind };
        Ok(Found { listed, etag: self.etag })
    }
}

/// Undoes `encoding-type=url`, which is a form's encoding: a space is a plus.
fn decode(text: &str, url_encoded: bool) -> Result<Vec<u8>, String> {
    if !url_encoded {
        return Ok(text.as_bytes().to_vec());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return Ok(bytes),
            [b'+', after @ ..] => {
                bytes.push(b' ');
                rest = after;
            }
            [b'%', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("hexadecimal digits are ASCII");
                bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
                rest = after;
            }
            [b'%', ..] => return Err(format!("a key that is not encoded as promised: {text:?}")),
            [byte, after @ ..] => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
}

/// The entries of a page by key. Amazon mixes versions and delete markers in that order; some
/// services send all versions, then all delete markers, each in order.
fn in_order(entries: Vec<Found>) -> Result<Vec<Found>, String> {
    let descent = |entries: &[Found]| {
        entries
            .windows(2)
            .find(|pair| pair[0].listed.key > pair[1].listed.key)
            .map(|pair| format!("key {:?} after {:?}", pair[1].listed.key, pair[0].listed.key))
    };
    let Some(first) = descent(&entries) else { return Ok(entries) };
    let is_marker = |found: &Found| found.listed.kind == Kind::DeleteMarker;
    let split = entries.iter().position(is_marker).unwrap_or(entries.len());
    let (versions, markers) = entries.split_at(split);
    let apart = markers.iter().all(is_marker);
    if !apart || descent(versions).is_some() || descent(markers).is_some() {
        return Err(first);
    }
    let mut merged = entries;
    merged.sort_by(|a, b| a.listed.key.cmp(&b.listed.key));
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATE: &str = "<LastModified>2026-01-02T03:04:05.678Z</LastModified>";

    fn current(body: &str) -> Result<Page, String> {
        parse(format!("<ListBucketResult>{body}</ListBucketResult>").as_bytes())
    }

    fn versions(body: &str) -> Result<Page, String> {
        parse(format!("<ListVersionsResult>{body}</ListVersionsResult>").as_bytes())
    }

    fn entry(element: &str, key: &str) -> String {
        format!("<{element}><Key>{key}</Key>{DATE}<Size>1</Size></{element}>")
    }

    fn keys(page: &Page) -> Vec<&[u8]> {
        page.entries.iter().map(|found| &*found.listed.key.0).collect()
    }

    #[test]
    fn keys_come_out_byte_for_byte() {
        for (encoded, key) in [
            ("a+b%2Bc%20d", &b"a b+c d"[..]),
            ("%0A%01%7F", b"\n\x01\x7f"),
            ("%EF%BF%BD%2F%2Fx", "\u{fffd}//x".as_bytes()),
            ("a&amp;b&lt;", b"a&b<"),
            ("%ff", b"\xff"),
            (" x ", b" x "),
        ] {
            let page = current(&format!(
                "<IsTruncated>false</IsTruncated>{}<EncodingType>url</EncodingType>",
                entry("Contents", encoded)
            ))
            .unwrap();
            assert_eq!(keys(&page), [key]);
        }
        let plain = entry("Contents", "a+b%2B");
        let page = current(&format!("<IsTruncated>false</IsTruncated>{plain}")).unwrap();
        assert_eq!(keys(&page), [b"a+b%2B"], "a service that ignores the encoding");
    }

    #[test]
    fn facts_are_read() {
        let page = versions(
            "<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>\
             <NextKeyMarker>a%2Bb+c</NextKeyMarker><NextVersionIdMarker>v+1</NextVersionIdMarker>\
             <Version><Key>k</Key><VersionId>v2</VersionId><IsLatest>false</IsLatest>\
             <LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>&quot;e-2&quot;</ETag>\
             <Size>5000000000000</Size><StorageClass>GLACIER</StorageClass>\
             <Owner><ID>Key</ID></Owner></Version>\
             <DeleteMarker><Key>k</Key><VersionId>v1</VersionId><IsLatest>true</IsLatest>\
             <LastModified>2026-01-01T00:00:00Z</LastModified></DeleteMarker>",
        )
        .unwrap();
        let marker = Marker::After { key: b"a+b c".to_vec(), version: "v+1".to_owned() };
        assert_eq!(page.next, Some(marker));
        let [version, marker] = &page.entries[..] else { panic!("{page:?}") };
        assert_eq!(version.etag, "e-2");
        assert_eq!(version.listed.size, 5_000_000_000_000);
        assert_eq!(version.listed.version, Version("v2".into()));
        assert_eq!(version.listed.modified.to_string(), "2026-01-02T03:04:05.678Z");
        assert!(!version.listed.latest);
        assert_eq!(marker.listed.kind, Kind::DeleteMarker);
        assert!(marker.listed.latest);
    }

    #[test]
    fn versions_and_delete_markers_are_merged_by_key() {
        let page = versions(&format!(
            "<IsTruncated>false</IsTruncated>{}{}{}{}",
            entry("Version", "a"),
            entry("Version", "c"),
            entry("DeleteMarker", "b"),
            entry("DeleteMarker", "c"),
        ))
        .unwrap();
        assert_eq!(keys(&page), [b"a", b"b", b"c", b"c"]);
    }

    #[test]
    fn what_cannot_be_trusted_is_named() {
        let more = "<IsTruncated>true</IsTruncated>";
        let end = "<IsTruncated>false</IsTruncated>";
        let (a, b) = (entry("Contents", "a"), entry("Contents", "b"));
        for (body, what) in [
            (format!("{end}{b}{a}"), "key \"a\" after \"b\""),
            (more.to_owned(), "a page that has more behind it and does not say where"),
            (a.clone(), "a page that does not say whether more follow"),
            (
                format!("{end}<KeyCount>2</KeyCount>{a}"),
                "a page of 1 keys that claims to have \"2\"",
            ),
            (format!("{end}<Contents></Contents>"), "an entry without a key"),
            (
                format!("{end}<Contents><Key>k</Key>{DATE}<Size>x</Size></Contents>"),
                "key \"k\" with the size \"x\"",
            ),
            (
                format!("{end}<EncodingType>url</EncodingType>{}", entry("Contents", "%4")),
                "a key that is not encoded as promised: \"%4\"",
            ),
        ] {
            assert_eq!(current(&body).unwrap_err(), what);
        }
        let mixed = format!(
            "{end}{}{}{}",
            entry("Version", "c"),
            entry("DeleteMarker", "b"),
            entry("Version", "a")
        );
        assert_eq!(versions(&mixed).unwrap_err(), "key \"b\" after \"c\"");
        let cut = format!("<ListBucketResult>{end}{a}");
        assert_eq!(
            parse(cut.as_bytes()).unwrap_err(),
            "a listing page that is not whole: the document ends inside <ListBucketResult>"
        );
        assert_eq!(parse(b"<html></html>").unwrap_err(), "something else than a listing page");
    }

    #[test]
    fn a_page_cut_anywhere_is_refused() {
        let page = format!(
            "<?xml version=\"1.0\"?><ListBucketResult><KeyCount>2</KeyCount>{}{}\
             <IsTruncated>false</IsTruncated></ListBucketResult>",
            entry("Contents", "a&amp;b"),
            entry("Contents", "c"),
        );
        parse(page.as_bytes()).unwrap();
        for cut in 0..page.len() {
            parse(&page.as_bytes()[..cut]).expect_err("it is not whole");
        }
    }

    proptest! {
        #[test]
        fn every_key_survives_the_encoding(key in prop::collection::vec(any::<u8>(), 0..64)) {
            let form = percent_encoding::percent_encode(&key, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
                .replace("%20", "+");
            prop_assert_eq!(decode(&form, true).unwrap(), key);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&bytes));
        }
    }
}
