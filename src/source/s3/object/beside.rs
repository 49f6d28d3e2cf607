//! What stands beside an object's content: its tags, and where its parts begin.

use std::collections::BTreeMap;

use http::HeaderValue;

use crate::item::{Key, Version};
use crate::source::http::{CallError, walk};
use crate::source::s3::bucket::{Bucket, version_query};
use crate::source::s3::checksum::{Algorithm, Offer, Parts};

/// The longest such document: ten tags, or a thousand parts with their checksums.
const DOCUMENT_BYTES: usize = 1 << 20;
/// S3 allows no more parts.
const MOST_PARTS: usize = 10_000;

/// The tags of an object.
///
/// # Errors
///
/// When the service refuses. An answer that is no XML counts as one that never came.
pub(super) async fn tags(
    bucket: &Bucket,
    key: &Key,
    version: &Version,
) -> Result<BTreeMap<String, String>, CallError> {
    let mut query = vec![("tagging", &b""[..])];
    query.extend(version_query(version));
    let document = match bucket.service.document(&bucket.get(key, &query), DOCUMENT_BYTES).await {
        Ok(document) => document,
        Err(CallError::Refused(fault)) if fault.code == "NoSuchTagSet" => {
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(error),
    };
    let mut tags = BTreeMap::new();
    let mut name = String::new();
    walk(&document, &mut |path, text| match path {
        "Tagging/TagSet/Tag/Key" => text.clone_into(&mut name),
        "Tagging/TagSet/Tag/Value" => {
            tags.insert(name.clone(), text.to_owned());
        }
        _ => {}
    })
    .map_err(|error| CallError::Invalid(Box::new(error)))?;
    Ok(tags)
}

/// Where the parts begin that `offer` sums up, if that can be found out.
pub(super) async fn parts(
    bucket: &Bucket,
    key: &Key,
    version: &Version,
    offer: &Offer,
) -> Option<Parts> {
    let count = offer.parts.filter(|count| *count > 1)?;
    if offer.algorithm != Algorithm::Md5 {
        let sizes = listed_parts(bucket, key, version).await.unwrap_or_default();
        if u32::try_from(sizes.len()) == Ok(count) {
            return Some(Parts::Exact(sizes));
        }
    }
    first_part(bucket, key, version).await.map(Parts::Uniform)
}

/// The parts as the service lists them; fewer or none if it does not.
async fn listed_parts(
    bucket: &Bucket,
    key: &Key,
    version: &Version,
) -> Result<Vec<u64>, CallError> {
    let mut query = vec![("attributes", &b""[..])];
    query.extend(version_query(version));
    let mut sizes: Vec<u64> = Vec::new();
    loop {
        let request = bucket
            .get(key, &query)
            .with("x-amz-object-attributes", HeaderValue::from_static("ObjectParts"))
            .with("x-amz-max-parts", HeaderValue::from_static("1000"))
            .with("x-amz-part-number-marker", HeaderValue::from(sizes.len()));
        let document = bucket.service.document(&request, DOCUMENT_BYTES).await?;
        let before = sizes.len();
        let mut more = false;
        walk(&document, &mut |path, text| match path.rsplit_once("ObjectParts/") {
            Some((_, "Part/Size")) => sizes.extend(text.trim().parse::<u64>().ok()),
            Some((_, "IsTruncated")) => more = text.trim() == "true",
            _ => {}
        })
        .map_err(|error| CallError::Invalid(Box::new(error)))?;
        if !more || sizes.len() == before || sizes.len() > MOST_PARTS {
            return Ok(sizes);
        }
    }
}

/// How long the first part is.
async fn first_part(bucket: &Bucket, key: &Key, version: &Version) -> Option<u64> {
    let mut query = vec![("partNumber", &b"1"[..])];
    query.extend(version_query(version));
    let reply = bucket.service.send(&bucket.head(key, &query)).await.ok()?;
    reply.headers.get("content-length")?.to_str().ok()?.parse().ok()
}
