//! Runs one after the other: only what changed is archived, and each date has its own tree.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::Value;

use crate::home::{Home, Plan};

fn set(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn planned(event: &Value) -> (u64, u64, u64) {
    let number = |name: &str| event[name].as_u64().unwrap();
    (number("held"), number("wanted"), number("gone"))
}

/// When the job of these events ended.
fn end_of(done: &crate::home::Done) -> String {
    done.events("job-ended")[0]["time"].as_str().unwrap().to_owned()
}

/// Keeps the source as it is now.
fn keep(home: &Home, name: &str) {
    let copied = Command::new("cp").arg("-a").args([home.source(), home.path(name)]).status();
    assert!(copied.unwrap().success());
}

/// What `find` and `diff` can tell apart: names, kinds, modes, times, sizes.
fn tree(path: &Path) -> Vec<String> {
    let mut find = Command::new("find");
    let found = find.arg(path).args(["-printf", "%P %y %m %T@ %s %l\\n"]).output().unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // The size of a folder is the file system's.
    for line in &mut lines {
        if let Some((start, _)) = line.rsplit_once(' ').filter(|_| line.contains(" d ")) {
            *line = start.rsplit_once(' ').unwrap().0.to_owned();
        }
    }
    lines.sort();
    lines
}

/// Restored as of `end`, the source is as it was in `kept`.
fn comes_back(home: &Home, end: &str, kept: &str, name: &str) {
    let to = home.path(&format!("{name}-{kept}"));
    home.run(&["restore", "--as-of", end, "--to", to.to_str().unwrap()]).exits(0);
    let (there, here) = (home.path(kept), to.join("files"));
    assert_eq!(tree(&here), tree(&there));
    let diff = Command::new("diff").arg("-r").args([&here, &there]).output().unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

#[test]
fn only_what_changed_is_archived_and_every_date_has_its_tree() {
    let home = Home::new(&Plan::default());
    let folder = home.source().join("d");
    fs::create_dir(&folder).unwrap();
    for name in ["changed", "deleted", "kept", "renamed", "chmodded"] {
        fs::write(folder.join(name), name).unwrap();
    }
    let first = home.archive();
    keep(&home, "tree0");
    assert_eq!(planned(&first.events("planned")[0]), (0, 7, 0));
    // The folder's own time would change with its entries, at a resolution of a clock tick.
    let stamp = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    fs::remove_file(folder.join("deleted")).unwrap();
    fs::rename(folder.join("renamed"), folder.join("other")).unwrap();
    fs::write(folder.join("changed"), "changed twice").unwrap();
    fs::File::open(&folder).unwrap().set_modified(stamp).unwrap();
    let second = home.archive();
    keep(&home, "tree1");
    // New: the folder, `changed`, `other`. Gone: `deleted`, `renamed`.
    assert_eq!(planned(&second.events("planned")[0]), (3, 3, 2));
    fs::set_permissions(folder.join("chmodded"), fs::Permissions::from_mode(0o600)).unwrap();
    let third = home.archive();
    keep(&home, "tree2");
    assert_eq!(planned(&third.events("planned")[0]), (5, 1, 0));
    let fourth = home.archive();
    assert_eq!(planned(&fourth.events("planned")[0]), (6, 0, 0));
    assert!(fourth.events("mounted").is_empty(), "nothing is to be written: {}", fourth.out);

    let ends = [&first, &second, &third].map(end_of);
    let queries: Vec<Vec<&str>> = ends
        .iter()
        .map(|end| vec!["--as-of", end.as_str()])
        .chain([
            vec![],
            vec!["chang"],
            vec!["d/*", "--match", "glob"],
            vec!["d", "--match", "prefix"],
        ])
        .collect();
    let keys = |home: &Home, query: &[&str]| home.keys(query);
    let then = set(&["", "d", "d/changed", "d/chmodded", "d/deleted", "d/kept", "d/renamed"]);
    let later = set(&["", "d", "d/changed", "d/chmodded", "d/kept", "d/other"]);
    assert_eq!(keys(&home, &queries[0]), then);
    assert_eq!(keys(&home, &queries[1]), later);
    assert_eq!(keys(&home, &queries[2]), later);
    let mode = |query: &[&str]| {
        let found = home.find(&[&["d/chmodded", "--match", "exact"], query].concat());
        assert_eq!(found.len(), 1, "{found:?}");
        found[0]["posix"]["mode"].as_u64().unwrap() & 0o777
    };
    assert_ne!(mode(&queries[1]), 0o600);
    assert_eq!(mode(&queries[2]), 0o600);

    let answers =
        |home: &Home| -> Vec<Vec<Value>> { queries.iter().map(|query| home.find(query)).collect() };
    let before = answers(&home);
    for (number, end) in ends.iter().enumerate() {
        comes_back(&home, end, &format!("tree{number}"), "before");
    }
    home.lose_catalog();
    home.run(&["catalog", "rebuild"]).exits(0);
    assert_eq!(answers(&home), before, "the tapes alone say the same");
    for (number, end) in ends.iter().enumerate() {
        comes_back(&home, end, &format!("tree{number}"), "after");
    }
    // And the next job goes on from there.
    let fifth = home.archive();
    assert_eq!(planned(&fifth.events("planned")[0]), (6, 0, 0));
}

/// Nothing is done in a dry run, so nothing says "done".
#[test]
fn a_dry_run_ends_as_planned() {
    let home = Home::new(&Plan::default());
    home.fill(2, 1000);
    for half in ["archive", "export", "write"] {
        let told = home.run(&["--json", half, "job", "--dry-run"]).exits(0);
        assert_eq!(told.events("job-ended")[0]["outcome"], "planned", "{}", told.out);
        let said = home.run(&[half, "job", "--dry-run"]).exits(0);
        assert!(said.err.ends_with("job: planned\n"), "{}", said.err);
        assert!(!said.err.contains("done"), "{}", said.err);
    }
    assert!(home.find(&[]).is_empty());
    let socket = UnixListener::bind(home.source().join("socket")).unwrap();
    for (arguments, outcome) in [
        (&["--json", "archive", "job", "--dry-run"][..], "planned-with-findings"),
        (&["--json", "archive", "job"], "done-with-findings"),
    ] {
        let told = home.run(arguments).exits(1);
        assert_eq!(told.events("job-ended")[0]["outcome"], outcome, "{}", told.out);
    }
    drop(socket);
}
