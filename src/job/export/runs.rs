//! The run of a source, once everything that it points to is sealed.

use crate::{
    clock::Timestamp,
    ident::RunId,
    item::Kind,
    job::{
        JobError,
        export::{Export, SourcePlan, record::Planned},
    },
    volume::run::Row,
};

impl Export<'_> {
    /// Records what the source held: every listed item, with its places if it is archived.
    pub(super) fn record_run(
        &self,
        plan: &SourcePlan,
        ended: Timestamp,
    ) -> Result<RunId, JobError> {
        let run = self.catalog.begin_run(&plan.source, plan.started())?;
        crate::crash::point("export.run-begun");
        let mut held = self.catalog.held(&plan.source)?;
        let mut failure = None;
        let mut records = plan.records()?;
        let mut rows = std::iter::from_fn(|| {
            let listed = match records.next()? {
                Ok(Planned { listed, .. }) => listed,
                Err(error) => {
                    failure = Some(JobError::scratch("read the plan")(error));
                    return None;
                }
            };
            match held.matching(&listed.key, &listed.version, listed.token) {
                Ok(row) => Some(Row {
                    token: listed.token,
                    latest: listed.latest,
                    delete_marker: listed.kind == Kind::DeleteMarker,
                    places: row.map(|row| row.places).unwrap_or_default(),
                    key: listed.key,
                    version: listed.version,
                }),
                Err(error) => {
                    failure = Some(error.into());
                    None
                }
            }
        });
        let pushed = self.catalog.push_rows(run, &mut rows);
        if let Some(error) = failure {
            return Err(error);
        }
        pushed?;
        crate::crash::point("export.run-stored");
        let complete = !plan.has_gaps();
        let run = self.catalog.finish_run(run, (ended, complete))?;
        crate::crash::point("export.run-finished");
        if run.missing > 0 {
            tracing::warn!(source = %plan.source, missing = run.missing, "items are not archived");
        }
        Ok(run.id)
    }
}
