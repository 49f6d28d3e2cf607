//! What the config says about a bucket.

use crate::source::http::{Credentials, Retry, Timeouts};

/// One bucket, and how to read it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://host:port` of a service other than Amazon's, without a path.
    pub endpoint: Option<String>,
    /// The region that requests are signed for, `eu-west-1`.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Only keys that begin with this; empty for all.
    pub prefix: String,
    /// How the bucket stands in the address.
    pub style: Style,
    /// Which versions are archived.
    pub versions: Versions,
    /// Where credentials come from.
    pub credentials: Credentials,
    /// The most requests under way at once, at least 1.
    pub concurrency: u32,
    /// Whether this account pays for what it reads from the bucket of another.
    pub requester_pays: bool,
    /// When tags are asked for.
    pub tags: Tags,
    /// What an entity tag that looks like an MD5 is.
    pub etag: EtagMeaning,
    /// How often to repeat what failed.
    pub retry: Retry,
    /// How long to wait for answers.
    pub timeouts: Timeouts,
}

/// How the bucket stands in the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// `https://host/bucket/key`.
    Path,
    /// `https://bucket.host/key`; for a bucket with dots in its name `https://host/bucket/key`, since
    /// no certificate covers the other.
    #[default]
    VirtualHost,
}

/// Which versions of an object are archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Versions {
    /// What a reader without a version id gets.
    #[default]
    Current,
    /// Every version, and the delete markers between them.
    All,
}

/// When tags are asked for. Each time is one request more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tags {
    /// Never.
    Never,
    /// When the answer says that there are some, as Amazon's does.
    #[default]
    Counted,
    /// For every object, since the service does not say.
    Always,
}

/// What an entity tag of 32 hexadecimal digits is, on objects that no customer key encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EtagMeaning {
    /// The MD5 of the content (with `-N`: of its parts), as at Amazon.
    #[default]
    Md5,
    /// Anything.
    Opaque,
}

impl Settings {
    /// Requests under way at once, unless the config says otherwise.
    pub const CONCURRENCY: u32 = 16;

    /// The current objects of a bucket of Amazon's, with everything else as most want it.
    pub fn new(region: &str, bucket: &str, credentials: Credentials) -> Self {
        Self {
            endpoint: None,
            region: region.to_owned(),
            bucket: bucket.to_owned(),
            prefix: String::new(),
            style: Style::default(),
            versions: Versions::default(),
            credentials,
            concurrency: Self::CONCURRENCY,
            requester_pays: false,
            tags: Tags::default(),
            etag: EtagMeaning::default(),
            retry: Retry::default(),
            timeouts: Timeouts::default(),
        }
    }
}
