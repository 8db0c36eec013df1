//! One call of `fetch`.

use std::{any::TypeId, fmt, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::runtime;

use super::{
    BoxFuture, FetchError, Returned, Timeouts,
    fill::Fill,
    flight::{End, FetchId, Leader, Outcome, OwnResult, Waiting},
    lookup::Seen,
    task::{Panicked, Plan, Producer, Reason, Task, catch_panic},
};
use crate::{
    CacheHandle, Clock, Error, ErrorKind, FillOptions, Moment, Tags, Value,
    config::MAX_TIME,
    handle::{fill::HOLD, single_flight::Joined},
    key::shown,
    observe::{self, FillReport, StaleReason, WaitReport, Where},
    timer::Sleep,
};

pub(super) struct Call<'a, R: Returned, E> {
    cache: &'a CacheHandle,
    /// The key of the caller.
    name: &'a str,
    options: FillOptions,
    tags: Tags,
    /// `None` once it has started.
    producer: Option<Source<R::Inner, E>>,
}

/// A value that was produced for one caller.
struct Alone<O> {
    value: O,
    /// Whether a stale value is better.
    has_failed: bool,
}

type Source<T, E> = (Timeouts<T>, Producer<T, E>);

impl<'a, R, E> Call<'a, R, E>
where
    R: Returned,
    E: fmt::Debug + Send + Sync + 'static,
{
    pub(super) fn new(
        cache: &'a CacheHandle,
        name: &'a str,
        timeouts: Timeouts<R::Inner>,
        options: FillOptions,
        tags: Tags,
        produce: Producer<R::Inner, E>,
    ) -> Self {
        Self { cache, name, options, tags, producer: Some((timeouts, produce)) }
    }

    pub(super) async fn run(self) -> Result<R::Output, FetchError<E>> {
        self.cache.check_tags(&self.tags.names)?;
        let tags = &self.tags.names;
        let is_known = self.cache.knows_generation(self.name).await?;
        let key = self.cache.key(self.name)?;
        let seen = match is_known {
            true => self.cache.see::<R>(self.name, &key, self.options.early, tags).await?,
            false => Seen::Unknown,
        };
        if let Seen::Fresh(value) = seen {
            return Ok(value);
        }
        let key = Arc::from(&*key);
        match seen {
            Seen::Fresh(value) => Ok(value),
            Seen::Early(value) => {
                self.refresh(key);
                Ok(value)
            }
            Seen::Stale(value) => self.revalidate(key, value).await,
            Seen::Undecodable => self.produce(key, Reason::Undecodable).await,
            Seen::Absent => self.produce(key, Reason::Absent).await,
            Seen::Unknown => self.produce(key, Reason::Unknown).await,
        }
    }

    /// Starts a task that this caller does not wait for, unless one runs or has failed shortly
    /// before.
    fn refresh(mut self, key: Arc<str>) {
        if runtime::Handle::try_current().is_err() || self.throttled(&key).is_some() {
            return;
        }
        if let Joined::Leader(leader) = self.join(&key) {
            // There is a producer, so there is no error.
            let _ = self.start(leader, key, Reason::Early);
        }
    }

    /// Waits for a new value until the soft timeout, then returns the stale one.
    async fn revalidate(
        mut self,
        key: Arc<str>,
        stale: R::Output,
    ) -> Result<R::Output, FetchError<E>> {
        if let Some(reason) = self.throttled(&key) {
            return Ok(self.serve_stale(stale, reason));
        }
        let Some(waiting) = self.enter(&key, Reason::Stale)? else {
            return Ok(self.serve_stale(stale, StaleReason::Refreshing));
        };
        let FillOptions { soft_timeout, hard_timeout, .. } = self.options;
        let limit = match waiting.in_place {
            Some(_) => hard_timeout,
            None => soft_timeout.min(hard_timeout),
        };
        let (clock, deadline) = (self.clock(), self.clock().now() + limit);
        match waiting.wait(clock, deadline).await {
            End::Own(result) => Ok(result?),
            End::Completed(Outcome::Value(value)) => Ok(self.decode(&key, value)?.unwrap_or(stale)),
            End::Completed(Outcome::Private) => match self.produce_alone(deadline).await {
                Err(FetchError::Cache(error)) => Err(error.into()),
                Ok(Alone { value, has_failed: false }) => Ok(value),
                Ok(_) | Err(_) => Ok(self.serve_stale(stale, StaleReason::Failed)),
            },
            End::Completed(Outcome::HeldElsewhere) => {
                Ok(self.serve_stale(stale, StaleReason::Refreshing))
            }
            End::TimedOut if limit == Duration::ZERO => {
                Ok(self.serve_stale(stale, StaleReason::Refreshing))
            }
            End::TimedOut => Ok(self.serve_stale(stale, StaleReason::Slow)),
            End::Completed(_) | End::Leads(_) | End::Failed => {
                Ok(self.serve_stale(stale, StaleReason::Failed))
            }
        }
    }

    fn serve_stale(&self, stale: R::Output, reason: StaleReason) -> R::Output {
        if let Some(observer) = &self.cache.view.observer {
            observer.stale_served(reason);
        }
        stale
    }

    /// Waits for a missing value until the hard timeout.
    async fn produce(mut self, key: Arc<str>, reason: Reason) -> Result<R::Output, FetchError<E>> {
        let deadline = self.clock().now() + self.options.hard_timeout;
        let mut entered = self.enter(&key, reason)?;
        while let Some(waiting) = entered {
            match waiting.wait(self.clock(), deadline).await {
                End::Own(result) => return Ok(result?),
                End::Completed(Outcome::Value(value) | Outcome::Fallback(value)) => {
                    match self.decode(&key, value)? {
                        Some(value) => return Ok(value),
                        // The type does not decode what it has encoded.
                        None => break,
                    }
                }
                End::Completed(Outcome::Failed(error)) => match error.downcast() {
                    Ok(error) => return Err(FetchError::Produce(error)),
                    Err(_) => break,
                },
                End::Completed(Outcome::Panicked) => return Err(FetchError::Panicked),
                End::Completed(Outcome::Private) => break,
                // The caller that has started the task has a stale value.
                End::Completed(Outcome::HeldElsewhere) => entered = self.enter(&key, reason)?,
                End::Leads(leader) => entered = Some(self.start(leader, key.clone(), reason)?),
                End::Failed => return Err(self.fill_failed(&key).into()),
                End::TimedOut => return Err(FetchError::TimedOut),
            }
        }
        self.produce_alone(deadline).await.map(|alone| alone.value)
    }

    /// Runs the producer for this caller only. It needs no task: its value is not stored.
    async fn produce_alone(&mut self, deadline: Moment) -> Result<Alone<R::Output>, FetchError<E>> {
        let (_, produce) = self.producer.take().ok_or_else(|| self.dropped())?;
        let key = self.cache.compose_in(self.cache.key_generation(), self.name);
        let mut report = FillReport::begin(self.cache.view.observer.as_ref(), &key);
        let fill = Fill::default();
        let mut produced = pin!(catch_panic(async { produce(fill.clone()).await }));
        let mut sleep = pin!(Sleep::until(self.clock(), deadline));
        let produced = poll_fn(|context| match report.run(|| produced.as_mut().poll(context)) {
            Poll::Ready(produced) => Poll::Ready(Some(produced)),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
        });
        match produced.await {
            Some(Ok(Ok(value))) => {
                report.produced();
                Ok(Alone { value: R::wrap(value), has_failed: fill.choices().has_failed })
            }
            Some(Ok(Err(error))) => {
                report.end(observe::Outcome::Failed);
                Err(FetchError::Produce(Arc::new(error)))
            }
            Some(Err(Panicked)) => {
                report.end(observe::Outcome::Panicked);
                Err(FetchError::Panicked)
            }
            None => Err(FetchError::TimedOut),
        }
    }

    /// Joins the task for the key, or starts one. Does not join a task that began before this
    /// process has written the key. Returns `None` if the producer of this key calls.
    fn enter(
        &mut self,
        key: &Arc<str>,
        reason: Reason,
    ) -> Result<Option<Waiting<R::Output>>, Error> {
        match self.join(key) {
            Joined::Leader(leader) => self.start(leader, Arc::clone(key), reason).map(Some),
            Joined::Waiter(waiter) => {
                let report =
                    WaitReport::begin(self.cache.view.observer.as_ref(), Where::Process, key);
                let (own, in_place) = (OwnResult::default(), None);
                Ok(Some(Waiting { waiter, own, in_place, report: Some(report) }))
            }
            Joined::Recursive => Ok(None),
        }
    }

    /// Joins the flight of the key. The task of a call from inside of a producer of the key would
    /// wait for the lease that the producer holds.
    fn join(&self, key: &Arc<str>) -> Joined<FetchId, Outcome, Clock> {
        if self.cache.is_produced_here(key) {
            return Joined::Recursive;
        }
        let view = &self.cache.view;
        let types = TypeId::of::<(R::Inner, E)>();
        let id = FetchId { epoch: view.epochs.current(key), types };
        let (now, hold) = (self.clock().now(), self.hold());
        view.fetches.flights.join_if(&id, |led_since| now.since(led_since) < hold)
    }

    /// Starts the task, and waits for it like other callers: it does not depend on this one.
    fn start(
        &mut self,
        leader: Leader,
        key: Arc<str>,
        reason: Reason,
    ) -> Result<Waiting<R::Output>, Error> {
        let (timeouts, produce) = self.producer.take().ok_or_else(|| self.dropped())?;
        let plan = Plan {
            cache: self.cache.clone(),
            key,
            reason,
            timeouts,
            options: self.options.clone(),
            tags: self.tags.names.clone(),
            hold: self.hold(),
        };
        let (waiter, own) = (leader.wait(), OwnResult::default());
        let task = Task::<R, E> { plan, produce, own: own.clone() }.run(leader);
        let task = observe::in_task(self.cache.view.observer.as_ref(), task);
        let in_place: Option<BoxFuture<'static, ()>> = match runtime::Handle::try_current() {
            Ok(runtime) => {
                self.cache.view.fetches.tasks.spawn(&runtime, task);
                None
            }
            Err(_) => Some(Box::pin(task)),
        };
        Ok(Waiting { waiter, own, in_place, report: None })
    }

    fn decode(&self, key: &str, value: Value) -> Result<Option<R::Output>, Error> {
        match R::decode(value, &self.cache.view.codecs) {
            Ok(output) => Ok(Some(output)),
            Err(error) => Ok(self.cache.undecodable(key, error)?.hit()),
        }
    }

    fn throttled(&self, key: &str) -> Option<StaleReason> {
        self.cache.view.fetches.throttle.throttled(key, self.clock().now())
    }

    /// For how long a task holds the lease of its key.
    ///
    /// A task that takes longer has lost its lease, and callers do not wait for it. A caller that
    /// waits for an hour wants a value to be stored that is produced within it, so the hard timeout
    /// counts even if it is long. No lease is held for longer than options in a configuration last.
    fn hold(&self) -> Duration {
        HOLD.max(self.options.hard_timeout).min(MAX_TIME)
    }

    fn clock(&self) -> &'a Clock {
        &self.cache.view.clock
    }

    fn dropped(&self) -> Error {
        let message = "the task that produces the value was dropped: its runtime has shut down";
        self.cache.at(Error::new(ErrorKind::FillFailed, message))
    }

    fn fill_failed(&self, key: &str) -> Error {
        let message = format!("two tasks have failed to store the value of {}", shown(key));
        self.cache.at(Error::new(ErrorKind::FillFailed, message))
    }
}
