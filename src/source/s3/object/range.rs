//! Bytes of an object, resumed where they broke off.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::item::{Key, Version};
use crate::source::http::{HttpError, Reply, Request};
use crate::source::s3::bucket::{Bucket, to_read, version_query};

use super::trouble::Trouble;

/// One state of one object.
#[derive(Clone, Debug)]
pub(super) struct Pinned {
    pub(super) key: Key,
    pub(super) version: Version,
    /// For `If-Match`, quotes and all.
    pub(super) etag: Option<HeaderValue>,
    /// Content bytes.
    pub(super) size: u64,
}

/// The body ended in good order before the bytes that were asked for.
#[derive(Debug, thiserror::Error)]
#[error("the answer ends {missing} bytes early")]
struct Short {
    missing: u64,
}

impl Pinned {
    /// A version that is never written again: anything but none and `null`.
    pub(super) fn is_final(version: &Version) -> bool {
        !version.is_none() && version.0 != "null"
    }

    fn request(&self, bucket: &Bucket, start: u64, end: u64) -> Request {
        let query: Vec<_> = version_query(&self.version).into_iter().collect();
        let range = format!("bytes={start}-{}", end - 1);
        let range = HeaderValue::from_str(&range).expect("digits are a header");
        let request = bucket.get(&self.key, &query).with("range", range);
        match &self.etag {
            Some(etag) if !Self::is_final(&self.version) => request.with("if-match", etag.clone()),
            _ => request,
        }
    }
}

/// Reads bytes `start..end`, from `first` if that answer is already on its way.
///
/// # Errors
///
/// When the object changed, or bytes stop coming for longer than retries last.
pub(super) async fn read(
    bucket: Arc<Bucket>,
    object: Arc<Pinned>,
    span: std::ops::Range<u64>,
    first: Option<Reply>,
) -> Result<Vec<u8>, Trouble> {
    let wanted = span.end - span.start;
    let mut bytes = Vec::with_capacity(usize::try_from(wanted).expect("a range fits memory"));
    let mut reply = first;
    let mut failures = 0;
    let retry = bucket.service.retry();
    while (bytes.len() as u64) < wanted {
        let before = bytes.len();
        let now = match reply.take() {
            Some(reply) => reply,
            None => {
                let start = span.start + before as u64;
                let request = object.request(&bucket, start, span.end);
                let sent = bucket.service.send(&request).await;
                let permission = to_read(&object.version);
                let reply = sent.map_err(|error| Trouble::from_call(&bucket, permission, error))?;
                check(&bucket, &object, &reply, start)?;
                reply
            }
        };
        let Err(error) = append(now, &mut bytes, wanted).await else { break };
        failures = if bytes.len() > before { 1 } else { failures + 1 };
        tracing::debug!(
            object = %object.key.printable(),
            got = bytes.len(),
            wanted,
            error = &*error as &dyn std::error::Error,
            "an answer broke off"
        );
        if failures >= retry.attempts {
            return Err(Trouble::Fatal(crate::source::SourceError::Lost {
                operation: "read objects",
                source_name: bucket.name.clone(),
                attempts: failures,
                cause: error,
            }));
        }
        tokio::time::sleep(retry.pause(failures + 1)).await;
    }
    Ok(bytes)
}

/// Takes a body up to `wanted` bytes in all.
async fn append(
    mut reply: Reply,
    bytes: &mut Vec<u8>,
    wanted: u64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    loop {
        let missing = wanted - bytes.len() as u64;
        match reply.body.chunk().await {
            Ok(Some(chunk)) if chunk.len() as u64 > missing => {
                let limit = usize::try_from(wanted).expect("a range fits memory");
                return Err(Box::new(HttpError::TooLong { limit }));
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) if missing == 0 => return Ok(()),
            Ok(None) => return Err(Box::new(Short { missing })),
            // All bytes that were promised are here: how the connection ends does not matter.
            Err(_) if missing == 0 => return Ok(()),
            Err(error) => return Err(Box::new(error)),
        }
    }
}

/// Whether an answer is the range that was asked for, of the object that was asked for.
fn check(bucket: &Bucket, object: &Pinned, reply: &Reply, start: u64) -> Result<(), Trouble> {
    let text = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok());
    // Some services ignore If-Match; none leaves the tag out of the answer.
    if let (Some(pinned), Some(now)) = (&object.etag, reply.headers.get("etag"))
        && pinned != now
    {
        return Err(Trouble::Changed);
    }
    if reply.status != StatusCode::PARTIAL_CONTENT {
        return Err(Trouble::protocol(
            bucket,
            format!("{} to a request for a range", reply.status),
        ));
    }
    let Some(range) = text("content-range").and_then(content_range) else {
        return Err(Trouble::protocol(bucket, "a range that does not say which".to_owned()));
    };
    match range {
        (at, total) if at == start && total == object.size => Ok(()),
        (_, total) if total != object.size => Err(Trouble::Changed),
        (at, _) => {
            Err(Trouble::protocol(bucket, format!("bytes from {at} when asked from {start}")))
        }
    }
}

/// The first byte and the whole size of `bytes 0-9/100`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()?))
}

/// Whether the headers are of a whole object and not of a range.
pub(super) fn is_whole(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::OK && !headers.contains_key("content-range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5, 100)));
        for text in ["bytes 5-9/*", "items 5-9/100", "bytes */100", ""] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
