//! What went wrong, which exit code it has, and what to do about it.

use crate::{
    catalog::{BadPattern, CatalogError},
    causes,
    cli::{advice, exit::Exit},
    config::ConfigError,
    ident::Volser,
    job::{JobError, Remedy},
    keys::KeyError,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The config.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A pattern.
    #[error(transparent)]
    Pattern(BadPattern),
    /// A volume that nobody knows.
    #[error("this catalog knows no volume {volser}")]
    UnknownVolume {
        /// Which.
        volser: Volser,
    },
    /// Something on the command line.
    #[error("{what}")]
    Usage {
        /// What.
        what: String,
    },
    /// The key file, or a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The job.
    #[error(transparent)]
    Job(#[from] JobError),
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::Job(error.into())
    }
}

impl Failure {
    /// The exit code.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::Pattern(_)
            | Self::UnknownVolume { .. }
            | Self::Usage { .. } => Exit::Usage,
            Self::Key(KeyError::Io { .. } | KeyError::Damaged { .. }) => Exit::Storage,
            Self::Key(_) => Exit::Operator,
            Self::Job(error) => match error.remedy() {
                Remedy::Config => Exit::Usage,
                Remedy::Operator => Exit::Operator,
                Remedy::Media => Exit::NoMedia,
                Remedy::Device => Exit::Device,
                Remedy::Source => Exit::Source,
                Remedy::Storage => Exit::Storage,
            },
        }
    }

    /// The message with its causes, and what to do.
    pub(super) fn message(&self) -> String {
        let mut text = causes::chain(self);
        if let Some(advice) = advice::of(self) {
            text.push_str("\n  → ");
            text.push_str(&advice);
        }
        text
    }
}
