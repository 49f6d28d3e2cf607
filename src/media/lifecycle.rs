//! What may become of a volume: pure decisions.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    media::{Status, Volume},
};

/// How far the clock may be behind the catalog's newest event before it is not believed.
const BEHIND: Duration = Duration::from_secs(24 * 3600);
/// How far the clock may be ahead of the catalog's newest event before it is not believed.
const AHEAD: Duration = Duration::from_secs(5 * 365 * 24 * 3600);

/// What speaks against writing over a volume. All have to be false.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    /// The catalog does not know it.
    #[error("this catalog does not know the volume")]
    Unknown,
    /// Its label's date has not passed.
    #[error("its label protects it until {until}")]
    Protected {
        /// The date.
        until: Timestamp,
    },
    /// It holds the only good copy of something.
    #[error("{segments} segments on it have too few verified copies elsewhere")]
    Needed {
        /// Of how many segments.
        segments: u64,
    },
    /// The clock cannot be believed, so no date has passed.
    #[error("the clock says {now}, but the newest event in the catalog is of {newest}")]
    Clock {
        /// What the clock says.
        now: Timestamp,
        /// The newest event.
        newest: Timestamp,
    },
    /// It is write-once.
    #[error("it is a write-once cartridge")]
    Worm,
    /// It is retired or was destroyed.
    #[error("it is retired")]
    Retired,
}

/// Whether a clock can be believed that says `now` when the newest event was at `newest`.
///
/// # Errors
///
/// When it went back by more than a day, or forward by more than five years.
pub fn plausible(now: Timestamp, newest: Option<Timestamp>) -> Result<(), Kept> {
    let Some(newest) = newest else { return Ok(()) };
    if newest.since(now) > BEHIND || now.since(newest) > AHEAD {
        return Err(Kept::Clock { now, newest });
    }
    Ok(())
}

/// Whether a volume that the catalog knows may be written over.
///
/// `needed` counts the segments on it that do not have enough verified copies elsewhere.
///
/// # Errors
///
/// The first reason why not.
pub fn may_overwrite(
    volume: &Volume,
    needed: u64,
    now: Timestamp,
    newest: Option<Timestamp>,
) -> Result<(), Kept> {
    plausible(now, newest)?;
    if volume.worm {
        return Err(Kept::Worm);
    }
    match volume.status {
        Status::Retired => return Err(Kept::Retired),
        Status::Scratch
        | Status::Appendable
        | Status::Full
        | Status::Suspect
        | Status::Destroyed => {}
    }
    if let Some(until) = volume.protected_until
        && now < until
    {
        return Err(Kept::Protected { until });
    }
    if needed > 0 {
        return Err(Kept::Needed { segments: needed });
    }
    Ok(())
}

/// Whether a volume in this status takes more data, given that its cartridge does.
pub fn takes_data(status: Status) -> bool {
    match status {
        Status::Scratch | Status::Appendable => true,
        Status::Full | Status::Suspect | Status::Retired | Status::Destroyed => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        digest::Digest,
        ident::VolumeId,
        media::Custody,
        position::{FileNumber, ObjectNumber},
    };

    fn at(day: i64) -> Timestamp {
        Timestamp::from_parts(1_700_000_000 + day * 86_400, 0)
    }

    fn volume(status: Status, protected_until: Option<Timestamp>, worm: bool) -> Volume {
        Volume {
            id: VolumeId::new(),
            volser: "A00001".parse().unwrap(),
            barcode: None,
            mam_serial: String::new(),
            pool: "p".parse().unwrap(),
            status,
            custody: Custody::Unknown,
            custody_since: at(0),
            density: 0x5e,
            worm,
            emulated: false,
            block_size: 512 << 10,
            capacity_bytes: 0,
            created: at(0),
            protected_until,
            label_digest: Digest::of(b""),
            end: ObjectNumber(0),
            end_file: FileNumber(0),
            last_index: None,
            verified: None,
        }
    }

    #[test]
    fn nothing_needed_is_overwritten() {
        let kept =
            |volume: &Volume, needed, now, newest| may_overwrite(volume, needed, now, newest);
        let plain = volume(Status::Full, None, false);
        assert_eq!(kept(&plain, 0, at(10), Some(at(9))), Ok(()));
        assert_eq!(kept(&plain, 3, at(10), None), Err(Kept::Needed { segments: 3 }));
        let protected = volume(Status::Scratch, Some(at(20)), false);
        assert_eq!(kept(&protected, 0, at(10), None), Err(Kept::Protected { until: at(20) }));
        assert_eq!(kept(&protected, 0, at(21), None), Ok(()));
        assert_eq!(kept(&volume(Status::Full, None, true), 0, at(1), None), Err(Kept::Worm));
        assert_eq!(kept(&volume(Status::Retired, None, false), 0, at(1), None), Err(Kept::Retired));
    }

    #[test]
    fn a_clock_that_jumped_lets_no_date_pass() {
        let protected = volume(Status::Full, Some(at(20)), false);
        let far = at(20_000);
        assert!(matches!(may_overwrite(&protected, 0, far, Some(at(1))), Err(Kept::Clock { .. })));
        assert!(matches!(plausible(at(0), Some(at(3))), Err(Kept::Clock { .. })));
        assert_eq!(plausible(at(3), Some(at(3))), Ok(()));
    }
}
