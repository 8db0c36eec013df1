//! A page of parts: the newest reviews are looked up for each visitor, what is dear is kept as fragments.

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

/// How long a fragment lives.
const LIFETIME: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
pub(crate) struct Wanted {
    branch: Option<String>,
}

pub(crate) async fn show(State(site): State<Site>, Query(wanted): Query<Wanted>) -> View<Response> {
    let start = Instant::now();
    let branch = wanted.branch.as_deref().unwrap_or(BRANCHES[0]);
    if !BRANCHES.contains(&branch) {
        return problem(&site.templates, StatusCode::NOT_FOUND, "There is no such branch.");
    }
    let content = context! {
        branch,
        branches => BRANCHES,
        now => time_of_day(SystemTime::now()),
        reviews => site.library.newest_reviews().await?,
        // One for each branch, one for all.
        month_of_branch => fragment(&site, "branch", &[branch], || month_of(&site, branch)).await?,
        kept => fragment(&site, "kept", &[], || kept(&site)).await?,
    };
    Ok(site.templates.page("today.html", start, content)?.into_response())
}

/// A store that fails costs time, and not the page.
async fn fragment<F>(
    site: &Site,
    name: &str,
    vary_on: &[&str],
    render: impl Fn() -> F,
) -> View<String>
where
    F: Future<Output = View<String>>,
{
    match site.parts.fragment(name, vary_on, LIFETIME, &render).await {
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
    Ok(site.templates.part("branch.html", start, context! { branch, books })?)
}

async fn kept(site: &Site) -> View<String> {
    let start = Instant::now();
    let kept = site.library.days_kept().await?;
    Ok(site.templates.part("kept.html", start, context! { kept })?)
}
