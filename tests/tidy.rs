//! The house rules that a compiler does not hold: layers, file sizes, names, documents.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Words, which everything may name and which name only each other.
const WORDS: &[&str] = &[
    "cancel",
    "causes",
    "clock",
    "crash",
    "digest",
    "ident",
    "item",
    "position",
    "printable",
    "unit",
];

/// Each module and the modules below it that it may name, besides words. From bottom to top;
/// `docs/architecture.md` shows the same table.
const LAYERS: &[(&str, &[&str])] = &[
    ("scsi", &[]),
    ("tar", &[]),
    ("volume", &["tar"]),
    ("media", &[]),
    ("sys", &[]),
    ("transport", &["sys"]),
    ("emulator", &["scsi", "transport", "sys"]),
    ("drive", &["scsi", "transport"]),
    ("changer", &["scsi", "transport"]),
    ("sorter", &[]),
    ("source", &["volume", "sorter"]),
    ("staging", &["tar", "volume", "sorter"]),
    ("catalog", &["media", "volume"]),
    ("pipeline", &["sys"]),
    ("keys", &[]),
    ("destination", &["tar", "volume", "sorter"]),
    (
        "job",
        &[
            "tar",
            "volume",
            "media",
            "transport",
            "emulator",
            "drive",
            "changer",
            "sorter",
            "source",
            "staging",
            "catalog",
            "pipeline",
            "keys",
            "destination",
        ],
    ),
    ("config", &["job"]),
    ("report", &["job", "catalog", "media", "volume", "source"]),
    (
        "cli",
        &[
            "config", "report", "job", "keys", "catalog", "media", "volume", "emulator", "source",
            "staging", "drive", "changer",
        ],
    ),
];

/// Only this file of `job` may open a transport.
const RIG: &str = "src/job/rig";

/// Files over [`LINES_MAX`] lines, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];
const LINES_MAX: usize = 600;

/// Words that the glossary gives another name to. None of ours may be called so.
const NOT_OURS: &[&str] = &[
    "Manager",
    "Handler",
    "Helper",
    "Robot",
    "Tapemark",
    "Mtx",
    "MediaId",
    "ErrorCode",
    "Util",
    "Common",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

/// The code of a file: without comments and without its tests, which may reach anywhere.
fn code_of(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// What a module's code breaks, as sentences.
fn upward_names(module: &str, code: &str) -> Vec<String> {
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return if WORDS.contains(&module) {
            named(code)
                .filter(|used| !WORDS.contains(used))
                .map(|used| format!("the word `{module}` names `{used}`"))
                .collect()
        } else {
            vec![format!("`{module}` is in no layer")]
        };
    };
    named(code)
        .filter(|used| *used != module && !allowed.contains(used) && !WORDS.contains(used))
        .map(|used| format!("`{module}` may not name `{used}`"))
        .collect()
}

/// The modules that code names by `crate::…`, those of grouped imports among them.
fn named(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).flat_map(|rest| match rest.strip_prefix('{') {
        Some(group) => top_level(group),
        None => vec![first_word(rest)],
    })
}

fn first_word(text: &str) -> &str {
    text.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// The first words of a group's parts, up to its closing brace.
fn top_level(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut words) = (0_u32, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                words.push(first_word(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                words.push(first_word(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn modules_name_only_the_layers_below() {
    let mut broken = Vec::new();
    for path in files_below(&root().join("src"), ".rs") {
        let name = relative(&path);
        let inner = name.strip_prefix("src/").unwrap();
        let module = inner.split('/').next().unwrap().trim_end_matches(".rs");
        if module == "lib" || module == "main" {
            continue;
        }
        let code = code_of(&fs::read_to_string(&path).unwrap());
        broken
            .extend(upward_names(module, &code).into_iter().map(|what| format!("{name}: {what}")));
        if code.contains("super::super") {
            broken
                .push(format!("{name}: writes `super::super`, which this test cannot see through"));
        }
        if module == "job" && !name.starts_with(RIG) {
            for opener in ["transport::sg", "emulator::"] {
                if code.contains(opener) {
                    broken.push(format!("{name}: opens a transport (`{opener}`); only {RIG} may"));
                }
            }
        }
        if module != "sys" && code.contains("unsafe ") {
            broken.push(format!("{name}: unsafe code outside sys"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_planted_upward_import_is_caught() {
    for (module, code, caught) in [
        ("drive", "use crate::catalog::Catalog;", true),
        ("staging", "fn f() { crate::source::x() }", true),
        ("item", "use crate::volume::run::Row;", true),
        ("drive", "use crate::{\n    scsi::{cdb, sense},\n    catalog::Catalog,\n};", true),
        ("drive", "use crate::{\n    scsi::{cdb, sense},\n    unit::KIB,\n};", false),
        ("drive", "use crate::scsi::sense::Sense;", false),
        ("nowhere", "", true),
    ] {
        assert_eq!(!upward_names(module, code).is_empty(), caught, "{module}: {code}");
    }
}

#[test]
fn the_layers_are_in_order_and_complete() {
    let mut below: BTreeSet<&str> = BTreeSet::new();
    for (module, allowed) in LAYERS {
        for name in *allowed {
            assert!(below.contains(name), "{module} names {name}, which is not below it");
        }
        below.insert(module);
    }
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    for module in below {
        assert!(text.contains(&format!("`{module}`")), "docs/architecture.md lacks `{module}`");
    }
}

#[test]
fn files_stay_short() {
    let mut broken = Vec::new();
    for path in files_below(&root().join("src"), ".rs") {
        let name = relative(&path);
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        let excused = LONG_FILES.iter().any(|(file, _)| *file == name);
        if lines > LINES_MAX && !excused {
            broken.push(format!("{name}: {lines} lines"));
        }
        if lines <= LINES_MAX && excused {
            broken.push(format!("{name}: is short again; take it off the list"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn names_are_the_glossarys() {
    let mut broken = Vec::new();
    for path in files_below(&root().join("src"), ".rs") {
        let code = code_of(&fs::read_to_string(&path).unwrap());
        for definition in ["struct ", "enum ", "trait ", "type "] {
            for rest in code.split(definition).skip(1) {
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
                if NOT_OURS.iter().any(|word| name.contains(word)) {
                    broken.push(format!("{}: {definition}{name}", relative(&path)));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_hazard_names_a_test_that_is_there() {
    let text = fs::read_to_string(root().join("docs/hazards.md")).unwrap();
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        for ending in [".rs", ".sh"] {
            for path in files_below(&root().join(folder), ending) {
                sources.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let rows = text.lines().filter(|line| line.starts_with("| H"));
    let mut count = 0;
    for row in rows {
        count += 1;
        let test = row.trim_end_matches('|').rsplit('|').next().unwrap().trim().trim_matches('`');
        let function = test.rsplit("::").next().unwrap();
        assert!(
            sources.contains(&format!("fn {function}("))
                || sources.contains(&format!("{function}()")),
            "docs/hazards.md names the test {test}, which is not there"
        );
    }
    assert!(count >= 10, "docs/hazards.md lists only {count} hazards");
}

#[test]
fn every_mutant_applies_and_names_a_test_that_is_there() {
    let patches = files_below(&root().join("tests/mutants"), ".patch");
    assert!(patches.len() >= 10, "only {} hand-made bugs", patches.len());
    for patch in patches {
        let name = relative(&patch);
        let checked = Command::new("git")
            .arg("apply")
            .arg("--check")
            .arg(&patch)
            .current_dir(root())
            .output();
        let checked = checked.unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{name} does not apply: make it anew\n{said}");
        let text = fs::read_to_string(&patch).unwrap();
        let test = text.lines().find_map(|line| line.strip_prefix("Test: "));
        let Some((target, function)) = test.and_then(|test| test.split_once(' ')) else {
            panic!("{name} names no test");
        };
        let mut sources = files_below(&root().join("tests").join(target), ".rs");
        sources.push(root().join(format!("tests/{target}.rs")));
        let there = sources.iter().filter_map(|path| fs::read_to_string(path).ok()).any(|text| {
            text.contains(&format!("fn {function}(")) || text.contains(&format!("{function}() =>"))
        });
        assert!(there, "{name} names the test {function} of {target}, which is not there");
    }
}

#[test]
fn decisions_name_every_crate() {
    let manifest: toml::Table =
        fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let text = fs::read_to_string(root().join("docs/decisions/crates.md")).unwrap();
    for section in ["dependencies", "dev-dependencies"] {
        for name in manifest[section].as_table().unwrap().keys() {
            assert!(text.contains(&format!("`{name}`")), "docs/decisions/crates.md lacks `{name}`");
        }
    }
}
