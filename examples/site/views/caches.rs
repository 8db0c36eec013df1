//! The caches, live: for whoever looks after them.

use std::time::Instant;

use axum::{
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse as _, Redirect, Response},
};
use minijinja::{Value, context};
use serde_json::json;

use super::{View, problem};
use crate::site::Site;

pub(crate) async fn show(State(site): State<Site>) -> View<Html<String>> {
    let aliases: Vec<Value> = site
        .caching
        .aliases()
        .map(|cache| {
            context! { alias => cache.alias(), store => cache.store().name(), key_prefix => cache.key_prefix() }
        })
        .collect();
    let layers = [
        context! { name => "site", title => "The whole site", kept => "1 minute", how => "one layer around every view" },
        context! { name => "books", title => "Pages of books", kept => "15 minutes", how => "cache_page, purged by tag" },
        context! { name => "about", title => "About", kept => "1 hour", how => "cache_page, in browsers too" },
    ];
    Ok(site.templates.page("caches.html", Instant::now(), context! { aliases, layers })?)
}

pub(crate) async fn live(State(site): State<Site>) -> Response {
    let live = json!({
        "aliases": site.caching.read().await,
        "layers": site.layers.read(&site.requests),
        "requests": site.requests.last(),
    });
    ([(CONTENT_TYPE, "application/json")], live.to_string()).into_response()
}

/// Empties a store.
pub(crate) async fn clear(State(site): State<Site>, Path(alias): Path<String>) -> View<Response> {
    let Ok(cache) = site.caching.get(&alias) else {
        return problem(&site.templates, StatusCode::NOT_FOUND, "There is no such cache.");
    };
    cache.clear().await?;
    Ok(Redirect::to("/caches").into_response())
}

/// Purges the pages of a layer, and of no other.
pub(crate) async fn purge(State(site): State<Site>, Path(layer): Path<String>) -> View<Response> {
    if !site.layers.purge(&layer).await? {
        return problem(&site.templates, StatusCode::NOT_FOUND, "There is no such layer.");
    }
    Ok(Redirect::to("/caches").into_response())
}
