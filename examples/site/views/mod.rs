//! The views: what each page shows. None of them looks into the cache of pages.

pub(crate) mod about;
pub(crate) mod account;
pub(crate) mod assets;
pub(crate) mod books;
pub(crate) mod caches;
pub(crate) mod home;
pub(crate) mod today;

use std::time::Instant;

use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use minijinja::context;

use crate::templates::Templates;

/// What a view comes to.
pub(crate) type View<T = Html<String>> = Result<T, Failure>;

/// What no view can do anything about. Its reason is for whoever runs the site.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        eprintln!("{}", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, "something failed; the site's terminal says what\n")
            .into_response()
    }
}

/// A page that says what was wrong with a request.
pub(crate) fn problem(templates: &Templates, status: StatusCode, what: &str) -> View<Response> {
    let page = templates.page(
        "problem.html",
        Instant::now(),
        context! { status => status.as_u16(), what },
    )?;
    Ok((status, page).into_response())
}
