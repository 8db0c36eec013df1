//! A store for tests that decide how calls of several tasks interleave.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;

use crate::{Acquired, Ask, Cache, Clock, Lease, Leases, Moment, Result, Ttl, Value};

/// A store whose calls return `Pending` twice: before they are executed, and after it.
#[derive(Debug)]
pub(super) struct StepStore {
    state: Mutex<State>,
    /// The number of events, which orders them.
    events: AtomicU64,
    clock: Clock,
    has_leases: bool,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<String, (Value, Moment)>,
    leases: HashMap<String, (u64, Moment)>,
    /// When each key was last written, except by fills through leases.
    written_at: HashMap<String, u64>,
    /// The values that fills have stored, with the numbers of events and the ends of the entries.
    filled: Vec<(String, Value, u64, Moment)>,
}

impl StepStore {
    pub(super) fn without_leases(clock: Clock) -> Self {
        Self { state: Mutex::default(), events: AtomicU64::new(1), clock, has_leases: false }
    }

    pub(super) fn with_leases(clock: Clock) -> Self {
        Self { has_leases: true, ..Self::without_leases(clock) }
    }

    /// Returns the number of an event that happens now.
    pub(super) fn event(&self) -> u64 {
        self.events.fetch_add(1, Relaxed)
    }

    /// Returns when a key was last written, except by fills through leases of the store.
    pub(super) fn written_at(&self, key: &str) -> u64 {
        self.lock().written_at.get(key).copied().unwrap_or(0)
    }

    /// Returns what fills through leases of the store have stored: keys, values, the numbers of
    /// events and when the entries end.
    pub(super) fn filled(&self) -> Vec<(String, Value, u64, Moment)> {
        self.lock().filled.clone()
    }

    /// Returns the value of a key without a step.
    pub(super) fn peek(&self, key: &str) -> Option<Value> {
        self.lock().get(key, self.clock.now())
    }

    /// Removes a value as an eviction does: without a step, and leases stay.
    pub(super) fn evict(&self, key: &str) {
        self.lock().entries.remove(key);
    }

    /// Returns the keys of all entries, in order.
    pub(super) fn keys(&self) -> Vec<String> {
        let now = self.clock.now();
        let state = self.lock();
        let live = state.entries.iter().filter(|(_, (_, until))| now < *until);
        let mut keys: Vec<_> = live.map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no call panics")
    }

    async fn step<T>(&self, execute: impl FnOnce(&mut State, Moment) -> T) -> T {
        yield_once().await;
        let result = execute(&mut self.lock(), self.clock.now());
        yield_once().await;
        result
    }

    /// A step that writes a key if `execute` returns a value.
    async fn write<T>(
        &self,
        key: &str,
        execute: impl FnOnce(&mut State, Moment) -> Option<T>,
    ) -> Option<T> {
        let write = |state: &mut State, now| {
            let written = execute(state, now)?;
            state.leases.remove(key);
            state.written_at.insert(key.into(), self.event());
            Some(written)
        };
        self.step(write).await
    }
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl State {
    fn get(&self, key: &str, now: Moment) -> Option<Value> {
        let (value, until) = self.entries.get(key)?;
        (now < *until).then(|| value.clone())
    }

    fn set(&mut self, key: &str, value: Value, ttl: Option<Duration>, now: Moment) {
        let until = ttl.map_or(Moment::NEVER, |ttl| now + ttl);
        self.entries.insert(key.into(), (value, until));
    }
}

#[async_trait]
impl Cache for StepStore {
    fn name(&self) -> &str {
        "steps"
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        Ok(self.step(|state, now| state.get(key, now)).await)
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        let set = |state: &mut State, now| {
            state.set(key, value, ttl, now);
            Some(())
        };
        self.write(key, set).await;
        Ok(())
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        let add = |state: &mut State, now| match state.get(key, now) {
            Some(_) => None,
            None => {
                state.set(key, value, ttl, now);
                Some(())
            }
        };
        Ok(self.write(key, add).await.is_some())
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        let touch = |state: &mut State, now| {
            let value = state.get(key, now);
            value.map(|value| state.set(key, value, ttl, now)).is_some()
        };
        Ok(self.step(touch).await)
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let incr = |state: &mut State, now| {
            let Some(Value::Int(number)) = state.get(key, now) else { return None };
            state.set(key, Value::Int(number + delta), None, now);
            Some(number + delta)
        };
        Ok(self.write(key, incr).await)
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        let delete = |state: &mut State, _| Some(state.entries.remove(key).is_some());
        Ok(self.write(key, delete).await == Some(true))
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        Ok(self.step(|state, now| state.get(key, now).map(|_| Ttl::Never)).await)
    }

    async fn clear(&self) -> Result<()> {
        let clear = |state: &mut State, _| {
            let event = self.event();
            state.written_at.extend(state.entries.drain().map(|(key, _)| (key, event)));
            state.written_at.extend(state.leases.drain().map(|(key, _)| (key, event)));
        };
        self.step(clear).await;
        Ok(())
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.has_leases.then_some(self as &dyn Leases)
    }
}

#[async_trait]
impl Leases for StepStore {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        let acquire = |state: &mut State, now| {
            let value = state.get(key, now);
            let is_held = state.leases.get(key).is_some_and(|(_, until)| now < *until);
            if is_held || (value.is_some() && ask == Ask::Missing) {
                return Acquired { value, lease: None };
            }
            let number = self.event();
            state.leases.insert(key.into(), (number, now + hold));
            Acquired { value, lease: Some(Lease::new(number)) }
        };
        Ok(self.step(acquire).await)
    }

    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let number = lease.downcast::<u64>().expect("a lease of this store");
        let fill = |state: &mut State, now| {
            let held = state.leases.get(key);
            let is_valid = held.is_some_and(|held| held.0 == number && now < held.1);
            if is_valid {
                state.leases.remove(key);
                let until = ttl.map_or(Moment::NEVER, |ttl| now + ttl);
                state.filled.push((key.into(), value.clone(), self.event(), until));
                state.set(key, value, ttl, now);
            }
            is_valid
        };
        Ok(self.step(fill).await)
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        let number = lease.downcast::<u64>().expect("a lease of this store");
        let release = |state: &mut State, now| {
            if let Some(held) = state.leases.get_mut(key)
                && held.0 == number
            {
                held.1 = now + keep;
            }
        };
        self.step(release).await;
        Ok(())
    }

    async fn revoke(&self, key: &str, _: &str) -> Result<()> {
        self.step(|state, _| state.leases.remove(key)).await;
        Ok(())
    }
}
