//! Random sequences of operations, beside a plain map that does the same.

use std::{collections::HashMap, time::Duration};

use cache_core::{Cache, ErrorKind, Result, Ttl, Value};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};

use super::bytes;
use crate::Harness;

#[derive(Clone, Debug)]
enum Step {
    Get(Key),
    Set(Key, Content, Option<u32>),
    Add(Key, Content, Option<u32>),
    Touch(Key, Option<u32>),
    Incr(Key, i64),
    Delete(Key),
    Contains(Key),
    TimeLeft(Key),
    GetMany(Vec<Key>),
    SetMany(Vec<(Key, Content)>, Option<u32>),
    DeleteMany(Vec<Key>),
    Clear,
    Pass(u32),
}

/// Few, so that operations meet.
type Key = u8;

#[derive(Clone, Debug)]
enum Content {
    Int(i64),
    Text(String),
}

impl Content {
    fn value(&self) -> Value {
        match self {
            Self::Int(number) => Value::Int(*number),
            Self::Text(text) => bytes(text),
        }
    }
}

/// What was seen of a step: everything that a store answers.
#[derive(Debug, PartialEq)]
enum Seen {
    Values(Vec<Option<Value>>),
    Sum(std::result::Result<Option<i64>, ErrorKind>),
    TimeLeft(Option<Ttl>),
    Yes(bool),
    Count(usize),
    Nothing,
}

pub(super) async fn any_sequence_of_operations_does_what_a_plain_map_does(h: Harness) {
    let runtime = tokio::runtime::Handle::current();
    let unsigned = h.profile().unsigned_counters;
    let time_can_pass = h.has_manual_time();
    let cases = if time_can_pass { 200 } else { 40 };
    let work = tokio::task::spawn_blocking(move || {
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&vec(step(unsigned, time_can_pass), 1..60), |steps| runtime.block_on(compare(&h, &steps)))
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
        let seen = perform(&*store, step, unit).await;
        let seen = seen.map_err(|error| TestCaseError::fail(format!("step {number}, {step:?}: {error}")))?;
        let expected = model.perform(step, unit);
        prop_assert!(
            agree(&seen, &expected, h),
            "step {}, {:?}: the store answers {:?}, a map {:?}",
            number,
            step,
            seen,
            expected
        );
    }
    Ok(())
}

/// Where time is slept through, entries live for hours or for ever.
fn unit(h: &Harness) -> Duration {
    if h.has_manual_time() { h.moment() } else { Duration::from_secs(3600) }
}

fn agree(seen: &Seen, expected: &Seen, h: &Harness) -> bool {
    match (seen, expected) {
        (Seen::TimeLeft(Some(Ttl::Left(seen))), Seen::TimeLeft(Some(Ttl::Left(expected)))) => {
            let tolerance = if h.has_manual_time() { Duration::ZERO } else { Duration::from_secs(600) };
            seen.abs_diff(*expected) <= h.profile().expiry_granularity + tolerance
        }
        _ => seen == expected,
    }
}

async fn perform(store: &dyn Cache, step: &Step, unit: Duration) -> Result<Seen> {
    let ttl = |units: &Option<u32>| units.map(|units| unit * units);
    Ok(match step {
        Step::Get(key) => Seen::Values(vec![store.get(&name(*key)).await?]),
        Step::Set(key, content, units) => {
            store.set(&name(*key), content.value(), ttl(units)).await?;
            Seen::Nothing
        }
        Step::Add(key, content, units) => Seen::Yes(store.add(&name(*key), content.value(), ttl(units)).await?),
        Step::Touch(key, units) => Seen::Yes(store.touch(&name(*key), ttl(units)).await?),
        Step::Incr(key, delta) => match store.incr(&name(*key), *delta).await {
            Err(error) if matches!(error.kind(), ErrorKind::NotAnInteger | ErrorKind::Overflow) => {
                Seen::Sum(Err(error.kind()))
            }
            answer => Seen::Sum(Ok(answer?)),
        },
        Step::Delete(key) => Seen::Yes(store.delete(&name(*key)).await?),
        Step::Contains(key) => Seen::Yes(store.contains(&name(*key)).await?),
        Step::TimeLeft(key) => Seen::TimeLeft(store.ttl(&name(*key)).await?),
        Step::GetMany(keys) => {
            let names: Vec<String> = keys.iter().copied().map(name).collect();
            Seen::Values(store.get_many(&refs(&names)).await?)
        }
        Step::SetMany(entries, units) => {
            let names: Vec<String> = entries.iter().map(|(key, _)| name(*key)).collect();
            let values = entries.iter().map(|(_, content)| content.value());
            let entries: Vec<(&str, Value)> = refs(&names).into_iter().zip(values).collect();
            Seen::Count(store.set_many(&entries, ttl(units)).await?.len())
        }
        Step::DeleteMany(keys) => {
            let names: Vec<String> = keys.iter().copied().map(name).collect();
            Seen::Count(store.delete_many(&refs(&names)).await?)
        }
        Step::Clear => {
            store.clear().await?;
            Seen::Nothing
        }
        Step::Pass(_) => Seen::Nothing,
    })
}

fn name(key: Key) -> String {
    format!("key-{key}")
}

fn refs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// A plain map, and a count of the time that went by.
#[derive(Default)]
struct Model {
    entries: HashMap<Key, (Value, Option<Duration>)>,
    now: Duration,
}

impl Model {
    fn perform(&mut self, step: &Step, unit: Duration) -> Seen {
        let now = self.now;
        self.entries.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now));
        let deadline = |units: &Option<u32>| units.map(|units| now + unit * units);
        match step {
            Step::Get(key) => Seen::Values(vec![self.get(*key)]),
            Step::Set(key, content, units) => {
                self.entries.insert(*key, (content.value(), deadline(units)));
                Seen::Nothing
            }
            Step::Add(key, content, units) => {
                let absent = !self.entries.contains_key(key);
                self.entries.entry(*key).or_insert_with(|| (content.value(), deadline(units)));
                Seen::Yes(absent)
            }
            Step::Touch(key, units) => Seen::Yes(match self.entries.get_mut(key) {
                Some(entry) => {
                    entry.1 = deadline(units);
                    true
                }
                None => false,
            }),
            Step::Incr(key, delta) => Seen::Sum(self.incr(*key, *delta)),
            Step::Delete(key) => Seen::Yes(self.entries.remove(key).is_some()),
            Step::Contains(key) => Seen::Yes(self.entries.contains_key(key)),
            Step::TimeLeft(key) => Seen::TimeLeft(self.entries.get(key).map(|(_, deadline)| match deadline {
                Some(deadline) => Ttl::Left(*deadline - now),
                None => Ttl::Never,
            })),
            Step::GetMany(keys) => Seen::Values(keys.iter().map(|key| self.get(*key)).collect()),
            Step::SetMany(entries, units) => {
                for (key, content) in entries {
                    self.entries.insert(*key, (content.value(), deadline(units)));
                }
                Seen::Count(0)
            }
            Step::DeleteMany(keys) => {
                Seen::Count(keys.iter().filter(|key| self.entries.remove(*key).is_some()).count())
            }
            Step::Clear => {
                self.entries.clear();
                Seen::Nothing
            }
            Step::Pass(units) => {
                self.now += unit * *units;
                Seen::Nothing
            }
        }
    }

    fn get(&self, key: Key) -> Option<Value> {
        self.entries.get(&key).map(|(value, _)| value.clone())
    }

    fn incr(&mut self, key: Key, delta: i64) -> std::result::Result<Option<i64>, ErrorKind> {
        let Some((value, _)) = self.entries.get_mut(&key) else { return Ok(None) };
        let Value::Int(number) = value else { return Err(ErrorKind::NotAnInteger) };
        *number = number.checked_add(delta).ok_or(ErrorKind::Overflow)?;
        Ok(Some(*number))
    }
}

/// Where counters can't go below zero they only go up.
fn step(unsigned: bool, time_can_pass: bool) -> impl Strategy<Value = Step> {
    let key = || 0..6_u8;
    let ttl = || option::of(1..6_u32);
    let number = move || match unsigned {
        true => prop_oneof![4 => 0..10_i64, 1 => Just(i64::MAX - 3)].boxed(),
        false => prop_oneof![4 => -10..10_i64, 1 => Just(i64::MAX - 3), 1 => Just(i64::MIN + 3)].boxed(),
    };
    let longest_pass: u32 = if time_can_pass { 3 } else { 0 };
    let content = move || prop_oneof![number().prop_map(Content::Int), "[a-z ]{0,9}".prop_map(Content::Text)];
    prop_oneof![
        4 => key().prop_map(Step::Get),
        4 => (key(), content(), ttl()).prop_map(|(key, content, ttl)| Step::Set(key, content, ttl)),
        3 => (key(), content(), ttl()).prop_map(|(key, content, ttl)| Step::Add(key, content, ttl)),
        2 => (key(), ttl()).prop_map(|(key, ttl)| Step::Touch(key, ttl)),
        4 => (key(), number()).prop_map(|(key, delta)| Step::Incr(key, delta)),
        2 => key().prop_map(Step::Delete),
        1 => key().prop_map(Step::Contains),
        2 => key().prop_map(Step::TimeLeft),
        1 => vec(key(), 1..5).prop_map(Step::GetMany),
        1 => (vec((key(), content()), 1..5), ttl()).prop_map(|(entries, ttl)| Step::SetMany(entries, ttl)),
        1 => vec(key(), 1..5).prop_map(Step::DeleteMany),
        1 => Just(Step::Clear),
        4 => (0..=longest_pass).prop_map(Step::Pass),
    ]
}
