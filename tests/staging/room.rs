//! The budget: what does not fit waits, is told to stop, or is refused with the reason.

use std::{fs, thread, time::Duration};

use tapevault::{
    cancel::Cancel,
    clock::{Clock, SystemClock},
    ident::SetId,
    staging::{Settings, Staging, StagingError, World},
    unit::MIB,
};

use crate::support::{BUDGET, content, file, open, settings, source, store, world};

/// Fills the staging until no further member fits, from a thread; how many it took.
fn fill(staging: &Staging) -> Result<u64, StagingError> {
    let bytes = content(1, MIB);
    for n in 0.. {
        staging.put(&source(), file(&n.to_string(), MIB), &bytes)?;
        if n > 200 {
            return Ok(n);
        }
    }
    Ok(0)
}

/// Waits until the staging has sealed all that its budget lets it.
fn wait_until_full(staging: &Staging) {
    let clock = SystemClock::new();
    let mut before = 0;
    loop {
        clock.sleep(Duration::from_secs(1));
        let now = staging.counters().members_finished();
        if now == before && now > 0 {
            return;
        }
        before = now;
    }
}

#[test]
fn a_full_staging_waits_until_the_tape_half_frees() {
    let dir = tempfile::tempdir().unwrap();
    let (staging, _) = open(dir.path());
    thread::scope(|scope| {
        let filling = scope.spawn(|| fill(&staging));
        wait_until_full(&staging);
        let used = staging.usage().unwrap();
        assert!(used.total() <= BUDGET, "{used:?}");
        assert!(used.total() > BUDGET - 3 * 16 * MIB, "{used:?}");
        let store = store(dir.path());
        while !filling.is_finished() {
            for sealed in store.sealed().unwrap() {
                assert!(staging.usage().unwrap().total() <= BUDGET);
                store.free(sealed.segment).unwrap();
            }
            let _sealed = staging.next_sealed(Duration::from_millis(20)).unwrap();
        }
        assert_eq!(filling.join().unwrap().unwrap(), 201);
    });
}

#[test]
fn who_waits_for_room_can_be_stopped() {
    for close in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let cancel = Cancel::new();
        let world = World { cancel: cancel.clone(), ..world() };
        let (staging, _) = Staging::open(settings(dir.path()), SetId::new(), world).unwrap();
        thread::scope(|scope| {
            let filling = scope.spawn(|| fill(&staging));
            wait_until_full(&staging);
            if close {
                staging.close()
            } else {
                cancel.set()
            }
            let error = filling.join().unwrap().unwrap_err();
            assert!(matches!(error, StagingError::Closed), "{error}");
        });
    }
}

#[test]
fn what_can_never_fit_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (staging, _) = open(dir.path());
    let error = staging.claim(&source(), file("huge", 17 * MIB), None).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StagingError::TooLarge { .. }) && text.contains("huge"), "{text}");
    let error = staging.put(&source(), file("short", 10), b"abc").unwrap_err();
    assert!(matches!(error, StagingError::Content { .. }), "{error}");
    let small = Settings { minimum_budget: 2 << 30, ..settings(dir.path()) };
    let error = Staging::open(small, SetId::new(), world()).unwrap_err();
    assert!(matches!(error, StagingError::TooSmall { .. }), "{error}");
}

#[test]
fn a_damaged_sealed_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (staging, _) = open(dir.path());
    staging.put(&source(), file("a", 3), b"abc").unwrap();
    staging.seal_all().unwrap();
    let store = store(dir.path());
    let sealed = store.sealed().unwrap().remove(0);
    fs::OpenOptions::new().write(true).open(&sealed.path).unwrap().set_len(5).unwrap();
    let error = store.check(&sealed).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("has 5 bytes") && text.contains(".seg"), "{text}");
    fs::remove_file(&sealed.path).unwrap();
    let error = store.check(&sealed).unwrap_err();
    assert!(error.to_string().contains("the file is gone"), "{error}");
    store.discard(sealed.segment).unwrap();
    assert!(store.sealed().unwrap().is_empty() && store.manifests().unwrap().is_empty());
    staging.put(&source(), file("b", 3), b"abc").unwrap();
    staging.seal_all().unwrap();
    let sealed = store.sealed().unwrap().remove(0);
    fs::write(sealed.path.with_extension("json"), b"{").unwrap();
    let error = store.sealed().unwrap_err();
    assert!(matches!(error, StagingError::Damaged { .. }), "{error}");
}
