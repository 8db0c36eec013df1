//! Random sequences of operations, compared with a hash map that performs the same.

mod tags;

use std::{collections::HashMap, fmt, time::Duration};

use cache_core::{Cache, ErrorKind, Result, Ttl, Value};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngSeed, TestCaseError, TestRunner},
};

pub(super) use self::tags::random_purges_and_clears_match_a_model;
use crate::Harness;

#[derive(Clone, Debug)]
enum Step {
    Get(Key),
    Set(Key, Content, Life),
    Add(Key, Content, Life),
    Touch(Key, Life),
    Incr(Key, i64),
    IncrOrSet(Key, i64, i64, Life),
    GetAndTouch(Key, Life),
    Delete(Key),
    Contains(Key),
    Ttl(Key),
    GetMany(Vec<Key>),
    SetMany(Vec<(Key, Content)>, Life),
    DeleteMany(Vec<Key>),
    Clear,
    Pass(u32),
}

/// The position of one of the [names](NAMES).
type Key = usize;

/// Few keys, so that operations meet, and similar ones, which a store could confuse.
const NAMES: [&str; 8] = [
    "key",
    "Key",
    "key:",
    "k\u{e9}y",
    "ke\u{301}y",
    "1",
    "'\"`\\%_*?[x]{y};--",
    "\u{10ffff}\u{1f511}",
];

#[derive(Clone, Debug)]
enum Content {
    Int(i64),
    Bytes(Vec<u8>),
}

impl Content {
    fn value(&self) -> Value {
        match self {
            Self::Int(number) => Value::Int(*number),
            Self::Bytes(bytes) => Value::Bytes(bytes.clone().into()),
        }
    }
}

/// The time to live of an entry.
#[derive(Clone, Copy, Debug)]
enum Life {
    Units(u32),
    /// Longer than any test. Some stores report that the entry never expires.
    Ages,
    Forever,
}

const AGES: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Life {
    fn ttl(self, unit: Duration) -> Option<Duration> {
        match self {
            Self::Units(units) => Some(unit * units),
            Self::Ages => Some(AGES),
            Self::Forever => None,
        }
    }
}

/// The observable result of a step.
#[derive(Debug, PartialEq)]
enum Outcome {
    Values(Vec<Option<Value>>),
    Sum(std::result::Result<Option<i64>, ErrorKind>),
    Ttl(Option<Ttl>),
    Bool(bool),
    Count(usize),
    Nothing,
}

pub(super) async fn random_operations_match_a_hash_map(h: Harness) {
    let runtime = tokio::runtime::Handle::current();
    let unsigned = h.profile().unsigned_counters;
    let time_can_pass = h.has_manual_time();
    // Stores without a manual clock use a server, which is slow to start.
    let (cases, steps) = if time_can_pass { (200, 1..60) } else { (40, 1..100) };
    let work = tokio::task::spawn_blocking(move || {
        let mut config = Config { cases, failure_persistence: None, ..Config::default() };
        if let Some(seed) = h.seed() {
            config.rng_seed = RngSeed::Fixed(seed);
        }
        TestRunner::new(config).run(&vec(step(unsigned, time_can_pass), steps), |steps| {
            runtime.block_on(compare(&h, &steps))
        })
    });
    if let Err(error) = work.await.expect("the comparison does not panic") {
        panic!("{error}");
    }
}

async fn compare(h: &Harness, steps: &[Step]) -> std::result::Result<(), TestCaseError> {
    let store = h.store().await;
    let mut model = Model::default();
    let unit = unit(h);
    for (number, step) in steps.iter().enumerate() {
        if let Step::Pass(units) = step {
            h.pass(unit * *units).await;
        }
        let actual = perform(&*store, step, unit).await;
        let actual = actual
            .map_err(|error| TestCaseError::fail(format!("step {number}, {step:?}: {error}")))?;
        let expected = model.perform(step, unit);
        prop_assert!(
            agree(&actual, &expected, h),
            "step {}, {:?}: the store returns {:?}, a map {:?}",
            number,
            step,
            actual,
            expected
        );
    }
    Ok(())
}

/// Without a manual clock no time passes, so entries live for hours or forever.
fn unit(h: &Harness) -> Duration {
    if h.has_manual_time() { h.moment() } else { Duration::from_secs(3600) }
}

fn agree(actual: &Outcome, expected: &Outcome, h: &Harness) -> bool {
    match (actual, expected) {
        (Outcome::Ttl(Some(Ttl::Never)), Outcome::Ttl(Some(Ttl::Left(left)))) => *left > AGES / 2,
        (Outcome::Ttl(Some(Ttl::Left(actual))), Outcome::Ttl(Some(Ttl::Left(expected)))) => {
            let tolerance =
                if h.has_manual_time() { Duration::ZERO } else { Duration::from_secs(600) };
            actual.abs_diff(*expected) <= h.profile().expiry_granularity + tolerance
        }
        _ => actual == expected,
    }
}

async fn perform(store: &dyn Cache, step: &Step, unit: Duration) -> Result<Outcome> {
    Ok(match step {
        Step::Get(key) => Outcome::Values(vec![store.get(name(*key)).await?]),
        Step::Set(key, content, life) => {
            store.set(name(*key), content.value(), life.ttl(unit)).await?;
            Outcome::Nothing
        }
        Step::Add(key, content, life) => {
            Outcome::Bool(store.add(name(*key), content.value(), life.ttl(unit)).await?)
        }
        Step::Touch(key, life) => Outcome::Bool(store.touch(name(*key), life.ttl(unit)).await?),
        Step::Incr(key, delta) => sum(store.incr(name(*key), *delta).await)?,
        Step::IncrOrSet(key, delta, initial, life) => {
            let counted = store.incr_or_set(name(*key), *delta, *initial, life.ttl(unit)).await;
            sum(counted.map(Some))?
        }
        Step::GetAndTouch(key, life) => {
            Outcome::Values(vec![store.get_and_touch(name(*key), life.ttl(unit)).await?])
        }
        Step::Delete(key) => Outcome::Bool(store.delete(name(*key)).await?),
        Step::Contains(key) => Outcome::Bool(store.contains(name(*key)).await?),
        Step::Ttl(key) => Outcome::Ttl(store.ttl(name(*key)).await?),
        Step::GetMany(keys) => {
            let names: Vec<&str> = keys.iter().copied().map(name).collect();
            Outcome::Values(store.get_many(&names).await?)
        }
        Step::SetMany(entries, life) => {
            let entries = entries.iter().map(|(key, content)| (name(*key), content.value()));
            let entries: Vec<(&str, Value)> = entries.collect();
            Outcome::Count(store.set_many(&entries, life.ttl(unit)).await?.len())
        }
        Step::DeleteMany(keys) => {
            let names: Vec<&str> = keys.iter().copied().map(name).collect();
            Outcome::Count(store.delete_many(&names).await?)
        }
        Step::Clear => {
            store.clear().await?;
            Outcome::Nothing
        }
        Step::Pass(_) => Outcome::Nothing,
    })
}

fn sum(counted: Result<Option<i64>>) -> Result<Outcome> {
    match counted {
        Err(error) if matches!(error.kind(), ErrorKind::NotAnInteger | ErrorKind::Overflow) => {
            Ok(Outcome::Sum(Err(error.kind())))
        }
        counted => Ok(Outcome::Sum(Ok(counted?))),
    }
}

fn name(key: Key) -> &'static str {
    NAMES[key]
}

/// A hash map and the time that has passed.
#[derive(Default)]
struct Model {
    entries: HashMap<Key, (Value, Option<Duration>)>,
    now: Duration,
}

impl Model {
    fn perform(&mut self, step: &Step, unit: Duration) -> Outcome {
        let now = self.now;
        self.entries.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now));
        let deadline = |life: &Life| life.ttl(unit).map(|ttl| now + ttl);
        match step {
            Step::Get(key) => Outcome::Values(vec![self.get(*key)]),
            Step::Set(key, content, life) => {
                self.entries.insert(*key, (content.value(), deadline(life)));
                Outcome::Nothing
            }
            Step::Add(key, content, life) => {
                let absent = !self.entries.contains_key(key);
                self.entries.entry(*key).or_insert_with(|| (content.value(), deadline(life)));
                Outcome::Bool(absent)
            }
            Step::Touch(key, life) => {
                Outcome::Bool(self.get_and_touch(*key, deadline(life)).is_some())
            }
            Step::Incr(key, delta) => Outcome::Sum(self.incr(*key, *delta)),
            Step::IncrOrSet(key, delta, initial, life) => {
                Outcome::Sum(self.incr(*key, *delta).map(|sum| {
                    if sum.is_none() {
                        self.entries.insert(*key, (Value::Int(*initial), deadline(life)));
                    }
                    sum.or(Some(*initial))
                }))
            }
            Step::GetAndTouch(key, life) => {
                Outcome::Values(vec![self.get_and_touch(*key, deadline(life))])
            }
            Step::Delete(key) => Outcome::Bool(self.entries.remove(key).is_some()),
            Step::Contains(key) => Outcome::Bool(self.entries.contains_key(key)),
            Step::Ttl(key) => {
                Outcome::Ttl(self.entries.get(key).map(|(_, deadline)| match deadline {
                    Some(deadline) => Ttl::Left(*deadline - now),
                    None => Ttl::Never,
                }))
            }
            Step::GetMany(keys) => Outcome::Values(keys.iter().map(|key| self.get(*key)).collect()),
            Step::SetMany(entries, life) => {
                for (key, content) in entries {
                    self.entries.insert(*key, (content.value(), deadline(life)));
                }
                Outcome::Count(0)
            }
            Step::DeleteMany(keys) => Outcome::Count(
                keys.iter().filter(|key| self.entries.remove(*key).is_some()).count(),
            ),
            Step::Clear => {
                self.entries.clear();
                Outcome::Nothing
            }
            Step::Pass(units) => {
                self.now += unit * *units;
                Outcome::Nothing
            }
        }
    }

    fn get(&self, key: Key) -> Option<Value> {
        self.entries.get(&key).map(|(value, _)| value.clone())
    }

    fn get_and_touch(&mut self, key: Key, deadline: Option<Duration>) -> Option<Value> {
        let entry = self.entries.get_mut(&key)?;
        entry.1 = deadline;
        Some(entry.0.clone())
    }

    fn incr(&mut self, key: Key, delta: i64) -> std::result::Result<Option<i64>, ErrorKind> {
        let Some((value, _)) = self.entries.get_mut(&key) else { return Ok(None) };
        let Value::Int(number) = value else { return Err(ErrorKind::NotAnInteger) };
        *number = number.checked_add(delta).ok_or(ErrorKind::Overflow)?;
        Ok(Some(*number))
    }
}

/// Generates a step. With unsigned counters, no number is negative.
fn step(unsigned: bool, time_can_pass: bool) -> impl Strategy<Value = Step> {
    let key = || 0..NAMES.len();
    let entry = || (key(), content(unsigned), life());
    let entries = || (several((key(), content(unsigned))), life());
    let longest_pass: u32 = if time_can_pass { 3 } else { 0 };
    prop_oneof![
        4 => key().prop_map(Step::Get),
        4 => entry().prop_map(|(key, content, life)| Step::Set(key, content, life)),
        3 => entry().prop_map(|(key, content, life)| Step::Add(key, content, life)),
        2 => (key(), life()).prop_map(|(key, life)| Step::Touch(key, life)),
        4 => (key(), number(unsigned)).prop_map(|(key, delta)| Step::Incr(key, delta)),
        2 => (key(), number(unsigned), number(unsigned), life()).prop_map(
            |(key, delta, initial, life)| Step::IncrOrSet(key, delta, initial, life)
        ),
        2 => (key(), life()).prop_map(|(key, life)| Step::GetAndTouch(key, life)),
        2 => key().prop_map(Step::Delete),
        1 => key().prop_map(Step::Contains),
        2 => key().prop_map(Step::Ttl),
        1 => several(key()).prop_map(Step::GetMany),
        1 => entries().prop_map(|(entries, life)| Step::SetMany(entries, life)),
        1 => several(key()).prop_map(Step::DeleteMany),
        1 => Just(Step::Clear),
        4 => (0..=longest_pass).prop_map(Step::Pass),
    ]
}

/// A few items, or enough that a store may send them differently.
fn several<T: fmt::Debug + 'static>(
    one: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Vec<T>> {
    let one = one.boxed();
    prop_oneof![9 => vec(one.clone(), 1..5), 1 => vec(one, 16..40)]
}

fn life() -> impl Strategy<Value = Life> {
    prop_oneof![
        6 => (1..6_u32).prop_map(Life::Units),
        1 => Just(Life::Ages),
        2 => Just(Life::Forever),
    ]
}

/// Small numbers, any numbers, and those close to the limits of an `i64` and of servers' counters.
fn number(unsigned: bool) -> BoxedStrategy<i64> {
    const EDGES: [i64; 5] = [i64::MAX, i64::MAX - 3, u32::MAX as i64, 1 << 32, 99];
    let edge = (0..EDGES.len()).prop_map(|edge| EDGES[edge]);
    match unsigned {
        true => prop_oneof![4 => 0..10_i64, 1 => 0..=i64::MAX, 2 => edge].boxed(),
        false => prop_oneof![
            4 => -10..10_i64,
            1 => any::<i64>(),
            1 => edge,
            1 => Just(i64::MIN),
            1 => Just(i64::MIN + 3),
        ]
        .boxed(),
    }
}

/// Integers, and bytes that resemble numbers, whitespace or protocol syntax.
fn content(unsigned: bool) -> impl Strategy<Value = Content> {
    let bytes = prop_oneof![
        2 => "[a-z ]{0,9}".prop_map(String::into_bytes),
        3 => "[ \t\r\n\x0b\x0c\x00\x1b+=0-9x.-]{0,24}".prop_map(String::into_bytes),
        2 => "-{0,40}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..70),
        1 => (any::<u8>(), 0..2000_usize).prop_map(|(byte, length)| [byte].repeat(length)),
    ];
    prop_oneof![1 => number(unsigned).prop_map(Content::Int), 1 => bytes.prop_map(Content::Bytes)]
}
