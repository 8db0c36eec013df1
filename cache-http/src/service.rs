//! The service.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, header::RANGE, request::Parts};
use http_body::Body;
use tower_service::Service;

use crate::{
    body::CachedBody,
    bounds::{InnerService, ResponseBody},
    context::RequestContext,
    counts::Event,
    extensions::OuterCache,
    future::ResponseFuture,
    hit, invalidate, miss,
    policy::Reason,
    settings::Settings,
};

/// Middleware that serves responses from a cache and stores them there.
///
/// Created by [`HttpCacheLayer`](crate::HttpCacheLayer). Errors of the inner service are passed
/// through. An error of the store is logged and counted, and the inner service is called.
#[derive(Clone)]
pub struct HttpCache<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> HttpCache<S> {
    pub(crate) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Consumes the middleware and returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Takes the inner service, which is ready, and leaves a clone in its place.
    fn take_ready(&mut self) -> S
    where
        S: Clone,
    {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }

    fn bypass<Q, B>(
        &mut self,
        parts: Parts,
        body: Q,
        reason: Reason,
    ) -> ResponseFuture<S::Future, B, S::Error>
    where
        S: InnerService<Q, B> + Clone,
        Q: Send + 'static,
        B: ResponseBody,
    {
        self.settings.count(Event::Bypass(reason));
        let settings = Arc::clone(&self.settings);
        if settings.policy.invalidates() && invalidate::is_unsafe(&parts.method) {
            let inner = self.take_ready();
            return ResponseFuture::boxed(invalidate::forward_unsafe(settings, inner, parts, body));
        }
        let outer = OuterCache::of_request(&parts);
        let inner = self.inner.call(Request::from_parts(parts, body));
        ResponseFuture::pass_through(inner, settings, reason, outer)
    }

    /// Passes on a request that bypasses the cache because of its range, unless it fails.
    fn forward_range<Q, B>(
        &mut self,
        parts: Parts,
        body: Q,
    ) -> ResponseFuture<S::Future, B, S::Error>
    where
        S: InnerService<Q, B> + Clone,
        Q: Send + 'static,
        B: ResponseBody,
    {
        let mut whole = parts.clone();
        whole.headers.remove(RANGE);
        let Ok((flags, keys)) = self.settings.check_request(&whole, true) else {
            return self.bypass(parts, body, Reason::Range);
        };
        self.settings.count(Event::Bypass(Reason::Range));
        let context = RequestContext::new(&self.settings, whole, flags, keys);
        let inner = self.take_ready();
        ResponseFuture::boxed(context.forward_range(inner, Request::from_parts(parts, body)))
    }
}

impl<S: fmt::Debug> fmt::Debug for HttpCache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache").field("inner", &self.inner).finish_non_exhaustive()
    }
}

// The bounds are those of `InnerService` and `ResponseBody`, spelled out because they are public.
impl<S, Q, B> Service<Request<Q>> for HttpCache<S>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    Q: Body + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<CachedBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let (flags, keys) = match self.settings.check_request(&parts, body.is_end_stream()) {
            Ok(checked) => checked,
            Err(Reason::Range) => return self.forward_range(parts, body),
            Err(reason) => return self.bypass(parts, body, reason),
        };
        let settings = &*self.settings;
        let mut lookup = None;
        if settings.page_store.local {
            if let Some(response) = hit::recently_checked_response(settings, &keys, &parts, flags) {
                return ResponseFuture::ready(response);
            }
            lookup = hit::lookup_now(settings, &keys, &parts);
            if let Some(lookup) = &lookup
                && !hit::is_refresh_due(settings, lookup)
                && let Some(response) = hit::fresh_response(settings, &keys, lookup, &parts, flags)
            {
                return ResponseFuture::ready(response);
            }
        }
        if flags.cookie {
            settings.policy.remove_ignored_cookies(&mut parts.headers);
        }
        settings.policy.reduce_languages(&mut parts.headers);
        settings.key_builder.remove_ignored_parameters(&mut parts);
        let context = RequestContext::new(&self.settings, parts, flags, keys);
        let inner = self.take_ready();
        ResponseFuture::boxed(miss::respond(context, inner, body, lookup))
    }
}

#[cfg(test)]
mod tests {
    use cache_core::CacheHandle;
    use cache_locmem::LocMemCache;

    use super::*;

    #[test]
    fn accessors_give_the_inner_service() {
        let store = Arc::new(LocMemCache::default());
        let cache = CacheHandle::new("default", store, cache_core::Settings::default());
        let mut service = HttpCache::new(1, Arc::new(Settings::new(&cache)));
        *service.get_mut() += 1;
        assert_eq!(*service.get_ref(), 2);
        assert_eq!(service.into_inner(), 2);
    }
}
