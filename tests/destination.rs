//! Restoring beneath a directory: facts come back, nothing is replaced, nothing lands outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{HashMap, HashSet},
    env,
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
};

use proptest::prelude::*;
use tapevault::{
    clock::Timestamp,
    destination::{Destination, DestinationError, Look, Options, Restored},
    digest::Digest,
    item::{Item, Key, Kind, LinkGroup, Posix, Xattr},
};

const MODIFIED: i64 = 1_000_000_000;

fn item(kind: Kind, size: u64) -> Item {
    Item { kind, size, modified: Timestamp::from_parts(MODIFIED, 987_654_321), ..Item::default() }
}

fn with_mode(kind: Kind, mode: u32) -> Item {
    let metadata = fs::metadata("/proc/self").unwrap();
    let posix = Posix { mode, uid: metadata.uid(), gid: metadata.gid(), ..Posix::default() };
    Item { posix: Some(Box::new(posix)), ..item(kind, 0) }
}

fn restore(
    to: &mut Destination,
    path: &[u8],
    item: &Item,
    data: &[u8],
) -> Result<Restored, DestinationError> {
    let item = Item { size: data.len() as u64, ..item.clone() };
    let file = to.create(path, &item)?;
    file.write_at(0, data)?;
    to.finish_file(file, Some(&Digest::of(data)))
}

fn at(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path))
}

/// Ends a restore; nothing that waited may have failed.
fn finish(to: Destination) -> Vec<(Vec<u8>, Restored)> {
    let mut done = Vec::new();
    let finished = to.finish(&mut |item, result| done.push((item.key.0.clone(), result.unwrap())));
    drop(finished.unwrap());
    done
}

/// What is in a directory, but for journals.
fn names(root: &Path) -> Vec<String> {
    let names = root.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".journal")).collect();
    names.sort();
    names
}

#[test]
fn what_a_dead_restore_left_is_tidied_up() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path();
    fs::create_dir(root.join("theirs")).unwrap();
    let theirs = root.join("theirs/.tapevault-restore-0-0");
    fs::write(&theirs, b"looks like ours").unwrap();
    let mut dead = Destination::open(root, Options::default()).unwrap();
    dead.put(b"made/deep", &with_mode(Kind::Directory, 0o751)).unwrap();
    for path in [&b"made/deep/file"[..], b"theirs/file", b"file"] {
        let file = dead.create(path, &item(Kind::File, 5)).unwrap();
        file.write_at(0, b"half").unwrap();
        std::mem::forget(file);
    }
    assert_eq!(names(&root.join("theirs")).len(), 2);

    // One that runs is let be.
    let mut other = Destination::open(root, Options::default()).unwrap();
    assert_eq!(names(&root.join("theirs")).len(), 2);
    let late = other.create(b"late", &item(Kind::File, 5)).unwrap();
    drop(dead);
    let mut to = Destination::open(root, Options::default()).unwrap();
    assert!(names(&root.join("made/deep")).is_empty());
    assert_eq!(names(&root.join("theirs")), [".tapevault-restore-0-0"]);
    late.write_at(0, b"12345").unwrap();
    other.finish_file(late, None).unwrap();
    finish(other);
    assert_eq!(names(root), ["late", "made", "theirs"]);

    // What the dead one made is ours to finish, what was there is not.
    for (path, mode) in [(&b"made/deep"[..], 0o751), (b"theirs", 0o700)] {
        let directory = with_mode(Kind::Directory, mode);
        assert!(!to.keep_directory(path, &directory).unwrap());
        to.put(path, &directory).unwrap();
    }
    let mut kept = 0;
    let finished = to.finish(&mut |_, result| kept += i32::from(result.is_err()));
    drop(finished.unwrap());
    assert_eq!(kept, 1);
    let deep = fs::metadata(root.join("made/deep")).unwrap();
    assert_eq!((deep.mode() & 0o7777, deep.mtime()), (0o751, MODIFIED));
    let made = fs::metadata(root.join("made")).unwrap();
    assert_ne!(made.mode() & 0o777, 0o700, "a directory without an item has the default mode");
    assert_eq!(root.read_dir().unwrap().count(), 3, "no journal stays");
}

#[test]
fn what_is_there_is_told_from_what_differs() {
    let root = tempfile::tempdir().unwrap();
    let mut to = Destination::open(root.path(), Options::default()).unwrap();
    let file = Item { size: 4, ..with_mode(Kind::File, 0o640) };
    assert!(matches!(to.look(b"no/such/way", &file), Ok(Look::Nothing)));
    restore(&mut to, b"sub/file", &file, b"data").unwrap();
    symlink("file", root.path().join("sub/link")).unwrap();
    assert!(matches!(to.look(b"sub/link", &file), Ok(Look::Other)));
    let Look::File(found) = to.look(b"sub/file", &file).unwrap() else { panic!("it is there") };
    assert!(found.lacking().is_empty());
    let mut bytes = [0; 9];
    assert_eq!((found.size(), found.read_at(0, &mut bytes).unwrap()), (4, 4));
    let mut other = file.clone();
    other.posix.as_mut().unwrap().mode = 0o600;
    other.posix.as_mut().unwrap().xattrs =
        vec![Xattr { name: "user.note".into(), value: b"x".to_vec() }];
    other.modified = Timestamp::from_parts(MODIFIED, 0);
    let Look::File(found) = to.look(b"sub/file", &other).unwrap() else { panic!("it is there") };
    assert_eq!(found.lacking(), ["user.note", "mode", "times"]);
    let restored = to.keep(found, &other, &Digest::of(b"data"));
    assert!(restored.already && restored.left_out.len() == 3);

    let pipe = with_mode(Kind::Fifo, 0o600);
    assert!(!to.put(b"pipe", &pipe).unwrap().unwrap().already);
    assert!(to.put(b"pipe", &pipe).unwrap().unwrap().already);
    let link = item(Kind::Symlink { target: Key::from("x") }, 0);
    to.put(b"link", &link).unwrap();
    finish(to);
    let mut to = Destination::open(root.path(), Options::default()).unwrap();
    assert!(to.put(b"link", &link).unwrap().unwrap().already);
    let elsewhere = item(Kind::Symlink { target: Key::from("y") }, 0);
    let refused = to.put(b"link", &elsewhere);
    assert!(matches!(refused, Err(DestinationError::Exists { .. })));
}

#[test]
fn facts_come_back() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("made/here");
    let mut to = Destination::open(&root, Options::default()).unwrap();
    let mut file = with_mode(Kind::File, 0o6740);
    let posix = file.posix.as_mut().unwrap();
    posix.xattrs = vec![
        Xattr { name: "security.tapevault".into(), value: b"no".to_vec() },
        Xattr { name: "user.note".into(), value: b"\0\xff".to_vec() },
    ];
    // The directory's facts come before its content, and would forbid it.
    assert_eq!(to.put(b"shut", &with_mode(Kind::Directory, 0o555)).unwrap(), None);
    assert_eq!(to.put(b"", &with_mode(Kind::Directory, 0o750)).unwrap(), None);
    let restored = restore(&mut to, b"shut/sub/file", &file, b"content").unwrap();
    assert_eq!(restored, Restored { path: b"shut/sub/file".to_vec(), ..Restored::default() });
    restore(&mut to, b"plain", &item(Kind::File, 0), b"").unwrap();
    let link = item(Kind::Symlink { target: Key::from("../../etc") }, 0);
    assert_eq!(to.put(b"shut/link", &link).unwrap(), None);
    to.put(b"pipe", &with_mode(Kind::Fifo, 0o600)).unwrap().unwrap();
    assert_eq!(finish(to).len(), 3);

    let file = root.join("shut/sub/file");
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o740, "no set-id bits");
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (MODIFIED, 987_654_321));
    let mut value = [0; 8];
    assert_eq!(rustix::fs::getxattr(&file, "user.note", &mut value), Ok(2));
    let secret = rustix::fs::getxattr(&file, "security.tapevault", &mut value);
    assert_eq!(secret, Err(rustix::io::Errno::NODATA));
    for (directory, mode) in [("shut", 0o555), ("", 0o750)] {
        let metadata = fs::metadata(root.join(directory)).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (mode, MODIFIED), "{directory:?}");
    }
    let umask = nix::sys::stat::Mode::from_bits_truncate(0o777);
    let umask = {
        let now = nix::sys::stat::umask(umask);
        nix::sys::stat::umask(now);
        now.bits()
    };
    let implicit = fs::metadata(root.join("shut/sub")).unwrap().mode();
    assert_eq!(implicit & 0o777, 0o777 & !umask, "a directory without an item");
    let link = root.join("shut/link");
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("../../etc"));
    assert_eq!(fs::symlink_metadata(&link).unwrap().mtime(), MODIFIED);
    assert!(fs::metadata(root.join("pipe")).unwrap().file_type().is_fifo());
}

#[test]
fn what_is_dangerous_comes_back_only_when_asked_for() {
    let null = Kind::CharacterDevice { major: 1, minor: 3 };
    let root = tempfile::tempdir().unwrap();
    let mut to = Destination::open(root.path(), Options::default()).unwrap();
    let refused = to.put(b"null", &with_mode(null.clone(), 0o666));
    assert!(matches!(refused, Err(DestinationError::Device { .. })));
    drop(to);
    let options =
        Options { set_id: true, devices: true, privileged_attributes: true, ..Options::default() };
    let mut to = Destination::open(root.path(), options).unwrap();
    let mut file = with_mode(Kind::File, 0o4755);
    file.posix.as_mut().unwrap().xattrs =
        vec![Xattr { name: "trusted.tapevault".into(), value: b"yes".to_vec() }];
    let restored = restore(&mut to, b"file", &file, b"x").unwrap();
    assert_eq!(fs::metadata(root.path().join("file")).unwrap().mode() & 0o7777, 0o4755);
    // Root alone may do these; anyone else is told.
    let device = to.put(b"null", &with_mode(null, 0o666));
    if nix::unistd::geteuid().is_root() {
        assert_eq!(restored.left_out, Vec::<String>::new());
        let metadata = fs::metadata(at(root.path(), &device.unwrap().unwrap().path)).unwrap();
        assert!(metadata.file_type().is_char_device());
        assert_eq!(metadata.rdev(), rustix::fs::makedev(1, 3));
    } else {
        assert_eq!(restored.left_out, ["trusted.tapevault"]);
        assert!(matches!(device, Err(DestinationError::Item { .. })));
    }
}

#[test]
fn nothing_is_replaced_unless_asked_for() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), b"mine").unwrap();
    fs::create_dir(root.path().join("directory")).unwrap();
    fs::set_permissions(root.path().join("directory"), Permissions::from_mode(0o711)).unwrap();
    symlink("/etc/passwd", root.path().join("link")).unwrap();
    let directory = with_mode(Kind::Directory, 0o700);
    for overwrite in [false, true] {
        let options = Options { overwrite, ..Options::default() };
        let mut to = Destination::open(root.path(), options).unwrap();
        for name in ["file", "link"] {
            let result = restore(&mut to, name.as_bytes(), &item(Kind::File, 0), b"theirs");
            match result {
                Ok(restored) => assert!(overwrite && restored.path == name.as_bytes()),
                Err(error) => {
                    assert!(!overwrite && matches!(error, DestinationError::Exists { .. }));
                }
            }
        }
        to.put(b"directory", &directory).unwrap();
        drop(to.finish(&mut |_, result| assert_eq!(result.is_ok(), overwrite)).unwrap());
        let mode = fs::metadata(root.path().join("directory")).unwrap().mode() & 0o777;
        assert_eq!(mode, if overwrite { 0o700 } else { 0o711 });
        let expected: &[u8] = if overwrite { b"theirs" } else { b"mine" };
        assert_eq!(fs::read(root.path().join("file")).unwrap(), expected);
    }
    assert!(fs::read("/etc/passwd").unwrap() != b"theirs", "the link was replaced, not followed");
}

#[test]
fn a_file_appearing_meanwhile_is_not_replaced() {
    let root = tempfile::tempdir().unwrap();
    let mut to = Destination::open(root.path(), Options::default()).unwrap();
    let file = to.create(b"late", &item(Kind::File, 5)).unwrap();
    file.write_at(0, b"12345").unwrap();
    fs::write(root.path().join("late"), b"first").unwrap();
    let error = to.finish_file(file, None).unwrap_err();
    assert!(matches!(error, DestinationError::Exists { .. }), "{error}");
    assert_eq!(fs::read(root.path().join("late")).unwrap(), b"first");
    let abandoned = to.create(b"abandoned", &item(Kind::File, 5)).unwrap();
    drop(abandoned);
    finish(to);
    assert_eq!(root.path().read_dir().unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn holes_come_back() {
    let root = tempfile::tempdir().unwrap();
    let mut to = Destination::open(root.path(), Options::default()).unwrap();
    let size = 8 << 20;
    let file = to.create(b"extents", &item(Kind::File, size)).unwrap();
    file.write_at(4 << 20, &[7; 4096]).unwrap();
    to.finish_file(file, None).unwrap();
    let metadata = fs::metadata(root.path().join("extents")).unwrap();
    assert_eq!(metadata.len(), size);
    assert!(metadata.blocks() * 512 <= 256 << 10, "it has holes");
    let sum: u64 = fs::read(root.path().join("extents")).unwrap().into_iter().map(u64::from).sum();
    assert_eq!(sum, 4096 * 7);
}

#[test]
fn names_of_one_file_are_linked() {
    let root = tempfile::tempdir().unwrap();
    let mut to = Destination::open(root.path(), Options::default()).unwrap();
    let mut file = with_mode(Kind::File, 0o644);
    file.posix.as_mut().unwrap().link_group = Some(LinkGroup { device: 1, inode: 2 });
    file.size = 4;
    let digest = Digest::of(b"data");
    assert_eq!(to.link(b"a", &file, &digest).unwrap(), None, "nothing to link to yet");
    restore(&mut to, b"a", &file, b"data").unwrap();
    assert_eq!(to.link(b"b/c", &file, &digest).unwrap().unwrap().path, b"b/c");
    let other = Digest::of(b"DATA");
    assert_eq!(to.link(b"d", &file, &other).unwrap(), None, "same numbers, another file");
    // What stands there now is not what was restored.
    fs::remove_file(root.path().join("a")).unwrap();
    symlink("/etc/passwd", root.path().join("a")).unwrap();
    assert_eq!(to.link(b"e", &file, &digest).unwrap(), None);
    finish(to);
    assert_eq!(fs::metadata(root.path().join("b/c")).unwrap().nlink(), 1);
    assert_eq!(fs::read(root.path().join("b/c")).unwrap(), b"data");
    assert_eq!(root.path().read_dir().unwrap().count(), 2);
}

#[test]
fn a_full_disk_is_named_and_nothing_half_stays() {
    // In a mount namespace of its own, so that a small file system can be mounted.
    let root = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=1m none \"$1\" && exec \"$2\" --exact full_disk_inside \
                  --ignored --nocapture";
    let status = Command::new("unshare")
        .args(["-rm", "sh", "-ec", script, "sh"])
        .args([root.path(), &env::current_exe().unwrap()])
        .env("TAPEVAULT_TEST_DISK", root.path())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "runs inside the mount namespace of the test above"]
fn full_disk_inside() {
    let root = PathBuf::from(env::var_os("TAPEVAULT_TEST_DISK").unwrap());
    let mut to = Destination::open(&root, Options::default()).unwrap();
    let error = restore(&mut to, b"sub/big", &item(Kind::File, 0), &vec![1; 2 << 20]).unwrap_err();
    assert!(matches!(&error, DestinationError::Full { path, .. } if path == b"sub/big"), "{error}");
    assert_eq!(root.join("sub").read_dir().unwrap().count(), 0, "the temporary file is gone");
    restore(&mut to, b"sub/small", &item(Kind::File, 0), b"fits").unwrap();
}

/// Everything below `directory`, with content.
fn snapshot(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in directory.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let data = fs::read(&path).unwrap_or_default();
        if path.is_dir() && !path.is_symlink() {
            found.extend(snapshot(&path));
        }
        found.push((path, data));
    }
    found.sort();
    found
}

/// Names that try to escape, to clash, or that cannot exist.
fn hostile_key() -> impl Strategy<Value = Vec<u8>> {
    let component = prop::sample::select(vec![
        &b""[..],
        b".",
        b"..",
        b"a",
        b"b",
        b"A",
        b"link",
        b"dir",
        b"%~a",
        b"%~a%2F",
        b"a\0",
        b"\n\x1b",
        b"\xff",
        b".tapevault-restore-x",
        b"%~%2E%2E",
        b"outside",
    ]);
    let long = prop::collection::vec(prop::sample::select(b"ab.%~".to_vec()), 250..300);
    let part = prop_oneof![20 => component.prop_map(<[u8]>::to_vec), 1 => long];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join(&b'/'))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_ever_lands_outside(
        keys in prop::collection::vec(hostile_key(), 1..40),
        kinds in prop::collection::vec(0..4_u8, 40),
    ) {
        let parent = tempfile::tempdir().unwrap();
        let (root, outside) = (parent.path().join("root"), parent.path().join("outside"));
        fs::create_dir_all(root.join("dir")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("a"), b"theirs").unwrap();
        symlink(&outside, root.join("link")).unwrap();
        symlink("../../outside", root.join("dir/b")).unwrap();
        let before = snapshot(&outside);

        let mut to = Destination::open(&root, Options::default()).unwrap();
        let mut placed: HashMap<Vec<u8>, (Vec<u8>, Option<u8>)> = HashMap::new();
        let mut seen = HashSet::new();
        for (number, (key, kind)) in keys.iter().zip(&kinds).enumerate() {
            if !seen.insert(key) {
                continue;
            }
            let number = u8::try_from(number).unwrap();
            let mut place = |restored: Restored, content| {
                let earlier = placed.insert(restored.path.clone(), (key.clone(), content));
                assert!(earlier.is_none(), "{restored:?} was placed twice");
                let true_path = restored.path == *key;
                assert_eq!(restored.stand_in, !true_path, "{key:?} at {:?}", restored.path);
            };
            let with_key = |kind| Item { key: Key(key.clone()), ..item(kind, 1) };
            let result = match kind {
                0 | 1 => restore(&mut to, key, &with_key(Kind::File), &[number]).map(Some),
                2 => to.put(key, &with_key(Kind::Symlink { target: Key::from("../../outside") })),
                _ => to.put(key, &with_key(Kind::Directory)),
            };
            match result {
                Ok(Some(restored)) => place(restored, Some(number)),
                Ok(None) => {}
                // These stand in the way from the start.
                Err(DestinationError::Exists { path }) => {
                    prop_assert!(path == b"link" || path == b"dir/b", "{:?}", path);
                }
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            }
        }
        let finished = to.finish(&mut |item, result| match result {
            Ok(restored) => {
                let earlier = placed.insert(restored.path.clone(), (item.key.0.clone(), None));
                assert!(earlier.is_none(), "{restored:?} was placed twice");
            }
            // What was there from the start keeps its facts.
            Err(DestinationError::Exists { path }) => {
                assert!(path == b"" || path == b"dir", "{item:?}");
            }
            Err(error) => panic!("{error}"),
        });
        drop(finished.unwrap());

        prop_assert_eq!(snapshot(&outside), before);
        for (path, (key, content)) in placed {
            let metadata = fs::symlink_metadata(at(&root, &path)).unwrap();
            if let Some(number) = content {
                prop_assert!(metadata.is_file(), "{:?} at {:?}", key, path);
                prop_assert_eq!(fs::read(at(&root, &path)).unwrap(), [number]);
            }
        }
        let temporaries = snapshot(&root).into_iter().filter(|(path, _)| {
            path.file_name().unwrap().as_bytes().starts_with(b".tapevault-restore-")
        });
        prop_assert_eq!(temporaries.count(), 0);
    }
}
