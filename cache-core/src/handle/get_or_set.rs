//! Verbs that produce missing values.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Found,
    fill::{Begun, Missing, Owned, Shared},
};
use crate::{CacheHandle, Result, Timeout, codec};

/// Producing missing values.
impl CacheHandle {
    /// Returns the value stored under `key`. On a miss, calls `produce`, stores its result and
    /// returns it.
    ///
    /// As in Django, a stored `None` is a hit, and if another caller stores a value while `produce`
    /// runs, that value is returned. An entry that cannot be decoded as a `T` is replaced.
    ///
    /// The value has no [tags](Self::purge_tags). To give it some, use `fetch` of the feature of
    /// that name: `cache.fetch(key, produce).tags(["user:42"])`.
    ///
    /// # Single flight
    ///
    /// If several callers of this process miss the same key at once, one of them, the leader, calls
    /// its `produce`. The others wait and get a copy of what the leader has stored.
    ///
    /// | what happens | what the waiting callers do |
    /// |---|---|
    /// | the future of the leader is dropped, or its `produce` panics | exactly one calls its own `produce` |
    /// | `produce` of [`try_get_or_set`](Self::try_get_or_set) fails, or the value cannot be encoded | the same; those that have waited for two failures get [`ErrorKind::FillFailed`] |
    /// | the leader takes longer than the [`patience`] of the alias, 5 seconds by default | exactly one calls its own `produce` as well; the first value counts |
    ///
    /// If `produce` itself asks for the same key, also with `fetch` or for another type, the inner
    /// call produces without waiting. This is not detected if it does so in a spawned task, or if
    /// the producers of two keys ask for each other's key: the patience of the callers ends that.
    /// It may also [`update`](Self::update) its own key, which is a write like any other.
    ///
    /// A panic of `produce`, or of the `Serialize` of its value, counts as a failure as well.
    /// Callers wait for each other if they use one handle, its clones, or handles derived from it
    /// by [`version`](Self::version) and the like, and if they request the same type `T`. While a
    /// task of `fetch` produces, they look for its value like callers of another process, see
    /// [below](#leases).
    ///
    /// A caller that begins after a write of the key through one of these handles has returned does
    /// not wait for a `produce` that began before the write. It calls its own, and later callers
    /// wait for that. The callers from before the write finish among themselves.
    ///
    /// # Stale entries
    ///
    /// An entry that `fetch` has stored is stale when its time to live has ended, until its
    /// `stale_for` has passed as well. One caller of `get_or_set` leads and replaces it. All
    /// others, in this process and in others, get the stale value at once. If the `produce` of
    /// [`try_get_or_set`](Self::try_get_or_set) fails, its caller gets the stale value as well,
    /// unless that was deleted meanwhile; the failure is logged, and the next caller tries again.
    ///
    /// What `get_or_set` stores is never stale. It is missing when its timeout has passed.
    ///
    /// # Leases
    ///
    /// The leader holds a [lease](crate::Leases) of the key for up to 30 seconds. On a store with
    /// leases, which are all stores of cachette, this holds for all processes and aliases that use
    /// the store:
    ///
    /// - If `set`, `add`, `incr`, `delete` or `clear` writes the key while `produce` runs, the
    ///   value that was produced is not stored, as it may be older than the write. The caller gets
    ///   the value that is stored then, or else its own.
    /// - Callers of other processes wait for the value. After the patience, they produce without a
    ///   lease: their values are returned and not stored.
    /// - A `produce` that takes longer than the lease loses it, and its value is not stored.
    ///
    /// The metric `cachette_fills_lost_total` counts values that were not stored.
    ///
    /// What is not guaranteed: a caller that begins after a write of another process, or of another
    /// handle, may wait for a `produce` that began before the write. If the store has no leases, or
    /// with [`Share::Process`](crate::Share::Process), only writes of this handle, its clones and
    /// the handles derived from it are noticed. A restart of a server ends its leases, so two
    /// callers may produce. If a caller is dropped while it acquires or holds a lease, the next
    /// caller of this process ends the lease, but other processes wait for it until their patience
    /// has passed. Leases end by the clock of the store.
    ///
    /// [`patience`]: crate::Settings::patience
    /// [`ErrorKind::FillFailed`]: crate::ErrorKind::FillFailed
    ///
    /// # Performance
    ///
    /// A hit costs the same as [`get`](Self::get). On a miss, the leader acquires a lease, which
    /// looks the key up once more, and stores the value: three round trips to a store with leases.
    /// A store without leases needs two more, unless the alias has `share = "process"`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// # async fn render() -> String { "<html>".into() }
    /// let page: String =
    ///     cache.get_or_set("page:/", Timeout::Default, async || render().await).await?;
    /// # assert_eq!(page, "<html>");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get) and [`add`](Self::add), and [`ErrorKind::FillFailed`] as
    /// described above. While the store is unavailable, returns what `produce` returned, unless the
    /// alias has `on_outage = "error"`; see [`OnOutage`](crate::OnOutage).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while `produce` runs, `produce` is dropped as well and nothing is
    /// stored. Another caller that waits for the value then produces it.
    pub async fn get_or_set<T, F>(
        &self,
        key: &str,
        timeout: impl Into<Timeout>,
        produce: impl FnOnce() -> F,
    ) -> Result<T>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Future<Output = T>,
    {
        let missing = match self.may_read(key) {
            true => {
                let found = match self.hit_now(key) {
                    Ok(value) => Ok(Found::Hit(value)),
                    Err(no_hit) => self.decode_found(self.find(no_hit).await, codec::decode),
                };
                match found {
                    Ok(Found::Hit(value)) => {
                        self.has_read(key);
                        return Ok(value);
                    }
                    other => self.missing(key, other)?,
                }
            }
            false => Missing::Unknown,
        };
        // In boxes, so that the future of a hit stays small.
        let begin = self.begin_fill::<Owned<T>>(key, timeout.into(), missing);
        let (production, value) = match Box::pin(begin).await? {
            Begun::Done(value) => return Ok(value),
            Begun::Produce(production) => production.run(produce).await,
        };
        Box::pin(production.finish::<Owned<T>>(value)).await
    }

    /// Like [`get_or_set`](Self::get_or_set), for a `produce` that can fail.
    ///
    /// The outer result is that of the cache, the inner one that of `produce`. If `produce` fails,
    /// its error is returned unchanged and nothing is stored. One of the callers that wait then
    /// calls its own `produce`, so a database that fails is asked by one caller at a time. If there
    /// is a stale value, as described at [`get_or_set`](Self::get_or_set), that is returned instead
    /// of the error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// let parse = async |text: &str| text.parse::<u32>();
    ///
    /// let failed = cache.try_get_or_set("n", Timeout::Default, || parse("12x")).await?;
    /// assert!(failed.is_err());
    /// assert!(!cache.contains("n").await?);
    ///
    /// let number = cache.try_get_or_set("n", Timeout::Default, || parse("12")).await??;
    /// assert_eq!(number, 12);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`get_or_set`](Self::get_or_set).
    pub async fn try_get_or_set<T, E, F>(
        &self,
        key: &str,
        timeout: impl Into<Timeout>,
        produce: impl FnOnce() -> F,
    ) -> Result<Result<T, E>>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let missing = match self.may_read(key) {
            true => {
                let found = match self.hit_now(key) {
                    Ok(value) => Ok(Found::Hit(value)),
                    Err(no_hit) => self.decode_found(self.find(no_hit).await, codec::decode),
                };
                match found {
                    Ok(Found::Hit(value)) => {
                        self.has_read(key);
                        return Ok(Ok(value));
                    }
                    other => self.missing(key, other)?,
                }
            }
            false => Missing::Unknown,
        };
        let begin = self.begin_fill::<Owned<T>>(key, timeout.into(), missing);
        let (production, produced) = match Box::pin(begin).await? {
            Begun::Done(value) => return Ok(Ok(value)),
            Begun::Produce(production) => production.run(produce).await,
        };
        match produced {
            Ok(value) => Box::pin(production.finish::<Owned<T>>(value)).await.map(Ok),
            Err(error) => Ok(Box::pin(production.give_up::<Owned<T>>()).await.ok_or(error)),
        }
    }

    /// Like [`get_or_set`](Self::get_or_set), but returns the value in an `Arc` like
    /// [`get_shared`](Self::get_shared).
    ///
    /// On a store in this process, a hit returns the object that was produced.
    ///
    /// # Errors
    ///
    /// Same as [`get_or_set`](Self::get_or_set).
    pub async fn get_or_set_shared<T, F>(
        &self,
        key: &str,
        timeout: impl Into<Timeout>,
        produce: impl FnOnce() -> F,
    ) -> Result<Arc<T>>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        F: Future<Output = T>,
    {
        let missing = match self.may_read(key) {
            true => {
                let found = match self.shared_hit_now(key) {
                    Ok(object) => Ok(Found::Hit(object)),
                    Err(no_hit) => self.decode_found(self.find(no_hit).await, codec::decode_shared),
                };
                match found {
                    Ok(Found::Hit(object)) => {
                        self.has_read(key);
                        return Ok(object);
                    }
                    other => self.missing(key, other)?,
                }
            }
            false => Missing::Unknown,
        };
        let begin = self.begin_fill::<Shared<T>>(key, timeout.into(), missing);
        let (production, value) = match Box::pin(begin).await? {
            Begun::Done(object) => return Ok(object),
            Begun::Produce(production) => production.run(produce).await,
        };
        Box::pin(production.finish::<Shared<T>>(Arc::new(value))).await
    }
}
