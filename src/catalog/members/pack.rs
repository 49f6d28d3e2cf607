//! The bytes of a pack.

use crate::volume::manifest::Entry;

/// A pack as it is stored.
#[derive(Debug)]
pub(in crate::catalog) struct Encoded {
    pub(in crate::catalog) keys: Vec<u8>,
    pub(in crate::catalog) facts: Vec<u8>,
}

/// Packs entries of one source, in order. Chaining values are left out.
pub(in crate::catalog) fn encode(entries: &[Entry]) -> Encoded {
    let mut text = Vec::new();
    for entry in entries {
        let entry = Entry { chaining: String::new(), ..entry.clone() };
        serde_json::to_writer(&mut text, &entry).expect("an entry is JSON");
        text.push(b'\n');
    }
    let facts = zstd::bulk::compress(&text, 3).expect("memory takes all bytes");
    Encoded { keys: Vec::new(), facts }
}

/// Unpacks all entries, or says what is wrong with the bytes.
pub(in crate::catalog) fn decode(_keys: &[u8], facts: &[u8]) -> Result<Vec<Entry>, String> {
    let text = zstd::stream::decode_all(facts).map_err(|error| error.to_string())?;
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(|error| error.to_string()))
        .collect()
}
