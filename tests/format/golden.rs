//! The golden volumes, and what writes them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tapevault::clock::TestClock;
use tapevault::digest::Digest;
use tapevault::drive::{
    BlockKey, Drive, DriveError, Filemark, NamedKey, Protection, ReadOutcome, Safeguards,
};
use tapevault::emulator::{self, Cartridge, Generation, Library, LibraryPlan};
use tapevault::item::{Place, Token, Version};
use tapevault::keys::DataKey;
use tapevault::tar::{Names, Reader};
use tapevault::volume::index::{Entries, IndexReader, Piece, RunHeader, RunReader, SegmentState};
use tapevault::volume::label::{self, Encryption, IN_DRIVE, Label};
use tapevault::volume::run::{Change, Row, Run};
use tapevault::volume::trailer::{self, Trailer};
use tapevault::volume::{lines, member};

use crate::build::{self, BLOCK, Segment, Volume, facts, moment, run_id};
use crate::cases::{self, file, object};
use crate::stock;

pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden/v1");

/// A golden volume's tape files, in order.
pub(crate) fn tape_files(name: &str) -> Vec<PathBuf> {
    let files = tape_files_in(&Path::new(ROOT).join(name));
    assert!(files.len() > 1, "{name} is committed");
    files
}

fn tape_files_in(folder: &Path) -> Vec<PathBuf> {
    (0..)
        .map(|number| folder.join(format!("{number}.tar")))
        .take_while(|path| path.exists())
        .collect()
}

fn run(number: u128, entries: &[&Segment], base: Option<u128>) -> (RunHeader, Vec<Change>) {
    let mut changes = Vec::new();
    for segment in entries {
        for (ordinal, entry) in (0_u32..).zip(&segment.entries) {
            let place = Place { segment: segment.trailer.segment, ordinal };
            let row = Row {
                key: entry.item.key.clone(),
                version: entry.item.version.clone(),
                token: Token(7),
                latest: entry.item.latest,
                delete_marker: entry.path.is_none(),
                places: vec![place],
            };
            changes.push(Change::Put { row });
        }
    }
    if base.is_some() {
        let key = "gone".into();
        changes.push(Change::Gone { key, version: Version::default() });
    }
    let run = Run {
        id: run_id(number),
        source: cases::source("bucket"),
        started: moment(0),
        ended: Some(moment(50)),
        complete: true,
        rows: changes.len() as u64,
        missing: 0,
    };
    (RunHeader { run, base: base.map(run_id) }, changes)
}

fn contents(number: u128) -> Vec<build::Content> {
    let key = format!("session-{number}/report.txt");
    let state = format!("state {number}\n");
    vec![object(key.as_bytes(), "", true, b"report\n"), file(b"changing.txt", state.as_bytes())]
}

/// All of the hard cases, closed by an index.
fn whole(folder: PathBuf) {
    let mut volume = Volume::label(folder, 1);
    let segment = build::segment(facts(1, BLOCK), &cases::small());
    volume.segment(&segment);
    let (header, changes) = run(1, &[&segment], None);
    volume.index(&header, &changes);
}

/// Two sessions, the first of two segments; a file changes in between.
fn sessions(folder: PathBuf) {
    let mut volume = Volume::label(folder, 2);
    let first = build::segment(facts(21, BLOCK), &contents(1));
    let second = build::segment(facts(22, BLOCK), &[file(b"steady.txt", b"steady\n")]);
    volume.segment(&first);
    volume.segment(&second);
    let (header, changes) = run(21, &[&first, &second], None);
    volume.index(&header, &changes);
    let third = build::segment(facts(23, BLOCK), &contents(2));
    volume.segment(&third);
    let (header, changes) = run(22, &[&third], Some(21));
    volume.index(&header, &changes);
}

/// One closed session, then a segment that the power cut short.
fn torn(folder: PathBuf) {
    let mut volume = Volume::label(folder, 3);
    let first = build::segment(facts(31, BLOCK), &contents(1));
    volume.segment(&first);
    let (header, changes) = run(31, &[&first], None);
    volume.index(&header, &changes);
    let long: Vec<_> = (0..40).map(|n| file(format!("n{n:02}").as_bytes(), &[b'n'; 700])).collect();
    let cut = build::segment(facts(32, BLOCK), &long);
    volume.tape_file(&cut.bytes[..5 * BLOCK as usize], BLOCK as usize);
}

/// Whole segments whose session was never closed.
fn unindexed(folder: PathBuf) {
    let mut volume = Volume::label(folder, 4);
    volume.segment(&build::segment(facts(41, BLOCK), &contents(1)));
    volume.segment(&build::segment(facts(42, BLOCK), &contents(2)));
}

/// A write-once volume: a segment was begun, given up, closed by a filemark, and written again.
fn void(folder: PathBuf) {
    let mut volume = Volume::label(folder, 5);
    let segment = build::segment(facts(51, BLOCK), &contents(1));
    volume.segment(&segment);
    let bytes = fs::read(volume.folder.join("1.tar")).unwrap();
    let kept = 2 * BLOCK as usize;
    fs::write(volume.folder.join("1.tar"), &bytes[..kept]).unwrap();
    volume.rows[0].state = SegmentState::Void;
    volume.rows[0].blocks = 2;
    volume.rows[0].digest = Digest::of(&bytes[..kept]);
    volume.objects = 2 + volume.objects - (bytes.len() as u64 / u64::from(BLOCK));
    volume.segment(&segment);
    let (header, changes) = run(51, &[&segment], None);
    volume.index(&header, &changes);
}

/// What came to the format last, closed by an index.
fn parts(folder: PathBuf) {
    let mut volume = Volume::label(folder, 7);
    let segment = build::segment(facts(71, BLOCK), &cases::parts());
    volume.segment(&segment);
    let (header, changes) = run(71, &[&segment], None);
    volume.index(&header, &changes);
}

/// One closed session on a volume whose blocks the drive encrypts; and what is on its medium.
fn encrypted(folder: PathBuf) {
    let key = DataKey::from_bytes(GOLDEN_KEY).id().to_string();
    let mut volume = Volume::label_with(folder, 6, |label| {
        label.encryption = Some(Encryption { method: IN_DRIVE.into(), key_id: key.clone() });
        label.block_protection = Some("crc32c".into());
    });
    let segment = build::segment(facts(61, BLOCK), &contents(1));
    volume.segment(&segment);
    let (header, changes) = run(61, &[&segment], None);
    volume.index(&header, &changes);
    let library = tempfile::tempdir().unwrap();
    let mut drive = golden_drive(library.path(), None);
    for (number, path) in tape_files_in(&volume.folder).iter().enumerate() {
        let block = if number == 0 { label::BLOCK } else { BLOCK as usize };
        if number == 1 {
            drive.safeguard(&golden_safeguards(&key)).unwrap();
        }
        for block in fs::read(path).unwrap().chunks(block) {
            drive.write_block(block).unwrap();
        }
        drive.write_filemark(Filemark::Synchronous).unwrap();
    }
    let tape = library.path().join("cartridges/GOLD06L8.tap");
    fs::copy(tape, volume.folder.join("medium.tap")).unwrap();
}

const GOLDEN_KEY: [u8; 32] = *b"of the golden volume, not secret";

fn golden_safeguards(key: &str) -> Safeguards<'_> {
    let key = NamedKey { name: key, key: &GOLDEN_KEY };
    Safeguards { protection: Some(Protection::Crc32c), key: Some(key) }
}

/// An emulated drive with the golden cartridge, blank or with this on it.
fn golden_drive(folder: &Path, medium: Option<&Path>) -> Drive {
    let plan = LibraryPlan { drives: 1, ..LibraryPlan::default() };
    let library = Library::create(folder, &plan).unwrap();
    let barcode = "GOLD06L8".parse().unwrap();
    library.shelve_cartridge(&Cartridge::new(barcode, Generation::Lto8, 64 << 20)).unwrap();
    if let Some(medium) = medium {
        fs::copy(medium, library.tape(barcode)).unwrap();
    }
    library.push_in(0, barcode).unwrap();
    let clock = Arc::new(TestClock::at(moment(0)));
    let mut drive = Drive::open(Box::new(emulator::drive(folder, 0).unwrap()), clock).unwrap();
    drive.wait_ready(Duration::from_secs(60)).unwrap();
    drive.rewind().unwrap();
    drive
}

/// The medium has ciphertext, and with the key it is the volume.
#[test]
fn an_encrypted_golden_volume_is_read_with_its_key_alone() {
    let folder = Path::new(ROOT).join("encrypted");
    let medium = folder.join("medium.tap");
    let raw = fs::read(&medium).unwrap();
    assert!(memchr::memmem::find(&raw, b"label.json").is_some());
    assert!(memchr::memmem::find(&raw, b"MANIFEST.jsonl\0").is_none());
    let library = tempfile::tempdir().unwrap();
    let mut drive = golden_drive(library.path(), Some(&medium));
    let label = label::decode(&fs::read(folder.join("0.tar")).unwrap()).unwrap();
    let key = label.encryption.unwrap().key_id;
    drive.safeguard(&golden_safeguards(&key)).unwrap();
    for path in tape_files("encrypted") {
        let mut read = Vec::new();
        let mut block = vec![0; 1 << 16];
        while let ReadOutcome::Block(bytes) = drive.read_block(&mut block).unwrap() {
            read.extend_from_slice(&block[..bytes]);
        }
        assert!(read == fs::read(&path).unwrap(), "{path:?}");
    }
    drive.safeguard(&Safeguards::default()).unwrap();
    drive.rewind().unwrap();
    drive.space_filemarks(1).unwrap();
    assert_eq!(drive.next_block_key().unwrap(), BlockKey::Other { name: Some(key) });
    let error = drive.read_block(&mut [0; 1 << 16]).unwrap_err();
    assert!(matches!(error, DriveError::Unusable(_)), "{error}");
}

type Maker = fn(PathBuf);
const VOLUMES: [(&str, Maker); 7] = [
    ("encrypted", encrypted),
    ("parts", parts),
    ("whole", whole),
    ("sessions", sessions),
    ("torn", torn),
    ("unindexed", unindexed),
    ("void", void),
];

#[test]
#[ignore = "writes golden volumes that are missing; one that is there is never written again"]
fn make_missing_golden_volumes() {
    for (name, make) in VOLUMES {
        let folder = Path::new(ROOT).join(name);
        if !folder.exists() {
            make(folder);
        }
    }
}

#[test]
fn every_golden_volume_is_used() {
    let there: BTreeSet<_> = fs::read_dir(ROOT)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let used: BTreeSet<_> = VOLUMES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(there, used);
}

/// Segments are what digests and copies refer to: today's writer gives the same bytes.
#[test]
fn segments_are_written_as_ever() {
    for (name, make) in VOLUMES {
        let again = tempfile::tempdir().unwrap();
        make(again.path().to_owned());
        for path in &tape_files(name)[1..] {
            let golden = fs::read(path).unwrap();
            let index = golden.starts_with(b".tapevault/");
            let fresh = fs::read(again.path().join(path.file_name().unwrap())).unwrap();
            assert!(index || golden == fresh, "{name}: {path:?} is written in other bytes now");
        }
    }
}

/// A tar's members with their bytes, those that are compressed as they were before.
fn members(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut reader = Reader::new(bytes, Names::Safe);
    let mut members = Vec::new();
    while let Some(found) = reader.next_member().unwrap() {
        let (begin, length) = (found.data, found.stored);
        let raw = &bytes[usize::try_from(begin).unwrap()..][..usize::try_from(length).unwrap()];
        let data = if found.head.path.ends_with(".zst") {
            zstd::decode_all(raw).unwrap()
        } else {
            raw.to_vec()
        };
        members.push((found.head.path, data));
    }
    members
}

/// The names of all fields of an object, those within it too.
fn fields(json: &[u8]) -> BTreeSet<String> {
    fn collect(value: &serde_json::Value, above: &str, into: &mut BTreeSet<String>) {
        for (name, inner) in value.as_object().into_iter().flatten() {
            let name = format!("{above}/{name}");
            collect(inner, &name, into);
            into.insert(name);
        }
    }
    let mut names = BTreeSet::new();
    collect(&serde_json::from_slice(json).unwrap(), "", &mut names);
    names
}

/// The same with blanks in place of digests: those of the label, whose texts may change, and of what
/// a compressor made.
fn without_digests(text: &str) -> String {
    let strings = text.split('"').map(|string| {
        let is_digest = string.len() == 64 && string.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_digest { "" } else { string }
    });
    strings.collect::<Vec<_>>().join("\"")
}

/// Labels say what they said, and indexes have the members that they had, byte for byte: but for what
/// a compressor makes of them, and the digests and lengths that follow from that.
#[test]
fn labels_and_indexes_are_written_as_ever() {
    let mut compared = 0;
    for (name, make) in VOLUMES {
        let again = tempfile::tempdir().unwrap();
        make(again.path().to_owned());
        for path in tape_files(name) {
            let golden = fs::read(&path).unwrap();
            let is_label = path.ends_with("0.tar");
            if !is_label && !golden.starts_with(b".tapevault/") {
                continue;
            }
            let fresh = fs::read(again.path().join(path.file_name().unwrap())).unwrap();
            let (golden, fresh) = (members(&golden), members(&fresh));
            let names = |members: &[(String, Vec<u8>)]| -> Vec<String> {
                members.iter().map(|(name, _)| name.clone()).collect()
            };
            assert_eq!(names(&golden), names(&fresh), "{path:?}");
            for ((member, was), (_, is)) in golden.iter().zip(&fresh) {
                if member.ends_with("SEAL.json") || member.ends_with("TRAILER.json") {
                    assert_eq!(fields(was), fields(is), "{path:?}: {member}");
                } else if !["README.txt", "recover.sh"].contains(&member.as_str()) {
                    let text = |bytes: &[u8]| {
                        let text = String::from_utf8(bytes.to_vec()).unwrap();
                        if member.ends_with("/index.json") { without_digests(&text) } else { text }
                    };
                    let (was, is) = (text(was), text(is));
                    assert_eq!(was, is, "{path:?}: {member}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 30, "{compared}");
}

fn final_block(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len() - BLOCK as usize..]
}

/// Reads a volume as a rebuild does, and says what each tape file is.
fn read_volume(name: &str) -> Vec<&'static str> {
    let files = tape_files(name);
    let label_bytes = fs::read(&files[0]).unwrap();
    let label = label::decode(&label_bytes).unwrap();
    let mut kinds = vec!["label"];
    for path in &files[1..] {
        let bytes = fs::read(path).unwrap();
        let blocks = bytes.len() as u64 / u64::from(BLOCK);
        kinds.push(match trailer::confirm(final_block(&bytes), blocks) {
            Ok(Trailer::Segment(trailer)) => {
                read_segment(&bytes, &trailer);
                "segment"
            }
            Ok(Trailer::Index(trailer)) => {
                assert_eq!(trailer.volume, label.volume);
                read_index(&bytes, &label, Digest::of(&label_bytes), &files);
                "index"
            }
            Err(error) => {
                assert!(matches!(error, trailer::TrailerError::None), "{path:?}: {error}");
                "unfinished"
            }
        });
    }
    kinds
}

fn read_segment(bytes: &[u8], trailer: &tapevault::volume::segment::Trailer) {
    let begin = usize::try_from(trailer.manifest_offset).unwrap();
    let end = begin + usize::try_from(trailer.manifest_bytes).unwrap();
    let manifest = &bytes[begin..end];
    assert_eq!(Digest::of(manifest), trailer.manifest_digest);
    let mut entries: Vec<_> =
        lines::Reader::new(manifest).map(Result::unwrap).filter(|e| e.path.is_some()).collect();
    entries.sort_by_key(|entry| entry.offset);
    let mut reader = Reader::new(bytes, Names::Safe);
    for entry in &entries {
        let found = reader.next_member().unwrap().unwrap();
        assert_eq!(
            (found.offset, found.data, found.stored),
            (entry.offset, entry.data, entry.stored)
        );
        let wanted = member::head_of(entry).unwrap();
        assert_eq!(found.head.kind, wanted.kind, "{}", wanted.path);
        assert_eq!(found.head.path, wanted.path);
    }
    let ours = std::iter::from_fn(|| reader.next_member().unwrap()).count();
    assert_eq!(ours, 3, "manifest, sums and trailer");
}

fn read_index(bytes: &[u8], label: &Label, label_digest: Digest, files: &[PathBuf]) {
    let mut reader = IndexReader::new(bytes).unwrap();
    assert_eq!(reader.header().volume, label.volume);
    assert_eq!(reader.header().label_digest, label_digest);
    if let Some(previous) = reader.header().previous {
        let path = &files[usize::try_from(previous.file.0).unwrap()];
        let mut before = IndexReader::new(File::open(path).unwrap()).unwrap();
        while before.next_piece().unwrap().is_some() {}
        assert_eq!(before.seal(), Some(previous.seal));
    }
    let mut pieces = 0;
    while let Some(piece) = reader.next_piece().unwrap() {
        pieces += 1;
        match piece {
            Piece::Segments(rows) => {
                for row in rows {
                    let path = &files[usize::try_from(row.file.0).unwrap()];
                    let segment = fs::read(path).unwrap();
                    assert_eq!(segment.len() as u64, row.blocks * u64::from(row.block_size));
                    assert_eq!(Digest::of(&segment), row.digest);
                    let whole = trailer::confirm(final_block(&segment), row.blocks).is_ok();
                    assert_eq!(whole, row.state == SegmentState::Whole);
                }
            }
            Piece::Manifest(_) => {
                assert!(Entries::new(&mut reader).unwrap().map(Result::unwrap).count() > 0);
            }
            Piece::Run(run) => {
                let changes = RunReader::new(&mut reader).unwrap();
                assert_eq!(changes.header().run.id, run);
                assert!(changes.map(Result::unwrap).count() > 0);
            }
            Piece::Tables => {
                let mut tables = Vec::new();
                reader.read_to_end(&mut tables).unwrap();
                assert!(zstd::decode_all(&tables[..]).unwrap().starts_with(b"{"));
            }
        }
    }
    assert!(pieces >= 4, "rows, a manifest, a run and tables");
}

#[test]
fn golden_volumes_read_back() {
    for (name, kinds) in [
        ("whole", &["label", "segment", "index"][..]),
        ("encrypted", &["label", "segment", "index"]),
        ("parts", &["label", "segment", "index"]),
        ("sessions", &["label", "segment", "segment", "index", "segment", "index"]),
        ("torn", &["label", "segment", "index", "unfinished"]),
        ("unindexed", &["label", "segment", "segment"]),
        ("void", &["label", "unfinished", "segment", "index"]),
    ] {
        assert_eq!(read_volume(name), kinds, "{name}");
    }
}

#[test]
fn stock_readers_take_every_finished_tape_file() {
    for (name, _) in VOLUMES {
        for path in tape_files(name) {
            let bytes = fs::read(&path).unwrap();
            let mut reader = Reader::new(&bytes[..], Names::Safe);
            let mut members = 0;
            let finished = loop {
                match reader.next_member() {
                    Ok(Some(_)) => members += 1,
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            if !finished {
                assert!(["torn", "void"].contains(&name), "{path:?} is unfinished");
                continue;
            }
            let sums =
                trailer::decode(final_block(&bytes)).ok().and_then(|trailer| match trailer {
                    Trailer::Segment(segment) => Some(segment.segment.to_string()),
                    Trailer::Index(_) => None,
                });
            stock::read_by_all(&path, members, |_, folder| {
                if let Some(segment) = &sums {
                    stock::check_sums(folder, segment);
                }
            });
        }
    }
}
