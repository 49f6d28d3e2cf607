//! Making and opening.

use std::{fs, io::Write};

use rusqlite::Connection;
use tapevault::{
    catalog::{Catalog, CatalogError, Mode},
    clock::TestClock,
};
use tempfile::TempDir;

use crate::given::{at, catalog, catalog_for, file, sealed, volume};

#[test]
fn a_catalog_keeps_its_identity_and_mode() {
    for mode in [Mode::Rehearsal, Mode::Real] {
        let (folder, made) = catalog_for(mode);
        let opened = Catalog::open(made.path()).unwrap();
        assert_eq!((opened.id(), opened.mode()), (made.id(), mode));
        let again = Catalog::create(made.path(), mode, &TestClock::at(at(0)));
        assert!(matches!(again, Err(CatalogError::Exists { .. })));
        drop(folder);
    }
}

#[test]
fn what_is_not_a_catalog_is_named() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x");
    assert!(matches!(Catalog::open(&path), Err(CatalogError::Missing { .. })));

    fs::write(&path, "not a database, but long enough to look at".repeat(100)).unwrap();
    let error = Catalog::open(&path).unwrap_err();
    assert!(matches!(error, CatalogError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("catalog rebuild"), "{error}");

    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(Catalog::open(&path), Err(CatalogError::Foreign { .. })));
}

#[test]
fn another_schema_is_left_alone() {
    let (_folder, made) = catalog();
    let path = made.path().to_owned();
    drop(made);
    for other in [1, 99] {
        Connection::open(&path).unwrap().pragma_update(None, "user_version", other).unwrap();
        let refused = Catalog::open(&path);
        assert!(matches!(refused, Err(CatalogError::Schema { found, .. }) if found == other));
    }
}

#[test]
fn damage_is_told_from_other_failures() {
    let (_folder, made) = catalog();
    let entries = (0..5000).map(|n| file(&format!("some/long/path/to/file-{n:05}"), n)).collect();
    let segment = sealed(&made, entries);
    let path = made.path().to_owned();
    drop(made);
    let length = fs::metadata(&path).unwrap().len();
    let mut database = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::io::Seek::seek(&mut database, std::io::SeekFrom::Start(4096)).unwrap();
    let noise = vec![0xa5; usize::try_from(length).unwrap() - 4096];
    database.write_all(&noise).unwrap();
    let read = Catalog::open(&path)
        .and_then(|catalog| catalog.entries(segment.id)?.collect::<Result<Vec<_>, _>>());
    assert!(matches!(read, Err(CatalogError::Corrupt { .. })), "{read:?}");
}

#[test]
fn another_writer_makes_it_busy() {
    let (_folder, made) = catalog();
    let other = Connection::open(made.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Reading goes on.
    assert_eq!(made.volumes().unwrap(), []);
    let error = made.put_volume(&volume("A00001")).unwrap_err();
    assert!(matches!(error, CatalogError::Busy { .. }), "{error}");
    other.execute_batch("COMMIT").unwrap();
    made.put_volume(&volume("A00001")).unwrap();
}

#[test]
fn two_processes_see_each_others_commits() {
    let (_folder, one) = catalog();
    let two = Catalog::open(one.path()).unwrap();
    let made = volume("A00001");
    one.put_volume(&made).unwrap();
    assert_eq!(two.volume(made.volser).unwrap(), Some(made));
}
