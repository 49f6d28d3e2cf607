//! The tape half's side of staging: lists sealed segments, reads their manifests, frees them.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    crash,
    ident::SegmentId,
    staging::{
        error::{StagingError, disk},
        files::{Files, Guard, Handle, Stretch, read_exact_at},
        sealed::{Layout, Sealed, parse_name},
    },
    volume::{lines, manifest::Entry},
};

/// The sealed segments, oldest first.
pub(in crate::staging) fn list_sealed(
    layout: &Layout,
    files: &dyn Files,
) -> Result<Vec<Sealed>, StagingError> {
    let dir = layout.sealed_dir();
    let mut sealed = Vec::new();
    for listing in files.list(&dir).map_err(disk("list", &dir))? {
        if let Some((segment, "json")) = parse_name(&listing.name)
            && let Some(record) = read_record(layout, files, segment)?
        {
            sealed.push(record);
        }
    }
    sealed.sort_by_key(|sealed| (sealed.created, sealed.segment));
    Ok(sealed)
}

/// The longest line of a manifest, in bytes: an item with 64 KiB of extended attributes, a long
/// key, the chaining values of a 16 GiB part and many extents stay below.
pub(in crate::staging) const LINE_BYTES: u64 = 64 << 20;
/// The lock of who empties a staging.
pub(in crate::staging) const TAPE_LOCK: &str = "tape.lock";
/// The longest record of a sealed segment, in bytes.
const RECORD_BYTES: u64 = 64 << 10;

/// What is sealed. One process at a time empties a staging; another may fill it meanwhile.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    files: Arc<dyn Files>,
    /// Held for as long as the store is open.
    _guard: Box<dyn Guard>,
}

/// Bytes that staging takes on its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Segments being filled, and their journals.
    pub open: u64,
    /// Sealed segments.
    pub sealed: u64,
    /// Manifests kept until a volume index has them.
    pub manifests: u64,
}

impl Usage {
    /// All of it: what the budget limits.
    pub fn total(self) -> u64 {
        self.open + self.sealed + self.manifests
    }
}

impl Store {
    /// Opens the staging in `dir` for emptying, and ends removals that were interrupted.
    ///
    /// # Errors
    ///
    /// [`StagingError::Busy`] while another process empties it.
    pub fn open(dir: &Path, files: Arc<dyn Files>) -> Result<Self, StagingError> {
        let layout = Layout { dir: dir.to_owned() };
        layout.make_dirs(&*files)?;
        let guard = layout.lock(&*files, TAPE_LOCK, "empties")?;
        finish_removals(&layout, &*files)?;
        Ok(Self { layout, files, _guard: guard })
    }

    /// The sealed segments, oldest first. One whose file has gone or changed its length is among
    /// them: [`Self::check`] tells.
    ///
    /// # Errors
    ///
    /// [`StagingError::Damaged`] when a record cannot be read.
    pub fn sealed(&self) -> Result<Vec<Sealed>, StagingError> {
        list_sealed(&self.layout, &*self.files)
    }

    /// Whether the segment's file is there with its length. Its digest is checked by whoever reads
    /// all of it.
    ///
    /// # Errors
    ///
    /// [`StagingError::Damaged`] says what is wrong.
    pub fn check(&self, sealed: &Sealed) -> Result<(), StagingError> {
        let handle = match self.files.open(&sealed.path) {
            Ok(handle) => handle,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(sealed.damaged("the file is gone"));
            }
            Err(error) => return Err(disk("open", &sealed.path)(error)),
        };
        let bytes = handle.len().map_err(disk("measure", &sealed.path))?;
        if bytes == sealed.bytes {
            return Ok(());
        }
        Err(sealed.damaged(format!("it has {bytes} bytes and was sealed with {}", sealed.bytes)))
    }

    /// The manifest of a segment, in its order: as kept, or from the segment itself.
    ///
    /// # Errors
    ///
    /// [`StagingError::Disk`] when neither is there.
    pub fn manifest(&self, segment: SegmentId) -> Result<Entries, StagingError> {
        read_manifest(&self.layout, &self.files, segment)
    }

    /// The file of a kept manifest: its lines, zstd.
    pub fn manifest_path(&self, segment: SegmentId) -> PathBuf {
        self.layout.manifest(segment)
    }

    /// Segments whose manifest is kept, also of those whose file was freed.
    ///
    /// # Errors
    ///
    /// [`StagingError::Disk`] when the directory cannot be read.
    pub fn manifests(&self) -> Result<Vec<SegmentId>, StagingError> {
        let dir = self.layout.manifest_dir();
        let listings = self.files.list(&dir).map_err(disk("list", &dir))?;
        let mut segments: Vec<_> = listings
            .iter()
            .filter_map(|listing| match parse_name(&listing.name)? {
                (segment, "jsonl.zst") => Some(segment),
                _ => None,
            })
            .collect();
        segments.sort();
        Ok(segments)
    }

    /// Removes a sealed segment's file: every copy that is wanted is on tape. Its manifest stays
    /// until [`Self::release_manifest`]. Removing what is gone is no error.
    ///
    /// # Errors
    ///
    /// [`StagingError::Disk`] when the disk refuses; what is left is removed at the next opening.
    pub fn free(&self, segment: SegmentId) -> Result<(), StagingError> {
        let record = self.layout.record(segment);
        match self.files.rename(&record, &self.layout.freed(segment)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(disk("rename", record)(error));
            }
            Ok(()) | Err(_) => {}
        }
        crash::point("staging.free.marked");
        remove(&*self.files, &self.layout.segment(segment))?;
        crash::point("staging.free.removed");
        remove(&*self.files, &self.layout.freed(segment))
    }

    /// Forgets a segment's manifest: the volume index of every copy has it.
    ///
    /// # Errors
    ///
    /// [`StagingError::Disk`] when the disk refuses.
    pub fn release_manifest(&self, segment: SegmentId) -> Result<(), StagingError> {
        remove(&*self.files, &self.layout.manifest(segment))
    }

    /// Removes a segment and its manifest: it is damaged, and its items are exported again.
    ///
    /// # Errors
    ///
    /// [`StagingError::Disk`] when the disk refuses.
    pub fn discard(&self, segment: SegmentId) -> Result<(), StagingError> {
        self.release_manifest(segment)?;
        self.free(segment)
    }

    /// What staging takes on its disk now.
    ///
    /// # Errors
    ///
    /// [`StagingError::Disk`] when a directory cannot be read.
    pub fn usage(&self) -> Result<Usage, StagingError> {
        usage(&self.layout, &*self.files)
    }

    /// The error that says that a budget is used up, and by what.
    ///
    /// # Errors
    ///
    /// As [`Self::usage`].
    pub fn full(&self, budget: u64) -> Result<StagingError, StagingError> {
        Ok(StagingError::Full { dir: self.layout.dir.clone(), budget, usage: self.usage()? })
    }
}

/// A sealed segment that is open for reading. It stays readable when it is freed meanwhile.
#[derive(Debug)]
pub struct OpenSealed {
    /// What is known of it.
    pub sealed: Sealed,
    handle: Box<dyn Handle>,
}

impl OpenSealed {
    /// Opens a sealed segment, if it stands in the staging in `dir` with its whole length. Needs no
    /// lock: whoever fills and empties the staging goes on.
    ///
    /// # Errors
    ///
    /// [`StagingError::Damaged`] when its record cannot be read or its file has another length.
    pub fn open(
        (dir, files): (&Path, &dyn Files),
        segment: SegmentId,
    ) -> Result<Option<Self>, StagingError> {
        let layout = Layout { dir: dir.to_owned() };
        let Some(sealed) = read_record(&layout, files, segment)? else { return Ok(None) };
        let handle = match files.open(&sealed.path) {
            Ok(handle) => handle,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk("open", &sealed.path)(error)),
        };
        let bytes = handle.len().map_err(disk("measure", &sealed.path))?;
        if bytes != sealed.bytes {
            return Err(sealed
                .damaged(format!("it has {bytes} bytes and was sealed with {}", sealed.bytes)));
        }
        Ok(Some(Self { sealed, handle }))
    }

    /// Fills `buffer` with its bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`StagingError::Disk`] when the disk fails, or the file ends before.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StagingError> {
        read_exact_at(&*self.handle, buffer, offset).map_err(disk("read", &self.sealed.path))
    }
}

impl Sealed {
    /// The error that says what is wrong with this segment's file.
    pub fn damaged(&self, what: impl Into<String>) -> StagingError {
        StagingError::Damaged { segment: self.segment, path: self.path.clone(), what: what.into() }
    }
}

impl Layout {
    pub(in crate::staging) fn make_dirs(&self, files: &dyn Files) -> Result<(), StagingError> {
        for dir in [self.open_dir(), self.sealed_dir(), self.manifest_dir()] {
            files.make_dir(&dir).map_err(disk("make", dir))?;
        }
        Ok(())
    }

    pub(in crate::staging) fn lock(
        &self,
        files: &dyn Files,
        name: &str,
        doing: &'static str,
    ) -> Result<Box<dyn Guard>, StagingError> {
        let path = self.dir.join(name);
        let guard = files.lock(&path).map_err(disk("lock", path))?;
        guard.ok_or_else(|| StagingError::Busy { dir: self.dir.clone(), doing })
    }
}

pub(in crate::staging) fn usage(layout: &Layout, files: &dyn Files) -> Result<Usage, StagingError> {
    let of = |dir: &Path| -> Result<u64, StagingError> {
        let listings = files.list(dir).map_err(disk("list", dir))?;
        Ok(listings.iter().map(|listing| listing.bytes).sum())
    };
    Ok(Usage {
        open: of(&layout.open_dir())?,
        sealed: of(&layout.sealed_dir())?,
        manifests: of(&layout.manifest_dir())?,
    })
}

/// Removes a file, unless it is gone.
pub(in crate::staging) fn remove(files: &dyn Files, path: &Path) -> Result<(), StagingError> {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Ends what [`Store::free`] began.
pub(in crate::staging) fn finish_removals(
    layout: &Layout,
    files: &dyn Files,
) -> Result<(), StagingError> {
    let dir = layout.sealed_dir();
    for listing in files.list(&dir).map_err(disk("list", &dir))? {
        if let Some((segment, "freed")) = parse_name(&listing.name) {
            remove(files, &layout.segment(segment))?;
            remove(files, &layout.freed(segment))?;
        }
    }
    Ok(())
}

/// The record of a sealed segment, or `None` when it was freed meanwhile.
pub(in crate::staging) fn read_record(
    layout: &Layout,
    files: &dyn Files,
    segment: SegmentId,
) -> Result<Option<Sealed>, StagingError> {
    let path = layout.record(segment);
    let text = match read_all(files, &path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(disk("read", path)(error)),
    };
    match serde_json::from_slice::<Sealed>(&text) {
        Ok(sealed) if sealed.segment == segment => {
            Ok(Some(Sealed { path: layout.segment(segment), ..sealed }))
        }
        Ok(_) => Err(StagingError::Damaged {
            segment,
            path,
            what: "its record speaks of another segment".to_owned(),
        }),
        Err(error) => Err(StagingError::Damaged {
            segment,
            path,
            what: format!("its record cannot be read: {error}"),
        }),
    }
}

fn read_all(files: &dyn Files, path: &Path) -> io::Result<Vec<u8>> {
    let handle = files.open(path)?;
    let bytes = handle.len()?;
    if bytes > RECORD_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than any record"));
    }
    let mut text = vec![0; usize::try_from(bytes).expect("bounded above")];
    read_exact_at(&*handle, &mut text, 0)?;
    Ok(text)
}

/// The entries of a manifest, in its order. Ends after an error.
pub struct Entries {
    segment: SegmentId,
    path: PathBuf,
    lines: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    ended: bool,
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("segment", &self.segment).finish_non_exhaustive()
    }
}

pub(in crate::staging) fn read_manifest(
    layout: &Layout,
    files: &Arc<dyn Files>,
    segment: SegmentId,
) -> Result<Entries, StagingError> {
    let kept = layout.manifest(segment);
    let (path, lines): (_, Box<dyn BufRead + Send>) = match files.open(&kept) {
        Ok(handle) => {
            let bytes = handle.len().map_err(disk("measure", &kept))?;
            let stretch = Stretch::new(handle, 0, bytes);
            let decoder = zstd::Decoder::new(stretch).map_err(disk("read", &kept))?;
            (kept, Box::new(BufReader::new(decoder)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(sealed) = read_record(layout, &**files, segment)? else {
                return Err(disk("open", kept)(error));
            };
            let handle = files.open(&sealed.path).map_err(disk("open", &sealed.path))?;
            let end = sealed.manifest_offset + sealed.manifest_bytes;
            let stretch = Stretch::new(handle, sealed.manifest_offset, end);
            (sealed.path, Box::new(BufReader::new(stretch)))
        }
        Err(error) => return Err(disk("open", kept)(error)),
    };
    Ok(Entries { segment, path, lines, line: Vec::new(), ended: false })
}

impl Entries {
    fn read(&mut self) -> Result<Option<Entry>, StagingError> {
        self.line.clear();
        let mut bounded = (&mut self.lines).take(LINE_BYTES);
        let read = bounded.read_until(b'\n', &mut self.line).map_err(disk("read", &self.path))?;
        if read == 0 {
            return Ok(None);
        }
        lines::read_line(&self.line).map(Some).map_err(|error| StagingError::Damaged {
            segment: self.segment,
            path: self.path.clone(),
            what: format!("its manifest cannot be read: {error}"),
        })
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, StagingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read();
        self.ended = !matches!(read, Ok(Some(_)));
        read.transpose()
    }
}
