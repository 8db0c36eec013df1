//! The views. None of them uses the page cache.

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

/// The result of a view.
pub(crate) type View<T = Html<String>> = Result<T, Failure>;

/// An error that a view cannot handle. Its message is printed for the operator of the site.
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
        (StatusCode::INTERNAL_SERVER_ERROR, "internal error; see the output of the site\n")
            .into_response()
    }
}

/// Renders an error page.
pub(crate) fn problem(templates: &Templates, status: StatusCode, message: &str) -> View<Response> {
    let page = templates.page(
        "problem.html",
        Instant::now(),
        context! { status => status.as_u16(), message },
    )?;
    Ok((status, page).into_response())
}
