//! What an application holds: typed verbs over any store.

mod count;
mod key_buffer;
mod many;
mod object;
mod produce;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Cache, Codec, Error, ErrorKind, KeyCheck, Result, Settings, Stats, Timeout, Ttl, Undecodable,
    Value, Version, codec,
    key::{Composer, shown},
    timeout::Lifetime,
};
use key_buffer::KeyBuffer;

/// A cache as an application uses it: a store, seen through a KEY_PREFIX, a VERSION, a default TIMEOUT and a codec.
///
/// Cloning it costs two reference counts; all clones share the store. Its verbs are those of
/// [Django's low-level API](https://docs.djangoproject.com/en/5.2/topics/cache/#the-low-level-cache-api), for any type
/// that serde knows.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use cache_core::{CacheHandle, Result, Settings, Timeout};
/// # use cache_locmem::LocMemCache;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
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
/// Besides what a verb names for itself, every verb fails with
/// - [`ErrorKind::InvalidKey`] where the key breaks Django's rule and the alias says `key_check = "error"`, or where the
///   store cannot take it; nothing was read or written then;
/// - [`ErrorKind::Unavailable`] where the store cannot be reached;
/// - [`ErrorKind::Backend`] where it reports anything else;
///
/// every verb that stores, with [`ErrorKind::Encode`] and [`ErrorKind::TooLarge`]; and every verb that reads, with
/// [`ErrorKind::Decode`] where the alias says `undecodable = "error"`. Every error names the alias and the store.
#[derive(Clone)]
pub struct CacheHandle {
    store: Arc<dyn Cache>,
    view: Arc<View>,
}

/// All that is not the store. Views of other versions share none of it but the count.
#[derive(Clone, Debug)]
struct View {
    alias: Arc<str>,
    composer: Composer,
    default_timeout: Timeout,
    key_check: KeyCheck,
    codec: Codec,
    undecodable: Undecodable,
    undecodable_seen: Arc<AtomicU64>,
}

/// What a look-up met. Callers that only read take an entry that does not read for a miss; but its key is taken.
enum Found<T> {
    Hit(T),
    Unreadable,
    Miss,
}

impl<T> Found<T> {
    fn hit(self) -> Option<T> {
        match self {
            Self::Hit(value) => Some(value),
            Self::Unreadable | Self::Miss => None,
        }
    }
}

impl CacheHandle {
    /// A handle on `store`. Most applications get theirs from the `Caches` of the crate `cachette`.
    #[must_use]
    pub fn new(alias: &str, store: Arc<dyn Cache>, settings: Settings) -> Self {
        let view = View {
            alias: alias.into(),
            composer: Composer::new(settings.key_function, &settings.key_prefix, settings.version),
            default_timeout: settings.timeout,
            key_check: settings.key_check,
            codec: settings.codec,
            undecodable: settings.undecodable,
            undecodable_seen: Arc::default(),
        };
        Self { store, view: Arc::new(view) }
    }

    /// The same cache at another version: what Django takes as an argument of every call.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
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

    /// The same cache with another answer to entries that do not read as the type asked for.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, ErrorKind, Result, Settings, Timeout, Undecodable};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
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

    /// The same cache on another store: on a wrapper of its own store, say, that counts, measures or fails.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{Cache, CacheHandle, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # fn count(store: Arc<dyn Cache>) -> Arc<dyn Cache> { store }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
    /// let counted = cache.with_store(count(Arc::clone(cache.store())));
    /// counted.set("greeting", "hello", Timeout::Default).await?;
    /// assert!(cache.contains("greeting").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// `examples/site/watch.rs` has such a wrapper.
    #[must_use]
    pub fn with_store(&self, store: Arc<dyn Cache>) -> Self {
        Self { store, view: Arc::clone(&self.view) }
    }

    /// The value, or `None` on a miss. Ask for an `Option<T>` to tell a stored `None` (`Some(None)`) from a miss. An
    /// `Option` within an `Option` is more than the codecs can tell: `Some(None)` comes back as `None`.
    ///
    /// An entry that does not read as a `T` is a miss that is logged and counted
    /// ([`undecodable_seen`](Self::undecodable_seen)), or an error where the alias says so.
    #[expect(clippy::missing_errors_doc, reason = "the type's own docs tell")]
    pub async fn get<T: DeserializeOwned + 'static>(&self, key: &str) -> Result<Option<T>> {
        Ok(self.find(key).await?.hit())
    }

    /// Stores a value, whatever was there.
    ///
    /// Any integer that fits an `i64` is stored as one, so that [`incr`](Self::incr) works on it.
    #[expect(clippy::missing_errors_doc, reason = "the type's own docs tell")]
    pub async fn set<T>(&self, key: &str, value: &T, timeout: impl Into<Timeout>) -> Result<()>
    where
        T: Serialize + ?Sized,
    {
        let value = self.encode(value)?;
        self.put(key, value, timeout.into()).await
    }

    /// Stores a value if the key is absent or expired, and says whether it did. Of many who try at once, one succeeds, in
    /// every store.
    ///
    /// With a timeout of zero it answers as ever, but leaves nothing.
    #[expect(clippy::missing_errors_doc, reason = "the type's own docs tell")]
    pub async fn add<T>(&self, key: &str, value: &T, timeout: impl Into<Timeout>) -> Result<bool>
    where
        T: Serialize + ?Sized,
    {
        let value = self.encode(value)?;
        self.put_new(key, value, timeout.into()).await
    }

    /// Gives an entry a new timeout, and says whether there was one. [`Timeout::Default`] is the alias's default, not the
    /// entry's former timeout. Zero deletes the entry.
    #[expect(clippy::missing_errors_doc, reason = "the type's own docs tell")]
    pub async fn touch(&self, key: &str, timeout: impl Into<Timeout>) -> Result<bool> {
        let key = self.key(key)?;
        let touched = match self.lifetime(timeout.into()) {
            Lifetime::Expired => self.inner().delete(&key).await,
            Lifetime::For(ttl) => self.inner().touch(&key, Some(ttl)).await,
            Lifetime::Forever => self.inner().touch(&key, None).await,
        };
        touched.map_err(|error| self.at(error))
    }

    /// How long the entry will still live; `None` on a miss.
    #[expect(clippy::missing_errors_doc, reason = "the type's own docs tell")]
    pub async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let key = self.key(key)?;
        self.inner().ttl(&key).await.map_err(|error| self.at(error))
    }

    /// Removes an entry, and says whether there was one.
    #[expect(clippy::missing_errors_doc, reason = "the type's own docs tell")]
    pub async fn delete(&self, key: &str) -> Result<bool> {
        let key = self.key(key)?;
        self.inner().delete(&key).await.map_err(|error| self.at(error))
    }

    /// Whether the key is there, whatever its value's type. It does not count as a use of the entry.
    #[expect(clippy::missing_errors_doc, reason = "the type's own docs tell")]
    pub async fn contains(&self, key: &str) -> Result<bool> {
        let key = self.key(key)?;
        self.inner().contains(&key).await.map_err(|error| self.at(error))
    }

    /// Removes every entry of the *store*: of every version, and of every prefix and every alias that share it. A store in
    /// a server that has other users may tell this cache's entries by their prefix, or may not: its own page says what
    /// goes.
    #[expect(clippy::missing_errors_doc, reason = "the type's own docs tell")]
    pub async fn clear(&self) -> Result<()> {
        self.inner().clear().await.map_err(|error| self.at(error))
    }

    /// How full the *store* is, as far as it can tell.
    #[expect(clippy::missing_errors_doc, reason = "the type's own docs tell")]
    pub async fn stats(&self) -> Result<Stats> {
        self.inner().stats().await.map_err(|error| self.at(error))
    }

    /// Removes about `most` entries of the *store* that have expired and still take up room, and answers how many there
    /// were: fewer than `most` where none is left. `None` where the store or its server does that alone.
    #[expect(clippy::missing_errors_doc, reason = "the type's own docs tell")]
    pub async fn purge_expired(&self, most: u64) -> Result<Option<u64>> {
        self.inner().purge_expired(most).await.map_err(|error| self.at(error))
    }

    /// Lets go of the store's connections and files. The cache stays usable.
    #[expect(clippy::missing_errors_doc, reason = "the type's own docs tell")]
    pub async fn close(&self) -> Result<()> {
        self.inner().close().await.map_err(|error| self.at(error))
    }

    /// The alias it is configured under.
    #[must_use]
    pub fn alias(&self) -> &str {
        &self.view.alias
    }

    /// KEY_PREFIX.
    #[must_use]
    pub fn key_prefix(&self) -> &str {
        self.view.composer.prefix()
    }

    /// The VERSION this handle looks at.
    #[must_use]
    pub fn current_version(&self) -> &Version {
        self.view.composer.version()
    }

    /// TIMEOUT. [`Timeout::Default`] here is Django's 300 seconds.
    #[must_use]
    pub fn default_timeout(&self) -> Timeout {
        self.view.default_timeout
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Cache> {
        &self.store
    }

    /// The key that the store sees: what to look for on a server.
    #[must_use]
    pub fn composed_key(&self, key: &str) -> String {
        let mut composed = String::new();
        self.view.composer.compose(key, &mut composed);
        composed
    }

    /// How many entries this handle, its clones and its views met that did not read as the type asked for. The same
    /// count is the metric `cachette_undecodable_total`, by alias.
    #[must_use]
    pub fn undecodable_seen(&self) -> u64 {
        self.view.undecodable_seen.load(Ordering::Relaxed)
    }

    /// The store itself. On the `Arc` a verb would be that of `impl Cache for Arc`: one more boxed future for each call.
    fn inner(&self) -> &dyn Cache {
        &*self.store
    }

    async fn find<T: DeserializeOwned + 'static>(&self, key: &str) -> Result<Found<T>> {
        let key = self.key(key)?;
        // Not by a function of its own: even a future that is ready at once costs a hit in memory a tenth of its time.
        let answer = match self.inner().get_now(&key) {
            Some(answer) => answer,
            None => self.inner().get(&key).await,
        };
        match answer.map_err(|error| self.at(error))? {
            Some(value) => self.read(&key, value),
            None => Ok(Found::Miss),
        }
    }

    async fn put(&self, key: &str, value: Value, timeout: Timeout) -> Result<()> {
        let key = self.key(key)?;
        let ttl = match self.lifetime(timeout) {
            Lifetime::Expired => {
                return self.inner().delete(&key).await.map(drop).map_err(|error| self.at(error));
            }
            Lifetime::For(ttl) => Some(ttl),
            Lifetime::Forever => None,
        };
        let stored = match self.inner().set_now(&key, value, ttl) {
            Ok(stored) => stored,
            Err(value) => self.inner().set(&key, value, ttl).await,
        };
        stored.map_err(|error| self.at(error))
    }

    async fn put_new(&self, key: &str, value: Value, timeout: Timeout) -> Result<bool> {
        let key = self.key(key)?;
        let added = match self.lifetime(timeout) {
            Lifetime::Expired => self.inner().contains(&key).await.map(|there| !there),
            Lifetime::For(ttl) => self.inner().add(&key, value, Some(ttl)).await,
            Lifetime::Forever => self.inner().add(&key, value, None).await,
        };
        added.map_err(|error| self.at(error))
    }

    fn key(&self, key: &str) -> Result<KeyBuffer> {
        let composed = KeyBuffer::compose(&self.view.composer, key);
        if !self.view.composer.surely_keeps_the_rule(key) {
            self.view.key_check.apply(&composed).map_err(|error| self.at(error))?;
        }
        Ok(composed)
    }

    fn lifetime(&self, timeout: Timeout) -> Lifetime {
        Lifetime::of(timeout, self.view.default_timeout)
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Value> {
        codec::encode(value, self.view.codec).map_err(|error| self.at(error))
    }

    fn read<T: DeserializeOwned + 'static>(
        &self,
        composed: &str,
        value: Value,
    ) -> Result<Found<T>> {
        codec::decode(value, self.view.codec)
            .map(Found::Hit)
            .or_else(|error| self.unreadable(composed, error))
    }

    #[cold]
    fn unreadable<T>(&self, composed: &str, error: Error) -> Result<Found<T>> {
        self.view.undecodable_seen.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("cachette_undecodable_total", "cache" => self.view.alias.to_string())
            .increment(1);
        match self.view.undecodable {
            Undecodable::Miss => {
                tracing::warn!(
                    cache = self.alias(),
                    key = %shown(composed),
                    error = format_args!("{error:#}"),
                    "undecodable entry treated as a miss"
                );
                Ok(Found::Unreadable)
            }
            Undecodable::Error => {
                let message = format!("cannot decode the entry {}", shown(composed));
                Err(self.at(Error::new(ErrorKind::Decode, message).with_source(error)))
            }
        }
    }

    #[cold]
    fn at(&self, error: Error) -> Error {
        error.in_store(self.inner().name()).in_cache(self.alias())
    }
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
