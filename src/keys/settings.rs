//! Where keys are kept and how their file is opened.

use std::{io, path::PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

/// Asks a person for a passphrase, without showing it.
pub type Ask = fn(question: &str) -> io::Result<Zeroizing<String>>;

/// The key file, as the config names it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// The file.
    pub file: PathBuf,
    /// A file with an age identity (`age-keygen` makes one) that opens it.
    pub identity: Option<PathBuf>,
    /// A file whose first line is the passphrase that opens it. Without this and `identity` the
    /// passphrase is asked for.
    pub passphrase_file: Option<PathBuf>,
    /// Other age recipients (`age1…`) that can open it, too. Only beside `identity`.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// Who is asked for a passphrase; set by the command line.
    #[serde(skip)]
    pub ask: Option<Ask>,
}
