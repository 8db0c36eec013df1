//! The routes, and the layer that caches each page.

use std::{error::Error, net::SocketAddr};

use axum::{
    Router, middleware,
    routing::{get, post},
};
use cachette::{
    CacheHandle, Caches,
    http::{CacheDebugLayer, never_cache},
};

use crate::{
    caching::Layers,
    library::Library,
    metrics::Metrics,
    requests::{self, Requests},
    same_site,
    templates::Templates,
    views::{about, account, assets, books, caches, home, today},
};

/// The state of the views.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) library: Library,
    pub(crate) templates: Templates,
    pub(crate) caches: Caches,
    pub(crate) metrics: Metrics,
    pub(crate) layers: Layers,
    pub(crate) requests: Requests,
    /// The cache of the fragments.
    pub(crate) fragments: CacheHandle,
    /// The cache of the sessions.
    pub(crate) sessions: CacheHandle,
}

impl Site {
    pub(crate) fn new(
        library: Library,
        caches: Caches,
        metrics: Metrics,
        address: SocketAddr,
    ) -> Result<Self, Box<dyn Error>> {
        let layers = Layers::new(&caches.get("pages")?, address);
        let (fragments, sessions) = (caches.get("default")?, caches.get("sessions")?);
        let requests = Requests::default();
        Ok(Self {
            library,
            templates: Templates::new()?,
            caches,
            metrics,
            layers,
            requests,
            fragments,
            sessions,
        })
    }

    pub(crate) fn router(self, debug: bool) -> Router {
        let Layers { site, books, about } = self.layers.clone();
        let account = Router::new()
            .route("/account", get(account::show))
            .route("/account/sign-in", post(account::sign_in))
            .route("/account/sign-out", post(account::sign_out))
            .layer(never_cache());
        let pages = Router::new()
            .route("/", get(home::show))
            .route("/books", get(books::list))
            .route("/books/{id}", get(books::show).layer(books))
            .route("/books/{id}/reviews", post(books::review))
            .route("/today", get(today::show).layer(never_cache()))
            .route("/about", get(about::show).layer(about))
            .merge(account)
            // Caches every page of the site.
            .layer(site);
        // Outside the caches, so that it shows what they do.
        let pages = if debug { pages.layer(CacheDebugLayer::new()) } else { pages };
        // Outside the cache, so that it records hits as well.
        let pages =
            pages.layer(middleware::from_fn_with_state(self.requests.clone(), requests::record));
        let operators = Router::new()
            .route("/caches", get(caches::show))
            .route("/caches/live", get(caches::live))
            .route("/caches/clear/{alias}", post(caches::clear))
            .route("/caches/purge/{layer}", post(caches::purge))
            .route("/metrics", get(caches::metrics))
            .layer(never_cache())
            .layer(middleware::from_fn(requests::time));
        let assets = Router::new().route("/static/{name}", get(assets::show));
        let router = pages.merge(operators).merge(assets).fallback(assets::not_found);
        router.layer(middleware::from_fn(same_site::check)).with_state(self)
    }
}
