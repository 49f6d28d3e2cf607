//! Size and speed of the catalog, printed. Run with
//! `cargo test --release --test catalog figures -- --ignored --nocapture --test-threads 1`;
//! `MEMBERS` sets how many (2 million), `CATALOG_DIR` where (a folder in memory).

#![expect(clippy::print_stdout, reason = "figures are for people")]

use std::{
    env, fs,
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
};

use tapevault::{
    catalog::{Catalog, Mode, Pattern, Query},
    clock::{Clock, SystemClock, TestClock, Timestamp},
    digest::Digest,
    ident::SegmentId,
    item::{Item, Key, Kind, ObjectFacts, Posix, Token, Version},
    volume::{
        lines::{read_line, write_line},
        manifest::Entry,
    },
};
use tempfile::TempDir;

use crate::given::{at, row, segment, source};

/// Members in one segment at most.
const SEGMENT: u64 = 262_144;

/// Numbers that look random and are the same each time (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

const WORDS: [&str; 48] = [
    "report", "invoice", "draft", "final", "photo", "scan", "backup", "notes", "project", "client",
    "budget", "summary", "meeting", "contract", "plan", "review", "data", "export", "image",
    "archive", "letter", "design", "model", "test", "config", "source", "build", "release",
    "north", "winter", "garden", "travel", "music", "video", "lecture", "thesis", "chapter",
    "figure", "table", "sample", "result", "survey", "index", "header", "module", "server",
    "client", "shared",
];
const ENDINGS: [&str; 12] =
    ["pdf", "txt", "jpg", "png", "docx", "xlsx", "c", "h", "rs", "json", "xml", "log"];

/// A manifest of `count` members, sorted, made as it is asked for.
struct Tree {
    noise: Noise,
    number: u64,
    of: u64,
    offset: u64,
    folder: String,
    folders: u64,
    left: u64,
    modified: i64,
}

impl Tree {
    fn new(seed: u64, of: u64) -> Self {
        Self {
            noise: Noise(seed),
            number: 0,
            of,
            offset: 0,
            folder: String::new(),
            folders: 0,
            left: 0,
            modified: 0,
        }
    }

    /// Digits that keep names ascending, as a sorted listing is.
    fn folder(&mut self) {
        let n = self.number;
        self.left = 5 + self.noise.below(40);
        self.modified = 1_500_000_000 + i64::try_from(self.noise.below(250_000_000)).unwrap();
        let (a, b) = (self.noise.pick(&WORDS), self.noise.pick(&WORDS));
        let year = 2000 + n * 20 / self.of;
        let folder = self.folders;
        self.folders += 1;
        self.folder = format!("users/ann/{year}/{:05}/{folder:07}-{a}-{b}", folder / 50);
    }

    fn digest(&mut self) -> Digest {
        let mut bytes = [0; 32];
        for eight in bytes.chunks_exact_mut(8) {
            eight.copy_from_slice(&self.noise.next().to_le_bytes());
        }
        Digest(bytes)
    }

    /// A log-uniform size.
    fn size(&mut self) -> u64 {
        let bits = 6 + self.noise.below(18);
        (1 << bits) + self.noise.below(1 << bits)
    }

    fn file(&mut self) -> Entry {
        if self.left == 0 {
            self.folder();
        }
        self.left -= 1;
        self.number += 1;
        let (word, ending) = (self.noise.pick(&WORDS), self.noise.pick(&ENDINGS));
        let mut key = format!("{}/{:02}_{word}", self.folder, 99 - self.left);
        if self.noise.below(1000) == 0 {
            key.push_str("-rarely");
        }
        if self.noise.below(200_000) == 0 {
            key.push_str("-qzxj");
        }
        key = format!("{key}.{ending}");
        let size = self.size();
        // Half of a folder was written at once, the rest at any time.
        let seconds = match self.noise.below(2) {
            0 => self.modified,
            _ => self.modified + i64::try_from(self.noise.below(10_000_000)).unwrap(),
        };
        let nanoseconds = u32::try_from(self.noise.below(1_000_000_000)).unwrap();
        let offset = self.offset;
        self.offset += 1024 + size.next_multiple_of(512);
        Entry {
            path: Some(format!("home/{key}")),
            source: source("home"),
            item: Item {
                key: Key(key.into_bytes()),
                size,
                modified: Timestamp::from_parts(seconds, nanoseconds),
                latest: true,
                token: Token(self.noise.next()),
                posix: Some(Box::new(Posix {
                    mode: if self.noise.below(10) == 0 { 0o755 } else { 0o644 },
                    uid: 1000,
                    gid: 1000,
                    user: "ann".into(),
                    group: "ann".into(),
                    ..Posix::default()
                })),
                ..Item::default()
            },
            offset,
            data: offset + 1024,
            stored: size,
            digest: Some(self.digest()),
            part: None,
            linked_to: None,
            torn: false,
            chaining: String::new(),
        }
    }
}

impl Iterator for Tree {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        (self.number < self.of).then(|| self.file())
    }
}

/// Three versions of each object, one in fifty a delete marker.
struct Bucket {
    tree: Tree,
    current: Option<Entry>,
    versions: Vec<String>,
}

impl Bucket {
    fn new(seed: u64, of: u64) -> Self {
        Self { tree: Tree::new(seed, of), current: None, versions: Vec::new() }
    }

    fn version(noise: &mut Noise) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";
        (0..32).map(|_| char::from(LETTERS[usize::try_from(noise.below(64)).unwrap()])).collect()
    }
}

impl Iterator for Bucket {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.versions.is_empty() {
            self.current = self.tree.next();
            self.versions = (0..3).map(|_| Self::version(&mut self.tree.noise)).collect();
            self.versions.sort_by(|a, b| b.cmp(a));
        } else {
            self.tree.number += 1;
        }
        let plain = self.current.clone()?;
        if self.tree.number > self.tree.of {
            return None;
        }
        let version = self.versions.pop()?;
        let noise = &mut self.tree.noise;
        let etag = format!("{:016x}{:016x}", noise.next(), noise.next());
        let latest = self.versions.len() == 2;
        let deleted = noise.below(50) == 0;
        let modified =
            plain.item.modified.parts().0 + i64::try_from(noise.below(9_000_000)).unwrap();
        let token = Token(noise.next());
        let key = plain.item.key.printable().to_string();
        let path = if latest {
            format!("bucket/{key}")
        } else {
            format!("bucket@versions/{key}/{version}")
        };
        let digest = self.tree.digest();
        let item = Item {
            version: Version(version),
            modified: Timestamp::from_parts(modified, 0),
            latest,
            token,
            posix: None,
            ..plain.item.clone()
        };
        let plain = Entry { source: source("bucket"), digest: Some(digest), ..plain };
        if deleted {
            let item = Item { kind: Kind::DeleteMarker, size: 0, ..item };
            return Some(Entry {
                item,
                path: None,
                offset: 0,
                data: 0,
                stored: 0,
                digest: None,
                ..plain
            });
        }
        let object = ObjectFacts {
            verified: format!("md5={etag}"),
            etag,
            headers: [("content-type".to_owned(), "application/octet-stream".to_owned())].into(),
            ..ObjectFacts::default()
        };
        let item = Item { object: Some(Box::new(object)), ..item };
        let offset = self.tree.offset;
        self.tree.offset += 1024 + item.size.next_multiple_of(512);
        Some(Entry { item, path: Some(path), offset, data: offset + 1024, ..plain })
    }
}

fn members() -> u64 {
    env::var("MEMBERS").map_or(2_000_000, |text| text.parse().unwrap())
}

fn fresh() -> (TempDir, Catalog) {
    let place = env::var("CATALOG_DIR").map_or(PathBuf::from("/dev/shm"), PathBuf::from);
    let folder = TempDir::new_in(place).unwrap();
    let clock = TestClock::at(at(0));
    let path = folder.path().join("catalog.db");
    let catalog = Catalog::create(&path, Mode::Rehearsal, &clock).unwrap();
    (folder, catalog)
}

/// Ingests manifests in the form that they have on tape, so that reading their JSON counts.
fn ingest(catalog: &Catalog, entries: &mut dyn Iterator<Item = Entry>) -> Vec<SegmentId> {
    let clock = SystemClock::new();
    let (mut spent, mut processor) = (Duration::ZERO, Duration::ZERO);
    let mut total = 0;
    let mut segments = Vec::new();
    let mut parsing = Duration::ZERO;
    loop {
        let mut lines = Vec::new();
        let taken = entries.take(usize::try_from(SEGMENT).unwrap());
        let count = taken
            .map(|entry| {
                write_line(&entry, &mut lines);
            })
            .count();
        if count == 0 {
            break;
        }
        let segment = segment(count);
        let (started, begun) = (clock.elapsed(), processor_time());
        catalog.add_segment(&segment, &mut entries_of(&lines)).unwrap();
        spent += clock.elapsed() - started;
        processor += processor_time() - begun;
        if segments.is_empty() {
            let started = clock.elapsed();
            assert_eq!(entries_of(&lines).count(), count);
            parsing = (clock.elapsed() - started) / u32::try_from(count).unwrap();
        }
        segments.push(segment.id);
        total += count as u64;
    }
    let rate = total * 1000 / u64::try_from(spent.as_millis()).unwrap().max(1);
    println!("ingest: {total} members, {rate} a second, of which JSON {parsing:?} each");
    let each = processor / u32::try_from(total).unwrap();
    println!("    processor time {each:?} each, over all threads");
    segments
}

/// Reads a manifest line by line, without copies.
fn entries_of(mut lines: &[u8]) -> impl Iterator<Item = Entry> {
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', lines)? + 1;
        let (line, rest) = lines.split_at(end);
        lines = rest;
        Some(read_line(line).unwrap())
    })
}

/// Processor time of this process so far, in steps of 10 ms (proc(5), stat: utime and stime).
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Processor time of this thread so far (proc(5), schedstat: nanoseconds).
fn thread_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn size(catalog: &Catalog, count: u64, what: &str) {
    let database = rusqlite::Connection::open(catalog.path()).unwrap();
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let bytes = fs::metadata(catalog.path()).unwrap().len();
    println!("{what}: {:.1} bytes a member, {bytes} in all", per(bytes, count));
    let mut statement = database
        .prepare("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 8")
        .unwrap();
    let tables = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
        .unwrap();
    for (name, bytes) in tables.map(Result::unwrap) {
        println!("    {name:20} {:6.1}", per(bytes.cast_unsigned(), count));
    }
    let (keys, facts): (i64, i64) = database
        .query_row("SELECT sum(length(keys)), sum(length(facts)) FROM pack", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let each = |bytes: i64| per(bytes.cast_unsigned(), count);
    println!("    keys {:.1}, facts {:.1}", each(keys), each(facts));
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per(bytes: u64, count: u64) -> f64 {
    bytes as f64 / count as f64
}

#[expect(clippy::disallowed_methods, reason = "figures are of real time")]
fn timed(what: &str, act: &mut dyn FnMut() -> u64) {
    let mut hits = 0;
    let (mut times, mut processor): (Vec<Duration>, Vec<Duration>) = (0..5)
        .map(|_| {
            let (started, begun) = (Instant::now(), thread_time());
            hits = act();
            (started.elapsed(), thread_time() - begun)
        })
        .unzip();
    let first = times[0];
    times.sort_unstable();
    processor.sort_unstable();
    let (time, processor) = (times[2], processor[2]);
    println!("{what:40} {time:>10.2?} (first {first:.2?}; processor {processor:.2?}), {hits} hits");
}

fn latencies(catalog: &Catalog) {
    let find = |pattern: Pattern, ignore_case: bool, limit: u64| {
        let mut hits = 0;
        let query = Query { pattern, ignore_case, ..Query::default() };
        catalog
            .find(&query, &mut |_| {
                hits += 1;
                if hits == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        hits
    };
    let text = |text: &str| Pattern::Substring(text.into());
    timed("substring, rare", &mut || find(text("-qzxj"), false, u64::MAX));
    timed("substring, rare, any case", &mut || find(text("QZXJ"), true, u64::MAX));
    timed("substring, absent, frequent trigrams", &mut || {
        find(text("photo-photo-pho"), false, u64::MAX)
    });
    timed("substring, one in a thousand, first 100", &mut || find(text("-rarely"), false, 100));
    timed("substring, a long rare name", &mut || find(text("thesis-garden/"), false, u64::MAX));
    timed("substring, frequent, first 100", &mut || find(text("report"), false, 100));
    timed("substring, in every key, first 100", &mut || find(text("users"), false, 100));
    timed("glob, first 100", &mut || {
        find(Pattern::Glob("*invoice*.pdf".parse().unwrap()), false, 100)
    });
    timed("prefix, first 100", &mut || {
        find(Pattern::Prefix(b"users/ann/2011/".into()), false, 100)
    });
    timed("exact key", &mut || find(Pattern::Exact(b"users/ann/2011/none".into()), false, 100));
    let digest = Digest::of(b"none").to_string();
    let prefix = |digits: &str| Pattern::Digest(digits.parse().unwrap());
    timed("digest, absent", &mut || find(prefix(&digest), false, 100));
    timed("digest, first 5 digits", &mut || find(prefix(&digest[..5]), false, 100));
    timed("count, frequent", &mut || {
        catalog.count(&Query { pattern: text("report"), ..Query::default() }).unwrap()
    });
}

fn drop_a_third(catalog: &Catalog, segments: &[SegmentId]) {
    let clock = SystemClock::new();
    let started = clock.elapsed();
    segments.iter().step_by(3).for_each(|segment| catalog.drop_segment(*segment).unwrap());
    println!("dropped a third in {:?}", clock.elapsed() - started);
}

#[test]
#[ignore = "takes minutes and prints figures"]
fn figures_of_a_directory() {
    let (_folder, catalog) = fresh();
    let segments = ingest(&catalog, &mut Tree::new(1, members()));
    size(&catalog, members(), "directory");
    latencies(&catalog);
    drop_a_third(&catalog, &segments);
    latencies(&catalog);
    let clock = SystemClock::new();
    let started = clock.elapsed();
    let rows: Vec<_> = segments
        .iter()
        .skip(1)
        .step_by(3)
        .flat_map(|id| catalog.entries(*id).unwrap().map(move |entry| (*id, entry.unwrap())))
        .map(|(segment, (ordinal, entry))| row(&entry, tapevault::item::Place { segment, ordinal }))
        .collect();
    let count = rows.len() as u64;
    println!("read {count} entries in {:?}", clock.elapsed() - started);
    let started = clock.elapsed();
    let run = catalog.begin_run(&source("home"), at(0)).unwrap();
    catalog.push_rows(run, &mut rows.into_iter()).unwrap();
    catalog.finish_run(run, (at(1), true)).unwrap();
    println!("stored a run of {count} rows in {:?}", clock.elapsed() - started);
    let started = clock.elapsed();
    assert_eq!(catalog.rows(run).unwrap().count() as u64, count);
    println!("read it in {:?}", clock.elapsed() - started);
    size(&catalog, members() - members() / 3, "after a drop, with a run of half of it");
}

#[test]
#[ignore = "takes minutes and prints figures"]
fn figures_of_a_versioned_bucket() {
    let (_folder, catalog) = fresh();
    ingest(&catalog, &mut Bucket::new(2, members()));
    size(&catalog, members(), "versioned bucket");
    latencies(&catalog);
}
