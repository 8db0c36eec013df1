//! Random purges of tags and clears by two clients, compared with a model.

use std::{collections::HashMap, time::Duration};

use cache_core::{CacheHandle, Clear, Purge, Settings, Tags};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    test_runner::{Config, RngSeed, TestCaseError, TestRunner},
};

use crate::Harness;

const TTL: Duration = Duration::from_secs(100_000);
const KEYS: [&str; 3] = ["k1", "k2", "k3"];
const TAGS: [&str; 3] = ["a", "b", "c"];

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
    },
    Purge {
        tags: Vec<usize>,
        purge: Purge,
    },
    /// Loses the record of a tag, as a full store may.
    Evict {
        tag: usize,
    },
    Clear,
    Get {
        key: usize,
    },
    GetMany,
}

fn step() -> impl Strategy<Value = Step> {
    let (key, slot, tag) = (|| 0..KEYS.len(), || 0..2_usize, || 0..TAGS.len());
    let tags = || vec(tag(), 1..=TAGS.len());
    let purge = prop_oneof![Just(Purge::Hard), Just(Purge::Soft)];
    prop_oneof![
        2 => (slot(), tags()).prop_map(|(slot, tags)| Step::Read { slot, tags }),
        4 => (key(), option::of(slot()), tags())
            .prop_map(|(key, slot, tags)| Step::Set { key, slot, tags }),
        2 => (tags(), purge).prop_map(|(tags, purge)| Step::Purge { tags, purge }),
        2 => tag().prop_map(|tag| Step::Evict { tag }),
        1 => Just(Step::Clear),
        4 => key().prop_map(|key| Step::Get { key }),
        1 => Just(Step::GetMany),
    ]
}

/// What an entry was stamped with: how often the cache was cleared, and for each tag how often it
/// was purged or its record lost.
#[derive(Clone, Debug, PartialEq)]
struct Stamp {
    clears: u32,
    tags: HashMap<usize, u32>,
}

#[derive(Default)]
struct Model {
    clears: u32,
    changes: [u32; TAGS.len()],
    read: [Option<(Tags, Stamp)>; 2],
    entries: HashMap<usize, (String, Stamp)>,
}

impl Model {
    fn stamp(&self, tags: impl IntoIterator<Item = usize>) -> Stamp {
        let tags = tags.into_iter().map(|tag| (tag, self.changes[tag])).collect();
        Stamp { clears: self.clears, tags }
    }

    fn get(&self, key: usize) -> Option<&String> {
        let (value, stamp) = self.entries.get(&key)?;
        (*stamp == self.stamp(stamp.tags.keys().copied())).then_some(value)
    }
}

pub(in crate::cases) async fn random_purges_and_clears_match_a_model(h: Harness) {
    let runtime = tokio::runtime::Handle::current();
    let cases = if h.has_manual_time() { 100 } else { 20 };
    let work = tokio::task::spawn_blocking(move || {
        let mut config = Config { cases, failure_persistence: None, ..Config::default() };
        if let Some(seed) = h.seed() {
            config.rng_seed = RngSeed::Fixed(seed);
        }
        let clear = prop_oneof![Just(Clear::Store), Just(Clear::Generation)];
        TestRunner::new(config).run(&(clear, vec(step(), 1..60)), |(clear, steps)| {
            runtime.block_on(compare(&h, clear, steps))
        })
    });
    if let Err(error) = work.await.expect("the comparison does not panic") {
        panic!("{error}");
    }
}

async fn compare(h: &Harness, clear: Clear, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let handles = h.handles_with(Settings { clear, ..Settings::default() }).await;
    let (mut model, handles) = (Model::default(), [handles.0, handles.1]);
    for (number, step) in steps.into_iter().enumerate() {
        let cache = &handles[number % 2];
        let failed = format!("step {number}, {step:?}");
        perform(cache, &mut model, number, step).await?;
        for (key, name) in KEYS.iter().enumerate() {
            let found: Option<String> = cache.get(name).await.expect("the store works");
            prop_assert_eq!(found.as_ref(), model.get(key), "{} after {}", name, failed);
        }
    }
    Ok(())
}

async fn perform(
    cache: &CacheHandle,
    model: &mut Model,
    number: usize,
    step: Step,
) -> Result<(), TestCaseError> {
    let names = |tags: &[usize]| tags.iter().map(|tag| TAGS[*tag]).collect::<Vec<_>>();
    match step {
        Step::Read { slot, tags } => {
            let read = cache.tags(names(&tags)).await.expect("the store works");
            model.read[slot] = Some((read, model.stamp(tags)));
        }
        Step::Set { key, slot, tags } => {
            let read = slot.and_then(|slot| model.read[slot].clone());
            let (tags, stamp) = read.unwrap_or_else(|| (Tags::of(names(&tags)), model.stamp(tags)));
            let value = number.to_string();
            cache.set_with(KEYS[key], &value, TTL, &tags).await.expect("the store works");
            model.entries.insert(key, (value, stamp));
        }
        Step::Purge { tags, purge } => {
            cache.purge_tags(names(&tags), purge).await.expect("the store works");
            tags.into_iter().for_each(|tag| model.changes[tag] += 1);
        }
        Step::Evict { tag } => {
            cache.store().delete(&cache.tag_record(TAGS[tag])).await.expect("the store works");
            model.changes[tag] += 1;
        }
        Step::Clear => {
            cache.clear().await.expect("the store works");
            model.clears += 1;
        }
        Step::Get { key } => {
            let found = cache.get_shared::<String>(KEYS[key]).await.expect("the store works");
            prop_assert_eq!(found.as_deref(), model.get(key));
        }
        Step::GetMany => {
            let found = cache.get_many::<String, _>(KEYS).await.expect("the store works");
            for (key, name) in KEYS.iter().enumerate() {
                prop_assert_eq!(found.get(name), model.get(key));
            }
        }
    }
    Ok(())
}
