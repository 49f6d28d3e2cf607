//! The directory source against real file systems: every kind of file, every kind of trouble.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/strict_sink.rs"]
mod strict_sink;

use std::{
    fs::{self, File, Permissions},
    io::Write,
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt,
            fs::{FileExt, MetadataExt, PermissionsExt, symlink},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use strict_sink::{Meddle, Memory};
use tapevault::{
    cancel::Cancel,
    clock::{Clock, SystemClock, Timestamp},
    item::{Extent, Key, Kind, Listed},
    source::{
        HeldPart, Problem, SinkError, Source, SourceError, Stop,
        directory::{DirectorySource, Excludes, Options},
    },
    volume::manifest::Part,
};

/// A clock that does something whenever it is asked for the time.
#[derive(Clone)]
struct Meddling(SystemClock, Meddle);

impl std::fmt::Debug for Meddling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meddling")
    }
}

impl Clock for Meddling {
    fn now(&self) -> Timestamp {
        (self.1)();
        // Long after any change, so that nothing waits for a tick to pass.
        self.0.now().after(Duration::from_secs(10))
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, _duration: Duration) {}
}

fn options(root: &Path) -> Options {
    Options {
        root: root.to_owned(),
        one_file_system: false,
        exclude: Vec::new(),
        avoid: Vec::new(),
        scratch: std::env::temp_dir(),
    }
}

fn open(options: Options) -> DirectorySource {
    open_with(options, Arc::new(SystemClock::new()))
}

fn open_with(options: Options, clock: Arc<dyn Clock>) -> DirectorySource {
    let excludes = Excludes::new(&options.exclude).unwrap();
    DirectorySource::open(options, excludes, clock).unwrap()
}

fn list(source: &DirectorySource, findings: &Memory) -> Vec<Listed> {
    let mut rows = Vec::new();
    let mut visit = |listed| {
        rows.push(listed);
        Ok(())
    };
    source.list(&mut visit, findings, &Cancel::new()).unwrap();
    assert!(rows.is_sorted_by(|a: &Listed, b| a.key < b.key), "keys ascend, each once");
    rows
}

fn keys(rows: &[Listed]) -> Vec<String> {
    rows.iter().map(|row| row.key.printable().to_string()).collect()
}

fn fetch(source: &DirectorySource, sink: &Memory, rows: &[Listed]) -> Result<(), SourceError> {
    source.fetch(&mut rows.iter().cloned(), sink, &Cancel::new())
}

/// Content that differs everywhere.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from((n * 31 + n / 251) % 256).unwrap()).collect()
}

fn write(path: &Path, data: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, data).unwrap();
}

#[test]
fn keys_come_in_the_byte_order_of_full_paths() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    for name in ["a.txt", "a/b", "a!", "a/b.c", "a0", "z/é", "z/~", "B/x/y/z", "a/b!/c"] {
        write(&root.join(name), b"x");
    }
    fs::remove_file(root.join("a/b")).unwrap();
    write(&root.join("a/b/c"), b"x");
    write(&root.join(Path::new(std::ffi::OsStr::from_bytes(b"bad\xff\n"))), b"x");
    let rows = list(&open(options(root)), &Memory::default());
    assert_eq!(
        keys(&rows),
        [
            "",
            "B",
            "B/x",
            "B/x/y",
            "B/x/y/z",
            "a",
            "a!",
            "a.txt",
            "a/b",
            "a/b!",
            "a/b!/c",
            "a/b.c",
            "a/b/c",
            "a0",
            "bad\\xff\\n",
            "z",
            "z/~",
            "z/é"
        ]
    );
    assert_eq!(rows[0].kind, Kind::Directory, "the root has the empty key");
}

#[test]
fn every_kind_of_file_arrives_with_its_facts() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    write(&root.join("small"), b"hello");
    write(&root.join("empty"), b"");
    let large = content(3 * (1 << 20) + 17);
    write(&root.join("sub/large"), &large);
    write(&root.join("exact"), &content(1 << 20));
    fs::hard_link(root.join("small"), root.join("sub/twin")).unwrap();
    symlink("no/where", root.join("link")).unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    fs::set_permissions(root.join("small"), Permissions::from_mode(0o4711)).unwrap();
    rustix::fs::setxattr(
        root.join("small"),
        "user.note",
        b"\0\xff",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    rustix::fs::setxattr(root.join("sub"), "user.dir", b"d", rustix::fs::XattrFlags::empty())
        .unwrap();
    let time = std::time::UNIX_EPOCH - Duration::new(86_400, 0) + Duration::new(0, 123_456_789);
    File::open(root.join("empty")).unwrap().set_modified(time).unwrap();

    let (source, sink) = (open(options(root)), Memory::default());
    let rows = list(&source, &sink);
    fetch(&source, &sink, &rows).unwrap();
    assert_eq!(sink.findings(), []);
    let all = sink.take();
    assert_eq!(all.len(), rows.len());
    let get = |key: &str| &all[key.as_bytes()];

    let small = get("small");
    assert_eq!(small.data, b"hello");
    let posix = small.item.posix.as_ref().unwrap();
    let metadata = fs::metadata(root.join("small")).unwrap();
    assert_eq!((posix.mode, posix.uid, posix.gid), (0o4711, metadata.uid(), metadata.gid()));
    assert_eq!(posix.xattrs[0].name, "user.note");
    assert_eq!(posix.xattrs[0].value, b"\0\xff");
    assert_eq!(posix.link_group, get("sub/twin").item.posix.as_ref().unwrap().link_group);
    assert!(posix.link_group.is_some());
    assert_eq!(get("sub/twin").data, b"hello", "each name carries its bytes");
    assert_eq!(get("sub").item.posix.as_ref().unwrap().xattrs[0].name, "user.dir");
    assert_eq!(get("empty").item.modified, Timestamp::from_parts(-86_400, 123_456_789));
    assert_eq!(get("sub/large").data, large);
    assert_eq!(get("exact").data, content(1 << 20));
    assert_eq!(get("link").item.kind, Kind::Symlink { target: Key::from("no/where") });
    assert_eq!(get("pipe").item.kind, Kind::Fifo);
    for (row, key) in rows.iter().zip(all.values().map(|delivered| &delivered.item)) {
        assert_eq!((&row.key, row.token, row.size), (&key.key, key.token, key.size));
    }
}

#[test]
fn long_files_come_as_parts() {
    let tree = tempfile::tempdir().unwrap();
    let data = content(5 * (1 << 20) + 3);
    write(&tree.path().join("long"), &data);
    let source = open(options(tree.path()));
    let sink = Memory { part_bytes: 2 << 20, ..Memory::default() };
    fetch(&source, &sink, &list(&source, &sink)[1..]).unwrap();
    let mut parts = sink.delivered.lock().unwrap().clone();
    parts.sort_by_key(|delivered| delivered.part.unwrap().number);
    let spans: Vec<_> = parts.iter().map(|p| p.part.unwrap()).collect();
    assert_eq!(spans.len(), 3);
    assert!(spans.iter().all(|span| span.of == 3));
    assert_eq!(spans[2], Part { number: 3, of: 3, offset: 4 << 20, length: (1 << 20) + 3 });
    let whole: Vec<u8> = parts.into_iter().flat_map(|part| part.data).collect();
    assert!(whole == data);
}

#[test]
fn parts_that_stand_do_not_come_again() {
    let tree = tempfile::tempdir().unwrap();
    let data = content(5 * (1 << 20) + 3);
    write(&tree.path().join("long"), &data);
    let source = open(options(tree.path()));
    let part = |number: u32, length| Part {
        number,
        of: 3,
        offset: u64::from(number - 1) * (2 << 20),
        length,
    };
    let numbers = |held: &[Part], rows: &[Listed]| {
        let held = held.iter().map(|part| HeldPart { part: *part, running: String::new() });
        let held = Mutex::new(held.collect());
        let sink = Memory { part_bytes: 2 << 20, held, ..Memory::default() };
        fetch(&source, &sink, &rows[1..]).unwrap();
        let delivered = sink.delivered.lock().unwrap();
        let mut numbers: Vec<u32> = delivered.iter().map(|one| one.part.unwrap().number).collect();
        numbers.sort_unstable();
        numbers
    };
    let rows = list(&source, &Memory::default());
    assert_eq!(numbers(&[part(2, 2 << 20)], &rows), [1, 3]);
    assert_eq!(numbers(&[part(1, 2 << 20), part(3, (1 << 20) + 3)], &rows), [2]);
    assert_eq!(numbers(&[part(2, 1 << 20)], &rows), [1, 2, 3], "cut otherwise");
    write(&tree.path().join("long"), &data);
    assert_eq!(numbers(&[part(2, 2 << 20)], &rows), [1, 2, 3], "changed since it was listed");
}

#[test]
fn holes_stay_holes() {
    let tree = tempfile::tempdir().unwrap();
    let file = File::create(tree.path().join("sparse")).unwrap();
    file.set_len(40 << 20).unwrap();
    file.write_all_at(&content(8192), 3 << 20).unwrap();
    file.write_all_at(&content(4096), (20 << 20) - 4096).unwrap();
    File::create(tree.path().join("void")).unwrap().set_len(10 << 20).unwrap();
    let (source, sink) = (open(options(tree.path())), Memory::default());
    fetch(&source, &sink, &list(&source, &sink)).unwrap();
    let all = sink.take();
    let sparse = &all[&b"sparse"[..]];
    let extents = sparse.item.extents.as_ref().unwrap();
    assert_eq!(extents[0], Extent { offset: 3 << 20, length: 8192 });
    assert_eq!(extents[1], Extent { offset: (20 << 20) - 4096, length: 4096 });
    assert!(sparse.data == fs::read(tree.path().join("sparse")).unwrap());
    assert_eq!(all[&b"void"[..]].item.extents, Some(vec![]));
    // More data than one part takes: parted, and the holes of the parts stay holes.
    let sink = Memory { part_bytes: 1 << 20, ..Memory::default() };
    file.write_all_at(&content(2 << 20), 30 << 20).unwrap();
    fetch(&source, &sink, &list(&source, &sink)[1..2]).unwrap();
    let mut parts = sink.delivered.lock().unwrap().clone();
    parts.sort_by_key(|delivered| delivered.part.unwrap().number);
    let spans: Vec<(u64, Option<usize>)> = parts
        .iter()
        .map(|one| (one.part.unwrap().offset >> 20, one.item.extents.as_ref().map(Vec::len)))
        .collect();
    // The last part begins where the data before it would be more than 1 MiB.
    assert_eq!(spans, [(0, Some(2)), (30, None), (31, Some(1))]);
    let whole: Vec<u8> = parts.into_iter().flat_map(|part| part.data).collect();
    assert!(whole == fs::read(tree.path().join("sparse")).unwrap());
    // A second delivery is cut in the same way.
    let part = Part { number: 1, of: 3, offset: 0, length: 30 << 20 };
    let held = Mutex::new(vec![HeldPart { part, running: String::new() }]);
    let sink = Memory { part_bytes: 1 << 20, held, ..Memory::default() };
    fetch(&source, &sink, &list(&source, &sink)[1..2]).unwrap();
    assert_eq!(sink.delivered.lock().unwrap().len(), 2);
    // Nothing but a hole, and more of it than can be digested.
    let huge = File::create(tree.path().join("void")).unwrap();
    if huge.set_len(65 << 40).is_ok() {
        fetch(&source, &sink, &list(&source, &sink)[2..3]).unwrap();
        assert_eq!(sink.findings(), [("void".to_owned(), Problem::Unsupported)]);
    }
}

#[test]
fn what_changes_while_it_is_read_is_tried_again_then_torn() {
    let tree = tempfile::tempdir().unwrap();
    let path = tree.path().join("log");
    for (size, changes, torn) in
        [(3 << 20, 2, false), (3 << 20, 99, true), (10, 2, false), (10, 99, true)]
    {
        write(&path, &content(size));
        let left = Mutex::new(changes);
        let target = path.clone();
        let meddle: Meddle = Arc::new(move || {
            let mut left = left.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                File::options().append(true).open(&target).unwrap().write_all(b"more").unwrap();
            }
        });
        // A large file is meddled with between its ranges, a small one just before it is read.
        let idle: Meddle = Arc::new(|| {});
        let (on_bytes, on_time) = if size > 1 << 20 { (meddle, idle) } else { (idle, meddle) };
        let source =
            open_with(options(tree.path()), Arc::new(Meddling(SystemClock::new(), on_time)));
        let sink = Memory { meddle: on_bytes, ..Memory::default() };
        let rows = list(&source, &sink);
        fetch(&source, &sink, &rows[1..]).unwrap();
        let all = sink.take();
        let log = &all[&b"log"[..]];
        assert_eq!(log.torn, torn, "{size} bytes, {changes} changes");
        let expected = if torn { vec![("log".to_owned(), Problem::Torn)] } else { vec![] };
        assert_eq!(sink.findings(), expected);
        let now = fs::read(&path).unwrap();
        if torn {
            assert!(now.starts_with(&log.data));
        } else {
            assert!(log.data == now, "{size} bytes: the last read is whole");
        }
    }
}

#[test]
fn a_file_that_shrinks_keeps_its_promised_length() {
    let tree = tempfile::tempdir().unwrap();
    let path = tree.path().join("shrinking");
    write(&path, &content(4 << 20));
    let target = path.clone();
    let meddle: Meddle = Arc::new(move || {
        let file = File::options().write(true).open(&target).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len.saturating_sub(300_000).max(2 << 20)).unwrap();
    });
    let source = open(options(tree.path()));
    let sink = Memory { meddle, ..Memory::default() };
    fetch(&source, &sink, &list(&source, &sink)[1..]).unwrap();
    let delivered = &sink.take()[&b"shrinking"[..]];
    assert_eq!(delivered.data.len() as u64, delivered.item.size);
}

#[test]
fn what_vanishes_or_becomes_something_else_is_reported() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    for name in ["file", "to-link", "to-directory", "to-pipe", "gone/inner", "stays"] {
        write(&root.join(name), b"x");
    }
    symlink("a", root.join("link")).unwrap();
    let (source, sink) = (open(options(root)), Memory::default());
    let rows = list(&source, &sink);
    for name in ["file", "to-link", "to-directory", "to-pipe", "link"] {
        fs::remove_file(root.join(name)).unwrap();
    }
    fs::remove_dir_all(root.join("gone")).unwrap();
    symlink("/etc", root.join("gone")).unwrap();
    symlink("/etc/passwd", root.join("to-link")).unwrap();
    fs::create_dir(root.join("to-directory")).unwrap();
    nix::unistd::mkfifo(&root.join("to-pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    fetch(&source, &sink, &rows).unwrap();
    let vanished: Vec<_> = sink
        .findings()
        .into_iter()
        .map(|(key, problem)| {
            assert_eq!(problem, Problem::Vanished, "{key}");
            key
        })
        .collect();
    let expected = ["file", "gone", "gone/inner", "link", "to-directory", "to-link", "to-pipe"];
    assert_eq!(vanished, expected);
    let arrived: Vec<_> = sink.take().into_keys().collect();
    assert_eq!(arrived, [b"".to_vec(), b"stays".to_vec()]);
}

#[test]
fn what_may_not_be_read_is_reported() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    write(&root.join("open"), b"x");
    write(&root.join("closed"), b"x");
    write(&root.join("shut/inner"), b"x");
    let _listener = UnixListener::bind(root.join("socket")).unwrap();
    let source = open(options(root));
    for name in ["closed", "shut"] {
        fs::set_permissions(root.join(name), Permissions::from_mode(0o0)).unwrap();
    }
    fs::set_permissions(root, Permissions::from_mode(0o755)).unwrap();
    let sink = Memory::default();
    // Root reads all, so a thread of it acts as nobody; threads begun by it do too.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if nix::unistd::geteuid().is_root() {
                nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
            }
            let rows = list(&source, &sink);
            assert_eq!(keys(&rows), ["", "closed", "open", "shut"]);
            fetch(&source, &sink, &rows).unwrap();
        });
    });
    let findings = sink.findings();
    fs::set_permissions(root.join("shut"), Permissions::from_mode(0o755)).unwrap();
    // The directory is reported twice: its names, and its own attributes.
    assert_eq!(
        findings,
        [
            ("closed".to_owned(), Problem::Unreadable),
            ("shut".to_owned(), Problem::Unreadable),
            ("shut".to_owned(), Problem::Unreadable),
            ("socket".to_owned(), Problem::Unsupported),
        ]
    );
    let arrived: Vec<_> = sink.take().into_keys().collect();
    assert_eq!(arrived, [b"".to_vec(), b"open".to_vec()]);
}

#[test]
fn deep_trees_and_long_paths_are_walked() {
    let tree = tempfile::tempdir().unwrap();
    let mut directory: OwnedFd = File::open(tree.path()).unwrap().into();
    let mode = rustix::fs::Mode::RWXU;
    let name = "n".repeat(100);
    let write_flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    for _ in 0..150 {
        // A file on either side of the directory, so that the walk returns to each level.
        for file in ["a", "z"] {
            let file = rustix::fs::openat(&directory, file, write_flags, mode).unwrap();
            rustix::io::write(&file, b"deep").unwrap();
        }
        rustix::fs::mkdirat(&directory, &*name, mode).unwrap();
        directory = rustix::fs::openat(
            &directory,
            &*name,
            rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY,
            mode,
        )
        .unwrap();
    }
    drop(directory);
    let (source, sink) = (open(options(tree.path())), Memory::default());
    let rows = list(&source, &sink);
    assert_eq!(rows.len(), 1 + 150 * 3);
    assert!(rows.iter().any(|row| row.key.0.len() > 15_000));
    fetch(&source, &sink, &rows).unwrap();
    assert_eq!(sink.findings(), []);
    let all = sink.take();
    assert_eq!(all.values().filter(|delivered| delivered.data == b"deep").count(), 300);
}

#[test]
fn what_is_excluded_is_left_out() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    for name in ["a.o", "src/a.o", "src/a.c", "cache/x", "src/cache", "tmp/x/y", "tmp/z", "own/s"] {
        write(&root.join(name), b"x");
    }
    let list_with = |exclude: &[&str], avoid: &[PathBuf]| {
        let exclude = exclude.iter().map(|glob| (*glob).to_owned()).collect();
        let source = open(Options { exclude, avoid: avoid.to_vec(), ..options(root) });
        keys(&list(&source, &Memory::default()))
    };
    assert_eq!(
        list_with(&["*.o", "cache/", "tmp/x"], &[root.join("own"), root.join("missing")]),
        ["", "src", "src/a.c", "src/cache", "tmp", "tmp/z"]
    );
    assert_eq!(list_with(&["/src", "own/**", "/tmp/*", "cache"], &[]), ["", "a.o", "own", "tmp"]);
    assert!(Excludes::new(&["a[".to_owned()]).unwrap_err().to_string().contains("a["));
}

#[test]
fn other_file_systems_are_left_out_on_demand() {
    let probe = tempfile::Builder::new().prefix("tapevault").tempfile_in("/dev/shm").unwrap();
    let name = probe.path().file_name().unwrap().to_str().unwrap().to_owned();
    for one_file_system in [false, true] {
        let exclude = vec!["mqueue".to_owned(), "pts".to_owned()];
        let source = open(Options { one_file_system, exclude, ..options(Path::new("/dev")) });
        let keys = keys(&list(&source, &Memory::default()));
        assert!(keys.contains(&"shm".to_owned()), "the mount point stays");
        assert_eq!(keys.contains(&format!("shm/{name}")), !one_file_system);
    }
}

#[test]
fn tokens_tell_what_changed() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    for name in ["same", "content", "mode", "time", "replaced"] {
        write(&root.join(name), b"abc");
    }
    let source = open(options(root));
    let before = list(&source, &Memory::default());
    write(&root.join("content"), b"abd");
    fs::set_permissions(root.join("mode"), Permissions::from_mode(0o600)).unwrap();
    File::open(root.join("time")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    write(&root.join("other"), b"abc");
    fs::rename(root.join("other"), root.join("replaced")).unwrap();
    let after = list(&source, &Memory::default());
    let changed: Vec<_> = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before.token != after.token)
        .map(|(before, _)| before.key.printable().to_string())
        .collect();
    assert_eq!(changed, ["", "content", "mode", "replaced", "time"]);
}

#[test]
fn stopping_and_a_sink_that_is_full_end_the_work() {
    let tree = tempfile::tempdir().unwrap();
    for n in 0..300 {
        write(&tree.path().join(n.to_string()), b"x");
    }
    let (source, sink) = (open(options(tree.path())), Memory::default());
    let rows = list(&source, &sink);
    let mut seen = 0;
    let mut visit = |_| {
        seen += 1;
        if seen == 10 { Err(Stop) } else { Ok(()) }
    };
    let stopped = source.list(&mut visit, &sink, &Cancel::new());
    assert!(matches!(stopped, Err(SourceError::Stopped)));
    let cancel = Cancel::new();
    cancel.set();
    let stopped = source.fetch(&mut rows.clone().into_iter(), &sink, &cancel);
    assert!(matches!(stopped, Err(SourceError::Stopped)));
    let sink = Memory { full_at: 100, ..Memory::default() };
    assert!(matches!(fetch(&source, &sink, &rows), Err(SourceError::Sink(SinkError))));
}

#[test]
fn a_root_that_is_not_there_is_named() {
    let tree = tempfile::tempdir().unwrap();
    let missing = tree.path().join("missing");
    let clock = Arc::new(SystemClock::new());
    let error = DirectorySource::open(options(&missing), Excludes::default(), clock).unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }));
    assert!(error.to_string().contains("missing"), "{error}");
}
