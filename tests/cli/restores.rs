//! Restores that are killed and run again: what is there stays, what is missing comes, and nothing
//! of the dead restore is left.

use std::{
    collections::BTreeMap,
    fs::{self, File, FileTimes, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    crashes::RESTORE,
    home::{Home, Plan},
};

/// Everything below a folder, in words.
fn picture(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, path: &Path, found: &mut BTreeMap<String, String>) {
        let facts = fs::symlink_metadata(path).unwrap();
        let mut words = format!("{}.{:09}", facts.mtime(), facts.mtime_nsec());
        if facts.is_symlink() {
            words.push_str(&format!(" to {}", fs::read_link(path).unwrap().display()));
        } else {
            words.push_str(&format!(" mode {:o}", facts.mode()));
        }
        if facts.is_file() {
            words.push_str(&format!(" {}", blake3::hash(&fs::read(path).unwrap())));
        } else if facts.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                walk(root, &entry.unwrap().path(), found);
            }
        }
        found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), words);
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// An archived source with modes and times of its own, and a name that needs a stand-in.
fn archived() -> Home {
    let home = Home::new(&Plan::default());
    home.fill(12, 700_000);
    let source = home.source();
    fs::write(source.join("folder/%~name"), "a name like a stand-in's").unwrap();
    for (name, mode) in [("folder/below", 0o750), ("folder", 0o711), ("", 0o770)] {
        let path = source.join(name);
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let time = UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789);
        File::open(&path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    }
    home.archive();
    home
}

/// The name differs here, and `restored.jsonl` says so.
fn as_in_source(mut picture: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let words = picture.remove("folder/%~%25%7Ename").unwrap();
    picture.insert("folder/%~name".to_owned(), words);
    picture
}

#[test]
fn a_restore_that_was_killed_goes_on() {
    let home = archived();
    let before = picture(&home.source());
    let again = ["restore.file.written:9", "restore.file.named:5", "restore.directory.done:2"];
    for point in RESTORE.into_iter().chain(again) {
        let to = home.path(&format!("to {point}"));
        // One that was there keeps its mode.
        fs::create_dir_all(to.join("mine")).unwrap();
        fs::set_permissions(to.join("mine"), Permissions::from_mode(0o700)).unwrap();
        let arguments = ["--json", "restore", "--to", to.to_str().unwrap()];
        let dead = home.run_with(("TAPEVAULT_CRASH_AT", point), &arguments);
        assert_eq!(dead.code, None, "{point} was not passed:\n{}\n{}", dead.out, dead.err);
        let done = home.run(&arguments).exits(0);
        assert_eq!(as_in_source(picture(&to.join("files"))), before, "{point}");
        let ended = &done.events("restore-ended")[0];
        let (restored, already) = (&ended["restored"], ended["already"].as_u64().unwrap());
        assert_eq!(*restored, before.len() as u64, "{point}");
        let mounted = done.events("mounted").len();
        match point {
            "restore.file.written" => assert_eq!((already, mounted), (0, 1)),
            "restore.file.named:5" => assert_eq!((already, mounted), (5, 1)),
            "restore.file.written:9" => assert_eq!((already, mounted), (8, 1)),
            "restore.records.written" => assert_eq!((already, mounted), (before.len() as u64, 0)),
            "restore.symlink.named" => assert_eq!((already, mounted), (16, 0)),
            "restore.directory.done:2" => assert_eq!((already, mounted), (18, 0)),
            _ => {}
        }
        let names: Vec<_> = fs::read_dir(&to).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "{point}: {names:?}");
        assert!(to.join("restored.jsonl").exists() && to.join("mine").exists());
        assert_eq!(fs::metadata(to.join("mine")).unwrap().mode() & 0o777, 0o700);

        let done = home.run(&arguments).exits(0);
        let ended = &done.events("restore-ended")[0];
        assert_eq!((&ended["already"], &ended["read_bytes"]), (restored, &0.into()), "{point}");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 3, "{point}: a second record of names");
    }
}
