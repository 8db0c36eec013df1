//! The configured caches, and the layers that cache pages in one of them.

use std::{error::Error, net::SocketAddr, path::Path, time::Duration};

use cachette::{
    CacheHandle, Caches,
    http::{BrowserTtl, HttpCacheLayer, Purge, cache_page},
};
use serde_json::{Value, json};

use crate::{library::Library, metrics::Scrape, requests::Requests};

const MINUTE: Duration = Duration::from_secs(60);

/// Opens the configured caches, which report metrics, and what they do to the panel of `--debug`.
pub(crate) async fn open(config: &Path, library: &Library) -> Result<Caches, Box<dyn Error>> {
    let caches = Caches::builder().file(config).database("library", &library.url()?);
    Ok(caches.observe(true).build().await?)
}

/// The statistics of each alias. The error of one store does not hide the others.
pub(crate) async fn statistics(caches: &Caches, scrape: &Scrape) -> Vec<Value> {
    let mut aliases = Vec::new();
    for cache in caches.iter() {
        let (entries, bytes, problem) = match cache.stats().await {
            Ok(stats) => (stats.entries, stats.bytes, None),
            Err(error) => (None, None, Some(error.to_string())),
        };
        aliases.push(json!({
            "alias": cache.alias(), "entries": entries, "bytes": bytes, "problem": problem,
            "calls": scrape.statistics(cache.alias()),
        }));
    }
    aliases
}

/// The layers that cache pages, by their names in `Cache-Status`.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    /// Around every view, for one minute.
    pub(crate) site: HttpCacheLayer,
    /// Around the page of a book, for 15 minutes or until a review purges it.
    pub(crate) books: HttpCacheLayer,
    /// Around a page that never changes, for one hour, also in browsers.
    pub(crate) about: HttpCacheLayer,
}

impl Layers {
    pub(crate) fn new(pages: &CacheHandle, address: SocketAddr) -> Self {
        // Without a list of hosts, a client could fill the store with a page for each invented
        // host.
        let hosts = ["localhost".to_owned(), address.to_string(), address.ip().to_string()];
        let named = |layer: HttpCacheLayer, name: &str| {
            layer.hosts(hosts.clone()).key_prefix(name).cache_status(name)
        };
        let site = HttpCacheLayer::new(pages).ttl(MINUTE);
        Self {
            site: named(site, "site"),
            books: named(cache_page(pages, 15 * MINUTE), "books"),
            about: named(cache_page(pages, 60 * MINUTE), "about")
                .browser_ttl(BrowserTtl::SameAsCache),
        }
    }

    pub(crate) fn all(&self) -> [(&'static str, &HttpCacheLayer); 3] {
        [("site", &self.site), ("books", &self.books), ("about", &self.about)]
    }

    /// Purges every page of a layer. Returns `false` if there is no layer with this name.
    pub(crate) async fn purge(&self, name: &str) -> cachette::Result<bool> {
        let Some((_, layer)) = self.all().into_iter().find(|(known, _)| *known == name) else {
            return Ok(false);
        };
        layer.purge_handle().purge_all(Purge::Hard).await?;
        Ok(true)
    }

    /// The counts and the timings of each layer.
    pub(crate) fn statistics(&self, requests: &Requests) -> Vec<Value> {
        let statistics = |(name, layer): (&str, &HttpCacheLayer)| {
            let counts = layer.counts();
            let reasons: Vec<_> = counts
                .reasons
                .iter()
                .map(|(reason, count)| json!([reason.name(), count]))
                .collect();
            json!({
                "name": name, "hits": counts.hits, "stale": counts.stale,
                "misses": counts.misses, "bypasses": counts.bypasses, "stored": counts.stored,
                "rejected": counts.rejected, "reasons": reasons,
                "timings": requests.timings(name),
            })
        };
        self.all().into_iter().map(statistics).collect()
    }
}
