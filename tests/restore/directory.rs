//! Directories: every kind of file, every date, and no more of the tape than needed.

use std::{
    ffi::OsStr,
    fs::{self, File, FileTimes, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use tapevault::{
    catalog::{Pattern, Query},
    clock::Timestamp,
    destination::Options,
    item::Place,
    job::{
        JobError,
        archive::Half,
        restore::{Request, Selection},
    },
};

use crate::rig::{Rig, noise, picture};

fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn touch(path: &Path, nanoseconds: u64) {
    let time = UNIX_EPOCH + Duration::from_nanos(nanoseconds);
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// One of each kind, the larger ones in parts.
fn fill(root: &Path) {
    write(root, "empty", b"");
    write(root, "small", b"a few bytes");
    write(root, "parts/large", &noise("large", 11_000_001));
    write(root, "deep/er/and/deeper/x", b"x");
    write(root, "names/caf\u{e9}\n\u{1}", b"control");
    fs::write(root.join("names").join(OsStr::from_bytes(b"\xff\xfe")), b"no UTF-8").unwrap();
    fs::create_dir(root.join("nothing")).unwrap();
    symlink("small", root.join("link")).unwrap();
    symlink("/nowhere/at all", root.join("names/dangling")).unwrap();
    write(root, "linked/first", b"one content, three names");
    fs::hard_link(root.join("linked/first"), root.join("linked/second")).unwrap();
    fs::hard_link(root.join("linked/first"), root.join("third")).unwrap();
    fs::hard_link(root.join("parts/large"), root.join("parts/same")).unwrap();
    for (name, size) in [("holes", 3 << 20), ("parts/holes", 9 << 20)] {
        let file = File::create(root.join(name)).unwrap();
        file.set_len(size).unwrap();
        file.write_all_at(b"data between holes", 1 << 20).unwrap();
        file.write_all_at(&noise("tail", 4096), size - 4096).unwrap();
    }
    File::create(root.join("nothing but a hole")).unwrap().set_len(5 << 20).unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(root.join("small"), "user.note", b"\0\xff", flags).unwrap();
    rustix::fs::setxattr(root.join("deep"), "user.dir", b"d", flags).unwrap();
    for (name, mode) in [("small", 0o400), ("deep/er", 0o500), ("nothing", 0o1777)] {
        fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
    }
    touch(&root.join("small"), 981_173_106_123_456_789);
    touch(&root.join("deep"), 1_000_000_001);
    touch(root, 1_234_567_890_987_654_321);
}

#[test]
fn every_kind_of_file_comes_back() {
    let rig = Rig::new(1);
    fill(&rig.source);
    rig.archive(Half::Both);
    let before = picture(&rig.source);
    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(tally.unwrap().is_clean(), "{told:#?}");
    assert_eq!(picture(&rig.path("out/files")), before);
    // Nothing beside it: every name is the true one.
    assert_eq!(fs::read_dir(rig.path("out")).unwrap().count(), 1);
    for name in ["holes", "parts/holes", "nothing but a hole"] {
        let facts = fs::metadata(rig.path("out/files").join(name)).unwrap();
        assert!(facts.blocks() * 512 < facts.len() / 2, "{name} has no holes");
    }
    let ended = told.one("restore-ended");
    assert_eq!(ended["restored"], before.len() as u64);
    assert_eq!(told.all("ejected").len(), 1);

    // Once more: all is there, nothing is read from tape, and nothing is touched.
    for overwrite in [false, true] {
        let options = Options { overwrite, ..Options::default() };
        let again = Request { options, ..rig.request(Query::default(), "out") };
        let (tally, told) = rig.restore(&again);
        assert!(tally.unwrap().is_clean(), "{told:#?}");
        assert_eq!(picture(&rig.path("out/files")), before);
        let ended = told.one("restore-ended");
        assert_eq!(ended["read_bytes"], 0);
        assert_eq!(ended["already"], before.len() as u64);
        assert!(told.all("mounted").is_empty());
    }
}

#[test]
fn what_differs_is_replaced_only_when_told() {
    let rig = Rig::new(1);
    fill(&rig.source);
    rig.archive(Half::Both);
    let before = picture(&rig.source);
    assert!(rig.restore(&rig.request(Query::default(), "out")).0.unwrap().is_clean());
    let out = rig.path("out/files");
    // The same length, another length, another kind, other facts, and some that are gone.
    let large = File::options().write(true).open(out.join("parts/holes")).unwrap();
    let modified = large.metadata().unwrap().modified().unwrap();
    large.write_all_at(b"DATA", 1 << 20).unwrap();
    large.set_times(FileTimes::new().set_modified(modified)).unwrap();
    fs::remove_file(out.join("third")).unwrap();
    write(&out, "third", b"changed");
    fs::remove_file(out.join("empty")).unwrap();
    symlink("small", out.join("empty")).unwrap();
    touch(&out.join("deep/er/and/deeper/x"), 1);
    fs::remove_dir_all(out.join("linked")).unwrap();
    fs::set_permissions(out.join("nothing"), Permissions::from_mode(0o711)).unwrap();
    let changed = picture(&out);

    let (tally, told) = rig.restore(&rig.request(Query::default(), "out"));
    assert!(!tally.unwrap().is_clean());
    let lost: Vec<(String, String)> =
        [("deep/er/and/deeper/x", "incomplete"), ("empty", "exists"), ("parts/holes", "exists")]
            .into_iter()
            .chain([("third", "exists")])
            .map(|(key, why)| (key.to_owned(), why.to_owned()))
            .collect();
    assert_eq!(told.lost(), lost, "{told:#?}");
    let mut after = picture(&out);
    for name in ["linked", "linked/first", "linked/second"] {
        assert!(!changed.contains_key(name.as_bytes()));
        assert!(after.remove(name.as_bytes()).is_some(), "{name} came back");
    }
    // It differed, so it keeps what comes of what is put into it.
    let root = &b""[..];
    assert!(after.insert(root.to_vec(), changed[root].clone()).is_some());
    assert_eq!(after, changed, "and nothing else was touched");

    let options = Options { overwrite: true, ..Options::default() };
    let (tally, told) = rig.restore(&Request { options, ..rig.request(Query::default(), "out") });
    assert!(tally.unwrap().is_clean(), "{told:#?}");
    assert_eq!(picture(&out), before);
    assert!(told.one("restore-ended")["already"].as_u64().unwrap() > 10);
}

#[test]
fn each_run_comes_back_by_its_date() {
    let rig = Rig::new(1);
    let root = &rig.source;
    for name in ["kept", "changed", "renamed", "deleted", "chmod", "dir/inside"] {
        write(root, name, name.as_bytes());
    }
    let mut dates = Vec::new();
    let mut pictures = Vec::new();
    for round in 0..3 {
        if round > 0 {
            write(root, "changed", format!("changed {round}").as_bytes());
            fs::rename(
                root.join(if round == 1 { "renamed".to_owned() } else { "renamed 1".to_owned() }),
                root.join(format!("renamed {round}")),
            )
            .unwrap();
            let mode = Permissions::from_mode(0o600 + round);
            fs::set_permissions(root.join("chmod"), mode).unwrap();
        }
        if round == 1 {
            fs::remove_file(root.join("deleted")).unwrap();
            fs::remove_dir_all(root.join("dir")).unwrap();
        }
        if round == 2 {
            write(root, "deleted", b"there again");
            write(root, "dir", b"a file now");
        }
        assert!(rig.archive(Half::Both).is_clean());
        dates.push(rig.last_run("files"));
        pictures.push(picture(root));
    }
    for catalog in ["kept", "rebuilt"] {
        if catalog == "rebuilt" {
            rig.rebuild();
        }
        for (round, (date, before)) in dates.iter().zip(&pictures).enumerate() {
            let query = Query { as_of: Some(*date), ..Query::default() };
            let to = format!("{catalog} {round}");
            let (tally, told) = rig.restore(&rig.request(query, &to));
            assert!(tally.unwrap().is_clean(), "{told:#?}");
            assert_eq!(picture(&rig.path(&to).join("files")), *before, "{to}");
        }
    }
    let now = rig.request(Query::default(), "out now");
    assert!(rig.restore(&now).0.unwrap().is_clean());
    assert_eq!(picture(&rig.path("out now/files")), pictures[2]);
    // Before the first run nothing was known.
    let as_of = Some(Timestamp::from_parts(1, 0));
    let (tally, _) = rig.restore(&rig.request(Query { as_of, ..Query::default() }, "never"));
    assert!(matches!(tally, Err(JobError::NotHeld { .. })));
}

#[test]
fn one_file_reads_little() {
    let rig = Rig::new(1);
    for number in 0..60 {
        let name = format!("{:02}", number);
        write(&rig.source, &name, &noise(&name, 1 << 20));
    }
    rig.archive(Half::Both);
    let query = Query { pattern: Pattern::Exact(b"41".to_vec()), ..Query::default() };
    let request = rig.request(query, "out");
    // The plan reads nothing.
    let (tally, told) = rig.restore(&Request { dry_run: true, ..request.clone() });
    assert!(tally.unwrap().is_clean());
    assert!(told.all("mounted").is_empty() && !rig.path("out").exists());
    let planned = told.one("restore-volume").clone();
    assert_eq!((&planned["members"], &planned["locates"]), (&1.into(), &1.into()));

    let (tally, told) = rig.restore(&request);
    assert!(tally.unwrap().is_clean());
    assert_eq!(fs::read(rig.path("out/files/41")).unwrap(), noise("41", 1 << 20));
    let read = told.one("restore-ended")["read_bytes"].as_u64().unwrap();
    assert!((1 << 20..=2 << 20).contains(&read), "{read} bytes");
    assert_eq!(planned["read_bytes"], read);

    // What lies near is read on to, what lies far is gone to: nothing is read twice.
    let (tally, told) = rig.restore(&rig.request(Query::default(), "all"));
    assert!(tally.unwrap().is_clean());
    let read = told.one("restore-ended")["read_bytes"].as_u64().unwrap();
    // A filemark that is passed counts as a block in the plan.
    let planned = told.one("restore-volume")["read_bytes"].as_u64().unwrap();
    assert!((read..read + (2 << 20)).contains(&planned), "{planned} bytes planned, {read} read");
    assert!(read < 66 << 20, "{read} bytes");
    assert_eq!(picture(&rig.path("all/files")), picture(&rig.source));
}

#[test]
fn items_come_back_by_place() {
    let rig = Rig::new(1);
    fill(&rig.source);
    rig.archive(Half::Both);
    write(&rig.source, "third", b"another content");
    rig.archive(Half::Both);
    let catalog = rig.catalog();
    let mut places: Vec<(Vec<u8>, Place)> = Vec::new();
    catalog
        .find(&Query::default(), &mut |hit| {
            let wanted = [&b"third"[..], b"linked/second", b"link", b"deep"];
            let second_part = hit.entry.part.is_some_and(|part| part.number == 2);
            if wanted.contains(&&*hit.entry.item.key.0)
                || (hit.entry.item.key.0 == b"parts/large" && second_part)
            {
                places.push((hit.entry.item.key.0, hit.place));
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert!(places.iter().filter(|(key, _)| key == b"third").count() >= 2, "{places:?}");
    let selection = Selection::Places(places.iter().map(|(_, place)| *place).collect());
    let request = Request { selection, ..rig.request(Query::default(), "out") };
    let (tally, told) = rig.restore(&request);
    assert!(tally.unwrap().is_clean(), "{told:#?}");
    let out = rig.path("out/files");
    assert_eq!(fs::read(out.join("parts/large")).unwrap(), noise("large", 11_000_001));
    assert_eq!(fs::read(out.join("linked/second")).unwrap(), b"one content, three names");
    // Both states of one key: one at its name, the others beside it.
    let mut states = vec![fs::read(out.join("third")).unwrap()];
    for entry in fs::read_dir(out.join("third@versions")).unwrap() {
        states.push(fs::read(entry.unwrap().path()).unwrap());
    }
    assert!(states.contains(&b"another content".to_vec()));
    assert!(states.contains(&b"one content, three names".to_vec()));
    let records = fs::read_to_string(rig.path("out/restored.jsonl")).unwrap();
    assert!(records.contains("third@versions/"), "{records}");
    let unknown = Selection::Places(vec![Place { ordinal: 9_999_999, ..places[0].1 }]);
    let (tally, _) = rig.restore(&Request { selection: unknown, ..request });
    assert!(matches!(tally, Err(JobError::NotHeld { .. })));
}
