//! What has to wait for the end: symlinks, then directories' modes and times, the deepest first.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Stat};

use crate::crash;
use crate::destination::facts::Rules;
use crate::destination::journal::Names;
use crate::destination::tree::{self, Tree};
use crate::destination::{DestinationError, Restored, install, name};
use crate::item::{Item, Kind};
use crate::sorter::{Sorted, Sorter};

/// What a record's key begins with.
const SYMLINK: u8 = b'1';
const DIRECTORY: u8 = b'2';

/// What a directory's value begins with, in this order: it was made by this restore (or by one that
/// was killed); it had its item's facts before; its item.
const MADE: u8 = b'a';
const AGREED: u8 = b'b';
const ITEM: u8 = b'c';

/// Sorts the paths of directories so that what lies in one comes before it.
fn directory_key(path: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(path.len() + 2);
    key.push(DIRECTORY);
    key.extend(path.iter().map(|byte| !byte));
    // No path has the byte whose opposite this is.
    key.push(0xff);
    key
}

fn directory_path(key: &[u8]) -> Vec<u8> {
    key[1..key.len() - 1].iter().map(|byte| !byte).collect()
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn value(mark: u8, stand_in: bool, item: &Item) -> Vec<u8> {
    let mut value = vec![mark, u8::from(stand_in)];
    serde_json::to_writer(&mut value, item).expect("an item is text, numbers and lists");
    value
}

fn item_of(value: &[u8]) -> (bool, Item) {
    let item = serde_json::from_slice(&value[2..]).expect("it was written so");
    (value[1] != 0, item)
}

pub(super) fn push_symlink(
    deferred: &mut Sorter,
    place: &tree::Place,
    item: &Item,
) -> Result<(), DestinationError> {
    let key = [&[SYMLINK], &*place.path].concat();
    Ok(deferred.push_keyed(&key, &value(ITEM, place.stand_in, item))?)
}

pub(super) fn push_made(deferred: &mut Sorter, path: &[u8]) -> Result<(), DestinationError> {
    Ok(deferred.push_keyed(&directory_key(path), &[MADE])?)
}

pub(super) fn push_agreed(deferred: &mut Sorter, path: &[u8]) -> Result<(), DestinationError> {
    Ok(deferred.push_keyed(&directory_key(path), &[AGREED])?)
}

pub(super) fn push_directory(
    deferred: &mut Sorter,
    directory: &tree::Directory,
    item: &Item,
) -> Result<(), DestinationError> {
    let key = directory_key(&directory.path);
    Ok(deferred.push_keyed(&key, &value(ITEM, directory.stand_in, item))?)
}

/// Takes what became of each deferred item.
pub(super) type Report<'a> = &'a mut dyn FnMut(&Item, Result<Restored, DestinationError>);

/// Does all that was deferred.
pub(super) struct End<'a> {
    pub(super) tree: &'a Tree,
    pub(super) rules: &'a Rules,
    pub(super) names: &'a Names,
    pub(super) overwrite: bool,
    pub(super) report: Report<'a>,
}

impl End<'_> {
    pub(super) fn run(self, records: Sorted) -> Result<(), DestinationError> {
        // The directory that was last seen to be made by this restore, and has no item yet.
        let mut made: Option<Vec<u8>> = None;
        let mut agreed: Option<Vec<u8>> = None;
        for record in records {
            let record = record?;
            let (key, value) = (record.key(), record.value());
            if key[0] == SYMLINK {
                let (stand_in, item) = item_of(value);
                let result = self.symlink(&key[1..], stand_in, &item);
                (self.report)(&item, result);
                continue;
            }
            let path = directory_path(key);
            match value[0] {
                // Killed twice, it may have been made twice.
                MADE if made.as_ref() == Some(&path) => {}
                MADE => self.default_mode(made.replace(path))?,
                AGREED => agreed = Some(path),
                _ => {
                    let by_us = made.take_if(|made| *made == path).is_some();
                    let already = agreed.take_if(|agreed| *agreed == path).is_some();
                    let (stand_in, item) = item_of(value);
                    let result = if by_us || already || self.overwrite {
                        let done = self.directory(&path, stand_in, &item);
                        done.map(|restored| Restored { already, ..restored })
                    } else {
                        // Was there before: its mode and times are not ours to change.
                        Err(DestinationError::Exists { path })
                    };
                    crash::point("restore.directory.done");
                    (self.report)(&item, result);
                }
            }
        }
        self.default_mode(made)
    }

    fn symlink(
        &self,
        path: &[u8],
        stand_in: bool,
        item: &Item,
    ) -> Result<Restored, DestinationError> {
        let Kind::Symlink { target } = &item.kind else { unreachable!("only symlinks come here") };
        let error = |errno| tree::error("making symlink", path, errno);
        let mut place = self.tree.existing_place(path, stand_in).map_err(error)?;
        for _ in 0..2 {
            let found =
                rustix::fs::statat(&place.directory, &*place.name, AtFlags::SYMLINK_NOFOLLOW);
            // What was restored since may have needed a directory of that name.
            if found.is_ok_and(|stat| is_directory(&stat)) {
                place = place.renamed(name::of_placed);
            }
        }
        let temporary = self.names.temporary();
        rustix::fs::symlinkat(&*target.0, &place.directory, &*temporary).map_err(error)?;
        let left_out = self.rules.apply_to(&place, &temporary, item);
        install::install(&place, &temporary, self.overwrite)?;
        crash::point("restore.symlink.named");
        let tree::Place { path, stand_in, .. } = place;
        Ok(Restored { path, stand_in, left_out, already: false })
    }

    fn directory(
        &self,
        path: &[u8],
        stand_in: bool,
        item: &Item,
    ) -> Result<Restored, DestinationError> {
        let directory = self
            .tree
            .existing(path)
            .map_err(|errno| tree::error("opening directory", path, errno))?;
        let left_out = self.rules.apply(directory.as_fd(), item);
        Ok(Restored { path: path.to_vec(), stand_in, left_out, already: false })
    }

    fn default_mode(&self, path: Option<Vec<u8>>) -> Result<(), DestinationError> {
        // The destination itself has the mode that its owner gave it.
        let Some(path) = path.filter(|path| !path.is_empty()) else { return Ok(()) };
        self.tree
            .existing(&path)
            .and_then(|directory| self.rules.apply_default(directory.as_fd()))
            .map_err(|errno| tree::error("setting the mode of", &path, errno))
    }
}
