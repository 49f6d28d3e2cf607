//! A sealed segment through digest and ring into a drive that discards.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use tapevault::{
    cancel::Cancel,
    clock::{Clock, SystemClock, Timestamp},
    drive::{Drive, DriveError, Preparation, Protection, Safeguards},
    emulator::{EmulatedDrive, Generation},
    ident::SetId,
    item::{Item, Key, Posix},
    pipeline::{self, Feed, Flow, SegmentFile},
    staging::{BLOCK_SIZE, Sealed, Settings, Staging, World, files::Disk},
    unit::{ByteCount, GIB, MIB},
};

use crate::{
    place,
    tools::{self, Bound, Spent, float, judge, measured, median, setting},
};

/// What a job takes by itself.
const RING: usize = 1 << 30;
const START_PERCENT: u8 = 80;
const FILE: u64 = 16 * MIB;
/// What stands beside it: the same work with the tools that everybody has. The shell waits for
/// `b3sum`, too, so that all of their processor time is counted.
const STOCK: &str = r#"tar cf - "$0" 2>/dev/null | { tee >(b3sum >/dev/null); wait $!; } |
    mbuffer -q -m 64M -o /dev/null 2>/dev/null"#;

pub(crate) fn run() {
    let size = setting("SIZE", 8 * GIB);
    let folder = place::in_memory();
    let sealed = seal(folder.path(), size);
    let gigabytes = float(sealed.bytes) / 1e9;
    let (mut ours, mut sums, mut stock) = (Vec::new(), Vec::new(), Vec::new());
    let mut guarded = [Vec::new(), Vec::new()];
    for _ in 0..tools::rounds() {
        ours.push(measured(|| feed(&sealed, None)));
        for (all, method) in guarded.iter_mut().zip(METHODS) {
            all.push(measured(|| feed(&sealed, Some(method))));
        }
        let mut sum = Command::new("b3sum");
        sum.args(["--num-threads", "1", "--no-mmap"]).arg(&sealed.path);
        sums.push(measured(|| tools::run(&mut sum)));
        stock.push(measured(|| tools::shell(STOCK, &sealed.path)));
    }
    let (ours, sums, stock) = (median(&ours), median(&sums), median(&stock));
    let show = |what: &str, spent: Spent, cpu: &str| {
        println!("  {what:58} {:9.2} GB/s {cpu}", gigabytes / spent.wall);
    };
    let per_gb = |spent: Spent| format!("{:.3} CPU-s/GB", spent.cpu / gigabytes);
    println!("  a sealed segment of {gigabytes:.2} GB, median of {}", tools::rounds());
    show("tapevault: segment, digest, ring, drive", ours, &per_gb(ours));
    for (all, method) in guarded.iter().zip(METHODS) {
        let spent = median(all);
        let what = format!("the same with {} on, which the drive checks", method.name());
        show(&what, spent, &per_gb(spent));
    }
    show("b3sum --num-threads 1 --no-mmap", sums, &per_gb(sums));
    show("tar | tee >(b3sum) | mbuffer -m 64M", stock, &per_gb(stock));
    judge("rate, in that of b3sum", sums.wall / ours.wall, (0.8, Bound::AtLeast));
    judge("CPU-seconds a GB", ours.cpu / gigabytes, (0.45, Bound::AtMost));
    judge("rate, in that of the pipeline", stock.wall / ours.wall, (4.0, Bound::AtLeast));
}

/// How blocks can be protected on their way. The emulated drive makes each CRC once more.
const METHODS: [Protection; 2] = [Protection::Crc32c, Protection::ReedSolomon];

/// One segment of `size` bytes, as an export seals it.
fn seal(folder: &Path, size: u64) -> Sealed {
    let mut settings = Settings::new(folder, ByteCount(6 * (size + GIB)), None, BLOCK_SIZE);
    settings.segment_bytes = size + GIB;
    let world =
        World { files: Arc::new(Disk), clock: Arc::new(SystemClock::new()), cancel: Cancel::new() };
    let (staging, _) = Staging::open(settings, SetId::new(), world).unwrap();
    let source = "bench".parse().unwrap();
    let mut content = vec![0; usize::try_from(FILE).unwrap()];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    for number in 0..size / FILE {
        content[..8].copy_from_slice(&number.to_le_bytes());
        let item = Item {
            key: Key::from(format!("folder/{number:08}").as_str()),
            size: FILE,
            modified: Timestamp::from_parts(1_700_000_000, 0),
            latest: true,
            posix: Some(Box::new(Posix { mode: 0o644, ..Posix::default() })),
            ..Item::default()
        };
        staging.put(&source, item, &content).unwrap();
    }
    staging.seal_all().unwrap();
    staging.sealed().unwrap().pop().unwrap()
}

fn feed(sealed: &Sealed, protection: Option<Protection>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let transport = EmulatedDrive::discarding(Generation::Lto9, Generation::Lto9.capacity().0);
    let mut drive = Drive::open(Box::new(transport), clock).unwrap();
    let early_warning = ByteCount(0);
    if protection.is_some() {
        drive.wait_ready(Duration::ZERO).unwrap();
        drive.safeguard(&Safeguards { protection, key: None }).unwrap();
    }
    drive.prepare(&Preparation { block_size: sealed.block_size, early_warning }).unwrap();
    let block_bytes = usize::try_from(sealed.block_size).unwrap();
    let settings = pipeline::Settings {
        block_bytes,
        ring_bytes: RING,
        start_percent: START_PERCENT,
        guard: drive.guard(),
    };
    let feed = Feed::start(settings, &Cancel::new()).unwrap();
    let path = sealed.path.clone();
    feed.queue(SegmentFile { path, block_bytes, blocks: sealed.blocks });
    let fed = feed
        .write(|block| {
            drive.write_guarded(block)?;
            Ok::<_, DriveError>(Flow::Continue)
        })
        .unwrap();
    assert_eq!((fed.blocks, fed.digest), (sealed.blocks, Some(sealed.digest)));
    drive.flush().unwrap();
}
