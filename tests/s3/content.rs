//! Content: small, large and parted objects, with all that is known of them.

use std::time::Duration;

use tapevault::{
    item::{Key, Kind},
    source::{
        HeldPart, Problem,
        s3::{EtagMeaning, Settings, Tags, Versions},
    },
};

use crate::{
    MIB, fetch_all, list,
    memory_sink::MemorySink,
    noise, open,
    s3_server::{Checksum, Fault, Put, S3Server, Versioning, hostile_keys},
    server, settings,
};

fn mib(count: usize) -> usize {
    count << 20
}

#[test]
fn hostile_keys_are_fetched_byte_for_byte() {
    let server = server();
    for key in hostile_keys() {
        server.put(&key, Put::bytes(key.clone()));
    }
    let sink = MemorySink::new(MIB);
    fetch_all(&open(settings(&server)), &sink).unwrap();
    let delivered = sink.delivered();
    assert_eq!(delivered.len(), hostile_keys().len());
    for (one, key) in delivered.iter().zip(hostile_keys()) {
        assert_eq!(one.item.key.0, key);
        assert_eq!(one.bytes, key);
        assert!(one.verified.starts_with("md5="), "{one:?}");
    }
    assert!(sink.findings().is_empty());
}

#[test]
fn each_version_brings_its_own_content() {
    let server = server();
    server.bucket().versioning = Versioning::On;
    let first = server.put("k", Put::bytes("one"));
    let marker = server.delete("k");
    let second = server.put("k", Put::bytes("two"));
    let third = server.put("k", Put::bytes(noise(mib(20), 3)));
    let sink = MemorySink::new(64 * MIB);
    let source = open(settings(&server));
    let listed = list(&source).unwrap();
    fetch_all(&source, &sink).unwrap();
    let delivered = sink.delivered();
    assert_eq!(delivered.len(), 4);
    for (id, bytes) in [(&first, b"one".to_vec()), (&second, b"two".to_vec())] {
        let one = delivered.iter().find(|one| one.item.version.0 == *id).unwrap();
        assert_eq!(one.bytes, bytes);
    }
    let large = delivered.iter().find(|one| one.item.version.0 == third).unwrap();
    assert_eq!(large.bytes, noise(mib(20), 3));
    assert!(large.item.latest);
    let deleted = delivered.iter().find(|one| one.item.version.0 == marker).unwrap();
    assert_eq!((&deleted.item.kind, deleted.item.size), (&Kind::DeleteMarker, 0));
    for one in &delivered {
        let listed = listed.iter().find(|listed| listed.version == one.item.version).unwrap();
        assert_eq!((one.item.token, one.item.modified), (listed.token, listed.modified));
    }
}

#[test]
fn all_that_is_known_of_an_object_comes_along() {
    let server = server();
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let put = Put {
        headers: vec![
            header("content-type", "text/plain; charset=utf-8"),
            header("content-encoding", "gzip"),
            header("cache-control", "no-store"),
            header("x-amz-meta-owner", "J\u{fc}rgen"),
            header("x-amz-meta-empty", ""),
            header("x-amz-server-side-encryption", "AES256"),
        ],
        tags: vec![("class".into(), "a<b&c".into()), ("".into(), " ".into())],
        class: Some("STANDARD_IA".into()),
        checksum: Some(Checksum::Crc64Nvme),
        ..Put::bytes(b"\x1f\x8b not really gzip".to_vec())
    };
    server.put("small", put.clone());
    server.put("large", Put { body: noise(mib(9), 1), ..put });
    let sink = MemorySink::new(64 * MIB);
    fetch_all(&open(settings(&server)), &sink).unwrap();
    for one in sink.delivered() {
        let facts = one.item.object.as_ref().unwrap();
        assert_eq!(facts.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(facts.headers["content-encoding"], "gzip", "named, and not undone");
        assert_eq!(facts.headers["cache-control"], "no-store");
        assert_eq!(facts.metadata["owner"], "J\u{fc}rgen");
        assert_eq!(facts.metadata["empty"], "");
        assert_eq!(facts.tags["class"], "a<b&c");
        assert_eq!(facts.tags[""], " ");
        assert_eq!(facts.storage_class, "STANDARD_IA");
        assert!(one.verified.starts_with("crc64nvme="), "{:?}", one.item);
    }
    assert!(sink.findings().is_empty());
}

#[test]
fn tags_are_asked_for_as_the_config_says() {
    let server = server();
    server.put("none", Put::bytes("1"));
    server.put("some", Put { tags: vec![("a".into(), "b".into())], ..Put::bytes("2") });
    for (tags, requests) in [(Tags::Never, 0), (Tags::Counted, 1), (Tags::Always, 2)] {
        let sink = MemorySink::new(MIB);
        fetch_all(&open(Settings { tags, ..settings(&server) }), &sink).unwrap();
        let asked = server.requests().iter().filter(|r| r.target.contains("tagging")).count();
        assert_eq!(asked, requests, "{tags:?}");
        let some = &sink.delivered()[1];
        let tagged = some.item.object.as_ref().unwrap().tags.contains_key("a");
        assert_eq!(tagged, tags != Tags::Never);
    }
}

#[test]
fn empty_objects_are_verified_too() {
    let server = server();
    server.put("dir/", Put::default());
    server.put("empty", Put { checksum: Some(Checksum::Crc64Nvme), ..Put::default() });
    let sink = MemorySink::new(MIB);
    fetch_all(&open(settings(&server)), &sink).unwrap();
    let verified: Vec<String> = sink.delivered().into_iter().map(|one| one.verified).collect();
    assert_eq!(verified, ["md5=d41d8cd98f00b204e9800998ecf8427e", "crc64nvme=AAAAAAAAAAA="]);
}

#[test]
fn every_kind_of_checksum_is_verified_small_and_large() {
    let server = server();
    let pieces = |total: usize| vec![total / 2 + 1, total - total / 2 - 1];
    for (name, size) in [("small", 100_001), ("large", mib(17) + 3)] {
        let body = noise(size, 5);
        let parts = pieces(size);
        let plain = Put::bytes(body);
        let parted = Put { parts, ..plain.clone() };
        let with = |put: &Put, checksum| Put { checksum: Some(checksum), ..put.clone() };
        server.put(format!("{name}/md5"), plain.clone());
        server.put(format!("{name}/md5-parts"), parted.clone());
        server.put(format!("{name}/crc64"), with(&parted, Checksum::Crc64Nvme));
        server.put(format!("{name}/crc32"), with(&plain, Checksum::Crc32));
        server.put(format!("{name}/sha-parts"), with(&parted, Checksum::CompositeSha256));
        let opaque = Put { etag: Some("an-opaque-tag".into()), ..plain.clone() };
        server.put(format!("{name}/opaque"), opaque);
        let kms = ("x-amz-server-side-encryption".to_owned(), b"aws:kms".to_vec());
        let not_md5 = Put {
            etag: Some("0123456789abcdef0123456789abcdef".into()),
            headers: vec![kms],
            ..plain
        };
        server.put(format!("{name}/kms"), not_md5);
    }
    let sink = MemorySink::new(64 * MIB);
    fetch_all(&open(settings(&server)), &sink).unwrap();
    let found: Vec<String> = sink.findings().iter().map(|finding| format!("{finding:?}")).collect();
    assert!(found.is_empty(), "{found:?}");
    for one in sink.delivered() {
        let key = one.item.key.printable().to_string();
        let (kind, parts) = match key.split_once('/').unwrap().1 {
            "md5" => ("md5=", false),
            "md5-parts" => ("md5=", true),
            "crc64" => ("crc64nvme=", false),
            "crc32" => ("crc32=", false),
            "sha-parts" => ("sha256=", true),
            _ => ("", false),
        };
        assert!(one.verified.starts_with(kind), "{key}: {:?}", one.verified);
        assert_eq!(one.verified.is_empty(), kind.is_empty(), "{key}: {:?}", one.verified);
        assert_eq!(one.verified.ends_with("-2"), parts, "{key}: {:?}", one.verified);
    }
}

#[test]
fn an_opaque_tag_is_not_held_against_the_content() {
    let server = server();
    let put = Put { etag: Some("0123456789abcdef0123456789abcdef".into()), ..Put::bytes("x") };
    server.put("k", put);
    let sink = MemorySink::new(MIB);
    fetch_all(&open(Settings { etag: EtagMeaning::Opaque, ..settings(&server) }), &sink).unwrap();
    assert_eq!(sink.delivered()[0].verified, "");
    fetch_all(&open(settings(&server)), &sink).unwrap();
    assert_eq!(sink.findings()[0].what, Problem::ChecksumMismatch);
}

#[test]
fn a_long_object_comes_in_parts() {
    let server = server();
    let body = noise(mib(31) + 17, 9);
    server.put("k", Put { checksum: Some(Checksum::Crc64Nvme), ..Put::bytes(body.clone()) });
    for part in [3, 8, 10, 31, 32] {
        let sink = MemorySink::new(part * MIB);
        fetch_all(&open(settings(&server)), &sink).unwrap();
        let delivered = sink.delivered();
        let count = body.len().div_ceil(mib(usize::try_from(part).unwrap()));
        assert_eq!(delivered.len(), count, "{part} MiB");
        let together: Vec<u8> = delivered.iter().flat_map(|one| one.bytes.clone()).collect();
        assert!(together == body, "{part} MiB");
        let (last, before) = delivered.split_last().unwrap();
        assert!(last.verified.starts_with("crc64nvme="));
        assert!(before.iter().all(|one| one.verified.is_empty()), "only the last part proves it");
    }
}

#[test]
fn few_claims_and_many_large_objects_do_not_lock_up() {
    let server = server();
    for n in 0..6 {
        server.put(format!("{n}"), Put::bytes(noise(mib(20), n)));
    }
    server.misbehave(|_, _| Some(Fault::Wait(Duration::from_millis(5))));
    for concurrency in [1, 2, 8] {
        let sink = MemorySink::with_claims(32 * MIB, 2);
        let source = open(Settings { concurrency, ..settings(&server) });
        fetch_all(&source, &sink).unwrap();
        for (one, n) in sink.delivered().iter().zip(0..) {
            assert!(one.bytes == noise(mib(20), n), "object {n}");
        }
        let busiest = server.busiest();
        assert!(busiest <= usize::try_from(concurrency).unwrap(), "{busiest} of {concurrency}");
        assert_eq!(busiest > 1, concurrency > 1, "{busiest} of {concurrency}");
    }
}

#[test]
fn an_unversioned_current_listing_has_no_versions() {
    let server = server();
    server.put("k", Put::bytes("v"));
    let sink = MemorySink::new(MIB);
    let current = Settings { versions: Versions::Current, ..settings(&server) };
    fetch_all(&open(current), &sink).unwrap();
    let one = &sink.delivered()[0];
    assert_eq!((&one.item.key, one.item.version.is_none()), (&Key::from("k"), true));
    assert!(server.requests().iter().all(|request| !request.target.contains("versionId")));
}

/// The parts that one delivery left, as a later one finds them.
fn held(sink: &MemorySink) -> Vec<HeldPart> {
    let parts = sink.delivered().into_iter();
    parts
        .map(|one| HeldPart { part: one.part.expect("it came in parts"), running: one.running })
        .collect()
}

/// Bytes of ranges that were asked for.
fn bytes_asked(server: &S3Server) -> u64 {
    let requests = server.requests();
    let ranges = requests.iter().filter_map(|request| request.header("range"));
    let lengths = ranges.map(|range| {
        let span = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        let (first, last) = span.expect("a range has a first and a last byte");
        let number = |text: &str| text.parse::<u64>().expect("in digits");
        number(last) + 1 - number(first)
    });
    lengths.sum()
}

#[test]
fn parts_that_stand_are_not_asked_for_again() {
    let server = server();
    let size = mib(23) + 5;
    for checksum in [None, Some(Checksum::Crc64Nvme), Some(Checksum::CompositeSha256)] {
        let parts = vec![mib(5), mib(5), mib(5), mib(5), size - mib(20)];
        server.put("large", Put { parts, checksum, ..Put::bytes(noise(size, 5)) });
        let source = open(settings(&server));
        let broken = MemorySink::new(4 * MIB);
        broken.fail_after(3);
        fetch_all(&source, &broken).unwrap_err();
        let held = held(&broken);
        assert_eq!(held.len(), 3);
        server.requests();
        // All that is missing, and the checksum of the whole is compared all the same.
        let sink = MemorySink::new(4 * MIB);
        sink.hold(held.clone());
        fetch_all(&source, &sink).unwrap();
        assert_eq!(bytes_asked(&server), size as u64 - 12 * MIB, "{checksum:?}");
        let rest = sink.delivered();
        let numbers: Vec<u32> = rest.iter().map(|one| one.part.unwrap().number).collect();
        assert_eq!(numbers, [4, 5, 6]);
        assert!(!rest[2].verified.is_empty(), "{checksum:?}");
        let whole = broken.delivered().into_iter().chain(rest).flat_map(|one| one.bytes);
        assert!(whole.eq(noise(size, 5)));
        // A gap: what stands behind it comes again, because the checksum takes bytes in order.
        let sink = MemorySink::new(4 * MIB);
        sink.hold(vec![held[0].clone(), held[2].clone()]);
        fetch_all(&source, &sink).unwrap();
        assert_eq!(sink.delivered().len(), 5);
        // Cut otherwise, nothing of it stands.
        let sink = MemorySink::new(8 * MIB);
        sink.hold(held);
        fetch_all(&source, &sink).unwrap();
        assert_eq!(sink.delivered().len(), 3);
        assert!(sink.findings().is_empty());
    }
}

#[test]
fn without_a_checksum_every_part_that_stands_counts() {
    let server = server();
    server.put("large", Put { etag: Some("opaque".into()), ..Put::bytes(noise(mib(20), 5)) });
    let source = open(settings(&server));
    let whole = MemorySink::new(4 * MIB);
    fetch_all(&source, &whole).unwrap();
    let held = held(&whole);
    server.requests();
    let sink = MemorySink::new(4 * MIB);
    sink.hold([1, 3, 4].map(|index: usize| held[index].clone()).to_vec());
    fetch_all(&source, &sink).unwrap();
    assert_eq!(bytes_asked(&server), 8 * MIB);
    let numbers: Vec<u32> = sink.delivered().iter().map(|one| one.part.unwrap().number).collect();
    assert_eq!(numbers, [1, 3]);
}

#[test]
fn parts_that_stand_and_do_not_agree_come_again() {
    let server = server();
    server.put("large", Put::bytes(noise(mib(20), 5)));
    let source = open(settings(&server));
    // A part was wrong on its way, and its job was broken off before it could see that.
    let broken = MemorySink::new(4 * MIB);
    broken.fail_after(2);
    let mut once = Some(Fault::Flip(1000));
    server.misbehave(move |request, _| once.take_if(|_| request.header("range").is_some()));
    fetch_all(&source, &broken).unwrap_err();
    let sink = MemorySink::new(4 * MIB);
    sink.hold(held(&broken));
    fetch_all(&source, &sink).unwrap();
    let delivered = sink.delivered();
    let bytes = delivered.iter().filter(|one| one.part.unwrap().number < 3);
    assert!(bytes.flat_map(|one| one.bytes.clone()).eq(noise(mib(8), 5)), "fetched anew");
    assert!(delivered.last().unwrap().verified.starts_with("md5="));
    assert!(sink.findings().is_empty());
}
