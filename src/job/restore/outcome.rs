//! What became of each item: told, counted, and written down where a name is not the true one.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

use crate::{
    destination::{DestinationError, Restored},
    digest::Digest,
    ident::SourceName,
    item::{Item, Key, Version},
    job::{
        Desk, JobError,
        monitor::{Event, Lost},
        restore::wanted::Wanted,
    },
    printable::Printable,
};

pub(super) use crate::job::monitor::NotRestored;

/// Where names that differ from the keys are written down, in the destination.
pub(super) const RECORDS: &str = "restored.jsonl";
/// How many such files one destination takes.
const RECORDS_MAX: u32 = 10_000;

/// Takes what became of each item.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    desk: &'a Desk,
    to: &'a Path,
    records: Option<Records>,
    /// Items that are in their place.
    pub(super) restored: u64,
    /// Bytes of their content.
    pub(super) bytes: u64,
    /// Items that are not.
    pub(super) lost: u64,
    /// Directories that were there before.
    pub(super) kept: u64,
}

/// The file of names, under another name until the end.
#[derive(Debug)]
struct Records {
    path: PathBuf,
    to: BufWriter<File>,
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
        Self { desk, to, records: None, restored: 0, bytes: 0, lost: 0, kept: 0 }
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
        let detail = crate::job::findings::chain(&error);
        self.lost_item(source, (&item.key, &item.version), why, &detail)
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
        self.bytes += item.size;
        let path = Printable(&restored.path).to_string();
        self.desk.tell(&Event::Restored { key: &item.key, path });
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
        if self.records.is_none() {
            self.records = Some(Records::new(self.to)?);
        }
        let records = self.records.as_mut().expect("just made");
        let here = Here::new(path);
        records.push(&Line { source, key: &item.key, version: &item.version, here, digest })
    }

    /// Gives the file of names its own name, if there is any to tell. Returns it.
    pub(super) fn finish_records(&mut self) -> Result<Option<(PathBuf, u64)>, JobError> {
        self.records.take().map(|records| records.finish(self.to)).transpose()
    }
}

impl Records {
    fn new(to: &Path) -> Result<Self, JobError> {
        // Nothing that is restored may begin so.
        let name = format!(".tapevault-restore-{}.jsonl", uuid::Uuid::new_v4().simple());
        let path = to.join(name);
        let file = File::create_new(&path).map_err(JobError::file("make", &path))?;
        Ok(Self { path, to: BufWriter::new(file), count: 0 })
    }

    fn push(&mut self, line: &Line<'_>) -> Result<(), JobError> {
        self.count += 1;
        let mut text = serde_json::to_vec(line).expect("names and digests");
        text.push(b'\n');
        self.to.write_all(&text).map_err(JobError::file("write", &self.path))
    }

    fn finish(mut self, to: &Path) -> Result<(PathBuf, u64), JobError> {
        let written = self.to.flush().and_then(|()| self.to.get_ref().sync_all());
        written.map_err(JobError::file("write", &self.path))?;
        for number in 1..RECORDS_MAX {
            let (stem, ending) = RECORDS.split_once('.').expect("it has an ending");
            let name =
                if number == 1 { RECORDS.to_owned() } else { format!("{stem}-{number}.{ending}") };
            let path = to.join(name);
            // A link never replaces anything.
            match fs::hard_link(&self.path, &path) {
                Ok(()) => {
                    fs::remove_file(&self.path).map_err(JobError::file("remove", &self.path))?;
                    return Ok((path, self.count));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(JobError::file("name", &path)(error)),
            }
        }
        Ok((self.path, self.count))
    }
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
        DestinationError::Deferred(cause) => JobError::File {
            operation: "sort in",
            path: Some(cause.directory),
            cause: cause.source,
        },
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
