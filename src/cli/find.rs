//! `find`: the catalog's answers as they come.

use std::{collections::HashMap, ops::ControlFlow};

use serde::Serialize;

use crate::{
    catalog::{Catalog, CatalogError, CopyState, Hit, SegmentCopy},
    cli::{
        args,
        exit::Exit,
        fail::Failure,
        query::{self, show_place},
        say,
    },
    ident::{SegmentId, Volser, VolumeId},
    item::Kind,
    job::monitor::EVENTS_VERSION,
    media::Custody,
    unit::ByteCount,
    volume::manifest::Entry,
};

/// Where one copy is.
#[derive(Clone, Debug, Serialize)]
struct CopyLine {
    volume: Volser,
    object: u64,
    file: u64,
    state: CopyState,
    #[serde(flatten)]
    custody: Custody,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    event: &'static str,
    place: String,
    copies: &'a [CopyLine],
    #[serde(flatten)]
    entry: &'a Entry,
}

/// What is known of copies, looked up once a segment.
struct Places<'a> {
    catalog: &'a Catalog,
    segments: HashMap<SegmentId, Vec<CopyLine>>,
    volumes: HashMap<VolumeId, Option<(Volser, Custody)>>,
}

/// Segments remembered at most.
const SEGMENTS_MAX: usize = 4096;

/// Runs `find`.
pub(super) fn run(find: &args::Find, catalog: &Catalog, json: bool) -> Result<Exit, Failure> {
    let query = query::build(&find.query, catalog)?;
    if find.count {
        let count = catalog.count(&query)?;
        if json {
            let line = serde_json::json!({ "v": EVENTS_VERSION, "event": "count", "count": count });
            say::line(&line.to_string());
        } else {
            say::line(&count.to_string());
        }
        return Ok(Exit::Done);
    }
    let mut places = Places { catalog, segments: HashMap::new(), volumes: HashMap::new() };
    let mut left = find.limit.unwrap_or(u64::MAX);
    let mut failure = None;
    let mut found = false;
    if left == 0 {
        return Ok(Exit::Done);
    }
    catalog.find(&query, &mut |hit| {
        let copies = match places.of(hit.place.segment) {
            Ok(copies) => copies,
            Err(error) => {
                failure = Some(error);
                return ControlFlow::Break(());
            }
        };
        found = true;
        let line = if json { json_line(&hit, copies) } else { text_line(&hit, copies) };
        if !say::line_or_closed(&line) {
            return ControlFlow::Break(());
        }
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if let Some(error) = failure {
        return Err(error.into());
    }
    if !found && !json {
        say::aside("nothing found");
    }
    Ok(Exit::Done)
}

impl Places<'_> {
    fn of(&mut self, segment: SegmentId) -> Result<&[CopyLine], CatalogError> {
        if !self.segments.contains_key(&segment) {
            if self.segments.len() >= SEGMENTS_MAX {
                self.segments.clear();
            }
            let copies = self.catalog.copies(segment)?;
            let lines = copies.iter().map(|copy| self.line(copy)).collect::<Result<Vec<_>, _>>()?;
            let lines = lines.into_iter().flatten().collect();
            self.segments.insert(segment, lines);
        }
        Ok(&self.segments[&segment])
    }

    fn line(&mut self, copy: &SegmentCopy) -> Result<Option<CopyLine>, CatalogError> {
        if copy.state == CopyState::Void {
            return Ok(None);
        }
        if !self.volumes.contains_key(&copy.volume) {
            let volume = self.catalog.volume_by_id(copy.volume)?;
            let known = volume.map(|volume| (volume.volser, volume.custody));
            self.volumes.insert(copy.volume, known);
        }
        let Some((volser, custody)) = &self.volumes[&copy.volume] else { return Ok(None) };
        Ok(Some(CopyLine {
            volume: *volser,
            object: copy.object.0,
            file: copy.file.0,
            state: copy.state,
            custody: custody.clone(),
        }))
    }
}

fn json_line(hit: &Hit, copies: &[CopyLine]) -> String {
    let place = show_place(hit.place);
    let line = Line { v: EVENTS_VERSION, event: "found", place, copies, entry: &hit.entry };
    serde_json::to_string(&line).expect("an entry is plain data")
}

/// `modified  size  volumes  source  key`, and what else is to be known in brackets.
fn text_line(hit: &Hit, copies: &[CopyLine]) -> String {
    let item = &hit.entry.item;
    let mut volumes: Vec<String> = copies
        .iter()
        .map(|copy| match copy.state {
            CopyState::Verified => copy.volume.to_string(),
            CopyState::OnTape => format!("{}?", copy.volume),
            CopyState::Bad | CopyState::Void => format!("{}!", copy.volume),
        })
        .collect();
    if volumes.is_empty() {
        volumes.push("staged".into());
    }
    let size = match item.kind {
        Kind::File => ByteCount(item.size).to_string(),
        Kind::Directory => "dir".into(),
        Kind::Symlink { .. } => "link".into(),
        Kind::DeleteMarker => "deleted".into(),
        Kind::Fifo | Kind::CharacterDevice { .. } | Kind::BlockDevice { .. } => "special".into(),
    };
    let modified = item.modified.to_the_second();
    let mut line = format!(
        "{modified:<20}  {size:>8}  {:<8}  {}  {}",
        volumes.join(","),
        hit.entry.source,
        item.key.printable()
    );
    let mut notes = Vec::new();
    if !item.version.is_none() {
        let latest = if item.latest { ", latest" } else { "" };
        notes.push(format!(
            "version {}{latest}",
            crate::printable::Printable::from(&*item.version.0)
        ));
    }
    if let Some(part) = hit.entry.part {
        notes.push(format!("part {} of {}", part.number, part.of));
    }
    if hit.entry.torn {
        notes.push("torn".into());
    }
    if !notes.is_empty() {
        line.push_str(&format!("  [{}]", notes.join("; ")));
    }
    line
}
