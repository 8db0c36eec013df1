//! Filling: what the verbs that produce missing values do on a miss.

use std::{
    any::TypeId,
    future::poll_fn,
    marker::PhantomData,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Found,
    described::Verdict,
    epochs::Epoch,
    leases::{HeldLease, Wanted},
    outage::is_outage,
    single_flight::{self, SingleFlight, innermost_key},
};
use crate::{
    CacheHandle, Clock, Error, ErrorKind, Moment, OnOutage, Result, Timeout, Value,
    codec::{self, Codecs},
    key::shown,
    observe::{FILLS_LOST, FillReport, Outcome, StaleReason, WaitReport, Where},
    timer::Sleep,
};

/// The values that a handle is producing.
pub(super) type Fills = SingleFlight<FillId, Value, Clock>;
type Leader = single_flight::Leader<FillId, Value, Clock>;
type Waiter = single_flight::Waiter<FillId, Value, Clock>;
type Joined = single_flight::Joined<FillId, Value, Clock>;
type Waited = single_flight::Waited<FillId, Value, Clock>;

/// A value that is being produced.
///
/// Callers that ask for another type must not get it, as they could not decode it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FillId {
    epoch: Arc<Epoch>,
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
        codec::decode_shared(value, codecs)
    }
}

/// What the lookup of a caller that produces has found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Missing {
    /// No entry.
    Absent,
    /// A stale entry, which callers get while one of them replaces it.
    Stale(Box<Value>),
    /// An entry that cannot be decoded, which was reported, or of which a tag was purged.
    Undecodable,
    /// The store failed, or was not asked because it had failed. The value is not stored either.
    Unknown,
}

/// Reading for the verbs that produce.
///
/// If no read has failed, these methods only look at a flag.
impl CacheHandle {
    /// Whether the store is to be asked for the key.
    #[inline]
    pub(super) fn may_read(&self, key: &str) -> bool {
        !self.view.breaker.has_failures() || self.may_read_after_failures(key)
    }

    #[cold]
    fn may_read_after_failures(&self, key: &str) -> bool {
        self.view.on_outage == OnOutage::Error
            || self.view.breaker.may_read(self.server_of(key), self.view.clock.now())
    }

    /// Records that the store has replied.
    #[inline]
    pub(super) fn has_read(&self, key: &str) {
        if self.view.breaker.has_failures() {
            self.record_reply(key);
        }
    }

    #[cold]
    fn record_reply(&self, key: &str) {
        if self.view.breaker.record_reply(self.server_of(key)) {
            tracing::info!(
                cache = self.alias(),
                "get_or_set reads the store again: it has replied"
            );
            self.report_breaker(false);
        }
    }

    /// Returns what a lookup without a hit has found, or its error if it is to be returned.
    #[cold]
    pub(super) fn missing<T>(&self, key: &str, found: Result<Found<T>>) -> Result<Missing> {
        let missing = match found {
            Ok(Found::Undecodable) => Missing::Undecodable,
            Ok(Found::Stale(value)) => Missing::Stale(value),
            Ok(Found::Hit(_) | Found::Miss) => Missing::Absent,
            Err(error) => {
                self.read_failed(&self.compose_in(self.key_generation(), key), error)?;
                return Ok(Missing::Unknown);
            }
        };
        self.has_read(key);
        Ok(missing)
    }

    /// Returns `Ok` if the value of a composed key is to be produced although the store has failed.
    pub(super) fn read_failed(&self, key: &str, error: Error) -> Result<()> {
        let error = self.at(error);
        if self.view.on_outage == OnOutage::Error || !is_outage(&error) {
            return Err(error);
        }
        self.view.outage_log.record(self.alias(), &error);
        if error.kind() == ErrorKind::Unavailable
            && self.view.breaker.record_failure(self.inner().server_of(key), self.view.clock.now())
        {
            tracing::warn!(
                cache = self.alias(),
                error = format_args!("{error:#}"),
                "get_or_set does not read the store for a while: it is unavailable"
            );
            self.report_breaker(true);
        }
        Ok(())
    }

    fn report_breaker(&self, is_open: bool) {
        if let Some(observer) = &self.view.observer {
            observer.breaker(is_open);
        }
    }

    /// Returns `Ok` if the value is to be returned although it was not stored.
    pub(super) fn store_failed(&self, error: Error) -> Result<()> {
        let error = self.at(error);
        let may_pass = is_outage(&error) || error.kind() == ErrorKind::TooLarge;
        if self.view.on_outage == OnOutage::Error || !may_pass {
            return Err(error);
        }
        self.view.outage_log.record(self.alias(), &error);
        Ok(())
    }

    fn server_of(&self, key: &str) -> usize {
        self.inner().server_of(&self.compose_in(self.key_generation(), key))
    }
}

/// The time for which a caller that produces holds its lease.
///
/// A producer that takes longer loses it: its value is returned and not stored. If the process
/// dies, others can fill the key after this time.
pub(super) const HOLD: Duration = Duration::from_secs(30);
/// The pauses between two looks at a key that another process fills.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(10);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(200);

impl CacheHandle {
    /// Waits for a missing value if another caller produces it, or prepares to produce it.
    ///
    /// Nothing here is generic over the producer except [`Producing`]. Each future around the one
    /// of a producer is a level of nesting, and the compiler follows a limited number of these when
    /// it checks whether a future is `Send`.
    pub(super) async fn begin_fill<F: Form>(
        &self,
        key: &str,
        timeout: Timeout,
        missing: Missing,
    ) -> Result<Begun<'_, F::Output>> {
        let epoch = self.view.epochs.current(&Arc::from(&*self.key(key)?));
        let report = FillReport::default();
        Fill { cache: self, epoch, timeout, missing, report }.begin::<F>().await
    }

    /// Whether the caller is called by the producer of this composed key.
    pub(super) fn is_produced_here(&self, key: &str) -> bool {
        #[cfg(feature = "fetch")]
        if self.view.fetches.is_produced_here(key) {
            return true;
        }
        self.view.fills.is_led_here(key)
    }

    /// Counts a value that was produced and not stored, because the lease was lost.
    pub(super) fn count_lost_fill(&self, key: &str, held_for: Duration) {
        metrics::counter!(FILLS_LOST, "cache" => self.view.alias.to_string()).increment(1);
        if held_for >= HOLD {
            tracing::warn!(
                cache = self.alias(),
                key = %shown(key),
                took = ?held_for,
                "value not stored: producing it took longer than its lease"
            );
        } else {
            tracing::debug!(
                cache = self.alias(),
                key = %shown(key),
                "value not stored: its key was written while it was produced"
            );
        }
    }
}

/// A miss of one caller.
struct Fill<'a> {
    cache: &'a CacheHandle,
    /// The composed key, and when the caller has missed it.
    epoch: Arc<Epoch>,
    timeout: Timeout,
    /// What is known of the entry. An undecodable one is reported once for each caller.
    missing: Missing,
    report: FillReport,
}

/// How a miss goes on.
pub(super) enum Begun<'a, T> {
    Done(T),
    Produce(Box<Production<'a>>),
}

/// What a caller holds while it produces a value.
pub(super) struct Production<'a> {
    fill: Fill<'a>,
    begun_at: Moment,
    /// Without one, the value is not stored. Dropped before the leader, whose successor needs it.
    lease: Option<HeldLease>,
    /// Without one, nobody waits for the value.
    leader: Option<Leader>,
}

/// Runs a producer.
pub(super) struct Producing<'a, P> {
    producer: Pin<Box<P>>,
    /// `None` once the producer has ended.
    production: Option<Box<Production<'a>>>,
}

impl<'a, P: Future> Future for Producing<'a, P> {
    type Output = (Box<Production<'a>>, P::Output);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { producer, production } = &mut *self;
        let Some(running) = production else { return Poll::Pending };
        let output = ready!(running.poll(|| producer.as_mut().poll(context)));
        running.fill.report.produced();
        production.take().map_or(Poll::Pending, |ended| Poll::Ready((ended, output)))
    }
}

impl<'a> Production<'a> {
    /// Calls `produce` and runs its future.
    pub(super) fn run<P: Future>(
        mut self: Box<Self>,
        produce: impl FnOnce() -> P,
    ) -> Producing<'a, P> {
        let Fill { cache, epoch, .. } = &self.fill;
        self.fill.report = FillReport::begin(cache.view.observer.as_ref(), epoch.key());
        let producer = Box::pin(self.poll(produce));
        Producing { producer, production: Some(self) }
    }

    fn poll<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        let Fill { cache, epoch, report, .. } = &mut self.fill;
        let poll = || report.run(poll);
        match &mut self.leader {
            Some(leader) => leader.poll_producer(epoch.key(), poll),
            None => cache.view.fills.poll_alone(epoch.key(), poll),
        }
    }

    /// Encodes the value that was produced. A panic counts as one of the producer.
    fn encode<F: Form>(&mut self, fresh: &F::Output) -> Result<Value> {
        let Fill { cache, epoch, .. } = &self.fill;
        let encode = || F::encode(cache, fresh);
        match &mut self.leader {
            Some(leader) => leader.poll_producer(epoch.key(), encode),
            None => encode(),
        }
    }

    /// Stores the value that was produced and gives it to the callers that wait for it.
    pub(super) async fn finish<F: Form>(
        mut self: Box<Self>,
        fresh: F::Output,
    ) -> Result<F::Output> {
        let encoded = self.encode::<F>(&fresh);
        let Self { mut fill, begun_at, lease, leader } = *self;
        match fill.store::<F>(lease, begun_at, fresh, encoded).await {
            Ok((output, value)) => {
                if let Some(leader) = leader {
                    leader.complete(value);
                }
                Ok(output)
            }
            Err(error) => {
                if let Some(leader) = leader {
                    leader.fail();
                }
                Err(error)
            }
        }
    }

    /// Returns the value to use although the producer has failed, or lets others produce one.
    pub(super) async fn give_up<F: Form>(self: Box<Self>) -> Option<F::Output> {
        let Self { mut fill, lease, leader, .. } = *self;
        fill.report.end(Outcome::Failed);
        if let Some(lease) = lease {
            fill.release(lease).await;
        }
        let Some((output, value)) = fill.fallback::<F>().await else {
            if let Some(leader) = leader {
                leader.fail();
            }
            return None;
        };
        tracing::warn!(
            cache = fill.cache.alias(),
            key = %shown(fill.key()),
            "cannot replace a stale value: its producer has failed"
        );
        if let Some(leader) = leader {
            leader.complete(value);
        }
        Some(output)
    }
}

/// What a caller that is to produce a value has found.
enum Prepared<T> {
    Hit(T, Value),
    Missing(Option<HeldLease>),
}

impl<'a> Fill<'a> {
    async fn begin<F: Form>(mut self) -> Result<Begun<'a, F::Output>> {
        let leader = match self.join::<F>() {
            Joined::Recursive => None,
            Joined::Leader(leader) => Some(leader),
            Joined::Waiter(waiter) => match self.stale::<F>()? {
                Some((stale, _)) => match self.lead_if_overdue(waiter) {
                    Some(leader) => Some(leader),
                    None => {
                        self.report_stale(StaleReason::Refreshing);
                        return Ok(Begun::Done(stale));
                    }
                },
                None => match self.wait(waiter).await {
                    Waited::Leader(leader) => Some(leader),
                    Waited::Failed => return Err(self.failed()),
                    Waited::Completed(value) => match self.decode::<F>(value)? {
                        Some((output, _)) => return Ok(Begun::Done(output)),
                        // The type does not decode what it has encoded.
                        None => None,
                    },
                },
            },
        };
        match self.prepare::<F>(leader.as_ref()).await {
            Ok(Prepared::Hit(output, value)) => {
                if let Some(leader) = leader {
                    leader.complete(value);
                }
                Ok(Begun::Done(output))
            }
            Ok(Prepared::Missing(lease)) => {
                let begun_at = self.cache.view.clock.now();
                Ok(Begun::Produce(Box::new(Production { fill: self, begun_at, lease, leader })))
            }
            Err(error) => {
                if let Some(leader) = leader {
                    leader.fail();
                }
                Err(error)
            }
        }
    }

    fn key(&self) -> &Arc<str> {
        self.epoch.key()
    }

    /// Joins the flight of the key, if callers of the cache wait for each other at all.
    fn join<F: Form>(&self) -> Joined {
        if self.cache.view.patience == Duration::ZERO {
            return Joined::Recursive;
        }
        let id = FillId { epoch: Arc::clone(&self.epoch), value: TypeId::of::<F::Inner>() };
        self.cache.view.fills.join(&id)
    }

    /// Acquires a lease of the key, or returns a value that was stored after the lookup of the
    /// caller.
    ///
    /// While another process or a task of `fetch` holds the lease and there is no stale value,
    /// looks again until the patience has passed. The value is then produced, and stored through
    /// the lease of such a task or not at all.
    async fn prepare<F: Form>(&mut self, leader: Option<&Leader>) -> Result<Prepared<F::Output>> {
        let clock = &self.cache.view.clock;
        let patient_until = clock.now() + self.cache.view.patience;
        let mut pause = FIRST_PAUSE;
        let mut waiting = None;
        while self.missing != Missing::Unknown {
            let (hit, lease) = self.look_and_acquire::<F>().await?;
            if let Some((output, value)) = hit {
                if let Some(lease) = lease {
                    self.release(lease).await;
                }
                return Ok(Prepared::Hit(output, value));
            }
            // Of two leaders, the other one may have completed the flight meanwhile.
            if let Some(value) = leader.and_then(Leader::result)
                && let Some((output, value)) = self.decode::<F>(value)?
            {
                if let Some(lease) = lease {
                    self.release(lease).await;
                }
                return Ok(Prepared::Hit(output, value));
            }
            // If the store has failed, there is nothing to wait for.
            if lease.is_some() || self.missing == Missing::Unknown {
                return Ok(Prepared::Missing(lease));
            }
            let now = clock.now();
            if now >= patient_until {
                let lease = self.cache.share_lease(self.key(), false);
                if lease.is_none() {
                    self.report_other_holder();
                }
                return Ok(Prepared::Missing(lease));
            }
            waiting.get_or_insert_with(|| self.report_wait(Where::Store));
            Sleep::until(clock, patient_until.min(now + pause)).await;
            pause = LONGEST_PAUSE.min(2 * pause);
        }
        Ok(Prepared::Missing(None))
    }

    /// Looks the key up and acquires its lease, in one round trip if the store has leases.
    ///
    /// If another caller holds the lease, a stale value is a hit.
    async fn look_and_acquire<F: Form>(
        &mut self,
    ) -> Result<(Option<(F::Output, Value)>, Option<HeldLease>)> {
        loop {
            // One that waited for a value of another type would have to replace it.
            let is_undecodable = self.missing == Missing::Undecodable;
            let can_wait = !is_undecodable && !self.cache.is_produced_here(self.key());
            // The lease may be older than what this caller knows.
            if let Some(lease) = self.cache.share_lease(self.key(), can_wait) {
                let hit = match self.look_again::<F>().await? {
                    None => self.stale_meanwhile::<F>()?,
                    hit => hit,
                };
                return Ok((hit, Some(lease)));
            }
            let wanted = match self.missing {
                Missing::Stale(_) | Missing::Undecodable => Wanted::Any,
                Missing::Absent | Missing::Unknown => Wanted::Missing,
            };
            let acquired = match self.cache.acquire_in_flight(self.key(), wanted, HOLD).await {
                Ok(acquired) => acquired,
                Err(error) => {
                    self.read_failed(error)?;
                    return Ok((None, None));
                }
            };
            let hit = self.see::<F>(acquired.value).await?;
            if self.missing == Missing::Unknown {
                // The generations of its tags cannot be read.
                if let Some(lease) = acquired.lease {
                    self.release(lease).await;
                }
                return Ok((None, None));
            }
            if hit.is_some() || self.missing == Missing::Absent {
                return Ok((hit, acquired.lease));
            }
            // An entry that is to be replaced is leased if the lease is asked for.
            match acquired.lease {
                Some(lease) => return Ok((None, Some(lease))),
                None if wanted == Wanted::Any => {
                    let stale = self.stale_meanwhile::<F>()?;
                    if stale.is_some() || is_undecodable || self.missing != Missing::Undecodable {
                        return Ok((stale, None));
                    }
                }
                None => {}
            }
        }
    }

    async fn release(&self, lease: HeldLease) {
        if let Err(error) = self.cache.release_lease(lease, Duration::ZERO).await {
            tracing::debug!(
                cache = self.cache.alias(),
                key = %shown(self.key()),
                error = format_args!("{error:#}"),
                "cannot release a lease, which ends by time"
            );
        }
    }

    /// Waits for the leader. If it takes longer than the patience, one waiter leads as well.
    async fn wait(&self, mut waiter: Waiter) -> Waited {
        let (clock, patience) = (&self.cache.view.clock, self.cache.view.patience);
        let _waiting = self.report_wait(Where::Process);
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
                    key = %shown(self.key()),
                    waiting_producer = innermost_key().as_deref().map(shown).as_deref(),
                    patience = ?patience,
                    "producing a value as well: another caller takes longer than the patience"
                );
                return Waited::Leader(leader);
            }
        }
    }

    /// Leads as well if the leader has lost its lease, because it takes longer than [`HOLD`].
    fn lead_if_overdue(&self, mut waiter: Waiter) -> Option<Leader> {
        let since = waiter.led_since();
        let is_overdue = self.cache.view.clock.now().since(since) >= HOLD;
        if is_overdue { waiter.lead_as_well(since) } else { None }
    }

    /// Looks the key up and returns its value in both forms.
    async fn look_again<F: Form>(&mut self) -> Result<Option<(F::Output, Value)>> {
        let found = match self.cache.observed() {
            // The caller has looked the key up once. This is not counted as another lookup.
            Some(observed) => observed.get_again(self.key()).await,
            None => match self.cache.inner().get_now(self.key()) {
                Some(found) => found,
                None => self.cache.inner().get(self.key()).await,
            },
        };
        match found {
            Ok(found) => self.see::<F>(found).await,
            Err(error) => {
                self.read_failed(error)?;
                Ok(None)
            }
        }
    }

    /// Returns what is stored instead of a value that could not be produced.
    ///
    /// A stale value counts only if it was not deleted meanwhile.
    async fn fallback<F: Form>(&mut self) -> Option<(F::Output, Value)> {
        if !matches!(self.missing, Missing::Stale(_)) {
            return None;
        }
        // The error of the producer comes first.
        let hit = self.look_again::<F>().await.ok()?;
        if hit.is_some() {
            return hit;
        }
        self.report_stale(StaleReason::Failed);
        self.stale::<F>().ok().flatten()
    }

    /// Returns `Ok` if the value is to be produced although the store has failed. It is then not
    /// stored.
    fn read_failed(&mut self, error: Error) -> Result<()> {
        self.cache.read_failed(self.key(), error)?;
        self.missing = Missing::Unknown;
        Ok(())
    }

    /// Stores the value that was produced and returns it, or returns a value that was stored
    /// meanwhile.
    async fn store<F: Form>(
        &mut self,
        lease: Option<HeldLease>,
        begun_at: Moment,
        fresh: F::Output,
        encoded: Result<Value>,
    ) -> Result<(F::Output, Value)> {
        let value = match encoded {
            Ok(value) => value,
            Err(error) => {
                if let Some(lease) = lease {
                    self.release(lease).await;
                }
                return Err(error);
            }
        };
        let Some(lease) = lease.filter(|_| self.missing != Missing::Unknown) else {
            return Ok((fresh, value));
        };
        match self.cache.fill_lease(lease, value.clone(), self.timeout).await {
            Ok(true) => {
                self.report.end(Outcome::Stored);
                return Ok((fresh, value));
            }
            Ok(false) => {}
            Err(error) => {
                self.cache.store_failed(error)?;
                return Ok((fresh, value));
            }
        }
        self.report.end(Outcome::Lost);
        self.cache.count_lost_fill(self.key(), self.cache.view.clock.now().since(begun_at));
        Ok(self.look_again::<F>().await?.unwrap_or((fresh, value)))
    }

    /// Records what was found under the key, and returns it in both forms if it is a hit.
    ///
    /// If the generations of its tags cannot be read, the value that is produced is not stored.
    async fn see<F: Form>(&mut self, found: Option<Value>) -> Result<Option<(F::Output, Value)>> {
        let verdict = match &found {
            Some(value) if codec::has_meta(value) => match self.cache.judge(value).await {
                Ok(verdict) => verdict,
                Err(error) => return self.read_failed(error).map(|()| None),
            },
            _ => Verdict::Fresh,
        };
        match found {
            Some(value) if verdict == Verdict::Fresh => {
                return self.decode::<F>(value);
            }
            // One that cannot be decoded was reported.
            _ if matches!(self.missing, Missing::Undecodable | Missing::Unknown) => {}
            Some(_) if verdict == Verdict::Purged => self.missing = Missing::Undecodable,
            Some(value) => self.missing = Missing::Stale(Box::new(value)),
            None => self.missing = Missing::Absent,
        }
        Ok(None)
    }

    /// Returns the stale value that was found in both forms.
    fn stale<F: Form>(&mut self) -> Result<Option<(F::Output, Value)>> {
        match &self.missing {
            Missing::Stale(value) => self.decode::<F>(Value::clone(value)),
            Missing::Absent | Missing::Undecodable | Missing::Unknown => Ok(None),
        }
    }

    /// Returns a value in both forms, even if it is stale, or `None` if it cannot be decoded.
    fn decode<F: Form>(&mut self, value: Value) -> Result<Option<(F::Output, Value)>> {
        match F::decode(value.clone(), &self.cache.view.codecs) {
            Ok(output) => Ok(Some((output, value))),
            Err(_) if self.missing == Missing::Undecodable => Ok(None),
            Err(error) => {
                self.missing = Missing::Undecodable;
                self.cache.undecodable(self.key(), error).map(Found::hit)
            }
        }
    }

    /// Returns the stale value to a caller, while another one produces a new one.
    fn stale_meanwhile<F: Form>(&mut self) -> Result<Option<(F::Output, Value)>> {
        let stale = self.stale::<F>()?;
        if stale.is_some() {
            self.report_stale(StaleReason::Refreshing);
        }
        Ok(stale)
    }

    fn report_stale(&self, reason: StaleReason) {
        if let Some(observer) = &self.cache.view.observer {
            observer.stale_served(reason);
        }
    }

    fn report_wait(&self, place: Where) -> WaitReport {
        WaitReport::begin(self.cache.view.observer.as_ref(), place, self.key())
    }

    fn report_other_holder(&self) {
        if self.cache.view.patience == Duration::ZERO {
            return;
        }
        tracing::warn!(
            cache = self.cache.alias(),
            key = %shown(self.key()),
            patience = ?self.cache.view.patience,
            "producing a value without storing it: another process has not finished its own"
        );
    }

    fn failed(&self) -> Error {
        let message =
            format!("two other callers have failed to produce the value of {}", shown(self.key()));
        self.cache.at(Error::new(ErrorKind::FillFailed, message))
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
