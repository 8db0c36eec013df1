//! The caches of the configuration, each behind a [`Watch`], and the layers that keep pages in one of them.

use std::{error::Error, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use cachette::{
    CacheHandle, Caches,
    http::{BrowserTtl, HttpCacheLayer, Purge, cache_page},
    stores::DbBackend,
};
use serde_json::{Value, json};

use crate::{library::Library, requests::Requests, watch::Watch};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(crate) struct Caching {
    caches: Caches,
    watched: Arc<[Watched]>,
}

#[derive(Debug)]
struct Watched {
    cache: CacheHandle,
    watch: Arc<Watch>,
}

impl Caching {
    /// Reads the configuration.
    pub(crate) async fn open(config: &Path, library: &Library) -> Result<Self, Box<dyn Error>> {
        let db = DbBackend::default().database("library", library.pool());
        let caches = Caches::builder().file(config).backend("db", db).build().await?;
        let watched = caches.iter().map(|cache| {
            let watch = Arc::new(Watch::new(Arc::clone(cache.store())));
            Watched { cache: cache.with_store(Arc::clone(&watch) as _), watch }
        });
        Ok(Self { watched: watched.collect(), caches })
    }

    pub(crate) fn caches(&self) -> &Caches {
        &self.caches
    }

    /// The cache of this alias, behind its watch.
    pub(crate) fn get(&self, alias: &str) -> cachette::Result<CacheHandle> {
        let found = self.watched.iter().find(|watched| watched.cache.alias() == alias);
        found.map_or_else(|| self.caches.get(alias), |watched| Ok(watched.cache.clone()))
    }

    pub(crate) fn aliases(&self) -> impl Iterator<Item = &CacheHandle> {
        self.watched.iter().map(|watched| &watched.cache)
    }

    /// What is known of each alias. A store that does not answer is told as such, and does not hide the others.
    pub(crate) async fn read(&self) -> Vec<Value> {
        let mut aliases = Vec::new();
        for Watched { cache, watch } in &*self.watched {
            let (entries, bytes, problem) = match cache.stats().await {
                Ok(stats) => (stats.entries, stats.bytes, None),
                Err(error) => (None, None, Some(error.to_string())),
            };
            aliases.push(json!({
                "alias": cache.alias(), "entries": entries, "bytes": bytes, "problem": problem, "seen": watch.read(),
            }));
        }
        aliases
    }
}

/// The layers that keep pages, by the names that they have in `Cache-Status`.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    /// Around every view. A minute.
    pub(crate) site: HttpCacheLayer,
    /// Around a book's page: a quarter of an hour, or until somebody reviews the book.
    pub(crate) books: HttpCacheLayer,
    /// Around the page that never changes: an hour, in browsers too.
    pub(crate) about: HttpCacheLayer,
}

impl Layers {
    pub(crate) fn new(pages: &CacheHandle, address: SocketAddr) -> Self {
        // A stranger who invents hosts must not fill the store with a front page for each.
        let hosts = ["localhost".to_owned(), address.to_string(), address.ip().to_string()];
        let named = |layer: HttpCacheLayer, name: &str| {
            layer.hosts(hosts.clone()).key_prefix(name).cache_status(name)
        };
        // What is purged here, no purge reaches in a browser: so browsers are to ask each time.
        let ask = BrowserTtl::Fixed(Duration::ZERO);
        Self {
            site: named(HttpCacheLayer::new(pages).ttl(MINUTE), "site").browser_ttl(ask),
            books: named(cache_page(pages, 15 * MINUTE), "books").browser_ttl(ask),
            about: named(cache_page(pages, 60 * MINUTE), "about"),
        }
    }

    pub(crate) fn all(&self) -> [(&'static str, &HttpCacheLayer); 3] {
        [("site", &self.site), ("books", &self.books), ("about", &self.about)]
    }

    /// Purges every page of the layer of this name, and says whether there is such a layer.
    pub(crate) async fn purge(&self, name: &str) -> cachette::Result<bool> {
        let Some((_, layer)) = self.all().into_iter().find(|(known, _)| *known == name) else {
            return Ok(false);
        };
        layer.purge_handle().purge_all(Purge::Hard).await?;
        Ok(true)
    }

    /// What became of each layer's requests, and how long they took.
    pub(crate) fn read(&self, requests: &Requests) -> Vec<Value> {
        let read = |(name, layer): (&str, &HttpCacheLayer)| {
            let counts = layer.counts();
            let reasons: Vec<_> =
                counts.reasons.iter().map(|(why, count)| json!([why.name(), count])).collect();
            json!({
                "name": name, "hits": counts.hits, "stale": counts.stale, "misses": counts.misses,
                "bypasses": counts.bypasses, "stored": counts.stored, "refused": counts.rejected, "reasons": reasons,
                "timings": requests.timings(name),
            })
        };
        self.all().into_iter().map(read).collect()
    }
}
