//! The live statistics of the caches, for operators.

use std::time::Instant;

use axum::{
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse as _, Redirect, Response},
};
use minijinja::{Value, context};
use serde_json::json;

use super::{View, problem};
use crate::{caching, metrics::Scrape, site::Site};

pub(crate) async fn show(State(site): State<Site>) -> View<Html<String>> {
    let aliases: Vec<Value> = site
        .caches
        .iter()
        .map(|cache| context! { alias => cache.alias(), store => cache.store().name() })
        .collect();
    let layers = [
        layer("site", "All pages", "one layer around every view", "1 minute"),
        layer("books", "Pages of books", "cache_page, purged by tag", "15 minutes"),
        layer("about", "About", "cache_page, also in browsers", "1 hour"),
    ];
    Ok(site.templates.page("caches.html", Instant::now(), context! { aliases, layers })?)
}

fn layer(name: &str, title: &str, how: &str, ttl: &str) -> Value {
    context! { name, title, how, ttl }
}

pub(crate) async fn live(State(site): State<Site>) -> Response {
    let scrape = Scrape::parse(&site.metrics.render(&site.caches).await);
    let live = json!({
        "aliases": caching::statistics(&site.caches, &scrape).await,
        "layers": site.layers.statistics(&site.requests),
        "requests": site.requests.last(),
    });
    ([(CONTENT_TYPE, "application/json")], live.to_string()).into_response()
}

/// The metrics of the caches in the text format of Prometheus.
pub(crate) async fn metrics(State(site): State<Site>) -> Response {
    let text = site.metrics.render(&site.caches).await;
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// Clears a store.
pub(crate) async fn clear(State(site): State<Site>, Path(alias): Path<String>) -> View<Response> {
    let Ok(cache) = site.caches.get(&alias) else {
        return problem(&site.templates, StatusCode::NOT_FOUND, "There is no such cache.");
    };
    cache.clear().await?;
    Ok(Redirect::to("/caches").into_response())
}

/// Purges the pages of one layer.
pub(crate) async fn purge(State(site): State<Site>, Path(layer): Path<String>) -> View<Response> {
    if !site.layers.purge(&layer).await? {
        return problem(&site.templates, StatusCode::NOT_FOUND, "There is no such layer.");
    }
    Ok(Redirect::to("/caches").into_response())
}
