//! What became of each item: told, counted, and written down where a name is not the true one.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

use crate::{
    crash,
    destination::{DestinationError, Restored},
    digest::Digest,
    ident::SourceName,
    item::{Item, Key, Version},
    job::{
        Desk, JobError,
        monitor::{Event, Lost},
        restore::{missed::Missed, wanted::Wanted},
    },
    printable::Printable,
    sorter::Sorter,
};

pub(super) use crate::job::monitor::NotRestored;

/// Where names that differ from the keys are written down, in the destination.
pub(super) const RECORDS: &str = "restored.jsonl";
/// How many such files one destination takes.
const RECORDS_MAX: u32 = 10_000;
/// What the names take of memory before they spill.
const RECORDS_BYTES: usize = 8 << 20;

/// Takes what became of each item.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    pub(super) desk: &'a Desk,
    to: &'a Path,
    records: Option<Records>,
    /// Items that are in their place.
    pub(super) restored: u64,
    /// Those of them that were there before.
    pub(super) already: u64,
    /// Bytes of their content.
    pub(super) bytes: u64,
    /// Items that are not.
    pub(super) lost: u64,
    /// Directories that were there before.
    pub(super) kept: u64,
    /// What volumes did not give.
    pub(super) missed: Missed,
}

/// The lines of [`RECORDS`], by the names here: the same restore again says the same.
#[derive(Debug)]
struct Records {
    lines: Sorter,
    count: u64,
}

/// One line of [`RECORDS`].
#[derive(Serialize)]
struct Line<'a> {
    source: &'a SourceName,
    #[serde(flatten)]
    key: &'a Key,
    #[serde(skip_serializing_if = "Version::is_none")]
    version: &'a Version,
    /// What it is called here, relative to the destination.
    #[serde(flatten)]
    here: Here,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a Digest>,
}

/// `{"path": "text"}` when it is UTF-8, `{"path_b64": "…"}` when it is not.
#[derive(Serialize)]
struct Here {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

impl Here {
    fn new(path: &[u8]) -> Self {
        match std::str::from_utf8(path) {
            Ok(text) => Self { path: Some(text.to_owned()), path_b64: None },
            Err(_) => Self { path: None, path_b64: Some(BASE64_STANDARD.encode(path)) },
        }
    }
}

impl<'a> Outcome<'a> {
    pub(super) fn new(desk: &'a Desk, to: &'a Path) -> Self {
        Self {
            desk,
            to,
            records: None,
            restored: 0,
            already: 0,
            bytes: 0,
            lost: 0,
            kept: 0,
            missed: Missed::default(),
        }
    }

    /// An item is in its place.
    pub(super) fn restored(
        &mut self,
        wanted: &Wanted,
        digest: Option<&Digest>,
        restored: Restored,
    ) -> Result<(), JobError> {
        let Wanted { source, item, .. } = wanted;
        if restored.stand_in || wanted.beside {
            self.record(source, item, digest, &restored.path)?;
        }
        self.count(source, item, &restored);
        Ok(())
    }

    /// A symlink or a directory that waited for the end is in its place, or not.
    pub(super) fn deferred(
        &mut self,
        item: &Item,
        result: Result<Restored, DestinationError>,
    ) -> Result<(), JobError> {
        let restored = match result {
            Ok(restored) => restored,
            Err(DestinationError::Exists { .. }) if item.kind == crate::item::Kind::Directory => {
                self.kept += 1;
                return Ok(());
            }
            Err(error) => {
                let path = path_of(&error).unwrap_or(&item.key.0).to_vec();
                let Some(source) = Self::source_of(&path) else { return Err(fatal(error)) };
                return self.refused(&source, item, error);
            }
        };
        let Some(source) = Self::source_of(&restored.path) else { return Ok(()) };
        if restored.stand_in {
            self.record(&source, item, None, &restored.path)?;
        }
        self.count(&source, item, &restored);
        Ok(())
    }

    /// The destination did not take an item.
    ///
    /// # Errors
    ///
    /// When it takes nothing any more.
    pub(super) fn refused(
        &mut self,
        source: &SourceName,
        item: &Item,
        error: DestinationError,
    ) -> Result<(), JobError> {
        let why = match &error {
            DestinationError::Exists { .. } => NotRestored::Exists,
            DestinationError::Device { .. } => NotRestored::Device,
            DestinationError::Item { .. } => NotRestored::Refused,
            DestinationError::Full { .. }
            | DestinationError::Root { .. }
            | DestinationError::Deferred(_) => return Err(fatal(error)),
        };
        let detail = crate::causes::chain(&error);
        self.lost_item(source, (&item.key, &item.version), why, &detail)
    }

    /// An item was put together from several damaged copies.
    pub(super) fn put_together(&self, wanted: &Wanted) {
        let key = wanted.item.key.printable();
        self.desk.notice(format!(
            "{}: {key}: no copy of it is whole, and all of them together are",
            wanted.source
        ));
    }

    /// An item does not come back.
    pub(super) fn lost(
        &mut self,
        wanted: &Wanted,
        why: NotRestored,
        detail: &str,
    ) -> Result<(), JobError> {
        let Wanted { source, item, .. } = wanted;
        self.lost_item(source, (&item.key, &item.version), why, detail)
    }

    /// An item does not come back, of which only the name is known.
    pub(super) fn lost_item(
        &mut self,
        source: &SourceName,
        (key, version): (&Key, &Version),
        why: NotRestored,
        detail: &str,
    ) -> Result<(), JobError> {
        self.lost += 1;
        self.desk.ledger.note(1);
        let detail = detail.to_owned();
        self.desk.tell(&Event::NotRestored(Lost { source, key, version, why, detail }));
        Ok(())
    }

    fn count(&mut self, source: &SourceName, item: &Item, restored: &Restored) {
        self.restored += 1;
        self.already += u64::from(restored.already);
        self.bytes += item.size;
        let path = Printable(&restored.path).to_string();
        self.desk.tell(&Event::Restored { key: &item.key, path, already: restored.already });
        if !restored.left_out.is_empty() {
            self.desk.ledger.note(1);
            let detail = restored.left_out.join(", ");
            let why = NotRestored::Incomplete;
            let (key, version) = (&item.key, &item.version);
            self.desk.tell(&Event::NotRestored(Lost { source, key, version, why, detail }));
        }
    }

    /// Each source has a folder of its own.
    fn source_of(path: &[u8]) -> Option<SourceName> {
        let first = path.split(|byte| *byte == b'/').next()?;
        std::str::from_utf8(first).ok()?.parse().ok()
    }

    fn record(
        &mut self,
        source: &SourceName,
        item: &Item,
        digest: Option<&Digest>,
        path: &[u8],
    ) -> Result<(), JobError> {
        let scratch = &self.desk.scratch;
        let records = self.records.get_or_insert_with(|| Records {
            lines: Sorter::new(scratch, RECORDS_BYTES),
            count: 0,
        });
        let here = Here::new(path);
        let line = Line { source, key: &item.key, version: &item.version, here, digest };
        let mut text = serde_json::to_vec(&line).expect("names and digests");
        text.push(b'\n');
        records.count += 1;
        records.lines.push_keyed(path, &text).map_err(JobError::sorting)
    }

    /// Writes the file of names, if there is any to tell, under the name `temporary` first. Returns
    /// where it is, and how many names it tells.
    pub(super) fn finish_records(
        &mut self,
        temporary: &Path,
    ) -> Result<Option<(PathBuf, u64)>, JobError> {
        let Some(Records { lines, count }) = self.records.take() else { return Ok(None) };
        let file = File::create_new(temporary).map_err(JobError::file("make", temporary))?;
        let mut to = BufWriter::new(file);
        for record in lines.finish().map_err(JobError::sorting)? {
            let record = record.map_err(JobError::sorting)?;
            to.write_all(record.value()).map_err(JobError::file("write", temporary))?;
        }
        let written = to.flush().and_then(|()| to.get_ref().sync_all());
        written.map_err(JobError::file("write", temporary))?;
        crash::point("restore.records.written");
        let path = name_records(temporary, self.to)?;
        Ok(Some((path, count)))
    }
}

/// Gives the file of names its own name, unless there is one that says the same.
fn name_records(temporary: &Path, to: &Path) -> Result<PathBuf, JobError> {
    let (stem, ending) = RECORDS.split_once('.').expect("it has an ending");
    let names = (2..RECORDS_MAX).map(|number| format!("{stem}-{number}.{ending}"));
    for name in std::iter::once(RECORDS.to_owned()).chain(names) {
        let path = to.join(name);
        // A link never replaces anything.
        let linked = fs::hard_link(temporary, &path);
        let is_there = match linked {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                is_same(temporary, &path).unwrap_or(false)
            }
            Err(error) => return Err(JobError::file("name", &path)(error)),
        };
        if is_there {
            fs::remove_file(temporary).map_err(JobError::file("remove", temporary))?;
            return Ok(path);
        }
    }
    Ok(temporary.to_owned())
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let facts = fs::symlink_metadata(other)?;
    if !facts.is_file() || facts.len() != fs::metadata(one)?.len() {
        return Ok(false);
    }
    let digest = |path: &Path| -> io::Result<blake3::Hash> {
        Ok(blake3::Hasher::new().update_reader(File::open(path)?)?.finalize())
    };
    Ok(digest(one)? == digest(other)?)
}

fn path_of(error: &DestinationError) -> Option<&[u8]> {
    match error {
        DestinationError::Full { path, .. }
        | DestinationError::Exists { path }
        | DestinationError::Device { path }
        | DestinationError::Item { path, .. } => Some(path),
        DestinationError::Root { .. } | DestinationError::Deferred(_) => None,
    }
}

/// The destination takes nothing any more.
pub(super) fn fatal(error: DestinationError) -> JobError {
    let operation = "restore to";
    match error {
        DestinationError::Root { operation, path, source } => {
            JobError::File { operation: words(operation), path: Some(path), cause: source }
        }
        DestinationError::Full { path, source } | DestinationError::Item { path, source, .. } => {
            let path = Some(Printable(&path).to_string().into());
            JobError::File { operation, path, cause: source }
        }
        DestinationError::Exists { path } | DestinationError::Device { path } => {
            let path = Some(Printable(&path).to_string().into());
            JobError::File { operation, path, cause: io::ErrorKind::AlreadyExists.into() }
        }
        DestinationError::Deferred(cause) => JobError::sorting(cause),
    }
}

/// The destination's participles as the verbs that [`JobError::File`] wants.
fn words(operation: &'static str) -> &'static str {
    match operation {
        "making" => "make",
        "opening" => "open",
        "listing" => "list",
        "writing to" => "write to",
        "syncing" => "sync",
        other => other,
    }
}
