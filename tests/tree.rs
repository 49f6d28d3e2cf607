//! A directory tree through staging and back: source, segment files, feed and destination, without
//! a drive in between.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use tapevault::{
    cancel::Cancel,
    clock::SystemClock,
    destination::{self, Destination, NewFile},
    digest::Digest,
    ident::{SetId, SourceName},
    item::{Item, Kind, LinkGroup, Listed},
    pipeline::{self, Feed, Flow, SegmentFile},
    source::{
        Claim, Finding, Findings, Outcome, Sink, SinkError, Source,
        directory::{DirectorySource, Excludes, Options},
    },
    staging::{Region, Sealed, Settings, Staging, World, files::Disk},
    tar::MemberKind,
    unit::{ByteCount, GIB},
    volume::{
        manifest::{Entry, Part},
        member,
    },
};

/// Staging as a sink.
struct Staged {
    staging: Staging,
    name: SourceName,
    findings: Mutex<Vec<Finding>>,
}

struct Claimed(Region);

impl Findings for Staged {
    fn report(&self, finding: Finding) {
        self.findings.lock().unwrap().push(finding);
    }
}

impl Sink for Staged {
    fn part_bytes(&self) -> u64 {
        self.staging.part_bytes()
    }

    fn put(&self, item: Item, data: &[u8]) -> Result<(), SinkError> {
        self.staging.put(&self.name, item, data).unwrap();
        Ok(())
    }

    fn claim(&self, item: Item, part: Option<Part>) -> Result<Box<dyn Claim>, SinkError> {
        Ok(Box::new(Claimed(self.staging.claim(&self.name, item, part).unwrap())))
    }
}

impl Claim for Claimed {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        self.0.write_at(offset, bytes).unwrap();
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Outcome) -> Result<(), SinkError> {
        let Outcome { verified, running, torn } = outcome;
        self.0.finish(tapevault::staging::Outcome { verified, running, torn }).unwrap();
        Ok(())
    }
}

fn source(root: &Path) -> DirectorySource {
    let options = Options {
        root: root.to_owned(),
        one_file_system: false,
        exclude: Vec::new(),
        avoid: Vec::new(),
        scratch: std::env::temp_dir(),
    };
    DirectorySource::open(options, Excludes::default(), Arc::new(SystemClock::new())).unwrap()
}

fn list(source: &DirectorySource, sink: &Staged) -> Vec<Listed> {
    let mut rows = Vec::new();
    let mut visit = |listed| {
        rows.push(listed);
        Ok(())
    };
    source.list(&mut visit, sink, &Cancel::new()).unwrap();
    rows
}

/// Archives `root` into a staging in `dir`: all that it has, and the sealed segments.
fn archive(root: &Path, dir: &Path) -> (Staged, Vec<Sealed>) {
    let settings = Settings::new(dir, ByteCount(2 * GIB), Some(ByteCount(GIB)), 512 << 10);
    let world =
        World { files: Arc::new(Disk), clock: Arc::new(SystemClock::new()), cancel: Cancel::new() };
    let (staging, _) = Staging::open(settings, SetId::new(), world).unwrap();
    let name = "tree".parse().unwrap();
    let staged = Staged { staging, name, findings: Mutex::default() };
    let source = source(root);
    let rows = list(&source, &staged);
    let (mut directories, mut files): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.kind == Kind::Directory);
    for wanted in [&mut files, &mut directories] {
        source.fetch(&mut wanted.drain(..), &staged, &Cancel::new()).unwrap();
    }
    staged.staging.seal_all().unwrap();
    assert!(staged.findings.lock().unwrap().is_empty());
    let sealed = staged.staging.sealed().unwrap();
    (staged, sealed)
}

/// The bytes of a segment, as they would reach a drive.
fn feed(feed: &Feed, sealed: &Sealed) -> Vec<u8> {
    let mut tape_file = Vec::new();
    let block_bytes = usize::try_from(sealed.block_size).unwrap();
    feed.queue(SegmentFile { path: sealed.path.clone(), block_bytes, blocks: sealed.blocks });
    let fed = feed
        .write(|block| {
            tape_file.extend_from_slice(block);
            Ok::<_, Infallible>(Flow::Continue)
        })
        .unwrap();
    assert_eq!(fed.digest, Some(sealed.digest));
    tape_file
}

/// Writes a member's content where it belongs within its item.
fn write_content(entry: &Entry, tape_file: &[u8], to: &NewFile) {
    let at = |offset: u64, length: u64| {
        let offset = usize::try_from(offset).unwrap();
        &tape_file[offset..offset + usize::try_from(length).unwrap()]
    };
    match member::head_of(entry).unwrap().kind {
        MemberKind::Sparse { extents, .. } => {
            let bytes: u64 = extents.iter().map(|extent| extent.length).sum();
            let mut next = entry.data + entry.stored - bytes;
            for extent in extents {
                to.write_at(extent.offset, at(next, extent.length)).unwrap();
                next += extent.length;
            }
        }
        MemberKind::File { .. }
        | MemberKind::HardLink { .. }
        | MemberKind::Symlink { .. }
        | MemberKind::Directory
        | MemberKind::Fifo
        | MemberKind::CharacterDevice { .. }
        | MemberKind::BlockDevice { .. } => {
            let offset = entry.part.map_or(0, |part| part.offset);
            to.write_at(offset, at(entry.data, entry.stored)).unwrap();
        }
    }
}

/// Restores all; of a file with several names the bytes once, its other names at the end.
fn restore(staged: &Staged, sealed: &[Sealed], to: &Path) {
    let mut to = Destination::open(to, destination::Options::default()).unwrap();
    let settings = pipeline::Settings {
        block_bytes: 512 << 10,
        ring_bytes: 4 << 20,
        start_percent: 80,
        guard: None,
    };
    let feeder = Feed::start(settings, &Cancel::new()).unwrap();
    let mut first_names: BTreeMap<LinkGroup, Vec<u8>> = BTreeMap::new();
    let mut names: BTreeMap<Vec<u8>, Item> = BTreeMap::new();
    let mut open: BTreeMap<Vec<u8>, (NewFile, u32)> = BTreeMap::new();
    for sealed in sealed {
        let tape_file = feed(&feeder, sealed);
        for entry in staged.staging.manifest(sealed.segment).unwrap() {
            let entry = entry.unwrap();
            let (item, key) = (&entry.item, entry.item.key.0.clone());
            if item.kind != Kind::File {
                to.put(&key, item).unwrap();
                continue;
            }
            if let Some(group) = item.posix.as_ref().unwrap().link_group {
                // A name without data of its own never comes first.
                let first = first_names.entry(group).or_insert_with(|| key.clone());
                if *first != key {
                    names.insert(key, item.clone());
                    continue;
                }
            }
            assert_eq!(entry.linked_to, None, "the name that it is linked to comes before");
            let parts = entry.part.map_or(1, |part| part.of);
            let (file, left) =
                open.entry(key.clone()).or_insert_with(|| (to.create(&key, item).unwrap(), parts));
            write_content(&entry, &tape_file, file);
            *left -= 1;
            if *left == 0 {
                let (file, _) = open.remove(&key).unwrap();
                let restored = to.finish_file(file, Some(&Digest::of(b"same run"))).unwrap();
                assert_eq!((restored.path, restored.left_out), (key, vec![]));
            }
        }
    }
    assert!(open.is_empty());
    for (key, item) in names {
        let linked = to.link(&key, &item, &Digest::of(b"same run")).unwrap();
        assert_eq!(linked.expect("its first name is there").path, key);
    }
    let mut waited = 0;
    let finished = to.finish(&mut |item, result| {
        assert_eq!(result.unwrap().path, item.key.0);
        waited += 1;
    });
    drop(finished.unwrap());
    assert!(waited > 0);
}

/// Everything about a tree that a restore has to bring back.
fn facts(root: &Path) -> BTreeMap<Vec<u8>, Item> {
    let scratch = tempfile::tempdir().unwrap();
    let (staged, sealed) = archive(root, scratch.path());
    let mut groups = BTreeMap::new();
    let mut facts = BTreeMap::new();
    for entry in sealed.iter().flat_map(|sealed| staged.staging.manifest(sealed.segment).unwrap()) {
        let mut item = entry.unwrap().item;
        item.token = tapevault::item::Token(0);
        if let Some(group) = item.posix.as_mut().and_then(|posix| posix.link_group.as_mut()) {
            // Which names belong together, and not by what number.
            let number = u64::try_from(groups.len()).unwrap();
            let number = *groups.entry(*group).or_insert(number);
            (group.device, group.inode) = (0, number);
        }
        facts.insert(item.key.0.clone(), item);
    }
    facts
}

fn compare(original: &Path, copy: &Path) {
    let (original_facts, copy_facts) = (facts(original), facts(copy));
    assert!(original_facts.len() > 1);
    for (key, item) in &original_facts {
        assert_eq!(Some(item), copy_facts.get(key));
    }
    assert_eq!(original_facts.len(), copy_facts.len());
    let status = Command::new("diff")
        .args(["-r", "--no-dereference", "--exclude=pipe"])
        .args([original, copy])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_tree_of_hard_cases_comes_back() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path().join("tree");
    fs::create_dir_all(root.join("deep/er")).unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    fs::write(root.join("bytes\n\x1b%~\u{e9}"), b"odd").unwrap();
    let large: Vec<u8> = (0..15_000_000_u32).map(|n| u8::try_from(n / 7 % 256).unwrap()).collect();
    fs::write(root.join("deep/large"), &large).unwrap();
    for n in 0..500 {
        fs::write(root.join(format!("deep/er/{n}")), n.to_string()).unwrap();
    }
    fs::hard_link(root.join("deep/er/7"), root.join("a-name-of-7")).unwrap();
    fs::hard_link(root.join("deep/large"), root.join("a-name-of-large")).unwrap();
    symlink("../../../nowhere", root.join("deep/link")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(100 << 20).unwrap();
    sparse.write_all_at(&large[..100_000], 50 << 20).unwrap();
    sparse.write_all_at(b"end", (100 << 20) - 4096).unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    rustix::fs::setxattr(root.join("deep"), "user.x", b"y", rustix::fs::XattrFlags::empty())
        .unwrap();
    fs::set_permissions(root.join("deep/er"), Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(root.join("empty"), Permissions::from_mode(0o400)).unwrap();

    let scratch = tempfile::tempdir().unwrap();
    let (staged, sealed) = archive(&root, scratch.path());
    assert!(sealed.len() > 1, "more than one segment");
    let copy = tree.path().join("copy");
    restore(&staged, &sealed, &copy);
    compare(&root, &copy);
}
