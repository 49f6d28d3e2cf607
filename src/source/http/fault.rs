//! An answer that says no.

use std::fmt;

use http::{HeaderMap, StatusCode};

use crate::printable::Printable;

use super::xml::walk;

/// A service's refusal, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The HTTP status.
    pub status: u16,
    /// The service's code (`NoSuchKey`), or empty when it gave none, as on every HEAD.
    pub code: String,
    /// The service's explanation, or empty.
    pub message: String,
    /// The request id that the vendor's support asks for, or empty.
    pub request_id: String,
    /// The region that the service says is the right one, or empty.
    pub region: String,
    /// The service's own time (its `date` header), or empty.
    pub date: String,
}

impl Fault {
    /// Reads an answer's status, headers and body. A body that is no XML leaves the code empty.
    pub fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let mut fault = Self {
            status: status.as_u16(),
            request_id: header("x-amz-request-id"),
            region: header("x-amz-bucket-region"),
            date: header("date"),
            ..Self::default()
        };
        let mut read = fault.clone();
        let whole = walk(body, &mut |path, text| match path.rsplit('/').next() {
            Some("Code") => read.code = text.to_owned(),
            Some("Message") => read.message = text.to_owned(),
            Some("Region") => read.region = text.to_owned(),
            _ => {}
        });
        if whole.is_ok() {
            fault = read;
        }
        fault
    }

    /// Whether the status is `status`, or the code is `code`.
    pub fn is(&self, status: u16, code: &str) -> bool {
        if self.code.is_empty() { self.status == status } else { self.code == code }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service answered {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", Printable::from(self.code.as_str()))?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", Printable::from(self.message.as_str()))?;
        }
        if !self.request_id.is_empty() {
            write!(f, " (request {})", Printable::from(self.request_id.as_str()))?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_and_shown_safely() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-request-id", "R1".parse().unwrap());
        let body = b"<Error><Code>NoSuchKey</Code><Message>gone\x1b</Message></Error>";
        let fault = Fault::read(StatusCode::NOT_FOUND, &headers, body);
        assert_eq!(fault.to_string(), "the service answered 404 NoSuchKey: gone\\x1b (request R1)");
        assert!(fault.is(404, "NoSuchKey"));
        assert!(!fault.is(404, "NoSuchBucket"));
        assert!(Fault::read(StatusCode::NOT_FOUND, &headers, b"").is(404, "NoSuchKey"));
        assert_eq!(Fault::read(StatusCode::NOT_FOUND, &headers, b"<Error><Code>X").code, "");
    }
}
