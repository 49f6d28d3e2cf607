//! From a bucket to tape, and what goes wrong on the way there.

use std::{fs, net::TcpListener, os::unix::fs::FileExt, path::Path};

use tapevault::clock::{Clock, SystemClock};

use crate::{
    home::{Done, Home, MIB, Plan, code, noise},
    s3_server::{Bucket, Checksum, Fault, Put, Request, S3Server, Setup, Versioning, hostile_keys},
};

const SECRET: &str = "TAPEVAULT_TEST_SECRET";

/// A home that archives the bucket at `endpoint`.
pub(crate) fn home(endpoint: &str) -> Home {
    let setup = Setup::default();
    let source = format!(
        "type = \"s3\"\nbucket = \"{}\"\nregion = \"{}\"\nendpoint = \"{endpoint}\"\n\
         key_variables = [\"TAPEVAULT_TEST_KEY\", \"{SECRET}\"]",
        setup.bucket, setup.region,
    );
    Home::new(&Plan { source: &source, capacity: 900 * MIB, ..Plan::default() })
}

pub(crate) fn archive(home: &Home, secret: &str) -> Done {
    run(home, secret, &["--json", "archive", "job"])
}

fn run(home: &Home, secret: &str, arguments: &[&str]) -> Done {
    let mut command = home.command(arguments);
    command.env("TAPEVAULT_TEST_KEY", Setup::default().key_id).env(SECRET, secret);
    command.output().unwrap().into()
}

/// Hostile keys, and three versions of a key with a delete marker in between.
fn server() -> S3Server {
    let now = SystemClock::new().now();
    let mut bucket = Bucket::default();
    bucket.versioning = Versioning::On;
    for key in hostile_keys() {
        bucket.put(&key, Put::bytes(key.clone()), now);
    }
    bucket.put(b"versions", Put::bytes("one"), now);
    bucket.put(b"versions", Put::bytes("two"), now);
    bucket.delete(b"versions", now);
    bucket.put(b"versions", Put::bytes("three"), now);
    S3Server::listen(Setup::default(), bucket, "127.0.0.1:0").unwrap()
}

#[test]
fn a_bucket_of_hostile_keys_comes_back_from_the_tape() {
    let server = server();
    let home = home(&server.endpoint());
    archive(&home, &Setup::default().secret).exits(0);
    let found = home.find(&[]);
    assert_eq!(found.len(), hostile_keys().len() + 4);
    let versions = home.find(&["versions", "--match", "exact"]);
    assert_eq!(versions.len(), 4, "{versions:?}");
    let markers = versions.iter().filter(|line| line["kind"] == "delete-marker");
    assert_eq!(markers.count(), 1);
    let again = archive(&home, &Setup::default().secret).exits(0);
    assert_eq!(again.events("planned")[0]["wanted"], 0, "{}", again.out);
    home.lose_catalog();
    home.run(&["catalog", "rebuild"]).exits(0);
    assert_eq!(home.find(&[]), found);
}

#[test]
fn wrong_credentials() {
    let server = server();
    let home = home(&server.endpoint());
    let done = archive(&home, "another secret");
    done.complains(6, &["source files", "→ check the credentials"]);
    home.run(&["archive", "job"]).complains(6, &["TAPEVAULT_TEST_KEY", "→ check the credentials"]);
}

#[test]
fn a_lost_network() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let home = home(&format!("http://{address}"));
    let done = archive(&home, &Setup::default().secret);
    done.complains(6, &["source files", "→ when it can be reached again"]);
}

fn is_content_of(request: &Request, key: &str) -> bool {
    request.method == "GET" && request.path() == format!("/bucket/{key}")
}

/// What the job of these events archived comes back by its date, to a folder of this name.
fn comes_back(home: &Home, done: &Done, name: &str, files: &[(&str, Vec<u8>)]) {
    let end = done.events("job-ended")[0]["time"].as_str().unwrap().to_owned();
    let to = home.path(name);
    home.run(&["restore", "--as-of", &end, "--to", to.to_str().unwrap()]).exits(0);
    for (file, bytes) in files {
        assert!(fs::read(to.join("files").join(file)).unwrap() == *bytes, "{file}");
    }
}

#[test]
fn an_object_that_changes_after_it_was_listed_is_archived_as_it_was_delivered() {
    for versions in ["all", "current"] {
        let mut bucket = Bucket::default();
        let now = SystemClock::new().now();
        bucket.put(b"other", Put::bytes("other"), now);
        bucket.put(b"small", Put::bytes("listed"), now);
        bucket.put(b"large", Put::bytes(noise(9 << 20, 1)), now);
        let server = S3Server::listen(Setup::default(), bucket, "127.0.0.1:0").unwrap();
        let home = home(&server.endpoint());
        let config = fs::read_to_string(home.path("tapevault.toml")).unwrap();
        let kind = "type = \"s3\"";
        home.configure(&config.replace(kind, &format!("{kind}\nversions = \"{versions}\"")));
        let written = [("small", b"delivered, and longer".to_vec()), ("large", noise(9 << 20, 2))];
        let mut waiting = Vec::from(written.clone());
        server.misbehave(move |request, bucket| {
            let path = request.path();
            let (key, body) =
                waiting.extract_if(.., |(key, _)| path == format!("/bucket/{key}")).next()?;
            bucket.put(key.as_bytes(), Put::bytes(body), SystemClock::new().now());
            None
        });
        let done = archive(&home, &Setup::default().secret).exits(0);
        comes_back(&home, &done, "back", &written);
        let again = archive(&home, &Setup::default().secret).exits(0);
        assert_eq!(again.events("planned")[0]["wanted"], 0, "{}", again.out);
        home.lose_catalog();
        home.run(&["catalog", "rebuild"]).exits(0);
        comes_back(&home, &done, "rebuilt", &written);
    }
}

#[test]
fn an_object_that_vanishes_after_it_was_listed_is_reported_once() {
    let mut bucket = Bucket::default();
    let now = SystemClock::new().now();
    bucket.put(b"gone", Put::bytes("gone"), now);
    bucket.put(b"kept", Put::bytes("kept"), now);
    let server = S3Server::listen(Setup::default(), bucket, "127.0.0.1:0").unwrap();
    let home = home(&server.endpoint());
    server.misbehave(|request, bucket| {
        if is_content_of(request, "gone") {
            bucket.delete(b"gone", SystemClock::new().now());
        }
        None
    });
    let done = archive(&home, &Setup::default().secret).exits(1);
    let findings = done.events("finding");
    assert_eq!(findings.len(), 1, "{}", done.out);
    assert_eq!(
        (&findings[0]["key"], &findings[0]["problem"]),
        (&"gone".into(), &"vanished".into())
    );
    assert_eq!(home.keys(&[]).len(), 1);
}

/// Changes one byte of `content` on a cartridge.
fn flip(tape: &Path, content: &[u8]) {
    let bytes = fs::read(tape).unwrap();
    let at = bytes.windows(64).position(|window| window == &content[..64]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(tape).unwrap();
    file.write_all_at(&[!bytes[at]], at as u64).unwrap();
}

/// What was held when it was planned, and is not when the run is recorded, is in no way "done".
#[test]
fn an_item_that_nothing_holds_at_the_end_is_a_finding() {
    let server = S3Server::listen(Setup::default(), Bucket::default(), "127.0.0.1:0").unwrap();
    let content = noise(100_000, 3);
    server.put("held", Put::bytes(content.clone()));
    server.put("kept", Put::bytes(noise(100_000, 4)));
    let home = home(&server.endpoint());
    let secret = Setup::default().secret;
    archive(&home, &secret).exits(0);
    server.put("new", Put::bytes("new"));
    let tape = home.emulator().tape(code("T00001L8"));
    let mut verify = home.command(&["verify", "T00001"]);
    let mut first = true;
    server.misbehave(move |request, _| {
        if is_content_of(request, "new") && std::mem::take(&mut first) {
            flip(&tape, &content);
            assert_eq!(verify.output().unwrap().status.code(), Some(1));
        }
        None
    });
    let done = run(&home, &secret, &["--json", "export", "job"]).exits(1);
    let findings = done.events("finding");
    assert_eq!(findings.len(), 1, "{}", done.out);
    assert_eq!((&findings[0]["key"], &findings[0]["problem"]), (&"held".into(), &"missing".into()));
    let ended = &done.events("job-ended")[0];
    assert_eq!(ended["outcome"], "done-with-findings");
    assert_eq!((&ended["losses"], &ended["findings"]), (&1.into(), &0.into()));
    server.misbehave(|_, _| None);
    let again = run(&home, &secret, &["--json", "export", "job"]).exits(0);
    assert_eq!(again.events("planned")[0]["wanted"], 1, "{}", again.out);
}

#[test]
fn a_file_that_changes_after_it_was_listed_is_archived_as_it_was_delivered() {
    let server = S3Server::listen(Setup::default(), Bucket::default(), "127.0.0.1:0").unwrap();
    server.put("first", Put::bytes("first"));
    let home = home(&server.endpoint());
    let tree = "[sources.tree]\ntype = \"directory\"\npath = \"source\"\n\n[jobs.job]";
    let config = fs::read_to_string(home.path("tapevault.toml")).unwrap();
    let config = config.replace("[jobs.job]", tree);
    home.configure(&config.replace("[\"files\"]", "[\"files\", \"tree\"]"));
    let names = ["small", "large", "same-size"];
    let path = |name: &str| home.source().join(name);
    for name in names {
        fs::write(path(name), "listed").unwrap();
    }
    let written = [
        ("small", b"delivered, and longer".to_vec()),
        ("large", noise(20 << 20, 2)),
        ("same-size", b"newest".to_vec()),
    ];
    let mut changes = written.clone().map(|(name, bytes)| (path(name), bytes)).to_vec();
    // Both sources are listed before either is read, and the bucket is read first.
    server.misbehave(move |request, _| {
        if is_content_of(request, "first") {
            for (path, bytes) in changes.drain(..) {
                fs::write(path, bytes).unwrap();
            }
        }
        None
    });
    let secret = Setup::default().secret;
    let done = archive(&home, &secret).exits(0);
    let end = done.events("job-ended")[0]["time"].as_str().unwrap().to_owned();
    let again = archive(&home, &secret).exits(0);
    for planned in again.events("planned") {
        assert_eq!(planned["wanted"], 0, "{}", again.out);
    }
    for name in names {
        fs::remove_file(path(name)).unwrap();
    }
    archive(&home, &secret).exits(0);
    for (rebuilt, to) in [(false, "back"), (true, "rebuilt")] {
        if rebuilt {
            home.lose_catalog();
            home.run(&["catalog", "rebuild"]).exits(0);
        }
        let to = home.path(to);
        home.run(&["restore", "--as-of", &end, "--to", to.to_str().unwrap()]).exits(0);
        for (name, bytes) in &written {
            assert!(fs::read(to.join("tree").join(name)).unwrap() == *bytes, "{name}");
        }
    }
}

/// The first byte of each range that was asked for.
fn ranges(server: &S3Server) -> Vec<u64> {
    let requests = server.requests();
    let ranges = requests.iter().filter_map(|request| request.header("range"));
    let first = |range: &str| range.strip_prefix("bytes=").unwrap().split('-').next()?.parse().ok();
    ranges.filter_map(first).collect()
}

/// One object of many parts, killed when some of them are sealed, recorded, or on tape and gone
/// from staging: they are not asked for again.
#[test]
fn sealed_parts_of_an_object_are_fetched_once() {
    let body = noise(usize::try_from(14 * MIB + 77).unwrap(), 9);
    for (point, sealed_parts) in [
        ("staging.seal.recorded:2", 4),
        ("export.recorded:2", 4),
        ("staging.free.removed:1", 2),
        ("write.committed:1", 2),
    ] {
        let now = SystemClock::new().now();
        let mut bucket = Bucket::default();
        let put = Put { checksum: Some(Checksum::Crc64Nvme), ..Put::bytes(body.clone()) };
        bucket.put(b"big", put, now);
        let server = S3Server::listen(Setup::default(), bucket, "127.0.0.1:0").unwrap();
        let home = home(&server.endpoint());
        let run = |crash: &str| -> Done {
            let mut command = home.command(&["--json", "archive", "job"]);
            command.env("TAPEVAULT_TEST_KEY", Setup::default().key_id);
            command.env(SECRET, Setup::default().secret).env("TAPEVAULT_CRASH_AT", crash);
            command.output().unwrap().into()
        };
        let killed = run(point);
        assert_eq!(killed.code, None, "{point} was not passed: {}", killed.err);
        let first = ranges(&server);
        let done = run("none").exits(0);
        let second = ranges(&server);
        let again: Vec<u64> = second.iter().copied().filter(|at| first.contains(at)).collect();
        let whole = first.len() + second.len() - again.len();
        assert_eq!(whole, 15, "{point}: every part was asked for\n{}", done.out);
        // What was under way when the process was killed comes again, and nothing that was sealed.
        assert!(again.len() <= 1 + usize::from(second.len() == 15), "{point}: {again:?}");
        assert!(second.iter().all(|at| *at >= sealed_parts * MIB), "{point}: {second:?}");
        let found = home.find(&["big"]);
        let verified: Vec<&str> =
            found.iter().filter_map(|line| line["verified"].as_str()).collect();
        assert_eq!(found.len(), 15, "{point}: {verified:?}");
        home.run(&["restore", "big", "--to", "back"]).exits(0);
        let restored = std::fs::read(home.path("back/files/big")).unwrap();
        assert!(restored == body, "{point}: the object is another one");
    }
}

/// Items whose manifests are as large as themselves: kept until a volume index has them, they would
/// use up the budget, so the session is closed for them.
#[test]
fn a_session_is_closed_when_its_manifests_fill_staging() {
    let now = SystemClock::new().now();
    let mut bucket = Bucket::default();
    for number in 0..3000_u32 {
        let text = noise(24 << 10, number).into_iter().map(|byte| b'!' + byte % 90).collect();
        let headers = vec![("x-amz-meta-much".to_owned(), text)];
        bucket.put(format!("{number:05}").as_bytes(), Put { headers, ..Put::bytes("x") }, now);
    }
    let server = S3Server::listen(Setup::default(), bucket, "127.0.0.1:0").unwrap();
    let home = home(&server.endpoint());
    let done = archive(&home, &Setup::default().secret).exits(0);
    assert!(done.events("ejected").len() > 1, "{}", done.out);
    assert!(done.events("volume-closed").is_empty(), "{}", done.out);
    assert_eq!(home.keys(&[]).len(), 3000);
}

#[test]
fn a_network_lost_midway() {
    let server = server();
    let home = home(&server.endpoint());
    let secret = Setup::default().secret;
    let mut answers = 5;
    server.misbehave(move |request, _| {
        let is_listing = request.path() == "/bucket/";
        answers -= u32::from(!is_listing && answers > 0);
        (answers == 0).then_some(Fault::Cut(0))
    });
    let done = archive(&home, &secret);
    done.complains(6, &["source files", "→ when it can be reached again"]);
    server.misbehave(|_, _| None);
    archive(&home, &secret).exits(0);
    assert_eq!(home.find(&[]).len(), hostile_keys().len() + 4);
}

/// An object that moves to another storage class is the same object.
#[test]
fn another_storage_class_is_no_change() {
    let server = S3Server::listen(Setup::default(), Bucket::default(), "127.0.0.1:0").unwrap();
    server.put("k", Put::bytes("content"));
    let home = home(&server.endpoint());
    let secret = Setup::default().secret;
    archive(&home, &secret).exits(0);
    for class in ["STANDARD_IA", "GLACIER"] {
        for version in server.bucket().keys.values_mut().flatten() {
            version.put.class = Some(class.to_owned());
        }
        let again = archive(&home, &secret).exits(0);
        assert_eq!(again.events("planned")[0]["wanted"], 0, "{class}: {}", again.out);
    }
}

/// `check` tries what a job does, and says which permission it lacks.
#[test]
fn check_names_the_permission_that_is_missing() {
    let server = S3Server::listen(Setup::default(), Bucket::default(), "127.0.0.1:0").unwrap();
    let home = home(&server.endpoint());
    let config = fs::read_to_string(home.path("tapevault.toml")).unwrap();
    let secret = Setup::default().secret;
    let check = |code: i32, words: &[&str]| {
        let done = run(&home, &secret, &["check"]).exits(code);
        let (_, line) = done.out.split_once("source files").unwrap();
        for word in words {
            assert!(line.contains(word), "no {word:?} in:\n{}", done.out);
        }
    };
    check(0, &["can be listed, 0 items; nothing is there to be read"]);
    server.put("first", Put::bytes("content"));
    server.put("large", Put::bytes(noise(9 << 20, 1)));
    check(0, &["can be listed and read, 2 items"]);
    let kind = "type = \"s3\"";
    for (versions, permissions) in [
        ("all", ["s3:ListBucketVersions", "s3:GetObjectVersion", "s3:GetObjectVersionTagging"]),
        ("current", ["s3:ListBucket", "s3:GetObject", "s3:GetObjectTagging"]),
    ] {
        home.configure(&config.replace(kind, &format!("{kind}\nversions = \"{versions}\"")));
        for (what, permission) in ["list", "content", "tags"].into_iter().zip(permissions) {
            server.misbehave(move |request, _| {
                let of = match (request.path(), request.target.contains("tagging")) {
                    ("/bucket/", _) => "list",
                    (_, true) => "tags",
                    (_, false) => "content",
                };
                (of == what).then_some(Fault::Refuse(403, "AccessDenied"))
            });
            let need = format!("the credentials need {permission} for this");
            check(6, &["was refused", &need, "→ check the credentials"]);
            server.misbehave(|_, _| None);
        }
    }
    let done = run(&home, "another secret", &["check"]).exits(6);
    assert!(done.out.contains("SignatureDoesNotMatch"), "{}", done.out);
}
