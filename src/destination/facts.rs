//! Giving back modes, owners, attributes and times.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use rustix::{
    fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags},
    io::Errno,
};

use crate::clock::Timestamp;
use crate::destination::Options;
use crate::destination::tree::Place;
use crate::item::{Item, Kind, Posix, Xattr};

/// Reads an attribute by its name; gives its length.
type ReadAttribute<'a> = &'a dyn Fn(&str, &mut [u8]) -> Result<usize, Errno>;

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
            let path = path_of(place, temporary);
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

    /// What an open file or directory lacks of the facts that it would be given: names of
    /// attributes, `owner`, `mode`, `times`.
    pub(super) fn lacking(&self, of: BorrowedFd<'_>, stat: &Stat, item: &Item) -> Vec<String> {
        self.differing(stat, item, &|name, value| rustix::fs::fgetxattr(of, name, value))
    }

    /// As [`Self::lacking`], for a symlink, pipe or device in its place.
    pub(super) fn lacking_at(&self, place: &Place, stat: &Stat, item: &Item) -> Vec<String> {
        let path = path_of(place, &place.name);
        self.differing(stat, item, &|name, value| rustix::fs::lgetxattr(&*path, name, value))
    }

    fn differing(&self, stat: &Stat, item: &Item, attribute: ReadAttribute<'_>) -> Vec<String> {
        let mut differing = Vec::new();
        if let Some(posix) = &item.posix {
            if self.options.owners && (stat.st_uid, stat.st_gid) != (posix.uid, posix.gid) {
                differing.push("owner".to_owned());
            }
            for xattr in self.wanted(posix) {
                let mut value = vec![0; xattr.value.len() + 1];
                let length = attribute(&xattr.name, &mut value);
                if length.map(|length| &value[..length]) != Ok(&*xattr.value) {
                    differing.push(xattr.name.clone());
                }
            }
            // Of an item without a mode any will do; a symlink has none of its own.
            let is_symlink = matches!(item.kind, Kind::Symlink { .. });
            let bits = if self.options.set_id { 0o7777 } else { 0o1777 };
            if !is_symlink && stat.st_mode & bits != self.mode(item).as_raw_mode() {
                differing.push("mode".to_owned());
            }
        }
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
        if !is_time((stat.st_mtime, nanoseconds), item.modified.parts()) {
            differing.push("times".to_owned());
        }
        differing
    }

    /// As [`Self::lacking`], for a directory that was opened only to stand on.
    pub(super) fn lacking_below(
        &self,
        of: BorrowedFd<'_>,
        stat: &Stat,
        item: &Item,
    ) -> Vec<String> {
        let path = path_to(of);
        self.differing(stat, item, &|name, value| rustix::fs::getxattr(&*path, name, value))
    }

    /// The mode of a directory that no item describes, unless it has been given one.
    pub(super) fn apply_default(&self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        if rustix::fs::fstat(directory)?.st_mode & 0o777 != Mode::RWXU.as_raw_mode() {
            return Ok(());
        }
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

/// A path by which calls that take none find what is open.
fn path_to(open: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", open.as_raw_fd())
}

/// A path by which calls without a descriptor find something beside a place.
fn path_of(place: &Place, name: &[u8]) -> Vec<u8> {
    [path_to(place.directory.as_fd()).as_bytes(), b"/", name].concat()
}

/// Lets its owner work in a directory whose facts come back at the end.
pub(super) fn open_up(directory: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777) | Mode::RWXU;
    rustix::fs::chmod(path_to(directory), mode)
}

/// Whether a modification time is the wanted one, or what is left of it on a file system that keeps
/// coarser ones.
fn is_time(found: (i64, u32), wanted: (i64, u32)) -> bool {
    const SECOND: i128 = 1_000_000_000;
    let in_nanoseconds =
        |(seconds, rest): (i64, u32)| i128::from(seconds) * SECOND + i128::from(rest);
    let (found, wanted) = (in_nanoseconds(found), in_nanoseconds(wanted));
    // FAT keeps every other second.
    [1, 100, 1_000, 1_000_000, SECOND, 2 * SECOND]
        .into_iter()
        .any(|grain| wanted.div_euclid(grain) * grain == found)
}

fn uid(posix: &Posix) -> Option<Uid> {
    Some(Uid::from_raw(posix.uid))
}

fn gid(posix: &Posix) -> Option<Gid> {
    Some(Gid::from_raw(posix.gid))
}

/// The modification time; that of the last access stays.
pub(super) fn times(modified: Timestamp) -> Timestamps {
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

#[cfg(test)]
mod tests {
    use super::is_time;

    #[test]
    fn times_may_be_coarse_but_not_wrong() {
        for (found, wanted, expected) in [
            ((7, 123_456_789), (7, 123_456_789), true),
            ((7, 123_456_700), (7, 123_456_789), true),
            ((7, 123_000_000), (7, 123_456_789), true),
            ((7, 0), (7, 123_456_789), true),
            ((6, 0), (7, 123_456_789), true),
            ((-8, 0), (-7, 5), true),
            ((5, 0), (7, 123_456_789), false),
            ((8, 0), (7, 999_999_999), false),
            ((7, 123_456_790), (7, 123_456_789), false),
            ((7, 123_456_788), (7, 123_456_789), false),
        ] {
            assert_eq!(is_time(found, wanted), expected, "{found:?} for {wanted:?}");
        }
    }
}
