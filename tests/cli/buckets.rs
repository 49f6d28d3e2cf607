//! A bucket of hostile keys and versions, from the server to tape and back, as of each date, from a
//! catalog that was made anew from the cartridges.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::{
    home::Home,
    s3_server::{Bucket, Put, S3Server, Setup, Versioning, hostile_keys},
    sources::{archive, home},
};

/// Keys that this file adds to the server's own: names of what a restore makes itself, and some
/// that are a file, a folder and a version's place at once.
const MORE: [&[u8]; 8] = [
    b"restored.jsonl",
    b".tapevault-restore-0",
    b"%~%2E%2E",
    b"v@versions",
    b"v@versions/x",
    b"v/../w",
    b"..",
    b"deep/./er/",
];

/// What a restore has to bring: the content of each key and version, and whether it is the latest.
type Held = BTreeMap<(Vec<u8>, String), (Vec<u8>, bool)>;

/// What the bucket holds now, without delete markers.
fn held(server: &S3Server) -> Held {
    let mut held = Held::new();
    for (key, versions) in &server.bucket().keys {
        for (number, version) in versions.iter().enumerate().filter(|(_, v)| !v.marker) {
            let content = (version.put.body.clone(), number == 0);
            held.insert((key.clone(), version.id.clone()), content);
        }
    }
    held
}

/// One state of the bucket, and when its archive had ended.
struct State {
    end: String,
    held: Held,
}

fn put(server: &S3Server, key: &[u8]) {
    // No two objects have the same content.
    let content = [key, b" ", server.bucket().keys.len().to_string().as_bytes()].concat();
    let number = server.bucket().keys.get(key).map_or(0, Vec::len);
    server.put(key, Put::bytes([&content[..], format!(" {number}").as_bytes()].concat()));
}

/// Archives the bucket as it grows and shrinks.
fn states(server: &S3Server, home: &Home) -> Vec<State> {
    let mut states = Vec::new();
    for round in 0..4 {
        match round {
            0 => {
                for key in hostile_keys().iter().map(Vec::as_slice).chain(MORE) {
                    put(server, key);
                }
                put(server, b"three");
            }
            1 => {
                for key in [&b"three"[..], b"..", b"a", b"line\nbreak", &[b'k'; 1024]] {
                    put(server, key);
                }
                server.delete(b"a/");
            }
            2 => {
                server.delete(b"three");
                server.delete(b"\xef\xbf\xbd");
            }
            _ => {
                put(server, b"three");
                put(server, b"a/");
                put(server, b"\xef\xbf\xbd");
            }
        }
        let done = archive(home, &Setup::default().secret).exits(0);
        let end = done.events("job-ended")[0]["time"].as_str().unwrap().to_owned();
        states.push(State { end, held: held(server) });
    }
    states
}

/// Bytes that are text, or base64 where they are none.
fn bytes_of(line: &Value, name: &str) -> Vec<u8> {
    match line[name].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => BASE64_STANDARD.decode(line[format!("{name}_b64")].as_str().unwrap()).unwrap(),
    }
}

/// What `restored.jsonl` says: which path stands for which key and version.
fn records(to: &Path) -> BTreeMap<(Vec<u8>, String), (Vec<u8>, String)> {
    let text = fs::read_to_string(to.join("restored.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let records = lines.map(|line| {
        let version = line["version"].as_str().unwrap_or_default().to_owned();
        let digest = line["digest"].as_str().unwrap_or_default().to_owned();
        assert_eq!(line["source"], "files");
        ((bytes_of(&line, "key"), version), (bytes_of(&line, "path"), digest))
    });
    records.collect()
}

/// Every file below a folder, by its path in it.
fn files(root: &Path) -> BTreeSet<Vec<u8>> {
    fn walk(root: &Path, path: &Path, found: &mut BTreeSet<Vec<u8>>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.insert(path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(root, root, &mut found);
    found
}

/// What was restored is what was held, each thing once, and nothing else is there.
fn check(to: &Path, held: &Held, all_versions: bool) {
    let records = records(to);
    let mut expected = BTreeSet::from([b"restored.jsonl".to_vec()]);
    let mut stand_ins = 0;
    for (name, (content, latest)) in held {
        if !(*latest || all_versions) {
            assert!(!records.contains_key(name), "{name:?} was not asked for");
            continue;
        }
        let path = match records.get(name) {
            Some((path, digest)) => {
                stand_ins += 1;
                assert_eq!(*digest, blake3::hash(content).to_string(), "{name:?}");
                path.clone()
            }
            // The true name.
            None => [b"files/", &*name.0].concat(),
        };
        let found = fs::read(to.join(std::ffi::OsStr::from_bytes(&path)));
        assert!(found.is_ok_and(|found| found == *content), "{name:?} at {path:?}");
        assert!(expected.insert(path), "{name:?} shares its place");
    }
    assert_eq!(records.len(), stand_ins, "names of what was not restored");
    assert_eq!(files(to), expected);
}

#[test]
fn each_date_of_a_hostile_bucket_comes_back() {
    let mut bucket = Bucket::default();
    bucket.versioning = Versioning::On;
    let server = S3Server::listen(Setup::default(), bucket, "127.0.0.1:0").unwrap();
    let home = home(&server.endpoint());
    let states = states(&server, &home);
    let (first, last) = (states[0].held.len(), states[3].held.len());
    assert_eq!((first, last), (hostile_keys().len() + MORE.len() + 1, first + 8));
    // The account is gone, and so is the catalog.
    drop(server);
    home.lose_catalog();
    home.run(&["catalog", "rebuild"]).exits(0);
    for (number, state) in states.iter().enumerate() {
        for all_versions in [false, true] {
            let to = home.path(&format!("back {number} {all_versions}"));
            let mut arguments =
                vec!["--json", "restore", "--as-of", &state.end, "--to", to.to_str().unwrap()];
            if all_versions {
                arguments.push("--all-versions");
            }
            let done = home.run(&arguments).exits(0);
            check(&to, &state.held, all_versions);
            let wanted = state.held.values().filter(|(_, latest)| *latest || all_versions);
            assert_eq!(done.events("restore-ended")[0]["restored"], wanted.count());
            // And once more: all of it is there, under the same names.
            let again = home.run(&arguments).exits(0);
            let ended = &again.events("restore-ended")[0];
            assert_eq!(ended["already"], ended["restored"]);
            check(&to, &state.held, all_versions);
        }
    }
}
