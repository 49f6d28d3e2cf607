//! Members come back as they went in.

use proptest::prelude::*;
use tapevault::{
    catalog::CatalogError,
    ident::SegmentId,
    item::{Key, Place},
    volume::manifest::Entry,
};

use crate::given::{catalog, file, object, odd_entries, sealed, segment, sort};

#[test]
fn every_fact_of_an_entry_is_kept() {
    let (_folder, catalog) = catalog();
    let entries = odd_entries();
    let segment = sealed(&catalog, entries.clone());
    let read: Vec<_> = catalog.entries(segment.id).unwrap().map(Result::unwrap).collect();
    for ((ordinal, entry), (expected, wanted)) in read.iter().zip((0..).zip(&entries)) {
        assert_eq!((*ordinal, entry), (expected, wanted));
        let place = Place { segment: segment.id, ordinal: *ordinal };
        assert_eq!(catalog.entry(place).unwrap().as_ref(), Some(wanted));
    }
    assert_eq!(read.len(), entries.len());
    let beyond = Place { segment: segment.id, ordinal: 1000 };
    assert_eq!(catalog.entry(beyond).unwrap(), None);
    assert_eq!(catalog.entry(Place { segment: SegmentId::new(), ordinal: 0 }).unwrap(), None);
}

#[test]
fn chaining_values_are_left_to_the_manifest() {
    let (_folder, catalog) = catalog();
    let mut entry = file("a", 1);
    entry.chaining = "AAAA".into();
    let segment = sealed(&catalog, vec![entry]);
    let place = Place { segment: segment.id, ordinal: 0 };
    assert_eq!(catalog.entry(place).unwrap(), Some(file("a", 1)));
}

#[test]
fn a_large_segment_of_two_sources_reads_back_in_order() {
    let (_folder, catalog) = catalog();
    let mut entries: Vec<Entry> =
        (0..3000).map(|n| file(&format!("d{}/f{n}", n / 50), n)).collect();
    entries.extend((0..3000).map(|n| object(&format!("o{}", n / 3), &format!("v{}", n % 3), n)));
    let segment = sealed(&catalog, entries.clone());
    sort(&mut entries);
    let read: Vec<_> = catalog.entries(segment.id).unwrap().map(Result::unwrap).collect();
    assert!(read.iter().zip((0..).zip(&entries)).all(|(a, b)| (a.0, &a.1) == b));
    assert_eq!(read.len(), entries.len());
    for ordinal in [0, 63, 64, 1023, 1024, 2999, 3000, 5999] {
        let entry = catalog.entry(Place { segment: segment.id, ordinal }).unwrap();
        assert_eq!(entry.as_ref(), entries.get(usize::try_from(ordinal).unwrap()));
    }
}

#[test]
fn a_manifest_that_is_not_sorted_or_not_whole_changes_nothing() {
    let (_folder, catalog) = catalog();
    let unsorted = || vec![file("b", 1), file("a", 2)];
    let long = || (0..5000).map(|n| file(&format!("{n:08}"), n)).collect::<Vec<_>>();
    let mut late = long();
    late.swap(4000, 4001);
    let mut at_the_seam = long();
    at_the_seam.swap(1023, 1024);
    let twice = vec![file("a", 1), file("a", 1)];
    for (entries, members) in [
        (unsorted(), 2),
        (long(), 4999),
        (long(), 5001),
        (late, 5000),
        (at_the_seam, 5000),
        (twice, 2),
    ] {
        let refused = catalog.add_segment(&segment(members), &mut entries.into_iter());
        assert!(matches!(refused, Err(CatalogError::Conflict { .. })), "{refused:?}");
        assert_eq!(catalog.segments().unwrap(), []);
        assert_eq!(catalog.count(&Default::default()).unwrap(), 0);
    }
    catalog.add_segment(&segment(0), &mut std::iter::empty()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_keys_and_numbers_read_back(
        members in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 0..40),
            (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<Option<String>>()),
            0..200,
        ),
    ) {
        let (_folder, catalog) = catalog();
        let entries: Vec<Entry> = members
            .into_iter()
            .map(|(key, (size, offset, data, stored, path))| {
                let mut entry = file("x", 1);
                entry.item.key = Key(key);
                entry.item.size = size;
                (entry.offset, entry.data) = if path.is_some() { (offset, data) } else { (0, 0) };
                entry.stored = stored;
                entry.path = path;
                entry
            })
            .collect();
        let segment = sealed(&catalog, entries.clone());
        let read: Vec<_> =
            catalog.entries(segment.id).unwrap().map(|entry| entry.unwrap().1).collect();
        prop_assert_eq!(read, entries);
    }
}
