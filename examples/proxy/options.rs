//! The command line.

use std::sync::Arc;

use cachette::{
    CacheHandle, Settings,
    http::{HttpCacheLayer, Policy, SetCookies},
    stores::{LocMemCache, LocMemOptions},
};
use http::{HeaderName, Uri};

pub(crate) const USAGE: &str = "\
usage: proxy --origin http://HOST:PORT --listen ADDRESS:PORT --preset site|shared [SETTING...]

Each SETTING is a method of cachette::http::Policy, which describes it:
  --set-cookies never|strip|store
  --authorization-by-response
  --ignore-content-range
  --obey-must-understand
  --validate-no-cache
  --targeted HEADER,...
  --forward-targeted
  --list-headers HEADER,...";

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) origin: Uri,
    pub(crate) listen: String,
    pub(crate) cache: HttpCacheLayer,
}

/// A change of the policy of a preset.
type Setting = Box<dyn FnOnce(Policy) -> Policy>;

pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let (mut origin, mut listen, mut preset) = (None, None, None);
    let mut settings = Vec::new();
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        match &*name {
            "--origin" => origin = Some(parse_origin(&value()?)?),
            "--listen" => listen = Some(value()?),
            "--preset" => preset = Some(value()?),
            _ => settings.push(setting(&name, value)?),
        }
    }
    let missing = |name| format!("{name} is missing");
    let preset = preset.ok_or_else(|| missing("--preset"))?;
    Ok(Options {
        cache: layer(&preset, settings)?,
        origin: origin.ok_or_else(|| missing("--origin"))?,
        listen: listen.ok_or_else(|| missing("--listen"))?,
    })
}

fn setting(name: &str, value: impl FnOnce() -> Result<String, String>) -> Result<Setting, String> {
    Ok(match name {
        "--authorization-by-response" => Box::new(Policy::authorization_by_response),
        "--forward-targeted" => Box::new(Policy::forward_targeted),
        "--ignore-content-range" => Box::new(Policy::ignore_content_range),
        "--obey-must-understand" => Box::new(Policy::obey_must_understand),
        "--validate-no-cache" => Box::new(Policy::validate_no_cache),
        "--set-cookies" => {
            let set_cookies = parse_set_cookies(&value()?)?;
            Box::new(move |policy| policy.set_cookies(set_cookies))
        }
        "--targeted" => {
            let names = parse_names(&value()?)?;
            Box::new(move |policy| policy.targeted(names))
        }
        "--list-headers" => {
            let names = parse_names(&value()?)?;
            Box::new(move |policy| policy.list_headers(names))
        }
        _ => return Err(format!("unknown option {name}")),
    })
}

fn parse_origin(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|error| format!("origin {url:?}: invalid URL: {error}"))?;
    let is_bare =
        uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
    if is_bare { Ok(uri) } else { Err(format!("origin {url:?}: expected http://HOST:PORT")) }
}

fn parse_set_cookies(name: &str) -> Result<SetCookies, String> {
    match name {
        "never" => Ok(SetCookies::Never),
        "strip" => Ok(SetCookies::Strip),
        "store" => Ok(SetCookies::Store),
        _ => Err(format!("unknown value {name:?}, expected never, strip or store")),
    }
}

fn parse_names(list: &str) -> Result<Vec<HeaderName>, String> {
    let name = |name: &str| name.parse().map_err(|_| format!("invalid header name {name:?}"));
    list.split(',').map(name).collect()
}

/// Creates the layer of a preset, with other settings.
fn layer(preset: &str, settings: Vec<Setting>) -> Result<HttpCacheLayer, String> {
    let store = LocMemCache::new(LocMemOptions::default().max_entries(10_000))
        .map_err(|error| error.to_string())?;
    let cache = CacheHandle::new("default", Arc::new(store), Settings::default());
    let (layer, policy) = match preset {
        "site" => (HttpCacheLayer::new(&cache), Policy::site()),
        "shared" => (HttpCacheLayer::shared(&cache), Policy::shared()),
        _ => return Err(format!("unknown preset {preset:?}, expected site or shared")),
    };
    let policy = settings.into_iter().fold(policy, |policy, change| change(policy));
    Ok(layer.policy(policy).cache_status("cachette"))
}

#[cfg(test)]
pub(crate) fn preset(name: &str) -> Result<HttpCacheLayer, String> {
    layer(name, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    /// The settings of the layer, as text.
    fn cache(settings: &str) -> String {
        let line = format!("{settings} --origin http://a:1 --listen b:2 --preset shared");
        format!("{:?}", parse_line(&line).expect("valid options").cache)
    }

    #[test]
    fn each_setting_changes_the_policy() {
        let lines = USAGE.lines().filter(|line| line.starts_with("  --"));
        let default = cache("");
        for line in lines {
            let setting = line.replace("never|strip|store", "store").replace("HEADER,...", "a,b");
            assert_ne!(cache(&setting), default, "{setting}");
        }
        assert_eq!(cache("--set-cookies never"), default);
    }

    #[test]
    fn wrong_option_is_an_error_that_names_it() {
        for (line, named) in [
            ("--origin http://a:1 --listen b:2", "--preset"),
            ("--origin http://a:1 --preset site", "--listen"),
            ("--listen b:2 --preset site", "--origin"),
            ("--preset best", "site or shared"),
            ("--origin http://a:1/path", "http://HOST:PORT"),
            ("--origin https://a:1", "http://HOST:PORT"),
            ("--set-cookies all", "all"),
            ("--targeted a,b(", "b("),
            ("--targeted", "--targeted"),
            ("--fast", "--fast"),
        ] {
            let error = parse_line(line).expect_err(line);
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
