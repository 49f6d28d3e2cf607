//! Members put, claimed, failed and finished in any order: stock tar reads what is sealed.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tapevault::{
    digest::{Digest, RANGE},
    ident::SetId,
    item::{Item, Key, Kind, LinkGroup, Posix},
    staging::{Outcome, Region, Settings, Staging},
};

use crate::support::{content, file, seal, settings, source, world};

#[derive(Clone, Debug)]
enum Step {
    Put {
        size: u64,
        linked: Option<u64>,
    },
    Claim {
        size: u64,
    },
    Directory,
    /// Finishes or drops one of the regions under way.
    Finish(prop::sample::Index),
    Fail(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..9000, prop::option::weighted(0.3, 0_u64..3))
            .prop_map(|(size, linked)| Step::Put { size, linked }),
        3 => prop_oneof![1_u64..3000, 1_u64..3 * RANGE].prop_map(|size| Step::Claim { size }),
        1 => Just(Step::Directory),
        2 => any::<prop::sample::Index>().prop_map(Step::Finish),
        2 => any::<prop::sample::Index>().prop_map(Step::Fail),
    ]
}

struct Run {
    staging: Staging,
    under_way: Vec<(Region, Key, u64, u64)>,
    expected: BTreeMap<Key, Option<Digest>>,
}

impl Run {
    fn take(&mut self, number: u64, step: Step) {
        let key = format!("{number}");
        match step {
            Step::Put { size, linked } => {
                // All names of a file have its content.
                let (seed, size) = linked.map_or((number, size), |inode| (inode, 2000));
                let mut item = file(&key, size);
                if let Some(inode) = linked {
                    let link_group = Some(LinkGroup { device: 1, inode });
                    item.posix = Some(Box::new(Posix { link_group, ..Posix::default() }));
                }
                let bytes = content(seed, size);
                self.expected.insert(item.key.clone(), Some(Digest::of(&bytes)));
                self.staging.put(&source(), item, &bytes).unwrap();
            }
            Step::Claim { size } => {
                let item = file(&key, size);
                let key = item.key.clone();
                let region = self.staging.claim(&source(), item, None).unwrap();
                self.under_way.push((region, key, number, size));
            }
            Step::Directory => {
                let item = Item { kind: Kind::Directory, ..file(&key, 0) };
                self.expected.insert(item.key.clone(), None);
                self.staging.put(&source(), item, &[]).unwrap();
            }
            Step::Finish(which) if !self.under_way.is_empty() => {
                let region = self.under_way.remove(which.index(self.under_way.len()));
                self.finish(region);
            }
            Step::Fail(which) if !self.under_way.is_empty() => {
                let (region, _, number, size) =
                    self.under_way.remove(which.index(self.under_way.len()));
                let some = size.min(RANGE);
                let whole = usize::try_from(some).unwrap();
                region.write_at(0, &content(number, size)[..whole]).unwrap();
            }
            Step::Finish(_) | Step::Fail(_) => {}
        }
    }

    fn finish(&mut self, (region, key, number, size): (Region, Key, u64, u64)) {
        let bytes = content(number, size);
        let range = usize::try_from(RANGE).unwrap();
        for (index, piece) in bytes.chunks(range).enumerate().rev() {
            region.write_at(index as u64 * RANGE, piece).unwrap();
        }
        region.finish(Outcome::default()).unwrap();
        self.expected.insert(key, Some(Digest::of(&bytes)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn stock_tar_reads_whatever_was_staged(
        steps in prop::collection::vec(step(), 1..60),
        segment_members in prop::sample::select(vec![7, 1000]),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { segment_members, ..settings(dir.path()) };
        let (staging, _) = Staging::open(settings, SetId::new(), world()).unwrap();
        let mut run = Run { staging, under_way: Vec::new(), expected: BTreeMap::new() };
        for (number, step) in steps.into_iter().enumerate() {
            // One thread does all: it must not wait for a segment that waits for its own region.
            while run.under_way.first().is_some_and(|(_, _, since, _)| since + 4 < number as u64 + 100) {
                let oldest = run.under_way.remove(0);
                run.finish(oldest);
            }
            run.take(100 + number as u64, step);
        }
        while let Some(region) = run.under_way.pop() {
            run.finish(region);
        }
        let entries = seal(&run.staging, dir.path());
        let found: BTreeMap<Key, Option<Digest>> =
            entries.into_iter().map(|((key, _), entry)| (key, entry.digest)).collect();
        prop_assert_eq!(found, run.expected);
    }
}
