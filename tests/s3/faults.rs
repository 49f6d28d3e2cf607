//! What goes wrong while objects are read.

use std::time::Duration;

use tapevault::{
    cancel::Cancel,
    clock::{Clock, SystemClock},
    source::{
        Problem, Source, SourceError,
        http::Timeouts,
        s3::{Settings, Versions},
    },
};

use crate::{
    MIB, chain, fetch, fetch_all, list,
    memory_sink::MemorySink,
    noise, open,
    s3_server::{Checksum, Fault, Put, Request, S3Server, Setup, Versioning},
    server, settings, setup,
};

/// Sizes on both sides of the border between one request and ranges.
const SIZES: [usize; 2] = [1000, (9 << 20) + 5];

fn is_content(request: &Request) -> bool {
    request.method == "GET" && request.path() != "/bucket/" && !request.target.contains("tagging")
}

fn one_finding(sink: &MemorySink) -> (Problem, String) {
    let findings = sink.findings();
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    let detail = finding.detail.as_ref().expect("a finding has its cause");
    (finding.what, chain(&**detail))
}

#[test]
fn a_body_cut_short_goes_on_where_it_stopped() {
    for size in SIZES {
        let server = server();
        let body = noise(size, 1);
        server.put("k", Put::bytes(body.clone()));
        let mut cuts = 5;
        server.misbehave(move |request, _| {
            if !is_content(request) || cuts == 0 {
                return None;
            }
            cuts -= 1;
            Some(Fault::Cut(100))
        });
        let sink = MemorySink::new(64 * MIB);
        fetch_all(&open(settings(&server)), &sink).unwrap();
        let delivered = sink.delivered();
        assert!(delivered[0].bytes == body, "{size} bytes");
        assert!(delivered[0].verified.starts_with("md5="));
        let resumed: Vec<_> = server.requests().into_iter().filter(is_content).collect();
        assert!(
            resumed.iter().any(|r| r.header("range").is_some_and(|r| r.starts_with("bytes=100-"))),
            "{size} bytes: goes on at byte 100"
        );
        assert!(
            resumed
                .iter()
                .filter(|r| r.header("range").is_some())
                .all(|r| { r.header("if-match").is_some() && r.target.contains("versionId=null") }),
            "each range is pinned"
        );
    }
}

#[test]
fn a_body_that_never_comes_ends_the_job() {
    for size in SIZES {
        let server = server();
        server.put("k", Put::bytes(noise(size, 1)));
        server.misbehave(|request, _| is_content(request).then_some(Fault::Cut(0)));
        let sink = MemorySink::new(64 * MIB);
        let error = fetch_all(&open(settings(&server)), &sink).unwrap_err();
        assert!(matches!(error, SourceError::Lost { attempts: 4, .. }), "{error:?}");
        assert!(sink.delivered().is_empty());
    }
}

#[test]
fn silence_counts_as_a_failure() {
    let pause = Duration::from_millis(900);
    for before_the_head in [true, false] {
        let server = server();
        let body = noise(SIZES[0], 1);
        server.put("k", Put::bytes(body.clone()));
        let mut first = true;
        server.misbehave(move |request, _| {
            let fault = if before_the_head { Fault::Wait(pause) } else { Fault::Stall(100, pause) };
            (is_content(request) && std::mem::take(&mut first)).then_some(fault)
        });
        let limit = Duration::from_millis(300);
        let timeouts = Timeouts { head: limit, idle: limit, ..Timeouts::default() };
        let sink = MemorySink::new(MIB);
        fetch_all(&open(Settings { timeouts, ..settings(&server) }), &sink).unwrap();
        assert!(sink.delivered()[0].bytes == body);
        let asked = server.requests().into_iter().filter(is_content).count();
        // A busy machine may be silent once more.
        assert!(asked >= 2, "before the head: {before_the_head}");
    }
}

#[test]
fn wrong_bytes_are_read_again_and_then_reported() {
    for (size, checksum) in [(SIZES[0], None), (SIZES[1], Some(Checksum::Crc64Nvme))] {
        let server = server();
        let body = noise(size, 1);
        server.put("k", Put { checksum, ..Put::bytes(body.clone()) });
        let mut wrong = 1;
        server.misbehave(move |request, _| {
            let flip = is_content(request) && wrong > 0;
            wrong -= i32::from(flip);
            flip.then_some(Fault::Flip(7))
        });
        let source = open(settings(&server));
        let sink = MemorySink::new(64 * MIB);
        fetch_all(&source, &sink).unwrap();
        assert!(sink.delivered()[0].bytes == body, "right at the second try");
        assert!(sink.findings().is_empty());

        server.misbehave(|request, _| is_content(request).then_some(Fault::Flip(7)));
        let sink = MemorySink::new(64 * MIB);
        fetch_all(&source, &sink).unwrap();
        let (what, detail) = one_finding(&sink);
        assert_eq!(what, Problem::ChecksumMismatch);
        assert!(detail.contains("the source says"), "{detail}");
        assert!(sink.delivered().is_empty());
        assert_eq!(sink.abandoned(), if checksum.is_some() { 3 } else { 0 });
    }
}

#[test]
fn an_object_written_anew_is_read_anew() {
    for size in SIZES {
        let server = server();
        server.put("k", Put::bytes(noise(size, 1)));
        let source = open(settings(&server));
        let listed = list(&source).unwrap();
        let old = listed[0].token;
        let anew = noise(size + 10, 2);
        // Once between the head and the content, where there are two requests.
        let put = Put::bytes(anew.clone());
        let mut replaced = false;
        server.misbehave(move |request, bucket| {
            let first_range = request.header("range").is_some() || size == SIZES[0];
            if is_content(request) && first_range && !replaced {
                replaced = true;
                bucket.put(b"k", put.clone(), "2026-01-01T00:00:00Z".parse().unwrap());
            }
            None
        });
        let sink = MemorySink::new(64 * MIB);
        fetch(&source, listed, &sink).unwrap();
        let delivered = sink.delivered();
        assert_eq!(delivered.len(), 1);
        assert!(delivered[0].bytes == anew, "{size} bytes");
        assert_ne!(delivered[0].item.token, old);
        assert_eq!(delivered[0].item.token, list(&source).unwrap()[0].token);
        assert!(sink.findings().is_empty());
    }
}

#[test]
fn a_small_object_that_became_large_is_read_as_one() {
    let server = server();
    server.put("k", Put::bytes("small"));
    let source = open(settings(&server));
    let listed = list(&source).unwrap();
    let body = noise(SIZES[1], 4);
    server.put("k", Put::bytes(body.clone()));
    let sink = MemorySink::new(8 * MIB);
    fetch(&source, listed, &sink).unwrap();
    let together: Vec<u8> = sink.delivered().iter().flat_map(|one| one.bytes.clone()).collect();
    assert!(together == body);
}

#[test]
fn an_object_that_keeps_changing_is_reported() {
    let server = server();
    server.put("k", Put::bytes(noise(SIZES[1], 0)));
    let mut writes = 0;
    server.misbehave(move |request, bucket| {
        if request.header("range").is_some() {
            writes += 1;
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            bucket.put(b"k", Put::bytes(noise(SIZES[1], writes)), now);
        }
        None
    });
    let sink = MemorySink::new(64 * MIB);
    fetch_all(&open(settings(&server)), &sink).unwrap();
    let (what, detail) = one_finding(&sink);
    assert_eq!(what, Problem::Unreadable);
    assert_eq!(detail, "it changed while it was read, 3 times over");

    let sink = MemorySink::new(8 * MIB);
    let mut ranges = 0;
    server.misbehave(move |request, bucket| {
        ranges += usize::from(request.header("range").is_some());
        if ranges == 2 {
            let now = "2026-01-02T00:00:00Z".parse().unwrap();
            bucket.put(b"k", Put::bytes(noise(SIZES[1], 99)), now);
        }
        None
    });
    let one_at_a_time = Settings { concurrency: 1, ..settings(&server) };
    fetch_all(&open(one_at_a_time), &sink).unwrap();
    let (what, detail) = one_finding(&sink);
    assert_eq!(what, Problem::Unreadable);
    assert!(detail.contains("after parts of it had been archived"), "{detail}");
}

#[test]
fn what_is_gone_frozen_or_forbidden_is_reported_and_the_rest_goes_on() {
    for size in SIZES {
        let server = server();
        server.bucket().versioning = Versioning::On;
        for key in ["deleted", "forbidden", "frozen", "good", "lost version", "odd"] {
            let class = (key == "frozen").then(|| "GLACIER".to_owned());
            server.put(key, Put { class, ..Put::bytes(noise(size, 1)) });
        }
        for versions in [Versions::All, Versions::Current] {
            let source = open(Settings { versions, ..settings(&server) });
            let listed = list(&source).unwrap();
            server.misbehave(|request, _| match request.path().rsplit_once('/').unwrap().1 {
                "forbidden" => Some(Fault::Refuse(403, "AccessDenied")),
                "lost%20version" => Some(Fault::Refuse(404, "NoSuchVersion")),
                "odd" => Some(Fault::Refuse(400, "InvalidRequest")),
                "deleted" if request.method == "GET" => {
                    Some(Fault::Refuse(405, "MethodNotAllowed"))
                }
                _ => None,
            });
            let sink = MemorySink::new(64 * MIB);
            fetch(&source, listed, &sink).unwrap();
            server.misbehave(|_, _| None);
            assert_eq!(sink.delivered().len(), 1);
            let mut findings: Vec<(String, Problem)> = sink
                .findings()
                .iter()
                .map(|finding| (finding.key.printable().to_string(), finding.what))
                .collect();
            findings.sort_by(|a, b| a.0.cmp(&b.0));
            let expected = [
                ("deleted".to_owned(), Problem::Vanished),
                ("forbidden".to_owned(), Problem::Unreadable),
                ("frozen".to_owned(), Problem::Frozen),
                ("lost version".to_owned(), Problem::Vanished),
                ("odd".to_owned(), Problem::Unreadable),
            ];
            assert_eq!(findings, expected, "{size} bytes, {versions:?}");
        }
    }
}

#[test]
fn tags_that_may_not_be_read_leave_the_object_incomplete() {
    let server = server();
    server.put("k", Put { tags: vec![("a".into(), "b".into())], ..Put::bytes("x") });
    server.misbehave(|request, _| {
        request.target.contains("tagging").then_some(Fault::Refuse(403, "AccessDenied"))
    });
    let sink = MemorySink::new(MIB);
    fetch_all(&open(settings(&server)), &sink).unwrap();
    assert_eq!(one_finding(&sink).0, Problem::Incomplete);
    assert_eq!(sink.delivered().len(), 1);
}

#[test]
fn a_service_that_asks_to_slow_down_gets_fewer_requests() {
    let server = server();
    for n in 0..60 {
        server.put(format!("{n:02}"), Put::bytes(n.to_string()));
    }
    let mut refusals = 20;
    server.misbehave(move |request, _| {
        let refuse = is_content(request) && refusals > 0;
        refusals -= i32::from(refuse);
        refuse.then_some(Fault::Refuse(503, "SlowDown"))
    });
    let sink = MemorySink::new(MIB);
    let mut patient = settings(&server);
    patient.retry.attempts = 12;
    fetch_all(&open(patient), &sink).unwrap();
    assert_eq!(sink.delivered().len(), 60);
}

#[test]
fn a_service_that_stays_down_ends_the_job() {
    let server = server();
    for n in 0..40 {
        server.put(format!("{n:02}"), Put::bytes("x"));
    }
    let source = open(settings(&server));
    let listed = list(&source).unwrap();
    for (status, code) in [(503, "ServiceUnavailable"), (502, "")] {
        server.misbehave(move |_, _| Some(Fault::Refuse(status, code)));
        let error = fetch(&source, listed.clone(), &MemorySink::new(MIB)).unwrap_err();
        assert!(matches!(error, SourceError::Lost { .. }), "{error:?}");
    }
    server.misbehave(|_, _| Some(Fault::Refuse(403, "InvalidAccessKeyId")));
    let error = fetch(&source, listed, &MemorySink::new(MIB)).unwrap_err();
    assert!(matches!(error, SourceError::Denied { .. }), "{error:?}");
}

#[test]
fn one_object_that_the_service_fails_on_is_a_finding_and_all_of_them_the_end() {
    let server = server();
    for n in 0..80 {
        server.put(format!("{n:02}"), Put::bytes("x"));
    }
    let source = open(settings(&server));
    let listed = list(&source).unwrap();
    server.misbehave(|request, _| {
        request.path().ends_with("07").then_some(Fault::Refuse(500, "InternalError"))
    });
    let sink = MemorySink::new(MIB);
    fetch(&source, listed.clone(), &sink).unwrap();
    assert_eq!(one_finding(&sink).0, Problem::Unreadable);
    assert_eq!(sink.delivered().len(), 79);

    server.misbehave(|_, _| Some(Fault::Refuse(500, "InternalError")));
    let error = fetch(&source, listed, &MemorySink::new(MIB)).unwrap_err();
    assert!(matches!(error, SourceError::Lost { .. }), "{error:?}");
}

#[test]
fn a_sink_that_takes_no_more_ends_the_job() {
    let server = server();
    for n in 0..40 {
        server.put(format!("{n:02}"), Put::bytes("x"));
    }
    let sink = MemorySink::new(MIB);
    sink.fail_after(3);
    let error = fetch_all(&open(settings(&server)), &sink).unwrap_err();
    assert!(matches!(error, SourceError::Sink(_)), "{error:?}");
    assert_eq!(sink.delivered().len(), 3);
}

#[test]
fn an_operator_stops_a_fetch_that_waits() {
    let server = server();
    for n in 0..4 {
        server.put(format!("{n}"), Put::bytes(noise(SIZES[1], n)));
    }
    let source = open(settings(&server));
    let listed = list(&source).unwrap();
    let cancel = Cancel::new();
    let in_server = cancel.clone();
    server.misbehave(move |request, _| {
        if !is_content(request) {
            return None;
        }
        in_server.set();
        Some(Fault::Wait(Duration::from_secs(20)))
    });
    let sink = MemorySink::new(64 * MIB);
    let clock = SystemClock::new();
    let stopped = source.fetch(&mut listed.into_iter(), &sink, &cancel);
    assert!(clock.elapsed() < Duration::from_secs(10), "it did not wait for the answers");
    assert!(matches!(stopped, Err(SourceError::Stopped)), "{stopped:?}");
}

#[test]
fn a_service_that_ignores_ranges_is_not_trusted() {
    let server = server();
    server.put("k", Put::bytes(noise(SIZES[1], 1)));
    server.misbehave(|request, _| {
        request.header("range").is_some().then_some(Fault::Without("content-range"))
    });
    let sink = MemorySink::new(64 * MIB);
    let error = fetch_all(&open(settings(&server)), &sink).unwrap_err();
    assert!(matches!(error, SourceError::Protocol { .. }), "{error:?}");
}

#[test]
fn a_clock_that_is_wrong_does_not_hinder_a_fetch() {
    let server = S3Server::start(Setup { clock_ahead: 7200, ..setup() }).unwrap();
    server.put("k", Put::bytes(noise(SIZES[1], 1)));
    let sink = MemorySink::new(64 * MIB);
    fetch_all(&open(settings(&server)), &sink).unwrap();
    assert_eq!(sink.delivered().len(), 1);
}
