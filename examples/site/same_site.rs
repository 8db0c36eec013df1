//! Protection against cross-site request forgery.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header::HOST},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// Rejects requests with an unsafe method that a page of another site caused.
pub(crate) async fn check(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_same_site(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "the request comes from another site\n").into_response()
}

/// Returns `true` if the request does not come from a page of another site.
///
/// Browsers send `Sec-Fetch-Site` or `Origin`, which pages cannot forge. A request without both
/// does not come from a browser, and cannot carry the cookies of another user.
fn is_same_site(headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = header("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = header("origin") else { return true };
    header(HOST.as_str()).is_some_and(|host| {
        origin == format!("http://{host}") || origin == format!("https://{host}")
    })
}
