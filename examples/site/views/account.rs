//! The page of one visitor. Sessions are stored in a cache, as in Django. The page is not cached.

use std::time::{Instant, SystemTime};

use axum::{
    Form,
    extract::State,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{COOKIE, SET_COOKIE},
    },
    response::{Html, IntoResponse as _, Redirect, Response},
};
use cachette::Timeout;
use minijinja::context;
use serde::{Deserialize, Serialize};

use super::{View, problem};
use crate::{site::Site, templates::time_of_day};

const COOKIE_NAME: &str = "sessionid";

/// The path limits the cookie to the account. If browsers sent it everywhere, every page would
/// bypass the cache for signed-in visitors.
const ATTRIBUTES: &str = "Path=/account; HttpOnly; SameSite=Lax";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    name: String,
    since: String,
}

pub(crate) async fn show(State(site): State<Site>, headers: HeaderMap) -> View<Html<String>> {
    let start = Instant::now();
    let Some(token) = token_of(&headers) else {
        return Ok(site.templates.page("account.html", start, context! {})?);
    };
    // A session lives as long as it is used.
    let session: Option<Session> =
        site.sessions.get_and_touch(&session_key(&token), Timeout::Default).await?;
    let visits = match session {
        Some(_) => {
            let key = format!("visits:{token}");
            site.sessions.incr_or_set(&key, 1, 1, Timeout::Default).await?
        }
        None => 0,
    };
    Ok(site.templates.page("account.html", start, context! { session, visits })?)
}

#[derive(Deserialize)]
pub(crate) struct SignIn {
    name: String,
}

pub(crate) async fn sign_in(
    State(site): State<Site>,
    Form(SignIn { name }): Form<SignIn>,
) -> View<Response> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 40 {
        let message = "A name has between one and 40 letters.";
        return problem(&site.templates, StatusCode::UNPROCESSABLE_ENTITY, message);
    }
    let token = new_token()?;
    let session = Session { name: name.into(), since: time_of_day(SystemTime::now()) };
    site.sessions.set(&session_key(&token), &session, Timeout::Default).await?;
    back_with_cookie(&format!("{COOKIE_NAME}={token}; {ATTRIBUTES}"))
}

pub(crate) async fn sign_out(State(site): State<Site>, headers: HeaderMap) -> View<Response> {
    if let Some(token) = token_of(&headers) {
        site.sessions.delete_many(&[&session_key(&token), &format!("visits:{token}")]).await?;
    }
    back_with_cookie(&format!("{COOKIE_NAME}=; Max-Age=0; {ATTRIBUTES}"))
}

fn back_with_cookie(cookie: &str) -> View<Response> {
    let mut response = Redirect::to("/account").into_response();
    response.headers_mut().insert(SET_COOKIE, HeaderValue::from_str(cookie)?);
    Ok(response)
}

fn session_key(token: &str) -> String {
    format!("session:{token}")
}

/// 128 random bits in hexadecimal.
fn new_token() -> View<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The token in the cookie, if it is well formed. It becomes part of a key.
fn token_of(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, token) = pairs.find(|(name, _)| *name == COOKIE_NAME)?;
    (token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| token.to_owned())
}
