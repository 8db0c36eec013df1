//! Random sequences of operations and clears, compared with a model.

use std::{collections::HashMap, time::Duration};

use cache_core::CacheHandle;
use proptest::prelude::*;

use super::{Fixture, MEMO, TTL, get};

const KEYS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Set { key: usize },
    Delete { key: usize },
    Get { key: usize },
    Clear { is_elsewhere: bool },
    Evict,
    Advance { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS.len();
    prop_oneof![
        3 => key().prop_map(|key| Step::Set { key }),
        1 => key().prop_map(|key| Step::Delete { key }),
        4 => key().prop_map(|key| Step::Get { key }),
        1 => any::<bool>().prop_map(|is_elsewhere| Step::Clear { is_elsewhere }),
        1 => Just(Step::Evict),
        2 => (0..700_u64).prop_map(|millis| Step::Advance { millis }),
    ]
}

/// What every handle finds.
#[derive(Default)]
struct Model {
    /// The numbers of the steps that have stored the entries.
    entries: HashMap<usize, usize>,
    /// When another process has cleared the cache, or the store has lost the generation, and the
    /// number of that step. Until all have seen it, a handle may use either generation.
    lost: Option<(Duration, usize)>,
}

async fn run(fixture: &Fixture, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut model, caches) = (Model::default(), [fixture.cache.clone(), fixture.other()]);
    let clock = fixture.time.clock();
    let found = async |cache: &CacheHandle, key: usize| {
        get(cache, KEYS[key]).await.map(|value| value.parse::<usize>().expect("a number"))
    };
    for (number, step) in steps.into_iter().enumerate() {
        let cache = &caches[number % 2];
        match step {
            Step::Set { key } => {
                cache.set(KEYS[key], &number.to_string(), TTL).await.expect("the store works");
                model.entries.insert(key, number);
            }
            Step::Delete { key } => {
                cache.delete(KEYS[key]).await.expect("the store works");
                model.entries.remove(&key);
            }
            Step::Get { key } => {
                let found = found(cache, key).await;
                if model.lost.is_none() {
                    prop_assert_eq!(found.as_ref(), model.entries.get(&key));
                }
            }
            Step::Clear { is_elsewhere: false } => {
                cache.clear().await.expect("the store works");
                model = Model::default();
            }
            Step::Clear { is_elsewhere: true } => {
                if fixture.cache.store().contains(&fixture.record()).await.expect("the store works")
                {
                    fixture.clear_elsewhere().await;
                    model.lost = Some((clock.unix_time(), number));
                }
            }
            Step::Evict => {
                fixture.evict().await;
                model.lost = Some((clock.unix_time(), number));
            }
            Step::Advance { millis } => fixture.time.advance(Duration::from_millis(millis)),
        }
        if let Some((at, since)) = model.lost
            && clock.unix_time() >= at + MEMO
        {
            model = Model::default();
            for key in 0..KEYS.len() {
                let found = found(cache, key).await;
                prop_assert!(found.is_none_or(|found| found > since), "it has come back");
                model.entries.extend(found.map(|found| (key, found)));
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_entry_is_returned_after_a_clear(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(run(&Fixture::remote(), steps))?;
    }
}
