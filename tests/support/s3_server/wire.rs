//! HTTP/1.1 as far as an S3 client uses it.

use std::{
    io::{self, BufRead, Read, Write},
    time::Duration,
};

use tapevault::clock::{Clock, SystemClock};

/// A request, its target still encoded.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// As it was sent.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    /// How many bytes of the body are sent before the connection is closed, if not all.
    pub(crate) cut: Option<usize>,
    /// How long the connection stays open after the cut.
    pub(crate) lingers: Duration,
}

impl Request {
    /// Reads one request; `None` when the client has closed the connection.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::other("no request line"));
        };
        let mut request = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other("no colon"))?;
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = request.header("content-length").and_then(|text| text.parse().ok());
        from.take(length.unwrap_or(0)).read_to_end(&mut request.body)?;
        Ok(Some(request))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(has, _)| has == name).map(|(_, value)| value.as_str())
    }

    /// The encoded path.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query's names and values, decoded.
    pub(crate) fn query(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Some((_, query)) = self.target.split_once('?') else { return Vec::new() };
        query
            .split('&')
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (percent_decode(name), percent_decode(value))
            })
            .collect()
    }

    /// One value of the query, decoded.
    pub(crate) fn asked(&self, name: &str) -> Option<Vec<u8>> {
        self.query().into_iter().find(|(has, _)| has == name.as_bytes()).map(|(_, value)| value)
    }
}

impl Answer {
    pub(crate) fn new(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: Vec::new(), body, cut: None, lingers: Duration::ZERO }
    }

    /// A refusal as S3 words it.
    pub(crate) fn refusal(status: u16, code: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
             <Message>the server says {code}</Message></Error>"
        );
        Self::new(status, body.into_bytes()).with("content-type", "application/xml")
    }

    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Writes the answer. Returns whether the connection may be used again.
    pub(crate) fn write(self, to: &mut impl Write, is_head: bool, date: &str) -> io::Result<bool> {
        let mut head = format!("HTTP/1.1 {} -\r\ndate: {date}\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        if !self.headers.iter().any(|(name, _)| name == "content-length") {
            head.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        to.write_all(&head)?;
        if is_head {
            return Ok(true);
        }
        let sent = self.cut.unwrap_or(usize::MAX).min(self.body.len());
        to.write_all(&self.body[..sent])?;
        to.flush()?;
        let whole = sent == self.body.len();
        if !whole {
            SystemClock::new().sleep(self.lingers);
        }
        Ok(whole)
    }
}

/// Undoes percent-encoding; anything else stands for itself.
pub(crate) fn percent_decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = rest.get(1..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let (b'%', Some(value)) = (first, value) {
            bytes.push(value);
            rest = &rest[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

/// Encodes all but letters, digits, `-`, `.`, `_`, `~` and what `keep` adds.
pub(crate) fn percent_encode(bytes: &[u8], keep: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || keep.contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
