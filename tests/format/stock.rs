//! The readers that everybody has, held to: exit status 0, and nothing on standard error.

use std::path::Path;
use std::process::{Command, Stdio};

/// A reader that lists and extracts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stock {
    Gnu,
    Bsd,
    Python,
}

pub(crate) const ALL: [Stock; 3] = [Stock::Gnu, Stock::Bsd, Stock::Python];

const PYTHON_LIST: &str = "
import sys, tarfile
with tarfile.open(sys.argv[1], 'r:') as archive:
    for member in archive:
        print(ascii(member.name), member.size)
";

const PYTHON_EXTRACT: &str = "
import sys, tarfile
with tarfile.open(sys.argv[1], 'r:') as archive:
    trusted = getattr(tarfile, 'fully_trusted_filter', None)
    if trusted:
        archive.extraction_filter = staticmethod(trusted)
    archive.extractall('.')
";

impl Stock {
    pub(crate) fn list(self, archive: &Path) -> Command {
        let mut command = match self {
            Self::Gnu => program("tar", &["-tvf"]),
            Self::Bsd => program("bsdtar", &["-tvf"]),
            Self::Python => program("python3", &["-c", PYTHON_LIST]),
        };
        command.arg(archive);
        command
    }

    pub(crate) fn extract(self, archive: &Path, into: &Path) -> Command {
        let mut command = match self {
            Self::Gnu => program("tar", &["--xattrs", "-xpf"]),
            Self::Bsd => program("bsdtar", &["-xpf"]),
            Self::Python => program("python3", &["-c", PYTHON_EXTRACT]),
        };
        command.arg(archive).current_dir(into);
        command
    }
}

pub(crate) fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Runs it and gives its output, if it succeeded in silence.
pub(crate) fn quietly(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaint.is_empty(),
        "{command:?} ended with {}: {}",
        output.status,
        &complaint[..complaint.floor_char_boundary(2000)]
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Lists and extracts a tape file with every reader, and checks what came out.
pub(crate) fn read_by_all(archive: &Path, members: usize, after: impl Fn(Stock, &Path)) {
    for stock in ALL {
        let listing = quietly(&mut stock.list(archive));
        assert_eq!(listing.lines().count(), members, "{stock:?} lists all of {archive:?}");
        let into = tempfile::tempdir().unwrap();
        quietly(&mut stock.extract(archive, into.path()));
        after(stock, into.path());
    }
}

/// Checks the digests of what was extracted from a segment.
pub(crate) fn check_sums(folder: &Path, segment: &str) {
    let sums = format!(".tapevault/{segment}/BLAKE3SUMS");
    quietly(program("b3sum", &["--check", "--quiet", &sums]).current_dir(folder));
}
