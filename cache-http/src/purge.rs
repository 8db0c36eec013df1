//! Purging pages by URI, by tag, by the prefix of their path, or all of them.

use std::{fmt, sync::Arc};

use cache_core::{Error, ErrorKind, Purge, Result};
use http::{Uri, uri::InvalidUri};

use crate::{key::MAX_PREFIX_SEGMENTS, settings::Settings};

/// A handle that purges the pages of an [`HttpCacheLayer`](crate::HttpCacheLayer).
///
/// Created by [`HttpCacheLayer::purge_handle`](crate::HttpCacheLayer::purge_handle). Cloning costs
/// a reference count.
///
/// A page that is being produced during a purge is not stored.
///
/// # Several layers
///
/// A handle purges the pages of its layer. It reaches those of another layer on the same cache,
/// such as one of [`cache_page`](crate::cache_page), if both have the same
/// [`key_prefix`](crate::HttpCacheLayer::key_prefix). For [`purge_uri`](Self::purge_uri), they must
/// also list the same [`hosts`](crate::HttpCacheLayer::hosts): give the layers of views the hosts
/// of the site, or purge their pages by tag.
///
/// # Performance
///
/// Each page is stamped with the generations of its URI, of its tags and of the whole cache. A
/// purge replaces one generation, usually in two round trips, however many pages there are.
/// [`purge_uri`](Self::purge_uri) does that for each listed host if the URI has none.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use cache_core::{CacheHandle, Settings};
/// # use cache_locmem::LocMemCache;
/// use cache_http::{HttpCacheLayer, Purge};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// # let store = Arc::new(LocMemCache::default());
/// # let cache = CacheHandle::new("default", store, Settings::default());
/// let layer = HttpCacheLayer::new(&cache).hosts(["shop.example.org"]);
/// let pages = layer.purge_handle();
/// pages.purge_uri("/books/42", Purge::Hard).await?;
/// pages.purge_tag("author:7", Purge::Soft).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PurgeHandle {
    settings: Arc<Settings>,
}

impl PurgeHandle {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }

    /// Purges every page of a URI: all variants, schemes and ports.
    ///
    /// The query is compared as it is written, after
    /// [`ignore_query`](crate::HttpCacheLayer::ignore_query) and similar settings have been
    /// applied. If `uri` is only a path, such as `/books/42`, the pages of all hosts are purged.
    ///
    /// If `uri` has a host, such as `http://example.org/books/42`, only the pages of that host are
    /// purged, provided that [`hosts`](crate::HttpCacheLayer::hosts) lists every host by name. If
    /// it is not set, or contains a domain that begins with a dot, all hosts share one generation
    /// of each path, and the pages of all hosts are purged.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if `uri` is neither a path that begins with `/` nor a URI with
    /// scheme and host. Returns the error of the store if it fails.
    pub async fn purge_uri(&self, uri: &str, purge: Purge) -> Result<()> {
        let parsed: Uri = uri.parse().map_err(|error: InvalidUri| {
            let message = format!("{uri:?} is not a valid URI");
            Error::new(ErrorKind::Config, message).with_source(error)
        })?;
        // `books` alone parses as a host.
        if parsed.scheme().is_none() && !parsed.path().starts_with('/') {
            let message = format!("{uri:?} is not a path, such as \"/{uri}\"");
            return Err(Error::new(ErrorKind::Config, message));
        }
        for key in self.settings.key_builder.generations(&parsed) {
            self.purge_generation(&key, purge).await?;
        }
        Ok(())
    }

    /// Purges every page that has this tag, whatever the key prefix of its layer, and every value
    /// of the cache that has it.
    ///
    /// The same as [`purge_tags`](cache_core::CacheHandle::purge_tags) of the cache. A page that is
    /// being produced is not stored, provided that the clocks of the machines that share the store
    /// agree.
    ///
    /// # Errors
    ///
    /// Returns the error of the store if it fails.
    pub async fn purge_tag(&self, tag: &str, purge: Purge) -> Result<()> {
        let page_store = &self.settings.page_store;
        self.purge_composed(&page_store.generation_of_tag(tag), purge).await?;
        page_store.cache().count_tag_purges(1, purge);
        Ok(())
    }

    /// Purges every page whose path begins with the segments of `prefix`, on every host and with
    /// any query.
    ///
    /// `/news` and `/news/` are the same prefix. It matches the paths `/news`, `/news/` and
    /// `/news/2026/1`, and not `/newsletter`. `/` is the prefix of all pages. Paths are compared as
    /// they are written, without decoding `%`.
    ///
    /// A page that is being produced is not stored, provided that the clocks of the machines that
    /// share the store agree.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Settings};
    /// # use cache_locmem::LocMemCache;
    /// use cache_http::{HttpCacheLayer, Purge};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// let layer = HttpCacheLayer::new(&cache).purge_prefixes();
    /// layer.purge_handle().purge_prefix("/news/", Purge::Hard).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if
    /// [`purge_prefixes`](crate::HttpCacheLayer::purge_prefixes) is not set on the layer, if
    /// `prefix` is not a path, or if it has more than 8 segments. Returns the error of the store if
    /// it fails.
    pub async fn purge_prefix(&self, prefix: &str, purge: Purge) -> Result<()> {
        let config_error = |message: String| Err(Error::new(ErrorKind::Config, message));
        let is_path =
            prefix.starts_with('/') && prefix.parse::<Uri>().is_ok_and(|uri| uri.path() == prefix);
        if !is_path {
            return config_error(format!("{prefix:?} is not a path, such as \"/news/\""));
        }
        if !self.settings.purge_prefixes {
            return config_error(format!(
                "cannot purge the prefix {prefix:?}: set `HttpCacheLayer::purge_prefixes` first"
            ));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if prefix.is_empty() {
            return self.purge_all(purge).await;
        }
        let segments = prefix.matches('/').count();
        if segments > MAX_PREFIX_SEGMENTS {
            return config_error(format!(
                "cannot purge the prefix {prefix:?}: expected at most {MAX_PREFIX_SEGMENTS} \
                 segments, found {segments}"
            ));
        }
        let name = self.settings.key_builder.generation_of_prefix(prefix);
        let cache = self.settings.page_store.cache();
        // As in `PageStore::purge`.
        cache.learn().await?;
        let key = cache.composed_key(&name);
        self.purge_composed(&key, purge).await
    }

    /// Purges every page of this cache that has the layer's key prefix.
    ///
    /// # Errors
    ///
    /// Returns the error of the store if it fails.
    pub async fn purge_all(&self, purge: Purge) -> Result<()> {
        self.purge_generation(self.settings.page_store.generation_of_all(), purge).await
    }

    async fn purge_generation(&self, key: &str, purge: Purge) -> Result<()> {
        self.settings.page_store.purge(key, purge, self.settings.clock.unix_time()).await
    }

    async fn purge_composed(&self, key: &str, purge: Purge) -> Result<()> {
        self.settings.page_store.purge_tag(key, purge, self.settings.clock.unix_time()).await
    }
}

impl fmt::Debug for PurgeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PurgeHandle")
            .field("alias", &self.settings.page_store.cache().alias())
            .field("key_prefix", &self.settings.key_builder.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
    };

    use cache_core::{CacheHandle, Settings};
    use cache_locmem::LocMemCache;
    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };
    use tokio::runtime;

    use super::*;
    use crate::HttpCacheLayer;

    /// Keeps the counters.
    #[derive(Default)]
    struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl Recorder for Counters {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels: Vec<&str> = key.labels().map(metrics::Label::value).collect();
            let name = format!("{} {}", key.name(), labels.join(" "));
            let mut counters = self.0.lock().expect("no panic");
            Counter::from_arc(Arc::clone(counters.entry(name).or_default()))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn purges_of_tags_are_counted_by_their_kind() {
        let recorder = Counters::default();
        metrics::with_local_recorder(&recorder, || {
            let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
            let store = Arc::new(LocMemCache::default());
            let cache = CacheHandle::new("pages", store, Settings::default());
            let pages = HttpCacheLayer::new(&cache).purge_handle();
            runtime.block_on(async {
                for purge in [Purge::Hard, Purge::Hard, Purge::Soft] {
                    pages.purge_tag("t", purge).await.expect("the store works");
                }
                pages.purge_all(Purge::Hard).await.expect("the store works");
            });
        });
        let counters = recorder.0.lock().expect("no panic");
        let counted: Vec<String> = counters
            .iter()
            .map(|(name, count)| format!("{name}: {}", count.load(Relaxed)))
            .collect();
        let purges = ["hard: 2", "soft: 1"];
        assert_eq!(counted, purges.map(|count| format!("cachette_tag_purges_total pages {count}")));
    }
}
