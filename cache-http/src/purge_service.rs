//! A service that purges pages over HTTP.

use std::{
    convert::Infallible,
    error::Error as StdError,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Purge, Result};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tower_service::Service;

use crate::purge::PurgeHandle;

/// A service that purges the pages that a request names, for deployments and other programs.
///
/// The request is a `POST` with the header `Authorization: Bearer TOKEN` and a JSON object of at
/// most 64 KiB, whatever its `Content-Type`. All members are optional, but it must name something:
///
/// | member | effect |
/// |---|---|
/// | `"uris"` | a list of URIs or paths, for [`PurgeHandle::purge_uri`] |
/// | `"tags"` | a list of tags, for [`PurgeHandle::purge_tag`] |
/// | `"prefixes"` | a list of paths, for [`PurgeHandle::purge_prefix`] |
/// | `"all"` | `true` purges every page, with [`PurgeHandle::purge_all`] |
/// | `"soft"` | `true` makes the pages stale ([`Purge::Soft`]) instead of removing them |
///
/// ```sh
/// curl https://shop.example.org/-/purge -H "Authorization: Bearer $TOKEN" \
///     -d '{"uris": ["/books/42"], "tags": ["author:7"]}'
/// ```
///
/// The response is a JSON object with the member `"purged"`, which has the same members as the
/// request and contains what was purged, and with the member `"error"` if the request failed. It is
/// never stored by a cache.
///
/// | status | meaning |
/// |---|---|
/// | 200 | everything was purged |
/// | 400 | the body is invalid, or names something that cannot be purged |
/// | 401 | the token is missing or wrong; nothing was purged |
/// | 405 | the method is not `POST` |
/// | 413 | the body is longer than 64 KiB |
/// | 503 | the store failed, which is logged |
///
/// # Security
///
/// Anyone who has the token can make the application produce all of its pages again. The token is
/// compared in constant time. It is accepted in the header only, because URLs are logged, and is in
/// no response and no log message of this crate. Use a random token, and serve the route over TLS.
///
/// # Cancel safety
///
/// Purges are made one after another. If the client disconnects, the remaining ones may not be
/// made.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use cache_core::{CacheHandle, Settings};
/// # use cache_locmem::LocMemCache;
/// use axum::{Router, routing::get};
/// use cache_http::{HttpCacheLayer, PurgeService};
///
/// # fn main() -> cache_core::Result<()> {
/// # let store = Arc::new(LocMemCache::default());
/// # let cache = CacheHandle::new("default", store, Settings::default());
/// # let token = "a token of at least 16 characters".replace(' ', "-");
/// let layer = HttpCacheLayer::new(&cache).hosts(["shop.example.org"]);
/// let purge = PurgeService::new(layer.purge_handle(), &token)?;
/// let app: Router = Router::new()
///     .route("/", get(async || "the front page"))
///     .layer(layer)
///     .route_service("/-/purge", purge);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PurgeService {
    pages: PurgeHandle,
    /// Digests have equal lengths, so that comparing them does not show the length of the token.
    token_digest: [u8; 32],
}

/// The maximum length of a request body, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// The minimum length of a token.
const MIN_TOKEN: usize = 16;

/// What is purged, as members of JSON.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Pages {
    uris: Vec<String>,
    tags: Vec<String>,
    prefixes: Vec<String>,
    all: bool,
    soft: bool,
}

/// The body of a response.
#[derive(Debug, Serialize)]
struct Report {
    purged: Pages,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A response of [`PurgeService`].
type PurgeResponse = Response<Full<Bytes>>;

impl PurgeService {
    /// Creates a service that purges pages for requests with this token.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if the token has fewer than 16 characters, or characters that
    /// are not visible ASCII.
    pub fn new(pages: PurgeHandle, token: &str) -> Result<Self> {
        let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.len() < MIN_TOKEN || !is_visible {
            let message = format!(
                "purge token: expected at least {MIN_TOKEN} visible ASCII characters, such as 32 \
                 random hexadecimal digits"
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Self { pages, token_digest: Sha256::digest(token).into() })
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let Some((scheme, token)) = line.as_bytes().split_at_checked(BEARER.len()) else {
            return false;
        };
        let digest: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        scheme.eq_ignore_ascii_case(BEARER) && bool::from(digest.ct_eq(&self.token_digest))
    }

    async fn respond<B>(self, request: Request<B>) -> PurgeResponse
    where
        B: Body,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        if !self.is_authorized(&head.headers) {
            let mut response = rejection(StatusCode::UNAUTHORIZED, "the token is missing or wrong");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        if head.method != Method::POST {
            let mut response = rejection(StatusCode::METHOD_NOT_ALLOWED, "expected POST");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        match read_pages(body).await {
            Ok(pages) => self.purge(pages).await,
            Err((status, message)) => rejection(status, &message),
        }
    }

    async fn purge(&self, pages: Pages) -> PurgeResponse {
        let mut purged = Pages { soft: pages.soft, ..Pages::default() };
        let Err(error) = self.purge_each(pages, &mut purged).await else {
            return response(StatusCode::OK, &Report { purged, error: None });
        };
        let (status, message) = if error.kind() == ErrorKind::Config {
            (StatusCode::BAD_REQUEST, error.to_string())
        } else {
            tracing::warn!(error = format_args!("{error:#}"), "store failed, pages not purged");
            (StatusCode::SERVICE_UNAVAILABLE, "the store failed".to_owned())
        };
        response(status, &Report { purged, error: Some(message) })
    }

    /// Purges pages, and adds them to `purged`.
    async fn purge_each(&self, pages: Pages, purged: &mut Pages) -> Result<()> {
        let purge = if pages.soft { Purge::Soft } else { Purge::Hard };
        for uri in pages.uris {
            self.pages.purge_uri(&uri, purge).await?;
            purged.uris.push(uri);
        }
        for tag in pages.tags {
            self.pages.purge_tag(&tag, purge).await?;
            purged.tags.push(tag);
        }
        for prefix in pages.prefixes {
            self.pages.purge_prefix(&prefix, purge).await?;
            purged.prefixes.push(prefix);
        }
        if pages.all {
            self.pages.purge_all(purge).await?;
            purged.all = true;
        }
        Ok(())
    }
}

const BEARER: &[u8] = b"bearer ";

/// Reads the body of a request.
async fn read_pages<B>(body: B) -> Result<Pages, (StatusCode, String)>
where
    B: Body,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("the body is longer than {MAX_BODY} bytes");
            return Err((StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        Err(_) => return Err((StatusCode::BAD_REQUEST, "cannot read the body".to_owned())),
    };
    let pages: Pages = serde_json::from_slice(&body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("the body is invalid: {error}")))?;
    let Pages { uris, tags, prefixes, all, soft: _ } = &pages;
    if uris.is_empty() && tags.is_empty() && prefixes.is_empty() && !all {
        let message =
            "the body names nothing: expected \"uris\", \"tags\", \"prefixes\" or \"all\"";
        return Err((StatusCode::BAD_REQUEST, message.to_owned()));
    }
    Ok(pages)
}

/// Creates a response to a request for which nothing was purged.
fn rejection(status: StatusCode, message: &str) -> PurgeResponse {
    response(status, &Report { purged: Pages::default(), error: Some(message.to_owned()) })
}

fn response(status: StatusCode, report: &Report) -> PurgeResponse {
    let body = serde_json::to_vec(report).unwrap_or_default();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl<B> Service<Request<B>> for PurgeService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = PurgeResponse;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.respond(request).await) })
    }
}

impl fmt::Debug for PurgeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PurgeService").field("pages", &self.pages).finish_non_exhaustive()
    }
}
