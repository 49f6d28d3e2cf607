//! Sources, opened as the settings describe them.

use std::sync::Arc;

use crate::{
    ident::SourceName,
    job::{
        Desk, JobError,
        settings::{
            AddressStyle, DirectorySettings, S3Settings, Settings, SourceSettings, Versions,
        },
    },
    source::{
        Finding, Findings, Source, SourceError, Stop,
        directory::{DirectorySource, Excludes, Options},
        http::{Credentials, Role},
        s3,
    },
};

/// Items that are listed to see whether a source can be read.
const PROBED: u32 = 10;

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

/// Lists the beginning of a source, to see whether it can be read at all.
///
/// # Errors
///
/// What a job would meet, too.
pub fn probe(name: &SourceName, source: &dyn Source, desk: &Desk) -> Result<String, JobError> {
    struct Ignored;
    impl Findings for Ignored {
        fn report(&self, finding: Finding) {
            tracing::debug!(?finding, "met while probing");
        }
    }
    let mut found = 0_u32;
    let listed = source.list(
        &mut |_| {
            found += 1;
            if found == PROBED { Err(Stop) } else { Ok(()) }
        },
        &Ignored,
        &desk.cancel,
    );
    match listed {
        Ok(()) => Ok(format!("readable, {found} items")),
        Err(SourceError::Stopped) => Ok(format!("readable, more than {found} items")),
        Err(cause) => Err(JobError::Source { source_name: name.clone(), cause }),
    }
}
