//! Columns of a pack: one stretch of bytes for each field, compressed apart, with marks so that
//! reading can begin at any group of members.

use std::cell::RefCell;

/// Members between two marks, and behind one row of the trigram index.
pub(in crate::catalog) const GROUP: usize = 64;

/// Compression level. Higher ones save 2 % and cost as much time as all the rest.
const LEVEL: i32 = 3;
/// Shorter columns are not worth a frame.
const WORTH: usize = 24;
/// No column of a pack is longer, in bytes: keys have at most 4,096 bytes, what is odd about a
/// member is bounded by the formats.
const LONGEST: usize = 1 << 30;

/// What is wrong with stored bytes.
pub(in crate::catalog) type Damage = &'static str;

thread_local! {
    static COMPRESSOR: RefCell<zstd::bulk::Compressor<'static>> = RefCell::new({
        let mut compressor = zstd::bulk::Compressor::new(LEVEL).expect("a level that zstd has");
        compressor.include_checksum(false).expect("before any data");
        compressor.include_contentsize(false).expect("before any data");
        compressor
    });
    static DECOMPRESSOR: RefCell<zstd::bulk::Decompressor<'static>> = RefCell::new({
        zstd::bulk::Decompressor::new().expect("memory")
    });
}

/// Fills columns.
#[derive(Debug)]
pub(in crate::catalog) struct Writer {
    pub(in crate::catalog) columns: Vec<Vec<u8>>,
    marks: Vec<u8>,
    marked: Vec<usize>,
}

impl Writer {
    pub(in crate::catalog) fn new(columns: usize) -> Self {
        Self { columns: vec![Vec::new(); columns], marks: Vec::new(), marked: vec![0; columns] }
    }

    /// Begins a group.
    pub(in crate::catalog) fn mark(&mut self) {
        for (column, marked) in self.columns.iter().zip(&mut self.marked) {
            put_varint(&mut self.marks, (column.len() - *marked) as u64);
            *marked = column.len();
        }
    }

    /// All columns, the marks first.
    pub(in crate::catalog) fn finish(&self) -> Vec<u8> {
        let mut head = Vec::new();
        let mut body = Vec::new();
        for column in std::iter::once(&self.marks).chain(&self.columns) {
            put_column(&mut head, &mut body, column);
        }
        head.extend_from_slice(&body);
        head
    }
}

/// Appends one column: to `head` how it is stored and its lengths, to `body` its bytes.
fn put_column(head: &mut Vec<u8>, body: &mut Vec<u8>, column: &[u8]) {
    let length = column.len() as u64;
    if let Some((first, rest)) = column.split_first()
        && rest.iter().all(|byte| byte == first)
    {
        put_varint(head, length << 2 | 2);
        head.push(*first);
        return;
    }
    if column.len() >= WORTH {
        let packed = COMPRESSOR
            .with_borrow_mut(|compressor| compressor.compress(column))
            .expect("memory takes all bytes");
        if packed.len() + 2 < column.len() {
            put_varint(head, length << 2 | 1);
            put_varint(head, packed.len() as u64);
            body.extend_from_slice(&packed);
            return;
        }
    }
    put_varint(head, length << 2);
    body.extend_from_slice(column);
}

/// Columns read back.
#[derive(Debug)]
pub(in crate::catalog) struct Reader {
    columns: Vec<Vec<u8>>,
    /// Where each group begins in each column, group after group.
    marks: Vec<usize>,
}

enum Stored {
    Plain(usize),
    Packed { length: usize, packed: usize },
    Repeated(u8, usize),
}

impl Reader {
    /// Reads `columns` columns from what [`Writer::finish`] gave.
    pub(in crate::catalog) fn open(mut bytes: &[u8], columns: usize) -> Result<Self, Damage> {
        let mut stored = Vec::with_capacity(columns + 1);
        for _ in 0..=columns {
            let word = varint(&mut bytes)?;
            let length = usize::try_from(word >> 2).map_err(|_| "a column is too long")?;
            if length > LONGEST {
                return Err("a column is too long");
            }
            stored.push(match word & 3 {
                0 => Stored::Plain(length),
                1 => Stored::Packed { length, packed: length_of(&mut bytes)? },
                2 => Stored::Repeated(take(&mut bytes, 1)?[0], length),
                _ => return Err("a column is stored in an unknown way"),
            });
        }
        let mut read = Vec::with_capacity(columns + 1);
        for stored in stored {
            read.push(match stored {
                Stored::Plain(length) => take(&mut bytes, length)?.to_vec(),
                Stored::Repeated(byte, length) => vec![byte; length],
                Stored::Packed { length, packed } => {
                    let packed = take(&mut bytes, packed)?;
                    let column = DECOMPRESSOR
                        .with_borrow_mut(|decompressor| decompressor.decompress(packed, length))
                        .map_err(|_| "a column does not decompress")?;
                    if column.len() != length {
                        return Err("a column has the wrong length");
                    }
                    column
                }
            });
        }
        let marks = place_marks(&read.remove(0), &read)?;
        Ok(Self { columns: read, marks })
    }

    /// How many groups there are.
    pub(in crate::catalog) fn groups(&self) -> usize {
        self.marks.len() / self.columns.len()
    }

    /// The columns from the beginning of a group on.
    pub(in crate::catalog) fn group<const N: usize>(
        &self,
        group: usize,
    ) -> Result<[&[u8]; N], Damage> {
        let marks = self.marks.get(group * self.columns.len()..).ok_or("no such group")?;
        if marks.len() < N || self.columns.len() < N {
            return Err("no such group");
        }
        Ok(std::array::from_fn(|column| &self.columns[column][marks[column]..]))
    }

    /// A whole column.
    pub(in crate::catalog) fn column(&self, column: usize) -> &[u8] {
        &self.columns[column]
    }
}

fn place_marks(mut bytes: &[u8], columns: &[Vec<u8>]) -> Result<Vec<usize>, Damage> {
    let mut marks: Vec<usize> = Vec::new();
    while !bytes.is_empty() {
        for (number, column) in columns.iter().enumerate() {
            let before =
                marks.len().checked_sub(columns.len()).map_or(0, |previous| marks[previous]);
            let mark = before.checked_add(length_of(&mut bytes)?).ok_or("a mark is too far")?;
            if mark > column.len() {
                return Err("a mark is beyond its column");
            }
            marks.push(mark);
            debug_assert_eq!((marks.len() - 1) % columns.len(), number);
        }
    }
    Ok(marks)
}

/// How many bytes two texts have in common at their beginning.
pub(in crate::catalog) fn shared(a: &[u8], b: &[u8]) -> usize {
    let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let alike = words.take_while(|(a, b)| a == b).count() * 8;
    alike + a[alike..].iter().zip(&b[alike..]).take_while(|(a, b)| a == b).count()
}

/// Appends `value` in seven bits a byte, the lowest first.
#[inline]
pub(in crate::catalog) fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

/// Reads what [`put_varint`] wrote.
pub(in crate::catalog) fn varint(from: &mut &[u8]) -> Result<u64, Damage> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first().ok_or("a number is cut short")?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number is too long")
}

/// Reads a number that counts bytes.
pub(in crate::catalog) fn length_of(from: &mut &[u8]) -> Result<usize, Damage> {
    usize::try_from(varint(from)?).map_err(|_| "a length is too long")
}

/// Splits `length` bytes off.
pub(in crate::catalog) fn take<'a>(from: &mut &'a [u8], length: usize) -> Result<&'a [u8], Damage> {
    let (taken, rest) = from.split_at_checked(length).ok_or("bytes are missing")?;
    *from = rest;
    Ok(taken)
}

/// A difference as a number that is small when it is near zero.
pub(in crate::catalog) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The difference that [`zigzag`] took.
pub(in crate::catalog) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_read_back_from_any_group() {
        let mut writer = Writer::new(3);
        for group in 0..5_u8 {
            writer.mark();
            for at in 0..50 {
                writer.columns[0].push(7);
                put_varint(&mut writer.columns[1], u64::from(group) * 1000 + at);
            }
        }
        let bytes = writer.finish();
        let reader = Reader::open(&bytes, 3).unwrap();
        assert_eq!(reader.groups(), 5);
        let [mut first, mut second, third] = reader.group::<3>(3).unwrap();
        assert_eq!(take(&mut first, 2), Ok(&[7, 7][..]));
        assert_eq!(varint(&mut second), Ok(3000));
        assert!(third.is_empty());
        assert!(reader.group::<3>(5).is_err());
        for cut in 0..bytes.len() {
            assert!(Reader::open(&bytes[..cut], 3).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_shared_is_counted() {
        let text = b"0123456789abcdefghi";
        for end in 0..text.len() {
            let mut other = text.to_vec();
            other[end] = b'x';
            assert_eq!(shared(text, &other), end);
            assert_eq!(shared(&other, text), end);
            assert_eq!(shared(text, &text[..end]), end);
            assert_eq!(shared(&text[..end], text), end);
        }
    }

    #[test]
    fn differences_come_back() {
        for value in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }
}
