//! Clients of network stores, and the time and CPU time that their operations take.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache_core::{Cache, CacheHandle, KeyFunction, Settings, Value, async_trait};
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    stopwatch::process_time,
    workload::{HOUR, VALUE},
};

/// A client under measurement. Each method panics if the operation fails or a key is missing.
#[async_trait]
pub trait Client: Send + Sync {
    /// Gets the value of one key.
    async fn get(&self, key: &str);

    /// Stores [`VALUE`] under one key.
    async fn set(&self, key: &str) {
        self.set_many(&[key]).await;
    }

    /// Gets the values of all keys.
    async fn get_many(&self, keys: &[&str]);

    /// Stores [`VALUE`] under all keys.
    async fn set_many(&self, keys: &[&str]);
}

/// A store of cachette, called as a `CacheHandle` calls it.
#[derive(Debug)]
pub struct StoreClient(pub Arc<dyn Cache>);

#[async_trait]
impl Client for StoreClient {
    async fn get(&self, key: &str) {
        assert!((*self.0).get(key).await.expect("no error").is_some(), "{key} is missing");
    }

    async fn set(&self, key: &str) {
        (*self.0).set(key, value(), Some(HOUR)).await.expect("no error");
    }

    async fn get_many(&self, keys: &[&str]) {
        let found = (*self.0).get_many(keys).await.expect("no error");
        assert!(found.iter().all(Option::is_some), "a key is missing");
    }

    async fn set_many(&self, keys: &[&str]) {
        let entries: Vec<_> = keys.iter().map(|key| (*key, value())).collect();
        let rejected = (*self.0).set_many(&entries, Some(HOUR)).await.expect("no error");
        assert!(rejected.is_empty(), "{rejected:?}");
    }
}

fn value() -> Value {
    Value::Bytes(Bytes::from_static(&VALUE))
}

/// A `CacheHandle` as applications call it. Its keys are stored unchanged.
#[derive(Debug)]
pub struct HandleClient(CacheHandle);

impl HandleClient {
    /// Creates a client of a handle on `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Cache>) -> Self {
        let key_function = KeyFunction::custom(|key, _, _| key.into());
        let settings = Settings { key_function, ..Settings::default() };
        Self(CacheHandle::new("default", store, settings))
    }
}

#[async_trait]
impl Client for HandleClient {
    async fn get(&self, key: &str) {
        assert!(self.0.get::<Bytes>(key).await.expect("no error").is_some(), "{key} is missing");
    }

    async fn set(&self, key: &str) {
        self.0.set(key, &Bytes::from_static(&VALUE), HOUR).await.expect("no error");
    }

    async fn get_many(&self, keys: &[&str]) {
        let found = self.0.get_many::<Bytes, _>(keys.iter().copied()).await.expect("no error");
        assert_eq!(found.len(), keys.len(), "a key is missing");
    }

    async fn set_many(&self, keys: &[&str]) {
        let entries = keys.iter().map(|key| (*key, Bytes::from_static(&VALUE)));
        self.0.set_many(entries, HOUR).await.expect("no error");
    }
}

/// An operation of a [`Client`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// [`Client::get`].
    Get,
    /// [`Client::set`].
    Set,
    /// [`Client::get_many`] of [`BATCH`](Self::BATCH) keys.
    GetMany,
    /// [`Client::set_many`] of [`BATCH`](Self::BATCH) keys.
    SetMany,
}

impl Job {
    /// All operations.
    pub const ALL: [Self; 4] = [Self::Get, Self::Set, Self::GetMany, Self::SetMany];

    /// The number of keys in a batch.
    pub const BATCH: usize = 100;

    /// Returns its name in `python/peers.py`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::GetMany => "get_many",
            Self::SetMany => "set_many",
        }
    }

    /// Returns the number of keys that one operation has.
    #[must_use]
    pub fn keys(self) -> usize {
        match self {
            Self::Get | Self::Set => 1,
            Self::GetMany | Self::SetMany => Self::BATCH,
        }
    }

    /// Performs one operation.
    pub async fn run(self, client: &dyn Client, keys: &[&str]) {
        match self {
            Self::Get => client.get(keys[0]).await,
            Self::Set => client.set(keys[0]).await,
            Self::GetMany => client.get_many(keys).await,
            Self::SetMany => client.set_many(keys).await,
        }
    }
}

/// What the operations of one pass took, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Wall time divided by the number of operations.
    pub wall: f64,
    /// CPU time of this process, without the server's, divided by the number of operations.
    pub cpu: f64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

impl Times {
    /// Runs `work`, which returns the duration of each operation.
    pub fn of(work: impl FnOnce() -> Vec<Duration>) -> Self {
        let (start, cpu) = (Instant::now(), process_time());
        let mut durations = work();
        let (wall, cpu) = (start.elapsed(), process_time().saturating_sub(cpu));
        durations.sort_unstable();
        let nanoseconds = |time: Duration| time.as_secs_f64() * 1e9;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let count = durations.len() as f64;
        let percentile = |percent| nanoseconds(durations[durations.len() * percent / 100]);
        Self {
            wall: nanoseconds(wall) / count,
            cpu: nanoseconds(cpu) / count,
            p50: percentile(50),
            p99: percentile(99),
        }
    }
}

/// Runs clients on keys that are stored.
#[derive(Debug)]
pub struct Load {
    /// Where clients run.
    pub runtime: Runtime,
    /// The stored keys.
    pub keys: Arc<[Box<str>]>,
}

impl Load {
    /// Performs `count` operations in `tasks` concurrent tasks.
    pub fn run(&self, client: &Arc<dyn Client>, job: Job, tasks: usize, count: usize) -> Times {
        let share = count / tasks;
        let (client, keys) = (Arc::clone(client), Arc::clone(&self.keys));
        self.times(async move {
            let mut running = JoinSet::new();
            for task in 0..tasks {
                let (client, keys) = (Arc::clone(&client), Arc::clone(&keys));
                running.spawn(async move {
                    let mut durations = Vec::with_capacity(share);
                    for number in task * share..(task + 1) * share {
                        let start = Instant::now();
                        job.run(&*client, &selected(&keys, job.keys(), number)).await;
                        durations.push(start.elapsed());
                    }
                    durations
                });
            }
            running.join_all().await.concat()
        })
    }

    /// Runs `work` in a task, which returns the duration of each operation.
    ///
    /// # Panics
    ///
    /// If `work` does.
    pub fn times(&self, work: impl Future<Output = Vec<Duration>> + Send + 'static) -> Times {
        Times::of(|| {
            self.runtime.block_on(async { tokio::spawn(work).await }).expect("the task succeeds")
        })
    }
}

/// The keys of an operation.
fn selected(keys: &[Box<str>], count: usize, number: usize) -> Vec<&str> {
    let first = number * count % (keys.len() + 1 - count);
    keys[first..first + count].iter().map(|key| &**key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_operations() {
        let times = Times::of(|| (0..1000).rev().map(Duration::from_micros).collect());
        assert_eq!((times.p50, times.p99), (500e3, 990e3));
    }

    #[test]
    fn operations_use_as_many_keys_as_asked_for() {
        let keys: Vec<Box<str>> = ["a", "b", "c"].map(Box::from).into();
        assert_eq!(selected(&keys, 1, 4), ["b"]);
        assert_eq!(selected(&keys, 3, 7), ["a", "b", "c"]);
    }
}
