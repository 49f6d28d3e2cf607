//! A process that fills a real directory is killed between any two durable steps, and the same
//! command goes on.

use std::{
    collections::BTreeSet,
    env,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use tapevault::{
    ident::SetId,
    item::Key,
    staging::{Settings, Staging},
};

use crate::support::{check_sealed, content, file, settings, source, store, world};

const DIR: &str = "STAGING_WORKLOAD";
const ITEMS: u64 = 40;

/// Every crash point of staging's filling side.
const POINTS: [&str; 8] = [
    "staging.seal.closed",
    "staging.seal.written",
    "staging.seal.synced",
    "staging.seal.renamed",
    "staging.record.written",
    "staging.seal.recorded",
    "staging.recover.recorded",
    "staging.recover.journal",
];

/// What the killed process does. On its own it does nothing: there is no directory to fill.
#[test]
fn workload() {
    let Some(dir) = env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    let settings = Settings { segment_members: 11, ..settings(dir) };
    let (staging, _) = Staging::open(settings, SetId::new(), world()).unwrap();
    let mut there: BTreeSet<Key> =
        staging.held().unwrap().map(|entry| entry.unwrap().item.key).collect();
    {
        let store = store(dir);
        for sealed in store.sealed().unwrap() {
            there.extend(store.manifest(sealed.segment).unwrap().map(|e| e.unwrap().item.key));
        }
    }
    for n in 0..ITEMS {
        let item = file(&n.to_string(), 500 + n);
        if !there.contains(&item.key) {
            staging.put(&source(), item, &content(n, 500 + n)).unwrap();
        }
    }
    staging.seal_all().unwrap();
}

fn run(dir: &Path, point: &str) -> ExitStatus {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "kill::workload", "--test-threads=1"]).env(DIR, dir);
    command.env("TAPEVAULT_CRASH_AT", point).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap()
}

/// Everything is sealed, and once.
fn check(dir: &Path, what: &str) {
    let store = store(dir);
    let mut keys = Vec::new();
    for sealed in store.sealed().unwrap() {
        keys.extend(check_sealed(&store, &sealed).into_iter().map(|entry| entry.item.key));
    }
    let once: BTreeSet<&Key> = keys.iter().collect();
    assert_eq!((keys.len(), once.len() as u64), (once.len(), ITEMS), "{what}");
    assert_eq!(store.usage().unwrap().open, 0, "{what}");
}

#[test]
fn a_process_killed_at_any_crash_point_goes_on() {
    for point in POINTS {
        for passage in 1..=2 {
            let dir = tempfile::tempdir().unwrap();
            let what = format!("{point}:{passage}");
            if point.starts_with("staging.recover") {
                // There has to be something to take up first.
                let earlier = if point.ends_with("recorded") { "renamed" } else { "closed" };
                assert_eq!(run(dir.path(), &format!("staging.seal.{earlier}")).signal(), Some(9));
            }
            let killed = run(dir.path(), &what);
            // There may be only one segment to take up.
            let reached = passage == 1 || !point.starts_with("staging.recover");
            assert!(killed.signal() == Some(9) || !reached && killed.success(), "{what}");
            assert!(run(dir.path(), "").success(), "{what}");
            check(dir.path(), &what);
        }
    }
}

#[test]
fn freeing_that_was_interrupted_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), "").success());
    let store = store(dir.path());
    let sealed = store.sealed().unwrap();
    let victim = sealed[0].segment;
    // As it is after a crash between the mark and the removal.
    let named = |ending: &str| dir.path().join("sealed").join(format!("{victim}.{ending}"));
    std::fs::rename(named("json"), named("freed")).unwrap();
    drop(store);
    let store = crate::support::store(dir.path());
    assert_eq!(store.sealed().unwrap().len(), sealed.len() - 1);
    assert!(!named("seg").exists() && !named("freed").exists());
    assert!(store.manifests().unwrap().contains(&victim), "its manifest is kept");
    assert!(store.manifest(victim).unwrap().all(|entry| entry.is_ok()));
    store.release_manifest(victim).unwrap();
    assert!(!store.manifests().unwrap().contains(&victim));
}
