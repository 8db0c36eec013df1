//! A cache's configuration in one line.

use cache_core::{
    Result,
    config::{mistake, redact},
};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

use super::ALIAS_SETTINGS;

/// `backend://location?setting=value&…` as the settings that a file would have.
///
/// A host list, as of several servers, is no URL to other parsers, so it is taken apart here; user, password, host and
/// port stay together in LOCATION, for the store to read.
pub(super) fn settings(url: &str) -> Result<Map<String, Json>> {
    let Some((backend, rest)) = url.split_once("://") else {
        return Err(mistake("URL", &format!("{:?}", redact(url)), "backend://location?setting=value"));
    };
    let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut settings = Map::new();
    let mut options = Map::new();
    settings.insert("backend".into(), backend.into());
    settings.insert("location".into(), decoded(location)?.into());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(mistake("URL", &format!("{pair:?} in its query"), "setting=value"));
        };
        let (name, value) = (decoded(name)?.to_ascii_lowercase(), decoded(value)?.into());
        let place = if ALIAS_SETTINGS.contains(&&*name) { &mut settings } else { &mut options };
        if place.insert(name.clone(), value).is_some() {
            return Err(mistake("URL", &format!("{name:?} twice"), "each setting once"));
        }
    }
    settings.insert("options".into(), options.into());
    Ok(settings)
}

fn decoded(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| mistake("URL", &format!("{text:?}"), "UTF-8 after percent-decoding"))
}
