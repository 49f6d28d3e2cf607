//! What can go wrong with one object, sorted by what happens to it next.

use std::error::Error;

use crate::source::{
    Problem, SinkError, SourceError,
    http::{CallError, Fault},
    s3::{
        bucket::{Bucket, is_about_keys, told},
        checksum::Mismatch,
    },
};

/// What errors call reading an object.
const OPERATION: &str = "read objects";

/// Why an object was not delivered.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is not what was listed any more: list it again.
    Changed,
    /// Its bytes are not those that the source summed up: read it again.
    Mismatch(Mismatch),
    /// The service fails on it each time. Met on one object it is a finding, on all of them the end.
    Stumble(Box<Fault>),
    /// It stays out of this run, for a reason.
    Finding(Problem, Box<dyn Error + Send + Sync>),
    /// Nothing more can be read.
    Fatal(SourceError),
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        Self::Fatal(error)
    }
}

impl From<SinkError> for Trouble {
    fn from(error: SinkError) -> Self {
        Self::Fatal(error.into())
    }
}

impl Trouble {
    /// What a failed request for one object, which took this permission, means.
    pub(super) fn from_call(bucket: &Bucket, permission: &'static str, error: CallError) -> Self {
        match error {
            CallError::Refused(fault) => Self::from_refusal(bucket, permission, fault),
            CallError::Exhausted { fault: Some(fault), .. } if fault.is(500, "InternalError") => {
                Self::Stumble(Box::new(fault))
            }
            CallError::Invalid(cause) => Self::Finding(Problem::Unreadable, cause),
            CallError::Exhausted { .. } | CallError::Credentials(_) => {
                Self::Fatal(bucket.failure((OPERATION, permission), error))
            }
        }
    }

    fn from_refusal(bucket: &Bucket, permission: &'static str, fault: Fault) -> Self {
        let problem = match (fault.status, fault.code.as_str()) {
            (412 | 416, _) => return Self::Changed,
            (_, "NoSuchBucket") | (300..=399, _) => return Self::fatal(bucket, permission, fault),
            _ if is_about_keys(&fault) => return Self::fatal(bucket, permission, fault),
            // 405: the newest version is a delete marker by now.
            (404 | 405, _) => Problem::Vanished,
            (403, "InvalidObjectState") => Problem::Frozen,
            _ => Problem::Unreadable,
        };
        Self::Finding(problem, told(fault, permission))
    }

    fn fatal(bucket: &Bucket, permission: &'static str, fault: Fault) -> Self {
        Self::Fatal(bucket.failure((OPERATION, permission), CallError::Refused(fault)))
    }

    /// The other side does what no service may.
    pub(super) fn protocol(bucket: &Bucket, what: String) -> Self {
        Self::Fatal(SourceError::Protocol { source_name: bucket.name.clone(), what })
    }
}
