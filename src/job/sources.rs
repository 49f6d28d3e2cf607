//! Sources, opened as the settings describe them.

use std::{
    error::Error,
    sync::{Arc, Mutex},
};

use crate::{
    ident::SourceName,
    item::{Item, Kind},
    job::{
        Desk, JobError,
        settings::{
            AddressStyle, DirectorySettings, S3Settings, Settings, SourceSettings, Versions,
        },
    },
    source::{
        Claim, Finding, Findings, Outcome, Problem, Sink, SinkError, Source, SourceError, Stop,
        directory::{DirectorySource, Excludes, Options},
        http::{Credentials, Role},
        s3,
    },
    volume::manifest::Part,
};

/// Items that are listed to see whether a source can be read.
const PROBED: usize = 10;
/// Parts of a probe; of a longer item no more than the beginning is read.
const PROBE_PART_BYTES: u64 = 64 << 20;

/// Opens a source.
///
/// # Errors
///
/// When its settings make no sense, it is not there, or its credentials are not.
pub fn open(
    name: &SourceName,
    settings: &Settings,
    desk: &Desk,
) -> Result<Box<dyn Source>, JobError> {
    let failed = |cause: SourceError| JobError::Source { source_name: name.clone(), cause };
    match &settings.sources[name] {
        SourceSettings::Directory(directory) => open_directory(name, directory, settings, desk),
        SourceSettings::S3(bucket) => {
            let opened = s3::S3::open(bucket_settings(bucket), Arc::clone(&desk.clock));
            Ok(Box::new(opened.map_err(failed)?))
        }
    }
}

fn open_directory(
    name: &SourceName,
    directory: &DirectorySettings,
    settings: &Settings,
    desk: &Desk,
) -> Result<Box<dyn Source>, JobError> {
    let excludes = Excludes::new(&directory.exclude).map_err(|error| JobError::Request {
        what: format!("sources.{name}.exclude: {error}"),
        advice: None,
    })?;
    let mut avoid = vec![settings.staging.dir.clone(), settings.catalog.path.clone()];
    avoid.extend(settings.emulator.iter().map(|emulator| emulator.dir.clone()));
    let options = Options {
        root: directory.path.clone(),
        one_file_system: directory.one_file_system,
        exclude: directory.exclude.clone(),
        avoid,
        scratch: desk.scratch.clone(),
    };
    let opened = DirectorySource::open(options, excludes, Arc::clone(&desk.clock));
    let failed = |cause: SourceError| JobError::Source { source_name: name.clone(), cause };
    Ok(Box::new(opened.map_err(failed)?))
}

fn bucket_settings(bucket: &S3Settings) -> s3::Settings {
    let credentials = match (&bucket.key_variables, &bucket.profile) {
        (Some([key_id, secret]), _) => Credentials::Environment {
            key_id: key_id.clone(),
            secret: secret.clone(),
            session_token: None,
        },
        (None, profile) => Credentials::Profile {
            name: profile.clone().unwrap_or_default(),
            role: bucket.role.clone().map(|arn| Role { arn, external_id: None }),
        },
    };
    let style = match (bucket.style, &bucket.endpoint) {
        (AddressStyle::Path, _) | (AddressStyle::Auto, Some(_)) => s3::Style::Path,
        (AddressStyle::VirtualHost, _) | (AddressStyle::Auto, None) => s3::Style::VirtualHost,
    };
    s3::Settings {
        endpoint: bucket.endpoint.clone(),
        prefix: bucket.prefix.clone(),
        style,
        versions: match bucket.versions {
            Versions::All => s3::Versions::All,
            Versions::Current => s3::Versions::Current,
        },
        concurrency: bucket.concurrency,
        requester_pays: bucket.requester_pays,
        tags: match (bucket.tags, &bucket.endpoint) {
            (false, _) => s3::Tags::Never,
            (true, None) => s3::Tags::Counted,
            // Other stores do not always say how many there are.
            (true, Some(_)) => s3::Tags::Always,
        },
        ..s3::Settings::new(&bucket.region, &bucket.bucket, credentials)
    }
}

/// Lists the beginning of a source and reads one file of it, to see whether a job can.
///
/// # Errors
///
/// What a job would meet, too.
pub fn probe(name: &SourceName, source: &dyn Source, desk: &Desk) -> Result<String, JobError> {
    let failed = |cause| JobError::Source { source_name: name.clone(), cause };
    let mut listed = Vec::new();
    let listing = source.list(
        &mut |item| {
            listed.push(item);
            if listed.len() == PROBED { Err(Stop) } else { Ok(()) }
        },
        &Probe::default(),
        &desk.cancel,
    );
    let more = match listing {
        Ok(()) => "",
        Err(SourceError::Stopped) => "more than ",
        Err(cause) => return Err(failed(cause)),
    };
    let found = listed.len();
    let mut refused = None;
    for item in listed.into_iter().filter(|item| item.kind == Kind::File) {
        let key = item.key.printable().to_string();
        let probe = Probe::default();
        match source.fetch(&mut std::iter::once(item), &probe, &desk.cancel) {
            Ok(()) | Err(SourceError::Sink(_)) => {}
            Err(cause) => return Err(failed(cause)),
        }
        match probe.into_inner() {
            Some(cause) => {
                let source_name = format!("item {key}");
                refused = Some(SourceError::Denied { operation: "read", source_name, cause });
            }
            None => return Ok(format!("can be listed and read, {more}{found} items")),
        }
    }
    match refused {
        Some(cause) => Err(failed(cause)),
        None => Ok(format!("can be listed, {more}{found} items; nothing is there to be read")),
    }
}

/// Takes the beginning of an item, forgets it, and keeps why it did not come or what it lacked.
#[derive(Debug, Default)]
struct Probe {
    trouble: Mutex<Option<Box<dyn Error + Send + Sync>>>,
}

impl Probe {
    fn into_inner(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.trouble.into_inner().expect("no holder panics")
    }
}

impl Findings for Probe {
    fn report(&self, finding: Finding) {
        tracing::debug!(?finding, "met while probing");
        match finding.what {
            Problem::Unreadable | Problem::Incomplete | Problem::ChecksumMismatch => {
                *self.trouble.lock().expect("no holder panics") = finding.detail;
            }
            // These say nothing about the source as a whole.
            Problem::Vanished
            | Problem::Torn
            | Problem::Frozen
            | Problem::Unsupported
            | Problem::Missing => {}
        }
    }
}

impl Sink for Probe {
    fn part_bytes(&self) -> u64 {
        PROBE_PART_BYTES
    }

    fn put(&self, _item: Item, _data: &[u8]) -> Result<(), SinkError> {
        Ok(())
    }

    fn claim(&self, _item: Item, _part: Option<Part>) -> Result<Box<dyn Claim>, SinkError> {
        Ok(Box::new(Enough))
    }
}

/// The first bytes are enough.
struct Enough;

impl Claim for Enough {
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> Result<(), SinkError> {
        Err(SinkError)
    }

    fn finish(self: Box<Self>, _outcome: Outcome) -> Result<(), SinkError> {
        Ok(())
    }
}
