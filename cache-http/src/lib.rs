//! Per-site and per-view caching of responses, for any `tower` service, on any store of cachette: what
//! [Django's cache framework](https://docs.djangoproject.com/en/5.2/topics/cache/) does for sites, and a shared cache by
//! [RFC 9111](https://www.rfc-editor.org/rfc/rfc9111).
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use cache_core::{CacheHandle, Settings};
//! # use cache_locmem::LocMemCache;
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, routing::get};
//! use cache_http::{HttpCacheLayer, Purge, cache_page, never_cache};
//! use http::Request;
//! use tower::ServiceExt;
//!
//! # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
//! let site = HttpCacheLayer::new(&cache).hosts(["shop.org"]).ttl(Duration::from_secs(60));
//! let meta = cache_page(&cache, Duration::from_secs(86_400));
//! let app = Router::new()
//!     .route("/", get(async || "the front page"))
//!     .route("/meta", get(async || "seldom new").layer(meta))
//!     .route("/account", get(async || "yours").layer(never_cache()))
//!     .layer(site.clone());
//!
//! for age in [None, Some("0")] {
//!     let request = Request::get("http://shop.org/").body(Body::empty())?;
//!     let response = app.clone().oneshot(request).await?;
//!     assert_eq!(response.headers().get("age").map(|age| age.to_str().unwrap()), age);
//!     axum::body::to_bytes(response.into_body(), 1024).await?;
//! }
//! site.purge_handle().purge_uri("/", Purge::Hard).await?;
//! assert_eq!(site.counts().hits, 1);
//! # Ok(()) }
//! ```
//!
//! - [`HttpCacheLayer`] is the layer, [`cache_page`] the same for one view, [`Policy`] what it may store: there is a preset for
//!   sites and one for shared caches.
//! - [`cache_control`], [`never_cache`], [`vary_on_headers`], [`vary_on_cookie`] and [`Condition`] are for views;
//!   [`patch_cache_control`] and its siblings do the same to headers.
//! - [`Fragments`] keeps parts of pages, for any template engine.
//!
//! # What is never stored
//!
//! One visitor's page must not be shown to another, so what is in doubt is not stored. A request passes by that has
//! `Authorization`, a cookie that looks like a session's, a body, a range or a header that changes its path. A response is
//! not stored that has `Set-Cookie`, that says `private`, `no-store` or `no-cache` anywhere in its `Cache-Control`, that varies on
//! `*`, that is a part, that broke off, or is not as long as it says. Each such case has a [name](Reason), which is in
//! [`Counts`], in metrics and in `Cache-Status`.
//!
//! What a cache cannot know is what a view reads and does not tell: **a view whose answer depends on a header or a cookie
//! must say so in `Vary`**, or be `private`.
//!
//! # Where to put it
//!
//! What is outside the layer is done for each request, what is inside is frozen in the page. So put the layer outside of
//! compression, to store compressed pages, of which there is then one for each set of codings that clients accept; and inside
//! of what adds request ids, nonces or CORS headers. A page with a nonce or a CSRF token in it must be `private`.
//!
//! The layer knows a page by the URI that it sees. A router that cuts URIs, as axum's `nest` does, shows a layer inside of it
//! what is left, so two views could be one page: use the feature `axum`, or tell the layer [the whole](HttpCacheLayer::uri).
//!
//! # What it does and what that costs
//!
//! - **A hit** on a store of this process calls neither the service inside nor a codec, and boxes no future: one look-up, or
//!   two where the page varies, a keyed hash for each and one more, a copy of the header map, and three allocations. The body
//!   is the stored one. After a purge of whatever, and once a second, the page is looked up once more, and with it two numbers
//!   and one for each tag. On other stores it is one round trip, or two where the page varies, and one for each tag.
//! - **A miss** streams to its visitor while it is collected. It is stored before the last part goes out. More than
//!   [2 MiB](Policy::max_body) pass through.
//! - **Many at once**: one request makes a page, others of this process wait for it, [5 seconds](HttpCacheLayer::wait_timeout) at
//!   most. What may not be stored is not handed to them, and for 10 seconds nobody waits there.
//! - **A purge** replaces a number that pages are stamped with: one write, however many pages there are.
//! - **A store that fails**, or does not answer within [5 seconds](HttpCacheLayer::store_timeout), is logged and counted, and the page
//!   is served all the same.
//! - **Time**: pages age by the monotonic clock where this process made them and keeps them, by the time of day elsewhere.
//! - **Memory**: pages count with their headers and bodies where a store is bounded by `max_bytes`.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod bounds;
mod cache_control;
mod cache_status;
mod change_headers;
mod conditional;
mod context;
mod counts;
mod date;
mod extensions;
mod fetch;
mod fragment;
pub mod future;
mod generation;
mod hit;
mod invalidate;
mod key;
mod layer;
mod miss;
mod page_store;
mod patch;
mod pending_page;
pub mod policy;
mod purge;
mod range;
mod record;
mod request_flags;
mod respond;
mod response_headers;
mod revalidate;
mod service;
mod settings;
mod single_flight;
mod storable;
mod tee;
mod vary;

pub use self::{
    body::CachedBody,
    cache_control::{CacheControl, MAX_SECONDS, Seconds},
    change_headers::{
        ChangeHeaders, ChangeHeadersLayer, cache_control, never_cache, vary_on_cookie,
        vary_on_headers,
    },
    conditional::{Condition, Precondition, precondition},
    counts::Counts,
    extensions::{CacheTags, NoStore},
    fragment::{Fragments, fragment_key},
    generation::Purge,
    layer::{HttpCacheLayer, cache_page},
    patch::{
        add_never_cache_headers, has_vary_header, patch_cache_control, patch_response_headers,
        patch_vary_headers,
    },
    policy::{Policy, Reason},
    purge::PurgeHandle,
    service::HttpCache,
    settings::BrowserTtl,
    vary::Vary,
};
