//! Texts of all kinds into one [`CacheConfig`] for each alias.

mod from_json;
#[cfg(feature = "toml")]
mod from_toml;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use cache_core::{
    Error, ErrorKind, Result,
    config::{invalid_setting, redact},
};
use serde_json::{Map, Value as Json};

use super::{CacheConfig, databases};

/// How a text is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    #[cfg(feature = "toml")]
    Toml,
    Json,
}

/// Where a configuration was read, for messages.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    File(PathBuf),
    Text(Format),
    Url,
    Variable(String),
    Code,
}

impl Format {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            #[cfg(feature = "toml")]
            Some("toml") => Ok(Self::Toml),
            #[cfg(not(feature = "toml"))]
            Some("toml") => Err(unknown_extension(
                path,
                "one ending in .json, or the feature \"toml\" of cachette",
            )),
            Some("json") => Ok(Self::Json),
            _ => Err(unknown_extension(path, "one ending in .toml or .json")),
        }
    }
}

fn unknown_extension(path: &Path, expected: &str) -> Error {
    invalid_setting(
        "the file of the configuration",
        &format!("{:?}", path.display().to_string()),
        expected,
    )
}

impl Origin {
    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }

    /// Puts the place before what is wrong there.
    pub(crate) fn locate(&self, alias: &str, error: Error) -> Error {
        match self {
            Self::Variable(_) => error.within(&self.to_string()),
            _ => error.within(&format!("{self}: cache {alias:?}")),
        }
    }

    fn wrong(&self, problem: &str) -> Error {
        Error::new(ErrorKind::Config, redact(&format!("{self}: {problem}")))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            #[cfg(feature = "toml")]
            Self::Text(Format::Toml) => f.write_str("the TOML given"),
            Self::Text(Format::Json) => f.write_str("the JSON given"),
            Self::Url => f.write_str("the URL given"),
            Self::Variable(name) => f.write_str(name),
            Self::Code => f.write_str("the builder"),
        }
    }
}

/// What a text configures.
pub(crate) struct Sections {
    /// By alias, each read for itself: a mistake in one hides no other.
    pub(crate) caches: BTreeMap<String, Result<CacheConfig>>,
    /// URLs, by name.
    pub(crate) databases: BTreeMap<String, String>,
}

/// Reads a text with an entry for each alias, at its top or in a section `caches`, and perhaps a section `databases`.
pub(crate) fn read(format: Format, text: &str, origin: &Origin) -> Result<Sections> {
    let text = text.trim_start_matches('\u{feff}');
    let root = match format {
        #[cfg(feature = "toml")]
        Format::Toml => from_toml::parse(text),
        Format::Json => from_json::parse(text),
    };
    let Json::Object(mut root) = root.map_err(|problem| origin.wrong(&problem))? else {
        return Err(origin.wrong("found no table, expected one with an entry for each alias"));
    };
    let databases = take_section(&mut root, "databases", origin)?.unwrap_or_default();
    let databases =
        databases::read(&databases).map_err(|error| error.within(&origin.to_string()))?;
    let aliases = take_section(&mut root, "caches", origin)?.unwrap_or(root);
    let caches = aliases.iter().map(|(alias, entry)| (alias.clone(), read_alias(entry)));
    Ok(Sections { caches: caches.collect(), databases })
}

/// The table of this name, in upper or lower case.
fn take_section(
    root: &mut Map<String, Json>,
    name: &str,
    origin: &Origin,
) -> Result<Option<Map<String, Json>>> {
    let sections: Vec<String> =
        root.keys().filter(|key| key.eq_ignore_ascii_case(name)).cloned().collect();
    let section = match &*sections {
        [] => return Ok(None),
        [section] => section,
        _ => return Err(origin.wrong(&format!("found two sections of {name}, expected one"))),
    };
    match root.remove(section) {
        Some(Json::Object(entries)) => Ok(Some(entries)),
        _ => Err(origin.wrong(&format!("{section}: expected a table with an entry for each name"))),
    }
}

fn read_alias(entry: &Json) -> Result<CacheConfig> {
    match entry {
        Json::String(url) => CacheConfig::read_url(url),
        Json::Object(settings) => CacheConfig::read(settings),
        _ => Err(Error::new(
            ErrorKind::Config,
            "expected a table of settings or a URL such as \"locmem://name\"",
        )),
    }
}

/// Reads a URL that configures an alias.
pub(crate) fn read_url(url: String) -> Result<CacheConfig> {
    read_alias(&Json::String(url))
}

const VARIABLE: &str = "CACHE_URL";

/// The variables that configure a cache, by the aliases they configure: one of those `known`, written in upper case with
/// `_` for what cannot be in a variable's name, or else a new one in lower case.
pub(crate) fn variables<'a, K: Iterator<Item = &'a String>>(
    environment: impl IntoIterator<Item = (String, OsString)>,
    known: &dyn Fn() -> K,
) -> Result<BTreeMap<String, (Origin, String)>> {
    let mut variables = BTreeMap::new();
    for (name, url) in environment {
        let Some(alias) = alias_of(&name, known()) else { continue };
        let origin = Origin::Variable(name);
        let Ok(url) = url.into_string() else { return Err(origin.wrong("expected UTF-8")) };
        if let Some((other, _)) = variables.insert(alias.clone(), (origin.clone(), url)) {
            return Err(origin.wrong(&format!(
                "{other} configures the cache {alias:?} as well, expected one of them"
            )));
        }
    }
    Ok(variables)
}

fn alias_of<'a>(variable: &str, mut known: impl Iterator<Item = &'a String>) -> Option<String> {
    let name = match variable.strip_prefix(VARIABLE)? {
        "" => return Some("default".into()),
        rest => rest.strip_prefix('_').filter(|name| !name.is_empty())?,
    };
    let as_variable =
        |alias: &str| alias.replace(|c: char| !c.is_ascii_alphanumeric(), "_").to_ascii_uppercase();
    let same = |alias: &&'a String| as_variable(alias) == name.to_ascii_uppercase();
    Some(known.find(same).cloned().unwrap_or_else(|| name.to_ascii_lowercase()))
}
