//! Giving back modes, owners, attributes and times.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use rustix::{
    fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags},
    io::Errno,
};

use crate::clock::Timestamp;
use crate::destination::Options;
use crate::destination::tree::Place;
use crate::item::{Item, Kind, Posix, Xattr};

/// What of an item's facts comes back here.
#[derive(Debug)]
pub(super) struct Rules {
    options: Options,
    umask: u32,
}

impl Rules {
    pub(super) fn new(options: Options) -> Self {
        Self { options, umask: umask() }
    }

    /// Gives an open file or directory the item's facts. Returns what did not come back.
    pub(super) fn apply(&self, to: BorrowedFd<'_>, item: &Item) -> Vec<String> {
        let mut left_out = Vec::new();
        // The owner first, since a change of it takes away capabilities and set-id bits; the mode
        // after the attributes, which a file that may not be written does not take; times last.
        if let Some(posix) = &item.posix {
            if self.options.owners && rustix::fs::fchown(to, uid(posix), gid(posix)).is_err() {
                left_out.push("owner".to_owned());
            }
            for xattr in self.wanted(posix) {
                let flags = XattrFlags::empty();
                if rustix::fs::fsetxattr(to, &*xattr.name, &xattr.value, flags).is_err() {
                    left_out.push(xattr.name.clone());
                }
            }
        }
        if rustix::fs::fchmod(to, self.mode(item)).is_err() {
            left_out.push("mode".to_owned());
        }
        if rustix::fs::futimens(to, &times(item.modified)).is_err() {
            left_out.push("times".to_owned());
        }
        left_out
    }

    /// As [`Self::apply`], for a symlink, pipe or device with the name `temporary` beside its
    /// place.
    pub(super) fn apply_to(&self, place: &Place, temporary: &[u8], item: &Item) -> Vec<String> {
        let mut left_out = Vec::new();
        let (directory, flags) = (place.directory.as_fd(), AtFlags::SYMLINK_NOFOLLOW);
        if let Some(posix) = &item.posix {
            if self.options.owners
                && rustix::fs::chownat(directory, temporary, uid(posix), gid(posix), flags).is_err()
            {
                left_out.push("owner".to_owned());
            }
            let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
            path.extend_from_slice(temporary);
            for xattr in self.wanted(posix) {
                let flags = XattrFlags::empty();
                if rustix::fs::lsetxattr(&*path, &*xattr.name, &xattr.value, flags).is_err() {
                    left_out.push(xattr.name.clone());
                }
            }
        }
        // A symlink has no mode of its own.
        let is_symlink = matches!(item.kind, Kind::Symlink { .. });
        if !is_symlink
            && rustix::fs::chmodat(directory, temporary, self.mode(item), AtFlags::empty()).is_err()
        {
            left_out.push("mode".to_owned());
        }
        if rustix::fs::utimensat(directory, temporary, &times(item.modified), flags).is_err() {
            left_out.push("times".to_owned());
        }
        left_out
    }

    /// The mode of a directory that no item describes.
    pub(super) fn apply_default(&self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::fs::fchmod(directory, Mode::from_raw_mode(0o777 & !self.umask))
    }

    fn wanted<'a>(&self, posix: &'a Posix) -> impl Iterator<Item = &'a Xattr> {
        let privileged = self.options.privileged_attributes;
        posix.xattrs.iter().filter(move |xattr| {
            privileged
                || !(xattr.name.starts_with("security.") || xattr.name.starts_with("trusted."))
        })
    }

    fn mode(&self, item: &Item) -> Mode {
        let default = if item.kind == Kind::Directory { 0o777 } else { 0o666 };
        let bits = if self.options.set_id { 0o7777 } else { 0o1777 };
        let mode = item.posix.as_ref().map_or(default & !self.umask, |posix| posix.mode & bits);
        Mode::from_raw_mode(mode)
    }
}

fn uid(posix: &Posix) -> Option<Uid> {
    Some(Uid::from_raw(posix.uid))
}

fn gid(posix: &Posix) -> Option<Gid> {
    Some(Gid::from_raw(posix.gid))
}

/// The modification time; that of the last access stays.
fn times(modified: Timestamp) -> Timestamps {
    let (seconds, nanoseconds) = modified.parts();
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}

/// Read, since the call that tells it also sets it, for all threads.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok())
        .unwrap_or(0o022)
}
