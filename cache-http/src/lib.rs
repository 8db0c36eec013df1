//! Per-site and per-view caching of HTTP responses, as [`tower`](https://docs.rs/tower) middleware
//! on any cachette store.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use cache_core::{CacheHandle, Settings};
//! # use cache_locmem::LocMemCache;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, routing::get};
//! use cache_http::{HttpCacheLayer, Purge, cache_page, never_cache};
//! use http::Request;
//! use tower::ServiceExt;
//!
//! # let store = Arc::new(LocMemCache::default());
//! # let cache = CacheHandle::new("default", store, Settings::default());
//! let site = HttpCacheLayer::new(&cache).hosts(["shop.org"]).ttl(Duration::from_secs(60));
//! let terms = cache_page(&cache, Duration::from_secs(86_400));
//! let app = Router::new()
//!     .route("/", get(async || "the front page"))
//!     .route("/terms", get(async || "rarely changes").layer(terms))
//!     .route("/account", get(async || "your account").layer(never_cache()))
//!     .layer(site.clone());
//!
//! // The first request is a miss. The second one is a hit, with an `Age`.
//! for age in [None, Some("0")] {
//!     let request = Request::get("http://shop.org/").body(Body::empty())?;
//!     let response = app.clone().oneshot(request).await?;
//!     assert_eq!(response.headers().get("age").map(|age| age.to_str().unwrap()), age);
//!     axum::body::to_bytes(response.into_body(), 1024).await?;
//! }
//! assert_eq!(site.counts().hits, 1);
//! site.purge_handle().purge_uri("/", Purge::Hard).await?;
//! # Ok(()) }
//! ```
//!
//! The crate does for tower services what
//! [Django's cache framework](https://docs.djangoproject.com/en/5.2/topics/cache/) does for Django
//! sites. It can also act as a shared cache as defined in
//! [RFC 9111](https://www.rfc-editor.org/rfc/rfc9111).
//!
//! # Overview
//!
//! - [`HttpCacheLayer`] is the layer, and [`HttpCache`] the service. [`cache_page`] returns a layer
//!   for one view.
//! - [`Policy`] decides what is stored. It has a preset for sites and one for shared caches.
//! - [`PurgeHandle`] removes the pages of a URI, of a tag, of a path prefix, or all of them.
//! - [`PurgeService`] does the same for requests with a token.
//! - [`WarmUp`] requests pages so that they are stored before visitors ask for them.
//! - [`CacheTags`] and [`NoStore`] are extensions by which a view controls the cache. Tags can also
//!   come from [response headers](Policy::tag_headers).
//! - [`cache_control`], [`never_cache`], [`vary_on_headers`] and [`vary_on_cookie`] are layers that
//!   change response headers. [`patch_cache_control`] and similar functions do the same to a
//!   [`HeaderMap`](http::HeaderMap).
//! - [`Condition`] handles conditional requests in a view.
//! - [`Fragments`] caches parts of pages, for any template engine.
//! - [`CacheDebugLayer`] shows during development what each request does with its caches.
//!
//! # What is cached by default
//!
//! The first table shows which responses are stored, and for how long they are served, by
//! [`HttpCacheLayer::new`] (site) and by [`HttpCacheLayer::shared`]. [`cache_page`] is like a site,
//! but its timeout replaces the 600 seconds and limits the lifetimes that responses state.
//!
//! | request | response | site | shared |
//! |---|---|---|---|
//! | `GET` | 200 | 600 s | not stored |
//! | `GET` | 200, `Last-Modified` an hour ago | 600 s | 360 s |
//! | `GET` | 200, `max-age=60` | 60 s | 60 s |
//! | `GET` | 200, `s-maxage=30, max-age=60` | 30 s | 30 s |
//! | `GET` | 200, `Expires` in a minute | 60 s | 60 s |
//! | `GET` | 200, `max-age=0` | not stored | not stored |
//! | `GET` | 200, `max-age=0`, `ETag` | not stored | validated each time |
//! | `GET` | 200, `private` | not stored | not stored |
//! | `GET` | 200, `no-store` | not stored | not stored |
//! | `GET` | 200, `Set-Cookie` | not stored | not stored |
//! | `GET` | 200, `Vary: *` | not stored | not stored |
//! | `GET` | 200, `max-age=60`, body of unknown length | not stored | 60 s |
//! | `GET` | 200, `max-age=60`, body over 2 MiB | not stored | not stored |
//! | `GET` | 206, `max-age=60` | not stored | not stored |
//! | `GET` | 301, `max-age=60` | not stored | 60 s |
//! | `GET` | 404 | not stored | not stored |
//! | `GET` | 404, `max-age=60` | not stored | 60 s |
//! | `GET` | 500 | not stored | not stored |
//! | `GET` with the cookie `_ga` | 200, `max-age=60` | 60 s | 60 s |
//! | `GET` with the cookie `theme` | 200, `max-age=60` | not stored | 60 s |
//! | `GET` with the cookie `theme` | 200, `public, max-age=60` | 60 s | 60 s |
//! | `GET` with the cookie `sessionid` | 200, `max-age=60` | not stored | not stored |
//! | `GET` with the cookie `sessionid` | 200, `public, max-age=60` | 60 s | not stored |
//! | `GET` with `Authorization` | 200, `public, max-age=60` | not stored | not stored |
//! | `GET` with `Cache-Control: no-store` | 200, `max-age=60` | 60 s | not stored |
//! | `GET` with `If-None-Match` | 200, `max-age=60` | 60 s | 60 s |
//! | `GET` with `Range` | 200, `max-age=60` | not stored | 60 s |
//! | `HEAD` | 200, `max-age=60` | 60 s | 60 s |
//! | `POST` | 200, `max-age=60` | not stored | not stored |
//!
//! A stored page is served to everybody whose request has the same URI, and the same values in the
//! headers that the page varies on. The second table shows which requests are served from the
//! store, for pages with `max-age=60` and with `public, max-age=60`.
//!
//! | request | site | site, `public` | shared | shared, `public` |
//! |---|---|---|---|---|
//! | `GET` | yes | yes | yes | yes |
//! | `GET` with the cookie `_ga` | yes | yes | yes | yes |
//! | `GET` with the cookie `theme` | no | yes | yes | yes |
//! | `GET` with the cookie `sessionid` | no | yes | no | no |
//! | `GET` with `Authorization` | no | no | no | no |
//! | `GET` with `Cache-Control: no-cache` | yes | yes | yes | yes |
//! | `GET` with `Cache-Control: no-store` | yes | yes | yes | yes |
//! | `GET` with `If-None-Match` | yes | yes | yes | yes |
//! | `GET` with `Range` | no | no | yes | yes |
//! | `GET` with `X-HTTP-Method-Override` | no | no | no | no |
//! | `HEAD` | yes | yes | yes | yes |
//! | `POST` | no | no | no | no |
//!
//! Other requests are served by the inner service. Browsers validate the pages of a site each time,
//! see [`BrowserTtl::Revalidate`]; a shared cache leaves their `Cache-Control` unchanged.
//!
//! # Privacy
//!
//! A page of one visitor must not be served to another. In case of doubt, a response is not stored.
//!
//! - A *request* bypasses the cache if it has `Authorization` (unless
//!   [`Policy::authorization_by_response`] is set), a body, or a header that overrides its method
//!   or path, and in a site also if it has `Range`.
//! - A request with a *cookie* bypasses the cache of a site, unless the cookie belongs to a script
//!   or a load balancer (`_ga`, `AWSALB` …), is [ignored](Policy::ignore_cookies), or is one that
//!   [pages vary on](Policy::vary_on_cookies). Pages that are `public` or have `s-maxage` are
//!   stored and served regardless of other cookies. See [Cookies](Policy#cookies).
//! - A *response* is not stored if it has `Set-Cookie` (unless [`SetCookies`] allows it) or
//!   `Vary: *`, if its `Cache-Control` contains `private`, `no-store` (unless
//!   [`Policy::obey_must_understand`] is set) or `no-cache` (unless [`Policy::validate_no_cache`]
//!   is set) in any form, if it is partial, or if its body ends early or differs in length from
//!   `Content-Length`.
//!
//! Each case has a [`Reason`], which is reported in [`Counts`], in metrics and in `Cache-Status`.
//!
//! The cache cannot detect which parts of a request a view reads. **A view whose response depends
//! on a header or a cookie must list it in `Vary`**, or mark the response as `private`. During
//! development, `HttpCacheLayer::vary_check` of the feature `vary-check` finds views that do not.
//!
//! # Limits
//!
//! Clients choose queries, hosts and headers. They must not choose how much is stored.
//!
//! - **New pages.** A flood of new pages does not push those that visitors request out of a store:
//!   beyond a [limit](HttpCacheLayer::new_page_limit) that depends on the size of the store, new
//!   pages are stored only if they are requested several times. Stores that evict the oldest
//!   entries, such as files and tables, still lose a few hits.
//! - **Variants.** A URI has at most [100](Policy::max_variants) variants, which depend on at most
//!   [16](Policy::max_vary_headers) headers. `Accept-Encoding` is reduced to known codings, and
//!   `Accept-Language` to the [languages](Policy::languages) of the site if they are set.
//! - **Queries.** A site can [list](HttpCacheLayer::only_query) the parameters that count, or
//!   [those](HttpCacheLayer::ignore_query) that do not, such as those of campaigns.
//! - **Bytes.** A body has at most [2 MiB](Policy::max_body). The headers and bodies of pages count
//!   towards the `max_bytes` of a store in this process, which is 64 MiB or more by default.
//!
//! # Order of layers
//!
//! Layers outside of the cache run for every request. The results of layers inside of it are stored
//! with the page.
//!
//! - Put the cache outside of compression, so that compressed pages are stored, one for each set of
//!   codings that clients accept.
//! - Put the cache inside of layers that add request ids, nonces or CORS headers.
//! - `Router::layer` of axum runs the cache after routing. A cache around the whole router,
//!   `HttpCacheLayer::layer(router)`, serves hits without routing. `axum::serve` then needs a body of
//!   axum, `tower::util::MapResponse` with `|page| page.map(Body::new)`, and
//!   `axum::ServiceExt::<Request>::into_make_service`.
//! - A page that contains a nonce or a CSRF token must be `private`.
//!
//! # Behind a content delivery network
//!
//! A network in front of the application is a cache of its own. It receives these headers:
//!
//! - `s-maxage`, `stale-while-revalidate` and `stale-if-error` of a response, unchanged. A purge of
//!   this cache does not reach the pages that the network keeps for that time: purge both, this
//!   cache first. If only this cache is meant, send these directives in a header of your own, see
//!   [`Policy::targeted`], which is removed from responses.
//! - `max-age` as set by [`HttpCacheLayer::browser_ttl`]. The default of a site adds
//!   `must-revalidate`, which also forbids the network to serve the page stale. Set
//!   [`BrowserTtl::FromResponse`] if it may do so.
//! - `Surrogate-Key` and `Cache-Tag`, unless they are listed in [`Policy::tag_headers`], which
//!   removes them. If the network needs the tags as well, set both [`CacheTags`] and the header.
//!
//! # Nested routers
//!
//! The cache identifies a page by the URI that it sees. A router that shortens URIs, such as axum's
//! `nest`, shows an inner layer only the rest of the URI, and two views may then share one page.
//! Enable the feature `axum`, or set [`HttpCacheLayer::uri_function`].
//!
//! # Errors
//!
//! [`HttpCache`] returns the errors of the inner service unchanged and adds none of its own. If the
//! store fails, or does not respond within the [store timeout](HttpCacheLayer::store_timeout) of 5
//! seconds, the failure is logged, counted as [`Reason::StoreFailed`], and the inner service is
//! called. If the response body of the inner service fails, the client receives the error, and the
//! page is not stored.
//!
//! The inner service fails if it returns an error, a 500, 502, 503 or 504, or if it exceeds the
//! [`origin_timeout`](HttpCacheLayer::origin_timeout). A stale page is then served if its
//! [window](Policy::stale_if_error) allows that, also to the requests that have waited. If there is
//! none, one of these requests calls the inner service again, because the cause may lie in the
//! first one. If that fails as well, the others get a 503 without a body
//! ([`Reason::OriginFailed`]). [`Policy::status_ttl`] stores errors for a short time.
//!
//! # Performance
//!
//! - **Hit.** A hit in a store of the same process calls neither the inner service nor a codec and
//!   boxes no future. It costs one lookup, or two if the page varies, one keyed hash for each, a
//!   copy of the header map, and two allocations. The body is shared, not copied. After a purge of
//!   the page, and once a second, the page is looked up once more, together with two generations
//!   and one for each tag. In other stores, a hit costs one round trip, one more if the page
//!   varies, and one more if it has tags, however many.
//! - **Miss.** A page that others may wait for is produced by a task of its own, which costs two
//!   allocations. The response is streamed to the client while it is collected, at the pace of the
//!   inner service, not of the client. It is stored before its last part is sent. If a body exceeds
//!   [2 MiB](Policy::max_body), its client reads the rest at its own pace.
//! - **Concurrent requests.** One request produces a page, and the other requests of this process
//!   wait for it, for at most [5 seconds](HttpCacheLayer::wait_timeout). They also share a page
//!   that has no lifetime, such as one with `max-age=0`, if they arrived before it. With a
//!   [soft timeout](HttpCacheLayer::soft_timeout), they get a stale page earlier. A response that
//!   must not be stored is not shared: the next request takes over. If its response must not be
//!   stored either, no request waits for that page during the next 10 seconds, and the page is not
//!   served while revalidating, until a response is stored again.
//! - **Purge.** A purge replaces a number that pages are stamped with, however many pages there
//!   are. That of a URI: in a store of this process, one read and one write, elsewhere two round
//!   trips. If there is no such number, no page has it. In a store of this process nothing is
//!   written then; elsewhere, purges share 64 small entries that live for 10 minutes. That of a tag
//!   or of a prefix: one write, or two round trips if it is soft; it leaves an entry for a day.
//! - **Time.** The age of a page is measured with the monotonic clock in the process that has
//!   produced it and keeps it, and with the system clock elsewhere. A page that was stored more
//!   than a second in the future is stale: the clock was set back.
//! - **Memory.** The bodies that are being collected take at most
//!   [64 MiB](HttpCacheLayer::max_fill_bytes). For each store with pages, a table of 64 KiB counts
//!   requests.
//!
//! # Cancel safety
//!
//! A request can be cancelled at any time, for example because its client disconnects.
//!
//! **A handler may outlive the request that has called it.** If other requests may wait for the
//! page, the handler runs in a spawned task, in the [span](tracing::Span) of the request. If the
//! request is cancelled, or its body is not read, the task continues, and the page is stored. It
//! ends 60 seconds later at the latest, and if the body exceeds [`Policy::max_body`]. At most 256
//! handlers and bodies of a layer outlive their requests at a time; others end with them, and one
//! of the waiting requests takes over. Task-local variables of outer layers are not visible in the
//! task; extensions of the request are. If the handler panics, its client sees the panic, and one
//! of the waiting requests takes over.
//!
//! All other handlers end with their requests: those of requests that bypass the cache, of requests
//! with unknown cookies, `Authorization` or `no-store`, and those for pages whose last responses
//! could not be stored. If the response to such a request is stored, its body is read to its end.
//!
//! # Features
//!
//! - `axum`: identifies requests by their full URI inside nested axum routers.
//! - `sitemap`: the type `Sitemap`, which parses the URIs of pages for [`WarmUp`].
//! - `vary-check`: the layer `VaryCheckLayer`, for development, which reports request headers that
//!   change pages although the pages do not vary on them.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod admission;
mod body;
mod bounds;
mod cache_control;
mod cache_status;
mod change_headers;
mod conditional;
mod context;
mod counts;
mod date;
mod debug;
mod extensions;
mod fetch;
mod fill_budget;
mod fill_task;
mod flights;
mod fragment;
pub mod future;
mod generation_store;
mod hit;
mod invalidate;
mod key;
mod layer;
mod miss;
mod page_store;
mod partial_body;
mod patch;
mod pattern;
mod pending_page;
pub mod policy;
mod purge;
mod purge_service;
mod query;
mod range;
mod record;
mod relay;
mod request_flags;
mod respond;
mod response_headers;
mod revalidate;
mod service;
mod settings;
#[cfg(feature = "sitemap")]
mod sitemap;
mod storable;
mod tags;
mod tee;
mod unknown_cookies;
mod unshared;
mod use_counts;
mod variants;
mod vary;
#[cfg(feature = "vary-check")]
mod vary_check;
mod warm_up;

#[cfg(feature = "sitemap")]
#[cfg_attr(docsrs, doc(cfg(feature = "sitemap")))]
pub use self::sitemap::{Sitemap, SitemapError};
#[cfg(feature = "vary-check")]
#[cfg_attr(docsrs, doc(cfg(feature = "vary-check")))]
pub use self::vary_check::{VaryCheck, VaryCheckLayer, VaryDifference, VaryFinding};
pub use cache_core::Purge;

pub use self::{
    body::CachedBody,
    cache_control::{CacheControl, MAX_SECONDS, Seconds},
    change_headers::{
        ChangeHeaders, ChangeHeadersLayer, cache_control, never_cache, vary_on_cookie,
        vary_on_headers,
    },
    conditional::{Condition, Precondition, precondition},
    counts::Counts,
    debug::{CacheCalls, CacheDebug, CacheDebugBody, CacheDebugLayer},
    extensions::{CacheTags, NoStore},
    fragment::{Fragments, fragment_key},
    layer::{HttpCacheLayer, cache_page},
    patch::{
        add_never_cache_headers, has_vary_header, patch_cache_control, patch_response_headers,
        patch_vary_headers,
    },
    policy::{Policy, Reason, SetCookies},
    purge::PurgeHandle,
    purge_service::PurgeService,
    service::HttpCache,
    settings::BrowserTtl,
    vary::Vary,
    warm_up::{WarmUp, WarmUpReport},
};
