//! Why a job ended early, sorted by what the operator does next.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use crate::{
    catalog::CatalogError,
    drive::DriveError,
    ident::{PoolName, SourceName, Volser},
    job::{monitor::Prompt, rig::RigError},
    keys::KeyError,
    media::lifecycle::Kept,
    sorter::SorterError,
    source::SourceError,
    staging::StagingError,
};

/// Why a job ended early.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// What was asked for makes no sense with this config or catalog.
    #[error("{what}")]
    Request {
        /// Why not.
        what: String,
        /// What to do instead, if that can be said.
        advice: Option<String>,
    },
    /// The machine's clock cannot be believed.
    #[error("the clock cannot be believed")]
    Clock(#[source] Kept),
    /// A source, its credentials or the network.
    #[error("source {source_name}")]
    Source {
        /// Which.
        source_name: SourceName,
        /// The cause.
        #[source]
        cause: SourceError,
    },
    /// Staging.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A file of the machine's, other than staging and catalog.
    #[error("cannot {operation}{}", at(path.as_deref()))]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: Option<PathBuf>,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// A drive or a library cannot be opened or does not do its work.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// A drive failed at something.
    #[error("{drive}{}", holding(*volser))]
    Drive {
        /// Which.
        drive: String,
        /// The volume in it, if it is known.
        volser: Option<Volser>,
        /// The cause.
        #[source]
        cause: DriveError,
    },
    /// A drive, with its cable and host adapter, does not do what jobs would ask of it.
    #[error("{drive} is not fit: {what}")]
    Unfit {
        /// Which.
        drive: String,
        /// What it does not do.
        what: String,
    },
    /// A cartridge is not what it should be, or must not be written.
    #[error("{cartridge}: {what}")]
    Cartridge {
        /// Volser or barcode, or the drive that it is in.
        cartridge: String,
        /// What is wrong.
        what: String,
        /// What to do.
        advice: String,
        /// What the tape or the drive said.
        #[source]
        cause: Option<Box<dyn Error + Send + Sync>>,
    },
    /// A key is not at hand, or must not be used.
    #[error("{what}")]
    Key {
        /// Which, and for what.
        what: String,
        /// Why not; `None` when the config names no key file.
        #[source]
        cause: Option<KeyError>,
    },
    /// No cartridge can be used.
    #[error("no cartridge of pool {pool} takes data")]
    NoMedia {
        /// Of which pool.
        pool: PoolName,
    },
    /// What is wanted is on no volume that can be read.
    #[error("{what}")]
    NotHeld {
        /// What is not there.
        what: String,
    },
    /// Hands are needed, and nobody was there.
    #[error("an operator is needed: {}", asked(prompt))]
    Operator {
        /// For what.
        prompt: Prompt,
    },
    /// The library cannot go on without hands: a mail slot is full, a cartridge is not there.
    #[error("{what}")]
    Library {
        /// What is in the way.
        what: String,
        /// What to do about it.
        advice: String,
    },
    /// The operator wanted to stop. The same command goes on where it stopped.
    #[error("stopped; the same command goes on from here")]
    Stopped,
}

/// Who can mend it; the exit code says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Whoever wrote the command line or the config.
    Config,
    /// An operator's hands.
    Operator,
    /// Another cartridge.
    Media,
    /// Whoever looks after the drive or the library.
    Device,
    /// Whoever looks after the source or the network.
    Source,
    /// Whoever looks after the disks.
    Storage,
}

fn at(path: Option<&Path>) -> String {
    path.map(|path| format!(" {}", path.display())).unwrap_or_default()
}

fn holding(volser: Option<Volser>) -> String {
    volser.map(|volser| format!(" with {volser}")).unwrap_or_default()
}

fn asked(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Load { drive, volser, place, .. } => {
            format!("put cartridge {volser} (last known: {place}) into {drive}")
        }
        Prompt::LoadScratch { drive, pool, copy } => {
            format!("put a cartridge of pool {pool} that takes data into {drive} for copy {copy}")
        }
        Prompt::Remove { volser } => format!("take cartridge {volser} out"),
        Prompt::Confirm { what, volser } => format!("{what} Confirm it with {volser}"),
    }
}

impl JobError {
    /// Puts the operation to an I/O error of a temporary file.
    pub(in crate::job) fn scratch(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::File { operation, path: None, cause }
    }

    /// What could not be sorted for want of room.
    pub(in crate::job) fn sorting(cause: SorterError) -> Self {
        Self::File { operation: "sort in", path: Some(cause.directory), cause: cause.source }
    }

    /// Puts operation and path to an I/O error.
    pub(in crate::job) fn file(
        operation: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = Some(path.to_owned());
        move |cause| Self::File { operation, path, cause }
    }

    /// Who can mend it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Request { .. } | Self::Clock(_) => Remedy::Config,
            Self::Source { .. } => Remedy::Source,
            Self::Staging(StagingError::TooSmall { .. } | StagingError::TooLarge { .. }) => {
                Remedy::Config
            }
            Self::Staging(_) | Self::Catalog(_) | Self::File { .. } => Remedy::Storage,
            Self::Rig(RigError::Choice { .. } | RigError::Stranger { .. }) => Remedy::Config,
            Self::Rig(RigError::Drive(cause)) | Self::Drive { cause, .. } => drive_remedy(cause),
            Self::Rig(_) | Self::Unfit { .. } => Remedy::Device,
            Self::Cartridge { .. } | Self::NoMedia { .. } | Self::NotHeld { .. } => Remedy::Media,
            Self::Key { .. } | Self::Library { .. } | Self::Operator { .. } | Self::Stopped => {
                Remedy::Operator
            }
        }
    }
}

fn drive_remedy(cause: &DriveError) -> Remedy {
    match cause {
        DriveError::NoMedium(_) => Remedy::Operator,
        DriveError::EndOfMedium(_)
        | DriveError::Medium(_)
        | DriveError::EndOfDataMissing(_)
        | DriveError::Unusable(_)
        | DriveError::WriteProtected(_) => Remedy::Media,
        DriveError::Damaged(_)
        | DriveError::Deferred(_)
        | DriveError::PositionLost(_)
        | DriveError::Mismatch { .. }
        | DriveError::NotReady(_)
        | DriveError::Busy(_)
        | DriveError::Refused { .. }
        | DriveError::Unknown { .. }
        | DriveError::Unsupported(_)
        | DriveError::Hardware(_)
        | DriveError::WrongDevice { .. } => Remedy::Device,
    }
}
