//! A directory tree as a source: files with all that a POSIX file system knows about them.
//!
//! Keys are paths relative to the root, without a leading slash; the root itself has the empty key
//! and comes first. No symbolic link is ever followed.

mod attributes;
mod extents;
mod facts;
mod fetch;
mod paths;
mod read;
mod walk;

use std::{
    fmt, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::item::Listed;
use crate::printable::Printable;
use crate::source::{Findings, Sink, Source, SourceError, Stop};

/// What of a directory tree is archived, and how it is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The tree's root; if this path itself is a symbolic link it is followed.
    pub root: PathBuf,
    /// Whether other file systems mounted in the tree are left out. Their mount points are kept as
    /// empty directories.
    pub one_file_system: bool,
    /// Globs of what is left out. One without a slash meets any component of a path, one with a
    /// slash the whole path from the root; one that ends in a slash meets directories only. What
    /// lies beneath an excluded directory is excluded too.
    pub exclude: Vec<String>,
    /// Directories that are left out whatever their name: the staging area, the catalog.
    pub avoid: Vec<PathBuf>,
    /// Where a listing puts temporary files when a directory is too large for memory.
    pub scratch: PathBuf,
}

/// A glob that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{glob:?} is not a glob")]
pub struct GlobError {
    /// As written.
    pub glob: String,
    /// The cause.
    #[source]
    pub cause: globset::Error,
}

/// Globs over paths, those for directories only apart.
#[derive(Clone, Debug, Default)]
pub struct Excludes {
    any: GlobSet,
    directories: GlobSet,
}

/// A directory tree, opened.
pub struct DirectorySource {
    name: String,
    root: Arc<OwnedFd>,
    root_device: u64,
    one_file_system: bool,
    excludes: Excludes,
    /// Device and inode of what [`Options::avoid`] names.
    avoid: Vec<(u64, u64)>,
    scratch: PathBuf,
    names: facts::Names,
    clock: Arc<dyn Clock>,
}

impl Excludes {
    /// Reads globs.
    ///
    /// # Errors
    ///
    /// When one is not a glob.
    pub fn new(globs: &[String]) -> Result<Self, GlobError> {
        let mut any = GlobSetBuilder::new();
        let mut directories = GlobSetBuilder::new();
        for glob in globs {
            let error = |cause| GlobError { glob: glob.clone(), cause };
            let (pattern, builder) = match glob.strip_suffix('/') {
                Some(pattern) => (pattern, &mut directories),
                None => (glob.as_str(), &mut any),
            };
            let pattern = match pattern.strip_prefix('/') {
                Some(anchored) => anchored.to_owned(),
                None if pattern.contains('/') => pattern.to_owned(),
                None => format!("**/{pattern}"),
            };
            let built = GlobBuilder::new(&pattern).literal_separator(true).build();
            builder.add(built.map_err(error)?);
        }
        let error = |cause| GlobError { glob: globs.join(" "), cause };
        Ok(Self {
            any: any.build().map_err(error)?,
            directories: directories.build().map_err(error)?,
        })
    }

    fn is_empty(&self) -> bool {
        self.any.is_empty() && self.directories.is_empty()
    }

    fn leave_out(&self, path: &Path) -> bool {
        self.any.is_match(path)
    }

    fn leave_out_directory(&self, path: &Path) -> bool {
        self.any.is_match(path) || self.directories.is_match(path)
    }
}

impl DirectorySource {
    /// Opens the tree's root.
    ///
    /// # Errors
    ///
    /// When it is not there, is no directory, or may not be read.
    pub fn open(
        options: Options,
        excludes: Excludes,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SourceError> {
        let name = Printable::from(options.root.as_path()).to_string();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&options.root, flags, Mode::empty())
            .and_then(|root| Ok((rustix::fs::fstat(&root)?.st_dev, root)));
        let (root_device, root) = opened.map_err(|errno| root_error(&name, errno))?;
        let mut avoid = Vec::new();
        for path in &options.avoid {
            // What is not there yet cannot be met.
            if let Ok(stat) = rustix::fs::stat(path) {
                avoid.push((stat.st_dev, stat.st_ino));
            }
        }
        Ok(Self {
            name,
            root: Arc::new(root),
            root_device,
            one_file_system: options.one_file_system,
            excludes,
            avoid,
            scratch: options.scratch,
            names: facts::Names::of_this_host(),
            clock,
        })
    }

    fn lost(&self, operation: &'static str, cause: impl Into<io::Error>) -> SourceError {
        SourceError::Lost {
            operation,
            source_name: self.name.clone(),
            attempts: 1,
            cause: Box::new(cause.into()),
        }
    }
}

fn root_error(name: &str, errno: Errno) -> SourceError {
    let source_name = name.to_owned();
    let cause = Box::new(io::Error::from(errno));
    match errno {
        Errno::ACCESS | Errno::PERM => {
            SourceError::Denied { operation: "opening the directory", source_name, cause }
        }
        Errno::NOENT | Errno::NOTDIR => SourceError::NotFound { source_name, cause },
        _ => SourceError::Lost {
            operation: "opening the directory",
            source_name,
            attempts: 1,
            cause,
        },
    }
}

impl Source for DirectorySource {
    fn list(
        &self,
        visit: &mut dyn FnMut(Listed) -> Result<(), Stop>,
        findings: &dyn Findings,
        cancel: &Cancel,
    ) -> Result<(), SourceError> {
        walk::Walk::new(self, visit, findings).run(cancel)
    }

    fn fetch(
        &self,
        wanted: &mut (dyn Iterator<Item = Listed> + Send),
        sink: &dyn Sink,
        cancel: &Cancel,
    ) -> Result<(), SourceError> {
        fetch::fetch(self, wanted, sink, cancel)
    }
}

impl fmt::Debug for DirectorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectorySource").field("name", &self.name).finish_non_exhaustive()
    }
}
