//! Responses of the inner service, and what distinguishes them.

use std::{collections::HashSet, future::poll_fn, pin::pin};

use bytes::Buf;
use http::{HeaderMap, HeaderName, Request, StatusCode, header::DATE, request::Parts};
use http_body::Body;

use super::{IsProbe, VaryDifference, template::Template};
use crate::{
    bounds::{InnerService, ResponseBody},
    policy::Policy,
    response_headers::headers_to_store,
};

/// The parts of a response that are stored.
pub(super) struct Rendering {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Requests a page. Returns `None` if that fails or if the page is too large to be stored.
pub(super) async fn render<S, Q, B>(
    mut inner: S,
    mut parts: Parts,
    headers: HeaderMap,
    policy: &Policy,
) -> Option<Rendering>
where
    S: InnerService<Q, B>,
    Q: Default,
    B: ResponseBody,
{
    parts.headers = headers;
    policy.reduce_languages(&mut parts.headers);
    parts.extensions.insert(IsProbe);
    poll_fn(|context| inner.poll_ready(context)).await.ok()?;
    let response = inner.call(Request::from_parts(parts, Q::default())).await.ok()?;
    let (head, body) = response.into_parts();
    let mut headers = headers_to_store(&head.headers, policy);
    headers.remove(DATE);
    Some(Rendering {
        status: head.status,
        headers,
        body: collect(body, policy.body_limit()).await?,
    })
}

async fn collect<B: Body>(body: B, max_body: u64) -> Option<Vec<u8>> {
    let (mut body, mut bytes) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(mut data) = frame.ok()?.into_data() {
            while data.has_remaining() {
                let chunk = data.chunk();
                bytes.extend_from_slice(chunk);
                let length = chunk.len();
                data.advance(length);
            }
        }
        if bytes.len() as u64 > max_body {
            return None;
        }
    }
    Some(bytes)
}

/// A page, and what of it changes by itself.
pub(super) struct Baseline {
    status: StatusCode,
    headers: HeaderMap,
    unstable_headers: HashSet<HeaderName>,
    has_stable_status: bool,
    body: Template,
}

impl Baseline {
    pub(super) fn new(first: Rendering) -> Self {
        Self {
            status: first.status,
            headers: first.headers,
            unstable_headers: HashSet::new(),
            has_stable_status: true,
            body: Template::new(&first.body),
        }
    }

    /// Adds another response to the same request: what differs in it changes by itself.
    pub(super) fn learn(&mut self, rendering: &Rendering) {
        self.has_stable_status &= self.status == rendering.status;
        let changed: Vec<HeaderName> = self.changed_headers(rendering).cloned().collect();
        self.unstable_headers.extend(changed);
        self.body.learn(&rendering.body);
    }

    /// How a response differs from the page.
    pub(super) fn difference(&self, rendering: &Rendering) -> Option<VaryDifference> {
        if self.has_stable_status && self.status != rendering.status {
            return Some(VaryDifference::Status);
        }
        if !self.body.matches(&rendering.body) {
            return Some(VaryDifference::Body);
        }
        let mut changed = self.changed_headers(rendering);
        let stable = changed.find(|name| !self.unstable_headers.contains(*name));
        stable.cloned().map(VaryDifference::Header)
    }

    fn changed_headers<'a>(
        &'a self,
        rendering: &'a Rendering,
    ) -> impl Iterator<Item = &'a HeaderName> {
        let names = self.headers.keys().chain(rendering.headers.keys());
        names.filter(|name| {
            !self.headers.get_all(*name).iter().eq(rendering.headers.get_all(*name).iter())
        })
    }
}
