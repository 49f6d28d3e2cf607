//! From what was asked for to the items that are to come back.

mod current;
mod places;

use std::collections::HashMap;

use crate::{
    catalog::{Catalog, Query, Snapshot},
    clock::Timestamp,
    digest::Digest,
    ident::SourceName,
    item::{Key, Kind, Place, Version},
    job::{
        Desk, JobError,
        restore::{
            Selection,
            outcome::{NotRestored, Outcome},
            spool::{Spool, SpoolWriter},
            wanted::{Member, Wanted, WantedFile},
        },
    },
    sorter::Sorter,
    volume::manifest::{Entry, LinkedTo},
};

/// Memory for sorting what has several names or several parts, before it spills.
const SORTER_BYTES: usize = 16 << 20;

/// What is to come back, on disk.
#[derive(Debug)]
pub(super) struct Selected {
    /// Items whose bytes the catalog knows without the tape: directories, symlinks, empty files.
    pub(super) plain: Spool<Wanted>,
    /// Files whose bytes are on tape.
    pub(super) files: Spool<WantedFile>,
    /// Further names of such files.
    pub(super) links: Spool<WantedFile>,
    /// Bytes of content in `files`.
    pub(super) bytes: u64,
}

impl Selected {
    /// How many items there are.
    pub(super) fn items(&self) -> u64 {
        self.plain.count() + self.files.count() + self.links.count()
    }
}

/// Selects.
///
/// # Errors
///
/// When a place or a source is not known, or catalog or temporary files fail.
pub(super) fn select(
    catalog: &Catalog,
    selection: &Selection,
    desk: &Desk,
    outcome: &mut Outcome<'_>,
) -> Result<Selected, JobError> {
    let mut picker = Picker {
        catalog,
        desk,
        outcome,
        plain: SpoolWriter::new(desk)?,
        files: SpoolWriter::new(desk)?,
        groups: Sorter::new(&desk.scratch, SORTER_BYTES),
        in_parts: Sorter::new(&desk.scratch, SORTER_BYTES),
        bytes: 0,
    };
    match selection {
        Selection::Query { query, all_versions } => {
            let sources = asked_sources(catalog, query)?;
            picker.take_query(query, &sources, *all_versions)?;
        }
        Selection::Places(places) => picker.take_places(places)?,
    }
    picker.finish()
}

fn asked_sources(catalog: &Catalog, query: &Query) -> Result<Vec<SourceName>, JobError> {
    let known = catalog.sources()?;
    for name in &query.sources {
        if !known.contains(name) {
            return Err(JobError::NotHeld { what: format!("nothing is held of source {name}") });
        }
    }
    Ok(if query.sources.is_empty() { known } else { query.sources.clone() })
}

/// Takes items one by one and sorts out what becomes of them.
struct Picker<'a, 'b> {
    catalog: &'a Catalog,
    desk: &'a Desk,
    outcome: &'a mut Outcome<'b>,
    plain: SpoolWriter<Wanted>,
    files: SpoolWriter<WantedFile>,
    /// Files with several names, by what they have in common.
    groups: Sorter,
    /// Items in parts, once for each part that was found.
    in_parts: Sorter,
    bytes: u64,
}

/// One item's key and version, as bytes that no other item has.
fn name_bytes(source: &SourceName, key: &Key, version: &Version) -> Vec<u8> {
    let mut bytes = source.as_str().as_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(&(key.0.len() as u64).to_be_bytes());
    bytes.extend_from_slice(&key.0);
    bytes.extend_from_slice(version.0.as_bytes());
    bytes
}

/// Where an item goes: to its key in the source's folder, or, with a name of its own, beside it.
fn target(source: &SourceName, key: &Key, beside: Option<&str>) -> Key {
    let mut path = source.as_str().as_bytes().to_vec();
    // The empty key is the source's root.
    if !key.0.is_empty() || beside.is_some() {
        path.push(b'/');
    }
    path.extend_from_slice(&key.0);
    if let Some(name) = beside {
        path.extend_from_slice(b"@versions/");
        path.extend_from_slice(name.as_bytes());
    }
    Key(path)
}

fn wanted(entry: &Entry, beside: Option<&str>) -> Wanted {
    Wanted {
        source: entry.source.clone(),
        item: entry.item.clone(),
        target: target(&entry.source, &entry.item.key, beside),
        beside: beside.is_some(),
    }
}

impl Picker<'_, '_> {
    /// Takes an item that is one member.
    fn take_whole(
        &mut self,
        place: Place,
        entry: &Entry,
        beside: Option<&str>,
    ) -> Result<(), JobError> {
        let wanted = wanted(entry, beside);
        match &entry.item.kind {
            Kind::DeleteMarker => Ok(()),
            Kind::Directory
            | Kind::Symlink { .. }
            | Kind::Fifo
            | Kind::CharacterDevice { .. }
            | Kind::BlockDevice { .. } => self.plain.push(&wanted),
            Kind::File => {
                let member = match &entry.linked_to {
                    None => Member::of(place, entry),
                    Some(link) => self.linked(place, entry, link)?,
                };
                match member {
                    Some(member) => self.take_file(WantedFile { wanted, members: vec![member] }),
                    None => self.outcome.lost(
                        &wanted,
                        NotRestored::Damaged,
                        "the catalog does not say where its bytes are",
                    ),
                }
            }
        }
    }

    /// The member that holds the bytes of a hard link: another one of the same segment.
    fn linked(
        &self,
        place: Place,
        entry: &Entry,
        link: &LinkedTo,
    ) -> Result<Option<Member>, JobError> {
        let wanted = (&entry.source, &link.key, &entry.item.version, 0);
        let Some(segment) = self.catalog.segment(place.segment)? else { return Ok(None) };
        let (mut low, mut high) = (0, u32::try_from(segment.members).unwrap_or(u32::MAX));
        while low < high {
            let middle = Place { ordinal: low + (high - low) / 2, ..place };
            let Some(found) = self.catalog.entry(middle)? else { return Ok(None) };
            match found.order().cmp(&wanted) {
                std::cmp::Ordering::Equal => return Ok(Member::of(middle, &found)),
                std::cmp::Ordering::Less => low = middle.ordinal + 1,
                std::cmp::Ordering::Greater => high = middle.ordinal,
            }
        }
        Ok(None)
    }

    /// Takes an item whose parts, in order, are at these places.
    fn take_parts(&mut self, places: &[Place], beside: Option<&str>) -> Result<(), JobError> {
        let mut members = Vec::with_capacity(places.len());
        let mut first = None;
        for place in places {
            let entry = self.catalog.entry(*place)?;
            let member = entry.as_ref().and_then(|entry| Member::of(*place, entry));
            if first.is_none() {
                first = entry;
            }
            members.extend(member);
        }
        let Some(first) = first else { return Ok(()) };
        let wanted = wanted(&first, beside);
        if is_whole(&members, wanted.item.size) {
            return self.take_file(WantedFile { wanted, members });
        }
        self.outcome.lost(&wanted, NotRestored::Damaged, "the catalog does not know all its parts")
    }

    fn take_file(&mut self, file: WantedFile) -> Result<(), JobError> {
        if let Some(group) = file.link_group() {
            let mut key = name_bytes(&file.wanted.source, &Key::default(), &Version::default());
            key.extend_from_slice(&group.device.to_be_bytes());
            key.extend_from_slice(&group.inode.to_be_bytes());
            key.extend_from_slice(&file.identity().0);
            let value = serde_json::to_vec(&file).expect("a file is text, numbers and lists");
            return self.groups.push_keyed(&key, &value).map_err(JobError::sorting);
        }
        self.put_file(&file)
    }

    fn put_file(&mut self, file: &WantedFile) -> Result<(), JobError> {
        let is_empty = file.wanted.item.size == 0
            && file.members.iter().all(|member| member.digest == Digest::of(b""));
        if is_empty {
            return self.plain.push(&file.wanted);
        }
        self.bytes += file.wanted.item.size;
        self.files.push(file)
    }

    /// Reads back what had to be sorted first.
    fn finish(mut self) -> Result<Selected, JobError> {
        let in_parts = std::mem::replace(&mut self.in_parts, Sorter::new(&self.desk.scratch, 0));
        let mut before = None;
        for record in in_parts.finish().map_err(JobError::sorting)? {
            let record = record.map_err(JobError::sorting)?;
            if before.as_deref() == Some(record.key()) {
                continue;
            }
            let (places, beside): (Vec<Place>, Option<String>) =
                serde_json::from_slice(record.value()).expect("it was written so");
            self.take_parts(&places, beside.as_deref())?;
            before = Some(record.key().to_vec());
        }
        let mut links = SpoolWriter::new(self.desk)?;
        let groups = std::mem::replace(&mut self.groups, Sorter::new(&self.desk.scratch, 0));
        let mut before = None;
        for record in groups.finish().map_err(JobError::sorting)? {
            let record = record.map_err(JobError::sorting)?;
            let file = serde_json::from_slice(record.value()).expect("it was written so");
            if before.as_deref() == Some(record.key()) {
                links.push(&file)?;
            } else {
                self.put_file(&file)?;
                before = Some(record.key().to_vec());
            }
        }
        Ok(Selected {
            plain: self.plain.finish()?,
            files: self.files.finish()?,
            links: links.finish()?,
            bytes: self.bytes,
        })
    }

    fn push_parts(
        &mut self,
        entry: &Entry,
        places: &[Place],
        beside: Option<&str>,
    ) -> Result<(), JobError> {
        let key = name_bytes(&entry.source, &entry.item.key, &entry.item.version);
        let value = serde_json::to_vec(&(places, beside)).expect("names and numbers");
        self.in_parts.push_keyed(&key, &value).map_err(JobError::sorting)
    }
}

/// Whether the members are all parts of a file of this size, in order.
fn is_whole(members: &[Member], size: u64) -> bool {
    let mut at = 0;
    let mut number = 0;
    for member in members {
        let Some(part) = member.part else { return members.len() == 1 };
        number += 1;
        let fits = part.number == number
            && u64::from(part.of) == members.len() as u64
            && part.offset == at;
        if !fits {
            return false;
        }
        at += part.length;
    }
    number > 0 && at == size
}

/// The newest complete run of each source, to look up what was current.
type Snapshots = HashMap<SourceName, Snapshot>;

/// The moment that a query asks for.
fn moment(query: &Query, desk: &Desk) -> Timestamp {
    query.as_of.unwrap_or_else(|| desk.clock.now())
}
