//! Reading volumes back: every byte against the digests that the tape itself has and the catalog's.

use std::convert::Infallible;

use crate::{
    catalog::{Catalog, Checked, CopyState, Evidence, Method, SegmentCopy, Verdict},
    digest::Digest,
    drive::{DriveError, ReadOutcome},
    ident::{SegmentId, VolumeId},
    job::{
        Desk, JobError,
        monitor::{Counters, Event, Stage},
        rig::Station,
        tape::BLOCK_MAX,
    },
    media::Volume,
    pipeline::{self, DrainError, Fill, Flow, drain},
};

/// Memory between drive and digest.
const RING_BYTES: usize = 64 << 20;

/// What of a volume is read.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Everything on it.
    Whole,
    /// These segments.
    Segments(Vec<SegmentId>),
    /// So many segments, spread over it.
    Sample(u32),
}

/// Reads back the volume in the drive and records what that showed. Returns how many findings
/// there were.
///
/// # Errors
///
/// When the drive or the catalog fail. What does not agree is a finding, and the rest is read.
pub fn volume(
    catalog: &Catalog,
    station: &mut Station,
    id: VolumeId,
    scope: &Scope,
    desk: &Desk,
) -> Result<u64, JobError> {
    let Some(volume) = catalog.volume_by_id(id)? else {
        return Err(JobError::NotHeld { what: format!("the catalog has no volume {id}") });
    };
    let copies = chosen(catalog, &volume, scope)?;
    let mut bytes = 0;
    for copy in &copies {
        bytes += catalog.segment(copy.segment)?.map_or(0, |segment| segment.bytes);
    }
    Counters::add(&desk.counters.to_read_bytes, bytes);
    desk.tell(&Event::StageStarted { stage: Stage::Verify, of: volume.volser.as_str() });
    // A cartridge that was threaded anew proves more than one that never left the head.
    let failed = station.failed(Some(&volume));
    station.drive.unload().map_err(&failed)?;
    station.drive.load().map_err(&failed)?;
    let mut checked = Vec::new();
    let mut findings = 0;
    for copy in &copies {
        desk.go_on()?;
        let verdict = match segment(catalog, station, &volume, copy, desk)? {
            Ok(()) => Verdict::Good,
            Err(what) => {
                findings += 1;
                desk.tell(&Event::VolumeFinding { volser: volume.volser, what });
                Verdict::Unreadable
            }
        };
        checked.push(Checked { segment: copy.segment, verdict });
    }
    desk.ledger.note(findings);
    let good = catalog.copies_on(id)?.iter().filter(|copy| copy.state.is_good()).count();
    let whole = checked.len() == good;
    catalog.record_verification(
        &Evidence {
            volume: id,
            drive: station.describe(),
            method: Method::AfterReload,
            when: desk.clock.now(),
            whole,
            findings,
        },
        &checked,
    )?;
    desk.tell(&Event::Verified {
        volser: volume.volser,
        segments: checked.len() as u64 - findings,
        bytes,
        findings,
        whole,
    });
    Ok(findings)
}

fn chosen(catalog: &Catalog, volume: &Volume, scope: &Scope) -> Result<Vec<SegmentCopy>, JobError> {
    let mut copies = catalog.copies_on(volume.id)?;
    copies.retain(|copy| copy.state != CopyState::Void);
    match scope {
        Scope::Whole => {}
        Scope::Segments(segments) => copies.retain(|copy| segments.contains(&copy.segment)),
        Scope::Sample(count) => {
            let count = usize::try_from(*count).expect("32 bits fit memory").max(1);
            let step = copies.len().div_ceil(count).max(1);
            copies = copies.into_iter().step_by(step).collect();
        }
    }
    Ok(copies)
}

/// Reads one segment. What does not agree is said in words.
fn segment(
    catalog: &Catalog,
    station: &mut Station,
    volume: &Volume,
    copy: &SegmentCopy,
    desk: &Desk,
) -> Result<Result<(), String>, JobError> {
    let Some(segment) = catalog.segment(copy.segment)? else {
        return Ok(Err(format!("the catalog has no segment {}", copy.segment)));
    };
    let failed = station.failed(Some(volume));
    station.drive.locate(copy.object).map_err(&failed)?;
    let settings =
        pipeline::Settings { block_bytes: BLOCK_MAX, ring_bytes: RING_BYTES, start_percent: 0 };
    let drive = &mut station.drive;
    let mut left = segment.blocks;
    let mut hasher = blake3::Hasher::new();
    let read = drain(
        settings,
        &desk.cancel,
        |buffer| {
            if left == 0 {
                return Ok(Fill::End);
            }
            left -= 1;
            Ok::<_, DriveError>(match drive.read_block(buffer)? {
                ReadOutcome::Block(bytes) => Fill::Block(bytes, ()),
                ReadOutcome::LongBlock { .. } | ReadOutcome::Filemark | ReadOutcome::EndOfData => {
                    Fill::End
                }
            })
        },
        |(), block: &[u8]| {
            hasher.update(block);
            Counters::add(&desk.counters.read_bytes, block.len() as u64);
            desk.progress();
            Ok::<_, Infallible>(Flow::Continue)
        },
    );
    match read {
        Ok(()) if Digest::from_hasher(&hasher) == segment.digest => Ok(Ok(())),
        Ok(()) => Ok(Err(format!("segment {} disagrees with its digest", segment.id))),
        Err(DrainError::Reader(error @ DriveError::Medium(_))) => {
            Ok(Err(format!("segment {} cannot be read: {error}", segment.id)))
        }
        Err(DrainError::Reader(error)) => Err(failed(error)),
        Err(DrainError::Consumer(never)) => match never {},
        Err(DrainError::Cancelled) => Err(JobError::Stopped),
    }
}
