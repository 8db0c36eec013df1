//! Stores that are configured inside the OPTIONS of another store.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{StoreConfig, redact_setting};
use crate::{Cache, Result};

/// The configuration of a store inside the OPTIONS of another store: a table with BACKEND, LOCATION
/// and OPTIONS, or a URL.
///
/// Use it as the type of a field in an options struct, and pass it to
/// [`StoreConfig::open_nested`]. It is checked when it is opened, not when it is deserialized.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct NestedStore(Json);

impl NestedStore {
    /// Returns the configuration as it was written, with its secrets.
    #[must_use]
    pub fn as_json(&self) -> &Json {
        &self.0
    }
}

/// Shows the names of the settings but not their values, and a URL without its secrets.
impl fmt::Debug for NestedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Json::Object(settings) => f.debug_set().entries(settings.keys()).finish(),
            Json::String(url) => fmt::Debug::fmt(&redact_setting(url), f),
            other => fmt::Debug::fmt(other, f),
        }
    }
}

/// A registry of BACKENDs that opens nested stores.
///
/// The `Caches` of the crate `cachette` put theirs into each [`StoreConfig`]. Authors of stores
/// call [`StoreConfig::open_nested`] and do not need this trait.
#[async_trait]
pub trait OpenNested: Send + Sync {
    /// Opens the store that `nested` configures, inside the store that `parent` configures.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`](crate::ErrorKind::Config) if the configuration is invalid, and
    /// the errors of the BACKEND.
    async fn open_nested(
        &self,
        parent: &StoreConfig,
        nested: &NestedStore,
    ) -> Result<Arc<dyn Cache>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secrets() {
        for config in [
            serde_json::json!("redis://ada:lovelace@host"),
            serde_json::json!({"backend": "redis", "location": "redis://ada:lovelace@host"}),
            serde_json::json!({"backend": "redis", "options": {"password": "lovelace"}}),
        ] {
            let nested: NestedStore = serde_json::from_value(config).expect("it is any value");
            assert!(!format!("{nested:?}").contains("lovelace"), "{nested:?}");
        }
    }
}
