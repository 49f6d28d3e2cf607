//! Giving a finished temporary its name.

use std::os::fd::AsFd;

use rustix::{
    fs::{AtFlags, RenameFlags},
    io::Errno,
};

use crate::destination::{DestinationError, tree, tree::Place};

/// Renames `temporary`, which lies beside the place, to the place's name. Without `overwrite` it
/// never replaces anything. On failure the temporary is removed.
///
/// # Errors
///
/// [`DestinationError::Exists`] when something has the name.
pub(super) fn install(
    place: &Place,
    temporary: &[u8],
    overwrite: bool,
) -> Result<(), DestinationError> {
    rename(place, temporary, overwrite).map_err(|errno| {
        remove(place, temporary);
        match errno {
            // A directory took the name.
            Errno::ISDIR | Errno::NOTEMPTY => DestinationError::Exists { path: place.path.clone() },
            errno => tree::error("naming", &place.path, errno),
        }
    })
}

fn rename(place: &Place, temporary: &[u8], overwrite: bool) -> Result<(), Errno> {
    let directory = place.directory.as_fd();
    let name = &*place.name;
    if overwrite {
        rustix::fs::renameat(directory, temporary, directory, name)?;
        // Two names of one file: then the rename does nothing at all.
        remove(place, temporary);
        return Ok(());
    }
    match rustix::fs::renameat_with(directory, temporary, directory, name, RenameFlags::NOREPLACE) {
        // Not every file system knows the flag; a link does not replace either.
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(directory, temporary, directory, name, AtFlags::empty())?;
            rustix::fs::unlinkat(directory, temporary, AtFlags::empty())
        }
        result => result,
    }
}

/// Removes a temporary, if it is there.
pub(super) fn remove(place: &Place, temporary: &[u8]) {
    match rustix::fs::unlinkat(&place.directory, temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => {
            let directory = crate::printable::Printable(&place.path);
            tracing::warn!(%errno, beside = %directory, "a temporary file stays");
        }
    }
}
