//! What `find` and `restore` look for, from the command line to the catalog's terms.

use crate::{
    catalog::{BadPattern, Catalog, Pattern, Query},
    cli::{
        args::{self, Matching},
        fail::Failure,
    },
    ident::{SegmentId, Volser, VolumeId},
    item::Place,
};

/// The catalog's query for these arguments.
pub(super) fn build(arguments: &args::Query, catalog: &Catalog) -> Result<Query, Failure> {
    let volumes = arguments.volume.iter().map(|volser| known(catalog, *volser));
    Ok(Query {
        pattern: pattern(&arguments.query, arguments.matching).map_err(Failure::Pattern)?,
        ignore_case: arguments.ignore_case,
        sources: arguments.source.clone(),
        volumes: volumes.collect::<Result<_, _>>()?,
        modified_from: arguments.modified_since,
        modified_to: arguments.modified_until,
        size_from: None,
        size_to: None,
        as_of: arguments.as_of,
    })
}

fn pattern(text: &str, matching: Matching) -> Result<Pattern, BadPattern> {
    if text.is_empty() {
        return Ok(Pattern::Any);
    }
    Ok(match matching {
        Matching::Substring => Pattern::Substring(text.into()),
        Matching::Glob => Pattern::Glob(text.parse()?),
        Matching::Prefix => Pattern::Prefix(text.into()),
        Matching::Exact => Pattern::Exact(text.into()),
        Matching::Digest => Pattern::Digest(text.parse()?),
    })
}

fn known(catalog: &Catalog, volser: Volser) -> Result<VolumeId, Failure> {
    let volume = catalog.volume(volser)?;
    volume.map(|volume| volume.id).ok_or(Failure::UnknownVolume { volser })
}

/// A place as `find` prints it: the segment and the manifest line.
pub(super) fn parse_place(text: &str) -> Result<Place, Failure> {
    let error = || Failure::Usage { what: format!("{text:?} is not a place as `find` prints it") };
    let (segment, ordinal) = text.split_once(':').ok_or_else(error)?;
    let segment: SegmentId = segment.parse().map_err(|_| error())?;
    Ok(Place { segment, ordinal: ordinal.parse().map_err(|_| error())? })
}

/// The text that [`parse_place`] reads.
pub(super) fn show_place(place: Place) -> String {
    format!("{}:{}", place.segment, place.ordinal)
}
