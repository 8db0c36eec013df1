//! Extensions of requests and responses: how views and other cache layers control the cache.

use http::{Response, request::Parts};

/// Extension of a request or a response that keeps the response out of the cache, whatever its
/// headers say.
///
/// # Examples
///
/// ```
/// use axum::{Extension, response::IntoResponse};
/// use cache_http::NoStore;
///
/// async fn dashboard() -> impl IntoResponse {
///     (Extension(NoStore), "changes all the time")
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NoStore;

/// Extension of a response: the tags of the page, for
/// [`PurgeHandle::purge_tag`](crate::PurgeHandle::purge_tag).
///
/// A page with more than 64 tags, together with those of the layer and of
/// [response headers](crate::Policy::tag_headers), is not stored. Each tag has a small entry in the
/// store, which hits read.
///
/// # Examples
///
/// ```
/// use axum::{Extension, response::IntoResponse};
/// use cache_http::CacheTags;
///
/// async fn post() -> impl IntoResponse {
///     (Extension(CacheTags::new(["post:42", "author:7"])), "a post")
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheTags(pub(crate) Vec<String>);

impl CacheTags {
    /// Creates a list of tags.
    pub fn new<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Self {
        Self(tags.into_iter().map(Into::into).collect())
    }
}

/// Extension of a request that has passed through another cache layer, which expects
/// [`InnerCache`] in the response if a layer further inside handles it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HasOuterCache;

/// Extension of a request of [`WarmUp`](crate::WarmUp), whose page is stored like one that visitors
/// request often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsWarmUp;

/// Extension of a response that another cache layer further inside has handled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InnerCache;

/// Whether a cache layer further out expects [`InnerCache`] in the response.
///
/// Most requests pass through one layer only, and inserting an extension costs two allocations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OuterCache {
    present: bool,
}

impl OuterCache {
    pub(crate) fn of_request(parts: &Parts) -> Self {
        Self { present: parts.extensions.get::<HasOuterCache>().is_some() }
    }

    pub(crate) fn notify<B>(self, mut response: Response<B>) -> Response<B> {
        if self.present {
            response.extensions_mut().insert(InnerCache);
        }
        response
    }
}
