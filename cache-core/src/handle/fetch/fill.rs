//! What a producer can decide about its value.

use std::sync::{Arc, Mutex, PoisonError};

use crate::Timeout;

/// What a producer of [`fetch`](crate::CacheHandle::fetch) gets: it decides how its value is
/// stored.
///
/// Clones belong to the same value.
///
/// # Examples
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use cache_core::{CacheHandle, Fill, Settings};
/// # use cache_locmem::LocMemCache;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Arc::new(LocMemCache::default());
/// # let cache = CacheHandle::new("default", store, Settings::default());
/// # async fn price() -> Option<u32> { None }
/// let price: u32 = cache
///     .fetch("price", async |fill: Fill| match price().await {
///         Some(price) => price,
///         None => fill.failed_with(0),
///     })
///     .await?;
/// assert_eq!(price, 0);
/// assert!(!cache.contains("price").await?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fill(Arc<Mutex<Choices>>);

#[derive(Clone, Debug, Default)]
pub(super) struct Choices {
    pub(super) ttl: Option<Timeout>,
    pub(super) tags: Vec<String>,
    pub(super) is_private: bool,
    pub(super) has_failed: bool,
}

impl Fill {
    /// Sets for how long the entry is fresh, instead of the [`ttl`](crate::Fetch::ttl) of the call.
    pub fn ttl(&self, ttl: impl Into<Timeout>) {
        let ttl = ttl.into();
        self.change(|choices| choices.ttl = Some(ttl));
    }

    /// Adds a tag, which depends on the value, to those that the [call names](crate::Fetch::tags).
    ///
    /// The tag is known only when the producer has ended, so its generation is read after that. If
    /// it was purged after the producer had started, or less than a second before, the value is
    /// returned but not stored. This compares the clock of the process that has purged it with the
    /// one of this process: they may differ by a second.
    ///
    /// The call returns an error if the entry has more than 64 tags, or if a name is invalid.
    pub fn tag(&self, name: impl Into<String>) {
        let name = name.into();
        self.change(|choices| choices.tags.push(name));
    }

    /// Returns the value to the caller that started this producer, and to nobody else.
    ///
    /// It is not stored. Other callers that wait run their own producers, because the value may be
    /// private.
    pub fn do_not_store(&self) {
        self.change(|choices| choices.is_private = true);
    }

    /// Reports that the producer has failed and that `value`, which is returned unchanged, is the
    /// best that it has.
    ///
    /// Callers get the stale value if there is one, otherwise `value`. Nothing is stored.
    ///
    /// If the producer also calls [`do_not_store`](Self::do_not_store), `value` is private and not
    /// a failure: the caller that started the producer gets it even if there is a stale value.
    pub fn failed_with<T>(&self, value: T) -> T {
        self.change(|choices| choices.has_failed = true);
        value
    }

    pub(super) fn choices(&self) -> Choices {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Choices)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
