//! What to do about a failure: the one place that says so, but for what only the place of the failure
//! knows ([`JobError::Request`], [`JobError::Cartridge`]).

use crate::{
    catalog::CatalogError,
    cli::fail::Failure,
    config::ConfigError,
    drive::DriveError,
    job::{
        JobError,
        rig::{OpenError, RigError},
    },
    keys::{KeyError, Owner},
    source::SourceError,
    staging::StagingError,
};

/// What to do, if that can be said.
pub(super) fn of(failure: &Failure) -> Option<String> {
    Some(match failure {
        Failure::Config(ConfigError::Missing) => {
            "write one with `tapevault init`, or name it with --config".into()
        }
        Failure::Config(ConfigError::Untrusted { .. }) => {
            "name it with --config if you trust it".into()
        }
        Failure::Config(
            ConfigError::Syntax { suggestion: Some(name), .. }
            | ConfigError::Value { suggestion: Some(name), .. },
        ) => format!("did you mean `{name}`?"),
        Failure::Config(
            ConfigError::Read { .. }
            | ConfigError::Syntax { suggestion: None, .. }
            | ConfigError::Value { suggestion: None, .. },
        )
        | Failure::Pattern(_)
        | Failure::Usage { .. } => return None,
        Failure::UnknownVolume { .. } => {
            "`tapevault media list` shows those it knows; `tapevault catalog rebuild` adds one \
             from its cartridge"
                .into()
        }
        Failure::Key(error) => return key_advice(Some(error)),
        Failure::Job(error) => return of_job(error),
    })
}

fn of_job(error: &JobError) -> Option<String> {
    Some(match error {
        JobError::Request { advice, .. } => return advice.clone(),
        JobError::Cartridge { advice, .. } | JobError::Library { advice, .. } => advice.clone(),
        JobError::Clock(_) => "set the machine's clock, then run the same command again".into(),
        JobError::Source { cause, .. } => source_advice(cause)?.into(),
        JobError::Staging(cause) => staging_advice(cause)?.into(),
        JobError::Catalog(cause) => catalog_advice(cause)?.into(),
        JobError::File { .. } => {
            "mend what the system says, then run the same command again".into()
        }
        JobError::Rig(RigError::Open(cause)) => open_advice(cause)?.into(),
        JobError::Rig(RigError::Drive(cause)) | JobError::Drive { cause, .. } => {
            drive_advice(cause)?.into()
        }
        JobError::Rig(RigError::Emulated { .. }) => {
            "end the other program that uses the emulated library, or make one with \
             `tapevault emulator create`"
                .into()
        }
        JobError::Rig(RigError::Choice { .. }) => "name a drive with --drive".into(),
        JobError::Rig(RigError::Changer(_)) => {
            "look at the library's panel, then run the same command again".into()
        }
        JobError::Rig(RigError::Move { refusal, cause }) => refusal.advice(cause).into(),
        JobError::Rig(RigError::Stranger { drive, .. }) => format!(
            "name one of the library's drives as the device of drives.{drive}; if it stands beside \
             the library, set its `in_library = false`; if the library does not tell serial \
             numbers, set its `element`"
        ),
        JobError::Unfit { .. } => {
            "check cable, terminator and host adapter, or give the pools a smaller block_size; then \
             commission it again"
                .into()
        }
        JobError::Key { cause, .. } => key_advice(cause.as_ref())?,
        JobError::NoMedia { pool } => format!(
            "label a blank cartridge with `tapevault media label VOLSER --pool {pool}`, then \
             run the same command again"
        ),
        JobError::NotHeld { .. } => {
            "`tapevault find` says what is held, and `tapevault media list` where".into()
        }
        JobError::Operator { .. } => {
            "do that, then run the same command again: it goes on from here".into()
        }
        JobError::Stopped => return None,
    })
}

fn key_advice(cause: Option<&KeyError>) -> Option<String> {
    Some(match cause {
        None | Some(KeyError::Missing { .. } | KeyError::Unknown { .. }) => {
            "`tapevault key import` takes a key from its printed page into the file that `[keys]` of \
             the config names"
                .into()
        }
        Some(KeyError::None { owner: Owner::Pool(pool) }) => {
            format!("`tapevault key new --pool {pool}` makes one, to be printed and proven")
        }
        Some(KeyError::None { owner: Owner::Volume(pool, volser) }) => format!(
            "`tapevault key new --pool {pool} --volume {volser}` makes one, to be printed and proven"
        ),
        Some(KeyError::Unproven { id }) => format!(
            "print it (`tapevault key export {id} --to PAGE.html`), then type back the four words of \
             the page: `tapevault key prove {id}`"
        ),
        Some(KeyError::Open { .. }) => "chmod 600 on it".into(),
        Some(KeyError::Words { .. }) => "type the four words as they stand on the page".into(),
        Some(KeyError::Locked { .. } | KeyError::Damaged { .. } | KeyError::Io { .. }) => {
            return None;
        }
    })
}

fn drive_advice(cause: &DriveError) -> Option<&'static str> {
    Some(match cause {
        DriveError::NoMedium(_) => "put a cartridge into the drive",
        DriveError::NotReady(_) => "wait until the drive is ready, then run the same command again",
        DriveError::WriteProtected(_) => {
            "move the cartridge's write-protect switch if it may be written, or use another"
        }
        DriveError::Unusable(_) => "use a cartridge that this drive can read and write",
        DriveError::Busy(_) | DriveError::Refused { .. } => {
            "end the other program that uses the drive"
        }
        DriveError::EndOfMedium(_) | DriveError::Medium(_) | DriveError::EndOfDataMissing(_) => {
            "nothing more is written to this cartridge; run the same command again with another"
        }
        DriveError::Deferred(_)
        | DriveError::PositionLost(_)
        | DriveError::Mismatch { .. }
        | DriveError::Unknown { .. } => {
            "only what was committed counts; run the same command again, it asks the tape first"
        }
        DriveError::Damaged(_) => {
            "look at cable, host adapter and memory: the cartridge is not at fault; then run the \
             same command again"
        }
        DriveError::Hardware(_) => "look at the drive's panel; use another drive",
        DriveError::WrongDevice { .. } => "name the node of a tape drive",
        DriveError::Unsupported(_) => return None,
    })
}

fn open_advice(cause: &OpenError) -> Option<&'static str> {
    Some(match cause {
        OpenError::Busy { .. } => "end the other program that uses the drive",
        OpenError::Permission { .. } => "join the group `tape`, and log in again",
        OpenError::RawIo { .. } => {
            "run as root, or grant the capability: setcap cap_sys_rawio+ep, or the shipped units"
        }
        OpenError::Gone { .. } | OpenError::NoAnswer { .. } => "check cable and power",
        OpenError::Node(_) => return None,
    })
}

fn source_advice(cause: &SourceError) -> Option<&'static str> {
    Some(match cause {
        SourceError::NotFound { .. } => "check the source's settings",
        SourceError::Denied { .. } => "check the credentials that the source's settings name",
        SourceError::Lost { .. } => {
            "when it can be reached again, run the same command: what is sealed is kept"
        }
        SourceError::Protocol { .. } => {
            "do not trust this listing; run the same command again, and report it to whoever runs \
             the store"
        }
        SourceError::Sink(_) | SourceError::Stopped => return None,
    })
}

fn staging_advice(cause: &StagingError) -> Option<&'static str> {
    Some(match cause {
        StagingError::Busy { .. } => "wait for the other job, or end it",
        StagingError::TooSmall { .. } | StagingError::TooLarge { .. } => "raise staging.budget",
        StagingError::Full { .. } => {
            "have what is sealed written by `tapevault write JOB`, then run the same command again, \
             it goes on from here; or run `tapevault archive JOB`, which does both; a larger \
             staging.budget holds more of a set at a time"
        }
        StagingError::Disk { .. } | StagingError::SealLost { .. } => {
            "make room or mend the disk, then run the same command again"
        }
        StagingError::Damaged { .. } => {
            "its items are exported again: run the same command once more"
        }
        StagingError::Unfit { .. } | StagingError::Content { .. } | StagingError::Closed => {
            return None;
        }
    })
}

fn catalog_advice(cause: &CatalogError) -> Option<&'static str> {
    Some(match cause {
        CatalogError::Missing { .. } => {
            "check catalog.path; `tapevault catalog rebuild` makes one from the cartridges"
        }
        CatalogError::Corrupt { .. } => {
            "move the file away, then `tapevault catalog rebuild` makes it anew from the cartridges"
        }
        CatalogError::Busy { .. } => "wait for the other command, or end it",
        CatalogError::DiskFull { .. } => "make room, then run the same command again",
        CatalogError::Schema { .. } => {
            "use the program that made it; or set the file aside, and take the cartridges in with `tapevault catalog rebuild`"
        }
        CatalogError::Exists { .. }
        | CatalogError::Foreign { .. }
        | CatalogError::Io { .. }
        | CatalogError::Unknown { .. }
        | CatalogError::Conflict { .. }
        | CatalogError::BaseUnknown { .. } => return None,
    })
}
