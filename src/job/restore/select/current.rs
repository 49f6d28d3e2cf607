//! What was current at a date, by each source's newest complete run until then.

use std::{collections::HashMap, ops::ControlFlow};

use serde::{Deserialize, Serialize};

use crate::{
    catalog::{Catalog, CatalogError, Hit, Pattern, Query},
    clock::Timestamp,
    ident::{SegmentId, SourceName},
    item::{Kind, Place},
    job::{
        JobError,
        restore::{
            outcome::NotRestored,
            select::{Picker, SORTER_BYTES, Snapshots, moment, name_bytes},
        },
    },
    sorter::Sorter,
    volume::{
        manifest::{self, Entry, Part},
        run::Run,
    },
};

/// One archived state of an item, from a source without a complete run.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// When its segment was sealed.
    sealed: Timestamp,
    place: Place,
    entry: Entry,
}

impl Picker<'_, '_> {
    /// Takes what a query finds among what was current.
    pub(super) fn take_query(
        &mut self,
        query: &Query,
        sources: &[SourceName],
        all_versions: bool,
    ) -> Result<(), JobError> {
        let at = moment(query, self.desk);
        let mut snapshots = Snapshots::new();
        let mut without = Vec::new();
        for source in sources {
            match self.catalog.run_as_of(source, at)? {
                Some(run) => {
                    self.desk.notice(format!(
                        "{source}: as its run of {} found it",
                        Timestamp::from_parts(run.started.parts().0, 0)
                    ));
                    self.report_missing(query, &run, all_versions)?;
                    snapshots.insert(source.clone(), self.catalog.snapshot(run.id)?);
                }
                None => without.push(source.clone()),
            }
        }
        if !snapshots.is_empty() {
            let sources = snapshots.keys().cloned().collect();
            let query = Query { as_of: Some(at), sources, ..query.clone() };
            self.take_rows(&query, &mut snapshots, all_versions)?;
        }
        for source in without {
            if query.as_of.is_some() {
                self.desk.notice(format!("{source}: no complete run had ended by then"));
                continue;
            }
            self.desk.notice(format!(
                "{source}: no run was completed yet, so the newest state of each item is taken, \
                 and what was deleted may come back"
            ));
            let query = Query { as_of: None, sources: vec![source], ..query.clone() };
            self.take_newest(&query, all_versions)?;
        }
        Ok(())
    }

    /// Reports what a run saw and could not archive.
    fn report_missing(
        &mut self,
        query: &Query,
        run: &Run,
        all_versions: bool,
    ) -> Result<(), JobError> {
        // Of what was not archived nothing is known that these could be held against.
        let unknowable = matches!(query.pattern, Pattern::Digest(_))
            || !query.volumes.is_empty()
            || query.modified_from.is_some()
            || query.modified_to.is_some();
        if run.missing == 0 || unknowable {
            return Ok(());
        }
        let matches = query.key_matcher();
        for row in self.catalog.rows(run.id)? {
            let row = row?;
            let concerns = row.places.is_empty()
                && !row.delete_marker
                && (row.latest || all_versions)
                && matches(&row.key);
            if concerns {
                let why = NotRestored::NeverArchived;
                self.outcome.lost_item(&run.source, (&row.key, &row.version), why, "")?;
            }
        }
        Ok(())
    }

    fn take_rows(
        &mut self,
        query: &Query,
        snapshots: &mut Snapshots,
        all_versions: bool,
    ) -> Result<(), JobError> {
        self.each_hit(query, |picker, hit| picker.take_row(&hit, snapshots, all_versions))
    }

    fn take_row(
        &mut self,
        hit: &Hit,
        snapshots: &mut Snapshots,
        all_versions: bool,
    ) -> Result<(), JobError> {
        let item = &hit.entry.item;
        let Some(snapshot) = snapshots.get_mut(&hit.entry.source) else { return Ok(()) };
        let Some(row) = snapshot.get(&item.key, &item.version)? else { return Ok(()) };
        if row.delete_marker || !(row.latest || all_versions) {
            return Ok(());
        }
        let beside = (!row.latest).then(|| item.version.0.clone());
        if hit.entry.part.is_some() {
            return self.push_parts(&hit.entry, &row.places, beside.as_deref());
        }
        self.take_whole(hit.place, &hit.entry, beside.as_deref())
    }

    /// Takes the newest state of each item, for want of a run.
    fn take_newest(&mut self, query: &Query, all_versions: bool) -> Result<(), JobError> {
        let mut states = Sorter::new(&self.desk.scratch, SORTER_BYTES);
        let mut sealed = HashMap::new();
        self.each_hit(query, |picker, hit| {
            let Hit { place, entry } = hit;
            let sealed = when_sealed(picker.catalog, &mut sealed, place.segment)?;
            let key = name_bytes(&entry.source, &entry.item.key, &Default::default());
            let state = State { sealed, place, entry };
            let value = serde_json::to_vec(&state).expect("text, numbers and lists");
            states.push_keyed(&key, &value).map_err(JobError::sorting)
        })?;
        let mut name = Vec::new();
        let mut of_one = Vec::new();
        for record in states.finish().map_err(JobError::sorting)? {
            let record = record.map_err(JobError::sorting)?;
            if record.key() != name {
                self.take_states(&std::mem::take(&mut of_one), all_versions)?;
                name = record.key().to_vec();
            }
            of_one.push(serde_json::from_slice(record.value()).expect("it was written so"));
        }
        self.take_states(&of_one, all_versions)
    }

    /// Takes what is to be taken of all states of one key.
    fn take_states(&mut self, states: &[State], all_versions: bool) -> Result<(), JobError> {
        let wholes = wholes(states);
        // The latest version, where there are versions; else what was archived last.
        let Some(latest) = wholes.iter().max_by_key(|w| (w[0].entry.item.latest, w[0].sealed))
        else {
            return Ok(());
        };
        let latest_version = &latest[0].entry.item.version;
        self.take_state(latest, None)?;
        if !all_versions {
            return Ok(());
        }
        for whole in &wholes {
            let item = &whole[0].entry.item;
            let newest = wholes
                .iter()
                .filter(|other| other[0].entry.item.version == item.version)
                .max_by_key(|other| other[0].sealed);
            let is_newest = newest.is_some_and(|newest| newest[0].place == whole[0].place);
            if item.version != *latest_version && is_newest {
                self.take_state(whole, Some(&item.version.0))?;
            }
        }
        Ok(())
    }

    fn take_state(&mut self, members: &[&State], beside: Option<&str>) -> Result<(), JobError> {
        let first = members[0];
        if first.entry.part.is_some() {
            let places: Vec<Place> = members.iter().map(|state| state.place).collect();
            return self.push_parts(&first.entry, &places, beside);
        }
        self.take_whole(first.place, &first.entry, beside)
    }

    /// Runs a query and hands each hit to `take`.
    pub(super) fn each_hit(
        &mut self,
        query: &Query,
        mut take: impl FnMut(&mut Self, Hit) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let mut failure = None;
        let catalog = self.catalog;
        catalog.find(query, &mut |hit| match self.desk.go_on().and_then(|()| take(self, hit)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failure.map_or(Ok(()), Err)
    }
}

/// Sorts the states of one key into those that belong together: one member, or all parts of one
/// content.
fn wholes(states: &[State]) -> Vec<Vec<&State>> {
    let mut wholes: Vec<Vec<&State>> = Vec::new();
    let mut parts: HashMap<_, Vec<&State>> = HashMap::new();
    for state in states {
        let item = &state.entry.item;
        match state.entry.part {
            None => wholes.push(vec![state]),
            Some(part) => {
                let content = (item.version.clone(), item.token, item.size, part.of);
                parts.entry(content).or_default().push(state);
            }
        }
    }
    for (content, mut members) in parts {
        let number = |state: &State| state.entry.part.map(|part| part.number);
        members.sort_by_key(|state| (number(state), std::cmp::Reverse(state.sealed)));
        let spans: Vec<Part> = members.iter().filter_map(|state| state.entry.part).collect();
        if let Some(joined) = manifest::join(&spans, (content.3, content.2)) {
            wholes.push(joined.into_iter().map(|index| members[index]).collect());
        }
    }
    // Markers have no content, but they may be what is newest.
    wholes.sort_by_key(|whole| (whole[0].sealed, whole[0].place));
    debug_assert!(
        wholes.iter().all(|w| w[0].entry.item.kind != Kind::DeleteMarker || w.len() == 1)
    );
    wholes
}

fn when_sealed(
    catalog: &Catalog,
    known: &mut HashMap<SegmentId, Timestamp>,
    segment: SegmentId,
) -> Result<Timestamp, CatalogError> {
    if let Some(sealed) = known.get(&segment) {
        return Ok(*sealed);
    }
    let sealed = catalog.segment(segment)?.map(|segment| segment.created).unwrap_or_default();
    known.insert(segment, sealed);
    Ok(sealed)
}
