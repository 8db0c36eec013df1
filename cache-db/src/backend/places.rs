//! Which databases an alias means.

use std::path::PathBuf;

use cache_core::{
    Result,
    config::{StoreConfig, invalid_setting},
};

use crate::{
    DbOptions,
    options::option,
    router::{PRIMARY, REPLICA},
};

/// The databases of a store by name, and those that it reads from and writes to where no router says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Places {
    pub(super) databases: Vec<(String, Place)>,
    pub(super) read: String,
    pub(super) write: String,
}

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// What stands in this option, or in the configuration's databases.
    Url { option: String, url: String, folder: Option<PathBuf> },
    /// In a pool that was handed over.
    Given,
}

impl Places {
    /// Those that the options name. `is_given` tells the names of pools.
    pub(super) fn of(
        config: &StoreConfig,
        options: &DbOptions,
        is_given: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        check_mixture(options)?;
        let named = |setting: &str, name: &str| {
            named(config, setting, name, &is_given).map(|at| (name.to_owned(), at))
        };
        let unnamed = |name: &str, setting: &str, url: &str| {
            (
                name.to_owned(),
                Place::Url { option: option(setting), url: url.into(), folder: folder(config) },
            )
        };
        let has_default = is_given(PRIMARY) || config.databases.contains_key(PRIMARY);
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
        let databases =
            [Some(primary), replica.filter(|_| read != write)].into_iter().flatten().collect();
        Ok(Self { databases, read, write })
    }

    /// All there are, for a router to choose from.
    pub(super) fn all<'a>(
        config: &StoreConfig,
        options: &DbOptions,
        given: impl Iterator<Item = &'a String>,
    ) -> Result<Self> {
        let set = [
            ("url", (!options.url.is_empty()).then_some(&options.url)),
            ("read_url", options.read_url.as_ref()),
            ("database", options.database.as_ref()),
            ("read_database", options.read_database.as_ref()),
        ];
        if let Some((name, Some(found))) = set.iter().find(|(_, value)| value.is_some()) {
            return Err(invalid_setting(
                &option(name),
                &format!("{found:?}"),
                "none, as a router chooses the databases",
            ));
        }
        let mut databases: Vec<_> = given.map(|name| (name.clone(), Place::Given)).collect();
        for (name, url) in config.databases.iter() {
            if databases.iter().all(|(other, _)| other != name) {
                databases.push((name.clone(), in_section(config, name, url)));
            }
        }
        Ok(Self { databases, read: String::new(), write: String::new() })
    }
}

/// Names go with names and URLs with URLs, lest two databases have one name.
fn check_mixture(options: &DbOptions) -> Result<()> {
    let has_url = !options.url.is_empty();
    let expected = "either url, and read_url perhaps, or database, and read_database perhaps";
    match (&options.database, &options.read_database, &options.read_url) {
        (Some(_), ..) if has_url => {
            Err(invalid_setting(&option("database"), "url as well", expected))
        }
        (_, Some(_), Some(_)) => {
            Err(invalid_setting(&option("read_database"), "read_url as well", expected))
        }
        (_, Some(_), None) if has_url => {
            Err(invalid_setting(&option("read_database"), "url beside it", expected))
        }
        (_, None, Some(_)) if !has_url => {
            Err(invalid_setting(&option("read_url"), "no url beside it", expected))
        }
        _ => Ok(()),
    }
}

fn named(
    config: &StoreConfig,
    setting: &str,
    name: &str,
    is_given: impl Fn(&str) -> bool,
) -> Result<Place> {
    if is_given(name) {
        return Ok(Place::Given);
    }
    let Some(url) = config.databases.get(name) else {
        let there: Vec<String> = config.databases.keys().map(|name| format!("{name:?}")).collect();
        let there = if there.is_empty() { "there is none".to_owned() } else { there.join(", ") };
        let expected = format!(
            "a name from the section [databases] ({there}), or of a pool that was handed over"
        );
        return Err(invalid_setting(&option(setting), &format!("{name:?}"), &expected));
    };
    Ok(in_section(config, name, url))
}

fn in_section(config: &StoreConfig, name: &str, url: &str) -> Place {
    Place::Url { option: format!("databases.{name}"), url: url.into(), folder: folder(config) }
}

fn folder(config: &StoreConfig) -> Option<PathBuf> {
    config.folder().map(Into::into)
}
