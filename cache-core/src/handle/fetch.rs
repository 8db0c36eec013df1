//! `fetch`: stale values, early refresh and bounded waits, with producers that run as tasks.

mod call;
mod error;
mod fill;
mod flight;
mod lookup;
mod task;
mod tasks;
#[cfg(test)]
mod tests;
mod throttle;

use std::{any::type_name, convert::Infallible, fmt, pin::Pin, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use self::{call::Call, flight::Flights, task::Producer, tasks::Tasks, throttle::Throttle};
pub use self::{error::FetchError, fill::Fill};
use super::fill::{Form, Owned, Shared};
use crate::{CacheHandle, Clock, FillOptions, Tags, Timeout, timer};

/// What the calls of `fetch` of a handle share.
#[derive(Debug)]
pub(super) struct Fetches {
    flights: Arc<Flights>,
    throttle: Throttle,
    tasks: Arc<Tasks>,
}

impl Fetches {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            flights: Arc::new(Flights::new(clock)),
            throttle: Throttle::default(),
            tasks: Arc::default(),
        }
    }

    /// Whether the caller is called by the producer of this composed key.
    pub(super) fn is_produced_here(&self, key: &str) -> bool {
        self.flights.is_led_here(key)
    }

    /// Returns the numbers of flights, of tasks and of throttled keys.
    #[cfg(test)]
    pub(super) fn counts(&self) -> [usize; 3] {
        [self.flights.in_flight(), self.tasks.count(), self.throttle.len()]
    }
}

/// Producing missing and stale values in the background.
impl CacheHandle {
    /// Returns the value stored under `key`. If it is missing or stale, runs `produce` as a task
    /// that stores its result.
    ///
    /// The call does nothing until it is awaited. Set its options before that; the configuration of
    /// the alias has their defaults, see [`FillOptions`].
    ///
    /// # Difference to `get_or_set`
    ///
    /// The producer of [`get_or_set`](Self::get_or_set) may borrow and runs inside its caller. That
    /// of `fetch` is `Send + 'static` and runs in a task of tokio's: it continues if all its
    /// callers are dropped, and callers can stop waiting for it. So `fetch` can
    ///
    /// - return a stale value while the producer runs ([`stale_for`](Fetch::stale_for),
    ///   [`soft_timeout`](Fetch::soft_timeout)) or if it fails;
    /// - bound the time that a caller waits ([`hard_timeout`](Fetch::hard_timeout));
    /// - refresh a value that is used before it becomes stale ([`early`](Fetch::early));
    /// - take options that depend on the value from the producer ([`Fill`]).
    ///
    /// # Behavior
    ///
    /// An entry is fresh for its time to live ([`ttl`](Fetch::ttl)), then stale for
    /// [`stale_for`](Fetch::stale_for), then missing. An entry that was deleted or that cannot be
    /// decoded as a `T` is missing, not stale. A [purge of a tag](Self::purge_tags) makes it
    /// missing or stale. Other verbs, such as [`get`](Self::get), treat a stale entry as a miss.
    ///
    /// | entry | no producer runs | one of this process does | another process produces |
    /// |---|---|---|---|
    /// | fresh | returns the value | the same | the same |
    /// | fresh, in its `early` share | returns the value, starts a task | returns the value | the same |
    /// | stale | starts a task, waits for `soft_timeout`, then returns the stale value | waits as well | returns the stale value at once |
    /// | missing | starts a task, waits for `hard_timeout`, then [`FetchError::TimedOut`] | waits as well | looks for its value; takes over if it ends, and after the [`patience`] of the alias produces without storing |
    ///
    /// | the producer | stale | missing |
    /// |---|---|---|
    /// | returns a value | it is stored and returned to all who wait | the same |
    /// | the same, but the key was written or deleted meanwhile | it is returned, not stored | the same |
    /// | calls [`Fill::do_not_store`] | the caller that started it gets the value, the others run their own producers | the same |
    /// | returns an error, or panics | the stale value; nobody tries again for [`retry_after`](Fetch::retry_after) | the error, to all who wait |
    /// | calls [`Fill::failed_with`] | the stale value | its value, which is not stored |
    ///
    /// A task that has run for longer than 30 seconds, or the `hard_timeout` if that is longer, is
    /// not waited for: the next caller starts another one. The same holds for a task that began
    /// before a write of the key that has returned, if the write was made through this handle, its
    /// clones or handles derived from it. If `produce` itself fetches the same key, for whatever
    /// type, the inner call returns the stale value, or produces without waiting and storing.
    ///
    /// Without a tokio runtime, the producer runs inside its caller and is dropped with it. The
    /// caller of a stale value then waits for up to `hard_timeout`, and nothing is refreshed early.
    ///
    /// [`patience`]: crate::Settings::patience
    ///
    /// # Clocks
    ///
    /// The store decides when an entry is missing. The clocks of the processes only decide when it
    /// becomes stale. If one is wrong, entries are refreshed too early, or are used until the store
    /// removes them.
    ///
    /// # Performance
    ///
    /// A hit costs a [`get`](Self::get) and two allocations. An entry has a header of 22 bytes, and
    /// an integer takes 8 bytes and cannot be counted with [`incr`](Self::incr).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use cache_core::{CacheHandle, Settings};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// # async fn render(page: &str) -> String { format!("<h1>{page}") }
    /// let page = String::from("news");
    /// let html: String = cache
    ///     .fetch("page:news", async move |_| render(&page).await)
    ///     .ttl(Duration::from_secs(60))
    ///     .stale_for(Duration::from_secs(3600))
    ///     .soft_timeout(Duration::ZERO)
    ///     .await?;
    /// # assert_eq!(html, "<h1>news");
    /// # Ok(()) }
    /// ```
    pub fn fetch<'a, T, F>(
        &'a self,
        key: &'a str,
        produce: impl FnOnce(Fill) -> F + Send + 'static,
    ) -> Fetch<'a, T, Infallible>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let produce = |fill| {
            let produced = produce(fill);
            async { Ok(produced.await) }
        };
        self.try_fetch(key, produce)
    }

    /// Like [`fetch`](Self::fetch), for a `produce` that can fail.
    ///
    /// All callers that wait get the same error, in an `Arc`. Errors are not stored.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use cache_core::{CacheHandle, FetchError, Fill, Settings};
    /// # use cache_locmem::LocMemCache;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct User { is_guest: bool }
    /// # #[derive(Debug)] struct DbError;
    /// # #[derive(Clone)] struct Db;
    /// # impl Db { async fn user(&self, _: u64) -> Result<User, DbError> { Err(DbError) } }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// # let db = Db;
    /// let user: Result<User, FetchError<DbError>> = cache
    ///     .try_fetch("user:42", move |fill: Fill| async move {
    ///         let user = db.user(42).await?;
    ///         if user.is_guest {
    ///             fill.ttl(Duration::from_secs(10));
    ///         }
    ///         Ok(user)
    ///     })
    ///     .ttl(Duration::from_secs(300))
    ///     .await;
    /// assert!(matches!(user, Err(FetchError::Produce(_))));
    /// # }
    /// ```
    pub fn try_fetch<'a, T, E, F>(
        &'a self,
        key: &'a str,
        produce: impl FnOnce(Fill) -> F + Send + 'static,
    ) -> Fetch<'a, T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        Fetch {
            cache: self,
            key,
            timeouts: Timeouts { ttl: Timeout::Default, special: None },
            options: self.view.fill.clone(),
            tags: Tags::of::<&str>([]),
            default: None,
            produce: Box::new(|fill| Box::pin(produce(fill))),
        }
    }

    /// Waits until the producers of [`fetch`](Self::fetch) have ended, but at most for `limit`.
    /// Then drops the others and returns their number.
    ///
    /// Concerns the tasks of this handle, its clones and the handles derived from it. Call it when
    /// the application shuts down and starts no new ones. `close_all` of the `Caches` of the crate
    /// `cachette` does so.
    pub async fn finish_tasks(&self, limit: Duration) -> usize {
        let tasks = &self.view.fetches.tasks;
        match timer::timeout(limit, tasks.idle()).await {
            Some(()) => 0,
            None => tasks.abort_all(),
        }
    }
}

/// A call of [`fetch`](CacheHandle::fetch) or [`try_fetch`](CacheHandle::try_fetch): await it.
///
/// # Cancel safety
///
/// If the future is dropped, the producer continues and stores its value.
#[must_use = "a call does nothing until it is awaited"]
pub struct Fetch<'a, T, E = Infallible> {
    cache: &'a CacheHandle,
    key: &'a str,
    timeouts: Timeouts<T>,
    options: FillOptions,
    tags: Tags,
    default: Option<T>,
    produce: Producer<T, E>,
}

/// A call of [`fetch`](CacheHandle::fetch) that returns the value in an `Arc`: await it.
#[must_use = "a call does nothing until it is awaited"]
pub struct FetchShared<'a, T, E = Infallible>(Fetch<'a, T, E>);

/// The time to live of a value.
struct Timeouts<T> {
    ttl: Timeout,
    /// The time to live of values for which a function returns `true`.
    special: Option<(Test<T>, Timeout)>,
}

type Test<T> = fn(&T) -> bool;

impl<T> Timeouts<T> {
    fn of(&self, value: &T) -> Timeout {
        match self.special {
            Some((is_special, timeout)) if is_special(value) => timeout,
            _ => self.ttl,
        }
    }
}

impl<'a, T, E> Fetch<'a, T, E> {
    /// Sets for how long the entry is fresh. The TIMEOUT of the alias by default.
    ///
    /// [`jitter`](Self::jitter) shortens it. With a timeout of zero, nothing is stored.
    pub fn ttl(mut self, ttl: impl Into<Timeout>) -> Self {
        self.timeouts.ttl = ttl.into();
        self
    }

    /// Sets the tags of the entry, which [`purge_tags`](CacheHandle::purge_tags) purges. The
    /// producer can [add others](Fill::tag).
    ///
    /// A hit whose tags are all named here costs one round trip in all, and one more if there are
    /// others. The generations of these tags are read before the producer starts, so that a purge
    /// while it runs is not lost: its value is returned, and is missing or stale for later calls.
    ///
    /// If several callers wait for one producer, the tags of the one that has started it count.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use cache_core::{CacheHandle, Fill, Purge, Settings};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// # async fn load(_: u64) -> (String, u64) { ("Ada".into(), 7) }
    /// let user: String = cache
    ///     .fetch("user:42", async |fill: Fill| {
    ///         let (name, team) = load(42).await;
    ///         fill.tag(format!("team:{team}"));
    ///         name
    ///     })
    ///     .tags(["user:42"])
    ///     .await?;
    /// cache.purge_tags(["team:7"], Purge::Hard).await?;
    /// assert_eq!(cache.get::<String>("user:42").await?, None);
    /// # Ok(()) }
    /// ```
    pub fn tags<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.tags = Tags::of(names);
        self
    }

    /// Sets for how long the entry is kept after it has become stale.
    pub fn stale_for(mut self, stale_for: Duration) -> Self {
        self.options.stale_for = stale_for;
        self
    }

    /// Sets for how long the call waits for a new value before it returns the stale one.
    ///
    /// Zero returns the stale value at once. If no stale value exists, this has no effect.
    pub fn soft_timeout(mut self, soft_timeout: Duration) -> Self {
        self.options.soft_timeout = soft_timeout;
        self
    }

    /// Sets for how long the call waits for the producer. The producer then continues.
    ///
    /// Zero does not wait at all: if the value is missing, the call starts the producer and returns
    /// [`FetchError::TimedOut`], or the [default](Self::or_default_on_error) if it has one.
    ///
    /// The time that the store takes for the lookup is not counted.
    ///
    /// The producer holds a [lease](crate::Leases) of the key for this time, but for at least 30
    /// seconds and at most 24 days and 20 hours. If it takes longer, its value is not stored. If
    /// its process is killed, other processes produce without storing until the lease has ended.
    pub fn hard_timeout(mut self, hard_timeout: Duration) -> Self {
        self.options.hard_timeout = hard_timeout;
        self
    }

    /// Sets the last share of the fresh time in which a hit starts a refresh: 0.1 is the last
    /// tenth. Zero turns early refreshes off.
    pub fn early(mut self, share: f64) -> Self {
        self.options.early = share;
        self
    }

    /// Sets the share of the time to live by which the entry may become stale earlier, at random.
    pub fn jitter(mut self, share: f64) -> Self {
        self.options.jitter = share;
        self
    }

    /// Sets for how long nobody tries again after a refresh has failed. If the stale value ends
    /// earlier, the next caller tries again then.
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.options.retry_after = retry_after;
        self
    }

    /// Returns `default` instead of an error of the producer, a timeout or a panic.
    ///
    /// A stale value comes first: the default is returned only if there is none. It is not stored.
    /// Errors of the cache are returned.
    pub fn or_default_on_error(mut self, default: T) -> Self {
        self.default = Some(default);
        self
    }

    /// Returns the value in an `Arc`, like [`get_shared`](CacheHandle::get_shared).
    ///
    /// On a store in this process, a hit returns the object that was produced.
    pub fn shared(self) -> FetchShared<'a, T, E> {
        FetchShared(self)
    }

    async fn run<R>(self) -> Result<R::Output, FetchError<E>>
    where
        R: Returned<Inner = T>,
        T: Send + 'static,
        E: fmt::Debug + Send + Sync + 'static,
    {
        let Self { cache, key, timeouts, options, tags, default, produce } = self;
        let call = Call::<R, E>::new(cache, key, timeouts, options, tags, produce);
        match (call.run().await, default) {
            (Err(error), Some(default)) if !matches!(error, FetchError::Cache(_)) => {
                Ok(R::wrap(default))
            }
            (result, _) => result,
        }
    }
}

impl<T, E> Fetch<'_, Option<T>, E> {
    /// Sets for how long a `None` is fresh: negative caching. The same as other values by default.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use cache_core::{CacheHandle, Settings, Ttl};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// # async fn find(_: u64) -> Option<String> { None }
    /// let user: Option<String> = cache
    ///     .fetch("user:42", async |_| find(42).await)
    ///     .ttl(Duration::from_secs(300))
    ///     .ttl_none(Duration::from_secs(10))
    ///     .await?;
    /// assert_eq!(user, None);
    /// # let Some(Ttl::Left(left)) = cache.ttl("user:42").await? else { panic!("it is stored") };
    /// # assert!(left <= Duration::from_secs(10));
    /// # Ok(()) }
    /// ```
    pub fn ttl_none(mut self, ttl: impl Into<Timeout>) -> Self {
        self.timeouts.special = Some((Option::is_none, ttl.into()));
        self
    }
}

/// How a call returns a `T`.
trait Returned: Form<Inner: Send, Output: Send> + 'static {
    fn wrap(inner: Self::Inner) -> Self::Output;
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Returned for Owned<T> {
    fn wrap(inner: T) -> T {
        inner
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Returned for Shared<T> {
    fn wrap(inner: T) -> Arc<T> {
        Arc::new(inner)
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl<'a, T, E> IntoFuture for Fetch<'a, T, E>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    E: fmt::Debug + Send + Sync + 'static,
{
    type Output = Result<T, FetchError<E>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run::<Owned<T>>())
    }
}

impl<'a, T, E> IntoFuture for FetchShared<'a, T, E>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: fmt::Debug + Send + Sync + 'static,
{
    type Output = Result<Arc<T>, FetchError<E>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.0.run::<Shared<T>>())
    }
}

impl<T, E> fmt::Debug for Fetch<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch")
            .field("cache", &self.cache.alias())
            .field("type", &type_name::<T>())
            .field("ttl", &self.timeouts.ttl)
            .field("options", &self.options)
            .field("tags", &self.tags.names)
            .finish_non_exhaustive()
    }
}

impl<T, E> fmt::Debug for FetchShared<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FetchShared").field(&self.0).finish()
    }
}
