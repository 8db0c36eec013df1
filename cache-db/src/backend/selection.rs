//! The databases that an alias uses.

use std::path::PathBuf;

use cache_core::{
    Result,
    config::{StoreConfig, did_you_mean, invalid_setting},
};

use crate::{
    options::{DbOptions, option},
    router::{PRIMARY, REPLICA},
};

/// The databases of a store by name, and which of them it reads from and writes to if there is no
/// router.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Selection {
    pub(super) databases: Vec<(String, Source)>,
    pub(super) read: String,
    pub(super) write: String,
}

/// Where a database comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A URL, which is the value of this setting.
    Url { setting: String, url: String, folder: Option<PathBuf> },
    /// A pool that the application passed in.
    Pool,
}

impl Selection {
    /// Selects the databases that the options name. `is_pool` tests for the name of a pool.
    pub(super) fn from_options(
        config: &StoreConfig,
        options: &DbOptions,
        is_pool: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        check_combination(options)?;
        let named = |setting: &str, name: &str| {
            by_name(config, setting, name, &is_pool).map(|source| (name.to_owned(), source))
        };
        let unnamed = |name: &str, setting: &str, url: &str| {
            let (setting, url) = (option(setting), url.into());
            (name.to_owned(), Source::Url { setting, url, folder: folder(config) })
        };
        let has_default = is_pool(PRIMARY) || config.databases.contains_key(PRIMARY);
        let primary = match &options.database {
            Some(name) => named("database", name)?,
            None if options.url.is_empty() && has_default => named("database", PRIMARY)?,
            None => unnamed(PRIMARY, "url", &options.url),
        };
        let replica = match (&options.read_database, &options.read_url) {
            (Some(name), _) => Some(named("read_database", name)?),
            (None, Some(url)) => Some(unnamed(REPLICA, "read_url", url)),
            (None, None) => None,
        };
        let (write, read) = (primary.0.clone(), replica.as_ref().unwrap_or(&primary).0.clone());
        let replica = replica.filter(|_| read != write);
        Ok(Self { databases: [primary].into_iter().chain(replica).collect(), read, write })
    }

    /// Selects all databases and pools, from which a router chooses.
    pub(super) fn all<'a>(
        config: &StoreConfig,
        options: &DbOptions,
        pools: impl Iterator<Item = &'a String>,
    ) -> Result<Self> {
        let url = (!options.url.is_empty()).then_some(&options.url);
        let exclusive = [
            ("url", url),
            ("read_url", options.read_url.as_ref()),
            ("database", options.database.as_ref()),
            ("read_database", options.read_database.as_ref()),
        ];
        for (name, value) in exclusive {
            if let Some(value) = value {
                let expected = "none, because a router chooses the databases";
                return Err(invalid_setting(&option(name), &format!("{value:?}"), expected));
            }
        }
        let mut databases: Vec<_> = pools.map(|name| (name.clone(), Source::Pool)).collect();
        for (name, url) in config.databases.iter() {
            if databases.iter().all(|(other, _)| other != name) {
                databases.push((name.clone(), from_section(config, name, url)));
            }
        }
        Ok(Self { databases, read: String::new(), write: String::new() })
    }
}

/// Rejects options that mix names and URLs, because two databases could then have the same name.
fn check_combination(options: &DbOptions) -> Result<()> {
    let has_url = !options.url.is_empty();
    let (name, found) = match (&options.database, &options.read_database, &options.read_url) {
        (Some(_), ..) if has_url => ("database", "url as well"),
        (_, Some(_), Some(_)) => ("read_database", "read_url as well"),
        (_, Some(_), None) if has_url => ("read_database", "url as well"),
        (_, None, Some(_)) if !has_url => ("read_url", "no url"),
        _ => return Ok(()),
    };
    let expected = "either url with an optional read_url, or database with an optional \
                    read_database";
    Err(invalid_setting(&option(name), found, expected))
}

fn by_name(
    config: &StoreConfig,
    setting: &str,
    name: &str,
    is_pool: impl Fn(&str) -> bool,
) -> Result<Source> {
    if is_pool(name) {
        return Ok(Source::Pool);
    }
    let Some(url) = config.databases.get(name) else {
        let known: Vec<String> = config.databases.keys().map(|name| format!("{name:?}")).collect();
        let known = if known.is_empty() { "which is empty".to_owned() } else { known.join(", ") };
        let expected = format!(
            "a name from the section [databases] ({known}), or of a pool passed to \
             DbBackend::database"
        );
        let hint = did_you_mean(name, config.databases.keys().map(String::as_str));
        return Err(invalid_setting(&option(setting), &format!("{name:?}{hint}"), &expected));
    };
    Ok(from_section(config, name, url))
}

fn from_section(config: &StoreConfig, name: &str, url: &str) -> Source {
    Source::Url { setting: format!("databases.{name}"), url: url.into(), folder: folder(config) }
}

fn folder(config: &StoreConfig) -> Option<PathBuf> {
    config.folder().map(Into::into)
}
