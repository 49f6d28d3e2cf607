//! Extended attributes.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::item::Xattr;

/// The kernel's own limit for the list of names, and for one value.
const LIMIT_BYTES: usize = 64 << 10;
/// What is enough for nearly all. The kernel allocates as much as it is asked for, each time.
const FIRST_BYTES: usize = 256;

/// Reads extended attributes, remembering which file system has none.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// The device on which listing them was last refused as unsupported.
    without: Option<u64>,
    names: Vec<u8>,
    value: Vec<u8>,
}

/// How the item whose attributes are read is reached.
pub(super) enum Of<'a> {
    /// By its open descriptor.
    Open(BorrowedFd<'a>),
    /// By a path through `/proc/self/fd`, for what must not be opened. Not followed if a symlink.
    Path(&'a [u8]),
}

impl Of<'_> {
    fn list(&self, names: &mut [u8]) -> Result<usize, Errno> {
        match self.list_into(&mut names[..FIRST_BYTES]) {
            Err(Errno::RANGE) => self.list_into(names),
            result => result,
        }
    }

    fn get(&self, name: &[u8], value: &mut [u8]) -> Result<usize, Errno> {
        match self.get_into(name, &mut value[..FIRST_BYTES]) {
            Err(Errno::RANGE) => self.get_into(name, value),
            result => result,
        }
    }

    fn list_into(&self, names: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(fd) => rustix::fs::flistxattr(fd, names),
            Self::Path(path) => rustix::fs::llistxattr(*path, names),
        }
    }

    fn get_into(&self, name: &[u8], value: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(fd) => rustix::fs::fgetxattr(fd, name, value),
            Self::Path(path) => rustix::fs::lgetxattr(*path, name, value),
        }
    }
}

impl Attributes {
    /// All readable attributes of `of`, sorted by name.
    ///
    /// # Errors
    ///
    /// When some could not be read: those that could, and the first cause.
    pub(super) fn read(
        &mut self,
        of: &Of<'_>,
        device: u64,
    ) -> Result<Vec<Xattr>, (Vec<Xattr>, Errno)> {
        if self.without == Some(device) {
            return Ok(Vec::new());
        }
        if self.names.is_empty() {
            self.names = vec![0; LIMIT_BYTES];
            self.value = vec![0; LIMIT_BYTES];
        }
        let length = match of.list(&mut self.names) {
            Ok(0) => return Ok(Vec::new()),
            Ok(length) => length,
            Err(Errno::NOTSUP) => {
                self.without = Some(device);
                return Ok(Vec::new());
            }
            Err(errno) => return Err((Vec::new(), errno)),
        };
        let mut xattrs = Vec::new();
        let mut trouble = None;
        for name in self.names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            // The format keeps names as text, as every tar does.
            let Ok(text) = std::str::from_utf8(name) else {
                trouble.get_or_insert(Errno::ILSEQ);
                continue;
            };
            match of.get(name, &mut self.value) {
                Ok(length) => xattrs
                    .push(Xattr { name: text.to_owned(), value: self.value[..length].to_vec() }),
                // Removed since it was listed.
                Err(Errno::NODATA) => {}
                Err(errno) => {
                    trouble.get_or_insert(errno);
                }
            }
        }
        xattrs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        match trouble {
            None => Ok(xattrs),
            Some(errno) => Err((xattrs, errno)),
        }
    }
}
