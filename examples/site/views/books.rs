//! The catalogue, and the page of a book, which is cached for 15 minutes and purged by a review.

use std::time::Instant;

use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use cachette::http::{CacheTags, Purge};
use minijinja::context;
use serde::Deserialize;

use super::{View, problem};
use crate::site::Site;

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    genre: Option<String>,
}

pub(crate) async fn list(
    State(site): State<Site>,
    Query(query): Query<ListQuery>,
) -> View<Response> {
    let start = Instant::now();
    let genres = site.library.genres().await?;
    let genre = query.genre.or_else(|| genres.first().cloned()).unwrap_or_default();
    if !genres.contains(&genre) {
        return problem(&site.templates, StatusCode::NOT_FOUND, "There is no such genre.");
    }
    let books = site.library.catalogue(&genre).await?;
    Ok(site.templates.page("books.html", start, context! { genres, genre, books })?.into_response())
}

pub(crate) async fn show(State(site): State<Site>, Path(id): Path<i64>) -> View<Response> {
    let start = Instant::now();
    let Some(book) = site.library.book(id).await? else {
        return problem(&site.templates, StatusCode::NOT_FOUND, "There is no such book.");
    };
    let reviews = site.library.reviews_of(id).await?;
    let page = site.templates.page("book.html", start, context! { book, reviews })?;
    Ok((Extension(CacheTags::new([tag(id)])), page).into_response())
}

#[derive(Deserialize)]
pub(crate) struct ReviewForm {
    name: String,
    stars: i64,
    text: String,
}

pub(crate) async fn review(
    State(site): State<Site>,
    Path(id): Path<i64>,
    Form(form): Form<ReviewForm>,
) -> View<Response> {
    let (name, text) = (form.name.trim(), form.text.trim());
    let fits = |text: &str, max: usize| !text.is_empty() && text.chars().count() <= max;
    if !(fits(name, 40) && fits(text, 500) && (1..=5).contains(&form.stars)) {
        let message =
            "A review has a name of up to 40 letters, one to five stars, and a text of up to 500.";
        return problem(&site.templates, StatusCode::UNPROCESSABLE_ENTITY, message);
    }
    if site.library.book(id).await?.is_none() {
        return problem(&site.templates, StatusCode::NOT_FOUND, "There is no such book.");
    }
    site.library.review(id, name, form.stars, text).await?;
    // Purge after the write: a page that is rendered in the meantime is then not stored.
    if let Err(error) = site.layers.books.purge_handle().purge_tag(&tag(id), Purge::Hard).await {
        // The review is saved nevertheless. Readers see it when the old page expires.
        eprintln!("{error}");
    }
    Ok(Redirect::to(&format!("/books/{id}#reviews")).into_response())
}

fn tag(book: i64) -> String {
    format!("book:{book}")
}
