//! Filling: what the verbs that produce missing values do on a miss.

use std::{
    any::TypeId, future::poll_fn, marker::PhantomData, pin::pin, sync::Arc, task::Poll,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Found,
    key_buffer::KeyBuffer,
    outage::is_outage,
    single_flight::{self, Joined, SingleFlight, innermost_key},
};
use crate::{
    CacheHandle, Clock, Error, ErrorKind, OnOutage, Result, Timeout, Value,
    codec::{self, Codecs},
    key::shown,
    timer::Sleep,
};

/// The values that a handle is producing.
pub(super) type Fills = SingleFlight<FillId, Value, Clock>;
type Leader = single_flight::Leader<FillId, Value, Clock>;
type Waiter = single_flight::Waiter<FillId, Value, Clock>;
type Waited = single_flight::Waited<FillId, Value, Clock>;

/// A value that is being produced.
///
/// Callers that ask for another type must not get it, as they could not decode it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FillId {
    key: Arc<str>,
    value: TypeId,
}

/// How a verb returns a `T`.
pub(super) trait Form {
    type Inner: 'static;
    type Output;

    fn encode(cache: &CacheHandle, output: &Self::Output) -> Result<Value>;
    fn decode(value: Value, codecs: &Codecs) -> Result<Self::Output>;
}

/// Returns the value itself.
pub(super) struct Owned<T>(PhantomData<T>);

/// Returns the value in an `Arc`.
pub(super) struct Shared<T>(PhantomData<T>);

impl<T: Serialize + DeserializeOwned + 'static> Form for Owned<T> {
    type Inner = T;
    type Output = T;

    fn encode(cache: &CacheHandle, value: &T) -> Result<Value> {
        cache.encode(value)
    }

    fn decode(value: Value, codecs: &Codecs) -> Result<T> {
        codec::decode(value, codecs)
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Form for Shared<T> {
    type Inner = T;
    type Output = Arc<T>;

    fn encode(cache: &CacheHandle, object: &Arc<T>) -> Result<Value> {
        cache.share(object)
    }

    fn decode(value: Value, codecs: &Codecs) -> Result<Arc<T>> {
        let value = match value {
            Value::Object(object) => match object.downcast() {
                Ok(object) => return Ok(object),
                Err(object) => Value::Object(object),
            },
            encoded => encoded,
        };
        codec::decode(value, codecs).map(Arc::new)
    }
}

/// What the lookup of a caller that produces has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Missing {
    /// No entry.
    Absent,
    /// An entry that cannot be decoded, which was reported.
    Undecodable,
    /// The store failed, or was not asked because it had failed. The value is not stored either.
    Unknown,
}

/// Reading for the verbs that produce.
///
/// If no read has failed, these methods only look at a flag.
impl CacheHandle {
    /// Whether the store is to be asked for the key.
    pub(super) fn may_read(&self, key: &str) -> bool {
        let breaker = &self.view.breaker;
        !breaker.has_failures()
            || self.view.on_outage == OnOutage::Error
            || breaker.may_read(self.server_of(key), self.view.clock.now())
    }

    /// Records that the store has replied.
    pub(super) fn has_read(&self, key: &str) {
        if self.view.breaker.has_failures() && self.view.breaker.record_reply(self.server_of(key)) {
            tracing::info!(
                cache = self.alias(),
                "get_or_set reads the store again: it has replied"
            );
        }
    }

    /// Returns what a lookup without a hit has found, or its error if it is to be returned.
    #[cold]
    pub(super) fn missing<T>(&self, key: &str, found: Result<Found<T>>) -> Result<Missing> {
        let missing = match found {
            Ok(Found::Undecodable) => Missing::Undecodable,
            Ok(Found::Hit(_) | Found::Stale | Found::Miss) => Missing::Absent,
            Err(error) => {
                self.read_failed(key, error)?;
                return Ok(Missing::Unknown);
            }
        };
        self.has_read(key);
        Ok(missing)
    }

    /// Returns `Ok` if the value is to be produced although the store has failed.
    fn read_failed(&self, key: &str, error: Error) -> Result<()> {
        let error = self.at(error);
        if self.view.on_outage == OnOutage::Error || !is_outage(&error) {
            return Err(error);
        }
        self.view.outage_log.record(self.alias(), &error);
        if error.kind() == ErrorKind::Unavailable
            && self.view.breaker.record_failure(self.server_of(key), self.view.clock.now())
        {
            tracing::warn!(
                cache = self.alias(),
                error = format_args!("{error:#}"),
                "get_or_set does not read the store for a while: it is unavailable"
            );
        }
        Ok(())
    }

    /// Returns `Ok` if the value is to be returned although it was not stored.
    fn store_failed(&self, error: Error) -> Result<()> {
        let may_pass = is_outage(&error) || error.kind() == ErrorKind::TooLarge;
        if self.view.on_outage == OnOutage::Error || !may_pass {
            return Err(error);
        }
        self.view.outage_log.record(self.alias(), &error);
        Ok(())
    }

    fn server_of(&self, key: &str) -> usize {
        self.inner().server_of(&KeyBuffer::compose(&self.view.composer, key))
    }
}

impl CacheHandle {
    /// Produces a missing value in a single flight and stores it.
    pub(super) async fn fill<F: Form, E, P>(
        &self,
        key: &str,
        timeout: Timeout,
        missing: Missing,
        produce: impl FnOnce() -> P,
    ) -> Result<Result<F::Output, E>>
    where
        P: Future<Output = Result<F::Output, E>>,
    {
        let composed: Arc<str> = Arc::from(&*self.key(key)?);
        let id = FillId { key: Arc::clone(&composed), value: TypeId::of::<F::Inner>() };
        let mut fill = Fill { cache: self, name: key, key: composed, timeout, missing };
        if self.view.patience == Duration::ZERO {
            return fill.alone::<F, E, P>(produce).await;
        }
        match self.view.fills.join(&id) {
            Joined::Leader(leader) => fill.lead::<F, E, P>(leader, produce).await,
            Joined::Recursive => fill.alone::<F, E, P>(produce).await,
            Joined::Waiter(waiter) => match fill.wait(waiter).await {
                Waited::Completed(value) => match fill.decode::<F>(value)? {
                    Found::Hit(value) => Ok(Ok(value)),
                    // The type does not decode what it has encoded.
                    Found::Stale | Found::Undecodable | Found::Miss => {
                        fill.alone::<F, E, P>(produce).await
                    }
                },
                Waited::Leader(leader) => fill.lead::<F, E, P>(leader, produce).await,
                Waited::Failed => Err(fill.failed()),
            },
        }
    }
}

/// A miss of one caller.
struct Fill<'a> {
    cache: &'a CacheHandle,
    /// The key of the caller.
    name: &'a str,
    /// The composed key.
    key: Arc<str>,
    timeout: Timeout,
    /// What is known of the entry. An undecodable one is reported once for each caller.
    missing: Missing,
}

impl Fill<'_> {
    /// Produces the value for all callers that wait for it.
    async fn lead<F: Form, E, P>(
        &mut self,
        leader: Leader,
        produce: impl FnOnce() -> P,
    ) -> Result<Result<F::Output, E>>
    where
        P: Future<Output = Result<F::Output, E>>,
    {
        match self.lead_until_stored::<F, E, P>(&leader, produce).await {
            Ok(Ok((output, value))) => {
                leader.complete(value);
                Ok(Ok(output))
            }
            Ok(Err(error)) => {
                leader.fail();
                Ok(Err(error))
            }
            Err(error) => {
                leader.fail();
                Err(error)
            }
        }
    }

    async fn lead_until_stored<F: Form, E, P>(
        &mut self,
        leader: &Leader,
        produce: impl FnOnce() -> P,
    ) -> Result<Result<(F::Output, Value), E>>
    where
        P: Future<Output = Result<F::Output, E>>,
    {
        // Another leader may have stored the value after this caller's lookup and before it joined.
        if self.missing != Missing::Unknown
            && let Found::Hit(found) = self.look_again::<F>().await?
        {
            return Ok(Ok(found));
        }
        // Of two leaders, the other one may have completed the flight meanwhile.
        if let Some(value) = leader.result()
            && let Found::Hit(output) = self.decode::<F>(value.clone())?
        {
            return Ok(Ok((output, value)));
        }
        match leader.produce(&self.key, async { produce().await }).await {
            Ok(fresh) => self.store::<F>(fresh).await.map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Produces the value for this caller only.
    async fn alone<F: Form, E, P>(
        &mut self,
        produce: impl FnOnce() -> P,
    ) -> Result<Result<F::Output, E>>
    where
        P: Future<Output = Result<F::Output, E>>,
    {
        match produce().await {
            Ok(fresh) => Ok(Ok(self.store::<F>(fresh).await?.0)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Waits for the leader. If it takes longer than the patience, one waiter leads as well.
    async fn wait(&self, mut waiter: Waiter) -> Waited {
        let (clock, patience) = (&self.cache.view.clock, self.cache.view.patience);
        loop {
            let since = waiter.led_since();
            let mut sleep = pin!(Sleep::until(clock, since + patience));
            let waited = poll_fn(|context| match waiter.poll_wait(context) {
                Poll::Ready(waited) => Poll::Ready(Some(waited)),
                Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
            });
            if let Some(waited) = waited.await {
                return waited;
            }
            if let Some(leader) = waiter.lead_as_well(since) {
                // If two producers wait for each other's key, this names both.
                tracing::warn!(
                    cache = self.cache.alias(),
                    key = %shown(&self.key),
                    waiting_producer = innermost_key().as_deref().map(shown).as_deref(),
                    patience = ?patience,
                    "producing a value as well: another caller takes longer than the patience"
                );
                return Waited::Leader(leader);
            }
        }
    }

    /// Looks the key up and returns its value in both forms.
    async fn look_again<F: Form>(&mut self) -> Result<Found<(F::Output, Value)>> {
        let store = self.cache.inner();
        let found = match store.get_now(&self.key) {
            Some(found) => found,
            None => store.get(&self.key).await,
        };
        let value = match found {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(Found::Miss),
            Err(error) => {
                self.cache.read_failed(self.name, error)?;
                self.missing = Missing::Unknown;
                return Ok(Found::Miss);
            }
        };
        Ok(match self.decode::<F>(value.clone())? {
            Found::Hit(output) => Found::Hit((output, value)),
            Found::Stale => Found::Stale,
            Found::Undecodable => Found::Undecodable,
            Found::Miss => Found::Miss,
        })
    }

    /// Stores the value that was produced and returns it, or returns a value that was stored
    /// meanwhile.
    async fn store<F: Form>(&mut self, fresh: F::Output) -> Result<(F::Output, Value)> {
        let value = F::encode(self.cache, &fresh)?;
        if self.missing == Missing::Unknown {
            return Ok((fresh, value));
        }
        match self.cache.put_new(&self.key, value.clone(), self.timeout).await {
            Ok(true) => return Ok((fresh, value)),
            Ok(false) => {}
            Err(error) => {
                self.cache.store_failed(error)?;
                return Ok((fresh, value));
            }
        }
        match self.look_again::<F>().await? {
            Found::Hit(other) => return Ok(other),
            Found::Stale | Found::Undecodable => {
                let stored = self.cache.put(&self.key, value.clone(), self.timeout).await;
                stored.or_else(|error| self.cache.store_failed(error))?;
            }
            Found::Miss => {}
        }
        Ok((fresh, value))
    }

    fn decode<F: Form>(&mut self, value: Value) -> Result<Found<F::Output>> {
        if codec::has_meta(&value) && self.cache.is_stale(&value) {
            return Ok(Found::Stale);
        }
        match F::decode(value, &self.cache.view.codecs) {
            Ok(output) => Ok(Found::Hit(output)),
            Err(_) if self.missing == Missing::Undecodable => Ok(Found::Undecodable),
            Err(error) => {
                self.missing = Missing::Undecodable;
                self.cache.undecodable(&self.key, error)
            }
        }
    }

    fn failed(&self) -> Error {
        let message =
            format!("two other callers have failed to produce the value of {}", shown(&self.key));
        self.cache.at(Error::new(ErrorKind::FillFailed, message))
    }
}

#[cfg(test)]
mod model;
