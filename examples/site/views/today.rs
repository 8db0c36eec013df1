//! A page of three parts: the newest reviews are queried for each request, and the two expensive
//! parts are cached as fragments.

use std::time::{Duration, Instant, SystemTime};

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use cachette::http::Fragments as _;
use minijinja::context;
use serde::Deserialize;

use super::{View, problem};
use crate::{library::BRANCHES, site::Site, templates::time_of_day};

/// The time to live of a fragment.
const TTL: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
pub(crate) struct TodayQuery {
    branch: Option<String>,
}

pub(crate) async fn show(
    State(site): State<Site>,
    Query(query): Query<TodayQuery>,
) -> View<Response> {
    let start = Instant::now();
    let branch = query.branch.as_deref().unwrap_or(BRANCHES[0]);
    if !BRANCHES.contains(&branch) {
        return problem(&site.templates, StatusCode::NOT_FOUND, "There is no such branch.");
    }
    let content = context! {
        branch,
        branches => BRANCHES,
        now => time_of_day(SystemTime::now()),
        reviews => site.library.newest_reviews().await?,
        // The first fragment depends on the branch, the second does not.
        month_of_branch => fragment(&site, "branch", &[branch], || month_of(&site, branch)).await?,
        kept => fragment(&site, "kept", &[], || kept(&site)).await?,
    };
    Ok(site.templates.page("today.html", start, content)?.into_response())
}

/// Returns a fragment. If the store fails, renders the fragment without it.
async fn fragment<F>(
    site: &Site,
    name: &str,
    vary_on: &[&str],
    render: impl Fn() -> F,
) -> View<String>
where
    F: Future<Output = View<String>>,
{
    match site.fragments.fragment(name, vary_on, TTL, &render).await {
        Ok(rendered) => rendered,
        Err(error) => {
            eprintln!("{error}");
            render().await
        }
    }
}

async fn month_of(site: &Site, branch: &str) -> View<String> {
    let start = Instant::now();
    let books = site.library.month_of_branch(branch).await?;
    Ok(site.templates.fragment("branch.html", start, context! { branch, books })?)
}

async fn kept(site: &Site) -> View<String> {
    let start = Instant::now();
    let kept = site.library.days_kept().await?;
    Ok(site.templates.fragment("kept.html", start, context! { kept })?)
}
