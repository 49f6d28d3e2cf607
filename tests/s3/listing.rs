//! Listings: hostile keys, versions, pages, and pages that cannot be trusted.

use tapevault::{
    cancel::Cancel,
    item::{Key, Kind},
    source::{
        Source, SourceError, Stop,
        s3::{Settings, Style, Versions},
    },
};

use crate::{
    MIB, chain, list,
    memory_sink::MemorySink,
    open,
    s3_server::{Fault, Put, S3Server, Setup, Versioning, hostile_keys},
    server, settings, setup,
};

#[test]
fn hostile_keys_are_listed_byte_for_byte() {
    let server = server();
    for key in hostile_keys() {
        server.put(&key, Put::bytes(key.clone()));
    }
    for versions in [Versions::Current, Versions::All] {
        let listed = list(&open(Settings { versions, ..settings(&server) })).unwrap();
        let keys: Vec<Vec<u8>> = listed.into_iter().map(|listed| listed.key.0).collect();
        assert_eq!(keys, hostile_keys(), "{versions:?}");
    }
}

#[test]
fn versions_and_delete_markers_are_listed_in_place() {
    let server = server();
    server.bucket().versioning = Versioning::Off;
    server.put("k", Put::bytes("before"));
    server.bucket().versioning = Versioning::On;
    let first = server.put("k", Put::bytes("one"));
    let marker = server.delete("k");
    let last = server.put("k", Put::bytes("three"));
    server.put("other", Put::bytes("x"));
    server.bucket().versioning = Versioning::Suspended;
    server.put("other", Put::bytes("null again"));

    let listed = list(&open(settings(&server))).unwrap();
    let told: Vec<(&[u8], &str, bool, bool)> = listed
        .iter()
        .map(|one| {
            let marker = one.kind == Kind::DeleteMarker;
            (&*one.key.0, one.version.0.as_str(), one.latest, marker)
        })
        .collect();
    let other = listed[5].version.0.as_str();
    assert_eq!(
        told,
        [
            (&b"k"[..], last.as_str(), true, false),
            (b"k", &marker, false, true),
            (b"k", &first, false, false),
            (b"k", "null", false, false),
            (b"other", "null", true, false),
            (b"other", other, false, false),
        ]
    );
    let current = Settings { versions: Versions::Current, ..settings(&server) };
    let listed = list(&open(current)).unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|one| one.version.is_none() && one.latest));
}

#[test]
fn a_listing_goes_over_many_pages() {
    for page_entries in [1, 2, 3, 7] {
        let server = S3Server::start(Setup { page_entries, ..setup() }).unwrap();
        server.bucket().versioning = Versioning::On;
        for key in hostile_keys() {
            server.put(&key, Put::bytes("1"));
            server.delete(&key);
            server.put(&key, Put::bytes("2"));
        }
        let listed = list(&open(settings(&server))).unwrap();
        assert_eq!(listed.len(), 3 * hostile_keys().len(), "{page_entries} a page");
        let current = Settings { versions: Versions::Current, ..settings(&server) };
        let listed = list(&open(current)).unwrap();
        assert_eq!(listed.len(), hostile_keys().len(), "{page_entries} a page");
        let below = Settings { prefix: "a/".to_owned(), ..settings(&server) };
        let keys: Vec<Key> = list(&open(below)).unwrap().into_iter().map(|one| one.key).collect();
        let pairs: Vec<Key> = ["a/", "a//b", "a/b"]
            .iter()
            .flat_map(|key| std::iter::repeat_n(Key::from(*key), 3))
            .collect();
        assert_eq!(keys, pairs);
    }
}

#[test]
fn a_token_changes_with_what_the_listing_says() {
    let server = server();
    server.put("k", Put::bytes("one"));
    let source = open(settings(&server));
    let before = list(&source).unwrap()[0].token;
    assert_eq!(list(&source).unwrap()[0].token, before);
    server.put("k", Put::bytes("two"));
    assert_ne!(list(&source).unwrap()[0].token, before);
}

#[test]
fn a_visitor_or_an_operator_stops_a_listing() {
    let server = S3Server::start(Setup { page_entries: 1, ..setup() }).unwrap();
    for key in hostile_keys() {
        server.put(&key, Put::default());
    }
    let source = open(settings(&server));
    let findings = MemorySink::new(MIB);
    let mut seen = 0;
    let mut two = |_| {
        seen += 1;
        if seen == 2 { Err(Stop) } else { Ok(()) }
    };
    let stopped = source.list(&mut two, &findings, &Cancel::new());
    assert!(matches!(stopped, Err(SourceError::Stopped)));
    let cancel = Cancel::new();
    cancel.set();
    let stopped = source.list(&mut |_| Ok(()), &findings, &cancel);
    assert!(matches!(stopped, Err(SourceError::Stopped)));
}

/// Lists with every page rewritten.
fn list_edited(edit: fn(String) -> String) -> String {
    let server = S3Server::start(Setup { page_entries: 2, ..setup() }).expect("a free port");
    for key in ["a", "b", "c", "d", "e"] {
        server.put(key, Put::default());
    }
    server.misbehave(move |_, _| Some(Fault::Edit(Box::new(edit))));
    let error = list(&open(settings(&server))).expect_err("no page can be trusted");
    assert!(matches!(error, SourceError::Protocol { .. }), "{error:?}");
    chain(&error).split_once("trusted: ").expect("it says so").1.to_owned()
}

#[test]
fn pages_that_cannot_be_trusted_end_the_listing() {
    assert_eq!(
        list_edited(|page| page.replace("</ListVersionsResult>", "")),
        "a listing page that is not whole: the document ends inside <ListVersionsResult>"
    );
    assert_eq!(list_edited(|page| page.replace("<Key>b", "<Key>0")), "key \"0\" after \"a\"");
    assert_eq!(
        list_edited(|page| page.replace("<Key>c", "<Key>a")),
        "key \"a\" after \"b\"",
        "over the edge of a page"
    );
    assert_eq!(
        list_edited(|page| page.replace("NextKeyMarker>", "Nothing>")),
        "a page that has more behind it and does not say where"
    );
    assert_eq!(
        list_edited(|page| {
            let (start, rest) = page.split_once("<NextKeyMarker>").unwrap();
            let (_, end) = rest.split_once('<').unwrap();
            let empty = end.split_once("<Version>").unwrap().0;
            format!("{start}<NextKeyMarker>a<{empty}</ListVersionsResult>")
        }),
        "a page that leads back to one before it"
    );
}

#[test]
fn a_page_that_breaks_off_is_asked_again() {
    let server = server();
    server.put("k", Put::default());
    let mut first = true;
    server.misbehave(move |_, _| std::mem::take(&mut first).then_some(Fault::Cut(50)));
    assert_eq!(list(&open(settings(&server))).unwrap().len(), 1);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_refusal_inside_a_success_is_a_refusal() {
    let server = server();
    server.put("k", Put::default());
    let mut first = true;
    server.misbehave(move |_, _| {
        let slow = |_| "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code></Error>".to_owned();
        std::mem::take(&mut first).then(|| Fault::Edit(Box::new(slow)))
    });
    assert_eq!(list(&open(settings(&server))).unwrap().len(), 1);
}

#[test]
fn what_cannot_be_listed_says_why() {
    let server = server();
    let wrong_bucket = Settings { bucket: "elsewhere".to_owned(), ..settings(&server) };
    let error = list(&open(wrong_bucket)).unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }));
    assert!(chain(&error).contains("404 NoSuchBucket"), "{}", chain(&error));

    let mut wrong_keys = settings(&server);
    let variable = "PATH".to_owned();
    wrong_keys.credentials = tapevault::source::http::Credentials::Environment {
        key_id: variable.clone(),
        secret: variable,
        session_token: None,
    };
    let error = list(&open(wrong_keys)).unwrap_err();
    assert!(matches!(error, SourceError::Denied { .. }));
    assert!(chain(&error).contains("403 InvalidAccessKeyId"), "{}", chain(&error));

    let wrong_region = Settings { region: "us-else-2".to_owned(), ..settings(&server) };
    let error = list(&open(wrong_region)).unwrap_err();
    let told = "the bucket is in region eu-test-1, the config says us-else-2";
    assert!(chain(&error).ends_with(told), "{}", chain(&error));

    server.misbehave(|_, _| Some(Fault::Redirect("ap-far-1")));
    let error = list(&open(settings(&server))).unwrap_err();
    let told = "the bucket is in region ap-far-1, the config says eu-test-1";
    assert!(chain(&error).ends_with(told), "{}", chain(&error));

    server.misbehave(|_, _| Some(Fault::Refuse(403, "AccessDenied")));
    let error = list(&open(settings(&server))).unwrap_err();
    assert!(matches!(error, SourceError::Denied { operation: "list", .. }));

    let mut nobody = settings(&server);
    drop(server);
    nobody.endpoint = Some("http://127.0.0.1:9".to_owned());
    let error = list(&open(nobody)).unwrap_err();
    assert!(matches!(error, SourceError::Lost { attempts: 4, .. }), "{error:?}");
}

#[test]
fn the_bucket_may_stand_in_the_host_name() {
    // A bucket and a host that together are an address need no name server.
    let server = S3Server::start(Setup { bucket: "127.0.0".to_owned(), ..setup() }).unwrap();
    server.put("a//b", Put::default());
    let in_host = Settings {
        bucket: "127.0.0".to_owned(),
        endpoint: Some(server.endpoint().replace("127.0.0.1", "1")),
        style: Style::VirtualHost,
        ..settings(&server)
    };
    assert_eq!(list(&open(in_host)).unwrap()[0].key, Key::from("a//b"));
    assert!(server.requests()[0].target.starts_with("/?versions"));
}

#[test]
fn a_wrong_clock_is_corrected_once() {
    for clock_ahead in [-3600, 3600] {
        let server = S3Server::start(Setup { clock_ahead, ..setup() }).unwrap();
        server.put("k", Put::default());
        let source = open(settings(&server));
        assert_eq!(list(&source).unwrap().len(), 1, "{clock_ahead} s");
        assert_eq!(server.requests().len(), 2, "refused, then corrected");
        assert_eq!(list(&source).unwrap().len(), 1);
        assert_eq!(server.requests().len(), 1, "and remembered");
    }
}
