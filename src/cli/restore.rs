//! `restore`: what the arguments mean, and what the outcome means to the shell.

use crate::{
    cli::{args, bench::Bench, exit::Exit, fail::Failure, jobs, query},
    job::restore::{self, Options, Request, Selection},
};

/// Brings files back.
pub(super) fn run(bench: &Bench, restore: &args::Restore) -> Result<Exit, Failure> {
    let catalog = bench.catalog()?;
    let selection = if restore.item.is_empty() {
        let query = Box::new(query::build(&restore.query, &catalog)?);
        Selection::Query { query, all_versions: restore.all_versions }
    } else if is_everything(&restore.query) {
        let places = restore.item.iter().map(|text| query::parse_place(text));
        Selection::Places(places.collect::<Result<_, _>>()?)
    } else {
        let what = "--item names what is to come back, so no query goes with it".to_owned();
        return Err(Failure::Usage { what });
    };
    let request = Request {
        selection,
        to: restore.to.clone(),
        options: Options {
            overwrite: restore.overwrite,
            owners: restore.owners,
            set_id: restore.privileged,
            devices: restore.privileged,
            privileged_attributes: restore.privileged,
        },
        drive: restore.drive.clone(),
        salvage: restore.salvage,
        dry_run: restore.dry_run,
    };
    let tally = restore::run(&bench.settings, &catalog, &request, &bench.desk)?;
    Ok(jobs::exit_of(tally))
}

/// Whether the query narrows nothing.
fn is_everything(query: &args::Query) -> bool {
    query.query.is_empty()
        && query.source.is_empty()
        && query.volume.is_empty()
        && query.modified_since.is_none()
        && query.modified_until.is_none()
        && query.as_of.is_none()
}
