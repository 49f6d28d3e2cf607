//! The run of a source, once everything that it points to is sealed.

use std::{collections::BTreeSet, iter::Peekable, thread};

use crate::{
    catalog::Held,
    clock::Timestamp,
    ident::{RunId, SegmentId},
    item::{Kind, Listed, Place},
    job::{
        JobError,
        export::{Export, SourcePlan, ahead::ahead, plan_file::PlanReader, record::Planned},
    },
    sorter::Sorted,
    source::{Finding, Problem},
    volume::run::Row,
};

/// A listed item that nothing holds, although nobody said so.
#[derive(Debug, thiserror::Error)]
#[error("neither staging nor a good copy holds it; the next run fetches it")]
struct HeldNowhere;

/// The rows of a run, in order.
struct RunRows<'a> {
    export: &'a Export<'a>,
    plan: &'a SourcePlan,
    records: PlanReader<'a>,
    held: Held,
    /// The segments that were sealed since the plan was made.
    delivered: &'a BTreeSet<SegmentId>,
    /// Items that have been told to be without bytes, sorted.
    reported: Peekable<Sorted>,
    failure: Option<JobError>,
}

impl Export<'_> {
    /// Records what the source held: every listed item, with its places if it is archived. One
    /// that is not, and was not reported, is reported now. `delivered` are the segments that were
    /// sealed since the plan was made.
    pub(super) fn record_run(
        &self,
        plan: &SourcePlan,
        delivered: &BTreeSet<SegmentId>,
        ended: Timestamp,
    ) -> Result<RunId, JobError> {
        let run = self.catalog.begin_run(&plan.source, plan.started())?;
        crate::crash::point("export.run-begun");
        let mut rows = RunRows {
            export: self,
            plan,
            records: plan.records()?,
            held: self.catalog.held(&plan.source)?,
            delivered,
            reported: plan.left_out.sorted()?.peekable(),
            failure: None,
        };
        // One thread looks up what is held, this one stores it.
        let pushed = thread::scope(|scope| {
            let mut made = ahead(scope, &mut rows);
            self.catalog.push_rows(run, &mut made)
        });
        if let Some(error) = rows.failure {
            return Err(error);
        }
        pushed?;
        crate::crash::point("export.run-stored");
        let complete = !plan.has_gaps();
        let run = self.catalog.finish_run(run, (ended, complete))?;
        crate::crash::point("export.run-finished");
        Ok(run.id)
    }
}

impl RunRows<'_> {
    fn pull(&mut self) -> Result<Option<Row>, JobError> {
        let Some(record) = self.records.next() else { return Ok(None) };
        let Planned { listed, .. } = record.map_err(JobError::scratch("read the plan"))?;
        let found = self.held.matching(&listed.key, &listed.version, listed.token)?;
        let (token, places) = match found.or_else(|| self.as_delivered()) {
            Some(row) => (row.token, row.places),
            None => (listed.token, self.without_bytes(&listed)?),
        };
        Ok(Some(Row {
            token,
            latest: listed.latest,
            delete_marker: listed.kind == Kind::DeleteMarker,
            places,
            key: listed.key,
            version: listed.version,
        }))
    }

    /// The item in another state than the listing's: it changed after it was listed, and its source
    /// delivered what it had become. What an earlier job sealed is older than the listing, and so
    /// no state of this run.
    fn as_delivered(&self) -> Option<Row> {
        let is_new = |row: &&Row| {
            let mut segments = row.places.iter().map(|place| place.segment);
            !row.places.is_empty() && segments.all(|segment| self.delivered.contains(&segment))
        };
        self.held.other_states().iter().find(is_new).cloned()
    }

    /// Makes sure that somebody was told of an item without bytes. It has no places.
    fn without_bytes(&mut self, listed: &Listed) -> Result<Vec<Place>, JobError> {
        let item = (&*listed.key.0, listed.version.0.as_bytes());
        loop {
            let told = match self.reported.peek() {
                Some(Ok(record)) => (record.key(), record.value()).cmp(&item),
                Some(Err(_)) => std::cmp::Ordering::Less,
                None => break,
            };
            if told.is_gt() {
                break;
            }
            if told.is_eq() {
                return Ok(Vec::new());
            }
            self.reported.next().transpose().map_err(JobError::sorting)?;
        }
        let finding = Finding {
            key: listed.key.clone(),
            version: listed.version.clone(),
            what: Problem::Missing,
            detail: Some(Box::new(HeldNowhere)),
        };
        let desk = self.export.desk;
        desk.ledger.take(&self.plan.source, &finding, &*desk.monitor);
        Ok(Vec::new())
    }
}

impl Iterator for RunRows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        match self.pull() {
            Ok(row) => row,
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }
}
