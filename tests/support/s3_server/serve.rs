//! The server: connections, routes, and the faults that a test asks for.

use std::{
    io::{self, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tapevault::clock::{Clock, SystemClock, Timestamp};

use super::{
    auth::Keys,
    bucket::{Bucket, Put, Version},
    pages::{escape, list},
    roles::Role,
    wire::{Answer, Request, percent_decode},
};

/// What a server is started with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) key_id: String,
    pub(crate) secret: String,
    /// The most entries of a listing's page.
    pub(crate) page_entries: usize,
    /// How far its clock is ahead of this machine's, in seconds.
    pub(crate) clock_ahead: i64,
    /// The role that has to be taken on before the bucket may be read.
    pub(crate) role: Option<Role>,
}

/// How an answer goes wrong.
pub(crate) enum Fault {
    /// This refusal instead of it.
    Refuse(u16, &'static str),
    /// The bucket is said to be in this region.
    Redirect(&'static str),
    /// Only so many bytes of the body come, then the connection is closed.
    Cut(usize),
    /// Only so many bytes of the body come, then nothing for so long.
    Stall(usize, Duration),
    /// The byte at this place of the body is another one.
    Flip(usize),
    /// The answer waits.
    Wait(Duration),
    /// The document is rewritten.
    Edit(Box<dyn FnOnce(String) -> String + Send>),
    /// A header is left out.
    Without(&'static str),
}

type Hook = Box<dyn FnMut(&Request, &mut Bucket) -> Option<Fault> + Send>;

/// A server that runs until it is dropped.
pub(crate) struct S3Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    setup: Setup,
    clock: SystemClock,
    bucket: Mutex<Bucket>,
    hook: Mutex<Option<Hook>>,
    log: Mutex<Vec<Request>>,
    busy: AtomicUsize,
    busiest: AtomicUsize,
    closing: AtomicBool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            bucket: "bucket".to_owned(),
            region: "eu-test-1".to_owned(),
            key_id: "AKIDTAPEVAULT".to_owned(),
            secret: "secret/of+the=tests".to_owned(),
            page_entries: 1000,
            clock_ahead: 0,
            role: None,
        }
    }
}

impl S3Server {
    /// Starts a server on a free port of the loopback interface.
    pub(crate) fn start(setup: Setup) -> io::Result<Self> {
        Self::listen(setup, Bucket::default(), "127.0.0.1:0")
    }

    /// Starts a server of a bucket that has something in it, on an address of one's own.
    pub(crate) fn listen(setup: Setup, bucket: Bucket, address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            setup,
            clock: SystemClock::new(),
            bucket: Mutex::new(bucket),
            hook: Mutex::default(),
            log: Mutex::default(),
            busy: AtomicUsize::new(0),
            busiest: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.closing.load(Ordering::Acquire) {
                    return;
                }
                let serving = Arc::clone(&serving);
                // A client that goes away ends its connection and nothing else.
                thread::spawn(move || serving.converse(&stream).ok());
            }
        });
        Ok(Self { address, shared })
    }

    /// `http://127.0.0.1:port`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bucket, to look at and to change.
    pub(crate) fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.shared.bucket.lock().expect("no holder panics")
    }

    /// Writes an object.
    pub(crate) fn put(&self, key: impl AsRef<[u8]>, put: Put) -> String {
        let now = self.shared.now();
        self.bucket().put(key.as_ref(), put, now)
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, key: impl AsRef<[u8]>) -> String {
        let now = self.shared.now();
        self.bucket().delete(key.as_ref(), now)
    }

    /// Asks `hook` before each answer whether and how it goes wrong. It may change the bucket.
    pub(crate) fn misbehave(
        &self,
        hook: impl FnMut(&Request, &mut Bucket) -> Option<Fault> + Send + 'static,
    ) {
        *self.shared.hook.lock().expect("no holder panics") = Some(Box::new(hook));
    }

    /// The requests since this was last asked.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.shared.log.lock().expect("no holder panics"))
    }

    /// The most requests that were being answered at once.
    pub(crate) fn busiest(&self) -> usize {
        self.shared.busiest.load(Ordering::Acquire)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        // Wakes the accepting thread; if that fails, it has ended already.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn now(&self) -> Timestamp {
        let ahead = i128::from(self.setup.clock_ahead) * 1_000_000_000;
        Timestamp::from_nanoseconds(self.clock.now().nanoseconds() + ahead)
    }

    fn converse(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        let mut writer = stream;
        while let Some(request) = Request::read(&mut reader)? {
            let busy = self.busy.fetch_add(1, Ordering::AcqRel) + 1;
            self.busiest.fetch_max(busy, Ordering::AcqRel);
            let answer = self.answer(&request);
            // Before the answer is out: after it the client may begin the next at once.
            self.busy.fetch_sub(1, Ordering::AcqRel);
            let date = http_date(self.now());
            if !answer.write(&mut writer, request.method == "HEAD", &date)?
                || self.closing.load(Ordering::Acquire)
            {
                return stream.shutdown(std::net::Shutdown::Both);
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> Answer {
        self.log.lock().expect("no holder panics").push(request.clone());
        let own = Keys {
            id: self.setup.key_id.clone(),
            secret: self.setup.secret.clone(),
            region: self.setup.region.clone(),
            service: "s3",
            session_token: None,
        };
        let keys = match &self.setup.role {
            None => own,
            Some(role) if request.method == "POST" => {
                return role.take_on(own, request, self.now());
            }
            Some(role) => role.keys(own),
        };
        if let Err(refusal) = keys.check(request, self.now()) {
            return refusal;
        }
        let fault = {
            let mut bucket = self.bucket.lock().expect("no holder panics");
            let mut hook = self.hook.lock().expect("no holder panics");
            hook.as_mut().and_then(|hook| hook(request, &mut bucket))
        };
        match fault {
            None => self.route(request),
            Some(Fault::Refuse(status, code)) => Answer::refusal(status, code),
            Some(Fault::Redirect(region)) => {
                Answer::refusal(301, "PermanentRedirect").with("x-amz-bucket-region", region)
            }
            Some(Fault::Cut(after)) => Answer { cut: Some(after), ..self.route(request) },
            Some(Fault::Stall(after, lingers)) => {
                Answer { cut: Some(after), lingers, ..self.route(request) }
            }
            Some(Fault::Flip(at)) => {
                let mut answer = self.route(request);
                if let Some(byte) = answer.body.get_mut(at) {
                    *byte ^= 1;
                }
                answer
            }
            Some(Fault::Wait(pause)) => {
                self.clock.sleep(pause);
                self.route(request)
            }
            Some(Fault::Edit(edit)) => {
                let mut answer = self.route(request);
                let body = String::from_utf8(answer.body).expect("only documents are edited");
                answer.body = edit(body).into_bytes();
                answer
            }
            Some(Fault::Without(header)) => {
                let mut answer = self.route(request);
                answer.headers.retain(|(name, _)| name != header);
                answer
            }
        }
    }

    fn route(&self, request: &Request) -> Answer {
        let own_host = format!("{}.", self.setup.bucket);
        let path = request.path().strip_prefix('/').unwrap_or_default();
        let in_host = request.header("host").is_some_and(|host| host.starts_with(&own_host));
        let key = if in_host {
            path
        } else {
            let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
            if bucket != self.setup.bucket {
                return Answer::refusal(404, "NoSuchBucket");
            }
            key
        };
        let bucket = self.bucket.lock().expect("no holder panics");
        match (request.method.as_str(), key) {
            ("GET", "") => list(&bucket, request, self.setup.page_entries),
            ("HEAD", "") => Answer::new(200, Vec::new()),
            ("GET" | "HEAD", key) => object(&bucket, &percent_decode(key), request),
            _ => Answer::refusal(405, "MethodNotAllowed"),
        }
    }
}

/// Answers a request for an object or for something about it.
fn object(bucket: &Bucket, key: &[u8], request: &Request) -> Answer {
    let id = request.asked("versionId");
    let Some(version) = bucket.find(key, id.as_deref()) else {
        let code = if id.is_some() { "NoSuchVersion" } else { "NoSuchKey" };
        return Answer::refusal(404, code);
    };
    if version.marker {
        let (status, code) =
            if id.is_some() { (405, "MethodNotAllowed") } else { (404, "NoSuchKey") };
        return Answer::refusal(status, code).with("x-amz-delete-marker", "true");
    }
    if request.asked("tagging").is_some() {
        return tagging(version);
    }
    if request.asked("attributes").is_some() {
        return attributes(version);
    }
    let etag = format!("\"{}\"", version.etag);
    if request.header("if-match").is_some_and(|asked| asked != etag) {
        return Answer::refusal(412, "PreconditionFailed");
    }
    if version.put.class.as_deref() == Some("GLACIER") && request.method == "GET" {
        return Answer::refusal(403, "InvalidObjectState");
    }
    content(version, request)
        .with("etag", etag)
        .with("last-modified", http_date(version.modified))
        .with("x-amz-version-id", &version.id)
}

fn content(version: &Version, request: &Request) -> Answer {
    let put = &version.put;
    let total = put.body.len();
    let range = match request.header("range").and_then(|range| range.strip_prefix("bytes=")) {
        Some(range) => range.split_once('-').and_then(|(start, end)| {
            Some((start.parse::<usize>().ok()?, end.parse::<usize>().ok()?.min(total - 1)))
        }),
        None if request.asked("partNumber").is_some() => {
            let first = put.parts.first().copied().unwrap_or(total);
            Some((0, first.max(1) - 1))
        }
        None => None,
    };
    let mut answer = match range {
        Some((start, end)) if start <= end && end < total => {
            Answer::new(206, put.body[start..=end].to_vec())
                .with("content-range", format!("bytes {start}-{end}/{total}"))
        }
        Some(_) => return Answer::refusal(416, "InvalidRange"),
        None => Answer::new(200, put.body.clone()),
    };
    answer.headers.extend(put.headers.iter().cloned());
    if let Some(class) = &put.class {
        answer = answer.with("x-amz-storage-class", class);
    }
    if !put.tags.is_empty() {
        answer = answer.with("x-amz-tagging-count", put.tags.len().to_string());
    }
    if range.is_none()
        && request.header("x-amz-checksum-mode").is_some()
        && let Some((name, value)) = put.checksum_header()
    {
        answer = answer.with(name, value);
    }
    answer
}

fn tagging(version: &Version) -> Answer {
    let tags: String = version
        .put
        .tags
        .iter()
        .map(|(name, value)| {
            format!("<Tag><Key>{}</Key><Value>{}</Value></Tag>", escape(name), escape(value))
        })
        .collect();
    Answer::new(200, format!("<Tagging><TagSet>{tags}</TagSet></Tagging>").into_bytes())
}

fn attributes(version: &Version) -> Answer {
    let parts: String =
        version.put.parts.iter().map(|size| format!("<Part><Size>{size}</Size></Part>")).collect();
    let body = format!(
        "<GetObjectAttributesResponse><ObjectParts><IsTruncated>false</IsTruncated>{parts}\
         </ObjectParts></GetObjectAttributesResponse>"
    );
    Answer::new(200, body.into_bytes())
}

/// `Wed, 12 Oct 2009 17:50:00 GMT`.
fn http_date(moment: Timestamp) -> String {
    let moment = jiff::Timestamp::from_nanosecond(moment.nanoseconds()).expect("a date of today");
    moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
