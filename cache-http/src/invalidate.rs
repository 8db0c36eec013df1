//! Invalidation by requests that change something (RFC 9111, section 4.4).

use std::sync::Arc;

use cache_core::Purge;
use http::{
    Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_LOCATION, LOCATION},
    request::Parts,
};
use http_body::Body;

use crate::{
    bounds::InnerService,
    extensions::OuterCache,
    fill_task::in_current_trace,
    key::StoreKey,
    policy::Reason,
    respond::{CachedResponse, pass_through},
    settings::Settings,
};

/// Whether a method may change something (RFC 9110, section 9.2.1).
pub(crate) fn is_unsafe(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
}

/// Passes on a request with an unsafe method. If it succeeds, purges the pages that it may have
/// changed.
pub(crate) async fn forward_unsafe<S, Q, B>(
    settings: Arc<Settings>,
    mut inner: S,
    parts: Parts,
    body: Q,
) -> Result<CachedResponse<B>, S::Error>
where
    S: InnerService<Q, B>,
    B: Body,
{
    let (request, outer) = (parts.clone(), OuterCache::of_request(&parts));
    let response = inner.call(Request::from_parts(parts, body)).await?;
    if response.status().is_success() || response.status().is_redirection() {
        let keys = changed_generations(&settings, &request, &response);
        // The task runs on if the client disconnects: what the request has changed is changed.
        let _ = tokio::spawn(in_current_trace(purge(Arc::clone(&settings), keys))).await;
    }
    Ok(pass_through(&settings, response, Reason::Method, outer))
}

/// Purges generations. A failure is logged: the request has succeeded all the same.
async fn purge(settings: Arc<Settings>, keys: Vec<StoreKey>) {
    let page_store = &settings.page_store;
    for key in keys {
        let purge = page_store.purge(&key, Purge::Hard, settings.clock.unix_time());
        let purge = async { purge.await.map_err(|error| page_store.failed(&error)) };
        let _ = settings.with_store_timeout(purge).await;
    }
}

/// The keys of the generations of the request's URI and of the URIs that the response refers to.
///
/// `Location` is what a 201 has created. In a redirect, such as the one after a login, it is only
/// where the client continues.
fn changed_generations<B>(
    settings: &Settings,
    request: &Parts,
    response: &Response<B>,
) -> Vec<StoreKey> {
    let key_builder = &settings.key_builder;
    let created = (response.status() == StatusCode::CREATED).then_some(LOCATION);
    let references = created
        .into_iter()
        .chain([CONTENT_LOCATION])
        .filter_map(|name| response.headers().get(name)?.to_str().ok())
        .filter_map(|reference| reference.parse::<Uri>().ok())
        .filter(|uri| uri.path().starts_with('/'))
        .filter_map(|uri| key_builder.generation_of_reference(request, &uri));
    key_builder.generation_of_target(request).into_iter().chain(references).collect()
}
