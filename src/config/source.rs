//! Texts of all kinds into one [`CacheConfig`] for each alias.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use cache_core::{
    Error, ErrorKind, Result,
    config::{mistake, redact},
};
use serde_json::{Map, Value as Json};

use super::{CacheConfig, url};

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
    Environment,
    Code,
}

impl Format {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            #[cfg(feature = "toml")]
            Some("toml") => Ok(Self::Toml),
            #[cfg(not(feature = "toml"))]
            Some("toml") => Err(unknown_extension(path, "one ending in .json, or the feature \"toml\" of cachette")),
            Some("json") => Ok(Self::Json),
            _ => Err(unknown_extension(path, "one ending in .toml or .json")),
        }
    }
}

fn unknown_extension(path: &Path, expected: &str) -> Error {
    mistake("the file of the configuration", &format!("{:?}", path.display().to_string()), expected)
}

impl Origin {
    /// The folder where relative paths start.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(path) => path.parent(),
            _ => None,
        }
    }

    /// Puts the place before what is wrong there.
    pub(crate) fn locate(&self, alias: &str, error: Error) -> Error {
        let message = match self {
            Self::Environment => format!("{}: {error}", variable_of(alias)),
            _ => format!("{self}: cache {alias:?}: {error}"),
        };
        let located = Error::new(error.kind(), redact(&message)).temporary(error.is_temporary());
        if error.kind() == ErrorKind::Config { located } else { located.with_source(error) }
    }

    fn wrong(&self, problem: &str) -> Error {
        Error::new(ErrorKind::Config, format!("{self}: {problem}"))
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
            Self::Environment => f.write_str("the environment"),
            Self::Code => f.write_str("the builder"),
        }
    }
}

/// Reads a text with an entry for each alias, at its top or in a section `caches`.
pub(crate) fn read(format: Format, text: &str, origin: &Origin) -> Result<BTreeMap<String, CacheConfig>> {
    let root = parse(format, text).map_err(|problem| origin.wrong(&redact(&problem)))?;
    let Json::Object(root) = root else {
        return Err(origin.wrong("found no table, expected one with an entry for each alias"));
    };
    let aliases = caches_in(root, origin)?;
    aliases.into_iter().map(|(alias, entry)| Ok((alias.clone(), read_alias(&alias, &entry, origin)?))).collect()
}

fn caches_in(mut root: Map<String, Json>, origin: &Origin) -> Result<Map<String, Json>> {
    let Some(section) = root.keys().find(|name| name.eq_ignore_ascii_case("caches")).cloned() else {
        return Ok(root);
    };
    match root.remove(&section) {
        Some(Json::Object(aliases)) => Ok(aliases),
        _ => Err(origin.wrong(&format!("{section}: expected a table with an entry for each alias"))),
    }
}

fn read_alias(alias: &str, entry: &Json, origin: &Origin) -> Result<CacheConfig> {
    let config = match entry {
        Json::String(url) => url::settings(url).and_then(|settings| CacheConfig::read(&settings)),
        Json::Object(settings) => CacheConfig::read(settings),
        other => Err(Error::new(
            ErrorKind::Config,
            format!("found {other}, expected a table of settings or a URL such as \"locmem://name\""),
        )),
    };
    config.map_err(|error| origin.locate(alias, error))
}

/// Reads a URL for each alias.
pub(crate) fn read_urls(
    urls: impl IntoIterator<Item = (String, String)>,
    origin: &Origin,
) -> Result<BTreeMap<String, CacheConfig>> {
    let read = |(alias, url): (String, String)| {
        let config = read_alias(&alias, &Json::String(url), origin)?;
        Ok((alias, config))
    };
    urls.into_iter().map(read).collect()
}

const VARIABLE: &str = "CACHE_URL";

/// The aliases that the environment's variables configure, and their URLs.
pub(crate) fn urls_in(variables: Vec<(String, String)>) -> Vec<(String, String)> {
    let alias_of = |name: &str| match name.strip_prefix(VARIABLE)? {
        "" => Some("default".to_owned()),
        rest => rest.strip_prefix('_').filter(|alias| !alias.is_empty()).map(str::to_ascii_lowercase),
    };
    variables.into_iter().filter_map(|(name, url)| Some((alias_of(&name)?, url))).collect()
}

fn variable_of(alias: &str) -> String {
    match alias {
        "default" => VARIABLE.into(),
        alias => format!("{VARIABLE}_{}", alias.to_ascii_uppercase()),
    }
}

fn parse(format: Format, text: &str) -> Result<Json, String> {
    match format {
        #[cfg(feature = "toml")]
        Format::Toml => toml::parse(text),
        Format::Json => serde_json::from_str(text).map_err(|error| error.to_string()),
    }
}

#[cfg(feature = "toml")]
mod toml {
    use serde_json::{Number, Value as Json};
    use toml::{Table, Value};

    pub(super) fn parse(text: &str) -> Result<Json, String> {
        let table: Table = text.parse().map_err(|error| describe(&error, text))?;
        json(Value::Table(table))
    }

    /// toml's own text shows the line, and with it what may be a password.
    fn describe(error: &toml::de::Error, text: &str) -> String {
        let offset = error.span().map_or(0, |span| span.start);
        let line = text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
        format!("line {line}: {}", error.message())
    }

    fn json(value: Value) -> Result<Json, String> {
        Ok(match value {
            Value::String(text) => text.into(),
            Value::Integer(number) => number.into(),
            Value::Float(number) => match Number::from_f64(number) {
                Some(number) => number.into(),
                None => return Err(format!("found {number}, expected a finite number")),
            },
            Value::Boolean(truth) => truth.into(),
            Value::Datetime(time) => time.to_string().into(),
            Value::Array(list) => list.into_iter().map(json).collect::<Result<_, _>>()?,
            Value::Table(table) => {
                let entry = |(name, value)| Ok((name, json(value)?));
                table.into_iter().map(entry).collect::<Result<serde_json::Map<_, _>, String>>()?.into()
            }
        })
    }
}
