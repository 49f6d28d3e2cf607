//! `recover.sh` on golden volumes, by the shells that a rescue system may have.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tapevault::volume::label;

use crate::golden::{ROOT, tape_files};
use crate::stock::{Stock, program, quietly};

const SHELLS: [&[&str]; 3] = [&["dash"], &["busybox", "sh"], &["bash", "--posix"]];

/// Runs the script that labels have now.
fn recover(shell: &[&str], volume: &Path, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("recover.sh");
    fs::write(&script, label::RECOVER).unwrap();
    let mut command: Command = program(shell[0], &shell[1..]);
    command.arg(script).arg("-f").arg(volume).args(arguments).current_dir(folder.path());
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn whole_volumes_are_extracted_and_checked() {
    for shell in SHELLS {
        for (name, segments) in [("whole", 1), ("sessions", 3), ("unindexed", 2)] {
            let into = tempfile::tempdir().unwrap();
            let target = into.path().to_str().unwrap();
            let output = recover(shell, &Path::new(ROOT).join(name), &["extract", target]);
            let (out, err) = texts(&output);
            assert!(output.status.success() && err.is_empty(), "{shell:?} {name}: {out}{err}");
            assert_eq!(out.matches("digests agree").count(), segments, "{shell:?} {name}: {out}");
            assert!(into.path().join("label/README.txt").exists());
        }
    }
}

#[test]
fn a_volume_is_read_by_the_script_on_its_own_label() {
    let (label, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let volume = Path::new(ROOT).join("whole");
    quietly(&mut Stock::Gnu.extract(&volume.join("0.tar"), label.path()));
    let script = label.path().join("recover.sh");
    let out = quietly(Command::new(script).arg("-f").arg(&volume).arg("extract").arg(into.path()));
    assert!(out.contains("label of GOLD01") && out.contains("; 0 findings"), "{out}");
}

#[test]
fn a_void_tape_file_is_named_and_passed() {
    let into = tempfile::tempdir().unwrap();
    let target = into.path().to_str().unwrap();
    let output = recover(SHELLS[0], &Path::new(ROOT).join("void"), &["extract", target]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("tape file 1 has no end"), "{err}");
    assert!(out.contains("tape file 2: segment, 3 digests agree"), "{out}");
    assert!(out.contains("tape file 3: volume index, its seal agrees"), "{out}");
}

#[test]
fn each_session_has_its_folder() {
    let into = tempfile::tempdir().unwrap();
    let target = into.path().to_str().unwrap();
    let output = recover(SHELLS[0], &Path::new(ROOT).join("sessions"), &["extract", target]);
    assert!(output.status.success());
    for (session, state) in [("session-1", "state 1\n"), ("session-2", "state 2\n")] {
        let path = into.path().join(session).join("disk/changing.txt");
        assert_eq!(fs::read_to_string(path).unwrap(), state);
    }
}

#[test]
fn checking_keeps_nothing_and_names_what_is_wrong() {
    for shell in SHELLS {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().to_str().unwrap();
        let output = recover(shell, &Path::new(ROOT).join("torn"), &["check", target]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{shell:?}: {out}{err}");
        assert!(err.contains("tape file 3 has no end"), "{shell:?}: {err}");
        assert!(out.contains("its seal agrees"), "{shell:?}: {out}");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "{shell:?}");
    }
}

#[test]
fn a_flipped_byte_is_named() {
    for (file, text, what) in [
        (1, "report\n", "session-1/report.txt: FAILED"),
        (2, "\"label_digest\"", "the volume index disagrees with its seal"),
    ] {
        let copy = tempfile::tempdir().unwrap();
        for path in tape_files("torn") {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        let path = copy.path().join(format!("{file}.tar"));
        let mut bytes = fs::read(&path).unwrap();
        let at = memchr::memmem::find(&bytes, text.as_bytes()).unwrap();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let output = recover(SHELLS[0], copy.path(), &["check"]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{out}{err}");
        assert!(err.contains(what), "{err}");
    }
}

#[test]
fn listing_names_every_member() {
    for shell in SHELLS {
        let output = recover(shell, &Path::new(ROOT).join("sessions"), &["list"]);
        let (out, err) = texts(&output);
        assert!(output.status.success() && err.is_empty(), "{shell:?}: {out}{err}");
        for name in
            ["label.json", "disk/steady.txt", "SEAL.json", "== end of data after 6 tape files"]
        {
            assert!(out.contains(name), "{shell:?} lists {name}: {out}");
        }
    }
}

#[test]
fn a_volume_is_found_again_by_name_in_its_index() {
    let files = tape_files("sessions");
    let folder = tempfile::tempdir().unwrap();
    quietly(&mut Stock::Gnu.extract(&files[5], folder.path()));
    let script = "cat .tapevault/*/manifests/*.zst | zstd -dc | grep -c '\"key\":\"changing.txt\"'";
    let found = quietly(program("sh", &["-c", script]).current_dir(folder.path()));
    assert_eq!(found.trim(), "1");
    let rows = quietly(
        program("sh", &["-c", "cat .tapevault/*/segments.jsonl"]).current_dir(folder.path()),
    );
    let digest = quietly(program("b3sum", &["--no-names"]).arg(&files[4]));
    assert!(rows.contains("\"file\":4,\"blocks\":"), "{rows}");
    assert!(rows.contains(digest.trim()), "a segment's digest is that of its tape file");
}
