//! Parses URLs that configure caches.

use cache_core::{
    Result,
    config::{invalid_setting, redact_setting},
};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

use super::ALIAS_SETTINGS;

/// Converts `backend://location?setting=value&…` to the settings of a table.
///
/// URL crates reject a list of hosts, so this parser is our own.
pub(super) fn settings(url: &str) -> Result<Map<String, Json>> {
    let address = address(url);
    let Some((backend, location)) = address.split_once("://") else {
        let expected = match url.starts_with("sqlite:") {
            true => "db://cache_table?url=sqlite:…",
            false => "backend://location?setting=value",
        };
        return Err(invalid_setting("URL", &format!("{:?}", redact_setting(url)), expected));
    };
    let query = url[address.len()..].trim_start_matches('?');
    let mut settings = Map::new();
    let mut options = Map::new();
    settings.insert("backend".into(), backend.into());
    settings.insert("location".into(), decoded(location, "location")?.into());
    for (number, pair) in (1..).zip(query.split('&').filter(|pair| !pair.is_empty())) {
        let part = format!("query parameter {number}");
        let Some((name, value)) = pair.split_once('=') else {
            return Err(invalid_setting("URL", &format!("no \"=\" in {part}"), "setting=value"));
        };
        let (name, value) =
            (decoded(name, &part)?.to_ascii_lowercase(), decoded(value, &part)?.into());
        let place = if ALIAS_SETTINGS.contains(&&*name) { &mut settings } else { &mut options };
        if place.insert(name.clone(), value).is_some() {
            return Err(invalid_setting("URL", &format!("{name:?} twice"), "each setting once"));
        }
    }
    settings.insert("options".into(), options.into());
    Ok(settings)
}

/// The URL without its query.
pub(super) fn address(url: &str) -> &str {
    url.split_once('?').map_or(url, |(address, _)| address)
}

/// Decodes percent-encoded text. The text may be a secret, so an error names only its part of the
/// URL.
fn decoded(text: &str, part: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| {
        invalid_setting("URL", &format!("invalid UTF-8 in {part}"), "percent-encoded UTF-8")
    })
}
