//! Block protection and encryption, from the config to another machine with a printed key.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    process::Stdio,
};

use age::secrecy::ExposeSecret;

use crate::home::{Done, Home, Plan, code, config, noise};

/// A home whose pool has these settings, and a key file that an identity of its own opens.
pub(crate) fn home_with(plan: &Plan<'_>, pool: &str) -> Home {
    let home = Home::new(plan);
    let text = config(plan).replace("[pools.pool]\n", &format!("[pools.pool]\n{pool}\n"));
    let keys = "\n[keys]\nfile = \"keys.age\"\nidentity = \"identity\"\n";
    home.configure(&(text + keys));
    let identity = age::x25519::Identity::generate().to_string();
    private(&home.path("identity"), identity.expose_secret());
    home
}

fn private(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

const ENCRYPTED: &str = "encryption = \"pool-key\"\nblock_protection = \"required\"";

/// Makes a key and returns its id and its printed page.
fn new_key(home: &Home, more: &[&str]) -> (String, String) {
    let done = home.run(&[&["--json", "key", "new", "--pool", "pool"], more].concat()).exits(0);
    let id = done.lines()[0]["key"].as_str().unwrap().to_owned();
    home.run(&["key", "export", &id, "--to", "page.txt"]).exits(0);
    let page = fs::read_to_string(home.path("page.txt")).unwrap();
    fs::remove_file(home.path("page.txt")).unwrap();
    (id, page)
}

/// The four lines of a page.
fn lines(page: &str) -> Vec<&str> {
    page.lines().filter(|line| line.starts_with("    ")).take(4).collect()
}

fn words(page: &str) -> Vec<&str> {
    lines(page).iter().map(|line| line.split_whitespace().last().unwrap()).collect()
}

/// The digits of a page in one line.
fn digits(page: &str) -> String {
    let tokens = |line: &&str| line.split_whitespace().skip(1).take(4).collect::<String>();
    lines(page).iter().map(tokens).collect()
}

fn prove(home: &Home, (id, page): &(String, String)) {
    home.run(&[&["key", "prove", id], &words(page)[..]].concat()).exits(0);
}

pub(crate) fn type_in(home: &Home, arguments: &[&str], text: &str) -> Done {
    let mut child = home
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

fn tape(home: &Home, barcode: &str) -> Vec<u8> {
    fs::read(home.emulator().tape(code(barcode))).unwrap()
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(bytes, needle).is_some()
}

fn same(home: &Home, restored: &Path) {
    for number in 0..4 {
        let name = format!("folder/file{number:03}");
        let expected = noise(300_000, number + 1);
        assert!(fs::read(restored.join("files").join(&name)).unwrap() == expected, "{name}");
        assert!(fs::read(home.source().join(&name)).unwrap() == expected);
    }
}

#[test]
fn an_encrypted_archive_is_restored_elsewhere_with_the_printed_key() {
    let home = home_with(&Plan::default(), ENCRYPTED);
    home.fill(4, 300_000);
    // No key, a key that nobody printed, words that do not stand on its page: nothing is begun.
    home.run(&["archive", "job"]).complains(3, &["before its key is on paper", "key import"]);
    let key = new_key(&home, &[]);
    let (id, page) = &key;
    let advice = format!("key export {id}");
    home.run(&["archive", "job"]).complains(3, &[id, "not proven to be on paper", &advice]);
    home.run(&["key", "prove", id, "zulu", "zulu", "zulu", "zulu"])
        .complains(3, &["are not the check words", id]);
    assert!(tape(&home, "T00001L8").is_empty(), "nothing was written");
    prove(&home, &key);
    let done = home.run(&["-vv", "--json", "archive", "job"]).exits(0);
    let hex = digits(page);
    assert_eq!(hex.len(), 64);
    for said in [&done.out, &done.err] {
        assert!(!said.to_lowercase().contains(&hex[..16]), "the key is nowhere told");
    }
    assert_eq!(fs::metadata(home.path("keys.age")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!home.library().join("drives/drive0.key").exists(), "the drive has forgotten it");

    // The label is clear, and everything else is not.
    let raw = tape(&home, "T00001L8");
    assert!(holds(&raw, b"drive-aes-256-gcm") && holds(&raw, id.as_bytes()));
    assert!(holds(&raw, b"WHAT THIS IS") && holds(&raw, b"\"block_protection\": \"crc32c\""));
    assert!(!holds(&raw, &noise(300_000, 1)[1000..1032]) && !holds(&raw, b"folder/file000"));

    // Another machine: the cartridges, and a sheet of paper.
    let elsewhere = home_with(&Plan { cartridges: &[], ..Plan::default() }, ENCRYPTED);
    for entry in fs::read_dir(home.library().join("cartridges")).unwrap() {
        let path = entry.unwrap().path();
        let to = elsewhere.library().join("cartridges").join(path.file_name().unwrap());
        fs::copy(path, to).unwrap();
    }
    elsewhere.run(&["emulator", "insert", "T00001L8"]).exits(0);
    elsewhere
        .run(&["catalog", "rebuild", "T00001L8"])
        .complains(3, &["T00001 needs key", id, "not at hand", "key import"]);
    let typed = lines(page).join("\n").replacen("1   ", "", 1);
    let mistyped = format!("{}\n{typed}\n", lines(page)[0].replace(words(page)[0], "zulu"));
    let import = ["key", "import", "--pool", "pool", "--id", id];
    type_in(&elsewhere, &import, &mistyped).complains(0, &["line 1 is mistyped"]);
    let list = elsewhere.run(&["--json", "key", "list"]).exits(0);
    assert_eq!(list.lines()[0]["key"], **id);
    assert!(!list.out.contains(&hex[..8]));
    elsewhere.run(&["catalog", "rebuild", "T00001L8"]).exits(0);
    elsewhere.run(&["verify", "T00001"]).exits(0);
    elsewhere.run(&["restore", "", "--to", "back"]).exits(0);
    same(&home, &elsewhere.path("back"));
}

#[test]
fn a_key_of_one_volume_is_for_that_volume() {
    let plan = Plan { cartridges: &["T00001L8", "T00002L8"], ..Plan::default() };
    let home = home_with(&plan, "encryption = \"volume-key\"");
    home.fill(4, 300_000);
    prove(&home, &new_key(&home, &[]));
    home.run(&["media", "label", "T00001", "--pool", "pool"])
        .complains(3, &["no key for volume T00001 of pool pool", "--volume T00001"]);
    let key = new_key(&home, &["--volume", "T00001"]);
    prove(&home, &key);
    home.run(&["media", "label", "T00001", "--pool", "pool"]).exits(0);
    assert!(holds(&tape(&home, "T00001L8"), key.0.as_bytes()));
    home.archive();
    home.run(&["restore", "", "--to", "back"]).exits(0);
    same(&home, &home.path("back"));
    // The key is gone from this machine: what is on the tape stays, and says which key it was.
    fs::remove_file(home.path("keys.age")).unwrap();
    home.run(&["restore", "", "--to", "again"])
        .complains(3, &["T00001 needs key", &key.0, "there is no key file"]);
    home.run(&["verify", "T00001"]).complains(3, &["T00001 needs key", &key.0]);
}

#[test]
fn a_volume_that_is_not_encrypted_is_not_written_for_a_pool_that_is() {
    let plan = Plan { cartridges: &["T00001L8"], ..Plan::default() };
    let home = Home::new(&plan);
    home.fill(4, 300_000);
    home.archive();
    let before = tape(&home, "T00001L8");
    let other = home_with(&plan, ENCRYPTED);
    let text = fs::read_to_string(other.path("tapevault.toml")).unwrap();
    home.configure(&text);
    fs::copy(other.path("identity"), home.path("identity")).unwrap();
    prove(&home, &new_key(&home, &[]));
    fs::write(home.source().join("more"), "more").unwrap();
    home.run(&["archive", "job"]).complains(4, &["T00001", "it is not encrypted"]);
    assert!(tape(&home, "T00001L8") == before);
}

#[test]
fn a_block_that_is_damaged_on_its_way_is_named_and_written_or_read_again() {
    let home = home_with(&Plan::default(), "block_protection = \"auto\"");
    home.fill(4, 300_000);
    let faults = |text: &str| fs::write(home.library().join("faults.json"), text).unwrap();
    faults(r#"[{"command": "write", "object": 5, "times": 1, "effect": {"flip-bit": 4096}}]"#);
    let done = home.run(&["--json", "archive", "job"]).exits(1);
    let found = done.events("volume-finding");
    let what = found[0]["what"].as_str().unwrap();
    assert!(what.contains("damaged on its way") && what.contains("object 5"), "{what}");
    faults(r#"[{"command": "read", "object": 5, "times": 1, "effect": {"flip-bit": 99}}]"#);
    let done = home.run(&["--json", "verify", "T00001"]).exits(1);
    let found = done.events("volume-finding");
    assert_eq!(found.len(), 1, "{}", done.out);
    let what = found[0]["what"].as_str().unwrap();
    assert!(what.contains("did when it was read again"), "{what}");
    assert!(done.err.contains("object 5") || what.contains("object 5"), "{what}\n{}", done.err);
    // A restore reads it once more, too, before it takes it for damaged.
    faults(r#"[{"command": "read", "object": 5, "times": 1, "effect": {"flip-bit": 99}}]"#);
    let done = home.run(&["--json", "restore", "", "--to", "once"]).exits(1);
    let found = done.events("volume-finding");
    assert_eq!(found.len(), 1, "{}", done.out);
    let what = found[0]["what"].as_str().unwrap();
    assert!(what.contains("object 5") && what.contains("did when it was read again"), "{what}");
    assert!(done.events("not-restored").is_empty() && done.events("holes").is_empty());
    same(&home, &home.path("once"));
    // What is wrong twice is damaged, and still no word against the tape.
    faults(r#"[{"command": "read", "object": 5, "times": 2, "effect": {"flip-bit": 99}}]"#);
    let done = home.run(&["--json", "restore", "", "--to", "twice"]).exits(1);
    assert!(!done.events("not-restored").is_empty() && !done.events("holes").is_empty());
    assert!(!home.run(&["media", "show", "T00001"]).exits(0).out.contains("bad"));
    faults("[]");
    home.run(&["verify", "T00001"]).exits(0);
    home.run(&["restore", "", "--to", "back"]).exits(0);
    same(&home, &home.path("back"));
}

#[test]
fn a_reset_amid_an_archive_leaves_nothing_in_clear() {
    let home = home_with(&Plan::default(), ENCRYPTED);
    home.fill(4, 300_000);
    prove(&home, &new_key(&home, &[]));
    home.run(&["check"]).exits(0);
    let fault = r#"[{"command": "write", "object": 5, "times": 1, "effect": {"reset": 1}}]"#;
    fs::write(home.library().join("faults.json"), fault).unwrap();
    // Whether the job overcomes it by itself is another matter: the next run does.
    let first = home.run(&["archive", "job"]);
    assert!([Some(1), Some(5)].contains(&first.code), "{}", first.err);
    let second = home.run(&["archive", "job"]);
    assert!([Some(0), Some(1)].contains(&second.code), "{}", second.err);
    let written = ["T00001L8", "T00002L8", "T00003L8"].map(|barcode| tape(&home, barcode));
    assert!(written[0].len() > 400_000, "something had been written before the reset");
    for number in 1..=4 {
        let clear = &noise(300_000, number)[5000..5032];
        assert!(!written.iter().any(|raw| holds(raw, clear)), "file {number}");
    }
    home.run(&["restore", "", "--to", "back"]).exits(0);
    same(&home, &home.path("back"));
}

#[test]
fn keys_and_their_settings_are_checked() {
    let home = home_with(&Plan::default(), ENCRYPTED);
    let text = fs::read_to_string(home.path("tapevault.toml")).unwrap();
    let without = text.split("\n[keys]").next().unwrap();
    home.configure(without);
    home.run(&["media", "list"]).complains(2, &["pools.pool.encryption", "no [keys]"]);
    home.configure(&text.replace("pool-key", "pool"));
    home.run(&["media", "list"]).complains(2, &["unknown variant `pool`"]);
    home.configure(&format!("{text}passphrase_file = \"phrase\"\n"));
    home.run(&["media", "list"]).complains(2, &["keys.passphrase_file", "only one"]);
    home.configure(&text);
    home.run(&["key", "new", "--pool", "pol"]).complains(2, &["no pool pol"]);
    home.run(&["key", "list"]).complains(3, &["there is no key file"]);
    let (id, page) = new_key(&home, &[]);
    home.run(&["check"]).exits(3);
    // Whoever types a key in from paper has it there.
    let typed = format!("{}\n", lines(&page).join("\n"));
    type_in(&home, &["key", "import", "--pool", "pool"], &typed).exits(0);
    assert!(home.run(&["check"]).exits(0).out.contains(&format!("{id} is on paper")));
    home.run(&["key", "export", "0123456789abcdef"]).complains(3, &["0123456789abcdef"]);
    let done = home.run(&["key", "export", &id]).exits(0);
    assert!(done.out.contains("TAPEVAULT KEY") && done.out.contains('█'), "{}", done.out);
    home.run(&["key", "export", &id, "--to", "page.html"]).exits(0);
    let page = home.path("page.html");
    assert_eq!(fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&page).unwrap().contains("<svg"));
    home.run(&["key", "export", &id, "--to", "page.html"]).complains(7, &["cannot write"]);
    // A passphrase in a file that nobody else can read opens it as well.
    fs::remove_file(home.path("keys.age")).unwrap();
    private(&home.path("phrase"), "correct horse battery\n");
    home.configure(&text.replace("identity = \"identity\"", "passphrase_file = \"phrase\""));
    let key = new_key(&home, &[]);
    prove(&home, &key);
    fs::set_permissions(home.path("phrase"), fs::Permissions::from_mode(0o644)).unwrap();
    home.run(&["key", "list"]).complains(3, &["can be read by others", "chmod 600"]);
}
