//! Every mistake in the configuration of an alias.
//!
//! Opening a cache ends with the first mistake. To find the next one, the setting that is wrong is
//! left out, and the cache is opened again.

use cache_core::Error;
use serde_json::{Map, Value as Json};

use crate::config::{CacheConfig, entry_settings};

/// A configuration that was rejected.
pub(crate) enum Invalid {
    /// The entry of an alias, which could not be read.
    Entry(Json),
    /// A configuration whose store could not be opened.
    Config(Box<CacheConfig>),
}

/// The search for the mistakes of one alias.
pub(crate) struct Search {
    invalid: Invalid,
    found: Vec<Error>,
    /// The settings that were left out, in lower case.
    removed: Vec<String>,
    is_over: bool,
}

impl Search {
    /// Starts with the error of this configuration.
    pub(crate) fn new(invalid: Invalid, error: Error) -> Self {
        Self { invalid, found: vec![error], removed: Vec::new(), is_over: false }
    }

    /// Returns the configuration to try next, or `None` if the search ends.
    pub(crate) fn next(&mut self) -> Option<CacheConfig> {
        if let Invalid::Entry(entry) = &self.invalid {
            let (settings, url) = entry_settings(entry).ok()?;
            let config = CacheConfig { url, ..self.read(settings)? };
            self.invalid = Invalid::Config(Box::new(config.clone()));
            return Some(config);
        }
        let setting = self.next_to_remove()?;
        let Invalid::Config(config) = &mut self.invalid else { return None };
        config.remove(&setting).then(|| CacheConfig::clone(config))
    }

    /// Records the error of the configuration that was tried.
    ///
    /// If its setting was left out, the error only says that the setting is missing. It is not a
    /// mistake, and nothing more can be found.
    pub(crate) fn record(&mut self, error: Error) {
        let setting = error.setting().map(str::to_ascii_lowercase);
        if setting.is_some_and(|setting| self.removed.contains(&setting)) {
            self.is_over = true;
        } else {
            self.found.push(error);
        }
    }

    /// Returns the mistakes, at least one.
    pub(crate) fn into_mistakes(self) -> Vec<Error> {
        self.found
    }

    /// Reads settings without the invalid ones. Returns `None` if that is not possible.
    fn read(&mut self, mut settings: Map<String, Json>) -> Option<CacheConfig> {
        loop {
            let setting = self.next_to_remove()?;
            if !remove(&mut settings, &setting) {
                return None;
            }
            match CacheConfig::read(&settings) {
                Ok(config) => return Some(config),
                Err(error) => self.record(error),
            }
        }
    }

    /// Returns the setting of the last error, which is left out next.
    fn next_to_remove(&mut self) -> Option<String> {
        if self.is_over {
            return None;
        }
        let setting = self.found.last()?.setting()?.to_ascii_lowercase();
        self.removed.push(setting.clone());
        Some(setting)
    }
}

/// Removes a setting, `name` or `table.name`, in upper or lower case. Returns `false` if there is
/// none.
pub(crate) fn remove(settings: &mut Map<String, Json>, setting: &str) -> bool {
    let (name, inner) = match setting.split_once('.') {
        Some((name, inner)) => (name, Some(inner)),
        None => (setting, None),
    };
    let Some(name) = settings.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned() else {
        return false;
    };
    if let (Some(inner), Some(Json::Object(table))) = (inner, settings.get_mut(&name))
        && remove(table, inner)
    {
        return true;
    }
    settings.remove(&name).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn innermost_setting_is_removed() {
        let mut settings = json!({"OPTIONS": {"Width": 1, "depth": 2}, "timeout": 3});
        let table = settings.as_object_mut().expect("a table");
        assert!(remove(table, "options.width"));
        assert!(remove(table, "TIMEOUT"));
        assert!(!remove(table, "version"));
        assert_eq!(settings, json!({"OPTIONS": {"depth": 2}}));
    }

    #[test]
    fn table_without_the_setting_is_removed_as_a_whole() {
        let mut settings = json!({"also_decode": ["x"], "fill": {"a.b": 1}});
        let table = settings.as_object_mut().expect("a table");
        assert!(remove(table, "fill.a.b"));
        assert!(remove(table, "also_decode.0"));
        assert_eq!(settings, json!({}));
    }
}
