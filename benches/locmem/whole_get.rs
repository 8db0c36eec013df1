//! A get as an application calls it: from its own key to a value of its own type.

use std::{hint::black_box, sync::Arc};

use bytes::Bytes;
use cache_core::{
    CacheHandle, Settings, Timeout,
    observe::{ObserveOptions, Observed},
};
use cachette_benches::{Comparison, Outcome, Report, awaited_cpu_time, cpu_time, ready};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    BY_HAND, Bench, LOCMEM, QUICK, fresh_value,
    peers::{Moka, Peer, Quick, locmem, moka, quick},
};

/// The names of observed caches.
const OBSERVED: &str = "observed, without a recorder";
const RECORDED: &str = "observed, with a recorder";

/// Why whole gets and sets miss their targets.
pub(crate) const KEY: &str = "\
the handle composes the store's key from prefix, version and name and checks it by Django's rule, \
and the store is a `dyn Cache` and checks the deadline of the entry. The bare cache receives a \
composed key. [counts](#counts) has the instructions of both.";

/// A value of a typical service: five fields, some 100 bytes when encoded.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    email: String,
    score: f64,
    tags: Vec<String>,
}

/// The jobs that are measured with different numbers of keys. Below some ten thousand, keys and
/// entries fit the processor's caches, and what a handle does shows more.
pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let cache = handle(bench);
    report.add(bytes(bench, &cache));
    report.add(shared(bench, &cache));
    report.add(set(bench, &cache));
}

pub(crate) fn run_once(bench: &Bench, report: &mut Report) {
    let cache = handle(bench);
    observed(bench, &cache).into_iter().for_each(|outcome| report.add(outcome));
    report.add(decoded(bench, &cache));
}

/// A handle on a store with a value for each key.
pub(crate) fn handle(bench: &Bench) -> CacheHandle {
    let settings = Settings { key_prefix: "shop".into(), ..Settings::default() };
    let cache = CacheHandle::new("default", locmem(bench.capacity()), settings);
    for key in &bench.keys {
        ready(cache.set(key, &fresh_value(), Timeout::Default)).expect("no error");
    }
    cache
}

fn bytes(bench: &Bench, cache: &CacheHandle) -> Outcome {
    let (limit, by_hand) = (quick(bench.capacity()), ByHand::new(bench));
    for key in &bench.keys {
        limit.insert(key.clone(), fresh_value());
        by_hand.set(key, &fresh_value());
    }
    Comparison::new(bench.name("whole get of Bytes"))
        .candidate(LOCMEM, || bench.awaited_hits(|key| cache.get::<Bytes>(key)))
        .candidate(QUICK, || bench.hits(|key| limit.get(key)))
        .candidate(BY_HAND, || bench.hits(|key| by_hand.get::<Bytes>(key)))
        .at_most(2.0, QUICK)
        .because(KEY)
        .at_most(0.6, BY_HAND)
        .run(bench.rounds)
}

fn set(bench: &Bench, cache: &CacheHandle) -> Outcome {
    let (limit, by_hand) = (quick(bench.capacity()), ByHand::new(bench));
    let cache_set = async |key| cache.set(key, &fresh_value(), Timeout::Default).await.map(Some);
    Comparison::new(bench.name("whole set of Bytes"))
        .candidate(LOCMEM, || bench.awaited_hits(cache_set))
        .candidate(QUICK, || bench.sets(|key| limit.insert(key.into(), fresh_value())))
        .candidate(BY_HAND, || bench.sets(|key| by_hand.set(key, &fresh_value())))
        .at_most(2.0, QUICK)
        .because(KEY)
        .run(bench.rounds)
}

/// What metrics cost. Nobody collects spans or traces.
fn observed(bench: &Bench, bare: &CacheHandle) -> [Outcome; 2] {
    let observe = || {
        let observed =
            Observed::new("default", locmem(bench.capacity()), ObserveOptions::default());
        let cache = bare.with_store(Arc::new(observed));
        for key in &bench.keys {
            ready(cache.set(key, &fresh_value(), Timeout::Default)).expect("no error");
        }
        cache
    };
    let unrecorded = observe();
    // The metrics of an alias belong to the recorder of its first operation.
    let recorder = PrometheusBuilder::new().build_recorder();
    let recorded = metrics::with_local_recorder(&recorder, observe);
    let compare = |name, observed: &CacheHandle, at_most| {
        Comparison::new(format!("whole get of Bytes, {name}"))
            .candidate(name, || bench.awaited_hits(|key| observed.get::<Bytes>(key)))
            .candidate(LOCMEM, || bench.awaited_hits(|key| bare.get::<Bytes>(key)))
            .at_most(at_most, LOCMEM)
            .run(bench.rounds)
    };
    [compare(OBSERVED, &unrecorded, 1.10), compare(RECORDED, &recorded, 1.25)]
}

fn shared(bench: &Bench, cache: &CacheHandle) -> Outcome {
    let (limit, by_hand): (Quick<Arc<User>>, _) = (quick(bench.capacity()), ByHand::new(bench));
    for (id, key) in (0..).zip(&bench.keys) {
        ready(cache.set_shared(key, &Arc::new(User::new(id)), Timeout::Default)).expect("no error");
        limit.insert(key.clone(), Arc::new(User::new(id)));
        by_hand.set(key, &User::new(id));
    }
    Comparison::new(bench.name("whole get of a shared object"))
        .candidate(LOCMEM, || bench.awaited_hits(|key| cache.get_shared::<User>(key)))
        .candidate(QUICK, || bench.hits(|key| limit.get(key)))
        .candidate(BY_HAND, || bench.hits(|key| by_hand.get::<User>(key)))
        .at_most(1.6, QUICK)
        .because(KEY)
        .at_most(0.3, BY_HAND)
        .run(bench.rounds)
}

fn decoded(bench: &Bench, cache: &CacheHandle) -> Outcome {
    let by_hand = ByHand::new(bench);
    for (id, key) in (0..).zip(&bench.keys) {
        ready(cache.set(key, &User::new(id), Timeout::Default)).expect("no error");
        by_hand.set(key, &User::new(id));
    }
    Comparison::new("whole get of a decoded struct")
        .candidate(LOCMEM, || bench.awaited_hits(|key| cache.get::<User>(key)))
        .candidate(BY_HAND, || bench.hits(|key| by_hand.get::<User>(key)))
        .run(bench.rounds)
}

impl Bench {
    pub(crate) fn hits<T>(&self, get: impl Fn(&str) -> Option<T>) -> f64 {
        cpu_time(self.operations, |operation| {
            assert!(black_box(get(self.key(operation))).is_some(), "a key was evicted");
        })
    }

    fn sets(&self, set: impl Fn(&str)) -> f64 {
        cpu_time(self.operations, |operation| set(self.key(operation)))
    }

    pub(crate) fn awaited_hits<'b, T, F>(&'b self, get: impl Fn(&'b str) -> F) -> f64
    where
        F: Future<Output = cache_core::Result<Option<T>>>,
    {
        awaited_cpu_time(self.operations, async |operation| {
            let found = get(self.key(operation)).await.expect("no error");
            assert!(black_box(found).is_some(), "a key was evicted");
        })
    }
}

impl User {
    fn new(id: u64) -> Self {
        Self {
            id,
            name: format!("Ada Lovelace the {id}th"),
            email: format!("ada.{id}@example.org"),
            score: 0.5,
            tags: ["admin", "author", "reader"].map(String::from).to_vec(),
        }
    }
}

/// What a user writes without cachette: a formatted key, moka and postcard.
struct ByHand(Moka);

impl ByHand {
    fn new(bench: &Bench) -> Self {
        Self(moka(bench.capacity()))
    }

    fn set(&self, key: &str, value: &impl Serialize) {
        self.0.store(&composed(key), postcard::to_stdvec(value).expect("no error").into());
    }

    fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let bytes = self.0.look_up(&composed(key))?;
        postcard::from_bytes(&bytes).ok()
    }
}

fn composed(key: &str) -> String {
    let (prefix, version) = black_box(("shop", 1));
    format!("{prefix}:{version}:{key}")
}
