//! Filling: what the verbs that produce missing values do on a miss.

use std::{
    any::TypeId, future::poll_fn, marker::PhantomData, pin::pin, sync::Arc, task::Poll,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Found,
    single_flight::{self, Joined, SingleFlight, innermost_key},
};
use crate::{
    CacheHandle, Clock, Error, ErrorKind, Result, Timeout, Value,
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

impl CacheHandle {
    /// Produces a missing value in a single flight and stores it.
    ///
    /// `found_undecodable` is whether the caller has found and reported an entry that cannot be
    /// decoded.
    pub(super) async fn fill<F: Form, E, P>(
        &self,
        key: &str,
        timeout: Timeout,
        found_undecodable: bool,
        produce: impl FnOnce() -> P,
    ) -> Result<Result<F::Output, E>>
    where
        P: Future<Output = Result<F::Output, E>>,
    {
        let key: Arc<str> = Arc::from(&*self.key(key)?);
        let id = FillId { key: Arc::clone(&key), value: TypeId::of::<F::Inner>() };
        let mut fill = Fill { cache: self, key, timeout, found_undecodable };
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
                    Found::Undecodable | Found::Miss => fill.alone::<F, E, P>(produce).await,
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
    /// The composed key.
    key: Arc<str>,
    timeout: Timeout,
    /// Whether an undecodable entry was found, which is reported once for each caller.
    found_undecodable: bool,
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
        if let Found::Hit(found) = self.look_again::<F>().await? {
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
        let Some(value) = self.cache.unless_outage(found, || None)? else { return Ok(Found::Miss) };
        Ok(match self.decode::<F>(value.clone())? {
            Found::Hit(output) => Found::Hit((output, value)),
            Found::Undecodable => Found::Undecodable,
            Found::Miss => Found::Miss,
        })
    }

    /// Stores the value that was produced and returns it, or returns a value that was stored
    /// meanwhile.
    async fn store<F: Form>(&mut self, fresh: F::Output) -> Result<(F::Output, Value)> {
        let value = F::encode(self.cache, &fresh)?;
        if self.cache.put_new(&self.key, value.clone(), self.timeout).await? {
            return Ok((fresh, value));
        }
        match self.look_again::<F>().await? {
            Found::Hit(other) => return Ok(other),
            Found::Undecodable => {
                self.cache.put(&self.key, value.clone(), self.timeout).await?;
            }
            Found::Miss => {}
        }
        Ok((fresh, value))
    }

    fn decode<F: Form>(&mut self, value: Value) -> Result<Found<F::Output>> {
        match F::decode(value, &self.cache.view.codecs) {
            Ok(output) => Ok(Found::Hit(output)),
            Err(_) if self.found_undecodable => Ok(Found::Undecodable),
            Err(error) => {
                self.found_undecodable = true;
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
