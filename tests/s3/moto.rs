//! The same source against moto, a server that other people wrote.
//!
//! One test, since one server serves all of it.

use std::{
    env,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tapevault::{
    clock::{Clock, SystemClock},
    item::{Key, Kind},
    source::{
        Problem, SourceError,
        s3::{S3, Settings, Style, Versions},
    },
};

use crate::{
    MIB, chain, fetch_all, list, memory_sink::MemorySink, noise, open, s3_server::hostile_keys,
    server, settings,
};

/// How long moto may take to begin, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A moto server, ended when dropped.
struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    fn start() -> Self {
        let program = env::var("TAPEVAULT_MOTO_SERVER").unwrap_or("moto_server".to_owned());
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = free.expect("the loopback interface has free ports").port();
        let child = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{program} does not start ({error}): install it with \
                     `pip install 'moto[server]'`, and put it on PATH or name it in \
                     TAPEVAULT_MOTO_SERVER"
                )
            });
        let moto = Self { child, port };
        let clock = SystemClock::new();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(clock.elapsed() < PATIENCE, "{program} started and does not listen");
            clock.sleep(Duration::from_millis(100));
        }
        moto
    }

    /// One request that only looks signed, which is enough for moto. The answer's headers in lower
    /// case, and its body.
    fn ask(&self, request: &str, headers: &str, body: &[u8]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("moto listens");
        let length = body.len();
        let head = format!(
            "{request} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=TEST/20260101/eu-west-1/s3/aws4_request, \
             SignedHeaders=host, Signature=none\r\n\
             content-length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("moto takes a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("moto answers");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends");
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        assert!(head.split(' ').nth(1).is_some_and(|s| s.starts_with('2')), "{request}: {head}");
        (head, answer[end + 4..].to_vec())
    }

    fn make_bucket(&self, name: &str, versioning: Option<&str>) {
        let region = "<CreateBucketConfiguration><LocationConstraint>eu-west-1\
                      </LocationConstraint></CreateBucketConfiguration>";
        self.ask(&format!("PUT /{name}"), "", region.as_bytes());
        if let Some(status) = versioning {
            self.set_versioning(name, status);
        }
    }

    fn set_versioning(&self, name: &str, status: &str) {
        let body =
            format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        self.ask(&format!("PUT /{name}?versioning"), "", body.as_bytes());
    }

    fn put(&self, bucket: &str, key: &[u8], headers: &str, body: &[u8]) {
        let key: String = key.iter().map(|byte| format!("%{byte:02X}")).collect();
        self.ask(&format!("PUT /{bucket}/{key}"), headers, body);
    }

    /// Writes an object in parts of the given contents.
    fn put_parts(&self, target: &str, parts: &[&[u8]]) {
        let (_, begun) = self.ask(&format!("POST {target}?uploads"), "", b"");
        let begun = String::from_utf8(begun).expect("a document");
        let (_, id) = begun.split_once("<UploadId>").expect("an upload has an id");
        let (id, _) = id.split_once('<').expect("an element ends");
        let mut done = "<CompleteMultipartUpload>".to_owned();
        for (part, number) in parts.iter().zip(1..) {
            let request = format!("PUT {target}?partNumber={number}&uploadId={id}");
            let (head, _) = self.ask(&request, "", part);
            let (_, etag) = head.split_once("etag: ").expect("a part has a tag");
            let etag = etag.lines().next().unwrap_or_default();
            done.push_str(&format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            ));
        }
        done.push_str("</CompleteMultipartUpload>");
        self.ask(&format!("POST {target}?uploadId={id}"), "", done.as_bytes());
    }

    fn open(&self, bucket: &str, versions: Versions) -> S3 {
        // Keys and retries as elsewhere; moto takes any signature until it is told not to.
        let base = settings(&server());
        open(Settings {
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            region: "eu-west-1".to_owned(),
            bucket: bucket.to_owned(),
            style: Style::Path,
            versions,
            ..base
        })
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // The test has its result; a server that cannot be ended is not it.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn moto_and_the_source_understand_each_other() {
    let moto = Moto::start();
    keys_come_back(&moto);
    versions_come_back(&moto);
    suspended_buckets_come_back(&moto);
    facts_and_parts_come_back(&moto);
    frozen_objects_are_told(&moto);
    refusals_are_told(&moto);
}

/// What moto itself can hold: it answers 404 to a newline, and its listing breaks on controls.
fn moto_keys() -> Vec<Vec<u8>> {
    let mut keys = hostile_keys();
    keys.retain(|key| !key.iter().any(u8::is_ascii_control));
    keys
}

fn keys_come_back(moto: &Moto) {
    moto.make_bucket("keys", None);
    let keys = moto_keys();
    for key in &keys {
        moto.put("keys", key, "", key);
    }
    for versions in [Versions::Current, Versions::All] {
        let sink = MemorySink::new(MIB);
        fetch_all(&moto.open("keys", versions), &sink).unwrap_or_else(|e| panic!("{}", chain(&e)));
        let delivered = sink.delivered();
        let got: Vec<&[u8]> = delivered.iter().map(|one| &*one.item.key.0).collect();
        assert_eq!(got, keys, "{versions:?}");
        for one in &delivered {
            assert_eq!(one.bytes, one.item.key.0);
            assert!(one.verified.starts_with("md5="), "{one:?}");
        }
        assert!(sink.findings().is_empty());
    }
}

fn versions_come_back(moto: &Moto) {
    moto.make_bucket("versions", Some("Enabled"));
    moto.put("versions", b"k", "", b"one");
    moto.put("versions", b"k", "", b"two");
    moto.ask("DELETE /versions/k", "", b"");
    moto.put("versions", b"k", "", b"three");
    for n in 0..40 {
        moto.put("versions", format!("many/{n:02}").as_bytes(), "", b"x");
        moto.put("versions", format!("many/{n:02}").as_bytes(), "", b"y");
    }
    let source = moto.open("versions", Versions::All);
    let listed = list(&source).expect("moto lists");
    assert_eq!(listed.len(), 84);
    let latest: Vec<&Key> = listed.iter().filter(|one| one.latest).map(|one| &one.key).collect();
    assert_eq!(latest.len(), 41);
    let sink = MemorySink::new(MIB);
    fetch_all(&source, &sink).expect("moto delivers");
    let of_k: Vec<_> =
        sink.delivered().into_iter().filter(|one| one.item.key == Key::from("k")).collect();
    let mut contents: Vec<Vec<u8>> = of_k
        .iter()
        .filter(|one| one.item.kind == Kind::File)
        .map(|one| one.bytes.clone())
        .collect();
    contents.sort();
    assert_eq!(contents, [&b"one"[..], b"three", b"two"]);
    let markers = of_k.iter().filter(|one| one.item.kind == Kind::DeleteMarker).count();
    assert_eq!(markers, 1);
    let current = list(&moto.open("versions", Versions::Current)).expect("moto lists");
    assert_eq!(current.len(), 41);
}

fn suspended_buckets_come_back(moto: &Moto) {
    moto.make_bucket("suspended", None);
    moto.put("suspended", b"k", "", b"before versions");
    moto.set_versioning("suspended", "Enabled");
    moto.put("suspended", b"k", "", b"a version");
    moto.set_versioning("suspended", "Suspended");
    moto.put("suspended", b"k", "", b"null again");
    let sink = MemorySink::new(MIB);
    fetch_all(&moto.open("suspended", Versions::All), &sink).expect("moto delivers");
    let contents: Vec<Vec<u8>> = sink.delivered().into_iter().map(|one| one.bytes).collect();
    // moto forgets the versions of a key that is written while they are suspended.
    assert_eq!(contents, [b"null again"]);
}

fn facts_and_parts_come_back(moto: &Moto) {
    moto.make_bucket("facts", None);
    let headers = "content-type: text/x-test\r\nx-amz-meta-who: me\r\nx-amz-tagging: a=b&c=d\r\n\
                   cache-control: no-store\r\n";
    moto.put("facts", b"tagged", headers, b"content");
    moto.put("facts", b"empty", "", b"");
    let large = noise(11 << 20, 1);
    moto.put("facts", b"large", headers, &large);
    let (first, second) = large.split_at(6 << 20);
    moto.put_parts("/facts/parts", &[first, second]);

    let sink = MemorySink::new(64 * MIB);
    fetch_all(&moto.open("facts", Versions::Current), &sink).expect("moto delivers");
    let findings = sink.findings();
    assert!(findings.is_empty(), "{findings:?}");
    let delivered = sink.delivered();
    let by_key =
        |key: &str| delivered.iter().find(|one| one.item.key == Key::from(key)).expect("it came");
    for key in ["tagged", "large"] {
        let facts = by_key(key).item.object.as_ref().expect("an object has facts");
        assert_eq!(facts.headers["content-type"], "text/x-test");
        assert_eq!(facts.headers["cache-control"], "no-store");
        assert_eq!(facts.metadata["who"], "me");
        assert_eq!((&*facts.tags["a"], &*facts.tags["c"]), ("b", "d"), "{key}");
        assert!(!by_key(key).verified.is_empty(), "{key}");
    }
    assert!(by_key("large").bytes == large);
    assert!(by_key("parts").bytes == large);
    let parts = by_key("parts");
    let etag = &parts.item.object.as_ref().expect("an object has facts").etag;
    assert!(etag.ends_with("-2"), "{etag}");
    assert_eq!(by_key("empty").bytes, b"");
}

fn frozen_objects_are_told(moto: &Moto) {
    moto.make_bucket("frozen", None);
    moto.put("frozen", b"k", "x-amz-storage-class: GLACIER\r\n", b"x");
    let sink = MemorySink::new(MIB);
    fetch_all(&moto.open("frozen", Versions::Current), &sink).expect("the rest goes on");
    let findings = sink.findings();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].what, Problem::Frozen, "{findings:?}");
}

fn refusals_are_told(moto: &Moto) {
    let error = list(&moto.open("nowhere", Versions::Current)).expect_err("no such bucket");
    assert!(matches!(error, SourceError::NotFound { .. }), "{error:?}");
    assert!(chain(&error).contains("NoSuchBucket"), "{}", chain(&error));
    // From here on moto checks who asks.
    let binary = "content-type: application/octet-stream\r\n";
    moto.ask("POST /moto-api/reset-auth", binary, b"0");
    let error = list(&moto.open("keys", Versions::Current)).expect_err("keys nobody knows");
    assert!(matches!(error, SourceError::Denied { .. }), "{error:?}");
}
