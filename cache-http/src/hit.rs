//! Responses from fresh pages.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::request::Parts;
use http_body::Body;

use crate::{
    counts::Event,
    extensions::OuterCache,
    key::Keys,
    page_store::Lookup,
    policy::Reuse,
    record::Page,
    request_flags::RequestFlags,
    respond::{CachedResponse, PageSource, page_response},
    settings::Settings,
};

/// Creates the response, if the store has a fresh page that was checked against the current
/// generations recently, and is not due for a refresh.
pub(crate) fn recently_checked_response<B: Body>(
    settings: &Settings,
    keys: &Keys,
    parts: &Parts,
    flags: RequestFlags,
) -> Option<CachedResponse<B>> {
    let find = settings.page_store.find(keys, &settings.policy, &parts.headers);
    let record = poll_once(find)?.ok()??;
    let page = record.page()?;
    let age = page.age(&settings.clock);
    if !page.check.is_current(age) || settings.policy.is_refresh_due(&page.meta, age) {
        return None;
    }
    fresh_page_response(settings, page, age, false, parts, flags)
}

/// Looks up a page. The result is `None` if the store has to wait.
pub(crate) fn lookup_now(settings: &Settings, keys: &Keys, parts: &Parts) -> Option<Lookup> {
    let lookup = settings.page_store.lookup(keys, &settings.policy, &parts.headers);
    match poll_once(lookup)? {
        Ok(lookup) => Some(lookup),
        Err(error) => Some(Lookup::miss(settings.page_store.failed(&error))),
    }
}

/// Whether the page that the lookup found must be refreshed in the background, if it is fresh.
pub(crate) fn is_refresh_due(settings: &Settings, lookup: &Lookup) -> bool {
    let page = lookup.found.page();
    page.is_some_and(|(page, _)| {
        settings.policy.is_refresh_due(&page.meta, page.age(&settings.clock))
    })
}

/// Creates the response, if the lookup found a fresh page.
pub(crate) fn fresh_response<B: Body>(
    settings: &Settings,
    keys: &Keys,
    lookup: &Lookup,
    parts: &Parts,
    flags: RequestFlags,
) -> Option<CachedResponse<B>> {
    let (page, soft_purged) = lookup.found.page()?;
    let age = page.age(&settings.clock);
    let response = fresh_page_response(settings, page, age, soft_purged, parts, flags)?;
    page.check.record(lookup.purges, age);
    settings.admission.record_hit(settings.page_id(keys, lookup, parts));
    Some(response)
}

fn fresh_page_response<B: Body>(
    settings: &Settings,
    page: &Page,
    age: Duration,
    soft_purged: bool,
    parts: &Parts,
    flags: RequestFlags,
) -> Option<CachedResponse<B>> {
    match settings.reuse(page, age, soft_purged, parts, flags) {
        Reuse::Fresh(_) => {
            settings.count(Event::Hit);
            let response = page_response(settings, page, age, parts, flags, PageSource::Stored);
            Some(OuterCache::of_request(parts).notify(response))
        }
        _ => None,
    }
}

/// Polls a future once. The futures of a store in this process are ready then.
fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
