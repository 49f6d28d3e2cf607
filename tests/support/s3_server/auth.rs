//! Signature Version 4, checked: written from the rules, not with the crate that signs.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tapevault::clock::Timestamp;

use super::wire::{Answer, Request, percent_decode, percent_encode};

/// A clock may be off by this much.
const TOLERANCE: Duration = Duration::from_secs(15 * 60);

/// Whose signature is accepted.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) region: String,
    pub(crate) service: &'static str,
    /// What has to come with the signature.
    pub(crate) session_token: Option<String>,
}

impl Keys {
    /// Refuses what is not signed rightly.
    pub(crate) fn check(&self, request: &Request, now: Timestamp) -> Result<(), Answer> {
        let header = request.header("authorization").unwrap_or_default();
        let Some(fields) = header.strip_prefix("AWS4-HMAC-SHA256 ") else {
            return Err(Answer::refusal(403, "AccessDenied"));
        };
        let field = |name: &str| {
            let mut fields = fields.split(',').map(str::trim);
            fields.find_map(|field| field.strip_prefix(name)).unwrap_or_default()
        };
        let date = request.header("x-amz-date").unwrap_or_default();
        let day = date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        match field("Credential=").split_once('/') {
            Some((id, _)) if id != self.id => {
                return Err(Answer::refusal(403, "InvalidAccessKeyId"));
            }
            Some((_, signed_scope)) if signed_scope == scope => {}
            _ => {
                return Err(Answer::refusal(400, "AuthorizationHeaderMalformed")
                    .with("x-amz-bucket-region", &self.region));
            }
        }
        let Some(signed_at) = parse_date(date) else {
            return Err(Answer::refusal(403, "AccessDenied"));
        };
        if now.since(signed_at) > TOLERANCE || signed_at.since(now) > TOLERANCE {
            return Err(Answer::refusal(403, "RequestTimeTooSkewed"));
        }
        let canonical = canonical(request, field("SignedHeaders="));
        let hash = hex(&Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
        let secret = format!("AWS4{}", self.secret);
        let key = [day, &self.region, self.service, "aws4_request"]
            .iter()
            .fold(secret.into_bytes(), |key, text| hmac(&key, text.as_bytes()).to_vec());
        if hex(&hmac(&key, to_sign.as_bytes())) != field("Signature=") {
            return Err(Answer::refusal(403, "SignatureDoesNotMatch"));
        }
        if request.header("x-amz-security-token") != self.session_token.as_deref() {
            return Err(Answer::refusal(400, "InvalidToken"));
        }
        Ok(())
    }
}

/// The canonical request. S3 takes the path as it is, without normalising it.
fn canonical(request: &Request, signed: &str) -> String {
    let path = percent_encode(&percent_decode(request.path()), b"/");
    let mut query: Vec<(String, String)> = request
        .query()
        .iter()
        .map(|(name, value)| (percent_encode(name, b""), percent_encode(value, b"")))
        .collect();
    query.sort();
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers: String = signed
        .split(';')
        .map(|name| {
            let words: Vec<&str> =
                request.header(name).unwrap_or_default().split_ascii_whitespace().collect();
            format!("{name}:{}\n", words.join(" "))
        })
        .collect();
    let hash = hex(&Sha256::digest(&request.body));
    let query = query.join("&");
    format!("{}\n{path}\n{query}\n{headers}\n{signed}\n{hash}", request.method)
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner: Vec<u8> = block.iter().map(|byte| byte ^ 0x36).chain(text.iter().copied()).collect();
    let outer: Vec<u8> =
        block.iter().map(|byte| byte ^ 0x5c).chain(Sha256::digest(inner)).collect();
    Sha256::digest(outer).into()
}

/// `20130524T000000Z`.
fn parse_date(text: &str) -> Option<Timestamp> {
    let part = |range| text.get(range);
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(9..11)?, part(11..13)?, part(13..15)?);
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z").parse().ok()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
