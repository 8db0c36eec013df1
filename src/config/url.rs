//! A cache's configuration in one line.

use cache_core::{
    Result,
    config::{invalid_setting, redact_setting},
};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

use super::ALIAS_SETTINGS;

/// `backend://location?setting=value&…` as the settings that a file would have.
///
/// A list of hosts is no URL to other parsers, so it is taken apart here.
pub(super) fn settings(url: &str) -> Result<Map<String, Json>> {
    let address = address(url);
    let Some((backend, location)) = address.split_once("://") else {
        return Err(invalid_setting(
            "URL",
            &format!("{:?}", redact_setting(url)),
            "backend://location?setting=value",
        ));
    };
    let query = url[address.len()..].trim_start_matches('?');
    let mut settings = Map::new();
    let mut options = Map::new();
    settings.insert("backend".into(), backend.into());
    settings.insert("location".into(), decoded(location, "location")?.into());
    for (number, pair) in (1..).zip(query.split('&').filter(|pair| !pair.is_empty())) {
        let part = format!("part {number} of its query");
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

/// The URL up to its query.
pub(super) fn address(url: &str) -> &str {
    url.split_once('?').map_or(url, |(address, _)| address)
}

/// The text may be a secret: so an error names its part of the URL alone.
fn decoded(text: &str, part: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| {
        invalid_setting("URL", &format!("no UTF-8 in {part}"), "UTF-8, percent-encoded")
    })
}
