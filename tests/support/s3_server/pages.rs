//! Listings, a page at a time.

use base64::{Engine, prelude::BASE64_URL_SAFE};

use super::{
    bucket::{Bucket, Version},
    wire::{Answer, Request, percent_encode},
};

/// Answers a request for a listing. `largest` bounds a page's entries.
pub(super) fn list(bucket: &Bucket, request: &Request, largest: usize) -> Answer {
    let asked = |name: &str| request.asked(name);
    let text = |name: &str| asked(name).and_then(|value| String::from_utf8(value).ok());
    let prefix = asked("prefix").unwrap_or_default();
    let most = text("max-keys").and_then(|text| text.parse().ok()).unwrap_or(1000);
    let most = most.min(largest);
    let encoded = text("encoding-type").as_deref() == Some("url");
    let versions = asked("versions").is_some();

    let after_key = match text("continuation-token") {
        Some(token) => BASE64_URL_SAFE.decode(token).ok(),
        None => asked("key-marker"),
    };
    let after_version = text("version-id-marker");
    let mut entries: Vec<(&[u8], usize, &Version)> = Vec::new();
    for (key, all) in &bucket.keys {
        if !key.starts_with(&prefix) {
            continue;
        }
        let skip = match &after_key {
            Some(after) if key < after => continue,
            Some(after) if key == after => match &after_version {
                Some(id) => all.iter().position(|version| version.id == *id).map_or(0, |at| at + 1),
                None => continue,
            },
            _ => 0,
        };
        let current = if versions { all.len() } else { 1 };
        for (index, version) in all.iter().enumerate().take(current).skip(skip) {
            if versions || !version.marker {
                entries.push((key, index, version));
            }
        }
        if entries.len() > most {
            break;
        }
    }
    let truncated = entries.len() > most;
    entries.truncate(most);
    let body = write(&entries, versions, truncated, encoded);
    Answer::new(200, body.into_bytes()).with("content-type", "application/xml")
}

fn write(
    entries: &[(&[u8], usize, &Version)],
    versions: bool,
    truncated: bool,
    encoded: bool,
) -> String {
    let root = if versions { "ListVersionsResult" } else { "ListBucketResult" };
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>"
    );
    if encoded {
        xml.push_str("<EncodingType>url</EncodingType>");
    }
    xml.push_str(&format!("<IsTruncated>{truncated}</IsTruncated>"));
    if !versions {
        xml.push_str(&format!("<KeyCount>{}</KeyCount>", entries.len()));
    }
    if let Some((key, _, version)) = entries.last().filter(|_| truncated) {
        if versions {
            xml.push_str(&format!(
                "<NextKeyMarker>{}</NextKeyMarker><NextVersionIdMarker>{}</NextVersionIdMarker>",
                key_text(key, encoded),
                version.id
            ));
        } else {
            let token = BASE64_URL_SAFE.encode(key);
            xml.push_str(&format!("<NextContinuationToken>{token}</NextContinuationToken>"));
        }
    }
    for (key, index, version) in entries {
        xml.push_str(&entry(key, *index, version, versions, encoded));
    }
    xml.push_str(&format!("</{root}>"));
    xml
}

fn entry(key: &[u8], index: usize, version: &Version, versions: bool, encoded: bool) -> String {
    let element = match (versions, version.marker) {
        (false, _) => "Contents",
        (true, false) => "Version",
        (true, true) => "DeleteMarker",
    };
    let mut xml = format!("<{element}><Key>{}</Key>", key_text(key, encoded));
    if versions {
        let (id, latest) = (&version.id, index == 0);
        xml.push_str(&format!("<VersionId>{id}</VersionId><IsLatest>{latest}</IsLatest>"));
    }
    xml.push_str(&format!("<LastModified>{}</LastModified>", version.modified));
    if !version.marker {
        let class = version.put.class.as_deref().unwrap_or("STANDARD");
        xml.push_str(&format!(
            "<ETag>&quot;{}&quot;</ETag><Size>{}</Size><StorageClass>{class}</StorageClass>",
            version.etag,
            version.put.body.len()
        ));
    }
    xml.push_str(&format!("</{element}>"));
    xml
}

/// A key as S3 writes it: a form's encoding but for slashes, if asked for; else plain XML.
fn key_text(key: &[u8], encoded: bool) -> String {
    if encoded {
        return percent_encode(key, b"/").replace("%20", "+");
    }
    escape(&String::from_utf8_lossy(key))
}

/// Text for XML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
