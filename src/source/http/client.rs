//! One request, one answer: pooled connections, bounded waits, nothing clever.

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::HeaderName};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

/// What a request asks. There is nothing that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Headers and content.
    Get,
    /// Headers.
    Head,
}

/// A request before it is signed.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// Scheme and host, `https://bucket.s3.eu-west-1.amazonaws.com`.
    pub base: String,
    /// Path and query, encoded as they are to be sent.
    pub target: String,
    /// Headers, names in lower case.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// How long to wait. None of these runs while the caller is busy with what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the head of an answer.
    pub head: Duration,
    /// For the next bytes of a body.
    pub idle: Duration,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
}

/// A body on its way.
pub struct Body {
    incoming: Incoming,
    idle: Duration,
}

/// The exchange did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, or it broke before the answer.
    #[error("no answer from {host}")]
    NoAnswer {
        /// The host.
        host: String,
        /// The cause.
        #[source]
        cause: legacy::Error,
    },
    /// Nothing came for too long.
    #[error("{what} took longer than {} s", limit.as_secs())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The body broke off.
    #[error("the answer broke off")]
    BrokenOff(#[source] hyper::Error),
    /// The body is longer than such a document can be.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The address or a header is not valid.
    #[error("the request is not valid")]
    Invalid(#[source] http::Error),
}

/// Keeps connections and sends requests over them.
#[derive(Clone, Debug)]
pub(super) struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    timeouts: Timeouts,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            head: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        }
    }
}

impl Method {
    fn as_http(self) -> http::Method {
        match self {
            Self::Get => http::Method::GET,
            Self::Head => http::Method::HEAD,
        }
    }
}

impl Request {
    /// A GET of `target` at `base`.
    pub fn get(base: &str, target: String) -> Self {
        Self { method: Method::Get, base: base.to_owned(), target, headers: Vec::new() }
    }

    /// A HEAD of `target` at `base`.
    pub fn head(base: &str, target: String) -> Self {
        Self { method: Method::Head, ..Self::get(base, target) }
    }

    /// The same with one header more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.push((HeaderName::from_static(name), value));
        self
    }

    /// The request as hyper takes it, the host among its headers since it is to be signed.
    pub(super) fn build(&self) -> Result<http::Request<Empty<Bytes>>, HttpError> {
        let mut request = http::Request::builder()
            .method(self.method.as_http())
            .uri(format!("{}{}", self.base, self.target))
            .body(Empty::new())
            .map_err(HttpError::Invalid)?;
        let host = request.uri().authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(host).map_err(|error| HttpError::Invalid(error.into()))?;
        let headers = request.headers_mut();
        headers.insert(http::header::HOST, host);
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        Ok(request)
    }
}

impl Client {
    /// A client that keeps up to `connections` idle connections a host.
    ///
    /// # Errors
    ///
    /// When the machine's certificate store cannot be read.
    pub(super) fn new(connections: usize, timeouts: Timeouts) -> io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeouts.connect));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(15))
            .pool_max_idle_per_host(connections)
            .build(connector);
        Ok(Self { inner, timeouts })
    }

    /// Sends one request.
    ///
    /// # Errors
    ///
    /// When no head of an answer came. Whatever status came is an answer.
    pub(super) async fn send(
        &self,
        request: http::Request<Empty<Bytes>>,
    ) -> Result<Reply, HttpError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let limit = self.timeouts.head;
        let reply = timeout(limit, self.inner.request(request))
            .await
            .map_err(|_| HttpError::Timeout { what: "the answer", limit })?
            .map_err(|cause| HttpError::NoAnswer { host, cause })?;
        let (parts, incoming) = reply.into_parts();
        let body = Body { incoming, idle: self.timeouts.idle };
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }
}

impl Body {
    /// The next bytes, or `None` at the end that the answer's head promised.
    ///
    /// # Errors
    ///
    /// When the body breaks off or nothing comes.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let frame = timeout(self.idle, self.incoming.frame()).await.map_err(|_| {
                HttpError::Timeout { what: "the next part of the answer", limit: self.idle }
            })?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(HttpError::BrokenOff(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// All of it, at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// When it breaks off or is longer.
    pub async fn document(mut self, limit: usize) -> Result<Vec<u8>, HttpError> {
        let mut document = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if document.len() + chunk.len() > limit {
                return Err(HttpError::TooLong { limit });
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}
