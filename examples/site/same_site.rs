//! No other site may have a visitor's browser write here.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header::HOST},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// Refuses what a page of another site makes a browser send, other than to read.
pub(crate) async fn check(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_ours(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "this was sent by a page of another site\n").into_response()
}

/// Browsers say where a request comes from, and no page can make them lie. Whoever says nothing is no browser, and so carries
/// nobody's cookies but its own.
fn is_ours(headers: &HeaderMap) -> bool {
    let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = said("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = said("origin") else { return true };
    said(HOST.as_str()).is_some_and(|host| {
        origin == format!("http://{host}") || origin == format!("https://{host}")
    })
}
