//! The task that produces a value and stores it.

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::future::join;

use super::{
    super::{
        described::Generations,
        fill::{FIRST_PAUSE, LONGEST_PAUSE},
        leases::{Acquisition, HeldLease, Wanted},
        tags::stamped,
    },
    BoxFuture, Returned, Timeouts,
    fill::Fill,
    flight::{Leader, Outcome, OwnResult},
    lookup::Seen,
};
use crate::{
    CacheHandle, FillOptions, Result, Tags, Timeout, Ttl, Value, codec,
    config::MAX_TIME,
    key::shown,
    meta::{Meta, Times},
    observe::{self, FAILED_FETCHES, FILLS_LOST, FillReport, StaleReason, WaitReport, Where},
    tags::{Record, record_ttl},
    timeout::Lifetime,
    timer::Sleep,
};

pub(super) type Producer<T, E> = Box<dyn FnOnce(Fill) -> BoxFuture<'static, Result<T, E>> + Send>;

/// Why a value is produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The entry is fresh, but not for long.
    Early,
    Stale,
    /// There is an entry that cannot be decoded.
    Undecodable,
    Absent,
    /// The store does not reply, so the value is not stored either.
    Unknown,
}

impl Reason {
    /// Whether callers have a value if this task produces none.
    fn has_value(self) -> bool {
        matches!(self, Self::Early | Self::Stale)
    }
}

/// What a task knows besides its producer.
pub(super) struct Plan<T> {
    pub(super) cache: CacheHandle,
    /// The composed key.
    pub(super) key: Arc<str>,
    pub(super) reason: Reason,
    pub(super) timeouts: Timeouts<T>,
    pub(super) options: FillOptions,
    /// The tags that the caller names.
    pub(super) tags: Box<[Box<str>]>,
    pub(super) hold: Duration,
}

/// The tags of a value, with their records in the same order.
struct TagsOfValue {
    names: Vec<Box<str>>,
    records: Vec<Record>,
}

/// How long callers get a stale value that another process refreshes before one of them asks for
/// the lease again. The other process may have died.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Task<R: Returned, E> {
    pub(super) plan: Plan<R::Inner>,
    pub(super) produce: Producer<R::Inner, E>,
    pub(super) own: OwnResult<R::Output>,
}

/// What a task does after it has asked for a lease.
enum Next {
    /// Produces. Without a lease, does not store.
    Produce(Option<HeldLease>),
    End(Outcome),
}

impl<R: Returned, E: fmt::Debug + Send + Sync + 'static> Task<R, E>
where
    R::Inner: Send,
{
    pub(super) async fn run(self, mut leader: Leader) {
        let Self { plan, produce, own } = self;
        let (next, records) = join(plan.next::<R>(), plan.see_tags()).await;
        let ended = match next {
            Ok(Next::Produce(lease)) => {
                plan.produce::<R, E>(lease, records, produce, &own, &mut leader).await
            }
            Ok(Next::End(outcome)) => Ok(outcome),
            Err(error) => Err(error),
        };
        match ended {
            Ok(outcome) => leader.complete(outcome),
            Err(error) => {
                own.set(Err(error));
                leader.fail();
            }
        }
    }
}

impl<T: Send + 'static> Plan<T> {
    /// Asks for a lease. If another process holds it, looks for the value of that process.
    async fn next<R: Returned<Inner = T>>(&self) -> Result<Next> {
        let clock = &self.cache.view.clock;
        let patience_ends_at = clock.now() + self.cache.view.patience;
        let mut wanted = match self.reason {
            Reason::Unknown => return Ok(Next::Produce(None)),
            Reason::Absent => Wanted::Missing,
            Reason::Early | Reason::Stale | Reason::Undecodable => Wanted::Any,
        };
        let mut pause = FIRST_PAUSE;
        let mut waiting = None;
        loop {
            let acquired = self.cache.acquire(&self.key, wanted, self.hold).await;
            let Acquisition { value, lease } = match acquired {
                Ok(acquired) => acquired,
                Err(error) => {
                    self.cache.read_failed(&self.key, error)?;
                    return Ok(Next::Produce(None));
                }
            };
            let is_absent = value.is_none();
            if let Some(value) = value {
                match self.is_good_enough::<R>(value.clone()).await {
                    Ok(true) => {
                        self.release(lease, Duration::ZERO).await;
                        return Ok(Next::End(Outcome::Value(value)));
                    }
                    Ok(false) => {}
                    Err(error) => {
                        self.release(lease, Duration::ZERO).await;
                        self.cache.read_failed(&self.key, error)?;
                        return Ok(Next::Produce(None));
                    }
                }
            }
            if lease.is_some() {
                return Ok(Next::Produce(lease));
            }
            if self.reason.has_value() {
                let time = self.options.retry_after.min(LOOK_AGAIN_AFTER);
                self.throttle(StaleReason::Refreshing, time);
                return Ok(Next::End(Outcome::HeldElsewhere));
            }
            if !is_absent && wanted == Wanted::Missing {
                // The key has an entry by now, but not one to return.
                wanted = Wanted::Any;
                continue;
            }
            if clock.now() >= patience_ends_at {
                tracing::warn!(
                    cache = self.cache.alias(),
                    key = %shown(&self.key),
                    patience = ?self.cache.view.patience,
                    "producing a value without storing it: another process takes longer than the \
                     patience"
                );
                return Ok(Next::Produce(None));
            }
            waiting.get_or_insert_with(|| {
                WaitReport::begin(self.cache.view.observer.as_ref(), Where::Store, &self.key)
            });
            Sleep::until(clock, clock.now() + pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Reads the generations of the tags that the caller names, so before the producer starts.
    ///
    /// Returns `None` if the store has failed: the value is not stored then.
    async fn see_tags(&self) -> Result<Option<Box<[Record]>>> {
        if self.tags.is_empty() || self.reason == Reason::Unknown {
            return Ok(Some(Box::default()));
        }
        let ttl = record_ttl(Some(self.options.stale_for));
        match self.cache.see_tags(&self.tags, ttl).await {
            Ok(mut records) => {
                // The time to live of the entry is not known yet.
                records.iter_mut().for_each(|record| record.is_new = false);
                Ok(Some(records))
            }
            Err(error) => self.cache.read_failed(&self.key, error).map(|()| None),
        }
    }

    /// Whether a value that was stored meanwhile ends this task.
    async fn is_good_enough<R: Returned>(&self, value: Value) -> Result<bool> {
        let mut known = Generations::default();
        let early = self.options.early;
        let is_lookup = false;
        let seen = self.cache.judge_fetched::<R>(&self.key, value, early, &mut known, is_lookup);
        Ok(match seen.await? {
            Seen::Fresh(_) => true,
            Seen::Early(_) => self.reason != Reason::Early,
            Seen::Stale(_) | Seen::Undecodable | Seen::Absent | Seen::Unknown => false,
        })
    }

    /// Runs the producer. An error is one of the cache.
    async fn produce<R: Returned<Inner = T>, E: fmt::Debug + Send + Sync + 'static>(
        &self,
        mut lease: Option<HeldLease>,
        records: Result<Option<Box<[Record]>>>,
        produce: Producer<T, E>,
        own: &OwnResult<R::Output>,
        leader: &mut Leader,
    ) -> Result<Outcome> {
        let records = match records {
            Ok(Some(records)) => records,
            Ok(None) => {
                self.release(lease.take(), Duration::ZERO).await;
                Box::default()
            }
            Err(error) => {
                self.release(lease, Duration::ZERO).await;
                return Err(error);
            }
        };
        let begun_at = self.cache.view.clock.unix_time();
        let leased_at = self.cache.view.clock.now();
        let fill = Fill::default();
        let mut report = FillReport::begin(self.cache.view.observer.as_ref(), &self.key);
        let mut producer = pin!(catch_panic(async { produce(fill.clone()).await }));
        let produced = poll_fn(|context| {
            let poll = || report.run(|| producer.as_mut().poll(context));
            leader.poll_producer(&self.key, poll)
        });
        let produced = produced.await;
        report.produced();
        let value = match produced {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                report.end(observe::Outcome::Failed);
                self.report_failure(Some(&error));
                self.release_after_failure(lease).await;
                return Ok(Outcome::Failed(Arc::new(error)));
            }
            Err(Panicked) => {
                report.end(observe::Outcome::Panicked);
                self.report_failure(None);
                self.release_after_failure(lease).await;
                return Ok(Outcome::Panicked);
            }
        };
        let choices = fill.choices();
        let timeout = choices.ttl.unwrap_or_else(|| self.timeouts.of(&value));
        let output = R::wrap(value);
        if choices.is_private {
            self.release(lease, Duration::ZERO).await;
            own.set(Ok(output));
            return Ok(Outcome::Private);
        }
        let encode = || R::encode(&self.cache, &output);
        let value = match catch_unwind(AssertUnwindSafe(encode)) {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                self.release(lease, Duration::ZERO).await;
                return Err(error);
            }
            Err(_) => {
                report.end(observe::Outcome::Panicked);
                self.report_failure(None);
                self.release_after_failure(lease).await;
                return Ok(Outcome::Panicked);
            }
        };
        if choices.has_failed {
            report.end(observe::Outcome::Failed);
            self.report_failure(None);
            self.release_after_failure(lease).await;
            return Ok(Outcome::Fallback(value));
        }
        // A caller that cannot wait until the value is stored gets it nevertheless.
        own.set_unstored(output);
        if let Some(lease) = lease {
            let held_for = self.cache.view.clock.now().since(leased_at);
            match self.tags_of_value(&records, choices.tags, begun_at).await {
                Ok(Some(tags)) => {
                    self.store(lease, value.clone(), timeout, tags, held_for, &mut report).await?;
                }
                Ok(None) => self.release(Some(lease), Duration::ZERO).await,
                Err(error) => {
                    self.release(Some(lease), Duration::ZERO).await;
                    return Err(error);
                }
            }
        }
        own.set_stored();
        Ok(Outcome::Value(value))
    }

    /// Returns the tags of a value with their generations: those that the caller names, which were
    /// read before the producer started, and those that the producer has added.
    ///
    /// Returns `None` if the value must not be stored: an added tag may have been purged since, or
    /// the store has failed.
    async fn tags_of_value(
        &self,
        records: &[Record],
        added: Vec<String>,
        begun_at: Duration,
    ) -> Result<Option<TagsOfValue>> {
        let mut names = self.tags.to_vec();
        let mut added = Tags::of(added).names.into_vec();
        added.retain(|name| !names.contains(name));
        names.extend_from_slice(&added);
        self.cache.check_tags(&names)?;
        let mut records = records.to_vec();
        if !added.is_empty() {
            let ttl = record_ttl(Some(self.options.stale_for));
            match self.cache.see_tags(&added, ttl).await {
                Ok(read) => records.extend(read),
                Err(error) => return self.cache.store_failed(error).map(|()| None),
            }
        }
        let added = &mut records[self.tags.len()..];
        added.iter_mut().for_each(|record| record.is_new = false);
        let purged_at = added.iter().map(|record| record.generation.purged_at).max();
        let skew = self.cache.view.tags.skew;
        if purged_at.is_some_and(|at| !at.is_zero() && at.saturating_add(skew) > begun_at) {
            tracing::debug!(
                cache = self.cache.alias(),
                key = %shown(&self.key),
                "value not stored: one of its tags was purged while it was produced"
            );
            let alias = self.cache.alias().to_owned();
            metrics::counter!(FILLS_LOST, "cache" => alias).increment(1);
            return Ok(None);
        }
        Ok(Some(TagsOfValue { names, records }))
    }

    /// Stores a value, unless something newer is stored.
    async fn store(
        &self,
        lease: HeldLease,
        value: Value,
        timeout: Timeout,
        tags: TagsOfValue,
        held_for: Duration,
        report: &mut FillReport,
    ) -> Result<()> {
        let cache = &self.cache;
        let (fresh, kept) = match cache.lifetime(timeout) {
            Lifetime::Expired => (Some(Duration::ZERO), Timeout::EXPIRED),
            Lifetime::Forever => (None, Timeout::Never),
            Lifetime::For(ttl) => {
                let kept = ttl.saturating_add(self.options.stale_for);
                (Some(shortened(ttl, self.options.jitter)), Timeout::After(kept))
            }
        };
        let meta = Meta {
            stamp: Some(fastrand::u64(..).to_be_bytes()),
            times: Some(Times::new(cache.view.clock.unix_time(), fresh)),
            tags: stamped(&tags.names, &tags.records),
            ..Meta::default()
        };
        let described = codec::describe(value, meta)?;
        let keep = async {
            let ttl = match cache.lifetime(kept) {
                Lifetime::Expired => return,
                Lifetime::For(ttl) => Some(ttl),
                Lifetime::Forever => None,
            };
            cache.keep_tags(&tags.names, &tags.records, ttl).await;
        };
        match join(cache.fill_lease(lease, described, kept), keep).await.0 {
            Ok(true) => {
                // A failure before says nothing about the next refresh.
                cache.view.fetches.throttle.end(&self.key);
                report.end(observe::Outcome::Stored);
            }
            Ok(false) => {
                report.end(observe::Outcome::Lost);
                cache.count_lost_fill(&self.key, held_for);
            }
            Err(error) => cache.store_failed(error)?,
        }
        Ok(())
    }

    fn report_failure(&self, error: Option<&dyn fmt::Debug>) {
        let alias = self.cache.alias();
        metrics::counter!(FAILED_FETCHES, "cache" => alias.to_owned()).increment(1);
        // Without a stale value, the caller gets the error.
        if self.reason.has_value() {
            tracing::warn!(
                cache = alias,
                key = %shown(&self.key),
                error = error.map(tracing::field::debug),
                retry_after = ?self.options.retry_after,
                "cannot refresh a value: its producer has failed"
            );
        }
    }

    /// Ends the lease of a producer that has failed.
    ///
    /// If there is a value, nobody tries again for a while: this process because of the throttle,
    /// others because the lease is kept.
    async fn release_after_failure(&self, lease: Option<HeldLease>) {
        let mut keep = Duration::ZERO;
        if self.reason.has_value() {
            self.throttle(StaleReason::Failed, self.options.retry_after);
            keep = self.options.retry_after.min(self.time_left().await);
        }
        self.release(lease, keep).await;
    }

    /// For how long there is a value. Callers that miss it later must not wait for a lease.
    async fn time_left(&self) -> Duration {
        match self.cache.inner().ttl(&self.key).await {
            Ok(Some(Ttl::Left(left))) => left,
            Ok(None) => Duration::ZERO,
            Ok(Some(Ttl::Never)) | Err(_) => MAX_TIME,
        }
    }

    fn throttle(&self, reason: StaleReason, time: Duration) {
        let now = self.cache.view.clock.now();
        self.cache.view.fetches.throttle.throttle(&self.key, reason, now, now + time);
    }

    async fn release(&self, lease: Option<HeldLease>, keep: Duration) {
        let Some(lease) = lease else { return };
        if let Err(error) = self.cache.release_lease(lease, keep).await {
            // It ends by time.
            let error = self.cache.at(error);
            self.cache.view.outage_log.record(self.cache.alias(), &error);
        }
    }
}

/// Shortens a time by a random part of this share of it.
fn shortened(ttl: Duration, share: f64) -> Duration {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let seconds = ttl.as_secs_f64() * (1.0 - share * fastrand::f64());
    // The longest times are rounded up to more than a `Duration` can have.
    Duration::try_from_secs_f64(seconds).unwrap_or(ttl)
}

pub(super) struct Panicked;

/// Polls a future and catches its panic, which the panic hook has reported.
pub(super) async fn catch_panic<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    // After a panic, the future is only dropped.
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}
