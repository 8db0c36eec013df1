//! Parses every kind of source into one [`CacheConfig`] for each alias.

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

use super::{CacheConfig, databases, not_a_store};

/// The format of configuration text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    #[cfg(feature = "toml")]
    Toml,
    Json,
}

/// The origin of a configuration, for messages.
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
                "a name that ends in .json, or the feature \"toml\" of cachette",
            )),
            Some("json") => Ok(Self::Json),
            _ => Err(unknown_extension(path, "a name that ends in .toml or .json")),
        }
    }
}

fn unknown_extension(path: &Path, expected: &str) -> Error {
    invalid_setting("configuration file", &format!("{:?}", path.display().to_string()), expected)
}

impl Origin {
    /// The path of the file, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }

    /// Adds the origin and the alias to the message of an error.
    pub(crate) fn locate(&self, alias: &str, error: Error) -> Error {
        match self {
            Self::Variable(_) => error.within(&self.to_string()),
            _ => error.within(&format!("{self}: cache {alias:?}")),
        }
    }

    fn error(&self, problem: &str) -> Error {
        Error::new(ErrorKind::Config, redact(&format!("{self}: {problem}")))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            #[cfg(feature = "toml")]
            Self::Text(Format::Toml) => f.write_str("TOML string"),
            Self::Text(Format::Json) => f.write_str("JSON string"),
            Self::Url => f.write_str("URL string"),
            Self::Variable(name) => f.write_str(name),
            Self::Code => f.write_str("CachesBuilder"),
        }
    }
}

/// The parsed contents of configuration text.
pub(crate) struct Sections {
    /// The entry of each alias as it was written, for [`read_alias`].
    pub(crate) caches: BTreeMap<String, Json>,
    /// URLs by name.
    pub(crate) databases: BTreeMap<String, String>,
}

/// Parses text with an entry for each alias, at the top level or in a section `caches`, and an
/// optional section `databases`.
pub(crate) fn read(format: Format, text: &str, origin: &Origin) -> Result<Sections> {
    let text = text.trim_start_matches('\u{feff}');
    let root = match format {
        #[cfg(feature = "toml")]
        Format::Toml => from_toml::parse(text),
        Format::Json => from_json::parse(text),
    };
    let Json::Object(mut root) = root.map_err(|problem| origin.error(&problem))? else {
        return Err(origin.error("expected a table with an entry for each alias"));
    };
    let databases = take_section(&mut root, "databases", origin)?.unwrap_or_default();
    let databases =
        databases::read(&databases).map_err(|error| error.within(&origin.to_string()))?;
    let aliases = take_section(&mut root, "caches", origin)?.unwrap_or(root);
    Ok(Sections { caches: aliases.into_iter().collect(), databases })
}

/// Takes the table with this name, in upper or lower case.
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
        _ => return Err(origin.error(&format!("found two sections {name:?}, expected one"))),
    };
    match root.remove(section) {
        Some(Json::Object(entries)) => Ok(Some(entries)),
        _ => Err(origin.error(&format!("{section}: expected a table with an entry for each name"))),
    }
}

/// Reads the entry of an alias: a table of settings or a URL.
pub(crate) fn read_alias(entry: &Json) -> Result<CacheConfig> {
    match entry {
        Json::String(url) => CacheConfig::read_url(url),
        Json::Object(settings) => CacheConfig::read(settings),
        other => Err(not_a_store(other)),
    }
}

const VARIABLE: &str = "CACHE_URL";

/// The variables that configure caches, by alias.
///
/// The alias is one of the `known` ones if it matches the variable's name, in upper case and with
/// `_` for characters that a variable cannot contain. Otherwise it is a new alias in lower case.
pub(crate) fn variables<'a, K: Iterator<Item = &'a String>>(
    environment: impl IntoIterator<Item = (String, OsString)>,
    known: &dyn Fn() -> K,
) -> Result<BTreeMap<String, (Origin, String)>> {
    let mut variables = BTreeMap::new();
    for (name, url) in environment {
        let Some(alias) = alias_of(&name, known()) else { continue };
        let origin = Origin::Variable(name);
        let Ok(url) = url.into_string() else { return Err(origin.error("expected UTF-8")) };
        if let Some((other, _)) = variables.insert(alias.clone(), (origin.clone(), url)) {
            return Err(origin.error(&format!(
                "{other} also configures the cache {alias:?}, expected one of them"
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
    let matches = |alias: &&'a String| as_variable(alias) == name.to_ascii_uppercase();
    Some(known.find(matches).cloned().unwrap_or_else(|| name.to_ascii_lowercase()))
}
