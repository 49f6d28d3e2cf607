//! The bytes of a block of changes, and how items sort in the database.

use crate::{
    item::{Key, Version},
    volume::run::Change,
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

/// Packs changes in order.
pub(in crate::catalog) fn encode(changes: &[Change]) -> Vec<u8> {
    let mut text = Vec::new();
    for change in changes {
        serde_json::to_writer(&mut text, change).expect("a change is JSON");
        text.push(b'\n');
    }
    zstd::bulk::compress(&text, 3).expect("memory takes all bytes")
}

/// Unpacks a block, or says what is wrong with it.
pub(in crate::catalog) fn decode(bytes: &[u8]) -> Result<Vec<Change>, String> {
    let text = zstd::stream::decode_all(bytes).map_err(|error| error.to_string())?;
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(|error| error.to_string()))
        .collect()
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
}
