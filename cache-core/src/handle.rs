//! The handle that applications use: typed verbs over any store.
//!
//! rustdoc lists methods by module, in the order below, so `get` and `set` come first.

mod basic;
mod batch;
mod breaker;
mod clear;
mod counters;
mod described;
mod epochs;
#[cfg(feature = "fetch")]
pub(crate) mod fetch;
mod fill;
mod get_or_set;
#[cfg(test)]
mod growth;
mod inspect;
mod key_batch;
mod key_buffer;
mod leases;
mod lock;
mod outage;
mod pauses;
mod shared;
pub mod single_flight;
#[cfg(test)]
mod step_store;
mod tags;
mod update;

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Cache, Clock, Error, ErrorKind, Finding, KeyCheck, OnOutage, Result, Settings, Stats, Timeout,
    Undecodable, Value, Version,
    codec::{self, Codecs},
    key::{Composer, ShortKey, shown},
    observe::{Observed, Observer, UNDECODABLE},
    timeout::Lifetime,
};
#[cfg(feature = "fetch")]
use crate::{FillOptions, TagOptions};
use breaker::Breaker;
use clear::ClearGeneration;
use described::BoxFuture;
use epochs::Epochs;
#[cfg(feature = "fetch")]
use fetch::Fetches;
use fill::Fills;
pub use inspect::{Freshness, InspectedEntry, InspectedTag, Inspection, Keys, TagState};
use key_buffer::KeyBuffer;
use leases::{HeldLeases, LocalLeases, Write, Written};
pub use lock::{Lock, LockGuard};
use outage::OutageLog;

/// A handle to one cache: a store, a KEY_PREFIX, a VERSION, a default TIMEOUT and a codec.
///
/// The verbs are those of [Django's low-level
/// API](https://docs.djangoproject.com/en/5.2/topics/cache/#the-low-level-cache-api), for any type
/// that implements serde's traits. Most applications get handles from the `Caches` of the crate
/// `cachette`.
///
/// A clone costs two reference counts and shares the store.
///
/// # Examples
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use cache_core::{CacheHandle, Result, Settings, Timeout};
/// # use cache_locmem::LocMemCache;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let store = Arc::new(LocMemCache::default());
/// let cache = CacheHandle::new("default", store, Settings::default());
///
/// cache.set("greeting", "hello", Timeout::Default).await?;
/// cache.set("visits", &41, Duration::from_secs(30)).await?;
///
/// assert_eq!(cache.get("greeting").await?, Some(String::from("hello")));
/// assert_eq!(cache.get::<String>("farewell").await?, None);
/// assert_eq!(cache.incr("visits", 1).await?, 42);
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// A miss is not an error. Every verb returns
///
/// - [`ErrorKind::InvalidKey`] if the store cannot accept the key, or if the key breaks Django's
///   rule and the alias has `key_check = "error"`. Nothing was read or written.
/// - [`ErrorKind::Unavailable`] if the store cannot be reached, unless the alias has `on_outage =
///   "miss"` ([`OnOutage::Miss`]). The verbs that produce missing values return what they produced,
///   unless the alias has `on_outage = "error"`.
/// - [`ErrorKind::Backend`] if the store reports any other error.
///
/// Verbs that store also return [`ErrorKind::Encode`], [`ErrorKind::TooLarge`], and
/// [`ErrorKind::StorageFull`] if the memory or the disk of the store is used up. Verbs that read
/// also return [`ErrorKind::Decode`], if the alias has `undecodable = "error"`. All errors name the
/// alias and the store.
///
/// # Cancel safety
///
/// A verb can be dropped at any await. The operation of the store then has happened completely or
/// not at all. Verbs of several operations, such as [`get_or_set`](Self::get_or_set) and
/// [`incr_version`](Self::incr_version), may stop between two of them.
#[derive(Clone)]
pub struct CacheHandle {
    store: Arc<dyn Cache>,
    view: Arc<View>,
}

/// All settings of a handle. Handles derived from one share the counter, the log, the breaker, the
/// fills, the epochs and the leases.
#[derive(Clone, Debug)]
struct View {
    alias: Arc<str>,
    composer: Composer,
    /// What `clear` replaces, and keys contain. `None` unless the alias is configured so.
    generation: Option<Arc<ClearGeneration>>,
    default_timeout: Timeout,
    key_check: KeyCheck,
    codecs: Codecs,
    undecodable: Undecodable,
    undecodable_seen: Arc<AtomicU64>,
    clock: Clock,
    on_outage: OnOutage,
    outage_log: Arc<OutageLog>,
    breaker: Arc<Breaker>,
    patience: Duration,
    fills: Arc<Fills>,
    epochs: Arc<Epochs>,
    local_leases: Arc<LocalLeases>,
    held_leases: Arc<HeldLeases>,
    observer: Option<Arc<Observer>>,
    #[cfg(feature = "fetch")]
    fill: FillOptions,
    #[cfg(feature = "fetch")]
    tags: TagOptions,
    #[cfg(feature = "fetch")]
    fetches: Arc<Fetches>,
}

/// The result of a lookup.
///
/// Verbs that read treat a stale, purged or undecodable entry as a miss, but `get_or_set` must
/// replace it.
enum Found<T> {
    Hit(T),
    /// The entry is past its fresh time, or one of its tags was purged softly. In a box, so that a
    /// hit is small.
    Stale(Box<Value>),
    /// The entry cannot be decoded, or one of its tags was purged.
    Undecodable,
    Miss,
}

/// A composed key and its value, which may be returned when it has been decoded.
type FreshEntry = (KeyBuffer, Value);

/// A lookup that has not hit at once.
///
/// It is small, because it is a part of the futures of all verbs that read.
enum NoHit<'a> {
    /// The generation of the key must be read before anything.
    Unlearned(&'a str),
    /// The store must be asked and awaited.
    Unasked(KeyBuffer),
    /// The generations of the tags of the entry must be read.
    Judging(BoxFuture<'a, Found<FreshEntry>>),
    /// Nothing is left to do.
    Ended(Result<Found<Infallible>>),
}

/// A value that was not stored at once.
enum NotStored {
    /// The key must be composed into a buffer.
    NoShortKey(Value),
    /// Something has to be awaited.
    Declined(Value),
}

impl<T> Found<T> {
    fn hit(self) -> Option<T> {
        match self {
            Self::Hit(value) => Some(value),
            Self::Stale(_) | Self::Undecodable | Self::Miss => None,
        }
    }
}

impl Found<Infallible> {
    fn no_hit<T>(self) -> Found<T> {
        match self {
            Self::Stale(value) => Found::Stale(value),
            Self::Undecodable => Found::Undecodable,
            Self::Miss => Found::Miss,
        }
    }
}

/// Operations on the store as a whole.
impl CacheHandle {
    /// Returns statistics of the *store*, as far as it has any.
    ///
    /// # Errors
    ///
    /// See [Errors](CacheHandle#errors).
    pub async fn stats(&self) -> Result<Stats> {
        self.inner().stats().await.map_err(|error| self.at(error))
    }

    /// Examines the *store* and its servers, and returns what an operator should know.
    ///
    /// Changes no entries, and may take seconds. Empty if there is nothing to report, or if the
    /// store does not examine itself. See [`Cache::diagnose`].
    ///
    /// # Errors
    ///
    /// See [Errors](CacheHandle#errors).
    pub async fn diagnose(&self) -> Result<Vec<Finding>> {
        self.inner().diagnose().await.map_err(|error| self.at(error))
    }

    /// Removes up to about `max` expired entries of the *store* and returns how many it removed.
    ///
    /// Fewer than `max` means that no more are left. Returns `None` if the store or its server
    /// removes expired entries by itself.
    ///
    /// # Errors
    ///
    /// See [Errors](CacheHandle#errors).
    pub async fn purge_expired(&self, max: u64) -> Result<Option<u64>> {
        self.inner().purge_expired(max).await.map_err(|error| self.at(error))
    }

    /// Closes the connections and files of the store. The next verb opens them again.
    ///
    /// # Errors
    ///
    /// See [Errors](CacheHandle#errors).
    pub async fn close(&self) -> Result<()> {
        self.inner().close().await.map_err(|error| self.at(error))
    }
}

/// Creating and inspecting handles.
impl CacheHandle {
    /// Creates a handle on `store`.
    #[must_use]
    pub fn new(alias: &str, store: Arc<dyn Cache>, settings: Settings) -> Self {
        let composer = Composer::new(settings.key_function, &settings.key_prefix, settings.version);
        let local_leases =
            LocalLeases::new(&store, Clock::default(), composer.clone(), settings.share);
        let view = View {
            alias: alias.into(),
            generation: ClearGeneration::new(settings.clear, &composer, &Clock::default()),
            composer,
            default_timeout: settings.timeout,
            key_check: settings.key_check,
            codecs: Codecs { encode: settings.codec, also_decode: settings.also_decode.into() },
            undecodable: settings.undecodable,
            undecodable_seen: Arc::default(),
            clock: Clock::default(),
            on_outage: settings.on_outage,
            outage_log: Arc::default(),
            breaker: Arc::default(),
            patience: settings.patience,
            fills: Arc::new(Fills::new(Clock::default())),
            epochs: Arc::default(),
            held_leases: Arc::new(HeldLeases::new(local_leases.end_on_drop())),
            local_leases: Arc::new(local_leases),
            observer: observer_of(&store),
            #[cfg(feature = "fetch")]
            fill: settings.fill,
            #[cfg(feature = "fetch")]
            tags: settings.tags,
            #[cfg(feature = "fetch")]
            fetches: Arc::new(Fetches::new(Clock::default())),
        };
        Self { store, view: Arc::new(view) }
    }

    /// Returns a handle to the same cache at another version.
    ///
    /// Django passes a version to each call instead.
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
    /// cache.version(2).set("greeting", "hello", Timeout::Default).await?;
    /// assert!(!cache.contains("greeting").await?);
    /// assert!(cache.version(2).contains("greeting").await?);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn version(&self, version: impl Into<Version>) -> Self {
        let mut view = View::clone(&self.view);
        view.composer = view.composer.with_version(version.into());
        Self { store: Arc::clone(&self.store), view: Arc::new(view) }
    }

    /// Returns a handle to the same cache that treats undecodable entries differently.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, ErrorKind, Result, Settings, Timeout, Undecodable};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// cache.set("greeting", "hello", Timeout::Default).await?;
    /// assert_eq!(cache.get::<bool>("greeting").await?, None);
    /// let strict = cache.with_undecodable(Undecodable::Error);
    /// assert_eq!(strict.get::<bool>("greeting").await.unwrap_err().kind(), ErrorKind::Decode);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_undecodable(&self, undecodable: Undecodable) -> Self {
        let view = View { undecodable, ..View::clone(&self.view) };
        Self { store: Arc::clone(&self.store), view: Arc::new(view) }
    }

    /// Returns a handle to the same cache with another clock.
    ///
    /// Entries expire by the clock of their store. This one is for what is built on a cache and
    /// measures time itself, such as the age of pages. `Caches` are built with one clock for their
    /// stores and their handles, so that a test sets the time once.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use cache_core::{CacheHandle, ManualClock, Settings};
    /// # use cache_locmem::{LocMemCache, LocMemOptions};
    /// let time = ManualClock::new();
    /// let store = LocMemCache::with_clock(LocMemOptions::default(), time.clock())?;
    /// let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
    /// let cache = cache.with_clock(time.clock());
    ///
    /// let start = cache.clock().now();
    /// time.advance(Duration::from_secs(60));
    /// assert_eq!(cache.clock().now().since(start), Duration::from_secs(60));
    /// # Ok::<(), cache_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_clock(&self, clock: Clock) -> Self {
        self.separate(Arc::clone(&self.store), clock)
    }

    /// Returns a handle to the same cache that treats outages of the store differently.
    ///
    /// Code that must know whether its `delete` was executed can ask for errors, whatever the alias
    /// is configured to do.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, OnOutage, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let settings = Settings { on_outage: OnOutage::Miss, ..Settings::default() };
    /// # let cache = CacheHandle::new("default", store, settings);
    /// cache.with_on_outage(OnOutage::Error).delete("session:7").await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_on_outage(&self, on_outage: OnOutage) -> Self {
        let view = View { on_outage, ..View::clone(&self.view) };
        Self { store: Arc::clone(&self.store), view: Arc::new(view) }
    }

    /// Returns a handle with the same settings on another store, such as a wrapper of its own
    /// store.
    ///
    /// To wrap the stores of a whole configuration, use the builder of `Caches` instead.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{Cache, CacheHandle, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # fn count(store: Arc<dyn Cache>) -> Arc<dyn Cache> { store }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// let counted = cache.with_store(count(Arc::clone(cache.store())));
    /// counted.set("greeting", "hello", Timeout::Default).await?;
    /// assert!(cache.contains("greeting").await?);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_store(&self, store: Arc<dyn Cache>) -> Self {
        self.separate(store, self.view.clock.clone())
    }

    /// Returns the alias under which the cache is configured.
    #[must_use]
    pub fn alias(&self) -> &str {
        &self.view.alias
    }

    /// Returns the KEY_PREFIX.
    #[must_use]
    pub fn key_prefix(&self) -> &str {
        self.view.composer.prefix()
    }

    /// Returns the VERSION of this handle.
    #[must_use]
    pub fn current_version(&self) -> &Version {
        self.view.composer.version()
    }

    /// Returns the TIMEOUT. [`Timeout::Default`] here means 300 seconds.
    #[must_use]
    pub fn default_timeout(&self) -> Timeout {
        self.view.default_timeout
    }

    /// Returns the clock of this handle, the system clock by default.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.view.clock
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Cache> {
        &self.store
    }

    /// Returns the key that the store receives, for example to find an entry on a server.
    ///
    /// With [`Clear::Generation`], the key contains the generation that this handle has used last.
    /// Before the first operation it is not known: [`inspect`](Self::inspect) reads it.
    ///
    /// [`Clear::Generation`]: crate::Clear::Generation
    #[must_use]
    pub fn composed_key(&self, key: &str) -> String {
        self.compose_in(self.key_generation(), key).to_owned()
    }

    /// Returns the composed key of the record of a tag, which all versions share.
    #[doc(hidden)]
    #[must_use]
    pub fn tag_record(&self, tag: &str) -> String {
        self.view.composer.record(&format!("tag:{tag}"))
    }

    /// Returns how many undecodable entries this handle has read, together with its clones and the
    /// handles derived from it.
    ///
    /// The metric `cachette_undecodable_total` has the same count by alias.
    #[must_use]
    pub fn undecodable_seen(&self) -> u64 {
        self.view.undecodable_seen.load(Ordering::Relaxed)
    }

    /// Returns a handle that shares no state which belongs to a store or measures time.
    fn separate(&self, store: Arc<dyn Cache>, clock: Clock) -> Self {
        let local_leases = self.view.local_leases.separate(&store, clock.clone());
        let view = View {
            generation: ClearGeneration::new(self.clears(), &self.view.composer, &clock),
            fills: Arc::new(Fills::new(clock.clone())),
            epochs: Arc::default(),
            breaker: Arc::default(),
            held_leases: Arc::new(HeldLeases::new(local_leases.end_on_drop())),
            local_leases: Arc::new(local_leases),
            observer: observer_of(&store),
            #[cfg(feature = "fetch")]
            fetches: Arc::new(Fetches::new(clock.clone())),
            clock,
            ..View::clone(&self.view)
        };
        Self { store, view: Arc::new(view) }
    }

    /// Returns the store itself. A verb on the `Arc` would call `impl Cache for Arc`, an extra
    /// call.
    fn inner(&self) -> &dyn Cache {
        &*self.store
    }

    /// Looks a key up in a store that replies at once.
    ///
    /// Every verb that reads calls this before it awaits anything: even a future that is ready
    /// costs a tenth of a hit in memory.
    #[inline]
    fn hit_now<'a, T>(&'a self, key: &'a str) -> Result<T, NoHit<'a>>
    where
        T: DeserializeOwned + 'static,
    {
        let value = self.look_up_now(key)?;
        let value = self.if_fresh_now(key, value)?;
        codec::decode(value, &self.view.codecs)
            .map_err(|error| NoHit::Ended(self.undecodable(&self.composed_again(key), error)))
    }

    /// Returns the entry of a store that replies at once. It may be stale.
    ///
    /// Always inlined, so that the entry is not moved once more: that costs a twentieth of a hit.
    #[inline(always)]
    fn look_up_now<'a>(&'a self, key: &'a str) -> Result<Value, NoHit<'a>> {
        let mut short = ShortKey::new();
        if !self.compose_short(key, &mut short) {
            return self.look_up_any_now(key);
        }
        match self.inner().get_now(&short) {
            Some(found) => if_found(found),
            None => Err(NoHit::Unasked(self.composed_again(key))),
        }
    }

    /// Like [`look_up_now`](Self::look_up_now), for keys that are not short and simple.
    fn look_up_any_now<'a>(&'a self, key: &'a str) -> Result<Value, NoHit<'a>> {
        if self.must_learn() {
            return Err(NoHit::Unlearned(key));
        }
        let key = self.key(key).map_err(|error| NoHit::Ended(Err(error)))?;
        match self.inner().get_now(&key) {
            Some(found) => if_found(found),
            None => Err(NoHit::Unasked(key)),
        }
    }

    /// Composes a key on the stack if it is short, surely keeps Django's rule and is in no
    /// generation. Returns `false` for others.
    #[inline]
    fn compose_short(&self, key: &str, out: &mut ShortKey) -> bool {
        self.view.generation.is_none() && self.view.composer.compose_short(key, out)
    }

    /// Composes a key that was checked before. Its generation may be a newer one.
    #[inline(never)]
    fn composed_again(&self, key: &str) -> KeyBuffer {
        self.compose_in(self.key_generation(), key)
    }

    /// Like [`if_fresh`](Self::if_fresh), for a key that is not composed.
    #[inline]
    fn if_fresh_now<'a>(&'a self, key: &str, value: Value) -> Result<Value, NoHit<'a>> {
        if !codec::has_meta(&value) {
            return Ok(value);
        }
        self.if_judged_fresh(self.composed_again(key), value).map(|(_, value)| value)
    }

    /// Returns an entry that is known to be fresh.
    #[inline]
    fn if_fresh(&self, key: KeyBuffer, value: Value) -> Result<FreshEntry, NoHit<'_>> {
        if codec::has_meta(&value) { self.if_judged_fresh(key, value) } else { Ok((key, value)) }
    }

    /// Ends a lookup. Errors of the store are returned as they are.
    async fn find(&self, mut no_hit: NoHit<'_>) -> Result<Found<FreshEntry>> {
        loop {
            no_hit = match no_hit {
                NoHit::Unlearned(key) => {
                    self.learn().await?;
                    NoHit::Unasked(self.key(key)?)
                }
                NoHit::Unasked(key) => {
                    let Some(value) = self.inner().get(&key).await? else {
                        return Ok(Found::Miss);
                    };
                    match self.if_fresh(key, value) {
                        Ok(entry) => return Ok(Found::Hit(entry)),
                        Err(no_hit) => no_hit,
                    }
                }
                NoHit::Judging(judging) => return judging.await,
                NoHit::Ended(ended) => return ended.map(Found::no_hit),
            };
        }
    }

    /// Decodes what [`find`](Self::find) has found.
    fn decode_found<T>(
        &self,
        found: Result<Found<FreshEntry>>,
        decode: impl FnOnce(Value, &Codecs) -> Result<T>,
    ) -> Result<Found<T>> {
        match found? {
            Found::Hit((key, value)) => decode(value, &self.view.codecs)
                .map(Found::Hit)
                .or_else(|error| self.undecodable(&key, error)),
            Found::Stale(value) => Ok(Found::Stale(value)),
            Found::Undecodable => Ok(Found::Undecodable),
            Found::Miss => Ok(Found::Miss),
        }
    }

    /// Stores a value if the store does it at once and the key is short.
    ///
    /// Verbs call this before [`put_later`](Self::put_later) for the same reason as
    /// [`hit_now`](Self::hit_now).
    #[inline]
    fn put_short_now(
        &self,
        key: &str,
        value: Value,
        timeout: Timeout,
    ) -> Result<Result<()>, NotStored> {
        let mut short = ShortKey::new();
        if !self.compose_short(key, &mut short) {
            return Err(NotStored::NoShortKey(value));
        }
        let mut write = self.write(Written::Key(&short));
        self.put_now(&write, &short, value, timeout).map_err(|value| {
            write.wrote_nothing();
            NotStored::Declined(value)
        })
    }

    /// Stores what [`put_short_now`](Self::put_short_now) has not stored.
    async fn put_later(&self, key: &str, not_stored: NotStored, timeout: Timeout) -> Result<()> {
        match not_stored {
            NotStored::Declined(value) => {
                let key = self.composed_again(key);
                self.put_after(&self.write(Written::Key(&key)), &key, value, timeout).await
            }
            NotStored::NoShortKey(value) => {
                if self.must_learn() && !self.learned().await? {
                    return Ok(());
                }
                self.put(&self.key(key)?, value, timeout).await
            }
        }
    }

    /// Stores a value under a composed key. During an outage, does nothing if the alias is
    /// configured so.
    async fn put(&self, key: &str, value: Value, timeout: Timeout) -> Result<()> {
        let write = self.write(Written::Key(key));
        match self.put_now(&write, key, value, timeout) {
            Ok(stored) => stored,
            Err(value) => self.put_after(&write, key, value, timeout).await,
        }
    }

    /// Like [`put`](Self::put), but returns the value if something has to be awaited.
    ///
    /// Verbs call this first for the same reason as [`hit_now`](Self::hit_now).
    fn put_now(
        &self,
        write: &Write<'_>,
        key: &str,
        value: Value,
        timeout: Timeout,
    ) -> Result<Result<()>, Value> {
        let ttl = match self.lifetime(timeout) {
            _ if write.must_begin() => return Err(value),
            Lifetime::Expired => return Err(value),
            Lifetime::For(ttl) => Some(ttl),
            Lifetime::Forever => None,
        };
        let stored = self.inner().set_now(key, value, ttl)?;
        Ok(self.unless_outage(stored, || ()))
    }

    /// Stores what [`put_now`](Self::put_now) has returned.
    async fn put_after(
        &self,
        write: &Write<'_>,
        key: &str,
        value: Value,
        timeout: Timeout,
    ) -> Result<()> {
        if write.must_begin() {
            write.begin().await;
        }
        let stored = match self.lifetime(timeout) {
            Lifetime::Expired => self.inner().delete(key).await.map(drop),
            Lifetime::For(ttl) => self.inner().set(key, value, Some(ttl)).await,
            Lifetime::Forever => self.inner().set(key, value, None).await,
        };
        self.unless_outage(stored, || ())
    }

    /// Stores a value under a composed key if there is none.
    async fn put_new(&self, key: &str, value: Value, timeout: Timeout) -> Result<bool> {
        let mut write = self.write(Written::Key(key));
        if write.must_begin() {
            write.begin().await;
        }
        let added = match self.lifetime(timeout) {
            Lifetime::Expired => self.inner().contains(key).await.map(|exists| !exists),
            Lifetime::For(ttl) => self.inner().add(key, value, Some(ttl)).await,
            Lifetime::Forever => self.inner().add(key, value, None).await,
        };
        if let Ok(false) = added {
            write.wrote_nothing();
        }
        self.unless_outage(added, || false)
    }

    /// Composes a key and checks it. A verb that [must learn](Self::must_learn) does so before.
    #[inline]
    fn key(&self, key: &str) -> Result<KeyBuffer> {
        self.key_in(self.key_generation(), key)
    }

    /// Composes a key in this generation, or without one, and checks it.
    #[inline]
    fn key_in(&self, generation: Option<u64>, key: &str) -> Result<KeyBuffer> {
        if generation.is_some() {
            let composed = self.compose_in(generation, key);
            return self.check_key(&composed).map(|()| composed);
        }
        let composed = KeyBuffer::compose(&self.view.composer, key);
        if !self.view.composer.surely_keeps_the_rule(key) {
            self.check_key(&composed)?;
        }
        Ok(composed)
    }

    fn check_key(&self, composed: &str) -> Result<()> {
        self.view.key_check.apply(composed).map_err(|error| self.at(error))
    }

    #[inline(never)]
    fn compose_in(&self, generation: Option<u64>, key: &str) -> KeyBuffer {
        let composer = &self.view.composer;
        match generation {
            None => KeyBuffer::compose(composer, key),
            Some(number) => KeyBuffer::compose(&composer.in_generation(number), key),
        }
    }

    fn lifetime(&self, timeout: Timeout) -> Lifetime {
        Lifetime::of(timeout, self.view.default_timeout)
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Value> {
        codec::encode(value, self.view.codecs.encode).map_err(|error| self.at(error))
    }

    /// Decodes an entry that is fresh: one that [has meta](codec::has_meta) was
    /// [judged](Self::judge).
    #[inline]
    fn decode<T: DeserializeOwned + 'static>(
        &self,
        composed: &str,
        value: Value,
    ) -> Result<Found<T>> {
        codec::decode(value, &self.view.codecs)
            .map(Found::Hit)
            .or_else(|error| self.undecodable(composed, error))
    }

    #[cold]
    fn undecodable<T>(&self, composed: &str, error: Error) -> Result<Found<T>> {
        self.view.undecodable_seen.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(UNDECODABLE, "cache" => self.view.alias.to_string()).increment(1);
        match self.view.undecodable {
            Undecodable::Miss => {
                tracing::warn!(
                    cache = self.alias(),
                    key = %shown(composed),
                    error = format_args!("{error:#}"),
                    "undecodable entry treated as a miss"
                );
                Ok(Found::Undecodable)
            }
            Undecodable::Error => {
                let message = format!("cannot decode the entry {}", shown(composed));
                Err(self.at(Error::new(ErrorKind::Decode, message).with_source(error)))
            }
        }
    }

    /// Returns the result of the store. During an outage, returns `absent` if the alias is
    /// configured so.
    fn unless_outage<T>(&self, result: Result<T>, absent: impl FnOnce() -> T) -> Result<T> {
        result.or_else(|error| self.hide_outage(self.at(error)).map(|()| absent()))
    }

    /// Returns `Ok` if the error is to be treated as a miss.
    #[cold]
    fn hide_outage(&self, error: Error) -> Result<()> {
        if self.view.on_outage != OnOutage::Miss || !outage::is_outage(&error) {
            return Err(error);
        }
        self.view.outage_log.record(self.alias(), &error);
        Ok(())
    }

    /// Returns the store if it is observed. Another wrapper around it must not be left out.
    fn observed(&self) -> Option<&Observed> {
        (self.inner() as &dyn std::any::Any).downcast_ref()
    }

    /// Adds the alias and the store to an error.
    #[cold]
    fn at(&self, error: Error) -> Error {
        error.in_store(self.inner().name()).in_cache(self.alias())
    }
}

/// Converts what a store has replied at once.
///
/// Always inlined, like [`look_up_now`](CacheHandle::look_up_now).
#[inline(always)]
fn if_found<'a>(found: Result<Option<Value>>) -> Result<Value, NoHit<'a>> {
    match found {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(NoHit::Ended(Ok(Found::Miss))),
        Err(error) => Err(NoHit::Ended(Err(error))),
    }
}

/// What reports about the alias, if its store is observed.
fn observer_of(store: &Arc<dyn Cache>) -> Option<Arc<Observer>> {
    let observed: Option<&Observed> = store.downcast_ref();
    observed.map(|observed| Arc::clone(observed.observer()))
}

impl fmt::Debug for CacheHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheHandle")
            .field("alias", &self.alias())
            .field("store", &self.inner().name())
            .field("key_prefix", &self.key_prefix())
            .field("version", self.current_version())
            .finish_non_exhaustive()
    }
}
