//! Broken inputs, each named for what is wrong with it.

use std::fs;

use tapevault::tar::{Names, ReadError, Reader};
use tapevault::volume::index::{Entries, IndexError, IndexReader, Piece, RunReader};
use tapevault::volume::label::{self, LabelError};
use tapevault::volume::lines::{self, ManifestError};
use tapevault::volume::segment;
use tapevault::volume::trailer::{self, Trailer, TrailerError};

use crate::build::BLOCK;
use crate::golden::tape_files;

fn tape_file(number: usize) -> Vec<u8> {
    fs::read(&tape_files("whole")[number]).unwrap()
}

fn final_block(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len() - BLOCK as usize..]
}

fn trailer_of(bytes: &[u8]) -> segment::Trailer {
    match trailer::decode(final_block(bytes)).unwrap() {
        Trailer::Segment(trailer) => trailer,
        Trailer::Index(_) => panic!("it is a segment"),
    }
}

fn manifest_of(bytes: &[u8]) -> &[u8] {
    let trailer = trailer_of(bytes);
    let begin = usize::try_from(trailer.manifest_offset).unwrap();
    &bytes[begin..begin + usize::try_from(trailer.manifest_bytes).unwrap()]
}

fn place_of(bytes: &[u8], text: &str) -> usize {
    memchr::memmem::find(bytes, text.as_bytes()).unwrap()
}

fn read_all(bytes: &[u8]) -> Result<usize, ReadError> {
    let mut reader = Reader::new(bytes, Names::Safe);
    let mut count = 0;
    while reader.next_member()?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn read_index(bytes: &[u8]) -> Result<(), IndexError> {
    let mut reader = IndexReader::new(bytes)?;
    while reader.next_piece()?.is_some() {}
    Ok(())
}

#[test]
fn label_truncated() {
    let bytes = tape_file(0);
    assert!(matches!(label::decode(&bytes[..700]), Err(LabelError::Foreign)));
}

#[test]
fn label_of_a_later_format() {
    let mut bytes = tape_file(0);
    let at = place_of(&bytes, "\"format\": 1");
    bytes[at + 10] = b'9';
    assert!(matches!(label::decode(&bytes), Err(LabelError::Later(9))));
}

#[test]
fn label_json_damaged() {
    let mut bytes = tape_file(0);
    let at = place_of(&bytes, "\"volser\"");
    bytes[at] = b'!';
    assert!(matches!(label::decode(&bytes), Err(LabelError::Damaged(_))));
}

#[test]
fn volume_of_another_program() {
    let mut bytes = vec![0; 10_240];
    bytes[..8].copy_from_slice(b"VOL1TAPE");
    assert!(matches!(label::decode(&bytes), Err(LabelError::Foreign)));
}

#[test]
fn member_header_flipped() {
    let bytes = tape_file(1);
    for entry in lines::Reader::new(manifest_of(&bytes)).map(Result::unwrap) {
        let mut broken = bytes.clone();
        broken[usize::try_from(entry.offset).unwrap() + 3] ^= 1;
        match read_all(&broken).unwrap_err() {
            ReadError::Malformed { at, .. } => assert_eq!(at, entry.offset),
            error @ (ReadError::Io { .. } | ReadError::Truncated { .. }) => panic!("{error}"),
        }
    }
}

#[test]
fn segment_cut_within_a_member() {
    let bytes = tape_file(1);
    let error = read_all(&bytes[..bytes.len() / 3]).unwrap_err();
    assert!(matches!(error, ReadError::Truncated { .. }), "{error}");
}

#[test]
fn lone_zero_unit_within_a_segment() {
    let mut bytes = tape_file(1);
    let entry = lines::Reader::new(manifest_of(&bytes)).nth(1).unwrap().unwrap();
    let at = usize::try_from(entry.offset).unwrap();
    bytes.splice(at..at, [0; 512]);
    let error = read_all(&bytes).unwrap_err();
    assert!(matches!(error, ReadError::Malformed { what: "a lone zero unit", .. }), "{error}");
}

#[test]
fn trailer_missing() {
    let bytes = tape_file(1);
    let cut = &bytes[..bytes.len() - BLOCK as usize];
    assert!(matches!(trailer::decode(final_block(cut)), Err(TrailerError::None)));
}

#[test]
fn trailer_json_damaged() {
    let mut bytes = tape_file(1);
    let at = bytes.len() - BLOCK as usize + 512;
    bytes[at] = b'!';
    assert!(matches!(trailer::decode(final_block(&bytes)), Err(TrailerError::Damaged(_))));
}

#[test]
fn trailer_of_a_later_format() {
    let mut bytes = tape_file(1);
    let from = bytes.len() - BLOCK as usize;
    let at = from + place_of(&bytes[from..], "\"format\":1");
    bytes[at + 9] = b'2';
    assert!(matches!(trailer::decode(final_block(&bytes)), Err(TrailerError::Later(2))));
}

#[test]
fn block_missing_before_trailer() {
    let bytes = tape_file(1);
    let blocks = bytes.len() as u64 / u64::from(BLOCK);
    let error = trailer::confirm(final_block(&bytes), blocks - 1).unwrap_err();
    assert!(matches!(error, TrailerError::Blocks { .. }), "{error}");
}

#[test]
fn filemark_missing_before_trailer() {
    // A torn segment and a whole one that nothing separates.
    let both = [tape_file(1), tape_file(1)].concat();
    let blocks = both.len() as u64 / u64::from(BLOCK);
    let error = trailer::confirm(final_block(&both), blocks).unwrap_err();
    assert!(matches!(error, TrailerError::Blocks { .. }), "{error}");
}

#[test]
fn trailer_for_other_blocks() {
    let bytes = tape_file(1);
    let error = trailer::decode(&bytes[bytes.len() - 2 * BLOCK as usize..]).unwrap_err();
    assert!(matches!(error, TrailerError::None | TrailerError::BlockSize { .. }), "{error}");
    let long = [final_block(&bytes), &[0; 512]].concat();
    let error = trailer::decode(&long).unwrap_err();
    assert!(matches!(error, TrailerError::BlockSize { .. }), "{error}");
}

#[test]
fn manifest_digest_wrong() {
    let mut bytes = tape_file(1);
    let trailer = trailer_of(&bytes);
    let at = usize::try_from(trailer.manifest_offset).unwrap() + 40;
    bytes[at] ^= 1;
    let digest = tapevault::digest::Digest::of(manifest_of(&bytes));
    assert_ne!(digest, trailer.manifest_digest);
}

#[test]
fn manifest_out_of_order() {
    let bytes = tape_file(1);
    let mut lines: Vec<_> = manifest_of(&bytes).split_inclusive(|&b| b == b'\n').collect();
    lines.swap(3, 4);
    let error = lines::Reader::new(&lines.concat()[..]).find_map(Result::err).unwrap();
    assert!(matches!(error, ManifestError::OutOfOrder { line: 4 }), "{error}");
}

#[test]
fn manifest_cut_within_a_line() {
    let bytes = tape_file(1);
    let manifest = manifest_of(&bytes);
    let last = lines::Reader::new(&manifest[..manifest.len() - 1]).last().unwrap();
    assert!(matches!(last, Err(ManifestError::Endless { .. })), "{last:?}");
}

#[test]
fn index_byte_flipped_anywhere_before_its_seal() {
    let mut bytes = tape_file(2);
    read_index(&bytes).unwrap();
    let Trailer::Index(trailer) = trailer::decode(final_block(&bytes)).unwrap() else {
        panic!("it is an index")
    };
    for at in (0..usize::try_from(trailer.sealed_bytes).unwrap()).step_by(13) {
        bytes[at] ^= 4;
        assert!(read_index(&bytes).is_err(), "byte {at}");
        bytes[at] ^= 4;
    }
}

#[test]
fn index_seal_wrong() {
    let mut bytes = tape_file(2);
    let at = place_of(&bytes, "{\"blake3\":\"") + 11;
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    let error = read_index(&bytes).unwrap_err();
    assert!(matches!(error, IndexError::Seal { .. }), "{error}");
}

#[test]
fn index_cut_before_its_seal() {
    let bytes = tape_file(2);
    let at = place_of(&bytes, "{\"blake3\":\"");
    for length in [at - 512, at - 1, at / 2] {
        let error = read_index(&bytes[..length]).unwrap_err();
        assert!(matches!(error, IndexError::Tar(ReadError::Truncated { .. })), "{error}");
    }
}

#[test]
fn segment_where_an_index_belongs() {
    let error = read_index(&tape_file(1)).unwrap_err();
    assert!(matches!(error, IndexError::Unexpected { .. }), "{error}");
}

/// Everything that can be made of bytes that claim to be a tape file.
fn decode_all(bytes: &[u8]) -> usize {
    let mut errors = usize::from(label::decode(bytes).is_err());
    errors += usize::from(trailer::decode(final_block(bytes)).is_err());
    errors += usize::from(read_all(bytes).is_err());
    let Ok(mut reader) = IndexReader::new(bytes) else { return errors + 1 };
    loop {
        match reader.next_piece() {
            Ok(Some(Piece::Manifest(_))) => {
                errors += Entries::new(&mut reader).unwrap().filter(Result::is_err).count();
            }
            Ok(Some(Piece::Run(_))) => match RunReader::new(&mut reader) {
                Ok(run) => errors += run.filter(Result::is_err).count(),
                Err(_) => errors += 1,
            },
            Ok(Some(Piece::Segments(_) | Piece::Tables)) => {}
            Ok(None) => return errors,
            Err(_) => return errors + 1,
        }
    }
}

#[test]
fn flipped_tape_files_never_panic() {
    for number in 0..3 {
        let bytes = tape_file(number);
        let whole = decode_all(&bytes);
        let mut found = 0;
        for at in (0..bytes.len()).step_by(bytes.len() / 800) {
            for mask in [1, 0x80] {
                let mut broken = bytes.clone();
                broken[at] ^= mask;
                found += usize::from(decode_all(&broken) > whole);
            }
        }
        assert!(found > 0, "tape file {number}");
    }
}
