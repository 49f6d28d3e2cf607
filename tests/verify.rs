//! Verify on an emulated library: one byte flipped in each structure of a volume, bad blocks, and
//! catalogs that know too little.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tapevault::{
    catalog::{Catalog, CopyState, Mode},
    clock::{Clock, SystemClock},
    config,
    emulator::{self, Generation, Library, LibraryPlan},
    ident::VolumeId,
    job::{
        Desk,
        archive::{self, Half, Request},
        monitor::{Answer, Event, Monitor, Prompt},
        rig,
        settings::Settings,
        stock,
        verify::{self, Scope},
    },
    media::Volume,
    position::ObjectNumber,
    tar::{Names, Reader},
    volume::trailer::{self, Trailer},
};
use tempfile::TempDir;

const BARCODE: &str = "TVR001L8";
const BLOCK: usize = 64 << 10;

/// Keeps what a job tells of volumes.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Monitor for Told {
    fn event(&self, event: &Event<'_>) {
        if let Event::VolumeFinding { what, .. } = event {
            self.0.lock().unwrap().push(what.clone());
        }
    }

    fn ask(&self, _: &Prompt) -> Answer {
        Answer::Declined
    }
}

/// A rehearsal with one volume of two sessions in its drive.
struct Rehearsal {
    folder: TempDir,
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl Rehearsal {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let source = folder.path().join("source");
        fill(&source);
        let plan = LibraryPlan {
            drives: 1,
            slots: 2,
            mail_slots: 1,
            generation: Generation::Lto8,
            settings: emulator::Settings::default(),
        };
        let library = Library::create(&home, &plan).unwrap();
        library.add_cartridge(BARCODE.parse().unwrap(), Generation::Lto8, 1 << 32).unwrap();
        let config = config::rehearsal(&source)
            .replace("label_blank = true", "label_blank = true\nblock_size = \"64 KiB\"")
            .replace("pool = \"rehearsal\"", "pool = \"rehearsal\"\neject = false");
        let path = home.join("tapevault.toml");
        fs::write(&path, config).unwrap();
        let settings = config::read(&path).unwrap().settings;
        let rehearsal = Self { folder, settings, clock: Arc::new(SystemClock::new()) };
        rehearsal.archive();
        fs::write(source.join("later.txt"), "what came later").unwrap();
        rehearsal.archive();
        rehearsal
    }

    fn archive(&self) {
        let (desk, told) = self.desk();
        let request = Request {
            job: "rehearsal".parse().unwrap(),
            half: Half::Both,
            copies: None,
            drive: None,
            dry_run: false,
        };
        let tally = archive::run(&self.settings, &request, &desk).unwrap();
        assert!(tally.is_clean(), "{tally:?} {:?}", told.0.lock().unwrap());
    }

    fn desk(&self) -> (Desk, Arc<Told>) {
        let told = Arc::new(Told::default());
        let monitor: Arc<dyn Monitor> = Arc::clone(&told) as _;
        let scratch = self.folder.path().to_owned();
        (Desk::new(Arc::clone(&self.clock), monitor, scratch), told)
    }

    fn catalog(&self) -> Catalog {
        Catalog::open(&self.settings.catalog.path).unwrap()
    }

    fn volume(&self, catalog: &Catalog) -> Volume {
        catalog.volumes().unwrap().remove(0)
    }

    /// Reads the volume back and gives what was found.
    fn verify(&self, catalog: &Catalog, volume: VolumeId, scope: &Scope) -> Vec<String> {
        let (desk, told) = self.desk();
        let mut station = rig::station(&self.settings, None, &self.clock).unwrap();
        let count = verify::volume(catalog, &mut station, volume, scope, &desk).unwrap();
        let told = std::mem::take(&mut *told.0.lock().unwrap());
        assert_eq!(count, told.len() as u64, "{told:?}");
        assert_eq!(desk.ledger.tally().findings, count);
        told
    }

    fn tape(&self) -> Tape {
        Tape::open(
            &self.folder.path().join("home").join("cartridges").join(format!("{BARCODE}.tap")),
        )
    }
}

fn fill(source: &Path) {
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("small.txt"), "hello").unwrap();
    fs::write(source.join("empty"), "").unwrap();
    fs::hard_link(source.join("small.txt"), source.join("twin.txt")).unwrap();
    symlink("small.txt", source.join("pointer")).unwrap();
    let long = format!("folder/{}.txt", "long-name-".repeat(15));
    fs::write(source.join(long), "behind a long name").unwrap();
    let big: Vec<u8> = (0..3_500_000_u32).map(|n| (n % 251).try_into().unwrap()).collect();
    fs::write(source.join("big.bin"), big).unwrap();
    let holes = File::create(source.join("holes.img")).unwrap();
    holes.write_all_at(b"island", 1 << 20).unwrap();
    holes.set_len(3 << 20).unwrap();
}

/// A `.tap` file, as the blocks of its tape files.
struct Tape {
    path: PathBuf,
    /// For each tape file its first object, and for each of its blocks offset and length.
    files: Vec<(u64, Vec<(u64, usize)>)>,
}

impl Tape {
    fn open(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let mut files = vec![(0, Vec::new())];
        let (mut at, mut object) = (0, 0);
        while let Some(word) = bytes.get(at..at + 4) {
            let length = usize::try_from(u32::from_le_bytes(word.try_into().unwrap())).unwrap();
            object += 1;
            if length == 0 {
                files.push((object, Vec::new()));
                at += 4;
            } else if length > 1 << 24 {
                break;
            } else {
                files.last_mut().unwrap().1.push((at as u64 + 4, length));
                at += 8 + length.next_multiple_of(2);
            }
        }
        files.retain(|(_, blocks)| !blocks.is_empty());
        Self { path: path.to_owned(), files }
    }

    fn read(&self, file: usize) -> Vec<u8> {
        let tape = File::open(&self.path).unwrap();
        let mut bytes = Vec::new();
        for &(offset, length) in &self.files[file].1 {
            let mut block = vec![0; length];
            tape.read_exact_at(&mut block, offset).unwrap();
            bytes.extend_from_slice(&block);
        }
        bytes
    }

    /// Flips bits of one byte of a tape file.
    fn flip(&self, file: usize, byte: u64) {
        let blocks = &self.files[file].1;
        let length = blocks[0].1 as u64;
        let offset = blocks[usize::try_from(byte / length).unwrap()].0 + byte % length;
        let tape = OpenOptions::new().read(true).write(true).open(&self.path).unwrap();
        let mut one = [0];
        tape.read_exact_at(&mut one, offset).unwrap();
        tape.write_all_at(&[one[0] ^ 0x11], offset).unwrap();
    }

    /// Makes a block one that cannot be read, or one that can again.
    fn mark(&self, file: usize, block: usize, bad: bool) {
        let (offset, length) = self.files[file].1[block];
        let class = u32::from(bad) << 31;
        let word = (class | u32::try_from(length).unwrap()).to_le_bytes();
        let tape = OpenOptions::new().write(true).open(&self.path).unwrap();
        tape.write_all_at(&word, offset - 4).unwrap();
        tape.write_all_at(&word, offset + length.next_multiple_of(2) as u64).unwrap();
    }
}

/// Places in a segment, and a word of what has to be said when a byte there is flipped.
fn places_in_segment(bytes: &[u8]) -> Vec<(u64, String)> {
    let mut places = Vec::new();
    let mut reader = Reader::new(bytes, Names::Safe);
    while let Some(found) = reader.next_member().unwrap() {
        let Some(key) = found.head.path.strip_prefix("files/").map(str::to_owned) else { continue };
        let header = format!("the header of {key} of files");
        places.push((found.offset + 148, header.clone()));
        if key.len() > 100 {
            // Also within its extended header, and within the plain one behind it.
            places.extend([found.offset + 700, found.data - 1].map(|at| (at, header.clone())));
        }
        if found.stored > 0 {
            let data = format!("the data of {key} of files");
            let data = if key == "holes.img" { header } else { data };
            places.push((found.data, data));
            let end = found.data + found.stored;
            places.push((end - 1, format!("the data of {key} of files")));
            if end % 512 > 0 {
                places.push((end, format!("the padding behind {key}")));
            }
        }
    }
    let Trailer::Segment(trailer) = trailer::decode(&bytes[bytes.len() - BLOCK..]).unwrap() else {
        panic!("a segment");
    };
    let last = (bytes.len() - BLOCK) as u64;
    let manifest_end = trailer.manifest_offset + trailer.manifest_bytes;
    let sums_end = trailer.sums_offset + trailer.sums_bytes;
    places.extend([
        (trailer.manifest_offset - 500, "the manifest's header".to_owned()),
        (trailer.manifest_offset + 5, "the manifest, line 0".to_owned()),
        (manifest_end - 3, "the manifest, line".to_owned()),
        (trailer.sums_offset - 100, "the header of the digests".to_owned()),
        (trailer.sums_offset + 70, "the digests".to_owned()),
        (sums_end - 1, "the digests".to_owned()),
        (last - 1, "the filler".to_owned()),
        (last, "the trailer".to_owned()),
        (last + 600, "the trailer".to_owned()),
        (last + 512 + 1023, "the trailer".to_owned()),
        (bytes.len() as u64 - 1, "the end of the archive".to_owned()),
    ]);
    if manifest_end % 512 > 0 {
        places.push((manifest_end, "the padding behind the manifest".to_owned()));
    }
    places
}

/// Places in an index, and a word of what has to be said when a byte there is flipped.
fn places_in_index(bytes: &[u8]) -> Vec<(u64, String)> {
    let mut places = Vec::new();
    let mut reader = Reader::new(bytes, Names::Safe);
    while let Some(found) = reader.next_member().unwrap() {
        let name = found.head.path.splitn(3, '/').nth(2).unwrap().to_owned();
        match name.as_str() {
            "SEAL.json" => {
                places.push((found.offset + 100, "its seal".to_owned()));
                places.push((found.data + 20, "its seal".to_owned()));
            }
            "TRAILER.json" => places.push((found.data + 100, "its trailer".to_owned())),
            _ => {
                places.push((found.offset + 5, String::new()));
                places.push((found.data, name.clone()));
                places.push((found.data + found.stored / 2, name));
            }
        }
    }
    places.push((bytes.len() as u64 - 1, "the end of the archive".to_owned()));
    places
}

/// Whether a tape file is an index.
fn is_index(bytes: &[u8]) -> bool {
    let first = Reader::new(bytes, Names::Safe).next_member().unwrap().unwrap();
    first.head.path.ends_with("/index.json")
}

#[test]
fn a_clean_volume_has_no_findings() {
    let rehearsal = Rehearsal::new();
    let catalog = rehearsal.catalog();
    let volume = rehearsal.volume(&catalog);
    assert_eq!(rehearsal.verify(&catalog, volume.id, &Scope::Sample(1)), [""; 0]);
    let evidence = catalog.evidence(volume.id).unwrap();
    assert!(!evidence[0].whole, "a sample is no proof of the whole");
    assert_eq!(rehearsal.verify(&catalog, volume.id, &Scope::Whole), [""; 0]);
    let evidence = catalog.evidence(volume.id).unwrap();
    assert!(evidence[0].whole && evidence[0].findings == 0);
    let copies = catalog.copies_on(volume.id).unwrap();
    assert_eq!(copies.len(), 2);
    assert!(copies.iter().all(|copy| copy.state == CopyState::Verified));
}

#[test]
fn any_flipped_byte_is_found_and_named_and_the_rest_is_read() {
    let rehearsal = Rehearsal::new();
    let catalog = rehearsal.catalog();
    let volume = rehearsal.volume(&catalog).id;
    let tape = rehearsal.tape();
    assert_eq!(tape.files.len(), 5, "label, two segments, each with an index");
    for file in 0..tape.files.len() {
        let bytes = tape.read(file);
        let index = file > 0 && is_index(&bytes);
        let places = match file {
            0 => vec![
                (5, "the header of label.json".to_owned()),
                (600, "label.json".to_owned()),
                (3000, "README.txt".to_owned()),
                (bytes.len() as u64 - 1, "the end of the archive".to_owned()),
            ],
            _ if index => places_in_index(&bytes),
            _ => places_in_segment(&bytes),
        };
        let object = tape.files[file].0;
        for (at, expected) in places {
            tape.flip(file, at);
            let told = rehearsal.verify(&catalog, volume, &Scope::Whole);
            let said = told.iter().any(|what| what.contains(&expected));
            assert!(said, "tape file {file}, byte {at}: {expected:?} not in {told:#?}");
            let one = index || told.len() == 1;
            assert!(one, "tape file {file}, byte {at}: one byte, one finding: {told:#?}");
            let here = match file {
                0 => "the label".to_owned(),
                _ if index => format!("the index at object {object} "),
                _ => format!("in tape file {file} "),
            };
            assert!(told.iter().all(|what| what.contains(&here)), "{here}: {told:#?}");
            tape.flip(file, at);
            let copies = catalog.copies_on(volume).unwrap();
            for copy in copies {
                let hit = copy.object == ObjectNumber(object);
                assert_eq!(copy.state == CopyState::Bad, hit, "tape file {file}, byte {at}");
            }
        }
        assert_eq!(rehearsal.verify(&catalog, volume, &Scope::Whole), [""; 0], "mended");
    }
}

#[test]
fn a_damaged_label_does_not_hide_the_volume_from_readers() {
    let rehearsal = Rehearsal::new();
    let catalog = rehearsal.catalog();
    let volume = rehearsal.volume(&catalog);
    rehearsal.tape().flip(0, 600);
    let (desk, _) = rehearsal.desk();
    let mut station = rig::station(&rehearsal.settings, None, &rehearsal.clock).unwrap();
    assert!(station.mounted(&catalog).is_err(), "not for writing");
    assert_eq!(verify::in_drive(&catalog, &mut station).unwrap(), volume.id);
    verify::bring(&catalog, &mut station, &volume, &desk).unwrap();
    assert_eq!(verify::volume(&catalog, &mut station, volume.id, &Scope::Whole, &desk).unwrap(), 1);
}

#[test]
fn only_the_members_that_were_hit_are_bad() {
    let rehearsal = Rehearsal::new();
    let catalog = rehearsal.catalog();
    let volume = rehearsal.volume(&catalog).id;
    let tape = rehearsal.tape();
    let bytes = tape.read(1);
    let mut reader = Reader::new(&bytes[..], Names::Safe);
    let big = loop {
        let found = reader.next_member().unwrap().unwrap();
        if found.head.path.ends_with("big.bin") {
            break found;
        }
    };
    let at = big.data + (2 << 20) + 77;
    tape.flip(1, at);
    let told = rehearsal.verify(&catalog, volume, &Scope::Whole);
    let begin = big.data + (2 << 20);
    let expected = format!("bytes {begin} to {}", begin + (1 << 20) - 1);
    assert!(told[0].contains(&expected), "the chaining values tell the 1 MiB: {told:?}");
    let copies = catalog.copies_on(volume).unwrap();
    let bad = catalog.bad_members(copies[0].segment, volume).unwrap();
    let entries = catalog.entries(copies[0].segment).unwrap();
    let keys: Vec<_> = entries.map(Result::unwrap).collect();
    let hit = keys.iter().find(|(_, entry)| entry.item.key.0 == b"big.bin").unwrap();
    assert_eq!(bad, [hit.0]);
    tape.flip(1, at);
    let trailer = (bytes.len() - BLOCK) as u64 + 700;
    tape.flip(1, trailer);
    assert_eq!(rehearsal.verify(&catalog, volume, &Scope::Whole).len(), 1);
    let bad = catalog.bad_members(copies[0].segment, volume).unwrap();
    assert_eq!(bad, [u32::try_from(keys.len()).unwrap()], "no member, but the copy is not whole");
}

#[test]
fn bad_blocks_are_passed_and_named() {
    let rehearsal = Rehearsal::new();
    let catalog = rehearsal.catalog();
    let volume = rehearsal.volume(&catalog).id;
    let tape = rehearsal.tape();
    for file in 0..tape.files.len() {
        let blocks = tape.files[file].1.len();
        for block in [0, blocks / 2, blocks - 1] {
            tape.mark(file, block, true);
            let told = rehearsal.verify(&catalog, volume, &Scope::Whole);
            assert!(!told.is_empty(), "tape file {file}, block {block}");
            assert!(told[0].contains("cannot be read"), "{told:?}");
            tape.mark(file, block, false);
        }
        assert_eq!(rehearsal.verify(&catalog, volume, &Scope::Whole), [""; 0], "mended");
    }
}

#[test]
fn a_volume_tells_on_itself_without_a_catalog() {
    let rehearsal = Rehearsal::new();
    let volume = rehearsal.volume(&rehearsal.catalog()).id;
    let path = rehearsal.folder.path().join("empty.sqlite");
    let empty = Catalog::create(&path, Mode::Rehearsal, &*rehearsal.clock).unwrap();
    let tape = rehearsal.tape();
    assert_eq!(rehearsal.verify(&empty, volume, &Scope::Whole), [""; 0]);
    for file in 1..tape.files.len() {
        let bytes = tape.read(file);
        let places =
            if is_index(&bytes) { places_in_index(&bytes) } else { places_in_segment(&bytes) };
        for (at, expected) in places.into_iter().step_by(3) {
            tape.flip(file, at);
            let told = rehearsal.verify(&empty, volume, &Scope::Whole);
            assert!(!told.is_empty(), "tape file {file}, byte {at}: {expected} was not found");
            tape.flip(file, at);
        }
    }
}

#[test]
fn a_rebuilt_catalog_verifies_as_the_first_did() {
    let mut rehearsal = Rehearsal::new();
    let path = rehearsal.folder.path().join("rebuilt.sqlite");
    rehearsal.settings.catalog.path = path;
    let (desk, told) = rehearsal.desk();
    let catalog = archive::open_catalog(&rehearsal.settings, &desk).unwrap();
    let mut station = rig::station(&rehearsal.settings, None, &rehearsal.clock).unwrap();
    let barcode = BARCODE.parse().unwrap();
    stock::rebuild(&catalog, &mut station, &[barcode], &desk).unwrap();
    stock::bring(&mut station, &catalog, Some(barcode), &desk).unwrap();
    drop(station);
    assert!(told.0.lock().unwrap().is_empty());
    let volume = rehearsal.volume(&catalog).id;
    assert_eq!(rehearsal.verify(&catalog, volume, &Scope::Whole), [""; 0]);
    let tape = rehearsal.tape();
    tape.flip(1, 3000);
    assert_eq!(rehearsal.verify(&catalog, volume, &Scope::Whole).len(), 1);
}
