//! Makes segments and volumes in memory, the same bytes each time.

use std::fs;
use std::io::{Cursor, Read};
use std::path::PathBuf;

use base64::{Engine, prelude::BASE64_STANDARD};
use tapevault::clock::Timestamp;
use tapevault::digest::{Digest, RANGE, RangeHasher};
use tapevault::ident::{SegmentId, SessionId, SetId, SourceName, VolumeId};
use tapevault::item::{Extent, Item, Key};
use tapevault::position::{FileNumber, ObjectNumber};
use tapevault::tar::{self, MemberKind};
use tapevault::volume::index::{
    self, IndexWriter, ManifestWriter, RunHeader, RunWriter, SegmentRow,
};
use tapevault::volume::label::{self, Label};
use tapevault::volume::manifest::{Entry, LinkedTo, Part};
use tapevault::volume::member;
use tapevault::volume::run::Change;
use tapevault::volume::segment::{Facts, Finisher, Trailer};

/// Small, so that golden volumes are.
pub(crate) const BLOCK: u32 = 4096;

/// One item, or a part of one, with its bytes.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) source: SourceName,
    pub(crate) item: Item,
    /// Of the whole item, or of the part; holes as zeros.
    pub(crate) data: Vec<u8>,
    pub(crate) part: Option<Part>,
    pub(crate) linked_to: Option<Key>,
    pub(crate) torn: bool,
}

/// A segment in memory.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) bytes: Vec<u8>,
    pub(crate) trailer: Trailer,
    pub(crate) entries: Vec<Entry>,
}

/// A moment that is always the same.
pub(crate) fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_parts(1_790_000_000 + seconds, 0)
}

fn uuid(kind: u128, number: u128) -> uuid::Uuid {
    uuid::Builder::from_random_bytes((kind << 64 | number).to_be_bytes()).into_uuid()
}

pub(crate) fn segment_id(number: u128) -> SegmentId {
    SegmentId(uuid(1, number))
}

pub(crate) fn set_id(number: u128) -> SetId {
    SetId(uuid(2, number))
}

pub(crate) fn session_id(number: u128) -> SessionId {
    SessionId(uuid(3, number))
}

pub(crate) fn volume_id(number: u128) -> VolumeId {
    VolumeId(uuid(4, number))
}

pub(crate) fn run_id(number: u128) -> tapevault::ident::RunId {
    tapevault::ident::RunId(uuid(5, number))
}

pub(crate) fn facts(number: u128, block_size: u32) -> Facts {
    Facts { segment: segment_id(number), set: set_id(1), created: moment(0), block_size }
}

/// The entry of `content`, without its places.
pub(crate) fn entry(content: &Content) -> Entry {
    let has_digest = matches!(content.item.kind, tapevault::item::Kind::File);
    Entry {
        source: content.source.clone(),
        path: member::path_of(&content.source, &content.item, content.part),
        item: content.item.clone(),
        offset: 0,
        data: 0,
        stored: 0,
        digest: has_digest.then(|| Digest::of(&content.data)),
        part: content.part,
        linked_to: content.linked_to.clone().map(|key| LinkedTo { key }),
        torn: content.torn,
        chaining: chaining(content),
    }
}

/// Of content that is longer than one range, and has no holes.
fn chaining(content: &Content) -> String {
    if content.data.len() as u64 <= RANGE || content.item.extents.is_some() {
        return String::new();
    }
    let mut hasher = RangeHasher::new();
    hasher.update(&content.data);
    let values: Vec<u8> = hasher.finish().1.iter().flat_map(|value| value.0).collect();
    BASE64_STANDARD.encode(values)
}

fn slice(data: &[u8], extent: Extent) -> &[u8] {
    let begin = usize::try_from(extent.offset).unwrap();
    &data[begin..begin + usize::try_from(extent.length).unwrap()]
}

/// Appends the member of `content`, and gives its entry.
fn push_member(bytes: &mut Vec<u8>, content: &Content) -> Entry {
    let mut entry = entry(content);
    let Some(head) = member::head_of(&entry) else { return entry };
    entry.offset = bytes.len() as u64;
    let encoded = head.encode_into(bytes).unwrap();
    entry.data = entry.offset + encoded.headers;
    entry.stored = encoded.map + encoded.data;
    match &head.kind {
        MemberKind::File { .. } => bytes.extend_from_slice(&content.data),
        MemberKind::Sparse { extents, .. } => {
            extents.iter().for_each(|&extent| bytes.extend(slice(&content.data, extent)));
        }
        MemberKind::HardLink { .. }
        | MemberKind::Symlink { .. }
        | MemberKind::Directory
        | MemberKind::Fifo
        | MemberKind::CharacterDevice { .. }
        | MemberKind::BlockDevice { .. } => {}
    }
    let whole = bytes.len() + tar::padding(encoded.data);
    bytes.resize(whole, 0);
    assert_eq!(whole as u64, entry.offset + encoded.total());
    entry
}

/// A finished segment with these members, in this order.
pub(crate) fn segment(facts: Facts, contents: &[Content]) -> Segment {
    let mut bytes = Vec::new();
    let mut entries: Vec<_> =
        contents.iter().map(|content| push_member(&mut bytes, content)).collect();
    entries.sort_by(|a, b| a.order().cmp(&b.order()));
    let at = bytes.len() as u64;
    let mut out = Cursor::new(bytes);
    let mut finisher = Finisher::new(&mut out, Cursor::new(Vec::new()), facts, at).unwrap();
    entries.iter().for_each(|entry| finisher.push(entry.clone()).unwrap());
    let trailer = finisher.finish().unwrap();
    Segment { bytes: out.into_inner(), trailer, entries }
}

/// A volume in a folder.
pub(crate) struct Volume {
    pub(crate) folder: PathBuf,
    pub(crate) label: Label,
    pub(crate) files: u64,
    pub(crate) objects: u64,
    pub(crate) rows: Vec<SegmentRow>,
    pub(crate) session: SessionId,
    number: u128,
    fresh: Vec<Segment>,
    previous: Option<index::Previous>,
}

impl Volume {
    /// A labelled volume.
    pub(crate) fn label(folder: PathBuf, number: u128) -> Self {
        Self::label_with(folder, number, |_| {})
    }

    /// The same, of which the label says more.
    pub(crate) fn label_with(folder: PathBuf, number: u128, more: impl FnOnce(&mut Label)) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let mut label = Label {
            format: 1,
            volume: volume_id(number),
            volser: format!("GOLD{number:02}").parse().unwrap(),
            barcode: Some(format!("GOLD{number:02}L8").parse().unwrap()),
            mam_serial: "GOLDEN".into(),
            pool: "golden".parse().unwrap(),
            block_size: BLOCK,
            created: moment(0),
            protected_until: None,
            encryption: None,
            block_protection: None,
            emulated: true,
        };
        more(&mut label);
        let session = session_id(number * 10);
        let (rows, fresh) = (Vec::new(), Vec::new());
        let mut volume = Self {
            folder,
            label,
            files: 0,
            objects: 0,
            rows,
            session,
            number,
            fresh,
            previous: None,
        };
        let bytes = label::encode(&volume.label);
        volume.tape_file(&bytes, label::BLOCK);
        volume
    }

    /// Writes one tape file and its filemark.
    pub(crate) fn tape_file(&mut self, bytes: &[u8], block: usize) {
        fs::write(self.folder.join(format!("{}.tar", self.files)), bytes).unwrap();
        self.files += 1;
        self.objects += bytes.len().div_ceil(block) as u64 + 1;
    }

    pub(crate) fn segment(&mut self, segment: &Segment) {
        self.rows.push(SegmentRow::whole(
            &segment.trailer,
            Digest::of(&segment.bytes),
            self.session,
            ObjectNumber(self.objects),
            FileNumber(self.files),
        ));
        self.tape_file(&segment.bytes, BLOCK as usize);
        self.fresh.push(segment.clone());
    }

    /// Closes the session with an index.
    pub(crate) fn index(&mut self, header: &RunHeader, changes: &[Change]) {
        let place = (ObjectNumber(self.objects), FileNumber(self.files));
        let about = index::Header {
            format: 1,
            session: self.session,
            volume: self.label.volume,
            volser: self.label.volser,
            block_size: BLOCK,
            label_digest: Digest::of(&label::encode(&self.label)),
            previous: self.previous,
            created: moment(60),
        };
        let mut writer = IndexWriter::new(Vec::new(), about, &self.rows).unwrap();
        for segment in std::mem::take(&mut self.fresh) {
            let mut manifest = ManifestWriter::new(Vec::new()).unwrap();
            segment.entries.iter().for_each(|entry| manifest.push(entry).unwrap());
            let manifest = manifest.finish().unwrap();
            let from: &mut dyn Read = &mut manifest.as_slice();
            writer.manifest(segment.trailer.segment, manifest.len() as u64, from).unwrap();
        }
        let mut run = RunWriter::new(Vec::new(), header).unwrap();
        changes.iter().for_each(|change| run.push(change).unwrap());
        let run = run.finish().unwrap();
        writer.run(header.run.id, run.len() as u64, &mut run.as_slice()).unwrap();
        let tables = zstd::encode_all(&b"{\"table\":\"volumes\"}\n"[..], 3).unwrap();
        writer.tables(tables.len() as u64, &mut tables.as_slice()).unwrap();
        let (bytes, finished) = writer.finish().unwrap();
        self.tape_file(&bytes, BLOCK as usize);
        let (object, file) = place;
        self.previous = Some(index::Previous { object, file, seal: finished.trailer.seal });
        self.session = session_id(self.number * 10 + u128::from(self.files));
    }
}
