//! A page that does not change while the site runs. It has a validator, so that a browser with a
//! copy gets a 304 response.

use std::{
    sync::LazyLock,
    time::{Instant, SystemTime},
};

use axum::{
    extract::State,
    http::{HeaderMap, Method},
    response::{IntoResponse as _, Response},
};
use cachette::http::Condition;
use minijinja::context;

use super::View;
use crate::site::Site;

static STARTED: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

pub(crate) async fn show(
    State(site): State<Site>,
    method: Method,
    headers: HeaderMap,
) -> View<Response> {
    let page = site.templates.page("about.html", Instant::now(), context! {})?;
    let condition = Condition::new().last_modified(*STARTED);
    Ok(condition.apply(&method, &headers, page.into_response()))
}
