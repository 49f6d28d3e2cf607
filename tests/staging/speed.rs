//! How fast members go in. Run by hand: it prints, and holds nothing.

use std::{
    env,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use tapevault::{
    clock::{Clock, SystemClock},
    ident::SetId,
    staging::{Settings, Staging},
    unit::{ByteCount, GIB},
};

use crate::support::{content, file, source, world};

/// `STAGING_SPEED_DIR` says where; a directory in memory by itself.
#[test]
#[ignore = "a measurement"]
fn small_files_a_second() {
    let base = env::var_os("STAGING_SPEED_DIR").map_or(PathBuf::from("/dev/shm"), PathBuf::from);
    let clock = SystemClock::new();
    let bytes = content(1, 4096);
    for threads in [1, 2] {
        let dir = tempfile::tempdir_in(&base).unwrap();
        let settings = Settings::new(dir.path(), ByteCount(8 * GIB), None, 512 << 10);
        let (staging, _) = Staging::open(settings, SetId::new(), world()).unwrap();
        let next = AtomicU64::new(0);
        let begin = clock.elapsed();
        let files = 500_000;
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= files {
                            return;
                        }
                        let item = file(&format!("some/folder/{}/file-{n}", n / 1000), 4096);
                        staging.put(&source(), item, &bytes).unwrap();
                    }
                });
            }
        });
        let put = clock.elapsed() - begin;
        staging.seal_all().unwrap();
        let all = clock.elapsed() - begin;
        let rate = |time: std::time::Duration| files as f64 / time.as_secs_f64();
        println!(
            "{threads} threads: {:.0} puts a second, {:.0} with sealing",
            rate(put),
            rate(all)
        );
    }
}
