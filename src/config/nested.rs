//! The configuration of a store inside the OPTIONS of another one.

use std::{mem, sync::Arc};

use cache_core::{
    Result,
    config::{StoreConfig, from_settings},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{Location, not_a_store, url};
use crate::django::Class;

/// The settings of a nested store. The other settings of a cache belong to the alias.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NestedSettings {
    backend: Option<String>,
    location: Option<Location>,
    options: Option<Map<String, Json>>,
}

/// The configuration of a nested store.
pub(crate) struct NestedConfig {
    pub(crate) backend: Option<String>,
    location: Vec<String>,
    url: Option<String>,
    options: Map<String, Json>,
}

impl NestedConfig {
    /// Reads a table of settings or a URL.
    pub(crate) fn read(config: &Json) -> Result<Self> {
        match config {
            Json::Object(settings) => Self::from_table(settings, None),
            Json::String(text) => Self::from_table(&url::settings(text)?, Some(url::address(text))),
            other => Err(not_a_store(other)),
        }
    }

    fn from_table(settings: &Map<String, Json>, url: Option<&str>) -> Result<Self> {
        let settings: NestedSettings = from_settings("", settings)?;
        Ok(Self {
            backend: settings.backend,
            location: settings.location.unwrap_or_default().0,
            url: url.map(Into::into),
            options: settings.options.unwrap_or_default(),
        })
    }

    /// Translates the settings of a class of Django. `ON_OUTAGE` is a setting of the alias, so that
    /// `IGNORE_EXCEPTIONS` has no effect here.
    pub(crate) fn translate(&mut self, class: Class, alias: &str) -> Result<()> {
        let (location, options) = (mem::take(&mut self.location), mem::take(&mut self.options));
        let translation = class.translate(location, options)?;
        (self.location, self.options) = (translation.location, translation.options);
        for warning in &translation.warnings {
            tracing::warn!(cache = alias, "{warning}");
        }
        if translation.on_outage.is_some() {
            tracing::warn!(
                cache = alias,
                "IGNORE_EXCEPTIONS of a nested store has no effect; set ON_OUTAGE of the cache"
            );
        }
        Ok(())
    }

    /// The configuration that the BACKEND of the nested store opens.
    pub(crate) fn within(self, parent: &StoreConfig) -> StoreConfig {
        let mut config = StoreConfig::new(&parent.alias, self.options);
        config.location = self.location;
        config.url = self.url;
        config.file.clone_from(&parent.file);
        config.databases = Arc::clone(&parent.databases);
        config.clock = parent.clock.clone();
        config.common_key_prefix.clone_from(&parent.common_key_prefix);
        config.nested.clone_from(&parent.nested);
        config
    }
}
