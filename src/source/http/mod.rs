//! A thin, signed HTTP client for cloud services.
//!
//! It only reads: a [`Request`] is a GET or a HEAD, and there is no way to say anything else. It
//! follows no redirect, decompresses nothing, and bounds every wait and every document. What is
//! worth repeating is repeated here; what an answer means is for the caller.

mod client;
mod credentials;
mod fault;
mod limit;
mod service;
mod sign;
mod xml;

pub use client::{Body, HttpError, Method, Reply, Request, Timeouts};
pub use credentials::{Credentials, CredentialsError, Role};
pub use fault::Fault;
pub use limit::{Limiter, Permit};
pub(crate) use service::parse_date;
pub use service::{CallError, Retry, Service, ServiceSettings};
pub use sign::{Dialect, SignError, Signer};
pub use xml::{XmlError, walk};
