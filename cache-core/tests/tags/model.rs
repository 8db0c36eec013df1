//! Random sequences of sets, purges and evictions, compared with a model.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cache_core::{Purge, Tags};
use proptest::prelude::*;

use super::{Fixture, TTL};

const KEYS: [&str; 3] = ["a", "b", "c"];
const TAGS: [&str; 3] = ["t", "u", "v"];

#[derive(Clone, Debug)]
enum Step {
    /// Reads the generations of tags, as before reading the data of an entry.
    Read {
        slot: usize,
        tags: Vec<usize>,
    },
    /// Stores an entry with tags that were read, or that are named only.
    Set {
        key: usize,
        slot: Option<usize>,
        tags: Vec<usize>,
        shared: bool,
    },
    Purge {
        tag: usize,
        soft: bool,
    },
    Evict {
        tag: usize,
    },
    Get {
        key: usize,
        shared: bool,
        many: bool,
    },
    Advance {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let tags = || prop::collection::vec(0..TAGS.len(), 0..=TAGS.len());
    prop_oneof![
        (0..2_usize, tags()).prop_map(|(slot, tags)| Step::Read { slot, tags }),
        (0..KEYS.len(), prop::option::of(0..2_usize), tags(), any::<bool>())
            .prop_map(|(key, slot, tags, shared)| Step::Set { key, slot, tags, shared }),
        (0..TAGS.len(), any::<bool>()).prop_map(|(tag, soft)| Step::Purge { tag, soft }),
        (0..TAGS.len()).prop_map(|tag| Step::Evict { tag }),
        (0..KEYS.len(), any::<bool>(), any::<bool>()).prop_map(|(key, shared, many)| Step::Get {
            key,
            shared,
            many
        }),
        (0..1500_u64).prop_map(|millis| Step::Advance { millis }),
    ]
}

/// What an entry is stamped with: for each tag, how often it was purged and its record evicted.
type Stamps = HashMap<usize, (u32, u32)>;

#[derive(Default)]
struct Model {
    /// How often each tag was purged, and how often its record was evicted.
    tags: [(u32, u32); TAGS.len()],
    read: [Option<(Tags, Stamps)>; 2],
    entries: HashMap<usize, Entry>,
}

struct Entry {
    value: String,
    stamps: Stamps,
    /// A read has missed it.
    was_missed: bool,
}

impl Model {
    fn stamps(&self, tags: &[usize]) -> Stamps {
        tags.iter().map(|tag| (*tag, self.tags[*tag])).collect()
    }

    fn check(&mut self, key: usize, found: Option<String>) -> Result<(), TestCaseError> {
        let Some(entry) = self.entries.get_mut(&key) else {
            prop_assert_eq!(found, None);
            return Ok(());
        };
        let now = self.tags;
        let is_purged = entry.stamps.iter().any(|(tag, (purges, _))| now[*tag].0 != *purges);
        let is_lost = entry.stamps.iter().any(|(tag, (_, lost))| now[*tag].1 != *lost);
        if is_purged || entry.was_missed {
            prop_assert_eq!(found.as_ref(), None, "purged, or it has come back");
        } else if is_lost {
            // An object of this process may be returned until its records are read again.
            prop_assert!(found.as_ref().is_none_or(|value| *value == entry.value));
        } else {
            prop_assert_eq!(found.as_ref(), Some(&entry.value));
        }
        entry.was_missed |= found.is_none();
        Ok(())
    }
}

fn names(tags: &[usize]) -> impl Iterator<Item = &'static str> {
    tags.iter().map(|tag| TAGS[*tag])
}

async fn run(fixture: &Fixture, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut model, caches) = (Model::default(), [fixture.cache.clone(), fixture.other()]);
    for (number, step) in (0_u64..).zip(steps) {
        let cache = &caches[usize::from(number % 3 == 0)];
        match step {
            Step::Read { slot, tags } => {
                let read = cache.tags(names(&tags)).await.expect("the store works");
                model.read[slot] = Some((read, model.stamps(&tags)));
            }
            Step::Set { key, slot, tags, shared } => {
                let read = slot.and_then(|slot| model.read[slot].clone());
                let (tags, stamps) =
                    read.unwrap_or_else(|| (Tags::of(names(&tags)), model.stamps(&tags)));
                let (name, value) = (KEYS[key], Arc::new(number.to_string()));
                let set = match shared {
                    true => cache.set_shared_with(name, &value, TTL, &tags).await,
                    false => cache.set_with(name, &*value, TTL, &tags).await,
                };
                set.expect("the store works");
                let value = String::clone(&value);
                model.entries.insert(key, Entry { value, stamps, was_missed: false });
            }
            Step::Purge { tag, soft } => {
                let purge = if soft { Purge::Soft } else { Purge::Hard };
                cache.purge_tags([TAGS[tag]], purge).await.expect("the store works");
                model.tags[tag].0 += 1;
            }
            Step::Evict { tag } => {
                if fixture.evict(TAGS[tag]).await {
                    model.tags[tag].1 += 1;
                }
            }
            Step::Get { key, shared, many } => {
                let name = KEYS[key];
                let found = if many {
                    let found = cache.get_many::<String, _>([name]).await;
                    found.map(|mut found| found.remove(name))
                } else if shared {
                    let found = cache.get_shared::<String>(name).await;
                    found.map(|found| found.as_deref().cloned())
                } else {
                    cache.get(name).await
                };
                model.check(key, found.expect("the store works"))?;
            }
            Step::Advance { millis } => {
                let used = fixture.time.clock().unix_time();
                // The entries do not expire.
                if used < super::DAY + Duration::from_secs(200) {
                    fixture.time.advance(Duration::from_millis(millis));
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_entry_is_returned_after_a_purge_of_its_tag(
        steps in prop::collection::vec(step(), 1..60),
        local: bool,
    ) {
        let fixture = if local { Fixture::local() } else { Fixture::remote() };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(run(&fixture, steps))?;
    }
}
