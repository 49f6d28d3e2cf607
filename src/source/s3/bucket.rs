//! One bucket: its address, its requests, and what its refusals mean for a job.

use std::{error::Error, sync::Arc};

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::clock::Clock;
use crate::item::{Key, Version};
use crate::printable::Redacted;
use crate::source::SourceError;
use crate::source::http::{CallError, Dialect, Fault, Request, Service, ServiceSettings};

use super::settings::{Settings, Style, Versions};

/// Everything but what RFC 3986 leaves unreserved.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// A key's slashes stand as they are.
const KEY: &AsciiSet = &VALUE.remove(b'/');

/// A bucket that can be asked.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) service: Service,
    pub(super) settings: Settings,
    /// What errors call it.
    pub(super) name: String,
    /// Scheme and host.
    base: String,
    /// What stands before a key: `/` or `/bucket/`.
    root: String,
}

/// The endpoint is not `http://host` or `https://host`.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint has to be http:// or https:// with a host, and nothing after it")]
struct BadEndpoint;

/// The bucket is in another region than the config says.
#[derive(Debug, thiserror::Error)]
#[error("the bucket is in region {right}, the config says {configured}")]
struct WrongRegion {
    right: String,
    configured: String,
}

/// The credentials may not do what they have to.
#[derive(Debug, thiserror::Error)]
#[error("the credentials need {permission} for this")]
struct Lacking {
    permission: &'static str,
    #[source]
    fault: Fault,
}

/// What a refusal says; with the permission that was asked for, if that is what it is about.
pub(super) fn told(fault: Fault, permission: &'static str) -> Box<dyn Error + Send + Sync> {
    let is_permission = fault.status == 403 && matches!(&*fault.code, "" | "AccessDenied");
    if is_permission { Box::new(Lacking { permission, fault }) } else { Box::new(fault) }
}

/// The permission that reading an object takes.
pub(super) fn to_read(version: &Version) -> &'static str {
    if version.is_none() { "s3:GetObject" } else { "s3:GetObjectVersion" }
}

/// The permission that reading an object's tags takes.
pub(super) fn to_read_tags(version: &Version) -> &'static str {
    if version.is_none() { "s3:GetObjectTagging" } else { "s3:GetObjectVersionTagging" }
}

impl Bucket {
    /// The permission that a listing takes.
    pub(super) fn to_list(&self) -> &'static str {
        match self.settings.versions {
            Versions::Current => "s3:ListBucket",
            Versions::All => "s3:ListBucketVersions",
        }
    }

    /// Works out the address.
    ///
    /// # Errors
    ///
    /// When the endpoint is no address, or the machine's certificate store cannot be read.
    pub(super) fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let endpoint = match &settings.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://s3.{}.amazonaws.com", settings.region),
        };
        let name = format!("bucket {} at {}", settings.bucket, Redacted(&endpoint));
        let not_found = |cause: Box<dyn Error + Send + Sync>| SourceError::NotFound {
            source_name: name.clone(),
            cause,
        };
        // No certificate covers the host name of a bucket with dots.
        let dotted = endpoint.starts_with("https://") && settings.bucket.contains('.');
        let style = if dotted { Style::Path } else { settings.style };
        let (base, root) = match style {
            Style::Path => (
                endpoint.clone(),
                format!("/{}/", percent_encode(settings.bucket.as_bytes(), VALUE)),
            ),
            Style::VirtualHost => {
                let (scheme, host) =
                    endpoint.split_once("://").ok_or_else(|| not_found(Box::new(BadEndpoint)))?;
                (format!("{scheme}://{}.{host}", settings.bucket), "/".to_owned())
            }
        };
        check_endpoint(&base).map_err(|error| not_found(Box::new(error)))?;
        let service = Service::new(
            ServiceSettings {
                service: "s3",
                dialect: Dialect::S3,
                region: settings.region.clone(),
                credentials: settings.credentials.clone(),
                concurrency: settings.concurrency,
                retry: settings.retry,
                timeouts: settings.timeouts,
            },
            clock,
        )
        .map_err(|error| not_found(Box::new(error)))?;
        Ok(Self { service, settings, name, base, root })
    }

    /// A request for the bucket itself.
    pub(super) fn list(&self, query: &[(&str, &[u8])]) -> Request {
        self.paying(Request::get(&self.base, format!("{}{}", self.root, encode_query(query))))
    }

    /// A request for an object's head.
    pub(super) fn head(&self, key: &Key, query: &[(&str, &[u8])]) -> Request {
        self.paying(Request::head(&self.base, self.target(key, query)))
    }

    /// A request for an object, or with a sub-resource (`tagging`) for something about it.
    pub(super) fn get(&self, key: &Key, query: &[(&str, &[u8])]) -> Request {
        self.paying(Request::get(&self.base, self.target(key, query)))
    }

    fn target(&self, key: &Key, query: &[(&str, &[u8])]) -> String {
        format!("{}{}{}", self.root, percent_encode(&key.0, KEY), encode_query(query))
    }

    fn paying(&self, request: Request) -> Request {
        if !self.settings.requester_pays {
            return request;
        }
        request.with("x-amz-request-payer", HeaderValue::from_static("requester"))
    }

    /// What a failed request, which took this permission, means for the whole job.
    pub(super) fn failure(
        &self,
        (operation, permission): (&'static str, &'static str),
        error: CallError,
    ) -> SourceError {
        let source_name = self.name.clone();
        match error {
            CallError::Refused(fault) => self.refusal(operation, permission, fault),
            CallError::Exhausted { attempts, cause, .. } => {
                SourceError::Lost { operation, source_name, attempts, cause }
            }
            CallError::Credentials(error) => {
                SourceError::Denied { operation, source_name, cause: Box::new(error) }
            }
            CallError::Invalid(cause) => SourceError::NotFound { source_name, cause },
        }
    }

    fn refusal(
        &self,
        operation: &'static str,
        permission: &'static str,
        fault: Fault,
    ) -> SourceError {
        let source_name = self.name.clone();
        let configured = &self.settings.region;
        let elsewhere = !fault.region.is_empty() && fault.region != *configured;
        if elsewhere && matches!(fault.status, 301 | 307 | 400) {
            let cause = WrongRegion { right: fault.region, configured: configured.clone() };
            return SourceError::NotFound { source_name, cause: Box::new(cause) };
        }
        match fault.status {
            401 | 403 => {
                SourceError::Denied { operation, source_name, cause: told(fault, permission) }
            }
            400 if is_about_keys(&fault) => {
                SourceError::Denied { operation, source_name, cause: Box::new(fault) }
            }
            300..=399 | 404 => SourceError::NotFound { source_name, cause: Box::new(fault) },
            _ => SourceError::Protocol { source_name, what: fault.to_string() },
        }
    }
}

/// Whether a refusal is about who asks, so that every further request meets it too.
pub(super) fn is_about_keys(fault: &Fault) -> bool {
    matches!(
        fault.code.as_str(),
        "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "InvalidSecurity"
            | "AccountProblem"
            | "NotSignedUp"
            | "RequestTimeTooSkewed"
            | "AuthorizationHeaderMalformed"
    )
}

/// The query that names a version, if there is one.
pub(super) fn version_query(version: &Version) -> Option<(&'static str, &[u8])> {
    (!version.is_none()).then_some(("versionId", version.0.as_bytes()))
}

fn encode_query(query: &[(&str, &[u8])]) -> String {
    let mut text = String::new();
    for (name, value) in query {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.extend(percent_encode(value, VALUE));
    }
    text
}

fn check_endpoint(base: &str) -> Result<(), BadEndpoint> {
    let uri: http::Uri = base.parse().map_err(|_| BadEndpoint)?;
    let scheme = uri.scheme_str().unwrap_or_default();
    let bare = uri.path() == "/" && uri.query().is_none();
    let user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    let good = matches!(scheme, "http" | "https") && bare && !user && uri.host().is_some();
    good.then_some(()).ok_or(BadEndpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::source::http::Credentials;

    fn bucket(endpoint: Option<&str>, style: Style) -> Result<Bucket, SourceError> {
        let credentials = Credentials::Environment {
            key_id: "A".into(),
            secret: "B".into(),
            session_token: None,
        };
        let mut settings = Settings::new("eu-west-1", "b", credentials);
        settings.endpoint = endpoint.map(str::to_owned);
        settings.style = style;
        Bucket::new(settings, Arc::new(SystemClock::new()))
    }

    #[test]
    fn keys_stand_in_the_address_byte_for_byte() {
        let path = bucket(Some("http://127.0.0.1:9/"), Style::Path).unwrap();
        let host = bucket(None, Style::VirtualHost).unwrap();
        for (key, target) in [
            (&b"."[..], "."),
            (b"..", ".."),
            (b"a//b", "a//b"),
            (b"/a", "/a"),
            (b"a+b c?d#e%", "a%2Bb%20c%3Fd%23e%25"),
            (b"\n\x01\xff", "%0A%01%FF"),
            ("\u{fffd}~".as_bytes(), "%EF%BF%BD~"),
        ] {
            let key = Key(key.to_vec());
            assert_eq!(path.get(&key, &[]).target, format!("/b/{target}"));
            assert_eq!(host.get(&key, &[]).target, format!("/{target}"));
        }
        assert_eq!(host.get(&Key::from("k"), &[]).base, "https://b.s3.eu-west-1.amazonaws.com");
        let query = [("tagging", &b""[..]), ("versionId", b"a+/=")];
        assert_eq!(path.get(&Key::from("k"), &query).target, "/b/k?tagging=&versionId=a%2B%2F%3D");
    }

    #[test]
    fn a_bucket_with_dots_stands_in_the_path_where_certificates_matter() {
        let credentials = Credentials::Environment {
            key_id: "A".into(),
            secret: "B".into(),
            session_token: None,
        };
        let settings = Settings::new("eu-west-1", "b.c", credentials);
        let bucket = Bucket::new(settings, Arc::new(SystemClock::new())).unwrap();
        let request = bucket.get(&Key::from("k"), &[]);
        assert_eq!(
            (request.base.as_str(), request.target.as_str()),
            ("https://s3.eu-west-1.amazonaws.com", "/b.c/k")
        );
    }

    #[test]
    fn whoever_pays_says_so_in_each_request() {
        let mut bucket = bucket(None, Style::Path).unwrap();
        let paying = |request: Request| {
            request
                .headers
                .iter()
                .any(|(name, value)| name == "x-amz-request-payer" && value == "requester")
        };
        let key = Key::from("k");
        assert!(!paying(bucket.get(&key, &[])));
        bucket.settings.requester_pays = true;
        assert!(paying(bucket.get(&key, &[])));
        assert!(paying(bucket.head(&key, &[])));
        assert!(paying(bucket.list(&[])));
    }

    #[test]
    fn an_endpoint_is_scheme_and_host() {
        for endpoint in
            ["127.0.0.1:9", "ftp://h", "http://h/path", "http://u:p@h", "http://", "https://h?x=1"]
        {
            for style in [Style::Path, Style::VirtualHost] {
                let error = bucket(Some(endpoint), style).unwrap_err();
                assert!(matches!(error, SourceError::NotFound { .. }), "{endpoint}: {error}");
            }
        }
    }
}
