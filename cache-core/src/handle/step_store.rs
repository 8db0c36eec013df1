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
///
/// Entries do not expire.
#[derive(Debug)]
pub(super) struct StepStore {
    state: Mutex<State>,
    next_number: AtomicU64,
    /// The clock of the leases, if the store has any.
    leases: Option<Clock>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<String, Value>,
    leases: HashMap<String, (u64, Moment)>,
}

impl StepStore {
    pub(super) fn without_leases() -> Self {
        Self { state: Mutex::default(), next_number: AtomicU64::new(1), leases: None }
    }

    pub(super) fn with_leases(clock: Clock) -> Self {
        Self { leases: Some(clock), ..Self::without_leases() }
    }

    /// Returns the value of a key without a step.
    pub(super) fn peek(&self, key: &str) -> Option<Value> {
        self.lock().entries.get(key).cloned()
    }

    /// Removes a value as an eviction does: without a step, and leases stay.
    pub(super) fn evict(&self, key: &str) {
        self.lock().entries.remove(key);
    }

    /// Returns the keys of all entries, in order.
    pub(super) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.lock().entries.keys().cloned().collect();
        keys.sort();
        keys
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no call panics")
    }

    async fn step<T>(&self, execute: impl FnOnce(&mut State) -> T) -> T {
        yield_once().await;
        let result = execute(&mut self.lock());
        yield_once().await;
        result
    }

    fn clock(&self) -> &Clock {
        self.leases.as_ref().expect("the store has leases")
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
    fn set(&mut self, key: &str, value: Value) {
        self.leases.remove(key);
        self.entries.insert(key.into(), value);
    }
}

#[async_trait]
impl Cache for StepStore {
    fn name(&self) -> &str {
        "steps"
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        Ok(self.step(|state| state.entries.get(key).cloned()).await)
    }

    async fn set(&self, key: &str, value: Value, _: Option<Duration>) -> Result<()> {
        self.step(|state| state.set(key, value)).await;
        Ok(())
    }

    async fn add(&self, key: &str, value: Value, _: Option<Duration>) -> Result<bool> {
        let add = |state: &mut State| {
            let is_new = !state.entries.contains_key(key);
            if is_new {
                state.set(key, value);
            }
            is_new
        };
        Ok(self.step(add).await)
    }

    async fn touch(&self, key: &str, _: Option<Duration>) -> Result<bool> {
        Ok(self.step(|state| state.entries.contains_key(key)).await)
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        let incr = |state: &mut State| {
            let Some(Value::Int(number)) = state.entries.get(key) else { return None };
            let sum = number + delta;
            state.set(key, Value::Int(sum));
            Some(sum)
        };
        Ok(self.step(incr).await)
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        let delete = |state: &mut State| {
            state.leases.remove(key);
            state.entries.remove(key).is_some()
        };
        Ok(self.step(delete).await)
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        Ok(self.step(|state| state.entries.contains_key(key).then_some(Ttl::Never)).await)
    }

    async fn clear(&self) -> Result<()> {
        self.step(|state| *state = State::default()).await;
        Ok(())
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.leases.is_some().then_some(self as &dyn Leases)
    }
}

#[async_trait]
impl Leases for StepStore {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        let acquire = |state: &mut State| {
            let now = self.clock().now();
            let value = state.entries.get(key).cloned();
            let is_held = state.leases.get(key).is_some_and(|(_, until)| now < *until);
            if is_held || (value.is_some() && ask == Ask::Missing) {
                return Acquired { value, lease: None };
            }
            let number = self.next_number.fetch_add(1, Relaxed);
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
        _: Option<Duration>,
    ) -> Result<bool> {
        let number = lease.downcast::<u64>().expect("a lease of this store");
        let fill = |state: &mut State| {
            let now = self.clock().now();
            let is_held =
                state.leases.get(key).is_some_and(|held| held.0 == number && now < held.1);
            if is_held {
                state.set(key, value);
            }
            is_held
        };
        Ok(self.step(fill).await)
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        let number = lease.downcast::<u64>().expect("a lease of this store");
        let release = |state: &mut State| {
            let until = self.clock().now() + keep;
            if let Some(held) = state.leases.get_mut(key)
                && held.0 == number
            {
                held.1 = until;
            }
        };
        self.step(release).await;
        Ok(())
    }
}
