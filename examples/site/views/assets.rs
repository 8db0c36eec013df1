//! The style sheet and the scripts, embedded in the program.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, header::CACHE_CONTROL, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use cachette::http::Condition;

use super::{View, problem};
use crate::site::Site;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

pub(crate) async fn show(
    State(site): State<Site>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> View<Response> {
    let (kind, text) = match &*name {
        "site.css" => ("text/css; charset=utf-8", include_str!("../static/site.css")),
        "site.js" => (JAVASCRIPT, include_str!("../static/site.js")),
        "caches.js" => (JAVASCRIPT, include_str!("../static/caches.js")),
        _ => return not_found(State(site)).await,
    };
    let response = ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text).into_response();
    Ok(Condition::new().etag(&fingerprint(text)).apply(&method, &headers, response))
}

pub(crate) async fn not_found(State(site): State<Site>) -> View<Response> {
    problem(&site.templates, StatusCode::NOT_FOUND, "There is no such page.")
}

fn fingerprint(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
