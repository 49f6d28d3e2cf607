//! Requests to one service: signed, repeated while that helps, and judged.

use std::{
    error::Error,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::clock::{Clock, Timestamp};

use super::{
    client::{Client, HttpError, Method, Reply, Request, Timeouts},
    credentials::{Credentials, CredentialsError, Keyring},
    fault::Fault,
    limit::Limiter,
    sign::{Dialect, SignError, Signer},
};

/// The longest refusal that is read.
const FAULT_BYTES: usize = 64 << 10;

/// How often, and how far apart, a request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// The longest pause before the second attempt; it doubles with each further one.
    pub first: Duration,
    /// No pause is longer.
    pub longest: Duration,
}

/// What a [`Service`] needs to know.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// The name that requests are signed for, `s3`.
    pub service: &'static str,
    /// How paths are signed.
    pub dialect: Dialect,
    /// The region that requests are signed for.
    pub region: String,
    /// Where keys come from.
    pub credentials: Credentials,
    /// The most requests under way at once.
    pub concurrency: u32,
    /// How often to repeat.
    pub retry: Retry,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// One service with its connections and keys.
#[derive(Debug)]
pub struct Service {
    client: Client,
    signer: Signer,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
    retry: Retry,
    limiter: Arc<Limiter>,
    /// What to add to this machine's time to get the service's, in seconds.
    skew_seconds: AtomicI64,
}

/// Why there is no answer to use.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The service refuses, and will again.
    #[error(transparent)]
    Refused(Fault),
    /// Each attempt failed in a way that might have passed.
    #[error("no usable answer in {attempts} attempts")]
    Exhausted {
        /// How many.
        attempts: u32,
        /// Whether the last one was an answer (an internal error), not silence.
        fault: Option<Fault>,
        /// The last cause.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// There is nothing to sign with.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The request cannot be signed or sent as it is.
    #[error("the request cannot be made")]
    Invalid(#[source] Box<dyn Error + Send + Sync>),
}

/// What one attempt came to, short of an answer.
enum Failure {
    Fault(Fault),
    Transfer(HttpError),
}

/// What follows a failed attempt.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait,
    SlowDown,
    CorrectClock,
    RenewKeys,
    Refuse,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 8, first: Duration::from_millis(200), longest: Duration::from_secs(20) }
    }
}

impl Retry {
    /// The pause before attempt `next` (from 2): anything up to a bound that doubles, so that many
    /// clients do not come back together.
    pub fn pause(&self, next: u32) -> Duration {
        let doublings = next.saturating_sub(2).min(20);
        let bound = self.first.saturating_mul(1 << doublings).min(self.longest);
        let random = RandomState::new().hash_one(next);
        bound
            .mul_f64(f64::from(u32::try_from(random >> 32).expect("32 bits")) / f64::from(u32::MAX))
    }
}

impl Service {
    /// A service that has not been spoken to.
    ///
    /// # Errors
    ///
    /// When the machine's certificate store cannot be read.
    pub fn new(settings: ServiceSettings, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let connections = usize::try_from(settings.concurrency).unwrap_or(usize::MAX);
        Ok(Self {
            client: Client::new(connections, settings.timeouts)?,
            signer: Signer::new(&settings.region, settings.service, settings.dialect),
            keyring: Keyring::new(settings.credentials, &settings.region),
            limiter: Limiter::new(settings.concurrency, Arc::clone(&clock)),
            clock,
            retry: settings.retry,
            skew_seconds: AtomicI64::new(0),
        })
    }

    /// Bounds the requests under way. Whoever asks for content holds a permit of it meanwhile.
    pub fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }

    /// How often to repeat what broke off after its head.
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// Sends a request until there is an answer with a status of success, whose body is still to
    /// come.
    ///
    /// # Errors
    ///
    /// When the service refuses, or each attempt fails.
    pub async fn send(&self, request: &Request) -> Result<Reply, CallError> {
        let mut corrected = false;
        let mut renewed = false;
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(request).await? {
                Ok(reply) => {
                    self.limiter.succeeded();
                    return Ok(reply);
                }
                Err(failure) => failure,
            };
            match judge(&failure, request.method) {
                Next::CorrectClock if !corrected => {
                    corrected = true;
                    self.correct_clock(&failure);
                    continue;
                }
                Next::RenewKeys if !renewed => {
                    renewed = true;
                    self.keyring.forget().await;
                    continue;
                }
                Next::SlowDown => self.limiter.throttled(),
                Next::Wait => {}
                Next::CorrectClock | Next::RenewKeys | Next::Refuse => {
                    return Err(refused(failure));
                }
            }
            if attempt >= self.retry.attempts {
                return Err(exhausted(failure, attempt));
            }
            attempt += 1;
            failure.log(attempt);
            tokio::time::sleep(self.retry.pause(attempt)).await;
        }
    }

    /// Sends a request and reads its whole answer, of at most `limit` bytes. An answer that breaks
    /// off, and a refusal that came with a status of success, count as failed attempts.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn document(&self, request: &Request, limit: usize) -> Result<Vec<u8>, CallError> {
        let mut attempt = 1;
        loop {
            let reply = self.send(request).await?;
            let (status, headers) = (reply.status, reply.headers);
            let failure = match reply.body.document(limit).await {
                Ok(document) if is_fault(&document) => {
                    let fault = Fault::read(status, &headers, &document);
                    let failure = Failure::Fault(fault);
                    match judge(&failure, request.method) {
                        Next::SlowDown => self.limiter.throttled(),
                        Next::Wait => {}
                        Next::CorrectClock | Next::RenewKeys | Next::Refuse => {
                            return Err(refused(failure));
                        }
                    }
                    failure
                }
                Ok(document) => return Ok(document),
                Err(error) => Failure::Transfer(error),
            };
            if attempt >= self.retry.attempts {
                return Err(exhausted(failure, attempt));
            }
            attempt += 1;
            failure.log(attempt);
            tokio::time::sleep(self.retry.pause(attempt)).await;
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Result<Reply, Failure>, CallError> {
        let now = self.clock.now();
        let keys = self.keyring.keys(now).await?;
        let mut built = request.build().map_err(|error| CallError::Invalid(Box::new(error)))?;
        self.signer
            .sign(&mut built, &keys, self.corrected(now))
            .map_err(|error: SignError| CallError::Invalid(Box::new(error)))?;
        let reply = match self.client.send(built).await {
            Ok(reply) => reply,
            Err(error) => return Ok(Err(Failure::Transfer(error))),
        };
        if reply.status.is_success() {
            return Ok(Ok(reply));
        }
        let (status, headers) = (reply.status, reply.headers);
        // Without its body a refusal still has its status.
        let body = reply.body.document(FAULT_BYTES).await.unwrap_or_default();
        Ok(Err(Failure::Fault(Fault::read(status, &headers, &body))))
    }

    fn corrected(&self, now: Timestamp) -> Timestamp {
        let skew = i128::from(self.skew_seconds.load(Ordering::Relaxed));
        Timestamp::from_nanoseconds(now.nanoseconds() + skew * 1_000_000_000)
    }

    fn correct_clock(&self, failure: &Failure) {
        let Failure::Fault(fault) = failure else { return };
        let Some(theirs) = parse_date(&fault.date) else { return };
        let seconds = (theirs.nanoseconds() - self.clock.now().nanoseconds()) / 1_000_000_000;
        let seconds = i64::try_from(seconds).unwrap_or_default();
        tracing::warn!(seconds, "this machine's clock differs from the service's");
        self.skew_seconds.store(seconds, Ordering::Relaxed);
    }
}

/// Reads the date of an HTTP header, `Wed, 12 Oct 2009 17:50:00 GMT`.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp::from_nanoseconds(zoned.timestamp().as_nanosecond()))
}

/// Whether a document is an `<Error>`, whatever status it came with.
fn is_fault(document: &[u8]) -> bool {
    let start = &document[..document.len().min(256)];
    let text = String::from_utf8_lossy(start);
    let mut rest = text.trim_start_matches(['\u{feff}', ' ', '\r', '\n', '\t']);
    if rest.starts_with("<?") {
        rest = rest.split_once("?>").map_or("", |(_, after)| after.trim_start());
    }
    rest.starts_with("<Error>") || rest.starts_with("<Error ")
}

fn judge(failure: &Failure, method: Method) -> Next {
    let fault = match failure {
        Failure::Transfer(HttpError::TooLong { .. } | HttpError::Invalid(_)) => {
            return Next::Refuse;
        }
        Failure::Transfer(
            HttpError::NoAnswer { .. } | HttpError::Timeout { .. } | HttpError::BrokenOff(_),
        ) => return Next::Wait,
        Failure::Fault(fault) => fault,
    };
    match (fault.code.as_str(), fault.status) {
        (
            "SlowDown"
            | "ServiceUnavailable"
            | "Throttling"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "Busy",
            _,
        )
        | ("", 429 | 503) => Next::SlowDown,
        ("RequestTimeTooSkewed", _) => Next::CorrectClock,
        ("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired", _) => Next::RenewKeys,
        // A HEAD has no body to say which refusal it is.
        ("", 400 | 403) if method == Method::Head => Next::RenewKeys,
        ("InternalError" | "RequestTimeout" | "OperationAborted", _) => Next::Wait,
        (_, 429 | 503) => Next::SlowDown,
        (_, 500 | 502 | 504) => Next::Wait,
        _ => Next::Refuse,
    }
}

fn refused(failure: Failure) -> CallError {
    match failure {
        Failure::Fault(fault) => CallError::Refused(fault),
        Failure::Transfer(error) => CallError::Invalid(Box::new(error)),
    }
}

fn exhausted(failure: Failure, attempts: u32) -> CallError {
    match failure {
        Failure::Fault(fault) => {
            CallError::Exhausted { attempts, fault: Some(fault.clone()), cause: Box::new(fault) }
        }
        Failure::Transfer(error) => {
            CallError::Exhausted { attempts, fault: None, cause: Box::new(error) }
        }
    }
}

impl Failure {
    fn log(&self, next: u32) {
        match self {
            Self::Fault(fault) => tracing::debug!(%fault, next, "trying again"),
            Self::Transfer(error) => {
                tracing::debug!(error = error as &dyn Error, next, "trying again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, code: &str) -> Failure {
        Failure::Fault(Fault { status, code: code.to_owned(), ..Fault::default() })
    }

    #[test]
    fn each_refusal_has_its_next_step() {
        for (status, code, next) in [
            (503, "SlowDown", Next::SlowDown),
            (503, "", Next::SlowDown),
            (429, "Whatever", Next::SlowDown),
            (200, "InternalError", Next::Wait),
            (502, "", Next::Wait),
            (403, "RequestTimeTooSkewed", Next::CorrectClock),
            (400, "ExpiredToken", Next::RenewKeys),
            (403, "AccessDenied", Next::Refuse),
            (403, "", Next::Refuse),
            (404, "NoSuchKey", Next::Refuse),
            (301, "PermanentRedirect", Next::Refuse),
            (412, "PreconditionFailed", Next::Refuse),
        ] {
            assert_eq!(judge(&fault(status, code), Method::Get), next, "{status} {code}");
        }
        assert_eq!(judge(&fault(403, ""), Method::Head), Next::RenewKeys);
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let retry = Retry::default();
        for next in 2..40 {
            let bound = retry.first.saturating_mul(1 << (next - 2).min(20)).min(retry.longest);
            assert!(retry.pause(next) <= bound, "before attempt {next}");
        }
    }

    #[test]
    fn a_refusal_is_known_by_its_first_element() {
        assert!(is_fault(b"<Error><Code>SlowDown</Code></Error>"));
        assert!(is_fault(b"<?xml version=\"1.0\"?>\n<Error>"));
        assert!(!is_fault(b"<ListBucketResult><Error>"));
        assert!(!is_fault(b""));
    }

    #[test]
    fn dates_of_headers_are_read() {
        let date = parse_date("Wed, 12 Oct 2009 17:50:00 GMT");
        assert_eq!(date, None, "that was a Monday");
        let date = parse_date("Mon, 12 Oct 2009 17:50:00 GMT").unwrap();
        assert_eq!(date.to_string(), "2009-10-12T17:50:00Z");
    }
}
