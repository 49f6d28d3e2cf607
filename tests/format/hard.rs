//! Hard cases that are too large for a golden volume, and what stock readers restore of the others.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Stdio;

use tapevault::clock::Timestamp;
use tapevault::digest::Digest;
use tapevault::tar;
use tapevault::volume::manifest::Part;
use tapevault::volume::member;
use tapevault::volume::segment::Finisher;

use crate::build::{self, BLOCK, entry, facts};
use crate::cases::{self, file, object};
use crate::stock::{self, Stock, program, quietly};

/// What `whole` of the golden volumes holds, by its path, as a reader should restore it.
fn check_restored(stock: Stock, folder: &Path) {
    let disk = folder.join("disk");
    let metadata = |name: &str| fs::symlink_metadata(disk.join(name)).unwrap();
    let (first, second) = (metadata("links/first"), metadata("links/second"));
    assert_eq!((first.ino(), first.nlink()), (second.ino(), 2), "{stock:?}");
    assert_eq!(metadata("plain.txt").mode() & 0o7777, 0o640, "{stock:?}");
    assert!(metadata("fifo").file_type().is_fifo(), "{stock:?}");
    let target = fs::read_link(disk.join("links/long-not-utf8")).unwrap();
    assert_eq!(target.as_os_str().as_encoded_bytes(), b"\xfe/".repeat(90), "{stock:?}");
    let hole = metadata("sparse/nothing-but-hole");
    assert_eq!(hole.len(), 1_000_000, "{stock:?}");
    assert!(hole.blocks() * 512 < 100_000, "{stock:?} restores holes: {} blocks", hole.blocks());
    let exact = metadata("times/nanoseconds");
    assert_eq!(exact.mtime(), 1_700_000_000, "{stock:?}");
    assert_eq!(metadata("times/before-1970").mtime(), 0, "{stock:?}");
    let bucket = folder.join("bucket");
    for (name, content) in [
        ("a%", "a"),
        ("a/b%", "a/b"),
        ("a/%", "a/"),
        ("%2E%2E/%2E%2E/etc/passwd%", "../../etc/passwd"),
    ] {
        assert_eq!(fs::read_to_string(bucket.join(name)).unwrap(), content, "{stock:?} {name}");
    }
    let versions = folder.join("bucket@versions");
    assert_eq!(fs::read_to_string(versions.join("doc.txt/v1")).unwrap(), "oldest", "{stock:?}");
    if !matches!(stock, Stock::Python) {
        // Python's tarfile restores neither.
        assert_eq!(exact.mtime_nsec(), 123_456_789, "{stock:?}");
        let text = quietly(program("python3", &["-c", "import os, sys; sys.stdout.write(os.getxattr(sys.argv[1], 'user.text').decode())"]).arg(disk.join("xattrs")));
        assert_eq!(text, "value", "{stock:?}");
    }
}

#[test]
fn stock_readers_restore_the_hard_cases() {
    let segment = build::segment(facts(1, 512 << 10), &cases::small());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.tar");
    fs::write(&path, &segment.bytes).unwrap();
    let members = segment.entries.iter().filter(|entry| entry.path.is_some()).count() + 3;
    stock::read_by_all(&path, members, |stock, into| {
        stock::check_sums(into, &segment.trailer.segment.to_string());
        check_restored(stock, into);
    });
}

/// Fillers of every sort between members.
#[test]
fn fillers_are_passed_over_in_silence() {
    let mut bytes = Vec::new();
    let lengths = [1024, 1536, 4096, 10_240, 102_400, tar::FILLER_MAX];
    for length in lengths {
        bytes.extend(tar::filler(length));
        let head = tar::Head::file(format!("s/{length}"), 0, Timestamp::default());
        head.encode_into(&mut bytes).unwrap();
    }
    bytes.extend_from_slice(&tar::END);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("filled.tar");
    fs::write(&path, &bytes).unwrap();
    stock::read_by_all(&path, lengths.len(), |stock, into| {
        assert_eq!(fs::read_dir(into.join("s")).unwrap().count(), lengths.len(), "{stock:?}");
    });
}

#[test]
fn a_hundred_thousand_tiny_files() {
    let contents: Vec<_> = (0..100_000_u32)
        .map(|n| {
            object(format!("{:03}/{n:06}.txt", n % 200).as_bytes(), "", true, &n.to_le_bytes())
        })
        .collect();
    let segment = build::segment(facts(7, 512 << 10), &contents);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.tar");
    fs::write(&path, &segment.bytes).unwrap();
    for stock in stock::ALL {
        let listing = quietly(&mut stock.list(&path));
        assert_eq!(listing.lines().count(), 100_003, "{stock:?}");
        // Python takes its time: it extracts them in a deep run only.
        if matches!(stock, Stock::Python) && !is_deep() {
            continue;
        }
        let into = tempfile::tempdir().unwrap();
        quietly(&mut stock.extract(&path, into.path()));
        stock::check_sums(into.path(), &segment.trailer.segment.to_string());
    }
}

fn is_deep() -> bool {
    std::env::var_os("TAPEVAULT_DEEP").is_some()
}

/// A segment with one part of 9 GiB of zeros, which the file does not hold on disk.
fn large_part(path: &Path) -> (String, Digest) {
    const SIZE: u64 = 9 << 30;
    // Of 9 GiB of zeros; below, b3sum has to agree.
    const ZEROS: &str = "4012ee0c6604772cf0697ca8212a35f8c6be8da476cd22d82d6cc4eee6dfb76a";
    let mut content = object(b"large.img", "", true, b"");
    content.item.size = 2 * SIZE;
    content.part = Some(Part { number: 1, of: 2, offset: 0, length: SIZE });
    let mut entry = entry(&content);
    entry.digest = Some(ZEROS.parse().unwrap());
    let mut head = Vec::new();
    let encoded = member::head_of(&entry).unwrap().encode_into(&mut head).unwrap();
    entry.data = encoded.headers;
    entry.stored = SIZE;
    let mut out = File::create_new(path).unwrap();
    out.write_all(&head).unwrap();
    out.seek(SeekFrom::Start(encoded.total())).unwrap();
    let scratch = tempfile::tempfile().unwrap();
    let mut finisher = Finisher::new(out, scratch, facts(9, 512 << 10), encoded.total()).unwrap();
    finisher.push(entry.clone()).unwrap();
    finisher.finish().unwrap();
    (entry.path.unwrap(), entry.digest.unwrap())
}

/// Every reader lists it. One extracts it in the gate, all of them in a deep run.
#[test]
fn a_part_of_nine_gibibytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.tar");
    let (member, digest) = large_part(&path);
    for stock in stock::ALL {
        let listing = quietly(&mut stock.list(&path));
        assert!(listing.contains("9663676416"), "{stock:?}: {listing}");
        let mut command = match stock {
            Stock::Gnu => program("tar", &["-xOf"]),
            Stock::Bsd => program("bsdtar", &["-xOf"]),
            Stock::Python => program(
                "python3",
                &[
                    "-c",
                    "import shutil, sys, tarfile; shutil.copyfileobj(tarfile.open(sys.argv[1]).extractfile(sys.argv[2]), sys.stdout.buffer, 1 << 20)",
                ],
            ),
        };
        if !is_deep() && !matches!(stock, Stock::Gnu) {
            continue;
        }
        let mut reader = command
            .arg(&path)
            .arg(&member)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let data = reader.stdout.take().unwrap();
        let sum = quietly(program("b3sum", &["--no-names"]).stdin(data));
        assert_eq!(sum.trim(), digest.to_string(), "{stock:?}");
        let output = reader.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{stock:?}");
    }
}

/// What stands in front of a large part is found by reading past it, also by our own reader.
#[test]
fn an_emptied_segment_is_still_a_tar() {
    let segment = build::segment(facts(8, BLOCK), &[file(b"x", b"")]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.tar");
    fs::write(&path, &segment.bytes).unwrap();
    stock::read_by_all(&path, 4, |_, into| {
        stock::check_sums(into, &segment.trailer.segment.to_string());
    });
}
