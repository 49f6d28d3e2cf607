//! Items by the places that `find` prints.

use std::collections::HashSet;

use crate::{
    catalog::{Catalog, Pattern, Query},
    item::Place,
    job::{
        JobError,
        restore::{
            select::{Picker, name_bytes},
            wanted::Member,
        },
    },
    volume::manifest::{self, Entry, Part},
};

fn entry(catalog: &Catalog, place: Place) -> Result<Entry, JobError> {
    catalog.entry(place)?.ok_or_else(|| JobError::NotHeld {
        what: format!("nothing is at place {}:{}", place.segment, place.ordinal),
    })
}

impl Picker<'_, '_> {
    /// Takes these, each with all its parts. Several states of one key go beside each other.
    pub(super) fn take_places(&mut self, places: &[Place]) -> Result<(), JobError> {
        let mut seen = HashSet::new();
        let mut named = HashSet::new();
        for place in places {
            let entry = entry(self.catalog, *place)?;
            let members = match entry.part {
                None => vec![*place],
                Some(_) => self.siblings(*place, &entry)?,
            };
            if !seen.insert(members[0]) {
                continue;
            }
            let key = name_bytes(&entry.source, &entry.item.key, &Default::default());
            let beside = if named.insert(key) {
                None
            } else if entry.item.version.is_none() {
                Some(format!("{}:{}", members[0].segment, members[0].ordinal))
            } else {
                Some(entry.item.version.0.clone())
            };
            if entry.part.is_none() {
                self.take_whole(*place, &entry, beside.as_deref())?;
            } else {
                self.take_parts(&members, beside.as_deref())?;
            }
        }
        Ok(())
    }

    /// The places of all parts of the content that `place` has a part of.
    fn siblings(&mut self, place: Place, entry: &Entry) -> Result<Vec<Place>, JobError> {
        let item = &entry.item;
        let query = Query {
            pattern: Pattern::Exact(item.key.0.clone()),
            sources: vec![entry.source.clone()],
            ..Query::default()
        };
        let mut found: Vec<(u32, Place, Member)> = Vec::new();
        self.each_hit(&query, |_, hit| {
            let other = &hit.entry.item;
            let same = (&other.version, other.token, other.size, other.modified)
                == (&item.version, item.token, item.size, item.modified);
            let Some(part) =
                hit.entry.part.filter(|part| same && Some(part.of) == entry.part.map(|p| p.of))
            else {
                return Ok(());
            };
            found.extend(Member::of(hit.place, &hit.entry).map(|m| (part.number, hit.place, m)));
            Ok(())
        })?;
        // Of a part that was archived more than once, any serves; the one that was asked for first.
        found.sort_by_key(|(number, at, _)| (*number, *at != place, *at));
        let spans: Vec<Part> = found.iter().filter_map(|(.., member)| member.part).collect();
        let of = entry.part.map_or(0, |part| part.of);
        if let Some(joined) = manifest::join(&spans, (of, item.size)) {
            return Ok(joined.into_iter().map(|index| found[index].1).collect());
        }
        Err(JobError::NotHeld {
            what: format!("not all parts of {} are held", item.key.printable()),
        })
    }
}
