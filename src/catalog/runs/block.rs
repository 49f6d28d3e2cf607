//! The bytes of a block of changes, and how items sort in the database.

use crate::{
    catalog::members::{
        Damage, Reader, Writer, length_of, put_varint, take, text_of, unzigzag, varint, zigzag,
    },
    ident::SegmentId,
    item::{Key, Place, Token, Version},
    volume::run::{Change, Row},
};

/// The item that a change is about.
pub(in crate::catalog) fn item(change: &Change) -> (&Key, &Version) {
    match change {
        Change::Put { row } => (&row.key, &row.version),
        Change::Gone { key, version } => (key, version),
    }
}

/// Bytes that sort as the item does: the key with its zeros escaped, a terminator that is less than
/// any continuation, the version.
pub(in crate::catalog) fn sortable(key: &Key, version: &Version) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.0.len() + version.0.len() + 2);
    for byte in &key.0 {
        bytes.push(*byte);
        if *byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(version.0.as_bytes());
    bytes
}

// Columns.
const FLAGS: usize = 0;
const SHARED: usize = 1;
const LENGTH: usize = 2;
const TEXT: usize = 3;
const VERSION_LENGTH: usize = 4;
const VERSION: usize = 5;
const TOKEN: usize = 6;
const PLACES: usize = 7;
const SEGMENT: usize = 8;
const ORDINAL: usize = 9;
/// Columns that are read in step; the dictionary of segments is read whole.
const POSITIONAL: usize = 10;
const SEGMENTS: usize = 10;
const COLUMNS: usize = 11;

// Flags.
const GONE: u64 = 1;
const LATEST: u64 = 1 << 1;
const MARKER: u64 = 1 << 2;
/// One place, as nearly all rows have.
const ONE_PLACE: u64 = 1 << 3;

/// The segments that a block names, each with the ordinal that was named last.
#[derive(Default)]
struct Segments(Vec<(SegmentId, u32)>);

/// Packs changes in order.
pub(in crate::catalog) fn encode(changes: &[Change]) -> Vec<u8> {
    let mut writer = Writer::new(COLUMNS);
    let mut segments = Segments::default();
    let mut before: &[u8] = &[];
    writer.mark();
    for change in changes {
        let (key, version) = item(change);
        let columns = &mut writer.columns;
        let shared = before.iter().zip(&key.0).take_while(|(a, b)| a == b).count();
        put_varint(&mut columns[SHARED], shared as u64);
        put_varint(&mut columns[LENGTH], (key.0.len() - shared) as u64);
        columns[TEXT].extend_from_slice(&key.0[shared..]);
        before = &key.0;
        put_varint(&mut columns[VERSION_LENGTH], version.0.len() as u64);
        columns[VERSION].extend_from_slice(version.0.as_bytes());
        match change {
            Change::Gone { .. } => put_varint(&mut columns[FLAGS], GONE),
            Change::Put { row } => put_row(columns, &mut segments, row),
        }
    }
    for (segment, _) in &segments.0 {
        writer.columns[SEGMENTS].extend_from_slice(segment.0.as_bytes());
    }
    writer.finish()
}

fn put_row(columns: &mut [Vec<u8>], segments: &mut Segments, row: &Row) {
    let mut flags = 0;
    for (set, flag) in
        [(row.latest, LATEST), (row.delete_marker, MARKER), (row.places.len() == 1, ONE_PLACE)]
    {
        flags |= if set { flag } else { 0 };
    }
    put_varint(&mut columns[FLAGS], flags);
    columns[TOKEN].extend_from_slice(&row.token.0.to_le_bytes());
    if flags & ONE_PLACE == 0 {
        put_varint(&mut columns[PLACES], row.places.len() as u64);
    }
    for place in &row.places {
        // From the end: neighbours lie in the same segment.
        let at = segments.0.iter().rposition(|(segment, _)| *segment == place.segment);
        let at = at.unwrap_or_else(|| {
            segments.0.push((place.segment, 0));
            segments.0.len() - 1
        });
        put_varint(&mut columns[SEGMENT], at as u64);
        let last = std::mem::replace(&mut segments.0[at].1, place.ordinal);
        put_varint(&mut columns[ORDINAL], zigzag(i64::from(place.ordinal) - i64::from(last)));
    }
}

/// Unpacks a block, or says what is wrong with it.
pub(in crate::catalog) fn decode(bytes: &[u8]) -> Result<Vec<Change>, String> {
    unpack(bytes).map_err(str::to_owned)
}

fn unpack(bytes: &[u8]) -> Result<Vec<Change>, Damage> {
    let reader = Reader::open(bytes, COLUMNS)?;
    let mut columns = reader.group::<POSITIONAL>(0)?;
    let named = reader.column(SEGMENTS).chunks_exact(16);
    let id = |bytes: &[u8]| SegmentId(uuid::Uuid::from_slice(bytes).expect("16 bytes"));
    let mut segments = Segments(named.map(|bytes| (id(bytes), 0)).collect());
    let mut changes = Vec::new();
    let mut key = Vec::new();
    while !columns[FLAGS].is_empty() {
        let flags = varint(&mut columns[FLAGS])?;
        let shared = length_of(&mut columns[SHARED])?;
        if shared > key.len() {
            return Err("a key shares more than there is");
        }
        key.truncate(shared);
        let length = length_of(&mut columns[LENGTH])?;
        key.extend_from_slice(take(&mut columns[TEXT], length)?);
        let length = length_of(&mut columns[VERSION_LENGTH])?;
        let version = Version(text_of(take(&mut columns[VERSION], length)?)?);
        let key = Key(key.clone());
        changes.push(if flags & GONE != 0 {
            Change::Gone { key, version }
        } else {
            let (token, places) = read_row(&mut columns, &mut segments, flags)?;
            let (latest, delete_marker) = (flags & LATEST != 0, flags & MARKER != 0);
            Change::Put { row: Row { key, version, token, latest, delete_marker, places } }
        });
    }
    Ok(changes)
}

fn read_row(
    columns: &mut [&[u8]; POSITIONAL],
    segments: &mut Segments,
    flags: u64,
) -> Result<(Token, Vec<Place>), Damage> {
    let token = take(&mut columns[TOKEN], 8)?.try_into().expect("8 bytes");
    let count = if flags & ONE_PLACE == 0 { varint(&mut columns[PLACES])? } else { 1 };
    let mut places = Vec::new();
    for _ in 0..count {
        let at = length_of(&mut columns[SEGMENT])?;
        let (segment, last) = segments.0.get_mut(at).ok_or("a segment is not named")?;
        let ordinal = i64::from(*last).checked_add(unzigzag(varint(&mut columns[ORDINAL])?));
        *last = ordinal
            .and_then(|ordinal| u32::try_from(ordinal).ok())
            .ok_or("a manifest line is out of bounds")?;
        places.push(Place { segment: *segment, ordinal: *last });
    }
    Ok((Token(u64::from_le_bytes(token)), places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sortable_bytes_sort_as_items() {
        let mut items = Vec::new();
        for key in [&b""[..], b"a", b"a\0", b"a\0b", b"a\0\0", b"a\x01", b"a/b", b"b", b"\xff"] {
            for version in ["", "1", "2"] {
                items.push((Key(key.to_vec()), Version(version.to_owned())));
            }
        }
        items.sort();
        let sorted: Vec<_> = items.iter().map(|(key, version)| sortable(key, version)).collect();
        assert!(sorted.is_sorted());
    }

    #[test]
    fn changes_read_back_and_cut_ones_do_not() {
        let segments = [SegmentId::new(), SegmentId::new()];
        let mut changes = Vec::new();
        for n in 0..500_u32 {
            let key = Key(format!("dir-{}/{n:05}", n / 20).into_bytes());
            let version = Version(if n % 3 == 0 { String::new() } else { format!("v{n}") });
            let places = (0..n % 4).map(|at| Place {
                segment: segments[usize::from(n % 7 == 0)],
                ordinal: u32::MAX / (n + at + 1),
            });
            let row = Row {
                key: key.clone(),
                version: version.clone(),
                token: Token(u64::MAX / u64::from(n + 1)),
                latest: n % 2 == 0,
                delete_marker: n % 11 == 0,
                places: places.collect(),
            };
            changes.push(if n % 5 == 0 {
                Change::Gone { key, version }
            } else {
                Change::Put { row }
            });
        }
        let bytes = encode(&changes);
        assert_eq!(decode(&bytes).unwrap(), changes);
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(decode(&encode(&[])).unwrap(), []);
    }
}
