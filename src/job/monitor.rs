//! What jobs tell, and what they ask: the one channel to operators and programs.

use std::{
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Clock,
    ident::{Barcode, PoolName, SourceName, Volser},
    item::{Key, Version},
    job::holes::{Hole, Span},
    position::ObjectNumber,
    source::Problem,
};

/// Version of the events' form, the `v` of every line of `--json`.
pub const EVENTS_VERSION: u32 = 1;

/// How often progress is told at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Takes events, shows progress, and asks the operator.
pub trait Monitor: Send + Sync + fmt::Debug {
    /// Takes one event.
    fn event(&self, event: &Event<'_>);

    /// Asks for something that only hands can do, and waits for the answer.
    fn ask(&self, prompt: &Prompt) -> Answer;
}

/// The stages of a job, in the order of the data's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The source says what there is.
    List,
    /// What is new is told from what is held.
    Plan,
    /// Bytes come into staging.
    Fetch,
    /// Segments are closed and digested.
    Seal,
    /// Segments go to the drive.
    Write,
    /// The drive's buffer goes to the medium, and the position agrees.
    Flush,
    /// The catalog takes note.
    Commit,
    /// The volume is read back.
    Verify,
    /// The volume leaves the drive.
    Eject,
    /// Files come back from tape.
    Restore,
    /// The catalog is made anew from a volume.
    Rebuild,
}

/// What a job tells.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// A job began.
    JobStarted {
        /// Its name.
        job: &'a str,
        /// Which media.
        pool: Option<&'a PoolName>,
    },
    /// A stage began.
    StageStarted {
        /// Which.
        stage: Stage,
        /// On what: a source or a volume.
        of: &'a str,
    },
    /// A stage ended.
    StageEnded {
        /// Which.
        stage: Stage,
        /// On what: a source or a volume.
        of: &'a str,
        /// Things done: items, segments or members.
        count: u64,
        /// Bytes done.
        bytes: u64,
    },
    /// What one source's plan comes to.
    Planned {
        /// The source.
        source: &'a SourceName,
        /// Items that it lists.
        listed: u64,
        /// Items that are held already.
        held: u64,
        /// Items to fetch.
        wanted: u64,
        /// Bytes to fetch.
        wanted_bytes: u64,
        /// Items of the last run that are there no longer.
        gone: u64,
    },
    /// Cartridges will have to be changed by hand.
    SwapsExpected {
        /// How many more times.
        swaps: u64,
        /// Why.
        why: &'a str,
    },
    /// How far the job is.
    Progress(Snapshot),
    /// Something about one item.
    Finding {
        /// The source.
        source: &'a SourceName,
        /// The item.
        #[serde(flatten)]
        key: &'a Key,
        /// What about it.
        problem: Problem,
        /// The source's own words.
        detail: String,
    },
    /// A volume is in a drive and its label was read.
    Mounted {
        /// The volume.
        volser: Volser,
        /// The drive.
        drive: &'a str,
    },
    /// A cartridge was labelled.
    Labelled {
        /// The volume.
        volser: Volser,
        /// Its pool.
        pool: &'a PoolName,
    },
    /// Segments were found on a volume that the catalog did not know of.
    Adopted {
        /// The volume.
        volser: Volser,
        /// How many.
        segments: u64,
    },
    /// Everything up to here is on tape: flushed, and the position agreed.
    Checkpoint {
        /// The volume.
        volser: Volser,
        /// Where it ends.
        object: ObjectNumber,
        /// Segments that the checkpoint added.
        segments: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// How steadily a drive was fed in a session that ended.
    Streamed(Streamed<'a>),
    /// A volume takes no more.
    VolumeClosed {
        /// The volume.
        volser: Volser,
        /// Why.
        why: &'a str,
    },
    /// Something that is wrong with a volume, found on reading or before writing.
    VolumeFinding {
        /// The volume.
        volser: Volser,
        /// What.
        what: String,
    },
    /// A volume was read back.
    Verified {
        /// The volume.
        volser: Volser,
        /// Segments that agreed.
        segments: u64,
        /// Bytes read.
        bytes: u64,
        /// What did not agree.
        findings: u64,
        /// Whether the volume was read whole, and not a sample.
        whole: bool,
    },
    /// The map of what a volume does not give, in the order in which it lies there.
    Holes {
        /// The volume.
        volser: Volser,
        /// Its sticker.
        barcode: Option<Barcode>,
        /// Where.
        holes: &'a [Hole],
        /// How many more there are.
        more: u64,
    },
    /// What could be read of a file that no copy gives whole is kept beside its place.
    Salvaged(Salvaged<'a>),
    /// A volume left the drive.
    Ejected {
        /// The volume.
        volser: Volser,
        /// Where it is now.
        to: String,
    },
    /// A cartridge was moved by the library.
    Moved {
        /// Its barcode, or what else is known of it.
        cartridge: &'a str,
        /// Where it was: `slot 4096`, `mail slot 16`.
        from: String,
        /// Where it is.
        to: String,
    },
    /// A drive was cleaned, or was to be.
    Cleaned {
        /// The drive.
        drive: &'a str,
        /// The cleaning cartridge.
        cartridge: &'a str,
        /// What came of it: `clean`, `still-asked`, `cartridge-expired`, `cartridge-invalid`.
        outcome: &'a str,
    },
    /// What a restore comes to.
    RestorePlanned(RestorePlanned),
    /// What a restore reads in staging, where it still stands: no cartridge is needed for it.
    RestoreStaged(RestoreStaged),
    /// One cartridge of a restore, in the order in which they are wanted.
    RestoreVolume(RestoreVolume),
    /// An item did not come back, or not in full.
    NotRestored(Lost<'a>),
    /// A restore ended.
    RestoreEnded(RestoreEnded),
    /// A file came back.
    Restored {
        /// The item.
        #[serde(flatten)]
        key: &'a Key,
        /// Its path below the destination.
        path: String,
        /// Whether it was there before, and agreed with the catalog.
        already: bool,
    },
    /// Something else that is worth a line.
    Notice {
        /// The line.
        text: String,
    },
    /// A job ended.
    JobEnded {
        /// Its name.
        job: &'a str,
        /// How: `done`, `done-with-findings`, `planned` or `planned-with-findings` (nothing was
        /// done), `stopped`, `failed`.
        outcome: &'a str,
        /// Items that are not archived although they should be.
        losses: u64,
        /// Other findings.
        findings: u64,
    },
}

/// How steadily a drive was fed, and who held it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Streamed<'a> {
    /// The volume.
    pub volser: Volser,
    /// The drive.
    pub drive: &'a str,
    /// Bytes that it was given, before any compression of its own.
    pub bytes: u64,
    /// Bytes a second, while there was something to write.
    pub rate: u64,
    /// Bytes a second at which the drive writes what it cannot compress, if that is known.
    pub native_rate: Option<u64>,
    /// Bytes a second below which it has to stop and start, if that is known.
    pub least_rate: Option<u64>,
    /// How often it started from a stand, as far as the host can tell: once at least, and again
    /// after each pause that is longer than a drive's memory bridges.
    pub starts: u64,
    /// Milliseconds within the drive's own commands.
    pub drive_ms: u64,
    /// Milliseconds within segments, until the next block was read.
    pub disk_ms: u64,
    /// Milliseconds between segments, until one was sealed.
    pub source_ms: u64,
    /// Who took most of the time.
    pub held_up_by: HeldUp,
}

/// Who held a drive up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldUp {
    /// Segments were not sealed in time.
    Source,
    /// Segments were not read in time.
    StagingDisk,
    /// Nobody: it is as fast as it is.
    Drive,
}

/// What a restore comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RestorePlanned {
    /// Items to restore.
    pub items: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// How many cartridges will be read.
    pub volumes: u64,
    /// How many of the items need no cartridge, because the catalog knows all about them.
    pub without_tape: u64,
}

/// What a restore came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RestoreEnded {
    /// Items that are in their place.
    pub restored: u64,
    /// Those of them that were there before, and agreed with the catalog.
    pub already: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Items that are not.
    pub not_restored: u64,
    /// Bytes that were read from tape.
    pub read_bytes: u64,
    /// Bytes that were read in staging.
    pub staged_bytes: u64,
}

/// What a restore reads in staging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestoreStaged {
    /// Sealed segments that are read.
    pub segments: u64,
    /// Members to read.
    pub members: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What one cartridge of a restore comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestoreVolume {
    /// From 1.
    pub number: u64,
    /// The volume.
    pub volser: Volser,
    /// Its sticker.
    pub barcode: Option<Barcode>,
    /// Where it is.
    pub place: String,
    /// Members to read.
    pub members: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks to read.
    pub blocks: u64,
    /// Bytes of these blocks.
    pub read_bytes: u64,
    /// How often the tape is moved to another place.
    pub locates: u64,
    /// How long it will take, in seconds, from the cartridge's arrival to its leaving.
    pub seconds: u64,
}

/// An item that did not come back, or not in full.
#[derive(Debug, Serialize)]
pub struct Lost<'a> {
    /// The source.
    pub source: &'a SourceName,
    /// The item.
    #[serde(flatten)]
    pub key: &'a Key,
    /// Its version.
    #[serde(skip_serializing_if = "Version::is_none")]
    pub version: &'a Version,
    /// Why.
    pub why: NotRestored,
    /// The device's or the system's own words.
    pub detail: String,
}

/// What is kept of a file that no copy gives whole.
#[derive(Debug, Serialize)]
pub struct Salvaged<'a> {
    /// The source.
    pub source: &'a SourceName,
    /// The item.
    #[serde(flatten)]
    pub key: &'a Key,
    /// Its version.
    #[serde(skip_serializing_if = "Version::is_none")]
    pub version: &'a Version,
    /// Where it is kept, below the destination.
    pub path: String,
    /// Bytes of it that could be read.
    pub bytes: u64,
    /// Bytes of the file that could not: zeros stand there. None when all were read, and something
    /// among them is wrong.
    pub missing: &'a [Span],
}

/// Why an item did not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotRestored {
    /// The run saw it and could not archive it.
    NeverArchived,
    /// It was sealed and is on no volume, and staging does not have it.
    Staged,
    /// No volume holds it any more.
    NoCopy,
    /// No volume that could be had holds it.
    NoVolume,
    /// What is on tape cannot be read, or does not agree with its digest, on any volume.
    Damaged,
    /// Something is there already.
    Exists,
    /// It is a device node, for which nobody asked.
    Device,
    /// The destination does not take it.
    Refused,
    /// It is there, but not all that is known about it (attributes, owner, mode, times).
    Incomplete,
}

/// Something that only hands can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "prompt", rename_all = "kebab-case")]
pub enum Prompt {
    /// Put this cartridge into the drive.
    Load {
        /// The drive.
        drive: String,
        /// The volume.
        volser: Volser,
        /// Its sticker.
        barcode: Option<Barcode>,
        /// Where it was last.
        place: String,
    },
    /// Put a cartridge that may be written into the drive.
    LoadScratch {
        /// The drive.
        drive: String,
        /// The pool that it is for.
        pool: PoolName,
        /// Which copy is to be written, from 1.
        copy: u8,
    },
    /// Take this cartridge out of the mail slot or the drive, and type its barcode.
    Remove {
        /// The volume.
        volser: Volser,
    },
    /// Type the volser to go on.
    Confirm {
        /// What will happen.
        what: String,
        /// What has to be typed.
        volser: Volser,
    },
}

/// What the operator answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done; what was typed, if anything.
    Done(String),
    /// Nobody is there, or does not want to.
    Declined,
}

/// How far a job is, counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Items listed.
    pub listed: u64,
    /// Items to fetch.
    pub wanted: u64,
    /// Bytes to fetch.
    pub wanted_bytes: u64,
    /// Items fetched.
    pub fetched: u64,
    /// Bytes fetched.
    pub fetched_bytes: u64,
    /// Bytes in sealed segments.
    pub sealed_bytes: u64,
    /// Bytes that have to go to tape, as far as is known, over all copies.
    pub to_write_bytes: u64,
    /// Bytes that the drive took.
    pub written_bytes: u64,
    /// Bytes that were on tape at the last checkpoint.
    pub on_tape_bytes: u64,
    /// Bytes that have to be read back or restored, as far as is known.
    pub to_read_bytes: u64,
    /// Bytes read back or restored.
    pub read_bytes: u64,
    /// Bytes of files that are in their place already and are compared, as far as is known.
    pub to_compare_bytes: u64,
    /// Bytes of them that were compared.
    pub compared_bytes: u64,
}

macro_rules! counters {
    ($($field:ident),*) => {
        /// The same as [`Snapshot`], counted from many threads.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = concat!("See [`Snapshot::", stringify!($field), "`].")] pub $field: AtomicU64,)*
            told: Mutex<Option<Duration>>,
        }

        impl Counters {
            /// The counts as they are now.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($field: self.$field.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters!(
    listed,
    wanted,
    wanted_bytes,
    fetched,
    fetched_bytes,
    sealed_bytes,
    to_write_bytes,
    written_bytes,
    on_tape_bytes,
    to_read_bytes,
    read_bytes,
    to_compare_bytes,
    compared_bytes
);

impl Counters {
    /// Adds to one of the counts.
    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    /// Tells the monitor how far the job is, unless it was told a moment ago.
    pub fn tell(&self, monitor: &dyn Monitor, clock: &dyn Clock) {
        let now = clock.elapsed();
        {
            let mut told = self.told.lock().expect("no holder panics");
            if told.is_some_and(|told| now.saturating_sub(told) < PROGRESS_EVERY) {
                return;
            }
            *told = Some(now);
        }
        monitor.event(&Event::Progress(self.snapshot()));
    }
}

/// Tells nobody and declines everything: for tests and for programs without a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn event(&self, event: &Event<'_>) {
        tracing::debug!(?event, "event");
    }

    fn ask(&self, prompt: &Prompt) -> Answer {
        tracing::info!(?prompt, "declined, nobody is there");
        Answer::Declined
    }
}
